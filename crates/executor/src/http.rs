//! As much of HTTP/1.1 as probes and the executor's agent need, over blocking sockets with a deadline. One request per connection unless
//! the caller keeps the stream; no TLS, no compression.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Largest head of an answer, bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most header lines.
const HEADERS_MAX: usize = 100;
/// Longest line that says how long a chunk is, bytes.
const CHUNK_LINE_BYTES_MAX: u64 = 1024;

/// A connected socket whose operations end at a deadline.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects to `host`, a name or an address, with the addresses tried one after another.
    pub fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
        for address in addresses(host, port)? {
            match TcpStream::connect_timeout(&address, left(deadline)?) {
                Ok(socket) => {
                    let _ = socket.set_nodelay(true);
                    return Ok(Self { socket: Socket::Tcp(socket), deadline: Some(deadline) });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to a socket of this machine.
    pub fn connect_unix(path: &Path, deadline: Instant) -> io::Result<Self> {
        Ok(Self { socket: Socket::Unix(UnixStream::connect(path)?), deadline: Some(deadline) })
    }

    /// Another time by which all must be done; `None` for no bound.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.deadline = deadline;
        if deadline.is_none() {
            self.set_timeouts(None)?;
        }
        Ok(())
    }

    /// A second handle of the connection, with which another thread can end it.
    pub fn closer(&self) -> io::Result<Closer> {
        Ok(Closer(match &self.socket {
            Socket::Tcp(socket) => Socket::Tcp(socket.try_clone()?),
            Socket::Unix(socket) => Socket::Unix(socket.try_clone()?),
        }))
    }

    /// Notices a peer that is gone without a word, which a connection on which one only listens would not.
    pub fn keep_alive(&self) {
        if let Socket::Tcp(socket) = &self.socket {
            let _ = rustix::net::sockopt::set_socket_keepalive(socket, true);
            let _ = rustix::net::sockopt::set_tcp_keepidle(socket, Duration::from_secs(30));
            let _ = rustix::net::sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10));
            let _ = rustix::net::sockopt::set_tcp_keepcnt(socket, 3);
        }
    }

    fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => {
                socket.set_read_timeout(timeout)?;
                socket.set_write_timeout(timeout)
            }
            Socket::Unix(socket) => {
                socket.set_read_timeout(timeout)?;
                socket.set_write_timeout(timeout)
            }
        }
    }

    fn before(&self) -> io::Result<()> {
        match self.deadline {
            Some(deadline) => self.set_timeouts(Some(left(deadline)?)),
            None => Ok(()),
        }
    }
}

/// Ends a connection that another thread reads from.
#[derive(Debug)]
pub struct Closer(Socket);

impl Closer {
    /// Ends it; whoever reads sees its end.
    pub fn close(&self) {
        let _ = match &self.0 {
            Socket::Tcp(socket) => socket.shutdown(std::net::Shutdown::Both),
            Socket::Unix(socket) => socket.shutdown(std::net::Shutdown::Both),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.before()?;
        let result = match &mut self.socket {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        };
        result.map_err(told_plainly)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.before()?;
        // Never SIGPIPE: a launcher has given that its default effect.
        let result = match &self.socket {
            Socket::Tcp(socket) => rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL),
            Socket::Unix(socket) => rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL),
        };
        result.map_err(io::Error::from).map_err(told_plainly)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The kernel says "resource temporarily unavailable" where a time ran out.
fn told_plainly(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { timed_out() } else { error }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "timed out")
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(timed_out()) } else { Ok(left) }
}

/// The name of this machine for itself needs no look-up, which may depend on files and servers.
fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        return Ok(both.map(|address| SocketAddr::new(address, port)).to_vec());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    Ok((host, port).to_socket_addrs()?.collect())
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// Content of the `Host` header.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body; its length is told whenever there is one or the method is `POST`.
    pub body: &'a [u8],
    /// Whether the connection is to be used again.
    pub keep: bool,
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub code: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A connection with what was read ahead of it.
pub type Connection = BufReader<Stream>;

/// Sends a request and reads the head of the answer; the body is to be read from what is returned.
pub fn exchange<'a>(connection: &'a mut Connection, request: &Request<'_>) -> io::Result<(Head, Body<'a>)> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, request.host);
    for (name, value) in request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !request.body.is_empty() || request.method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
    }
    head.push_str(if request.keep { "\r\n" } else { "Connection: close\r\n\r\n" });
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(request.body);
    connection.get_mut().write_all(&bytes)?;
    loop {
        let head = read_head(connection)?;
        // Preliminary answers have no body and another answer after them.
        if !(100..200).contains(&head.code) {
            let framing = framing(request.method, &head)?;
            return Ok((head, Body { connection, framing }));
        }
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed answer: {what}"))
}

fn read_head(connection: &mut Connection) -> io::Result<Head> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") && !bytes.ends_with(b"\n\n") {
        let room = (HEAD_BYTES_MAX - bytes.len()) as u64;
        let read = connection.by_ref().take(room).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            let what =
                if bytes.is_empty() { "the connection ended without an answer" } else { "its head is cut short" };
            return Err(malformed(what));
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    match answer.parse(&bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(malformed("its head is cut short")),
        Err(error) => return Err(malformed(&error.to_string())),
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Head {
        code: answer.code.ok_or_else(|| malformed("no status code"))?,
        headers: answer.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
    })
}

#[derive(Debug)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes are left of the present chunk; its end, if one was begun, is not read yet.
    Chunked { left: u64, begun: bool },
    /// Until the connection ends.
    End,
    /// All was read.
    Done,
}

fn framing(method: &str, head: &Head) -> io::Result<Framing> {
    if method == "HEAD" || matches!(head.code, 204 | 304) {
        return Ok(Framing::Done);
    }
    if head.header("Transfer-Encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked")) {
        return Ok(Framing::Chunked { left: 0, begun: false });
    }
    match head.header("Content-Length") {
        Some(length) => Ok(Framing::Length(length.trim().parse().map_err(|_| malformed("senseless length"))?)),
        None => Ok(Framing::End),
    }
}

/// The body of an answer, without the marks of its transfer.
#[derive(Debug)]
pub struct Body<'a> {
    connection: &'a mut Connection,
    framing: Framing,
}

impl Body<'_> {
    /// The connection it is read from.
    pub fn connection(&mut self) -> &mut Connection {
        self.connection
    }

    /// Whether it was read to its end, so that the connection can be used again.
    pub fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Done | Framing::Length(0))
    }

    /// Reads all of it, but no more than `bytes_max`.
    pub fn read_up_to(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn next_chunk(&mut self, begun: bool) -> io::Result<u64> {
        let mut line = Vec::new();
        if begun {
            self.line(&mut line)?;
        }
        line.clear();
        self.line(&mut line)?;
        let text = String::from_utf8_lossy(&line);
        let digits = text.split(';').next().unwrap_or_default().trim();
        let length = u64::from_str_radix(digits, 16).map_err(|_| malformed("senseless chunk"))?;
        if length == 0 {
            // What may follow the last chunk ends with an empty line.
            while !line.is_empty() {
                line.clear();
                self.line(&mut line)?;
            }
        }
        Ok(length)
    }

    fn line(&mut self, line: &mut Vec<u8>) -> io::Result<()> {
        self.connection.by_ref().take(CHUNK_LINE_BYTES_MAX).read_until(b'\n', line)?;
        if line.pop() != Some(b'\n') {
            return Err(malformed("a chunk is cut short"));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(())
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Framing::Chunked { left: 0, begun } = self.framing {
            let left = self.next_chunk(begun)?;
            self.framing = if left == 0 { Framing::Done } else { Framing::Chunked { left, begun: true } };
        }
        let left = match self.framing {
            Framing::Done | Framing::Length(0) => return Ok(0),
            Framing::Length(left) | Framing::Chunked { left, .. } => left,
            Framing::End => u64::MAX,
        };
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.connection.read(&mut buffer[..room])?;
        match &mut self.framing {
            Framing::Length(left) | Framing::Chunked { left, .. } => {
                if read == 0 {
                    return Err(malformed("its body is cut short"));
                }
                *left -= read as u64;
            }
            Framing::End if read == 0 => self.framing = Framing::Done,
            Framing::End | Framing::Done => {}
        }
        Ok(read)
    }
}

/// The parts of an address on the web that a plain request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host; an IPv6 address is in brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, at least `/`.
    pub target: String,
}

impl Url {
    /// Reads an absolute `http:` address.
    pub fn parse(text: &str) -> io::Result<Self> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: {text}"));
        let rest = text.strip_prefix("http://").ok_or_else(|| bad("only http:// can be followed"))?;
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let colon = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        let (host, port) = match colon {
            Some(at) => (&authority[..at], authority[at + 1..].parse().map_err(|_| bad("senseless port"))?),
            None => (authority, 80),
        };
        if host.is_empty() {
            return Err(bad("no host"));
        }
        // What would break the request line is escaped, as browsers do.
        let mut escaped = String::with_capacity(target.len() + 1);
        if !target.starts_with('/') {
            escaped.push('/');
        }
        for byte in target.bytes() {
            if byte <= b' ' || byte >= 0x7f {
                escaped.push_str(&format!("%{byte:02X}"));
            } else {
                escaped.push(byte as char);
            }
        }
        Ok(Self { host: host.to_owned(), port, target: escaped })
    }

    /// Where a `Location` header seen here leads to.
    pub fn join(&self, location: &str) -> io::Result<Self> {
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("http://{rest}"));
        }
        if location.contains("://") {
            return Self::parse(location);
        }
        let base = format!("http://{}:{}", self.host, self.port);
        if location.starts_with('/') {
            return Self::parse(&format!("{base}{location}"));
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let folder = &path[..=path.rfind('/').unwrap_or(0)];
        Self::parse(&format!("{base}{folder}{location}"))
    }

    /// What the `Host` header says.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Serves one connection with this answer and returns what was asked.
    fn serve(answer: &'static [u8]) -> (u16, std::thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut asked = vec![0; 4096];
            let read = socket.read(&mut asked).unwrap();
            asked.truncate(read);
            for byte in answer.chunks(3) {
                socket.write_all(byte).unwrap();
            }
            asked
        });
        (port, thread)
    }

    fn ask(answer: &'static [u8]) -> io::Result<(Head, String)> {
        let (port, server) = serve(answer);
        let stream = Stream::connect("localhost", port, Instant::now() + Duration::from_secs(5))?;
        let mut connection = BufReader::new(stream);
        let request =
            Request { method: "GET", host: "h", target: "/x", headers: &[("A", "b")], body: b"", keep: false };
        let result = exchange(&mut connection, &request)
            .and_then(|(head, mut body)| Ok((head, String::from_utf8(body.read_up_to(1000)?).unwrap())));
        assert_eq!(server.join().unwrap(), b"GET /x HTTP/1.1\r\nHost: h\r\nA: b\r\nConnection: close\r\n\r\n");
        result
    }

    #[test]
    fn bodies_of_each_framing_are_read() {
        for (answer, code, body) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokextra"[..], 200, "ok"),
            (b"HTTP/1.0 503 No\n\nbody to the end", 503, "body to the end"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=1\r\nabc\r\n1\r\nd\r\n0\r\nT: 1\r\n\r\n",
                200,
                "abcd",
            ),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n", 204, ""),
        ] {
            let (head, read) = ask(answer).unwrap();
            assert_eq!((head.code, read.as_str()), (code, body));
        }
    }

    #[test]
    fn malformed_and_short_answers_are_errors() {
        for answer in [
            &b""[..],
            b"hello\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        ] {
            let error = ask(answer).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{answer:?}: {error}");
        }
    }

    #[test]
    fn a_peer_that_says_nothing_is_given_up_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = Stream::connect("127.0.0.1", port, Instant::now() + Duration::from_millis(50)).unwrap();
        let request = Request { method: "GET", host: "h", target: "/", headers: &[], body: b"", keep: false };
        let error = exchange(&mut BufReader::new(stream), &request).map(|_| ()).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::TimedOut, "timed out"));
    }

    #[test]
    fn addresses_are_read_and_joined() {
        let url = |text: &str| Url::parse(text).map(|url| (url.host, url.port, url.target)).ok();
        assert_eq!(url("http://a"), Some(("a".into(), 80, "/".into())));
        assert_eq!(url("http://u@[::1]:8080?q=a b"), Some(("[::1]".into(), 8080, "/?q=a%20b".into())));
        for bad in ["https://a", "a", "http://", "http://a:b/", "http://a:99999/"] {
            assert_eq!(url(bad), None, "{bad}");
        }
        let base = Url::parse("http://a:1/b/c?d").unwrap();
        for (location, joined) in [
            ("/x", "http://a:1/x"),
            ("x", "http://a:1/b/x"),
            ("//b:2/x", "http://b:2/x"),
            ("http://c/y#z", "http://c:80/y"),
        ] {
            let url = base.join(location).unwrap();
            assert_eq!(format!("http://{}{}", url.authority(), url.target), joined);
        }
    }
}
