//! Credentials for registries: from `config.json`, or from the helper programs that it names.

mod keep;

use std::io::{self, Write};
use std::process::{Command, Stdio};

use api_types::AuthConfig;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE};
use base64::{DecodeError, Engine as _};
use serde_json::Value;

use crate::failure::plain;
use crate::session::tell;

pub(crate) use keep::{entry, erase, store, use_context};

/// The name by which `docker login` without a registry keeps credentials.
pub(crate) const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The value of the header `X-Registry-Auth` for a registry; `None` without credentials. That a helper should have had
/// them, and did not work, is told: the registry only says what it wants.
pub(crate) fn header(config: &Value, domain: &str) -> Option<String> {
    let (auth, fault) = look(config, key_of(domain));
    if let (None, Some(fault)) = (&auth, fault) {
        tell(&format!("WARNING: {fault}"));
    }
    let text = serde_json::to_vec(&auth?).ok()?;
    Some(URL_SAFE.encode(text))
}

/// The credentials for a registry. What can not be had or read is none, as with docker: the registry says what it wants.
pub(crate) fn find(config: &Value, domain: &str) -> Option<AuthConfig> {
    of(config, key_of(domain))
}

/// The key under which a registry's credentials are kept.
fn key_of(domain: &str) -> &str {
    match domain {
        "docker.io" => DOCKER_HUB,
        domain => domain,
    }
}

/// The credentials that are kept under a key: a host, or docker's address for docker.io.
pub(crate) fn of(config: &Value, key: &str) -> Option<AuthConfig> {
    look(config, key).0
}

/// The same, and why a helper did not work.
fn look(config: &Value, key: &str) -> (Option<AuthConfig>, Option<String>) {
    let of_file = || in_file(&config["auths"], key);
    match helper_for(config, key).map(|helper| get(&helper, key)) {
        None => (of_file(), None),
        Some(Said::Credentials(auth)) => (Some(auth), None),
        Some(Said::Nothing) => (None, None),
        Some(Said::Failed(why)) => (of_file(), Some(why)),
    }
}

/// The helper that keeps what belongs to a key, if any does.
fn helper_for(config: &Value, key: &str) -> Option<String> {
    let named = |helper: &Value| {
        helper
            .as_str()
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
    };
    named(&config["credHelpers"][key]).or_else(|| named(&config["credsStore"]))
}

/// What a helper says.
enum Said {
    Credentials(AuthConfig),
    /// It works, and has none: what the file has is not in use.
    Nothing,
    /// It is not there or does not work, in docker's words: what the file has counts.
    Failed(String),
}

fn in_file(auths: &Value, key: &str) -> Option<AuthConfig> {
    let auths = auths.as_object()?;
    let (name, entry) = auths.get_key_value(key).or_else(|| {
        // Older clients kept whole addresses: `https://registry.example.com/v1/`.
        let host = host_of(key);
        auths.iter().find(|(name, _)| host_of(name) == host)
    })?;
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let mut auth = AuthConfig {
        username: text("username"),
        password: text("password"),
        server_address: name.clone(),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
        ..Default::default()
    };
    if !text("auth").is_empty() {
        (auth.username, auth.password) = decode(&text("auth")).ok()?;
    }
    let all = [&auth.username, &auth.identity_token, &auth.registry_token];
    all.iter().any(|text| !text.is_empty()).then_some(auth)
}

/// What is wrong with what the file keeps for some registry, in docker's words.
pub(crate) fn fault(config: &Value) -> Option<String> {
    let auths = config["auths"].as_object()?;
    let mut texts = auths.values().filter_map(|entry| entry["auth"].as_str());
    texts.find_map(|text| match text {
        "" => None,
        text => decode(text).err(),
    })
}

/// `USER:PASSWORD` in base 64.
///
/// # Errors
/// What is wrong with it, in Go's words and docker's.
fn decode(text: &str) -> Result<(String, String), String> {
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&alphabet::STANDARD, lenient)
        .decode(text)
        .map_err(|error| {
            let at = match error {
                DecodeError::InvalidByte(at, _) => at,
                // Go tells where the four letters begin that make no bytes.
                _ => text.len() / 4 * 4,
            };
            format!("illegal base64 data at input byte {at}")
        })?;
    let pair = String::from_utf8(bytes).ok();
    let (user, password) = pair
        .as_deref()
        .and_then(|pair| pair.split_once(':'))
        .ok_or("Invalid auth configuration file")?;
    // There were clients that padded with zeros.
    Ok((user.to_owned(), password.trim_matches('\0').to_owned()))
}

/// The host of an address with or without a scheme and a path.
pub(crate) fn host_of(address: &str) -> &str {
    let bare = ["http://", "https://"]
        .iter()
        .find_map(|scheme| address.strip_prefix(scheme))
        .unwrap_or(address);
    bare.split('/').next().unwrap_or(bare)
}

/// Asks a helper program: `docker-credential-NAME get` reads the address and writes an object.
fn get(name: &str, key: &str) -> Said {
    const NONE: &str = "credentials not found in native keychain";
    let output = match run(name, "get", key) {
        Ok((true, output)) => output,
        Ok((false, output)) if output.trim() == NONE => return Said::Nothing,
        outcome => return Said::Failed(fault_of(name, "getting", &outcome)),
    };
    let said = match serde_json::from_str::<Value>(&output) {
        Ok(said) => said,
        Err(error) => {
            return Said::Failed(format!("error getting credentials - err: {error}"));
        }
    };
    let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
    let mut auth = AuthConfig {
        server_address: key.to_owned(),
        ..Default::default()
    };
    match text("Username").as_str() {
        "" => return Said::Nothing,
        "<token>" => auth.identity_token = text("Secret"),
        user => {
            auth.username = user.to_owned();
            auth.password = text("Secret");
        }
    }
    Said::Credentials(auth)
}

/// Why a helper did not do what it was asked for, in docker's words.
fn fault_of(name: &str, doing: &str, outcome: &io::Result<(bool, String)>) -> String {
    let told =
        |why: &str, out: &str| format!("error {doing} credentials - err: {why}, out: `{out}`");
    match outcome {
        Ok((_, output)) => told("exit status 1", output.trim()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why =
                format!("exec: \"docker-credential-{name}\": executable file not found in $PATH");
            told(&why, "")
        }
        Err(error) => told(&plain(error), ""),
    }
}

/// Whether a helper that is there succeeded, and what it wrote.
fn run(name: &str, verb: &str, input: &str) -> io::Result<(bool, String)> {
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read may have ended already; its status tells.
        let _ = stdin.write_all(input.as_bytes());
    }
    let done = child.wait_with_output()?;
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    Ok((done.status.success(), output))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pair(config: &Value, domain: &str) -> Option<(String, String)> {
        find(config, domain).map(|auth| (auth.username, auth.password))
    }

    fn both(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.to_owned(), password.to_owned()))
    }

    #[test]
    fn credentials_are_found_by_registry() {
        let config = json!({"auths": {
            "registry.example.com": {"auth": "dXNlcjpwYTpzcw=="},
            "https://old.example.com/v1/": {"username": "old", "password": "secret"},
            "https://index.docker.io/v1/": {"auth": "aHViOng"},
            "token.example.com": {"identitytoken": "long"},
            "empty.example.com": {},
            "broken.example.com": {"auth": "dXNlcg=="},
        }});
        assert_eq!(pair(&config, "registry.example.com"), both("user", "pa:ss"));
        assert_eq!(pair(&config, "old.example.com"), both("old", "secret"));
        assert_eq!(pair(&config, "docker.io"), both("hub", "x"));
        assert_eq!(
            find(&config, "token.example.com").unwrap().identity_token,
            "long"
        );
        for domain in [
            "empty.example.com",
            "broken.example.com",
            "other",
            "example.com",
        ] {
            assert_eq!(pair(&config, domain), None, "{domain}");
        }
        assert_eq!(pair(&Value::Null, "docker.io"), None);
        assert_eq!(pair(&json!({"auths": 3}), "docker.io"), None);
    }

    #[test]
    fn the_header_is_what_the_api_reads() {
        let config = json!({"auths": {"x:5000": {"auth": "dXNlcjpwYTpzcw=="}}});
        let text = URL_SAFE.decode(header(&config, "x:5000").unwrap()).unwrap();
        let text: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            text,
            json!({"username": "user", "password": "pa:ss", "serveraddress": "x:5000"})
        );
        assert_eq!(header(&config, "y"), None);
    }

    #[test]
    fn a_helper_that_is_not_there_is_named() {
        let config = json!({"credHelpers": {"x": "wharf-no-such-helper"}});
        let (auth, fault) = look(&config, "x");
        assert!(auth.is_none());
        assert_eq!(
            fault.unwrap(),
            "error getting credentials - err: exec: \"docker-credential-wharf-no-such-helper\": executable file not found in $PATH, out: ``"
        );
        assert_eq!(look(&config, "y").1, None);
    }

    #[test]
    fn the_file_counts_where_a_helper_is_not_there() {
        let config = json!({
            "credsStore": "wharf-no-such-helper",
            "auths": {"x": {"auth": "dXNlcjpwYTpzcw=="}},
        });
        assert_eq!(pair(&config, "x"), both("user", "pa:ss"));
        assert_eq!(pair(&config, "y"), None);
    }
}
