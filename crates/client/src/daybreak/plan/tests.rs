//! Plans against schedulers that answer what the test says: one of Daybreak's, and one of Aurora's that does not forecast.

use thrift::{Call, GetJobUpdateDiffResult, PopulateJobResult, ResponseCode, ResponseResult, Set};

use super::*;
use crate::clusters::{Cluster, Clusters};
use crate::console::Console;
use crate::scheduler::Page;
use crate::syntax::Instances;
use crate::testing::{Buffer, FakeWorld, Ran, hello_file, hello_file_as, hello_key, refused, with_result};

fn run(world: &FakeWorld, change: impl FnOnce(&mut PlanArguments)) -> Ran {
    let mut clusters = Clusters::default();
    clusters.add(Cluster::at("c1", "http://scheduler.example:8081"));
    let (out, err) = (Buffer::default(), Buffer::default());
    let console = Console::to(Box::new(out.clone()), Box::new(err.clone()));
    let mut arguments = PlanArguments {
        path: "hello.aurora".into(),
        key: Some(hello_key()),
        file: Default::default(),
        instances: None,
        detailed_exitcode: false,
        color: clap::ColorChoice::Auto,
        output: Default::default(),
    };
    change(&mut arguments);
    let mut context = Context { console, clusters, world };
    let outcome = plan(&arguments, &mut context);
    let exit = crate::command::finish(&mut context.console, outcome);
    Ran { exit, out: out.text(), err: err.text() }
}

fn config(change: impl FnOnce(&mut model::TaskConfig)) -> TaskConfig {
    let mut task = model::TaskConfig::new(hello_key().job, 1.0, 1, 8, "{}");
    task.is_service = true;
    change(&mut task);
    TaskConfig::from(&task)
}

fn group(config: &TaskConfig, first: i32, last: i32) -> ConfigGroup {
    ConfigGroup { config: Some(config.clone()), instances: Set(vec![thrift::Range { first, last }]) }
}

/// A scheduler on which instances 0 to 2 run with half a core, 3 as wanted, and 4 is not wanted any more.
fn scheduler(call: &Call) -> Option<thrift::Response> {
    match call {
        Call::PopulateJobConfig(_) => {
            let task_config = Some(config(|_| {}));
            Some(with_result(ResponseResult::PopulateJob(PopulateJobResult { task_config })))
        }
        Call::GetJobUpdateDiff(_) => {
            let (new, old) = (config(|_| {}), config(|task| task.resources.cpu.0 = 500));
            Some(with_result(ResponseResult::GetJobUpdateDiff(GetJobUpdateDiffResult {
                add: Set(vec![group(&new, 5, 6)]),
                update: Set(vec![group(&old, 0, 2)]),
                unchanged: Set(vec![group(&new, 3, 3)]),
                remove: Set(vec![group(&old, 4, 4)]),
            })))
        }
        _ => None,
    }
}

fn pages(document: &'static str) -> impl FnMut(&str) -> Page {
    move |path| {
        assert_eq!(path, "/api/v1/plan");
        Page { status: 200, body: document.as_bytes().to_vec(), ..Page::default() }
    }
}

const FITS: &str = r#"{"refusal": null, "quota": {"role": "www-data", "isNeeded": true, "quota": {"cpus": 4, "ramMb": 64, "diskMb": 64},
    "held": {"cpus": 2, "ramMb": 5, "diskMb": 5}, "needed": {"cpus": 6.5, "ramMb": 7, "diskMb": 7}},
    "placement": {"wanted": 5, "fitting": 5, "isComplete": true, "isConnected": true, "hosts": {"m1": 2, "m2": 3}},
    "update": {"groups": [[5], [6], [0], [1], [2], [4]], "leastDurationMs": 225000}}"#;

#[test]
fn a_plan_is_told_instance_by_instance_and_changes_nothing() {
    let world = FakeWorld::new(scheduler).with_pages(pages(FITS));
    run(&world, |_| {}).expect(
        Exit::Ok,
        "c1/www-data/devel/hello_world: hello.aurora would update it (2 added, 3 changed, 1 removed, 1 unchanged).\n\
         \n\
         \x20 + add     5-6\n\
         \x20 ~ change  0-2  (killed and started anew)\n\
         \x20     cpu: 0.5 -> 1\n\
         \x20 - remove  4\n\
         \x20 = keep    3\n\
         \n\
         How it would go\n\
         \x20 1 instance at a time, the next as soon as one is done, in this order: 5 | 6 | 0 | 1 | 2 | 4\n\
         \x20 Each new task is watched for 45 s once it runs; the whole takes 3 min 45 s at least, and what starting and stopping takes.\n\
         \x20 Rolls back to what runs now upon the first failure of a new task.\n\
         \n\
         Quota\n\
         \x20 Role www-data would hold at most, while this goes on:\n\
         \x20   6.5 cpu of 4 (2 now): 2.5 too much\n\
         \x20   7 MB of memory of 64 (5 now)\n\
         \x20   7 MB of disk of 64 (5 now)\n\
         \n\
         Room, as it is now\n\
         \x20 5 new tasks, each in place of the one before where there is one: all would find room.\n\
         \x20 m2 takes 3, m1 takes 2\n\
         \n\
         Nothing was changed. To do it: aurora update start c1/www-data/devel/hello_world hello.aurora\n",
        "",
    );
    assert!(world.changes().is_empty());
    assert_eq!(run(&world, |arguments| arguments.detailed_exitcode = true).exit, Exit::Failed);
    let scoped = run(&world, |arguments| arguments.instances = Some(Instances::These([0, 1, 5].into())));
    assert!(
        scoped.out.contains("aurora update start c1/www-data/devel/hello_world/0-1,5 hello.aurora"),
        "{}",
        scoped.out
    );
}

#[test]
fn a_scheduler_of_auroras_leaves_room_unknown() {
    let world = FakeWorld::new(scheduler);
    let ran = run(&world, |_| {});
    assert_eq!(ran.exit, Exit::Ok);
    assert!(ran.out.contains("~ change  0-2"), "{}", ran.out);
    assert!(ran.out.contains("whether there is quota and room is unknown"), "{}", ran.out);
    assert!(ran.out.contains("How it would go\n  Each new task is watched for 45 s once it runs.\n"), "{}", ran.out);
    let json = run(&world, |arguments| arguments.output.json = true);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(document["jobs"][0]["isForecastKnown"], false);
    assert_eq!(document["jobs"][0]["placement"], Value::Null);
    let rollout = &document["jobs"][0]["rollout"];
    assert_eq!((&rollout["groups"], &rollout["strategy"]), (&Value::Null, &json!("queue")));
}

#[test]
fn groups_are_the_scheduler_s_and_unknown_where_it_does_not_tell_them() {
    let groups_in = |document: &'static str| {
        let json =
            run(&FakeWorld::new(scheduler).with_pages(pages(document)), |arguments| arguments.output.json = true);
        serde_json::from_str::<Value>(&json.out).unwrap()["jobs"][0]["rollout"].clone()
    };
    // Another order than anybody would work out: it is shown as it was told.
    let told = groups_in(r#"{"refusal": null, "update": {"groups": [[2, 0], [6]], "leastDurationMs": 7}}"#);
    assert_eq!((&told["groups"], &told["leastDurationMs"]), (&json!([[2, 0], [6]]), &json!(7)));
    let older = groups_in(r#"{"refusal": null, "update": {"replacedInstances": 4, "wantedInstances": 5}}"#);
    assert_eq!((&older["groups"], &older["leastDurationMs"]), (&Value::Null, &Value::Null));
    assert_eq!(older["watchMs"], 45_000);
}

#[test]
fn refusals_are_told_in_the_scheduler_s_words_and_end_with_their_code() {
    let document = r#"{"refusal": {"code": "INVALID_REQUEST", "messages": ["No quota."]}}"#;
    let ran = run(&FakeWorld::new(scheduler).with_pages(pages(document)), |_| {});
    assert_eq!(ran.exit, Exit::CommandFailure);
    assert!(ran.out.contains("The scheduler would refuse this: No quota.\n"), "{}", ran.out);
    let refusing = FakeWorld::new(|call| match call {
        Call::PopulateJobConfig(_) => Some(refused(ResponseCode::InvalidRequest, "No such tier.")),
        _ => None,
    });
    let ran = run(&refusing, |_| {});
    assert_eq!(ran.exit, Exit::CommandFailure);
    assert!(ran.out.contains("The scheduler would refuse this: No such tier.\n"), "{}", ran.out);
}

#[test]
fn nothing_to_do_is_said_in_one_line() {
    let world = FakeWorld::new(|call| match call {
        Call::PopulateJobConfig(_) => scheduler(call),
        Call::GetJobUpdateDiff(_) => Some(with_result(ResponseResult::GetJobUpdateDiff(GetJobUpdateDiffResult {
            unchanged: Set(vec![group(&config(|_| {}), 0, 0)]),
            ..GetJobUpdateDiffResult::default()
        }))),
        _ => None,
    });
    let ran = run(&world, |arguments| arguments.detailed_exitcode = true);
    ran.expect(Exit::Ok, "c1/www-data/devel/hello_world: nothing to do, what runs is what hello.aurora says.\n", "");
}

#[test]
fn a_new_cron_job_shows_its_schedule() {
    let file = hello_file_as(|job| {
        job.cron_schedule = Some("0 3 * * *".into());
        job.task.is_service = false;
    });
    let world = FakeWorld::new(|call| match call {
        Call::GetJobs(_) => Some(with_result(ResponseResult::GetJobs(Default::default()))),
        _ => scheduler(call),
    });
    let ran = run(&world.with_file(Ok(file)), |_| {});
    assert!(ran.out.contains("would schedule it as a new cron job."), "{}", ran.out);
    assert!(ran.out.contains("  cron_schedule: 0 3 * * *\n  cron_collision_policy: KILL_EXISTING\n"), "{}", ran.out);
    assert!(ran.out.contains("aurora cron schedule"), "{}", ran.out);
}

#[test]
fn without_a_key_every_job_is_planned_from_one_evaluation() {
    let other = |name: &str| {
        let key: ClusterJob = format!("c1/www-data/devel/{name}").parse().unwrap();
        let mut job = hello_file().job.expect("a job");
        job.configuration.key = key.job.clone();
        job.configuration.task.job = key.job.clone();
        job.key = key;
        job
    };
    let world = FakeWorld::new(scheduler).with_more_jobs(vec![other("second"), other("third")]);
    let ran = run(&world, |arguments| {
        arguments.key = None;
        arguments.output.json = true;
    });
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let keys: Vec<&Value> = document["jobs"].as_array().unwrap().iter().map(|job| &job["job"]).collect();
    assert_eq!(keys, ["c1/www-data/devel/hello_world", "c1/www-data/devel/second", "c1/www-data/devel/third"]);
    assert_eq!(world.evaluations(), 1);
    let world = FakeWorld::new(scheduler).with_file(Err("NameError: p".to_owned()));
    run(&world, |arguments| arguments.key = None).expect(
        Exit::InvalidConfiguration,
        "",
        "Error loading configuration: NameError: p\n",
    );
}
