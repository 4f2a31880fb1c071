//! The values of `--docker`: which engine a context is for.

use std::path::Path;

use super::{DEFAULT_CONTEXT, all, named};
use crate::contexts::{Context, DOCKER, Secrets};
use crate::failure::{Failure, plain};
use crate::file;
use crate::number;
use crate::session::Session;
use crate::ssh;

/// Files that may be given, by key, and the names under which they are kept.
const FILES: [(&str, &str); 3] = [("ca", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")];

/// An engine as a context keeps it.
pub(super) struct Engine {
    pub(super) host: String,
    pub(super) skip_verification: bool,
    pub(super) secrets: Secrets,
}

impl Engine {
    /// Reads `key=value,…`; later values of a key count.
    ///
    /// # Errors
    /// Keys that are none, files that can not be read, another context that is not there.
    pub(super) fn read(session: &Session, values: &[String]) -> Result<Self, Failure> {
        let failed =
            |why: String| Failure::Plain(format!("unable to create docker endpoint config: {why}"));
        let mut pairs: Vec<(String, String)> = Vec::new();
        for value in values {
            for (key, value) in split(value).map_err(failed)? {
                pairs.retain(|(known, _)| *known != key);
                pairs.push((key, value));
            }
        }
        let value = |key: &str| {
            let pair = pairs.iter().find(|(known, _)| known == key);
            pair.map(|(_, value)| value.as_str())
                .filter(|value| !value.is_empty())
        };
        let known = |key: &str| {
            matches!(key, "from" | "host" | "skip-tls-verify")
                || FILES.iter().any(|(file, _)| *file == key)
        };
        let mut unknown: Vec<_> = pairs
            .iter()
            .filter(|(key, _)| !known(key))
            .map(|(key, _)| format!("unrecognized config key: {key}"))
            .collect();
        if !unknown.is_empty() {
            unknown.sort();
            return Err(failed(unknown.join("\n")));
        }
        if let Some(from) = value("from") {
            return Engine::of(session, from).map_err(|failure| failed(failure.to_string()));
        }
        let skip_verification = match value("skip-tls-verify") {
            None => false,
            Some(text) => number::boolean(text).map_err(|why| {
                let why = why.trim_start_matches("strconv.ParseBool: ");
                failed(format!("skip-tls-verify: {why}"))
            })?,
        };
        let mut secrets = Secrets::new();
        for (key, name) in FILES {
            if let Some(path) = value(key) {
                let content = file::content(Path::new(path))
                    .map_err(|error| failed(format!("open {path}: {}", plain(&error))))?;
                secrets.push((DOCKER.to_owned(), name.to_owned(), content));
            }
        }
        let host = value("host").unwrap_or_default();
        let engine = Engine {
            host: host.to_owned(),
            skip_verification,
            secrets,
        };
        engine
            .check()
            .map_err(|why| failed(format!("invalid docker endpoint options: {why}")))?;
        Ok(engine)
    }

    /// Whether the engine could be spoken to, as far as that can be told from here.
    fn check(&self) -> Result<(), String> {
        if self.host.starts_with("ssh://") {
            ssh::Address::parse(&self.host)?;
        }
        let mut context = Context::new("");
        context.set_engine(&self.host, self.skip_verification);
        match context.trust(&self.secrets) {
            Some(trust) => trust.config().map(drop),
            None => Ok(()),
        }
    }

    /// The engine of another context.
    fn of(session: &Session, name: &str) -> Result<Self, Failure> {
        let context = named(session, name)?;
        let mut secrets = match name {
            DEFAULT_CONTEXT => Secrets::new(),
            name => all(session).secrets(name).map_err(Failure::Plain)?,
        };
        secrets.retain(|(endpoint, _, _)| endpoint == DOCKER);
        let endpoint = &context.document()["Endpoints"][DOCKER];
        Ok(Engine {
            host: context.host().to_owned(),
            skip_verification: endpoint["SkipTLSVerify"] == true,
            secrets,
        })
    }
}

/// Whether a value of the flag is pairs.
pub(super) fn check(text: &str) -> Result<String, String> {
    split(text).map(|_| text.to_owned())
}

/// Pairs as docker's flags of this type have them: several with commas between, which may stand in quotes; a value alone
/// may hold commas.
fn split(text: &str) -> Result<Vec<(String, String)>, String> {
    let parts = match text.matches('=').count() {
        0 | 1 => vec![text.trim_matches('"').to_owned()],
        _ => fields(text),
    };
    let pair = |part: &String| {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("{part} must be formatted as key=value"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    parts.iter().map(pair).collect()
}

/// The fields of a line of comma-separated values.
fn fields(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let Some(field) = all.last_mut() else { break };
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                field.push('"');
                letters.next();
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => all.push(String::new()),
            letter => field.push(letter),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Result<String, String> {
        let shown = |(key, value): (String, String)| format!("{key}:{value}");
        split(text).map(|all| all.into_iter().map(shown).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn pairs_are_read_as_docker_reads_them() {
        assert_eq!(pairs("host=a,b"), Ok("host:a,b".to_owned()));
        assert_eq!(pairs("host=a,ca=b=c"), Ok("host:a ca:b=c".to_owned()));
        assert_eq!(
            pairs("\"host=a,b\",ca=\"x\""),
            Ok("host:a,b ca:\"x\"".to_owned())
        );
        assert_eq!(
            pairs("host"),
            Err("host must be formatted as key=value".to_owned())
        );
        assert_eq!(
            pairs("a=b,c=d,e"),
            Err("e must be formatted as key=value".to_owned())
        );
    }
}
