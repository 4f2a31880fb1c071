//! Failures in the words of Go's library, for which docker's users search.

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};

/// What an error of a stream says of TLS; `None` when it is of another kind.
pub fn describe(error: &io::Error) -> Option<String> {
    Some(match inner(error)? {
        Error::InvalidCertificate(fault) => {
            let reason = match fault {
                CertificateError::UnknownIssuer => "certificate signed by unknown authority".into(),
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => {
                    "certificate has expired or is not yet valid".into()
                }
                CertificateError::NotValidForNameContext {
                    expected,
                    presented,
                } => for_others(expected, presented),
                other => format!("{other}"),
            };
            format!("tls: failed to verify certificate: x509: {reason}")
        }
        Error::InvalidMessage(_) => "http: server gave HTTP response to HTTPS client".into(),
        Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_words(*alert)),
        other => format!("tls: {other}"),
    })
}

/// What is wrong with a certificate that has other names.
fn for_others(wanted: &ServerName<'_>, names: &[String]) -> String {
    // They come as `DnsName("reg.example")` and `IpAddress(10.0.0.1)`.
    let of_kind = |kind: &str| {
        let bare = names.iter().filter_map(|name| {
            let name = name.strip_prefix(kind)?.strip_prefix('(')?;
            Some(name.strip_suffix(')')?.trim_matches('"'))
        });
        bare.collect::<Vec<_>>().join(", ")
    };
    let (wanted, address, own) = match wanted {
        ServerName::IpAddress(address) => {
            let address = IpAddr::from(*address).to_string();
            (address, true, of_kind("IpAddress"))
        }
        name => (name.to_str().into_owned(), false, of_kind("DnsName")),
    };
    match (own.is_empty(), address) {
        (false, _) => format!("certificate is valid for {own}, not {wanted}"),
        (true, true) => format!(
            "cannot validate certificate for {wanted} because it doesn't contain any IP SANs"
        ),
        (true, false) => {
            format!("certificate is not valid for any names, but wanted to match {wanted}")
        }
    }
}

/// Whether the peer refused what was sent, such as a certificate.
pub fn is_refusal(error: &(dyn StdError + 'static)) -> bool {
    let error: Option<&io::Error> = error.downcast_ref();
    matches!(error.and_then(inner), Some(Error::AlertReceived(_)))
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// An alert of RFC 8446, section 6.
fn alert_words(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::UnexpectedMessage => "unexpected message",
        AlertDescription::BadRecordMac => "bad record MAC",
        AlertDescription::RecordOverflow => "record overflow",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::InsufficientSecurity => "insufficient security level",
        AlertDescription::InternalError => "internal error",
        AlertDescription::UnrecognisedName => "unrecognized name",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        other => return format!("{other:?}"),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_usual_words() {
        let alert = |alert| io::Error::other(Error::AlertReceived(alert));
        let refused = alert(AlertDescription::UnknownCA);
        let sentence = "remote error: tls: unknown certificate authority";
        assert_eq!(describe(&refused).as_deref(), Some(sentence));
        assert!(is_refusal(&refused));
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(describe(&broken).is_none() && !is_refusal(&broken));
        assert!(!is_refusal(&io::Error::other(Error::DecryptError)));
    }
}
