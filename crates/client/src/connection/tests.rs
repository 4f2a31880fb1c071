use std::os::unix::net::UnixListener;
use std::thread;

use super::*;

/// With a body, without one.
const ANSWERS: [&[u8]; 3] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
];

fn request() -> Request<'static> {
    Request {
        method: "GET",
        path: "/_ping".to_owned(),
        headers: Vec::new(),
        body: Body::Empty,
        upgrade: false,
    }
}

/// Reads one request without a body; false at the connection's end.
fn read_request(reader: &mut impl BufRead) -> bool {
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line).unwrap() == 0 {
            return false;
        }
    }
    true
}

/// Answers on each connection as many requests as the list says, then ends it.
fn serve(answers: &'static [usize]) -> (tempfile::TempDir, Host, thread::JoinHandle<()>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        for &number in answers {
            let mut stream = listener.accept().unwrap().0;
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for answer in ANSWERS.iter().cycle().take(number) {
                assert!(read_request(&mut reader));
                stream.write_all(answer).unwrap();
            }
        }
    });
    (folder, Host::Unix(path), server)
}

#[test]
fn a_connection_serves_the_next_request_once_its_answer_was_read() {
    let (_folder, host, server) = serve(&[5]);
    let idle = Idle::default();
    for _ in 0..5 {
        send(&host, &idle, request()).unwrap().json().unwrap();
    }
    server.join().unwrap();
}

#[test]
fn a_connection_that_the_engine_gave_up_is_not_used_again() {
    let (_folder, host, server) = serve(&[1, 1]);
    let idle = Idle::default();
    send(&host, &idle, request()).unwrap().json().unwrap();
    {
        let kept = idle.0.borrow();
        let stream = kept.as_ref().unwrap();
        let mut closed = [rustix::event::PollFd::new(
            stream,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut closed, None).unwrap();
    }
    send(&host, &idle, request()).unwrap().json().unwrap();
    server.join().unwrap();
}

#[test]
fn many_questions_are_sent_before_the_first_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for _ in 0..3 {
            assert!(read_request(&mut reader));
        }
        for number in 0..3 {
            let status = if number == 1 {
                "404 Not Found"
            } else {
                "200 OK"
            };
            let body = format!("{{\"message\":\"{number}\"}}");
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
        // The connection goes on.
        assert!(read_request(&mut reader));
        stream.write_all(ANSWERS[0]).unwrap();
    });
    let (host, idle) = (Host::Unix(path), Idle::default());
    let answers = get_each(&host, &idle, &[request(), request(), request()]).unwrap();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0].as_ref().unwrap()["message"], "0");
    assert_eq!(
        answers[1].as_ref().unwrap_err().to_string(),
        "Error response from daemon: 1"
    );
    assert_eq!(answers[2].as_ref().unwrap()["message"], "2");
    send(&host, &idle, request()).unwrap().json().unwrap();
    server.join().unwrap();
}

#[test]
fn questions_go_on_over_another_connection() {
    // More than are on their way at once, and each connection ends when it likes.
    let (_folder, host, server) = serve(&[1, 250, 49]);
    let requests: Vec<_> = (0..300).map(|_| request()).collect();
    let answers = get_each(&host, &Idle::default(), &requests).unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 300);
    server.join().unwrap();
}

#[test]
fn a_connection_without_any_answer_is_told_of() {
    let (_folder, host, server) = serve(&[0]);
    let failure = get_each(&host, &Idle::default(), &[request()]).unwrap_err();
    assert!(matches!(failure, Failure::Connection { .. }), "{failure}");
    server.join().unwrap();
}

#[test]
fn an_answer_that_was_not_read_to_its_end_leaves_no_connection() {
    let (_folder, host, server) = serve(&[1]);
    let idle = Idle::default();
    drop(send(&host, &idle, request()).unwrap());
    assert!(idle.take().is_none());
    server.join().unwrap();
}
