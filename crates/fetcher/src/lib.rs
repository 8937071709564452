//! Fetches a task's files into its run directory and unpacks archives, by the rules of the Mesos fetcher (spec mesos 3.12, executor 5.5).
//!
//! Runs in a child process of its own, as the task's user and with the run directory as its working directory ([`child_main`]): so a
//! download can be ended like any other process, and files belong to whom they should. Nothing is written outside the directory.
//! Not here: who starts the child, and how long it may take.

mod archive;
mod source;

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use archive::Archive;
pub use source::{STALL_LIMIT, Source};

/// First argument with which a program is told to fetch; the request follows on standard input.
pub const CHILD_ARGUMENT: &str = "__fetch";
/// Largest request in bytes.
const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// One file to fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Address: a path, `file://`, `http://`, `https://`, or anything a Hadoop client knows.
    pub value: String,
    /// Made executable (mode 0755), and then not unpacked.
    #[serde(default)]
    pub executable: bool,
    /// Unpacked when its name says that it is an archive; unset means true.
    #[serde(default)]
    pub extract: Option<bool>,
    /// Meant for a cache: of an archive only the content is left.
    #[serde(default)]
    pub cache: bool,
    /// Name to store it under, instead of the last part of the address; may have directories.
    #[serde(default)]
    pub output_file: Option<String>,
}

impl From<&model::container::FetcherUri> for Item {
    /// A job's files are never executable by request (spec executor 5.5).
    fn from(uri: &model::container::FetcherUri) -> Self {
        Self {
            value: uri.value.clone(),
            executable: false,
            extract: uri.extract,
            cache: uri.cache.unwrap_or(false),
            output_file: uri.output_file.clone(),
        }
    }
}

/// What the child is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Fetched one after another, in this order.
    pub items: Vec<Item>,
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address or the name cannot be used.
    #[error("'{0}' cannot be fetched: {1}")]
    Address(String, &'static str),
    /// The other side refused or failed.
    #[error("fetching {0}: {1}")]
    Source(String, String),
    /// The disk failed.
    #[error("storing {0}: {1}")]
    Store(String, #[source] io::Error),
    /// The archive is damaged or leads out of the directory.
    #[error("unpacking {0}: {1}")]
    Archive(String, #[source] io::Error),
}

/// Fetches everything; the first failure ends it.
pub fn fetch_all(request: &Request, directory: &Path) -> Result<(), FetchError> {
    request.items.iter().try_for_each(|item| fetch(item, directory).map(drop))
}

/// Fetches one file into `directory` and unpacks it there if it should be. Returns where it was stored.
pub fn fetch(item: &Item, directory: &Path) -> Result<PathBuf, FetchError> {
    let name = file_name(item)?;
    let path = directory.join(&name);
    let source = Source::parse(&item.value)?;
    let stored = |error| FetchError::Store(name.display().to_string(), error);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(stored)?;
    }
    source.copy_to(&path)?;
    if item.executable {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(stored)?;
        return Ok(path);
    }
    if item.extract.unwrap_or(true)
        && let Some(archive) = Archive::of_name(&name.to_string_lossy())
    {
        // Mesos unpacks into the sandbox itself, wherever the archive was stored.
        archive.unpack(&path, directory).map_err(|error| FetchError::Archive(name.display().to_string(), error))?;
        if item.cache {
            fs::remove_file(&path).map_err(stored)?;
        }
    }
    Ok(path)
}

/// The relative path a file is stored under: the wanted one, or the last part of the address, a query included.
fn file_name(item: &Item) -> Result<PathBuf, FetchError> {
    let refuse = |why| FetchError::Address(item.value.clone(), why);
    let is_forbidden = |text: &str| text.contains(['\\', '\'', '\0']);
    if is_forbidden(&item.value) {
        return Err(refuse("an address may not hold \\, ' or NUL"));
    }
    let Some(wanted) = &item.output_file else {
        let (_, rest) = item.value.split_once("://").unwrap_or(("", &item.value));
        // The query is part of the name, a slash in it too.
        let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let last = path.rsplit('/').next().unwrap_or_default();
        let is_bare_host = item.value.contains("://") && !item.value.starts_with("file://") && !path.contains('/');
        if last.is_empty() || matches!(last, "." | "..") || is_bare_host {
            return Err(refuse("it does not end with the name of a file"));
        }
        return Ok(PathBuf::from(format!("{last}{query}").replace('/', "_")));
    };
    if is_forbidden(wanted) {
        return Err(refuse("the output file's name may not hold \\, ' or NUL"));
    }
    let path = Path::new(wanted);
    let stays = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if wanted.is_empty() || wanted.ends_with('/') || !stays {
        return Err(refuse("the output file must be a relative path within the sandbox"));
    }
    Ok(path.to_owned())
}

/// The child: reads a [`Request`] in JSON from standard input and fetches into its working directory. What went wrong is its last line on
/// standard error.
pub fn child_main() -> ExitCode {
    let mut text = String::new();
    let read = io::stdin().take(REQUEST_BYTES_MAX).read_to_string(&mut text);
    let request: Request = match read.map_err(|error| error.to_string()).and_then(|_| parse(&text)) {
        Ok(request) => request,
        Err(why) => {
            eprintln!("the request to fetch cannot be read: {why}");
            return ExitCode::from(2);
        }
    };
    for item in &request.items {
        eprintln!("fetching {}", item.value);
        let _watch = Watch::start(item.value.clone(), STALL_LIMIT);
        if let Err(error) = fetch(item, Path::new(".")) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Ends the process when a download makes no progress: a library that waits for the next byte cannot be told to stop.
struct Watch {
    _done: std::sync::mpsc::Sender<()>,
}

impl Watch {
    fn start(what: String, limit: Duration) -> Self {
        let (done, ended) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let mut before = source::ARRIVED_BYTES.load(Ordering::Relaxed);
            while ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                let now = source::ARRIVED_BYTES.load(Ordering::Relaxed);
                // Local files and unpacking count nothing, and do not wait for anybody.
                if now == before && what.starts_with("http") {
                    eprintln!("fetching {what}: nothing has arrived for {} s", limit.as_secs());
                    std::process::exit(1);
                }
                before = now;
            }
        });
        Self { _done: done }
    }
}

fn parse(text: &str) -> Result<Request, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
