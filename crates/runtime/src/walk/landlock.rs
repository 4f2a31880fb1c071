//! Rights that the program does not have, whoever it runs as.

use std::os::fd::AsFd;

use rustix::fs::{FileType, OFlags};
use sys::process::{self, LandlockRuleset};

use super::{At, Walk};
use crate::fault::{Fault, Step};

/// Rights over files that are no folders: to execute, write, read, truncate, and ask devices (landlock(7)).
const OF_FILES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;

impl Walk<'_> {
    /// Applies the plan's rules. Their paths are resolved within the container's root.
    pub(super) fn give_up_rights(&self) -> Result<(), Fault> {
        let Some(rules) = &self.process.landlock else {
            return Ok(());
        };
        let none = rules.paths.len();
        let ruleset = process::landlock_ruleset(&LandlockRuleset {
            files: rules.files,
            network: rules.network,
            scoped: rules.scoped,
        })
        .at_index(Step::Landlock, none)?;
        let root = self.root().at_index(Step::Landlock, none)?;
        for (index, ((_, access), path)) in
            rules.paths.iter().zip(&self.program.allowed).enumerate()
        {
            let place = sys::mount::place_in(root, path, OFlags::empty())
                .at_index(Step::Landlock, index)?;
            let found = rustix::fs::fstat(&place).at_index(Step::Landlock, index)?;
            let access = match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory => *access,
                _ => *access & OF_FILES,
            };
            if access != 0 {
                process::landlock_allow_path(ruleset.as_fd(), place.as_fd(), access)
                    .at_index(Step::Landlock, index)?;
            }
        }
        for (port, access) in &rules.ports {
            process::landlock_allow_port(ruleset.as_fd(), *port, *access)
                .at_index(Step::Landlock, none)?;
        }
        process::landlock_restrict(ruleset.as_fd()).at_index(Step::Landlock, none)
    }
}
