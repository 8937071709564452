//! `quota get`, `task run|ssh|scp`, `job diff` against a world that is played.

use std::collections::BTreeMap;

use thrift::*;

use crate::clusters::Clusters;
use crate::exit::Exit;
use crate::scheduler::Page;
use crate::testing::{FakeWorld, hello_key, refused, task_of, with_result, with_tasks};

#[test]
fn quotas_are_shown_as_text_and_as_json() {
    let aggregate = |cores| {
        let resources = vec![Resource::NumCpus(cores), Resource::RamMb(20_480), Resource::DiskMb(40_960)];
        Some(ResourceAggregate { resources: Set(resources) })
    };
    let world = FakeWorld::new(move |call| match call {
        Call::GetQuota(arguments) if arguments.owner_role.as_deref() == Some("www-data") => {
            Some(with_result(ResponseResult::GetQuota(GetQuotaResult {
                quota: aggregate(5.0),
                prod_shared_consumption: aggregate(0.25),
                ..GetQuotaResult::default()
            })))
        }
        _ => Some(refused(ResponseCode::Error, "No.")),
    });
    let ran = world.aurora("quota get c1/www-data");
    let expected = "Allocated:\n  CPU: 5.0 core(s)\n  RAM: 20480 MB\n  Disk: 40960 MB\n\
                    Production shared pool resources consumed:\n  CPU: 0.25 core(s)\n  RAM: 20480 MB\n  Disk: 40960 MB\n";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, expected), "{}", ran.err);
    let json: serde_json::Value =
        serde_json::from_str(&world.aurora("quota get c1/www-data --write-json").out).unwrap();
    assert_eq!(json["quota"]["resources"][0], serde_json::json!({"numCpus": 5.0}));
    assert_eq!(world.aurora("get_quota --cluster=c1 www-data").out, expected, "as old clients asked");
    assert!(json.get("nonProdSharedConsumption").is_none());
    assert_eq!(world.aurora("quota get c1/other").exit, Exit::ApiError);
    for usage in ["quota get c1", "quota get /r", "quota get c1/a/b", "quota get"] {
        assert_eq!(world.aurora(usage).exit, Exit::Usage, "{usage}");
    }
}

fn running(instance: i32) -> ScheduledTask {
    let events = [(1, ScheduleStatus::Running, None)];
    let mut task = task_of(&hello_key().job, instance, &format!("hello-{instance}"), &events);
    let assigned = task.assigned_task.as_mut().unwrap();
    assigned.slave_host = Some(format!("host{instance}"));
    assigned.assigned_ports = BTreeMap::from([("http".to_owned(), 31_000 + instance)]);
    task
}

/// Two running instances; the daemon says where their sandboxes are.
fn world() -> FakeWorld {
    let tasks = |call: &Call| match call {
        Call::GetTasksStatus(arguments) => {
            let query = arguments.query.clone().unwrap();
            assert_eq!(query.statuses, Some(Set(LIVE_STATES.to_vec())));
            let wanted = |id: &i32| query.instance_ids.as_ref().is_none_or(|ids| ids.contains(id));
            Some(with_tasks([1, 0].into_iter().filter(wanted).map(running).collect()))
        }
        _ => None,
    };
    FakeWorld::new(tasks).with_pages(|path| {
        let id = path.strip_prefix("/files/").unwrap().to_owned();
        let body = serde_json::json!({"sandbox": format!("/var/lib/day break/{id}/sandbox")});
        Page { status: 200, body: body.to_string().into_bytes(), ..Page::default() }
    })
}

const JOB: &str = "c1/www-data/devel/hello_world";

#[test]
fn hosts_that_ssh_does_not_reach_are_named() {
    let ran = world().aurora_words(&["task", "run", "c1/www-data/devel/hello_world", "exit 255"]);
    assert_eq!(ran.exit, Exit::Ok, "as the classic client ends");
    assert!(ran.err.contains("ssh could not reach host0") && ran.err.contains("ssh www-data@host1"), "{}", ran.err);
    let none = FakeWorld::new(|call| match call {
        Call::GetTasksStatus(_) => Some(with_tasks(Vec::new())),
        _ => None,
    });
    let ran = none.aurora_words(&["task", "run", "c1/www-data/devel/hello_world", "ls"]);
    assert!(ran.exit == Exit::Ok && ran.err.contains("the command ran nowhere"), "{}", ran.err);
}

#[test]
fn a_command_runs_in_every_sandbox_and_lines_carry_their_host() {
    let world = world();
    let ran = world.aurora_words(&[
        "task",
        "run",
        JOB,
        "echo {{mesos.instance}} {{thermos.ports[http]}} {{thermos.task_id}}",
    ]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "host0:  out of 0\nhost1:  out of 1\n"), "{}", ran.err);
    assert_eq!(
        world.ran(),
        [
            "ssh -n -q www-data@host0 cd '/var/lib/day break/hello-0/sandbox';echo 0 31000 hello-0",
            "ssh -n -q www-data@host1 cd '/var/lib/day break/hello-1/sandbox';echo 1 31001 hello-1",
        ]
    );
    let ran = world.aurora_words(&["task", "run", JOB, "echo {{thermos.ports[none]}}"]);
    assert_eq!(ran.exit, Exit::InvalidParameter);
    assert_eq!(world.ran().len(), 2);
    assert_eq!(world.aurora("task run nowhere/a/b/c true").exit, Exit::Failed);
}

#[test]
fn old_clients_run_commands_and_open_shells_too() {
    let world = world();
    assert_eq!(world.aurora(&format!("run -t 2 --user=root {JOB} ls -l")).exit, Exit::Ok);
    let first = world.ran();
    assert!(first.len() == 2 && first.iter().all(|line| line.contains("root@host") && line.ends_with(";ls -l")));
    assert_eq!(world.aurora(&format!("ssh -L 8080:http {JOB} 1 uptime -p")).exit, Exit::Ok);
    assert_eq!(
        world.ran()[2],
        "ssh -t -L 8080:host1:31001 www-data@host1 cd '/var/lib/day break/hello-1/sandbox';uptime -p"
    );
    assert_eq!(world.aurora(&format!("ssh {JOB} one")).exit, Exit::Failed);
}

#[test]
fn the_layout_of_agents_is_used_where_the_cluster_is_defined_so() {
    let world = world();
    let mut clusters = Clusters::default();
    let file =
        r#"[{"name": "c1", "scheduler_uri": "http://s:1", "slave_root": "/mesos", "slave_run_directory": "latest"}]"#;
    clusters.add_file(std::path::Path::new("clusters.json"), file).unwrap();
    world.aurora_with(&format!("task run {JOB}/0 pwd -t 4 -l root --ssh-options=-v"), clusters.clone());
    let root = "/mesos/slaves/*/frameworks/*/executors/thermos-hello-0/runs/latest";
    assert_eq!(world.ran(), [format!("ssh -n -q -v root@host0 cd {root}/sandbox;pwd")]);
    world.aurora_with(&format!("task run {JOB}/0 pwd --executor-sandbox"), clusters);
    assert_eq!(world.ran()[1], format!("ssh -n -q www-data@host0 cd {root};pwd"));
}

#[test]
fn ssh_goes_to_the_first_task_with_its_tunnels_and_gives_its_exit_code() {
    let world = world();
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let pid = pid_file.display().to_string();
    let task = format!("{JOB}/1");
    let ran = world.aurora_words(&["task", "ssh", &task, "-L", "8080:http", "-c", "exit 3", "-p", &pid]);
    assert_eq!(ran.exit, Exit::Child(3), "{ran:?}");
    assert_eq!(ran.exit.code(), 3);
    assert_eq!(
        world.ran(),
        ["ssh -t -L 8080:host1:31001 www-data@host1 cd '/var/lib/day break/hello-1/sandbox';exit 3"]
    );
    assert_eq!(std::fs::read_to_string(pid_file).unwrap(), "4711");
    assert_eq!(world.aurora(&format!("task ssh {JOB}")).exit, Exit::Ok);
    assert!(world.ran()[1].ends_with("www-data@host0 cd '/var/lib/day break/hello-0/sandbox';bash"));
    for wrong in ["-L 8080:nothing", "-L 8080", "-L x:http"] {
        assert_eq!(world.aurora(&format!("task ssh {JOB}/0 {wrong}")).exit, Exit::InvalidParameter, "{wrong}");
    }
    assert_eq!(world.aurora(&format!("task ssh {JOB} -c ls")).exit, Exit::InvalidParameter);
    let none = FakeWorld::new(|call| matches!(call, Call::GetTasksStatus(_)).then(|| with_tasks(Vec::new())));
    assert_eq!(none.aurora(&format!("task ssh {JOB}/0")).exit, Exit::InvalidParameter);
}

#[test]
fn scp_names_files_in_sandboxes_by_their_tasks() {
    let world = world();
    let ran = world.aurora(&format!("task scp {JOB}/0:logs/out /tmp/a:b local {JOB}/1: --scp-options=-r"));
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let sandbox = "'/var/lib/day break/hello-";
    assert_eq!(
        world.ran(),
        [format!(
            "scp -r www-data@host0:{sandbox}0/sandbox'/logs/out /tmp/a:b local www-data@host1:{sandbox}1/sandbox'"
        )]
    );
    world.aurora(&format!("task scp {JOB}/0:/etc/hosts ."));
    assert_eq!(world.ran()[1], "scp www-data@host0:/etc/hosts .");
    assert_eq!(world.aurora(&format!("task scp {JOB}/0:~/x .")).exit, Exit::InvalidParameter);
    assert_eq!(world.aurora(&format!("task scp {JOB}/0:x")).exit, Exit::Usage);
}

/// The scheduler's answer: 0 to 2 and 5 change, 3 is added, 7 goes, 4 stays.
fn changes(call: &Call) -> Option<Response> {
    let group = |priority: i32, instances: &[(i32, i32)]| ConfigGroup {
        config: Some(TaskConfig { priority, ..TaskConfig::default() }),
        instances: Set(instances.iter().map(|(first, last)| Range { first: *first, last: *last }).collect()),
    };
    Some(match call {
        Call::PopulateJobConfig(_) => with_result(ResponseResult::PopulateJob(PopulateJobResult {
            task_config: Some(TaskConfig { priority: 9, ..TaskConfig::default() }),
        })),
        Call::GetJobUpdateDiff(_) => with_result(ResponseResult::GetJobUpdateDiff(GetJobUpdateDiffResult {
            add: Set(vec![group(9, &[(3, 3)])]),
            remove: Set(vec![group(1, &[(7, 7)])]),
            update: Set(vec![group(1, &[(5, 5), (0, 2)])]),
            unchanged: Set(vec![group(9, &[(4, 4)])]),
        })),
        Call::GetTasksStatus(_) => with_tasks(vec![running(0)]),
        _ => return None,
    })
}

#[test]
fn a_diff_says_what_an_update_would_do_and_shows_both_sides() {
    let world = FakeWorld::new(changes);
    let ran = world.aurora(&format!("job diff {JOB} hello.aurora"));
    let expected = "This job update will:\nadd instances: [3]\nremove instances: [7]\n\
                    update instances: [0-2], [5]\nwith diff:\nnot change instances: [4]\n";
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, expected), "{}", ran.err);
    let shown = world.attended_files();
    assert_eq!(shown.len(), 2);
    assert!(shown[0].contains("\"priority\": 1") && shown[1].contains("\"priority\": 9"), "{shown:?}");
    assert!(world.ran()[0].starts_with("diff "), "{:?}", world.ran());
    let scoped = world.aurora(&format!("job diff {JOB}/1-2 hello.aurora"));
    assert_eq!(scoped.exit, Exit::Ok);
    let request = world.calls().into_iter().rev().find_map(|call| match call {
        Call::GetJobUpdateDiff(arguments) => arguments.request,
        _ => None,
    });
    let only = request.unwrap().settings.unwrap().update_only_these_instances;
    assert_eq!(only, Set(vec![Range { first: 1, last: 2 }]));
}

#[test]
fn another_job_is_compared_task_by_task() {
    let world = FakeWorld::new(changes);
    let ran = world.aurora(&format!("job diff {JOB} hello.aurora --from c1/www-data/prod/other"));
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, ""), "{}", ran.err);
    let shown = world.attended_files();
    assert!(shown[0].starts_with("instance 0:\n") && shown[1].starts_with("instance 0:\n"), "{shown:?}");
    let query = world.calls().into_iter().find_map(|call| match call {
        Call::GetTasksStatus(arguments) => arguments.query,
        _ => None,
    });
    assert_eq!(query.unwrap().job_keys.unwrap()[0].name, "other");
}

#[test]
fn what_the_scheduler_does_not_take_ends_a_diff_with_3() {
    let world = FakeWorld::new(|call| {
        matches!(call, Call::PopulateJobConfig(_)).then(|| refused(ResponseCode::InvalidRequest, "No such tier."))
    });
    let ran = world.aurora(&format!("job diff {JOB} hello.aurora"));
    assert_eq!(ran.exit, Exit::InvalidConfiguration);
    assert!(ran.err.contains("No such tier."), "{}", ran.err);
}
