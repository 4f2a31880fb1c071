//! Names with values: environment, labels, and the files they are read from; proxies of the configuration file.

use std::collections::BTreeMap;
use std::env;
use std::fs;

use serde_json::Value;

use crate::failure::Failure;
use crate::parse::Parsed;

/// Environment and label files larger than this are not read.
const FILE_LIMIT: u64 = 16 << 20;
/// White space that a name may not have.
const BLANKS: [char; 2] = [' ', '\t'];

/// Reads one `--env` value. A name without a value takes it from this process; if that has none, the name alone is
/// sent, and the engine takes the variable away from what the image sets.
///
/// # Errors
/// Docker's words for a value without a name.
pub(super) fn variable(text: &str) -> Result<String, String> {
    let (name, value) = text
        .split_once('=')
        .map_or((text, None), |(name, value)| (name, Some(value)));
    if name.is_empty() {
        return Err(format!("invalid environment variable: {text}"));
    }
    match value {
        Some(_) => Ok(text.to_owned()),
        None => {
            Ok(env::var(name).map_or_else(|_| text.to_owned(), |value| format!("{name}={value}")))
        }
    }
}

/// Reads one `--label` value.
///
/// # Errors
/// Docker's words for a value without a name, or with white space in it.
pub(crate) fn label(text: &str) -> Result<String, String> {
    let name = text.split('=').next().unwrap_or_default();
    let name = name.trim_start_matches(BLANKS);
    if name.is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    if name.contains(BLANKS) {
        return Err(format!("label '{name}' contains whitespaces"));
    }
    Ok(text.to_owned())
}

/// `--env-file` and then `--env`.
///
/// # Errors
/// A file that can not be read, or a name with white space in it.
pub(crate) fn environment(parsed: &Parsed) -> Result<Vec<String>, Failure> {
    let mut found = files(parsed, "env-file", |name| env::var(name).ok())?;
    found.extend(parsed.list("env"));
    Ok(found)
}

/// The same for a new container: of several values the last one counts, and proxies are added that were not named.
///
/// # Errors
/// As [`environment`].
pub(super) fn of_container(
    parsed: &Parsed,
    proxies: &[(String, String)],
) -> Result<Vec<String>, Failure> {
    let name = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    let mut given: Vec<String> = Vec::new();
    for variable in parsed.list("env") {
        match given
            .iter_mut()
            .find(|known| name(known) == name(&variable))
        {
            Some(known) => *known = variable,
            None => given.push(variable),
        }
    }
    for (proxy, value) in proxies {
        if !given.iter().any(|known| name(known) == *proxy) {
            given.push(format!("{proxy}={value}"));
        }
    }
    let mut found = files(parsed, "env-file", |name| env::var(name).ok())?;
    found.extend(given);
    Ok(found)
}

/// The variables that the configuration file's `proxies` ask for, for this engine or by default.
pub(super) fn proxies(config: &Value, host: &str) -> Vec<(String, String)> {
    const FIELDS: [(&str, &str); 5] = [
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ];
    let all = &config["proxies"];
    let chosen = all.get(host).unwrap_or(&all["default"]);
    let mut found = Vec::new();
    for (field, variable) in FIELDS {
        if let Some(value) = chosen[field].as_str().filter(|value| !value.is_empty()) {
            found.push((variable.to_owned(), value.to_owned()));
            found.push((variable.to_lowercase(), value.to_owned()));
        }
    }
    found
}

/// `--label-file` and then `--label`.
///
/// # Errors
/// A file that can not be read, or a name with white space in it.
pub(super) fn labels(parsed: &Parsed) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = files(parsed, "label-file", |_| None)?;
    all.extend(parsed.list("label"));
    Ok(pairs(&all))
}

/// Texts as names and values, what has no `=` with an empty value.
pub(super) fn pairs(list: &[String]) -> BTreeMap<String, String> {
    list.iter()
        .map(|text| text.split_once('=').unwrap_or((text, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The lines `name=value` of every file that a flag names. `otherwise` gives the value of a name that stands alone;
/// one that has none is left out.
fn files(
    parsed: &Parsed,
    flag: &str,
    otherwise: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for path in parsed.list(flag) {
        let fault = |why: String| Failure::Invalid(format!("invalid env file ({path}): {why}"));
        for line in lines(&path)? {
            let (name, value) = line
                .split_once('=')
                .map_or((line.as_str(), None), |(name, value)| (name, Some(value)));
            if name.is_empty() {
                return Err(fault(format!("no variable name on line '{line}'")));
            }
            if name.contains(BLANKS) {
                return Err(fault(format!("variable '{name}' contains whitespaces")));
            }
            match value {
                Some(_) => found.push(line),
                None => found.extend(otherwise(name).map(|value| format!("{name}={value}"))),
            }
        }
    }
    Ok(found)
}

/// Lines of a file that are neither empty nor comments, without white space in front.
fn lines(path: &str) -> Result<Vec<String>, Failure> {
    let meta = fs::metadata(path);
    if meta.as_ref().is_ok_and(|meta| meta.len() > FILE_LIMIT) {
        return Err(Failure::Invalid(format!("{path}: larger than 16 MiB")));
    }
    if meta.is_ok_and(|meta| meta.is_dir()) {
        return Err(Failure::Invalid(format!(
            "invalid env file ({path}): read {path}: is a directory"
        )));
    }
    let bytes = fs::read(path).map_err(Failure::local(format!("open {path}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let number = error.as_bytes()[..valid]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        let line = error.as_bytes().split(|byte| *byte == b'\n').nth(number);
        let bytes: Vec<_> = line.into_iter().flatten().map(u8::to_string).collect();
        Failure::Invalid(format!(
            "invalid env file ({path}): invalid utf8 bytes at line {}: [{}]",
            number + 1,
            bytes.join(" ")
        ))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn faults_are_in_dockers_words() {
        assert_eq!(
            variable("=b").unwrap_err(),
            "invalid environment variable: =b"
        );
        assert_eq!(label("=b").unwrap_err(), "invalid label '=b': empty name");
        assert_eq!(
            label("a b=c").unwrap_err(),
            "label 'a b' contains whitespaces"
        );
        assert_eq!(label(" a=b c").unwrap(), " a=b c");
        assert_eq!(
            variable("WHARF_TEST_SURELY_UNSET").unwrap(),
            "WHARF_TEST_SURELY_UNSET"
        );
    }

    #[test]
    fn proxies_are_those_of_the_engine_or_the_default() {
        let config = json!({"proxies": {"default": {"httpProxy": "http://p:1"}, "tcp://h:1": {"noProxy": "a,b"}}});
        let found = |host| -> Vec<String> {
            let all = proxies(&config, host);
            all.into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        };
        assert_eq!(
            found("unix:///x"),
            ["HTTP_PROXY=http://p:1", "http_proxy=http://p:1"]
        );
        assert_eq!(found("tcp://h:1"), ["NO_PROXY=a,b", "no_proxy=a,b"]);
        assert_eq!(proxies(&Value::Null, "x"), []);
    }
}
