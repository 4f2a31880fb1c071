//! Gathers the facts and lays them out.

use std::fmt;
use std::fs;
use std::path::Path;

/// Files under `/proc` and `/sys` are short; whatever is longer is cut here.
const FILE_LIMIT: usize = 1 << 20;

/// The kinds of namespace, as `/proc/self/ns` names them, with the word that people use.
const NAMESPACES: [(&str, &str); 8] = [
    ("pid", "processes"),
    ("mnt", "mounts"),
    ("net", "network"),
    ("ipc", "IPC"),
    ("uts", "host name"),
    ("cgroup", "cgroup"),
    ("user", "users"),
    ("time", "clocks"),
];

/// What one process can see of its own isolation.
pub(crate) struct Report {
    hostname: String,
    pid: u32,
    processes: usize,
    namespaces: Vec<(&'static str, String)>,
    root: String,
    mounts: usize,
    interfaces: Vec<String>,
    capabilities: Vec<String>,
    seccomp: String,
    no_new_privs: bool,
    user: String,
    limits: Vec<(&'static str, String)>,
}

impl Report {
    /// Reads everything; a fact that can not be read is shown as unknown or left out.
    pub(crate) fn gather() -> Self {
        let status = read("/proc/self/status");
        let mountinfo = read("/proc/self/mountinfo");
        Report {
            hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
            pid: std::process::id(),
            processes: count_processes(),
            namespaces: namespaces(),
            root: root_file_system(&mountinfo),
            mounts: mountinfo.lines().count(),
            interfaces: interfaces(&read("/proc/net/dev")),
            capabilities: capabilities(&status),
            seccomp: seccomp(&status),
            no_new_privs: field(&status, "NoNewPrivs") == Some("1"),
            user: user(&status),
            limits: limits(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Hello from Wharf: this container works.\n")?;
        writeln!(f, "What keeps it apart from the host:")?;
        let row =
            |f: &mut fmt::Formatter<'_>, what: &str, text: &str| writeln!(f, "  {what:<16}{text}");
        row(f, "host name", &self.hostname)?;
        row(
            f,
            "process",
            &format!("pid {} of {} in its own tree", self.pid, self.processes),
        )?;
        row(f, "user", &self.user)?;
        let listed: Vec<_> = self
            .namespaces
            .iter()
            .map(|(word, id)| format!("{word} {id}"))
            .collect();
        for (index, line) in listed.chunks(4).enumerate() {
            row(
                f,
                if index == 0 { "namespaces" } else { "" },
                &line.join(", "),
            )?;
        }
        row(
            f,
            "root",
            &format!("{}, {} mounts in all", self.root, self.mounts),
        )?;
        row(f, "network", &self.interfaces.join(", "))?;
        row(
            f,
            "capabilities",
            &format!(
                "{} of {}",
                self.capabilities.len(),
                runtime::caps::NAMES.len()
            ),
        )?;
        row(f, "seccomp", &self.seccomp)?;
        row(
            f,
            "new privileges",
            if self.no_new_privs {
                "never"
            } else {
                "by set-user-id programs"
            },
        )?;
        for (what, text) in &self.limits {
            row(f, what, text)?;
        }
        writeln!(
            f,
            "\nNext: wharf run --rm -it IMAGE sh    (wharf pull and wharf load bring images)"
        )
    }
}

/// Reads a file of the kernel's, at most [`FILE_LIMIT`] bytes; empty when it can not be read.
fn read(path: impl AsRef<Path>) -> String {
    let mut text = fs::read(path).unwrap_or_default();
    text.truncate(FILE_LIMIT);
    String::from_utf8_lossy(&text).into_owned()
}

/// The value behind `NAME:` in `/proc/self/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn count_processes() -> usize {
    let Ok(entries) = fs::read_dir("/proc") else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .iter()
                .all(u8::is_ascii_digit)
        })
        .count()
}

fn namespaces() -> Vec<(&'static str, String)> {
    NAMESPACES
        .iter()
        .filter_map(|(kind, word)| {
            let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
            let text = link.to_string_lossy().into_owned();
            let id = text.split_once('[')?.1.trim_end_matches(']').to_owned();
            Some((*word, id))
        })
        .collect()
}

/// File system type and mode of `/`: fields of proc_pid_mountinfo(5).
fn root_file_system(mountinfo: &str) -> String {
    let Some(line) = mountinfo
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/"))
    else {
        return "unknown".to_owned();
    };
    let kind = line
        .split(" - ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or("unknown");
    let read_only = line
        .split(' ')
        .nth(5)
        .is_some_and(|options| options.split(',').any(|one| one == "ro"));
    format!(
        "{kind}, {}",
        if read_only { "read-only" } else { "writable" }
    )
}

fn interfaces(dev: &str) -> Vec<String> {
    dev.lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .collect()
}

fn capabilities(status: &str) -> Vec<String> {
    let set = field(status, "CapEff")
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .unwrap_or(0);
    runtime::caps::NAMES
        .iter()
        .enumerate()
        .filter(|(number, _)| set >> number & 1 == 1)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

fn seccomp(status: &str) -> String {
    match field(status, "Seccomp") {
        Some("2") => match field(status, "Seccomp_filters") {
            Some("1") | None => "filtered".to_owned(),
            Some(number) => format!("filtered by {number} programs"),
        },
        Some("0") => "unconfined".to_owned(),
        Some(other) => format!("mode {other}"),
        None => "unknown".to_owned(),
    }
}

fn user(status: &str) -> String {
    let id =
        |name| field(status, name).and_then(|ids| ids.split_whitespace().next().map(str::to_owned));
    match (id("Uid"), id("Gid")) {
        (Some(uid), Some(gid)) => format!("uid {uid}, gid {gid}"),
        _ => "unknown".to_owned(),
    }
}

/// Memory and process limits as the container's cgroup shows them, in either version.
fn limits() -> Vec<(&'static str, String)> {
    let first = |paths: &[&str]| {
        paths
            .iter()
            .map(read)
            .find(|text| !text.is_empty())
            .map(|text| text.trim().to_owned())
    };
    // Version 1 shows "no limit" as the largest multiple of the page size that fits.
    let memory = first(&[
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ])
    .map(|text| match text.parse::<u64>() {
        Ok(bytes) if bytes < 1 << 60 => format!("{} MiB", bytes >> 20),
        _ => "no limit".to_owned(),
    });
    let pids = first(&["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"]).map(|text| {
        if text == "max" {
            "no limit".to_owned()
        } else {
            format!("{text} processes")
        }
    });
    [("memory", memory), ("pids", pids)]
        .into_iter()
        .filter_map(|(what, text)| Some((what, text?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_status_are_found_by_their_whole_name() {
        let status = "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t3\nCapEff:\t0000000000000021\n";
        assert_eq!(field(status, "Seccomp"), Some("2"));
        assert_eq!(seccomp(status), "filtered by 3 programs");
        assert_eq!(capabilities(status).len(), 2);
        assert_eq!(field(status, "Missing"), None);
    }

    #[test]
    fn the_root_line_is_the_one_whose_target_is_the_root() {
        let text =
            "21 1 0:5 / /proc rw - proc proc rw\n20 1 0:33 / / ro,relatime - overlay overlay rw\n";
        assert_eq!(root_file_system(text), "overlay, read-only");
        assert_eq!(root_file_system(""), "unknown");
    }

    #[test]
    fn a_report_of_this_process_names_its_namespaces() {
        let text = Report::gather().to_string();
        assert!(text.starts_with("Hello from Wharf"));
        assert!(text.contains("processes "));
    }
}
