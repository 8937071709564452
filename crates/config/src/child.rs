//! The process that evaluates a job file, and starting it.
//!
//! A job file is a program: it may run for ever, eat all memory, or end the process. So this program is started once more, with a
//! hidden first argument, a time limit and a memory limit; the request goes in on its standard input as JSON, the answer comes
//! back on its standard output. What the file itself prints appears on standard error.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::data::Format;
use crate::error::{ConfigError, ErrorKind};
use crate::evaluate::evaluate_here;
use crate::request::{Evaluation, EvaluationRequest, Limits};

/// The first argument of a process that is to evaluate a job file.
pub const CHILD_ARGUMENT: &str = "__evaluate-config";

/// The stack of the evaluating thread. Python's own limit on recursion must be reached before its end.
const STACK_BYTES: usize = 256 << 20;

/// How the program begins its last words when memory is out.
const OUT_OF_MEMORY: &str = "memory allocation of ";

#[derive(Serialize, Deserialize)]
enum Answer {
    Evaluated(Evaluation),
    Failed(ConfigError),
}

/// Evaluates a job file in a process of its own.
///
/// Files that are data are read in this process, because reading them runs nothing.
pub fn evaluate(request: &EvaluationRequest) -> Result<Evaluation, ConfigError> {
    if request.working_directory.is_none() && is_data(request) {
        return evaluate_here(request);
    }
    evaluate_apart(request)
}

/// The same always in a process of its own, files of data too: for those that strangers send.
pub fn evaluate_apart(request: &EvaluationRequest) -> Result<Evaluation, ConfigError> {
    let mut child = start(request)?;
    let deadline = Instant::now() + request.limits.time;
    send(&mut child, request);
    let (last_words, words) = mpsc::channel();
    let stderr = child.stderr.take().expect("piped");
    std::thread::spawn(move || forward_stderr(stderr, &last_words));
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take().expect("piped");
    let bytes_max = request.answer_bytes_max.unwrap_or(u64::MAX - 1);
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        let _ = stdout.take(bytes_max + 1).read_to_end(&mut answer);
        let _ = sender.send(answer);
    });
    let answer = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let is_too_long = answer.as_ref().is_ok_and(|answer| answer.len() as u64 > bytes_max);
    if answer.is_err() || is_too_long {
        // The file may still compute, or wait for something that does not come.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| internal(format!("waiting for the evaluation failed: {error}")))?;
    let Ok(answer) = answer else { return Err(out_of_time(request)) };
    if is_too_long {
        let reason =
            format!("the jobs of {} are longer than {} MiB when they are worked out", request.path, bytes_max >> 20);
        return Err(ConfigError::new(ErrorKind::MemoryLimit, reason).in_file(&request.path));
    }
    // The last words of a process that died come through the pipe; a living grandchild may hold it open.
    let out_of_memory = !status.success() && words.recv_timeout(Duration::from_millis(500)).unwrap_or(false);
    read_answer(request, &answer, status, out_of_memory)
}

/// Is nothing run by reading the file? What cannot be read is left to the other process to say.
fn is_data(request: &EvaluationRequest) -> bool {
    let path = std::path::Path::new(&request.path);
    let begins = || {
        let file = path.metadata().is_ok_and(|found| found.is_file()).then(|| std::fs::read_to_string(path).ok());
        Format::of(path, &file.flatten().unwrap_or_default())
    };
    let format = || request.format.or_else(|| Format::of_path(path)).unwrap_or_else(begins);
    request.read_json || format() != Format::Python
}

fn start(request: &EvaluationRequest) -> Result<Child, ConfigError> {
    let executable = request.executable.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    let mut command = Command::new(&executable);
    command.arg(CHILD_ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(directory) = &request.working_directory {
        command.current_dir(directory);
    }
    command
        .spawn()
        .map_err(|error| internal(format!("cannot start {} to evaluate the file: {error}", executable.display())))
}

fn send(child: &mut Child, request: &EvaluationRequest) {
    let mut stdin = child.stdin.take().expect("piped");
    let text = serde_json::to_vec(request).expect("a request has only plain values");
    // A child that is gone already tells so by its status.
    let _ = stdin.write_all(&text);
}

/// Passes on what the file prints; tells whether memory ran out, and keeps that line to itself.
fn forward_stderr(stderr: impl Read, last_words: &mpsc::Sender<bool>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    let mut out_of_memory = false;
    while matches!(reader.read_until(b'\n', &mut line), Ok(length) if length > 0) {
        // What follows the last words is a trace of our own calls; it tells the user nothing.
        out_of_memory |= line.starts_with(OUT_OF_MEMORY.as_bytes());
        if !out_of_memory {
            let _ = std::io::stderr().write_all(&line);
        }
        line.clear();
    }
    let _ = last_words.send(out_of_memory);
}

fn read_answer(
    request: &EvaluationRequest,
    answer: &[u8],
    status: ExitStatus,
    out_of_memory: bool,
) -> Result<Evaluation, ConfigError> {
    match serde_json::from_slice(answer) {
        Ok(Answer::Evaluated(evaluation)) => Ok(evaluation),
        Ok(Answer::Failed(error)) => Err(error),
        Err(_) if out_of_memory => Err(memory_exhausted(&request.path, request.limits)),
        Err(_) => {
            let how = match (status.code(), status.signal()) {
                (_, Some(signal)) => format!("was ended by signal {signal}"),
                (Some(0), _) => "ended without an answer (does the file call os._exit?)".to_owned(),
                (code, _) => format!("ended with exit status {} and without an answer", code.unwrap_or(-1)),
            };
            Err(internal(format!("the evaluation of {} {how}", request.path)).in_file(&request.path))
        }
    }
}

fn out_of_time(request: &EvaluationRequest) -> ConfigError {
    let limit = request.limits.time;
    let shown =
        if limit.subsec_millis() == 0 { format!("{} s", limit.as_secs()) } else { format!("{} ms", limit.as_millis()) };
    ConfigError::new(
        ErrorKind::TimeLimit,
        format!("evaluating {} took longer than its time limit of {shown}", request.path),
    )
    .in_file(&request.path)
    .help("look for a loop without end, or a command or connection that the file waits for")
}

pub(crate) fn memory_exhausted(path: &str, limits: Limits) -> ConfigError {
    let mebibytes = limits.memory_bytes >> 20;
    let reason = format!("evaluating {path} needed more than its memory limit of {mebibytes} MiB");
    ConfigError::new(ErrorKind::MemoryLimit, reason)
        .in_file(path)
        .help("look for a list that grows without end, or a large file that is read whole")
}

fn internal(reason: String) -> ConfigError {
    ConfigError::new(ErrorKind::Internal, reason)
}

/// The life of an evaluating process: reads the request, evaluates, writes the answer, exits.
///
/// To be called first thing by a program whose first argument is [`CHILD_ARGUMENT`].
pub fn evaluation_child_main() -> ! {
    if std::env::args().nth(2).is_some_and(|word| word == crate::hooks::HOOKS_ARGUMENT) {
        crate::hooks::hooks_child_main();
    }
    let answer = match prepare() {
        Ok((request, out)) => {
            // The process ends with `exit` and without tearing the interpreter down, which would take as long as all the rest.
            let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || answer_to(&request, out));
            worker.map(|worker| worker.join().unwrap_or(Err(std::io::ErrorKind::Other.into())))
        }
        Err(error) => Err(error),
    };
    let code = match answer {
        Ok(Ok(())) => 0,
        Ok(Err(_)) => 101,
        Err(error) => {
            eprintln!("cannot evaluate: {error}");
            102
        }
    };
    std::process::exit(code)
}

/// Takes the request, keeps the standard output for the answer alone, and sets the limits.
fn prepare() -> std::io::Result<(EvaluationRequest, std::fs::File)> {
    // Nobody waits for the answer of an orphan. The parent may be gone already; then there is no request to read either.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let request: EvaluationRequest = serde_json::from_reader(std::io::stdin().lock())?;
    let out = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    nix::unistd::dup2_stdout(std::io::stderr())?;
    // Only the soft limit: a program that the file starts may raise it again if it needs more room.
    let (_, most) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_AS)?;
    let limit = (request.limits.memory_bytes + STACK_BYTES as u64).min(most);
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, limit, most)?;
    Ok((request, out))
}

fn answer_to(request: &EvaluationRequest, mut out: std::fs::File) -> std::io::Result<()> {
    let answer = match evaluate_here(request) {
        Ok(evaluation) => Answer::Evaluated(evaluation),
        Err(error) => Answer::Failed(error),
    };
    out.write_all(&serde_json::to_vec(&answer)?)?;
    let _ = std::io::stderr().flush();
    // From here on nothing is worth waiting for.
    std::process::exit(0)
}
