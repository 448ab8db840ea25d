//! How this program opens a Postgres connection: addresses, encryption, what may be said of an error.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::control::clusters::{Address, Tls};

/// A configuration with a cluster's address in it. Several hosts, separated by commas, are tried for the one that writes.
pub fn config(address: &Address) -> Config {
    let mut config = Config::new();
    for host in address.host.split(',') {
        config.host(host.trim());
        config.port(address.port);
    }
    if address.host.contains(',') {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    config.ssl_mode(match address.tls {
        Tls::Disable => SslMode::Disable,
        Tls::VerifyFull(_) => SslMode::Require,
    });
    config.connect_timeout(std::time::Duration::from_secs(3));
    config
}

/// What encrypts connections to a cluster.
pub enum Connector {
    /// Nothing.
    Plain(NoTls),
    /// TLS with the server's name checked.
    Tls(MakeRustlsConnect),
}

/// Why there is no connector: the authority's certificate is not PEM.
#[derive(Debug, thiserror::Error)]
#[error("the cluster's certificate authority is not a PEM certificate: {0}")]
pub struct BadAuthority(String);

/// The connector that a cluster's address asks for.
pub fn connector(tls: &Tls) -> Result<Connector, BadAuthority> {
    let Tls::VerifyFull(authority) = tls else { return Ok(Connector::Plain(NoTls)) };
    let mut roots = rustls::RootCertStore::empty();
    match authority {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|e| BadAuthority(e.to_string()))?;
                roots.add(certificate).map_err(|e| BadAuthority(e.to_string()))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| BadAuthority(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Connector::Tls(MakeRustlsConnect::new(client)))
}

/// What may be logged of an error: its SQLSTATE or kind. Messages can quote a caller's words.
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => match db.constraint().or(db.table()) {
            Some(what) => format!("SQLSTATE {} on {what}", db.code().code()),
            None => format!("SQLSTATE {}", db.code().code()),
        },
        None => error.to_string(),
    }
}
