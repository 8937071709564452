//! An agent's endpoints for people and tools: sandboxes, containers, state (spec mesos 5).

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::Response;
use mesos::v1::TaskState;
use serde_json::{Value, json};

use super::Shared;
use super::endpoints::{bytes, json as json_answer, plain};

/// The most that one read gives.
const READ_BYTES: u64 = 16 * 4096;

type Body = BoxBody<Bytes, std::io::Error>;

impl Shared {
    pub(super) fn file_request(&self, agent: usize, path: &str, query: &str) -> Response<Body> {
        let path = path.trim_end_matches(".json");
        match path {
            "/files/browse" | "/files/read" | "/files/download" => self.sandbox_request(agent, path, query),
            "/files/debug" => {
                let sandboxes = self.processes.sandboxes_of(agent);
                let paths = sandboxes
                    .iter()
                    .map(|(key, path)| (virtual_path(&key.0, &key.1), json!(path.display().to_string())));
                json_answer(&Value::Object(paths.collect()))
            }
            "/containers" => json_answer(&self.containers(agent)),
            "/state" => json_answer(&self.state(agent)),
            "/version" => json_answer(&json!({ "version": "1.11.0" })),
            _ => plain(404, String::new(), None),
        }
    }

    fn sandbox_request(&self, agent: usize, path: &str, query: &str) -> Response<Body> {
        let Some(wanted) = parameter(query, "path") else {
            return plain(400, "Expecting 'path=value' in query.\n".into(), None);
        };
        let Some(real) = self.resolve(agent, &wanted) else { return plain(404, String::new(), None) };
        let answered = match path {
            "/files/browse" => browse(&real, &wanted),
            "/files/read" => read(&real, query),
            _ => download(&real),
        };
        answered.unwrap_or_else(|(status, text)| plain(status, text, None))
    }

    /// The file behind a path, if it is in a sandbox of this agent.
    fn resolve(&self, agent: usize, path: &str) -> Option<PathBuf> {
        let sandboxes = self.processes.sandboxes_of(agent);
        let real = sandboxes.iter().find_map(|(key, sandbox)| {
            let rest = path.strip_prefix(&virtual_path(&key.0, &key.1))?;
            (rest.is_empty() || rest.starts_with('/')).then(|| sandbox.join(rest.trim_start_matches('/')))
        });
        let real = fs::canonicalize(real.unwrap_or_else(|| PathBuf::from(path))).ok()?;
        let inside = |sandbox: &PathBuf| fs::canonicalize(sandbox).is_ok_and(|sandbox| real.starts_with(sandbox));
        sandboxes.iter().any(|(_, sandbox)| inside(sandbox)).then_some(real)
    }

    fn containers(&self, agent: usize) -> Value {
        let inner = self.lock();
        let known = &inner.cluster.agents()[agent];
        let containers = known.executors.iter().map(|((framework, id), executor)| {
            json!({
                "container_id": &*executor.container,
                "executor_id": &**id,
                "executor_name": executor.info.as_ref().and_then(|info| info.name.clone()).unwrap_or_default(),
                "framework_id": &**framework,
                "source": executor.info.as_ref().and_then(|info| info.source.clone()).unwrap_or_default(),
                "status": {
                    "container_id": { "value": &*executor.container },
                    "executor_pid": executor.pid,
                },
            })
        });
        Value::Array(containers.collect())
    }

    fn state(&self, agent: usize) -> Value {
        let directories: Vec<(super::super::agent::Key, PathBuf)> = self.processes.sandboxes_of(agent);
        let inner = self.lock();
        let known = &inner.cluster.agents()[agent];
        let frameworks = known.frameworks.iter().map(|(id, info)| {
            let of_framework = known.executors.iter().filter(|((owner, _), _)| owner == id);
            let executors = of_framework.map(|(key, executor)| {
                let tasks = executor.tasks.iter().map(|(task, known)| {
                    json!({ "id": &**task, "name": &*known.name, "framework_id": &**id, "state": state_name(known.state) })
                });
                let directory = directories.iter().find(|(other, _)| other == key).map(|(_, path)| path.display().to_string());
                json!({
                    "id": &*key.1,
                    "name": executor.info.as_ref().and_then(|info| info.name.clone()).unwrap_or_default(),
                    "source": executor.info.as_ref().and_then(|info| info.source.clone()).unwrap_or_default(),
                    "container": &*executor.container,
                    "directory": directory.unwrap_or_default(),
                    "tasks": tasks.collect::<Vec<_>>(),
                })
            });
            json!({ "id": &**id, "name": info.name, "executors": executors.collect::<Vec<_>>(), "completed_executors": [] })
        });
        json!({
            "version": "1.11.0",
            "id": known.id.as_deref().unwrap_or_default(),
            "hostname": known.description.hostname,
            "frameworks": frameworks.collect::<Vec<_>>(),
            "completed_frameworks": [],
        })
    }
}

fn state_name(state: TaskState) -> &'static str {
    state.name()
}

fn virtual_path(framework: &Arc<str>, executor: &Arc<str>) -> String {
    format!("/frameworks/{framework}/executors/{executor}/runs/latest")
}

/// One parameter of a query, decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => decoded.push(b' '),
            b'%' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
                decoded.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            other => decoded.push(*other),
        }
    }
    String::from_utf8(decoded).ok()
}

type Answered = Result<Response<Body>, (u16, String)>;

fn failed(error: &std::io::Error) -> (u16, String) {
    (500, error.to_string())
}

fn browse(real: &Path, shown: &str) -> Answered {
    let entries = fs::read_dir(real).map_err(|error| (400, error.to_string()))?;
    let mut listed = Vec::new();
    for entry in entries.flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        let path = format!("{}/{}", shown.trim_end_matches('/'), entry.file_name().to_string_lossy());
        listed.push((path, metadata));
    }
    listed.sort_by(|one, other| one.0.cmp(&other.0));
    let files = listed.iter().map(|(path, metadata)| {
        json!({
            "path": path,
            "size": metadata.size(),
            "mtime": metadata.mtime(),
            "mode": mode(metadata),
            "nlink": metadata.nlink(),
            "uid": metadata.uid().to_string(),
            "gid": metadata.gid().to_string(),
        })
    });
    Ok(json_answer(&Value::Array(files.collect())))
}

/// As `ls` writes it.
fn mode(metadata: &fs::Metadata) -> String {
    let kind = if metadata.is_dir() {
        'd'
    } else if metadata.is_symlink() {
        'l'
    } else {
        '-'
    };
    let letters = "rwxrwxrwx".chars().enumerate();
    let bits = letters.map(|(at, letter)| if metadata.mode() >> (8 - at) & 1 == 1 { letter } else { '-' });
    std::iter::once(kind).chain(bits).collect()
}

fn read(real: &Path, query: &str) -> Answered {
    let number = |name: &str, default: i64| match parameter(query, name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| (400, format!("Failed to parse {name}: '{text}'.\n"))),
    };
    let (offset, length) = (number("offset", -1)?, number("length", -1)?);
    if offset < -1 || length < -1 {
        return Err((400, "Negative offset or length provided.\n".into()));
    }
    let metadata = fs::metadata(real).map_err(|error| failed(&error))?;
    if metadata.is_dir() {
        return Err((400, "Cannot read a directory.\n".into()));
    }
    if offset == -1 {
        return Ok(json_answer(&json!({ "data": "", "offset": metadata.size() })));
    }
    let length = if length == -1 { READ_BYTES } else { (length as u64).min(READ_BYTES) };
    let mut file = fs::File::open(real).map_err(|error| failed(&error))?;
    file.seek(SeekFrom::Start(offset as u64)).map_err(|error| failed(&error))?;
    let mut data = Vec::new();
    file.take(length).read_to_end(&mut data).map_err(|error| failed(&error))?;
    Ok(json_answer(&json!({ "data": String::from_utf8_lossy(&data), "offset": offset })))
}

fn download(real: &Path) -> Answered {
    if real.is_dir() {
        return Err((400, "Cannot download a directory.\n".into()));
    }
    let content = fs::read(real).map_err(|error| failed(&error))?;
    Ok(bytes(content, "application/octet-stream"))
}
