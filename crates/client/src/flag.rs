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
    /// Reads a value and gives it in its usual form, or says in docker's words why it is none.
    pub(crate) check: Option<Check>,
    /// An older name that still works and that no help text shows.
    pub(crate) also: Option<&'static str>,
    /// What to use in its place; it still works, with a word about it.
    pub(crate) instead: Option<&'static str>,
}

/// Reads one value of a flag while the command line is taken apart.
pub(crate) type Check = fn(&str) -> Result<String, String>;

impl Flag {
    /// A switch.
    pub(crate) const fn switch(name: &'static str, help: &'static str) -> Self {
        Flag {
            name,
            short: None,
            kind: Kind::Bool,
            help,
            support: Support::Yes,
            check: None,
            also: None,
            instead: None,
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
            check: None,
            also: None,
            instead: None,
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
            check: None,
            also: None,
            instead: None,
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

    /// The same, each value read by `check`.
    pub(crate) const fn checked(self, check: Check) -> Self {
        Flag {
            check: Some(check),
            ..self
        }
    }

    /// The same, with an older name that no help text shows.
    pub(crate) const fn also(self, name: &'static str) -> Self {
        Flag {
            also: Some(name),
            ..self
        }
    }

    /// The same, but on its way out: `instead` says what to use.
    pub(crate) const fn deprecated(self, instead: &'static str) -> Self {
        Flag {
            instead: Some(instead),
            ..self
        }
    }

    /// Whether this is the flag of that name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name || self.also == Some(name)
    }

    /// The flag as error texts name it: `-m, --memory` or `--cpus`.
    pub(crate) fn shown(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }
}
