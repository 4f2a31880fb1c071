//! A classic-BPF machine, for tests: what the kernel would answer, and how many instructions it took.

use super::SockFilter;

/// The kernel's `struct seccomp_data`, little endian.
pub(super) fn call_data(number: u32, arch: u32, args: &[u64; 6]) -> [u8; 64] {
    let mut data = [0; 64];
    data[0..4].copy_from_slice(&number.to_le_bytes());
    data[4..8].copy_from_slice(&arch.to_le_bytes());
    for (index, arg) in args.iter().enumerate() {
        data[16 + 8 * index..24 + 8 * index].copy_from_slice(&arg.to_le_bytes());
    }
    data
}

/// The filter's return value and the length of the way to it.
pub(super) fn run(filter: &[SockFilter], data: &[u8; 64]) -> (u32, usize) {
    let (mut at, mut accumulator, mut steps) = (0usize, 0u32, 0);
    loop {
        let SockFilter { code, jt, jf, k } = filter[at];
        at += 1;
        steps += 1;
        let holds = match code {
            0x20 => {
                let offset = k as usize;
                assert!(offset.is_multiple_of(4));
                accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x05 => {
                at += k as usize;
                continue;
            }
            0x06 => return (k, steps),
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            _ => panic!("instruction {at}: code {code:#x}"),
        };
        at += usize::from(if holds { jt } else { jf });
    }
}
