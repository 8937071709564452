//! Thrift over HTTP, one attempt per call (spec client-cli 3.3, thrift-api 1.2). Not the retries.

use std::path::Path;
use std::time::Duration;

use thrift::{Call, Limits, Protocol, Response};
use ureq::http::Response as HttpResponse;
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use crate::scheduler::{Page, Transport, TransportError};

/// No reply is larger than this; a stream without end must not fill the memory.
const REPLY_LIMIT_BYTES: u64 = 4 << 30;
/// A page of a log is small; the daemon is asked for pieces.
const PAGE_LIMIT_BYTES: u64 = 64 << 20;

/// Calls `POST <base>/api`.
pub struct HttpTransport {
    /// An error where the certificates to trust cannot be read.
    agent: Result<Agent, String>,
    base: String,
    sequence_id: i32,
    bypass_leader_redirect: bool,
}

impl HttpTransport {
    /// For a base address such as `http://127.0.0.1:8081`.
    pub fn new(base: &str) -> Self {
        Self::trusting(base, None)
    }

    /// The same; over https only who is certified by an authority of the file is believed to be the scheduler.
    pub fn trusting(base: &str, ca_file: Option<&Path>) -> Self {
        // A proxy has no business between this machine and itself.
        let proxy = if is_this_machine(base) { None } else { ureq::Proxy::try_from_env() };
        // Without https there is nobody to trust, and looking for certificates takes its time.
        let tls = if base.starts_with("https:") { crate::tls::config(ca_file).map(Some) } else { Ok(None) };
        let config = |tls: Option<TlsConfig>| {
            Agent::config_builder()
                .tls_config(tls.unwrap_or_default())
                .proxy(proxy)
                .http_status_as_error(false)
                .timeout_connect(Some(Duration::from_secs(5)))
                .timeout_global(Some(Duration::from_secs(120)))
                // A scheduler that does not lead answers 307, and the body has to travel along: `call` does it itself.
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(concat!("Aurora V2;daybreak-", env!("CARGO_PKG_VERSION")))
                .build()
        };
        Self {
            agent: tls.map(|tls| config(tls).into()),
            base: base.trim_end_matches('/').to_owned(),
            sequence_id: 0,
            bypass_leader_redirect: false,
        }
    }

    /// The same; if so wished, the scheduler there answers itself even if another one leads (spec client-cli 3.3).
    pub fn bypassing_leader_redirect(self, bypass_leader_redirect: bool) -> Self {
        Self { bypass_leader_redirect, ..self }
    }
}

impl Transport for HttpTransport {
    fn call(&mut self, call: &Call, key: Option<&str>) -> Result<Response, TransportError> {
        let agent = self.agent.clone().map_err(TransportError::Untrusted)?;
        self.sequence_id = self.sequence_id.wrapping_add(1);
        let protocol = Protocol::Json;
        let body = thrift::encode_call(protocol, self.sequence_id, call);
        let mut url = format!("{}/api", self.base);
        for _ in 0..4 {
            let mut request =
                agent.post(&url).header("Content-Type", protocol.media_type()).header("Accept", protocol.media_type());
            if self.bypass_leader_redirect {
                request = request.header("Bypass-Leader-Redirect", "true");
            }
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            // Another host has another entry, or none: a redirect takes no password along.
            let authorization = crate::netrc::authorization(&url);
            if let Some(value) = &authorization {
                request = request.header("Authorization", value);
            }
            let answer = request.send(&body[..]).map_err(transport_error)?;
            if let Some(target) = redirect_target(&url, &answer) {
                url = target;
                continue;
            }
            if answer.status() == 401 && authorization.is_none() {
                let host = crate::netrc::host(&url);
                let advice = format!(
                    "HTTP 401: it wants to know who you are, and ~/.netrc has no login and password for {host}"
                );
                return Err(TransportError::Denied(advice));
            }
            return self.read_reply(call, answer);
        }
        Err(TransportError::Foreign("it redirects for ever".into()))
    }

    fn get(&mut self, path: &str) -> Result<Page, TransportError> {
        let url = format!("{}{path}", self.base);
        let agent = self.agent.as_ref().map_err(|why| TransportError::Untrusted(why.clone()))?;
        let mut answer = agent.get(&url).call().map_err(transport_error)?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let page = Page {
            status: answer.status().as_u16(),
            size_bytes: header("X-Size-Bytes").and_then(|text| text.parse().ok()),
            identity: header("X-Identity"),
            body: Vec::new(),
        };
        let body = answer.body_mut().with_config().limit(PAGE_LIMIT_BYTES).read_to_vec().map_err(transport_error)?;
        Ok(Page { body, ..page })
    }

    fn ask(&mut self, path: &str, document: Option<&[u8]>) -> Result<Page, TransportError> {
        let agent = self.agent.clone().map_err(TransportError::Untrusted)?;
        let mut url = format!("{}{path}", self.base);
        for _ in 0..4 {
            let mut headers = vec![("Accept", "application/json".to_owned())];
            if self.bypass_leader_redirect {
                headers.push(("Bypass-Leader-Redirect", "true".to_owned()));
            }
            headers.extend(crate::netrc::authorization(&url).map(|value| ("Authorization", value)));
            let answer = match document {
                Some(document) => {
                    let request = agent.post(&url).header("Content-Type", "application/json");
                    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
                    request.send(document)
                }
                None => {
                    let request = agent.get(&url);
                    headers.iter().fold(request, |request, (name, value)| request.header(*name, value)).call()
                }
            };
            let mut answer = answer.map_err(transport_error)?;
            if let Some(target) = redirect_target(&url, &answer) {
                url = target;
                continue;
            }
            let status = answer.status().as_u16();
            let body =
                answer.body_mut().with_config().limit(PAGE_LIMIT_BYTES).read_to_vec().map_err(transport_error)?;
            return Ok(Page { status, body, ..Page::default() });
        }
        Err(TransportError::Foreign("it redirects for ever".into()))
    }
}

impl HttpTransport {
    fn read_reply(&self, call: &Call, mut answer: HttpResponse<Body>) -> Result<Response, TransportError> {
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(REPLY_LIMIT_BYTES).read_to_vec().map_err(transport_error)?;
        match status {
            200 => thrift::decode_reply(Protocol::Json, call.method(), self.sequence_id, &body, Limits::REPLY).map_err(
                |error| match error {
                    thrift::ReplyError::Protocol(_) => {
                        TransportError::Foreign(format!("its answer is not a Thrift reply: {}", excerpt(&body)))
                    }
                    other => TransportError::Foreign(other.to_string()),
                },
            ),
            401 | 403 => Err(TransportError::Denied(format!("HTTP {status} {}", excerpt(&body)).trim_end().to_owned())),
            404 | 405 => Err(TransportError::Foreign(format!("it answers HTTP {status} to POST /api"))),
            // A proxy between: nobody was there, or who was there was lost before an answer came.
            503 => Err(TransportError::Connect(format!("HTTP {status}"))),
            502 | 504 => Err(TransportError::Broken(format!("HTTP {status}"))),
            _ => Err(TransportError::Foreign(format!("it answers HTTP {status} to POST /api ({})", excerpt(&body)))),
        }
    }
}

/// Whether an address means this very machine.
pub(crate) fn is_this_machine(url: &str) -> bool {
    let host = url.split("://").last().unwrap_or_default().split('/').next().unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Where a 307 or 308 sends the same request; relative targets are resolved against the host.
fn redirect_target(url: &str, answer: &HttpResponse<Body>) -> Option<String> {
    if !matches!(answer.status().as_u16(), 307 | 308) {
        return None;
    }
    let target = answer.headers().get("Location")?.to_str().ok()?;
    if target.contains("://") {
        return Some(target.to_owned());
    }
    let host_at = url.find("://")? + 3;
    let path_at = url[host_at..].find('/').map_or(url.len(), |at| host_at + at);
    target.starts_with('/').then(|| format!("{}{target}", &url[..path_at]))
}

/// The start of a body in one line, for an error text. A page for browsers says nothing in one line.
fn excerpt(body: &[u8]) -> String {
    if body.trim_ascii_start().starts_with(b"<") {
        return "a web page".into();
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(120)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).collect()
}

fn transport_error(error: ureq::Error) -> TransportError {
    use std::io::ErrorKind;
    if let Some(why) = crate::tls::distrust(&error) {
        return TransportError::Untrusted(format!("its certificate is not accepted: {why}"));
    }
    if crate::tls::is_no_tls(&error) {
        let cure = "if it speaks plain HTTP, its address begins with http:// instead of https://";
        return TransportError::Foreign(format!("it does not speak TLS; {cure}"));
    }
    match error {
        ureq::Error::HostNotFound => TransportError::Connect("unknown host".into()),
        ureq::Error::ConnectionFailed => TransportError::Connect("connection failed".into()),
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            TransportError::Connect("no answer in time".into())
        }
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable => TransportError::Connect(plain(&error)),
            // The standard library has no kind for it.
            _ if error.to_string().contains("failed to lookup address") => {
                TransportError::Connect("unknown host".into())
            }
            _ => TransportError::Broken(plain(&error)),
        },
        ureq::Error::Protocol(error) => TransportError::Foreign(format!("it does not speak HTTP ({error})")),
        ureq::Error::TlsRequired => TransportError::Foreign("it redirects from http to https: write https".into()),
        ureq::Error::Rustls(error) => TransportError::Foreign(format!("it does not speak TLS as it should ({error})")),
        ureq::Error::Http(why) => TransportError::Foreign(format!("the address is malformed ({why})")),
        ureq::Error::BadUri(why) => TransportError::Foreign(format!("the address is malformed ({why})")),
        ureq::Error::BodyExceedsLimit(bytes) => TransportError::Foreign(format!("its answer exceeds {bytes} bytes")),
        other => TransportError::Broken(other.to_string()),
    }
}

/// Without the operating system's number.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use thrift::{GetJobsArguments, ResponseCode};

    /// Answers one request with fixed bytes and returns what it was sent.
    fn serve(answers: Vec<Vec<u8>>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            answers
                .into_iter()
                .map(|answer| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let request = read_request(&mut stream);
                    stream.write_all(&answer).unwrap();
                    request
                })
                .collect()
        });
        (url, thread)
    }

    fn read_request(stream: &mut std::net::TcpStream) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer).unwrap();
            text.extend_from_slice(&buffer[..count]);
            let request = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = request.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned))
                    .map_or(0, |length| length.parse::<usize>().unwrap());
                if body.len() >= length {
                    return request;
                }
            }
            assert!(count > 0, "the request ended early: {request}");
        }
    }

    fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
            .into_bytes()
    }

    fn jobs_call() -> Call {
        GetJobsArguments { owner_role: Some("www-data".into()) }.into()
    }

    const OK_REPLY: &str = r#"[1,"getJobs",2,1,{"0":{"rec":{"1":{"i32":1},"6":{"lst":["rec",0]}}}}]"#;

    #[test]
    fn a_call_is_thrift_json_over_post() {
        let (url, server) = serve(vec![http("200 OK", "", OK_REPLY)]);
        let response = HttpTransport::new(&url).call(&jobs_call(), None).unwrap();
        assert_eq!(response.response_code, Some(ResponseCode::Ok));
        let request = server.join().unwrap().remove(0);
        assert!(request.starts_with("POST /api HTTP/1.1\r\n"), "{request}");
        let lower = request.to_ascii_lowercase();
        assert!(lower.contains("content-type: application/vnd.apache.thrift.json\r\n"), "{request}");
        assert!(request.ends_with(r#"[1,"getJobs",1,1,{"1":{"str":"www-data"}}]"#), "{request}");
    }

    #[test]
    fn a_follower_s_redirect_carries_the_call_to_the_leader() {
        let (leader, leading) = serve(vec![http("200 OK", "", OK_REPLY)]);
        let location = format!("Location: {leader}/api\r\n");
        let (follower, following) = serve(vec![http("307 Temporary Redirect", &location, "")]);
        HttpTransport::new(&follower).call(&jobs_call(), None).unwrap();
        following.join().unwrap();
        assert!(leading.join().unwrap()[0].contains("getJobs"));
    }

    #[test]
    fn what_is_no_scheduler_is_told_apart() {
        type Check = fn(&TransportError) -> bool;
        let cases: [(Vec<u8>, Check); 7] = [
            (
                http("200 OK", "", "<html>Welcome to nginx</html>"),
                |e| matches!(e, TransportError::Foreign(what) if what.ends_with("not a Thrift reply: a web page")),
            ),
            (http("404 Not Found", "", "nope"), |e| matches!(e, TransportError::Foreign(_))),
            (b"220 mail.example.org ESMTP\r\n".to_vec(), |e| {
                matches!(e, TransportError::Foreign(_) | TransportError::Broken(_))
            }),
            (
                http("401 Unauthorized", "", "who are you"),
                |e| matches!(e, TransportError::Denied(what) if what.contains("401")),
            ),
            (http("503 Service Unavailable", "", ""), |e| matches!(e, TransportError::Connect(_))),
            (http("502 Bad Gateway", "", ""), |e| matches!(e, TransportError::Broken(_))),
            (http("504 Gateway Timeout", "", ""), |e| matches!(e, TransportError::Broken(_))),
        ];
        for (answer, expected) in cases {
            let (url, server) = serve(vec![answer.clone()]);
            let error = HttpTransport::new(&url).call(&jobs_call(), None).unwrap_err();
            assert!(expected(&error), "{} gave {error:?}", String::from_utf8_lossy(&answer));
            server.join().unwrap();
        }
    }

    #[test]
    fn nobody_listening_and_a_connection_cut_short_are_different() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = HttpTransport::new(&format!("http://{free}")).call(&jobs_call(), None).unwrap_err();
        assert_eq!(error, TransportError::Connect("connection refused".into()));

        let (url, server) = serve(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[1,".to_vec()]);
        let error = HttpTransport::new(&url).call(&jobs_call(), None).unwrap_err();
        assert!(matches!(error, TransportError::Broken(_)), "{error:?}");
        server.join().unwrap();
    }

    #[test]
    fn a_question_follows_the_leader_with_its_document() {
        let (leader, leading) = serve(vec![http("200 OK", "Content-Type: application/json\r\n", r#"{"a":1}"#)]);
        let location = format!("Location: {leader}/api/v1/plan\r\n");
        let (follower, following) = serve(vec![http("307 Temporary Redirect", &location, "")]);
        let page = HttpTransport::new(&follower).ask("/api/v1/plan", Some(br#"{"method":"createJob"}"#)).unwrap();
        assert_eq!((page.status, page.body.as_slice()), (200, br#"{"a":1}"#.as_slice()));
        following.join().unwrap();
        let request = leading.join().unwrap().remove(0);
        assert!(request.starts_with("POST /api/v1/plan HTTP/1.1\r\n"), "{request}");
        assert!(request.to_ascii_lowercase().contains("content-type: application/json\r\n"), "{request}");
        assert!(request.ends_with(r#"{"method":"createJob"}"#), "{request}");
        let (url, server) = serve(vec![http("404 Not Found", "", "nope")]);
        assert_eq!(HttpTransport::new(&url).ask("/api/v1/explain?job=a", None).unwrap().status, 404);
        assert!(server.join().unwrap()[0].starts_with("GET /api/v1/explain?job=a HTTP/1.1\r\n"));
    }

    #[test]
    fn addresses_that_cannot_be_right_are_told_apart_from_schedulers_that_are_away() {
        let error = |url: &str| HttpTransport::new(url).call(&jobs_call(), None).unwrap_err();
        let lookup = std::io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(transport_error(ureq::Error::Io(lookup)), TransportError::Connect("unknown host".into()));
        assert!(matches!(error("http://not a url"), TransportError::Foreign(why) if why.contains("malformed")));
    }

    #[test]
    fn this_machine_has_several_names() {
        for url in ["http://127.0.0.1:8081", "http://localhost", "http://[::1]:8081/x", "http://127.8.9.1"] {
            assert!(is_this_machine(url), "{url}");
        }
        for url in ["http://10.0.0.1:8081", "http://localhost.example:80", "http://[2001:db8::1]"] {
            assert!(!is_this_machine(url), "{url}");
        }
    }

    #[test]
    fn pages_carry_size_and_identity() {
        let (url, server) = serve(vec![http("200 OK", "X-Size-Bytes: 17\r\nX-Identity: 42\r\n", "abc")]);
        let page = HttpTransport::new(&url).get("/files/t/p/0/stdout?offset=14&limit=10").unwrap();
        let expected = Page { status: 200, size_bytes: Some(17), identity: Some("42".into()), body: b"abc".to_vec() };
        assert_eq!(page, expected);
        assert!(server.join().unwrap()[0].starts_with("GET /files/t/p/0/stdout?offset=14&limit=10 "));
    }
}
