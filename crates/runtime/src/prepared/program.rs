//! A program in the form that execve takes, and what its process is given before.

use std::ffi::CString;

use sys::process::{FilterInstruction, StringArray};

use super::place::{Place, place};
use super::{bytes, text};
use crate::plan::{PlanError, ProcessPlan};

/// A program in the form that execve takes.
#[derive(Debug)]
pub(crate) struct Program {
    /// Where it may be, in the order of the search.
    pub(crate) candidates: Vec<CString>,
    /// The name had no slash.
    pub(crate) searched: bool,
    pub(crate) arguments: StringArray,
    pub(crate) environment: StringArray,
    pub(crate) cwd: Place,
    pub(crate) filter: Vec<FilterInstruction>,
    pub(crate) keyring: Option<CString>,
    /// Files of the process in procfs, and what is written to them.
    pub(crate) labels: Vec<(CString, CString)>,
    /// Paths that rules of Landlock name.
    pub(crate) allowed: Vec<CString>,
}

/// What PATH is when the environment has none, as execvp(3) has it for root.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Folders of PATH that are looked into at most.
const MAX_PATH_FOLDERS: usize = 1024;

pub(super) fn program(process: &ProcessPlan) -> Result<Program, PlanError> {
    let first = process.args.first().ok_or(PlanError::NoProgram)?;
    if [process.uid, process.gid].contains(&u32::MAX) {
        // setresuid(2) would leave the caller's.
        return Err(PlanError::Unsupported {
            what: "user or group 4294967295",
        });
    }
    let name = process.program.as_ref().unwrap_or(first);
    let searched = !name.contains(&b'/');
    let candidates = if searched {
        candidates(name, &process.env)?
    } else {
        vec![bytes("argument", name)?]
    };
    let list = |what, items: &[Vec<u8>]| -> Result<StringArray, PlanError> {
        let strings = items
            .iter()
            .map(|item| bytes(what, item))
            .collect::<Result<_, _>>()?;
        Ok(StringArray::new(strings))
    };
    let filter = process.seccomp.iter().flat_map(|seccomp| &seccomp.program);
    let filter = filter
        .map(|&(code, jt, jf, k)| FilterInstruction { code, jt, jf, k })
        .collect();
    Ok(Program {
        candidates,
        searched,
        arguments: list("argument", &process.args)?,
        environment: list("environment variable", &process.env)?,
        cwd: place("working folder", &process.cwd)?,
        filter,
        labels: process
            .labels
            .iter()
            .map(|(file, label)| Ok((attribute(file)?, text("label", label)?)))
            .collect::<Result<_, PlanError>>()?,
        allowed: process
            .landlock
            .iter()
            .flat_map(|rules| &rules.paths)
            .map(|(path, _)| text("Landlock path", path))
            .collect::<Result<_, PlanError>>()?,
        keyring: process
            .keyring
            .as_deref()
            .map(|name| text("keyring", name))
            .transpose()?,
    })
}

/// A file below the process's `attr`.
fn attribute(file: &str) -> Result<CString, PlanError> {
    let sound = file.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !sound {
        return Err(PlanError::Path {
            what: "process attribute",
            path: file.to_owned(),
        });
    }
    text("process attribute", &format!("self/attr/{file}"))
}

/// Where a program without a slash may be. Folders that are not absolute are left out, as Go's lookup does.
fn candidates(name: &[u8], env: &[Vec<u8>]) -> Result<Vec<CString>, PlanError> {
    if name.is_empty() {
        return Ok(Vec::new());
    }
    // The last of several counts, as for most programs' getenv after an overwrite.
    let path = env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix(b"PATH="));
    path.unwrap_or(DEFAULT_PATH)
        .split(|byte| *byte == b':')
        .filter(|folder| folder.first() == Some(&b'/'))
        .take(MAX_PATH_FOLDERS)
        .map(|folder| bytes("PATH", &[folder, b"/", name].concat()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_args(args: &[&str], env: &[&str]) -> ProcessPlan {
        let list = |items: &[&str]| items.iter().map(|item| item.as_bytes().to_vec()).collect();
        ProcessPlan {
            args: list(args),
            env: list(env),
            ..Default::default()
        }
    }

    #[test]
    fn a_program_without_a_slash_is_looked_for_in_absolute_folders_of_path() {
        let program = program(&with_args(&["sh"], &["PATH=/bin::rel:/usr/bin"])).expect("plan");
        assert_eq!(
            program.candidates,
            [c"/bin/sh".to_owned(), c"/usr/bin/sh".to_owned()]
        );
        assert!(program.searched);
    }
}
