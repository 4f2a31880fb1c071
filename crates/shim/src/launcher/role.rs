//! What the launcher itself does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use sys::fdpass::Wait;
use sys::fork::{self, Forked};
use sys::mount::{self, Propagation, attr};
use sys::process::Namespace;

use crate::protocol::transport::{self, Inbox};
use crate::protocol::{Answer, Header, Message, Refusal, kind};
use crate::supervisor::{self, Ready};

/// The signals that a terminal or an init sends around: launcher and shims end by their own rules.
const IGNORED: [i32; 6] = [
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
];

/// How long the launcher pauses before it replaces a spare that died.
const PAUSE: Duration = Duration::from_millis(50);

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
        Ok(_) => String::new(),
        Err((action, source)) => format!("can not {action}: {source}"),
    };
    let told = transport::send(socket.as_fd(), hello, words.as_bytes(), &[], Wait::Block);
    match (prepared, told) {
        (Ok(birthplace), Ok(())) => serve(socket, birthplace),
        _ => ExitCode::FAILURE,
    }
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

fn prepare() -> Result<OwnedFd, Failure> {
    // Without a session of its own the launcher would get the signals of the daemon's terminal. It leads its
    // group already when a shell made it for a test; nothing is lost then.
    let _ = rustix::process::setsid();
    for signal in IGNORED {
        sys::process::ignore_signal(signal).map_err(|errno| ("ignore signals", errno.into()))?;
    }
    limit_open_files().map_err(|errno| ("set the limit of open files", errno.into()))?;
    // The name is only for those who look at the process list.
    let _ = sys::process::set_name(c"wharf-launcher");
    empty_namespaces().map_err(|errno| ("make a mount namespace", errno.into()))
}

/// The daemon may have raised its own limit; containers begin with the one that it was given.
fn limit_open_files() -> Result<(), rustix::io::Errno> {
    let wanted = std::env::var(super::OPEN_FILES).ok();
    let Some(soft) = wanted.and_then(|limit| limit.parse::<u64>().ok()) else {
        return Ok(());
    };
    let (_, hard) = sys::process::limit(libc::RLIMIT_NOFILE)?;
    sys::process::set_limit(libc::RLIMIT_NOFILE, soft.min(hard), hard)
}

/// Leaves the host's mounts for a namespace that holds an empty root, read-only, and the host's /proc; answers
/// with another one that lacks even that.
///
/// Each container's mount namespace begins as a copy of the latter, so its size is part of every start.
fn empty_namespaces() -> Result<OwnedFd, rustix::io::Errno> {
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
    rustix::process::fchdir(&root)?;
    mount::pivot_to_working_folder()?;
    mount::detach(c".")?;
    rustix::process::chdir("/")?;
    let read_only = mount::Change {
        set: attr::READ_ONLY,
        ..mount::Change::default()
    };
    mount::set_attributes(rustix::fs::CWD, c"/", &read_only)?;
    let birthplace = sys::process::own_namespace(Namespace::Mount)?;
    sys::process::unshare(libc::CLONE_NEWNS)?;
    mount::attach_at(proc.as_fd(), rustix::fs::CWD, c"/proc")?;
    Ok(birthplace)
}

/// Keeps one spare: a shim that was forked ahead and waits for a launch on the daemon's socket itself.
fn serve(socket: OwnedFd, birthplace: OwnedFd) -> ExitCode {
    loop {
        let forked = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map_err(io::Error::from)
            .and_then(|(taken, take)| Ok((fork::fork()?, taken, take)));
        match forked {
            Ok((Forked::Child, taken, take)) => {
                drop(taken);
                return spare(socket, take, birthplace);
            }
            // The spare is nobody's to wait for: SIGCHLD is ignored.
            Ok((Forked::Parent { .. }, taken, take)) => {
                drop(take);
                match wait_until_taken(&socket, &taken) {
                    Spare::Taken => {}
                    Spare::Died => std::thread::sleep(PAUSE),
                    Spare::Unwanted => return ExitCode::SUCCESS,
                }
            }
            Err(error) => {
                if refuse_next(&socket, &error).is_none() {
                    return ExitCode::FAILURE;
                }
            }
        }
    }
}

/// What became of a spare.
enum Spare {
    /// It has a container.
    Taken,
    /// Somebody killed it.
    Died,
    /// The daemon is gone.
    Unwanted,
}

fn wait_until_taken(socket: &OwnedFd, taken: &OwnedFd) -> Spare {
    loop {
        let mut fds = [
            PollFd::new(taken, PollFlags::IN),
            // Only its end: what comes is for the spare.
            PollFd::new(socket, PollFlags::empty()),
        ];
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return Spare::Unwanted,
            Ok(_) => {}
        }
        if !fds[0].revents().is_empty() {
            return match rustix::io::read(taken, &mut [0; 1]) {
                Ok(1) => Spare::Taken,
                _ => Spare::Died,
            };
        }
        if !fds[1].revents().is_empty() {
            return Spare::Unwanted;
        }
    }
}

/// The spare's way: it waits for a launch, tells the launcher, and is a container's shim from then on.
fn spare(socket: OwnedFd, take: OwnedFd, birthplace: OwnedFd) -> ExitCode {
    let Ok(ready) = Ready::new(birthplace) else {
        return ExitCode::FAILURE;
    };
    let mut inbox = Inbox::default();
    loop {
        match inbox.recv(socket.as_fd(), Wait::Block) {
            Ok(Some(packet)) if packet.header.kind == kind::LAUNCH => {
                // The next launch needs another spare.
                let _ = rustix::io::write(&take, &[1]);
                drop((socket, take));
                return supervisor::main(ready, packet);
            }
            Ok(None) => return ExitCode::SUCCESS,
            // What could not be taken over is lost with its descriptors; its sender sees its connection end.
            Ok(Some(_)) | Err(crate::ShimError::Wire { .. }) => {}
            Err(crate::ShimError::Io { source, .. })
                if source.kind() == io::ErrorKind::InvalidData => {}
            Err(_) => return ExitCode::FAILURE,
        }
    }
}

/// Without a spare the launcher itself takes the next launch, and says on its connection that there is no shim.
/// `None` when the daemon is gone.
fn refuse_next(socket: &OwnedFd, error: &io::Error) -> Option<()> {
    let packet = Inbox::default().recv(socket.as_fd(), Wait::Block).ok()??;
    let refusal = Refusal::System {
        action: "fork the container's supervisor".to_owned(),
        errno: error.raw_os_error().unwrap_or(libc::EAGAIN),
    };
    let message = Message::Answer(Answer {
        number: 0,
        result: Err(refusal),
    });
    if let Some(connection) = packet.descriptors.last() {
        // A daemon that is gone needs no answer.
        let _ = transport::send(
            connection.as_fd(),
            message.header(),
            &message.encode(),
            &[],
            Wait::Never,
        );
    }
    Some(())
}
