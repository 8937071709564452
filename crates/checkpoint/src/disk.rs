//! What a sandbox takes on the disk (spec executor 2.7): measured in small steps, so that a large one never keeps anyone from other
//! work, and handed from the supervisor, which measures for the limit, to whoever shows it.

use std::ffi::CStr;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use crate::layout::RunDirectory;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// Folders deeper than this are not entered; what is in them is not counted.
const DEPTH_MAX: usize = 256;

/// A measurement that is under way. It holds no names, however many files there are.
#[derive(Debug)]
pub struct DiskScan {
    /// The folders from the sandbox down to where the scan is.
    open: Vec<Dir>,
    bytes: u64,
}

impl DiskScan {
    /// Begins to measure the sandbox, given by its directory.
    pub fn begin(sandbox: impl AsFd) -> Option<Self> {
        Some(Self { open: vec![enter(sandbox, c".")?], bytes: 0 })
    }

    /// Looks at `entries` more files. Returns the bytes on disk once all were seen.
    pub fn step(&mut self, entries: usize) -> Option<u64> {
        for _ in 0..entries {
            let depth = self.open.len();
            let Some(directory) = self.open.last_mut() else { return Some(self.bytes) };
            let Some(Ok(entry)) = directory.read() else {
                self.open.pop();
                continue;
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(directory) = directory.fd() else { continue };
            let Ok(status) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
            // A file with several names is counted in parts, which add up to its size when all names are within.
            self.bytes += status.st_blocks as u64 * 512 / if is_directory { 1 } else { u64::max(1, status.st_nlink) };
            if is_directory
                && depth < DEPTH_MAX
                && let Some(inner) = enter(directory, name)
            {
                self.open.push(inner);
            }
        }
        None
    }
}

fn enter(directory: impl AsFd, name: &CStr) -> Option<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Dir::new(rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?).ok()
}

/// Leaves the figure of a finished measurement in the run directory, in the place of the one before.
pub fn hand_over(run: &RunDirectory, bytes: u64) -> std::io::Result<()> {
    let mut open = fs::OpenOptions::new();
    // One write of one length: a reader sees the old figure or the new one.
    let mut file = open
        .write(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(run.disk_usage())?;
    file.write_all(format!("{bytes:020}\n").as_bytes())
}

/// The figure of the last finished measurement, if there was one.
pub fn handed_over(run: &RunDirectory) -> Option<u64> {
    fs::read_to_string(run.disk_usage()).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_are_counted_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("big"), vec![1; 1 << 20]).unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/data"), vec![1; 300_000]).unwrap();
        std::fs::hard_link(folder.path().join("a/b/data"), folder.path().join("a/again")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("link")).unwrap();
        let sandbox = std::fs::File::open(folder.path()).unwrap();
        let mut scan = DiskScan::begin(&sandbox).unwrap();
        let bytes = loop {
            if let Some(bytes) = scan.step(1) {
                break bytes;
            }
        };
        assert!((300_000..340_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn the_last_figure_is_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(folder.path());
        assert_eq!(handed_over(&run), None);
        hand_over(&run, u64::MAX).unwrap();
        assert_eq!(handed_over(&run), Some(u64::MAX));
        hand_over(&run, 7).unwrap();
        assert_eq!(handed_over(&run), Some(7));
    }
}
