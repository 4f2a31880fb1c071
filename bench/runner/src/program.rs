//! What every container of the bench runs: ends with 0, or, with any argument, sleeps until it is
//! killed. Rust's own start-up is left out, so that this costs what C's `true` does.
#![no_main]

/// The C runtime's way in.
// SAFETY: the only function of this name, with the signature that the C runtime calls.
#[unsafe(no_mangle)]
extern "C" fn main(arguments: libc::c_int, _values: *const *const libc::c_char) -> libc::c_int {
    if arguments <= 1 {
        return 0;
    }
    loop {
        // SAFETY: waits for a signal, and touches no memory.
        unsafe { libc::pause() };
    }
}
