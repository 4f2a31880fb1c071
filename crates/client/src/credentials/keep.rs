//! Keeping credentials and giving them up: in `config.json`, or by a helper program.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use api_types::AuthConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{fault_of, helper_for, run};
use crate::failure::plain;
use crate::file;
use crate::host;
use crate::session::tell;

/// The user's name that stands in front of a token.
const TOKEN_USER: &str = "<token>";

/// Keeps credentials for the address that they name.
///
/// # Errors
/// Why they could not be kept; then what was kept before still is.
pub(crate) fn store(folder: &Path, auth: &AuthConfig) -> Result<(), String> {
    let mut config = read(folder)?;
    let key = &auth.server_address;
    match helper_for(&config, key) {
        Some(helper) => {
            let (user, secret) = match auth.identity_token.as_str() {
                "" => (auth.username.as_str(), auth.password.as_str()),
                token => (TOKEN_USER, token),
            };
            let said = json!({"ServerURL": key, "Username": user, "Secret": secret});
            ask(&helper, "store", &said.to_string(), "storing")?;
            // So that other programs see where somebody is logged in.
            object(&mut config, "auths").insert(key.clone(), json!({}));
            write(folder, &config)
        }
        None => {
            let entry = entry(auth);
            let auths = object(&mut config, "auths");
            if auths.get(key) == Some(&entry) {
                return Ok(());
            }
            auths.insert(key.clone(), entry);
            write(folder, &config)?;
            warn(folder);
            Ok(())
        }
    }
}

/// Credentials as the file keeps them.
pub(crate) fn entry(auth: &AuthConfig) -> Value {
    let mut entry = Map::new();
    let pair = format!("{}:{}", auth.username, auth.password);
    entry.insert("auth".to_owned(), STANDARD.encode(pair).into());
    if !auth.identity_token.is_empty() {
        entry.insert(
            "identitytoken".to_owned(),
            auth.identity_token.clone().into(),
        );
    }
    Value::Object(entry)
}

/// Gives up the credentials for an address.
///
/// # Errors
/// Why they are still kept.
pub(crate) fn erase(folder: &Path, key: &str) -> Result<(), String> {
    let mut config = read(folder)?;
    if let Some(helper) = helper_for(&config, key) {
        ask(&helper, "erase", key, "erasing")?;
    }
    let removed = config["auths"]
        .as_object_mut()
        .and_then(|auths| auths.shift_remove(key));
    match removed {
        Some(_) => write(folder, &config),
        None => Ok(()),
    }
}

/// The configuration as it is now; one that can not be read is not written over.
fn read(folder: &Path) -> Result<Value, String> {
    let config = host::config_file(folder)?;
    match &config["auths"] {
        Value::Null | Value::Object(_) => Ok(config),
        _ => Err(format!(
            "Error parsing config file ({}): \"auths\" is no object",
            folder.join("config.json").display()
        )),
    }
}

/// An object within an object, made if it is missing.
fn object<'a>(config: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !config.is_object() {
        *config = json!({});
    }
    let field = &mut config[name];
    if !field.is_object() {
        *field = json!({});
    }
    match field {
        Value::Object(map) => map,
        _ => unreachable!("it was made one"),
    }
}

/// Asks a helper to do something.
fn ask(name: &str, verb: &'static str, input: &str, doing: &str) -> Result<(), String> {
    match run(name, verb, input) {
        Ok((true, _)) => Ok(()),
        outcome => Err(fault_of(name, doing, &outcome)),
    }
}

/// Writes the file anew.
fn write(folder: &Path, config: &Value) -> Result<(), String> {
    let path = folder.join("config.json");
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| format!("cannot write {path}: {}", plain(&error))
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed(folder))?;
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, tabs);
    config
        .serialize(&mut serializer)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    file::replace(&path, &text, 0o600).map_err(failed(&path))
}

/// Says in the configuration which context is in use; without a name, none is.
///
/// # Errors
/// Why it could not be said; then the one before still is.
pub(crate) fn use_context(folder: &Path, name: Option<&str>) -> Result<(), String> {
    let mut config = read(folder)?;
    object(&mut config, "auths");
    match name {
        Some(name) => config["currentContext"] = name.into(),
        None => {
            let members = config.as_object_mut();
            members.and_then(|members| members.shift_remove("currentContext"));
        }
    }
    write(folder, &config)
}

/// Docker's words about passwords in a file.
fn warn(folder: &Path) {
    tell(&format!(
        "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
         Configure a credential helper to remove this warning. See\n\
         https://docs.docker.com/go/credential-store/\n",
        folder.join("config.json").display()
    ));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn auth(server: &str, user: &str, password: &str) -> AuthConfig {
        AuthConfig {
            username: user.to_owned(),
            password: password.to_owned(),
            server_address: server.to_owned(),
            ..AuthConfig::default()
        }
    }

    #[test]
    fn what_else_the_file_holds_stays() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("new");
        store(&folder, &auth("reg:5000", "user", "pw")).unwrap();
        let path = folder.join("config.json");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\n\t\"auths\": {\n\t\t\"reg:5000\": {\n\t\t\t\"auth\": \"dXNlcjpwdw==\"\n\t\t}\n\t}\n}"
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        let real = temp.path().join("real.json");
        fs::write(
            &real,
            r#"{"psFormat": "x", "auths": {"a": {"auth": "YTpi"}}}"#,
        )
        .unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        store(&folder, &auth("b", "c", "d")).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        erase(&folder, "a").unwrap();
        erase(&folder, "never").unwrap();
        let now: Value = serde_json::from_slice(&fs::read(&real).unwrap()).unwrap();
        let pair = STANDARD.encode("c:d");
        assert_eq!(
            now,
            json!({"psFormat": "x", "auths": {"b": {"auth": pair}}})
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_broken_is_not_written_over() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("config.json");
        for (broken, told) in [
            ("{\"auths\": ", "Error parsing config file ("),
            ("[]", "Error parsing config file ("),
            ("{\"auths\": 3}", "Error parsing config file ("),
        ] {
            fs::write(&path, broken).unwrap();
            for outcome in [
                store(temp.path(), &auth("a", "b", "c")),
                erase(temp.path(), "a"),
            ] {
                let error = outcome.unwrap_err();
                assert!(error.starts_with(told), "{error}");
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
        fs::write(&path, r#"{"credsStore": "wharf-no-such-helper"}"#).unwrap();
        assert_eq!(
            store(temp.path(), &auth("a", "b", "c")).unwrap_err(),
            "error storing credentials - err: exec: \"docker-credential-wharf-no-such-helper\": \
             executable file not found in $PATH, out: ``"
        );
    }
}
