//! Where lines go beside the log's files.

use std::net::SocketAddr;

use super::launch::{Slot, slot};
use super::wire::{Fields, WireError, Writer};

const NAME_LIMIT: usize = 255;
const FIELDS_LIMIT: usize = 64 << 10;

/// Another place for a container's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// How a line is written.
    pub words: Words,
    /// Where it goes.
    pub place: Place,
    /// A socket that is connected to that place, for the beginning.
    pub socket: Slot,
}

/// How a line is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Words {
    /// For a syslog.
    Syslog {
        /// The layout of messages.
        layout: Layout,
        /// The facility's number, from 0 to 23.
        facility: u8,
        /// The host's name.
        host: String,
        /// What stands before the text.
        tag: String,
    },
    /// For systemd's journal, in its own protocol.
    Journal {
        /// The fields that each message has, as they are sent.
        fields: Vec<u8>,
    },
}

/// How a message for a syslog is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As syslog(3) writes it: no host.
    Unix,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424, times in seconds.
    Rfc5424,
    /// RFC 5424, times in microseconds.
    Rfc5424Micro,
}

const LAYOUTS: [Layout; 4] = [
    Layout::Unix,
    Layout::Rfc3164,
    Layout::Rfc5424,
    Layout::Rfc5424Micro,
];

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A socket file.
    Local {
        /// Its folder.
        folder: Slot,
        /// Its name there.
        name: String,
        /// Whether it is a stream; else it takes datagrams.
        stream: bool,
    },
    /// An address of the network.
    Network {
        /// The address.
        address: SocketAddr,
        /// Whether it is a stream.
        stream: bool,
    },
}

impl Place {
    /// Whether messages run together there.
    pub fn is_stream(&self) -> bool {
        match self {
            Place::Local { stream, .. } | Place::Network { stream, .. } => *stream,
        }
    }
}

impl Remote {
    pub(crate) fn write(&self, w: &mut Writer) {
        w.optional(1, Some(self.socket.0.into()));
        match &self.place {
            Place::Local { folder, name, .. } => {
                w.optional(2, Some(folder.0.into()));
                w.content(3, name.as_bytes());
            }
            Place::Network { address, .. } => w.content(4, address.to_string().as_bytes()),
        }
        w.flag(5, self.place.is_stream());
        match &self.words {
            Words::Syslog {
                layout,
                facility,
                host,
                tag,
            } => {
                let number = LAYOUTS.iter().position(|known| known == layout);
                w.optional(6, number.map(|number| number as u64));
                w.optional(7, Some(u64::from(*facility)));
                w.content(8, host.as_bytes());
                w.content(9, tag.as_bytes());
            }
            Words::Journal { fields } => w.content(10, fields),
        }
    }

    pub(crate) fn read(all: Fields<'_>) -> Result<Self, WireError> {
        let (mut socket, mut folder, mut name, mut address) = (None, None, String::new(), None);
        let (mut stream, mut layout, mut facility) = (false, None, 3);
        let (mut host, mut tag, mut fields) = (String::new(), String::new(), Vec::new());
        for field in all {
            let field = field?;
            match field.tag {
                1 => socket = Some(slot(field)?),
                2 => folder = Some(slot(field)?),
                3 => name = field.text(NAME_LIMIT)?,
                4 => address = Some(field.parse()?),
                5 => stream = field.flag()?,
                6 => {
                    let number: usize = field.narrow()?;
                    let known = LAYOUTS.get(number);
                    layout = Some(*known.ok_or(WireError::Field { tag: 6 })?);
                }
                7 => facility = field.narrow()?,
                8 => host = field.text(NAME_LIMIT)?,
                9 => tag = field.text(FIELDS_LIMIT)?,
                10 => fields = field.content(FIELDS_LIMIT)?,
                _ => {}
            }
        }
        if facility > 23 {
            return Err(WireError::Field { tag: 7 });
        }
        let place = match (folder, address) {
            (Some(folder), None) => Place::Local {
                folder,
                name,
                stream,
            },
            (None, Some(address)) => Place::Network { address, stream },
            _ => return Err(WireError::Missing { tag: 4 }),
        };
        Ok(Remote {
            words: match layout {
                Some(layout) => Words::Syslog {
                    layout,
                    facility,
                    host,
                    tag,
                },
                None => Words::Journal { fields },
            },
            place,
            socket: socket.ok_or(WireError::Missing { tag: 1 })?,
        })
    }
}
