//! What a verb needs to know of the invocation: the engine, the configuration, requests to the one by the other.

use std::cell::OnceCell;
use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

use crate::connection::{self, Answer, Body, Request};
use crate::failure::Failure;
use crate::host::{self, Host};
use crate::parse::Parsed;

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
    hosts: Vec<String>,
    context_flag: Option<String>,
    config_folder: PathBuf,
    config: OnceCell<Value>,
    chosen: OnceCell<(Host, String)>,
}

impl Session {
    /// From the flags in front of the verb.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub(crate) fn new(
        program: &str,
        global: &Parsed,
        build: types::Build,
    ) -> Result<Self, Failure> {
        let session = Session {
            program: program.to_owned(),
            debug: global.switch("debug"),
            build,
            hosts: global.list("host"),
            context_flag: global
                .one("context")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            config_folder: host::config_folder(global.one("config")),
            config: OnceCell::new(),
            chosen: OnceCell::new(),
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
        let chosen = host::choose(
            &self.hosts,
            self.context_flag.as_deref(),
            &self.config_folder,
            || self.config()["currentContext"].as_str().unwrap_or_default(),
        )?;
        Ok(self.chosen.get_or_init(|| chosen))
    }

    /// The client's `config.json`; null without one. One that can not be read is told of, once, and is none.
    pub(crate) fn config(&self) -> &Value {
        self.config.get_or_init(|| {
            host::config_file(&self.config_folder).unwrap_or_else(|warning| {
                tell(&format!("WARNING: {warning}"));
                Value::Null
            })
        })
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
            is_whole(name).then(|| (name.clone(), value.to_owned()))
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
        self.send_as(API_VERSION, method, path, body, headers)
    }

    fn send_as(
        &self,
        version: &str,
        method: &'static str,
        path: &str,
        body: Body<'_>,
        headers: Vec<(String, String)>,
    ) -> Result<Answer, Failure> {
        let path = format!("/v{version}{path}");
        connection::send(
            &self.engine()?.0,
            Request {
                method,
                path,
                headers: self.headers(headers),
                body,
                upgrade: false,
            },
        )
    }

    /// A request without a body whose answer is JSON.
    ///
    /// # Errors
    /// The daemon's sentence, or why there is none.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.get_as(API_VERSION, path)
    }

    /// The same by another version of the API.
    ///
    /// # Errors
    /// The daemon's sentence, or why there is none.
    pub(crate) fn get_as(&self, version: &str, path: &str) -> Result<Value, Failure> {
        self.send_as(version, "GET", path, Body::Empty, Vec::new())?
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
        let path = format!("/v{API_VERSION}{path}");
        connection::send(
            &self.engine()?.0,
            Request {
                method: "POST",
                path,
                headers: self.headers(Vec::new()),
                body,
                upgrade: true,
            },
        )?
        .successful()
    }
}

/// One text and a line break to standard error; nobody is left to tell when that fails.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
