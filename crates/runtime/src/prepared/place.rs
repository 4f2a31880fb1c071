//! Paths within the container, taken apart.

use std::ffi::CString;

use super::text;
use crate::plan::PlanError;

/// A path within the container, and how to make it.
#[derive(Debug)]
pub(crate) struct Place {
    /// The whole path.
    pub(crate) path: CString,
    /// For each component: the path to it, its name.
    pub(crate) components: Vec<(CString, CString)>,
}

/// A name within a folder of the container.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) folder: Place,
    pub(crate) name: CString,
    /// The folder is that of the node before.
    pub(crate) same_folder: bool,
}

/// Takes an absolute path apart. `..` is refused: nothing that makes plans needs it, and here it would be resolved
/// before links are.
pub(super) fn place(what: &'static str, path: &str) -> Result<Place, PlanError> {
    let invalid = || PlanError::Path {
        what,
        path: path.to_owned(),
    };
    let relative = path.strip_prefix('/').ok_or_else(invalid)?;
    let mut components = Vec::new();
    let mut reached = String::new();
    for name in relative
        .split('/')
        .filter(|name| !name.is_empty() && *name != ".")
    {
        if name == ".." {
            return Err(invalid());
        }
        reached.push('/');
        reached.push_str(name);
        components.push((text(what, &reached)?, text(what, name)?));
    }
    if reached.is_empty() {
        reached.push('/');
    }
    Ok(Place {
        path: text(what, &reached)?,
        components,
    })
}

/// As [`place`], for paths that cannot be the root.
pub(crate) fn place_below(what: &'static str, path: &str) -> Result<Place, PlanError> {
    let place = place(what, path)?;
    if place.components.is_empty() {
        return Err(PlanError::Path {
            what,
            path: path.to_owned(),
        });
    }
    Ok(place)
}

pub(super) fn node<'p>(
    what: &'static str,
    path: &'p str,
    last: &mut &'p str,
) -> Result<Node, PlanError> {
    let (folder, name) = path
        .rsplit_once('/')
        .filter(|(_, name)| !matches!(*name, "" | "." | ".."))
        .ok_or_else(|| PlanError::Path {
            what,
            path: path.to_owned(),
        })?;
    let folder = if folder.is_empty() { "/" } else { folder };
    let same_folder = folder == *last;
    *last = folder;
    Ok(Node {
        folder: place(what, folder)?,
        name: text(what, name)?,
        same_folder,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let place = place("x", "//a/./b/").expect("path");
        assert_eq!(place.path, c"/a/b".to_owned());
        assert_eq!(place.components.len(), 2);
        assert_eq!(place.components[0], (c"/a".to_owned(), c"a".to_owned()));
        assert!(super::place("x", "/a/../b").is_err());
        assert!(place_below("x", "/").is_err());
    }
}
