//! Encrypted connections of clients: whose certificates are taken, and failures in words that people know.

mod fault;
mod verify;

pub use fault::{describe, is_refusal};
pub use verify::{anyone, known};

/// Where distributions keep the certificates that everyone trusts; the first that is there counts.
pub const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
