//! Failures in the words of Go's library, for which docker's users search.

use std::error::Error as StdError;
use std::io;

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
                other => format!("{other}"),
            };
            format!("tls: failed to verify certificate: x509: {reason}")
        }
        Error::InvalidMessage(_) => "http: server gave HTTP response to HTTPS client".into(),
        Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_words(*alert)),
        other => format!("tls: {other}"),
    })
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
