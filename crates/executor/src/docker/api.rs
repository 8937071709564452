//! Requests to the Docker daemon over its socket.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{self, Closer, Connection, Request, Stream};

const SOCKET: &str = "/var/run/docker.sock";
/// Largest answer that is read, bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How long an ordinary request may take. Starting and removing a container on a busy disk takes its time.
const LIMIT: Duration = Duration::from_secs(120);

/// The daemon.
#[derive(Clone, Debug)]
pub(super) struct Docker {
    socket: PathBuf,
}

/// Why something was not done; the text is for people.
#[derive(Debug)]
pub(super) enum Failure {
    /// What was asked for is not there.
    NotFound(String),
    /// The daemon says no.
    Refused(String),
    /// The daemon does not answer.
    Unreachable(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(text) | Self::Refused(text) => write!(formatter, "Docker: {text}"),
            Self::Unreachable(text) => formatter.write_str(text),
        }
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.to_string()
    }
}

impl Docker {
    /// The daemon that a value of `DOCKER_HOST` names; the usual one where it is empty.
    pub(super) fn new(docker_host: &str) -> Result<Self, String> {
        let socket = match docker_host.split_once("://") {
            None if docker_host.is_empty() => SOCKET,
            None => docker_host,
            Some(("unix", path)) => path,
            Some(_) => {
                return Err(format!(
                    "DOCKER_HOST={docker_host} is not a socket of this machine: containers share their sandbox with it, so it must \
                     be unix:///..."
                ));
            }
        };
        Ok(Self { socket: socket.into() })
    }

    fn connect(&self) -> Result<Connection, Failure> {
        let stream = Stream::connect_unix(&self.socket, Instant::now() + LIMIT).map_err(|error| {
            let socket = self.socket.display();
            Failure::Unreachable(match error.kind() {
                io::ErrorKind::PermissionDenied => format!(
                    "the socket of Docker, {socket}, refuses this user: run Daybreak as root, or put its user into the group docker"
                ),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
                    "no Docker daemon answers on {socket}: start it (Debian: apt-get install docker.io), or name its socket in \
                     DOCKER_HOST"
                ),
                _ => format!("the Docker daemon on {socket}: {error}"),
            })
        })?;
        Ok(Connection::new(stream))
    }

    /// One request; `null` for an answer without content.
    pub(super) fn call(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let mut text = Vec::new();
        self.read(method, target, body, Some(LIMIT), |answer| answer.take(ANSWER_BYTES_MAX).read_to_end(&mut text))?;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&text)
            .map_err(|error| Failure::Refused(format!("an answer that is no JSON ({error}) to {method} {target}")))
    }

    /// One request whose answer is read as it comes, within `limit`.
    pub(super) fn read<T>(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
        limit: Option<Duration>,
        read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<T, Failure> {
        let mut connection = self.connect()?;
        self.exchange(&mut connection, (method, target, body), &[], limit, read)
    }

    /// A request without a body and with one more header, perhaps.
    pub(super) fn read_with<T>(
        &self,
        (method, target): (&str, &str),
        header: Option<(&str, &str)>,
        limit: Duration,
        read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<T, Failure> {
        let mut connection = self.connect()?;
        self.exchange(&mut connection, (method, target, None), header.as_slice(), Some(limit), read)
    }

    /// The same with a way for another thread to end it, which is told before anything is sent.
    pub(super) fn read_closable<T>(
        &self,
        request: (&str, &str, Option<&Value>),
        tell: impl FnOnce(Closer),
        read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<T, Failure> {
        let mut connection = self.connect()?;
        let closer = connection.get_ref().closer().map_err(|error| Failure::Unreachable(error.to_string()))?;
        tell(closer);
        self.exchange(&mut connection, request, &[], None, read)
    }

    fn exchange<T>(
        &self,
        connection: &mut Connection,
        (method, target, body): (&str, &str, Option<&Value>),
        headers: &[(&str, &str)],
        limit: Option<Duration>,
        read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<T, Failure> {
        let broken = |error: io::Error| Failure::Unreachable(format!("the Docker daemon, {method} {target}: {error}"));
        connection.get_mut().set_deadline(limit.map(|limit| Instant::now() + limit)).map_err(broken)?;
        let text = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let headers = if body.is_some() { &[("Content-Type", "application/json")] } else { headers };
        let request = Request { method, host: "docker", target, headers, body: &text, keep: true };
        let (head, mut answer) = http::exchange(connection, &request).map_err(broken)?;
        if (200..300).contains(&head.code) || head.code == 304 {
            return read(&mut answer).map_err(broken);
        }
        let text = answer.read_up_to(1 << 20).unwrap_or_default();
        let said = serde_json::from_slice::<Value>(&text).ok();
        let said = said.as_ref().and_then(|said| said["message"].as_str()).map(str::to_owned);
        let said = said.unwrap_or_else(|| String::from_utf8_lossy(&text).trim().to_owned());
        let said = if said.is_empty() { format!("status {} to {method} {target}", head.code) } else { said };
        Err(if head.code == 404 { Failure::NotFound(said) } else { Failure::Refused(said) })
    }
}

/// Text as part of a query.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_of_this_machine_are_taken() {
        assert_eq!(Docker::new("").unwrap().socket, PathBuf::from(SOCKET));
        assert_eq!(Docker::new("unix:///tmp/d.sock").unwrap().socket, PathBuf::from("/tmp/d.sock"));
        assert!(Docker::new("tcp://10.0.0.1:2375").unwrap_err().contains("unix:///"));
    }

    #[test]
    fn who_does_not_answer_is_named() {
        let nobody = Docker::new("unix:///nonexistent/docker.sock").unwrap();
        let why = nobody.call("GET", "/_ping", None).unwrap_err().to_string();
        assert!(why.contains("/nonexistent/docker.sock") && why.contains("DOCKER_HOST"), "{why}");
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escaped("{\"a\":[\"b=c\"]}"), "%7B%22a%22%3A%5B%22b%3Dc%22%5D%7D");
    }
}
