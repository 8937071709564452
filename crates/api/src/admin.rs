//! What operators ask for beside changes of jobs: backups and their recovery, snapshots, pruning, forced transitions and
//! reconciliation (spec thrift-api 3.6). What touches the disk runs where waiting is allowed; what changes the state goes through
//! the gateway.

use std::sync::Arc;

use gateway::Gateway;
use model::{TaskId, TaskStatus};
use scheduler::admin::AdminCommand;
use scheduler::restore::LaterTasks;
use scheduler::{Command, ReplyCode, Task, View};
use thrift::convert::instance_to_wire;
use thrift::{
    AssignedTask, Call, ForceTaskStateArguments, ListBackupsResult, PruneTasksArguments, QueryRecoveryResult,
    ResponseCode, ResponseResult, ScheduleStatus, ScheduledTask, Set, TaskEvent, TaskQuery,
    TriggerExplicitTaskReconciliationArguments,
};

use crate::answer::{Answer, MethodResult, Refusal, given};
use crate::change::{self, Asker};
use crate::operations::{Failure, Operations};
use crate::read::query;

/// What the calls of this module work with.
pub struct Desk<'a> {
    /// The door to the scheduler.
    pub gateway: &'a Arc<Gateway>,
    /// Backups and snapshots.
    pub operations: &'a Arc<dyn Operations>,
    /// The scheduler's advertised host name, part of every task event.
    pub scheduler_host: &'a str,
}

/// Answers a call of this module; `None` when it is not one.
pub async fn answer(desk: Desk<'_>, asker: &Asker, call: &Call) -> Option<Answer> {
    let result = match call {
        Call::PerformBackup(_) => desk.perform_backup().await,
        Call::ListBackups(_) => desk.list_backups().await,
        Call::StageRecovery(arguments) => desk.stage(arguments.backup_id.clone()).await,
        Call::QueryRecovery(arguments) => desk.query_recovery(arguments.query.as_ref()).await,
        Call::DeleteRecoveryTasks(arguments) => desk.delete_recovery_tasks(arguments.query.as_ref()).await,
        Call::CommitRecovery(arguments) => desk.commit(asker, arguments.kill_later_tasks).await,
        Call::UnloadRecovery(_) => desk.unload().await,
        Call::Snapshot(_) => desk.snapshot().await,
        Call::ForceTaskState(arguments) => desk.submit(asker, force_task_state(arguments)).await,
        Call::PruneTasks(arguments) => desk.submit(asker, prune(&desk.gateway.view(), arguments)).await,
        Call::TriggerExplicitTaskReconciliation(arguments) => desk.submit(asker, reconcile(arguments)).await,
        Call::TriggerImplicitTaskReconciliation(_) => desk.submit(asker, Ok(AdminCommand::ReconcileImplicitly)).await,
        _ => return None,
    };
    Some(result.unwrap_or_else(Answer::from))
}

fn done() -> MethodResult<Answer> {
    Ok(Answer::of(ResponseCode::Ok, None, Vec::new()))
}

impl Desk<'_> {
    /// Runs what may wait for the disk.
    async fn operate<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Operations) -> Result<T, Failure> + Send + 'static,
    ) -> MethodResult<T> {
        let operations = Arc::clone(self.operations);
        match tokio::task::spawn_blocking(move || work(&*operations)).await {
            Ok(result) => result.map_err(Refusal::error),
            Err(failure) => Err(Refusal::error(format!("The operation ended by a fault of its own: {failure}."))),
        }
    }

    async fn submit(&self, asker: &Asker, command: MethodResult<AdminCommand>) -> MethodResult<Answer> {
        let reply = asker.submit(self.gateway, Command::Admin(command?)).await;
        Ok(change::answer(reply))
    }

    async fn perform_backup(&self) -> MethodResult<Answer> {
        self.operate(|operations| operations.back_up()).await?;
        done()
    }

    async fn list_backups(&self) -> MethodResult<Answer> {
        let backups = self.operate(|operations| operations.backups()).await?;
        Ok(Answer::ok(ResponseResult::ListBackups(ListBackupsResult { backups: Set(backups) })))
    }

    async fn stage(&self, name: Option<String>) -> MethodResult<Answer> {
        let name = given(name, "backupId")?;
        self.operate(move |operations| operations.stage(&name)).await?;
        done()
    }

    async fn query_recovery(&self, query: Option<&TaskQuery>) -> MethodResult<Answer> {
        let query = given(query, "query")?;
        let staged = self.operate(|operations| operations.staged()).await?;
        let tasks = query::select(staged.view(), query);
        let tasks: Vec<ScheduledTask> = tasks.iter().map(|task| scheduled_task(task, self.scheduler_host)).collect();
        Ok(Answer::ok(ResponseResult::QueryRecovery(QueryRecoveryResult { tasks: Set(tasks) })))
    }

    async fn delete_recovery_tasks(&self, query: Option<&TaskQuery>) -> MethodResult<Answer> {
        let query = given(query, "query")?.clone();
        self.operate(move |operations| {
            let staged = operations.staged()?;
            operations.remove_staged(&ids(&query::select(staged.view(), &query)))
        })
        .await?;
        done()
    }

    async fn commit(&self, asker: &Asker, kill_later: Option<bool>) -> MethodResult<Answer> {
        let staged = self.operate(|operations| operations.staged()).await?;
        let later = if kill_later == Some(true) { LaterTasks::Kill } else { LaterTasks::Keep };
        let command = Command::Admin(AdminCommand::Restore { staged, later });
        let reply = asker.submit(self.gateway, command).await;
        if reply.code == ReplyCode::Ok {
            self.forget_staged().await?;
        }
        Ok(change::answer(reply))
    }

    async fn unload(&self) -> MethodResult<Answer> {
        self.forget_staged().await?;
        done()
    }

    async fn forget_staged(&self) -> MethodResult<()> {
        self.operate(|operations| {
            operations.unload();
            Ok(())
        })
        .await
    }

    async fn snapshot(&self) -> MethodResult<Answer> {
        self.operate(|operations| operations.snapshot()).await?;
        done()
    }
}

fn ids(tasks: &[Arc<Task>]) -> Vec<TaskId> {
    tasks.iter().map(|task| task.id.clone()).collect()
}

/// A stored task in the words of the wire.
pub fn scheduled_task(task: &Task, scheduler_host: &str) -> ScheduledTask {
    let event = |event: &scheduler::TaskEvent| TaskEvent {
        timestamp: event.timestamp_ms,
        status: Some(ScheduleStatus::from(event.status)),
        message: event.message.as_deref().map(str::to_owned),
        scheduler: Some(scheduler_host.to_owned()),
    };
    ScheduledTask {
        assigned_task: Some(AssignedTask {
            task_id: task.id.to_string(),
            slave_id: task.agent_id.as_deref().map(str::to_owned),
            slave_host: task.host.as_deref().cloned(),
            task: Some(thrift::TaskConfig::from(&*task.config)),
            assigned_ports: task.ports.iter().map(|(name, port)| (name.clone(), i32::from(*port))).collect(),
            instance_id: instance_to_wire(task.instance),
        }),
        status: Some(ScheduleStatus::from(task.status)),
        failure_count: task.failure_count,
        task_events: task.events.iter().map(event).collect(),
        ancestor_id: task.ancestor.as_ref().map(TaskId::to_string),
        times_partitioned: task.times_partitioned,
    }
}

fn force_task_state(arguments: &ForceTaskStateArguments) -> MethodResult<AdminCommand> {
    let id = arguments.task_id.as_deref().filter(|id| !id.trim().is_empty());
    let id = id.ok_or_else(|| Refusal::error("The task id is missing."))?;
    let status = TaskStatus::from(given(arguments.status, "status")?);
    Ok(AdminCommand::ForceTaskState { task: TaskId(id.into()), status })
}

/// The ended tasks that a query selects, the limit honoured and the offset not (spec scheduler 6.6).
fn prune(view: &View, arguments: &PruneTasksArguments) -> MethodResult<AdminCommand> {
    let query = given(arguments.query.as_ref(), "query")?;
    let active = |status: &thrift::ScheduleStatus| !TaskStatus::from(*status).is_terminal();
    if query.statuses.as_ref().is_some_and(|statuses| statuses.iter().any(active)) {
        return Err(Refusal::error("Only ended tasks can be pruned: leave statuses empty, or name terminal ones."));
    }
    let mut tasks = query::select(view, query);
    tasks.retain(|task| task.status.is_terminal());
    let query = TaskQuery { offset: None, ..query.clone() };
    Ok(AdminCommand::PruneTasks { tasks: ids(&query::page(&query, tasks)) })
}

fn reconcile(arguments: &TriggerExplicitTaskReconciliationArguments) -> MethodResult<AdminCommand> {
    let settings = given(arguments.settings.as_ref(), "settings")?;
    Ok(AdminCommand::ReconcileExplicitly { batch_size: settings.batch_size })
}
