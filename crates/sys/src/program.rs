//! The running program's own file.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::Errno;

use crate::process::{Result, outcome};

/// A program has a handful of segments.
const MAX_SEGMENTS: u64 = 64;
/// Fields of /proc/PID/stat (proc(5)) behind the name, from the state on: all up to `env_end`.
const STAT_FIELDS: usize = 49;

/// `struct prctl_mm_map` of linux/prctl.h: where the kernel takes a process's parts to be.
#[repr(C)]
#[derive(Debug, Default)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Part of this program that the kernel mapped from its file.
#[derive(Debug, Clone, Copy)]
struct Segment {
    address: usize,
    length: usize,
    offset: i64,
    protection: i32,
}

impl Segment {
    fn is_writable(self) -> bool {
        self.protection & libc::PROT_WRITE != 0
    }
}

/// Goes on as if the process had been executed from `file`: the file that it was executed from, by another mount.
///
/// # Errors
/// The kernel's answer; the process goes on as before. EPERM without CAP_SYS_ADMIN and CAP_CHECKPOINT_RESTORE, EINVAL from a
/// kernel without checkpoints, EXDEV for another file, and EBUSY when there are other threads.
pub fn take_up(file: BorrowedFd<'_>) -> Result<()> {
    let (own, given) = (
        rustix::fs::stat("/proc/self/exe")?,
        rustix::fs::fstat(file)?,
    );
    if (own.st_dev, own.st_ino) != (given.st_dev, given.st_ino) {
        return Err(Errno::XDEV);
    }
    // A link for each thread, beside its own two (proc(5)).
    if rustix::fs::stat("/proc/self/task")?.st_nlink != 3 {
        return Err(Errno::BUSY);
    }
    // SAFETY: this is the only thread, so that nobody makes another meanwhile, and the file is its program's.
    unsafe { run_from(file) }
}

/// Makes `file` the program of this process in place of the one that it was executed from, as if it had been executed from
/// there: /proc/PID/exe leads there afterwards, for children that do not execute another program too. It costs a tenth of
/// an execve.
///
/// The kernel takes another file only when nothing of the first is mapped any more: the code is mapped anew, and data that
/// may have changed becomes memory without a file.
///
/// # Errors
/// As [`take_up`].
///
/// # Safety
/// The process has one thread. `file` is its program: the same file, by another mount or as a sealed copy.
unsafe fn run_from(file: BorrowedFd<'_>) -> Result<()> {
    let mut map = parts()?;
    let bias = bias()?;
    map.exe_fd = file.as_raw_fd().cast_unsigned();
    for header in headers()? {
        if header.p_type != libc::PT_LOAD || header.p_filesz == 0 {
            continue;
        }
        let segment = segment(header, bias);
        // SAFETY: what is mapped in its place has the same bytes, and no other thread changes them meanwhile.
        unsafe { replace(segment, file)? };
    }
    for header in headers()? {
        if header.p_type == libc::PT_GNU_RELRO {
            // SAFETY: these pages were read-only before, and are mapped.
            unsafe { protect(header, bias)? };
        }
    }
    let size = size_of::<MemoryMap>();
    // SAFETY: the structure is the kernel's, of that size.
    let answer = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::PR_SET_MM_MAP,
            &raw const map,
            size,
            0,
        )
    };
    outcome(answer.into()).map(drop)
}

/// The program's headers, as the kernel has put them into memory.
fn headers() -> Result<&'static [libc::Elf64_Phdr]> {
    // SAFETY: reads a list that the kernel made.
    let (at, count) = unsafe {
        (
            libc::getauxval(libc::AT_PHDR),
            libc::getauxval(libc::AT_PHNUM),
        )
    };
    if at == 0 || count > MAX_SEGMENTS {
        return Err(Errno::NOEXEC);
    }
    // SAFETY: the kernel says that so many are there; they are never changed.
    Ok(unsafe { std::slice::from_raw_parts(at as *const libc::Elf64_Phdr, count as usize) })
}

/// By how much the program lies above where its headers say.
fn bias() -> Result<u64> {
    let headers = headers()?;
    let own = headers.iter().find(|header| header.p_type == libc::PT_PHDR);
    let own = own.ok_or(Errno::NOEXEC)?;
    Ok((headers.as_ptr() as u64).wrapping_sub(own.p_vaddr))
}

/// Puts `count` bytes' worth of pages around an address: where they begin, and how many bytes they are.
fn pages(address: u64, count: u64) -> (u64, u64) {
    let size = rustix::param::page_size() as u64;
    let start = address & !(size - 1);
    (start, (address + count).next_multiple_of(size) - start)
}

/// What the kernel mapped from the file for a header.
fn segment(header: &libc::Elf64_Phdr, bias: u64) -> Segment {
    let (start, length) = pages(bias.wrapping_add(header.p_vaddr), header.p_filesz);
    let (offset, _) = pages(header.p_offset, 0);
    let flag = |bit, protection| {
        if header.p_flags & bit != 0 {
            protection
        } else {
            0
        }
    };
    Segment {
        address: start as usize,
        length: length as usize,
        offset: offset.cast_signed(),
        protection: flag(libc::PF_R, libc::PROT_READ)
            | flag(libc::PF_W, libc::PROT_WRITE)
            | flag(libc::PF_X, libc::PROT_EXEC),
    }
}

/// Maps a segment from `file`, or one that may have been written to from nowhere, with the bytes that it has.
///
/// # Safety
/// As for [`run_from`].
unsafe fn replace(segment: Segment, file: BorrowedFd<'_>) -> Result<()> {
    let Segment {
        address,
        length,
        offset,
        protection,
    } = segment;
    if !segment.is_writable() {
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
        let place = address as *mut c_void;
        // SAFETY: what lies there has the same bytes, and is replaced at once.
        let mapped =
            unsafe { libc::mmap(place, length, protection, flags, file.as_raw_fd(), offset) };
        return outcome(mapped as i64).map(drop);
    }
    // All of it is written to at once: a page at a time would be as many faults.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    // SAFETY: new memory.
    let copy = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    outcome(copy as i64)?;
    // SAFETY: both are mapped for as many bytes and do not overlap. Until the copy lies in the place of what was copied
    // nothing is written there: there is no other thread, and these two calls write to the stack alone, or to the error
    // number, which is on the heap, when the second has failed.
    let moved = unsafe {
        ptr::copy_nonoverlapping(address as *const u8, copy.cast::<u8>(), length);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        libc::mremap(copy, length, length, flags, address as *mut c_void)
    };
    outcome(moved as i64).map(drop)
}

/// Makes read-only again what was so since the program began.
///
/// # Safety
/// The pages are mapped, and nobody writes to them.
unsafe fn protect(header: &libc::Elf64_Phdr, bias: u64) -> Result<()> {
    let size = rustix::param::page_size() as u64;
    let start = bias.wrapping_add(header.p_vaddr) & !(size - 1);
    let end = bias.wrapping_add(header.p_vaddr + header.p_memsz) & !(size - 1);
    let length = end.saturating_sub(start) as usize;
    // SAFETY: see above.
    let answer = unsafe { libc::mprotect(start as *mut c_void, length, libc::PROT_READ) };
    outcome(answer.into()).map(drop)
}

/// Where the kernel takes the parts of this process to be now.
fn parts() -> Result<MemoryMap> {
    let text = crate::procfs::read("/proc/self/stat")
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut map = parse(&text).ok_or(Errno::PROTO)?;
    // SAFETY: asks, and changes nothing.
    map.brk = unsafe { libc::sbrk(0) } as u64;
    Ok(map)
}

/// The numbers of a text of the form of /proc/PID/stat, but for `brk`, which it has not.
fn parse(text: &[u8]) -> Option<MemoryMap> {
    // The name before may contain anything, but no number follows it that ends so.
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(name_end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(STAT_FIELDS).collect();
    // proc(5) counts from 1, and the state is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(MemoryMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_stack: field(28)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        arg_start: field(48)?,
        arg_end: field(49)?,
        env_start: field(50)?,
        env_end: field(51)?,
        ..MemoryMap::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_behind_any_name() {
        let mut text = "77 (a) b (c) S".to_owned();
        for number in 4..=52 {
            text.push_str(&format!(" {number}"));
        }
        let map = parse(text.as_bytes()).unwrap();
        assert_eq!((map.start_code, map.start_stack), (26, 28));
        assert_eq!((map.start_brk, map.env_end), (47, 51));
        assert!(parse(b"77 (a) S 1 2 3").is_none());
    }

    #[test]
    fn pages_are_whole() {
        let size = rustix::param::page_size() as u64;
        assert_eq!(pages(size + 1, 1), (size, size));
        assert_eq!(pages(size - 1, 2), (0, 2 * size));
    }
}
