//! What the processes of this crate have to say, for whoever looks for a reason afterwards: on their standard error, and, where one is
//! named, in a file of bounded size beside the task (spec executor 2.1). Nothing here is needed to run a task, so nothing here fails.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::system::wall_ms;

/// A file of this size is set aside as `<name>.1`, in place of the one that was there: at most twice this is kept, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// A line is cut to this, bytes: part of some is what a program printed.
const LINE_BYTES_MAX: usize = 4096;

/// The file. Set once, before any process is forked: they all write to it.
static FILE: OnceLock<LogFile> = OnceLock::new();

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    /// Whether standard error is somebody's terminal, which is not written to then.
    is_alone: bool,
}

/// From here on everything goes to the file at `path` too; with `is_alone` only there.
pub(crate) fn to_file(path: PathBuf, is_alone: bool) {
    let _ = FILE.set(LogFile { path, is_alone });
}

/// Says something that matters to whoever looks after the machine.
pub(crate) fn log(text: &str) {
    let file = FILE.get();
    if file.is_none_or(|file| !file.is_alone) {
        let pid = rustix::process::getpid().as_raw_nonzero();
        let _ = writeln!(io::stderr(), "{} [{pid}] {text}", wall_ms());
    }
    if let Some(file) = file {
        let _ = append(&file.path, text);
    }
}

/// Says something that matters only to whoever looks at this one task. Without a file nobody does, and the text is not even made.
pub(crate) fn detail(text: impl FnOnce() -> String) {
    if let Some(file) = FILE.get() {
        let _ = append(&file.path, &text());
    }
}

/// Opened for each line: there are few, another process may have set the file aside meanwhile, and the folder may not be there yet.
fn append(path: &Path, text: &str) -> io::Result<()> {
    let open = || {
        let mut options = OpenOptions::new();
        options
            .create(true)
            .append(true)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK);
        options.open(path)
    };
    let mut file = open()?;
    if file.metadata()?.len() >= FILE_BYTES_MAX {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        fs::rename(path, aside)?;
        file = open()?;
    }
    let pid = rustix::process::getpid().as_raw_nonzero();
    let mut line = format!("{} [{pid}] {}", moment(wall_ms()), text.replace(['\n', '\r'], " "));
    if line.len() > LINE_BYTES_MAX {
        let end = (0..=LINE_BYTES_MAX).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(end);
        line.push_str("...");
    }
    line.push('\n');
    file.write_all(line.as_bytes())
}

/// A moment in UTC, as RFC 3339 has it, with milliseconds.
fn moment(ms: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    // Years are counted from March, so that the day that comes and goes is their last; 400 of them have 146,097 days.
    let day = ms.div_euclid(DAY_MS) + 719_468;
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = day.div_euclid(146_097) * 400 + year_of_era + i64::from(month <= 2);
    let seconds = ms.rem_euclid(DAY_MS) / 1000;
    format!(
        "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_year - (153 * from_march + 2) / 5 + 1,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        ms.rem_euclid(1000)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_people_read_them() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(1_709_210_096_789), "2024-02-29T12:34:56.789Z");
        assert_eq!(moment(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(moment(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(moment(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(moment(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_file_that_is_full_is_set_aside_and_two_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        append(&path, "one\ntwo").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("] one two\n") && text.lines().count() == 1, "{text}");
        for round in 0..3 {
            fs::write(&path, vec![b'0' + round; usize::try_from(FILE_BYTES_MAX).unwrap()]).unwrap();
            append(&path, &"ä".repeat(LINE_BYTES_MAX)).unwrap();
            assert!(fs::metadata(&path).unwrap().len() < 2 * LINE_BYTES_MAX as u64);
            assert_eq!(fs::read(folder.path().join("x.log.1")).unwrap()[0], b'0' + round);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(append(&path, "x").is_err());
        assert!(!folder.path().join("elsewhere").exists());
    }
}
