//! `thermos tail`: what the latest run of a process prints.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use engine::files::Stream;
use observer::logs;
use observer::store::{Store, Task};

use super::arguments::TailArguments;
use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};

/// How much of what was printed before is shown first.
const FIRST_BYTES: u64 = 4096;
/// How long a silent process is left alone.
const PAUSE: Duration = Duration::from_millis(250);

pub fn run(arguments: &TailArguments, store: &Store, console: &mut Console) -> Outcome {
    let missing = |what: String| Failure::new(Exit::InvalidParameter, what);
    let task = store.task(&arguments.task_id).ok_or_else(|| {
        missing(format!("There is no task {} on this machine. `thermos status` lists them.", arguments.task_id))
    })?;
    let process = choose(&task, arguments.process.as_deref())?;
    let run = task.runs(&process).last().ok_or_else(|| missing(format!("Process {process} has not started yet.")))?.run;
    let stream = if arguments.stderr { Stream::Stderr } else { Stream::Stdout };
    let mut file = logs::open_log(&task, &process, run, stream)
        .map_err(|error| Failure::new(Exit::CommandFailure, error.to_string()))?;
    let broken = |error: std::io::Error| Failure::new(Exit::CommandFailure, format!("reading the log: {error}"));
    let size = file.metadata().map_err(broken)?.len();
    let mut begin = size.saturating_sub(FIRST_BYTES);
    file.seek(SeekFrom::Start(begin)).map_err(broken)?;
    let mut piece = vec![0; 64 << 10];
    loop {
        // Asked before the reading: what is written until the end is read for sure.
        let is_active = store.task(&arguments.task_id).is_some_and(|task| task.is_active());
        loop {
            let read = file.read(&mut piece).map_err(broken)?;
            if read == 0 {
                break;
            }
            begin += read as u64;
            console.out_bytes(&piece[..read]);
        }
        if !is_active {
            return Ok(());
        }
        // Rotated: the same file begins anew.
        if file.metadata().map_err(broken)?.len() < begin {
            begin = 0;
            file.seek(SeekFrom::Start(0)).map_err(broken)?;
        }
        std::thread::sleep(PAUSE);
    }
}

/// The process that is meant.
fn choose(task: &Task, named: Option<&str>) -> Outcome<String> {
    let names = task.process_names();
    let wrong = |text: String| Failure::new(Exit::InvalidParameter, text);
    match named {
        Some(name) if names.iter().any(|other| other == name) => Ok(name.to_owned()),
        Some(name) => Err(wrong(format!("Task {} has no process {name}; it has {}.", task.id, names.join(", ")))),
        None => match names.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(wrong(format!("Task {} has no processes.", task.id))),
            several => {
                Err(wrong(format!("Task {} has several processes; name one of {}.", task.id, several.join(", "))))
            }
        },
    }
}
