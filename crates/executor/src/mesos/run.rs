//! The executor's loop: what the agent wants, what the supervisor says, and when to end (spec executor 2.3, mesos 3.10).

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use checkpoint::layout::RunDirectory;
use checkpoint::protocol::{FromSlotBody, Kill, Launch};
use checkpoint::record::{StatusRecord, StatusState};
use checkpoint::replay::RunState;
use mesos::v1::executor::Event;
use mesos::v1::executor::call::Update;
use mesos::v1::executor::event::Type;
use mesos::v1::task_status::Source;
use mesos::v1::{AgentId, ExecutorId, KillPolicy, TaskId, TaskInfo, TaskState, TaskStatus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::agent::{Agent, FromAgent};
use super::assignment::{Assignment, assignment, grace_of, milliseconds, prepare_directory};
use super::image::Image;
use super::options::{Environment, Options};
use crate::child::Child;
use crate::launcher::log;
use crate::log::{detail, to_file};
use crate::mirror::Mirror;
use crate::system::signals::{SignalSource, restore_default_effects};
use crate::system::{is_root, monotonic_ms, wait, wall_ms};

/// How long a task may be awaited after the start, milliseconds (spec executor 2.3).
const NO_TASK_MS_MAX: u64 = 10_000;
/// How long a connected agent may take to store the last update, milliseconds.
const LAST_UPDATE_MS_MAX: u64 = 300_000;
/// What a shutdown leaves for telling the agent of the end, milliseconds.
const TELLING_MS: u64 = 1_000;
/// Pause between looks for a checkpoint that can be followed, milliseconds.
const MIRROR_MS: u64 = 1_000;

/// The executor's own log, in its sandbox, under the name that people and programs know it by.
const LOG: &str = "__main__.log";

const KILLED: &str = "Instructed to kill task.";
const SHUT_DOWN: &str = "Told to shut down executor.";

/// The task of this executor.
struct Running {
    task_id: String,
    run_directory: PathBuf,
    grace_ms: u64,
    /// Number of the next status that the agent is to be told.
    next_sequence: u32,
    over: bool,
    mirror: Mirror,
}

struct Executor {
    options: Options,
    environment: Environment,
    variables: Vec<String>,
    agent: Agent,
    child: Child,
    task: Option<Running>,
    /// When the executor ends because no task came, or because nobody stores its last update.
    deadline_ms: Option<u64>,
    /// Told to end.
    ended: bool,
    /// Nobody can store an update any more.
    abandoned: bool,
}

/// Runs the executor until its task is over and the agent has stored that.
pub(super) fn run(options: Options, environment: Environment) -> io::Result<()> {
    restore_default_effects();
    if environment.token.is_some() {
        // Nobody but this process and root may read the token, which is in its memory; and no child inherits it.
        crate::system::hide_variable(c"MESOS_EXECUTOR_AUTHENTICATION_TOKEN");
    }
    to_file(options.log_directory.as_ref().unwrap_or(&environment.sandbox).join(LOG), false);
    let signals = SignalSource::open()?;
    wait::become_subreaper()?;
    let child = Child::start(is_root())?;
    log(&format!(
        "{} for executor {} of framework {}",
        super::VERSION,
        environment.executor_id,
        environment.framework_id
    ));
    if !options.without_effect.is_empty() {
        log(&format!("without effect here: {}", options.without_effect.join(" ")));
    }
    let variables = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    let mut executor = Executor {
        agent: Agent::connect(environment.clone())?,
        options,
        environment,
        variables,
        child,
        task: None,
        deadline_ms: None,
        ended: false,
        abandoned: false,
    };
    executor.serve(&signals)
}

/// A UUID of version 4, as its 16 bytes: made from the keys that the library takes from the kernel's generator, on old kernels too.
/// Agents refuse bytes that name no version.
pub(super) fn random_uuid() -> [u8; 16] {
    let half = |part: u8| RandomState::new().hash_one((part, wall_ms(), std::process::id())).to_ne_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&half(0));
    bytes[8..].copy_from_slice(&half(1));
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

impl Executor {
    fn serve(&mut self, signals: &SignalSource) -> io::Result<()> {
        while !self.is_done() {
            self.wait(signals)?;
            let told_to_end = signals.drain();
            self.hear_supervisor();
            if self.child.on_children() {
                self.on_supervisor_end();
            }
            for what in self.agent.receive() {
                self.on_agent(what);
            }
            if told_to_end {
                self.shut_down();
            }
            if let Some(task) = &mut self.task {
                task.mirror.follow();
            }
        }
        Ok(())
    }

    fn is_done(&mut self) -> bool {
        let now_ms = monotonic_ms();
        let over = self.task.as_ref().is_some_and(|task| task.over);
        let settled = self.agent.book().is_settled();
        if self.ended && self.task.is_none() {
            return true;
        }
        if over && self.abandoned {
            log("the task is over and there is nobody to be told; the end");
            return true;
        }
        if over && settled {
            log("the last update is stored; the end");
            return true;
        }
        if self.deadline_ms.is_some_and(|deadline| now_ms >= deadline) {
            log(if self.task.is_some() {
                "the agent does not store the last update; the end"
            } else {
                "no task came; the end"
            });
            return true;
        }
        false
    }

    fn wait(&self, signals: &SignalSource) -> io::Result<()> {
        let now_ms = monotonic_ms();
        let mut until_ms = now_ms + 60_000;
        let changes = self.task.as_ref().filter(|task| !task.over).map(|task| task.mirror.changes());
        if changes.is_some_and(|changes| changes.is_none()) {
            until_ms = now_ms + MIRROR_MS;
        }
        until_ms = until_ms.min(self.deadline_ms.unwrap_or(u64::MAX));
        let sending = if self.child.wants_to_send() { PollFlags::OUT } else { PollFlags::empty() };
        let mut polled = vec![
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.agent.as_fd(), PollFlags::IN),
        ];
        if !self.child.is_dead() {
            polled.push(PollFd::from_borrowed_fd(self.child.as_fd(), PollFlags::IN | sending));
        }
        polled.extend(changes.flatten().map(|changes| PollFd::from_borrowed_fd(changes, PollFlags::IN)));
        let timeout = Timespec::try_from(Duration::from_millis(until_ms.saturating_sub(now_ms)))
            .expect("at most a minute is a valid time-out");
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn on_agent(&mut self, what: FromAgent) {
        match what {
            FromAgent::Event(event) => self.on_event(*event),
            FromAgent::Disconnected => {}
            FromAgent::GaveUp(why) => {
                log(&format!("{why}: the task is killed"));
                self.abandon();
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event.r#type.and_then(|number| Type::try_from(number).ok()) {
            Some(Type::Subscribed) => {
                log("subscribed");
                if self.task.is_none() && self.deadline_ms.is_none() {
                    self.deadline_ms = Some(monotonic_ms() + NO_TASK_MS_MAX);
                }
            }
            Some(Type::Launch) => {
                if let Some(launch) = event.launch {
                    self.launch(launch.task);
                }
            }
            Some(Type::LaunchGroup) => {
                for task in event.launch_group.map(|group| group.task_group.tasks).unwrap_or_default() {
                    self.launch(task);
                }
            }
            Some(Type::Kill) => {
                if let Some(kill) = event.kill {
                    self.kill(&kill.task_id.value, kill.kill_policy.as_ref());
                }
            }
            Some(Type::Acknowledged) => {
                if let Some(stored) = event.acknowledged {
                    detail(|| "the agent has stored an update".to_owned());
                    self.agent.book().acknowledge(&stored.task_id.value, &stored.uuid);
                }
            }
            Some(Type::Shutdown) => self.shut_down(),
            Some(Type::Error) => {
                let message = event.error.map(|error| error.message).unwrap_or_default();
                log(&format!("the agent says: {message}"));
                self.abandon();
            }
            Some(Type::Message) => log("a message from the scheduler is ignored"),
            Some(Type::Heartbeat | Type::Unknown) | None => {}
        }
    }

    fn launch(&mut self, info: TaskInfo) {
        let task_id = info.task_id.value.clone();
        if self.task.as_ref().is_some_and(|running| running.task_id == task_id) {
            // Said twice; a name is started once.
            return;
        }
        self.agent.book().add_task(info.clone());
        if let Some(running) = &self.task {
            let message = format!("Task already running on this executor: {}", running.task_id);
            log(&format!("{task_id} is refused: {message}"));
            return self.update(&task_id, TaskState::Lost, &message, wall_ms());
        }
        self.deadline_ms = None;
        let mut running = Running {
            mirror: Mirror::of_run(&self.environment.directory, &task_id),
            task_id: task_id.clone(),
            run_directory: self.environment.directory.clone(),
            grace_ms: 0,
            next_sequence: 0,
            over: false,
        };
        let read = assignment(&info, &self.options, self.variables.clone());
        let understood = read.as_ref().err().is_none_or(|error| error != super::assignment::NOT_UNDERSTOOD);
        let prepared = read.and_then(|assignment| self.prepare(assignment, &info, &mut running));
        self.task = Some(running);
        match prepared {
            Ok(launch) => {
                log(&format!("{task_id} is started in {}", launch.run_directory));
                self.child.launch(launch);
            }
            Err(message) => {
                if understood {
                    self.update(&task_id, TaskState::Starting, "", wall_ms());
                }
                self.end(TaskState::Failed, &message);
            }
        }
    }

    fn prepare(&self, assignment: Assignment, info: &TaskInfo, running: &mut Running) -> Result<Launch, String> {
        let Assignment { mut launch, grace_ms, in_docker, in_image } = assignment;
        let Environment { directory, sandbox, .. } = &self.environment;
        running.grace_ms = grace_ms;
        running.run_directory = prepare_directory(directory, sandbox, in_docker, &launch.role)?;
        running.mirror = Mirror::of_run(&running.run_directory, &running.task_id);
        launch.run_directory = running.run_directory.to_string_lossy().into_owned();
        if in_image {
            let image = Image::new(&self.options, directory, info.executor.as_ref())?;
            let failed = |error: String| format!("Failed to initialize sandbox: {error}");
            // The supervisor makes it the user's.
            let sandbox = RunDirectory::new(directory).sandbox();
            std::fs::create_dir(&sandbox).map_err(|error| failed(format!("{}: {error}", sandbox.display())))?;
            launch.image = Some(image.prepare(&sandbox, &launch.role).map_err(failed)?);
        }
        Ok(launch)
    }

    fn kill(&mut self, task_id: &str, policy: Option<&KillPolicy>) {
        match &self.task {
            Some(task) if task.task_id == task_id => {
                let grace_ms = grace_of(policy).unwrap_or(task.grace_ms);
                log(&format!("{task_id} is killed"));
                self.kill_within(grace_ms, 0, KILLED);
            }
            _ => log(&format!("{task_id} is not here and cannot be killed")),
        }
    }

    fn kill_within(&mut self, grace_ms: u64, stop_ms_max: u64, message: &str) {
        if let Some(task) = self.task.as_ref().filter(|task| !task.over) {
            let task_id = task.task_id.clone();
            self.child.kill(Kill { task_id, grace_ms, message: message.to_owned(), stop_ms_max });
        }
    }

    /// The agent, or whoever signals this process, wants the executor to end. The agent destroys the container after the grace period.
    fn shut_down(&mut self) {
        log("told to shut down");
        self.ended = true;
        let grace_ms = self.task.as_ref().map_or(0, |task| task.grace_ms);
        let bound_ms = milliseconds(self.environment.shutdown_grace).saturating_sub(TELLING_MS).max(1);
        self.kill_within(grace_ms.min(bound_ms), bound_ms, SHUT_DOWN);
        self.bound_end();
    }

    /// There is no agent any more: the task is killed at once and the executor ends.
    fn abandon(&mut self) {
        self.ended = true;
        self.abandoned = true;
        self.kill_within(0, 0, SHUT_DOWN);
        self.deadline_ms = Some(monotonic_ms() + if self.is_alive() { 2 * TELLING_MS } else { 0 });
    }

    fn is_alive(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.over)
    }

    fn hear_supervisor(&mut self) {
        for told in self.child.receive() {
            match told {
                FromSlotBody::Status(status) => {
                    for record in status.statuses {
                        self.forward(&record);
                    }
                }
                FromSlotBody::LaunchRefused(refused) => {
                    if let Some(task_id) = self.task.as_ref().map(|task| task.task_id.clone()) {
                        self.update(&task_id, TaskState::Starting, "", wall_ms());
                    }
                    self.end(TaskState::Failed, &format!("Failed to initialize sandbox: {}", refused.reason));
                }
                FromSlotBody::Idle(_) | FromSlotBody::Retiring(_) => {}
            }
        }
    }

    /// Tells the agent of a status that was recorded, unless it was told before.
    fn forward(&mut self, record: &StatusRecord) {
        let Some(task) = self.task.as_mut().filter(|task| !task.over && record.sequence >= task.next_sequence) else {
            return;
        };
        task.next_sequence = record.sequence + 1;
        let task_id = task.task_id.clone();
        let state = match record.state() {
            StatusState::Starting => TaskState::Starting,
            StatusState::Running => TaskState::Running,
            StatusState::Finished => TaskState::Finished,
            StatusState::Failed => TaskState::Failed,
            StatusState::Killed => TaskState::Killed,
            StatusState::Lost => TaskState::Lost,
        };
        self.update(&task_id, state, &record.message, record.timestamp_ms);
        if state.is_terminal() {
            self.over();
        }
    }

    fn on_supervisor_end(&mut self) {
        // What it has said before its death.
        self.hear_supervisor();
        let Some(task) = self.task.as_ref().filter(|task| !task.over) else { return };
        log("the supervisor ended unexpectedly");
        let run_directory = task.run_directory.to_string_lossy().into_owned();
        self.child.clean_up(&run_directory);
        let path = RunDirectory::new(&run_directory).checkpoint();
        for record in RunState::load(&path).map(|state| state.statuses).unwrap_or_default() {
            self.forward(&record);
        }
        self.end(TaskState::Lost, "Task lost: the task's supervisor ended unexpectedly.");
    }

    /// The task ends without a record that says so.
    fn end(&mut self, state: TaskState, message: &str) {
        let Some(task) = self.task.as_ref().filter(|task| !task.over) else { return };
        let task_id = task.task_id.clone();
        log(&format!("{task_id}: {message}"));
        self.update(&task_id, state, message, wall_ms());
        self.over();
    }

    fn over(&mut self) {
        if let Some(task) = &mut self.task {
            task.over = true;
            task.mirror.follow();
        }
        self.bound_end();
    }

    /// From here on the end comes in a bounded time, whatever the agent does. An agent that restarts has as long as it may be away.
    fn bound_end(&mut self) {
        let patience_ms = LAST_UPDATE_MS_MAX.max(milliseconds(self.environment.recovery_timeout));
        let deadline_ms = monotonic_ms() + patience_ms;
        self.deadline_ms = Some(self.deadline_ms.map_or(deadline_ms, |known| known.min(deadline_ms)));
    }

    fn update(&self, task_id: &str, state: TaskState, message: &str, timestamp_ms: i64) {
        detail(|| format!("update for the agent: {state:?} {message}"));
        let status = TaskStatus {
            task_id: TaskId { value: task_id.to_owned() },
            state: state as i32,
            message: (!message.is_empty()).then(|| message.to_owned()),
            agent_id: self.environment.agent_id.clone().map(|value| AgentId { value }),
            timestamp: Some(timestamp_ms as f64 / 1000.0),
            executor_id: Some(ExecutorId { value: self.environment.executor_id.clone() }),
            source: Some(Source::Executor as i32),
            uuid: Some(random_uuid().to_vec().into()),
            ..TaskStatus::default()
        };
        self.agent.update(Update { status });
    }
}
