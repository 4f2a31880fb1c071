//! One file a verb, or a small family of verbs.

use crate::verb::Verb;

pub(crate) mod pull;
mod run;
mod version;

/// Every verb.
pub(crate) static ALL: &[&Verb] = &[&pull::PULL, &run::RUN, &version::VERSION];

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
