//! Users and groups by the container's own passwd(5) and group(5).
//!
//! The texts are read by the caller, beneath the container's root; nothing here asks the host.

/// The largest user or group id that can be asked for. The kernel takes the largest number of 32 bits for "as it is": a
/// process would stay root.
const MAX_ID: u32 = i32::MAX as u32;

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, without repetition; the first is `gid`, so that a program which drops its group does not
    /// gain what the group was refused.
    pub groups: Vec<u32>,
    /// The home folder, `/` where passwd names none.
    pub home: String,
}

/// Why a user cannot be found. The words are what Docker's tools look for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// A name that passwd does not have.
    #[error("unable to find user {name}: no matching entries in passwd file")]
    NoUser {
        /// What was asked for.
        name: String,
    },
    /// A name that group does not have.
    #[error("unable to find group {name}: no matching entries in group file")]
    NoGroup {
        /// What was asked for.
        name: String,
    },
    /// An additional group that group does not have: Docker's word begins with a capital here.
    #[error("Unable to find group {name}: no matching entries in group file")]
    NoAdditionalGroup {
        /// What was asked for.
        name: String,
    },
    /// A number that is too large.
    #[error("uids and gids must be in range 0-{MAX_ID}")]
    Range,
}

struct Entry<'a> {
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

/// Finds who `spec` means: empty for root, or `user`, `user:group`, each a name or a number. `additional` are groups
/// besides those that the user is a member of. A number means the one that is listed with it, and need not be listed.
///
/// # Errors
/// [`UserError`], in the order user, group, additional groups.
pub fn resolve(
    spec: &str,
    additional: &[String],
    passwd: &str,
    group: &str,
) -> Result<User, UserError> {
    let (user, wanted_group) = spec.split_once(':').unwrap_or((spec, ""));
    let entry = find_user(user, passwd);
    let (uid, mut gid) = match (&entry, number(user)) {
        (Some(entry), _) => (in_range(entry.uid.into())?, entry.gid),
        (None, _) if user.is_empty() => (0, 0),
        (None, Some(uid)) => (in_range(uid)?, 0),
        (None, None) => {
            return Err(UserError::NoUser {
                name: user.to_owned(),
            });
        }
    };
    let mut memberships = Vec::new();
    if !wanted_group.is_empty() {
        gid = find_group(wanted_group, group)?;
    } else if let Some(entry) = &entry {
        let member =
            |group: &Group<'_>| group.members.split(',').any(|member| member == entry.name);
        memberships = groups(group)
            .filter(member)
            .map(|group| group.gid)
            .collect();
    }
    let mut all = vec![in_range(gid.into())?];
    let listed = additional
        .iter()
        .map(|name| find_additional(name, group))
        .collect::<Result<Vec<_>, _>>()?;
    for gid in memberships.into_iter().chain(listed) {
        if !all.contains(&gid) {
            all.push(in_range(gid.into())?);
        }
    }
    let home = entry
        .map(|entry| entry.home)
        .filter(|home| !home.is_empty())
        .unwrap_or("/");
    Ok(User {
        uid,
        gid,
        groups: all,
        home: home.to_owned(),
    })
}

/// The first user that matches: a number matches ids only, no text at all is root.
fn find_user<'a>(wanted: &str, passwd: &'a str) -> Option<Entry<'a>> {
    let id = if wanted.is_empty() {
        Some(0)
    } else {
        number(wanted)
    };
    users(passwd).find(|entry| match id {
        Some(id) => i64::from(entry.uid) == id,
        None => entry.name == wanted,
    })
}

fn find_group(wanted: &str, text: &str) -> Result<u32, UserError> {
    let id = number(wanted);
    let found = groups(text).find(|group| match id {
        Some(id) => i64::from(group.gid) == id,
        None => group.name == wanted,
    });
    match (found, id) {
        (Some(group), _) => Ok(group.gid),
        (None, Some(id)) => in_range(id),
        (None, None) => Err(UserError::NoGroup {
            name: wanted.to_owned(),
        }),
    }
}

/// An additional group may also be one whose name is a number.
fn find_additional(wanted: &str, text: &str) -> Result<u32, UserError> {
    let named = groups(text).find(|group| group.name == wanted);
    match named {
        Some(group) => Ok(group.gid),
        None => find_group(wanted, text).map_err(|error| match error {
            UserError::NoGroup { name } => UserError::NoAdditionalGroup { name },
            other => other,
        }),
    }
}

/// A decimal number with an optional sign; what is longer than 64 bits is a name.
fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Whether ids of users and groups can be a process's.
///
/// # Errors
/// [`UserError::Range`].
pub fn check_range(ids: &[u32]) -> Result<(), UserError> {
    let mut ids = ids.iter();
    ids.try_for_each(|id| in_range((*id).into()).map(drop))
}

fn in_range(id: i64) -> Result<u32, UserError> {
    u32::try_from(id)
        .ok()
        .filter(|id| *id <= MAX_ID)
        .ok_or(UserError::Range)
}

/// The lines of passwd that can be read: name:password:uid:gid:comment:home:shell.
fn users(text: &str) -> impl Iterator<Item = Entry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields
            .next()
            .filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or_default();
        Some(Entry {
            name,
            uid,
            gid,
            home,
        })
    })
}

/// The lines of group that can be read: name:password:gid:members.
fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields
            .next()
            .filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Group {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "# users\nroot:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:100:Ann:/home/ann:/bin/sh\n\
        7:x:70:70::/seven:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,ann\nusers:x:100:\naudio:x:29:ann,bob\ndup:x:10:ann\n12:x:88:\n";

    fn find(spec: &str, additional: &[&str]) -> Result<(u32, u32, Vec<u32>, String), UserError> {
        let additional: Vec<_> = additional.iter().map(|name| (*name).to_owned()).collect();
        resolve(spec, &additional, PASSWD, GROUP)
            .map(|user| (user.uid, user.gid, user.groups, user.home))
    }

    #[test]
    fn names_and_numbers_are_found() {
        let ann = (1000, 100, vec![100, 10, 29], "/home/ann".to_owned());
        assert_eq!(find("", &[]), Ok((0, 0, vec![0, 10], "/root".to_owned())));
        assert_eq!(find("ann", &[]), Ok(ann.clone()));
        assert_eq!(find("1000", &[]), Ok(ann));
        assert_eq!(
            find("ann:audio", &[]),
            Ok((1000, 29, vec![29], "/home/ann".to_owned()))
        );
        assert_eq!(
            find("ann:5", &["wheel", "10", "77"]),
            Ok((1000, 5, vec![5, 10, 77], "/home/ann".to_owned()))
        );
        assert_eq!(find("4242", &[]), Ok((4242, 0, vec![0], "/".to_owned())));
        assert_eq!(
            find("ann", &["12", "13"]),
            Ok((1000, 100, vec![100, 10, 29, 88, 13], "/home/ann".to_owned())),
            "an additional group may have a number for a name"
        );
        assert_eq!(
            find("7", &[]),
            Ok((7, 0, vec![0], "/".to_owned())),
            "a number is no name"
        );
        assert_eq!(
            find(":audio", &[]),
            Ok((0, 29, vec![29], "/root".to_owned()))
        );
    }

    #[test]
    fn files_name_nobody_whom_the_kernel_takes_for_the_caller() {
        let passwd = "eve:x:4294967295:7::/:\nbob:x:7:4294967295::/:\nann:x:8:8::/:\n";
        let group = "void:x:4294967295:ann\nhigh:x:2147483648:\n";
        for (spec, additional) in [
            ("eve", &[][..]),
            ("4294967295", &[]),
            ("bob", &[]),
            ("ann", &[]),
            ("ann:void", &[]),
            ("ann:8", &["high".to_owned()]),
            ("ann:8", &["4294967295".to_owned()]),
        ] {
            let found = resolve(spec, additional, passwd, group);
            assert_eq!(found, Err(UserError::Range), "{spec} {additional:?}");
        }
        assert!(resolve("bob:7", &[], passwd, group).is_ok());
        assert_eq!(check_range(&[0, 7, MAX_ID]), Ok(()));
        assert_eq!(check_range(&[0, u32::MAX]), Err(UserError::Range));
    }

    #[test]
    fn what_is_missing_is_named_in_dockers_words() {
        let words = |spec, additional: &[&str]| find(spec, additional).unwrap_err().to_string();
        assert_eq!(
            words("eve", &[]),
            "unable to find user eve: no matching entries in passwd file"
        );
        assert_eq!(
            words("ann:eve", &[]),
            "unable to find group eve: no matching entries in group file"
        );
        assert_eq!(
            words("ann", &["eve"]),
            "Unable to find group eve: no matching entries in group file"
        );
        assert_eq!(
            words("-1", &[]),
            "uids and gids must be in range 0-2147483647"
        );
        assert_eq!(
            words("4294967296", &[]),
            "uids and gids must be in range 0-2147483647"
        );
    }
}
