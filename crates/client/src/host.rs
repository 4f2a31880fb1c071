//! Which engine is meant: `-H`, `DOCKER_HOST`, contexts, and what is there by itself.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;

/// Wharf's own socket, and docker's: the first that is there is used when nothing is said.
const SOCKETS: [&str; 2] = ["/run/wharf.sock", "/var/run/docker.sock"];
/// Configuration files larger than this are not read.
const FILE_LIMIT: u64 = 4 << 20;

/// An engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port` of a TCP socket.
    Tcp(String),
}

impl Host {
    /// Reads `unix://PATH`, `tcp://HOST:PORT` (port 2375 when none is named) or `HOST:PORT`.
    ///
    /// # Errors
    /// A sentence for other schemes.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix://") {
            let path = if path.is_empty() { SOCKETS[1] } else { path };
            return Ok(Host::Unix(path.into()));
        }
        if let Some((scheme, _)) = text
            .split_once("://")
            .filter(|(scheme, _)| !["tcp", "http"].contains(scheme))
        {
            return Err(Failure::Invalid(format!(
                "unable to parse docker host `{text}`: wharf's client speaks unix:// and tcp://, not {scheme}://"
            )));
        }
        let address = text
            .split_once("://")
            .map_or(text, |(_, address)| address)
            .trim_end_matches('/');
        if address.is_empty() {
            return Err(Failure::Invalid(format!(
                "unable to parse docker host `{text}`"
            )));
        }
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Host::Tcp(if has_port {
            address.to_owned()
        } else {
            format!("{address}:2375")
        }))
    }

    /// The address as docker's messages write it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Host::Unix(path) => format!("unix://{}", path.display()),
            Host::Tcp(address) => format!("tcp://{address}"),
        }
    }
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
/// A sentence when it is there and can not be read, or is no JSON.
pub(crate) fn config_file(folder: &Path) -> Result<Value, Failure> {
    read_json(&folder.join("config.json")).map_err(|source| {
        Failure::Invalid(format!(
            "Error loading config file: {}: {source}",
            folder.join("config.json").display()
        ))
    })
}

fn read_json(path: &Path) -> io::Result<Value> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_LIMIT => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 4 MiB",
        )),
        Ok(_) => serde_json::from_slice(&fs::read(path)?).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

/// The engine that is meant, and the name of the context that says so.
///
/// In docker's order: `-H`, `-c`, `DOCKER_HOST`, `DOCKER_CONTEXT`, `currentContext`, the default.
///
/// # Errors
/// A context that does not exist, or a host that is not understood.
pub(crate) fn choose(
    host: Option<&str>,
    context: Option<&str>,
    folder: &Path,
) -> Result<(Host, String), Failure> {
    if let Some(host) = host {
        if context.is_some() {
            return Err(Failure::Invalid(
                "conflicting options: cannot specify both --host and --context".to_owned(),
            ));
        }
        return Ok((Host::parse(host)?, "default".to_owned()));
    }
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let named = match (context, variable("DOCKER_HOST")) {
        (Some(context), _) => Some(context.to_owned()),
        (None, Some(host)) => return Ok((Host::parse(&host)?, "default".to_owned())),
        (None, None) => match variable("DOCKER_CONTEXT") {
            Some(context) => Some(context),
            None => config_file(folder)?["currentContext"]
                .as_str()
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        },
    };
    match named.filter(|name| name != "default") {
        None => Ok((default(), "default".to_owned())),
        Some(name) => {
            let host = from_context(folder, &name)?;
            Ok((Host::parse(&host)?, name))
        }
    }
}

/// The socket that is there; Wharf's own when neither is.
fn default() -> Host {
    let there = SOCKETS.iter().find(|path| fs::metadata(path).is_ok());
    Host::Unix(there.unwrap_or(&SOCKETS[0]).into())
}

/// The docker endpoint of a context: `contexts/meta/SHA256(NAME)/meta.json`.
fn from_context(folder: &Path, name: &str) -> Result<String, Failure> {
    let id = types::Digest::sha256(name.as_bytes()).hex();
    let path = folder.join("contexts/meta").join(id).join("meta.json");
    let failed = |source| Failure::Local {
        doing: format!("cannot read context {name:?}"),
        source,
    };
    let meta = read_json(&path).map_err(failed)?;
    let host = meta["Endpoints"]["docker"]["Host"].as_str();
    host.map(str::to_owned).ok_or_else(|| {
        Failure::Invalid(format!(
            "context {name:?}: context not found: open {}: no such file or directory",
            path.display()
        ))
    })
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
        assert!(Host::parse("ssh://me@there").is_err());
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
        let (host, name) = choose(None, Some("far"), folder.path()).unwrap();
        assert_eq!(
            (host, name.as_str()),
            (Host::Tcp("127.0.0.1:9".to_owned()), "far")
        );
        assert!(choose(None, Some("nowhere"), folder.path()).is_err());
        assert!(choose(Some("unix:///a"), Some("far"), folder.path()).is_err());
    }
}
