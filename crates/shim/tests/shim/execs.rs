//! Further processes in a running container.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use runtime::plan::ExecPlan;
use shim::protocol::{EventKind, Exec, Framing, Phase, Refusal, Reply, Request, Slot};
use types::ContainerId;

use crate::Case;
use crate::daemon::{Container, Running, client, exec_plan, read_all, read_until, send, unframe};
use crate::streams::kill;

pub(crate) const CASES: &[Case] = &[
    ("an exec with clients", exec_with_clients),
    ("an exec without clients", exec_detached),
    ("an exec's input", exec_input),
    ("an exec's terminal", exec_terminal),
    ("an exec that is not there", exec_missing),
    ("an exec is followed over another connection", exec_followed),
    (
        "an exec is signalled, and ends with the container",
        exec_signals,
    ),
];

fn exec(plan: &ExecPlan) -> Exec {
    Exec {
        id: ContainerId::random().unwrap(),
        plan: plan.encode(),
        tty: plan.terminal,
        open_stdin: false,
        detach_keys: types::detach::DEFAULT_KEYS.to_vec(),
        attachments: Vec::new(),
    }
}

/// A container that only waits. (Its folder goes with the first value.)
fn idle() -> (Container, Running) {
    let mut container = Container::shell("sleep 1000");
    let running = container.launch().unwrap();
    (container, running)
}

/// Starts an exec with one client.
fn attached(running: &mut Running, mut exec: Exec, framing: Framing) -> (UnixStream, ContainerId) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    exec.attachments.push(client(Slot(0), true, framing));
    let id = exec.id.clone();
    let reply = running.ask_with(&Request::Exec(Box::new(exec)), &[theirs.as_fd()]);
    assert!(
        matches!(reply, Ok(Reply::ExecStarted { pid: 1.. })),
        "{reply:?}"
    );
    (ours, id)
}

fn exec_exit(running: &mut Running, wanted: &ContainerId) -> u8 {
    running.event(|kind| match kind {
        EventKind::ExecExited { id, code } if id == wanted => Some(*code),
        _ => None,
    })
}

fn exec_with_clients() {
    let (_container, mut running) = idle();
    let plan = exec_plan(&["/bin/sh", "-c", "echo out; echo err >&2; exit 7"]);
    let (mut client, id) = attached(&mut running, exec(&plan), Framing::Multiplexed);
    assert_eq!(
        unframe(&read_all(&mut client)),
        ("out\n".to_owned(), "err\n".to_owned())
    );
    drop(client);
    assert_eq!(exec_exit(&mut running, &id), 7);
    assert!(running.status().execs.is_empty());
    assert!(
        running.log().is_empty(),
        "an exec's output is not the container's"
    );
    kill(running);
}

fn exec_detached() {
    let (_container, mut running) = idle();
    let exec = exec(&exec_plan(&[
        "/bin/sh",
        "-c",
        "yes | head -c 1000000; exit 8",
    ]));
    let id = exec.id.clone();
    let reply = running.ask(&Request::Exec(Box::new(exec)));
    assert!(matches!(reply, Ok(Reply::ExecStarted { .. })), "{reply:?}");
    assert_eq!(exec_exit(&mut running, &id), 8);
    let exits = running.journal();
    assert_eq!(exits.last(), Some(&EventKind::ExecExited { id, code: 8 }));
    kill(running);
}

fn exec_input() {
    let (_container, mut running) = idle();
    let exec = Exec {
        open_stdin: true,
        ..exec(&exec_plan(&["cat"]))
    };
    let (mut client, id) = attached(&mut running, exec, Framing::Multiplexed);
    send(&mut client, "through\n");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(unframe(&read_all(&mut client)).0, "through\n");
    drop(client);
    assert_eq!(exec_exit(&mut running, &id), 0);
    kill(running);
}

fn exec_terminal() {
    let (_container, mut running) = idle();
    let mut plan = exec_plan(&["/bin/sh", "-c", "stty size; read line; stty size"]);
    plan.terminal = true;
    plan.console_size = Some((20, 40));
    let exec = Exec {
        open_stdin: true,
        ..exec(&plan)
    };
    let (mut client, id) = attached(&mut running, exec, Framing::Raw);
    read_until(&mut client, "20 40\r\n");
    running
        .ask(&Request::Resize {
            exec: Some(id.clone()),
            rows: 21,
            columns: 41,
        })
        .unwrap();
    send(&mut client, "\r");
    read_until(&mut client, "21 41\r\n");
    assert_eq!(exec_exit(&mut running, &id), 0);
    drop(client);
    kill(running);
}

fn exec_followed() {
    let (container, mut first) = idle();
    let exec = exec(&exec_plan(&["/bin/sh", "-c", "sleep 1000; exit 9"]));
    let id = exec.id.clone();
    let follow = Request::FollowExec(id.clone());
    assert_eq!(first.ask(&follow), Err(Refusal::NoSuchExec));
    // Everything waits for the shim at once: the exec, the end of its connection, the question over the next one.
    let shim = sys::process::pidfd_open(first.shim().cast_signed()).unwrap();
    sys::process::pidfd_send_signal(shim.as_fd(), libc::SIGSTOP).unwrap();
    first.send(&Request::Exec(Box::new(exec)));
    let mut second = Running::connect(&container);
    let asked = second.send(&follow);
    second.pid = first.pid;
    drop(first);
    sys::process::pidfd_send_signal(shim.as_fd(), libc::SIGCONT).unwrap();
    let begun = second.answer(asked);
    let Ok(Reply::ExecStarted { pid }) = begun else {
        panic!("{begun:?}")
    };
    assert_eq!(second.status().execs[0].pid, pid);
    assert_eq!(second.ask(&follow), begun, "as often as somebody asks");
    let process = sys::process::pidfd_open(pid.cast_signed()).unwrap();
    sys::process::pidfd_send_signal(process.as_fd(), libc::SIGKILL).unwrap();
    assert_eq!(exec_exit(&mut second, &id), 137);
    assert_eq!(second.ask(&follow), Err(Refusal::NoSuchExec));
    let ended = EventKind::ExecExited { id, code: 137 };
    assert_eq!(second.journal().last(), Some(&ended));
    kill(second);
}

fn exec_missing() {
    let (_container, mut running) = idle();
    let refused = running.ask(&Request::Exec(Box::new(exec(&exec_plan(&["nope"])))));
    let Err(Refusal::Fault {
        text,
        exit_code: 127,
        ..
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(text, "exec: \"nope\": executable file not found in $PATH");
    let nobody = Request::Signal {
        signal: 9,
        exec: Some(ContainerId::random().unwrap()),
    };
    assert_eq!(running.ask(&nobody), Err(Refusal::NoSuchExec));
    kill(running);
}

fn exec_signals() {
    let (_container, mut running) = idle();
    let plan = exec_plan(&["sleep", "1000"]);
    let (_first, first) = attached(&mut running, exec(&plan), Framing::Raw);
    let (mut second, second_id) = attached(&mut running, exec(&plan), Framing::Raw);
    assert_eq!(running.status().execs.len(), 2);
    running
        .ask(&Request::Signal {
            signal: 15,
            exec: Some(first.clone()),
        })
        .unwrap();
    assert_eq!(exec_exit(&mut running, &first), 143);
    running
        .ask(&Request::Signal {
            signal: 9,
            exec: None,
        })
        .unwrap();
    assert_eq!(exec_exit(&mut running, &second_id), 137);
    assert_eq!(read_all(&mut second), b"");
    drop((_first, second));
    if running.status().phase != Phase::Exited {
        running.exit();
    }
    running.release();
}
