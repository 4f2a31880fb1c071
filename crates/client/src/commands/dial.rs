//! `system dial-stdio`: standard input and output as a connection to the engine, for clients of other hosts over ssh(1).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use crate::connection::Stream;
use crate::failure::Failure;
use crate::parse::Parsed;
use crate::session::Session;
use crate::verb::{Takes, Verb};

/// No help text shows it: it is for programs.
pub(super) static DIAL: Verb = Verb {
    paths: &["system dial-stdio"],
    usage: "",
    about: "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
    flags: &[],
    interspersed: true,
    takes: Takes::Nothing,
    run: dial,
};

fn dial(session: &Session, _: &Parsed) -> Result<u8, Failure> {
    let stream = Stream::connect(&session.engine()?.0, "connect")?;
    let broken = |source| Failure::Connection {
        doing: "carry a connection".to_owned(),
        source,
    };
    let stream: OwnedFd = stream.into();
    let to = stream.try_clone().map_err(broken)?;
    std::thread::spawn(move || {
        let (mut from, mut out) = (io::stdin().lock(), File::from(to));
        let _ = pass(&mut from, &mut out);
        // Nothing more comes from here; what the engine still has to say goes on.
        let _ = rustix::net::shutdown(&out, rustix::net::Shutdown::Write);
    });
    pass(&mut File::from(stream), &mut io::stdout().lock()).map_err(broken)?;
    Ok(0)
}

/// Copies until nothing more comes; what came is passed on at once.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let number = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(number) => number,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The engine ended it, with or without a farewell.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        };
        to.write_all(&buffer[..number])?;
        to.flush()?;
    }
}
