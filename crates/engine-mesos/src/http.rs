//! As much of HTTP/1.1 as a scheduler needs: connections with and without TLS, requests written one after the other without waiting
//! (which the usual clients do not do), responses read in their order, bodies as they arrive. Everything read is bounded.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::address::Master;

/// The longest head of a response.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The longest line that tells a chunk's size.
const LINE_BYTES_MAX: usize = 1 << 10;
/// Headers of a response at most.
const HEADERS_MAX: usize = 64;
/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// What masters and agents may offer, in OpenSSL's names (`LIBPROCESS_SSL_CIPHERS`).
const SAFE_CIPHERS: &str = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:\
                            ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384";

/// A connection.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects, at most this long.
pub(crate) async fn connect(master: &Master, tls: &Arc<ClientConfig>, limit: Duration) -> io::Result<Box<dyn Io>> {
    let connecting = async {
        let tcp = TcpStream::connect((master.host.as_str(), master.port)).await?;
        tcp.set_nodelay(true)?;
        if !master.tls {
            return Ok(Box::new(tcp) as Box<dyn Io>);
        }
        let name = ServerName::try_from(master.host.clone())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "its name cannot be verified"))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(told)?;
        Ok(Box::new(stream) as Box<dyn Io>)
    };
    tokio::time::timeout(limit, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Says what to do where masters have no cipher in common with us: those that Mesos itself names are refused by libraries of today.
fn told(error: io::Error) -> io::Error {
    let refused = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if inner != Some(&refused) {
        return error;
    }
    io::Error::new(
        error.kind(),
        format!(
            "{refused}: it has no cipher that is safe today. Mesos' own list has none: start masters and agents with \
             LIBPROCESS_SSL_CIPHERS={SAFE_CIPHERS}"
        ),
    )
}

/// What is the same in every request to a master.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead(String);

impl RequestHead {
    pub(crate) fn new(master: &Master, authorization: Option<&str>, stream_id: Option<&str>) -> Self {
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {master}\r\nUser-Agent: daybreak\r\nContent-Type: {type}\r\nAccept: {type}\r\n",
            mesos::SCHEDULER_PATH,
            type = mesos::PROTOBUF,
        );
        for (name, value) in [("Authorization", authorization), ("Mesos-Stream-Id", stream_id)] {
            if let Some(value) = value {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str("Content-Length: ");
        Self(head)
    }

    /// Appends a request with a protobuf body.
    pub(crate) fn write(&self, body: &impl prost::Message, into: &mut Vec<u8>) {
        into.extend_from_slice(self.0.as_bytes());
        into.extend_from_slice(format!("{}\r\n\r\n", body.encoded_len()).as_bytes());
        body.encode(into).expect("a vector grows");
    }
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    fn body(&self) -> Result<Body, io::Error> {
        if matches!(self.status, 100..=199 | 204 | 304) {
            return Ok(Body::Length(0));
        }
        if self.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked")) {
            return Ok(Body::Chunked(Chunk::Size));
        }
        match self.header("content-length") {
            Some(length) => length.trim().parse().map(Body::Length).map_err(|_| malformed("its length is no number")),
            None => Ok(Body::UntilClose),
        }
    }

    /// Whether the connection may carry another response.
    pub(crate) fn keeps_open(&self) -> bool {
        !self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// What of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked(Chunk),
    UntilClose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    Done,
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer is no HTTP: {what}"))
}

/// Reads responses. Every method may be dropped while it waits and called again.
pub(crate) struct Reader<R> {
    io: R,
    buffer: BytesMut,
    body: Body,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new(), body: Body::Length(0) }
    }

    /// The next response's head; `None` when the connection ended before one began. The body before it must have been read.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(head) = self.parse_head()? {
                // An interim response announces another one.
                if head.status >= 200 {
                    self.body = head.body()?;
                    return Ok(Some(head));
                }
                continue;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(malformed("its head is too long"));
            }
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    fn parse_head(&mut self) -> io::Result<Option<Head>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&self.buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(malformed(&error.to_string())),
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
        let headers = response.headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value)));
        let head = Head { status: response.code.unwrap_or_default(), headers: headers.collect() };
        self.buffer.advance(length);
        Ok(Some(head))
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(piece) = self.buffered_piece()? {
                return Ok(Some(piece));
            }
            if matches!(self.body, Body::Length(0) | Body::Chunked(Chunk::Done)) {
                return Ok(None);
            }
            if self.fill().await? == 0 {
                return match self.body {
                    Body::UntilClose => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// The rest of the body as text for people, cut at `limit` bytes.
    pub(crate) async fn text(&mut self, limit: usize) -> io::Result<String> {
        let mut text = Vec::new();
        while let Some(piece) = self.piece().await? {
            text.extend_from_slice(&piece[..piece.len().min(limit.saturating_sub(text.len()))]);
        }
        Ok(String::from_utf8_lossy(&text).trim().to_owned())
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_BYTES);
        self.io.read_buf(&mut self.buffer).await
    }

    fn take(&mut self, limit: u64) -> Option<Bytes> {
        let length = usize::try_from(limit).unwrap_or(usize::MAX).min(self.buffer.len());
        (length > 0).then(|| self.buffer.split_to(length).freeze())
    }

    fn buffered_piece(&mut self) -> io::Result<Option<Bytes>> {
        match self.body {
            Body::Length(left) => {
                let piece = self.take(left);
                self.body = Body::Length(left - piece.as_ref().map_or(0, |piece| piece.len() as u64));
                Ok(piece)
            }
            Body::UntilClose => Ok(self.take(u64::MAX)),
            Body::Chunked(_) => self.chunked_piece(),
        }
    }

    fn chunked_piece(&mut self) -> io::Result<Option<Bytes>> {
        while let Body::Chunked(state) = self.body {
            let next = match state {
                Chunk::Done => return Ok(None),
                Chunk::Data(left) => {
                    let Some(piece) = self.take(left) else { return Ok(None) };
                    let left = left - piece.len() as u64;
                    self.body = Body::Chunked(if left == 0 { Chunk::DataEnd } else { Chunk::Data(left) });
                    return Ok(Some(piece));
                }
                Chunk::Size | Chunk::DataEnd | Chunk::Trailer => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    match state {
                        Chunk::Size => chunk_size(&line)?,
                        Chunk::DataEnd if line.is_empty() => Chunk::Size,
                        Chunk::DataEnd => return Err(malformed("a chunk is longer than it says")),
                        _ if line.is_empty() => Chunk::Done,
                        _ => Chunk::Trailer,
                    }
                }
            };
            self.body = Body::Chunked(next);
        }
        Ok(None)
    }

    /// A line without its end, if it is whole.
    fn line(&mut self) -> io::Result<Option<Bytes>> {
        let seen = &self.buffer[..self.buffer.len().min(LINE_BYTES_MAX)];
        let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
            return if seen.len() == LINE_BYTES_MAX { Err(malformed("a line is too long")) } else { Ok(None) };
        };
        let line = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        let length = line.strip_suffix(b"\r").map_or(line.len(), <[u8]>::len);
        Ok(Some(line.slice(..length)))
    }
}

fn chunk_size(line: &[u8]) -> io::Result<Chunk> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let text = std::str::from_utf8(digits).unwrap_or_default().trim();
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u64::from_str_radix(text, 16) {
        Ok(0) if is_hex => Ok(Chunk::Trailer),
        Ok(size) if is_hex => Ok(Chunk::Data(size)),
        _ => Err(malformed("a chunk's size is no number")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream that gives its bytes in pieces of one size.
    struct Pieces<'a>(&'a [u8], usize);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let length = self.1.min(self.0.len()).min(buffer.remaining());
            let (now, later) = self.0.split_at(length);
            buffer.put_slice(now);
            self.0 = later;
            std::task::Poll::Ready(Ok(()))
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn pipelined_responses_are_read_in_order_however_they_arrive() {
        let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n\
            HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n\r\nno!\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id:  abc \r\n\r\n\
            5\r\nhello\r\n1;x=y\r\n \r\nA\r\nthe chunks\r\n0\r\nTrailer: t\r\n\r\n\
            HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\nuntil the end";
        for size in [1, 2, 3, 7, 64, 1000] {
            run(async {
                let mut reader = Reader::new(Pieces(wire, size));
                let head = reader.head().await.unwrap().unwrap();
                assert_eq!((head.status, reader.text(10).await.unwrap().as_str()), (202, ""));
                let head = reader.head().await.unwrap().unwrap();
                assert_eq!((head.status, reader.text(10).await.unwrap().as_str()), (400, "no!"));
                let head = reader.head().await.unwrap().unwrap();
                assert_eq!(head.header("mesos-stream-id"), Some("abc"));
                assert!(head.keeps_open());
                assert_eq!(reader.text(100).await.unwrap(), "hello the chunks");
                let head = reader.head().await.unwrap().unwrap();
                assert!(!head.keeps_open());
                assert_eq!(reader.text(5).await.unwrap(), "until");
                assert_eq!(reader.head().await.unwrap(), None);
            });
        }
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_BYTES_MAX + READ_BYTES));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX + 1));
        for wire in
            ["SSH-2.0\r\n", "HTTP/1.1 200 OK\r\nX", &long, &many, "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"]
        {
            assert!(run(Reader::new(Pieces(wire.as_bytes(), 999)).head()).is_err(), "{}", &wire[..20.min(wire.len())]);
        }
        for body in ["x\r\n", "\r\n", "+1\r\na", "2\r\nabc\r\n", "ffffffffffffffffff\r\n", "5\r\nab", &"1".repeat(3000)]
        {
            let wire = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            let text = run(async {
                let mut reader = Reader::new(Pieces(wire.as_bytes(), 5));
                reader.head().await.unwrap();
                reader.text(100).await
            });
            assert!(text.is_err(), "{body:.20}");
        }
    }

    proptest! {
        #[test]
        fn hostile_answers_come_to_an_end(
            head in prop_oneof![
                Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
                Just("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
                Just("HTTP/1.1 100 Continue\r\n\r\n"),
                Just(""),
            ],
            body in prop::collection::vec(prop_oneof![b'0'..=b'9', Just(b'\r'), Just(b'\n'), any::<u8>()], 0..80),
            size in 1usize..20,
        ) {
            let wire = [head.as_bytes(), &body].concat();
            run(async {
                let mut reader = Reader::new(Pieces(&wire, size));
                while let Ok(Some(_)) = reader.head().await {
                    if reader.text(1000).await.is_err() {
                        break;
                    }
                }
            });
        }
    }

    #[test]
    fn a_master_without_a_safe_cipher_is_told_apart() {
        let alert = |kind| io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(kind));
        let said = told(alert(rustls::AlertDescription::HandshakeFailure)).to_string();
        assert!(said.contains("LIBPROCESS_SSL_CIPHERS=ECDHE-RSA-AES128-GCM-SHA256:"), "{said}");
        let other = told(alert(rustls::AlertDescription::UnknownCA)).to_string();
        assert!(!other.contains("LIBPROCESS"), "{other}");
    }

    #[test]
    fn a_request_has_these_bytes() {
        let master = Master::parse("m1:5050").unwrap();
        let mut wire = Vec::new();
        let call = mesos::v1::scheduler::Call { r#type: Some(5), ..Default::default() };
        RequestHead::new(&master, Some("Basic eA=="), Some("id-1")).write(&call, &mut wire);
        let expected = "POST /api/v1/scheduler HTTP/1.1\r\nHost: m1:5050\r\nUser-Agent: daybreak\r\n\
            Content-Type: application/x-protobuf\r\nAccept: application/x-protobuf\r\nAuthorization: Basic eA==\r\n\
            Mesos-Stream-Id: id-1\r\nContent-Length: 2\r\n\r\n\u{10}\u{5}";
        assert_eq!(String::from_utf8(wire).unwrap(), expected);
    }
}
