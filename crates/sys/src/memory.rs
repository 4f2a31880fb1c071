//! Giving memory back that a process at rest does not need.

use std::ffi::c_void;
use std::fs;
use std::io;

/// Lets go of the pages of the program's code that are mapped now, and of free heap.
///
/// A start-up runs through code that is never used again, and each fault maps the pages around it too. Whatever is
/// needed later comes back from the page cache by a minor fault: a few hundred microseconds in all.
///
/// # Errors
/// When the list of mappings can not be read.
pub fn give_back() -> io::Result<()> {
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let Some((start, length)) = code_of_a_file(line) else {
            continue;
        };
        // SAFETY: the range is a private mapping of a file that is never written: dropped pages are read from the
        // file again, with the same content. A refusal leaves everything as it was.
        unsafe { libc::madvise(start as *mut c_void, length, libc::MADV_DONTNEED) };
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: gives back heap that is free; safe to call from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
    Ok(())
}

/// Start and length of a mapping, when it is code of a file that nobody can have changed in memory.
fn code_of_a_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp";
    let inode = fields.nth(2)?;
    if !is_code || inode == "0" {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_let_go() {
        let code = "00563000-0111d000 r-xp 00362000 fe:00 10010685   /usr/bin/wharf";
        assert_eq!(
            code_of_a_file(code),
            Some((0x0056_3000, 0x0111_d000 - 0x0056_3000))
        );
        for other in [
            "0111d000-01129000 rw-p 00f1b000 fe:00 10010685   /usr/bin/wharf",
            "7fff0ff8c000-7fff0ff8e000 r-xp 00000000 00:00 0  [vdso]",
            "7f0000000000-7f0000021000 rw-p 00000000 00:00 0",
            "",
        ] {
            assert_eq!(code_of_a_file(other), None, "{other}");
        }
    }

    #[test]
    fn the_program_goes_on() {
        give_back().unwrap();
        assert_eq!((1..=10).sum::<u32>(), 55);
    }
}
