//! What the launcher itself does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use sys::fdpass::Wait;
use sys::fork::{self, Forked};
use sys::mount::{self, Propagation, attr};

use crate::protocol::transport::{self, Inbox, Packet};
use crate::protocol::{Answer, Header, Message, Refusal, kind};

/// The signals that a terminal or an init sends around: launcher and shims end by their own rules.
const IGNORED: [i32; 6] = [
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
];

/// The launcher's role: serves the socket that is its standard input until the daemon closes it.
pub fn main() -> ExitCode {
    let Ok(socket) = take_standard_input() else {
        return ExitCode::FAILURE;
    };
    let hello = Header {
        kind: kind::HELLO,
        number: 0,
    };
    let prepared = prepare();
    let words = match &prepared {
        Ok(()) => String::new(),
        Err((action, source)) => format!("can not {action}: {source}"),
    };
    let told = transport::send(socket.as_fd(), hello, words.as_bytes(), &[], Wait::Block);
    if prepared.is_err() || told.is_err() {
        return ExitCode::FAILURE;
    }
    serve(socket)
}

/// Moves the socket away from the number that programs take for their input.
fn take_standard_input() -> io::Result<OwnedFd> {
    // What the daemon was started with and did not mark is not for containers.
    sys::process::close_from(3)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(socket)
}

type Failure = (&'static str, io::Error);

fn prepare() -> Result<(), Failure> {
    // Without a session of its own the launcher would get the signals of the daemon's terminal. It
    // leads its group already when it was made by a shell for a test; nothing is lost then.
    let _ = rustix::process::setsid();
    for signal in IGNORED {
        sys::process::ignore_signal(signal).map_err(|errno| ("ignore signals", errno.into()))?;
    }
    // The name is only for those who look at the process list.
    let _ = sys::process::set_name(c"wharf-launcher");
    empty_namespace().map_err(|errno| ("make a mount namespace", errno.into()))
}

/// Leaves the host's mounts for a namespace that holds an empty root, read-only, and the host's /proc.
///
/// Each container's mount namespace begins as a copy of this one, so its size is part of every start.
fn empty_namespace() -> Result<(), rustix::io::Errno> {
    sys::process::unshare(libc::CLONE_NEWNS)?;
    let private = mount::Change {
        propagation: Some(Propagation::Private),
        recursive: true,
        ..mount::Change::default()
    };
    mount::set_attributes(rustix::fs::CWD, c"/", &private)?;
    let proc = mount::clone_tree(rustix::fs::CWD, c"/proc", false)?;
    let options = [(c"mode", Some(c"0755")), (c"size", Some(c"64k"))];
    let root = mount::detached(
        c"tmpfs",
        &options,
        attr::NO_DEV | attr::NO_EXEC | attr::NO_SUID,
    )?;
    for folder in [c"proc", c"root"] {
        rustix::fs::mkdirat(&root, folder, Mode::from_raw_mode(0o755))?;
    }
    // Any folder will do to attach the new root for a moment; /proc is one that exists.
    mount::attach_at(root.as_fd(), rustix::fs::CWD, c"/proc")?;
    mount::attach_at(proc.as_fd(), rustix::fs::CWD, c"/proc/proc")?;
    rustix::process::fchdir(&root)?;
    mount::pivot_to_working_folder()?;
    mount::detach(c".")?;
    rustix::process::chdir("/")?;
    let read_only = mount::Change {
        set: attr::READ_ONLY,
        ..mount::Change::default()
    };
    mount::set_attributes(rustix::fs::CWD, c"/", &read_only)
}

fn serve(socket: OwnedFd) -> ExitCode {
    let mut inbox = Inbox::default();
    loop {
        match inbox.recv(socket.as_fd(), Wait::Block) {
            Ok(Some(packet)) if packet.header.kind == kind::LAUNCH => {
                match fork::fork() {
                    Ok(Forked::Child) => {
                        drop(socket);
                        return crate::supervisor::main(packet);
                    }
                    // The child is nobody's to wait for: SIGCHLD is ignored.
                    Ok(Forked::Parent { .. }) => {}
                    Err(error) => refuse(&packet, &error),
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return ExitCode::SUCCESS,
            // A message that could not be taken over is lost with its descriptors; its sender sees its
            // connection end. An error of the socket itself comes again as its end.
            Err(crate::ShimError::Io { source, .. })
                if source.kind() == io::ErrorKind::NotConnected =>
            {
                return ExitCode::FAILURE;
            }
            Err(_) => {}
        }
    }
}

/// Says on the new shim's connection that there is none.
fn refuse(packet: &Packet, error: &io::Error) {
    let Some(connection) = packet.descriptors.last() else {
        return;
    };
    let refusal = Refusal::System {
        action: "fork the container's supervisor".to_owned(),
        errno: error.raw_os_error().unwrap_or(libc::EAGAIN),
    };
    let message = Message::Answer(Answer {
        number: 0,
        result: Err(refusal),
    });
    send_plainly(connection.as_fd(), &message);
}

fn send_plainly(connection: BorrowedFd<'_>, message: &Message) {
    let header = Header {
        kind: message.kind(),
        number: message.number(),
    };
    // A daemon that is gone needs no answer.
    let _ = transport::send(connection, header, &message.encode(), &[], Wait::Never);
}
