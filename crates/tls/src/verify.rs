//! Whose certificates are taken.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Takes any certificate: for peers that somebody calls insecure.
pub fn anyone(provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier {
        provider,
        by: By::Nobody,
    })
}

/// Takes the certificates that one of these authorities vouches for, and an authority's own: what
/// `openssl req -x509` makes is marked as an authority, and people give it to a server and trust it as such.
pub fn known(provider: Arc<CryptoProvider>, roots: RootCertStore) -> Arc<dyn ServerCertVerifier> {
    let roots = Arc::new(roots);
    let builder = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
    // It is none when there are no authorities: then nobody is known.
    let by = By::Authorities {
        usual: builder.build().ok(),
        roots,
    };
    Arc::new(Verifier { provider, by })
}

#[derive(Debug)]
enum By {
    Nobody,
    Authorities {
        usual: Option<Arc<WebPkiServerVerifier>>,
        roots: Arc<RootCertStore>,
    },
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    by: By,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let By::Authorities { usual, roots } = &self.by else {
            return Ok(ServerCertVerified::assertion());
        };
        let Some(usual) = usual else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let verified = usual.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            // Its times are looked at before what it is for.
            Err(Error::InvalidCertificate(fault)) if is_authority(&fault) => {
                if !is_among(certificate, roots) {
                    return Err(CertificateError::UnknownIssuer.into());
                }
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Whether a certificate was refused for being marked as an authority.
fn is_authority(fault: &CertificateError) -> bool {
    let CertificateError::Other(fault) = fault else {
        return false;
    };
    matches!(
        fault.0.downcast_ref(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}

/// Whether a certificate has name and key of an authority that is trusted.
fn is_among(certificate: &CertificateDer<'_>, roots: &RootCertStore) -> bool {
    let mut own = RootCertStore::empty();
    own.add(certificate.clone().into_owned()).is_ok()
        && own.roots.iter().all(|own| roots.roots.contains(own))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;

    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// What signs itself, for `reg.example`, made by openssl.
    fn certificate(folder: &Path, name: &str, constraints: &str) -> CertificateDer<'static> {
        let path = folder.join(name);
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=reg.example"])
            .args(["-addext", "subjectAltName=DNS:reg.example"])
            .args(["-addext", &format!("basicConstraints={constraints}")])
            .arg("-out")
            .arg(&path)
            .arg("-keyout")
            .arg(folder.join("key"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        CertificateDer::from_pem_file(path).unwrap()
    }

    #[test]
    fn an_authority_that_is_trusted_may_be_the_peer_itself() {
        let folder = tempfile::tempdir().unwrap();
        let own = certificate(folder.path(), "own", "critical,CA:TRUE");
        let same_name = certificate(folder.path(), "other", "critical,CA:TRUE");
        let plain = certificate(folder.path(), "plain", "critical,CA:FALSE");
        let mut roots = RootCertStore::empty();
        roots.add(own.clone()).unwrap();
        roots.add(plain.clone()).unwrap();
        let verifier = known(Arc::new(ring::default_provider()), roots);
        let verify = |certificate: &CertificateDer<'_>, name: &'static str, later: u64| {
            let now = UnixTime::now().as_secs() + later;
            let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
            let name = ServerName::try_from(name).unwrap();
            verifier
                .verify_server_cert(certificate, &[], &name, &[], now)
                .map(drop)
        };
        verify(&own, "reg.example", 0).unwrap();
        verify(&plain, "reg.example", 0).unwrap();
        assert!(verify(&own, "reg.example", 3 * 24 * 3600).is_err());
        let unknown = Err(CertificateError::UnknownIssuer.into());
        assert_eq!(verify(&same_name, "reg.example", 0), unknown);
        // What is told of one for others.
        for certificate in [&own, &plain] {
            for (name, told) in [
                (
                    "other.example",
                    "certificate is valid for reg.example, not other.example",
                ),
                (
                    "10.0.0.1",
                    "cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs",
                ),
            ] {
                let fault = std::io::Error::other(verify(certificate, name, 0).unwrap_err());
                assert_eq!(
                    crate::describe(&fault).unwrap(),
                    format!("tls: failed to verify certificate: x509: {told}")
                );
            }
        }
    }

    #[test]
    fn without_authorities_nobody_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let own = certificate(folder.path(), "own", "critical,CA:TRUE");
        let provider = Arc::new(ring::default_provider());
        let name = ServerName::try_from("reg.example").unwrap();
        let verify = |verifier: Arc<dyn ServerCertVerifier>| {
            verifier
                .verify_server_cert(&own, &[], &name, &[], UnixTime::now())
                .map(drop)
        };
        let unknown = CertificateError::UnknownIssuer.into();
        let none = known(provider.clone(), RootCertStore::empty());
        assert_eq!(verify(none), Err(unknown));
        assert_eq!(verify(anyone(provider)), Ok(()));
    }
}
