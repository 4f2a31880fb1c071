//! Options of mounts: words that set attributes, propagation, and what a file system is to make of the rest.

use runtime::plan::{MountAttrs, Propagation, attr};

/// Options of a mount, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) attrs: MountAttrs,
    pub(super) propagation: Option<Propagation>,
    pub(super) bind: Option<bool>,
    /// Some attribute of the mount itself is named.
    pub(super) named: bool,
    /// What is there already is changed.
    pub(super) remount: bool,
    /// A new tmpfs begins with what it hides.
    pub(super) copy_up: bool,
    /// Files are shown as other users'; with the mounts below.
    pub(super) idmap: Option<bool>,
    /// What the file system is to make of it.
    pub(super) data: Vec<(String, Option<String>)>,
}

/// Reads options in order; a later one takes back what an earlier one said.
pub(super) fn read(words: &[String]) -> Options {
    let mut options = Options::default();
    let mut attrs = MountAttrs::default();
    let mut times = AccessTimes::default();
    for word in words {
        if let Some(change) = word.strip_prefix('r').and_then(change)
            && attribute(word).is_none()
            && access_time(word).is_none()
        {
            change.apply(&mut attrs.below_set, &mut attrs.below_clear);
            continue;
        }
        if times.take(word) {
            options.named = true;
            continue;
        }
        if let Some((bit, set)) = attribute(word) {
            options.named = true;
            let (to, from) = match set {
                true => (&mut attrs.set, &mut attrs.clear),
                false => (&mut attrs.clear, &mut attrs.set),
            };
            *to |= bit;
            *from &= !bit;
            continue;
        }
        let plain = word.strip_prefix('r').unwrap_or(word);
        match word.as_str() {
            // Podman has an empty one. File systems that count changes of files do so whether they are told or not.
            "" | "defaults" | "silent" | "loud" | "iversion" | "noiversion" => {}
            "bind" => options.bind = Some(options.bind == Some(true)),
            "rbind" => options.bind = Some(true),
            "remount" => options.remount = true,
            "tmpcopyup" => options.copy_up = true,
            "idmap" => options.idmap = Some(options.idmap == Some(true)),
            "ridmap" => options.idmap = Some(true),
            _ => match propagation(word).or_else(|| propagation(plain)) {
                Some(kind) => options.propagation = Some(kind),
                None => options.data.extend(parts(word).into_iter().map(pair)),
            },
        }
    }
    times.apply(&mut attrs);
    options.attrs = attrs;
    options
}

/// A word for the file system at its commas, as mount(2) takes them apart: but for those behind a backslash (of an overlay's
/// paths) or between quotes (of labels).
fn parts(word: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let ends = |letter: char| {
        let is_plain = !std::mem::take(&mut escaped);
        escaped = is_plain && letter == '\\';
        quoted ^= is_plain && letter == '"';
        is_plain && !quoted && letter == ','
    };
    word.split(ends).filter(|part| !part.is_empty()).collect()
}

fn pair(part: &str) -> (String, Option<String>) {
    match part.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (part.to_owned(), None),
    }
}

impl Options {
    /// The attributes of a bind mount. Named ones are all that it has; with none named it keeps its source's.
    pub(super) fn of_bind(&self) -> MountAttrs {
        MountAttrs {
            replaces: self.named,
            ..self.attrs
        }
    }
}

/// When access times are written, by the words for it. One that takes back what no other said changes nothing, as for
/// mount(8).
#[derive(Default)]
struct AccessTimes {
    mode: Option<u64>,
    /// Not for folders.
    no_folders: bool,
}

impl AccessTimes {
    /// Whether the word is one of them.
    fn take(&mut self, word: &str) -> bool {
        let (mode, said) = match word {
            "noatime" => (attr::NO_ATIME, true),
            "atime" => (attr::NO_ATIME, false),
            "relatime" => (attr::RELATIVE_ATIME, true),
            "norelatime" => (attr::RELATIVE_ATIME, false),
            "strictatime" => (attr::STRICT_ATIME, true),
            "nostrictatime" => (attr::STRICT_ATIME, false),
            "nodiratime" | "diratime" => {
                self.no_folders = word == "nodiratime";
                return true;
            }
            _ => return false,
        };
        if said {
            self.mode = Some(mode);
        } else if self.mode == Some(mode) {
            self.mode = None;
        }
        true
    }

    fn apply(&self, attrs: &mut MountAttrs) {
        let folders = if self.no_folders {
            attr::NO_DIR_ATIME
        } else {
            0
        };
        if self.no_folders || self.mode.is_some() {
            attrs.set |= self.mode.unwrap_or(attr::RELATIVE_ATIME) | folders;
            attrs.clear |= (attr::ATIME_MASK | attr::NO_DIR_ATIME) & !folders;
        }
    }
}

/// What a word does to the attributes of a mount and all below it.
struct AttributeChange {
    set: u64,
    clear: u64,
}

impl AttributeChange {
    fn apply(&self, set: &mut u64, clear: &mut u64) {
        // Bits of the access time are taken back before others are set, which the kernel wants told.
        let taken = self.set & !attr::ATIME_MASK;
        *set = *set & !self.clear | self.set;
        *clear = *clear & !taken | self.clear;
    }
}

fn change(word: &str) -> Option<AttributeChange> {
    if let Some(mode) = access_time(word) {
        return Some(AttributeChange {
            set: mode,
            clear: attr::ATIME_MASK,
        });
    }
    attribute(word).map(|(bit, set)| match set {
        true => AttributeChange { set: bit, clear: 0 },
        false => AttributeChange { set: 0, clear: bit },
    })
}

/// The access-time mode that a word asks for.
fn access_time(word: &str) -> Option<u64> {
    Some(match word {
        "noatime" => attr::NO_ATIME,
        "strictatime" => attr::STRICT_ATIME,
        "relatime" | "norelatime" | "atime" | "nostrictatime" => 0,
        _ => return None,
    })
}

/// The attribute that a word sets or takes back.
fn attribute(word: &str) -> Option<(u64, bool)> {
    Some(match word {
        "ro" => (attr::READ_ONLY, true),
        "rw" => (attr::READ_ONLY, false),
        "nosuid" => (attr::NO_SUID, true),
        "suid" => (attr::NO_SUID, false),
        "nodev" => (attr::NO_DEV, true),
        "dev" => (attr::NO_DEV, false),
        "noexec" => (attr::NO_EXEC, true),
        "exec" => (attr::NO_EXEC, false),
        "nodiratime" => (attr::NO_DIR_ATIME, true),
        "diratime" => (attr::NO_DIR_ATIME, false),
        "nosymfollow" => (attr::NO_SYMFOLLOW, true),
        "symfollow" => (attr::NO_SYMFOLLOW, false),
        _ => return None,
    })
}

/// How mounts are shared, by its word without `r`, which a bind mount's mounts below follow in any case.
pub(in crate::compile) fn propagation(word: &str) -> Option<Propagation> {
    Some(match word {
        "private" => Propagation::Private,
        "slave" => Propagation::Slave,
        "shared" => Propagation::Shared,
        "unbindable" => Propagation::Unbindable,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Options {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        read(&words)
    }

    #[test]
    fn words_without_a_meaning_are_passed_over() {
        assert_eq!(of(&["", "defaults", "loud"]), Options::default());
    }

    #[test]
    fn the_last_word_counts() {
        let options = of(&["ro", "nosuid", "rw", "noatime", "strictatime"]);
        assert_eq!(options.attrs.set, attr::NO_SUID | attr::STRICT_ATIME);
        let clear = attr::READ_ONLY | attr::ATIME_MASK | attr::NO_DIR_ATIME;
        assert_eq!(options.attrs.clear, clear);
        let below = of(&["rro", "rrw", "rnosuid", "rnoatime", "rstrictatime"]).attrs;
        assert_eq!(below.below_set, attr::NO_SUID | attr::STRICT_ATIME);
        assert_eq!(below.below_clear, attr::READ_ONLY | attr::ATIME_MASK);
        assert_eq!(of(&["rrw", "rro"]).attrs.below_clear, 0);
    }

    #[test]
    fn attributes_of_mounts_below_are_told_apart() {
        let options = of(&["rbind", "rro", "nosuid"]);
        assert_eq!(options.bind, Some(true));
        assert_eq!(
            (options.attrs.set, options.attrs.below_set),
            (attr::NO_SUID, attr::READ_ONLY)
        );
        assert_eq!(of(&["rbind", "ro"]).attrs.below_set, 0);
        // No attribute of mounts below, but one of the mount.
        let attrs = of(&["relatime"]).attrs;
        let clear = attr::ATIME_MASK | attr::NO_DIR_ATIME;
        assert_eq!((attrs.set, attrs.clear), (0, clear));
        let attrs = of(&["rrelatime"]).attrs;
        assert_eq!((attrs.below_set, attrs.below_clear), (0, attr::ATIME_MASK));
    }

    #[test]
    fn access_times_are_left_alone_but_where_a_word_says_how_they_are() {
        let attrs = |words: &[&str]| {
            let attrs = of(words).attrs;
            (attrs.set, attrs.clear)
        };
        for word in ["atime", "norelatime", "nostrictatime", "diratime"] {
            assert_eq!(attrs(&[word]), (0, 0), "{word}");
        }
        assert_eq!(attrs(&["noatime", "atime"]), (0, 0));
        assert_eq!(
            attrs(&["nodiratime", "strictatime", "norelatime"]),
            (attr::NO_DIR_ATIME | attr::STRICT_ATIME, attr::ATIME_MASK)
        );
        assert_eq!(
            attrs(&["nodiratime"]),
            (attr::NO_DIR_ATIME, attr::ATIME_MASK)
        );
    }

    #[test]
    fn a_bind_mount_has_the_attributes_that_are_named_and_no_others() {
        assert!(!of(&["rbind", "rprivate", "rro"]).of_bind().replaces);
        for word in ["ro", "rw", "dev", "norelatime"] {
            assert!(of(&["bind", word]).of_bind().replaces, "{word}");
        }
    }

    #[test]
    fn the_rest_is_the_file_systems() {
        let options = of(&["mode=755", "size=64k", "sync", "rprivate"]);
        let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(
            options.data,
            [
                pair("mode", Some("755")),
                pair("size", Some("64k")),
                pair("sync", None)
            ]
        );
        assert_eq!(options.propagation, Some(Propagation::Private));
    }

    #[test]
    fn one_word_may_be_several() {
        let data = |word: &str| {
            let options = of(&[word]);
            assert_eq!(options.attrs, MountAttrs::default(), "{word}");
            let told = options.data.into_iter();
            let told = told.map(|(key, value)| match value {
                Some(value) => format!("{key} {value}"),
                None => key,
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(data("size=1m,mode=700"), ["size 1m", "mode 700"]);
        assert_eq!(data(",size=1m,,sync,"), ["size 1m", "sync"]);
        assert_eq!(
            data(r#"context="a:c1,c2",size=1m"#),
            [r#"context "a:c1,c2""#, "size 1m"]
        );
        assert_eq!(data(r"upperdir=/a\,b,x"), [r"upperdir /a\,b", "x"]);
        for word in ["iversion", "noiversion"] {
            assert_eq!(data(word), [""; 0]);
        }
    }
}
