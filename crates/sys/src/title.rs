//! What lists of processes show as this process's command line.
//!
//! The kernel reads it from the process's own memory, where it has put the arguments. Another text in their place is taken
//! for one, up to its NUL, when the last byte of the arguments is none (`get_mm_cmdline` in the kernel's `fs/proc/base.c`);
//! it may go on into the environment, which follows.

use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Bytes of it that the kernel shows at most: a page.
const MOST: usize = 4096;
/// Arguments and variables that are looked at.
const MAX_STRINGS: usize = 1 << 16;

/// The arguments that the process was executed with; null where nobody told.
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// glibc tells what runs before `main` of the arguments; others do not.
#[cfg(target_env = "gnu")]
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn(c_int, *mut *const c_char, *const *const c_char) = remember;

extern "C" fn remember(
    count: c_int,
    arguments: *mut *const c_char,
    _environment: *const *const c_char,
) {
    ARGUMENTS.store(arguments, Ordering::Relaxed);
    COUNT.store(count.max(0) as usize, Ordering::Relaxed);
}

/// The place of this process's command line, and that of its children that have not executed a program.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    start: *mut u8,
    /// Bytes of the arguments.
    arguments: usize,
    /// Bytes of these and the environment.
    all: usize,
}

// SAFETY: the memory is the process's for as long as it lives; whoever writes there answers for the rest.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Place {
    /// Finds it. `None` where the program was not told of its arguments, or has none.
    pub fn own() -> Option<Self> {
        let arguments = ARGUMENTS.load(Ordering::Relaxed);
        let count = COUNT.load(Ordering::Relaxed);
        if arguments.is_null() || count == 0 {
            return None;
        }
        // SAFETY: as the kernel lays them out, the arguments, a null, the environment, a null; all of it stays there.
        let (start, after, end) = unsafe {
            let start = *arguments;
            let after = strings_end(start, arguments, count);
            let end = strings_end(after, arguments.add(count + 1), MAX_STRINGS);
            (start, after, end)
        };
        let length = |end: *const c_char| end.addr().saturating_sub(start.addr());
        (length(after) > 0).then(|| Self {
            start: start.cast::<u8>().cast_mut(),
            arguments: length(after),
            all: length(end).min(MOST),
        })
    }

    /// Shows `title`, as much of it as there is room for. It does not allocate.
    ///
    /// # Safety
    /// Nobody in this process reads its arguments or its environment any more, by the standard library or otherwise.
    pub unsafe fn show(self, title: &[u8]) {
        // The last byte of all stays a NUL.
        let Some(room) = self.all.checked_sub(1) else {
            return;
        };
        let shown = title.len().min(room);
        let last = self.arguments - 1;
        // SAFETY: all of it is this process's memory, which it may write to, and which nobody reads.
        unsafe {
            std::ptr::copy_nonoverlapping(title.as_ptr(), self.start, shown);
            let cleared = if shown <= last {
                self.arguments
            } else {
                self.all
            };
            self.start.add(shown).write_bytes(0, cleared - shown);
            if shown < last {
                self.start.add(last).write(b' ');
            }
        }
    }
}

/// Where strings end that lie one behind the other from `start` on: the first `count` that `list` names, up to a null.
///
/// # Safety
/// The list has as many, or ends with a null, and names strings that stay.
unsafe fn strings_end(
    start: *const c_char,
    list: *const *const c_char,
    count: usize,
) -> *const c_char {
    let mut end = start;
    for index in 0..count {
        // SAFETY: the caller's promise.
        unsafe {
            let string = *list.add(index);
            if string.is_null() || string != end {
                break;
            }
            end = end.add(CStr::from_ptr(string).count_bytes() + 1);
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of memory whose first `arguments` bytes are the command line, as the kernel reads it.
    fn read(memory: &[u8], arguments: usize) -> String {
        let to_the_nul = memory.split(|byte| *byte == 0).next().unwrap();
        let shown = match memory[arguments - 1] {
            0 => &memory[..arguments - 1],
            _ => to_the_nul,
        };
        String::from_utf8(shown.to_vec()).unwrap()
    }

    #[test]
    fn a_title_is_shown_as_far_as_there_is_room() {
        for (arguments, all, title, shown) in [
            (8, 16, "a", "a"),
            (8, 16, "abcdef", "abcdef"),
            (8, 16, "abcdefg", "abcdefg"),
            (8, 16, "abcdefgh", "abcdefgh"),
            (8, 16, "abcdefghijklmno", "abcdefghijklmno"),
            (8, 16, "abcdefghijklmnopq", "abcdefghijklmno"),
            (8, 8, "abcdefghijk", "abcdefg"),
            (1, 1, "a", ""),
        ] {
            let mut memory = vec![b'x'; all + 4];
            memory[all - 1] = 0;
            memory[arguments - 1] = 0;
            let place = Place {
                start: memory.as_mut_ptr(),
                arguments,
                all,
            };
            // SAFETY: the memory is this test's own.
            unsafe { place.show(title.as_bytes()) };
            assert_eq!(read(&memory, arguments), shown, "{title}");
            assert_eq!(&memory[all..], b"xxxx", "{title}");
        }
    }

    #[test]
    fn the_programs_own_place_is_found() {
        let place = Place::own().unwrap();
        let line = std::fs::read("/proc/self/cmdline").unwrap();
        // SAFETY: the arguments, which nobody writes to.
        let found = unsafe { std::slice::from_raw_parts(place.start, place.arguments) };
        assert_eq!(found, line);
        assert!(place.all >= place.arguments);
    }
}
