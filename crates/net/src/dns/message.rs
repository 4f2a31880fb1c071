//! DNS messages as far as they matter here (RFC 1035, 6891): the header and the one question of a query are read, and
//! answers with addresses, a name, or nothing are written.

use std::net::{IpAddr, Ipv6Addr};

/// Kinds of records.
pub(crate) const A: u16 = 1;
pub(crate) const PTR: u16 = 12;
/// RFC 3596.
pub(crate) const AAAA: u16 = 28;
const OPT: u16 = 41;
const INTERNET: u16 = 1;

/// Codes of answers.
pub(crate) const FORMAT_ERROR: u8 = 1;
pub(crate) const SERVER_FAILURE: u8 = 2;

const HEADER: usize = 12;
/// Bytes of an answer over UDP that every client takes.
const SMALLEST: usize = 512;
/// The most that is sent in one datagram, and what is said to be taken in one.
const LARGEST: usize = 1232;
/// Seconds that an answer from the table may be kept for, as docker's.
const TTL: u32 = 600;

/// The longest name, in bytes of the message.
const NAME: usize = 255;

/// A query with one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    packet: &'a [u8],
    /// In small letters, without the last dot. `None` for one that is no text; nobody here has such a name.
    pub(crate) name: Option<String>,
    pub(crate) kind: u16,
    /// Where the question ends.
    end: usize,
    /// How much a datagram with the answer may hold; told by the client.
    payload: Option<usize>,
}

impl<'a> Query<'a> {
    /// Reads a query; `None` for anything else.
    pub(crate) fn read(packet: &'a [u8]) -> Option<Self> {
        let number = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
        let flags = number(2)?;
        let is_query = flags & 0x8000 == 0 && flags & 0x7800 == 0;
        if !is_query || number(4)? != 1 {
            return None;
        }
        let (name, after) = read_name(packet, HEADER)?;
        let kind = number(after)?;
        let end = after + 4;
        packet.get(..end)?;
        // Only what stands first counts, and nothing but this stands there in queries.
        let alone = number(6)? == 0 && number(8)? == 0 && number(10)? > 0;
        let is_opt = alone && packet.get(end) == Some(&0) && number(end + 1) == Some(OPT);
        Some(Query {
            packet,
            name,
            kind,
            end,
            payload: is_opt.then(|| number(end + 3).map_or(0, usize::from)),
        })
    }

    /// Whether it asks about the internet, as all do.
    pub(crate) fn is_of_internet(&self) -> bool {
        self.packet.get(self.end - 2..self.end) == Some(&INTERNET.to_be_bytes())
    }

    /// The address that a query for its name asks about (`4.3.2.1.in-addr.arpa`, and with each hexadecimal digit of an
    /// address of IPv6 `….ip6.arpa`).
    pub(crate) fn reverse(&self) -> Option<IpAddr> {
        let name = self.name.as_deref()?;
        if let Some(digits) = name.strip_suffix(".ip6.arpa") {
            return reverse6(digits).map(IpAddr::V6);
        }
        let digits = name.strip_suffix(".in-addr.arpa")?;
        let mut bytes: Vec<u8> = digits
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        bytes.reverse();
        let octets: [u8; 4] = bytes.try_into().ok()?;
        Some(octets.into())
    }

    /// Whether an address is of the kind that is asked for.
    pub(crate) fn asks_for(&self, address: &IpAddr) -> bool {
        self.kind == if address.is_ipv4() { A } else { AAAA }
    }

    /// An answer with those of these addresses that are of the kind asked for, none for a name that has none. Over UDP
    /// (`datagram`) one that does not fit says so, and the client asks over TCP.
    pub(crate) fn addresses(&self, addresses: &[IpAddr], datagram: bool) -> Vec<u8> {
        let records: Vec<_> = addresses
            .iter()
            .filter(|one| self.asks_for(one))
            .map(|one| match one {
                IpAddr::V4(one) => (A, one.octets().to_vec()),
                IpAddr::V6(one) => (AAAA, one.octets().to_vec()),
            })
            .collect();
        self.answer(&records, datagram)
    }

    /// An answer with a name.
    pub(crate) fn names(&self, name: &str, datagram: bool) -> Vec<u8> {
        let Some(data) = write_name(name) else {
            return self.failure(SERVER_FAILURE);
        };
        self.answer(&[(PTR, data)], datagram)
    }

    /// An answer that there is none.
    pub(crate) fn failure(&self, code: u8) -> Vec<u8> {
        self.head(code, false, 0)
    }

    fn answer(&self, records: &[(u16, Vec<u8>)], datagram: bool) -> Vec<u8> {
        let most = match datagram {
            true => self.payload.unwrap_or(0).clamp(SMALLEST, LARGEST),
            false => usize::from(u16::MAX),
        };
        let length: usize = records.iter().map(|(_, data)| 12 + data.len()).sum();
        let opt = if self.payload.is_some() { 11 } else { 0 };
        if self.end + length + opt > most {
            return self.head(0, true, 0);
        }
        let mut text = self.head(0, false, records.len() as u16);
        let opt = text.split_off(self.end);
        for (kind, data) in records {
            text.extend([0xc0, HEADER as u8]);
            text.extend(kind.to_be_bytes());
            text.extend(INTERNET.to_be_bytes());
            text.extend(TTL.to_be_bytes());
            text.extend((data.len() as u16).to_be_bytes());
            text.extend(data);
        }
        text.extend(opt);
        text
    }

    /// Header and question of an answer, and the client's extension if it spoke of one.
    fn head(&self, code: u8, truncated: bool, answers: u16) -> Vec<u8> {
        let mut text = self.packet.get(..self.end).unwrap_or_default().to_vec();
        // An answer, of one who can ask others; whether that was desired stays.
        let desired = self.packet.get(2).copied().unwrap_or(0) & 1;
        let cut = if truncated { 2 } else { 0 };
        let extensions = u16::from(self.payload.is_some());
        let rest = [0x80 | cut | desired, 0x80 | code, 0, 1]
            .into_iter()
            .chain(answers.to_be_bytes())
            .chain([0, 0])
            .chain(extensions.to_be_bytes());
        for (byte, value) in text.iter_mut().skip(2).zip(rest) {
            *byte = value;
        }
        if self.payload.is_some() {
            text.push(0);
            text.extend(OPT.to_be_bytes());
            text.extend((LARGEST as u16).to_be_bytes());
            text.extend([0; 6]);
        }
        text
    }

    /// The number that tells this query from the client's others.
    pub(crate) fn id(&self) -> [u8; 2] {
        [self.packet[0], self.packet[1]]
    }

    /// Whether a packet is an answer to this query, asked under another number.
    pub(crate) fn is_answered_by(&self, packet: &[u8], id: [u8; 2]) -> bool {
        let question = |packet: &[u8]| packet.get(HEADER..self.end).map(<[u8]>::to_ascii_lowercase);
        packet.len() >= self.end
            && packet[..2] == id
            && packet[2] & 0x80 != 0
            && packet[4..6] == [0, 1]
            && question(packet) == question(self.packet)
    }
}

/// Reads 32 digits, the last one first.
fn reverse6(digits: &str) -> Option<Ipv6Addr> {
    let digits: Vec<u128> = digits
        .split('.')
        .map(|digit| match digit.as_bytes() {
            [_] => u128::from_str_radix(digit, 16).ok(),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let bits = digits.iter().rfold(0, |bits, digit| bits << 4 | digit);
    (digits.len() == 32).then(|| Ipv6Addr::from_bits(bits))
}

/// The code of an answer.
pub(crate) fn code_of(packet: &[u8]) -> u8 {
    packet.get(3).copied().unwrap_or(0) & 0xf
}

/// A failure for a packet of which only the number could be read.
pub(crate) fn refuse(packet: &[u8]) -> Option<Vec<u8>> {
    let id = packet.get(..2)?;
    // Nobody answers an answer.
    if packet.get(2)? & 0x80 != 0 {
        return None;
    }
    let mut text = id.to_vec();
    text.extend([0x80, FORMAT_ERROR, 0, 0, 0, 0, 0, 0, 0, 0]);
    Some(text)
}

/// Reads a name that is written out, as the first one of a message is. The name is `None` when it is no text.
fn read_name(packet: &[u8], mut at: usize) -> Option<(Option<String>, usize)> {
    let start = at;
    let mut name = Some(String::new());
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        // Two bits say that it goes on elsewhere.
        if length > 63 || at + length - start > NAME {
            return None;
        }
        let label = packet.get(at..at + length)?;
        at += length;
        let is_text = |byte: &u8| byte.is_ascii_graphic() && *byte != b'.';
        name = match name {
            Some(mut name) if label.iter().all(is_text) => {
                if !name.is_empty() {
                    name.push('.');
                }
                name.extend(
                    label
                        .iter()
                        .map(|byte| char::from(byte.to_ascii_lowercase())),
                );
                Some(name)
            }
            _ => None,
        };
    }
}

/// The reverse; `None` for what is no name.
fn write_name(name: &str) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        text.push(label.len() as u8);
        text.extend(label.bytes());
    }
    text.push(0);
    (text.len() <= NAME).then_some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A query as resolvers send it.
    pub(crate) fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut packet = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend(write_name(name).unwrap());
        packet.extend(kind.to_be_bytes());
        packet.extend([0, 1]);
        packet
    }

    fn with_payload(mut packet: Vec<u8>, payload: u16) -> Vec<u8> {
        packet[11] = 1;
        packet.extend([0, 0, 41]);
        packet.extend(payload.to_be_bytes());
        packet.extend([0; 6]);
        packet
    }

    #[test]
    fn a_query_is_read_and_answered() {
        let packet = query("Web.Mine", A);
        let read = Query::read(&packet).unwrap();
        assert_eq!(read.name.as_deref(), Some("web.mine"));
        assert!(read.kind == A && read.is_of_internet());
        let answer = read.addresses(&[Ipv4Addr::new(10, 0, 0, 7).into()], true);
        assert_eq!(answer[..12], [7, 9, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[12..packet.len()], packet[12..]);
        assert_eq!(
            answer[packet.len()..],
            [0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 7]
        );
        let none = read.addresses(&[], true);
        assert_eq!((none[3], none[7], none.len()), (0x80, 0, packet.len()));
        assert!(read.is_answered_by(&answer, [7, 9]));
        assert!(!read.is_answered_by(&answer, [7, 8]) && !read.is_answered_by(&packet, [7, 9]));
        let other = query("web.other", A);
        let other = Query::read(&other).unwrap().addresses(&[], true);
        assert!(!read.is_answered_by(&other, [7, 9]));
        assert_eq!(code_of(&read.failure(SERVER_FAILURE)), SERVER_FAILURE);
    }

    #[test]
    fn each_family_is_asked_for_by_its_kind() {
        let addresses = ["10.0.0.7", "fd00::7"].map(|text| text.parse().unwrap());
        for (kind, end) in [
            (A, Some(&[0, 4, 10, 0, 0, 7][..])),
            (
                AAAA,
                Some(&[0, 16, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..]),
            ),
            (PTR, None),
        ] {
            let packet = query("web", kind);
            let answer = Query::read(&packet).unwrap().addresses(&addresses, true);
            assert_eq!(answer[7], u8::from(end.is_some()));
            assert!(answer.ends_with(end.unwrap_or(&packet[12..])), "{answer:?}");
        }
    }

    #[test]
    fn extensions_are_answered_and_make_room() {
        let many: Vec<IpAddr> = (0..60)
            .map(|last| Ipv4Addr::new(10, 0, 0, last).into())
            .collect();
        let plain = query("web", A);
        let cut = Query::read(&plain).unwrap().addresses(&many, true);
        assert_eq!((cut[2] & 2, cut[7], cut.len()), (2, 0, plain.len()));
        let whole = Query::read(&plain).unwrap().addresses(&many, false);
        assert_eq!((whole[2] & 2, whole[7]), (0, 60));
        let packet = with_payload(plain, 4096);
        let whole = Query::read(&packet).unwrap().addresses(&many, true);
        assert_eq!((whole[2] & 2, whole[7], whole[11]), (0, 60, 1));
        assert_eq!(whole[whole.len() - 11..whole.len() - 8], [0, 0, 41]);
    }

    #[test]
    fn addresses_are_asked_for_by_name() {
        let packet = query("4.3.2.10.in-addr.arpa", PTR);
        let read = Query::read(&packet).unwrap();
        assert_eq!(read.reverse(), Some(Ipv4Addr::new(10, 2, 3, 4).into()));
        let answer = read.names("web.mine", true);
        assert!(answer.ends_with(b"\x03web\x04mine\0"));
        assert_eq!(code_of(&read.names(&"x".repeat(64), true)), SERVER_FAILURE);
        let digits = "2.0.0.0.".to_owned() + &"0.".repeat(20) + "8.b.d.0.1.0.0.2";
        let packet = query(&format!("{digits}.ip6.arpa"), PTR);
        let address: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let found = Query::read(&packet).unwrap().reverse();
        assert_eq!(found, Some(address.into()));
        for name in [
            "3.2.10.in-addr.arpa",
            "a.3.2.10.in-addr.arpa",
            "web",
            "2.0.0.ip6.arpa",
            &digits.replacen("2.", "22.", 1),
            &digits.replacen("2.", "+.", 1),
        ] {
            let packet = query(name, PTR);
            assert_eq!(Query::read(&packet).unwrap().reverse(), None);
        }
    }

    #[test]
    fn what_is_no_query_is_none() {
        let good = query("web", A);
        for length in 0..good.len() {
            assert_eq!(Query::read(&good[..length]), None, "{length}");
        }
        let with = |at: usize, value: u8| {
            let mut packet = query("web", A);
            packet[at] = value;
            packet
        };
        for packet in [
            with(2, 0x80),
            with(2, 0x10),
            with(5, 2),
            with(12, 0xc0),
            with(12, 64),
        ] {
            assert_eq!(Query::read(&packet), None, "{packet:?}");
        }
        let strange = with(13, b'.');
        assert_eq!(Query::read(&strange).unwrap().name, None);
        assert_eq!(refuse(&good).unwrap()[..4], [7, 9, 0x80, FORMAT_ERROR]);
        assert_eq!((refuse(&good[..1]), refuse(&with(2, 0x80))), (None, None));
        let long = [
            &[1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
            &[1, b'a'].repeat(200),
        ]
        .concat();
        assert_eq!(Query::read(&long), None);
    }
}
