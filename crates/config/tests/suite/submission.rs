//! From an evaluated job to the scheduler's words: every field, and what is refused on the way (spec config-dsl 4, 5, 7.6).

use config::Submission;
use model::constraint::TaskConstraint;
use model::container::{Container, Image, VolumeMode};
use model::job::CronCollisionPolicy;
use model::task::SlaPolicy;
use model::update::{InstanceRange, UpdateSettings, UpdateStrategy};

use crate::common::evaluate;

/// A file with one job, with `job` among its fields and `task` among its task's.
fn file(job: &str, task: &str, cmdline: &str) -> String {
    format!(
        "jobs = [Job(**dict(dict(cluster='c', role='r', environment='devel', name='n', task=Task(**dict(dict(
  processes=[Process(name='p', cmdline='{cmdline}')], resources=Resources(cpu=0.5, ram=64*MB, disk=128*MB)), {task}))), {job}))]"
    )
}

fn submit(text: &str) -> Result<Submission, String> {
    let evaluation = evaluate(text).unwrap_or_else(|error| panic!("{}", error.render()));
    let job = evaluation.select(None).unwrap_or_else(|error| panic!("{}", error.render()));
    job.submission("me", &config::default_tiers()).map_err(|error| error.reason)
}

fn with(job: &str) -> Submission {
    submit(&file(job, "", "true")).unwrap_or_else(|why| panic!("{job}: {why}"))
}

fn refused(job: &str) -> String {
    submit(&file(job, "", "true")).map_or_else(|why| why, |_| panic!("{job} was accepted"))
}

fn refused_task(task: &str) -> String {
    submit(&file("", task, "true")).map_or_else(|why| why, |_| panic!("{task} was accepted"))
}

fn ports(job: &str, cmdline: &str) -> Vec<String> {
    let submission = submit(&file(job, "", cmdline)).unwrap_or_else(|why| panic!("{job}: {why}"));
    assert_eq!(submission.job.task.resources.ports, submission.job.task.requested_ports.len() as i64);
    submission.job.task.requested_ports.into_iter().collect()
}

#[test]
fn a_plain_job_gets_every_default() {
    let Submission { cluster, job, raw, warnings, enable_hooks } = with("");
    assert_eq!((cluster.as_str(), job.key.to_string().as_str()), ("c", "r/devel/n"));
    assert_eq!((job.owner.as_deref(), job.task.owner.as_str()), (Some("me"), "me"));
    assert_eq!((job.instance_count, job.cron_schedule), (1, None));
    let task = job.task;
    assert_eq!((task.is_service, task.priority, task.max_task_failures), (false, 0, 1));
    assert_eq!((task.production, task.tier.as_deref()), (Some(false), Some("preemptible")));
    assert_eq!((task.resources.cpu.0, task.resources.ram_mb, task.resources.disk_mb), (500, 64, 128));
    assert!(task.constraints.is_empty() && task.metadata.is_empty() && task.requested_ports.is_empty());
    assert_eq!(task.container, Container::default());
    let executor = task.executor_config.unwrap();
    assert_eq!(executor.name, "AuroraExecutor");
    let data: serde_json::Value = serde_json::from_str(&executor.data).unwrap();
    assert!(data.get("update_config").is_none() && data.get("instances").is_none());
    assert_eq!(data["task"], raw["task"]);
    assert_eq!(data["production"], false);
    assert_eq!(data["lifecycle"]["http"]["port"], "health");
    assert_eq!((&raw["instances"], &raw["update_config"]["watch_secs"]), (&1.into(), &45.into()));
    assert!(warnings.is_empty() && !enable_hooks);
}

#[test]
fn instances_and_update_settings_do_not_change_the_executors_data() {
    let plain = with("");
    let changed = with("instances=9, update_config=UpdateConfig(watch_secs=1)");
    assert_eq!(plain.job.task, changed.job.task);
    assert_eq!(changed.job.instance_count, 9);
}

#[test]
fn values_are_coerced() {
    let task = with("priority='7', service='true', production=1, max_task_failures='-1'").job.task;
    assert_eq!((task.priority, task.is_service, task.production, task.max_task_failures), (7, true, Some(true), -1));
    let resources = submit(&file("", "resources=Resources(cpu='0.25', ram=1.9*MB, disk='{{d}}').bind(d=3*MB)", "true"));
    let resources = resources.unwrap().job.task.resources;
    assert_eq!((resources.cpu.0, resources.ram_mb, resources.disk_mb), (250, 1, 3));
}

#[test]
fn tier_and_production_complete_each_other() {
    let tier = |job: &str| {
        let submission = with(job);
        (submission.job.task.tier.unwrap(), submission.job.task.production.unwrap(), submission.warnings.len())
    };
    assert_eq!(tier("production=True"), ("preferred".to_owned(), true, 1));
    assert_eq!(tier("tier='preferred'"), ("preferred".to_owned(), true, 0));
    assert_eq!(tier("tier='revocable', production=True"), ("revocable".to_owned(), false, 0));
    assert_eq!(tier("tier='unheard-of', production=True"), ("unheard-of".to_owned(), true, 0));
    assert_eq!(with("production=True").raw["tier"], "preferred");
}

#[test]
fn constraints_are_read() {
    let constraints = |text: &str| {
        let task = with(&format!("constraints={{'a': {text}}}")).job.task;
        task.constraint("a").unwrap().constraint.clone()
    };
    let values = |negated, values: &[&str]| TaskConstraint::Value {
        negated,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    assert_eq!(constraints("'limit:3'"), TaskConstraint::Limit { limit: 3 });
    assert_eq!(constraints("'limit: 3 '"), TaskConstraint::Limit { limit: 3 });
    assert_eq!(constraints("'!a,b'"), values(true, &["a", "b"]));
    assert_eq!(constraints("'a,b'"), values(false, &["a", "b"]));
    assert_eq!(constraints("''"), values(false, &[""]));
    assert_eq!(constraints("3"), values(false, &["3"]));
    assert!(refused("constraints={'a': 'limit:x'}").contains("the constraint a = 'limit:x' is no limit"));
}

#[test]
fn ports_are_asked_for_by_reference_and_announcer() {
    assert_eq!(ports("", "true"), [""; 0]);
    assert_eq!(ports("", "{{thermos.ports[http]}} {{thermos.ports[admin]}}"), ["admin", "http"]);
    assert_eq!(ports("", "{{thermos.ports[a-b.c/d]}}"), ["a-b.c/d"]);
    assert_eq!(ports("announce=Announcer()", "true"), ["http"]);
    assert_eq!(ports("announce=Announcer(primary_port='main')", "{{thermos.ports[aurora]}}"), ["main"]);
    let fixed = "announce=Announcer(portmap={'http': 80, 'aurora': 'http'})";
    assert!(refused(fixed).contains("fixed port numbers in the portmap (http) need dedicated hosts"));
    assert_eq!(ports(&format!("{fixed}, constraints={{'dedicated': 'r/x'}}"), "{{thermos.ports[http]}}"), [""; 0]);
    assert!(refused("announce=Announcer(portmap={'a': 'b', 'b': 'a'})").contains("cycle"));
    let dotted = submit(&file("", "", "{{thermos.ports.http}}")).unwrap_err();
    assert!(dotted.contains("thermos.ports"), "{dotted}");
    let lost = with("announce=Announcer(primary_port='main', portmap={'aurora': 'http'})");
    assert!(lost.warnings[0].contains("primary port as 'main'"), "{:?}", lost.warnings);
}

#[test]
fn references_are_left_to_the_task_or_filled_or_refused() {
    let data = |cmdline: &str| {
        let submission = submit(&file("", "", cmdline))?;
        Ok::<_, String>(submission.raw["task"]["processes"][0]["cmdline"].as_str().unwrap().to_owned())
    };
    let late = "{{mesos.instance}} {{thermos.ports[http]}} {{thermos.task_id}} {{mesos.hostname}}";
    assert_eq!(data(late).unwrap(), late);
    assert_eq!(data("{{thermos.user}} {{mesos.role}} {{mesos.cluster}}").unwrap(), "r r c");
    for unknown in ["{{foo}}", "{{mesos.foo}}", "{{thermos.port}}"] {
        assert!(data(unknown).unwrap_err().contains("unexpected unbound references"), "{unknown}");
    }
    // One to four escapes are stripped before the task runs; five leave two.
    for count in 1..=4 {
        let escaped = format!("{{{{{}foo}}}}", "&".repeat(count));
        assert!(data(&escaped).unwrap_err().contains("unexpected unbound references: {{foo}}"), "{escaped}");
    }
    assert_eq!(data("{{&&&&&foo}}").unwrap(), "{{&&foo}}");
}

#[test]
fn containers_are_read() {
    let container = |text: &str| with(&format!("container={text}")).job.task.container;
    let docker = |parameters: &[(&str, &str)]| Container::Docker {
        image: "i:t".into(),
        parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    assert_eq!(container("Docker(image='i:t')"), docker(&[]));
    let parameters = "Docker(image='i:t', parameters=[Parameter(name='env', value='a=b')])";
    assert_eq!(container(parameters), docker(&[("env", "a=b")]));
    assert_eq!(container(&format!("Container(docker={parameters})")), docker(&[("env", "a=b")]));
    let volumes = "volumes=[Volume(container_path='/a', host_path='/b', mode='RO')]";
    match container(&format!("Mesos(image=DockerImage(name='i', tag='t'), {volumes})")) {
        Container::Mesos { image, volumes } => {
            assert_eq!(image, Some(Image::Docker { name: "i".into(), tag: "t".into() }));
            assert_eq!((volumes[0].container_path.as_str(), volumes[0].mode), ("/a", VolumeMode::Ro));
        }
        other => panic!("{other:?}"),
    }
    let appc = Some(Image::Appc { name: "i".into(), image_id: "x".into() });
    assert_eq!(
        container("Mesos(image=AppcImage(name='i', image_id='x'))"),
        Container::Mesos { image: appc, volumes: vec![] }
    );
    // A dictionary finds the alternative whose fields it has.
    assert_eq!(container("{'image': 'i:t'}"), docker(&[]));
    assert!(refused("container=Container()").contains("its container is empty"));
    assert!(refused("container=3").contains("did not match any of its alternatives"));
}

#[test]
fn policies_metadata_contact_and_cron_are_read() {
    let task = with(
        "contact='a@b', metadata=[Metadata(key='k', value='v'), Metadata(key='k', value='w')],
         partition_policy=PartitionPolicy(reschedule=False, delay_secs=5), sla_policy=CountSlaPolicy(count=2, duration_secs=60)",
    )
    .job
    .task;
    assert_eq!(task.contact_email.as_deref(), Some("a@b"));
    assert_eq!(task.metadata.len(), 2);
    let policy = task.partition_policy.unwrap();
    assert_eq!((policy.reschedule, policy.delay_secs), (false, Some(5)));
    assert_eq!(task.sla_policy, Some(SlaPolicy::Count { count: 2, duration_secs: 60 }));
    let sla = |text: &str| with(&format!("sla_policy={text}")).job.task.sla_policy.unwrap();
    let percentage = SlaPolicy::Percentage { percentage_bits: 99.5_f64.to_bits(), duration_secs: 1 };
    assert_eq!(sla("PercentageSlaPolicy(percentage=99.5, duration_secs=1)"), percentage);
    let coordinator = SlaPolicy::Coordinator { coordinator_url: "http://x".into(), status_key: "drain".into() };
    assert_eq!(sla("CoordinatorSlaPolicy(coordinator_url='http://x')"), coordinator);
    let cron = with("cron_schedule='*/5 * * * *', cron_collision_policy='cancel_new'").job;
    assert_eq!(cron.cron_schedule.as_deref(), Some("*/5 * * * *"));
    assert_eq!(cron.cron_collision_policy, CronCollisionPolicy::CancelNew);
    assert!(refused("cron_collision_policy='maybe'").contains("invalid cron_collision_policy 'maybe'"));
}

#[test]
fn another_executor_gets_its_own_data() {
    let executor =
        with("executor_config=ExecutorConfig(name='compose', data='{\"a\": 1}')").job.task.executor_config.unwrap();
    assert_eq!((executor.name.as_str(), executor.data.as_str()), ("compose", "{\"a\": 1}"));
}

#[test]
fn a_job_of_another_executor_needs_no_processes() {
    let job = |executor: &str| {
        submit(&file(&format!("executor_config=ExecutorConfig(name='{executor}')"), "processes=[], name='t'", "true"))
    };
    let task = job("compose").unwrap_or_else(|why| panic!("{why}")).job.task;
    assert_eq!(task.executor_config.unwrap().name, "compose");
    assert!(job("AuroraExecutor").is_err_and(|why| why.contains("no processes")));
}

#[test]
fn contradictions_and_omissions_are_refused() {
    for (job, why) in [
        ("role='a b'", "invalid role 'a b'"),
        ("name='a/b'", "invalid name 'a/b'"),
        ("environment=''", "invalid environment ''"),
        ("instances=0", "instances is 0"),
        ("instances=10**12, update_config=UpdateConfig()", "instances is 1000000000000"),
        ("update_config=UpdateConfig(max_total_failures=1)", "max_total_failures (1)"),
        ("instances=100, constraints={'dedicated': 'r/x'}", "at least 2% of its instances (2)"),
        ("update_config=UpdateConfig(watch_secs=-1)", "watch_secs in update_config must not be negative"),
        ("health_check_config=HealthCheckConfig(interval_secs=-1)", "interval_secs in health_check_config"),
        ("health_check_config=HealthCheckConfig(max_consecutive_failures=-1)", "max_consecutive_failures"),
        ("role=Empty", "MesosJob[role] is required."),
        ("cluster=Empty", "MesosJob[cluster] is required."),
        ("task=Empty", "MesosJob[task] is required."),
        ("environment=Empty", "MesosJob[environment] is required."),
    ] {
        let told = refused(job);
        assert!(told.contains(why), "{job}: {told}");
    }
    for (task, why) in [
        ("resources=Empty", "its task does not set resources"),
        ("resources=Resources(cpu=1, ram=1)", "Resources[disk] is required."),
        ("resources=Resources(cpu=0, ram=1*MB, disk=1*MB)", "cpu must be at least 0.001 cores, not 0.0"),
        ("resources=Resources(cpu=-1, ram=1*MB, disk=1*MB)", "cpu must be at least"),
        (
            "resources=Resources(cpu=1, ram=1024, disk=1*MB)",
            "ram must be at least 1 MB (1048576 bytes), not 1024 bytes",
        ),
        ("resources=Resources(cpu=1, ram=1*MB, disk=0)", "disk must be at least 1 MB"),
        ("processes=[], name='t'", "its task has no processes"),
        ("processes=Empty, name='t'", "its task has no processes"),
        ("processes=[Process(name='.a', cmdline='c')]", "process name '.a' is invalid"),
        ("processes=[Process(name='a', cmdline='c')]*2", "'a'"),
        ("constraints=order('p', 'x')", "its task is invalid"),
        ("constraints=order('p', 'p')", "its task is invalid"),
    ] {
        let told = refused_task(task);
        assert!(told.contains(why), "{task}: {told}");
    }
    assert!(
        submit(&file("", "constraints=order('x', 'y')", "true")).is_ok(),
        "an order of unknown processes only is ignored"
    );
}

#[test]
fn update_settings_are_read() {
    let settings = |text: &str, instances: &[u32]| -> Result<UpdateSettings, String> {
        let file = file(&format!("instances=10, update_config=UpdateConfig({text})"), "", "true");
        let evaluation = evaluate(&file).unwrap_or_else(|error| panic!("{}", error.render()));
        evaluation.jobs[0].update_settings(instances).map_err(|error| error.reason)
    };
    assert_eq!(settings("", &[]).unwrap(), UpdateSettings::default());
    let all = settings(
        "batch_size=3, watch_secs=10, max_per_shard_failures=1, max_total_failures=2, rollback_on_failure=False, \
         wait_for_batch_completion=True, pulse_interval_secs=60, sla_aware=True",
        &[5, 0, 1, 2],
    );
    let ranges = vec![InstanceRange { first: 0, last: 2 }, InstanceRange { first: 5, last: 5 }];
    let expected = UpdateSettings {
        strategy: UpdateStrategy::Batch { group_size: 3, autopause_after_batch: false },
        max_per_instance_failures: 1,
        max_failed_instances: 2,
        min_wait_in_running_ms: 10_000,
        rollback_on_failure: false,
        only_these_instances: ranges,
        block_if_no_pulses_after_ms: Some(60_000),
        sla_aware: true,
    };
    assert_eq!(all.unwrap(), expected);
    let strategy = |text: &str| settings(&format!("update_strategy={text}"), &[]).unwrap().strategy;
    assert_eq!(strategy("QueueUpdateStrategy(batch_size=2)"), UpdateStrategy::Queue { group_size: 2 });
    let batch = UpdateStrategy::Batch { group_size: 2, autopause_after_batch: true };
    assert_eq!(strategy("BatchUpdateStrategy(batch_size=2, autopause_after_batch=True)"), batch);
    let variable = UpdateStrategy::VariableBatch { group_sizes: vec![1, 5], autopause_after_batch: false };
    assert_eq!(strategy("VariableBatchUpdateStrategy(batch_sizes=[1, 5])"), variable);
    for (text, why) in [
        ("batch_size=0", "batch_size must be greater than 0"),
        ("pulse_interval_secs=30", "at least 60"),
        ("wait_for_batch_completion=True, update_strategy=QueueUpdateStrategy()", "exclude each other"),
        ("batch_size=2, update_strategy=QueueUpdateStrategy()", "exclude each other"),
        ("update_strategy=VariableBatchUpdateStrategy(batch_sizes=[])", "must not be empty"),
        ("update_strategy=BatchUpdateStrategy(batch_size=0)", "greater than 0"),
        ("watch_secs=10**9", "watch_secs is too large"),
    ] {
        let told = settings(text, &[]).unwrap_err();
        assert!(told.contains(why), "{text}: {told}");
    }
}
