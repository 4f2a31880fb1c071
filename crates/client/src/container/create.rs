//! Making a container: the request, a pull when the image is missing, warnings, the id file.

use std::fs;
use std::io::Write;

use api_types::ContainerCreate;
use serde_json::{Value, json};

use crate::commands::pull;
use crate::failure::Failure;
use crate::parse::Parsed;
use crate::query::Query;
use crate::session::{Session, tell};

/// Makes a container from the flags and arguments of `run` or `create`, and returns its id.
///
/// # Errors
/// What the flags, the engine, or the pull said.
pub(crate) fn create(session: &Session, parsed: &Parsed) -> Result<String, Failure> {
    let [image, command @ ..] = parsed.args.as_slice() else {
        return Err(Failure::Usage("an image is expected".to_owned()));
    };
    let body = super::request(parsed, image, command)?;
    types::Reference::parse_normalized(image).map_err(|error| Failure::Unfit(error.to_string()))?;
    let id_file = parsed.one("cidfile").filter(|path| !path.is_empty());
    if let Some(path) = id_file.filter(|path| fs::symlink_metadata(path).is_ok()) {
        return Err(Failure::Unfit(format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        )));
    }
    let policy = parsed.one("pull").unwrap_or("missing");
    if !["always", "missing", "never"].contains(&policy) {
        return Err(Failure::Invalid(format!(
            "invalid pull option: '{policy}': must be one of \"always\", \"missing\" or \"never\""
        )));
    }
    if policy == "always" {
        pull_image(session, parsed, image)?;
    }
    let answer = match post(session, parsed, &body) {
        Err(failure)
            if policy == "missing"
                && failure.status() == Some(404)
                && is_missing_image(&failure) =>
        {
            if !parsed.switch("quiet") {
                tell(&format!(
                    "Unable to find image '{}' locally",
                    familiar(image)
                ));
            }
            pull_image(session, parsed, image)?;
            post(session, parsed, &body)?
        }
        other => other?,
    };
    for warning in answer["Warnings"].as_array().into_iter().flatten() {
        tell(&format!(
            "WARNING: {}",
            warning.as_str().unwrap_or_default()
        ));
    }
    let id = answer["Id"].as_str().unwrap_or_default().to_owned();
    if let Some(path) = id_file {
        let written = fs::File::create_new(path).and_then(|mut file| file.write_all(id.as_bytes()));
        written.map_err(Failure::local(format!(
            "failed to create the container ID file {path}"
        )))?;
    }
    Ok(id)
}

fn post(session: &Session, parsed: &Parsed, body: &ContainerCreate) -> Result<Value, Failure> {
    let query = Query::new("/containers/create")
        .with_some("name", parsed.one("name").unwrap_or_default())
        .with_some("platform", &platform(parsed));
    session.post(query.text(), Some(&json!(body)))
}

/// `--platform`, or what the environment says.
pub(crate) fn platform(parsed: &Parsed) -> String {
    match parsed.one("platform") {
        Some(platform) => platform.to_owned(),
        None => std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
    }
}

fn is_missing_image(failure: &Failure) -> bool {
    failure.to_string().contains("No such image")
}

fn familiar(image: &str) -> String {
    match types::Reference::parse_normalized(image) {
        Ok(reference) => reference.with_default_tag().familiar(),
        Err(_) => image.to_owned(),
    }
}

/// Progress goes to standard error, as docker does it: standard output is the container's.
fn pull_image(session: &Session, parsed: &Parsed, image: &str) -> Result<(), Failure> {
    pull::pull(
        session,
        image,
        &platform(parsed),
        parsed.switch("quiet"),
        &mut std::io::stderr(),
    )
}
