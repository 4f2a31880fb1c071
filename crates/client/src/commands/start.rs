//! `start`, `create`, `attach`, `exec`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::each::not_empty;
use super::run::detach_keys;
use crate::container::attachment::{Streams, Waiting, again, carry_streams, redraw, resize};
use crate::container::{create, environment, flags};
use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::{Query, encode};
use crate::session::{Session, tell};
use crate::stream::Ended;
use crate::terminal;
use crate::verb::{Takes, Verb};

/// How long the status of an exec whose stream has ended is waited for, and how often it is asked for.
const SETTLING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) static CREATE: Verb = Verb {
    paths: &["create", "container create"],
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a new container",
    flags: &[flags::CONTAINER],
    interspersed: false,
    takes: Takes::AtLeast(1),
    run: |session, parsed| {
        println!("{}", create::create(session, parsed)?);
        Ok(0)
    },
};

const START_FLAGS: &[Flag] = &[
    Flag::switch("attach", "Attach STDOUT/STDERR and forward signals").letter('a'),
    Flag::one("checkpoint", "string", "Restore from this checkpoint").refused(),
    Flag::one(
        "checkpoint-dir",
        "string",
        "Use a custom checkpoint storage directory",
    )
    .refused(),
    Flag::one(
        "detach-keys",
        "string",
        "Override the key sequence for detaching a container",
    ),
    Flag::switch("interactive", "Attach container's STDIN").letter('i'),
];

pub(super) static START: Verb = Verb {
    paths: &["start", "container start"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start one or more stopped containers",
    flags: &[START_FLAGS],
    interspersed: true,
    takes: Takes::AtLeast(1),
    run: start,
};

const ATTACH_FLAGS: &[Flag] = &[
    Flag::one(
        "detach-keys",
        "string",
        "Override the key sequence for detaching a container",
    ),
    Flag::switch("no-stdin", "Do not attach STDIN"),
    Flag::switch(
        "sig-proxy",
        "Proxy all received signals to the process (default true)",
    ),
];

pub(super) static ATTACH: Verb = Verb {
    paths: &["attach", "container attach"],
    usage: "[OPTIONS] CONTAINER",
    about: "Attach local standard input, output, and error streams to a running container",
    flags: &[ATTACH_FLAGS],
    interspersed: true,
    takes: Takes::Exactly(1),
    run: attach,
};

pub(super) static EXEC: Verb = Verb {
    paths: &["exec", "container exec"],
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Execute a command in a running container",
    flags: &[flags::EXEC],
    interspersed: false,
    takes: Takes::AtLeast(2),
    run: exec,
};

fn start(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let attached = parsed.switch("attach") || parsed.switch("interactive");
    match parsed.args.as_slice() {
        [name] if attached => start_attached(session, parsed, name),
        names if attached && names.len() > 1 => Err(Failure::Invalid(
            "you cannot start and attach multiple containers at once".to_owned(),
        )),
        names => {
            let mut failed = Vec::new();
            super::each::for_each(names, |name| {
                let start = || {
                    let name = encode(not_empty(name)?);
                    session.post(&format!("/containers/{name}/start"), None)
                };
                match start() {
                    Ok(_) => {
                        println!("{name}");
                        Ok(())
                    }
                    Err(failure) => {
                        failed.push(name.to_owned());
                        tell(&failure.to_string());
                        Ok(())
                    }
                }
            })?;
            if failed.is_empty() {
                Ok(0)
            } else {
                Err(Failure::Invalid(format!(
                    "Error: failed to start containers: {}",
                    failed.join(", ")
                )))
            }
        }
    }
}

fn start_attached(session: &Session, parsed: &Parsed, name: &str) -> Result<u8, Failure> {
    let inspect = session.get(&format!("/containers/{}/json", encode(not_empty(name)?)))?;
    let id = inspect["Id"].as_str().unwrap_or_default().to_owned();
    let tty = inspect["Config"]["Tty"] == true;
    let stdin = parsed.switch("interactive") && inspect["Config"]["OpenStdin"] == true;
    let streams = Streams {
        tty,
        stdin,
        sig_proxy: !tty,
        detach_keys: detach_keys(session, parsed),
    };
    let connection = session.hijack(&attach_path(&id, &streams), None)?;
    let removed = inspect["HostConfig"]["AutoRemove"] == true;
    let mut waiting = Waiting::begin(session, &id, if removed { "removed" } else { "next-exit" })?;
    session.post(&format!("/containers/{id}/start"), None)?;
    let target = format!("/containers/{id}");
    if tty && terminal::size().is_some() {
        let _ = resize(session, &target);
    }
    match carry_streams(session, connection, &streams, &target, Some(&mut waiting))? {
        Ended::Detached => Ok(0),
        Ended::ByServer => waiting.status(),
    }
}

fn attach_path(id: &str, streams: &Streams) -> String {
    let query = Query::new(format!("/containers/{id}/attach"))
        .with("stream", "1")
        .with_switch("stdin", streams.stdin);
    query
        .with("stdout", "1")
        .with("stderr", "1")
        .with_some("detachKeys", &streams.detach_keys)
        .text()
        .to_owned()
}

fn attach(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let name = parsed.args[0].as_str();
    let inspect = session.get(&format!("/containers/{}/json", encode(not_empty(name)?)))?;
    let state = &inspect["State"];
    let refuse = |why: &str| Err(Failure::Invalid(why.to_owned()));
    if state["Running"] != true {
        return refuse("You cannot attach to a stopped container, start it first");
    }
    if state["Paused"] == true {
        return refuse("You cannot attach to a paused container, unpause it first");
    }
    if state["Restarting"] == true {
        return refuse("You cannot attach to a restarting container, wait until it is running");
    }
    let id = inspect["Id"].as_str().unwrap_or_default().to_owned();
    let tty = inspect["Config"]["Tty"] == true;
    let stdin = !parsed.switch("no-stdin") && inspect["Config"]["OpenStdin"] == true;
    if tty && stdin && !terminal::is_terminal(rustix::stdio::stdin()) {
        return refuse("the input device is not a TTY");
    }
    let sig_proxy = !tty && parsed.one("sig-proxy") != Some("false");
    let streams = Streams {
        tty,
        stdin,
        sig_proxy,
        detach_keys: detach_keys(session, parsed),
    };
    let mut waiting = Waiting::begin(session, &id, "not-running")?;
    let connection = session.hijack(&attach_path(&id, &streams), None)?;
    let target = format!("/containers/{id}");
    if tty && terminal::size().is_some() {
        let _ = redraw(session, &target);
    }
    match carry_streams(session, connection, &streams, &target, Some(&mut waiting))? {
        Ended::Detached => {
            tell("read escape sequence");
            Ok(1)
        }
        Ended::ByServer => waiting.status(),
    }
}

fn exec(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let [name, command @ ..] = parsed.args.as_slice() else {
        return Ok(1);
    };
    let tty = parsed.switch("tty");
    let detached = parsed.switch("detach");
    let stdin = parsed.switch("interactive") && !detached;
    if tty && stdin && !terminal::is_terminal(rustix::stdio::stdin()) {
        return Err(Failure::Invalid("the input device is not a TTY".to_owned()));
    }
    let keys = detach_keys(session, parsed);
    let mut body = json!({
        "User": parsed.one("user").unwrap_or_default(),
        "Privileged": parsed.switch("privileged"),
        "Tty": tty,
        "AttachStdin": stdin,
        "AttachStdout": !detached,
        "AttachStderr": !detached,
        "DetachKeys": keys,
        "Env": environment(parsed)?,
        "WorkingDir": parsed.one("workdir").unwrap_or_default(),
        "Cmd": command,
    });
    let size = terminal::size()
        .filter(|_| tty)
        .map(|(rows, columns)| json!([rows, columns]));
    if let Some(size) = &size {
        body["ConsoleSize"] = size.clone();
    }
    let made = session.post(
        &format!("/containers/{}/exec", encode(not_empty(name)?)),
        Some(&body),
    )?;
    let id = made["Id"].as_str().unwrap_or_default().to_owned();
    let mut begin = json!({"Detach": detached, "Tty": tty});
    if let Some(size) = size {
        begin["ConsoleSize"] = size;
    }
    let target = format!("/exec/{id}");
    if detached {
        session.post(&format!("{target}/start"), Some(&begin))?;
        return Ok(0);
    }
    let connection = session.hijack(&format!("{target}/start"), Some(&begin))?;
    let streams = Streams {
        tty,
        stdin,
        sig_proxy: false,
        detach_keys: keys,
    };
    if let Ended::Detached = carry_streams(session, connection, &streams, &target, None)? {
        tell("read escape sequence");
        return Ok(1);
    }
    // The streams are the shim's: the daemon may have gone meanwhile, and the next one knows the status.
    let ask = || {
        again(|| session.get(&format!("{target}/json"))).map_err(|failure| match failure {
            Failure::Daemon { status: 404, .. } => Failure::Plain(
                "nothing is known of the exec any more: its container was removed, or the daemon went away before the \
                 program began"
                    .to_owned(),
            ),
            other => other,
        })
    };
    Ok(crate::container::attachment::status(exit_code(
        ask, SETTLING,
    )?))
}

/// The status of an exec whose stream has ended. Where its supervisor is just being found dead, that is known a moment
/// later.
///
/// # Errors
/// It is not known in all that time; else as asking fails.
fn exit_code(
    mut ask: impl FnMut() -> Result<Value, Failure>,
    patience: Duration,
) -> Result<i64, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(code) = ask()?["ExitCode"].as_i64() {
            return Ok(code);
        }
        if Instant::now() >= deadline {
            let words = "the exec's stream has ended, and its status is not known";
            return Err(Failure::Plain(words.to_owned()));
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_not_known_yet_is_asked_for_again() {
        let mut answers = [
            json!({"ExitCode": null, "Running": true}),
            json!({"ExitCode": 3}),
        ]
        .into_iter();
        let told = exit_code(|| Ok(answers.next().unwrap()), Duration::from_secs(60));
        assert_eq!(told.unwrap(), 3);
        let never = exit_code(|| Ok(json!({"ExitCode": null})), Duration::ZERO);
        assert!(matches!(never, Err(Failure::Plain(_))));
    }
}
