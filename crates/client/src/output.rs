//! Standard output, which may be closed or full.
//!
//! The standard library's `println!` panics then. Docker's client is ended by the kernel at a pipe that nobody reads, and
//! says one line about everything else.

use std::fmt;
use std::io::{self, Write};

use crate::failure::{Failure, plain};

/// What a shell tells of a program that was ended by SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// The standard library's macro, without its panic.
macro_rules! println {
    () => { print!("\n") };
    ($($argument:tt)*) => { print!("{}\n", format_args!($($argument)*)) };
}

/// The same for text that is no line.
macro_rules! print {
    ($($argument:tt)*) => { $crate::output::text(format_args!($($argument)*)) };
}

/// Writes text, or ends the program: nothing that is printed like this has anything to clean up behind it.
pub(crate) fn text(text: fmt::Arguments<'_>) {
    let written = io::stdout().lock().write_fmt(text);
    if let Err(error) = written {
        let status = match failed(error) {
            Failure::Status(status) => status,
            failure => {
                // If this can not be written either, nobody is there to read it.
                let _ = writeln!(io::stderr(), "{failure}");
                1
            }
        };
        std::process::exit(status.into());
    }
}

/// Why standard output could not be written.
pub(crate) fn failed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Status(BROKEN_PIPE),
        _ => Failure::Plain(format!("write /dev/stdout: {}", plain(&error))),
    }
}
