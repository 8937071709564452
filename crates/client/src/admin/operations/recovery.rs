//! Snapshots, backups and their recovery.

use thrift::{
    CommitRecoveryArguments, DeleteRecoveryTasksArguments, ListBackupsArguments, PerformBackupArguments,
    QueryRecoveryArguments, ResponseResult, ScheduledTask, Set, SnapshotArguments, StageRecoveryArguments, TaskQuery,
    UnloadRecoveryArguments,
};

use super::arguments::{
    ClusterArguments, CommitArguments, DeleteRecoveryArguments, ShownClusterArguments, StageArguments,
};
use super::respond;
use crate::aurora::{Context, task_json};
use crate::exit::Outcome;
use crate::scheduler::missing_result;

/// `scheduler_snapshot CLUSTER`.
pub fn snapshot(arguments: &ClusterArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    respond(&mut scheduler, SnapshotArguments::default(), context).map(drop)
}

/// `scheduler_backup_now CLUSTER`.
pub fn back_up(arguments: &ClusterArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    respond(&mut scheduler, PerformBackupArguments::default(), context).map(drop)
}

/// `scheduler_list_backups CLUSTER`.
pub fn list(arguments: &ShownClusterArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let reply = respond(&mut scheduler, ListBackupsArguments::default(), context)?;
    let Some(ResponseResult::ListBackups(result)) = reply.result else { return Err(missing_result("listBackups")) };
    let mut backups: Vec<&String> = result.backups.iter().collect();
    backups.sort();
    if context.console.is_json() {
        context.console.out_json(&backups.into_iter().cloned().collect());
        return Ok(());
    }
    context.console.out(format!("{} available backups:", backups.len()));
    backups.iter().for_each(|backup| context.console.out(backup));
    Ok(())
}

/// `scheduler_stage_recovery CLUSTER BACKUP`.
pub fn stage(arguments: &StageArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let call = StageRecoveryArguments { backup_id: Some(arguments.backup_id.clone()) };
    respond(&mut scheduler, call, context).map(drop)
}

/// `scheduler_print_recovery_tasks CLUSTER`: a table in the log.
pub fn print_tasks(arguments: &ShownClusterArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let call = QueryRecoveryArguments { query: Some(TaskQuery::default()) };
    let reply = respond(&mut scheduler, call, context)?;
    let Some(ResponseResult::QueryRecovery(result)) = reply.result else { return Err(missing_result("queryRecovery")) };
    if context.console.is_json() {
        context.console.out_json(&result.tasks.iter().map(task_json).collect());
        return Ok(());
    }
    context.console.info(["Role", "Env", "Job", "Instance", "Status", "Task ID"].join("\t"));
    let mut rows: Vec<[String; 6]> = result.tasks.iter().map(row).collect();
    rows.sort();
    rows.iter().for_each(|row| context.console.info(row.join("\t")));
    Ok(())
}

fn row(task: &ScheduledTask) -> [String; 6] {
    let assigned = task.assigned_task.clone().unwrap_or_default();
    let job = assigned.task.and_then(|config| config.job).unwrap_or_default();
    let status = task.status.map_or("", |status| status.name());
    [job.role, job.environment, job.name, assigned.instance_id.to_string(), status.to_owned(), assigned.task_id]
}

/// `scheduler_delete_recovery_tasks CLUSTER TASK,TASK`.
pub fn delete_tasks(arguments: &DeleteRecoveryArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    let query = TaskQuery { task_ids: Some(Set(arguments.task_ids.clone())), ..TaskQuery::default() };
    respond(&mut scheduler, DeleteRecoveryTasksArguments { query: Some(query) }, context).map(drop)
}

/// `scheduler_commit_recovery CLUSTER`.
pub fn commit(arguments: &CommitArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    // Who does not ask for it sends what every client sends.
    let call = CommitRecoveryArguments { kill_later_tasks: arguments.kill_later_tasks.then_some(true) };
    let reply = respond(&mut scheduler, call, context)?;
    reply.messages.iter().for_each(|message| context.console.out(message));
    Ok(())
}

/// `scheduler_unload_recovery CLUSTER`.
pub fn unload(arguments: &ClusterArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    respond(&mut scheduler, UnloadRecoveryArguments::default(), context).map(drop)
}
