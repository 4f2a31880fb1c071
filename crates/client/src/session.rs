//! One invocation: global flags, the verb, and how its end is told.

use std::cell::OnceCell;
use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

use crate::commands;
use crate::connection::{self, Answer, Body, Request};
use crate::failure::Failure;
use crate::flag::Flag;
use crate::help;
use crate::host::{self, Host};
use crate::parse::{ParseError, Parsed};
use crate::verb::{Takes, Verb};

/// The API version that this client speaks.
pub(crate) const API_VERSION: &str = "1.55";

/// Flags in front of the verb.
pub(crate) const GLOBAL: &[Flag] = &[
    Flag::one("config", "string", "Location of client config files"),
    Flag::one("context", "string", "Name of the context to use").letter('c'),
    Flag::switch("debug", "Enable debug mode").letter('D'),
    Flag::list("host", "list", "Daemon socket to connect to").letter('H'),
    Flag::one("log-level", "string", "Set the logging level").letter('l'),
    Flag::switch("tls", "Use TLS").refused(),
    Flag::one("tlscacert", "string", "Trust certs signed only by this CA").refused(),
    Flag::one("tlscert", "string", "Path to TLS certificate file").refused(),
    Flag::one("tlskey", "string", "Path to TLS key file").refused(),
    Flag::switch("tlsverify", "Use TLS and verify the remote").refused(),
    Flag::switch("version", "Print version information and quit").letter('v'),
];

/// What a verb needs to know of the invocation.
pub(crate) struct Session {
    /// `wharf` or `docker`: as messages name the program.
    pub(crate) program: String,
    host_flag: Option<String>,
    context_flag: Option<String>,
    config_folder: PathBuf,
    chosen: OnceCell<(Host, String)>,
}

impl Session {
    /// The engine, and the name of the context that it comes from.
    ///
    /// # Errors
    /// A context or host that is not understood.
    pub(crate) fn engine(&self) -> Result<&(Host, String), Failure> {
        if self.chosen.get().is_none() {
            let chosen = host::choose(
                self.host_flag.as_deref(),
                self.context_flag.as_deref(),
                &self.config_folder,
            )?;
            let _ = self.chosen.set(chosen);
        }
        self.chosen
            .get()
            .ok_or_else(|| Failure::Invalid("no engine is chosen".to_owned()))
    }

    /// The client's `config.json`; null without one.
    ///
    /// # Errors
    /// When it can not be read.
    pub(crate) fn config(&self) -> Result<Value, Failure> {
        host::config_file(&self.config_folder)
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
        headers: Vec<(&'static str, String)>,
    ) -> Result<Answer, Failure> {
        let path = format!("/v{API_VERSION}{path}");
        connection::send(
            &self.engine()?.0,
            Request {
                method,
                path,
                headers,
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
        self.send("GET", path, Body::Empty, Vec::new())?
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
                headers: Vec::new(),
                body,
                upgrade: true,
            },
        )?
        .successful()
    }
}

/// Runs the program: finds the verb, runs it, tells its failure.
pub(crate) fn run(args: Vec<String>) -> u8 {
    let program = program_name();
    let (session, rest) = match global(&program, args) {
        Ok(Some(found)) => found,
        Ok(None) => return 0,
        Err(error) => {
            tell(&format!(
                "{error}\n\nUsage:  {program} [OPTIONS] COMMAND [ARG...]\n\nRun '{program} --help' for more information"
            ));
            return 125;
        }
    };
    let Some((verb, args)) = find(&rest) else {
        return without_verb(&program, &rest);
    };
    let outcome = Parsed::read(verb.flags, verb.interspersed, args)
        .map_err(Failure::from)
        .and_then(|parsed| {
            count(&program, verb, &parsed)?;
            (verb.run)(&session, &parsed)
        });
    match outcome {
        Ok(status) => status,
        Err(failure) => explain(&program, verb, &failure),
    }
}

/// `docker` for a link of that name, so that messages name what was typed.
fn program_name() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    match std::path::Path::new(&name)
        .file_name()
        .and_then(|name| name.to_str())
    {
        Some("docker") => "docker".to_owned(),
        _ => "wharf".to_owned(),
    }
}

/// Reads the flags in front of the verb. `None` when they alone were the command.
fn global(program: &str, args: Vec<String>) -> Result<Option<(Session, Vec<String>)>, ParseError> {
    let parsed = match Parsed::read(&[GLOBAL], false, args) {
        Err(ParseError::Help) => {
            print!("{}", help::of_program(program));
            return Ok(None);
        }
        other => other?,
    };
    if parsed.switch("version") {
        println!("Wharf version {}", env!("CARGO_PKG_VERSION"));
        return Ok(None);
    }
    let session = Session {
        program: program.to_owned(),
        host_flag: parsed.list("host").pop(),
        context_flag: parsed.one("context").map(str::to_owned),
        config_folder: host::config_folder(parsed.one("config")),
        chosen: OnceCell::new(),
    };
    Ok(Some((session, parsed.args)))
}

/// The verb with the longest path that the words begin with, and what stands behind it.
fn find(words: &[String]) -> Option<(&'static Verb, Vec<String>)> {
    for length in (1..=words.len().min(2)).rev() {
        let path = words[..length].join(" ");
        if let Some(verb) = commands::ALL
            .iter()
            .find(|verb| verb.paths.contains(&path.as_str()))
        {
            return Some((verb, words[length..].to_vec()));
        }
    }
    None
}

fn without_verb(program: &str, words: &[String]) -> u8 {
    let is_help = |word: &String| word == "--help" || word == "-h";
    match words {
        [] => print!("{}", help::of_program(program)),
        [first, rest @ ..] if first == "help" => return help_about(program, rest),
        [group, rest @ ..]
            if commands::groups().any(|known| known == group)
                && (rest.is_empty() || is_help(&rest[0])) =>
        {
            print!("{}", help::of_group(program, group));
        }
        [group, word, ..] if commands::groups().any(|known| known == group) => {
            tell(&format!(
                "{program}: unknown command: {program} {group} {word}\n\nUsage:  {program} {group}\n\nRun '{program} {group} --help' for more information"
            ));
            return 1;
        }
        [word, ..] => {
            tell(&format!(
                "{program}: unknown command: {program} {word}\n\nRun '{program} --help' for more information"
            ));
            return 1;
        }
    }
    0
}

fn help_about(program: &str, words: &[String]) -> u8 {
    match find(words) {
        Some((verb, _)) => print!("{}", help::of_verb(program, verb)),
        None => return without_verb(program, words),
    }
    0
}

/// Checks the number of arguments, in docker's words.
fn count(program: &str, verb: &Verb, parsed: &Parsed) -> Result<(), Failure> {
    let number = parsed.args.len();
    let plural = |number: usize| if number == 1 { "" } else { "s" };
    let name = format!("'{program} {}'", verb.paths[0]);
    let wrong = match verb.takes {
        Takes::Nothing if number > 0 => format!("{name} accepts no arguments"),
        Takes::Exactly(wanted) if number != wanted => {
            format!("{name} requires {wanted} argument{}", plural(wanted))
        }
        Takes::AtLeast(least) if number < least => {
            format!("{name} requires at least {least} argument{}", plural(least))
        }
        Takes::AtMost(most) if number > most => {
            format!("{name} requires at most {most} argument{}", plural(most))
        }
        Takes::Between(least, most) if !(least..=most).contains(&number) => format!(
            "{name} requires at least {least} and at most {most} argument{}",
            plural(most)
        ),
        _ => return Ok(()),
    };
    Err(Failure::Usage(wrong))
}

/// Tells a failure as docker's client does, and gives the exit status.
fn explain(program: &str, verb: &Verb, failure: &Failure) -> u8 {
    let name = verb.paths[0];
    // What the arguments mean is told alike by `create`.
    let like_run = match failure {
        Failure::Invalid(_) => matches!(name, "run" | "create"),
        _ => name == "run",
    };
    let more = format!("Run '{program} {name} --help' for more information");
    match failure {
        Failure::Status(status) => return *status,
        Failure::Parse(ParseError::Help) => {
            print!("{}", help::of_verb(program, verb));
            return 0;
        }
        Failure::Parse(error) => {
            tell(&format!(
                "{error}\n\n{}\n\n{more}",
                help::usage(program, verb)
            ));
            return 125;
        }
        Failure::Usage(text) => {
            let see = if matches!(verb.takes, Takes::AtLeast(_)) {
                more.replacen("Run", "See", 1)
            } else {
                more
            };
            tell(&format!(
                "{program}: {text}\n\n{}\n\n{see}",
                help::usage(program, verb)
            ));
            return 1;
        }
        Failure::Plain(text) => {
            tell(text);
            return 1;
        }
        _ if like_run => tell(&format!("{program}: {failure}\n\n{more}")),
        _ => tell(&failure.to_string()),
    }
    if matches!(failure, Failure::NoDaemon { .. }) && program != "docker" {
        tell(
            "\nStart one with 'wharf daemon' (as root) or 'systemctl start wharf', or name another with -H or DOCKER_HOST.",
        );
    }
    if like_run { 125 } else { 1 }
}

/// One text and a line break to standard error; nobody is left to tell when that fails.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
