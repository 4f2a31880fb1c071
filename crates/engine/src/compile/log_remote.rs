//! Log drivers whose lines go elsewhere as well: `syslog` and `journald`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use api_types::LogConfig;
use rustix::fs::{Mode, OFlags};
use shim::protocol::{Layout, Place, Remote, Words};

use super::log_tag::{Info, Template};
use super::plan::Descriptors;
use crate::outcome::{EngineError, Result};

/// Where a host's own syslog may listen.
const LOCAL_SYSLOGS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
/// Where systemd's journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG_PORT: u16 = 514;
/// How long a server of another host may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The tag that docker gives where none is asked for.
const TAG: &str = "{{.ID}}";
/// What one message may carry beside its text, in bytes.
const FIELDS_LIMIT: usize = 32 << 10;

const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Where lines go beside the log's files, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    Syslog {
        address: Address,
        facility: u8,
        layout: Layout,
    },
    Journal,
}

/// Where a syslog is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// Wherever this host has one.
    Own,
    /// At a socket file.
    Local { path: PathBuf, stream: bool },
    /// At a host's port.
    Network {
        host: String,
        port: u16,
        stream: bool,
    },
}

/// Whether an option is one of this driver's.
pub(crate) fn is_known(driver: &str, option: &str) -> bool {
    match option {
        "tag" | "labels" | "labels-regex" | "env" | "env-regex" | "mode" | "max-buffer-size" => {
            true
        }
        "cache-disabled" | "cache-max-size" | "cache-max-file" | "cache-compress" => true,
        _ => driver == "syslog" && option.starts_with("syslog-") && is_syslog_s(option),
    }
}

fn is_syslog_s(option: &str) -> bool {
    matches!(
        option,
        "syslog-address"
            | "syslog-facility"
            | "syslog-format"
            | "syslog-tls-ca-cert"
            | "syslog-tls-cert"
            | "syslog-tls-key"
            | "syslog-tls-skip-verify"
    )
}

/// Reads where lines go; `None` for a driver that has files alone.
///
/// # Errors
/// Docker's sentences; TLS by name.
pub(crate) fn destination(
    driver: &str,
    options: &BTreeMap<String, String>,
) -> Result<Option<Destination>> {
    let given = |name: &str| options.get(name).map_or("", String::as_str);
    match driver {
        "journald" => Ok(Some(Destination::Journal)),
        "syslog" => Ok(Some(Destination::Syslog {
            address: address(given("syslog-address"))?,
            facility: facility(given("syslog-facility"))?,
            layout: match given("syslog-format") {
                "" => Layout::Unix,
                "rfc3164" => Layout::Rfc3164,
                "rfc5424" => Layout::Rfc5424,
                "rfc5424micro" => Layout::Rfc5424Micro,
                _ => return Err(EngineError::invalid("Invalid syslog format")),
            },
        })),
        _ => Ok(None),
    }
}

/// Looks for the socket file that a log's options name. Waits for its file system.
///
/// # Errors
/// Docker's sentence when there is none.
pub(crate) fn look_for(log: &LogConfig) -> Result<()> {
    let options = log.config.as_ref();
    let named = options.and_then(|options| options.get("syslog-address"));
    match named
        .filter(|_| log.kind == "syslog")
        .map(|text| address(text))
    {
        Some(Ok(Address::Local { path, .. })) if !path.exists() => Err(EngineError::invalid(
            format!("stat {}: no such file or directory", path.display()),
        )),
        _ => Ok(()),
    }
}

fn facility(text: &str) -> Result<u8> {
    if text.is_empty() {
        return Ok(3);
    }
    let named = FACILITIES.iter().find(|(name, _)| *name == text);
    named
        .map(|(_, number)| *number)
        .or_else(|| text.parse().ok().filter(|number| *number <= 23))
        .ok_or_else(|| EngineError::invalid("invalid syslog facility"))
}

fn address(text: &str) -> Result<Address> {
    if text.is_empty() {
        return Ok(Address::Own);
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    match scheme {
        "unix" | "unixgram" => Ok(Address::Local {
            path: PathBuf::from(rest),
            stream: scheme == "unix",
        }),
        "udp" | "tcp" => {
            let place = rest.split('/').next().unwrap_or_default();
            let (host, port) = host_and_port(place).ok_or_else(|| {
                EngineError::invalid(format!("address {place}: no host and port of a syslog"))
            })?;
            Ok(Address::Network {
                host,
                port,
                stream: scheme == "tcp",
            })
        }
        "tcp+tls" => Err(EngineError::unsupported(
            "the scheme tcp+tls of the log option \"syslog-address\"",
        )),
        other => Err(EngineError::invalid(format!(
            "unsupported scheme: '{other}'"
        ))),
    }
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        let port = match behind {
            "" => SYSLOG_PORT,
            behind => behind.strip_prefix(':')?.parse().ok()?,
        };
        return Some((host.to_owned(), port));
    }
    match text.split_once(':') {
        _ if text.is_empty() => None,
        None => Some((text.to_owned(), SYSLOG_PORT)),
        Some((host, port)) => Some((host.to_owned(), port.parse().ok()?)),
    }
}

impl Destination {
    /// Connects to the other side, and puts into words what each line carries there.
    ///
    /// # Errors
    /// Docker's sentences about who is not there.
    pub(crate) fn open(
        &self,
        info: &Info<'_>,
        attributes: &BTreeMap<String, String>,
        descriptors: &mut Descriptors,
    ) -> Result<Remote> {
        let asked = info.options.get("tag").map(String::as_str);
        let template = asked.filter(|tag| !tag.is_empty()).unwrap_or(TAG);
        let tag = Template::parse(template)?.render(info);
        let (socket, place, words) = match self {
            Destination::Journal => {
                let (socket, place) = local(Path::new(JOURNAL), false, descriptors)
                    .map_err(|_| refused("journald is not enabled on this host"))?;
                let fields = journal_fields(info, &tag, attributes);
                (socket, place, Words::Journal { fields })
            }
            Destination::Syslog {
                address,
                facility,
                layout,
            } => {
                let (socket, place) = address.open(descriptors)?;
                let host = rustix::system::uname();
                let words = Words::Syslog {
                    layout: *layout,
                    facility: *facility,
                    host: host.nodename().to_string_lossy().into_owned(),
                    tag,
                };
                (socket, place, words)
            }
        };
        let length = match &words {
            Words::Syslog { tag, .. } => tag.len(),
            Words::Journal { fields } => fields.len(),
        };
        if length > FIELDS_LIMIT {
            return Err(refused(&format!(
                "labels, variables and tag have {length} bytes, and a message may carry {FIELDS_LIMIT}"
            )));
        }
        Ok(Remote {
            words,
            place,
            socket: descriptors.slot(socket),
        })
    }
}

fn refused(why: &str) -> EngineError {
    super::logging::senseless(why)
}

impl Address {
    fn open(&self, descriptors: &mut Descriptors) -> Result<(OwnedFd, Place)> {
        match self {
            Address::Own => {
                let tried = LOCAL_SYSLOGS
                    .iter()
                    .flat_map(|path| [(path, false), (path, true)]);
                for (path, stream) in tried {
                    if let Ok(opened) = local(Path::new(path), stream, descriptors) {
                        return Ok(opened);
                    }
                }
                Err(refused("Unix syslog delivery error"))
            }
            Address::Local { path, stream } => local(path, *stream, descriptors).map_err(|error| {
                let kind = if *stream { "unix" } else { "unixgram" };
                refused(&format!(
                    "dial {kind} {}: connect: {}",
                    path.display(),
                    words_of(&error)
                ))
            }),
            Address::Network { host, port, stream } => over(host, *port, *stream),
        }
    }
}

/// A system's error in its usual words, without its number.
fn words_of(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    words.to_lowercase()
}

/// Connects to a socket file, and keeps its folder: who listens there may be replaced.
fn local(
    path: &Path,
    stream: bool,
    descriptors: &mut Descriptors,
) -> std::io::Result<(OwnedFd, Place)> {
    // /dev/log is a link where systemd is: what it leads to is what may be replaced.
    let path = std::fs::canonicalize(path)?;
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(folder), Some(name)) = (path.parent(), name) else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let socket = sys::fdpass::connect_to(folder.as_fd(), name, stream)?;
    let place = Place::Local {
        folder: descriptors.slot(folder),
        name: name.to_owned(),
        stream,
    };
    Ok((socket, place))
}

/// Connects to a server by the network. Waits for a connection, since docker tells at the start that there is none.
fn over(host: &str, port: u16, stream: bool) -> Result<(OwnedFd, Place)> {
    let kind = if stream { "tcp" } else { "udp" };
    let address = SocketAddr::new(resolve(host, kind)?, port);
    let failed = |error: std::io::Error| {
        refused(&format!(
            "dial {kind} {address}: connect: {}",
            words_of(&error)
        ))
    };
    let socket = if stream {
        TcpStream::connect_timeout(&address, CONNECT)
            .map_err(failed)?
            .into()
    } else {
        sys::fdpass::connect_over(address, false).map_err(failed)?
    };
    Ok((socket, Place::Network { address, stream }))
}

/// Looks a name up. Runs on a thread that may wait.
fn resolve(host: &str, kind: &str) -> Result<IpAddr> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let runtime = tokio::runtime::Handle::try_current();
    let found = runtime
        .map_err(|_| String::new())
        .and_then(|runtime| runtime.block_on(image::registry::addresses(host)));
    let reason = match found {
        Ok(addresses) => match addresses.first() {
            Some(address) => return Ok(*address),
            None => ": no such host".to_owned(),
        },
        Err(reason) => reason,
    };
    Err(refused(&format!("dial {kind}: lookup {host}{reason}")))
}

/// The fields that each message for the journal has, in its native form.
fn journal_fields(info: &Info<'_>, tag: &str, attributes: &BTreeMap<String, String>) -> Vec<u8> {
    let mut fields: BTreeMap<String, &str> = attributes
        .iter()
        .filter(|(name, _)| name.as_str() != "tag")
        .map(|(name, value)| (field_name(name), value.as_str()))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    for (name, value) in [
        ("CONTAINER_ID", info.id.get(..12).unwrap_or(info.id)),
        ("CONTAINER_ID_FULL", info.id),
        ("CONTAINER_NAME", info.name),
        ("CONTAINER_TAG", tag),
        ("IMAGE_NAME", info.image_name),
        ("SYSLOG_IDENTIFIER", tag),
    ] {
        fields.entry(name.to_owned()).or_insert(value);
    }
    let mut out = Vec::new();
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            out.push(b'\n');
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            out.push(b'=');
        }
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    }
    out
}

/// A name as the journal takes it: capitals, digits and underscores, of which none comes first.
fn field_name(name: &str) -> String {
    let upper: String = name
        .chars()
        .map(|sign| match sign.to_ascii_uppercase() {
            sign if sign.is_ascii_uppercase() || sign.is_ascii_digit() => sign,
            _ => '_',
        })
        .collect();
    upper.trim_start_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_facilities_are_read_as_docker_reads_them() {
        assert_eq!(address("").unwrap(), Address::Own);
        for (text, host, port, stream) in [
            ("udp://h", "h", 514, false),
            ("tcp://h:1514", "h", 1514, true),
            ("udp://[::1]:5", "::1", 5, false),
            ("tcp://[::1]", "::1", 514, true),
        ] {
            let expected = Address::Network {
                host: host.to_owned(),
                port,
                stream,
            };
            assert_eq!(address(text).unwrap(), expected, "{text}");
        }
        for (text, words) in [
            ("x", "unsupported scheme: ''"),
            ("http://x", "unsupported scheme: 'http'"),
            ("udp://", "address : no host and port of a syslog"),
            ("tcp://h:x", "address h:x: no host and port of a syslog"),
            (
                "tcp+tls://h",
                "the scheme tcp+tls of the log option \"syslog-address\" is not supported by wharf",
            ),
        ] {
            assert_eq!(address(text).unwrap_err().to_string(), words);
        }
        let log = |driver: &str| LogConfig {
            kind: driver.to_owned(),
            config: Some([("syslog-address".to_owned(), "unix:///no/such".to_owned())].into()),
        };
        assert_eq!(
            look_for(&log("syslog")).unwrap_err().to_string(),
            "stat /no/such: no such file or directory"
        );
        look_for(&log("none")).unwrap();
        assert_eq!(
            [
                facility("").unwrap(),
                facility("local7").unwrap(),
                facility("5").unwrap()
            ],
            [3, 23, 5]
        );
        assert!(facility("24").is_err() && facility("loud").is_err());
    }

    #[test]
    fn the_journal_gets_names_that_it_takes() {
        assert_eq!(field_name("__a.b-c9"), "A_B_C9");
        assert_eq!(field_name("_é"), "");
        let attributes = [("a.b", "1"), ("tag", "t"), ("two", "x\ny")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let none = BTreeMap::new();
        let info = Info {
            id: "0123456789abcdef",
            name: "web",
            image: "sha256:0",
            image_name: "busybox",
            path: "sh",
            args: &[],
            env: &[],
            labels: &none,
            options: &none,
        };
        let fields = journal_fields(&info, "t", &attributes);
        let expected = b"A_B=1\nCONTAINER_ID=0123456789ab\nCONTAINER_ID_FULL=0123456789abcdef\nCONTAINER_NAME=web\nCONTAINER_TAG=t\nIMAGE_NAME=busybox\nSYSLOG_IDENTIFIER=t\nTWO\n\x03\0\0\0\0\0\0\0x\ny\n";
        assert_eq!(
            String::from_utf8_lossy(&fields),
            String::from_utf8_lossy(expected)
        );
    }
}
