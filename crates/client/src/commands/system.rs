//! `info`.

use serde_json::Value;

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::plugins::Plugin;
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
        Err(
            failure @ (Failure::NoDaemon { .. }
            | Failure::Forbidden { .. }
            | Failure::Connection { .. }),
        ) if format.is_empty() => {
            tell_client(session)?;
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
    tell_client(session)?;
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
    let plugins = session.plugins().all();
    info["Plugins"] = plugins.iter().map(Plugin::document).collect();
    info["Warnings"] = Value::Null;
    Ok(info)
}

/// The client's part, and the heading of the server's.
fn tell_client(session: &Session) -> Result<(), Failure> {
    let context = &session.engine()?.1;
    let plugins = session.plugins().all();
    println!(
        "Client:\n Version:    {}\n Context:    {context}\n Debug Mode: false",
        env!("CARGO_PKG_VERSION")
    );
    print!("{}", list(&plugins));
    println!("\nServer:");
    for plugin in &plugins {
        if let Some(fault) = &plugin.fault {
            tell(&format!(
                "WARNING: Plugin {:?} is not valid: {fault}",
                plugin.path.to_string_lossy()
            ));
        }
    }
    Ok(())
}

/// The plugins that can be used, as docker lists them.
fn list(plugins: &[Plugin]) -> String {
    let mut text = String::new();
    for plugin in plugins.iter().filter(|plugin| plugin.fault.is_none()) {
        if text.is_empty() {
            text.push_str(" Plugins:\n");
        }
        text.push_str(&format!(
            "  {}: {} ({})\n",
            plugin.name,
            plugin.text("ShortDescription"),
            plugin.text("Vendor")
        ));
        let path = plugin.path.to_string_lossy();
        for (name, value) in [("Version", plugin.text("Version")), ("Path", path.as_ref())] {
            if !value.is_empty() {
                text.push_str(&format!("    {:<10}{value}\n", format!("{name}:")));
            }
        }
    }
    text
}

/// The server's part, line by line as docker lays it out.
fn server(info: &Value) -> String {
    let mut server = Server {
        info,
        out: String::new(),
    };
    server.things();
    server.abilities();
    server.security();
    server.host();
    server.registries();
    server.out.replace(": \n", ":\n")
}

/// Strings of a list, and no other values.
fn strings(list: &Value) -> impl Iterator<Item = &str> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str)
}

/// What the engine told, and its lines so far.
struct Server<'a> {
    info: &'a Value,
    out: String,
}

impl Server<'_> {
    fn text(&self, field: &str) -> String {
        match &self.info[field] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }

    fn line(&mut self, name: &str, value: &str) {
        self.out.push_str(&if name.is_empty() {
            format!("  {value}\n")
        } else {
            format!(" {name}: {value}\n")
        });
    }

    /// Lines whose values are fields as they are.
    fn fields(&mut self, all: &[(&str, &str)]) {
        for (name, field) in all {
            let value = self.text(field);
            self.line(name, &value);
        }
    }

    fn things(&mut self) {
        self.fields(&[
            ("Containers", "Containers"),
            (" Running", "ContainersRunning"),
            (" Paused", "ContainersPaused"),
            (" Stopped", "ContainersStopped"),
            ("Images", "Images"),
            ("Server Version", "ServerVersion"),
            ("Storage Driver", "Driver"),
        ]);
        for pair in self.info["DriverStatus"].as_array().into_iter().flatten() {
            self.line(
                &format!(" {}", pair[0].as_str().unwrap_or_default()),
                pair[1].as_str().unwrap_or_default(),
            );
        }
    }

    fn abilities(&mut self) {
        self.fields(&[
            ("Logging Driver", "LoggingDriver"),
            ("Cgroup Driver", "CgroupDriver"),
            ("Cgroup Version", "CgroupVersion"),
        ]);
        let info = self.info;
        self.line("Plugins", "");
        for kind in ["Volume", "Network", "Log"] {
            let names: Vec<_> = strings(&info["Plugins"][kind]).collect();
            self.line(&format!(" {kind}"), &names.join(" "));
        }
        let swarm = info["Swarm"]["LocalNodeState"].as_str();
        self.line("Swarm", swarm.unwrap_or("inactive"));
        let runtimes = info["Runtimes"].as_object().into_iter().flatten();
        let runtimes: Vec<_> = runtimes.map(|(name, _)| name.as_str()).collect();
        self.line("Runtimes", &runtimes.join(" "));
        self.fields(&[
            ("Default Runtime", "DefaultRuntime"),
            ("Init Binary", "InitBinary"),
        ]);
    }

    fn security(&mut self) {
        self.line("Security Options", "");
        for option in strings(&self.info["SecurityOptions"]) {
            for (at, part) in option.split(',').enumerate() {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                if at == 0 {
                    self.line("", value)
                } else {
                    self.line(&format!("  {}", capital(key)), value)
                }
            }
        }
    }

    fn host(&mut self) {
        self.fields(&[
            ("Kernel Version", "KernelVersion"),
            ("Operating System", "OperatingSystem"),
            ("OSType", "OSType"),
            ("Architecture", "Architecture"),
            ("CPUs", "NCPU"),
        ]);
        let memory = self.info["MemTotal"].as_f64().unwrap_or(0.0);
        self.line("Total Memory", &units::binary_size(memory));
        self.fields(&[
            ("Name", "Name"),
            ("ID", "ID"),
            ("Docker Root Dir", "DockerRootDir"),
            ("Debug Mode", "Debug"),
        ]);
    }

    fn registries(&mut self) {
        for (name, field) in [
            ("HTTP Proxy", "HttpProxy"),
            ("HTTPS Proxy", "HttpsProxy"),
            ("No Proxy", "NoProxy"),
        ] {
            let value = self.text(field);
            if !value.is_empty() {
                self.line(name, &value);
            }
        }
        self.fields(&[("Experimental", "ExperimentalBuild")]);
        self.line("Insecure Registries", "");
        for registry in strings(&self.info["RegistryConfig"]["InsecureRegistryCIDRs"]) {
            self.line("", registry);
        }
        self.fields(&[("Live Restore Enabled", "LiveRestoreEnabled")]);
        self.out.push('\n');
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
