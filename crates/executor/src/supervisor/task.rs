//! One run of one task: its processes, stages and statuses (spec executor 1.4 to 1.8, 2.4, 2.5). Ending it is [`super::ending`].

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use checkpoint::disk::{self, DiskScan};
use checkpoint::layout::RunDirectory;
use checkpoint::protocol::{ContainerKind, Containers, Launch, LaunchRefused};
use checkpoint::record::{
    ProcessRecord, ProcessState, StatusReason, StatusRecord, StatusState, TaskRecord, TaskState as RecordedTaskState,
};
use checkpoint::replay::RunState;
use checkpoint::stream::Writer;
use model::process::health::{ASSUMED_HEALTHY, Opinion};
use model::process::{End, Forced, StageFacts, Task, TaskPlan, TaskState};

use super::Surroundings;
use super::helper::{Preparing, Sweeping};
use super::logs::{self, Pump};
use super::start::{self, PayloadCache, Prepared};
use super::stopping::{self, Step, Stopping};
use crate::checks::{self, Tools, Watch};
use crate::launcher::log;
use crate::log::detail;
use crate::system::spawn::{Identity, Spawn, spawn};
use crate::system::user::{self, User};
use crate::system::wait::{self, Exit, Look};
use crate::system::{boot_ticks, monotonic_ms, wall_ms};

/// Files looked at in one step of measuring a sandbox.
const DISK_STEP_ENTRIES: usize = 2_000;
/// Pause between such steps, milliseconds.
const DISK_STEP_PAUSE_MS: u64 = 5;
/// How long a write to a full disk waits for its next attempt, milliseconds.
const WRITE_RETRY_MS: u64 = 500;
/// Where this process cannot be protected from the OOM killer, its tasks are made to go first: they can be told about it.
const OOM_SCORE_UNPROTECTED: &[u8] = b"200";
/// A run of a process that is under way.
#[derive(Debug)]
pub(super) struct LiveRun {
    /// Index of the process in the task.
    pub(super) index: usize,
    pub(super) run: u32,
    pub(super) pid: i32,
    /// For one that a helper runs: the file with the helper's last words.
    said: Option<OwnedFd>,
}

/// What has been recorded of one process.
#[derive(Clone, Copy, Debug, Default)]
struct History {
    records: u64,
    runs: u32,
}

/// An end that does not follow from what the processes did.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) state: StatusState,
    pub(super) reason: StatusReason,
    pub(super) message: String,
}

/// The task and what can be done with it once everything was made ready.
pub(super) struct Work {
    pub(super) task: Task,
    pub(super) plan: TaskPlan,
    sandbox: OwnedFd,
    pub(super) sandbox_path: CString,
    pub(super) environment: Vec<CString>,
    /// Whether the environment names the profile already.
    has_profile: bool,
}

/// How a helper is called.
struct HelperCall {
    arguments: Vec<CString>,
    /// What it finds in its environment beside the task's.
    environment: Vec<CString>,
}

impl Work {
    /// The profile may have been written by a process before this one.
    fn look_for_profile(&mut self, launch: &Launch) -> Result<(), String> {
        if !self.has_profile && has_profile(&self.sandbox) {
            let inside = sandbox_inside(launch, &self.sandbox_path);
            let path = [b"BASH_ENV=", inside, b"/", checkpoint::layout::PROFILE.as_bytes()].concat();
            self.environment.push(CString::new(path).map_err(|error| error.to_string())?);
            self.has_profile = true;
        }
        Ok(())
    }
}

/// A task that is being run.
pub(crate) struct RunningTask {
    pub(super) launch: Launch,
    pub(super) work: Option<Work>,
    user: User,
    pub(super) owner: Option<Identity>,
    pub(super) writer: Writer,
    pub(super) stage: TaskState,
    pub(super) forced: Option<Forced>,
    pub(super) verdict: Option<Verdict>,
    /// When the time for ending is over, monotonic milliseconds.
    pub(super) deadline_ms: Option<u64>,
    /// The terminal state the task goes to once nothing of it is alive.
    pub(super) ending: Option<super::ending::Ending>,
    pub(super) live: Vec<LiveRun>,
    /// What comes before the first process; `None` once nothing does.
    pub(super) preparing: Option<Preparing>,
    /// What comes after the last one.
    pub(super) sweeping: Sweeping,
    pumps: Vec<Pump>,
    histories: Vec<History>,
    statuses: u32,
    unsent: Vec<StatusRecord>,
    /// Statuses before the last one are told from here on, monotonic milliseconds.
    tell_from_ms: u64,
    /// Why the task failed, as far as a process has something to do with it: name of the process and what happened.
    pub(super) failure: Option<(String, Option<i32>, String)>,
    pub(super) last_return_code: Option<i32>,
    told_running: bool,
    pub(super) watch: Watch,
    /// How the task is asked to end, before it is.
    pub(super) lifecycle: Vec<Step>,
    /// Being asked.
    pub(super) stopping: Option<Stopping>,
    /// What is told about an end on request; empty for the usual sentence.
    pub(super) kill_message: String,
    write_failed_ms: Option<u64>,
    disk_limit_bytes: u64,
    disk_next_ms: u64,
    disk_scan: Option<DiskScan>,
}

impl RunningTask {
    /// Takes the start token and prepares everything; the first processes start with the first [`RunningTask::advance`].
    pub(super) fn start(
        launch: Launch,
        surroundings: &Surroundings,
        payloads: &mut PayloadCache,
    ) -> Result<Self, LaunchRefused> {
        let Prepared { writer, user, owner, ready, past } = start::prepare(&launch, surroundings, payloads)?;
        let mut running = Self {
            disk_limit_bytes: launch.disk_bytes,
            disk_next_ms: monotonic_ms() + launch.disk_interval_ms,
            tell_from_ms: monotonic_ms() + launch.status_delay_ms,
            launch,
            work: None,
            user,
            owner,
            writer,
            stage: TaskState::Active,
            forced: None,
            verdict: None,
            deadline_ms: None,
            ending: None,
            live: Vec::new(),
            preparing: None,
            sweeping: Sweeping::Done,
            pumps: Vec::new(),
            histories: Vec::new(),
            statuses: 0,
            unsent: Vec::new(),
            failure: None,
            last_return_code: None,
            told_running: false,
            watch: Watch::default(),
            lifecycle: Vec::new(),
            stopping: None,
            kill_message: String::new(),
            write_failed_ms: None,
            disk_scan: None,
        };
        running.launch.payload = Vec::new();
        running.record_stage(TaskState::Active);
        let past = past.unwrap_or_default();
        match past.last_status() {
            Some(last) => running.statuses = last.sequence + 1,
            None => running.record_status(StatusState::Starting, StatusReason::Unspecified, String::new()),
        }
        if let Err(message) = ready.and_then(|ready| running.take_up(ready, surroundings)) {
            running.fail(Verdict { state: StatusState::Failed, reason: StatusReason::LaunchFailed, message });
        }
        running.remember(&past);
        Ok(running)
    }

    /// Goes on from what an earlier supervisor did of this run: what has ended counts, what was under way is to be done again.
    fn remember(&mut self, past: &RunState) {
        self.told_running = past.was_running();
        let names = self.work.iter().flat_map(|work| work.task.processes.iter().map(|process| process.name.clone()));
        for (index, name) in names.enumerate().collect::<Vec<_>>() {
            let Some(runs) = past.processes.get(&name) else { continue };
            for run in runs {
                let end = match run.state() {
                    ProcessState::Success => End::Success,
                    ProcessState::Failed => End::Failed,
                    ProcessState::Killed => End::Killed,
                    _ => End::Lost,
                };
                let what = match run.return_code {
                    Some(code) if code >= 0 => format!("exited with status {code}"),
                    Some(signal) => format!("was ended by signal {}", -signal),
                    None => run.reason.clone().unwrap_or_default(),
                };
                self.ended(index, end, run.return_code, what, monotonic_ms());
            }
            if let (Some(last), Some(history)) = (runs.last(), self.histories.get_mut(index)) {
                *history = History { records: last.sequence + 1, runs: last.run + 1 };
            }
        }
    }

    /// Makes a task that can be run of what was made ready for it.
    fn take_up(&mut self, ready: start::Ready, surroundings: &Surroundings) -> Result<(), String> {
        let task = &ready.payload.task;
        // A payload of some clients states far too small a disk (spec executor 8.1).
        let stated = task.resources.map_or(0, |resources| u64::try_from(resources.disk_bytes).unwrap_or(0));
        if self.disk_limit_bytes > 0 {
            self.disk_limit_bytes = self.disk_limit_bytes.max(stated);
        }
        self.histories = vec![History::default(); task.processes.len()];
        let environment = self.environment(&ready.sandbox_path, surroundings)?;
        let facts = checks::Facts {
            launch: &self.launch,
            payload: &ready.payload,
            ports: &ready.ports,
            sandbox: &ready.sandbox,
            environment: &environment,
        };
        if !self.launch.only_processes {
            self.watch = Watch::new(checks::sources(&facts)?);
            self.lifecycle = stopping::lifecycle(&ready.payload, &ready.ports);
        }
        self.preparing = Preparing::of(&self.launch);
        self.work = Some(Work {
            task: ready.payload.task,
            plan: ready.plan,
            sandbox: ready.sandbox,
            sandbox_path: ready.sandbox_path,
            environment,
            has_profile: false,
        });
        Ok(())
    }

    /// Exactly these variables and those of the launch, whatever this process has (spec executor 1.7); `BASH_ENV` comes with the profile.
    fn environment(&self, sandbox: &CStr, surroundings: &Surroundings) -> Result<Vec<CString>, String> {
        let own = |text: &String| !["HOME=", "LOGNAME=", "USER=", "PATH="].iter().any(|name| text.starts_with(name));
        let given = self.launch.environment.iter().filter(|text| own(text));
        let mut environment: Vec<CString> = given
            .map(|text| CString::new(text.as_str()).map_err(|error| format!("variable {text:?}: {error}")))
            .collect::<Result<_, _>>()?;
        let variable = |name: &str, value: &[u8]| {
            CString::new([name.as_bytes(), b"=", value].concat()).expect("names of users and paths have no NUL")
        };
        let own_home = self.launch.changes_root.then(|| user::home_of(&self.user.name));
        let home = own_home.as_ref().map_or_else(|| sandbox_inside(&self.launch, sandbox), |home| home.as_bytes());
        environment.extend([
            variable("HOME", home),
            variable("LOGNAME", self.user.name.as_bytes()),
            variable("USER", self.user.name.as_bytes()),
            surroundings.path.clone(),
        ]);
        Ok(environment)
    }

    pub(super) fn task_id(&self) -> &str {
        &self.launch.task_id
    }

    pub(super) fn run_directory(&self) -> String {
        self.launch.run_directory.clone()
    }

    pub(super) fn memory_requested_bytes(&self) -> u64 {
        self.launch.memory_bytes
    }

    pub(super) fn disk_limit_bytes(&self) -> u64 {
        self.disk_limit_bytes
    }

    /// Before this time only the last status is told, monotonic milliseconds.
    pub(super) fn tell_from_ms(&self) -> u64 {
        self.tell_from_ms
    }

    /// Statuses recorded since the last call.
    pub(super) fn take_unsent(&mut self) -> Vec<StatusRecord> {
        std::mem::take(&mut self.unsent)
    }

    /// Output that this process passes on.
    pub(super) fn pumps(&self) -> impl Iterator<Item = &Pump> {
        self.pumps.iter()
    }

    /// Passes on the output that is there.
    pub(super) fn pump(&mut self) {
        self.pumps.retain_mut(Pump::pass_on);
    }

    /// When something is due by time alone, monotonic milliseconds.
    pub(super) fn next_wake_ms(&self, now_ms: u64) -> u64 {
        let mut wake_ms = if self.unsent.is_empty() { now_ms + 60_000 } else { self.tell_from_ms };
        if let Some(deadline) = self.deadline_ms.filter(|_| self.ending.is_none()) {
            wake_ms = wake_ms.min(deadline);
        }
        if let Some(ending) = &self.ending {
            wake_ms = wake_ms.min(ending.next_attempt_ms);
        }
        let watched = self.watch.next_wake_ms().filter(|_| self.ending.is_none());
        for due in watched.into_iter().chain(self.stopping_wake_ms(now_ms)).chain(self.sweeping_wake_ms()) {
            wake_ms = wake_ms.min(due);
        }
        if let Some(failed) = self.write_failed_ms {
            wake_ms = wake_ms.min(failed + WRITE_RETRY_MS);
        }
        if let Some(work) = self.work.as_ref().filter(|_| self.ending.is_none()) {
            let plan = match self.stage {
                TaskState::Active => Some(&work.plan.regular),
                TaskState::Finalizing => Some(&work.plan.finalizing),
                _ => None,
            };
            if let Some(wait) = plan.and_then(|plan| plan.wait_ms(now_ms as i64)) {
                wake_ms = wake_ms.min(now_ms + wait.max(0) as u64);
            }
        }
        if self.measures_disk() {
            let next = if self.disk_scan.is_some() { now_ms + DISK_STEP_PAUSE_MS } else { self.disk_next_ms };
            wake_ms = wake_ms.min(next);
        }
        wake_ms.max(now_ms)
    }

    fn measures_disk(&self) -> bool {
        self.disk_limit_bytes > 0 && self.launch.disk_interval_ms > 0 && self.ending.is_none() && self.work.is_some()
    }

    /// Takes note of ended children: processes of the task, and strays that were passed on to this process. Returns whether one ended in
    /// a way that a lack of memory may explain.
    pub(super) fn on_children(&mut self, now_ms: u64) -> bool {
        let mut suspicious = false;
        while let Look::Ended(exit) = wait::peek_any() {
            suspicious |= exit.return_code == -libc::SIGKILL || exit.return_code == 128 + libc::SIGKILL;
            match self.live.iter().position(|run| run.pid == exit.pid) {
                Some(at) => self.on_exit(at, exit, now_ms),
                None if self.watch.on_exit(&exit, now_ms) => {}
                None if self.on_helper_exit(&exit) => {}
                None => {
                    wait::reap(exit.pid);
                }
            }
        }
        suspicious
    }

    fn on_exit(&mut self, at: usize, exit: Exit, now_ms: u64) {
        let run = self.live.remove(at);
        let state = model::process::ProcessState::of_return_code(exit.return_code);
        let record = ProcessRecord {
            stop_time_ms: Some(wall_ms()),
            return_code: Some(exit.return_code),
            user_time_us: Some(exit.user_time_us),
            system_time_us: Some(exit.system_time_us),
            resident_bytes_max: Some(exit.resident_bytes_max),
            ..self.process_record(run.index, run.run, recorded(state))
        };
        self.writer.push(record);
        self.flush(now_ms);
        // What it left in its group must not outlive it. Until it is let go, its number cannot mean another group.
        wait::signal_group(exit.pid, libc::SIGKILL);
        wait::reap(exit.pid);
        self.pump();
        self.last_return_code = Some(exit.return_code);
        let end = match state {
            model::process::ProcessState::Success => End::Success,
            model::process::ProcessState::Failed => End::Failed,
            _ => End::Killed,
        };
        let what = if exit.return_code >= 0 {
            format!("exited with status {}", exit.return_code)
        } else {
            format!("was ended by signal {}", -exit.return_code)
        };
        self.detail(run.index, run.run, &what);
        self.ended(run.index, end, Some(exit.return_code), what, now_ms);
        if exit.return_code != 0 && self.launch.containers.is_some() {
            self.explain(exit.return_code, run.said.as_ref());
        }
    }

    /// The end of a run, for the plan and for the message about the task's end.
    fn ended(&mut self, index: usize, end: End, return_code: Option<i32>, what: String, now_ms: u64) {
        let Some(work) = &mut self.work else { return };
        work.plan.of(index).ended(index, end, now_ms as i64);
        let process = &work.task.processes[index];
        let failed_for_good = work.plan.regular.failed().any(|failed| failed == index);
        if failed_for_good && self.failure.is_none() && self.stage == TaskState::Active {
            self.failure = Some((process.name.clone(), return_code, what));
        }
    }

    /// Does whatever can be done now. True once the task is over and its checkpoint complete.
    pub(super) fn advance(&mut self, surroundings: &Surroundings, now_ms: u64) -> bool {
        if self.write_failed_ms.is_some_and(|failed| now_ms >= failed + WRITE_RETRY_MS) {
            self.flush(now_ms);
        }
        self.measure_disk(now_ms);
        self.escalate(now_ms);
        self.go_on(surroundings, now_ms);
        self.consult(surroundings, now_ms);
        if self.forced.is_some() && self.stage == TaskState::Active {
            // Someone was against it.
            self.go_on(surroundings, now_ms);
        }
        let over = self.ending.is_some() && self.end(surroundings, now_ms);
        self.flush(now_ms);
        over && self.write_failed_ms.is_none()
    }

    /// Goes through the stages and starts processes as far as it can be done now.
    fn go_on(&mut self, surroundings: &Surroundings, now_ms: u64) {
        if self.preparing.is_some() && !self.is_prepared(surroundings) {
            return;
        }
        while self.ending.is_none() && self.stopping.is_none() {
            let facts = self.facts(now_ms);
            if let Some(next) = self.stage.next(&facts) {
                self.enter(next, surroundings, now_ms);
            } else if !self.start_processes(surroundings, now_ms) {
                break;
            }
        }
    }

    /// Hears whoever watches the task: it is told to run once they say so, and ends when one is against it (spec executor 2.5).
    fn consult(&mut self, surroundings: &Surroundings, now_ms: u64) {
        if self.ending.is_some() || self.stopping.is_some() || self.stage != TaskState::Active {
            return;
        }
        if self.preparing.is_some() {
            return;
        }
        let opinion = if !self.watch.is_empty() {
            self.watch.work(&Tools { surroundings, owner: self.owner.as_ref() }, now_ms)
        } else if self.told_running {
            return;
        } else {
            Some(Opinion::Running(ASSUMED_HEALTHY.to_owned()))
        };
        match opinion {
            Some(Opinion::Running(message)) if !self.told_running => {
                self.told_running = true;
                self.record_status(StatusState::Running, StatusReason::Unspecified, message);
            }
            Some(Opinion::Failed(message)) => self.on_unhealthy(message, now_ms),
            _ => {}
        }
    }

    fn facts(&self, now_ms: u64) -> StageFacts {
        let deadline_reached = self.deadline_ms.is_some_and(|deadline| now_ms >= deadline);
        let any_alive =
            self.stage == TaskState::Cleaning && (!self.live.is_empty() || wait::peek_any() != Look::NoChildren);
        match &self.work {
            Some(work) => StageFacts {
                regular_complete: work.plan.regular.is_complete(),
                regular_healthy: work.plan.is_healthy(),
                final_complete: work.plan.finalizing.is_complete(),
                final_deadlocked: work.plan.finalizing.is_deadlocked(),
                any_alive,
                deadline_reached,
                forced: self.forced,
            },
            // Nothing could be made ready: there is nothing to run and nothing to wait for.
            None => StageFacts {
                final_complete: true,
                any_alive,
                deadline_reached,
                forced: self.forced,
                ..StageFacts::default()
            },
        }
    }

    /// Starts what the plan of the stage says; returns whether something changed.
    fn start_processes(&mut self, surroundings: &Surroundings, now_ms: u64) -> bool {
        let Some(work) = &self.work else { return false };
        let plan = match self.stage {
            TaskState::Active => &work.plan.regular,
            TaskState::Finalizing => &work.plan.finalizing,
            _ => return false,
        };
        let runnable = plan.runnable(now_ms as i64);
        for index in &runnable {
            self.start_process(*index, surroundings, now_ms);
        }
        !runnable.is_empty()
    }

    fn start_process(&mut self, index: usize, surroundings: &Surroundings, now_ms: u64) {
        let run = self.histories[index].runs;
        self.histories[index].runs += 1;
        let fork_time_ms = wall_ms();
        let waiting = self.process_record(index, run, ProcessState::Waiting);
        self.writer.push(waiting);
        let forked =
            ProcessRecord { fork_time_ms: Some(fork_time_ms), ..self.process_record(index, run, ProcessState::Forked) };
        self.writer.push(forked);
        self.flush(now_ms);
        let result = if self.write_failed_ms.is_some() {
            Err("the checkpoint cannot be written; is the disk full?".to_owned())
        } else {
            self.spawn_process(index, run, surroundings)
        };
        let Some(work) = &mut self.work else { return };
        work.plan.of(index).started(index);
        match result {
            Ok((pid, said)) => {
                self.live.push(LiveRun { index, run, pid, said });
                self.detail(index, run, &format_args!("runs, pid {pid}"));
                let record = ProcessRecord {
                    start_time_ms: Some(wall_ms()),
                    pid: Some(pid),
                    start_ticks: Some(boot_ticks()),
                    ..self.process_record(index, run, ProcessState::Running)
                };
                self.writer.push(record);
            }
            Err(reason) => {
                let what = format!("could not be started: {reason}");
                self.detail(index, run, &what);
                let record = ProcessRecord {
                    stop_time_ms: Some(wall_ms()),
                    reason: Some(reason),
                    ..self.process_record(index, run, ProcessState::Failed)
                };
                self.writer.push(record);
                self.ended(index, End::Failed, None, what, now_ms);
            }
        }
    }

    /// The helper that runs a process in a container of its own; `None` where processes run without one.
    fn helper(&mut self, index: usize) -> Result<Option<HelperCall>, String> {
        let Some(work) = self.work.as_ref().filter(|_| self.launch.containers.is_some()) else { return Ok(None) };
        let arguments = self.helper_arguments(&work.task.processes[index].cmdline, has_profile(&work.sandbox))?;
        self.sweeping = Sweeping::Due;
        Ok(Some(HelperCall { arguments, environment: self.helper_environment() }))
    }

    /// Starts a process; its pid and, if a helper runs it, where that leaves its last words.
    fn spawn_process(
        &mut self,
        index: usize,
        run: u32,
        surroundings: &Surroundings,
    ) -> Result<(i32, Option<OwnedFd>), String> {
        let helper = self.helper(index)?;
        let Some(work) = &mut self.work else { return Err("nothing to run".to_owned()) };
        work.look_for_profile(&self.launch)?;
        let process = &work.task.processes[index];
        let logger = process.logger.unwrap_or_else(|| logs::default_logger(self.launch.logger.as_ref()));
        let shares = !self.launch.sandbox.is_empty();
        let outputs = logs::open_outputs(work.sandbox.as_fd(), &process.name, run, logger, self.owner.as_ref(), shares)
            .map_err(|error| format!("opening its logs: {error}"))?;
        let command = CString::new(&*surroundings.shell.line(&process.cmdline, work.has_profile));
        let command = command.map_err(|error| error.to_string())?;
        let [stdout, stderr] = &outputs;
        let is_helped = helper.is_some();
        let mut environment = std::borrow::Cow::Borrowed(&work.environment);
        // In an image the user is changed to by the program that enters it.
        let entering = match (&self.launch.image, helper) {
            (_, Some(helper)) => {
                environment.to_mut().extend(helper.environment);
                helper.arguments
            }
            (Some(image), None) => {
                super::image::command(image, &image.user, &process.cmdline).map_err(|error| error.to_string())?
            }
            (None, None) => Vec::new(),
        };
        // Docker is spoken to with the rights of whoever runs the engine; a project of docker-compose with those of its own user.
        let kind = self.launch.containers.as_ref().map_or(ContainerKind::Unspecified, Containers::kind);
        let as_owner = entering.is_empty() || kind == ContainerKind::Compose;
        let entering: Vec<&CStr> = entering.iter().map(CString::as_c_str).collect();
        let plain = [surroundings.shell.path(), c"-c", command.as_c_str()];
        let arguments = if entering.is_empty() { &plain[..] } else { &entering[..] };
        let request = Spawn {
            program: arguments[0],
            arguments,
            environment: &environment,
            root: self.launch.changes_root.then_some(&*work.sandbox_path),
            directory: if self.launch.changes_root { c"/" } else { &work.sandbox_path },
            stdin: surroundings.null.as_fd(),
            stdout: stdout.child_end.as_fd(),
            stderr: stderr.child_end.as_fd(),
            identity: self.owner.as_ref().filter(|_| as_owner),
            cgroup: surroundings.task_group.as_ref().map(AsFd::as_fd),
            oom_score: if surroundings.oom_protected { b"0" } else { OOM_SCORE_UNPROTECTED },
            open_files_soft: surroundings.open_files_soft,
        };
        let pid = spawn(&request).map_err(|error| error.to_string())?;
        let mut said = None;
        for output in outputs {
            self.pumps.extend(output.pump);
            // The last one is standard error.
            said = is_helped.then_some(output.child_end);
        }
        Ok((pid, said))
    }

    /// For whoever reads the log of this one task.
    fn detail(&self, index: usize, run: u32, what: &dyn std::fmt::Display) {
        detail(|| {
            let process = self.work.as_ref().and_then(|work| work.task.processes.get(index));
            format!("process {}, run {run}: {what}", process.map_or("?", |process| process.name.as_str()))
        });
    }

    fn process_record(&mut self, index: usize, run: u32, state: ProcessState) -> ProcessRecord {
        let name = self.work.as_ref().map_or_else(String::new, |work| work.task.processes[index].name.clone());
        let sequence = self.histories[index].records;
        self.histories[index].records += 1;
        ProcessRecord { sequence, process: name, run, state: state.into(), ..ProcessRecord::default() }
    }

    pub(super) fn record_stage(&mut self, stage: TaskState) {
        self.stage = stage;
        detail(|| format!("the task is {}", stage.name()));
        let state = RecordedTaskState::try_from(stage as i32).unwrap_or(RecordedTaskState::Lost);
        let decider_pid = rustix::process::getpid().as_raw_nonzero().get();
        self.writer.push(TaskRecord { state: state.into(), timestamp_ms: wall_ms(), decider_pid });
    }

    pub(super) fn record_status(&mut self, state: StatusState, reason: StatusReason, message: String) {
        let status = StatusRecord {
            sequence: self.statuses,
            state: state.into(),
            message,
            timestamp_ms: wall_ms(),
            reason: reason.into(),
            return_code: if state.is_terminal() { self.last_return_code } else { None },
        };
        detail(|| format!("status {:?}: {}", status.state(), status.message));
        self.statuses += 1;
        self.writer.push(status.clone());
        self.unsent.push(status);
    }

    /// Writes what was recorded; on a full disk it is tried again later.
    pub(super) fn flush(&mut self, now_ms: u64) {
        match self.writer.commit() {
            Ok(()) => self.write_failed_ms = None,
            Err(error) => {
                if self.write_failed_ms.is_none() {
                    log(&format!("{}: the checkpoint cannot be written: {error}", self.launch.task_id));
                }
                self.write_failed_ms = Some(now_ms);
            }
        }
    }

    fn measure_disk(&mut self, now_ms: u64) {
        if !self.measures_disk() {
            return;
        }
        if self.disk_scan.is_none() && now_ms >= self.disk_next_ms {
            self.disk_scan = self.work.as_ref().and_then(|work| DiskScan::begin(&work.sandbox));
            self.disk_next_ms = now_ms + self.launch.disk_interval_ms;
        }
        let Some(used_bytes) = self.disk_scan.as_mut().and_then(|scan| scan.step(DISK_STEP_ENTRIES)) else { return };
        self.disk_scan = None;
        self.disk_next_ms = now_ms + self.launch.disk_interval_ms;
        // For people who look at the task; without it they see the next figure.
        let _ = disk::hand_over(&RunDirectory::new(&self.launch.run_directory), used_bytes);
        if used_bytes > self.disk_limit_bytes {
            self.on_disk_exceeded(used_bytes);
        }
    }
}

fn recorded(state: model::process::ProcessState) -> ProcessState {
    ProcessState::try_from(state as i32).unwrap_or(ProcessState::Lost)
}

/// The sandbox as the processes see it.
fn sandbox_inside<'a>(launch: &'a Launch, sandbox: &'a CStr) -> &'a [u8] {
    match &launch.image {
        Some(image) => image.sandbox.as_bytes(),
        // With the slash that follows it, the root.
        None if launch.changes_root => b"",
        None => sandbox.to_bytes(),
    }
}

fn has_profile(sandbox: &OwnedFd) -> bool {
    rustix::fs::accessat(sandbox, checkpoint::layout::PROFILE, rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty())
        .is_ok()
}
