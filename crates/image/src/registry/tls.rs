//! Encrypted connections: whom to trust, and failures in words that people know.
//!
//! Nothing is read before the first connection that needs it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};

/// The most certificates of one registry's folder.
const MAX_FILES: usize = 64;

/// Encrypts a connection to `host`.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<S>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(config);
    connector
        .connect(name, stream)
        .await
        .map_err(|error| tls::describe(&error).unwrap_or_else(|| format!("tls: {error}")))
}

/// What is particular to a registry.
#[derive(Default)]
struct Own {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Own {
    fn read(folder: &Path) -> Result<Own, String> {
        let mut own = Own::default();
        let mut files: Vec<PathBuf> = match fs::read_dir(folder) {
            Ok(entries) => entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| is_certificate(path))
                .collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(own),
            Err(error) => return Err(format!("cannot list {}: {error}", folder.display())),
        };
        files.sort();
        if files.len() > MAX_FILES {
            return Err(format!(
                "{} holds {} certificates, at most {MAX_FILES} are read",
                folder.display(),
                files.len()
            ));
        }
        for path in &files {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => own.authorities.extend(certificates(path)?),
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !key.exists() {
                        return Err(missing("key", &key, "client certificate", path));
                    }
                    let key = PrivateKeyDer::from_pem_file(&key)
                        .map_err(|error| format!("cannot read {}: {error}", key.display()))?;
                    own.identity = Some((certificates(path)?, key));
                }
                Some("key") => {
                    let certificate = path.with_extension("cert");
                    if !certificate.exists() {
                        return Err(missing("client certificate", &certificate, "key", path));
                    }
                }
                _ => {}
            }
        }
        Ok(own)
    }
}

/// Docker's sentence for half of a pair.
fn missing(what: &str, wanted: &Path, of: &str, path: &Path) -> String {
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let folder = path.parent().unwrap_or(path).display();
    format!(
        "missing {what} {} for {of} {} in {folder}. CA certificates must use the extension .crt",
        name(wanted),
        name(path)
    )
}

/// Whether a file of a registry's folder counts.
fn is_certificate(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "crt" || extension == "cert" || extension == "key")
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let fault = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    CertificateDer::pem_file_iter(path)
        .map_err(|error| fault(&error))?
        .collect::<Result<_, _>>()
        .map_err(|error| fault(&error))
}

/// Whom to trust and who we are. The first of the folders that is there holds what is particular to a registry: more
/// authorities (`*.crt`), and our own certificate with its key (`*.cert`, `*.key`).
pub(super) fn config(folders: &[PathBuf], verify: bool) -> Result<Arc<ClientConfig>, String> {
    let folder = folders.iter().find(|folder| folder.is_dir());
    let own = match folder {
        Some(folder) => Own::read(folder)?,
        None => Own::default(),
    };
    let text = |error: TlsError| error.to_string();
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(text)?;
    let verifier = match verify {
        true => tls::known(provider, roots(own.authorities)),
        false => tls::anyone(provider),
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own.identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(text)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The host's authorities and a registry's own. A certificate in a bundle that cannot be used
/// is nobody's concern here.
fn roots(own: Vec<CertificateDer<'static>>) -> RootCertStore {
    let given = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let mut bundles = given.into_iter().chain(tls::BUNDLES.map(PathBuf::from));
    let found = bundles.find_map(|path| Some((fs::metadata(&path).ok()?, path)));
    let mut roots = found.map_or_else(RootCertStore::empty, |(file, path)| {
        bundle(&LAST, path, &file)
    });
    roots.add_parsable_certificates(own);
    roots
}

/// Which state of a file was read.
#[derive(PartialEq, Eq)]
struct Version {
    path: PathBuf,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

/// A bundle that was read.
type Remembered = Mutex<Option<(Version, RootCertStore)>>;

static LAST: Remembered = Mutex::new(None);

/// A bundle's authorities. They are remembered until the file changes.
fn bundle(last: &Remembered, path: PathBuf, file: &fs::Metadata) -> RootCertStore {
    let version = Version {
        inode: file.ino(),
        length: file.len(),
        changed: (file.ctime(), file.ctime_nsec()),
        path,
    };
    // Who comes second waits for the first, and reads nothing.
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, roots)) = &*last
        && *known == version
    {
        return roots.clone();
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&version.path).unwrap_or_default());
    *last = Some((version, roots.clone()));
    roots
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;

    use super::*;

    /// A certificate for `reg.example` that signs itself, made by openssl.
    fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=reg.example"])
            .args(["-addext", "subjectAltName=DNS:reg.example"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output()
            .expect("openssl is needed for this test");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        (certificate, key)
    }

    async fn serve(certificate: &Path, key: &Path) -> u16 {
        let chain = certificates(certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.write_all(b"hello").await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        port
    }

    async fn greeting(
        port: u16,
        name: &str,
        folder: &Path,
        verify: bool,
    ) -> Result<String, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut stream = connect(stream, name, config(&[folder.to_owned()], verify)?).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        Ok(text)
    }

    #[tokio::test]
    async fn only_known_authorities_and_right_names_are_trusted() {
        let temp = tempfile::tempdir().unwrap();
        let (certificate, key) = certificate(temp.path());
        let port = serve(&certificate, &key).await;
        let none = temp.path().join("none");
        let unknown = greeting(port, "reg.example", &none, true)
            .await
            .unwrap_err();
        assert_eq!(
            unknown,
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        );
        assert_eq!(
            greeting(port, "reg.example", &none, false).await.unwrap(),
            "hello"
        );

        let own = temp.path().join("own");
        fs::create_dir(&own).unwrap();
        fs::copy(&certificate, own.join("ca.crt")).unwrap();
        assert_eq!(
            greeting(port, "reg.example", &own, true).await.unwrap(),
            "hello"
        );
        let wrong_name = greeting(port, "other.example", &own, true)
            .await
            .unwrap_err();
        assert!(
            wrong_name.starts_with("tls: failed to verify certificate: x509: "),
            "{wrong_name}"
        );

        fs::write(own.join("client.cert"), "").unwrap();
        let half = greeting(port, "reg.example", &own, true).await.unwrap_err();
        let sentence = "missing key client.key for client certificate client.cert in ";
        assert!(half.starts_with(sentence), "{half}");
        fs::rename(own.join("client.cert"), own.join("client.key")).unwrap();
        let half = greeting(port, "reg.example", &own, true).await.unwrap_err();
        let sentence = "missing client certificate client.cert for key client.key in ";
        assert!(half.starts_with(sentence), "{half}");
        fs::remove_file(own.join("client.key")).unwrap();

        // The first folder that is there counts.
        let both = |first: &Path, second: &Path| {
            let folders = [first.to_owned(), second.to_owned()];
            config(&folders, true).unwrap()
        };
        let empty = temp.path().join("empty");
        fs::create_dir(&empty).unwrap();
        for (folders, trusts) in [
            (both(&none, &own), true),
            (both(&own, &empty), true),
            (both(&empty, &own), false),
        ] {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let connected = connect(stream, "reg.example", folders).await;
            assert_eq!(connected.is_ok(), trusts);
        }
    }

    #[test]
    fn a_bundle_is_read_again_when_it_has_changed() {
        let temp = tempfile::tempdir().unwrap();
        let (certificate, _) = certificate(temp.path());
        let path = temp.path().join("bundle.crt");
        let last = Mutex::new(None);
        let count = || bundle(&last, path.clone(), &fs::metadata(&path).unwrap()).len();
        fs::write(&path, "").unwrap();
        assert_eq!((count(), count()), (0, 0));
        fs::copy(&certificate, &path).unwrap();
        assert_eq!((count(), count()), (1, 1));
        let known = fs::metadata(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(
            bundle(&last, path.clone(), &known).len(),
            1,
            "it is remembered"
        );
    }

    #[test]
    fn which_files_count_does_not_depend_on_the_folder_s_order() {
        let temp = tempfile::tempdir().unwrap();
        let (certificate, _) = certificate(temp.path());
        let folder = temp.path().join("registry");
        fs::create_dir(&folder).unwrap();
        for number in 0..3 * MAX_FILES {
            fs::write(folder.join(format!("{number}.txt")), "a note").unwrap();
        }
        fs::copy(&certificate, folder.join("z.crt")).unwrap();
        assert_eq!(Own::read(&folder).unwrap().authorities.len(), 1);
        for number in 0..MAX_FILES {
            fs::copy(&certificate, folder.join(format!("{number}.crt"))).unwrap();
        }
        let told = Own::read(&folder).err().unwrap();
        assert!(
            told.ends_with("holds 65 certificates, at most 64 are read"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn a_server_without_tls_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read(&mut [0; 1024]).await;
        });
        let told = greeting(port, "reg.example", Path::new("/nonexistent"), true)
            .await
            .unwrap_err();
        assert_eq!(told, "http: server gave HTTP response to HTTPS client");
    }
}
