//! A flag as a value: the parser, the help and the tests are made from it.

/// What a flag takes, by docker's names for it in help texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or `=true` / `=false`.
    Bool,
    /// One value; the last one counts. The text is the type that help shows.
    One(&'static str),
    /// A value each time. The text is the type that help shows.
    List(&'static str),
}

/// Whether Wharf does what the flag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    /// It does.
    Yes,
    /// Known to docker, not built: refused by name unless it is at its zero value.
    Refused,
}

/// A flag of a verb.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Without the dashes.
    pub(crate) name: &'static str,
    /// The letter behind one dash.
    pub(crate) short: Option<char>,
    /// What it takes.
    pub(crate) kind: Kind,
    /// One line for the help text.
    pub(crate) help: &'static str,
    /// Whether it is built.
    pub(crate) support: Support,
}

impl Flag {
    /// A switch.
    pub(crate) const fn switch(name: &'static str, help: &'static str) -> Self {
        Flag {
            name,
            short: None,
            kind: Kind::Bool,
            help,
            support: Support::Yes,
        }
    }

    /// A flag with one value, of docker's type `string`, `int`, `bytes`, ….
    pub(crate) const fn one(name: &'static str, shown: &'static str, help: &'static str) -> Self {
        Flag {
            name,
            short: None,
            kind: Kind::One(shown),
            help,
            support: Support::Yes,
        }
    }

    /// A flag that may be repeated.
    pub(crate) const fn list(name: &'static str, shown: &'static str, help: &'static str) -> Self {
        Flag {
            name,
            short: None,
            kind: Kind::List(shown),
            help,
            support: Support::Yes,
        }
    }

    /// The same with a letter.
    pub(crate) const fn letter(self, short: char) -> Self {
        Flag {
            short: Some(short),
            ..self
        }
    }

    /// The same, but refused by name.
    pub(crate) const fn refused(self) -> Self {
        Flag {
            support: Support::Refused,
            ..self
        }
    }

    /// The flag as error texts name it: `-m, --memory` or `--cpus`.
    pub(crate) fn shown(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }
}
