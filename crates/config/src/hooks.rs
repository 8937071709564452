//! The hooks of a job file: objects of Python classes whose methods run before and after a client's calls (spec client-cli 3.4).
//!
//! They live in the interpreter that made them. So the file is evaluated once more by a process of its own which stays for as long as the
//! client works, and runs the hooks when the client says so. Client and process talk over the process's standard output, which is a
//! socket: a line of JSON per call, a line per answer. Standard input and the terminal are the hooks' own: they may ask the user.
//!
//! Which calls have hooks, and what follows from a hook's answer, is the client's.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::child::CHILD_ARGUMENT;
use crate::error::{ConfigError, ErrorKind};
use crate::interpreter;
use crate::request::EvaluationRequest;

/// The second argument of a process that is to run hooks.
pub(crate) const HOOKS_ARGUMENT: &str = "hooks";

/// The stack of the thread that runs Python.
const STACK_BYTES: usize = 256 << 20;

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HookEvent {
    /// Before the call; it may stop it.
    Pre,
    /// After a call that was answered with OK.
    Post,
    /// After a call that failed.
    Err,
}

/// What a call came to, for the hooks after it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HookOutcome {
    /// The scheduler's answer by its number and name; unset where there was none.
    pub response_code: Option<(i32, String)>,
    /// What the scheduler said, or why there is no answer.
    pub messages: Vec<String>,
    /// The result as JSON, under the wire's names.
    pub result: Value,
}

/// One call that hooks run for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HookCall {
    /// Before or after.
    pub event: HookEvent,
    /// Name of the client's method, for example `kill_job`.
    pub method: String,
    /// Its positional arguments with their names, in order. The texts `@config` and `@job_key` stand for the job's configuration and key.
    pub arguments: Vec<(String, Value)>,
    /// Its keyword arguments; the same texts apply.
    pub keywords: Vec<(String, Value)>,
    /// For hooks after the call.
    pub outcome: Option<HookOutcome>,
}

/// What the hooks of a file say to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct HookVerdict {
    /// Whether every hook gave a true value.
    pub passed: bool,
    /// The status with which a hook left the program (`sys.exit`).
    pub exit: Option<i32>,
}

#[derive(Serialize)]
struct Opening<'a> {
    path: &'a str,
    bindings: &'a [(String, String)],
    key: [&'a str; 4],
    job: &'a Value,
    verbose: bool,
    arguments: &'a [String],
}

/// The part of the opening that this side of the process needs before Python runs.
#[derive(Deserialize)]
struct Arguments {
    arguments: Vec<String>,
}

#[derive(Deserialize)]
struct Ready {
    error: Option<String>,
}

/// A process that holds the hooks of one job.
#[derive(Debug)]
pub struct HookSession {
    child: Child,
    channel: BufReader<UnixStream>,
    path: String,
}

impl HookSession {
    /// Evaluates the file and keeps its hooks for the job that the request wants. `job` is the job as it goes to the scheduler, under the
    /// wire's names; `verbose` logs every hook that runs.
    pub fn start(request: &EvaluationRequest, job: &Value, verbose: bool) -> Result<Self, ConfigError> {
        let failed = |why: String| ConfigError::new(ErrorKind::Internal, why).in_file(&request.path);
        let Some(wanted) = &request.wanted else {
            return Err(failed("hooks belong to a job, and none is named".into()));
        };
        let executable = request.executable.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let (ours, theirs) =
            UnixStream::pair().map_err(|error| failed(format!("the hooks cannot be reached: {error}")))?;
        let mut command = Command::new(&executable);
        command.args([CHILD_ARGUMENT, HOOKS_ARGUMENT]).stdout(Stdio::from(OwnedFd::from(theirs)));
        if let Some(directory) = &request.working_directory {
            command.current_dir(directory);
        }
        let child = command
            .spawn()
            .map_err(|error| failed(format!("cannot start {} to run the hooks: {error}", executable.display())))?;
        // The command holds the other end; without it the end of the process is seen as the end of the stream.
        drop(command);
        let opening = Opening {
            path: &request.path,
            bindings: &request.bindings,
            key: [&wanted.cluster, &wanted.role, &wanted.environment, &wanted.name],
            job,
            verbose,
            arguments: &request.arguments,
        };
        let mut session = Self { child, channel: BufReader::new(ours), path: request.path.clone() };
        let ready: Ready = session.ask(&opening)?;
        match ready.error {
            Some(why) => Err(failed(format!("the file's hooks cannot be loaded: {why}"))),
            None => Ok(session),
        }
    }

    /// Runs the hooks that the file has for a call. However long they take is theirs to say: they may wait for the user.
    pub fn run(&mut self, call: &HookCall) -> Result<HookVerdict, ConfigError> {
        self.ask(call)
    }

    fn ask<A: for<'a> Deserialize<'a>>(&mut self, question: &impl Serialize) -> Result<A, ConfigError> {
        let mut line = serde_json::to_vec(question).expect("a question has only plain values");
        line.push(b'\n');
        let mut answer = String::new();
        let asked = self.channel.get_mut().write_all(&line).and_then(|()| self.channel.read_line(&mut answer));
        let read = asked.map_err(|error| error.to_string());
        read.and_then(|_| serde_json::from_str(&answer).map_err(|error| error.to_string())).map_err(|why| {
            let reason = if answer.is_empty() {
                "the process that runs the file's hooks ended (does a hook call os._exit?)".to_owned()
            } else {
                format!("the process that runs the file's hooks answers nonsense: {why}")
            };
            ConfigError::new(ErrorKind::Internal, reason).in_file(&self.path)
        })
    }
}

impl Drop for HookSession {
    fn drop(&mut self) {
        // The end of the stream is the end of the process; one whose hook hangs is ended, as nothing waits for it any more.
        let _ = self.channel.get_ref().shutdown(std::net::Shutdown::Both);
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The life of a process that runs hooks: evaluates the file, then runs hooks until the stream ends.
pub(crate) fn hooks_child_main() -> ! {
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(serve);
    let code = match worker.map(|worker| worker.join().unwrap_or(Err(std::io::ErrorKind::Other.into()))) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) | Err(error) => {
            eprintln!("the hooks cannot be run: {error}");
            102
        }
    };
    std::process::exit(code)
}

fn serve() -> std::io::Result<()> {
    // Hooks of a client that is gone have nothing to do.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let stream = UnixStream::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    // What hooks print appears where what the file prints does.
    nix::unistd::dup2_stdout(std::io::stderr())?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut opening = String::new();
    if reader.read_line(&mut opening)? == 0 {
        return Ok(());
    }
    let given: Arguments = serde_json::from_str(&opening)?;
    interpreter::run_hooks(&given.arguments, opening, reader, stream);
    let _ = std::io::stderr().flush();
    std::process::exit(0)
}
