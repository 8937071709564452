//! Addresses of pages. The only place where they are put together, each part percent-encoded.

use std::fmt::Write;

use engine::files::Stream;
use model::{JobKey, TaskId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but unreserved characters (RFC 3986 section 2.3).
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as one part of a path or query.
pub fn part(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, PART)
}

/// A path with its slashes kept; `.` and `..` parts are dropped so that no browser resolves them away.
pub fn path(text: &str) -> String {
    let mut encoded = String::new();
    for piece in text.split('/').filter(|piece| !matches!(*piece, "" | "." | "..")) {
        let _ = write!(encoded, "/{}", part(piece));
    }
    encoded
}

/// Page of a role.
pub fn role(role: &str) -> String {
    format!("/scheduler/{}", part(role))
}

/// Page of an environment of a role.
pub fn environment(role: &str, environment: &str) -> String {
    format!("/scheduler/{}/{}", part(role), part(environment))
}

/// Page of a job.
pub fn job(key: &JobKey) -> String {
    format!("/scheduler/{}/{}/{}", part(&key.role), part(&key.environment), part(&key.name))
}

/// Page of a task.
pub fn task(key: &JobKey, id: &TaskId) -> String {
    format!("{}/task/{}", job(key), part(id.as_str()))
}

/// Page of an update.
pub fn update(key: &JobKey, id: &str) -> String {
    format!("{}/update/{}", job(key), part(id))
}

/// What of a task's output or files a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A stream of a run of a process.
    Log {
        /// Process.
        process: String,
        /// Run, from 0.
        run: u32,
        /// Which stream.
        stream: Stream,
    },
    /// A file of the sandbox.
    File {
        /// Path within it.
        path: String,
    },
}

impl Source {
    fn address(&self, key: &JobKey, id: &TaskId, log: &str, file: &str) -> String {
        let task = task(key, id);
        match self {
            Self::Log { process, run, stream } => format!("{task}/{log}/{}/{run}/{}", part(process), stream.name()),
            Self::File { path: file_path } => format!("{task}/{file}{}", path(file_path)),
        }
    }

    /// The page that shows it.
    pub fn page(&self, key: &JobKey, id: &TaskId) -> String {
        self.address(key, id, "log", "files")
    }

    /// The stream of what is appended to it.
    pub fn follow(&self, key: &JobKey, id: &TaskId) -> String {
        self.address(key, id, "follow", "follow-file")
    }

    /// Its bytes.
    pub fn raw(&self, key: &JobKey, id: &TaskId) -> String {
        self.address(key, id, "raw", "raw-file")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_one_part() {
        let key = JobKey::new("a/b", "c?d", "e#\"><script>");
        assert_eq!(job(&key), "/scheduler/a%2Fb/c%3Fd/e%23%22%3E%3Cscript%3E");
        assert_eq!(path("/logs/../a b/./c"), "/logs/a%20b/c");
    }
}
