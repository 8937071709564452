//! Backups in a run: operators make them and restore them into whatever has become of the state, and a judge says what must be left of
//! either. It knows the promises by name, not by the program: what runs in both is adopted, what came later is kept or killed as was
//! asked, what was wanted then is there again, and who the scheduler is stays as it was.

use std::sync::Arc;

use engine::Call;
use model::{JobKey, TaskId, TaskStatus};
use scheduler::admin::AdminCommand;
use scheduler::command::{Command, ReplyCode};
use scheduler::restore::{LaterTasks, Staged, Staging};
use scheduler::{Effect, Input, Scheduler, Task, View};

use super::chance::Chance;
use super::oracle::Seen;

// ---- operators ----

/// What operators have put aside.
#[derive(Default)]
pub(super) struct Backups {
    latest: Option<Staged>,
}

impl Backups {
    /// Now and then a backup is made, and now and then the latest one is to be restored.
    pub fn next_command(&mut self, view: &Arc<View>, chance: &mut Chance) -> Option<Command> {
        match chance.below(1000) {
            0..=29 => {
                let mut staging = Staging::default();
                let taken = Scheduler::records(view).try_for_each(|record| staging.apply(&record));
                // A state that cannot be backed up is told by what a crash leaves of it.
                self.latest = taken.ok().and_then(|()| staging.finish().ok());
                None
            }
            30..=44 => {
                let staged = self.latest.clone()?;
                // A backup that somebody has thinned out beforehand is another one.
                let gone: Vec<TaskId> = if chance.per_mille(300) {
                    staged.view().tasks.keys().filter(|_| chance.per_mille(200)).cloned().collect()
                } else {
                    Vec::new()
                };
                let later = if chance.per_mille(600) { LaterTasks::Keep } else { LaterTasks::Kill };
                Some(Command::Admin(AdminCommand::Restore { staged: staged.without(&gone), later }))
            }
            _ => None,
        }
    }
}

// ---- the judge ----

/// A backup that has just become the state.
pub(super) struct Restored<'a> {
    pub staged: &'a View,
    pub later: LaterTasks,
}

/// What was restored in a step; `None` when nothing was.
pub(super) fn restored<'a>(seen: &Seen<'a>) -> Option<Restored<'a>> {
    let Input::Command { request, command: Command::Admin(AdminCommand::Restore { staged, later }), .. } = seen.input
    else {
        return None;
    };
    let done = |effect: &Effect| matches!(effect, Effect::Reply { request: other, reply } if other == request && reply.code == ReplyCode::Ok);
    let restored = Restored { staged: staged.view(), later: *later };
    seen.effects.iter().any(done).then_some(restored)
}

impl Restored<'_> {
    /// Whether others than the operator may have changed tasks of a job in the very step: updates and cron jobs of the backup go on.
    pub fn is_disturbed(&self, job: &JobKey, seen: &Seen<'_>) -> bool {
        let by = |view: &View| view.active_update(job).is_some() || view.cron_jobs.contains_key(job);
        by(self.staged) || by(seen.after)
    }

    /// What must not be.
    pub fn judge(&self, seen: &Seen<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        for task in seen.before.tasks.values().filter(|task| task.status.is_active()) {
            if !self.is_disturbed(&task.config.job, seen) {
                wrong.extend(self.judge_task(task, seen));
            }
        }
        for task in self.staged.tasks.values().filter(|task| task.status.is_active() && task.config.is_service) {
            let (job, instance) = (&task.config.job, task.instance);
            let there = seen.after.tasks_of(job).any(|task| task.status.is_active() && task.instance == instance);
            if !there && task.status != TaskStatus::Killing && !self.is_disturbed(job, seen) {
                wrong.push(format!(
                    "{} was {} in the backup, and instance {instance} of {job} is not active",
                    task.id, task.status
                ));
            }
        }
        // What had come to its end stays so.
        for task in self.staged.tasks.values().filter(|task| task.status.is_terminal()) {
            let now = seen.after.tasks.get(&task.id).map(|task| task.status);
            // Too old or one of too many, it may be forgotten at once.
            if now.is_some_and(|now| now != task.status) {
                wrong.push(format!("{} was {} in the backup, and is {now:?}", task.id, task.status));
            }
        }
        let who = |view: &View| (view.framework_id.clone(), view.master.clone(), view.epoch, view.registered);
        if who(seen.before) != who(seen.after) {
            wrong.push("a restored backup changed who the scheduler is".to_owned());
        }
        if self.staged.quotas != seen.after.quotas {
            wrong.push("quotas are not those of the backup".to_owned());
        }
        if !self.staged.cron_jobs.keys().eq(seen.after.cron_jobs.keys()) {
            wrong.push("cron jobs are not those of the backup".to_owned());
        }
        if !self.staged.updates.keys().eq(seen.after.updates.keys()) {
            wrong.push("updates are not those of the backup".to_owned());
        }
        wrong
    }

    /// One that was active until now.
    fn judge_task(&self, task: &Task, seen: &Seen<'_>) -> Option<String> {
        let id = &task.id;
        let now = seen.after.tasks.get(id).map(|task| task.status);
        let goes_on = now.is_some_and(TaskStatus::is_active);
        let is_killed = seen
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Engine(Call::Kill { task_id, .. }) if task_id == id));
        let is_dying = task.status == TaskStatus::Killing;
        let then = self.staged.tasks.get(id);
        let wrong = match then {
            // Its time out of reach is measured anew, by the wall clock.
            _ if task.status == TaskStatus::Partitioned => None,
            Some(then) if then.status.is_active() && !is_dying => match (goes_on, is_killed) {
                (false, _) => Some("is not adopted"),
                (_, true) => Some("is killed"),
                _ => None,
            },
            Some(_) => None,
            None if self.later == LaterTasks::Keep && !is_dying && (!goes_on || is_killed) => {
                Some("came later and is not kept")
            }
            None if self.later == LaterTasks::Kill && now.is_some() => Some("came later and is not forgotten"),
            None if self.later == LaterTasks::Kill && is_killed != task.status.is_assigned() => {
                Some("came later, and whether it is killed and whether it runs are two things")
            }
            None => None,
        };
        wrong.map(|wrong| {
            format!(
                "{id}, which was {}, {wrong}: {now:?}, in the backup {:?}",
                task.status,
                then.map(|then| then.status)
            )
        })
    }
}
