//! Maintenance of hosts and drains that heed SLA policies (spec scheduler 5.2 to 5.5).

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{World, job, room, service, settings};
use engine::{Call, Event, TaskState};
use model::task::SlaPolicy;
use model::{JobKey, MaintenanceMode, Resources, TaskConfig, TaskId, TaskStatus};
use scheduler::command::Outcome;
use scheduler::{Command, CoordinatorAnswer, Input, MaintenanceCommand, ReplyCode, Settings};

fn host(agent: &str) -> String {
    format!("{agent}.example")
}

fn percentage(percentage: f64, duration_secs: i64) -> SlaPolicy {
    SlaPolicy::Percentage { percentage_bits: percentage.to_bits(), duration_secs }
}

fn count(count: i64, duration_secs: i64) -> SlaPolicy {
    SlaPolicy::Count { count, duration_secs }
}

fn coordinator(url: &str) -> SlaPolicy {
    SlaPolicy::Coordinator { coordinator_url: url.into(), status_key: String::new() }
}

fn production(name: &str, policy: Option<SlaPolicy>) -> TaskConfig {
    TaskConfig { tier: Some("preferred".into()), sla_policy: policy, ..service(name) }
}

/// Small jobs have policies too.
fn strict() -> Settings {
    let mut settings = settings();
    settings.admission.min_required_instances_for_sla_check = 1;
    settings
}

fn world() -> World {
    let mut world = World::with(strict());
    let quota = Resources { cpu: model::CpuMillis(1_000_000), ram_mb: 1 << 30, disk_mb: 1 << 30, ..Resources::ZERO };
    world.command(Command::SetQuota { role: "www-data".into(), quota });
    world
}

fn ask(world: &mut World, command: MaintenanceCommand) -> Vec<(String, MaintenanceMode)> {
    let reply = world.command(Command::Maintenance(command));
    assert_eq!(reply.code, ReplyCode::Ok);
    match reply.outcome {
        Outcome::Hosts(modes) => modes,
        other => panic!("{other:?}"),
    }
}

fn drain(world: &mut World, agents: &[&str]) -> Vec<(String, MaintenanceMode)> {
    ask(world, MaintenanceCommand::Drain { hosts: agents.iter().map(|agent| host(agent)).collect() })
}

fn sla_drain(world: &mut World, agents: &[&str], default_policy: SlaPolicy, timeout_secs: i64) {
    let hosts: Vec<String> = agents.iter().map(|agent| host(agent)).collect();
    let expected: Vec<_> = hosts.iter().map(|host| (host.clone(), MaintenanceMode::Draining)).collect();
    let command = MaintenanceCommand::SlaDrain { hosts, default_policy, timeout_secs };
    assert_eq!(ask(world, command), expected);
}

fn end(world: &mut World, agents: &[&str]) {
    let modes = ask(world, MaintenanceCommand::End { hosts: agents.iter().map(|agent| host(agent)).collect() });
    assert!(modes.iter().all(|(_, mode)| *mode == MaintenanceMode::None));
}

fn mode(world: &World, agent: &str) -> MaintenanceMode {
    world.view().hosts[&host(agent)].mode
}

/// Room for exactly so many tasks.
fn slots(count: i64) -> Resources {
    Resources { cpu: model::CpuMillis(count * 1000), ..room(64.0) }
}

/// Everything placed comes up.
fn run_all(world: &mut World, job: &JobKey) {
    for task in world.active(job) {
        if matches!(task.status, TaskStatus::Assigned | TaskStatus::Starting) {
            world.status(&task.id, TaskState::Running);
        }
    }
}

fn running(world: &World, job: &JobKey) -> usize {
    world.active(job).iter().filter(|task| task.status == TaskStatus::Running).count()
}

/// The engine kills what it was asked to kill.
fn obey(world: &mut World) -> BTreeSet<TaskId> {
    let kills: BTreeSet<TaskId> = world.take_kills().into_iter().collect();
    for id in &kills {
        world.status(id, TaskState::Killed);
    }
    kills
}

fn on(world: &World, job: &JobKey, agent: &str) -> Vec<TaskId> {
    let active = world.active(job);
    let there = active.iter().filter(|task| task.host.as_deref() == Some(&host(agent)));
    there.map(|task| task.id.clone()).collect()
}

/// A job whose instances run, five to an agent.
fn spread(world: &mut World, config: TaskConfig, agents: &[&str]) -> JobKey {
    let job = config.job.clone();
    assert_eq!(world.create(config, agents.len() as i32 * 5).code, ReplyCode::Ok);
    for agent in agents {
        world.offer(agent, slots(5));
    }
    run_all(world, &job);
    assert_eq!(running(world, &job), agents.len() * 5);
    world.take_calls();
    job
}

#[test]
fn announced_maintenance_makes_hosts_the_second_choice_and_draining_ones_none() {
    let mut world = world();
    for agent in ["a", "b"] {
        world.offer(agent, slots(2));
    }
    let hosts = ["nobody.example", "a.example", "a.example"].map(str::to_owned).to_vec();
    let modes = ask(&mut world, MaintenanceCommand::Start { hosts });
    assert_eq!(modes, [(host("a"), MaintenanceMode::Scheduled)], "unknown hosts are passed over");
    world.create(service("one"), 3);
    assert_eq!((on(&world, &job("one"), "b").len(), on(&world, &job("one"), "a").len()), (2, 1));
    world.offer("c", slots(1));
    sla_drain(&mut world, &["c"], percentage(95.0, 0), 60);
    assert_eq!(mode(&world, "c"), MaintenanceMode::Drained, "there was nothing to move");
    world.offer("a", Resources::ZERO);
    world.create(service("two"), 1);
    let waiting = world.active_one(&job("two"), 0);
    assert_eq!(waiting.status, TaskStatus::Pending);
    let reason = world.view().pending_reasons[&waiting.id].clone();
    assert_eq!(reason.vetoes["Host drained for maintenance"], 1);
    end(&mut world, &["c"]);
    assert_eq!(on(&world, &job("two"), "c").len(), 1, "the offer was kept, and so was the wish");
}

#[test]
fn hosts_the_engine_asks_back_are_the_second_choice() {
    let mut world = world();
    let far_ms = world.now.wall_ms + 86_400_000;
    let mut leaving = world.make_offer("leaving", slots(3));
    leaving.unavailable_from_ms = Some(far_ms);
    world.engine(Event::Offers(vec![leaving]));
    world.offer("announced", slots(3));
    ask(&mut world, MaintenanceCommand::Start { hosts: vec![host("announced")] });
    world.offer("staying", slots(3));
    for (name, agent) in [("one", "staying"), ("two", "leaving"), ("three", "announced")] {
        world.create(service(name), 3);
        assert_eq!(on(&world, &job(name), agent).len(), 3, "{name}");
    }
}

#[test]
fn a_drain_kills_with_the_known_message_and_ends_when_the_last_task_has() {
    let mut world = world();
    let job = spread(&mut world, service("web"), &["a", "b"]);
    world.offer("c", slots(20));
    assert_eq!(
        drain(&mut world, &["a", "nobody", "c"]),
        [(host("a"), MaintenanceMode::Draining), (host("c"), MaintenanceMode::Drained)]
    );
    let moved = on(&world, &job, "a");
    for id in &moved {
        let task = world.task(id);
        assert_eq!(task.status, TaskStatus::Draining);
        assert_eq!(task.events.last().unwrap().message.as_deref(), Some("Draining machine for maintenance."));
    }
    end(&mut world, &["c"]);
    let kills: Vec<TaskId> = world.take_kills();
    assert_eq!(kills.len(), 5);
    for (done, id) in kills.iter().enumerate() {
        assert_eq!(mode(&world, "a"), MaintenanceMode::Draining, "after {done}");
        assert!(world.view().maintenance.contains_key(&host("a")));
        world.status(id, TaskState::Killed);
    }
    assert_eq!(mode(&world, "a"), MaintenanceMode::Drained);
    assert!(world.view().maintenance.is_empty(), "the request is done");
    world.offer("c", slots(19));
    assert_eq!(on(&world, &job, "c").len(), 5, "replacements run elsewhere");
}

#[test]
fn a_percentage_is_kept_at_every_moment() {
    let mut world = world();
    let job = spread(&mut world, production("web", Some(percentage(95.0, 60))), &["a", "b", "c", "d"]);
    world.pass(60_001);
    sla_drain(&mut world, &["a", "b"], percentage(1.0, 0), 86_400);
    assert_eq!(running(&world, &job), 19, "one of twenty may be down");
    let mut moved = obey(&mut world).len();
    world.pass(300_000);
    assert_eq!((running(&world, &job), moved), (19, 1), "nothing more while the replacement is down");
    for round in 0.. {
        assert!(round < 100, "the drain never ends");
        world.offer("spare", slots(1));
        run_all(&mut world, &job);
        world.pass(59_000);
        let before = running(&world, &job);
        assert_eq!(before, 20, "too young to count: nobody else is moved");
        world.pass(3_000);
        if mode(&world, "a") == MaintenanceMode::Drained && mode(&world, "b") == MaintenanceMode::Drained {
            break;
        }
        assert_eq!(running(&world, &job), 19, "as soon as it counts the next one goes");
        moved += obey(&mut world).len();
    }
    assert_eq!(moved, 10);
    assert!(world.view().counters.keys().all(|name| !name.starts_with("maintenance_countdown_ms")));
}

#[test]
fn what_a_policy_never_lets_go_leaves_when_the_time_is_up() {
    let mut world = world();
    let job = spread(&mut world, production("web", Some(count(4, 3600))), &["a"]);
    sla_drain(&mut world, &["a"], percentage(0.0, 0), 600);
    assert_eq!(running(&world, &job), 5, "nobody has been up for an hour");
    let countdown = format!("maintenance_countdown_ms_{job}/0");
    assert_eq!(world.view().counters[countdown.as_str()], 600_000);
    world.pass(600_000);
    assert_eq!(running(&world, &job), 5);
    world.pass(1);
    assert_eq!(running(&world, &job), 0, "forced");
    obey(&mut world);
    assert_eq!(mode(&world, "a"), MaintenanceMode::Drained);
}

#[test]
fn policies_protect_production_jobs_that_are_large_enough() {
    let mut world = World::with(settings());
    let quota = Resources { cpu: model::CpuMillis(100_000), ram_mb: 1 << 20, disk_mb: 1 << 20, ..Resources::ZERO };
    world.command(Command::SetQuota { role: "www-data".into(), quota });
    let small = spread(&mut world, production("small", None), &["a"]);
    sla_drain(&mut world, &["a"], percentage(100.0, 3600), 86_400);
    assert_eq!(running(&world, &small), 0, "five instances are too few to be protected");
    let best_effort = spread(&mut world, service("besteffort"), &["b", "c", "d", "e"]);
    sla_drain(&mut world, &["b"], percentage(100.0, 3600), 86_400);
    assert_eq!(running(&world, &best_effort), 15, "not production");
    let large = spread(&mut world, production("large", None), &["f", "g", "h", "i"]);
    sla_drain(&mut world, &["f"], percentage(100.0, 3600), 86_400);
    assert_eq!(running(&world, &large), 20, "the request's policy holds for jobs without one");
}

#[test]
fn a_plain_drain_asks_the_tasks_own_policy_once() {
    let mut world = world();
    let job = spread(&mut world, production("web", Some(percentage(80.0, 0))), &["a"]);
    world.pass(10);
    drain(&mut world, &["a"]);
    assert_eq!(running(&world, &job), 4, "one of five may be down");
    world.pass(1);
    assert_eq!(running(&world, &job), 0);
}

#[test]
fn a_restart_in_the_midst_of_a_drain_loses_nothing() {
    let mut world = world();
    let job = spread(&mut world, production("web", Some(percentage(80.0, 0))), &["a"]);
    world.pass(10);
    sla_drain(&mut world, &["a"], percentage(80.0, 0), 3600);
    assert_eq!(running(&world, &job), 4);
    obey(&mut world);
    world.restart(1_000_000, 2);
    assert_eq!(mode(&world, "a"), MaintenanceMode::Draining);
    assert_eq!(running(&world, &job), 4, "nobody is moved before it is known who lives");
    world.offer("a", slots(1));
    assert_eq!(world.active(&job).iter().filter(|task| task.status == TaskStatus::Pending).count(), 1, "not there");
    world.offer("b", slots(1));
    run_all(&mut world, &job);
    world.pass(60_001);
    assert_eq!(running(&world, &job), 4, "the drain goes on");
    obey(&mut world);
    // 1000 s passed while it was down, some 60 s since.
    world.pass(3_600_000 - 1_000_000 - 60_011);
    assert_eq!(running(&world, &job), 4);
    world.pass(1_000);
    assert_eq!(running(&world, &job), 1, "the time that was left has passed; only b's stays");
}

#[test]
fn a_coordinator_is_asked_one_question_at_a_time_and_its_yes_moves_one_task() {
    let mut world = world();
    let job = spread(&mut world, production("web", Some(coordinator("http://c/"))), &["a"]);
    sla_drain(&mut world, &["a"], percentage(0.0, 0), 3600);
    assert_eq!((running(&world, &job), world.questions.len()), (5, 1));
    let question = world.questions.remove(0);
    assert_eq!((question.url.as_str(), question.status_key.as_str()), ("http://c/", "drain"));
    assert_eq!(question.parameters["forceMaintenanceCountdownMs"], "3600000");
    let answer = |world: &mut World, id, answer| world.step(Input::CoordinatorAnswer { question: id, answer });
    answer(&mut world, question.id, CoordinatorAnswer::Allowed);
    assert_eq!(world.task(&question.task.id).status, TaskStatus::Draining);
    assert_eq!((running(&world, &job), world.questions.len()), (4, 1), "the next in line is asked");
    answer(&mut world, question.id, CoordinatorAnswer::Allowed);
    assert_eq!(running(&world, &job), 4, "an old answer means nothing");
    // Each is refused once in this round, in one way or another.
    let refusals = [
        CoordinatorAnswer::Refused,
        CoordinatorAnswer::UserError("HTTP 500".into()),
        CoordinatorAnswer::Error("refused".into()),
        CoordinatorAnswer::Refused,
    ];
    for refusal in refusals {
        let question = world.questions.remove(0);
        answer(&mut world, question.id, refusal);
    }
    assert_eq!((running(&world, &job), world.questions.len()), (4, 0), "until the next round");
    let counters = world.view().counters;
    for (name, value) in [("attempts", 5), ("success", 1), ("errors", 1), ("user_errors", 1)] {
        assert_eq!(counters[format!("sla_coordinator_{name}").as_str()], value, "{name}");
    }
    assert!(counters["sla_coordinator_lock_starvation"] >= 4);
    world.pass(60_000);
    assert_eq!(world.questions.len(), 1, "asked again");
    // A host that never says what came of it holds up nobody for ever.
    world.pass(120_000);
    assert_eq!(world.questions.len(), 2);
    world.restart(0, 2);
    let old = world.questions.pop().unwrap();
    answer(&mut world, old.id, CoordinatorAnswer::Allowed);
    assert_eq!(running(&world, &job), 4, "nobody remembers having asked");
    world.questions.clear();
    world.pass(60_000);
    assert_eq!(world.questions.len(), 1, "and it is asked anew");
    world.kill(&job, &[]);
    obey(&mut world);
    let of_tasks = |world: &World| world.view().counters.keys().filter(|name| name.contains("/web/")).count();
    assert!(of_tasks(&world) > 0);
    world.pass(3 * 86_400_000);
    assert_eq!(of_tasks(&world), 0, "counters of tasks go with their job");
}

#[test]
fn a_yes_that_comes_while_the_engine_is_away_moves_nobody() {
    let mut world = world();
    let job = spread(&mut world, production("web", Some(coordinator("http://c/"))), &["a"]);
    sla_drain(&mut world, &["a"], percentage(0.0, 0), 3600);
    world.engine(Event::Disconnected);
    let question = world.questions.remove(0);
    world.step(Input::CoordinatorAnswer { question: question.id, answer: CoordinatorAnswer::Allowed });
    assert_eq!(running(&world, &job), 5);
    world.engine(Event::Registered { framework_id: None, master: None });
    world.questions.clear();
    world.pass(60_000);
    assert_eq!(world.questions.len(), 1, "it is asked again");
}

#[test]
fn only_so_many_coordinators_are_asked_at_once() {
    let mut world = World::with(Settings { max_parallel_coordinated_maintenance: 2, ..strict() });
    let quota = Resources { cpu: model::CpuMillis(100_000), ram_mb: 1 << 20, disk_mb: 1 << 20, ..Resources::ZERO };
    world.command(Command::SetQuota { role: "www-data".into(), quota });
    for name in ["one", "two", "three"] {
        let config = production(name, Some(coordinator(&format!("http://{name}/"))));
        assert_eq!(world.create(config, 1).code, ReplyCode::Ok);
        world.offer("a", slots(1));
        run_all(&mut world, &job(name));
        assert_eq!(running(&world, &job(name)), 1);
    }
    sla_drain(&mut world, &["a"], percentage(0.0, 0), 3600);
    assert_eq!(world.questions.len(), 2);
    let question = world.questions.remove(0);
    world.step(Input::CoordinatorAnswer { question: question.id, answer: CoordinatorAnswer::Refused });
    let urls: BTreeSet<&str> = world.questions.iter().map(|question| question.url.as_str()).collect();
    assert_eq!(urls.len(), 2, "the third has its turn");
    assert!(!urls.contains(question.url.as_str()));
}

#[test]
fn a_drain_that_is_called_off_moves_nobody_any_more() {
    let mut world = world();
    let job = spread(&mut world, production("web", Some(percentage(80.0, 0))), &["a"]);
    let asked = spread(&mut world, production("asked", Some(coordinator("http://c/"))), &["b"]);
    world.pass(10);
    sla_drain(&mut world, &["a", "b"], percentage(80.0, 0), 60);
    assert_eq!(running(&world, &job), 4);
    end(&mut world, &["a", "b"]);
    assert!(world.view().maintenance.is_empty());
    let question = world.questions.remove(0);
    world.step(Input::CoordinatorAnswer { question: question.id, answer: CoordinatorAnswer::Allowed });
    obey(&mut world);
    world.offer("c", slots(1));
    run_all(&mut world, &job);
    world.pass(600_000);
    assert_eq!((running(&world, &job), running(&world, &asked)), (5, 5));
    assert!(world.questions.is_empty());
    assert_eq!(world.scheduler.next_wake().map(|wake| wake > world.now.monotonic_ms), Some(true));
}

#[test]
fn nobody_is_moved_while_the_engine_is_away_or_the_journal_is_short_of_room() {
    let mut world = world();
    let job = spread(&mut world, service("web"), &["a"]);
    world.engine(Event::Disconnected);
    drain(&mut world, &["a"]);
    world.pass(300_000);
    assert_eq!((running(&world, &job), mode(&world, "a")), (5, MaintenanceMode::Draining));
    world.step(Input::SpaceLow(true));
    world.engine(Event::Registered { framework_id: None, master: None });
    world.pass(60_000);
    assert_eq!(running(&world, &job), 5);
    let refused = world.command(Command::Maintenance(MaintenanceCommand::Drain { hosts: vec![host("a")] }));
    assert_eq!(refused.code, ReplyCode::ErrorTransient);
    world.step(Input::SpaceLow(false));
    world.pass(60_000);
    assert_eq!(running(&world, &job), 0);
}

#[test]
fn the_engines_own_maintenance_moves_tasks_as_their_policies_allow() {
    let mut world = world();
    let free = spread(&mut world, service("free"), &["a"]);
    let bound = spread(&mut world, production("bound", Some(percentage(80.0, 0))), &["b"]);
    world.pass(10);
    let soon = |world: &World| world.now.wall_ms + 60_000;
    for agent in ["a", "b"] {
        let unavailable_from_ms = soon(&world);
        world.engine(Event::InverseOffer {
            id: format!("inverse-{agent}"),
            agent_id: None,
            host: Some(host(agent)),
            unavailable_from_ms,
        });
    }
    assert_eq!((running(&world, &free), running(&world, &bound)), (0, 4));
    assert_eq!(mode(&world, "a"), MaintenanceMode::None, "the mode is the operator's");
    let calls = world.take_calls();
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::AcceptInverseOffers { .. })).count(), 2);
}

#[test]
fn lost_agents_end_a_drain_when_their_tasks_are_lost() {
    let mut world = world();
    let job = spread(&mut world, production("web", Some(count(4, 3600))), &["a"]);
    sla_drain(&mut world, &["a"], percentage(0.0, 0), 86_400);
    world.engine(Event::AgentLost("a".into()));
    assert_eq!(mode(&world, "a"), MaintenanceMode::Draining);
    for id in on(&world, &job, "a") {
        world.status(&id, TaskState::Lost);
    }
    assert_eq!(mode(&world, "a"), MaintenanceMode::Drained);
    let wait = Duration::from_secs(1);
    world.pass(wait.as_millis() as u64);
    world.offer("a", slots(5));
    assert_eq!(on(&world, &job, "a").len(), 0, "it is still in maintenance when it comes back");
}

#[test]
fn a_restored_backup_brings_its_drains_back() {
    use scheduler::admin::AdminCommand;
    use scheduler::restore::{LaterTasks, Staging};
    let mut world = world();
    let job = spread(&mut world, production("web", Some(count(4, 3600))), &["a"]);
    sla_drain(&mut world, &["a"], percentage(0.0, 0), 600);
    let mut staging = Staging::default();
    scheduler::Scheduler::records(&world.view()).for_each(|record| staging.apply(&record).unwrap());
    let staged = staging.finish().unwrap();
    world.pass(1000);
    end(&mut world, &["a"]);
    world.pass(1000);
    let restore = AdminCommand::Restore { staged, later: LaterTasks::Keep };
    assert_eq!(world.command(Command::Admin(restore)).code, ReplyCode::Ok);
    assert_eq!((mode(&world, "a"), running(&world, &job)), (MaintenanceMode::Draining, 5));
    world.pass(597_000);
    assert_eq!(running(&world, &job), 5);
    world.pass(2000);
    assert_eq!(running(&world, &job), 0, "its time goes on from when it was asked for");
}

#[test]
fn a_host_that_was_drained_at_a_backup_and_has_tasks_now_is_not_drained_when_that_is_restored() {
    use scheduler::restore::{LaterTasks, Staging};
    let mut world = world();
    world.offer("a", slots(1));
    drain(&mut world, &["a"]);
    assert_eq!(mode(&world, "a"), MaintenanceMode::Drained);
    let mut staging = Staging::default();
    scheduler::Scheduler::records(&world.view()).for_each(|record| staging.apply(&record).unwrap());
    let staged = staging.finish().unwrap();
    end(&mut world, &["a"]);
    assert_eq!(world.create(service("web"), 1).code, ReplyCode::Ok);
    world.offer("a", slots(1));
    run_all(&mut world, &job("web"));
    let restore = scheduler::AdminCommand::Restore { staged, later: LaterTasks::Keep };
    assert_eq!(world.command(Command::Admin(restore)).code, ReplyCode::Ok);
    assert_eq!((mode(&world, "a"), running(&world, &job("web"))), (MaintenanceMode::Scheduled, 1));
    assert!(world.notices.iter().any(|notice| notice.contains("a.example was drained")), "{:?}", world.notices);
}
