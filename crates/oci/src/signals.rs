//! Signals by name.

use crate::error::{Error, Result};

const NAMES: [(&str, i32); 34] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The number of a signal that is named, with or without `SIG`, or numbered.
pub(crate) fn parse(word: &str) -> Result<i32> {
    if let Ok(number) = word.parse() {
        return Ok(number);
    }
    let upper = word.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(name, _)| *name == bare);
    let real_time = || {
        let (base, sign, rest) = match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
            (Some(rest), _) => (
                34,
                1,
                rest.strip_prefix('+').or(rest.is_empty().then_some("0")),
            ),
            (_, Some(rest)) => (
                64,
                -1,
                rest.strip_prefix('-').or(rest.is_empty().then_some("0")),
            ),
            _ => return None,
        };
        let number = base + sign * rest?.parse::<i32>().ok()?;
        (34..=64).contains(&number).then_some(number)
    };
    named
        .map(|(_, number)| *number)
        .or_else(real_time)
        .ok_or_else(|| Error::State(format!("unknown signal {word:?}")))
}

/// What Go's programs call a signal that ended a process, where it often does.
pub(crate) fn words(signal: i32) -> String {
    match signal {
        libc::SIGABRT => "aborted".to_owned(),
        libc::SIGKILL => "killed".to_owned(),
        libc::SIGSEGV => "segmentation fault".to_owned(),
        libc::SIGSYS => "bad system call".to_owned(),
        libc::SIGTERM => "terminated".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_found_in_every_spelling() {
        for (word, number) in [
            ("KILL", 9),
            ("sigterm", 15),
            ("1", 1),
            ("99", 99),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
        ] {
            assert_eq!(parse(word).unwrap(), number, "{word}");
        }
        for word in ["FOO", "", "SIGRTMIN+99", "RTMINx"] {
            assert!(parse(word).is_err(), "{word}");
        }
    }
}
