//! Manifests, indexes and configurations of images.
#![no_main]

use image::manifest::{Document, parse};
use types::Platform;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match parse(bytes, None) {
        Ok(Document::Manifest(manifest)) => {
            let _ = manifest.check_image();
            let _ = manifest.to_json();
        }
        Ok(Document::Index(index)) => {
            let _ = index.select(&Platform::host());
        }
        Err(_) => {}
    }
    if let Ok(config) = image::ImageConfig::parse(bytes.to_vec()) {
        assert_eq!(config.chain_ids().len(), config.diff_ids().len());
        let _ = (config.platform(), config.container());
    }
});
