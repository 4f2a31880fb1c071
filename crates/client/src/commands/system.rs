//! `info`.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
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
        &units::binary_size(info["MemTotal"].as_f64().unwrap_or(0.0)),
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
