//! Pieces of files: ranges, ends, last lines. However big a file is, only the piece asked for is read.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use engine::files::{FileRange, FilesError, Stream, TaskFiles};
use model::TaskId;

/// Most bytes that one range carries, whatever was asked for.
pub const READ_BYTES_MAX: usize = 64 << 20;
/// Most bytes that are searched for line ends by [`last_lines`].
pub const LINES_BYTES_MAX: usize = 4 << 20;

/// Reads at most `limit_bytes` (and at most [`READ_BYTES_MAX`]) from `offset`; a negative offset counts from the end.
///
/// The range begins where it was asked to, but never behind the end: a follower that gets a range with a lower offset than it asked
/// for knows that the file was cut.
pub fn read(file: &File, offset: i64, limit_bytes: usize) -> io::Result<FileRange> {
    let metadata = file.metadata()?;
    let size = metadata.len();
    let begin = match u64::try_from(offset) {
        Ok(offset) => offset.min(size),
        Err(_) => size.saturating_sub(offset.unsigned_abs()),
    };
    let left = usize::try_from(size - begin).unwrap_or(usize::MAX);
    let mut data = vec![0; limit_bytes.min(READ_BYTES_MAX).min(left)];
    let mut filled = 0;
    while filled < data.len() {
        match file.read_at(&mut data[filled..], begin + filled as u64) {
            // Cut while it was read.
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    data.truncate(filled);
    Ok(FileRange { offset: begin, data, size_bytes: size, identity: identity(&metadata) })
}

/// Another number for every file, also for one that got the inode of a deleted one: the time of its birth tells them apart.
fn identity(metadata: &std::fs::Metadata) -> u64 {
    let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let mut hasher = DefaultHasher::new();
    (metadata.dev(), metadata.ino(), born).hash(&mut hasher);
    hasher.finish()
}

/// The last `lines` lines of a stream, or as many of them as lie within the last `limit_bytes` (at most [`LINES_BYTES_MAX`]); of a
/// longer line its end. A line end at the very end of the file begins no further line.
pub fn last_lines(
    files: &dyn TaskFiles,
    task: &TaskId,
    process: &str,
    run: u32,
    stream: Stream,
    lines: usize,
    limit_bytes: usize,
) -> Result<FileRange, FilesError> {
    let limit_bytes = limit_bytes.min(LINES_BYTES_MAX);
    // Most often a small piece is enough; then no more is read.
    let mut window = limit_bytes.min(lines.saturating_mul(256).max(4096));
    loop {
        let offset = -i64::try_from(window).unwrap_or(i64::MAX);
        let mut range = files.log(task, process, run, stream, offset, window)?;
        let found = start_of_last_lines(&range.data, lines);
        if found.is_none() && range.offset > 0 && window < limit_bytes {
            window = window.saturating_mul(4).min(limit_bytes);
            continue;
        }
        let cut = found.unwrap_or(0);
        range.data.drain(..cut);
        range.offset += cut as u64;
        return Ok(range);
    }
}

/// Where the last `lines` lines of `data` begin; `None` when they begin before it (or at its begin).
fn start_of_last_lines(data: &[u8], lines: usize) -> Option<usize> {
    if lines == 0 {
        return Some(data.len());
    }
    let body = data.strip_suffix(b"\n").unwrap_or(data);
    let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(position, _)| position + 1).nth(lines - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_counted_with_and_without_a_line_end_at_the_end() {
        let start = |text: &'static str, lines| start_of_last_lines(text.as_bytes(), lines).map(|start| &text[start..]);
        assert_eq!(start("a\nb\nc\n", 1), Some("c\n"));
        assert_eq!(start("a\nb\nc", 1), Some("c"));
        assert_eq!(start("a\nb\nc\n", 2), Some("b\nc\n"));
        assert_eq!(start("a\n\n\n", 2), Some("\n\n"));
        assert_eq!(start("a\nb\nc\n", 3), None);
        assert_eq!(start("one", 1), None);
        assert_eq!(start("", 1), None);
        assert_eq!(start("a\n", 0), Some(""));
    }

    #[test]
    fn ranges_are_clipped_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        let file = File::open(&path).unwrap();
        let of = |offset, limit_bytes| {
            let range = read(&file, offset, limit_bytes).unwrap();
            assert_eq!(range.size_bytes, 10);
            (range.offset, String::from_utf8(range.data).unwrap())
        };
        assert_eq!(of(0, 4), (0, "0123".into()));
        assert_eq!(of(8, 4), (8, "89".into()));
        assert_eq!(of(10, 4), (10, String::new()));
        assert_eq!(of(11, 4), (10, String::new()));
        assert_eq!(of(i64::MAX, 4), (10, String::new()));
        assert_eq!(of(-3, 2), (7, "78".into()));
        assert_eq!(of(-3, usize::MAX), (7, "789".into()));
        assert_eq!(of(-11, 2), (0, "01".into()));
        assert_eq!(of(i64::MIN, 1), (0, "0".into()));
        assert_eq!(of(0, 0), (0, String::new()));
    }
}
