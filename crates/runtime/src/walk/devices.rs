//! Device nodes and links.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use super::{At, Walk, place};
use crate::fault::{Fault, Step};
use crate::plan::{Device, DeviceKind, TargetKind};
use crate::prepared::{Node, Place, Prepared, device_number};

impl Walk<'_> {
    pub(super) fn make_devices(&self, prepared: &Prepared) -> Result<(), Fault> {
        let mut folder = None;
        let nodes = prepared.plan.devices.iter().zip(&prepared.devices);
        for (index, (device, node)) in nodes.enumerate() {
            let made = if prepared.binds_devices() {
                self.bind_device(prepared, index, device)
            } else {
                self.enter_folder(&mut folder, node)
                    .and_then(|folder| make_node(folder, node, device))
            };
            made.at_index(Step::Device, index)?;
        }
        Ok(())
    }

    /// Mounts the caller's node onto an empty file.
    fn bind_device(&self, prepared: &Prepared, index: usize, device: &Device) -> Result<(), Errno> {
        let place = prepared.device_places.get(index).ok_or(Errno::INVAL)?;
        let mut opened = None;
        if prepared.plan.unprivileged && device.bind.is_none() {
            // Until the root changes, the caller's node is at the same path.
            opened = Some(sys::mount::clone_tree(CWD, &place.path, false)?);
        }
        let source = match (device.bind, &opened) {
            (_, Some(opened)) => opened.as_fd(),
            (Some(slot), _) => self.supply.slot(slot)?,
            (None, None) => self
                .supply
                .nodes
                .get(index)
                .and_then(Option::as_ref)
                .map(AsFd::as_fd)
                .ok_or(Errno::BADF)?,
        };
        let target = place::find_or_make(self.root()?, place, TargetKind::File)?;
        sys::mount::attach(source, target.as_fd())
    }

    pub(super) fn make_links(&self, prepared: &Prepared) -> Result<(), Fault> {
        let mut folder = None;
        for (index, (says, node)) in prepared.links.iter().enumerate() {
            let made = self
                .enter_folder(&mut folder, node)
                .and_then(|folder| rustix::fs::symlinkat(says, folder, &node.name));
            match made {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Fault::indexed(Step::Link, index as u32, errno)),
            }
        }
        Ok(())
    }

    /// Opens a node's folder, unless the one before was in the same.
    fn enter_folder<'f>(
        &self,
        folder: &'f mut Option<OwnedFd>,
        node: &Node,
    ) -> Result<&'f OwnedFd, Errno> {
        if !node.same_folder {
            *folder = None;
        }
        match folder {
            Some(folder) => Ok(folder),
            None => Ok(folder.insert(open_folder(self.root()?, &node.folder)?)),
        }
    }
}

fn open_folder(root: std::os::fd::BorrowedFd<'_>, folder: &Place) -> Result<OwnedFd, Errno> {
    place::find_or_make(root, folder, TargetKind::Dir)
}

fn make_node(folder: &OwnedFd, node: &Node, device: &Device) -> Result<(), Errno> {
    let kind = match device.kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    };
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    // The umask is zero here.
    match rustix::fs::mknodat(folder, &node.name, kind, mode, device_number(device)) {
        Err(Errno::EXIST) => return Ok(()),
        other => other?,
    }
    if device.uid == 0 && device.gid == 0 {
        return Ok(());
    }
    let (owner, group) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    rustix::fs::chownat(
        folder,
        &node.name,
        Some(owner),
        Some(group),
        AtFlags::SYMLINK_NOFOLLOW,
    )
}
