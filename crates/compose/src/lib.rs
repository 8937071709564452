//! Runs one task as a docker-compose project (spec executor part 6): what the docker-compose executor did, for both engines.
//!
//! A process of its own ([`child_main`]) with the run directory as its working directory, where the task's files have been fetched to. It
//! rewrites the compose files so that tasks on one machine do not collide ([`rewrite`]), starts the project with the machine's
//! `docker compose` or `docker-compose` ([`command`]), watches its containers ([`watch`]) and ends with 0 only when all of them did.
//! SIGTERM stops the project. Nothing of it is left behind.
//!
//! Not here: who starts this process, and the states the scheduler is told: it says that the containers are up by making
//! [`RUNNING_MARKER`].

pub mod command;
pub mod rewrite;
mod run;
pub mod watch;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

pub use run::{RUNNING_MARKER, project_name, run};

/// Name by which jobs choose this executor.
pub const EXECUTOR_NAME: &str = "docker-compose-executor";
/// Put before the task id to name the executor of a task.
pub const TASK_PREFIX: &str = "compose-";
/// First argument with which a program is told to run a project; the request follows as the second one.
pub const CHILD_ARGUMENT: &str = "__compose";
/// Key of the metadata that lists the compose files; labels are matched by their end.
pub const FILES_KEY: &str = "fileName";

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Id of the task.
    pub task_id: String,
    /// Id of the executor: prefix and task id.
    pub executor_id: String,
    /// Labels of the task; one whose key ends with `fileName` lists the compose files.
    pub labels: BTreeMap<String, String>,
    /// Ports that were allocated to the task, in the order in which published ports take them.
    pub ports: Vec<u16>,
    /// Where the task's files are, relative to the working directory; empty for there.
    #[serde(default)]
    pub directory: String,
    /// Memory of the task; limits each container where the whole task cannot be limited at once.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Cores of the task in thousandths, likewise.
    #[serde(default)]
    pub cpu_millis: u64,
}

/// Why a project cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// Nobody said which files.
    #[error("the job names no compose file: set the metadata 'fileName' to its path in the sandbox")]
    NoFiles,
    /// A file that cannot be one.
    #[error("'{0}' cannot be a compose file: {1}")]
    BadFile(String, String),
    /// The machine lacks what is needed.
    #[error("{0}")]
    Machine(String),
    /// Something that worked before failed.
    #[error("{0}: {1}")]
    Io(String, #[source] std::io::Error),
}

impl Request {
    /// The compose files, relative to the run directory, in the order they are given to compose.
    pub fn files(&self) -> Result<Vec<PathBuf>, ComposeError> {
        let list = self.labels.iter().find(|(key, _)| key.ends_with(FILES_KEY)).map(|(_, value)| value.as_str());
        let names: Vec<&str> =
            list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Err(ComposeError::NoFiles);
        }
        names.into_iter().map(compose_file).collect()
    }
}

/// Allocated ports in the order in which published ones take them: by name, with numbers in names counted (spec executor 6.1).
pub fn ports_in_order(ports: &BTreeMap<String, u16>) -> Vec<u16> {
    let key = |name: &str| {
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (text, number) = name.split_at(name.len() - digits);
        (text.to_owned(), number.parse::<u64>().unwrap_or(0), name.to_owned())
    };
    let mut named: Vec<_> = ports.iter().map(|(name, port)| (key(name), *port)).collect();
    named.sort();
    named.into_iter().map(|(_, port)| port).collect()
}

/// The project as a command line, for people.
pub fn shown(files: &[PathBuf]) -> String {
    let listed: Vec<String> = files.iter().map(|file| format!("-f {}", file.display())).collect();
    format!("docker-compose {} up", listed.join(" "))
}

fn compose_file(name: &str) -> Result<PathBuf, ComposeError> {
    let refuse = |why: &str| ComposeError::BadFile(name.to_owned(), why.to_owned());
    let path = Path::new(name);
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(refuse("it must be a relative path within the sandbox"));
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yml" | "yaml") => Ok(path.to_owned()),
        _ => Err(refuse("its name must end in .yml or .yaml")),
    }
}

/// The child: `arguments` are those after the program's name. `None` when they do not ask for it.
pub fn child_main(arguments: &[String]) -> Option<ExitCode> {
    let [mode, request] = arguments else { return None };
    if mode != CHILD_ARGUMENT {
        return None;
    }
    let request: Request = match serde_json::from_str(request) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("the request cannot be read: {error}");
            return Some(ExitCode::from(2));
        }
    };
    Some(match run(&request, Path::new(".")) {
        Ok(ending) => {
            eprintln!("{ending}");
            ExitCode::from(ending.exit_code())
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: &str, value: &str) -> Request {
        Request { labels: [(key.to_owned(), value.to_owned())].into(), ..Request::default() }
    }

    #[test]
    fn ports_are_taken_by_name_with_numbers_counted() {
        let ports = ["port.10", "port.9", "port.1", "admin"].iter().zip([4, 3, 2, 1]);
        let ports = ports.map(|(name, port)| ((*name).to_owned(), port)).collect();
        assert_eq!(ports_in_order(&ports), [1, 2, 3, 4]);
    }

    #[test]
    fn files_are_found_by_the_end_of_the_label() {
        for key in ["fileName", "org.apache.aurora.metadata.fileName"] {
            let files = request(key, " app/docker-compose.yml, more.yaml ,").files().unwrap();
            assert_eq!(files, [PathBuf::from("app/docker-compose.yml"), "more.yaml".into()]);
        }
        assert!(matches!(request("other", "x.yml").files(), Err(ComposeError::NoFiles)));
        assert!(matches!(request("fileName", " , ").files(), Err(ComposeError::NoFiles)));
        assert_eq!(shown(&["a.yml".into(), "b.yml".into()]), "docker-compose -f a.yml -f b.yml up");
        for bad in ["x.txt", "/etc/x.yml", "../x.yml", "x"] {
            assert!(matches!(request("fileName", bad).files(), Err(ComposeError::BadFile(..))), "{bad}");
        }
    }
}
