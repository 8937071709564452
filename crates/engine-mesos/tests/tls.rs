//! Masters that speak TLS.

#[path = "common/authority.rs"]
mod authority;
mod common;

use std::sync::Arc;

use authority::{Authority, server_config};
use common::*;
use engine_mesos::{Options, Tls};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

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
