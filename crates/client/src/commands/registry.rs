//! `login`, `logout`, `search`.

use std::io::{self, BufRead, Read, Write};

use api_types::AuthConfig;
use serde_json::{Value, json};

use crate::credentials::{self, DOCKER_HUB};
use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::query::Query;
use crate::session::{Session, tell};
use crate::table::List;
use crate::template::Type;
use crate::terminal::{self, Silence};
use crate::verb::{Takes, Verb};

/// A password is no longer than this.
const PASSWORD_LIMIT: u64 = 64 << 10;

const LOGIN_FLAGS: &[Flag] = &[
    Flag::one(
        "password",
        "string",
        "Password or Personal Access Token (PAT)",
    )
    .letter('p'),
    Flag::switch(
        "password-stdin",
        "Take the Password or Personal Access Token (PAT) from stdin",
    ),
    Flag::one("username", "string", "Username").letter('u'),
];

pub(super) static LOGIN: Verb = Verb {
    paths: &["login"],
    usage: "[OPTIONS] [SERVER]",
    about: "Authenticate to a registry",
    flags: &[LOGIN_FLAGS],
    interspersed: true,
    takes: Takes::AtMost(1),
    run: login,
};

pub(super) static LOGOUT: Verb = Verb {
    paths: &["logout"],
    usage: "[SERVER]",
    about: "Log out from a registry",
    flags: &[],
    interspersed: true,
    takes: Takes::AtMost(1),
    run: logout,
};

/// The key under which credentials for a server are kept, and which the daemon gets.
fn key(server: Option<&String>) -> String {
    match server.map(String::as_str).unwrap_or_default() {
        "" | "docker.io" | DOCKER_HUB => DOCKER_HUB.to_owned(),
        server => credentials::host_of(server).to_owned(),
    }
}

fn login(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let mut password = parsed.one("password").unwrap_or_default().to_owned();
    let user = parsed.one("username").unwrap_or_default().trim().to_owned();
    if parsed.switch("password-stdin") {
        if !password.is_empty() {
            return Err(Failure::Plain(
                "conflicting options: cannot specify both --password and --password-stdin"
                    .to_owned(),
            ));
        }
        if user.is_empty() {
            return Err(Failure::Plain(
                "the --password-stdin option requires --username to be set".to_owned(),
            ));
        }
        password = password_of_stdin()?;
    } else if !password.is_empty() {
        tell("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let key = key(parsed.args.first());
    let stored = credentials::of(session.config(), &key).unwrap_or_default();
    let known = !stored.username.is_empty()
        && (!stored.password.is_empty() || !stored.identity_token.is_empty());
    if user.is_empty() && password.is_empty() && known {
        tell(&format!(
            "Authenticating with existing credentials... [Username: {}]\n\n Info -> To login with a different account, run '{program} \
             logout' followed by '{program} login'\n\n",
            stored.username,
            program = session.program
        ));
        let auth = AuthConfig {
            server_address: key.clone(),
            ..stored.clone()
        };
        match ask(session, auth) {
            Ok(()) => return Ok(0),
            Err(error) if error.status() == Some(401) => {
                tell("Stored credentials invalid or expired");
            }
            Err(error) => tell(&format!("Login did not succeed, error: {error}")),
        }
    }
    let (username, password) = complete(user, password, &stored.username)?;
    let auth = AuthConfig {
        username,
        password,
        server_address: key,
        ..AuthConfig::default()
    };
    ask(session, auth)?;
    Ok(0)
}

/// Asks the daemon whether the registry knows somebody, and keeps what did.
fn ask(session: &Session, mut auth: AuthConfig) -> Result<(), Failure> {
    let body = serde_json::to_value(&auth).unwrap_or_else(|_| json!({}));
    let answer = session.post("/auth", Some(&body))?;
    if let Some(token) = answer["IdentityToken"].as_str().filter(|t| !t.is_empty()) {
        auth.identity_token = token.to_owned();
        auth.password.clear();
    }
    credentials::store(session.config_folder(), &auth)
        .map_err(|why| Failure::Plain(format!("Error saving credentials: {why}")))?;
    if let Some(status) = answer["Status"].as_str().filter(|text| !text.is_empty()) {
        println!("{status}");
    }
    Ok(())
}

fn password_of_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(PASSWORD_LIMIT)
        .read_to_end(&mut bytes)
        .map_err(Failure::local("cannot read the password"))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::Plain("the password is not UTF-8".to_owned()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Asks the person for what is missing.
fn complete(
    mut user: String,
    mut password: String,
    before: &str,
) -> Result<(String, String), Failure> {
    let is_terminal = terminal::is_terminal(rustix::stdio::stdin());
    if (user.is_empty() || password.trim().is_empty()) && !is_terminal {
        return Err(Failure::Plain(
            "Error: Cannot perform an interactive login from a non TTY device".to_owned(),
        ));
    }
    if user.is_empty() {
        user = match before {
            "" => line("Username: ")?,
            before => line(&format!("Username ({before}): "))?,
        };
        if user.is_empty() {
            user = before.to_owned();
        }
        if user.is_empty() {
            return Err(Failure::Plain(
                "Error: Non-null Username Required".to_owned(),
            ));
        }
    }
    if password.trim().is_empty() {
        let silence = Silence::enter();
        let typed = line("Password: ");
        drop(silence);
        println!();
        password = typed?;
        if password.is_empty() {
            return Err(Failure::Plain("Error: Password Required".to_owned()));
        }
    }
    Ok((user, password))
}

/// A line that somebody types.
fn line(prompt: &str) -> Result<String, Failure> {
    let failed = Failure::local("cannot read what is typed");
    let mut text = String::new();
    terminal::answer(|| {
        print!("{prompt}");
        io::stdout().flush()?;
        io::stdin().lock().take(PASSWORD_LIMIT).read_line(&mut text)
    })
    .map_err(failed)?;
    Ok(text.trim().to_owned())
}

fn logout(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let key = key(parsed.args.first());
    let forms = match key.as_str() {
        DOCKER_HUB => vec![key.clone()],
        host => vec![
            host.to_owned(),
            format!("http://{host}"),
            format!("https://{host}"),
        ],
    };
    println!("Removing login credentials for {key}");
    let failed: Vec<String> = forms
        .iter()
        .filter_map(|form| {
            let why = credentials::erase(session.config_folder(), form).err()?;
            Some(format!("{form}: {why}"))
        })
        .collect();
    if failed.len() == forms.len() {
        tell("WARNING: could not erase credentials:");
        failed.iter().for_each(|line| tell(line));
    }
    Ok(0)
}

const SEARCH_FLAGS: &[Flag] = &[
    Flag::list(
        "filter",
        "filter",
        "Filter output based on conditions provided",
    )
    .letter('f'),
    Flag::one(
        "format",
        "string",
        "Pretty-print search using a Go template",
    ),
    Flag::one("limit", "int", "Max number of search results").checked(integer),
    Flag::switch("no-trunc", "Don't truncate output"),
];

fn integer(text: &str) -> Result<String, String> {
    crate::number::integer(text).map(|number| number.to_string())
}

pub(super) static SEARCH: Verb = Verb {
    paths: &["search"],
    usage: "[OPTIONS] TERM",
    about: "Search Docker Hub for images",
    flags: &[SEARCH_FLAGS],
    interspersed: true,
    takes: Takes::Exactly(1),
    run: search,
};

const HEADINGS: &[(&str, &str)] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("IsAutomated", "AUTOMATED"),
];
/// Longer descriptions are cut.
const DESCRIPTION: usize = 45;

fn search(session: &Session, parsed: &Parsed) -> Result<u8, Failure> {
    let term = &parsed.args[0];
    let domain = types::Reference::parse_normalized(term)
        .map_or_else(|_| "docker.io".to_owned(), |name| name.domain().to_owned());
    let query = Query::new("/images/search")
        .with("term", term)
        .with_some("limit", parsed.one("limit").unwrap_or_default())
        .with_some("filters", &super::filters(&parsed.list("filter"))?);
    let headers = credentials::header(session.config(), &domain)
        .map(|value| ("X-Registry-Auth".to_owned(), value))
        .into_iter()
        .collect();
    let answer = session
        .send("GET", query.text(), crate::connection::Body::Empty, headers)?
        .successful()?
        .json()?;
    let whole = parsed.switch("no-trunc");
    // In the registry's order, as docker's client shows them.
    let found = answer.as_array().into_iter().flatten();
    let rows: Vec<Value> = found.map(|found| row(found, whole)).collect();
    let format = parsed.one("format").unwrap_or_default().to_owned();
    List {
        kind: &Type::Row("*search.searchContext"),
        headings: HEADINGS,
        table: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
        quiet: "Name",
        raw: &[],
    }
    .print(&rows, &format, false)?;
    Ok(0)
}

fn row(found: &Value, whole: bool) -> Value {
    let description = found["description"].as_str().unwrap_or_default();
    let description = description.replace(['\n', '\r'], " ");
    let description = match whole || description.chars().count() <= DESCRIPTION {
        true => description,
        false => {
            let cut: String = description.chars().take(DESCRIPTION - 1).collect();
            format!("{cut}…")
        }
    };
    let yes = |name: &str| match found[name].as_bool() {
        Some(true) => "[OK]",
        _ => "",
    };
    json!({
        "Name": found["name"],
        "Description": description,
        "StarCount": found["star_count"].as_i64().unwrap_or(0).to_string(),
        "IsOfficial": yes("is_official"),
        "IsAutomated": yes("is_automated"),
    })
}
