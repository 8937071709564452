//! What operators ask for: what becomes a command, what is asked of the disk, and what every wrong argument is answered with.

use std::sync::{Arc, Mutex};

use model::{TaskId, TaskStatus};
use scheduler::admin::AdminCommand;
use scheduler::command::Outcome;
use scheduler::restore::{LaterTasks, Staged, Staging};
use scheduler::{Command, Reply, ReplyCode, Scheduler, View};
use thrift::*;

use super::*;
use crate::operations::{Failure, Operations};
use crate::samples::{sample_task, view_of};

fn tasks() -> View {
    let mut view = view_of([
        sample_task("a/prod/x", 0, TaskStatus::Running, Some("h1")),
        sample_task("a/prod/x", 1, TaskStatus::Failed, Some("h2")),
        sample_task("a/prod/y", 0, TaskStatus::Finished, Some("h2")),
        sample_task("b/prod/z", 0, TaskStatus::Lost, None),
    ]);
    // What is staged is read back from records, which know configurations by number.
    let configs: Vec<_> = view.tasks.values().map(|task| task.config.clone()).collect();
    view.configs = configs.into_iter().zip(1u64..).map(|(config, number)| (number, config)).collect();
    view
}

fn staged() -> Staged {
    let mut staging = Staging::default();
    Scheduler::records(&tasks()).for_each(|record| staging.apply(&record).unwrap());
    staging.finish().unwrap()
}

/// A disk that is played.
#[derive(Default)]
struct Played {
    staged: Mutex<Option<Staged>>,
    log: Mutex<Vec<String>>,
}

impl Played {
    fn log(&self, line: impl Into<String>) {
        self.log.lock().unwrap().push(line.into());
    }
}

impl Operations for Played {
    fn back_up(&self) -> Result<String, Failure> {
        self.log("back up");
        Ok("scheduler-backup-2026-01-02-03-04".into())
    }

    fn backups(&self) -> Result<Vec<String>, Failure> {
        Ok(vec!["scheduler-backup-2026-01-02-03-04".into()])
    }

    fn stage(&self, name: &str) -> Result<(), Failure> {
        self.log(format!("stage {name}"));
        *self.staged.lock().unwrap() = Some(staged());
        Ok(())
    }

    fn staged(&self) -> Result<Staged, Failure> {
        self.staged.lock().unwrap().clone().ok_or_else(|| "Nothing is staged.".into())
    }

    fn remove_staged(&self, tasks: &[TaskId]) -> Result<(), Failure> {
        let thinner = self.staged()?.without(tasks);
        *self.staged.lock().unwrap() = Some(thinner);
        Ok(())
    }

    fn unload(&self) {
        self.log("unload");
        *self.staged.lock().unwrap() = None;
    }

    fn snapshot(&self) -> Result<(), Failure> {
        self.log("snapshot");
        Err("The disk is full.".into())
    }
}

fn house(reply: Reply) -> (House, Arc<Played>) {
    let played = Arc::new(Played::default());
    (House::with_operations(tasks(), reply, played.clone()), played)
}

fn admin_commands(house: &House) -> Vec<AdminCommand> {
    let only = |command| match command {
        Command::Admin(command) => command,
        other => panic!("{other:?}"),
    };
    house.commands().into_iter().map(only).collect()
}

fn code(response: &Response) -> ResponseCode {
    response.response_code.unwrap()
}

fn statuses(statuses: &[ScheduleStatus]) -> Option<Set<ScheduleStatus>> {
    Some(Set(statuses.to_vec()))
}

#[tokio::test]
async fn backups_are_made_and_listed() {
    let (house, played) = house(Reply::ok());
    let made = house.call(PerformBackupArguments::default()).await;
    assert_eq!((code(&made), &made.result, made.details.len()), (ResponseCode::Ok, &None, 0));
    assert_eq!(*played.log.lock().unwrap(), ["back up"]);
    let listed = house.call(ListBackupsArguments::default()).await;
    let backups = Set(vec!["scheduler-backup-2026-01-02-03-04".to_owned()]);
    assert_eq!(listed.result, Some(ResponseResult::ListBackups(ListBackupsResult { backups })));
    let failed = house.call(SnapshotArguments::default()).await;
    assert_eq!((code(&failed), messages(&failed)), (ResponseCode::Error, vec!["The disk is full."]));
}

#[tokio::test]
async fn a_recovery_is_staged_asked_thinned_out_and_committed() {
    let (house, played) = house(Reply { messages: vec!["3 tasks.".into()], ..Reply::ok() });
    let all = || Some(TaskQuery::default());
    for call in [
        Call::from(QueryRecoveryArguments { query: all() }),
        Call::from(DeleteRecoveryTasksArguments { query: all() }),
        Call::from(CommitRecoveryArguments::default()),
    ] {
        let refused = house.call(call).await;
        assert_eq!((code(&refused), messages(&refused)), (ResponseCode::Error, vec!["Nothing is staged."]));
    }
    assert_eq!(code(&house.call(UnloadRecoveryArguments::default()).await), ResponseCode::Ok);
    let backup_id = Some("scheduler-backup-2026-01-02-03-04".to_owned());
    assert_eq!(code(&house.call(StageRecoveryArguments { backup_id }).await), ResponseCode::Ok);
    let ids = |response: &Response| -> Vec<String> {
        let Some(ResponseResult::QueryRecovery(result)) = &response.result else { panic!("{response:?}") };
        result.tasks.iter().map(|task| task.assigned_task.as_ref().unwrap().task_id.clone()).collect()
    };
    let found = house.call(QueryRecoveryArguments { query: all() }).await;
    assert_eq!(ids(&found).len(), 4);
    let of_a = TaskQuery { role: Some("a".into()), ..TaskQuery::default() };
    let deleted = house.call(DeleteRecoveryTasksArguments { query: Some(of_a) }).await;
    assert_eq!((code(&deleted), deleted.details.len()), (ResponseCode::Ok, 0));
    let left = house.call(QueryRecoveryArguments { query: all() }).await;
    assert_eq!(ids(&left).len(), 1);
    let Some(ResponseResult::QueryRecovery(result)) = left.result else { panic!("checked") };
    assert_eq!(result.tasks[0].status, Some(ScheduleStatus::Lost));

    let committed = house.call(CommitRecoveryArguments { kill_later_tasks: Some(true) }).await;
    assert_eq!((code(&committed), messages(&committed)), (ResponseCode::Ok, vec!["3 tasks."]));
    let commands = admin_commands(&house);
    let [AdminCommand::Restore { staged, later: LaterTasks::Kill }] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(staged.view().tasks.len(), 1);
    assert_eq!(played.log.lock().unwrap().last().unwrap(), "unload");
    assert_eq!(code(&house.call(CommitRecoveryArguments::default()).await), ResponseCode::Error);
}

#[tokio::test]
async fn a_refused_commit_leaves_the_backup_staged_and_later_tasks_are_kept_unless_asked() {
    let (house, played) = house(Reply::refused(ReplyCode::ErrorTransient, "Not now."));
    house.call(StageRecoveryArguments { backup_id: Some("scheduler-backup-1".into()) }).await;
    for kill_later_tasks in [None, Some(false)] {
        let refused = house.call(CommitRecoveryArguments { kill_later_tasks }).await;
        assert_eq!(code(&refused), ResponseCode::ErrorTransient);
    }
    assert!(played.staged().is_ok());
    let kept = |command: &AdminCommand| matches!(command, AdminCommand::Restore { later: LaterTasks::Keep, .. });
    assert!(admin_commands(&house).iter().all(kept));
}

#[tokio::test]
async fn pruning_names_ended_tasks_only_and_heeds_the_limit_but_no_offset() {
    let pruned = |query: TaskQuery| async {
        let (house, _) = house(Reply { outcome: Outcome::Tasks(1), ..Reply::ok() });
        let response = house.call(PruneTasksArguments { query: Some(query) }).await;
        assert_eq!((code(&response), response.result), (ResponseCode::Ok, None));
        match admin_commands(&house).remove(0) {
            AdminCommand::PruneTasks { tasks } => tasks.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pruned(TaskQuery::default()).await, 3);
    assert_eq!(pruned(TaskQuery { role: Some("a".into()), ..TaskQuery::default() }).await, 2);
    assert_eq!(pruned(TaskQuery { limit: Some(1), offset: Some(3), ..TaskQuery::default() }).await, 1);
    let lost = TaskQuery { statuses: statuses(&[ScheduleStatus::Lost]), ..TaskQuery::default() };
    assert_eq!(pruned(lost).await, 1);
    let (house, _) = house(Reply::ok());
    for status in [ScheduleStatus::Running, ScheduleStatus::Pending, ScheduleStatus::Init] {
        let query = TaskQuery { statuses: statuses(&[ScheduleStatus::Lost, status]), ..TaskQuery::default() };
        let refused = house.call(PruneTasksArguments { query: Some(query) }).await;
        assert_eq!((code(&refused), refused.details.len()), (ResponseCode::Error, 1));
    }
    assert_eq!(house.commands(), []);
}

#[tokio::test]
async fn transitions_and_reconciliations_become_commands() {
    let (house, _) = house(Reply::ok());
    let force = |task_id: &str| ForceTaskStateArguments {
        task_id: Some(task_id.to_owned()),
        status: Some(ScheduleStatus::Lost),
    };
    assert_eq!(code(&house.call(force("t")).await), ResponseCode::Ok);
    let explicit = |settings| TriggerExplicitTaskReconciliationArguments { settings };
    let batches = |batch_size| explicit(Some(ExplicitReconciliationSettings { batch_size }));
    assert_eq!(code(&house.call(batches(Some(32))).await), ResponseCode::Ok);
    assert_eq!(code(&house.call(batches(None)).await), ResponseCode::Ok);
    assert_eq!(code(&house.call(TriggerImplicitTaskReconciliationArguments::default()).await), ResponseCode::Ok);
    assert_eq!(
        admin_commands(&house),
        [
            AdminCommand::ForceTaskState { task: TaskId("t".into()), status: TaskStatus::Lost },
            AdminCommand::ReconcileExplicitly { batch_size: Some(32) },
            AdminCommand::ReconcileExplicitly { batch_size: None },
            AdminCommand::ReconcileImplicitly,
        ]
    );
    for missing in [
        Call::from(force(" ")),
        Call::from(ForceTaskStateArguments { task_id: None, status: Some(ScheduleStatus::Lost) }),
        Call::from(ForceTaskStateArguments { task_id: Some("t".into()), status: None }),
        Call::from(explicit(None)),
        Call::from(PruneTasksArguments { query: None }),
        Call::from(StageRecoveryArguments { backup_id: None }),
        Call::from(QueryRecoveryArguments { query: None }),
        Call::from(DeleteRecoveryTasksArguments { query: None }),
    ] {
        let refused = house.call(missing).await;
        assert_eq!((code(&refused), refused.details.len()), (ResponseCode::Error, 1));
    }
    assert_eq!(house.commands().len(), 4);
}

#[tokio::test]
async fn without_a_disk_every_operation_says_so() {
    let house = House::new(tasks(), Reply::ok());
    for call in [
        Call::from(PerformBackupArguments::default()),
        Call::from(ListBackupsArguments::default()),
        Call::from(SnapshotArguments::default()),
        Call::from(StageRecoveryArguments { backup_id: Some("../../etc/passwd".into()) }),
    ] {
        let refused = house.call(call).await;
        assert_eq!(code(&refused), ResponseCode::Error);
        assert!(messages(&refused)[0].contains("disk"));
    }
}
