//! Commands about quotas, tasks, backups and the cluster itself (spec client-cli 4).

mod amount;
pub mod arguments;
mod cluster;
mod query;
mod quota;
mod recovery;
#[cfg(test)]
mod tests;

use model::TaskStatus;
use thrift::{
    ExplicitReconciliationSettings, PruneTasksArguments, ScheduleStatus, Set, TaskQuery,
    TriggerExplicitTaskReconciliationArguments, TriggerImplicitTaskReconciliationArguments,
};

use super::call::call as respond;
use crate::aurora::Context;
use crate::exit::{Exit, Failure, Outcome};
use arguments::{OperationVerb, PruneArguments, ReconcileArguments, ReconciliationType};

pub use cluster::quoted;

/// Runs a command.
pub fn run(verb: OperationVerb, context: &mut Context<'_>) -> Outcome {
    match verb {
        OperationVerb::Query(arguments) => query::query(&arguments, context),
        OperationVerb::SetQuota(arguments) => quota::set(&arguments, context),
        OperationVerb::IncreaseQuota(arguments) => quota::increase(&arguments, context),
        OperationVerb::PruneTasks(arguments) => prune_tasks(&arguments, context),
        OperationVerb::ReconcileTasks(arguments) => reconcile_tasks(&arguments, context),
        OperationVerb::GetScheduler(arguments) => cluster::scheduler(&arguments, context),
        OperationVerb::GetClusterConfig(arguments) => cluster::configuration(&arguments, context),
        OperationVerb::SchedulerSnapshot(arguments) => recovery::snapshot(&arguments, context),
        OperationVerb::SchedulerBackupNow(arguments) => recovery::back_up(&arguments, context),
        OperationVerb::SchedulerListBackups(arguments) => recovery::list(&arguments, context),
        OperationVerb::SchedulerStageRecovery(arguments) => recovery::stage(&arguments, context),
        OperationVerb::SchedulerPrintRecoveryTasks(arguments) => recovery::print_tasks(&arguments, context),
        OperationVerb::SchedulerDeleteRecoveryTasks(arguments) => recovery::delete_tasks(&arguments, context),
        OperationVerb::SchedulerCommitRecovery(arguments) => recovery::commit(&arguments, context),
        OperationVerb::SchedulerUnloadRecovery(arguments) => recovery::unload(&arguments, context),
    }
}

/// Statuses by their names, in either case.
fn statuses(names: &[String]) -> Outcome<Set<ScheduleStatus>> {
    let status = |name: &String| {
        TaskStatus::from_name(&name.trim().to_ascii_uppercase()).map(ScheduleStatus::from).ok_or_else(|| {
            let known: Vec<&str> = TaskStatus::ALL.iter().map(|status| status.name()).collect();
            Failure::new(Exit::Failed, format!("Unknown state '{name}'. Known: {}", known.join(", ")))
        })
    };
    Ok(Set(names.iter().map(status).collect::<Outcome<_>>()?))
}

fn prune_tasks(arguments: &PruneArguments, context: &mut Context<'_>) -> Outcome {
    let query = TaskQuery {
        role: arguments.role.clone(),
        environment: arguments.environment.clone(),
        limit: arguments.limit,
        statuses: arguments.states.as_deref().map(statuses).transpose()?,
        ..TaskQuery::default()
    };
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    respond(&mut scheduler, PruneTasksArguments { query: Some(query) }, context)?;
    context.console.out("Tasks pruned.");
    Ok(())
}

fn reconcile_tasks(arguments: &ReconcileArguments, context: &mut Context<'_>) -> Outcome {
    let mut scheduler = context.scheduler(&arguments.cluster)?;
    match arguments.kind {
        ReconciliationType::Explicit => {
            let settings = Some(ExplicitReconciliationSettings { batch_size: arguments.batch_size });
            respond(&mut scheduler, TriggerExplicitTaskReconciliationArguments { settings }, context)?;
        }
        ReconciliationType::Implicit => {
            respond(&mut scheduler, TriggerImplicitTaskReconciliationArguments::default(), context)?;
        }
    }
    Ok(())
}
