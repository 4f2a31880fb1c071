//! Which crate may know which: the map in ARCHITECTURE.md, kept by the manifests.

use std::collections::BTreeSet;

use crate::metadata;

/// Each crate with the workspace's crates that it may depend on.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("types", &[]),
    ("api-types", &["types"]),
    ("runtime", &["sys", "types"]),
    ("archive", &["sys"]),
    ("tls", &[]),
    ("snapshot", &["sys", "types", "archive"]),
    ("image", &["sys", "types", "tls"]),
    ("network", &["sys", "types"]),
    ("net", &["sys"]),
    ("volume", &["sys", "types"]),
    ("shim", &["sys", "types", "runtime"]),
    ("build", &["sys", "types", "image", "snapshot"]),
    (
        "engine",
        &[
            "sys",
            "types",
            "api-types",
            "runtime",
            "shim",
            "archive",
            "image",
            "snapshot",
            "network",
            "net",
            "volume",
            "build",
        ],
    ),
    ("api", &["sys", "types", "api-types", "engine"]),
    ("client", &["sys", "types", "api-types", "archive", "tls"]),
    ("isolation", &["runtime"]),
    ("oci", &["sys", "types", "runtime"]),
    ("daemon", &["sys", "api", "engine"]),
    ("testkit", &["types"]),
    // The program, tests and measures, which nobody may know.
    (
        "wharf",
        &[
            "client",
            "daemon",
            "image",
            "isolation",
            "net",
            "oci",
            "shim",
            "sys",
            "types",
        ],
    ),
    ("tests", &[]),
    ("floor", &[]),
    ("bench", &["runtime", "sys", "testkit"]),
];

#[test]
fn no_crate_knows_more_than_the_map_says() {
    let metadata = metadata();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        // Only the workspace's own packages have no registry behind them.
        if !package["source"].is_null() {
            continue;
        }
        let name = package["name"].as_str().unwrap();
        let name = name.strip_prefix("wharf-").unwrap_or(name);
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(crate_name, _)| *crate_name == name) else {
            wrong.push(format!("{name} is not on the map"));
            continue;
        };
        seen.insert(name.to_owned());
        for dependency in package["dependencies"].as_array().unwrap() {
            let test_only = dependency["kind"] == "dev";
            let Some(known) = dependency["name"].as_str().unwrap().strip_prefix("wharf-") else {
                continue;
            };
            if !dependency["path"].is_null() && !test_only && !allowed.contains(&known) {
                wrong.push(format!("{name} must not know {known}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let listed: BTreeSet<_> = MAY_KNOW
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(seen, listed, "every crate of the map is in the workspace");
}

#[test]
fn synchronous_crates_stay_free_of_the_async_runtime() {
    for package in metadata()["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if [
            "wharf-sys",
            "wharf-runtime",
            "wharf-shim",
            "wharf-archive",
            "wharf-snapshot",
            "wharf-volume",
            "wharf-network",
            "wharf-oci",
        ]
        .contains(&name)
        {
            let dependencies = package["dependencies"].as_array().unwrap();
            let tokio = dependencies
                .iter()
                .any(|one| one["name"] == "tokio" && one["kind"] != "dev");
            assert!(!tokio, "{name} must not know tokio");
        }
    }
}
