//! Round trips of every message, and bytes that are none.

use super::*;
use types::ContainerId;

fn id(digit: char) -> ContainerId {
    digit.to_string().repeat(64).parse().unwrap()
}

fn attachment() -> Attachment {
    Attachment {
        token: 9,
        stdin: true,
        stdout: true,
        stderr: true,
        framing: Framing::Multiplexed,
        detach_keys: Some(vec![]),
        leftover: b"left".to_vec(),
        ..Attachment::new(Slot(0))
    }
}

fn health() -> Health {
    Health {
        plan: vec![1, 2],
        interval: 30_000_000_000,
        timeout: 1,
        start_period: 2,
        start_interval: 3,
        retries: 4,
    }
}

fn launch() -> Launch {
    Launch {
        two_phase: true,
        restart: RestartPolicy {
            kind: RestartKind::OnFailure,
            max_retries: 5,
        },
        stop_signal: 3,
        log: LogConfig::JsonFile {
            folder: Slot(0),
            name: "x-json.log".to_owned(),
            max_size: 10 << 20,
            max_files: 3,
            attrs: b"{}".to_vec(),
            buffer: Some(4096),
            remote: Some(crate::protocol::Remote {
                words: crate::protocol::Words::Syslog {
                    layout: crate::protocol::Layout::Rfc5424,
                    facility: 0,
                    host: "here".to_owned(),
                    tag: "box".to_owned(),
                },
                place: crate::protocol::Place::Local {
                    folder: Slot(0),
                    name: "log".to_owned(),
                    stream: true,
                },
                socket: Slot(9),
            }),
        },
        tty: true,
        open_stdin: true,
        stdin_once: true,
        detach_keys: vec![16, 17],
        attachments: vec![attachment(), Attachment::new(Slot(4))],
        cgroups: vec![Slot(0), Slot(1)],
        oom_events: Some(Slot(0)),
        health: Some(health()),
        ..Launch::new(id('a'), vec![7; 300], Slot(2), Slot(0))
    }
}

fn requests() -> Vec<Request> {
    let exec = Exec {
        id: id('b'),
        plan: vec![1; 100],
        tty: true,
        open_stdin: true,
        detach_keys: vec![1],
        attachments: vec![attachment()],
    };
    vec![
        Request::Proceed,
        Request::Exec(Box::new(exec)),
        Request::Signal {
            signal: 0,
            exec: None,
        },
        Request::Signal {
            signal: 64,
            exec: Some(id('c')),
        },
        Request::StopIntent(true),
        Request::StopIntent(false),
        Request::Stop(StopRequest {
            signal: Some(15),
            grace: Some(0),
        }),
        Request::Stop(StopRequest {
            signal: None,
            grace: None,
        }),
        Request::Resize {
            exec: Some(id('d')),
            rows: 24,
            columns: 80,
        },
        Request::Attach(Box::new(attachment())),
        Request::CloseStdin { exec: None },
        Request::FollowExec(id('e')),
        Request::ReopenLogs,
        Request::UpdatePolicy(RestartPolicy {
            kind: RestartKind::UnlessStopped,
            max_retries: 0,
        }),
        Request::SetHealth(Some(Box::new(health()))),
        Request::SetHealth(None),
        Request::SuspendHealth(true),
        Request::Hold,
        Request::Enter { unified: true },
        Request::Enter { unified: false },
        Request::Status,
        Request::Acknowledge { sequence: u64::MAX },
        Request::Release,
    ]
}

fn status() -> Status {
    let result = HealthResult {
        start: 1,
        end: 2,
        exit_code: -1,
        output: b"out".to_vec(),
    };
    Status {
        phase: Phase::Restarting,
        pid: 77,
        start_ticks: 1 << 33,
        started: 5,
        last_exit: Some(LastExit {
            code: 137,
            signal: 9,
            oom: true,
            time: 6,
        }),
        restarts: 8,
        stop_intent: true,
        policy: RestartPolicy {
            kind: RestartKind::Always,
            max_retries: 0,
        },
        execs: vec![ExecStatus {
            id: id('e'),
            pid: 78,
        }],
        health: Some(HealthStatus {
            state: HealthState::Unhealthy,
            failing_streak: 3,
            results: vec![HealthResult::default(), result],
        }),
        sequence: 10,
        attached: 2,
        lost_lines: 1,
    }
}

fn messages() -> Vec<Message> {
    let refusals = vec![
        Refusal::Fault {
            text: "exec: no".to_owned(),
            exit_code: 127,
            step: 45,
            errno: 2,
            index: 1,
        },
        Refusal::NotRunning,
        Refusal::NoSuchExec,
        Refusal::ExecExists,
        Refusal::Without {
            what: "terminal".to_owned(),
        },
        Refusal::Unsupported {
            what: "that".to_owned(),
        },
        Refusal::Invalid {
            text: "no".to_owned(),
        },
        Refusal::System {
            action: "fork".to_owned(),
            errno: 11,
        },
    ];
    let replies = vec![
        Reply::Done,
        Reply::Prepared { pid: 1 },
        Reply::Started {
            pid: 2,
            start_ticks: 3,
            time: 4,
        },
        Reply::ExecStarted { pid: 5 },
        Reply::Status(Box::new(status())),
    ];
    let kinds = vec![
        EventKind::Started {
            pid: 1,
            start_ticks: 2,
            restarts: 3,
            supervisor: 4,
        },
        EventKind::StartFailed {
            exit_code: 126,
            text: "no".to_owned(),
        },
        EventKind::Exited {
            code: 1,
            signal: 0,
            oom: false,
            restart: RestartOutlook::ByDaemon { delay: 100 },
        },
        EventKind::RestartCancelled,
        EventKind::ExecExited {
            id: id('f'),
            code: 255,
        },
        EventKind::Health {
            state: HealthState::Healthy,
            failing_streak: 0,
        },
        EventKind::LinesLost { lines: 1 << 40 },
        EventKind::Detached {
            token: 3,
            exec: Some(id('0')),
        },
        EventKind::Detached {
            token: 0,
            exec: None,
        },
    ];
    let answers = refusals
        .into_iter()
        .map(Err)
        .chain(replies.into_iter().map(Ok));
    let answers = answers.map(|result| Message::Answer(Answer { number: 12, result }));
    let events = kinds.into_iter().map(|kind| {
        Message::Event(Event {
            sequence: 5,
            time: 6,
            kind,
        })
    });
    answers.chain(events).collect()
}

#[test]
fn every_message_comes_back() {
    assert_eq!(Launch::decode(&launch().encode()), Ok(launch()));
    let plain = Launch::new(id('1'), vec![], Slot(0), Slot(1));
    assert_eq!(Launch::decode(&plain.encode()), Ok(plain));
    for request in requests() {
        assert_eq!(
            Request::decode(request.kind(), &request.encode()),
            Ok(request)
        );
    }
    for message in messages() {
        assert_eq!(
            Message::decode(
                message.header().kind,
                message.header().number,
                &message.encode()
            ),
            Ok(message)
        );
    }
}

/// A field of a later release: a tag that none of ours has.
#[test]
fn an_event_of_a_newer_shim_is_told_from_a_broken_one() {
    let mut event = wire::Writer::new();
    event.number(1, 7);
    event.number(3, 200);
    let error = crate::ShimError::from(
        Message::decode(super::kind::EVENT, 0, &event.finish()).unwrap_err(),
    );
    assert!(error.is_unknown_word(), "{error}");
    let error =
        crate::ShimError::from(Message::decode(super::kind::EVENT, 0, &[1, 0, 9, 0]).unwrap_err());
    assert!(!error.is_unknown_word(), "{error}");
}

fn with_unknown_field(mut body: Vec<u8>) -> Vec<u8> {
    let mut unknown = wire::Writer::new();
    unknown.content(999, b"from the future");
    let mut all = unknown.finish();
    all.append(&mut body);
    all
}

#[test]
fn unknown_fields_are_skipped() {
    assert_eq!(
        Launch::decode(&with_unknown_field(launch().encode())),
        Ok(launch())
    );
    for request in requests() {
        let body = with_unknown_field(request.encode());
        assert_eq!(Request::decode(request.kind(), &body), Ok(request));
    }
    for message in messages() {
        let body = with_unknown_field(message.encode());
        assert_eq!(
            Message::decode(message.header().kind, message.header().number, &body),
            Ok(message)
        );
    }
}

#[test]
fn another_major_version_is_refused_and_another_minor_is_not() {
    let header = Header {
        kind: 27,
        number: 1,
    };
    let mut bytes = header.encode();
    bytes[6] = 200;
    assert_eq!(Header::decode(&bytes), Ok((header, &[][..])));
    bytes[4] = 2;
    assert_eq!(Header::decode(&bytes), Err(WireError::Major { major: 2 }));
    bytes[0] = b'X';
    assert_eq!(Header::decode(&bytes), Err(WireError::Magic));
    assert_eq!(Header::decode(&bytes[..13]), Err(WireError::Truncated));
}

/// A fixed sequence of numbers that look random (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Whatever arrives, the answer is a message or an error, and what is a message can be sent again.
fn feed(kind: u16, bytes: &[u8]) {
    if let Ok(request) = Request::decode(kind, bytes) {
        assert_eq!(Request::decode(kind, &request.encode()), Ok(request));
    }
    if let Ok(message) = Message::decode(kind, 1, bytes) {
        assert_eq!(Message::decode(kind, 1, &message.encode()), Ok(message));
    }
    if let Ok(launch) = Launch::decode(bytes) {
        assert_eq!(Launch::decode(&launch.encode()), Ok(launch));
    }
    let _ = Header::decode(bytes);
}

#[test]
fn random_and_damaged_bytes_are_refused_or_understood() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for _ in 0..20_000 {
        let length = (numbers.next() % 64) as usize;
        let bytes: Vec<u8> = (0..length).map(|_| (numbers.next() % 12) as u8).collect();
        feed((numbers.next() % 32) as u16, &bytes);
    }
    let bodies = requests()
        .iter()
        .map(|request| (request.kind(), request.encode()))
        .chain(
            messages()
                .iter()
                .map(|message| (message.header().kind, message.encode())),
        )
        .chain([(kind::LAUNCH, launch().encode())])
        .collect::<Vec<_>>();
    for (kind, body) in bodies {
        for _ in 0..300 {
            let mut damaged = body.clone();
            if damaged.is_empty() {
                continue;
            }
            let place = numbers.next() as usize % damaged.len();
            damaged[place] = numbers.next() as u8;
            damaged.truncate(damaged.len() - numbers.next() as usize % 3);
            feed(kind, &damaged);
        }
    }
}
