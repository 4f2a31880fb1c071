//! Labels of security modules, on kernels that have one.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::spec::{Linux, Process};

/// Where AppArmor tells whether it is on.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";
/// AppArmor's own files, where it is not the only module.
const APPARMOR_FILES: &str = "/proc/self/attr/apparmor";

/// What is written for a process: a file below its `attr`, and the text.
pub(super) fn compile(process: &Process) -> Result<Vec<(String, String)>> {
    let mut labels = Vec::new();
    let asked = |label: &Option<String>| label.clone().filter(|label| !label.is_empty());
    if let Some(profile) = asked(&process.apparmor_profile) {
        if !has_apparmor() {
            return Err(Error::field(
                "process.apparmorProfile",
                format!("{profile:?} cannot be applied: this kernel has no AppArmor, or it is off"),
            ));
        }
        let own = Path::new(APPARMOR_FILES).exists();
        let file = if own { "apparmor/exec" } else { "exec" };
        labels.push((file.to_owned(), format!("exec {profile}")));
    }
    if let Some(label) = asked(&process.selinux_label) {
        check_selinux("process.selinuxLabel", &label)?;
        labels.push(("exec".to_owned(), label));
    }
    Ok(labels)
}

/// The option that labels the files of new file systems.
pub(super) fn of_mounts(linux: &Linux) -> Result<Option<String>> {
    let label = linux.mount_label.clone().filter(|label| !label.is_empty());
    if let Some(label) = &label {
        check_selinux("linux.mountLabel", label)?;
    }
    Ok(label)
}

fn check_selinux(field: &str, label: &str) -> Result<()> {
    if has_selinux() {
        return Ok(());
    }
    let why = format!("{label:?} cannot be applied: this kernel has no SELinux, or it is off");
    Err(Error::field(field, why))
}

/// Whether AppArmor is on.
pub(crate) fn has_apparmor() -> bool {
    fs::read_to_string(APPARMOR).is_ok_and(|text| text.starts_with('Y'))
}

/// Whether SELinux is on: its file system is mounted.
pub(crate) fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}
