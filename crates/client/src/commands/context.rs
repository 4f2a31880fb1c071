//! `context`: engines by name, kept where and as docker's client keeps them.

mod endpoint;
mod show;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use crate::contexts::{self, Context, Contexts, DOCKER};
use crate::credentials;
use crate::failure::{Failure, plain};
use crate::flag::Flag;
use crate::host::DEFAULT_CONTEXT;
use crate::parse::Parsed;
use crate::session::{Session, tell};
use crate::verb::{Takes, Verb};
use endpoint::Engine;

pub(super) use show::{INSPECT, LS};

/// What the context `default` says of itself.
const DEFAULT_ABOUT: &str = "Current DOCKER_HOST based configuration";
/// Archives larger than this are not imported: docker's limit.
const ARCHIVE_LIMIT: u64 = 10 << 20;

const fn verb(
    paths: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    flags: &'static [&'static [Flag]],
    takes: Takes,
    run: fn(&Session, &Parsed) -> Result<u8, Failure>,
) -> Verb {
    Verb {
        paths,
        usage,
        about,
        flags,
        interspersed: true,
        takes,
        run,
    }
}

const DESCRIPTION: Flag = Flag::one("description", "string", "Description of the context");
const ENGINE: Flag = Flag::list(
    "docker",
    "stringToString",
    "The engine, by keys: host, ca, cert, key (files), skip-tls-verify, or from (a context)",
)
.checked(endpoint::check);

pub(super) static CREATE: Verb = verb(
    &["context create"],
    "[OPTIONS] CONTEXT",
    "Create a context",
    &[&[
        DESCRIPTION,
        ENGINE,
        Flag::one("from", "string", "Create context from a named context"),
    ]],
    Takes::Exactly(1),
    create,
);

fn all(session: &Session) -> Contexts {
    Contexts::in_folder(session.config_folder())
}

/// A context by name; `default` is made up.
fn named(session: &Session, name: &str) -> Result<Context, Failure> {
    if name != DEFAULT_CONTEXT {
        return all(session).find(name).map_err(Failure::Plain);
    }
    let mut context = Context::new(DEFAULT_CONTEXT);
    context.describe(DEFAULT_ABOUT);
    context.set_engine(&session.default_host()?.shown(), false);
    Ok(context)
}

/// The name that a context is to be made under.
fn new_name<'a>(session: &Session, parsed: &'a Parsed) -> Result<&'a str, Failure> {
    let name = parsed.args[0].as_str();
    contexts::check_name(name).map_err(Failure::Plain)?;
    if all(session).is_there(name) {
        return Err(Failure::Plain(format!("context {name:?} already exists")));
    }
    Ok(name)
}

fn create(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let name = new_name(session, parsed)?;
    let from = parsed.one("from").filter(|from| !from.is_empty());
    let values = parsed.list("docker");
    let (mut context, secrets) = match (from, values.is_empty()) {
        (Some(_), false) => {
            return Err(Failure::Plain(
                "cannot use --docker flag when --from is set".to_owned(),
            ));
        }
        (_, true) => {
            let from = from.map_or_else(|| session.context(), str::to_owned);
            let secrets = match from.as_str() {
                DEFAULT_CONTEXT => Vec::new(),
                from => all(session).secrets(from).map_err(Failure::Plain)?,
            };
            (named(session, &from)?.renamed(name), secrets)
        }
        (None, false) => {
            let engine = Engine::read(session, &values)?;
            let mut context = Context::new(name);
            context.set_engine(&engine.host, engine.skip_verification);
            (context, engine.secrets)
        }
    };
    if let Some(text) = parsed.one("description").filter(|text| !text.is_empty()) {
        context.describe(text);
    }
    let store = all(session);
    store.write(&context).map_err(Failure::Plain)?;
    store
        .write_secrets(name, None, &secrets)
        .map_err(Failure::Plain)?;
    println!("{name}");
    tell(&format!("Successfully created context {name:?}"));
    Ok(0)
}

pub(super) static UPDATE: Verb = verb(
    &["context update"],
    "[OPTIONS] CONTEXT",
    "Update a context",
    &[&[DESCRIPTION, ENGINE]],
    Takes::Exactly(1),
    update,
);

fn update(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let name = parsed.args[0].as_str();
    contexts::check_name(name).map_err(Failure::Plain)?;
    let store = all(session);
    let mut context = store.find(name).map_err(Failure::Plain)?;
    if let Some(text) = parsed.one("description").filter(|text| !text.is_empty()) {
        context.describe(text);
    }
    let values = parsed.list("docker");
    let engine = match values.is_empty() {
        true => None,
        false => Some(Engine::read(session, &values)?),
    };
    if let Some(engine) = &engine {
        context.set_engine(&engine.host, engine.skip_verification);
    }
    store.write(&context).map_err(Failure::Plain)?;
    if let Some(engine) = &engine {
        store
            .write_secrets(name, Some(DOCKER), &engine.secrets)
            .map_err(Failure::Plain)?;
    }
    println!("{name}");
    tell(&format!("Successfully updated context {name:?}"));
    Ok(0)
}

pub(super) static USE: Verb = verb(
    &["context use"],
    "CONTEXT",
    "Set the current context",
    &[],
    // Docker counts them in other words than elsewhere.
    Takes::AtLeast(0),
    |session, parsed| {
        let [name] = &parsed.args[..] else {
            return Err(Failure::Plain(format!(
                "accepts 1 arg(s), received {}",
                parsed.args.len()
            )));
        };
        let chosen = match name.as_str() {
            DEFAULT_CONTEXT => None,
            name => {
                contexts::check_name(name)
                    .and_then(|()| all(session).find(name).map(drop))
                    .map_err(Failure::Plain)?;
                Some(name)
            }
        };
        credentials::use_context(session.config_folder(), chosen).map_err(Failure::Plain)?;
        println!("{name}");
        tell(&format!("Current context is now {name:?}"));
        if let Some(name) = chosen {
            warn_of_host(&format!("{name:?}"));
        }
        Ok(0)
    },
);

/// Warns when a variable says which engine is meant, whatever context is in use.
fn warn_of_host(what: &str) {
    if std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty()) {
        tell(&format!(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use {what}, either set the global --context flag, or unset DOCKER_HOST environment variable."
        ));
    }
}

pub(super) static SHOW: Verb = verb(
    &["context show"],
    "",
    "Print the name of the current context",
    &[],
    Takes::Nothing,
    |session, _| {
        println!("{}", session.context());
        Ok(0)
    },
);

pub(super) static RM: Verb = verb(
    &["context rm", "context remove"],
    "CONTEXT [CONTEXT...]",
    "Remove one or more contexts",
    &[&[Flag::switch("force", "Force the removal of a context in use").letter('f')]],
    Takes::AtLeast(1),
    remove,
);

fn remove(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let current = session.context();
    let mut faults = Vec::new();
    for name in &parsed.args {
        match remove_one(session, name, &current, parsed.switch("force")) {
            Ok(()) => println!("{name}"),
            Err(fault) => faults.push(fault),
        }
    }
    match faults.is_empty() {
        true => Ok(0),
        false => Err(Failure::Plain(faults.join("\n"))),
    }
}

fn remove_one(session: &Session, name: &str, current: &str, force: bool) -> Result<(), String> {
    if name == DEFAULT_CONTEXT {
        return Err(format!("context {name:?} cannot be removed"));
    }
    let store = all(session);
    if !force && !store.meta_folder(name).exists() {
        return Err(format!("context {name:?} does not exist"));
    }
    if name == current {
        if !force {
            return Err(format!(
                "context {name:?} is in use, set -f flag to force remove"
            ));
        }
        if session.setting("currentContext") == name {
            credentials::use_context(session.config_folder(), None)?;
        }
    }
    store.remove(name)
}

pub(super) static EXPORT: Verb = verb(
    &["context export"],
    "[OPTIONS] CONTEXT [FILE|-]",
    "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    &[],
    Takes::Between(1, 2),
    export,
);

fn export(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let name = parsed.args[0].as_str();
    if name != DEFAULT_CONTEXT {
        contexts::check_name(name).map_err(Failure::Plain)?;
    }
    let context = named(session, name)?;
    let secrets = match name {
        DEFAULT_CONTEXT => Vec::new(),
        name => all(session).secrets(name).map_err(Failure::Plain)?,
    };
    let archive = contexts::pack(&context, &secrets);
    let target = parsed.args.get(1).cloned();
    let target = target.unwrap_or_else(|| format!("{name}.dockercontext"));
    if target == "-" {
        if crate::terminal::is_terminal(io::stdout()) {
            return Err(Failure::Plain(
                "cowardly refusing to export to a terminal, specify a file path".to_owned(),
            ));
        }
        let mut out = io::stdout().lock();
        out.write_all(&archive).map_err(crate::output::failed)?;
        return Ok(0);
    }
    // Keys may be in it, and a file that is there is nobody's to write over.
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&target)
        .and_then(|mut file| file.write_all(&archive))
        .map_err(|error| Failure::Plain(format!("open {target}: {}", plain(&error))))?;
    tell(&format!("Written file {target:?}"));
    Ok(0)
}

pub(super) static IMPORT: Verb = verb(
    &["context import"],
    "CONTEXT FILE|-",
    "Import a context from a tar archive",
    &[],
    Takes::Exactly(2),
    import,
);

fn import(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let name = new_name(session, parsed)?;
    let path = parsed.args[1].as_str();
    let mut source: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin().lock()),
        path => {
            let opened = fs::File::open(path)
                .map_err(|error| Failure::Plain(format!("open {path}: {}", plain(&error))))?;
            Box::new(opened)
        }
    };
    let mut archive = Vec::new();
    source
        .by_ref()
        .take(ARCHIVE_LIMIT + 1)
        .read_to_end(&mut archive)
        .map_err(|error| Failure::Plain(format!("read {path}: {}", plain(&error))))?;
    if archive.len() as u64 > ARCHIVE_LIMIT {
        return Err(Failure::Plain(format!(
            "{path}: an archive of more than 10 MiB is no context"
        )));
    }
    let (context, secrets) = contexts::unpack(&archive).map_err(Failure::Plain)?;
    let store = all(session);
    store
        .write(&context.renamed(name))
        .map_err(Failure::Plain)?;
    store
        .write_secrets(name, None, &secrets)
        .map_err(Failure::Plain)?;
    println!("{name}");
    tell(&format!("Successfully imported context {name:?}"));
    Ok(0)
}
