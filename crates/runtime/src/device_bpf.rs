//! Device rules of cgroup version 2: a program of extended BPF, made by hand, that the kernel asks on every open
//! and mknod of a device.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use sys::bpf::{DeviceProgram, Instruction};

use crate::cgroup::{DeviceKind, DeviceRule};

/// Loaded programs that are kept for further groups: most containers have the same rules, and loading costs as
/// much as all else that a group needs.
const KEPT: usize = 8;
static LOADED: Mutex<Vec<(Vec<DeviceRule>, Arc<DeviceProgram>)>> = Mutex::new(Vec::new());

// Values of `struct bpf_cgroup_dev_ctx`: access_type, major, minor.
const TYPE_BLOCK: i32 = 1;
const TYPE_CHAR: i32 = 2;
const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;
const ACCESS_ALL: i32 = ACCESS_MKNOD | ACCESS_READ | ACCESS_WRITE;

const RESULT: u8 = 0;
/// The context at the start; from then on scratch.
const CONTEXT: u8 = 1;
const SCRATCH: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD_WORD: u8 = 0x61;
const SET: u8 = 0xb7;
const COPY: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const IF_EQUAL: u8 = 0x15;
const IF_NOT_EQUAL: u8 = 0x55;
const IF_NOT_SAME: u8 = 0x5d;
const EXIT: u8 = 0x95;

/// Makes `rules` the device rules of the group whose folder is `group`, in place of earlier ones in one step.
///
/// An error names what failed: `load`, `list` or `attach`.
pub(crate) fn apply(
    group: BorrowedFd<'_>,
    rules: &[DeviceRule],
) -> Result<(), (&'static str, io::Error)> {
    let program = loaded(rules).map_err(|error| ("load", error))?;
    let former = DeviceProgram::attached(group).map_err(|error| ("list", error))?;
    program
        .attach(group, former.last())
        .map_err(|error| ("attach", error))
}

fn loaded(rules: &[DeviceRule]) -> io::Result<Arc<DeviceProgram>> {
    let kept = || LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, program)) = kept().iter().find(|(known, _)| known == rules) {
        return Ok(Arc::clone(program));
    }
    let program = Arc::new(DeviceProgram::load(&assemble(rules))?);
    let mut kept = kept();
    if kept.len() >= KEPT {
        kept.remove(0);
    }
    kept.push((rules.to_vec(), Arc::clone(&program)));
    Ok(program)
}

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: source << 4 | destination,
        offset,
        immediate,
    }
}

/// The program: the rules from the last to the first, each a few tests that jump to the next rule, and denial
/// at the end.
fn assemble(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD_WORD, TYPE, CONTEXT, 0, 0),
        instruction(COPY, ACCESS, TYPE, 0, 0),
        instruction(AND, TYPE, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        match rule.kind {
            // Always with a test of the kind: the kernel refuses programs with parts that nothing reaches.
            DeviceKind::Char => decide(&mut program, rule, TYPE_CHAR),
            DeviceKind::Block => decide(&mut program, rule, TYPE_BLOCK),
            DeviceKind::All => {
                decide(&mut program, rule, TYPE_CHAR);
                decide(&mut program, rule, TYPE_BLOCK);
            }
        }
    }
    program.extend([
        instruction(SET, RESULT, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ]);
    program
}

/// One rule. An allowing one matches when it covers all that is asked for, a denying one when it covers any.
fn decide(program: &mut Vec<Instruction>, rule: &DeviceRule, kind: i32) {
    let mut block = vec![instruction(IF_NOT_EQUAL, TYPE, 0, 0, kind)];
    let access = [
        (rule.access.mknod, ACCESS_MKNOD),
        (rule.access.read, ACCESS_READ),
        (rule.access.write, ACCESS_WRITE),
    ]
    .iter()
    .fold(0, |mask, (set, bit)| if *set { mask | bit } else { mask });
    if access != ACCESS_ALL {
        block.push(instruction(COPY, SCRATCH, ACCESS, 0, 0));
        block.push(instruction(AND, SCRATCH, 0, 0, access));
        block.push(if rule.allow {
            instruction(IF_NOT_SAME, SCRATCH, ACCESS, 0, 0)
        } else {
            instruction(IF_EQUAL, SCRATCH, 0, 0, 0)
        });
    }
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(number) = number {
            block.push(instruction(
                IF_NOT_EQUAL,
                register,
                0,
                0,
                number.cast_signed(),
            ));
        }
    }
    block.push(instruction(SET, RESULT, 0, 0, i32::from(rule.allow)));
    block.push(instruction(EXIT, 0, 0, 0, 0));
    let length = block.len();
    for (at, test) in block.iter_mut().enumerate() {
        if matches!(test.code, IF_EQUAL | IF_NOT_EQUAL | IF_NOT_SAME) {
            // A block has ten instructions at most.
            test.offset = (length - at - 1) as i16;
        }
    }
    program.append(&mut block);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Access, default_device_rules};

    /// What the program answers.
    fn ask(program: &[Instruction], kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let context = [(access << 16 | kind).cast_unsigned(), major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0;
        loop {
            let Instruction {
                code,
                registers: pair,
                offset,
                immediate,
            } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let constant = i64::from(immediate).cast_unsigned();
            at += 1;
            let jump = match code {
                LOAD_WORD => {
                    registers[to] = u64::from(context[offset as usize / 4]);
                    false
                }
                SET => {
                    registers[to] = constant;
                    false
                }
                COPY => {
                    registers[to] = registers[from];
                    false
                }
                AND => {
                    registers[to] &= constant;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= constant;
                    false
                }
                IF_EQUAL => registers[to] == constant,
                IF_NOT_EQUAL => registers[to] != constant,
                IF_NOT_SAME => registers[to] != registers[from],
                EXIT => return registers[0] != 0,
                _ => panic!("code {code:#x}"),
            };
            if jump {
                at = at.checked_add_signed(offset.into()).unwrap();
            }
        }
    }

    #[test]
    fn the_default_rules() {
        let program = assemble(&default_device_rules());
        let rw = ACCESS_READ | ACCESS_WRITE;
        assert!(ask(&program, TYPE_CHAR, rw, 1, 3), "null");
        assert!(ask(&program, TYPE_CHAR, rw, 136, 77), "a terminal");
        assert!(
            ask(&program, TYPE_CHAR, ACCESS_MKNOD, 200, 1)
                && ask(&program, TYPE_BLOCK, ACCESS_MKNOD, 8, 0)
        );
        assert!(!ask(&program, TYPE_CHAR, ACCESS_READ, 1, 1), "mem");
        assert!(
            !ask(&program, TYPE_BLOCK, ACCESS_READ, 1, 3),
            "a disk with null's number"
        );
        assert!(
            !ask(&program, TYPE_BLOCK, ACCESS_READ | ACCESS_MKNOD, 8, 0),
            "more than is allowed"
        );
    }

    #[test]
    fn the_last_matching_rule_decides() {
        let rule = |text: &str, allow| DeviceRule {
            allow,
            ..DeviceRule::parse(text).unwrap()
        };
        let program = assemble(&[
            rule("a *:* rwm", true),
            rule("c 1:* w", false),
            rule("c 1:3 rwm", true),
        ]);
        assert!(ask(&program, TYPE_CHAR, ACCESS_READ, 1, 1));
        assert!(!ask(&program, TYPE_CHAR, ACCESS_WRITE, 1, 1));
        assert!(!ask(&program, TYPE_CHAR, ACCESS_READ | ACCESS_WRITE, 1, 1));
        assert!(ask(&program, TYPE_CHAR, ACCESS_WRITE, 1, 3));
        assert!(ask(&program, TYPE_BLOCK, ACCESS_WRITE, 1, 1));
        assert!(!ask(&assemble(&[]), TYPE_CHAR, ACCESS_READ, 1, 3));
    }

    #[test]
    fn the_kernel_takes_the_programs() {
        let deny = DeviceRule {
            allow: false,
            ..DeviceRule::allow_char(1, None, Access::MKNOD)
        };
        for rules in [
            vec![],
            default_device_rules(),
            vec![deny],
            vec![DeviceRule::parse("a *:* rwm").unwrap()],
        ] {
            DeviceProgram::load(&assemble(&rules)).unwrap();
        }
    }
}
