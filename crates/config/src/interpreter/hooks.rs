//! The native module `_jobfile_hooks`: the line between the Python side that runs hooks and the client that asks for them.
#![allow(unsafe_code)] // The interpreter's macros generate it; none is written here.
#![allow(missing_docs)]

pub(crate) use _jobfile_hooks::{module_def, open};

use rustpython_vm::pymodule;

#[pymodule]
mod _jobfile_hooks {
    use std::cell::RefCell;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;

    use rustpython_vm::PyRef;
    use rustpython_vm::builtins::PyStr;

    struct Line {
        reader: BufReader<UnixStream>,
        writer: UnixStream,
    }

    thread_local! {
        static LINE: RefCell<Option<Line>> = const { RefCell::new(None) };
    }

    /// Opens the line for the Python code of this thread.
    pub(crate) fn open(reader: BufReader<UnixStream>, writer: UnixStream) {
        LINE.with(|line| *line.borrow_mut() = Some(Line { reader, writer }));
    }

    /// The next question; `None` when there are no more.
    #[pyfunction]
    fn question() -> Option<String> {
        LINE.with(|line| {
            let mut line = line.borrow_mut();
            let mut text = String::new();
            let count = line.as_mut()?.reader.read_line(&mut text).ok()?;
            (count > 0).then_some(text)
        })
    }

    /// Answers the latest question.
    #[pyfunction]
    fn answer(text: PyRef<PyStr>) {
        LINE.with(|line| {
            if let Some(line) = line.borrow_mut().as_mut() {
                // A client that is gone is noticed by the next question.
                let _ = line.writer.write_all(format!("{}\n", text.to_string_lossy()).as_bytes());
            }
        });
    }
}
