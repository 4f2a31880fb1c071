//! Names and numbers of system calls for each instruction set.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::profile::Arch;

const TABLE: &str = include_str!("syscalls.tsv");

/// Added to a number by programs of the x32 kind.
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// First of the numbers, bit aside, that only programs of the x32 kind use. Below it, a number that x32 has means
/// the same as for 64-bit programs.
pub(super) const X32_OWN: u32 = 512;
/// First number of ARM's private system calls, which lie far above the common ones.
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;

/// Numbers of one name, by `column`.
type Row = [Option<u32>; 5];

fn column(arch: Arch) -> usize {
    match arch {
        Arch::X86_64 => 0,
        Arch::X86 => 1,
        Arch::X32 => 2,
        Arch::Aarch64 => 3,
        Arch::Arm => 4,
    }
}

fn table() -> &'static HashMap<&'static str, Row> {
    static PARSED: OnceLock<HashMap<&'static str, Row>> = OnceLock::new();
    PARSED.get_or_init(|| {
        TABLE
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(row)
            .collect()
    })
}

fn row(line: &'static str) -> Option<(&'static str, Row)> {
    let mut fields = line.split('\t');
    let name = fields.next()?;
    let mut numbers = [None; 5];
    for number in &mut numbers {
        *number = fields.next()?.parse().ok();
    }
    let x32 = &mut numbers[column(Arch::X32)];
    *x32 = x32.map(|number| number | X32_BIT);
    Some((name, numbers))
}

/// The number of the call `name` on `arch`, as the kernel sees it there (x32 with its bit); `None` where the call
/// does not exist or is newer than this table.
pub(super) fn number(arch: Arch, name: &str) -> Option<u32> {
    table().get(name).and_then(|numbers| numbers[column(arch)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(table().len(), lines);
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            for field in line.split('\t').skip(1) {
                assert!(field == "-" || field.parse::<u32>().is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn no_number_belongs_to_two_unrelated_names() {
        for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
            let mut seen = HashMap::new();
            for (name, row) in table() {
                if let Some(number) = row[column(arch)]
                    && let Some(other) = seen.insert(number, name)
                {
                    panic!("{arch:?} {number}: {name} and {other}");
                }
            }
        }
    }

    #[test]
    fn known_numbers() {
        assert_eq!(number(Arch::X86_64, "execve"), Some(59));
        assert_eq!(number(Arch::X86, "execve"), Some(11));
        assert_eq!(number(Arch::X32, "execve"), Some(520 | X32_BIT));
        assert_eq!(number(Arch::Aarch64, "execve"), Some(221));
        assert_eq!(number(Arch::Arm, "set_tls"), Some(ARM_PRIVATE + 5));
        assert_eq!(number(Arch::Aarch64, "open"), None);
        assert_eq!(number(Arch::X86_64, "nonsense"), None);
        // The C library's constants are an independent witness for this machine's own set.
        for (name, value) in [
            ("clone3", libc::SYS_clone3),
            ("openat2", libc::SYS_openat2),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("seccomp", libc::SYS_seccomp),
            ("prctl", libc::SYS_prctl),
            ("setns", libc::SYS_setns),
            ("bpf", libc::SYS_bpf),
        ] {
            let native = if cfg!(target_arch = "x86_64") {
                Arch::X86_64
            } else {
                Arch::Aarch64
            };
            assert_eq!(number(native, name).map(i64::from), Some(value), "{name}");
        }
    }
}
