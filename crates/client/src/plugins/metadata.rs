//! What a plugin tells about itself, within limits: whoever asks for help waits for no program that hangs.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::failure::plain;

/// What a plugin is asked to tell about itself.
const WORD: &str = "docker-cli-plugin-metadata";
/// A plugin that tells more than this is none.
const LIMIT: u64 = 1 << 20;
/// A plugin that takes longer is none. Docker's own answer in a few hundredths of a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks a program. With its end, or its time's, whatever it started in its process group goes too.
///
/// # Errors
/// Why there is no answer, for a sentence about it.
pub(super) fn ask(path: &Path) -> Result<Vec<u8>, String> {
    within(path, PATIENCE)
}

fn within(path: &Path, patience: Duration) -> Result<Vec<u8>, String> {
    let end = Instant::now() + patience;
    let mut command = Command::new(path);
    command
        .arg(WORD)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    // In a group of its own a terminal's Ctrl-C does not reach it: it ends with who asked.
    sys::child::serves_its_parent(&mut command);
    let mut child = command
        .spawn()
        .map_err(|error| format!("fork/exec {}: {}", path.display(), plain(&error)))?;
    let answer = answer(&mut child, end);
    // Before it is waited for: the number is its group's as long as it is there.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let status = child.wait().map_err(|error| plain(&error))?;
    let text = answer?;
    match status.success() {
        true => Ok(text),
        false => Err(status.to_string().replace(": ", " ")),
    }
}

/// What it writes until it ends.
fn answer(child: &mut Child, end: Instant) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| plain(&error);
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
        .map_err(|errno| told(errno.into()))?;
    let mut text = Vec::new();
    let mut stdout = child.stdout.take();
    loop {
        let mut list = vec![PollFd::new(&ended, PollFlags::IN)];
        list.extend(stdout.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let left = end.saturating_duration_since(Instant::now());
        let time = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut list, Some(&time)) {
            Ok(0) => return Err("it did not answer in time".to_owned()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(told(errno.into())),
        }
        let is_over = !list[0].revents().is_empty();
        let has_more = list.get(1).is_some_and(|pipe| !pipe.revents().is_empty());
        if has_more && let Some(pipe) = &mut stdout {
            let mut some = [0; 4096];
            match pipe.read(&mut some).map_err(told)? {
                0 => stdout = None,
                number => text.extend_from_slice(&some[..number]),
            }
            if text.len() as u64 > LIMIT {
                return Err(format!("it told more than {} kB", LIMIT >> 10));
            }
        } else if is_over {
            // What it started may hold the pipe open: there is nothing in it, and it counts for nothing.
            return Ok(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn told(script: &str, patience: Duration) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-some");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        within(&path, patience).map(|text| String::from_utf8(text).unwrap())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_is_what_was_written_until_the_end() {
        assert_eq!(told("echo a; exec 1>&-; exit 0", LONG).unwrap(), "a\n");
        assert_eq!(told("echo a; exit 3", LONG).unwrap_err(), "exit status 3");
        let many = told("head -c 100000 /dev/zero | tr '\\0' x", LONG).unwrap();
        assert_eq!(many.len(), 100_000);
        // Somebody who keeps the output open is not waited for.
        let begin = Instant::now();
        assert_eq!(told("sleep 1000 & echo a", LONG).unwrap(), "a\n");
        assert!(begin.elapsed() < LONG);
    }

    #[test]
    fn one_that_hangs_or_tells_too_much_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let fault = told(&script, Duration::from_millis(500)).unwrap_err();
        assert_eq!(fault, "it did not answer in time");
        // Whatever it started went with it, if it came so far.
        if let Ok(pid) = fs::read_to_string(&pid) {
            let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            let is_gone = |stat: &str| stat.contains(") Z ") || stat.contains(") X ");
            assert!(state.is_err() || state.is_ok_and(|stat| is_gone(&stat)));
        }
        let fault = told("exec cat /dev/zero", LONG).unwrap_err();
        assert_eq!(fault, "it told more than 1024 kB");
    }
}
