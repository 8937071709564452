//! Update affinity: what an update replaces goes back to its agent, which is kept for it as long as that makes sense.

mod common;

use common::updates::*;
use common::*;
use engine::{Event, TaskState};
use model::update::UpdateSettings;
use model::{Constraint, CpuMillis, Resources, TaskConfig, TaskConstraint, TaskStatus};
use scheduler::command::UpdateControl;
use scheduler::{Command, Input, MaintenanceCommand, Settings};
use std::time::Duration;

const HOLD_MS: u64 = 180_000;

fn affine() -> Settings {
    let mut settings = Settings { enable_update_affinity: true, flapping_task_threshold: Duration::ZERO, ..settings() };
    settings.admission.allow_gpu_resource = true;
    settings
}

/// Instance 0 of version 1 runs on the agent `home`, which has room for nothing else; its update to `new` has killed it.
fn killed_by(new: TaskConfig, settings: Settings) -> World {
    killed_as(new, settings, quick(1))
}

fn killed_as(new: TaskConfig, settings: Settings, update: UpdateSettings) -> World {
    let mut world = World::with(settings);
    world.create(version(1), 1);
    world.offer("home", room(1.0));
    let id = world.active_one(&job("web"), 0).id.clone();
    world.status(&id, TaskState::Running);
    started(&mut world, request(new, 1, update));
    assert_eq!(world.task(&id).status, TaskStatus::Killing);
    world
}

/// The killed task ends, and the agent `home` offers its room again.
fn end_and_offer(world: &mut World) {
    end(world);
    world.offer("home", room(1.0));
}

fn end(world: &mut World) {
    let id = world.active_one(&job("web"), 0).id.clone();
    world.status(&id, TaskState::Killed);
}

fn host(world: &World, name: &str) -> Option<String> {
    world.active(&job(name)).first().and_then(|task| task.host.as_ref().map(ToString::to_string))
}

fn sentence(world: &World) -> String {
    let task = world.active_one(&job("web"), 0);
    world.view().pending_reasons[&task.id].sentence.clone()
}

#[test]
fn an_updated_instance_waits_for_its_agent_while_others_have_room_and_nobody_else_gets_that() {
    let mut world = killed_by(version(2), affine());
    // Both want what the agent will have; they are first.
    world.create(batch("greedy"), 1);
    world.create(TaskConfig { priority: 9, tier: Some("preferred".into()), ..batch("important") }, 1);
    end(&mut world);
    world.offer("other", room(0.5));
    world.offer("home", room(0.5));
    assert_eq!(host(&world, "web"), None, "half a core is too little for it");
    assert!(sentence(&world).contains("goes back to home.example"), "{}", sentence(&world));
    world.offer("home", room(1.0));
    assert_eq!(host(&world, "web").as_deref(), Some("home.example"));
    assert_eq!(host(&world, "greedy"), None);
    assert_eq!(world.view().counters["update_affinity_returned"], 1);
    // Used, the reservation is over.
    world.offer("home", room(1.0));
    assert_eq!(host(&world, "greedy").as_deref(), Some("home.example"));
}

#[test]
fn an_updated_instance_ignores_better_places_until_its_agent_is_kept_no_longer() {
    let mut world = killed_by(version(2), affine());
    end(&mut world);
    world.offer("other", room(8.0));
    world.pass(HOLD_MS - 1);
    assert_eq!(host(&world, "web"), None);
    world.pass(1);
    assert_eq!(host(&world, "web").as_deref(), Some("other.example"), "at once, on what was offered meanwhile");
    assert_eq!(world.view().counters["update_affinity_expired"], 1);
    // And the agent is free for all.
    world.create(batch("greedy"), 1);
    world.offer("other", room(0.1));
    world.offer("home", room(1.0));
    assert_eq!(host(&world, "greedy").as_deref(), Some("home.example"));
}

#[test]
fn the_hold_time_is_that_of_the_settings_and_begins_with_the_kill() {
    let hold = Duration::from_secs(60);
    let settings = Settings { update_affinity_reservation_hold_time: hold, ..affine() };
    let mut world = killed_by(version(2), settings);
    world.offer("other", room(8.0));
    world.pass(50_000);
    end(&mut world);
    world.pass(9_999);
    assert_eq!(host(&world, "web"), None);
    world.pass(1);
    assert_eq!(host(&world, "web").as_deref(), Some("other.example"));
}

#[test]
fn only_what_needs_no_more_and_wants_the_same_goes_back() {
    let smaller = TaskConfig { resources: Resources { cpu: CpuMillis(500), ..version(2).resources }, ..version(2) };
    let larger = |change: fn(&mut Resources)| {
        let mut new = version(2);
        change(&mut new.resources);
        new
    };
    let constraint = Constraint {
        name: "host".into(),
        constraint: TaskConstraint::Value { negated: false, values: ["other".to_owned(), "home".to_owned()].into() },
    };
    let choosy = TaskConfig { constraints: [constraint].into(), ..version(2) };
    let cases = [
        (version(2), affine(), true),
        (smaller, affine(), true),
        (larger(|resources| resources.cpu.0 += 1), affine(), false),
        (larger(|resources| resources.ram_mb += 1), affine(), false),
        (larger(|resources| resources.disk_mb += 1), affine(), false),
        (larger(|resources| resources.gpus += 1), affine(), false),
        (choosy, affine(), false),
        (version(2), Settings { enable_update_affinity: false, ..affine() }, false),
    ];
    for (new, settings, waits) in cases {
        let what = format!("{:?} {:?} {}", new.resources, new.constraints, settings.enable_update_affinity);
        let mut world = killed_by(new, settings);
        end(&mut world);
        let mut offer = world.make_offer("other", Resources { gpus: 1, ..room(8.0) });
        offer.attributes.insert("host".into(), vec!["other".into()]);
        world.engine(Event::Offers(vec![offer]));
        assert_eq!(host(&world, "web").is_none(), waits, "{what}");
    }
}

#[test]
fn several_instances_go_back_to_one_agent_together_and_each_to_its_own() {
    let mut world = World::with(affine());
    world.create(version(1), 3);
    world.offer("home", room(2.0));
    world.offer("away", room(1.0));
    for task in world.active(&job("web")) {
        world.status(&task.id, TaskState::Running);
    }
    let homes: Vec<_> = world.active(&job("web")).iter().map(|task| task.host.clone()).collect();
    started(&mut world, request(version(2), 3, quick(3)));
    for task in world.active(&job("web")) {
        assert_eq!(task.status, TaskStatus::Killing);
        world.status(&task.id, TaskState::Killed);
    }
    world.offer("other", room(8.0));
    world.offer("away", room(3.0));
    assert_eq!(world.active(&job("web")).iter().filter(|task| task.host.is_some()).count(), 1, "there is room for all");
    world.offer("home", room(2.0));
    let now: Vec<_> = world.active(&job("web")).iter().map(|task| task.host.clone()).collect();
    assert_eq!(now, homes);
    assert_eq!(versions(&world), [(0, 2), (1, 2), (2, 2)]);
}

/// What ends a reservation before its time.
type End = fn(&mut World);

#[test]
fn a_reservation_ends_with_its_update_and_with_its_agent() {
    let drain: End = |world| {
        let hosts = vec!["home.example".to_owned()];
        world.command(Command::Maintenance(MaintenanceCommand::Drain { hosts }));
    };
    let lose: End = |world| world.engine(Event::AgentLost("home".into()));
    let ask_back: End = |world| {
        let (id, host) = ("inverse".to_owned(), None);
        let unavailable_from_ms = world.now.wall_ms;
        world.engine(Event::InverseOffer { id, agent_id: Some("home".into()), host, unavailable_from_ms });
    };
    let go_away_soon: End = |world| {
        let mut offer = world.make_offer("home", room(1.0));
        offer.unavailable_from_ms = Some(world.now.wall_ms);
        world.engine(Event::Offers(vec![offer]));
    };
    let abort: End = |world| {
        let key = world.view().updates.keys().next().unwrap().clone();
        control(world, &key, UpdateControl::Abort);
    };
    let restart: End = |world| world.restart(1000, 2);
    for (what, end_it) in [
        ("drained", drain),
        ("lost", lose),
        ("asked back", ask_back),
        ("away soon", go_away_soon),
        ("aborted", abort),
        ("restarted", restart),
    ] {
        for killed_first in [false, true] {
            let mut world = killed_by(version(2), affine());
            if killed_first {
                end(&mut world);
            }
            end_it(&mut world);
            if !killed_first && what != "aborted" {
                end(&mut world);
            }
            world.offer("other", room(8.0));
            world.pass(1);
            if killed_first || what != "aborted" {
                assert_eq!(host(&world, "web").as_deref(), Some("other.example"), "{what}, {killed_first}");
            }
            world.create(batch("greedy"), 9);
            world.offer("home", room(1.0));
            let homes =
                world.active(&job("greedy")).iter().filter(|task| task.agent_id.as_deref() == Some("home")).count();
            let usable = !matches!(what, "drained");
            assert_eq!(homes, usize::from(usable), "{what}, {killed_first}: the agent is free for all that may use it");
        }
    }
}

#[test]
fn a_paused_update_keeps_its_reservations_and_a_removed_instance_has_none() {
    let mut world = killed_by(version(2), affine());
    end(&mut world);
    let key = world.view().updates.keys().next().unwrap().clone();
    control(&mut world, &key, UpdateControl::Pause);
    world.offer("other", room(8.0));
    assert_eq!(host(&world, "web"), None);
    world.offer("home", room(1.0));
    assert_eq!(host(&world, "web").as_deref(), Some("home.example"));
    // An update that removes an instance keeps its agent for nobody.
    let mut world = World::with(affine());
    world.create(version(1), 2);
    world.offer("home", room(2.0));
    for task in world.active(&job("web")) {
        world.status(&task.id, TaskState::Running);
    }
    started(&mut world, request(version(1), 1, quick(1)));
    world.create(batch("greedy"), 1);
    world.offer("home", room(1.0));
    assert_eq!(host(&world, "greedy").as_deref(), Some("home.example"));
}

#[test]
fn a_rollback_goes_back_to_the_same_agent_too() {
    let update = UpdateSettings { rollback_on_failure: true, ..quick(1) };
    let mut world = killed_as(version(2), affine(), update);
    end_and_offer(&mut world);
    assert_eq!(host(&world, "web").as_deref(), Some("home.example"));
    let id = world.active_one(&job("web"), 0).id.clone();
    world.status(&id, TaskState::Running);
    let key = world.view().updates.keys().next().unwrap().clone();
    control(&mut world, &key, UpdateControl::Rollback);
    world.offer("other", room(8.0));
    end_and_offer(&mut world);
    assert_eq!((host(&world, "web").as_deref(), versions(&world)), (Some("home.example"), vec![(0, 1)]));
}

#[test]
fn preemption_takes_no_agent_that_is_kept_and_what_it_has_made_room_on_is_kept_for_nobody_else() {
    let production = |name: &str| TaskConfig { tier: Some("preferred".into()), ..service(name) };
    let quota = |world: &mut World| {
        let quota = Resources { cpu: CpuMillis(99_000), ram_mb: 99_000, disk_mb: 99_000, ..Resources::ZERO };
        world.command(Command::SetQuota { role: "www-data".into(), quota });
    };
    // An agent with a victim and a reservation: the victim stays until the reservation is over.
    let mut world = World::with(Settings {
        preemption_delay: Duration::from_secs(1),
        preemption_slot_search_interval: Duration::from_secs(1),
        ..affine()
    });
    quota(&mut world);
    world.create(version(1), 1);
    world.create(batch("victim"), 1);
    world.offer("home", room(2.0));
    world.offer("home", room(1.0));
    for task in world.active(&job("web")).iter().chain(&world.active(&job("victim"))) {
        world.status(&task.id, TaskState::Running);
    }
    started(&mut world, request(version(2), 1, quick(1)));
    world.create(production("important"), 1);
    world.pass(30_000);
    assert_eq!(world.active_one(&job("victim"), 0).status, TaskStatus::Running);
    end_and_offer(&mut world);
    assert_eq!(host(&world, "web").as_deref(), Some("home.example"));
    world.pass(3_000);
    let evicted =
        |world: &World, name: &str| world.active(&job(name)).iter().any(|task| task.status == TaskStatus::Preempting);
    assert!(evicted(&world, "victim") || evicted(&world, "web"), "now the agent is fair game");

    // The other way round: room was made by preemption, and then an update kills the last task there.
    let mut world = World::with(Settings {
        preemption_delay: Duration::from_secs(1),
        preemption_slot_search_interval: Duration::from_secs(1),
        ..affine()
    });
    quota(&mut world);
    world.create(TaskConfig { tier: Some("preferred".into()), ..version(1) }, 1);
    world.create(
        TaskConfig { resources: Resources { cpu: CpuMillis(2000), ..batch("victim").resources }, ..batch("victim") },
        1,
    );
    world.offer("home", room(3.0));
    world.offer("home", room(2.0));
    for task in world.active(&job("web")).iter().chain(&world.active(&job("victim"))) {
        world.status(&task.id, TaskState::Running);
    }
    let important = production("important");
    world.create(TaskConfig { resources: Resources { cpu: CpuMillis(2000), ..important.resources }, ..important }, 1);
    world.pass(3_000);
    assert!(evicted(&world, "victim"));
    started(&mut world, request(TaskConfig { tier: Some("preferred".into()), ..version(2) }, 1, quick(1)));
    end(&mut world);
    world.offer("other", room(1.0));
    assert_eq!(host(&world, "web").as_deref(), Some("other.example"), "it waits for no agent");
    world.offer("home", room(2.0));
    assert_eq!(host(&world, "important").as_deref(), Some("home.example"));
}

#[test]
fn a_task_that_runs_nowhere_or_out_of_reach_keeps_no_agent() {
    let mut world = World::with(affine());
    world.create(version(1), 1);
    started(&mut world, request(version(2), 1, quick(1)));
    world.offer("other", room(1.0));
    assert_eq!(host(&world, "web").as_deref(), Some("other.example"));
    world.step(Input::Tick);
}
