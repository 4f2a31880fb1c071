//! Where errors and warnings go: standard error, or the file of `--log` that whoever called reads.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::clock;
use crate::error::{Error, Result};

/// The form of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="…" level=… msg="…"`
    #[default]
    Text,
    /// `{"level":"…","msg":"…","time":"…"}`
    Json,
}

/// The log of one command.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// `None` is standard error.
    pub(crate) file: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) debug: bool,
    /// Standard error is the container's from its start on, and who made it reads another one, or none: what is no failure
    /// would be in the container's own output.
    pub(crate) lends_stderr: bool,
}

impl Log {
    /// Whether the file can be written to, before anything is done that it has to tell of.
    pub(crate) fn check(&self) -> Result<()> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        match Self::open(path) {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::io("open", path, source)),
        }
    }

    fn open(path: &Path) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).open(path)
    }

    /// Why the command failed. Beside a file, standard error has the plain sentence too.
    pub(crate) fn error(&self, message: &str) {
        self.line("error", message);
        if self.file.is_some() {
            eprintln!("{message}");
        }
    }

    /// What was done in another way than asked for.
    pub(crate) fn warning(&self, message: &str) {
        if self.file.is_some() || self.debug || !self.lends_stderr {
            self.line("warning", message);
        }
    }

    /// What only helps to find a fault, and only with `--debug`.
    pub(crate) fn debug(&self, message: &str) {
        if self.debug {
            self.line("debug", message);
        }
    }

    fn line(&self, level: &str, message: &str) {
        let time = clock::to_the_second(SystemTime::now());
        let message = message.trim_end_matches('\n');
        // A string always becomes JSON.
        let quoted = serde_json::to_string(message).unwrap_or_default();
        let line = match self.format {
            Format::Text => format!("time=\"{time}\" level={level} msg={quoted}\n"),
            Format::Json => {
                format!("{{\"level\":\"{level}\",\"msg\":{quoted},\"time\":\"{time}\"}}\n")
            }
        };
        let written = match &self.file {
            Some(path) => Self::open(path).and_then(|mut file| file.write_all(line.as_bytes())),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
        if let (Err(error), Some(path)) = (written, &self.file) {
            eprintln!("writing the log {}: {error}", path.display());
        }
    }
}
