//! How the daemon calls programs of the operator over HTTP and HTTPS: coordinators of SLA policies, the webhook. What is said to them, and
//! what their answers mean, those know.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Why a file of certificates is refused.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read as such.
    #[error("--https-ca-file {0}: {1}. It holds certificates of authorities as PEM")]
    File(PathBuf, String),
}

/// Whom to believe when a program is called over HTTPS: the system's authorities, and those of the operator's file.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    own: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Reads the operator's file; without one only the system's authorities are trusted.
    pub fn load(ca_file: Option<&Path>) -> Result<Self, TrustError> {
        let Some(path) = ca_file else { return Ok(Self::default()) };
        let refused = |why: String| TrustError::File(path.into(), why);
        let read = CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?;
        let own: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| refused(error.to_string()))?;
        if own.is_empty() {
            return Err(refused("there is no certificate in it".into()));
        }
        let mut store = RootCertStore::empty();
        for certificate in &own {
            store.add(certificate.clone()).map_err(|error| refused(error.to_string()))?;
        }
        Ok(Self { own })
    }

    /// Something that calls, and never for longer than `timeout` altogether. It follows no redirect, to wherever, and asks no proxy. The
    /// system's authorities are those of this moment; reading them takes some milliseconds.
    pub fn agent(&self, timeout: Duration) -> ureq::Agent {
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!("a certificate of the system cannot be read: {error}");
        }
        let trusted = system.certs.iter().chain(&self.own);
        let roots: Vec<_> = trusted.map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots))
            .build();
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(timeout))
            .tls_config(tls)
            .user_agent(concat!("daybreak-", env!("CARGO_PKG_VERSION")))
            .build();
        config.into()
    }
}

/// Why a call failed, in one line, with what to do where it can be known.
pub fn failure(error: &ureq::Error) -> String {
    let refused = match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        _ => None,
    };
    match refused {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "its certificate is of an authority that is not trusted here; name the authority's own certificate with --https-ca-file".into()
        }
        Some(error @ rustls::Error::InvalidCertificate(_)) => format!("its certificate is not accepted: {error}"),
        Some(error) => format!("TLS with it fails: {error}"),
        None => {
            let causes = std::iter::successors(error.source(), |error| (*error).source());
            let mut text = error.to_string();
            for cause in causes.map(ToString::to_string).filter(|cause| !cause.is_empty()) {
                if !text.contains(&cause) {
                    text = format!("{text}: {cause}");
                }
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::Authority;

    #[test]
    fn a_file_that_holds_no_authority_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for path in [folder.path().join("missing"), file("empty", ""), file("nonsense", nonsense)] {
            let error = Trust::load(Some(&path)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--https-ca-file {}: ", path.display())), "{error}");
        }
        let authority = Authority::new();
        assert_eq!(Trust::load(Some(&file("good", &authority.pem()))).unwrap().own.len(), 1);
        assert!(Trust::load(None).unwrap().own.is_empty());
    }
}
