//! Files of the unified tree by their names, for what no other setting says.

use std::collections::BTreeMap;
use std::io;

use super::directory::Folder;
use super::{CgroupError, Controller};

/// Files of the core, which every group has.
const CORE: &str = "cgroup";

/// The controller that a file is of, or why it can be none.
pub(super) fn controller(key: &str) -> Result<&str, CgroupError> {
    let bad = |form| CgroupError::BadUnified {
        key: key.to_owned(),
        form,
    };
    if key.contains(['/', '\0']) {
        return Err(bad("a file name (no slashes)"));
    }
    match key.split_once('.') {
        Some((controller, parameter)) if !controller.is_empty() && !parameter.is_empty() => {
            Ok(controller)
        }
        _ => Err(bad("in the form CONTROLLER.PARAMETER")),
    }
}

/// Controllers that `files` need, of those that this program knows.
pub(super) fn controllers(files: &BTreeMap<String, String>) -> Vec<Controller> {
    let names = files.keys().filter_map(|key| controller(key).ok());
    names.filter_map(Controller::from_unified_name).collect()
}

/// Writes to each file. `has` says whether the group has a controller in the unified tree; `folder` is its folder there.
pub(super) fn apply(
    folder: Option<&Folder<'_>>,
    files: &BTreeMap<String, String>,
    has: &dyn Fn(Controller) -> bool,
) -> Result<(), CgroupError> {
    for (key, value) in files {
        let name = controller(key)?;
        let missing = || CgroupError::NoUnified {
            key: key.clone(),
            controller: name.to_owned(),
        };
        let folder = folder.ok_or_else(missing)?;
        let known = Controller::from_unified_name(name);
        if name != CORE && known.is_some_and(|controller| !has(controller)) {
            return Err(missing());
        }
        // A file takes one line at a time; an empty value is one too.
        let lines = match value.as_str() {
            "" => vec!["\n"],
            lines => lines.lines().collect(),
        };
        match folder.write_all(key, lines) {
            Err(CgroupError::Open { source, .. })
                if known.is_none() && name != CORE && source.kind() == io::ErrorKind::NotFound =>
            {
                return Err(missing());
            }
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_files_of_a_controller() {
        assert_eq!(controller("memory.high").unwrap(), "memory");
        assert_eq!(controller("hugetlb.2MB.max").unwrap(), "hugetlb");
        for key in ["../x.y", "a/b.c", "memory", ".procs", "memory.", ""] {
            assert!(controller(key).is_err(), "{key:?}");
        }
    }
}
