//! By which link a namespace reaches the world, for each family.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use crate::error::NetworkError;
use crate::network::Network;
use crate::plug::{index_inside, inside};
use crate::{ipv6, link};
use sys::netlink::Batch;

impl Network {
    /// Makes a namespace's default route that of this link; none at all without one.
    ///
    /// # Errors
    /// [`NetworkError::Namespace`], [`NetworkError::Link`].
    pub fn set_gateway(
        &self,
        netns: BorrowedFd<'_>,
        link: Option<(&str, Ipv4Addr)>,
    ) -> Result<(), NetworkError> {
        let mut inside = inside(netns)?;
        let mut batch = Batch::new();
        match link {
            Some((interface, gateway)) => {
                let index = index_inside(&inside, interface)?;
                link::replace_default_route(&mut batch, index, gateway);
            }
            None => link::delete_default_route(&mut batch),
        }
        match inside.perform(batch) {
            // There was none.
            Err(refused) if link.is_none() && refused.errno() == libc::ESRCH => Ok(()),
            done => done.map_err(|refused| NetworkError::link("a container", refused)),
        }
    }

    /// Makes a namespace's default route of IPv6 that of this link.
    ///
    /// # Errors
    /// As [`Network::set_gateway`].
    pub fn set_ipv6_gateway(
        &self,
        netns: BorrowedFd<'_>,
        (interface, gateway): (&str, Ipv6Addr),
    ) -> Result<(), NetworkError> {
        let mut inside = inside(netns)?;
        let index = index_inside(&inside, interface)?;
        let mut batch = Batch::new();
        ipv6::default_route(&mut batch, index, gateway);
        inside
            .perform(batch)
            .map_err(|refused| NetworkError::link("a container", refused))
    }
}
