use super::*;

fn digest(n: u8) -> Digest {
    Digest::sha256(&[n])
}

fn descriptor(n: u8, extra: &str) -> String {
    format!("{{\"digest\":\"{}\",\"size\":{n}{extra}}}", digest(n))
}

fn index(text: &str) -> Index {
    match parse(text.as_bytes(), None).unwrap() {
        Document::Index(index) => index,
        Document::Manifest(_) => panic!("a manifest"),
    }
}

#[test]
fn the_kind_comes_from_the_fields_when_the_type_is_missing() {
    let text = format!(
        "{{\"config\":{},\"layers\":[{}]}}",
        descriptor(1, ""),
        descriptor(2, "")
    );
    let Document::Manifest(manifest) = parse(text.as_bytes(), None).unwrap() else {
        panic!("an index")
    };
    assert_eq!(manifest.media_type, media_type::OCI_MANIFEST);
    assert_eq!(manifest.layers[0].digest, digest(2));
    let docker = format!("{}; charset=utf-8", media_type::DOCKER_MANIFEST);
    let Document::Manifest(manifest) = parse(text.as_bytes(), Some(&docker)).unwrap() else {
        panic!("an index")
    };
    assert_eq!(manifest.media_type, media_type::DOCKER_MANIFEST);
    manifest.check_image().unwrap();
    let again = parse(&manifest.to_json().unwrap(), None).unwrap();
    assert_eq!(again, Document::Manifest(manifest));
}

#[test]
fn a_document_of_two_meanings_is_refused() {
    let text = format!("{{\"config\":{},\"manifests\":[]}}", descriptor(1, ""));
    let error = parse(text.as_bytes(), None).unwrap_err();
    assert!(
        error.to_string().contains("of a manifest and of an index"),
        "{error}"
    );
}

#[test]
fn limits_are_kept() {
    let layers = vec![descriptor(2, ""); MAX_LAYERS + 1].join(",");
    let text = format!("{{\"config\":{},\"layers\":[{layers}]}}", descriptor(1, ""));
    let error = parse(text.as_bytes(), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "max depth exceeded: the image has 128 layers, at most 127 are possible"
    );
    let entries = vec![descriptor(2, ""); MAX_INDEX_ENTRIES + 1].join(",");
    let error = parse(format!("{{\"manifests\":[{entries}]}}").as_bytes(), None).unwrap_err();
    assert!(matches!(
        error,
        ManifestError::TooManyEntries { count: 1025 }
    ));
    let deep = format!("{{\"config\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(matches!(
        parse(deep.as_bytes(), None),
        Err(ManifestError::Json { .. })
    ));
}

#[test]
fn other_documents_are_named() {
    assert!(matches!(
        parse(b"{\"schemaVersion\":1}", None),
        Err(ManifestError::Schema1)
    ));
    assert!(matches!(
        parse(b"{}", None),
        Err(ManifestError::Form { .. })
    ));
    for text in [
        "",
        "null",
        "[]",
        "<html>",
        "{\"config\":1}",
        "{\"layers\":{}}",
    ] {
        assert!(parse(text.as_bytes(), None).is_err(), "{text}");
    }
    let chart = ",\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\"";
    let text = format!("{{\"config\":{},\"layers\":null}}", descriptor(1, chart));
    let Document::Manifest(manifest) = parse(text.as_bytes(), None).unwrap() else {
        panic!("an index")
    };
    assert_eq!(
        manifest.check_image().unwrap_err().to_string(),
        "Encountered remote \"application/vnd.cncf.helm.config.v1+json\"(unknown) when fetching"
    );
}

#[test]
fn the_best_platform_is_selected() {
    let entry = |n, os: &str, arch: &str, variant: &str| {
        let platform = format!(
            ",\"platform\":{{\"os\":\"{os}\",\"architecture\":\"{arch}\",\"variant\":\"{variant}\"}}"
        );
        descriptor(n, &platform)
    };
    let list = [
        entry(1, "unknown", "unknown", ""),
        entry(2, "linux", "386", ""),
        entry(3, "linux", "amd64", ""),
        entry(4, "linux", "arm", "v6"),
        entry(5, "linux", "arm64", "v8"),
    ];
    let index = index(&format!("{{\"manifests\":[{}]}}", list.join(",")));
    let select = |wanted: &str| {
        index
            .select(&wanted.parse().unwrap())
            .map(|entry| entry.size)
            .map_err(|e| e.to_string())
    };
    assert_eq!(select("linux/amd64"), Ok(3));
    assert_eq!(select("linux/386"), Ok(2));
    assert_eq!(select("linux/arm/v7"), Ok(4));
    assert_eq!(select("linux/arm64"), Ok(5));
    assert_eq!(
        select("linux/s390x"),
        Err("no matching manifest for linux/s390x in the manifest list entries".to_owned())
    );
}

#[test]
fn a_single_entry_without_platform_is_taken() {
    let index = index(&format!("{{\"manifests\":[{}]}}", descriptor(9, "")));
    assert_eq!(index.select(&Platform::host()).unwrap().size, 9);
}

/// Every cut and many changes of real documents: an answer, never a panic.
#[test]
fn damaged_documents_are_answered() {
    let entry = ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}";
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"config\":{},\"layers\":[{}]}}",
        media_type::DOCKER_MANIFEST,
        descriptor(1, ""),
        descriptor(2, "")
    );
    let index = format!("{{\"manifests\":[{}]}}", descriptor(3, entry));
    let config = format!(
        "{{\"os\":\"linux\",\"config\":{{\"Cmd\":[\"x\"],\"Volumes\":{{\"/v\":{{}}}}}},\
         \"rootfs\":{{\"diff_ids\":[\"{}\"]}},\"history\":[{{\"empty_layer\":true}}]}}",
        digest(1)
    );
    let mut accepted = 0;
    for document in [manifest, index, config] {
        let bytes = document.as_bytes();
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut], None).is_err());
            assert!(crate::ImageConfig::parse(bytes[..cut].to_vec()).is_err());
        }
        for at in 0..bytes.len() {
            for change in [b'"', b'{', b'[', b'0', b'-', b',', 0, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[at] = change;
                if let Ok(Document::Manifest(manifest)) = parse(&damaged, None) {
                    accepted += u32::from(manifest.check_image().is_ok());
                }
                if let Ok(config) = crate::ImageConfig::parse(damaged) {
                    accepted += u32::from(config.chain_ids().len() < 2);
                }
            }
        }
    }
    assert!(accepted > 0, "some changes do no harm");
}
