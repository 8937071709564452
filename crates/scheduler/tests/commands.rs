//! Commands: codes, the order of the checks, and that a refusal changes nothing.

mod common;

use common::*;
use engine::TaskState;
use model::{CpuMillis, CronCollisionPolicy, JobConfiguration, JobKey, Resources, TaskConfig};
use scheduler::command::UpdateControl;
use scheduler::{Command, Input, Principal, Reply, ReplyCode, RequestId, Scheduler, Settings};

fn configuration(task: TaskConfig, instance_count: i32) -> JobConfiguration {
    JobConfiguration {
        key: task.job.clone(),
        owner: None,
        cron_schedule: None,
        cron_collision_policy: CronCollisionPolicy::default(),
        task,
        instance_count,
    }
}

fn refused(world: &mut World, command: Command, code: ReplyCode, word: &str) {
    let before = world.journal.clone();
    let reply = world.command(command.clone());
    assert_eq!(reply.code, code, "{command:?}: {:?}", reply.messages);
    assert!(reply.messages.iter().any(|message| message.contains(word)), "{:?}", reply.messages);
    assert_eq!(world.journal, before, "{command:?} was refused and changed something");
}

fn create(job: JobConfiguration) -> Command {
    Command::CreateJob(Box::new(job))
}

#[test]
fn create_job_refuses_what_is_wrong() {
    let mut world = World::new();
    let invalid = ReplyCode::InvalidRequest;
    refused(&mut world, create(configuration(batch("b"), 0)), invalid, "positive");
    refused(&mut world, create(configuration(batch("b"), 4001)), invalid, "4000");
    refused(&mut world, create(configuration(batch("a b"), 1)), invalid, "Job key");
    let nothing = TaskConfig { resources: Resources::ZERO, ..batch("b") };
    refused(&mut world, create(configuration(nothing, 1)), invalid, "greater than 0.0");
    let cron = JobConfiguration { cron_schedule: Some(String::new()), ..configuration(batch("b"), 1) };
    refused(&mut world, create(cron), invalid, "ron");
    let other = JobConfiguration { key: job("other"), ..configuration(batch("b"), 1) };
    refused(&mut world, create(other), invalid, "differ");
    assert_eq!(world.create(batch("b"), 4000).code, ReplyCode::Ok);
    refused(&mut world, create(configuration(batch("b"), 1)), invalid, "already exists");
}

#[test]
fn a_job_whose_tasks_have_ended_may_be_created_again() {
    let mut world = World::new();
    let id = world.run_one(batch("b"));
    world.status(&id, TaskState::Finished);
    assert_eq!(world.create(batch("b"), 2).code, ReplyCode::Ok);
    assert_eq!(world.view().tasks.len(), 3);
}

#[test]
fn production_tasks_need_quota_and_the_refusal_says_how_to_get_it() {
    let mut world = World::new();
    let prod = |count| create(configuration(TaskConfig { tier: Some("preferred".into()), ..service("p") }, count));
    let quota = |cores: f64| Command::SetQuota {
        role: "www-data".into(),
        quota: Resources { cpu: CpuMillis::from_cores(cores), ram_mb: 10_000, disk_mb: 10_000, ..Resources::ZERO },
    };
    refused(&mut world, prod(2), ReplyCode::InvalidRequest, "CPU quota exceeded by 2.00 core(s)");
    refused(&mut world, prod(2), ReplyCode::InvalidRequest, "set_quota");
    assert_eq!(world.command(quota(3.0)).code, ReplyCode::Ok);
    assert_eq!(world.command(prod(2)).code, ReplyCode::Ok);
    let add = |count| Command::AddInstances { job: job("p"), template: 0, count };
    refused(&mut world, add(2), ReplyCode::InvalidRequest, "CPU quota exceeded by 1.00");
    assert_eq!(world.command(add(1)).code, ReplyCode::Ok);
    refused(&mut world, quota(2.0), ReplyCode::InvalidRequest, "less than");
    refused(&mut world, quota(-1.0), ReplyCode::InvalidRequest, "negative");
    let nobody = Command::SetQuota { role: " ".into(), quota: Resources::ZERO };
    refused(&mut world, nobody, ReplyCode::Error, "Role");
    assert_eq!(world.create(batch("free"), 100).code, ReplyCode::Ok, "other tiers need none");
    world.restart(0, 2);
    refused(&mut world, add(1), ReplyCode::InvalidRequest, "CPU quota exceeded by 1.00");
}

#[test]
fn kills_and_restarts_check_what_they_are_given() {
    let mut world = World::new();
    world.create(batch("b"), 2);
    let nobody = JobKey::new("www-data", "devel", "no one");
    refused(
        &mut world,
        Command::KillTasks { job: nobody.clone(), instances: [].into(), message: None },
        ReplyCode::Error,
        "Job key",
    );
    let restart =
        |job: JobKey, instances: &[u32]| Command::RestartTasks { job, instances: instances.iter().copied().collect() };
    refused(&mut world, restart(nobody.clone(), &[0]), ReplyCode::Error, "Job key");
    refused(&mut world, restart(job("b"), &[]), ReplyCode::Error, "instance");
    refused(&mut world, restart(job("b"), &[0, 2]), ReplyCode::InvalidRequest, "none was restarted");
    assert_eq!(world.command(restart(job("b"), &[0, 1])).code, ReplyCode::Ok, "pending ones satisfy the check");
    let reply = world.kill(&job("unknown"), &[]);
    assert_eq!((reply.code, reply.messages.len()), (ReplyCode::Ok, 1));
    let reply = world.kill(&job("b"), &[7]);
    assert_eq!((reply.code, reply.messages.len()), (ReplyCode::Ok, 1));
    assert_eq!(world.active(&job("b")).len(), 2);
}

#[test]
fn instances_are_added_above_the_highest_and_copied() {
    let mut world = World::new();
    world.create(batch("b"), 4);
    world.kill(&job("b"), &[1]);
    let add = |template, count| Command::AddInstances { job: job("b"), template, count };
    refused(&mut world, add(0, 0), ReplyCode::InvalidRequest, "positive");
    refused(&mut world, add(1, 1), ReplyCode::InvalidRequest, "not active");
    refused(&mut world, add(0, 3998), ReplyCode::InvalidRequest, "4000");
    assert_eq!(world.command(add(0, 2)).code, ReplyCode::Ok);
    let instances: Vec<_> = world.active(&job("b")).iter().map(|task| task.instance).collect();
    assert_eq!(instances, [0, 2, 3, 4, 5]);
}

#[test]
fn while_the_journal_is_short_of_room_nothing_grows_but_kills_and_statuses_go_on() {
    let mut world = World::new();
    let id = world.run_one(service("web"));
    world.step(Input::SpaceLow(true));
    let transient = ReplyCode::ErrorTransient;
    refused(&mut world, create(configuration(batch("b"), 1)), transient, "short of room");
    refused(&mut world, Command::RestartTasks { job: job("web"), instances: [0].into() }, transient, "short of room");
    refused(&mut world, Command::AddInstances { job: job("web"), template: 0, count: 1 }, transient, "short of room");
    let pause = Command::ControlUpdate {
        key: model::UpdateKey { job: job("web"), id: "u".into() },
        action: UpdateControl::Pause,
        message: None,
    };
    refused(&mut world, pause, ReplyCode::InvalidRequest, "no update");
    assert_eq!(world.kill(&job("web"), &[]).code, ReplyCode::Ok);
    world.status(&id, TaskState::Killed);
    assert!(world.active(&job("web")).is_empty());
    world.step(Input::SpaceLow(false));
    assert_eq!(world.create(batch("b"), 1).code, ReplyCode::Ok);
}

#[test]
fn before_the_start_every_command_is_asked_to_come_again() {
    let mut scheduler = Scheduler::new(Settings::default());
    let input = Input::command(RequestId(1), Principal::unsecure(), create(configuration(batch("b"), 1)));
    let output = scheduler.step(Default::default(), input);
    assert!(output.records.is_empty());
    let [scheduler::Effect::Reply { reply: Reply { code, .. }, .. }] = &output.effects[..] else {
        panic!("{output:?}")
    };
    assert_eq!(*code, ReplyCode::ErrorTransient);
}
