//! Engines of other hosts over ssh(1): the program is executed, and its standard streams are the connection to
//! `system dial-stdio` at the far side.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};

/// How long the program may take to end once its connection has.
const END: Duration = Duration::from_secs(2);
/// So much of what it says is told.
const TOLD: u64 = 8 << 10;

/// `ssh://[user@]host[:port][/path]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    text: String,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// The engine's socket at the far side, when it is not the one that is there by itself.
    path: Option<String>,
}

impl Address {
    /// Reads what stands behind `ssh://` in `text`.
    ///
    /// # Errors
    /// Docker's words for what is no such address.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let invalid =
            |why: String| format!("ssh host connection is not valid: invalid SSH URL: {why}");
        let rest = text.strip_prefix("ssh://").unwrap_or(text);
        if let Some((_, fragment)) = rest.split_once('#') {
            return Err(invalid(format!("fragments are not allowed: {fragment:?}")));
        }
        if let Some((_, query)) = rest.split_once('?') {
            return Err(invalid(format!(
                "query parameters are not allowed: {query:?}"
            )));
        }
        let (place, path) = match rest.find('/') {
            Some(at) => (&rest[..at], Some(rest[at..].to_owned())),
            None => (rest, None),
        };
        let (user, place) = match place.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err(invalid("plain-text password is not supported".to_owned()));
            }
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, place),
        };
        let (host, port) = match place
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        if host.is_empty() {
            return Err(invalid("hostname is empty".to_owned()));
        }
        let port = match port.filter(|port| !port.is_empty()) {
            None => None,
            Some(port) => Some(port.parse().map_err(|_| {
                format!(
                    "parse {text:?}: invalid port {:?} after host",
                    format!(":{port}")
                )
            })?),
        };
        // Words of a command line: what ssh or a shell would take for something else has no place there.
        let is_word = |word: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "_.+-@:%,=/".contains(c);
            !word.starts_with('-') && word.chars().all(fits)
        };
        let words = [Some(host), user.as_deref(), path.as_deref()];
        if let Some(word) = words.into_iter().flatten().find(|word| !is_word(word)) {
            return Err(invalid(format!(
                "{word:?} has letters that wharf does not pass on"
            )));
        }
        Ok(Address {
            text: text.to_owned(),
            user,
            host: host.to_owned(),
            port,
            path,
        })
    }

    /// The address as it was given.
    pub(crate) fn shown(&self) -> &str {
        &self.text
    }

    /// The arguments of ssh(1). As `docker` it is asked for what docker's client asks for; as `wharf` for whichever of the
    /// two is there, by words that every shell reads alike.
    fn args(&self, program: &str) -> Vec<String> {
        let mut args: Vec<String> = ["-o", "ConnectTimeout=30", "-T"].map(str::to_owned).into();
        if let Some(user) = &self.user {
            args.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            args.extend(["-p".to_owned(), port.to_string()]);
        }
        args.extend(["--".to_owned(), self.host.clone()]);
        let host = match &self.path {
            Some(path) => format!(" --host unix://{path}"),
            None => String::new(),
        };
        let dial = |name: &str| format!("{name}{host} system dial-stdio");
        if program == "docker" {
            args.extend(dial("docker").split(' ').map(str::to_owned));
        } else {
            args.push(format!(
                "sh -c 'command -v wharf >/dev/null 2>&1 && exec {}; exec {}'",
                dial("wharf"),
                dial("docker")
            ));
        }
        args
    }
}

/// A running ssh(1).
pub(crate) struct Tunnel {
    shown: String,
    running: RefCell<Running>,
}

struct Running {
    child: Child,
    said: File,
}

/// Starts ssh(1): the connection to the far side, and the program that carries it.
///
/// # Errors
/// Why it could not be started.
pub(crate) fn open(address: &Address) -> io::Result<(UnixStream, Tunnel)> {
    let args = address.args(&crate::invoke::program_name());
    let (here, there) = UnixStream::pair()?;
    // In memory, so that a program that says much does not wait for somebody to read it.
    let said = File::from(memfd_create("ssh", MemfdFlags::CLOEXEC)?);
    let mut command = Command::new("ssh");
    command
        .args(&args)
        .stdin(OwnedFd::from(there.try_clone()?))
        .stdout(OwnedFd::from(there))
        .stderr(said.try_clone()?);
    sys::child::takes_signals(&mut command);
    // Ctrl-C is for the container, to which the client passes it on over this connection; and who else would end one that
    // has not reached its host yet?
    sys::child::serves_its_parent(&mut command);
    let child = command.spawn()?;
    let running = RefCell::new(Running { child, said });
    let shown = format!("ssh {}", args.join(" "));
    Ok((here, Tunnel { shown, running }))
}

impl Tunnel {
    /// What became of the program, in docker's words, when its connection ended before it should have.
    pub(crate) fn explain(&self) -> Option<String> {
        let mut running = self.running.borrow_mut();
        let end = Instant::now() + END;
        let status = loop {
            match running.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                _ => return None,
            }
        };
        let mut said = String::new();
        let file = &mut running.said;
        file.seek(SeekFrom::Start(0)).ok()?;
        file.take(TOLD).read_to_string(&mut said).ok()?;
        Some(format!(
            "command [{}] has exited with {}, make sure the URL is valid, and Wharf or Docker (18.09 or later) is installed on the remote host: stderr={said}",
            self.shown,
            status.to_string().replace(": ", " ")
        ))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // It ends with its connection; one that has is not left to wait for its parent.
        let _ = self.running.get_mut().child.try_wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str, program: &str) -> String {
        Address::parse(text).unwrap().args(program).join(" ")
    }

    #[test]
    fn the_command_line_is_docker_s() {
        for (text, expected) in [
            ("ssh://there", "-T -- there docker system dial-stdio"),
            (
                "ssh://me@there:22",
                "-T -l me -p 22 -- there docker system dial-stdio",
            ),
            ("ssh://[::1]:22", "-T -p 22 -- ::1 docker system dial-stdio"),
            (
                "ssh://there/run/x.sock",
                "-T -- there docker --host unix:///run/x.sock system dial-stdio",
            ),
        ] {
            let expected = format!("-o ConnectTimeout=30 {expected}");
            assert_eq!(args(text, "docker"), expected);
        }
        assert!(args("ssh://there/run/x.sock", "wharf").ends_with(
            "there sh -c 'command -v wharf >/dev/null 2>&1 && exec wharf --host unix:///run/x.sock system dial-stdio; exec docker --host unix:///run/x.sock system dial-stdio'"
        ));
    }

    #[test]
    fn what_is_no_address_is_told_in_docker_s_words() {
        let fault = |text: &str| Address::parse(text).unwrap_err();
        for (text, end) in [
            ("ssh://me:pw@there", "plain-text password is not supported"),
            ("ssh://", "hostname is empty"),
            ("ssh://me@:22", "hostname is empty"),
            (
                "ssh://there?x=y",
                "query parameters are not allowed: \"x=y\"",
            ),
            ("ssh://there#f", "fragments are not allowed: \"f\""),
        ] {
            let expected = format!("ssh host connection is not valid: invalid SSH URL: {end}");
            assert_eq!(fault(text), expected);
        }
        assert_eq!(
            fault("ssh://there:x"),
            "parse \"ssh://there:x\": invalid port \":x\" after host"
        );
        for text in [
            "ssh://-oProxyCommand=x",
            "ssh://-l@there",
            "ssh://there/a'b",
            "ssh://there/$(x)",
            "ssh://a b",
            "ssh://there:99999",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
