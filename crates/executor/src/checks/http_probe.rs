//! Requests to a port of the task: probes of its health, and the requests that ask it to end (spec executor 2.6, 2.8). They block and
//! run in threads of their own.

use std::io;
use std::time::{Duration, Instant};

use model::process::health::{ProbeResult, judge_answer};
use model::process::schema::HttpHealthChecker;

use crate::http::{Connection, Head, Request, Stream, Url, exchange};

/// Most redirections that are followed.
const REDIRECTS_MAX: usize = 10;
/// Most bytes of an answer that are read.
const BODY_BYTES_MAX: u64 = 1 << 20;
/// Variable with the time, in seconds, for a request that has no time of its own.
const TIMEOUT_VARIABLE: &str = "AURORA_HTTP_SIGNALER_TIMEOUT_SECS";

/// Time for a request that has no time of its own.
pub(crate) fn signaler_timeout() -> Duration {
    let told = std::env::var(TIMEOUT_VARIABLE).ok().and_then(|text| text.trim().parse::<f64>().ok());
    told.and_then(|secs| Duration::try_from_secs_f64(secs).ok())
        .filter(|told| !told.is_zero())
        .unwrap_or(DEFAULT_TIMEOUT)
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// Address of a path on a port of this machine.
pub(super) fn url_of(port: u32, endpoint: &str) -> String {
    let slash = if endpoint.starts_with('/') { "" } else { "/" };
    format!("http://localhost:{port}{slash}{endpoint}")
}

/// Probes once.
pub(super) fn probe(port: u32, checker: &HttpHealthChecker, timeout: Duration) -> ProbeResult {
    let url = url_of(port, &checker.endpoint);
    let (code, body) = get(&url, Instant::now() + timeout).map_err(|error| failed_to_signal(&url, &error))?;
    judge_answer(&checker.expected_response, checker.expected_response_code, &body, code)
}

/// What is said about a request without an answer.
pub(super) fn failed_to_signal(url: &str, cause: &impl std::fmt::Display) -> String {
    format!("Failed to signal {url}: {cause}")
}

/// Gets a page; redirections are followed. An answer that tells of an error has an empty body.
fn get(url: &str, deadline: Instant) -> io::Result<(u16, String)> {
    let mut url = Url::parse(url)?;
    for _ in 0..=REDIRECTS_MAX {
        let stream = Stream::connect(&url.host, url.port, deadline)?;
        let mut connection = Connection::new(stream);
        let (head, mut body) = exchange(&mut connection, &request("GET", &url.authority(), &url.target))?;
        if let Some(location) = redirection(&head) {
            url = url.join(location)?;
            continue;
        }
        let body = if (200..300).contains(&head.code) {
            String::from_utf8_lossy(&body.read_up_to(BODY_BYTES_MAX)?).into_owned()
        } else {
            String::new()
        };
        return Ok((head.code, body));
    }
    Err(io::Error::other("it redirects without end"))
}

fn redirection(head: &Head) -> Option<&str> {
    matches!(head.code, 301 | 302 | 303 | 307 | 308).then(|| head.header("Location")).flatten()
}

fn request<'a>(method: &'a str, host: &'a str, target: &'a str) -> Request<'a> {
    Request { method, host, target, headers: &[("User-Agent", "daybreak-executor")], body: b"", keep: false }
}

/// Asks a task to end by a POST; any answer counts as handled. An error says why there was none.
pub(crate) fn ask_to_end(port: u32, endpoint: &str, timeout: Duration) -> Result<u16, String> {
    let text = url_of(port, endpoint);
    let ask = || {
        let url = Url::parse(&text)?;
        let mut connection = Connection::new(Stream::connect(&url.host, url.port, Instant::now() + timeout)?);
        let (head, _) = exchange(&mut connection, &request("POST", &url.authority(), &url.target))?;
        Ok::<u16, io::Error>(head.code)
    };
    ask().map_err(|error| failed_to_signal(&text, &error))
}
