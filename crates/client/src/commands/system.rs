//! `info`, and the prune verbs.

use std::io::{BufRead, Write};

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::Query;
use crate::session::{SHAPE_VERSION, Session, tell};
use crate::template::{self, Template, schema};
use crate::units;
use crate::verb::{Takes, Verb};

pub(super) static INFO: Verb = Verb {
    paths: &["info", "system info"],
    usage: "[OPTIONS]",
    about: "Display system-wide information",
    flags: &[&[
        Flag::one("format", "string", "Format output: 'json' or a Go template").letter('f'),
    ]],
    interspersed: true,
    takes: Takes::Nothing,
    run: info,
};

fn info(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let format = parsed.one("format").unwrap_or_default();
    let answer = match session.get_as(SHAPE_VERSION, "/info") {
        Err(failure @ Failure::NoDaemon { .. }) if format.is_empty() => {
            println!("{}", client(session)?);
            return Err(failure);
        }
        answer => answer?,
    };
    if !format.is_empty() {
        let template =
            match format {
                "json" => None,
                text => Some(Template::parse(text).map_err(|fault| {
                    Failure::Template(format!("template parsing error: {fault}"))
                })?),
            };
        let mut whole = answer;
        whole["ClientInfo"] = client_info(session)?;
        let whole = template::Value::read(&whole, &schema::system::DOCKER_INFO);
        return super::print_document(template.as_ref(), &whole);
    }
    println!("{}", client(session)?);
    print!("{}", server(&answer));
    for warning in answer["Warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        tell(warning);
    }
    Ok(0)
}

/// The client's part for templates.
fn client_info(session: &Session) -> Result<Value, Failure> {
    let mut info = super::version::client(session)?;
    info["Debug"] = session.debug.into();
    info["Plugins"] = json!([]);
    info["Warnings"] = Value::Null;
    Ok(info)
}

/// The client's part, and the heading of the server's.
fn client(session: &Session) -> Result<String, Failure> {
    Ok(format!(
        "Client:\n Version:    {}\n Context:    {}\n Debug Mode: false\n\nServer:",
        env!("CARGO_PKG_VERSION"),
        session.engine()?.1
    ))
}

/// The server's part, line by line as docker lays it out.
fn server(info: &Value) -> String {
    let text = |name: &str| match &info[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let words = |list: &Value| {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        out.push_str(&if name.is_empty() {
            format!("  {value}\n")
        } else {
            format!(" {name}: {value}\n")
        });
    };
    line("Containers", &text("Containers"));
    line(" Running", &text("ContainersRunning"));
    line(" Paused", &text("ContainersPaused"));
    line(" Stopped", &text("ContainersStopped"));
    line("Images", &text("Images"));
    line("Server Version", &text("ServerVersion"));
    line("Storage Driver", &text("Driver"));
    for pair in info["DriverStatus"].as_array().into_iter().flatten() {
        line(
            &format!(" {}", pair[0].as_str().unwrap_or_default()),
            pair[1].as_str().unwrap_or_default(),
        );
    }
    line("Logging Driver", &text("LoggingDriver"));
    line("Cgroup Driver", &text("CgroupDriver"));
    line("Cgroup Version", &text("CgroupVersion"));
    line("Plugins", "");
    for kind in ["Volume", "Network", "Log"] {
        line(&format!(" {kind}"), &words(&info["Plugins"][kind]));
    }
    line(
        "Swarm",
        info["Swarm"]["LocalNodeState"]
            .as_str()
            .unwrap_or("inactive"),
    );
    let runtimes: Vec<_> = info["Runtimes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    line("Runtimes", &runtimes.join(" "));
    line("Default Runtime", &text("DefaultRuntime"));
    line("Init Binary", &text("InitBinary"));
    line("Security Options", "");
    for option in info["SecurityOptions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        for (at, part) in option.split(',').enumerate() {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if at == 0 {
                line("", value)
            } else {
                line(&format!("  {}", capital(key)), value)
            }
        }
    }
    line("Kernel Version", &text("KernelVersion"));
    line("Operating System", &text("OperatingSystem"));
    line("OSType", &text("OSType"));
    line("Architecture", &text("Architecture"));
    line("CPUs", &text("NCPU"));
    line(
        "Total Memory",
        &binary(info["MemTotal"].as_f64().unwrap_or(0.0)),
    );
    line("Name", &text("Name"));
    line("ID", &text("ID"));
    line("Docker Root Dir", &text("DockerRootDir"));
    line("Debug Mode", &text("Debug"));
    for (name, field) in [
        ("HTTP Proxy", "HttpProxy"),
        ("HTTPS Proxy", "HttpsProxy"),
        ("No Proxy", "NoProxy"),
    ] {
        let value = text(field);
        if !value.is_empty() {
            line(name, &value);
        }
    }
    line("Experimental", &text("ExperimentalBuild"));
    let registries: Vec<_> = info["RegistryConfig"]["InsecureRegistryCIDRs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    line("Insecure Registries", "");
    for registry in registries {
        out.push_str(&format!("  {registry}\n"));
    }
    out.push_str(&format!(
        " Live Restore Enabled: {}\n\n",
        text("LiveRestoreEnabled")
    ));
    out.replace(": \n", ":\n")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// A size with powers of 1024: `23.54GiB`.
fn binary(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 || unit == "TiB" {
            let digits = if value >= 100.0 {
                1
            } else if value >= 10.0 {
                2
            } else {
                3
            };
            let text = format!("{value:.digits$}");
            return format!(
                "{}{unit}",
                if text.contains('.') {
                    text.trim_end_matches('0').trim_end_matches('.')
                } else {
                    &text
                }
            );
        }
        value /= 1024.0;
    }
    String::new()
}

const PRUNE_FLAGS: &[Flag] = &[
    Flag::list("filter", "filter", "Provide filter values"),
    Flag::switch("force", "Do not prompt for confirmation").letter('f'),
];
const PRUNE_ALL: &[Flag] = &[Flag::switch(
    "all",
    "Remove all that is unused, not just what has no name",
)
.letter('a')];

const fn prune(
    path: &'static [&'static str],
    about: &'static str,
    flags: &'static [&'static [Flag]],
    run: fn(&Session, &Parsed) -> Result<u8, Failure>,
) -> Verb {
    Verb {
        paths: path,
        usage: "[OPTIONS]",
        about,
        flags,
        interspersed: true,
        takes: Takes::Nothing,
        run,
    }
}

pub(super) static CONTAINER_PRUNE: Verb = prune(
    &["container prune"],
    "Remove all stopped containers",
    &[PRUNE_FLAGS],
    |session, parsed| {
        confirm(parsed, "WARNING! This will remove all stopped containers.")?;
        let answer = pruned(session, "/containers/prune", &parsed.list("filter"))?;
        tell_pruned(
            "Deleted Containers:",
            &names(&answer["ContainersDeleted"]),
            &answer,
        )
    },
);

pub(super) static IMAGE_PRUNE: Verb = prune(
    &["image prune"],
    "Remove unused images",
    &[PRUNE_ALL, PRUNE_FLAGS],
    |session, parsed| {
        let all = parsed.switch("all");
        confirm(
            parsed,
            if all {
                "WARNING! This will remove all images without at least one container associated to them."
            } else {
                "WARNING! This will remove all dangling images."
            },
        )?;
        let mut filters = parsed.list("filter");
        filters.push(format!("dangling={}", !all));
        let answer = pruned(session, "/images/prune", &filters)?;
        tell_pruned("Deleted Images:", &super::images::pruned(&answer), &answer)
    },
);

pub(super) static VOLUME_PRUNE: Verb = prune(
    &["volume prune"],
    "Remove unused local volumes",
    &[PRUNE_ALL, PRUNE_FLAGS],
    |session, parsed| {
        let all = parsed.switch("all");
        if all
            && parsed
                .list("filter")
                .iter()
                .any(|text| text.starts_with("all="))
        {
            return Err(Failure::Invalid(
                "conflicting options: cannot specify both --all and --filter all=1".to_owned(),
            ));
        }
        confirm(
            parsed,
            if all {
                "WARNING! This will remove all local volumes not used by at least one container."
            } else {
                "WARNING! This will remove anonymous local volumes not used by at least one container."
            },
        )?;
        let mut filters = parsed.list("filter");
        if all {
            filters.push("all=true".to_owned());
        }
        let answer = pruned(session, "/volumes/prune", &filters)?;
        tell_pruned(
            "Deleted Volumes:",
            &names(&answer["VolumesDeleted"]),
            &answer,
        )
    },
);

fn names(list: &Value) -> String {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|name| format!("{name}\n"))
        .collect()
}

fn pruned(session: &Session, path: &str, filters: &[String]) -> Result<Value, Failure> {
    session.post(
        Query::new(path)
            .with_some("filters", &super::filters(filters)?)
            .text(),
        None,
    )
}

fn tell_pruned(title: &str, names: &str, answer: &Value) -> Result<u8, Failure> {
    if !names.is_empty() {
        print!("{title}\n{names}\n");
    }
    println!(
        "Total reclaimed space: {}",
        units::size(answer["SpaceReclaimed"].as_f64().unwrap_or(0.0))
    );
    Ok(0)
}

/// Asks before something is removed, unless `--force` is there.
///
/// # Errors
/// Status 0 when the answer is no: nothing was done, as was asked for.
fn confirm(parsed: &Parsed, warning: &str) -> Result<(), Failure> {
    if parsed.switch("force") {
        return Ok(());
    }
    print!("{warning}\nAre you sure you want to continue? [y/N] ");
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    if line.trim().eq_ignore_ascii_case("y") {
        Ok(())
    } else {
        Err(Failure::Status(0))
    }
}
