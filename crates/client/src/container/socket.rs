//! `--use-api-socket`: the engine's socket in a container, and the credentials of whoever asks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api_types::{ContainerCreate, Mount};
use archive::tar::{Content, Device, Entry, Kind, Time, Writer};
use serde_json::{Value, json};

use crate::connection::Body;
use crate::credentials;
use crate::failure::Failure;
use crate::host::Host;
use crate::query::{Query, encode};
use crate::session::Session;

/// Where programs look for it.
const SOCKET: &str = "/var/run/docker.sock";
/// Where the credentials are put, and the variable that leads there.
const FOLDER: &str = "/run/secrets/docker";
const VARIABLE: &str = "DOCKER_CONFIG";

/// Adds the socket to a request. Gives the credentials that are to be put into the container once it is made, unless it
/// has a folder for them already.
pub(super) fn add(session: &Session, body: &mut ContainerCreate) -> Result<Option<Value>, Failure> {
    let source = match &session.engine()?.0 {
        Host::Unix(path) => path.clone(),
        // The engine is elsewhere, and so is its socket.
        _ => PathBuf::from(SOCKET),
    };
    body.host_config.mounts.push(Mount {
        kind: "bind".to_owned(),
        source: source.display().to_string(),
        target: SOCKET.to_owned(),
        bind_options: Some(Default::default()),
        ..Mount::default()
    });
    let environment = body.config.env.get_or_insert_default();
    let prefix = format!("{VARIABLE}=");
    if environment.iter().any(|one| one.starts_with(&prefix)) {
        return Ok(None);
    }
    let auths = auths(session.config());
    if auths.is_empty() {
        return Ok(None);
    }
    environment.push(format!("{prefix}{FOLDER}"));
    Ok(Some(json!({ "auths": auths })))
}

/// All credentials of a configuration, those of helper programs included, as its file keeps them.
fn auths(config: &Value) -> BTreeMap<String, Value> {
    let names = |value: &Value| {
        let object = value.as_object().cloned().unwrap_or_default();
        object.into_iter().map(|(name, _)| name)
    };
    let all = names(&config["auths"]).chain(names(&config["credHelpers"]));
    all.filter_map(|name| {
        let entry = credentials::entry(&credentials::of(config, &name)?);
        Some((name, entry))
    })
    .collect()
}

/// Puts credentials into a container that is made.
pub(super) fn inject(session: &Session, id: &str, config: &Value) -> Result<(), Failure> {
    let text = config.to_string();
    let archive = pack(text.as_bytes()).map_err(Failure::local("cannot pack the credentials"))?;
    let query = Query::new(format!("/containers/{}/archive", encode(id))).with("path", "/");
    session
        .send(
            "PUT",
            query.text(),
            Body::Stream(&mut archive.as_slice()),
            Vec::new(),
        )?
        .successful()?;
    Ok(())
}

fn pack(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    let path = Path::new(FOLDER.trim_start_matches('/')).join("config.json");
    writer.entry(&Entry {
        path: path.into_os_string().into_encoded_bytes(),
        kind: Kind::File,
        mode: 0o600,
        size: text.len() as u64,
        at: 0,
        link: Vec::new(),
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        content: Content::Plain,
        device: Device::default(),
        xattrs: Vec::new(),
    })?;
    writer.content(text)?;
    writer.finish()
}
