//! Calls to a scheduler over https: who is believed, and what is said of the others.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::clusters::Clusters;
use crate::scheduler::TransportError;
use crate::world::{RealWorld, World};

const REPLY: &str = r#"[1,"getJobs",2,1,{"0":{"rec":{"1":{"i32":1},"6":{"lst":["rec",0]}}}}]"#;

/// An authority and the servers it vouches for.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Serves one connection as a scheduler of that name; gives its port.
    fn serve(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> u16 {
        config(Some(&self.ca_file())).unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = Arc::new(server.with_single_cert(vec![certificate.der().clone()], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(server).unwrap(), stream);
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // Who does not believe us says so in the middle of the handshake.
            while let Ok(count) = stream.read(&mut buffer) {
                request.extend_from_slice(&buffer[..count]);
                if count == 0 || request.windows(7).any(|part| part == b"getJobs") {
                    break;
                }
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", REPLY.len());
            let _ = stream.write_all(format!("{head}{REPLY}").as_bytes());
            let _ = stream.flush();
        });
        port
    }

    /// Asks the server at the port as the cluster of a clusters.json that names the file.
    fn ask(&self, port: u16, ca_file: Option<&str>) -> Result<thrift::Response, TransportError> {
        let mut entry = serde_json::json!({ "name": "c1", "scheduler_uri": format!("https://localhost:{port}") });
        if let Some(file) = ca_file {
            entry["ca_file"] = file.into();
        }
        let mut clusters = Clusters::default();
        clusters.add_file(&self.folder.path().join("clusters.json"), &serde_json::json!([entry]).to_string()).unwrap();
        let mut transport = RealWorld::new().connect(&clusters.get("c1").unwrap());
        transport.call(&thrift::GetJobsArguments { owner_role: None }.into(), None)
    }
}

#[track_caller]
fn distrusted(answer: Result<thrift::Response, TransportError>, expected: &str) {
    match answer {
        Err(TransportError::Untrusted(why)) => assert!(why.contains(expected), "{why}"),
        other => panic!("{expected} is expected, not {other:?}"),
    }
}

#[test]
fn a_scheduler_whose_authority_is_named_is_believed() {
    let authority = Authority::new();
    let port = authority.serve("localhost", |_| {});
    // The name is taken from where clusters.json lies.
    let response = authority.ask(port, Some("ca.pem")).unwrap();
    assert_eq!(response.response_code, Some(thrift::ResponseCode::Ok));
    let port = authority.serve("localhost", |_| {});
    assert!(authority.ask(port, authority.ca_file().to_str()).is_ok());
}

#[test]
fn nobody_else_is_believed() {
    let authority = Authority::new();
    distrusted(authority.ask(authority.serve("localhost", |_| {}), None), "nobody whom this machine trusts");
    let other = Authority::new();
    distrusted(authority.ask(other.serve("localhost", |_| {}), Some("ca.pem")), "not accepted");
    distrusted(authority.ask(authority.serve("other.example", |_| {}), Some("ca.pem")), "it is for another host");
    let expired = authority.serve("localhost", |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    distrusted(authority.ask(expired, Some("ca.pem")), "it has expired");
}

#[test]
fn a_file_that_holds_no_authority_is_named() {
    let authority = Authority::new();
    std::fs::write(authority.folder.path().join("empty.pem"), "nothing\n").unwrap();
    distrusted(authority.ask(1, Some("empty.pem")), "holds no certificate");
    distrusted(authority.ask(1, Some("missing.pem")), "missing.pem cannot be read");
}

#[test]
fn who_speaks_no_tls_is_no_scheduler() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let error = authority.ask(port, Some("ca.pem")).unwrap_err();
    assert!(matches!(&error, TransportError::Foreign(why) if why.contains("http:// instead of https://")), "{error:?}");
}
