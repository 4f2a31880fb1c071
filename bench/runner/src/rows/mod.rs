//! The rows of the bench, each a function of what is set up.

pub(crate) mod beside;
mod files;
mod load;
mod many;
mod memory;
pub(crate) mod runtimes;
mod starts;
mod syncs;

use testkit::Engine;

use crate::setup::{Bundle, own};

/// What every row may use.
pub(crate) struct Bench {
    pub(crate) wharf: Engine,
    pub(crate) docker: Option<Engine>,
    pub(crate) bundle: Bundle,
    /// How many turns the variants take.
    pub(crate) turns: usize,
    /// A glance, not to be quoted.
    pub(crate) quick: bool,
}

impl Bench {
    /// How much of something dear is done: all of it, or a tenth at a glance.
    pub(crate) fn share(&self, number: usize) -> usize {
        if self.quick { number / 10 } else { number }
    }

    /// How many turns are counted where each takes long.
    pub(crate) fn few(&self) -> usize {
        if self.quick { 1 } else { 2 }
    }

    /// The engines, Wharf first.
    pub(crate) fn engines(&self) -> impl Iterator<Item = (&'static str, &Engine)> {
        let docker = self.docker.as_ref().map(|engine| ("docker", engine));
        std::iter::once(("wharf", &self.wharf)).chain(docker)
    }
}

/// One row.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Left out unless it is asked for.
    pub(crate) long: bool,
    pub(crate) run: fn(&Bench),
}

const fn row(name: &'static str, long: bool, run: fn(&Bench)) -> Row {
    Row { name, long, run }
}

/// All rows, in order. Those at rest come first, while the engines are fresh; of the long ones `cp`, before the others remove
/// files: an ext4 without a journal passes over an inode that became free for one minute, for six beside one that was just
/// written (`recently_deleted`, Linux 3.12), and looks at all of these again for each file that anybody makes there.
pub(crate) const ALL: &[Row] = &[
    row("rest", false, memory::at_rest),
    row("run", false, starts::run),
    row("published", false, starts::published),
    row("in-process", false, starts::in_process),
    row("exec", false, starts::exec),
    row("version", false, starts::version),
    row("beside-writer", false, beside::writer),
    row("beside-ports", false, beside::ports),
    row("beside-mounts", false, beside::mounts),
    row("syncs", false, syncs::run),
    row("four-at-a-time", false, many::four_at_a_time),
    row("runtimes", false, runtimes::runtimes),
    row("cp", true, files::copy),
    row("in-a-row", true, many::in_a_row),
    row("idle", true, memory::idle),
    row("load", true, load::load),
    row("pull", true, load::pull),
    row("logs", true, files::logs),
    row("stats", true, files::stats),
    row("changes", true, files::changes),
];

/// Runs a client to its end.
///
/// # Panics
/// When it fails.
pub(crate) fn must(engine: &Engine, args: &[&str]) -> String {
    let output = own(engine, args).output().unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
