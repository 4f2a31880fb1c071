//! Programs that not every machine has: installed, or unpacked by `packaging/deps` below the build's folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program, and the folder that counts as the root of its package.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    /// `/`, or where its package was unpacked.
    pub root: PathBuf,
}

impl Program {
    /// Finds one by its package and its file's path below the root: `usr/bin/fish` of `fish`.
    pub fn find(package: &str, file: &str) -> Option<Program> {
        let test = std::env::current_exe().ok()?;
        let unpacked = test.ancestors().nth(4)?.join("test-programs").join(package);
        [PathBuf::from("/"), unpacked]
            .into_iter()
            .map(|root| Program {
                path: root.join(file),
                root,
            })
            .find(|program| program.path.is_file())
    }

    /// Lets a command that runs the program find the libraries of its package.
    pub fn with_libraries(&self, command: &mut Command) {
        if self.root == Path::new("/") {
            return;
        }
        let folders = fs::read_dir(self.root.join("usr/lib"))
            .into_iter()
            .flatten();
        let folder = folders
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.display().to_string().ends_with("-linux-gnu"));
        if let Some(folder) = folder {
            command.env("LD_LIBRARY_PATH", folder);
        }
    }
}
