//! What operators ask for beside quotas: forced transitions, pruning, reconciliation at once, and the restoration of a backup
//! (spec scheduler 6.3, 6.5, 6.6; spec thrift-api 3.6). Restoring itself is in [`crate::restore`].

use std::sync::Arc;

use model::{TaskId, TaskStatus};

use crate::command::{Outcome, Reply, ReplyCode};
use crate::commands::{Checked, invalid, refuse};
use crate::input::Principal;
use crate::restore::{LaterTasks, Staged};
use crate::scheduler::Scheduler;
use crate::tasks::table::State;
use crate::tasks::transition::TransitionResult;

/// A change only an operator may ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum AdminCommand {
    /// forceTaskState: asks the transition table for a status, with the operator's name in the event.
    ForceTaskState {
        /// Which.
        task: TaskId,
        /// Where to.
        status: TaskStatus,
    },
    /// pruneTasks: forgets ended tasks. Those that are not stored any more are passed over; one that has not ended makes
    /// the whole command fail.
    PruneTasks {
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// triggerExplicitTaskReconciliation: every placed task is asked about, from now on.
    ReconcileExplicitly {
        /// Tasks per request instead of the operator's setting; positive.
        batch_size: Option<i32>,
    },
    /// triggerImplicitTaskReconciliation: the engine tells of every task it knows.
    ReconcileImplicitly,
    /// commitRecovery: the state becomes that of a backup, in one step.
    Restore {
        /// What was staged.
        staged: Staged,
        /// What becomes of tasks that were created after the backup was made.
        later: LaterTasks,
    },
}

impl AdminCommand {
    /// How many tasks it touches; at least 1.
    pub(crate) fn work(&self) -> usize {
        match self {
            Self::PruneTasks { tasks } => tasks.len().max(1),
            Self::Restore { staged, .. } => staged.view().tasks.len().max(1),
            Self::ForceTaskState { .. } | Self::ReconcileExplicitly { .. } | Self::ReconcileImplicitly => 1,
        }
    }

    /// Whether it makes the state grow, and is refused while the journal is short of room.
    pub(crate) fn grows_state(&self) -> bool {
        matches!(self, Self::Restore { .. })
    }
}

impl Scheduler {
    /// Carries out an operator's command.
    pub(crate) fn admin(&mut self, principal: &Principal, command: AdminCommand) -> Checked<Reply> {
        match command {
            AdminCommand::ForceTaskState { task, status } => Ok(self.force_task_state(principal, &task, status)),
            AdminCommand::PruneTasks { tasks } => self.prune_tasks(&tasks),
            AdminCommand::ReconcileExplicitly { batch_size } => self.reconcile_explicitly_now(batch_size),
            AdminCommand::ReconcileImplicitly => Ok(self.reconcile_implicitly_now()),
            AdminCommand::Restore { staged, later } => self.restore(principal, &staged, later),
        }
    }

    /// Answered OK in any case, as Aurora does; what was refused says so.
    fn force_task_state(&mut self, principal: &Principal, id: &TaskId, status: TaskStatus) -> Reply {
        let unchanged = |why: String| Reply { messages: vec![why], ..Reply::ok() };
        let Some(from) = self.core.store.view.tasks.get(id).map(|task| task.status) else {
            return unchanged(format!("Task {id} is not known; nothing was changed."));
        };
        // Being assigned means being somewhere, and only placement knows where.
        if !from.is_assigned() && status.is_assigned() {
            return unchanged(format!("Task {id} is {from} and has no agent, so it cannot be {status}."));
        }
        let message: Arc<str> = format!("Transition forced by {}", principal.name).into();
        match self.core.transition(id, Some(from), State::Stored(status), Some(message)) {
            TransitionResult::Success => Reply { outcome: Outcome::Tasks(1), ..Reply::ok() },
            TransitionResult::Noop => unchanged(format!("Task {id} is {from} already.")),
            TransitionResult::IllegalWithSideEffects => {
                unchanged(format!("A task may not go from {from} to {status}; {id} was told to end."))
            }
            TransitionResult::Illegal | TransitionResult::InvalidCasState => {
                unchanged(format!("A task may not go from {from} to {status}; {id} was not changed."))
            }
        }
    }

    fn prune_tasks(&mut self, ids: &[TaskId]) -> Checked<Reply> {
        let stored = |id: &TaskId| self.core.store.view.tasks.get(id).cloned();
        if let Some(task) = ids.iter().filter_map(stored).find(|task| !task.status.is_terminal()) {
            let (id, status) = (&task.id, task.status);
            return refuse(ReplyCode::Error, format!("Task {id} is {status}: only ended tasks can be pruned."));
        }
        let mut pruned = 0;
        for id in ids {
            let Some(task) = self.core.store.view.tasks.get(id).cloned() else { continue };
            self.core.delete(id, None);
            self.core.count("tasks_pruned", 1);
            self.core.arm_prune(&task.config.job);
            pruned += 1;
        }
        Ok(Reply { outcome: Outcome::Tasks(pruned), ..Reply::ok() })
    }

    fn reconcile_explicitly_now(&mut self, batch_size: Option<i32>) -> Checked<Reply> {
        let size = match batch_size.map(|size| usize::try_from(size).unwrap_or(0)) {
            Some(0) => return invalid("The batch size must be greater than zero."),
            size => size,
        };
        if let Some(unconnected) = self.unconnected() {
            return Ok(unconnected);
        }
        self.core.begin_reconciliation_in_batches(size);
        Ok(Reply::ok())
    }

    fn reconcile_implicitly_now(&mut self) -> Reply {
        if let Some(unconnected) = self.unconnected() {
            return unconnected;
        }
        self.core.reconcile_implicitly();
        Reply::ok()
    }

    fn unconnected(&self) -> Option<Reply> {
        let sentence = "No engine is connected: everything is asked about as soon as one is.";
        (!self.core.store.view.registered).then(|| Reply { messages: vec![sentence.to_owned()], ..Reply::ok() })
    }
}
