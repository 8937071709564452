//! Trust and our own certificate for masters and agents that speak TLS. rustls with the house's provider.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::options::Tls;

/// Where systems keep the certificates they trust.
const SYSTEM_CA_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why TLS cannot be spoken; the message names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds something else.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The parts do not fit together.
    #[error("the certificate and its key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

fn file_error(path: &Path, why: impl ToString) -> TlsError {
    TlsError::File { path: path.display().to_string(), why: why.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| file_error(path, error))?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| file_error(path, error))?;
    if certificates.is_empty() { Err(file_error(path, "it holds no certificate")) } else { Ok(certificates) }
}

/// What certificates are trusted: the operator's, or the system's.
fn trusted(settings: &Tls) -> Option<PathBuf> {
    let system = || SYSTEM_CA_FILES.iter().map(PathBuf::from).find(|path| path.exists());
    settings.ca_file.clone().or_else(system)
}

/// The same for questions to agents, which go through another client. The system's certificates need not be there: whether agents
/// speak TLS is known only when they make offers.
pub(crate) fn agent_config(settings: &Tls) -> Result<ureq::tls::TlsConfig, TlsError> {
    use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
    let owned = |certificates: Vec<CertificateDer<'static>>| -> Vec<Certificate<'static>> {
        certificates.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
    };
    let roots = match trusted(settings) {
        Some(path) if settings.ca_file.is_some() || settings.enabled => certificates(&path)?,
        Some(path) => certificates(&path).unwrap_or_default(),
        None => Vec::new(),
    };
    let client = settings.certificate.as_ref().map(|(certificate, key)| {
        let pem = std::fs::read(key).map_err(|error| file_error(key, error))?;
        let key = PrivateKey::from_pem(&pem).map_err(|error| file_error(key, error))?;
        Ok::<_, TlsError>(ClientCert::new_with_certs(&owned(certificates(certificate)?), key))
    });
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(&owned(roots)))
        .client_cert(client.transpose()?)
        .build())
}

/// Reads what the settings name. Without TLS nothing is read.
pub(crate) fn client_config(settings: &Tls, is_used: bool) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = trusted(settings).filter(|_| is_used) {
        let (_, ignored) = roots.add_parsable_certificates(certificates(&path)?);
        if settings.ca_file.is_some() && ignored > 0 {
            return Err(file_error(&path, "it holds a certificate that cannot be trusted"));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match settings.certificate.as_ref().filter(|_| is_used) {
        Some((certificate, key)) => {
            let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| file_error(key, error))?;
            builder.with_client_auth_cert(certificates(certificate)?, key_der)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_nothing_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        for path in [empty, folder.path().join("missing.pem")] {
            let settings = Tls { enabled: true, ca_file: Some(path.clone()), certificate: None };
            let error = client_config(&settings, true).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            assert!(client_config(&settings, false).is_ok(), "without TLS nothing is read");
        }
    }
}
