//! Pieces of logs and of sandbox files, as the viewer asks for them (spec executor 4.5). Files are opened beneath their directory only.

use std::fs::File;

use checkpoint::files::beneath::{OpenError, Root};
use checkpoint::files::range;
use checkpoint::layout::is_safe_segment;
use engine::files::{FilesError, Stream};
use serde_json::{Value, json};

use crate::store::Task;

/// Most bytes of one answer.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Opens the log of a run.
pub fn open_log(task: &Task, process: &str, run: u32, stream: Stream) -> Result<File, FilesError> {
    let shown = format!("{} of run {run} of process '{process}'", stream.name());
    if !is_safe_segment(process) {
        return Err(FilesError::NotFound(shown));
    }
    let root = Root::open(&task.logs).map_err(|error| error.named("the folder of the logs"))?;
    root.open_file(&format!("{process}/{run}/{}", stream.name())).map_err(|error| error.named(&shown))
}

/// Opens a file of the sandbox.
pub fn open_file(task: &Task, path: &str) -> Result<File, FilesError> {
    sandbox(task)?.open_file(path).map_err(|error| error.named(path))
}

/// Opens a task's sandbox.
pub fn sandbox(task: &Task) -> Result<Root, FilesError> {
    if task.sandbox.as_os_str().is_empty() {
        return Err(OpenError::NotFound.named("the sandbox"));
    }
    Root::open(&task.sandbox).map_err(|error| error.named("the sandbox"))
}

/// A piece of a file as the viewer wants it: `offset` -1 asks for the size, `length` -1 for everything to the end. Anything that cannot
/// be read is an empty object.
pub fn piece(file: Result<File, FilesError>, offset: i64, length: i64) -> Value {
    let Ok(file) = file else { return json!({}) };
    let limit = usize::try_from(length).unwrap_or(ANSWER_BYTES_MAX).min(ANSWER_BYTES_MAX);
    if offset < 0 {
        let size = file.metadata().map(|metadata| metadata.len());
        return size.map_or_else(|_| json!({}), |size| json!({"offset": size, "length": 0}));
    }
    let Ok(read) = range::read(&file, offset, limit) else { return json!({}) };
    if read.data.is_empty() || read.offset < offset.unsigned_abs() {
        return json!({"offset": offset, "length": 0});
    }
    json!({
        "offset": read.offset,
        "length": read.data.len(),
        "data": escape(&String::from_utf8_lossy(&read.data)),
    })
}

/// Text that may stand in XML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_the_viewer_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, b"<a> & \xff").unwrap();
        let of = |offset, length| piece(Ok(File::open(&path).unwrap()), offset, length);
        assert_eq!(of(-1, -1), json!({"offset": 7, "length": 0}));
        assert_eq!(of(0, -1), json!({"offset": 0, "length": 7, "data": "&lt;a&gt; &amp; \u{fffd}"}));
        assert_eq!(of(1, 1), json!({"offset": 1, "length": 1, "data": "a"}));
        assert_eq!(of(7, 5), json!({"offset": 7, "length": 0}));
        assert_eq!(of(99, 5), json!({"offset": 99, "length": 0}));
        assert_eq!(piece(Err(FilesError::NotFound("x".into())), 0, 1), json!({}));
    }
}
