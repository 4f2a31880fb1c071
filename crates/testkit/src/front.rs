//! TLS in front of an engine that speaks none: what stands on hosts whose engine is reached over the network.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::sandbox::Sandbox;

/// A server on the loopback of a sandbox that takes encrypted connections of clients with a certificate, and passes what
/// they carry on to a unix socket. It goes with the sandbox's network.
pub struct TlsFront {
    port: u16,
}

impl TlsFront {
    /// Starts one. `folder` holds its certificate (`server.pem`, `server.key`) and the authority whose clients it takes
    /// (`ca.pem`).
    ///
    /// # Panics
    /// When these can not be read.
    pub fn start(sandbox: &Sandbox, folder: &Path, socket: &Path) -> TlsFront {
        let config = Arc::new(config(folder));
        let listener = sandbox.within_network(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        let socket = socket.to_owned();
        sandbox.network_thread(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let (config, socket) = (Arc::clone(&config), socket.clone());
                std::thread::spawn(move || serve(client, config, &socket));
            }
        });
        TlsFront { port }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn config(folder: &Path) -> ServerConfig {
    let pem = |name: &str| fs::read(folder.join(name)).unwrap();
    let chain = |name: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(&pem(name))
            .map(Result::unwrap)
            .collect()
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain("ca.pem"));
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            chain("server.pem"),
            PrivateKeyDer::from_pem_slice(&pem("server.key")).unwrap(),
        )
        .unwrap()
}

/// Carries one connection.
fn serve(mut client: TcpStream, config: Arc<ServerConfig>, socket: &Path) -> io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut client) {
            // The client is told why.
            while tls.wants_write() {
                tls.write_tls(&mut client)?;
            }
            // What it has sent meanwhile is read: a reset would take the reason with it.
            client.shutdown(std::net::Shutdown::Write)?;
            io::copy(&mut client, &mut io::sink())?;
            return Err(error);
        }
    }
    let mut engine = UnixStream::connect(socket)?;
    engine.set_nonblocking(true)?;
    let mut buffer = vec![0; 32 << 10];
    // What the engine has not taken yet: it is read from meanwhile, or each would wait for the other.
    let mut pending: Vec<u8> = Vec::new();
    let (mut more, mut told) = (true, false);
    loop {
        while tls.wants_write() {
            tls.write_tls(&mut client)?;
        }
        // The first of it may have come with the end of the handshake.
        while more {
            match tls.reader().read(&mut buffer) {
                Ok(0) => more = false,
                Ok(number) => pending.extend_from_slice(&buffer[..number]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if !more && pending.is_empty() && !told {
            engine.shutdown(std::net::Shutdown::Write)?;
            told = true;
        }
        let mut wanted = PollFlags::IN;
        wanted.set(PollFlags::OUT, !pending.is_empty());
        let [from_engine, from_client] = {
            let mut list = vec![PollFd::new(&engine, wanted)];
            if more {
                list.push(PollFd::new(&client, PollFlags::IN));
            }
            poll(&mut list, None)?;
            let at = |at: usize| list.get(at).is_some_and(|one| !one.revents().is_empty());
            [at(0), at(1)]
        };
        if from_client {
            more = tls.read_tls(&mut client)? > 0;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
        if from_engine {
            if !pending.is_empty() {
                match engine.write(&pending) {
                    Ok(number) => drop(pending.drain(..number)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            match engine.read(&mut buffer) {
                Ok(0) => break,
                Ok(number) => tls.writer().write_all(&buffer[..number])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(&mut client)?;
    }
    Ok(())
}
