//! Images.

use api_types::{AuthConfig, Config, Progress};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use engine::{CommitOptions, ImageListOptions, ImportOptions};
use http::StatusCode;
use types::{Platform, Reference};

use super::Handled;
use crate::call::{Call, parse_object};
use crate::failure::Failure;
use crate::reply;
use crate::shape::{self, Kind};
use crate::transfer;
use crate::version::Version;

/// Base 64, with or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// `GET /images/json`
pub(crate) async fn list(call: Call) -> Handled {
    let mut filters = call.filters()?;
    if let Some(name) = call
        .query
        .text("filter")
        .filter(|_| call.version <= Version(40))
    {
        filters.add("reference", name);
    }
    let options = ImageListOptions {
        all: call.query.flag("all"),
        digests: call.query.flag("digests"),
        shared_size: call.query.flag("shared-size") && call.version >= Version(42),
        filters,
    };
    let images = call.engine().image_list(options).await?;
    shape::json(StatusCode::OK, Kind::ImageList, call.version, &images)
}

/// `POST /commit`
pub(crate) async fn commit(mut call: Call) -> Handled {
    let text = call.json_bytes().await?;
    let config: Option<Config> = match text.trim_ascii() {
        b"" | b"null" => None,
        text => Some(parse_object(text, |text| serde_json::from_slice(text))?),
    };
    let text = |name: &str| call.query.get(name).unwrap_or_default().to_owned();
    let name = text("container");
    if name.is_empty() {
        let sentence = "invalid name or ID supplied: \"\"";
        return Err(Failure::bad_request(sentence));
    }
    let options = CommitOptions {
        repo: text("repo"),
        tag: text("tag"),
        author: text("author"),
        comment: text("comment"),
        changes: call.query.all("changes").map(str::to_owned).collect(),
        pause: call.query.flag("pause"),
        config,
    };
    let id = call.engine().image_commit(&name, options).await?;
    reply::json(StatusCode::CREATED, &serde_json::json!({"Id": id}))
}

/// `POST /images/create` with `fromSrc`
async fn import(mut call: Call) -> Handled {
    let text = |name: &str| call.query.get(name).unwrap_or_default().to_owned();
    let options = ImportOptions {
        source: text("fromSrc"),
        repo: text("repo"),
        tag: text("tag"),
        message: text("message"),
        changes: call.query.all("changes").map(str::to_owned).collect(),
        platform: match call.version >= Version(32) {
            true => text("platform"),
            false => String::new(),
        },
    };
    let engine = call.engine().clone();
    let archive = match options.source.as_str() {
        "-" => Some(Box::new(call.into_reader())),
        _ => {
            call.drain().await;
            None
        }
    };
    transfer::progress(|progress| {
        Box::pin(async move {
            let id = match archive {
                Some(archive) => engine.image_import(options, archive).await?,
                None => engine.image_import_from(options, progress.clone()).await?,
            };
            let line = Progress {
                status: id,
                ..Progress::default()
            };
            // Whoever does not wait for it has it all the same.
            let _ = progress.send(line).await;
            Ok(())
        })
    })
    .await
}

/// `POST /images/create`: a pull or an import.
pub(crate) async fn pull(call: Call) -> Handled {
    let Some(name) = call.query.text("fromImage") else {
        return import(call).await;
    };
    let reference = pull_reference(&name, call.query.get("tag").unwrap_or(""))?;
    let platform = call
        .query
        .text("platform")
        .filter(|_| call.version >= Version(32));
    let auth = credentials(&call)?;
    let engine = call.engine().clone();
    transfer::progress(|progress| {
        Box::pin(async move { engine.pull(&reference, platform, auth, progress).await })
    })
    .await
}

/// What to pull, all tags where there is none. Name and tag (or digest) come apart or together.
fn pull_reference(name: &str, tag: &str) -> Result<String, Failure> {
    let joined = match tag {
        "" => name.to_owned(),
        digest if digest.contains(':') => format!("{}@{digest}", without_tag(name)),
        tag => format!("{}:{tag}", without_tag(name)),
    };
    let reference = Reference::parse_normalized(&joined)
        .map_err(|error| Failure::bad_request(error.to_string()))?;
    refuse_scratch(&reference)?;
    Ok(joined)
}

/// A name without its tag: a colon after the last slash begins one.
fn without_tag(name: &str) -> &str {
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[path..].find(':') {
        Some(colon) => &name[..path + colon],
        None => name,
    }
}

/// The credentials for the registry, if the client sent any.
fn credentials(call: &Call) -> Result<Option<AuthConfig>, Failure> {
    let Some(value) = call
        .headers
        .get("x-registry-auth")
        .filter(|value| !value.is_empty())
    else {
        return Ok(None);
    };
    let invalid =
        |why: String| Failure::bad_request(format!("invalid X-Registry-Auth header: {why}"));
    let bytes = GeneralPurpose::new(&URL_SAFE, LENIENT)
        .decode(value.as_bytes())
        .or_else(|_| GeneralPurpose::new(&STANDARD, LENIENT).decode(value.as_bytes()))
        .map_err(|error| invalid(error.to_string()))?;
    let auth: AuthConfig =
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    Ok((auth != AuthConfig::default()).then_some(auth))
}

/// `POST /images/load`
pub(crate) async fn load(call: Call) -> Handled {
    let platforms = platforms(&call, Version(48))?;
    let quiet = call.query.flag_or("quiet", true);
    let engine = call.engine().clone();
    let archive = Box::new(call.into_reader());
    transfer::told_progress(|progress| {
        Box::pin(async move { engine.load(archive, platforms, quiet, progress).await })
    })
    .await
}

/// `GET /images/get`
pub(crate) async fn save(call: Call) -> Handled {
    let names = call
        .query
        .all("names")
        .flat_map(|names| names.split(','))
        .map(str::to_owned)
        .collect();
    save_names(&call, names).await
}

/// `GET /images/{name}/get`
pub(crate) async fn save_one(call: Call) -> Handled {
    let names = vec![call.name().to_owned()];
    save_names(&call, names).await
}

async fn save_names(call: &Call, names: Vec<String>) -> Handled {
    let platforms = platforms(call, Version(48))?;
    if names.iter().all(String::is_empty) {
        return Err(Failure::bad_request(
            "no images to save: give at least one name",
        ));
    }
    let engine = call.engine().clone();
    transfer::archive(|writer| Box::pin(async move { engine.save(names, platforms, writer).await }))
        .await
}

/// `GET /images/{name}/json`
pub(crate) async fn inspect(call: Call) -> Handled {
    let platforms = platforms(&call, Version(49))?;
    if !platforms.is_empty() && call.query.flag("manifests") {
        return Err(Failure::bad_request(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let image = call.engine().image_inspect(call.name(), &platforms).await?;
    shape::json(StatusCode::OK, Kind::Image, call.version, &image)
}

/// `GET /images/{name}/history`
pub(crate) async fn history(call: Call) -> Handled {
    let platforms = platforms(&call, Version(48))?;
    let history = call.engine().image_history(call.name(), &platforms);
    reply::json(StatusCode::OK, &history.await?)
}

/// `POST /images/{name}/tag`
pub(crate) async fn tag(call: Call) -> Handled {
    let repository = call.query.get("repo").unwrap_or("");
    call.engine()
        .image_tag(call.name(), repository, call.query.text("tag"))
        .await?;
    Ok(reply::empty(StatusCode::CREATED))
}

/// `DELETE /images/{name}`
pub(crate) async fn remove(call: Call) -> Handled {
    let mut platforms = match call.version >= Version(50) {
        true => parse_platforms(&call, "platforms")?,
        false => Vec::new(),
    };
    let platform = platforms.pop();
    if !platforms.is_empty() {
        return Err(Failure::bad_request(
            "multiple platforms are not supported: an image here is for one",
        ));
    }
    // `noprune` keeps parents that no name refers to: there are none, as images here have layers and no parents.
    let force = call.query.flag("force");
    let removed = call.engine().image_remove(call.name(), platform, force);
    reply::json(StatusCode::OK, &removed.await?)
}

/// `POST /images/prune`
pub(crate) async fn prune(call: Call) -> Handled {
    reply::json(
        StatusCode::OK,
        &call.engine().prune_images(call.filters()?).await?,
    )
}

/// `POST /images/{name}/push`
pub(crate) async fn push(mut call: Call) -> Handled {
    let mut auth = credentials(&call)?;
    let body = call.small_body().await?;
    if auth.is_none() && !body.is_empty() && !call.headers.contains_key("x-registry-auth") {
        // Clients of old sent them so.
        auth = serde_json::from_slice(&body).map_err(|error| {
            Failure::bad_request(format!(
                "bad parameters and missing X-Registry-Auth: {error}"
            ))
        })?;
    }
    let name = match call.query.get("tag").unwrap_or("") {
        "" => call.name().to_owned(),
        tag => format!("{}:{tag}", without_tag(call.name())),
    };
    Reference::parse_normalized(&name).map_err(|error| Failure::bad_request(error.to_string()))?;
    let mut all = call.query.all("platform").filter(|text| !text.is_empty());
    let platform = match all.next().filter(|_| call.version >= Version(46)) {
        Some(text) => Some(parse_platform(text)?.to_string()),
        None => None,
    };
    let engine = call.engine().clone();
    transfer::progress(|progress| {
        Box::pin(async move { engine.push(&name, platform, auth, progress).await })
    })
    .await
}

/// `GET /images/search`
pub(crate) async fn search(call: Call) -> Handled {
    let auth = credentials(&call)?;
    let term = call.query.get("term").unwrap_or("");
    let limit = call.query.number("limit")?;
    let found = call
        .engine()
        .search(term, limit, call.filters()?, auth)
        .await?;
    reply::json(StatusCode::OK, &found)
}

/// `GET /distribution/{name}/json`: what a registry has under a name.
pub(crate) async fn distribution(call: Call) -> Handled {
    let name = call.name();
    if is_whole_id(name) {
        let sentence = "no manifest found for full image ID";
        return Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, sentence));
    }
    let reference = Reference::parse_normalized(name)
        .map_err(|error| Failure::bad_request(error.to_string()))?;
    refuse_scratch(&reference)?;
    // As docker's daemon: who can not be understood has given no credentials.
    let auth = credentials(&call).unwrap_or_default();
    let found = call.engine().distribution_inspect(&reference, auth).await?;
    reply::json(StatusCode::OK, &found)
}

/// Whether a name is all of an image's id.
fn is_whole_id(name: &str) -> bool {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    hex.len() == 64
        && hex
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The name of nothing at all is no image's.
fn refuse_scratch(reference: &Reference) -> Result<(), Failure> {
    match reference.familiar_name() == "scratch" {
        true => Err(Failure::bad_request("'scratch' is a reserved name")),
        false => Ok(()),
    }
}

/// Operations upon one image that are not built: first, is there such an image?
pub(crate) async fn not_built(call: Call, what: &str) -> Handled {
    call.engine().image_inspect(call.name(), &[]).await?;
    Err(Failure::not_built(what))
}

/// A platform as a parameter writes it.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct PlatformParameter {
    os: String,
    architecture: String,
    variant: String,
    #[serde(rename = "os.version")]
    os_version: String,
}

/// The platforms that are asked for, one JSON document each; none from clients before that version of the API.
fn platforms(call: &Call, since: Version) -> Result<Vec<Platform>, Failure> {
    /// From then on there may be several.
    const SEVERAL: Version = Version(52);
    if call.version < since {
        return Ok(Vec::new());
    }
    let all = parse_platforms(call, "platform")?;
    if all.len() > 1 && call.version < SEVERAL {
        return Err(Failure::bad_request(
            "multiple platform parameters not supported",
        ));
    }
    Ok(all)
}

fn parse_platforms(call: &Call, parameter: &str) -> Result<Vec<Platform>, Failure> {
    let given = call.query.all(parameter).filter(|text| !text.is_empty());
    given.map(parse_platform).collect()
}

fn parse_platform(text: &str) -> Result<Platform, Failure> {
    let parsed: PlatformParameter = serde_json::from_str(text)
        .map_err(|error| Failure::bad_request(format!("failed to parse platform: {error}")))?;
    let PlatformParameter {
        os,
        architecture,
        variant,
        os_version,
    } = parsed;
    if os.is_empty() && architecture.is_empty() && !(variant.is_empty() && os_version.is_empty()) {
        return Err(Failure::bad_request(
            "optional platform fields provided, but OS and Architecture are missing",
        ));
    }
    if os.is_empty() || architecture.is_empty() {
        return Err(Failure::bad_request(
            "both OS and Architecture must be provided",
        ));
    }
    Ok(Platform::new(&os, &architecture, Some(&variant)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_tag_come_apart_or_together() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, tag, whole) in [
            ("debian", "12", "debian:12".to_owned()),
            ("debian:12", "", "debian:12".to_owned()),
            ("localhost:5000/a/b", "c", "localhost:5000/a/b:c".to_owned()),
            ("debian:11", "12", "debian:12".to_owned()),
            ("debian", &digest, format!("debian@{digest}")),
        ] {
            assert_eq!(pull_reference(name, tag).unwrap(), whole);
        }
    }

    #[test]
    fn platforms_are_documents() {
        let of = |text| parse_platform(text).map(|platform| platform.to_string());
        assert_eq!(
            of(r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#).unwrap(),
            "linux/arm64"
        );
        for (text, told) in [
            ("linux/amd64", "failed to parse platform: "),
            ("{}", "both OS and Architecture must be provided"),
            (
                r#"{"os":"linux"}"#,
                "both OS and Architecture must be provided",
            ),
            (
                r#"{"variant":"v8"}"#,
                "optional platform fields provided, but OS and",
            ),
        ] {
            let failure = of(text).unwrap_err();
            assert!(failure.message().starts_with(told), "{}", failure.message());
        }
    }

    #[test]
    fn names_that_can_not_be_pulled_are_refused() {
        assert_eq!(
            pull_reference("docker.io/library/scratch", "latest")
                .unwrap_err()
                .message(),
            "'scratch' is a reserved name"
        );
        assert_eq!(
            pull_reference("Debian", "x").unwrap_err().status(),
            StatusCode::BAD_REQUEST
        );
    }
}
