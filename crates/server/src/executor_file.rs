//! The executor that agents fetch from us: found beside our own program or on the PATH, asked for its version, and served from memory
//! under an address that changes with its content, so that agents may keep it in their cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;

/// Its file name, here and in sandboxes.
pub const EXECUTOR_FILE: &str = "daybreak-executor";
/// How long it may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorFileError {
    /// Not there.
    #[error(
        "the executor that agents are to fetch, {EXECUTOR_FILE}, is neither beside {0} nor on the PATH. Put the {EXECUTOR_FILE} of this \
         release there, or name another executor that agents can fetch with --executor-path"
    )]
    Missing(String),
    /// There, but not usable.
    #[error(
        "the executor {0} cannot be used: {1}. Install the one of this release, or name another with --executor-path"
    )]
    Unusable(String, String),
}

/// The executor as agents get it.
#[derive(Clone, Debug)]
pub struct ExecutorFile {
    /// Where it was found.
    pub path: PathBuf,
    content: Bytes,
    /// Version and checksum: part of the address.
    tag: String,
}

impl ExecutorFile {
    /// Finds the executor for a program at `executable`, whose version it must have.
    pub fn find(executable: &Path, version: &str) -> Result<Self, ExecutorFileError> {
        let search = std::env::var_os("PATH").unwrap_or_default();
        Self::find_in(executable, std::env::split_paths(&search), version)
    }

    fn find_in(
        executable: &Path,
        search: impl Iterator<Item = PathBuf>,
        version: &str,
    ) -> Result<Self, ExecutorFileError> {
        let beside = executable.parent().map(Path::to_path_buf);
        let path =
            beside.into_iter().chain(search).map(|folder| folder.join(EXECUTOR_FILE)).find(|path| path.is_file());
        let path = path.ok_or_else(|| ExecutorFileError::Missing(executable.display().to_string()))?;
        let unusable = |why: String| ExecutorFileError::Unusable(path.display().to_string(), why);
        let said = version_of(&path).map_err(unusable)?;
        if !said.split_whitespace().any(|word| word == version) {
            return Err(unusable(format!("it is {:?}, and this is version {version}", said.trim())));
        }
        let content = std::fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        let tag = format!("{version}-{:08x}", crc32fast::hash(&content));
        Ok(Self { path, content: content.into(), tag })
    }

    /// Its address below ours.
    pub fn address(&self) -> String {
        format!("/executor/{}/{EXECUTOR_FILE}", self.tag)
    }

    /// How large it is; it counts against the disk of every task that is not given it from a cache.
    pub fn size_bytes(&self) -> usize {
        self.content.len()
    }

    /// The route under which agents fetch it.
    pub fn router(&self) -> Router {
        let content = self.content.clone();
        let headers =
            [(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
        Router::new().route(&self.address(), get(move || async move { (headers, content) }))
    }
}

/// What the program answers to `--version`.
fn version_of(path: &Path) -> Result<String, String> {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(Some(status)) => return Err(format!("asked for its version it ended with {status}")),
            Ok(None) if started.elapsed() < VERSION_LIMIT => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => {
                // It is ours and of no use; whether it could still be ended changes nothing.
                let _ = child.kill();
                let _ = child.wait();
                return Err("it does not say its version".into());
            }
        }
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use axum::body::Body;
    use axum::http::{Request, StatusCode};

    use super::*;
    use crate::test_support;

    fn program(folder: &Path, script: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(EXECUTOR_FILE);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn find(executable: &Path, search: &[PathBuf]) -> Result<ExecutorFile, String> {
        ExecutorFile::find_in(executable, search.iter().cloned(), "1.2.3").map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_looked_for_beside_the_program_and_then_on_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let (own, elsewhere) = (directory.path().join("own"), directory.path().join("elsewhere"));
        std::fs::create_dir(&own).unwrap();
        let executable = own.join("daybreak");
        let search = [elsewhere.clone()];
        let missing = find(&executable, &search).unwrap_err();
        assert!(missing.contains("--executor-path") && missing.contains("PATH"), "{missing}");
        program(&elsewhere, "echo daybreak-executor 1.2.3");
        assert_eq!(find(&executable, &search).unwrap().path, elsewhere.join(EXECUTOR_FILE));
        program(&own, "echo daybreak-executor 1.2.3");
        assert_eq!(find(&executable, &search).unwrap().path, own.join(EXECUTOR_FILE));
    }

    #[test]
    fn another_version_and_a_broken_file_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for (script, expected) in [
            ("echo daybreak-executor 1.2.4", "version 1.2.3"),
            ("exit 3", "ended with"),
            ("echo 11.2.3", "version 1.2.3"),
        ] {
            program(directory.path(), script);
            let error = find(&directory.path().join("daybreak"), &[]).unwrap_err();
            assert!(error.contains(expected) && error.contains("--executor-path"), "{error}");
        }
    }

    #[tokio::test]
    async fn agents_get_what_was_found_under_an_address_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let executable = directory.path().join("daybreak");
        program(directory.path(), "echo daybreak-executor 1.2.3");
        let first = find(&executable, &[]).unwrap();
        let ask = |uri: String| test_support::ask(first.router(), Request::get(uri).body(Body::empty()).unwrap());
        let answered = ask(first.address()).await;
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(answered.text.as_bytes(), std::fs::read(&first.path).unwrap());
        assert_eq!(answered.text.len(), first.size_bytes());
        let other = ask("/executor/1.2.3-00000000/daybreak-executor".into()).await;
        assert_eq!(other.status, StatusCode::NOT_FOUND);
        program(directory.path(), "echo daybreak-executor 1.2.3 # changed");
        assert_ne!(find(&executable, &[]).unwrap().address(), first.address());
    }
}
