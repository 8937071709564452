//! The commands against a scheduler that is played: what they ask, what they print, how they end.

use thrift::*;

use crate::clusters::Clusters;
use crate::exit::Exit;
use crate::testing::{FakeWorld, Ran, ok, refused, task, with_result};

fn run(world: &FakeWorld, words: &str) -> Ran {
    world.admin(words)
}

fn with_clusters(world: &FakeWorld, words: &str, file: &str) -> Ran {
    let mut clusters = Clusters::default();
    clusters.add_file(std::path::Path::new("clusters.json"), file).unwrap();
    world.admin_with(words, clusters)
}

/// Runs a command against a scheduler that has nothing to say, and gives the one call it made.
fn only_call(words: &str) -> (Call, Ran) {
    let world = FakeWorld::new(|_| Some(ok()));
    let ran = run(&world, words);
    let mut calls = world.calls();
    assert_eq!(calls.len(), 1, "{words}: {calls:?} {ran:?}");
    (calls.remove(0), ran)
}

#[test]
fn quotas_are_set_in_cores_and_whole_megabytes() {
    let (call, ran) = only_call("set_quota c1 www-data 3.5 20g 10240MB");
    let Call::SetQuota(arguments) = call else { panic!("{call:?}") };
    assert_eq!(arguments.owner_role.as_deref(), Some("www-data"));
    let resources = vec![Resource::NumCpus(3.5), Resource::RamMb(20_480), Resource::DiskMb(10_240)];
    assert_eq!(arguments.quota.unwrap().resources, Set(resources));
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, ""));
    assert_eq!(ran.err, " INFO] Response from scheduler: OK (message: )\n");
}

#[test]
fn a_quota_is_increased_by_what_is_given() {
    let world = FakeWorld::new(|call| {
        Some(match call {
            Call::GetQuota(_) => with_result(ResponseResult::GetQuota(GetQuotaResult {
                quota: Some(ResourceAggregate {
                    resources: Set(vec![Resource::NumCpus(1.0), Resource::RamMb(100), Resource::DiskMb(200)]),
                }),
                ..GetQuotaResult::default()
            })),
            _ => ok(),
        })
    });
    let ran = run(&world, "increase_quota c1 www-data 0.5 10m 0m");
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    let Some(Call::SetQuota(arguments)) = world.calls().pop() else { panic!("{:?}", world.calls()) };
    let resources = vec![Resource::NumCpus(1.5), Resource::RamMb(110), Resource::DiskMb(200)];
    assert_eq!(arguments.quota.unwrap().resources, Set(resources));
    assert!(ran.err.contains("Current quota of www-data: CPU 1.0 core(s), RAM 100 MB, disk 200 MB"), "{}", ran.err);
}

#[test]
fn refusals_are_one_line_and_exit_1() {
    let world = FakeWorld::new(|_| Some(refused(ResponseCode::InvalidRequest, "Too little.")));
    for words in ["set_quota c1 r 1 1m 1m", "scheduler_snapshot c1", "scheduler_commit_recovery c1", "prune_tasks c1"] {
        let ran = run(&world, words);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Failed, ""), "{words}");
        assert_eq!(ran.err, " INFO] Response from scheduler: INVALID_REQUEST (message: Too little.)\n", "{words}");
    }
    let unknown = run(&world, "get_scheduler nowhere");
    assert_eq!(unknown.exit, Exit::Failed);
    assert!(unknown.err.starts_with("FATAL] Unknown cluster: nowhere"), "{}", unknown.err);
    let usage = run(&world, "set_quota c1 r");
    assert!(usage.exit == Exit::Failed && usage.err.contains("sage:"), "{usage:?}");
    assert!(run(&world, "set_quota c1 r 1 1 1").exit == Exit::Failed);
}

#[test]
fn tasks_are_pruned_by_what_is_named() {
    let (call, ran) = only_call("prune_tasks c1 --states=lost,FAILED --role r --env prod --limit 7");
    let Call::PruneTasks(PruneTasksArguments { query: Some(query) }) = call else { panic!("{call:?}") };
    let expected = TaskQuery {
        role: Some("r".into()),
        environment: Some("prod".into()),
        limit: Some(7),
        statuses: Some(Set(vec![ScheduleStatus::Lost, ScheduleStatus::Failed])),
        ..TaskQuery::default()
    };
    assert_eq!((query, ran.out.as_str(), ran.exit), (expected, "Tasks pruned.\n", Exit::Ok));
    let ran = run(&FakeWorld::new(|_| Some(ok())), "prune_tasks c1 --states=GONE");
    assert!(ran.exit == Exit::Failed && ran.err.contains("Unknown state 'GONE'"), "{ran:?}");
}

#[test]
fn reconciliation_is_explicit_unless_asked_otherwise() {
    let explicit = |batch_size| {
        let settings = Some(ExplicitReconciliationSettings { batch_size });
        Call::from(TriggerExplicitTaskReconciliationArguments { settings })
    };
    assert_eq!(only_call("reconcile_tasks c1").0, explicit(None));
    assert_eq!(only_call("reconcile_tasks c1 -t explicit -b 32").0, explicit(Some(32)));
    assert_eq!(only_call("reconcile_tasks c1 --type explicit --batch_size=-3").0, explicit(Some(-3)));
    let implicit = Call::from(TriggerImplicitTaskReconciliationArguments::default());
    assert_eq!(only_call("reconcile_tasks --type implicit c1").0, implicit);
}

#[test]
fn clusters_are_shown_as_json_and_as_variables() {
    let world = FakeWorld::new(|_| Some(ok()));
    assert_eq!(run(&world, "get_scheduler c1").out, "Found leading scheduler at: http://scheduler.example:8081\n");
    let file = r#"[{"name": "f", "scheduler_uri": "http://h:1", "slave_root": "/var/lib/it's here", "zk_port": 2181}]"#;
    let ran = with_clusters(&world, "get_cluster_config f", file);
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["slave_root"], "/var/lib/it's here");
    let ran = with_clusters(&world, "get_cluster_config f --sh", file);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(
        lines.contains(&"AURORA_CLUSTER_SCHEDULER_URI=http://h:1") && lines.contains(&"AURORA_CLUSTER_ZK_PORT=2181")
    );
    assert!(lines.contains(&r"AURORA_CLUSTER_SLAVE_ROOT='/var/lib/it'\''s here'"), "{}", ran.out);
    let ran = with_clusters(&world, "get_cluster_config --export f", file);
    assert!(ran.out.lines().all(|line| line.starts_with("export AURORA_CLUSTER_")), "{}", ran.out);
}

#[test]
fn backups_are_listed_staged_thinned_out_and_committed() {
    let names = || Set(vec!["scheduler-backup-2".to_owned(), "scheduler-backup-1".to_owned()]);
    let world = FakeWorld::new(move |call| {
        Some(match call {
            Call::ListBackups(_) => with_result(ResponseResult::ListBackups(ListBackupsResult { backups: names() })),
            Call::QueryRecovery(_) => with_result(ResponseResult::QueryRecovery(QueryRecoveryResult {
                tasks: Set(vec![
                    task(1, "task-1", &[(1, ScheduleStatus::Running, None)]),
                    task(0, "task-0", &[(1, ScheduleStatus::Lost, None)]),
                ]),
            })),
            Call::CommitRecovery(_) => {
                Response { details: vec![ResponseDetail { message: Some("2 tasks still run.".into()) }], ..ok() }
            }
            _ => ok(),
        })
    });
    assert_eq!(
        run(&world, "scheduler_list_backups c1").out,
        "2 available backups:\nscheduler-backup-1\nscheduler-backup-2\n"
    );
    for words in [
        "scheduler_backup_now c1",
        "scheduler_snapshot c1",
        "scheduler_stage_recovery c1 scheduler-backup-2",
        "scheduler_delete_recovery_tasks c1 task-1,task-2",
        "scheduler_unload_recovery c1",
    ] {
        let ran = run(&world, words);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, ""), "{words}: {}", ran.err);
    }
    let printed = run(&world, "scheduler_print_recovery_tasks c1");
    let lines: Vec<&str> = printed.err.lines().collect();
    assert_eq!(lines[1], " INFO] Role\tEnv\tJob\tInstance\tStatus\tTask ID");
    assert!(lines[2].ends_with("\t0\tLOST\ttask-0") && lines[3].ends_with("\t1\tRUNNING\ttask-1"), "{lines:?}");
    let committed = run(&world, "scheduler_commit_recovery c1");
    assert_eq!((committed.exit, committed.out.as_str()), (Exit::Ok, "2 tasks still run.\n"));
    run(&world, "scheduler_commit_recovery c1 --kill-later-tasks");
    let commits: Vec<Option<bool>> = world
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            Call::CommitRecovery(arguments) => Some(arguments.kill_later_tasks),
            _ => None,
        })
        .collect();
    assert_eq!(commits, [None, Some(true)]);
    let deleted = world.calls().into_iter().find_map(|call| match call {
        Call::DeleteRecoveryTasks(arguments) => arguments.query,
        _ => None,
    });
    assert_eq!(deleted.unwrap().task_ids, Some(Set(vec!["task-1".to_owned(), "task-2".to_owned()])));
}

#[test]
fn tasks_are_listed_in_the_users_form_and_much_needs_force() {
    let world = FakeWorld::new(|call| {
        Some(match call {
            Call::GetTasksStatus(_) | Call::GetTasksWithoutConfigs(_) => {
                with_result(ResponseResult::ScheduleStatus(ScheduleStatusResult {
                    tasks: vec![
                        task(1, "t1", &[(1, ScheduleStatus::Running, None)]),
                        task(0, "t0", &[(1, ScheduleStatus::Running, None)]),
                    ],
                }))
            }
            _ => ok(),
        })
    });
    let ran = run(&world, "query c1 www hello");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    assert!(lines[0].ends_with("/0 RUNNING") && lines[1].ends_with("/1 RUNNING"), "{lines:?}");
    assert_eq!(run(&world, "query c1 www hello -l %taskId%").out, "t0\nt1\n");
    for much in ["query c1", "query c1 www", "query c1 www hello --states=LOST"] {
        let ran = run(&world, much);
        assert!(ran.exit == Exit::Failed && ran.err.contains("--force"), "{much}: {ran:?}");
        assert_eq!(run(&world, &format!("{much} --force")).exit, Exit::Ok, "{much}");
    }
    assert_eq!(run(&world, "query c1 www hello -l %nonsense%").exit, Exit::Failed);
    run(&world, "query c1 www hello --shards 0,3");
    let Some(Call::GetTasksWithoutConfigs(arguments)) = world.calls().pop() else {
        panic!("{:?}", world.calls().pop())
    };
    assert_eq!(arguments.query.unwrap().instance_ids, Some(Set(vec![0, 3])));
}
