//! A context in a tar archive (POSIX ustar), as docker's client exports and imports it: `meta.json`, and certificates at
//! `tls/ENDPOINT/FILE`.

use super::{Context, Secrets};

const BLOCK: usize = 512;
/// More files than this are not read from an archive.
const MOST: usize = 256;

const FILE: u8 = b'0';
const FOLDER: u8 = b'5';

/// Packs a context.
pub(crate) fn pack(context: &Context, secrets: &Secrets) -> Vec<u8> {
    let mut out = Vec::new();
    add(
        &mut out,
        "meta.json",
        (FILE, 0o644),
        context.document().to_string().as_bytes(),
    );
    let mut last = "";
    add(&mut out, "tls", (FOLDER, 0o700), b"");
    for (endpoint, name, content) in secrets {
        if endpoint != last {
            add(&mut out, &format!("tls/{endpoint}"), (FOLDER, 0o700), b"");
            last = endpoint;
        }
        let path = format!("tls/{endpoint}/{name}");
        add(&mut out, &path, (FILE, 0o600), content);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

/// Adds an entry. Names of contexts' files are short; one that does not fit is cut, and so refused by whoever reads it.
fn add(out: &mut Vec<u8>, name: &str, (kind, mode): (u8, u32), content: &[u8]) {
    let mut head = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    let name = name.as_bytes();
    put(0, &name[..name.len().min(100)]);
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{:011o}", content.len()).as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// Reads an archive: the context under the name that it had, and its certificates.
///
/// # Errors
/// Why it is none.
pub(crate) fn unpack(archive: &[u8]) -> Result<(Context, Secrets), String> {
    if archive.starts_with(b"PK\x03\x04") {
        return Err("this is a zip file, and wharf reads tar archives".to_owned());
    }
    let mut context = None;
    let mut secrets = Secrets::new();
    let mut rest = archive;
    for number in 0.. {
        // Docker's client ends its archives with the last file, without the empty blocks that others write.
        if rest.is_empty() {
            break;
        }
        let Some((head, behind)) = rest.split_first_chunk::<BLOCK>() else {
            return Err("unexpected EOF".to_owned());
        };
        if head.iter().all(|byte| *byte == 0) {
            break;
        }
        if number >= MOST {
            return Err(format!("the archive has more than {MOST} files"));
        }
        let entry = Entry::read(head)?;
        if behind.len() < entry.size {
            return Err("unexpected EOF".to_owned());
        }
        let (content, _) = behind.split_at(entry.size);
        rest = behind
            .get(entry.size.next_multiple_of(BLOCK)..)
            .unwrap_or_default();
        match (entry.kind, entry.name.as_str()) {
            (FOLDER, _) => {}
            (FILE | 0, "meta.json") => context = Some(Context::read(content)?),
            (FILE | 0, name) => {
                let (endpoint, file) = secret(name)?;
                secrets.push((endpoint, file, content.to_vec()));
            }
            (_, name) => return Err(format!("{name:?} is neither a file nor a folder")),
        }
    }
    let context = context.ok_or("invalid context: no metadata found")?;
    Ok((context, secrets))
}

/// Endpoint and file of `tls/ENDPOINT/FILE`.
fn secret(name: &str) -> Result<(String, String), String> {
    let parts: Vec<_> = name.split('/').collect();
    match parts[..] {
        ["tls", endpoint, file] if [endpoint, file].iter().all(|part| is_plain(part)) => {
            Ok((endpoint.to_owned(), file.to_owned()))
        }
        _ => Err(format!("unexpected context file: {name}")),
    }
}

/// Whether a word is the name of a file and leads nowhere else.
fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains('\0')
}

/// The head of an entry.
struct Entry {
    name: String,
    kind: u8,
    size: usize,
}

impl Entry {
    fn read(head: &[u8; BLOCK]) -> Result<Self, String> {
        let text = |field: &[u8]| {
            let end = field.iter().position(|byte| *byte == 0);
            String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
        };
        let number = |field: &[u8]| {
            let digits = text(field);
            let digits = digits.trim();
            usize::from_str_radix(digits, 8).map_err(|_| "it is no tar archive".to_owned())
        };
        let sum: usize = head
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                148..156 => usize::from(b' '),
                _ => usize::from(*byte),
            })
            .sum();
        if number(&head[148..156])? != sum {
            return Err("it is no tar archive".to_owned());
        }
        let name = text(&head[..100]);
        let name = name.trim_start_matches("./").trim_end_matches('/');
        Ok(Entry {
            name: name.to_owned(),
            kind: head[156],
            size: number(&head[124..136])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Context, Secrets) {
        let mut context = Context::new("far");
        context.set_engine("tcp://x:1", true);
        let secret = |name: &str| ("docker".to_owned(), name.to_owned(), vec![b'x'; 700]);
        (context, vec![secret("ca.pem"), secret("key.pem")])
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let (context, secrets) = sample();
        let archive = pack(&context, &secrets);
        assert_eq!(unpack(&archive), Ok((context, secrets)));
    }

    #[test]
    fn what_is_no_archive_of_a_context_is_refused() {
        let (context, secrets) = sample();
        let archive = pack(&context, &secrets);
        let whole = archive.len() - 1024;
        for end in [0, 1, 511, 513, 600, whole - 1024 + 699, whole - 1024 - 1] {
            assert!(unpack(&archive[..end]).is_err(), "{end}");
        }
        // As docker's client writes it: nothing behind the last byte.
        assert!(unpack(&archive[..whole - 1024 + 700]).is_ok());
        assert!(unpack(b"PK\x03\x04").unwrap_err().contains("zip"));
        assert!(unpack(&[b'x'; 1024]).is_err());
        let mut none = pack(&context, &secrets);
        none.drain(..1024);
        assert_eq!(
            unpack(&none),
            Err("invalid context: no metadata found".to_owned())
        );
        for name in [
            "../x",
            "tls/../../x",
            "tls/docker/..",
            "tls/docker/a/b",
            "/etc/passwd",
            "x",
        ] {
            let mut bad = Vec::new();
            add(&mut bad, name, (FILE, 0o600), b"x");
            bad.extend_from_slice(&archive);
            assert!(unpack(&bad).unwrap_err().contains("unexpected"), "{name}");
        }
        let mut link = Vec::new();
        add(&mut link, "tls/docker/x", (b'2', 0o600), b"");
        assert!(unpack(&link).unwrap_err().contains("neither"));
    }
}
