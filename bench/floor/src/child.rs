//! What the first process of a container does before it executes.

use std::ffi::{CStr, c_long};
use std::ptr::null;

use crate::{Made, Setting};

const MOVE_FROM_EMPTY: c_long = 4;
const RO: u64 = 1;
const NOSUID: c_long = 2;
const NODEV: c_long = 4;
const NOEXEC: c_long = 8;

/// The attributes of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Ends the process when a step fails; the step's number is the status.
struct Steps(i32);

impl Steps {
    fn ok(&mut self, value: c_long) -> c_long {
        self.0 += 1;
        if value < 0 {
            // SAFETY: ends this process.
            unsafe { libc::_exit(self.0.min(250)) };
        }
        value
    }
}

/// Enters the groups, builds the root, executes.
pub(crate) fn walk(made: &Made, setting: &Setting) -> ! {
    let mut steps = Steps(0);
    // SAFETY: every pointer is a C string or structure that outlives its call; descriptors are
    // open in this copy of the parent.
    unsafe {
        for tasks in &made.tasks {
            steps.ok(libc::write(tasks.0, c"0".as_ptr().cast(), 1) as c_long);
        }
        place(&mut steps, made.root.0, c"/r");
        steps.ok(libc::chdir(c"/r".as_ptr()).into());
        steps.ok(libc::syscall(
            libc::SYS_pivot_root,
            c".".as_ptr(),
            c".".as_ptr(),
        ));
        steps.ok(libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into());
        steps.ok(libc::chdir(c"/".as_ptr()).into());
        mounts(&mut steps);
        devices(&mut steps);
        masks(&mut steps);
        steps.ok(libc::sethostname(c"floor".as_ptr(), 5).into());
        steps.ok(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL).into());
        let arguments = [setting.program.as_ptr(), null()];
        let environment = [c"PATH=/bin".as_ptr(), null()];
        libc::execve(
            setting.program.as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
        );
        libc::_exit(251)
    }
}

unsafe fn place(steps: &mut Steps, mount: i32, at: &CStr) {
    // SAFETY: the path outlives the call.
    steps.ok(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount,
            c"".as_ptr(),
            libc::AT_FDCWD,
            at.as_ptr(),
            MOVE_FROM_EMPTY,
        )
    });
}

unsafe fn mount(
    steps: &mut Steps,
    kind: &CStr,
    at: &CStr,
    options: &[(&CStr, &CStr)],
    attributes: c_long,
) {
    match crate::kernel::file_system(kind, options, attributes) {
        // SAFETY: as `place` asks.
        Ok(mounted) => unsafe { place(steps, mounted.0, at) },
        Err(_) => drop(steps.ok(-1)),
    }
}

/// The mounts of a container with default settings.
unsafe fn mounts(steps: &mut Steps) {
    // SAFETY: every path outlives its call.
    unsafe {
        mount(steps, c"proc", c"/proc", &[], NOSUID | NODEV | NOEXEC);
        mount(
            steps,
            c"tmpfs",
            c"/dev",
            &[(c"mode", c"755"), (c"size", c"65536k")],
            NOSUID,
        );
        for folder in [c"/dev/pts", c"/dev/mqueue", c"/dev/shm"] {
            steps.ok(libc::mkdir(folder.as_ptr(), 0o755).into());
        }
        let terminals: [(&CStr, &CStr); 3] =
            [(c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")];
        mount(steps, c"devpts", c"/dev/pts", &terminals, NOSUID | NOEXEC);
        mount(
            steps,
            c"sysfs",
            c"/sys",
            &[],
            NOSUID | NODEV | NOEXEC | RO as c_long,
        );
        mount(
            steps,
            c"mqueue",
            c"/dev/mqueue",
            &[],
            NOSUID | NODEV | NOEXEC,
        );
        mount(
            steps,
            c"tmpfs",
            c"/dev/shm",
            &[(c"mode", c"1777"), (c"size", c"65536k")],
            NOSUID | NODEV | NOEXEC,
        );
    }
}

unsafe fn devices(steps: &mut Steps) {
    let nodes: [(&CStr, u32, u32); 6] = [
        (c"/dev/null", 1, 3),
        (c"/dev/zero", 1, 5),
        (c"/dev/full", 1, 7),
        (c"/dev/random", 1, 8),
        (c"/dev/urandom", 1, 9),
        (c"/dev/tty", 5, 0),
    ];
    let links: [(&CStr, &CStr); 6] = [
        (c"/proc/self/fd", c"/dev/fd"),
        (c"/proc/self/fd/0", c"/dev/stdin"),
        (c"/proc/self/fd/1", c"/dev/stdout"),
        (c"/proc/self/fd/2", c"/dev/stderr"),
        (c"pts/ptmx", c"/dev/ptmx"),
        (c"/proc/kcore", c"/dev/core"),
    ];
    // SAFETY: every path outlives its call.
    unsafe {
        libc::umask(0);
        for (path, major, minor) in nodes {
            steps.ok(libc::mknod(
                path.as_ptr(),
                libc::S_IFCHR | 0o666,
                libc::makedev(major, minor),
            )
            .into());
        }
        for (target, path) in links {
            steps.ok(libc::symlink(target.as_ptr(), path.as_ptr()).into());
        }
        libc::umask(0o022);
    }
}

/// Docker's masked and read-only paths, where this kernel has them.
unsafe fn masks(steps: &mut Steps) {
    let masked: [&CStr; 9] = [
        c"/proc/acpi",
        c"/proc/asound",
        c"/proc/interrupts",
        c"/proc/kcore",
        c"/proc/keys",
        c"/proc/latency_stats",
        c"/proc/scsi",
        c"/proc/timer_list",
        c"/sys/firmware",
    ];
    let read_only: [&CStr; 5] = [
        c"/proc/bus",
        c"/proc/fs",
        c"/proc/irq",
        c"/proc/sys",
        c"/proc/sysrq-trigger",
    ];
    let attributes = MountAttr {
        set: RO,
        clear: 0,
        propagation: 0,
        userns: 0,
    };
    let size = std::mem::size_of::<MountAttr>();
    // SAFETY: every path and structure outlives its call.
    unsafe {
        let empty = crate::kernel::file_system(c"tmpfs", &[], RO as c_long);
        for path in masked {
            let mut meta: libc::stat = std::mem::zeroed();
            if libc::stat(path.as_ptr(), &mut meta) != 0 {
                continue;
            }
            let source = if meta.st_mode & libc::S_IFMT == libc::S_IFDIR {
                let Ok(empty) = &empty else { libc::_exit(252) };
                libc::syscall(
                    libc::SYS_open_tree,
                    empty.0,
                    c"".as_ptr(),
                    1 | libc::O_CLOEXEC | libc::AT_EMPTY_PATH,
                )
            } else {
                libc::syscall(
                    libc::SYS_open_tree,
                    libc::AT_FDCWD,
                    c"/dev/null".as_ptr(),
                    1 | libc::O_CLOEXEC,
                )
            };
            let source = steps.ok(source);
            place(steps, source as i32, path);
        }
        for path in read_only {
            let copy = libc::syscall(
                libc::SYS_open_tree,
                libc::AT_FDCWD,
                path.as_ptr(),
                1 | libc::O_CLOEXEC | 0x8000,
            );
            if copy < 0 {
                continue;
            }
            steps.ok(libc::syscall(
                libc::SYS_mount_setattr,
                copy,
                c"".as_ptr(),
                libc::AT_EMPTY_PATH | 0x8000,
                &attributes,
                size,
            ));
            place(steps, copy as i32, path);
        }
    }
}
