//! One agent's endpoints: `/files/browse`, `/files/read`, `/files/download`, `/containers` (spec mesos 5).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::time::Duration;

use engine::files::{FileEntry, FileRange, FilesError};
use serde_json::Value;
use ureq::tls::TlsConfig;

/// Most bytes one `/files/read` gives (16 pages).
const READ_BYTES_MAX: u64 = 64 << 10;
/// Most bytes one question is answered with.
const RANGE_BYTES_MAX: u64 = 16 << 20;
/// Most bytes of an answer in JSON; control characters take six bytes each.
const JSON_BYTES_MAX: u64 = 16 << 20;
/// How long an agent may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How agents are spoken to.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    http: ureq::Agent,
    authorization: Option<String>,
}

impl Wire {
    pub fn new(tls: TlsConfig, authorization: Option<String>) -> Self {
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(ANSWER_LIMIT))
            .http_status_as_error(false)
            // Agents are inside; a proxy leads out.
            .proxy(None)
            .build();
        Self { http: config.into(), authorization }
    }
}

/// An agent.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub wire: Wire,
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

/// Why an agent did not answer as hoped.
#[derive(Debug)]
pub(super) enum AgentError {
    /// There is no such file.
    NotFound,
    /// It may not be seen.
    Refused(&'static str),
    /// The agent cannot be reached, or answers something else.
    Failed(io::Error),
}

impl AgentError {
    pub fn other(error: impl std::fmt::Display) -> Self {
        Self::Failed(io::Error::other(error.to_string()))
    }

    /// The error of the port, about `what`.
    pub fn named(self, what: &str) -> FilesError {
        match self {
            Self::NotFound => FilesError::NotFound(what.to_owned()),
            Self::Refused(why) => FilesError::Refused(what.to_owned(), why),
            Self::Failed(error) => FilesError::Io(what.to_owned(), error),
        }
    }
}

/// What the container of an executor uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Statistics {
    pub cpu_seconds: f64,
    pub memory_bytes: Option<u64>,
    pub disk_bytes: Option<u64>,
}

impl Agent {
    fn get(&self, endpoint: &str, query: &[(&str, &str)]) -> Result<ureq::Body, AgentError> {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let scheme = if self.tls { "https" } else { "http" };
        let address = format!("{scheme}://{host}:{}", self.port);
        let mut request = self.wire.http.get(format!("{address}{endpoint}")).query_pairs(query.iter().copied());
        if let Some(authorization) = &self.wire.authorization {
            request = request.header("Authorization", authorization);
        }
        let response = request
            .call()
            .map_err(|error| AgentError::other(format!("the agent at {address} does not answer: {error}")))?;
        match response.status().as_u16() {
            200 => Ok(response.into_body()),
            404 => Err(AgentError::NotFound),
            401 | 403 => Err(AgentError::Refused("the agent does not show it to this scheduler")),
            status => {
                let text = response.into_body().with_config().limit(1024).read_to_string().unwrap_or_default();
                // A directory where a file was asked for, or the other way round.
                if status == 400 {
                    return Err(AgentError::Refused("the agent says that it is no such file"));
                }
                Err(AgentError::other(format!("the agent at {address} answered {status}: {}", text.trim())))
            }
        }
    }

    fn json(&self, endpoint: &str, query: &[(&str, &str)]) -> Result<Value, AgentError> {
        let bytes =
            self.get(endpoint, query)?.with_config().limit(JSON_BYTES_MAX).read_to_vec().map_err(AgentError::other)?;
        // Agents put a file's bytes into the text as they are, whatever they are.
        let text = String::from_utf8_lossy(&bytes);
        serde_json::from_str(&text).map_err(|error| AgentError::other(format!("the agent answered no JSON: {error}")))
    }

    /// A whole file, byte for byte.
    pub fn download(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, AgentError> {
        let body = self.get("/files/download", &[("path", path)])?;
        body.into_with_config().limit(limit_bytes).read_to_vec().map_err(AgentError::other)
    }

    /// Entries of a directory, sorted by name.
    pub fn browse(&self, path: &str) -> Result<Vec<FileEntry>, AgentError> {
        let listed = self.json("/files/browse", &[("path", path)])?;
        let entries = listed.as_array().ok_or_else(|| AgentError::other("the agent lists no files"))?;
        let mut entries: Vec<FileEntry> = entries.iter().filter_map(entry).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn size(&self, path: &str) -> Result<u64, AgentError> {
        let answer = self.json("/files/read", &[("path", path), ("offset", "-1")])?;
        answer["offset"].as_u64().ok_or_else(|| AgentError::other("the agent does not tell the size"))
    }

    /// A piece of a file; a negative offset counts from the end.
    pub fn read(&self, path: &str, offset: i64, limit_bytes: usize) -> Result<FileRange, AgentError> {
        let size = self.size(path)?;
        let begin = match u64::try_from(offset) {
            Ok(offset) => offset.min(size),
            Err(_) => size.saturating_sub(offset.unsigned_abs()),
        };
        let wanted = (size - begin).min(limit_bytes as u64).min(RANGE_BYTES_MAX);
        let mut hasher = DefaultHasher::new();
        // Agents do not tell files of one name apart; a follower sees a new one by its being shorter.
        (&self.host, self.port, path).hash(&mut hasher);
        let mut range = FileRange { offset: begin, data: Vec::new(), size_bytes: size, identity: hasher.finish() };
        while (range.data.len() as u64) < wanted {
            let at = begin + range.data.len() as u64;
            let length = (wanted - range.data.len() as u64).min(READ_BYTES_MAX);
            let (at_text, length_text) = (at.to_string(), length.to_string());
            let query = [("path", path), ("offset", at_text.as_str()), ("length", length_text.as_str())];
            let answer = self.json("/files/read", &query)?;
            let data = answer["data"].as_str().unwrap_or_default();
            if data.is_empty() {
                break;
            }
            if data.len() as u64 != length || data.contains('\u{fffd}') {
                // Bytes that are no text do not survive JSON: the rest comes from the file itself.
                let rest = self.download_range(path, at, wanted - range.data.len() as u64)?;
                range.data.extend(rest);
                break;
            }
            range.data.extend_from_slice(data.as_bytes());
        }
        Ok(range)
    }

    /// A piece of a file, by passing over what comes before it.
    fn download_range(&self, path: &str, begin: u64, length: u64) -> Result<Vec<u8>, AgentError> {
        let body = self.get("/files/download", &[("path", path)])?;
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        io::copy(&mut reader.by_ref().take(begin), &mut io::sink()).map_err(AgentError::Failed)?;
        let mut data = Vec::new();
        reader.take(length).read_to_end(&mut data).map_err(AgentError::Failed)?;
        Ok(data)
    }

    /// What the container of an executor uses now; an error when it has none (any more).
    pub fn statistics(&self, executor_id: &str) -> Result<Statistics, AgentError> {
        let containers = self.json("/containers", &[])?;
        let is_it = |container: &&Value| container["executor_id"].as_str() == Some(executor_id);
        let container = containers.as_array().into_iter().flatten().find(is_it).ok_or(AgentError::NotFound)?;
        let statistics = &container["statistics"];
        let seconds = |name: &str| statistics[name].as_f64().unwrap_or_default();
        Ok(Statistics {
            cpu_seconds: seconds("cpus_user_time_secs") + seconds("cpus_system_time_secs"),
            memory_bytes: statistics["mem_rss_bytes"].as_u64(),
            disk_bytes: statistics["disk_used_bytes"].as_u64(),
        })
    }
}

fn entry(value: &Value) -> Option<FileEntry> {
    let path = value["path"].as_str()?;
    let mode = value["mode"].as_str().unwrap_or_default();
    Some(FileEntry {
        name: path.rsplit('/').next()?.to_owned(),
        kind: match mode.chars().next() {
            Some('d') => 'd',
            Some('-') => 'f',
            Some('l') => 'l',
            _ => 'o',
        },
        mode: permissions(mode),
        size_bytes: value["size"].as_u64().unwrap_or_default(),
        modified_ms: value["mtime"].as_f64().map_or(0, |seconds| (seconds * 1000.0) as i64),
        owner: value["uid"].as_str().unwrap_or_default().to_owned(),
    })
}

/// The bits of `drwxr-xr-x`.
fn permissions(mode: &str) -> u32 {
    mode.chars().skip(1).take(9).fold(0, |bits, letter| bits << 1 | u32::from(letter != '-'))
}
