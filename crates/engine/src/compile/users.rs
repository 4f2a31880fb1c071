//! Who a process runs as: `user[:group]` looked up in the container's own passwd and group files.

use crate::outcome::{EngineError, Result};

/// Numbers of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, each once.
    pub(crate) groups: Vec<u32>,
    /// The user's home folder; `/` when the files do not say.
    pub(crate) home: String,
}

/// Numbers go up to what the kernel takes for no id.
const LARGEST: u32 = i32::MAX as u32;

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn users(text: &str) -> impl Iterator<Item = User<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (_comment, home) = (fields.next(), fields.next().unwrap_or_default());
        Some(User {
            name,
            uid,
            gid,
            home,
        })
    })
}

fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let gid = fields.next()?.parse().ok()?;
        Some(Group {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    })
}

/// Whether a text is a number that names no user or group.
fn out_of_range(text: &str) -> bool {
    text.parse::<i64>()
        .is_ok_and(|number| !(0..=i64::from(LARGEST)).contains(&number))
}

/// Finds the numbers of `user` (empty for root) with `extra` groups in the texts of /etc/passwd and /etc/group.
///
/// # Errors
/// The runtime's sentences that docker passes on: `unable to find user x: no matching entries in passwd file`.
pub(crate) fn resolve(user: &str, extra: &[String], passwd: &str, group: &str) -> Result<Identity> {
    let (user_text, group_text) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number <= LARGEST);
    let wanted = number(user_text);
    let found = match user_text {
        "" => users(passwd).find(|user| user.uid == 0),
        name => users(passwd)
            .find(|user| user.name == name)
            .or_else(|| users(passwd).find(|user| wanted == Some(user.uid))),
    };
    let mut identity = match (&found, wanted) {
        (Some(user), _) => Identity {
            uid: user.uid,
            gid: user.gid,
            groups: Vec::new(),
            home: user.home.to_owned(),
        },
        (None, Some(uid)) => Identity {
            uid,
            ..Default::default()
        },
        (None, None) if user_text.is_empty() => Identity::default(),
        (None, None) if out_of_range(user_text) => {
            return Err(EngineError::UnknownUser {
                sentence: format!("uids and gids must be in range 0-{LARGEST}"),
            });
        }
        (None, None) => {
            return Err(EngineError::UnknownUser {
                sentence: format!(
                    "unable to find user {user_text}: no matching entries in passwd file"
                ),
            });
        }
    };
    if identity.home.is_empty() {
        identity.home = "/".to_owned();
    }
    let unknown_group = |name: &str| EngineError::UnknownUser {
        sentence: format!("unable to find group {name}: no matching entries in group file"),
    };
    match group_text.filter(|text| !text.is_empty()) {
        Some(text) => {
            let named = groups(group)
                .find(|group| group.name == text)
                .map(|group| group.gid);
            identity.gid = named
                .or_else(|| number(text))
                .ok_or_else(|| unknown_group(text))?;
        }
        None => {
            if let Some(name) = found.as_ref().map(|user| user.name) {
                let member =
                    |group: &Group<'_>| group.members.split(',').any(|member| member == name);
                identity
                    .groups
                    .extend(groups(group).filter(member).map(|group| group.gid));
            }
        }
    }
    for text in extra {
        let named = groups(group)
            .find(|group| group.name == text)
            .map(|group| group.gid);
        identity
            .groups
            .push(
                named
                    .or_else(|| number(text))
                    .ok_or_else(|| EngineError::UnknownUser {
                        sentence: format!(
                            "Unable to find group {text}: no matching entries in group file"
                        ),
                    })?,
            );
    }
    // The main group is among them, so that a program that drops it does not thereby get past a
    // file that refuses this group.
    if !identity.groups.contains(&identity.gid) {
        identity.groups.insert(0, identity.gid);
    }
    let mut seen = std::collections::BTreeSet::new();
    identity.groups.retain(|gid| seen.insert(*gid));
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:33:www:/var/www:/bin/false\n";
    const GROUP: &str = "root:x:0:root\nbin:x:1:root,www\nwww:x:33:\ndocker:x:99:\n";

    fn resolved(user: &str) -> Identity {
        resolve(user, &[], PASSWD, GROUP).unwrap()
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let www = Identity {
            uid: 33,
            gid: 33,
            groups: vec![33, 1],
            home: "/var/www".into(),
        };
        assert_eq!(resolved("www"), www);
        assert_eq!(resolved("33"), www);
        assert_eq!(
            resolved(""),
            Identity {
                uid: 0,
                gid: 0,
                groups: vec![0, 1],
                home: "/root".into()
            }
        );
        assert_eq!(
            resolved("1234"),
            Identity {
                uid: 1234,
                gid: 0,
                groups: vec![0],
                home: "/".into()
            }
        );
    }

    #[test]
    fn a_given_group_replaces_the_users_own() {
        assert_eq!(
            resolved("www:docker"),
            Identity {
                uid: 33,
                gid: 99,
                groups: vec![99],
                home: "/var/www".into()
            }
        );
        assert_eq!(resolved("www:7").gid, 7);
        assert_eq!(
            resolve("www", &["docker".into(), "5".into()], PASSWD, GROUP)
                .unwrap()
                .groups,
            [33, 1, 99, 5]
        );
    }

    #[test]
    fn unknown_ones_are_refused_in_the_runtimes_words() {
        let refused = resolve("nobody", &[], PASSWD, GROUP)
            .unwrap_err()
            .to_string();
        assert_eq!(
            refused,
            "unable to find user nobody: no matching entries in passwd file"
        );
        assert!(resolve("www:none", &[], PASSWD, GROUP).is_err());
        assert_eq!(resolve("", &[], "", "").unwrap().groups, [0]);
    }
}
