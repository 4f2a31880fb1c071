//! Archives made by other tools are loaded, ours are read by them, and bad ones leave nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod fixture;

use std::fs;
use std::io::Write;
use std::path::Path;

use fixture::{content_digest, names, noise, oci, run, run_in, skopeo_config_digest, umoci_layout};
use image::archive::{LoadOptions, Loaded, SaveImage, load, save};
use image::{ContentStore, ImageError};
use types::Digest;

fn load_file(path: &Path, store: &ContentStore) -> Result<Vec<Loaded>, ImageError> {
    load(
        fs::File::open(path).unwrap(),
        store,
        &LoadOptions::default(),
        |_| {},
    )
}

fn load_bytes(bytes: &[u8], store: &ContentStore) -> Result<Vec<Loaded>, ImageError> {
    load(bytes, store, &LoadOptions::default(), |_| {})
}

/// Every layer's blob holds what the configuration says, and nothing else is in the store.
fn check_store(store: &ContentStore, root: &Path, images: &[Loaded]) {
    let mut wanted = Vec::new();
    for image in images {
        assert_eq!(image.layers.len(), image.config.diff_ids().len());
        for (layer, diff_id) in image.layers.iter().zip(image.config.diff_ids()) {
            assert_eq!(content_digest(store.blob(&layer.digest).unwrap()), *diff_id);
            assert_eq!(store.size(&layer.digest), Some(layer.size));
            wanted.push(layer.digest);
        }
        assert_eq!(
            store.read(&image.config.digest(), 1 << 20).unwrap(),
            image.config.raw()
        );
        let manifest = store.read(&image.manifest.digest, 1 << 20).unwrap();
        assert_eq!(Digest::sha256(&manifest), image.manifest.digest);
        wanted.extend([image.config.digest(), image.manifest.digest]);
    }
    wanted.sort();
    wanted.dedup();
    let mut kept: Vec<Digest> = store.list().unwrap().into_iter().map(|(d, _)| d).collect();
    kept.sort();
    assert_eq!(kept, wanted);
    assert_eq!(names(&root.join("ingest")), Vec::<String>::new());
}

fn familiar(image: &Loaded) -> Vec<String> {
    image.refs.iter().map(types::Reference::familiar).collect()
}

#[test]
fn archives_of_skopeo_and_buildah_are_loaded() {
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let id = skopeo_config_digest(&oci(&layout));
    let at = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let docker = at("docker.tar");
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            &oci(&layout),
            &format!("docker-archive:{docker}:app:1"),
        ],
    );
    let plain_tag = at("oci.tar");
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            &oci(&layout),
            &format!("oci-archive:{plain_tag}:v1"),
        ],
    );
    let full_tag = at("named.tar");
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            &oci(&layout),
            &format!("oci-archive:{full_tag}:reg.example/a:2"),
        ],
    );
    let zstd = at("zstd.tar");
    let target = format!("oci-archive:{zstd}:app:zstd");
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            "--dest-compress-format",
            "zstd",
            &oci(&layout),
            &target,
        ],
    );
    let buildah = at("buildah.tar");
    let storage = [
        "--root",
        &at("buildah-root"),
        "--runroot",
        &at("buildah-run"),
        "--storage-driver",
        "vfs",
    ];
    // Relative, because buildah makes the path a name, and names have no capitals.
    run_in(
        temp.path(),
        "buildah",
        &[&storage[..], &["pull", "-q", "oci:layout:v1"]].concat(),
    );
    let image = run("buildah", &[&storage[..], &["images", "-q"]].concat());
    let target = format!("docker-archive:{buildah}:app:buildah");
    run(
        "buildah",
        &[&storage[..], &["push", "-q", image.trim(), &target]].concat(),
    );

    for (file, refs) in [
        (&docker, &["app:1"][..]),
        (&plain_tag, &[]),
        (&full_tag, &["reg.example/a:2"]),
        (&zstd, &["app:zstd"]),
        (&buildah, &["app:buildah"]),
    ] {
        let root = temp.path().join("store");
        let store = ContentStore::open(&root).unwrap();
        let images = load_file(Path::new(file), &store).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(images.len(), 1, "{file}");
        assert_eq!(familiar(&images[0]), refs, "{file}");
        assert_eq!(
            images[0].config.container().env.as_deref(),
            Some(&["A=b".to_owned()][..])
        );
        if *file != buildah {
            assert_eq!(images[0].config.digest(), id, "{file}");
        }
        check_store(&store, &root, &images);
        // Loading again changes nothing.
        load_file(Path::new(file), &store).unwrap();
        check_store(&store, &root, &images);
        fs::remove_dir_all(&root).unwrap();
    }
}

/// Writes tar archives as docker's older versions did.
struct Sample {
    builder: tar::Builder<Vec<u8>>,
}

impl Sample {
    fn new() -> Sample {
        Sample {
            builder: tar::Builder::new(Vec::new()),
        }
    }

    fn file(mut self, name: &str, data: &[u8]) -> Sample {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        self.builder.append_data(&mut header, name, data).unwrap();
        self
    }

    fn link(mut self, kind: tar::EntryType, name: &str, target: &str) -> Sample {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        self.builder.append_link(&mut header, name, target).unwrap();
        self
    }

    fn end(self) -> Vec<u8> {
        self.builder.into_inner().unwrap()
    }
}

fn config_for(layers: &[&[u8]]) -> String {
    let ids: Vec<String> = layers
        .iter()
        .map(|layer| format!("\"{}\"", Digest::sha256(layer)))
        .collect();
    format!(
        "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{{\"Cmd\":[\"x\"]}},\
         \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[{}]}}}}",
        ids.join(",")
    )
}

/// As `docker save` wrote before version 25: a folder a layer, equal layers as symbolic links,
/// layers before the manifest. Long ids go beyond tar's 100 characters.
fn legacy(layer: &[u8]) -> Vec<u8> {
    let config = config_for(&[layer, layer, b"hard"]);
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let manifest = format!(
        "[{{\"Config\":\"c.json\",\"RepoTags\":[\"app:1\",\"reg.example:5000/app:2\"],\
         \"Layers\":[\"{one}/layer.tar\",\"{two}/layer.tar\",\"{two}/hard.tar\"]}}]"
    );
    Sample::new()
        .file(&format!("{one}/VERSION"), b"1.0")
        .file(&format!("{one}/json"), b"{}")
        .file(&format!("{one}/layer.tar"), layer)
        .link(
            tar::EntryType::Symlink,
            &format!("{two}/layer.tar"),
            &format!("../{one}/layer.tar"),
        )
        .file("first-hard", b"hard")
        .link(
            tar::EntryType::Link,
            &format!("{two}/hard.tar"),
            "first-hard",
        )
        .file("c.json", config.as_bytes())
        .file("manifest.json", manifest.as_bytes())
        .file("repositories", b"{\"app\":{\"1\":\"x\"}}")
        .end()
}

#[test]
fn archives_of_older_dockers_are_loaded_with_links_and_compressed() {
    let layer = noise(3, 700_000);
    let archive = legacy(&layer);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).unwrap();
    for packed in [
        archive.clone(),
        gzip.finish().unwrap(),
        zstd::encode_all(&archive[..], 1).unwrap(),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let store = ContentStore::open(temp.path()).unwrap();
        let images = load_bytes(&packed, &store).unwrap();
        assert_eq!(familiar(&images[0]), ["app:1", "reg.example:5000/app:2"]);
        assert_eq!(images[0].layers[0].digest, images[0].layers[1].digest);
        check_store(&store, temp.path(), &images);
    }
}

#[test]
fn what_is_saved_is_read_by_skopeo_and_by_us() {
    let temp = tempfile::tempdir().unwrap();
    let layout = umoci_layout(temp.path());
    let at = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let (gzip, zstd) = (at("gzip.tar"), at("zstd.tar"));
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            &oci(&layout),
            &format!("oci-archive:{gzip}:app:gzip"),
        ],
    );
    let target = format!("oci-archive:{zstd}:app:zstd");
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            "--dest-compress-format",
            "zstd",
            &oci(&layout),
            &target,
        ],
    );
    let store = ContentStore::open(&temp.path().join("store")).unwrap();
    for (file, keeps_manifest) in [(&gzip, true), (&zstd, false)] {
        let loaded = load_file(Path::new(file), &store).unwrap().remove(0);
        let saved = at("saved.tar");
        let image = SaveImage {
            manifest: loaded.manifest.clone(),
            config: loaded.config.digest(),
            layers: loaded.layers.clone(),
            refs: vec![
                "app:1".parse().unwrap(),
                "reg.example/app:2".parse().unwrap(),
            ],
        };
        save(fs::File::create(&saved).unwrap(), &store, &[image]).unwrap();

        let other_root = temp.path().join("other");
        let other = ContentStore::open(&other_root).unwrap();
        let again = load_file(Path::new(&saved), &other).unwrap();
        assert_eq!(familiar(&again[0]), ["app:1", "reg.example/app:2"]);
        assert_eq!(again[0].config.digest(), loaded.config.digest());
        check_store(&other, &other_root, &again);
        fs::remove_dir_all(&other_root).unwrap();

        let id = loaded.config.digest();
        let name = format!("docker-archive:{saved}:app:1");
        assert_eq!(skopeo_config_digest(&name), id);
        let out = format!("oci:{}:x", at("from-docker"));
        run(
            "skopeo",
            &[
                "copy",
                "-q",
                &format!("docker-archive:{saved}:reg.example/app:2"),
                &out,
            ],
        );
        // skopeo writes the configuration anew here, with the same layers.
        let config = run("skopeo", &["inspect", "--config", "--raw", &out]);
        for diff_id in loaded.config.diff_ids() {
            assert!(config.contains(&diff_id.to_string()), "{config}");
        }
        fs::remove_dir_all(at("from-docker")).unwrap();
        let out = format!("oci:{}:x", at("from-oci"));
        run(
            "skopeo",
            &["copy", "-q", &format!("oci-archive:{saved}:1"), &out],
        );
        assert_eq!(skopeo_config_digest(&out), id);
        let copied = run("skopeo", &["inspect", "--raw", &out]);
        let same = Digest::sha256(copied.as_bytes()) == loaded.manifest.digest;
        assert_eq!(same, keeps_manifest);
        fs::remove_dir_all(at("from-oci")).unwrap();
    }
}

#[test]
fn saving_what_is_not_there_is_an_error_before_the_first_byte() {
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let layer = noise(5, 400_000);
    let loaded = load_bytes(&legacy(&layer), &store).unwrap().remove(0);
    store.remove(&Digest::sha256(&layer)).unwrap();
    let image = SaveImage {
        manifest: loaded.manifest.clone(),
        config: loaded.config.digest(),
        layers: loaded.layers.clone(),
        refs: Vec::new(),
    };
    let mut written = Vec::new();
    let error = save(&mut written, &store, &[image]).unwrap_err();
    assert!(matches!(error, ImageError::BlobMissing { .. }), "{error}");
    assert!(written.is_empty());
}

#[test]
fn layers_can_be_read_before_they_are_committed() {
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let archive = legacy(&noise(12, 400_000));
    let read =
        || image::archive::read(&archive[..], &store, &LoadOptions::default(), |_| {}).unwrap();
    let pending = read();
    for layer in &pending.images()[0].layers {
        assert_eq!(
            content_digest(pending.content(layer).unwrap()),
            layer.diff_id
        );
    }
    assert_eq!(store.list().unwrap(), []);
    drop(pending);
    assert_eq!(names(&temp.path().join("ingest")), Vec::<String>::new());
    let images = read().commit().unwrap();
    check_store(&store, temp.path(), &images);
    // What is in the store already is read from there.
    let again = read();
    for layer in &again.images()[0].layers {
        assert_eq!(content_digest(again.content(layer).unwrap()), layer.diff_id);
    }
}

/// Loads and expects a refusal that leaves nothing.
fn refused(archive: &[u8]) -> String {
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let error = load_bytes(archive, &store).map(|_| ()).unwrap_err();
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(names(&temp.path().join("ingest")), Vec::<String>::new());
    error.to_string()
}

#[test]
fn bad_archives_get_a_sentence_and_leave_nothing() {
    let layer = noise(4, 400_000);
    let good = legacy(&layer);
    let config = config_for(&[&layer]);
    let manifest = |layers: &str| {
        format!("[{{\"Config\":\"c.json\",\"RepoTags\":null,\"Layers\":[{layers}]}}]")
    };
    let with = |manifest: &str, layer: &[u8]| {
        Sample::new()
            .file("l.tar", layer)
            .file("c.json", config.as_bytes())
            .file("manifest.json", manifest.as_bytes())
            .end()
    };
    let damaged = noise(5, 400_000);
    for (archive, sentence) in [
        (b"".to_vec(), "unrecognized image format".to_owned()),
        (b"hello".to_vec(), "unexpected EOF".to_owned()),
        (
            vec![b'x'; 4096],
            "archive/tar: invalid tar header".to_owned(),
        ),
        (good[..good.len() / 2].to_vec(), "unexpected EOF".to_owned()),
        (
            Sample::new().file("x", b"y").end(),
            "unrecognized image format".to_owned(),
        ),
        (
            with("[", &layer),
            "invalid manifest.json in the archive: EOF while parsing".to_owned(),
        ),
        (
            with(&manifest(""), &layer),
            "invalid manifest, layers length mismatch: expected 1, got 0".to_owned(),
        ),
        (
            with(&manifest("\"gone.tar\""), &layer),
            "invalid archive: \"gone.tar\" is named but not there".to_owned(),
        ),
        (
            with(&manifest("\"../../../etc/passwd\""), &layer),
            "invalid archive: \"../../../etc/passwd\" is named but not there".to_owned(),
        ),
        (
            with(&manifest("\"l.tar\""), &damaged),
            format!(
                "invalid diffID for layer 0: expected \"{}\", got \"{}\"",
                Digest::sha256(&layer),
                Digest::sha256(&damaged)
            ),
        ),
        (
            b"\xfd7zXZ\0 and so on".to_vec(),
            "cannot read the archive: ".to_owned(),
        ),
        (
            b"BZh9 and so on".to_vec(),
            "cannot read the archive: ".to_owned(),
        ),
        (
            b"\x1f\x8bnot gzip at all".to_vec(),
            "cannot read the archive: ".to_owned(),
        ),
    ] {
        let told = refused(&archive);
        assert!(
            told.starts_with(&sentence),
            "{told:?} instead of {sentence:?}"
        );
    }
    let looped = Sample::new()
        .link(tar::EntryType::Symlink, "a", "b")
        .link(tar::EntryType::Symlink, "b", "a")
        .file("c.json", config.as_bytes())
        .file("manifest.json", manifest("\"a\"").as_bytes())
        .end();
    assert!(refused(&looped).contains("\"a\" is named but not there"));
}

#[test]
fn what_an_archive_holds_in_memory_is_limited() {
    let mut named = Sample::new();
    for number in 0..300 {
        named = named.file(&format!("{number:060000}"), b"");
    }
    assert_eq!(
        refused(&named.end()),
        "the archive has more than 16777216 bytes of names"
    );
    let mut linked = Sample::new();
    for number in 0..300 {
        let target = format!("{number:060000}");
        linked = linked.link(tar::EntryType::Symlink, &number.to_string(), &target);
    }
    assert_eq!(
        refused(&linked.end()),
        "the archive has more than 16777216 bytes of names"
    );
    // Many images name one file.
    let layer = noise(4, 4000);
    let named = |config: &str| {
        let image = "{\"Config\":\"c.json\",\"RepoTags\":null,\"Layers\":[\"l.tar\"]}";
        Sample::new()
            .file("l.tar", &layer)
            .file("c.json", config.as_bytes())
            .file(
                "manifest.json",
                format!("[{}]", [image; 100].join(",")).as_bytes(),
            )
            .end()
    };
    let config = config_for(&[&layer]);
    let padded = format!("{config}{}", " ".repeat(1 << 20));
    let steps = format!("[{}]", ["{}"; 10_000].join(","));
    let long = config.replacen('{', &format!("{{\"history\":{steps},"), 1);
    for config in [padded, long] {
        assert_eq!(
            refused(&named(&config)),
            "the archive has more than 67108864 bytes of configurations and manifests"
        );
    }
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let archive = named(&config);
    let pending =
        image::archive::read(&archive[..], &store, &LoadOptions::default(), |_| {}).unwrap();
    // A configuration, a manifest and a layer, however many images have them.
    assert_eq!(files_in(temp.path()), 3);
    assert_eq!(pending.commit().unwrap().len(), 100);
}

#[test]
fn an_archive_may_end_where_its_last_content_does() {
    let layer = noise(4, 4000);
    let config = config_for(&[&layer]);
    let manifest = "[{\"Config\":\"c.json\",\"RepoTags\":null,\"Layers\":[\"l.tar\"]}]";
    let whole = Sample::new()
        .file("c.json", config.as_bytes())
        .file("manifest.json", manifest.as_bytes())
        .file("l.tar", &layer)
        .end();
    // 4,000 bytes leave 96 of their last block.
    let end = whole.len() - 1024 - 96;
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    assert_eq!(load_bytes(&whole[..end], &store).unwrap().len(), 1);
    assert_eq!(refused(&whole[..end - 1]), "unexpected EOF");
}

/// How many files without a name this process has open in a folder.
fn files_in(folder: &Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| target.starts_with(folder)).count()
}

#[test]
fn layouts_with_wrong_blobs_are_refused() {
    let layer = noise(6, 300_000);
    let config = config_for(&[&layer]);
    let blob = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
    let (layer_id, config_id) = (Digest::sha256(&layer), Digest::sha256(config.as_bytes()));
    let manifest = format!(
        "{{\"schemaVersion\":2,\"config\":{{\"digest\":\"{config_id}\",\"size\":{}}},\
         \"layers\":[{{\"digest\":\"{layer_id}\",\"size\":300000}}]}}",
        config.len()
    );
    let manifest_id = Digest::sha256(manifest.as_bytes());
    let index = format!("{{\"manifests\":[{{\"digest\":\"{manifest_id}\",\"size\":1}}]}}");
    let with = |manifest: &str, layer: &[u8]| {
        Sample::new()
            .file("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}")
            .file("index.json", index.as_bytes())
            .file(&blob(manifest_id), manifest.as_bytes())
            .file(&blob(config_id), config.as_bytes())
            .file(&blob(layer_id), layer)
            .end()
    };
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let images = load_bytes(&with(&manifest, &layer), &store).unwrap();
    check_store(&store, temp.path(), &images);
    let wrong_layer = refused(&with(&manifest, b"something else"));
    assert!(wrong_layer.contains(&layer_id.to_string()), "{wrong_layer}");
    let longer = manifest.replace("300000", "300001");
    let longer_id = Digest::sha256(longer.as_bytes());
    let wrong_size = Sample::new()
        .file(
            "index.json",
            index
                .replace(&manifest_id.hex(), &longer_id.hex())
                .as_bytes(),
        )
        .file(&blob(longer_id), longer.as_bytes())
        .file(&blob(config_id), config.as_bytes())
        .file(&blob(layer_id), &layer)
        .end();
    assert_eq!(
        refused(&wrong_size),
        format!("blob {layer_id} has 300000 bytes instead of 300001")
    );
    let wrong_manifest = refused(&with(&format!("{manifest} "), &layer));
    assert!(
        wrong_manifest.contains(&manifest_id.to_string()),
        "{wrong_manifest}"
    );
}

#[test]
fn a_platform_that_is_asked_for_must_be_there() {
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let archive = legacy(&noise(8, 1000));
    let options = |platform: &str| LoadOptions {
        platforms: platform
            .split(' ')
            .map(|one| one.parse().unwrap())
            .collect(),
        ..LoadOptions::default()
    };
    let both = options("linux/s390x linux/arm64");
    let error = load(&archive[..], &store, &both, |_| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the archive has no image for linux/s390x or linux/arm64"
    );
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(
        load(
            &archive[..],
            &store,
            &options("linux/s390x linux/amd64"),
            |_| {}
        )
        .unwrap()
        .len(),
        1
    );
}

#[test]
fn a_large_archive_stops_at_the_limit() {
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let archive = legacy(&noise(8, 1_000_000));
    let options = LoadOptions {
        limit: 500_000,
        ..LoadOptions::default()
    };
    let error = load(&archive[..], &store, &options, |_| {}).unwrap_err();
    assert!(
        error.to_string().contains("larger than 500000 bytes"),
        "{error}"
    );
    assert_eq!(names(&temp.path().join("ingest")), Vec::<String>::new());
}

/// Thousands of damaged archives: cut anywhere, and with bytes changed anywhere. Whatever is
/// answered, nothing panics, nothing stays after a refusal, and what is accepted is right.
#[test]
fn damaged_archives_never_do_harm() {
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    let good = legacy(&noise(9, 2000));
    let check = |archive: &[u8]| match load_bytes(archive, &store) {
        Ok(images) => {
            check_store(&store, temp.path(), &images);
            for (digest, _) in store.list().unwrap() {
                store.remove(&digest).unwrap();
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(store.list().unwrap(), []);
        }
    };
    for cut in (0..good.len()).step_by(97) {
        check(&good[..cut]);
    }
    let places = noise(11, 3000 * 8);
    for place in places.chunks_exact(8) {
        let mut damaged = good.clone();
        let at = usize::from(u16::from_le_bytes([place[0], place[1]])) * 7 % damaged.len();
        damaged[at] ^= place[2] | 1;
        // Documents are where parsers are: two more changes near the end.
        let tail = damaged.len() - 1 - usize::from(place[3]) * 16 % damaged.len();
        damaged[tail] = place[4];
        check(&damaged);
    }
}
