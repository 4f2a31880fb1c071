//! `load` and `pull`: 8 layers with 60,000 files.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use testkit::Registry;

use crate::measure::{Variant, in_turns};
use crate::rows::files::settle;
use crate::rows::{Bench, must};
use crate::setup::own;

const LAYERS: usize = 8;
/// In each.
const FILES: usize = 7_500;
const NAME: &str = "manyfiles:latest";

/// Time from start to exit of `load -q -i`, the image being removed after each.
pub(crate) fn load(bench: &Bench) {
    let archive = archive(bench);
    let path = archive.to_str().unwrap();
    compare(bench, "load", &["load", "-q", "-i", path], NAME);
}

/// Time from start to exit of `pull -q` from a registry on each engine's own loopback device.
pub(crate) fn pull(bench: &Bench) {
    let archive = archive(bench);
    let registries: Vec<_> = bench
        .engines()
        .map(|(_, engine)| {
            let registry = Registry::start(engine.sandbox(), &engine.folder());
            let name = registry.push(engine.sandbox(), &archive, NAME);
            (registry, name)
        })
        .collect();
    let name = &registries[0].1;
    compare(bench, "pull", &["pull", "-q", name], name);
}

/// Takes turns with a command that brings an image, which is removed after each.
fn compare(bench: &Bench, verb: &str, args: &[&str], image: &str) {
    let names: Vec<_> = bench
        .engines()
        .map(|(name, _)| format!("{name} {verb}"))
        .collect();
    let mut variants: Vec<_> = bench
        .engines()
        .zip(&names)
        .map(|((_, engine), name)| {
            Variant::new(name, 1, move |_, _| {
                let took = crate::measure::time(own(engine, args));
                must(engine, &["rmi", "-f", image]);
                settle(engine);
                vec![took]
            })
        })
        .collect();
    let files = LAYERS * bench.share(FILES);
    in_turns(
        &format!("{verb} of {LAYERS} layers, {files} files"),
        bench.few(),
        crate::measure::SPACED,
        &mut variants,
    );
}

/// The archive, which is written once.
fn archive(bench: &Bench) -> PathBuf {
    let path = bench.wharf.folder().join("manyfiles.tar");
    if !path.exists() {
        write_archive(&path, bench.share(FILES));
    }
    path
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One layer: files of 0 to 8 KiB whose bytes differ, 75 to a folder.
fn layer(number: usize, files: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut state = number as u32 + 1;
    for file in 0..files {
        let size = (file * 37) % 8192;
        let content: Vec<u8> = (0..size)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(size as u64);
        let path = format!("data/{number}/{}/{file}", file / 75);
        tar.append_data(&mut header, path, content.as_slice())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

fn write_archive(path: &Path, files: usize) {
    let mut archive = tar::Builder::new(BufWriter::new(File::create(path).unwrap()));
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, content).unwrap();
    };
    let mut names = Vec::new();
    let mut digests = Vec::new();
    for number in 0..LAYERS {
        let layer = layer(number, files);
        names.push(format!("{number}.tar"));
        digests.push(format!("sha256:{}", hex(&layer)));
        add(&names[number], &layer);
    }
    let history: Vec<_> = (0..LAYERS)
        .map(|_| serde_json::json!({"created": "2024-01-01T00:00:00Z", "created_by": "bench"}))
        .collect();
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": history,
    })
    .to_string();
    let config_name = format!("{}.json", hex(config.as_bytes()));
    add(&config_name, config.as_bytes());
    let manifest =
        serde_json::json!([{"Config": config_name, "RepoTags": [NAME], "Layers": names}]);
    add("manifest.json", manifest.to_string().as_bytes());
    archive.into_inner().unwrap();
}
