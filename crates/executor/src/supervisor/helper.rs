//! Helper processes of a supervisor: what is done for a task before its first process (files are fetched, a container is made) and after
//! its last one (containers are removed). A task that needs neither has none and costs nothing.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use checkpoint::layout::{CONTAINER_STARTED, OUT_OF_MEMORY};
use checkpoint::protocol::{ContainerKind, Containers, Launch};
use checkpoint::record::{StatusReason, StatusState};
use rustix::fs::{AtFlags, FileType};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Surroundings;
use super::task::{RunningTask, Verdict};
use crate::docker::{self, Container, Leftovers, Order, PROGRAM};
use crate::launcher::log;
use crate::system::spawn::{Spawn, spawn};
use crate::system::wait::{self, Exit};

/// First argument with which the program is told to fetch files. The crate `fetcher` knows it by the same name.
const FETCH_ARGUMENT: &CStr = c"__fetch";
/// Variables of this process that helpers get which talk to other machines.
const PASSED_ON: [&str; 12] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HADOOP_HOME",
    "JAVA_HOME",
];
/// Bytes of a helper's output that are kept, and looked at for its last line.
const OUTPUT_BYTES_MAX: usize = 4 << 10;
/// How long removing containers may take, milliseconds.
const SWEEP_MS_MAX: u64 = 30_000;
/// How long a Docker daemon that does not answer is waited for at a task's end, seconds.
const SWEEP_PATIENCE_SECS: u64 = 5;

/// A helper that runs.
pub(super) struct Helper {
    pid: i32,
    output: OwnedFd,
    is_drained: bool,
    kept: Vec<u8>,
}

impl Helper {
    /// A pipe for the helper's output and, from its far end, the helper's pid.
    fn start(begin: impl FnOnce(BorrowedFd<'_>) -> Result<i32, String>) -> Result<Self, String> {
        let (output, theirs) = pipe_with(PipeFlags::CLOEXEC)
            .and_then(|(near, far)| rustix::io::ioctl_fionbio(&near, true).map(|()| (near, far)))
            .map_err(|error| error.to_string())?;
        let pid = begin(theirs.as_fd())?;
        Ok(Self { pid, output, is_drained: false, kept: Vec::new() })
    }

    /// Takes what it has written, so that it never waits for a reader; the end is kept.
    fn drain(&mut self) {
        let mut buffer = [0_u8; 4096];
        // A bounded number of rounds: the supervisor has other work.
        for _ in 0..64 {
            match rustix::io::read(&self.output, &mut buffer) {
                Ok(0) => self.is_drained = true,
                Ok(count) => {
                    self.kept.extend_from_slice(&buffer[..count]);
                    let surplus = self.kept.len().saturating_sub(OUTPUT_BYTES_MAX);
                    self.kept.drain(..surplus);
                    continue;
                }
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => {}
                Err(_) => self.is_drained = true,
            }
            return;
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_drained).then(|| self.output.as_fd())
    }

    /// Lets go of the process, which has ended; its last line, unless it ended well.
    fn ended(mut self, exit: &Exit) -> Result<(), String> {
        self.drain();
        wait::signal_group(exit.pid, libc::SIGKILL);
        wait::reap(exit.pid);
        if exit.return_code == 0 {
            return Ok(());
        }
        Err(last_line(&self.kept).unwrap_or_else(|| match exit.return_code {
            code if code < 0 => format!("it was ended by signal {}", -code),
            code => format!("it ended with status {code}"),
        }))
    }

    /// Kills it. Its end is heard of like that of any child.
    fn kill(self) {
        wait::signal_group(self.pid, libc::SIGKILL);
    }
}

/// The last line that says something.
fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

/// What is to be done before the first process.
enum Step {
    /// Files are fetched; the request.
    Fetch(String),
    /// The container is made.
    Container(Box<Container>),
}

/// What is done before the first process.
pub(super) struct Preparing {
    steps: VecDeque<Step>,
    /// What goes on, with the beginning of what is said when it fails.
    helper: Option<(Helper, &'static str)>,
}

impl Preparing {
    /// What a task needs; most tasks need nothing.
    pub(super) fn of(launch: &Launch) -> Option<Self> {
        let mut steps = VecDeque::new();
        if !launch.files.is_empty() {
            steps.push_back(Step::Fetch(launch.files.clone()));
        }
        if let Some(containers) = launch.containers.as_ref().filter(|one| one.kind() == ContainerKind::Processes) {
            steps.push_back(Step::Container(Box::new(Container::of(launch, containers))));
        }
        (!steps.is_empty()).then_some(Self { steps, helper: None })
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.helper.as_ref().and_then(|(helper, _)| helper.descriptor())
    }

    fn stop(self) {
        if let Some((helper, _)) = self.helper {
            helper.kill();
        }
    }
}

/// Removing containers at the end of a task.
pub(super) enum Sweeping {
    /// There are none, or it is done.
    Done,
    /// There may be some.
    Due,
    /// Under way, until a time in monotonic milliseconds.
    Running(Helper, u64),
}

impl Sweeping {
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Running(helper, _) => helper.descriptor(),
            _ => None,
        }
    }

    /// Whether the only child that lives may be the helper of this.
    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Running(..))
    }
}

impl RunningTask {
    /// Kind of the task as far as containers go.
    pub(super) fn container_kind(&self) -> ContainerKind {
        self.launch.containers.as_ref().map_or(ContainerKind::Unspecified, Containers::kind)
    }

    /// Goes on with what comes before the first process. True when nothing of that is left to do.
    pub(super) fn is_prepared(&mut self, surroundings: &Surroundings) -> bool {
        let Some(preparing) = &mut self.preparing else { return true };
        if self.forced.is_some() {
            if let Some(preparing) = self.preparing.take() {
                preparing.stop();
            }
            return true;
        }
        if let Some((helper, _)) = &mut preparing.helper {
            helper.drain();
            return false;
        }
        let Some(step) = preparing.steps.pop_front() else {
            self.preparing = None;
            return true;
        };
        let (started, failed) = match step {
            Step::Fetch(request) => (self.start_fetching(&request, surroundings), "Failed to fetch the task's files: "),
            Step::Container(container) => {
                self.sweeping = Sweeping::Due;
                let order = Order::Create(*container);
                let start = |output: BorrowedFd<'_>| docker::start(&order, output, &surroundings.null);
                (Helper::start(start), "The container cannot be started: ")
            }
        };
        match (started, &mut self.preparing) {
            (Ok(helper), Some(preparing)) => preparing.helper = Some((helper, failed)),
            (Ok(helper), None) => helper.kill(),
            (Err(why), _) => self.fail_launch(format!("{failed}{why}")),
        }
        false
    }

    fn fail_launch(&mut self, message: String) {
        let message = if message.ends_with('.') { message } else { format!("{message}.") };
        self.fail(Verdict { state: StatusState::Failed, reason: StatusReason::LaunchFailed, message });
    }

    /// Files are fetched by the task's user, in the task's group and into its sandbox.
    fn start_fetching(&self, request: &str, surroundings: &Surroundings) -> Result<Helper, String> {
        let Some(work) = &self.work else { return Err("there is no sandbox".to_owned()) };
        let (their_input, input) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string())?;
        // A pipe takes 64 KiB; a larger request is written by a thread of its own.
        let bytes = request.as_bytes().to_vec();
        let helper = Helper::start(|output| {
            let mut environment = work.environment.clone();
            environment.extend(passed_on());
            let request = Spawn {
                program: PROGRAM,
                arguments: &[PROGRAM, FETCH_ARGUMENT],
                environment: &environment,
                root: None,
                directory: &work.sandbox_path,
                stdin: their_input.as_fd(),
                stdout: output,
                stderr: output,
                identity: self.owner.as_ref(),
                cgroup: surroundings.task_group.as_ref().map(AsFd::as_fd),
                oom_score: b"0",
                open_files_soft: surroundings.open_files_soft,
            };
            spawn(&request).map_err(|error| error.to_string())
        })?;
        drop(their_input);
        let mut file = std::fs::File::from(input);
        let written = crate::checks::Background::start("request", move || std::io::Write::write_all(&mut file, &bytes));
        match written {
            Ok(_) => Ok(helper),
            Err(error) => {
                helper.kill();
                Err(error.to_string())
            }
        }
    }

    /// A child has ended, and is a zombie still. Whether it was a helper, which is let go then.
    pub(super) fn on_helper_exit(&mut self, exit: &Exit) -> bool {
        if let Some(preparing) = &mut self.preparing
            && let Some((helper, failed)) = preparing.helper.take_if(|(helper, _)| helper.pid == exit.pid)
        {
            if let Err(why) = helper.ended(exit) {
                self.fail_launch(format!("{failed}{why}"));
            }
            return true;
        }
        if matches!(&self.sweeping, Sweeping::Running(helper, _) if helper.pid == exit.pid) {
            if let Sweeping::Running(helper, _) = std::mem::replace(&mut self.sweeping, Sweeping::Done)
                && let Err(why) = helper.ended(exit)
            {
                log(&format!("{}: its containers cannot be removed: {why}", self.task_id()));
            }
            return true;
        }
        false
    }

    /// Goes on with removing containers, once nothing else of the task lives. True when that is done, or is given up.
    pub(super) fn is_swept(&mut self, surroundings: &Surroundings, now_ms: u64) -> bool {
        match &mut self.sweeping {
            Sweeping::Done => true,
            Sweeping::Due => {
                let containers = self.launch.containers.clone().unwrap_or_default();
                let order = Order::Sweep(Leftovers {
                    docker_host: containers.docker_host,
                    task_id: self.launch.task_id.clone(),
                    project: containers.project,
                    patience_secs: SWEEP_PATIENCE_SECS,
                });
                match Helper::start(|output| docker::start(&order, output, &surroundings.null)) {
                    Ok(helper) => {
                        self.sweeping = Sweeping::Running(helper, now_ms + SWEEP_MS_MAX);
                        false
                    }
                    Err(why) => {
                        log(&format!("{}: its containers cannot be removed: {why}", self.task_id()));
                        self.sweeping = Sweeping::Done;
                        true
                    }
                }
            }
            Sweeping::Running(helper, until_ms) => {
                helper.drain();
                if now_ms < *until_ms {
                    return false;
                }
                log(&format!("{}: its containers could not be removed in time", self.launch.task_id));
                if let Sweeping::Running(helper, _) = std::mem::replace(&mut self.sweeping, Sweeping::Done) {
                    helper.kill();
                }
                true
            }
        }
    }

    /// When removing containers is to be given up, monotonic milliseconds.
    pub(super) fn sweeping_wake_ms(&self) -> Option<u64> {
        match &self.sweeping {
            Sweeping::Running(_, until_ms) => Some(*until_ms),
            _ => None,
        }
    }

    /// The arguments of the helper that runs a process of this task, for tasks with containers.
    pub(super) fn helper_arguments(&self, line: &str, has_profile: bool) -> Result<Vec<CString>, String> {
        let containers = self.launch.containers.clone().unwrap_or_default();
        match containers.kind() {
            ContainerKind::Compose => {
                let words =
                    [PROGRAM.to_bytes(), compose::CHILD_ARGUMENT.as_bytes(), containers.compose_request.as_bytes()];
                words.into_iter().map(|word| CString::new(word).map_err(|error| error.to_string())).collect()
            }
            ContainerKind::Alone => docker::arguments(&Order::Run(Container::of(&self.launch, &containers))),
            ContainerKind::Processes | ContainerKind::Unspecified => docker::arguments(&Order::Exec(docker::Command {
                docker_host: containers.docker_host,
                task_id: self.launch.task_id.clone(),
                line: line.to_owned(),
                has_profile,
                run_directory: self.launch.run_directory.clone(),
            })),
        }
    }

    /// What more the helper of a process gets as its environment.
    pub(super) fn helper_environment(&self) -> Vec<CString> {
        let mut environment: Vec<CString> = passed_on().collect();
        let host = self.launch.containers.as_ref().map_or("", |containers| containers.docker_host.as_str());
        if !host.is_empty() {
            environment.extend(CString::new(format!("DOCKER_HOST={host}")));
        }
        environment
    }

    /// A process of a task with containers has ended badly: what can be said about that better than with its exit code. `output` is what
    /// its helper wrote its last words into.
    pub(super) fn explain(&mut self, return_code: i32, output: Option<&OwnedFd>) {
        if self.verdict.is_some() || self.forced.is_some() || self.stopping.is_some() {
            return;
        }
        let note = |name: &str| std::path::Path::new(&self.launch.run_directory).join(name).exists();
        let kind = self.container_kind();
        if note(OUT_OF_MEMORY) {
            let limit = self.launch.containers.as_ref().map_or(0, |containers| containers.memory_bytes) >> 20;
            let message = format!("Memory limit exceeded: the container may use {limit} MB.");
            return self.fail(Verdict { state: StatusState::Failed, reason: StatusReason::MemoryLimit, message });
        }
        let Some(line) = output.and_then(tail).and_then(|tail| last_line(&tail)) else { return };
        match kind {
            ContainerKind::Alone if return_code == i32::from(docker::DOCKER_FAILED) && !note(CONTAINER_STARTED) => {
                self.fail_launch(format!("The container cannot be started: {line}"));
            }
            ContainerKind::Compose => {
                let message = format!("Task failed: {line}");
                self.fail(Verdict { state: StatusState::Failed, reason: StatusReason::Unspecified, message });
            }
            _ => {}
        }
    }
}

/// The end of a file that was opened for a process to write to; the process' user may have moved it meanwhile, which changes nothing.
fn tail(output: &OwnedFd) -> Option<Vec<u8>> {
    let path = format!("/proc/self/fd/{}", output.as_raw_fd());
    let status = rustix::fs::statat(rustix::fs::CWD, &path, AtFlags::empty()).ok()?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return None;
    }
    let file = std::fs::File::open(path).ok()?;
    let size = u64::try_from(status.st_size).unwrap_or(0);
    let from = size.saturating_sub(OUTPUT_BYTES_MAX as u64);
    let mut bytes = vec![0_u8; usize::try_from(size - from).ok()?];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, from).ok()?;
    Some(bytes)
}

fn passed_on() -> impl Iterator<Item = CString> {
    PASSED_ON.into_iter().filter_map(|name| {
        let value = std::env::var_os(name)?;
        CString::new([name.as_bytes(), b"=", value.as_encoded_bytes()].concat()).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_the_reason() {
        assert_eq!(last_line(b"fetching x\n  no such file \n\n"), Some("no such file".to_owned()));
        assert_eq!(last_line(b"\n \n"), None);
    }

    #[test]
    fn a_plain_task_needs_no_helper() {
        assert!(Preparing::of(&Launch::default()).is_none());
        let alone = Containers { kind: ContainerKind::Alone.into(), ..Containers::default() };
        assert!(Preparing::of(&Launch { containers: Some(alone), ..Launch::default() }).is_none());
        let processes = Containers { kind: ContainerKind::Processes.into(), ..Containers::default() };
        let launch = Launch { files: "{}".into(), containers: Some(processes), ..Launch::default() };
        assert_eq!(Preparing::of(&launch).unwrap().steps.len(), 2, "files first, then the container that they are for");
    }
}
