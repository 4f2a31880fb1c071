//! How long large layers take. Figures are printed, not asserted: `cargo test --release --test speed -- --nocapture`.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::time::Instant;

use fixture::{Scratch, Tar};

/// So many layers are unpacked side by side.
const AT_A_TIME: usize = 2;

/// As a distribution's files are: many small ones, some of two pages.
fn layer(layer: usize, files: usize) -> Vec<u8> {
    let mut tar = Tar::new();
    let content = "x".repeat(6000);
    for number in 0..files {
        if number % 20 == 0 {
            tar = tar.dir(&format!("usr/l{layer}/d{}", number / 20));
        }
        let size = [200, 900, 3000, 500, 1500, 6000, 400, 0, 800, 4000][number % 10];
        tar = tar.file(
            &format!("usr/l{layer}/d{}/file{number}", number / 20),
            &content[..size],
        );
    }
    tar.done()
}

#[test]
fn sixty_thousand_files() {
    let archives: Vec<_> = (0..8).map(|number| layer(number, 7500)).collect();
    let bytes: usize = archives.iter().map(Vec::len).sum();
    let scratch = Scratch::new();
    let begun = Instant::now();
    let queue = std::sync::Mutex::new(archives.iter().enumerate());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some((number, archive)) = queue.lock().unwrap().next() else {
                        break;
                    };
                    scratch.unpack(number as u64 + 1, &[], archive).unwrap();
                }
            });
        }
    });
    let unpacked = begun.elapsed();
    let begun = Instant::now();
    for number in 1..=8 {
        scratch.store.remove(number).unwrap();
    }
    println!(
        "8 layers, 60,000 files, {} MB, {AT_A_TIME} at a time: unpacked in {} ms, removed in {} ms",
        bytes / 1_000_000,
        unpacked.as_millis(),
        begun.elapsed().as_millis(),
    );
}
