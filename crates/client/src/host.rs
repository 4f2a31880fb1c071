//! Which engine is meant: `-H`, `DOCKER_HOST`, contexts, and what is there by itself.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::Value;

use crate::contexts::Contexts;
use crate::failure::Failure;
use crate::file;
use crate::query::encode;
use crate::secure::{Trust, Wish};
use crate::ssh;

/// Wharf's own socket, and docker's: the first that is there is used when nothing is said.
const SOCKETS: [&str; 2] = ["/run/wharf.sock", "/var/run/docker.sock"];

/// The engine that is there by itself when TLS is asked for, as for docker's client.
const ENCRYPTED: &str = "localhost:2376";
/// The context that is what flags and variables say.
pub(crate) const DEFAULT_CONTEXT: &str = "default";

/// An engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port` of a TCP socket.
    Tcp(String),
    /// The same, encrypted.
    Tls(Secured),
    /// Another host, by ssh(1).
    Ssh(ssh::Address),
}

/// An address with whom to trust there.
#[derive(Debug, Clone)]
pub(crate) struct Secured {
    /// `host:port`.
    pub(crate) address: String,
    /// How connections are encrypted.
    pub(crate) config: Arc<ClientConfig>,
}

impl PartialEq for Secured {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address && Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for Secured {}

impl Host {
    /// The name or address of a host that is reached by TCP.
    pub(crate) fn name(&self) -> Option<&str> {
        let address = match self {
            Host::Tcp(address) => address,
            Host::Tls(secured) => &secured.address,
            Host::Unix(_) | Host::Ssh(_) => return None,
        };
        address.rsplit_once(':').map(|(name, _)| name)
    }

    /// Reads `unix://PATH`, `tcp://HOST:PORT` (port 2375 when none is named) or `HOST:PORT`.
    ///
    /// # Errors
    /// A sentence for other schemes; docker's where docker has none either.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(default());
        }
        let (scheme, address) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if address.is_empty() => Ok(Host::Unix(SOCKETS[1].into())),
            "unix" => Ok(Host::Unix(address.into())),
            "tcp" => tcp(text, address).map(Host::Tcp),
            "fd" => Err(Failure::Endpoint(format!(
                "unable to parse docker host `{text}`"
            ))),
            "npipe" => Err(Failure::Endpoint("protocol not available".to_owned())),
            "ssh" => ssh::Address::parse(text)
                .map(Host::Ssh)
                .map_err(Failure::Endpoint),
            _ => Err(unresolved(&format!("invalid bind address format: {text}"))),
        }
    }

    /// The address as docker's messages write it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Host::Unix(path) => format!("unix://{}", path.display()),
            Host::Tcp(address) | Host::Tls(Secured { address, .. }) => format!("tcp://{address}"),
            Host::Ssh(address) => address.shown().to_owned(),
        }
    }

    /// The address as docker's messages write it where they name a request.
    pub(crate) fn url(&self) -> String {
        match self {
            Host::Unix(path) => format!("http://{}", encode(&path.to_string_lossy())),
            Host::Tcp(address) => format!("http://{address}"),
            Host::Tls(Secured { address, .. }) => format!("https://{address}"),
            // Docker's name for what no address leads to.
            Host::Ssh(_) => "http://docker.example.com".to_owned(),
        }
    }

    /// The same engine with connections that are encrypted, if they go over TCP.
    ///
    /// # Errors
    /// Certificates that are none.
    fn secured(self, trust: &Trust) -> Result<Self, Failure> {
        match self {
            Host::Tcp(address) => Ok(Host::Tls(Secured {
                address,
                config: trust.config().map_err(Failure::Endpoint)?,
            })),
            other => Ok(other),
        }
    }
}

fn unresolved(why: &str) -> Failure {
    Failure::Endpoint(format!("unable to resolve docker endpoint: {why}"))
}

/// Host and port of a TCP address.
fn tcp(text: &str, address: &str) -> Result<String, Failure> {
    let address = address.trim_end_matches('/');
    if address.contains('/') {
        return Err(unresolved(&format!(
            "{text}: wharf's client takes no path behind a TCP address"
        )));
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => match port.parse::<u16>() {
            Ok(port) => (host, port),
            Err(_) => {
                return Err(unresolved(&format!("invalid bind address format: {text}")));
            }
        },
        _ => (address, 2375),
    };
    let host = if host.is_empty() { "localhost" } else { host };
    Ok(format!("{host}:{port}"))
}

/// The client's configuration folder: `--config`, `DOCKER_CONFIG`, `~/.docker`.
pub(crate) fn config_folder(flag: Option<&str>) -> PathBuf {
    let named = flag.map(PathBuf::from).or_else(|| {
        env::var_os("DOCKER_CONFIG")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    });
    named.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".docker"))
}

/// `config.json` of that folder; null when there is none.
///
/// # Errors
/// A sentence when it is there and can not be read, or is no JSON object.
pub(crate) fn config_file(folder: &Path) -> Result<Value, String> {
    let path = folder.join("config.json");
    let text = file::content_if_there(&path).map_err(|error| {
        format!(
            "Error loading config file: open {}: {}",
            path.display(),
            crate::failure::plain(&error)
        )
    })?;
    if text.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    let parsed = serde_json::from_slice(&text).map_err(|error| error.to_string());
    parsed
        .and_then(|value: Value| match unfit(&value) {
            None => Ok(value),
            Some(fault) => Err(format!("json: cannot unmarshal {fault}")),
        })
        .map_err(|why| format!("Error parsing config file ({}): {why}", path.display()))
}

/// What in the configuration is of another kind than it must be, as Go tells it; of the fields that this client reads.
fn unfit(config: &Value) -> Option<String> {
    const TEXTS: [&str; 7] = [
        "psFormat",
        "imagesFormat",
        "networksFormat",
        "volumesFormat",
        "detachKeys",
        "currentContext",
        "credsStore",
    ];
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let field = |value: &Value, name: &str, wanted: &str| {
        Some(format!(
            "{} into Go struct field ConfigFile.{name} of type {wanted}",
            kind(value)
        ))
    };
    let Some(config) = config.as_object() else {
        return Some(format!(
            "{} into Go value of type configfile.ConfigFile",
            kind(config)
        ));
    };
    for (name, value) in config {
        match value {
            Value::Null | Value::String(_) if TEXTS.contains(&name.as_str()) => {}
            _ if TEXTS.contains(&name.as_str()) => return field(value, name, "string"),
            Value::Object(headers) if name == "HttpHeaders" => {
                let wrong = headers
                    .values()
                    .find(|value| !matches!(value, Value::String(_) | Value::Null));
                if let Some(value) = wrong {
                    return field(value, name, "string");
                }
            }
            Value::Null => {}
            _ if name == "HttpHeaders" => return field(value, name, "map[string]string"),
            _ => {}
        }
    }
    None
}

/// The name of the context that is meant.
///
/// In docker's order: `-c`, `DOCKER_CONTEXT`, `currentContext` as `current` gives it when that far is asked. The context
/// `default` is what `-H` and `DOCKER_HOST` say, and is meant where one of them says something.
pub(crate) fn context<'a>(
    hosts: &[String],
    flag: Option<&str>,
    current: impl FnOnce() -> &'a str,
) -> String {
    let named = match flag {
        Some(name) => name.to_owned(),
        None if !hosts.is_empty() || variable("DOCKER_HOST").is_some() => String::new(),
        None => variable("DOCKER_CONTEXT").unwrap_or_else(|| current().to_owned()),
    };
    match named.as_str() {
        "" => DEFAULT_CONTEXT.to_owned(),
        _ => named,
    }
}

/// The engine of a context.
///
/// # Errors
/// A context that does not exist, or a host that is not understood.
pub(crate) fn of_context(
    name: &str,
    hosts: &[String],
    wish: &Wish,
    folder: &Path,
) -> Result<Host, Failure> {
    if name == DEFAULT_CONTEXT {
        return by_itself(hosts, wish);
    }
    let contexts = Contexts::in_folder(folder);
    let failed = |fault: String| unresolved(&fault);
    let context = contexts.find(name).map_err(failed)?;
    let host = Host::parse(context.host())?;
    let secrets = contexts.secrets(name).map_err(failed)?;
    match context.trust(&secrets) {
        Some(trust) => host.secured(&trust),
        None => Ok(host),
    }
}

/// The engine that `-H`, `DOCKER_HOST` or what is there says.
///
/// # Errors
/// A host that is not understood.
pub(crate) fn by_itself(hosts: &[String], wish: &Wish) -> Result<Host, Failure> {
    let trust = wish.trust().map_err(|why| unresolved(&why))?;
    let host = match (hosts, variable("DOCKER_HOST")) {
        ([], None) if trust.is_some() => Host::Tcp(ENCRYPTED.to_owned()),
        ([], None) => default(),
        ([], Some(host)) => Host::parse(&host)?,
        ([host], _) => Host::parse(host)?,
        _ => return Err(unresolved("Specify only one -H")),
    };
    match (trust, &host) {
        (None, _) => Ok(host),
        (Some(trust), Host::Tcp(_)) => host.secured(&trust),
        (Some(_), _) => Err(unresolved(&format!(
            "TLS is for tcp:// hosts, and {} is none: leave --tls, --tlsverify, DOCKER_TLS and DOCKER_TLS_VERIFY away",
            host.shown()
        ))),
    }
}

/// A variable of the environment that says something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The socket that is there; Wharf's own when neither is.
pub(crate) fn default() -> Host {
    let there = SOCKETS.iter().find(|path| fs::metadata(path).is_ok());
    Host::Unix(there.unwrap_or(&SOCKETS[0]).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_docker_reads_them() {
        assert_eq!(
            Host::parse("unix:///x/y").unwrap(),
            Host::Unix("/x/y".into())
        );
        assert_eq!(
            Host::parse("tcp://localhost").unwrap(),
            Host::Tcp("localhost:2375".to_owned())
        );
        assert_eq!(
            Host::parse("127.0.0.1:5").unwrap(),
            Host::Tcp("127.0.0.1:5".to_owned())
        );
        assert_eq!(
            Host::parse(":1").unwrap(),
            Host::Tcp("localhost:1".to_owned())
        );
        assert_eq!(
            Host::parse("[::1]").unwrap(),
            Host::Tcp("[::1]:2375".to_owned())
        );
        for text in [
            "ssh://me:secret@there",
            "fd://",
            "http://x:1",
            "tcp://x:y",
            "x:1/path",
        ] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_context_names_its_engine() {
        let folder = tempfile::tempdir().unwrap();
        let meta = folder
            .path()
            .join("contexts/meta")
            .join(types::Digest::sha256(b"far").hex());
        fs::create_dir_all(&meta).unwrap();
        fs::write(
            meta.join("meta.json"),
            r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://127.0.0.1:9"}}}"#,
        )
        .unwrap();
        let none = || "";
        assert_eq!(context(&[], Some("far"), none), "far");
        let wish = Wish::default();
        let host = of_context("far", &[], &wish, folder.path()).unwrap();
        assert_eq!(host, Host::Tcp("127.0.0.1:9".to_owned()));
        assert!(of_context("nowhere", &[], &wish, folder.path()).is_err());
        let hosts = ["unix:///a".to_owned(), "unix:///b".to_owned()];
        assert_eq!(context(&hosts[..1], None, || "far"), DEFAULT_CONTEXT);
        assert_eq!(
            by_itself(&hosts[..1], &wish).unwrap(),
            Host::Unix("/a".into())
        );
        assert!(by_itself(&hosts, &wish).is_err());
    }
}
