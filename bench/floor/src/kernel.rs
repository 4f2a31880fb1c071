//! System calls, each checked.

use std::ffi::{CStr, CString, c_long};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::{Made, Setting, child};

/// A descriptor that closes when dropped.
pub(crate) struct Fd(pub(crate) i32);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: the number is owned by this value alone.
        unsafe { libc::close(self.0) };
    }
}

/// The value of a call, or its errno with the call's name.
pub(crate) fn checked(what: &str, value: c_long) -> Result<c_long, String> {
    if value < 0 {
        Err(format!("{what}: {}", std::io::Error::last_os_error()))
    } else {
        Ok(value)
    }
}

pub(crate) fn open_for_writing(path: &CStr) -> Result<Fd, String> {
    // SAFETY: the path is a C string that outlives the call.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    checked("open", fd.into()).map(|fd| Fd(fd as i32))
}

pub(crate) fn open_folder(path: &CStr) -> Result<Fd, String> {
    // SAFETY: the path is a C string that outlives the call.
    let fd = unsafe {
        libc::open(
            path.as_ptr(),
            libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC,
        )
    };
    checked("open", fd.into()).map(|fd| Fd(fd as i32))
}

const FSCONFIG_SET_STRING: c_long = 1;
const FSCONFIG_CMD_CREATE: c_long = 6;

/// A mounted file system that has no place yet.
pub(crate) fn file_system(
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    attributes: c_long,
) -> Result<Fd, String> {
    // SAFETY: the calls read C strings that outlive them; the descriptors are checked.
    unsafe {
        let context =
            Fd(checked("fsopen", libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1))? as i32);
        for (key, value) in options {
            let set = libc::syscall(
                libc::SYS_fsconfig,
                context.0,
                FSCONFIG_SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            );
            checked("fsconfig", set)?;
        }
        checked(
            "fsconfig create",
            libc::syscall(libc::SYS_fsconfig, context.0, FSCONFIG_CMD_CREATE, 0, 0, 0),
        )?;
        Ok(Fd(checked(
            "fsmount",
            libc::syscall(libc::SYS_fsmount, context.0, 1, attributes),
        )? as i32))
    }
}

pub(crate) fn overlay(lower: &CStr, upper: &CStr, work: &CStr) -> Result<Fd, String> {
    let lower = CString::new([b"/host".as_slice(), lower.to_bytes()].concat())
        .map_err(|error| error.to_string())?;
    file_system(
        c"overlay",
        &[
            (c"lowerdir+", &lower),
            (c"upperdir", upper),
            (c"workdir", work),
        ],
        0,
    )
}

/// Leaves this process in a mount namespace that holds a tmpfs, the host's root at /host without
/// what is mounted below, its cgroups at /groups, and the scratch folder at /scratch.
pub(crate) fn empty_mount_namespace(scratch: &Path) -> Result<(), String> {
    let host_scratch = CString::new([b"/host".as_slice(), scratch.as_os_str().as_bytes()].concat())
        .map_err(|error| error.to_string())?;
    // SAFETY: every argument is a C string that outlives its call.
    unsafe {
        checked("unshare", libc::unshare(libc::CLONE_NEWNS).into())?;
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        checked(
            "make private",
            libc::mount(
                c"".as_ptr(),
                c"/".as_ptr(),
                std::ptr::null(),
                flags,
                std::ptr::null(),
            )
            .into(),
        )?;
        let old = open_tree(c"/", false)?;
        let groups = open_tree(c"/sys/fs/cgroup", true)?;
        let root = file_system(c"tmpfs", &[], 0)?;
        let at = c"/tmp";
        checked(
            "move_mount",
            libc::syscall(
                libc::SYS_move_mount,
                root.0,
                c"".as_ptr(),
                libc::AT_FDCWD,
                at.as_ptr(),
                4,
            ),
        )?;
        checked("chdir", libc::chdir(at.as_ptr()).into())?;
        for folder in [c"host", c"groups", c"scratch", c"r", c"proc"] {
            checked("mkdir", libc::mkdir(folder.as_ptr(), 0o755).into())?;
        }
        checked(
            "pivot_root",
            libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()),
        )?;
        checked(
            "umount",
            libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into(),
        )?;
        checked("chdir", libc::chdir(c"/".as_ptr()).into())?;
        for (mount, place) in [(&old, c"/host"), (&groups, c"/groups")] {
            checked(
                "move_mount",
                libc::syscall(
                    libc::SYS_move_mount,
                    mount.0,
                    c"".as_ptr(),
                    libc::AT_FDCWD,
                    place.as_ptr(),
                    4,
                ),
            )?;
        }
        let bind = libc::mount(
            host_scratch.as_ptr(),
            c"/scratch".as_ptr(),
            std::ptr::null(),
            libc::MS_BIND,
            std::ptr::null(),
        );
        checked("bind the scratch folder", bind.into())?;
    }
    Ok(())
}

/// Removes the scratch folder, which by then is empty.
pub(crate) fn leave_scratch(scratch: &Path) {
    // SAFETY: the path is a constant.
    unsafe { libc::umount2(c"/scratch".as_ptr(), libc::MNT_DETACH) };
    let _ =
        std::fs::remove_dir(Path::new("/host").join(scratch.strip_prefix("/").unwrap_or(scratch)));
}

/// A copy of a mount, and of those below it if asked.
pub(crate) fn open_tree(path: &CStr, recursive: bool) -> Result<Fd, String> {
    const OPEN_TREE_CLONE: c_long = 1;
    const AT_RECURSIVE: c_long = 0x8000;
    let flags =
        OPEN_TREE_CLONE | libc::O_CLOEXEC as c_long | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string that outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    checked("open_tree", fd).map(|fd| Fd(fd as i32))
}

/// clone3(2) into new namespaces and the unified group; the child never comes back.
pub(crate) fn clone(made: &Made, setting: &Setting) -> Result<i32, String> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET;
    // SAFETY: an all-zero clone_args asks for nothing.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(unified) = &made.unified {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = unified.0 as u64;
    }
    // SAFETY: without CLONE_VM the child has a copy of everything and its own stack; `args`
    // outlives the call.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &args,
            std::mem::size_of::<libc::clone_args>(),
        )
    };
    if pid == 0 {
        child::walk(made, setting);
    }
    checked("clone3", pid).map(|pid| pid as i32)
}

/// Waits for the child's end and gives its wait status.
pub(crate) fn wait(pid: i32) -> Result<i32, String> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    checked("waitpid", waited.into())?;
    Ok(status)
}
