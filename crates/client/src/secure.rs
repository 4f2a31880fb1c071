//! Encrypted connections to an engine: TLS over TCP, as `--tls`, `--tlsverify` and contexts ask for it.
//!
//! The handshake is made before anything is sent. From then on a thread carries bytes between the connection and a pair
//! of sockets, so that whoever waits for output, input and signals waits for plain descriptors.

use std::env;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore};

use crate::failure::plain;
use crate::file;
use crate::parse::Parsed;

/// Whom to trust, and who we are: PEM texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Trust {
    /// The authorities that are trusted in place of the host's.
    pub(crate) authorities: Option<Vec<u8>>,
    /// Our certificate and its key.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Takes any certificate.
    pub(crate) anyone: bool,
}

impl Trust {
    /// What TLS is made from.
    ///
    /// # Errors
    /// Docker's words for PEM texts that are none.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let failed = |why: &str| format!("failed to retrieve context tls info: {why}");
        let text = |error: Error| failed(&format!("tls: {error}"));
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(text)?;
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Some(pem) => {
                roots.add_parsable_certificates(certificates(pem));
                if roots.is_empty() {
                    return Err(failed("ca.pem seems invalid"));
                }
            }
            None if self.anyone => {}
            None => {
                let bundle = tls::BUNDLES
                    .iter()
                    .find_map(|path| std::fs::read(path).ok());
                roots.add_parsable_certificates(certificates(&bundle.unwrap_or_default()));
            }
        }
        let verifier = match self.anyone {
            true => tls::anyone(provider),
            false => tls::known(provider, roots),
        };
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let Some((chain, key)) = &self.identity else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let chain = certificates(chain);
        if chain.is_empty() {
            return Err(failed(
                "tls: failed to find any PEM data in certificate input",
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| failed("tls: failed to find any PEM data in key input"))?;
        let config = builder.with_client_auth_cert(chain, key).map_err(text)?;
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).flatten().collect()
}

/// What flags and variables ask for: `--tls`, `--tlsverify`, `--tlscacert`, `--tlscert`, `--tlskey`, `DOCKER_TLS`,
/// `DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    verify: bool,
    files: Option<[(PathBuf, bool); 3]>,
}

impl Wish {
    /// Reads them; certificates are in `folder` if nothing else is said.
    pub(crate) fn read(global: &Parsed, folder: &Path) -> Self {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let verify = match global.one("tlsverify") {
            Some(value) => value == "true",
            None => is_set("DOCKER_TLS_VERIFY"),
        };
        // Whoever says anything about verification means TLS: docker's rule.
        let on = verify
            || global.one("tlsverify").is_some()
            || global
                .one("tls")
                .map_or_else(|| is_set("DOCKER_TLS"), |value| value == "true");
        let folder = match env::var_os("DOCKER_CERT_PATH") {
            Some(path) if !path.is_empty() => path.into(),
            _ => folder.to_owned(),
        };
        let file = |flag: &str, name: &str| match global.one(flag) {
            Some(path) => (PathBuf::from(path), true),
            None => (folder.join(name), false),
        };
        Wish {
            verify,
            files: on.then(|| {
                [
                    file("tlscacert", "ca.pem"),
                    file("tlscert", "cert.pem"),
                    file("tlskey", "key.pem"),
                ]
            }),
        }
    }

    /// Whether TLS is asked for.
    pub(crate) fn is_on(&self) -> bool {
        self.files.is_some()
    }

    /// What it asks for; nothing without TLS.
    ///
    /// # Errors
    /// A file that can not be read.
    pub(crate) fn trust(&self) -> Result<Option<Trust>, String> {
        let Some([authorities, certificate, key]) = &self.files else {
            return Ok(None);
        };
        let read = |(path, _): &(PathBuf, bool)| {
            file::content(path)
                .map_err(|error| format!("open {}: {}", path.display(), plain(&error)))
        };
        // One's own certificate need not be there unless it was named.
        let maybe = |file: &(PathBuf, bool)| match file.1 || file.0.exists() {
            true => read(file).map(Some),
            false => Ok(None),
        };
        let identity = match (maybe(certificate)?, maybe(key)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => None,
        };
        Ok(Some(Trust {
            authorities: Some(read(authorities)?),
            identity,
            anyone: !self.verify,
        }))
    }
}

/// Why a connection broke, once it did.
#[derive(Clone, Default)]
pub(crate) struct Fault(Arc<Mutex<Option<String>>>);

impl Fault {
    /// The reason, if there is one.
    pub(crate) fn told(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn tell(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

/// Encrypts a connection to the host of `address` and gives this side's end of it.
///
/// # Errors
/// Why there is none, in the words that docker's users search for.
pub(crate) fn connect(
    mut tcp: TcpStream,
    address: &str,
    config: Arc<ClientConfig>,
) -> io::Result<(UnixStream, Fault)> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)
            .map_err(|error| io::Error::other(describe(&error)))?;
    }
    let (here, there) = UnixStream::pair()?;
    tcp.set_nonblocking(true)?;
    there.set_nonblocking(true)?;
    let fault = Fault::default();
    let mut carrier = Carrier {
        tls,
        tcp,
        plain: there,
        pending: Vec::new(),
        open: true,
        ended: false,
    };
    std::thread::Builder::new().spawn({
        let fault = fault.clone();
        move || {
            sys::signals::block_all();
            // Told before the connection closes, which is when somebody asks.
            if let Err(error) = carrier.carry() {
                fault.tell(describe(&error));
            }
        }
    })?;
    Ok((here, fault))
}

/// Carries bytes between an encrypted connection and a plain one.
struct Carrier {
    tls: ClientConnection,
    tcp: TcpStream,
    plain: UnixStream,
    /// What came and was not taken yet.
    pending: Vec<u8>,
    /// More may come from this side.
    open: bool,
    /// Nothing more comes from the other.
    ended: bool,
}

const BUFFER: usize = 32 << 10;

/// Nothing, when something is not ready yet.
fn ready<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Carrier {
    fn carry(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            // Tickets and what else came behind the handshake.
            self.receive(&mut buffer)?;
            self.deliver()?;
            while self.tls.wants_write() {
                if ready(self.tls.write_tls(&mut self.tcp))?.is_none() {
                    break;
                }
            }
            if self.ended && self.pending.is_empty() {
                return Ok(());
            }
            let [tcp, plain] = self.wait()?;
            if tcp.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                if let Some(number) = ready(self.tls.read_tls(&mut self.tcp))? {
                    self.ended |= number == 0;
                }
                if let Err(error) = self.tls.process_new_packets() {
                    // The other side is told why.
                    let _ = self.tls.write_tls(&mut self.tcp);
                    return Err(io::Error::other(error));
                }
            }
            let is_there = plain.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
            if is_there && self.open && !self.tls.wants_write() {
                match ready((&self.plain).read(&mut buffer))? {
                    None => {}
                    Some(0) => {
                        self.open = false;
                        self.tls.send_close_notify();
                    }
                    Some(number) => self.tls.writer().write_all(&buffer[..number])?,
                }
            }
        }
    }

    /// Takes what was decrypted.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            match self.tls.reader().read(buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(number) => self.pending.extend_from_slice(&buffer[..number]),
                // An end without a farewell is an end: whoever reads knows by the lengths what is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.ended = true;
                    return Ok(());
                }
                Err(error) => return ready(Err(error)).map(|_: Option<()>| ()),
            }
        }
    }

    /// Gives this side what it takes now.
    fn deliver(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match ready((&self.plain).write(&self.pending))? {
                None => return Ok(()),
                Some(number) => drop(self.pending.drain(..number)),
            }
        }
        Ok(())
    }

    /// Waits until something can be done, and tells what.
    fn wait(&self) -> io::Result<[PollFlags; 2]> {
        let mut tcp = PollFlags::empty();
        let mut plain = PollFlags::empty();
        // What this side has not taken yet is not made more.
        tcp.set(PollFlags::IN, self.pending.is_empty() && !self.ended);
        tcp.set(PollFlags::OUT, self.tls.wants_write());
        plain.set(PollFlags::IN, self.open && !self.tls.wants_write());
        plain.set(PollFlags::OUT, !self.pending.is_empty());
        let mut list = Vec::with_capacity(2);
        // Of a descriptor that nothing is asked of, poll tells its end all the same, and at once.
        let tcp_at = (!tcp.is_empty()).then(|| {
            list.push(PollFd::new(&self.tcp, tcp));
            list.len() - 1
        });
        let plain_at = (!plain.is_empty()).then(|| {
            list.push(PollFd::new(&self.plain, plain));
            list.len() - 1
        });
        loop {
            match poll(&mut list, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let told = |at: Option<usize>| at.map_or(PollFlags::empty(), |at| list[at].revents());
        Ok([told(tcp_at), told(plain_at)])
    }
}

/// A failure in the words that docker's users search for.
fn describe(error: &io::Error) -> String {
    tls::describe(error).unwrap_or_else(|| plain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_certificates_are_told_in_docker_s_words() {
        let mut trust = Trust {
            authorities: Some(b"CA".to_vec()),
            ..Trust::default()
        };
        let invalid = "failed to retrieve context tls info: ca.pem seems invalid";
        assert_eq!(trust.config().unwrap_err(), invalid);
        trust.authorities = None;
        trust.identity = Some((b"x".to_vec(), b"y".to_vec()));
        assert!(trust.config().unwrap_err().contains("certificate input"));
        trust.identity = None;
        trust.anyone = true;
        assert!(trust.config().is_ok());
    }
}
