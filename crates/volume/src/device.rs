//! Volumes that are something else than their folder: a file system or a folder of the host is mounted on their content
//! while somebody uses them, where tools that ask for the mount point find it.
//!
//! Who uses a volume is kept in memory. The kernel keeps what is mounted: after a crash the users are told anew
//! ([`VolumeStore::adopt`]), and what nobody uses is taken away ([`VolumeStore::detach_unused`]).

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{self, AtFlags, StatxFlags};
use rustix::io::Errno;
use sys::mount;

use crate::store::volume_fault;
use crate::{VolumeError, VolumeStore};

/// What is mounted on a volume, as mount(8) has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// The file system's type; of no meaning for a bind.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Options between commas: flags of the mount by their names, everything else for the file system.
    pub options: String,
}

/// Flags by their names, and whether the name takes the flag away.
const FLAGS: [(&str, u32, bool); 32] = [
    ("ro", mount::flags::READ_ONLY, false),
    ("rw", mount::flags::READ_ONLY, true),
    ("suid", mount::flags::NO_SUID, true),
    ("nosuid", mount::flags::NO_SUID, false),
    ("dev", mount::flags::NO_DEV, true),
    ("nodev", mount::flags::NO_DEV, false),
    ("exec", mount::flags::NO_EXEC, true),
    ("noexec", mount::flags::NO_EXEC, false),
    ("sync", mount::flags::SYNCHRONOUS, false),
    ("async", mount::flags::SYNCHRONOUS, true),
    ("dirsync", mount::flags::DIR_SYNC, false),
    ("remount", mount::flags::REMOUNT, false),
    ("mand", mount::flags::MANDATORY_LOCK, false),
    ("nomand", mount::flags::MANDATORY_LOCK, true),
    ("atime", mount::flags::NO_ATIME, true),
    ("noatime", mount::flags::NO_ATIME, false),
    ("diratime", mount::flags::NO_DIR_ATIME, true),
    ("nodiratime", mount::flags::NO_DIR_ATIME, false),
    ("bind", mount::flags::BIND, false),
    ("rbind", mount::flags::BIND | mount::flags::RECURSIVE, false),
    ("unbindable", mount::flags::UNBINDABLE, false),
    (
        "runbindable",
        mount::flags::UNBINDABLE | mount::flags::RECURSIVE,
        false,
    ),
    ("private", mount::flags::PRIVATE, false),
    (
        "rprivate",
        mount::flags::PRIVATE | mount::flags::RECURSIVE,
        false,
    ),
    ("shared", mount::flags::SHARED, false),
    (
        "rshared",
        mount::flags::SHARED | mount::flags::RECURSIVE,
        false,
    ),
    ("slave", mount::flags::SLAVE, false),
    (
        "rslave",
        mount::flags::SLAVE | mount::flags::RECURSIVE,
        false,
    ),
    ("relatime", mount::flags::REL_ATIME, false),
    ("norelatime", mount::flags::REL_ATIME, true),
    ("strictatime", mount::flags::STRICT_ATIME, false),
    ("nostrictatime", mount::flags::STRICT_ATIME, true),
];

/// How the mount shares later ones: set by a call of its own.
const PROPAGATION: u32 =
    mount::flags::PRIVATE | mount::flags::SHARED | mount::flags::SLAVE | mount::flags::UNBINDABLE;

impl Device {
    /// Flags of mount(2), and what is left for the file system.
    fn split(&self) -> (u32, String) {
        let mut flags = 0;
        let mut rest = Vec::new();
        for option in self.options.split(',') {
            match FLAGS.iter().find(|(name, _, _)| *name == option) {
                Some((_, flag, false)) => flags |= flag,
                Some((_, flag, true)) => flags &= !flag,
                None => rest.push(option),
            }
        }
        (flags, rest.join(","))
    }

    /// Mounts it.
    fn mount(&self, target: &Path) -> Result<(), VolumeError> {
        let (flags, data) = self.split();
        let fault = |errno: Errno| {
            let flags = match flags {
                0 => String::new(),
                flags => format!(", flags: {flags:#x}"),
            };
            let data = match data.as_str() {
                "" => String::new(),
                data => format!(", data: {}", without_password(data)),
            };
            let source = std::io::Error::from(errno).to_string();
            let why = source.split(" (os error").next().unwrap_or_default();
            VolumeError::Attach {
                path: target.to_owned(),
                why: format!(
                    "failed to mount local volume: mount {}:{}{flags}{data}: {}",
                    self.source,
                    target.display(),
                    why.to_lowercase()
                ),
            }
        };
        let text = |text: &str| CString::new(text).map_err(|_| fault(Errno::INVAL));
        let (source, kind) = (text(&self.source)?, text(&self.kind)?);
        let (place, data) = (text(&target.to_string_lossy())?, text(&data)?);
        let shared = flags & PROPAGATION;
        let own = flags & !PROPAGATION;
        mount::by_flags(&source, &place, &kind, own, &data).map_err(fault)?;
        let again = |flags| mount::by_flags(c"", &place, c"", flags, c"");
        let mut outcome = Ok(());
        if shared != 0 {
            outcome = again(shared | own & mount::flags::RECURSIVE);
        }
        let read_only_bind = mount::flags::BIND | mount::flags::READ_ONLY;
        if outcome.is_ok() && own & read_only_bind == read_only_bind {
            outcome = again(own | mount::flags::REMOUNT);
        }
        if let Err(errno) = outcome {
            // What was mounted is not what was asked for.
            let _ = mount::detach(&place);
            return Err(fault(errno));
        }
        Ok(())
    }
}

/// Options without the password that is among them.
fn without_password(data: &str) -> String {
    let masked = data.split(',').map(|option| match option.split_once('=') {
        Some(("password", _)) => "password=********",
        _ => option,
    });
    masked.collect::<Vec<_>>().join(",")
}

impl VolumeStore {
    /// Mounts what a volume is, unless that is so already, and counts `user` as one.
    ///
    /// # Errors
    /// [`VolumeError::Attach`] in Docker's words.
    pub fn attach(&self, name: &str, device: &Device, user: &str) -> Result<(), VolumeError> {
        let _turn = self.attaching.take(name);
        if !self.is_attached(name)? {
            device.mount(&self.path(name))?;
        }
        self.adopt(name, user);
        Ok(())
    }

    /// Counts a user of a volume that was mounted before.
    pub fn adopt(&self, name: &str, user: &str) {
        let mut users = self.users();
        users
            .entry(name.to_owned())
            .or_default()
            .insert(user.to_owned());
    }

    /// Whether somebody of this name uses any volume.
    pub fn has(&self, user: &str) -> bool {
        self.users().values().any(|users| users.contains(user))
    }

    /// Counts a user no more, of any volume; where it was the last one the mount ends. Gives what could not be unmounted.
    /// Waits for who mounts or unmounts the same volume.
    pub fn release(&self, user: &str) -> Vec<VolumeError> {
        let mut unused = Vec::new();
        self.users().retain(|name, users| {
            if users.remove(user) && users.is_empty() {
                unused.push(name.clone());
            }
            !users.is_empty()
        });
        unused
            .into_iter()
            .filter_map(|name| {
                let _turn = self.attaching.take(&name);
                // Somebody else may have come meanwhile.
                match self.is_used(&name) {
                    true => None,
                    false => self.detach(&name).err(),
                }
            })
            .collect()
    }

    /// Ends the mount of a volume that nobody uses, if there is one. Waits so long for who mounts or unmounts it.
    ///
    /// # Errors
    /// [`VolumeError::Used`]; [`VolumeError::Underway`] when the wait was too short.
    pub fn detach_unused(&self, name: &str, patience: Duration) -> Result<(), VolumeError> {
        let Some(_turn) = self.attaching.take_within(name, patience) else {
            return Err(VolumeError::Underway {
                name: name.to_owned(),
            });
        };
        if self.is_used(name) {
            return Err(VolumeError::Used {
                name: name.to_owned(),
            });
        }
        self.detach(name)
    }

    /// Takes away what is mounted on the volume's content, if anything is. Nobody is asked first: a look may wait for a
    /// server that does not answer, and fails where that is dead.
    fn detach(&self, name: &str) -> Result<(), VolumeError> {
        let fault = |errno: Errno| volume_fault("unmount", name, errno.into());
        let path = CString::new(self.path(name).to_string_lossy().as_bytes())
            .map_err(|_| fault(Errno::INVAL))?;
        match mount::detach(&path) {
            // It is a folder like others, or gone.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
            Err(errno) => Err(fault(errno)),
        }
    }

    fn is_used(&self, name: &str) -> bool {
        self.users().contains_key(name)
    }

    /// Whether something is mounted on the volume's content.
    pub fn is_attached(&self, name: &str) -> Result<bool, VolumeError> {
        let (folder, data) = (self.folder(name)?, self.data(name)?);
        let mount_of = |file: std::os::fd::BorrowedFd<'_>| {
            // The kernel knows it: no server needs to be asked.
            let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
            fs::statx(file, c"", flags, StatxFlags::MNT_ID)
                .map(|found| found.stx_mnt_id)
                .map_err(|errno| volume_fault("look at", name, errno.into()))
        };
        Ok(mount_of(folder.as_fd())? != mount_of(data.as_fd())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(options: &str) -> Device {
        Device {
            options: options.to_owned(),
            ..Device::default()
        }
    }

    #[test]
    fn flags_are_told_from_what_the_file_system_reads() {
        assert_eq!(device("").split(), (0, String::new()));
        let (flags, data) = device("ro,size=1m,nosuid,rw,mode=700").split();
        assert_eq!(flags, mount::flags::NO_SUID);
        assert_eq!(data, "size=1m,mode=700");
        assert_eq!(device("bind").split().0, 0x1000);
        assert_eq!(device("rbind,rslave").split().0, 0x8_5000);
    }

    #[test]
    fn passwords_are_not_told() {
        assert_eq!(
            without_password("username=a,password=b=c,vers=3"),
            "username=a,password=********,vers=3"
        );
    }
}
