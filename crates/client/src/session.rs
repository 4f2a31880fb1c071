//! What a verb needs to know of the invocation: the engine, the configuration, requests to the one by the other.

use std::cell::OnceCell;
use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

use crate::Outside;
use crate::connection::{self, Answer, Body, Idle, Request};
use crate::failure::Failure;
use crate::host::{self, Host};
use crate::parse::Parsed;
use crate::plugins::Plugins;
use crate::registries::Registries;
use crate::secure::Wish;

/// The API version that this client speaks.
pub(crate) const API_VERSION: &str = "1.55";

/// The API version of docker 28, in whose shape objects are shown.
pub(crate) const SHAPE_VERSION: &str = "1.50";

/// What a verb needs to know of the invocation.
pub(crate) struct Session {
    /// `wharf` or `docker`: as messages name the program.
    pub(crate) program: String,
    /// Whether `--debug` was given.
    pub(crate) debug: bool,
    /// What the program was built from.
    pub(crate) build: types::Build,
    registries: &'static dyn Registries,
    hosts: Vec<String>,
    /// Whether connections are to be encrypted.
    wish: Wish,
    context_flag: Option<String>,
    config_folder: PathBuf,
    config: OnceCell<Value>,
    chosen: OnceCell<(Host, String)>,
    idle: Idle,
    /// The version of the API that requests are sent by, once that was said or found out.
    version: OnceCell<String>,
}

impl Session {
    /// From the flags in front of the verb.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub(crate) fn new(program: &str, global: &Parsed, outside: Outside) -> Result<Self, Failure> {
        let config_folder = host::config_folder(global.one("config"));
        let session = Session {
            program: program.to_owned(),
            debug: global.switch("debug"),
            build: outside.build,
            registries: outside.registries,
            hosts: global.list("host"),
            context_flag: global
                .one("context")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            wish: Wish::read(global, &config_folder),
            config_folder,
            config: OnceCell::new(),
            chosen: OnceCell::new(),
            idle: Idle::default(),
            version: std::env::var("DOCKER_API_VERSION")
                .ok()
                .filter(|version| !version.is_empty())
                .map_or_else(OnceCell::new, OnceCell::from),
        };
        if session.context_flag.is_some() && !session.hosts.is_empty() {
            return Err(Failure::Plain(
                "conflicting options: cannot specify both --host and --context".to_owned(),
            ));
        }
        Ok(session)
    }

    /// The engine, and the name of the context that it comes from.
    ///
    /// # Errors
    /// A context or host that is not understood.
    pub(crate) fn engine(&self) -> Result<&(Host, String), Failure> {
        if let Some(chosen) = self.chosen.get() {
            return Ok(chosen);
        }
        let context = self.context();
        let host = host::of_context(&context, &self.hosts, &self.wish, &self.config_folder)?;
        Ok(self.chosen.get_or_init(|| (host, context)))
    }

    /// The name of the context that is meant, whether or not there is one of that name.
    pub(crate) fn context(&self) -> String {
        host::context(&self.hosts, self.context_flag.as_deref(), || {
            self.setting("currentContext")
        })
    }

    /// The engine of the context `default`: what flags, variables and this host say.
    ///
    /// # Errors
    /// A host that is not understood.
    pub(crate) fn default_host(&self) -> Result<Host, Failure> {
        host::by_itself(&self.hosts, &self.wish)
    }

    /// The engine that other clients are to speak to when nobody said which one is meant.
    pub(crate) fn unsaid_host(&self) -> Option<String> {
        let is_variable = std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty());
        let is_said = is_variable
            || !self.hosts.is_empty()
            || self.wish.is_on()
            || self.context() != host::DEFAULT_CONTEXT;
        (!is_said).then(|| host::default().shown())
    }

    /// Docker's plugins, as this configuration knows them.
    pub(crate) fn plugins(&self) -> Plugins {
        Plugins::of(self.config(), &self.config_folder)
    }

    /// The client's `config.json`; null without one. One that can not be read is told of, once, and is none.
    pub(crate) fn config(&self) -> &Value {
        self.config.get_or_init(|| {
            let config = host::config_file(&self.config_folder).unwrap_or_else(|warning| {
                tell(&format!("WARNING: {warning}"));
                Value::Null
            });
            if let Some(why) = crate::credentials::fault(&config) {
                // The rest of the file holds.
                tell(&format!(
                    "WARNING: Error parsing config file ({}): {why}",
                    self.config_folder.join("config.json").display()
                ));
            }
            config
        })
    }

    /// What speaks to registries where no engine does.
    pub(crate) fn registries(&self) -> &dyn Registries {
        self.registries
    }

    /// The folder of the client's configuration.
    pub(crate) fn config_folder(&self) -> &std::path::Path {
        &self.config_folder
    }

    /// A text of the configuration file; empty when it has none.
    pub(crate) fn setting(&self, name: &str) -> &str {
        self.config()[name].as_str().unwrap_or_default()
    }

    /// Headers that the configuration file adds to every request, and those of this one.
    fn headers(&self, mut own: Vec<(String, String)>) -> Vec<(String, String)> {
        let added = self.config()["HttpHeaders"].as_object();
        own.extend(added.into_iter().flatten().filter_map(|(name, value)| {
            let is_whole = |text: &str| !text.contains(['\r', '\n']);
            let value = value.as_str().filter(|value| is_whole(value))?;
            // The agent is who asks, whatever a file says.
            let is_own = name.eq_ignore_ascii_case("user-agent");
            (is_whole(name) && !is_own).then(|| (name.clone(), value.to_owned()))
        }));
        own
    }

    /// Sends a request below the API version's prefix and gives the answer, whatever its status.
    ///
    /// # Errors
    /// When no answer comes.
    pub(crate) fn send(
        &self,
        method: &'static str,
        path: &str,
        body: Body<'_>,
        headers: Vec<(String, String)>,
    ) -> Result<Answer, Failure> {
        self.request(None, method, path, body, headers, false)
    }

    /// Sends a request by the given version of the API, or by the one that both sides speak. An engine that does not know
    /// the newest one refuses it with a sentence that names its own; only then is more than one request sent.
    fn request(
        &self,
        version: Option<&str>,
        method: &'static str,
        path: &str,
        body: Body<'_>,
        headers: Vec<(String, String)>,
        upgrade: bool,
    ) -> Result<Answer, Failure> {
        let again = match &body {
            Body::Empty => Some(Body::Empty),
            Body::Json(text) => Some(Body::Json(text.clone())),
            // Can be sent once: the version must be known before.
            Body::Stream(_) | Body::Written(_) => {
                self.settle_version()?;
                None
            }
        };
        let headers = self.headers(headers);
        let send = |version: &str, body, headers| {
            let path = format!("/v{version}{path}");
            connection::send(
                &self.engine()?.0,
                &self.idle,
                Request {
                    method,
                    path,
                    headers,
                    body,
                    upgrade,
                },
            )
        };
        let version = match version {
            Some(version) if self.version() == API_VERSION => version,
            _ => self.version(),
        };
        let answer = send(version, body, headers.clone())?;
        match again {
            Some(body) if answer.status == 400 && self.settle_version()? => {
                send(self.version(), body, headers)
            }
            _ => Ok(answer),
        }
    }

    /// The version of the API that requests are sent by.
    pub(crate) fn version(&self) -> &str {
        self.version.get().map_or(API_VERSION, String::as_str)
    }

    /// Asks an engine whether it speaks the newest version, once. Tells whether another one is used from now on.
    fn settle_version(&self) -> Result<bool, Failure> {
        if self.version.get().is_some() {
            return Ok(false);
        }
        let ping = Request {
            method: "GET",
            path: format!("/v{API_VERSION}/_ping"),
            headers: self.headers(Vec::new()),
            body: Body::Empty,
            upgrade: false,
        };
        let refusal = match connection::send(&self.engine()?.0, &self.idle, ping)?.successful() {
            Err(Failure::Daemon { message, .. }) => message,
            _ => String::new(),
        };
        let spoken = highest_spoken(&refusal).unwrap_or(API_VERSION).to_owned();
        let other = spoken != API_VERSION;
        Ok(self.version.set(spoken).is_ok() && other)
    }

    /// A request without a body whose answer is JSON.
    ///
    /// # Errors
    /// The daemon's sentence, or why there is none.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.request(None, "GET", path, Body::Empty, Vec::new(), false)?
            .successful()?
            .json()
    }

    /// As [`Session::get`], of many paths whose answers are small: each one's answer, in order.
    ///
    /// # Errors
    /// No daemon answers, or it breaks off.
    pub(crate) fn get_each(
        &self,
        paths: &[String],
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let ask = || {
            let headers = self.headers(Vec::new());
            let request = |path: &String| Request {
                method: "GET",
                path: format!("/v{}{path}", self.version()),
                headers: headers.clone(),
                body: Body::Empty,
                upgrade: false,
            };
            let requests: Vec<_> = paths.iter().map(request).collect();
            connection::get_each(&self.engine()?.0, &self.idle, &requests)
        };
        let answers = ask()?;
        let is_refused = |answer: &Result<_, Failure>| matches!(answer, Err(failure) if failure.status() == Some(400));
        if answers.iter().any(is_refused) && self.settle_version()? {
            return ask();
        }
        Ok(answers)
    }

    /// The same by another version of the API.
    ///
    /// # Errors
    /// The daemon's sentence, or why there is none.
    pub(crate) fn get_as(&self, version: &str, path: &str) -> Result<Value, Failure> {
        self.request(Some(version), "GET", path, Body::Empty, Vec::new(), false)?
            .successful()?
            .json()
    }

    /// A POST with a JSON body, or none, whose answer is JSON or empty.
    ///
    /// # Errors
    /// The daemon's sentence, or why there is none.
    pub(crate) fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let body = body.map_or(Body::Empty, |body| {
            Body::Json(body.to_string().into_bytes())
        });
        self.send("POST", path, body, Vec::new())?
            .successful()?
            .json()
    }

    /// A DELETE whose answer is JSON or empty.
    ///
    /// # Errors
    /// The daemon's sentence, or why there is none.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.send("DELETE", path, Body::Empty, Vec::new())?
            .successful()?
            .json()
    }

    /// A POST after which the connection is a raw stream.
    ///
    /// # Errors
    /// The daemon's sentence, or why there is none.
    pub(crate) fn hijack(&self, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let body = body.map_or(Body::Empty, |body| {
            Body::Json(body.to_string().into_bytes())
        });
        self.request(None, "POST", path, body, Vec::new(), true)?
            .successful()
    }
}

/// The version that an engine names in place of one that is too new for it: Docker's sentence.
fn highest_spoken(refusal: &str) -> Option<&str> {
    let (_, version) = refusal.split_once("Maximum supported API version is ")?;
    let version = version.trim_end_matches('.').trim();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    version
        .split_once('.')
        .is_some_and(|(major, minor)| is_number(major) && is_number(minor))
        .then_some(version)
}

/// One text and a line break to standard error; nobody is left to tell when that fails.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::highest_spoken;

    #[test]
    fn the_version_of_an_older_engine_is_read_from_its_refusal() {
        let refusal = "client version 1.55 is too new. Maximum supported API version is 1.41";
        assert_eq!(highest_spoken(refusal), Some("1.41"));
        for other in [
            "",
            "no such container",
            "Maximum supported API version is ",
            "Maximum supported API version is 1./../x",
        ] {
            assert_eq!(highest_spoken(other), None, "{other}");
        }
    }
}
