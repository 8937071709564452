//! Commands about jobs: the checks in Aurora's order with Aurora's codes, then the change (spec scheduler 9.4). A refused
//! command changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::key::is_identifier;
use model::{InstanceId, JobConfiguration, JobKey, Resources, TaskConfig, TaskId, TaskStatus};

use crate::admission;
use crate::command::{Command, MaintenanceCommand, Outcome, Reply, ReplyCode};
use crate::idempotency::Idempotency;
use crate::input::Principal;
use crate::scheduler::Scheduler;
use crate::tasks::reschedule::Origin;
use crate::tasks::table::State;
use crate::tasks::transition::TransitionResult;

/// What a command comes to: a reply either way, the error one being a refusal.
pub(crate) type Checked<T> = Result<T, Reply>;

pub(crate) fn refuse<T>(code: ReplyCode, message: impl Into<String>) -> Checked<T> {
    Err(Reply::refused(code, message))
}

pub(crate) fn invalid<T>(message: impl Into<String>) -> Checked<T> {
    refuse(ReplyCode::InvalidRequest, message)
}

impl Scheduler {
    /// Answers a command: as it was answered before, if it was made under the same key, and else by carrying it out.
    pub(crate) fn answer(
        &mut self,
        principal: &Principal,
        command: Command,
        idempotency: Option<Idempotency>,
    ) -> Reply {
        if !self.core.started {
            return Reply::refused(ReplyCode::ErrorTransient, "The scheduler is still reading its journal: ask again.");
        }
        if self.core.deposed {
            return Reply::refused(
                ReplyCode::ErrorTransient,
                "This scheduler is not in charge any more; nothing was changed. Ask its successor.",
            );
        }
        let Some(idempotency) = idempotency else { return self.command(principal, command) };
        if let Some(reply) = self.core.answered_before(principal, &idempotency) {
            return reply;
        }
        let reply = self.command(principal, command);
        self.core.keep_answer(principal, idempotency, &reply);
        reply
    }

    /// Carries out a command.
    fn command(&mut self, principal: &Principal, command: Command) -> Reply {
        if self.core.space_low && grows_state(&command) {
            return Reply::refused(
                ReplyCode::ErrorTransient,
                "The journal is short of room: nothing new is accepted until there is space on its disk. Kills still work.",
            );
        }
        let result = match command {
            Command::CreateJob(job) => self.create_job(*job),
            Command::KillTasks { job, instances, message } => self.kill_tasks(principal, &job, &instances, message),
            Command::RestartTasks { job, instances } => self.restart_tasks(principal, &job, &instances),
            Command::AddInstances { job, template, count } => self.add_instances(&job, template, count),
            Command::StartUpdate { request, message } => self.start_update(principal, *request, message),
            Command::ControlUpdate { key, action, message } => self.control_update(principal, &key, action, message),
            Command::PulseUpdate { key } => self.pulse_update(&key),
            Command::ScheduleCronJob(job) => self.schedule_cron_job(*job, false),
            Command::ReplaceCronTemplate(job) => self.schedule_cron_job(*job, true),
            Command::DescheduleCronJob { job } => self.deschedule_cron_job(&job),
            Command::StartCronJob { job } => self.start_cron_job(principal, &job),
            Command::SetQuota { role, quota } => self.set_quota(&role, quota),
            Command::Maintenance(command) => Ok(self.core.maintenance(command)),
            Command::Admin(command) => self.admin(principal, command),
        };
        result.unwrap_or_else(|refused| refused)
    }

    pub(crate) fn check_key(&self, job: &JobKey) -> Checked<()> {
        admission::check_key(job)
    }

    pub(crate) fn check_not_updating(&self, job: &JobKey) -> Checked<()> {
        admission::check_not_updating(&self.core.store.view, job)
    }

    fn check_not_cron(&self, job: &JobKey, instead: &str) -> Checked<()> {
        admission::check_not_cron(&self.core.store.view, job, instead)
    }

    fn create_job(&mut self, job: JobConfiguration) -> Checked<Reply> {
        let job = admission::check_create(&self.core, job)?;
        let config = self.core.store.intern(job.task);
        self.insert(&config, 0..job.instance_count as InstanceId)?;
        Ok(Reply { outcome: Outcome::Tasks(job.instance_count as u32), ..Reply::ok() })
    }

    fn insert(&mut self, config: &Arc<TaskConfig>, instances: std::ops::Range<InstanceId>) -> Checked<()> {
        for instance in instances {
            if let Err(collision) = self.core.create_task(config, instance, Origin::New) {
                return refuse(ReplyCode::Error, format!("Instance id collision: {collision}."));
            }
        }
        Ok(())
    }

    fn active_ids(&self, job: &JobKey, instances: &BTreeSet<InstanceId>) -> Vec<TaskId> {
        let active = self.core.jobs.get(job).into_iter().flat_map(|index| &index.active);
        let wanted = active.filter(|(instance, _)| instances.is_empty() || instances.contains(instance));
        wanted.map(|(_, active)| active.id.clone()).collect()
    }

    fn kill_tasks(
        &mut self,
        principal: &Principal,
        job: &JobKey,
        instances: &BTreeSet<InstanceId>,
        message: Option<String>,
    ) -> Checked<Reply> {
        self.check_key(job)?;
        self.check_not_updating(job)?;
        let mut text = format!("Killed by {}", principal.name);
        if let Some(message) = message {
            text.push_str(".\n");
            text.push_str(&message);
        }
        let text: Arc<str> = text.into();
        let mut killed = 0;
        for id in self.active_ids(job, instances) {
            let killing = State::Stored(TaskStatus::Killing);
            if self.core.transition(&id, None, killing, Some(text.clone())) == TransitionResult::Success {
                killed += 1;
            }
        }
        let mut reply = Reply { outcome: Outcome::Tasks(killed), ..Reply::ok() };
        if killed == 0 {
            reply.messages.push(format!("No tasks to kill: job {job} has no such active tasks."));
        }
        Ok(reply)
    }

    fn restart_tasks(
        &mut self,
        principal: &Principal,
        job: &JobKey,
        instances: &BTreeSet<InstanceId>,
    ) -> Checked<Reply> {
        self.check_key(job)?;
        if instances.is_empty() {
            return refuse(ReplyCode::Error, "At least one instance must be named.");
        }
        self.check_not_updating(job)?;
        let ids = self.active_ids(job, instances);
        if ids.len() != instances.len() {
            return invalid(format!("Not all of the named instances of {job} are active; none was restarted."));
        }
        let text: Arc<str> = format!("Restarted by {}", principal.name).into();
        let mut restarted = 0;
        for id in ids {
            let restarting = State::Stored(TaskStatus::Restarting);
            if self.core.transition(&id, None, restarting, Some(text.clone())) == TransitionResult::Success {
                restarted += 1;
            }
        }
        Ok(Reply { outcome: Outcome::Tasks(restarted), ..Reply::ok() })
    }

    fn add_instances(&mut self, job: &JobKey, template: InstanceId, count: i32) -> Checked<Reply> {
        self.check_key(job)?;
        if count <= 0 {
            return invalid(format!("The number of instances to add must be positive, not {count}."));
        }
        self.check_not_cron(job, "its instances are part of its configuration, schedule it anew")?;
        self.check_not_updating(job)?;
        let Some(config) = self.core.active_task(job, template).map(|task| task.config.clone()) else {
            return invalid(format!("Instance {template} of {job} is not active, so it cannot be copied."));
        };
        let active = &self.core.jobs[job].active;
        let total = active.len() as i64 + i64::from(count);
        let first = active.keys().next_back().map_or(0, |last| last + 1);
        admission::check_instance_count(&self.core.settings, job, total)?;
        self.core.check_quota(&config, i64::from(count)).or_else(invalid)?;
        let Some(end) = first.checked_add(count as u32) else {
            return invalid(format!("Job {job} has no instance numbers left above {first}."));
        };
        self.insert(&config, first..end)?;
        Ok(Reply { outcome: Outcome::Tasks(count as u32), ..Reply::ok() })
    }

    fn set_quota(&mut self, role: &str, quota: Resources) -> Checked<Reply> {
        if !is_identifier(role) {
            return refuse(
                ReplyCode::Error,
                format!("Role '{role}' is invalid: use letters, digits, '_', '-' and '.'."),
            );
        }
        let quota = Resources { ports: 0, gpus: 0, ..quota };
        if !quota.contains(&Resources::ZERO) {
            return invalid("Quota must not be negative.");
        }
        let used = self.core.production_consumption(role);
        if !quota.contains(&used) {
            return invalid(format!(
                "The quota of {role} cannot be less than what its production tasks hold now: {} cores, {} MB RAM, {} MB disk.",
                used.cpu, used.ram_mb, used.disk_mb
            ));
        }
        self.core.store.put_quota(&role.to_owned(), quota);
        Ok(Reply::ok())
    }
}

/// Whether a command makes the state grow, and is refused while the journal is short of room.
fn grows_state(command: &Command) -> bool {
    use crate::command::UpdateControl::{Abort, Pause};
    match command {
        Command::KillTasks { .. } | Command::PulseUpdate { .. } | Command::DescheduleCronJob { .. } => false,
        Command::Maintenance(command) => !matches!(command, MaintenanceCommand::End { .. }),
        Command::ControlUpdate { action, .. } => !matches!(action, Pause | Abort),
        Command::Admin(command) => command.grows_state(),
        Command::CreateJob(_)
        | Command::RestartTasks { .. }
        | Command::AddInstances { .. }
        | Command::StartUpdate { .. }
        | Command::ScheduleCronJob(_)
        | Command::ReplaceCronTemplate(_)
        | Command::StartCronJob { .. }
        | Command::SetQuota { .. } => true,
    }
}
