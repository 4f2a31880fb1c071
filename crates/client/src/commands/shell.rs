//! What the program writes for shells and for man(1): `completion` and `man`.

use std::path::Path;

use crate::complete;
use crate::failure::Failure;
use crate::flag::Flag;
use crate::manual;
use crate::parse::Parsed;
use crate::session::Session;
use crate::verb::{Takes, Verb};

const fn verb(
    paths: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    run: fn(&Session, &Parsed) -> Result<u8, Failure>,
) -> Verb {
    const NONE: &[&[Flag]] = &[];
    Verb {
        paths,
        usage,
        about,
        flags: NONE,
        interspersed: true,
        takes: Takes::Exactly(1),
        run,
    }
}

pub(super) static COMPLETION: Verb = verb(
    &["completion"],
    "bash|zsh|fish",
    "Print the completion script of a shell",
    |_, parsed| {
        let shell = parsed.args[0].as_str();
        let script = complete::script(shell).ok_or_else(|| {
            Failure::Plain(format!(
                "there is no completion for {shell:?}: bash, zsh and fish have one"
            ))
        })?;
        print!("{script}");
        Ok(0)
    },
);

pub(super) static MAN: Verb = verb(
    &["man"],
    "FOLDER",
    "Write the manual pages into a folder",
    |_, parsed| {
        manual::write(Path::new(&parsed.args[0]))?;
        Ok(0)
    },
);
