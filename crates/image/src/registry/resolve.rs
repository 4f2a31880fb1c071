//! Addresses of host names, read from the host's own files.
//!
//! The program is static, and a static C library cannot load the host's name service modules;
//! so /etc/hosts and the name servers of /etc/resolv.conf are asked directly.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::error::plain;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const FILE_LIMIT: u64 = 1 << 20;
const MAX_SERVERS: usize = 3;
const MAX_ADDRESSES: usize = 16;
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const NO_SUCH_HOST: &str = ": no such host";

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// In an answer's third byte: not all of it fitted.
const TRUNCATED: u8 = 2;

/// The addresses of `host`, IPv4 first, or why there are none: what follows `lookup HOST` in the sentence.
pub async fn addresses(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let listed = in_hosts(&read(HOSTS).await, &host);
    if !listed.is_empty() {
        return Ok(listed);
    }
    if host == "localhost" || host.ends_with(".localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let config = ResolvConf::parse(&read(RESOLV_CONF).await);
    let mut reason = NO_SUCH_HOST.to_owned();
    for name in config.candidates(&host) {
        for server in &config.servers {
            match ask_both(*server, &name).await {
                Ok(found) if !found.is_empty() => return Ok(found),
                // This server knows that there is nothing; the next candidate's turn.
                Ok(_) => {
                    reason = format!(" on {server}{NO_SUCH_HOST}");
                    break;
                }
                Err(error) => reason = format!(" on {server}: {error}"),
            }
        }
    }
    Err(reason)
}

/// A file's text, or nothing: a missing file is an empty one, and a huge one is cut. Its disk may be slow.
async fn read(path: &'static str) -> String {
    let reading = tokio::task::spawn_blocking(move || {
        let mut data = Vec::new();
        // What can not be read is as good as missing.
        if let Ok(file) = std::fs::File::open(path) {
            let _ = file.take(FILE_LIMIT).read_to_end(&mut data);
        }
        String::from_utf8_lossy(&data).into_owned()
    });
    reading.await.unwrap_or_default()
}

fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words
                .any(|name| name.eq_ignore_ascii_case(host))
                .then_some(address)
        })
        .take(MAX_ADDRESSES)
        .collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

#[derive(Debug, PartialEq, Eq)]
struct ResolvConf {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
}

impl ResolvConf {
    fn parse(text: &str) -> ResolvConf {
        let mut config = ResolvConf {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if config.servers.len() < MAX_SERVERS => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    config
                        .servers
                        .extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                Some("search" | "domain") => {
                    config.search = words.take(6).map(str::to_owned).collect();
                }
                Some("options") => {
                    let ndots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    config.ndots = ndots.unwrap_or(config.ndots).min(15);
                }
                _ => {}
            }
        }
        if config.servers.is_empty() {
            config
                .servers
                .push(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
        }
        config
    }

    /// The names to ask for, in order: with enough dots the name itself comes first.
    fn candidates(&self, host: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .search
            .iter()
            .map(|domain| format!("{host}.{domain}"))
            .collect();
        let dots = host.bytes().filter(|b| *b == b'.').count();
        let place = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(place, host.to_owned());
        names
    }
}

async fn ask_both(server: SocketAddr, name: &str) -> Result<Vec<IpAddr>, String> {
    let (four, six) = tokio::join!(ask(server, name, TYPE_A), ask(server, name, TYPE_AAAA));
    let mut found = four?;
    // A server that knows IPv4 only is still of use.
    found.extend(six.unwrap_or_default());
    Ok(found)
}

async fn ask(server: SocketAddr, name: &str, kind: u16) -> Result<Vec<IpAddr>, String> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Go's words, which Docker's users know.
    let dialled = |error| format!("dial udp {server}: connect: {}", plain(&error));
    let socket = UdpSocket::bind((any, 0)).await.map_err(dialled)?;
    socket.connect(server).await.map_err(dialled)?;
    let pair = match socket.local_addr() {
        Ok(local) => format!("{local}->{server}"),
        Err(_) => server.to_string(),
    };
    let id = query_id();
    let question = question(name, kind).ok_or("no such host")?;
    let query = [
        &id.to_be_bytes()[..],
        &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        &question,
    ]
    .concat();
    for _ in 0..2 {
        let written = |error| format!("write udp {pair}: write: {}", plain(&error));
        socket.send(&query).await.map_err(written)?;
        let mut buffer = [0; 4096];
        let answer = timeout(ANSWER_WITHIN, async {
            loop {
                let read = |error| format!("read udp {pair}: read: {}", plain(&error));
                let length = socket.recv(&mut buffer).await.map_err(read)?;
                let answer = &buffer[..length];
                if is_answer(answer, &query) {
                    let parsed = parse_answer(answer, query.len(), kind);
                    return Ok::<_, String>((parsed, answer[2] & TRUNCATED != 0));
                }
            }
        });
        match answer.await {
            Ok(Ok((parsed, false))) => return parsed,
            // What fitted is better than nothing.
            Ok(Ok((parsed, true))) => match ask_by_tcp(server, &query, kind).await {
                Err(error) if parsed.as_ref().is_ok_and(Vec::is_empty) => return Err(error),
                Err(_) => return parsed,
                whole => return whole,
            },
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
    Err(format!("read udp {pair}: i/o timeout"))
}

/// Whether an answer is one to this query: anything that does not repeat the question is not.
fn is_answer(answer: &[u8], query: &[u8]) -> bool {
    answer.get(..2) == query.get(..2) && answer.get(12..query.len()) == query.get(12..)
}

/// Asks again for an answer that a datagram was too small for.
async fn ask_by_tcp(server: SocketAddr, query: &[u8], kind: u16) -> Result<Vec<IpAddr>, String> {
    let failed = |error: std::io::Error| format!("dial tcp {server}: {}", plain(&error));
    let asked = timeout(ANSWER_WITHIN, async {
        let mut stream = TcpStream::connect(server).await?;
        let length = (query.len() as u16).to_be_bytes();
        stream.write_all(&[&length[..], query].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    });
    let answer = asked
        .await
        .map_err(|_| format!("read tcp {server}: i/o timeout"))?
        .map_err(failed)?;
    if !is_answer(&answer, query) {
        return Err("cannot unmarshal DNS message".to_owned());
    }
    parse_answer(&answer, query.len(), kind)
}

/// An unpredictable number where the kernel gives one; the random source port does the rest.
fn query_id() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut bytes = [0; 2];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(2) => u16::from_ne_bytes(bytes),
        _ => NEXT.fetch_add(1, Ordering::Relaxed),
    }
}

/// The question section for a name; `None` if no such name can exist.
fn question(name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len() + 6);
    if name.is_empty() || name.len() > 253 {
        return None;
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|n| (1..=63).contains(n))?;
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(out)
}

fn number(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?))
}

/// The addresses in an answer's records. A recursive server resolves aliases itself, so their
/// records are passed over.
fn parse_answer(answer: &[u8], records: usize, kind: u16) -> Result<Vec<IpAddr>, String> {
    let broken = || "cannot unmarshal DNS message".to_owned();
    match answer.get(3).ok_or_else(broken)? & 15 {
        0 => {}
        3 => return Ok(Vec::new()),
        code => return Err(format!("server misbehaving (code {code})")),
    }
    let count = number(answer, 6).ok_or_else(broken)?;
    let mut at = records;
    let mut found = Vec::new();
    for _ in 0..count.min(64) {
        at = skip_name(answer, at).ok_or_else(broken)?;
        let record = number(answer, at).ok_or_else(broken)?;
        let length = usize::from(number(answer, at + 8).ok_or_else(broken)?);
        let data = answer.get(at + 10..at + 10 + length).ok_or_else(broken)?;
        at += 10 + length;
        if record != kind || found.len() == MAX_ADDRESSES {
            continue;
        }
        if let Ok(four) = <[u8; 4]>::try_from(data) {
            found.push(IpAddr::from(four));
        } else if let Ok(six) = <[u8; 16]>::try_from(data) {
            found.push(IpAddr::from(six));
        }
    }
    Ok(found)
}

fn skip_name(data: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..128 {
        match *data.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_file_is_read() {
        let text =
            "::1 localhost\n127.0.0.1 localhost # local\n10.0.0.9\treg reg.example\n#1.1.1.1 x";
        assert_eq!(in_hosts(text, "REG.example"), [IpAddr::from([10, 0, 0, 9])]);
        assert_eq!(in_hosts(text, "localhost")[0], IpAddr::from([127, 0, 0, 1]));
        assert!(in_hosts(text, "x").is_empty());
    }

    #[test]
    fn resolv_conf_is_read() {
        let text = "search a.b c\nnameserver 10.0.0.1\nnameserver ::1\noptions ndots:2\n";
        let config = ResolvConf::parse(text);
        assert_eq!(config.servers.len(), 2);
        assert_eq!(config.candidates("x.y"), ["x.y.a.b", "x.y.c", "x.y"]);
        assert_eq!(config.candidates("x.y.z")[0], "x.y.z");
        assert_eq!(ResolvConf::parse("").servers[0].port(), 53);
    }

    #[tokio::test]
    async fn a_name_server_is_asked() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serve = async {
            for _ in 0..2 {
                let mut buffer = [0; 512];
                let (length, peer) = server.recv_from(&mut buffer).await.unwrap();
                let query = &buffer[..length];
                let kind = number(query, length - 4).unwrap();
                let mut answer = query.to_vec();
                answer[2..4].copy_from_slice(&[0x81, 0x80]);
                // An alias first, then the address.
                answer[7] = 2;
                answer.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
                let data: &[u8] = if kind == TYPE_A {
                    &[10, 1, 2, 3]
                } else {
                    &[7; 16]
                };
                answer.extend_from_slice(&[0xc0, 12, 0, kind as u8, 0, 1, 0, 0, 0, 9, 0]);
                answer.push(data.len() as u8);
                answer.extend_from_slice(data);
                server.send_to(b"noise", peer).await.unwrap();
                server.send_to(&answer, peer).await.unwrap();
            }
        };
        let (found, ()) = tokio::join!(ask_both(address, "reg.example"), serve);
        assert_eq!(
            found.unwrap(),
            [IpAddr::from([10, 1, 2, 3]), IpAddr::from([7; 16])]
        );
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_short_is_asked_for_by_tcp() {
        let (datagrams, streams) = loop {
            let streams = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            // The port may be another's by datagrams.
            if let Ok(datagrams) = UdpSocket::bind(streams.local_addr().unwrap()).await {
                break (datagrams, streams);
            }
        };
        let address = datagrams.local_addr().unwrap();
        let answer = |query: &[u8], flags: u8, count: u8| {
            let mut answer = query.to_vec();
            answer[2..4].copy_from_slice(&[0x81 | flags, 0x80]);
            answer[7] = count;
            for last in 0..count {
                answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, last]);
            }
            answer
        };
        let serve = async {
            let mut buffer = [0; 512];
            let (length, peer) = datagrams.recv_from(&mut buffer).await.unwrap();
            let cut = answer(&buffer[..length], TRUNCATED, 0);
            datagrams.send_to(&cut, peer).await.unwrap();
            let (mut stream, _) = streams.accept().await.unwrap();
            let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut query).await.unwrap();
            assert_eq!(query, buffer[..length]);
            let whole = answer(&query, 0, 12);
            stream.write_u16(whole.len() as u16).await.unwrap();
            stream.write_all(&whole).await.unwrap();
        };
        let (found, ()) = tokio::join!(ask(address, "reg.example", TYPE_A), serve);
        let expected: Vec<IpAddr> = (0..12).map(|last| [10, 0, 0, last].into()).collect();
        assert_eq!(found.unwrap(), expected);
    }

    #[tokio::test]
    async fn literal_and_local_names_need_no_server() {
        assert_eq!(
            addresses("::1").await.unwrap(),
            [IpAddr::from(Ipv6Addr::LOCALHOST)]
        );
        assert!(
            addresses("localhost")
                .await
                .unwrap()
                .contains(&IpAddr::from([127, 0, 0, 1]))
        );
    }

    #[test]
    fn broken_answers_are_errors() {
        let question = question("a.b", TYPE_A).unwrap();
        let mut answer = vec![0, 1, 0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0];
        answer.extend_from_slice(&question);
        for cut in [answer.len(), answer.len() - 1] {
            assert!(parse_answer(&answer[..cut], 12 + question.len(), TYPE_A).is_err());
        }
        assert!(super::question("a..b", TYPE_A).is_none());
        assert!(super::question(&"a".repeat(64), TYPE_A).is_none());
    }
}
