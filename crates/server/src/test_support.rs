//! What tests of several modules need: a program that is called over HTTP or HTTPS and keeps what it heard, an authority that vouches for
//! it, and routes that are asked without a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use gateway::{Door, Lane};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use scheduler::Input;
use tower::ServiceExt;

/// A scheduler that takes nothing.
pub(crate) struct NoDoor;

impl Door for NoDoor {
    fn enter(&self, _: Lane, _: Input) -> bool {
        false
    }
}

/// More than this no test reads of an answer.
const ANSWER_LIMIT_BYTES: usize = 1 << 20;

/// What routes answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// Sends one request through routes.
pub(crate) async fn ask(routes: axum::Router, request: Request<Body>) -> Answered {
    let (parts, body) = routes.oneshot(request).await.expect("routes never fail").into_parts();
    let body = to_bytes(body, ANSWER_LIMIT_BYTES).await.expect("a whole answer");
    let text = String::from_utf8(body.to_vec()).expect("text");
    Answered { status: parts.status, headers: parts.headers, text }
}

/// One request as it came: the request line, the headers in lower case, the body.
pub(crate) struct Heard {
    pub(crate) line: String,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Heard {
    /// Reads one whole request; nothing where the other side went away before.
    pub(crate) fn read(from: &mut impl BufRead) -> Option<Self> {
        let (mut line, mut headers) = (String::new(), String::new());
        from.read_line(&mut line).ok().filter(|length| *length > 0)?;
        while from.read_line(&mut headers).ok()? > 2 {}
        let headers = headers.to_ascii_lowercase();
        let length = headers.lines().find_map(|line| line.strip_prefix("content-length:"));
        let mut body = vec![0; length.map_or(0, |length| length.trim().parse().expect("a length"))];
        from.read_exact(&mut body).ok()?;
        Some(Self { line: line.trim_end().to_owned(), headers, body })
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A program that answers every connection once, and what it heard.
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    pub(crate) heard: Receiver<Heard>,
}

/// An answer with a body.
pub(crate) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

impl Program {
    /// Over plain HTTP.
    pub(crate) fn start(answer: impl Into<String>) -> Self {
        Self::serve(answer.into(), |stream| Box::new(stream))
    }

    /// Over HTTPS with a certificate of an authority.
    pub(crate) fn start_tls(config: Arc<ServerConfig>, answer: impl Into<String>) -> Self {
        Self::serve(answer.into(), move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            Box::new(StreamOwned::new(connection, stream))
        })
    }

    fn serve(answer: String, wrap: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, heard) = channel();
        // It serves until the tests end.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(wrap(stream));
                let Some(request) = Heard::read(&mut reader) else { continue };
                // The other side may have had enough before the end.
                let _ = reader.get_mut().write_all(answer.as_bytes()).and_then(|()| reader.get_mut().flush());
                let _ = sender.send(request);
            }
        });
        Self { address, heard }
    }
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// An authority of the tests.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One that no other knows.
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority {} of the tests", MADE.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// The side of a server that has a certificate for `name`, which ended years ago if it is `expired`.
    pub(crate) fn server(&self, name: &str, expired: bool) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            (params.not_before, params.not_after) =
                (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
        }
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }
}
