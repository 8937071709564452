//! What the benchmarks share: the measure of time, a clock that stands still, and inputs.

#![allow(dead_code, reason = "each benchmark uses its own part")]

use std::time::Duration;

use engine::{Event, StatusUpdate, TaskState};
use model::{CronCollisionPolicy, JobConfiguration, TaskConfig, TaskId};
use scheduler::{Command, Input, Now, Principal, RequestId, Scheduler, Settings};

/// Processor time of this thread: other programs on the machine do not count.
pub struct Spent(Duration);

impl Spent {
    pub fn so_far() -> Self {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts the time of threads");
        let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
        Self(Duration::from_nanos(nanoseconds.expect("the first number is the time on a processor")))
    }

    pub fn elapsed(&self) -> Duration {
        Self::so_far().0 - self.0
    }
}

/// Nothing is forgotten, and jobs may be as large as they like.
pub fn boundless() -> Settings {
    let mut settings = Settings { history_max_per_job_threshold: usize::MAX, ..Settings::default() };
    settings.admission.max_tasks_per_job = i32::MAX;
    settings
}

pub fn now() -> Now {
    Now { wall_ms: 1_600_000_000_000, monotonic_ms: 1 }
}

/// One input and the rest of its work. Records and effects are dropped: the journal's memory is not the scheduler's.
pub fn step(scheduler: &mut Scheduler, input: Input) {
    let mut next = Some(input);
    while let Some(input) = next.take() {
        next = scheduler.step(now(), input).more.then_some(Input::Resume);
    }
}

pub fn command(scheduler: &mut Scheduler, command: Command) {
    step(scheduler, Input::command(RequestId(0), Principal::unsecure(), command));
}

pub fn status(scheduler: &mut Scheduler, id: &TaskId, state: TaskState) {
    let status = StatusUpdate {
        task_id: id.clone(),
        state,
        reason: None,
        message: None,
        timestamp_ms: None,
        agent_id: None,
        token: None,
    };
    step(scheduler, Input::Engine(Event::Status(status)));
}

/// The command that creates a job of so many instances.
pub fn creation(task: TaskConfig, instance_count: usize) -> Command {
    Command::CreateJob(Box::new(JobConfiguration {
        key: task.job.clone(),
        owner: None,
        cron_schedule: None,
        cron_collision_policy: CronCollisionPolicy::default(),
        task,
        instance_count: instance_count as i32,
    }))
}

/// A scheduler that has started and is connected.
pub fn started(settings: Settings, seed: u8) -> Scheduler {
    let mut scheduler = Scheduler::new(settings);
    step(&mut scheduler, Input::Start { seed: [seed; 32], epoch: 1 });
    step(&mut scheduler, Input::Engine(Event::Registered { framework_id: None, master: None }));
    scheduler
}
