//! Where the linker put which function: what lld writes with `-Map`.

use std::collections::HashMap;

/// A function's section, or what an object of the C library has of code.
pub(super) struct Section {
    start: u64,
    size: u64,
    /// The pattern of a linker script that finds it in another build: names are there, hashes are not.
    pub(super) pattern: String,
}

/// All sections of code, by their addresses.
pub(super) struct Map {
    sections: Vec<Section>,
    /// What all sections of a pattern have together.
    sizes: HashMap<String, u64>,
}

impl Map {
    pub(super) fn read(text: &str) -> Self {
        let mut sections: Vec<Section> = text.lines().filter_map(section).collect();
        sections.sort_by_key(|section| section.start);
        let mut sizes = HashMap::new();
        for section in &sections {
            *sizes.entry(section.pattern.clone()).or_default() += section.size;
        }
        Map { sections, sizes }
    }

    /// From the first address to behind the last.
    pub(super) fn range(&self) -> std::ops::Range<u64> {
        let first = self.sections.first().map_or(0, |section| section.start);
        let last = self.sections.last();
        first..last.map_or(0, |section| section.start + section.size)
    }

    /// The section that an address is in.
    pub(super) fn at(&self, address: u64) -> Option<&Section> {
        let next = self
            .sections
            .partition_point(|section| section.start <= address);
        let section = &self.sections[next.checked_sub(1)?];
        (address < section.start + section.size).then_some(section)
    }

    /// The bytes of all sections that a pattern finds.
    pub(super) fn size_of(&self, pattern: &str) -> u64 {
        self.sizes.get(pattern).copied().unwrap_or(0)
    }
}

impl Section {
    pub(super) fn bytes(&self) -> u64 {
        self.size
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }
}

/// `VMA LMA SIZE ALIGN PATH:(.text.NAME)`, in hexadecimal; lines of symbols and of other sections are passed over.
fn section(line: &str) -> Option<Section> {
    let mut words = line.split_whitespace();
    let start = u64::from_str_radix(words.next()?, 16).ok()?;
    words.next()?;
    let size = u64::from_str_radix(words.next()?, 16).ok()?;
    words.next()?;
    let (place, name) = words.next()?.strip_suffix(')')?.rsplit_once(":(")?;
    if !name.starts_with(".text") || words.next().is_some() {
        return None;
    }
    let file = place.rsplit_once('/').map_or(place, |(_, file)| file);
    Some(Section {
        start,
        size,
        pattern: pattern(file, name),
    })
}

/// An object of a C library is found by its name; of a crate's library only the name is told before its hash.
fn pattern(file: &str, name: &str) -> String {
    if let Some((library, object)) = file
        .strip_suffix(')')
        .and_then(|file| file.split_once(".a("))
    {
        return format!("*{library}.a:{object}({name})");
    }
    let stem = file
        .split_once(".rlib(")
        .map_or(file, |(library, _)| library);
    let stem = stem.split_once('-').map_or(stem, |(name, _)| name);
    let member = if file.contains(".rlib(") {
        "-*.rlib:*"
    } else {
        "-*"
    };
    format!("*/{stem}{member}({})", without_hashes(name))
}

/// A mangled name with `*` for what changes with every build: the hash at the end of an old name, the crates' of a new
/// one, and the compiler's suffix.
fn without_hashes(name: &str) -> String {
    let name = match name.split_once(".llvm.") {
        Some((name, _)) => format!("{name}*"),
        None => name.to_owned(),
    };
    if let Some(at) = name.rfind("17h") {
        let is_hash = |text: &str| {
            text.len() >= 16 && text.bytes().take(16).all(|byte| byte.is_ascii_hexdigit())
        };
        if is_hash(&name[at + 3..]) {
            return format!("{}17h*", &name[..at]);
        }
    }
    let mut rest = name.as_str();
    let mut out = String::new();
    // `Cs`, at most 13 digits of base 62, `_`.
    while let Some(at) = rest.find("Cs") {
        let digits = rest[at + 2..]
            .bytes()
            .take_while(u8::is_ascii_alphanumeric)
            .count();
        let (before, after) = rest.split_at(at + 2);
        out.push_str(before);
        rest = after;
        if (9..=13).contains(&digits) && rest[digits..].starts_with('_') {
            out.push('*');
            rest = &rest[digits..];
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_by_their_addresses() {
        let map = Map::read(
            "             VMA              LMA     Size Align Out     In      Symbol
          7e61c0           7e61c0    10338a3    64 .text
          7e61c0           7e61c0      156    16         /t/deps/liboci-3f1b6f04fd250ff0.rlib(oci-3f.rcgu.o):(.text._ZN3oci3run17h5aaf8a39735e6c0bE)
          7e61c0           7e61c0      156     1                 _ZN3oci3run17h5aaf8a39735e6c0bE
          7e6320           7e6320       20    16         /usr/lib/x86_64-linux-gnu/libc.a(memcpy.o):(.text)
          7e6340           7e6340       10    16         /t/deps/wharf-26cc3f330937cb03.wharf.1-cgu.0.rcgu.o:(.text.main)
",
        );
        assert_eq!(map.range(), 0x7e_61c0..0x7e_6350);
        let at = |address| map.at(address).map(|section| section.pattern.as_str());
        assert_eq!(
            at(0x7e_61c1),
            Some("*/liboci-*.rlib:*(.text._ZN3oci3run17h*)")
        );
        assert_eq!(at(0x7e_631f), None);
        assert_eq!(at(0x7e_6320), Some("*libc.a:memcpy.o(.text)"));
        assert_eq!(at(0x7e_6340), Some("*/wharf-*(.text.main)"));
        assert_eq!(map.size_of("*libc.a:memcpy.o(.text)"), 0x20);
    }

    #[test]
    fn what_changes_with_a_build_is_left_open() {
        let of = |name| without_hashes(name);
        assert_eq!(
            of(".text._ZN3a17h0123456789abcdefE.llvm.123"),
            ".text._ZN3a17h*"
        );
        assert_eq!(
            of(".text._RNvCsfLfy6EiMpWx_7___rustc12___rust_alloc"),
            ".text._RNvCs*_7___rustc12___rust_alloc"
        );
        assert_eq!(of(".text.wharf_start"), ".text.wharf_start");
    }
}
