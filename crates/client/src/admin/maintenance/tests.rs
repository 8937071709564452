//! The maintenance verbs of `aurora_admin` against a world that is played. What a daemon makes of them is tested with the daemon.

use std::io::Write;

use model::JobKey;
use thrift::{
    Call, DrainHostsResult, EndMaintenanceResult, HostStatus, MaintenanceMode, MaintenanceStatusResult, Response,
    ResponseCode, ResponseResult, ScheduleStatus, ScheduledTask, Set, SlaPolicy, StartMaintenanceResult,
};

use crate::exit::Exit;
use crate::testing::{FakeWorld, NOW_MS, ok, refused, task_of, with_result, with_tasks};

fn statuses(modes: &[(&str, MaintenanceMode)]) -> Set<HostStatus> {
    Set(modes.iter().map(|(host, mode)| HostStatus { host: (*host).into(), mode: Some(*mode) }).collect())
}

fn status_of(modes: &[(&str, MaintenanceMode)]) -> Response {
    with_result(ResponseResult::MaintenanceStatus(MaintenanceStatusResult { statuses: statuses(modes) }))
}

/// A task that has been RUNNING on a host for so many seconds.
fn running(job: &JobKey, instance: i32, host: &str, seconds: i64) -> ScheduledTask {
    let since_ms = NOW_MS - seconds * 1000;
    let mut task = task_of(job, instance, &format!("t-{instance}"), &[(since_ms, ScheduleStatus::Running, None)]);
    if let Some(assigned) = &mut task.assigned_task {
        assigned.slave_host = Some(host.into());
        if let Some(config) = &mut assigned.task {
            config.production = Some(true);
        }
    }
    task
}

/// Twenty instances on ten hosts, two on each; those on h9 are young.
fn twenty() -> Vec<ScheduledTask> {
    let job = JobKey::new("www-data", "prod", "web");
    (0..20).map(|i| running(&job, i, &format!("h{}", i / 2), if i >= 18 { 600 } else { 9000 })).collect()
}

#[test]
fn the_status_of_hosts_is_in_the_sixth_field_of_the_last_line() {
    let world = FakeWorld::new(|_| Some(status_of(&[("10.0.0.7", MaintenanceMode::Draining)])));
    let ran = world.admin("host_status --hosts=10.0.0.7,nobody c1");
    let expected = " INFO] Response from scheduler: OK (message: )\n WARN] The scheduler does not know host nobody\n \
                    INFO] 10.0.0.7 is in state: DRAINING\n";
    ran.expect(Exit::Ok, "", expected);
    assert_eq!(ran.err.lines().last().unwrap().split_whitespace().nth(5), Some("DRAINING"));
    assert_eq!(world.admin("-q host_status --hosts 10.0.0.7 c1").err, " INFO] 10.0.0.7 is in state: DRAINING\n");
}

#[test]
fn hosts_come_from_the_command_line_or_a_file_and_from_one_of_them() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"# rack 7\n a \n\nb\na\n").unwrap();
    let world = FakeWorld::new(|_| {
        let statuses = statuses(&[("a", MaintenanceMode::Scheduled), ("b", MaintenanceMode::Scheduled)]);
        Some(with_result(ResponseResult::StartMaintenance(StartMaintenanceResult { statuses })))
    });
    let ran = world.admin(&format!("host_deactivate c1 --filename {}", file.path().display()));
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let Call::StartMaintenance(arguments) = &world.calls()[0] else { panic!("{:?}", world.calls()) };
    assert_eq!(arguments.hosts.as_ref().unwrap().host_names.0, ["a", "b"]);
    for (words, expected) in [
        ("host_deactivate c1", "--hosts"),
        ("host_deactivate c1 --hosts a --filename f", "cannot be used with"),
        ("host_deactivate c1 --hosts ,", "No hosts are named"),
        ("host_deactivate c1 --filename /nowhere", "/nowhere cannot be read"),
        ("host_deactivate --hosts a", "<CLUSTER>"),
        ("host_deactivate c9 --hosts a", "Unknown cluster: c9"),
    ] {
        let ran = world.admin(words);
        assert_eq!(ran.exit, Exit::Failed, "{words}");
        assert!(ran.err.contains(expected), "{words}: {}", ran.err);
    }
    assert_eq!(world.calls().len(), 1, "nothing was asked for");
}

#[test]
fn a_refusal_is_logged_and_ends_the_command() {
    let world = FakeWorld::new(|_| Some(refused(ResponseCode::Error, "no such thing")));
    let ran = world.admin("host_deactivate --hosts a c1");
    ran.expect(Exit::Failed, "", " INFO] Response from scheduler: ERROR (message: no such thing)\n");
}

#[test]
fn activation_warns_of_hosts_that_were_still_being_drained() {
    let world = FakeWorld::new(|call| match call {
        Call::EndMaintenance(_) => {
            let statuses = statuses(&[("a", MaintenanceMode::None)]);
            Some(with_result(ResponseResult::EndMaintenance(EndMaintenanceResult { statuses })))
        }
        _ => Some(status_of(&[("a", MaintenanceMode::Draining)])),
    });
    let ran = world.admin("host_activate --hosts a c1");
    assert!(ran.exit == Exit::Ok && ran.err.contains("WARN] a was still being drained"), "{}", ran.err);
    assert_eq!(world.changes(), ["maintenanceStatus", "endMaintenance"]);
}

#[test]
fn an_sla_drain_carries_its_defaults() {
    let world = FakeWorld::new(|_| {
        let statuses = statuses(&[("a", MaintenanceMode::Draining)]);
        Some(with_result(ResponseResult::DrainHosts(DrainHostsResult { statuses })))
    });
    assert_eq!(world.admin("sla_host_drain --hosts=a c1").exit, Exit::Ok);
    let words = "sla_host_drain --hosts=a --default_percentage=50 --default_duration=0s --force_drain_timeout=0s c1";
    assert_eq!(world.admin(words).exit, Exit::Ok);
    let asked: Vec<(f64, i64, i64)> = world
        .calls()
        .into_iter()
        .map(|call| match call {
            Call::SlaDrainHosts(arguments) => match arguments.default_sla_policy {
                Some(SlaPolicy::Percentage(policy)) => {
                    (policy.percentage, policy.duration_secs, arguments.timeout_secs)
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [(95.0, 1800, 604_800), (50.0, 0, 0)]);
    assert_eq!(world.admin("sla_host_drain --hosts=a --default_percentage=0 c1").exit, Exit::Failed);
}

#[test]
fn a_drain_leaves_out_unsafe_hosts_waits_for_the_others_and_runs_the_script() {
    let polls = std::cell::Cell::new(0);
    let world = FakeWorld::new(move |call| match call {
        Call::GetTasksWithoutConfigs(_) => Some(with_tasks(twenty())),
        Call::MaintenanceStatus(_) => {
            polls.set(polls.get() + 1);
            let mode = if polls.get() < 3 { MaintenanceMode::Draining } else { MaintenanceMode::Drained };
            Some(status_of(&[("h1", mode)]))
        }
        _ => Some(ok()),
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let words = format!("host_drain --hosts h1,h9 c1 --unsafe_hosts_file {}", file.path().display());
    let ran = world.admin(&words);
    assert_eq!(ran.out, "None\nh1\nh9\n", "two of twenty are more than 5 %");
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "h1\nh9\n");
    assert_eq!(world.changes(), ["startMaintenance"]);
    let words = "host_drain --hosts h1 c1 --override_percentage 80 --override_duration 10m --override_reason test \
                 --post_drain_script /bin/after";
    let ran = world.admin(words);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "80\n"), "{}", ran.err);
    assert_eq!(world.ran(), ["/bin/after h1"]);
    assert!(world.changes().contains(&"drainHosts"));
    assert_eq!(world.admin("host_drain --hosts h1 c1 --override_percentage 80").exit, Exit::Failed);
}

#[test]
fn hosts_that_are_not_drained_in_time_are_named() {
    let world = FakeWorld::new(|call| match call {
        Call::GetTasksWithoutConfigs(_) => Some(with_tasks(Vec::new())),
        Call::MaintenanceStatus(_) => Some(status_of(&[("a", MaintenanceMode::Draining)])),
        _ => Some(ok()),
    });
    let ran = world.admin("host_drain --hosts a c1 --grouping none --post_drain_script /bin/after");
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "None\na\n"));
    assert!(ran.err.contains("not drained in time: a"), "{}", ran.err);
    assert!(world.ran().is_empty());
}

#[test]
fn probing_says_what_would_be_left_and_when_it_would_be_enough() {
    let world = FakeWorld::new(|_| Some(with_tasks(twenty())));
    let ran = world.admin("sla_probe_hosts --hosts h0,h9 c1 90 15m");
    let expected = "h0\tc1/www-data/prod/web\t80.00\tFalse\t300\nh9\tc1/www-data/prod/web\t90.00\tTrue\t0\n";
    ran.expect(Exit::Ok, expected, "");
    let ran = world.admin("sla_probe_hosts --hosts h0,h1,h2 c1 90 15m --grouping none");
    assert!(ran.out.lines().all(|line| line.ends_with("\t60.00\tFalse\tn/a")), "{}", ran.out);
    assert_eq!(ran.out.lines().count(), 3);
    assert_eq!(world.admin("sla_probe_hosts --hosts h0 c1 90 15m --min_job_instance_count 21").out, "");
    assert_eq!(world.admin("sla_probe_hosts --hosts h0 c1 101 15m").exit, Exit::Failed);
}

#[test]
fn the_safe_domain_is_the_hosts_that_nobody_would_miss() {
    let world = FakeWorld::new(|_| Some(with_tasks(twenty())));
    assert_eq!(world.admin("sla_list_safe_domain c1 90 15m").out, "h9\n", "the young ones do not count anyway");
    let all = world.admin("sla_list_safe_domain c1 90 5m");
    assert_eq!(all.out.lines().count(), 10);
    let ran = world.admin("sla_list_safe_domain c1 90 5m -x h0,h1,h2,h3,h4,h5,h6 -i h0,h7,h8 -l");
    let line = |host: &str| format!("{host}\tc1/www-data/prod/web\t90.00\t300\n");
    assert_eq!(ran.out, line("h7") + &line("h8"));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "c1/www-data/prod/web 95 1m").unwrap();
    let ran = world.admin(&format!("sla_list_safe_domain c1 90 5m -o {}", file.path().display()));
    ran.expect(Exit::Ok, "", "");
    writeln!(file, "c2/www-data/prod/web 95 1m").unwrap();
    let ran = world.admin(&format!("sla_list_safe_domain c1 90 5m -o {}", file.path().display()));
    assert!(ran.exit == Exit::Failed && ran.err.contains("not of cluster c1"), "{}", ran.err);
}

#[test]
fn without_a_command_there_is_help() {
    let world = FakeWorld::new(|_| None);
    let ran = world.admin("");
    assert!(
        ran.exit == Exit::Ok && ran.out.contains("sla_host_drain") && ran.out.contains("host_status"),
        "{}",
        ran.out
    );
    assert_eq!(world.admin("help host_status").exit, Exit::Ok);
    assert_eq!(world.admin("no_such_command").exit, Exit::Failed);
}
