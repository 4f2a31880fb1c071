//! A verb as a value, and the table of all.

use crate::failure::Failure;
use crate::flag::Flag;
use crate::parse::Parsed;
use crate::session::Session;

/// How many arguments a verb takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// None.
    Nothing,
    /// This many.
    Exactly(usize),
    /// This many or more.
    AtLeast(usize),
    /// This many or fewer.
    AtMost(usize),
    /// From the one to the other.
    Between(usize, usize),
}

/// One command of the client.
pub(crate) struct Verb {
    /// Every path by which it is reached: `["ps", "container ls", "container ps"]`. The first of
    /// each group is the one that messages name.
    pub(crate) paths: &'static [&'static str],
    /// What stands behind the path in usage lines; `{program}` stands for the program's name.
    pub(crate) usage: &'static str,
    /// One line for lists and help.
    pub(crate) about: &'static str,
    /// Its flags, in the order of the help text.
    pub(crate) flags: &'static [&'static [Flag]],
    /// Whether flags may stand behind arguments.
    pub(crate) interspersed: bool,
    /// How many arguments it takes.
    pub(crate) takes: Takes,
    /// Does it.
    pub(crate) run: fn(&Session, &Parsed) -> Result<u8, Failure>,
}

impl Verb {
    /// The path that messages name when the verb was reached by `path`.
    pub(crate) fn named(&self, path: &str) -> &'static str {
        let group = |path: &str| path.split_once(' ').map(|(group, _)| group.to_owned());
        let wanted = group(path);
        self.paths
            .iter()
            .find(|known| group(known) == wanted)
            .unwrap_or(&self.paths[0])
    }
}
