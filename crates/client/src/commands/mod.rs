//! One file a verb, or a small family of verbs.

use crate::verb::Verb;

mod each;
pub(crate) mod pull;
mod run;
mod start;
mod version;

/// Every verb.
pub(crate) static ALL: &[&Verb] = &[
    &each::KILL,
    &each::PAUSE,
    &each::RENAME,
    &each::RESTART,
    &each::RM,
    &each::STOP,
    &each::UNPAUSE,
    &each::WAIT,
    &pull::PULL,
    &run::RUN,
    &start::ATTACH,
    &start::CREATE,
    &start::EXEC,
    &start::START,
    &version::VERSION,
];

/// The first words of paths with two: `container`, `image`, ….
pub(crate) fn groups() -> impl Iterator<Item = &'static str> {
    let mut found: Vec<_> = ALL
        .iter()
        .flat_map(|verb| verb.paths)
        .filter_map(|path| Some(path.split_once(' ')?.0))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter()
}
