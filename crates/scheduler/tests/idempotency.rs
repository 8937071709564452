//! Changes that are asked for under a key (reliability case T4): whatever is lost between client and scheduler, a request that is sent
//! again has one effect and the answer that was lost.

mod common;

use std::time::Duration;

use common::updates::*;
use common::*;
use engine::TaskState;
use model::{CpuMillis, CronCollisionPolicy, JobConfiguration, Resources, TaskStatus};
use scheduler::admin::AdminCommand;
use scheduler::command::{Outcome, UpdateControl};
use scheduler::restore::{LaterTasks, Staging};
use scheduler::{Command, Input, MaintenanceCommand, Reply, ReplyCode, Scheduler, Settings};

const DAY_MS: u64 = 86_400_000;

fn create(name: &str, instances: i32) -> Command {
    Command::CreateJob(Box::new(JobConfiguration {
        key: job(name),
        owner: None,
        cron_schedule: None,
        cron_collision_policy: CronCollisionPolicy::default(),
        task: service(name),
        instance_count: instances,
    }))
}

fn cron(policy: CronCollisionPolicy) -> Box<JobConfiguration> {
    Box::new(JobConfiguration {
        key: job("tick"),
        owner: None,
        cron_schedule: Some("0 0 1 1 *".to_owned()),
        cron_collision_policy: policy,
        task: batch("tick"),
        instance_count: 1,
    })
}

/// A world with a running job `web` of two, an update that waits for its pulse, a cron job with a run, and two hosts.
fn eventful() -> (World, model::UpdateKey) {
    let mut world = running(2);
    world.command(Command::ScheduleCronJob(cron(CronCollisionPolicy::KillExisting)));
    world.command(Command::StartCronJob { job: job("tick") });
    world.create(service("other"), 2);
    world.create(service("pulsed"), 1);
    settle(&mut world);
    let settings = model::update::UpdateSettings { block_if_no_pulses_after_ms: Some(60_000), ..quick(1) };
    let task = model::TaskConfig { priority: 7, ..service("pulsed") };
    let key = started(&mut world, request(task, 1, settings));
    (world, key)
}

/// One command of each kind, in a world made by [`eventful`].
fn commands(update: &model::UpdateKey) -> Vec<Command> {
    let hosts = || vec!["a.example".to_owned(), "nobody.example".to_owned()];
    let quota = Resources { cpu: CpuMillis(5000), ram_mb: 5000, disk_mb: 5000, ..Resources::ZERO };
    let control = |action| Command::ControlUpdate { key: update.clone(), action, message: None };
    vec![
        create("fresh", 3),
        Command::KillTasks { job: job("web"), instances: [0].into(), message: None },
        Command::KillTasks { job: job("nothing"), instances: [].into(), message: None },
        Command::RestartTasks { job: job("web"), instances: [0, 1].into() },
        Command::AddInstances { job: job("web"), template: 0, count: 2 },
        Command::StartUpdate { request: Box::new(request(version(2), 2, quick(1))), message: None },
        control(UpdateControl::Pause),
        control(UpdateControl::Abort),
        control(UpdateControl::Rollback),
        Command::PulseUpdate { key: update.clone() },
        Command::ScheduleCronJob(cron(CronCollisionPolicy::CancelNew)),
        Command::ReplaceCronTemplate(cron(CronCollisionPolicy::CancelNew)),
        Command::DescheduleCronJob { job: job("tick") },
        Command::StartCronJob { job: job("tick") },
        Command::SetQuota { role: "www-data".into(), quota },
        Command::Maintenance(MaintenanceCommand::Start { hosts: hosts() }),
        Command::Maintenance(MaintenanceCommand::Drain { hosts: hosts() }),
        Command::Maintenance(MaintenanceCommand::End { hosts: hosts() }),
    ]
}

/// The same answer. An update is told as it is, and may have gone on.
fn assert_same_answer(first: &Reply, second: &Reply, what: &str) {
    match (&first.outcome, &second.outcome) {
        (Outcome::Update(first), Outcome::Update(second)) => assert_eq!(first.key, second.key, "{what}"),
        (first, second) => assert_eq!(first, second, "{what}"),
    }
    assert_eq!((first.code, &first.messages), (second.code, &second.messages), "{what}");
}

#[test]
fn whatever_is_sent_again_under_its_key_has_one_effect_and_the_same_answer() {
    let (_, update) = eventful();
    for number in 0..commands(&update).len() {
        for dies in [false, true] {
            let (mut world, update) = eventful();
            let command = commands(&update).swap_remove(number);
            let what = format!("{command:?}, dies: {dies}");
            let first = world.command_once("jane", "k", command.clone());
            assert_eq!(first.code, ReplyCode::Ok, "{what}: {first:?}");
            if dies {
                world.restart(0, 2);
            }
            let (done, transitions) = (world.journal.clone(), world.transitions.len());
            world.take_calls();
            for _ in 0..3 {
                let again = world.command_once("jane", "k", command.clone());
                assert_same_answer(&first, &again, &what);
            }
            assert_eq!(world.journal, done, "{what}");
            assert_eq!((world.transitions.len(), world.take_calls()), (transitions, vec![]), "{what}");
        }
    }
}

#[test]
fn what_a_crash_took_away_is_done_by_the_repetition() {
    let (_, update) = eventful();
    for number in 0..commands(&update).len() {
        let (mut world, update) = eventful();
        let command = commands(&update).swap_remove(number);
        let mut sound = world.journal.clone();
        world.command_once("jane", "k", command.clone());
        std::mem::swap(&mut world.journal, &mut sound);
        world.restart(0, 2);
        let again = world.command_once("jane", "k", command.clone());
        assert_eq!(again.code, ReplyCode::Ok, "{command:?}: {again:?}");
        assert_eq!(world.view().answers.len(), 1, "{command:?}");
    }
}

#[test]
fn a_repetition_is_answered_even_if_it_would_be_refused_by_now() {
    let mut world = World::new();
    let first = world.command_once("jane", "k", create("a", 1));
    world.step(Input::SpaceLow(true));
    assert_eq!(world.command_once("jane", "k", create("a", 1)), first);
    assert_eq!(world.command_once("jane", "l", create("b", 1)).code, ReplyCode::ErrorTransient);
    world.step(Input::SpaceLow(false));
    // What was refused was not done, and is judged anew.
    assert_eq!(world.command_once("jane", "l", create("b", 1)).code, ReplyCode::Ok);
    // The job is gone meanwhile: the request was carried out nevertheless, and is not carried out again.
    world.kill(&job("a"), &[]);
    assert!(world.active(&job("a")).iter().all(|task| task.status == TaskStatus::Killing));
    assert_eq!(world.command_once("jane", "k", create("a", 1)), first);
    assert!(world.active(&job("a")).iter().all(|task| task.status == TaskStatus::Killing));
}

#[test]
fn a_refusal_is_not_kept() {
    let mut world = World::new();
    world.create(service("a"), 1);
    let refused = world.command_once("jane", "k", create("a", 1));
    assert_eq!(refused.code, ReplyCode::InvalidRequest);
    assert!(world.view().answers.is_empty());
    world.kill(&job("a"), &[]);
    assert_eq!(world.command_once("jane", "k", create("a", 1)).code, ReplyCode::Ok);
}

#[test]
fn a_key_names_one_request_of_one_principal() {
    let mut world = World::new();
    assert_eq!(world.command_once("jane", "k", create("a", 1)).code, ReplyCode::Ok);
    let before = world.journal.clone();
    let other = world.command_once("jane", "k", create("b", 1));
    assert_eq!((other.code, &other.outcome), (ReplyCode::InvalidRequest, &Outcome::KeyOfAnother));
    assert!(other.messages[0].contains("idempotency key k was used for another request"), "{:?}", other.messages);
    assert_eq!(world.journal, before);
    // Nobody learns what others asked, nor is kept from asking.
    assert_eq!(world.command_once("john", "k", create("b", 1)).code, ReplyCode::Ok);
    assert_eq!(world.active(&job("b")).len(), 1);
}

#[test]
fn an_update_that_is_forgotten_since_is_said_to_be() {
    let mut world = running(1);
    let command =
        |number| Command::StartUpdate { request: Box::new(request(version(number), 1, quick(1))), message: None };
    let first = world.command_once("jane", "k", command(2));
    let Outcome::Update(update) = &first.outcome else { panic!("{first:?}") };
    control(&mut world, &update.key, UpdateControl::Abort);
    let again = world.command_once("jane", "k", command(2));
    let Outcome::Update(known) = &again.outcome else { panic!("{again:?}") };
    assert_eq!((again.code, &known.key, known.status().is_active()), (ReplyCode::Ok, &update.key, false));
    for number in 3..20 {
        let key = started(&mut world, request(version(number), 1, quick(1)));
        control(&mut world, &key, UpdateControl::Abort);
    }
    world.pass(3_600_000);
    assert!(!world.view().updates.contains_key(&update.key), "it is pruned");
    let before = world.journal.clone();
    let again = world.command_once("jane", "k", command(2));
    assert_eq!(again.code, ReplyCode::InvalidRequest);
    assert!(again.messages[0].contains("is not in the history any more"), "{:?}", again.messages);
    assert_eq!(world.journal, before);
}

#[test]
fn answers_are_kept_for_a_day_and_no_longer_however_often_the_process_ends() {
    for restarts in [0, 1, 5] {
        let mut world = World::new();
        world.command_once("jane", "k", create("a", 1));
        world.pass(1000);
        world.command_once("jane", "l", create("b", 1));
        for epoch in 0..restarts {
            world.pass(3_600_000);
            world.restart(3_600_000, epoch + 2);
        }
        world.pass(DAY_MS - restarts * 7_200_000 - 1001);
        assert_eq!(world.view().answers.len(), 2, "{restarts}");
        world.pass(1);
        assert_eq!(world.view().answers.len(), 1, "{restarts}");
        world.pass(1000);
        assert!(world.view().answers.is_empty(), "{restarts}");
        // Later it is a new request.
        assert_eq!(world.command_once("jane", "k", create("a", 1)).code, ReplyCode::InvalidRequest);
    }
}

#[test]
fn a_day_is_a_day_whatever_the_clock_on_the_wall_says() {
    for jump_ms in [-365 * DAY_MS as i64, -1000, 1000, 365 * DAY_MS as i64] {
        let mut world = World::new();
        world.command_once("jane", "k", create("a", 1));
        world.pass(1000);
        world.now.wall_ms += jump_ms;
        world.command_once("jane", "l", create("b", 1));
        world.pass(DAY_MS - 1001);
        assert_eq!(world.view().answers.len(), 2, "{jump_ms}");
        world.pass(1);
        assert_eq!(world.view().answers.len(), 1, "{jump_ms}");
        world.pass(1000);
        assert!(world.view().answers.is_empty(), "{jump_ms}");
    }
    // A process that finds a stamp of the future keeps it for a day more, and no longer.
    let mut world = World::new();
    world.command_once("jane", "k", create("a", 1));
    world.restart(-365 * DAY_MS as i64, 2);
    world.pass(DAY_MS - 1);
    assert_eq!(world.view().answers.len(), 1);
    world.pass(1);
    assert!(world.view().answers.is_empty());
}

#[test]
fn of_too_many_answers_the_oldest_go_first() {
    let mut world = World::with(Settings { max_idempotency_keys: 3, ..settings() });
    for number in 0..5 {
        world.command_once("jane", &format!("k{number}"), create(&format!("job-{number}"), 1));
    }
    world.restart(0, 2);
    let view = world.view();
    let kept: Vec<&str> = view.answers.keys().map(|kept| kept.key.as_str()).collect();
    assert_eq!(kept, ["k2", "k3", "k4"]);
    world.command_once("jane", "k0", create("again", 1));
    assert!(!world.view().answers.keys().any(|kept| kept.key.as_str() == "k2"));
    // None are wanted: everything is as without keys.
    let mut world = World::with(Settings { max_idempotency_keys: 0, ..settings() });
    assert_eq!(world.command_once("jane", "k", create("a", 1)).code, ReplyCode::Ok);
    assert_eq!(world.command_once("jane", "k", create("a", 1)).code, ReplyCode::InvalidRequest);
}

#[test]
fn a_great_many_answers_are_forgotten_a_step_at_a_time() {
    let mut world = World::with(Settings { idempotency_key_retention: Duration::from_secs(60), ..settings() });
    let kill = Command::KillTasks { job: job("nothing"), instances: [].into(), message: None };
    for number in 0..2500 {
        world.command_once("jane", &format!("k{number}"), kill.clone());
    }
    world.advance(60_000);
    world.step(Input::Tick);
    let left = world.view().answers.len();
    assert!(left == 0 || left == 1500, "{left}");
    world.pass(10);
    assert!(world.view().answers.is_empty());
}

#[test]
fn a_restoration_takes_no_answer_away_and_brings_none_back() {
    let mut world = World::new();
    let id = world.run_one(service("s"));
    world.command_once("jane", "before", create("a", 1));
    let mut staging = Staging::default();
    Scheduler::records(&world.view()).for_each(|record| staging.apply(&record).unwrap());
    let staged = staging.finish().unwrap();
    world.pass(DAY_MS);
    assert!(world.view().answers.is_empty());
    let added = Command::AddInstances { job: job("s"), template: 0, count: 1 };
    let first = world.command_once("jane", "after", added.clone());
    let restore = Command::Admin(AdminCommand::Restore { staged, later: LaterTasks::Kill });
    let restored = world.command_once("jane", "restore", restore.clone());
    assert_eq!(restored.code, ReplyCode::Ok, "{restored:?}");
    let view = world.view();
    let kept: Vec<&str> = view.answers.keys().map(|kept| kept.key.as_str()).collect();
    assert_eq!(kept, ["after", "restore"]);
    // Who adds once more what the operator took away has to say so under another key.
    assert_eq!(world.command_once("jane", "after", added), first);
    assert_eq!(world.command_once("jane", "restore", restore), restored);
    world.status(&id, TaskState::Running);
    world.restart(0, 2);
    assert_eq!(world.view().answers.len(), 2);
}
