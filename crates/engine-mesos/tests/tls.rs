//! Masters that speak TLS.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::*;
use engine_mesos::{Options, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// Files of an authority and of what it vouches for.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for a name, and its key.
    fn certify(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let path = |kind: &str| self.folder.path().join(format!("{name}.{kind}.pem"));
        std::fs::write(path("certificate"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        (path("certificate"), path("key"))
    }
}

fn read(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

/// The master's side; asks for a certificate of the same authority.
fn server_config(authority: &Authority, name: &str) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(read(&authority.ca()));
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let (certificate, key) = authority.certify(name);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(read(&certificate), PrivateKeyDer::from_pem_file(key).unwrap());
    Arc::new(config.unwrap())
}

fn accept(port: &Port, config: &Arc<ServerConfig>) -> Connection {
    let tcp = port.accept_tcp(LIMIT).expect("the engine connects");
    let io = StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), tcp);
    Connection { io: Box::new(io), buffer: Vec::new() }
}

#[test]
fn a_master_with_a_certificate_is_trusted_by_its_authority() {
    let authority = Authority::new();
    let config = server_config(&authority, "localhost");
    let port = Port::open();
    let tls = Tls { enabled: false, ca_file: Some(authority.ca()), certificate: Some(authority.certify("scheduler")) };
    let masters = format!("https://localhost:{}", port.number());
    let (engine, heard) = engine_with(Options { tls, ..options(&masters) }, 100);
    engine.begin(None);
    let mut stream = accept(&port, &config);
    stream.request();
    stream.begin_stream("s");
    stream.event(&subscribed("f-1", 15.0));
    let mut calls = accept(&port, &config);
    let shaken = std::thread::spawn(move || calls.request());
    heard.registered();
    let mut engine = engine;
    engine::Engine::call(&mut engine, 1, vec![engine::Call::Revive]);
    assert!(shaken.join().unwrap().call.revive.is_some());
}

#[test]
fn a_master_of_another_authority_or_name_is_not_trusted() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (ca, name) in [(other.ca(), "localhost"), (authority.ca(), "another.example")] {
        let config = server_config(&authority, name);
        let port = Port::open();
        let tls = Tls { enabled: true, ca_file: Some(ca), certificate: Some(authority.certify("scheduler")) };
        let (engine, heard) = engine_with(Options { tls, ..options(&format!("localhost:{}", port.number())) }, 100);
        engine.begin(None);
        for _ in 0..2 {
            let mut stream = accept(&port, &config);
            let mut byte = [0];
            let error = stream.io.read(&mut byte).unwrap_err().to_string();
            assert!(error.contains("alert") || error.contains("eof") || error.contains("reset"), "{error}");
        }
        heard.nothing();
        assert!(
            engine
                .statistics()
                .snapshot()
                .iter()
                .any(|(name, count)| *name == "mesos_subscription_failures" && *count > 0)
        );
    }
}
