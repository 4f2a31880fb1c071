//! What every container of the bench runs: without an argument it ends with 0, as true(1) does. Rust's own start-up is
//! left out, so that this costs what C's `true` does.
//!
//! `say BYTES` prints so many bytes in lines of 100, `change FILES` makes so many files of 1 KiB in folders of 100;
//! any other argument has it sleep until it is killed.
#![no_main]

use std::ffi::CStr;

/// The C runtime's way in.
// SAFETY: the only function of this name, with the signature that the C runtime calls.
#[unsafe(no_mangle)]
extern "C" fn main(count: libc::c_int, values: *const *const libc::c_char) -> libc::c_int {
    if count <= 1 {
        return 0;
    }
    let value = |at: usize| {
        // SAFETY: the kernel made `count` strings.
        let text = (at < count as usize).then(|| unsafe { CStr::from_ptr(*values.add(at)) });
        text.and_then(|text| text.to_str().ok()).unwrap_or("")
    };
    let number = value(2).parse().unwrap_or(0);
    match value(1) {
        "say" => say(number),
        "change" => change(number),
        _ => loop {
            // SAFETY: waits for a signal, and touches no memory.
            unsafe { libc::pause() };
        },
    }
}

/// Lines of 100 bytes, many in a write.
fn say(mut bytes: usize) -> libc::c_int {
    let mut lines = [b'x'; 10_000];
    for line in lines.chunks_mut(100) {
        line[99] = b'\n';
    }
    while bytes > 0 {
        let part = bytes.min(lines.len());
        // SAFETY: writes what is there.
        let wrote = unsafe { libc::write(1, lines.as_ptr().cast(), part) };
        let Ok(wrote) = usize::try_from(wrote) else {
            return 1;
        };
        bytes -= wrote;
    }
    0
}

/// Files `/changed/FOLDER/NUMBER`.
fn change(files: usize) -> libc::c_int {
    let made = (0..files).try_for_each(|file| {
        let folder = format!("/changed/{}", file / 100);
        if file % 100 == 0 {
            std::fs::create_dir_all(&folder)?;
        }
        std::fs::write(format!("{folder}/{file}"), [b'x'; 1024])
    });
    libc::c_int::from(made.is_err())
}
