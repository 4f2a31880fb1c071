//! bpf(2), as far as device rules of cgroup v2 need it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction of extended BPF, laid out as the kernel's `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the lower half, source register in the upper.
    pub registers: u8,
    /// Offset of a jump or of memory.
    pub offset: i16,
    /// Constant operand.
    pub immediate: i32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Groups beneath may attach programs of their own; all of them must allow.
const ALLOW_MULTI: u32 = 1 << 1;
/// The new program takes the place of a given one in one step.
const REPLACE: u32 = 1 << 2;

/// `union bpf_attr` for PROG_LOAD, as far as Linux 4.15 knew it plus the name.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// `union bpf_attr` for PROG_ATTACH and PROG_DETACH.
#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// `union bpf_attr` for PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// `union bpf_attr` for PROG_GET_FD_BY_ID.
#[repr(C)]
#[derive(Default)]
struct ByIdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

fn bpf<T>(command: libc::c_int, attr: &mut T) -> std::io::Result<libc::c_long> {
    // SAFETY: `attr` is a live, fully initialised structure of the size that is passed; pointers within it are
    // set by the callers below to slices that outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if result < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn owned(result: libc::c_long) -> std::io::Result<OwnedFd> {
    let fd = libc::c_int::try_from(result)
        .map_err(|_| std::io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the command that gave `result` returns a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    fd.as_raw_fd().cast_unsigned()
}

/// A program that decides whether a group's processes may use a device.
#[derive(Debug)]
pub struct DeviceProgram(OwnedFd);

impl DeviceProgram {
    /// Has the kernel check and load `program`. Needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN.
    pub fn load(program: &[Instruction]) -> std::io::Result<DeviceProgram> {
        let mut name = [0; 16];
        name[..7].copy_from_slice(b"devices");
        let mut attr = LoadAttr {
            prog_type: PROG_TYPE_CGROUP_DEVICE,
            insn_cnt: u32::try_from(program.len())
                .map_err(|_| std::io::Error::from_raw_os_error(libc::E2BIG))?,
            insns: program.as_ptr() as u64,
            license: c"Apache-2.0".as_ptr() as u64,
            prog_name: name,
            ..LoadAttr::default()
        };
        owned(bpf(PROG_LOAD, &mut attr)?).map(DeviceProgram)
    }

    /// Attaches the program to the group whose folder is `group`, in place of `former` if given.
    pub fn attach(
        &self,
        group: BorrowedFd<'_>,
        former: Option<&DeviceProgram>,
    ) -> std::io::Result<()> {
        let mut attr = AttachAttr {
            target_fd: number(group),
            attach_bpf_fd: number(self.0.as_fd()),
            attach_type: ATTACH_CGROUP_DEVICE,
            attach_flags: ALLOW_MULTI,
            replace_bpf_fd: 0,
        };
        if let Some(former) = former {
            attr.attach_flags |= REPLACE;
            attr.replace_bpf_fd = number(former.0.as_fd());
        }
        bpf(PROG_ATTACH, &mut attr).map(drop)
    }

    /// Takes the program from the group whose folder is `group`.
    pub fn detach(&self, group: BorrowedFd<'_>) -> std::io::Result<()> {
        let mut attr = AttachAttr {
            target_fd: number(group),
            attach_bpf_fd: number(self.0.as_fd()),
            attach_type: ATTACH_CGROUP_DEVICE,
            ..AttachAttr::default()
        };
        bpf(PROG_DETACH, &mut attr).map(drop)
    }

    /// The programs attached to the group itself, at most 64 (the kernel's limit), in the order they were attached.
    pub fn attached(group: BorrowedFd<'_>) -> std::io::Result<Vec<DeviceProgram>> {
        let mut ids = [0u32; 64];
        let mut attr = QueryAttr {
            target_fd: number(group),
            attach_type: ATTACH_CGROUP_DEVICE,
            prog_ids: ids.as_mut_ptr() as u64,
            prog_cnt: 64,
            ..QueryAttr::default()
        };
        bpf(PROG_QUERY, &mut attr)?;
        ids.iter()
            .take(attr.prog_cnt as usize)
            .map(|id| DeviceProgram::by_id(*id))
            .collect()
    }

    fn by_id(id: u32) -> std::io::Result<DeviceProgram> {
        owned(bpf(
            PROG_GET_FD_BY_ID,
            &mut ByIdAttr {
                id,
                ..ByIdAttr::default()
            },
        )?)
        .map(DeviceProgram)
    }
}
