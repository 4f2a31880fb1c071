//! Making a container: the request, a pull when the image is missing, warnings, the id file.

use std::fs;
use std::io::{self, Write};

use api_types::ContainerCreate;
use serde_json::{Value, json};

use super::{environment, networks, socket};
use crate::commands::pull;
use crate::failure::{Failure, plain};
use crate::parse::Parsed;
use crate::query::Query;
use crate::session::{Session, tell};
use crate::trust;

/// Flags that engines on Windows alone have, in docker's words.
///
/// # Errors
/// The first of them that is there.
fn refuse_windows(parsed: &Parsed) -> Result<(), Failure> {
    const WINDOWS: [&str; 4] = ["cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"];
    match WINDOWS.iter().find(|name| parsed.one(name).is_some()) {
        None => Ok(()),
        Some(name) => Err(Failure::Plain(format!(
            "\"--{name}\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux"
        ))),
    }
}

/// Makes a container from the flags and arguments of `run` or `create`, and returns its id.
///
/// # Errors
/// What the flags, the engine, or the pull said.
pub(crate) fn create(session: &Session, parsed: &Parsed) -> Result<String, Failure> {
    let [image, command @ ..] = parsed.args.as_slice() else {
        return Err(Failure::Usage("an image is expected".to_owned()));
    };
    refuse_windows(parsed)?;
    let policy = parsed.one("pull").unwrap_or("missing");
    if !["", "always", "missing", "never"].contains(&policy) {
        return Err(Failure::Invalid(format!(
            "invalid pull option: '{policy}': must be one of \"always\", \"missing\" or \"never\""
        )));
    }
    let proxies = environment::proxies(session.config(), &session.engine()?.0.shown());
    let mut body = super::request(parsed, image, command, &proxies)?;
    let credentials = match parsed.switch("use-api-socket") {
        true => socket::add(session, &mut body)?,
        false => None,
    };
    let id_file = IdFile::create(parsed.one("cidfile").unwrap_or_default())?;
    let reference = reference(image)?;
    if let Some(reference) = &reference {
        trust::refuse(parsed, reference, Failure::Unfit)?;
    }
    let platform = platform(parsed);
    check_platform(&platform)?;
    if policy == "always" {
        pull_image(session, parsed, image, &platform)?;
    }
    let answer = match (post(session, parsed, &platform, &body), reference) {
        (Err(failure), Some(reference))
            if policy == "missing" && failure.status() == Some(404) && is_missing(&failure) =>
        {
            if !parsed.switch("quiet") {
                let name = reference.with_default_tag().familiar();
                tell(&format!("Unable to find image '{name}' locally"));
            }
            pull_image(session, parsed, image, &platform)?;
            post(session, parsed, &platform, &body)?
        }
        (answer, _) => answer?,
    };
    let resolvers = body.host_config.dns.unwrap_or_default();
    let warnings = answer["Warnings"].as_array().into_iter().flatten();
    warnings
        .filter_map(|warning| warning.as_str().map(str::to_owned))
        .chain(networks::warning(&resolvers))
        .for_each(|warning| tell(&format!("WARNING: {warning}")));
    let id = answer["Id"].as_str().unwrap_or_default().to_owned();
    id_file.write(&id)?;
    if let Some(credentials) = credentials {
        socket::inject(session, &id, &credentials)?;
    }
    Ok(id)
}

fn post(
    session: &Session,
    parsed: &Parsed,
    platform: &str,
    body: &ContainerCreate,
) -> Result<Value, Failure> {
    let query = Query::new("/containers/create")
        .with_some("name", parsed.one("name").unwrap_or_default())
        .with_some("platform", platform);
    session.post(query.text(), Some(&json!(body)))
}

/// The file that takes the container's id. It is made first, so that nobody else's is overwritten and no container is
/// made in vain, and goes again when no id comes.
struct IdFile {
    path: String,
    file: Option<fs::File>,
}

impl IdFile {
    fn create(path: &str) -> Result<Self, Failure> {
        let path = path.to_owned();
        if path.is_empty() {
            return Ok(IdFile { path, file: None });
        }
        match fs::File::create_new(&path) {
            Ok(file) => Ok(IdFile {
                path,
                file: Some(file),
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::Unfit(format!(
                    "container ID file found, make sure the other container isn't running or delete {path}"
                )))
            }
            Err(error) => Err(Failure::Unfit(format!(
                "failed to create the container ID file: open {path}: {}",
                plain(&error)
            ))),
        }
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        file.write_all(id.as_bytes()).map_err(|error| {
            Failure::Unfit(format!(
                "failed to write the container ID to the file: {}",
                plain(&error)
            ))
        })
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The image's name; `None` for a whole id, which no registry knows.
fn reference(image: &str) -> Result<Option<types::Reference>, Failure> {
    let is_id = |text: &str| {
        text.len() == 64
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if is_id(image) || image.strip_prefix("sha256:").is_some_and(is_id) {
        return Ok(None);
    }
    types::Reference::parse_normalized(image)
        .map(Some)
        .map_err(|error| Failure::Unfit(error.to_string()))
}

/// `--platform`, or what the environment says; `linux` alone becomes `linux/amd64`.
pub(crate) fn platform(parsed: &Parsed) -> String {
    let text = match parsed.one("platform") {
        Some(platform) => platform.to_owned(),
        None => std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
    };
    match text.parse::<types::Platform>() {
        Ok(platform) => platform.to_string(),
        Err(_) => text,
    }
}

/// Docker's words for a platform that is none.
fn check_platform(text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    match text.parse::<types::Platform>() {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Unfit(format!(
            "error parsing specified platform: {error}"
        ))),
    }
}

fn is_missing(failure: &Failure) -> bool {
    let text = failure.to_string();
    // Of the platform that was asked for there is none.
    text.contains("No such image") || text.contains("was found but its platform")
}

/// Progress goes to standard error, as docker does it: standard output is the container's.
fn pull_image(
    session: &Session,
    parsed: &Parsed,
    image: &str,
    platform: &str,
) -> Result<(), Failure> {
    pull::pull(
        session,
        image,
        platform,
        parsed.switch("quiet"),
        (
            &mut std::io::stderr(),
            crate::terminal::columns(rustix::stdio::stderr()),
        ),
    )
}
