//! Measuring a sandbox in small steps, so that a large one never keeps the supervisor from its other work (spec executor 2.7).

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// Folders deeper than this are not entered; what is in them is not counted.
const DEPTH_MAX: usize = 256;

/// A measurement that is under way.
#[derive(Debug)]
pub(super) struct DiskScan {
    /// The folders from the sandbox down to where the scan is.
    open: Vec<(OwnedFd, Vec<CString>)>,
    bytes: u64,
}

impl DiskScan {
    /// Begins to measure the sandbox, given by its directory.
    pub(super) fn begin(sandbox: &OwnedFd) -> Option<Self> {
        let again = rustix::fs::openat(sandbox, c".", directory_flags(), Mode::empty()).ok()?;
        let mut scan = Self { open: Vec::new(), bytes: 0 };
        scan.enter(again);
        Some(scan)
    }

    /// Looks at about `entries` more files. Returns the bytes on disk once all were seen.
    pub(super) fn step(&mut self, entries: usize) -> Option<u64> {
        let mut left = entries;
        while left > 0 {
            let Some((directory, names)) = self.open.last_mut() else { return Some(self.bytes) };
            let Some(name) = names.pop() else {
                self.open.pop();
                continue;
            };
            left -= 1;
            let Ok(status) = rustix::fs::statat(directory.as_fd(), &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            // A file with several names is counted in parts, which add up to its size when all names are within.
            self.bytes +=
                status.st_blocks as u64 * 512 / u64::max(1, if is_directory(&status) { 1 } else { status.st_nlink });
            if is_directory(&status)
                && self.open.len() < DEPTH_MAX
                && let Some((directory, _)) = self.open.last()
                && let Ok(inner) = rustix::fs::openat(directory, &name, directory_flags(), Mode::empty())
            {
                left = left.saturating_sub(self.enter(inner));
            }
        }
        None
    }

    /// Reads the names in a folder and makes it the current one; returns how many there are.
    fn enter(&mut self, directory: OwnedFd) -> usize {
        let Ok(entries) = Dir::read_from(&directory) else { return 0 };
        let names: Vec<CString> = entries
            .flatten()
            .map(|entry| entry.file_name().to_owned())
            .filter(|name| name.as_c_str() != c"." && name.as_c_str() != c"..")
            .collect();
        let count = names.len();
        self.open.push((directory, names));
        count
    }
}

fn is_directory(status: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Directory
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
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
        let sandbox = OwnedFd::from(std::fs::File::open(folder.path()).unwrap());
        let mut scan = DiskScan::begin(&sandbox).unwrap();
        let bytes = loop {
            if let Some(bytes) = scan.step(1) {
                break bytes;
            }
        };
        assert!((300_000..340_000).contains(&bytes), "{bytes}");
    }
}
