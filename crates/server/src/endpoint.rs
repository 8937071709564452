//! The file by which programs on this machine find a running daemon: `endpoint.json` in its state directory.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Base address, without a slash at the end.
    pub url: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// What a user should know of this machine, in sentences, e.g. that limits are not enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("endpoint.json")
}

/// Writes the file so that a reader sees all of it or nothing.
pub fn write(state_dir: &Path, endpoint: &Endpoint) -> io::Result<()> {
    let temporary = state_dir.join("endpoint.json.new");
    let mut file = std::fs::File::create(&temporary)?;
    serde_json::to_writer(&mut file, endpoint)?;
    file.write_all(b"\n")?;
    std::fs::rename(temporary, path(state_dir))
}

/// Removes the file; it may be gone already.
pub fn remove(state_dir: &Path) {
    let _ = std::fs::remove_file(path(state_dir));
}
