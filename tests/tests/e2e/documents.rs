//! What a running engine answers beside what Docker's daemon answered to the same requests.
//!
//! `crates/api/tests/golden` holds answers of dockerd 20.10 (1.24, 1.30, 1.41) and 28.2 (1.43, 1.50). The session that
//! its `record.py` had with them is had here with Wharf, once a version: statuses, the names of members, the kinds of
//! values and, where they are no matter of chance or of the host, the values are the same. What differs and may is
//! listed in `tests/data/document-differences`, each with its reason; one that is listed and does not differ fails the test too.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::{Engine, Kind, eventually};

/// Every version that was recorded.
const VERSIONS: [&str; 5] = ["1.24", "1.30", "1.41", "1.43", "1.50"];
/// From here on sentences are those of the release whose behaviour Wharf has.
const CURRENT: &str = "1.43";
/// Answers of which names and kinds alone are compared: their values are the host's or those of another image.
const SHAPES: [&str; 6] = ["df", "history", "image", "images", "info", "version"];

/// A line of the list: in which answer (`*` for any), where in it, in which versions.
struct Difference {
    name: String,
    at: String,
    since: String,
    until: String,
}

impl Difference {
    fn list() -> Vec<Difference> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/document-differences");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let words: Vec<&str> = line.splitn(4, ' ').collect();
                let [name, at, versions, _reason] = words[..] else {
                    panic!("{line}: answer, place, versions and reason are expected");
                };
                let (since, until) = versions.split_once('-').unwrap();
                Difference {
                    name: name.to_owned(),
                    at: at.trim_start_matches('-').to_owned(),
                    since: since.to_owned(),
                    until: until.to_owned(),
                }
            })
            .collect()
    }

    /// Whether it is this one, of this version.
    fn is(&self, name: &str, at: &str, version: &str) -> bool {
        (self.since.as_str()..=self.until.as_str()).contains(&version)
            && (self.name == "*" || self.name == name)
            && match self.name.as_str() {
                "*" => at.strip_prefix("[]").unwrap_or(at) == self.at,
                _ => at == self.at,
            }
    }
}

/// One session: the answers in their order, with what has to be put into a path.
fn session(engine: &Engine, version: &str, found: &mut Vec<(&'static str, String, String)>) {
    let began = seconds() - 1;
    let mut ask = |name: &'static str, method: &str, path: &str, body: Option<Value>| {
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let (status, answer) = engine
            .ask(
                method,
                &format!("/v{version}{path}"),
                "application/json",
                text.as_bytes(),
            )
            .unwrap_or_else(|| panic!("{version} {name}: no answer"));
        let ours = parsed(&answer, name == "events");
        let theirs = golden(version, name);
        let mut differs = |at: &str, text: String| found.push((name, at.to_owned(), text));
        if theirs["status"] != json!(status) {
            differs("", format!("status {status} and not {}", theirs["status"]));
        }
        let values = !SHAPES.contains(&name);
        if name == "events" && version < CURRENT {
            // 20.10 told some of them twice.
        } else if name == "events" {
            let (theirs, ours) = (told(&theirs["body"]), told(&ours));
            compare("", &theirs, &ours, values, version, &mut differs);
        } else {
            compare("", &theirs["body"], &ours, values, version, &mut differs);
        }
        ours
    };
    ask("version", "GET", "/version", None);
    ask("info", "GET", "/info", None);
    ask("unknown-route", "GET", "/nothing", None);
    ask("image", "GET", "/images/box/json", None);
    ask("history", "GET", "/images/box/history", None);
    ask("no-image", "GET", "/images/nothing/json", None);
    let volume = json!({"Name": "golden", "Labels": {"a": "b"}});
    ask("volume-create", "POST", "/volumes/create", Some(volume));
    ask("volumes", "GET", "/volumes", None);
    ask("volume", "GET", "/volumes/golden", None);
    ask("no-volume", "GET", "/volumes/nothing", None);
    ask("networks", "GET", "/networks", None);
    ask("no-network", "GET", "/networks/nothing", None);
    let config = json!({
        "Image": "box",
        "Cmd": ["cat"],
        "Env": ["A=b"],
        "OpenStdin": true,
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {
            "Binds": ["golden:/data"],
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]},
        },
    });
    let create = "/containers/create?name=golden";
    let made = ask("create", "POST", create, Some(config.clone()));
    let id = made["Id"].as_str().unwrap().to_owned();
    let of = |what: &str| format!("/containers/{id}{what}");
    ask("create-name-in-use", "POST", create, Some(config));
    let nothing = json!({"Image": "nothing"});
    ask(
        "create-no-image",
        "POST",
        "/containers/create",
        Some(nothing),
    );
    ask(
        "create-empty",
        "POST",
        "/containers/create",
        Some(json!({})),
    );
    ask("create-no-body", "POST", "/containers/create", None);
    ask("container-created", "GET", &of("/json"), None);
    ask("no-container", "GET", "/containers/nothing/json", None);
    ask("kill-not-running", "POST", &of("/kill"), None);
    ask("start", "POST", &of("/start"), None);
    ask("start-again", "POST", &of("/start"), None);
    ask("container-running", "GET", &of("/json?size=1"), None);
    ask("containers", "GET", "/containers/json?size=1", None);
    ask("network", "GET", "/networks/bridge", None);
    ask("remove-running", "DELETE", &of(""), None);
    ask("exec-no-command", "POST", &of("/exec"), Some(json!({})));
    let command = json!({"Cmd": ["true"]});
    let exec = ask("exec-create", "POST", &of("/exec"), Some(command));
    let exec = exec["Id"].as_str().unwrap().to_owned();
    let detached = json!({"Detach": true});
    ask(
        "exec-start",
        "POST",
        &format!("/exec/{exec}/start"),
        Some(detached),
    );
    let path = format!("/exec/{exec}/json");
    eventually(
        "the command ends",
        std::time::Duration::from_secs(10),
        || {
            let (_, body) = engine.ask("GET", &path, "", b"")?;
            parsed(&body, false)["Running"]
                .eq(&json!(false))
                .then_some(())
        },
    );
    ask("exec", "GET", &path, None);
    ask("no-exec", "GET", "/exec/nothing/json", None);
    ask("logs-no-stream", "GET", &of("/logs"), None);
    ask("rename-empty", "POST", &of("/rename?name="), None);
    let filter = "/containers/json?filters=%7B%22nothing%22%3A%5B%22a%22%5D%7D";
    ask("bad-filter", "GET", filter, None);
    ask("stop", "POST", &of("/stop?t=0"), None);
    ask("stop-again", "POST", &of("/stop?t=0"), None);
    ask("wait", "POST", &of("/wait"), None);
    ask("container-exited", "GET", &of("/json"), None);
    ask("df", "GET", "/system/df", None);
    ask("prune-containers", "POST", "/containers/prune", None);
    ask("prune-containers-none", "POST", "/containers/prune", None);
    ask("volume-remove", "DELETE", "/volumes/golden", None);
    ask("prune-volumes-none", "POST", "/volumes/prune", None);
    ask("prune-networks-none", "POST", "/networks/prune", None);
    ask("tag", "POST", "/images/box/tag?repo=golden&tag=1", None);
    ask("untag", "DELETE", "/images/golden:1", None);
    ask("prune-images-none", "POST", "/images/prune", None);
    let filter = "%7B%22container%22%3A%5B%22golden%22%5D%7D";
    // A moment that has begun is told of to its end.
    let last = seconds();
    // The next session asks from a second before it.
    eventually("the second ends", std::time::Duration::from_secs(5), || {
        (seconds() > last + 1).then_some(())
    });
    let until = seconds();
    let events = format!("/events?since={began}&until={until}&filters={filter}");
    ask("events", "GET", &events, None);
    ask("swarm", "GET", "/swarm", None);
    ask("services", "GET", "/services", None);
    ask("plugins", "GET", "/plugins", None);
    ask("no-plugin", "GET", "/plugins/nothing/json", None);
}

fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn parsed(text: &str, lines: bool) -> Value {
    match text.trim() {
        "" => Value::Null,
        text if lines => text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .collect(),
        text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")),
    }
}

/// Events in an order of their own: that in which things happen at once is a matter of chance. What 20.10 told of
/// networks to a filter for containers, and of images beside what the session did, is left out.
fn told(events: &Value) -> Value {
    let key = |event: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let signal = text(&event["Actor"]["Attributes"]["signal"]);
        (text(&event["Type"]), text(&event["Action"]), signal)
    };
    let mut events = events.as_array().cloned().unwrap_or_default();
    events.retain(|event| event["Type"] == "container" || event["Type"] == "volume");
    events.sort_by_key(key);
    Value::Array(events)
}

fn golden(version: &str, name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/api/tests/golden");
    let path = format!("{folder}/{version}/{name}.json");
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_slice(&text).unwrap()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Tells what differs. Members of maps by id are compared as one.
fn compare(
    at: &str,
    theirs: &Value,
    ours: &Value,
    values: bool,
    version: &str,
    differs: &mut impl FnMut(&str, String),
) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) if theirs.contains_key("<id>") => {
            match ours.values().next() {
                Some(ours) => compare(
                    &format!("{at}.*"),
                    &theirs["<id>"],
                    ours,
                    values,
                    version,
                    differs,
                ),
                None => differs(at, "is empty".to_owned()),
            }
        }
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, value) in theirs {
                let at = format!("{at}.{name}");
                match ours.get(name) {
                    None => differs(&at, "is missing".to_owned()),
                    Some(ours) => compare(&at, value, ours, values, version, differs),
                }
            }
            for name in ours.keys().filter(|name| !theirs.contains_key(*name)) {
                differs(&format!("{at}.{name}"), "is too much".to_owned());
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if theirs.len() != ours.len() && (values || theirs.is_empty() || ours.is_empty()) {
                differs(
                    at,
                    format!("has {} elements and not {}", ours.len(), theirs.len()),
                );
            }
            for (theirs, ours) in theirs.iter().zip(ours) {
                compare(&format!("{at}[]"), theirs, ours, values, version, differs);
            }
        }
        _ if kind(theirs) != kind(ours) => {
            differs(at, format!("is {} and not {}", kind(ours), kind(theirs)));
        }
        _ if values && !same(at, theirs, ours, version) => {
            differs(at, format!("is {ours} and not {theirs}"));
        }
        _ => {}
    }
}

/// Whether two values of a kind are the same, or may differ because they were masked when they were recorded.
fn same(at: &str, theirs: &Value, ours: &Value, version: &str) -> bool {
    const CHANCE: [&str; 14] = [
        "Created",
        "HostPort",
        "IPAddress",
        "IPv4Address",
        "execDuration",
        "MacAddress",
        "PublicPort",
        "time",
        "timeNano",
        "Pid",
        "Size",
        "SizeRootFs",
        "SizeRw",
        "SpaceReclaimed",
    ];
    let name = at.rsplit('.').next().unwrap_or_default();
    if theirs == ours || CHANCE.contains(&name) {
        return true;
    }
    match (theirs, ours) {
        (Value::String(theirs), Value::String(ours)) => {
            let message = name == "message";
            (message && version < CURRENT)
                || theirs.contains("/ROOT/")
                || match theirs.split_once('<') {
                    None => false,
                    // What stands around the masked part is compared.
                    Some((before, rest)) => {
                        let after = rest.rsplit('>').next().unwrap_or_default();
                        ours.starts_with(before) && ours.ends_with(after)
                    }
                }
        }
        _ => false,
    }
}

#[test]
fn documents_are_those_of_docker() {
    if Kind::from_environment() == Kind::Dockerd {
        // It is what was recorded.
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["tag", "busybox", "box"]).ok();
        engine.d(&["rmi", "busybox"]).ok();
        let known = Difference::list();
        let mut report = BTreeSet::new();
        let mut used = BTreeSet::new();
        for version in VERSIONS {
            let mut found = Vec::new();
            session(engine, version, &mut found);
            for (name, at, text) in found {
                match known.iter().position(|known| known.is(name, &at, version)) {
                    Some(index) => drop(used.insert(index)),
                    None => drop(report.insert(format!("{name} {at} {version}: {text}"))),
                }
            }
        }
        for (index, known) in known.iter().enumerate() {
            if !used.contains(&index) {
                let line = format!("{} {} is listed and does not differ", known.name, known.at);
                report.insert(line);
            }
        }
        assert!(report.is_empty(), "{report:#?}");
    });
}
