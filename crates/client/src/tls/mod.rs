//! How https is spoken: by rustls with the house's provider, trusting what this machine trusts, or the certificates of one file.

use std::path::Path;
use std::sync::{Arc, Once};

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Whom to trust: the authorities of the file, which is PEM, or those of this machine (which `SSL_CERT_FILE` replaces). An error is a sentence
/// for the user.
pub fn config(ca_file: Option<&Path>) -> Result<TlsConfig, String> {
    static PROVIDER: Once = Once::new();
    // Somebody else may have done it.
    PROVIDER.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
    let roots = match ca_file {
        Some(file) => RootCerts::Specific(Arc::new(certificates(file)?)),
        None => RootCerts::PlatformVerifier,
    };
    Ok(TlsConfig::builder().root_certs(roots).build())
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let shown = file.display();
    let text = std::fs::read(file).map_err(|error| format!("the CA file {shown} cannot be read: {error}"))?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("the CA file {shown} is damaged: {error}")),
        }
    }
    if found.is_empty() {
        return Err(format!("the CA file {shown} holds no certificate: it must be PEM, with BEGIN CERTIFICATE"));
    }
    Ok(found)
}

/// Why the other side is not trusted, if that is what an error is about.
pub fn distrust(error: &ureq::Error) -> Option<String> {
    let of_rustls = |error: &rustls::Error| match error {
        rustls::Error::InvalidCertificate(why) => Some(plain(why)),
        _ => None,
    };
    match error {
        ureq::Error::Rustls(error) => of_rustls(error),
        ureq::Error::Io(error) => of_rustls(error.get_ref()?.downcast_ref::<rustls::Error>()?),
        _ => None,
    }
}

/// Whether the other side answered something that is no TLS at all.
pub fn is_no_tls(error: &ureq::Error) -> bool {
    let of_rustls = |error: &rustls::Error| matches!(error, rustls::Error::InvalidMessage(_));
    match error {
        ureq::Error::Rustls(error) => of_rustls(error),
        ureq::Error::Io(error) => {
            error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some_and(of_rustls)
        }
        _ => false,
    }
}

fn plain(why: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Why;
    match why {
        Why::UnknownIssuer => "nobody whom this machine trusts has signed it".into(),
        Why::Expired | Why::ExpiredContext { .. } => "it has expired".into(),
        Why::NotValidYet | Why::NotValidYetContext { .. } => "it is not valid yet".into(),
        Why::NotValidForName | Why::NotValidForNameContext { .. } => "it is for another host".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
