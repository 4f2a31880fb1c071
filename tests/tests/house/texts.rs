//! Rules about the words and shapes of the source itself.

use std::fs;
use std::path::{Path, PathBuf};

use crate::top;

/// A file longer than this is more than one thing.
const LONGEST: usize = 700;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with(".git") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&top(), &mut found);
    assert!(found.len() > 50, "the walk finds the sources");
    found
}

#[test]
fn no_module_is_a_bag() {
    let bags = ["utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs"];
    let wrong: Vec<_> = all()
        .into_iter()
        .filter(|path| bags.contains(&path.file_name().unwrap().to_str().unwrap()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_stay_readable() {
    let mut wrong = Vec::new();
    for path in all() {
        let text = fs::read_to_string(&path).unwrap();
        // Test modules at a file's end do not count.
        let lines = text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .count();
        let is_test = path.components().any(|part| part.as_os_str() == "tests");
        if lines > LONGEST && !is_test {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_stays_at_the_border() {
    let mut wrong = Vec::new();
    for path in all() {
        let place = path.strip_prefix(top()).unwrap().to_owned();
        let allowed = ["crates/sys", "crates/runtime", "crates/testkit", "bench"]
            .iter()
            .any(|border| place.starts_with(border));
        let is_test = place.components().any(|part| part.as_os_str() == "tests");
        let text = fs::read_to_string(&path).unwrap();
        if !allowed
            && !is_test
            && text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains("unsafe "))
        {
            wrong.push(place);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
