//! Network devices that move from the caller's network namespace into a container's, with what they are: their own
//! attributes, which the kernel keeps, and their addresses, which it drops (rtnetlink(7)).

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use sys::namespace::with_netns;
use sys::netlink::{Attributes, Batch, DumpError, Refused, Socket, Writer, u32_of};

/// A device, by the name that it has for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name in the caller's namespace.
    pub name: String,
    /// Its name in the container's. For `%d` the kernel puts the first number that makes the name unique.
    pub inside: String,
}

impl NetDevice {
    /// Whether the kernel completes the name.
    pub fn is_template(&self) -> bool {
        self.inside.contains("%d")
    }
}

/// Why a device did not get into the container.
#[derive(Debug, thiserror::Error)]
pub enum NetDeviceError {
    /// The caller has none of that name.
    #[error("network device {name:?}: {}", plain(source))]
    Missing {
        /// The name.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The container has one of that name.
    #[error("network device {name:?}: the container's network namespace has a device {inside:?}")]
    Exists {
        /// The name that the caller knows it by.
        name: String,
        /// The name that it was to get.
        inside: String,
    },
    /// The kernel refused something.
    #[error("network device {name:?}: {what}: {}", plain(source))]
    Refused {
        /// The name that the caller knows it by.
        name: String,
        /// What was being done.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

fn plain(error: &io::Error) -> String {
    error.raw_os_error().map_or(error.to_string(), crate::words)
}

impl NetDeviceError {
    fn at(device: &NetDevice, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let name = device.name.clone();
        move |source| Self::Refused { name, what, source }
    }

    fn refused(device: &NetDevice) -> impl FnOnce(Refused) -> Self {
        let name = device.name.clone();
        move |refused| Self::Refused {
            name,
            what: refused.what,
            source: refused.source,
        }
    }

    fn listing(device: &NetDevice) -> impl FnOnce(DumpError) -> Self {
        let name = device.name.clone();
        move |failed| Self::Refused {
            name,
            what: failed.what,
            source: failed.source,
        }
    }
}

/// Attributes of an address that it keeps, beside its flags (linux/if_addr.h).
const KEPT: [u16; 5] = [
    libc::IFA_ADDRESS,
    libc::IFA_LOCAL,
    libc::IFA_BROADCAST,
    PRIORITY,
    PROTOCOL,
];
const FLAGS: u16 = 8;
const PRIORITY: u16 = 9;
const PROTOCOL: u16 = 11;
/// Flags of an address that somebody chose: no duplicates are looked for, it is no home address, no route comes with
/// it, it is managed and joins groups. The others tell how it fares.
const CHOSEN: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

/// An address as the kernel lists it.
struct Address {
    /// `struct ifaddrmsg` but for the index: family, prefix, flags, scope.
    header: [u8; 4],
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// Moves devices of the calling thread's network namespace into `namespace`, where they get their names, the permanent
/// addresses of global scope that they had, and are switched on.
///
/// # Errors
/// The first that cannot be moved; those before it stay where they are then.
pub fn move_all(devices: &[NetDevice], namespace: BorrowedFd<'_>) -> Result<(), NetDeviceError> {
    for device in devices {
        let at = NetDeviceError::at;
        let mut here = Socket::route().map_err(at(device, "opening a socket"))?;
        let mut there = with_netns(namespace, Socket::route)
            .and_then(|socket| socket)
            .map_err(at(device, "entering the network namespace"))?;
        move_one(device, &mut here, &mut there, namespace)?;
    }
    Ok(())
}

fn move_one(
    device: &NetDevice,
    here: &mut Socket,
    there: &mut Socket,
    namespace: BorrowedFd<'_>,
) -> Result<(), NetDeviceError> {
    let missing = |source| NetDeviceError::Missing {
        name: device.name.clone(),
        source,
    };
    let index = here.index_of(&device.name).map_err(missing)?;
    if !device.is_template() && there.index_of(&device.inside).is_ok() {
        return Err(NetDeviceError::Exists {
            name: device.name.clone(),
            inside: device.inside.clone(),
        });
    }
    let addresses = addresses(device, here, index)?;
    let before = indices(device, there)?;
    let mut batch = Batch::new();
    batch.push("moving it", libc::RTM_SETLINK, 0, |w| {
        link_header(w, index, false);
        w.text(libc::IFLA_IFNAME, &device.inside);
        w.native_u32(libc::IFLA_NET_NS_FD, namespace.as_raw_fd().cast_unsigned());
    });
    here.perform(batch)
        .map_err(NetDeviceError::refused(device))?;
    let after = indices(device, there)?;
    let index = after.difference(&before).next().copied();
    let gone = || io::Error::from_raw_os_error(libc::ENODEV);
    let index = index.ok_or_else(|| NetDeviceError::at(device, "looking for it")(gone()))?;
    let mut batch = Batch::new();
    for address in &addresses {
        let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
        batch.push("setting an address", libc::RTM_NEWADDR, flags, |w| {
            w.raw(&address.header);
            w.raw(&index.to_ne_bytes());
            for (kind, value) in &address.attributes {
                w.attribute(*kind, value);
            }
            w.native_u32(FLAGS, address.flags);
        });
    }
    batch.push("switching it on", libc::RTM_SETLINK, 0, |w| {
        link_header(w, index, true);
    });
    there
        .perform(batch)
        .map_err(NetDeviceError::refused(device))
}

/// `struct ifinfomsg`.
fn link_header(writer: &mut Writer, index: u32, up: bool) {
    let flags = if up { libc::IFF_UP as u32 } else { 0 };
    writer.raw(&[libc::AF_UNSPEC as u8, 0, 0, 0]);
    writer.raw(&index.to_ne_bytes());
    writer.raw(&flags.to_ne_bytes());
    writer.raw(&flags.to_ne_bytes());
}

/// The numbers of all devices of the socket's namespace.
fn indices(device: &NetDevice, socket: &mut Socket) -> Result<BTreeSet<u32>, NetDeviceError> {
    let mut found = BTreeSet::new();
    socket
        .dump(
            "listing devices",
            libc::RTM_GETLINK,
            |w| link_header(w, 0, false),
            |_, body| found.extend(body.get(4..).and_then(u32_of)),
        )
        .map_err(NetDeviceError::listing(device))?;
    Ok(found)
}

/// The addresses of a device that somebody gave it for good and for all to reach.
fn addresses(
    device: &NetDevice,
    socket: &mut Socket,
    index: u32,
) -> Result<Vec<Address>, NetDeviceError> {
    let mut found: Vec<Address> = Vec::new();
    socket
        .dump(
            "listing addresses",
            libc::RTM_GETADDR,
            |w| w.raw(&[0; 8]),
            |_, body| {
                if let Some(address) = read_address(body, index)
                    && !found
                        .iter()
                        .any(|other| other.attributes == address.attributes)
                {
                    found.push(address);
                }
            },
        )
        .map_err(NetDeviceError::listing(device))?;
    Ok(found)
}

fn read_address(body: &[u8], index: u32) -> Option<Address> {
    let header: [u8; 4] = body.get(..4)?.try_into().ok()?;
    let [family, prefix, few_flags, scope] = header;
    if u32_of(body.get(4..)?)? != index || scope != libc::RT_SCOPE_UNIVERSE {
        return None;
    }
    let all = Attributes(body.get(8..)?);
    let flags = all.get(FLAGS).and_then(u32_of).unwrap_or(few_flags.into());
    if flags & libc::IFA_F_PERMANENT == 0 {
        return None;
    }
    let kept = all.filter(|(kind, _)| KEPT.contains(kind));
    Some(Address {
        header: [family, prefix, (flags & CHOSEN) as u8, scope],
        flags: flags & CHOSEN,
        attributes: kept.map(|(kind, value)| (kind, value.to_vec())).collect(),
    })
}
