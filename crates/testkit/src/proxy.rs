//! A forward proxy: it asks for plain pages on behalf of its clients, and connects them for encrypted ones.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::sandbox::Sandbox;

/// A proxy at a port of a sandbox's loopback. Whatever host it is asked for, it finds on that loopback, at the port that
/// was asked for. It goes with the sandbox's network.
pub struct ForwardProxy {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    seen: Vec<String>,
    wanted: Option<String>,
}

impl ForwardProxy {
    /// Starts one at 127.0.0.1:`port`.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn start(sandbox: &Sandbox, port: u16) -> ForwardProxy {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let listener =
            sandbox.within_network(move || TcpListener::bind(("127.0.0.1", port)).unwrap());
        sandbox.network_thread({
            let shared = Arc::clone(&shared);
            move || {
                for client in listener.incoming() {
                    let Ok(client) = client else { return };
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || serve(client, &shared));
                }
            }
        });
        ForwardProxy { shared }
    }

    /// Serves only clients whose `Proxy-Authorization` is this, from now on.
    pub fn require(&self, authorization: &str) {
        self.shared.lock().unwrap().wanted = Some(authorization.to_owned());
    }

    /// The requests so far: method and target, as they came.
    pub fn seen(&self) -> Vec<String> {
        self.shared.lock().unwrap().seen.clone()
    }
}

/// One connection. Requests have no body: they are those of a pull.
fn serve(client: TcpStream, shared: &Mutex<Shared>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let (first, headers) = head.split_once("\r\n")?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let allowed = {
        let mut shared = shared.lock().unwrap();
        shared.seen.push(format!("{method} {target}"));
        shared.wanted.as_ref().is_none_or(|wanted| {
            headers.lines().any(|line| {
                line.split_once(": ").is_some_and(|(name, value)| {
                    name.eq_ignore_ascii_case("proxy-authorization") && value == wanted
                })
            })
        })
    };
    let mut client = client;
    if !allowed {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(refusal.as_bytes()).ok();
    }
    if method == "CONNECT" {
        let server = connect(target)?;
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .ok()?;
        let (back, forth) = (server.try_clone().ok()?, client.try_clone().ok()?);
        std::thread::spawn(move || carry(back, forth));
        carry(client, server);
        return Some(());
    }
    let (authority, path) = target.strip_prefix("http://")?.split_once('/')?;
    let mut server = connect(authority)?;
    let others: String = headers
        .lines()
        .filter(|line| !line.is_empty())
        .filter(|line| !line.to_ascii_lowercase().starts_with("proxy-"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let request = format!("{method} /{path} HTTP/1.1\r\n{others}Connection: close\r\n\r\n");
    server.write_all(request.as_bytes()).ok()?;
    carry(server, client);
    Some(())
}

/// The host's name counts for nothing; its port does.
fn connect(authority: &str) -> Option<TcpStream> {
    let port = match authority.rsplit_once(':') {
        Some((_, port)) => port.parse().ok()?,
        None => 80,
    };
    TcpStream::connect(("127.0.0.1", port)).ok()
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(number) if to.write_all(&buffer[..number]).is_err() => break,
            Ok(_) => {}
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
