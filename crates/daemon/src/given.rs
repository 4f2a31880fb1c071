//! A setting wherever it stands: among the flags, or in the file. That it stands in both was refused before.

use std::path::PathBuf;

use crate::config::ConfigError;
use crate::flags::Invocation;

/// What was typed, asked together with what the file has. As with dockerd, an empty text says nothing.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a>(pub(crate) &'a Invocation);

impl Given<'_> {
    /// A text that says something.
    pub(crate) fn text(self, flag: &str, in_file: Option<String>) -> Option<String> {
        let typed = self.0.value(flag).map(str::to_owned);
        typed.or(in_file).filter(|text| !text.is_empty())
    }

    /// A folder or file by its absolute path.
    ///
    /// # Errors
    /// [`ConfigError::Relative`].
    pub(crate) fn folder(
        self,
        name: &'static str,
        in_file: Option<PathBuf>,
        default: PathBuf,
    ) -> Result<PathBuf, ConfigError> {
        let typed = self.0.value(name).map(PathBuf::from);
        let path = typed
            .or(in_file)
            .filter(|path| !path.as_os_str().is_empty())
            .unwrap_or(default);
        match path.is_absolute() {
            true => Ok(path),
            false => Err(ConfigError::Relative { name, path }),
        }
    }

    /// All values of a setting that has several.
    pub(crate) fn list(self, flag: &str, in_file: Option<Vec<String>>) -> Vec<String> {
        in_file.unwrap_or_else(|| self.0.list(flag))
    }

    /// Whether something is on.
    pub(crate) fn switch(self, flag: &str, in_file: Option<bool>, default: bool) -> bool {
        match self.0.given(flag) {
            true => self.0.switch(flag),
            false => in_file.unwrap_or(default),
        }
    }

    /// A number; 0 when nobody says one.
    ///
    /// # Errors
    /// A sentence for what is none.
    pub(crate) fn number(self, flag: &str, in_file: Option<u32>) -> Result<u32, ConfigError> {
        let Some(typed) = self.0.value(flag) else {
            return Ok(in_file.unwrap_or(0));
        };
        typed.parse().map_err(|_| ConfigError::Value {
            sentence: format!("invalid value {typed:?} for --{flag}: no number"),
        })
    }
}
