//! Everything that the program is built from may be given away under permissive terms.

use crate::metadata;

/// Licences that the program may contain. One of an `OR` is enough.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    // As permissive as the BSD licences.
    "bzip2-1.0.6",
];

#[test]
fn every_dependency_has_a_permissive_licence() {
    let mut wrong = Vec::new();
    for package in metadata()["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or("none");
        if !permissive(licence) {
            wrong.push(format!("{}: {licence}", package["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// An SPDX expression, in which old manifests write `/` for `OR`: every part of an `AND` needs
/// an allowed one of its `OR`.
fn permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let all = expression
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|one| ALLOWED.contains(&one.trim())));
    // `A OR B AND C` without brackets reads as A or (B and C): one permissive alternative is enough.
    all || (expression.contains(" OR ")
        && expression.split(" OR ").any(|one| {
            one.split(" AND ")
                .all(|part| ALLOWED.contains(&part.trim()))
        }))
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    assert!(permissive("MIT OR GPL-3.0"));
    assert!(permissive("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(permissive("Apache-2.0/MIT"));
    assert!(!permissive("GPL-2.0"));
    assert!(!permissive("MIT AND GPL-2.0"));
    assert!(!permissive("none"));
}
