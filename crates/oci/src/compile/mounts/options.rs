//! Options of mounts: words that set attributes, propagation, and what a file system is to make of the rest.

use runtime::plan::{MountAttrs, Propagation, attr};

/// Options of a mount, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) attrs: MountAttrs,
    pub(super) propagation: Option<Propagation>,
    pub(super) bind: Option<bool>,
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
    for word in words {
        if let Some(change) = word.strip_prefix('r').and_then(change)
            && attribute(word).is_none()
            && access_time(word).is_none()
        {
            change.apply(&mut attrs.below_set, &mut attrs.below_clear);
            continue;
        }
        if let Some((bit, set)) = attribute(word) {
            attrs.set = if set {
                attrs.set | bit
            } else {
                attrs.set & !bit
            };
            continue;
        }
        if let Some(mode) = access_time(word) {
            attrs.set = attrs.set & !attr::ATIME_MASK | mode;
            attrs.clear = attr::ATIME_MASK;
            continue;
        }
        let plain = word.strip_prefix('r').unwrap_or(word);
        match word.as_str() {
            "defaults" | "silent" | "loud" => {}
            "bind" => options.bind = Some(options.bind == Some(true)),
            "rbind" => options.bind = Some(true),
            "remount" => options.remount = true,
            "tmpcopyup" => options.copy_up = true,
            "idmap" => options.idmap = Some(options.idmap == Some(true)),
            "ridmap" => options.idmap = Some(true),
            _ => match propagation(word).or_else(|| propagation(plain)) {
                Some(kind) => options.propagation = Some(kind),
                None => options.data.push(match word.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (word.clone(), None),
                }),
            },
        }
    }
    options.attrs = attrs;
    options
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
    fn the_last_word_counts() {
        let options = of(&["ro", "nosuid", "rw", "noatime", "strictatime"]);
        assert_eq!(options.attrs.set, attr::NO_SUID | attr::STRICT_ATIME);
        assert_eq!(options.attrs.clear, attr::ATIME_MASK);
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
        assert_eq!((attrs.set, attrs.clear), (0, attr::ATIME_MASK));
        let attrs = of(&["rrelatime"]).attrs;
        assert_eq!((attrs.below_set, attrs.below_clear), (0, attr::ATIME_MASK));
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
}
