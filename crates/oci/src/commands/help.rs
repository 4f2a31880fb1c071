//! `help`, and what a verb's `-h` says.

use std::fmt::Write as _;

use crate::cli::{Flag, NAME};

/// A verb, its arguments, and what it does.
const VERBS: [(&str, &str, &str); 17] = [
    (
        "create",
        "ID",
        "make a container whose process waits to be started",
    ),
    ("start", "ID", "let it run"),
    ("run", "ID", "both, and wait for its end unless --detach"),
    ("exec", "ID CMD", "run another process in it"),
    ("state", "ID", "tell its state as JSON"),
    ("list", "", "tell all containers"),
    ("ps", "ID", "tell its processes"),
    ("kill", "ID [SIG]", "send a signal"),
    ("pause", "ID", "stop all its processes"),
    ("resume", "ID", "let them go on"),
    ("update", "ID", "change its limits"),
    (
        "checkpoint",
        "ID",
        "write it down and end it, by the program criu",
    ),
    ("restore", "ID", "make it again of what was written down"),
    ("events", "ID", "tell what it uses"),
    ("delete", "ID", "remove what is left of it"),
    ("spec", "", "write a sample config.json"),
    ("features", "", "tell what is built, as JSON"),
];

const FLAGS: &str = "
GLOBAL FLAGS:
  --root FOLDER          where containers are known (/run/wharf-runtime)
  --log FILE             where errors and warnings go (standard error)
  --log-format FORMAT    text or json
  --debug                tell more
  --systemd-cgroup       groups are scopes of systemd's (cgroupsPath: SLICE:PREFIX:NAME)
";

/// Who reads the first lines to learn whose command line this is finds them as in runc's.
pub(super) fn all() -> String {
    let mut text = format!(
        "NAME:
  {NAME}, in the place of runc - Open Container Initiative runtime

USAGE:
  {NAME} [GLOBAL FLAGS] VERB [FLAGS] [ARGUMENTS]

VERBS:
"
    );
    for (verb, args, does) in VERBS {
        // Writing to a text does not fail.
        let _ = writeln!(text, "  {:<19}{does}", format!("{verb} {args}"));
    }
    text + FLAGS
}

/// A verb with the flags that it takes.
pub(super) fn of(verb: &str, flags: &[Flag]) -> String {
    let known = VERBS.iter().find(|(known, ..)| *known == verb);
    let (_, args, does) = known.copied().unwrap_or((verb, "", ""));
    let usage = [NAME, "[GLOBAL FLAGS]", verb, "[FLAGS]", args].join(" ");
    let mut text = format!(
        "NAME:
  {NAME} {verb}, in the place of runc {verb}: {does}

USAGE:
  {}
",
        usage.trim_end()
    );
    if !flags.is_empty() {
        text.push_str("\nFLAGS:\n");
    }
    for flag in flags {
        let short = flag.short.map(|short| format!(", -{short}"));
        let value = if flag.takes_value { " VALUE" } else { "" };
        let _ = writeln!(
            text,
            "  --{}{}{value}",
            flag.name,
            short.unwrap_or_default()
        );
    }
    text
}
