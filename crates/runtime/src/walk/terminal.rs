//! The process's terminal: a new one of the container's own devpts, whose other side goes to the caller.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use sys::mount;

use super::{At, Walk, channel, place};
use crate::fault::{Fault, Step};
use crate::guards::{Guard, is_off};
use crate::plan::TargetKind;

/// The magic number of devpts (statfs(2)).
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

impl Walk<'_> {
    pub(super) fn open_terminal(
        &mut self,
        size: Option<(u16, u16)>,
        plain_lines: bool,
    ) -> Result<(), Fault> {
        let ptmx = self.open_ptmx().at(Step::Terminal)?;
        let terminal = sys::process::terminal_peer(ptmx.as_fd()).at(Step::Terminal)?;
        if let Some((rows, columns)) = size {
            sys::process::set_terminal_size(terminal.as_fd(), rows, columns).at(Step::Terminal)?;
        }
        if plain_lines {
            sys::process::keep_line_ends(terminal.as_fd()).at(Step::Terminal)?;
        }
        channel::send_terminal(self.supply.channel.as_fd(), ptmx.as_fd())?;
        self.terminal = Some(terminal);
        Ok(())
    }

    /// Opens the ptmx of the devpts that this walk mounted, else of what is at /dev/pts, which has to be one.
    fn open_ptmx(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Some(devpts) = &self.devpts {
            return rustix::fs::openat(devpts, c"ptmx", flags, rustix::fs::Mode::empty());
        }
        let ptmx = mount::open_in(self.root()?, c"/dev/pts/ptmx", flags)?;
        if rustix::fs::fstatfs(&ptmx)?.f_type as u64 != DEVPTS_SUPER_MAGIC {
            return Err(Errno::NOTTY);
        }
        Ok(ptmx)
    }

    /// Mounts the terminal at /dev/console.
    pub(super) fn bind_console(&self) -> Result<(), Fault> {
        let Some(terminal) = &self.terminal else {
            return Ok(());
        };
        let root = self.root().at(Step::Console)?;
        let find = if is_off(Guard::Console) {
            place::find
        } else {
            place::find_without_links
        };
        let console = match find(root, c"/dev/console").at(Step::Console)? {
            Some(found) => found,
            None => {
                let dev = mount::place_in(root, c"/dev", OFlags::DIRECTORY).at(Step::Console)?;
                place::make_one(dev.as_fd(), c"console", TargetKind::File).at(Step::Console)?
            }
        };
        mount::clone_tree(terminal.as_fd(), c"", false)
            .and_then(|clone| mount::attach(clone.as_fd(), console.as_fd()))
            .at(Step::Console)
    }
}
