//! The real scheduler, loop, journal and Mesos engine against the simulated Mesos over HTTP: what users were promised, with everything
//! that goes wrong between them. Simulated time passes faster than real time for both sides, and is skipped where a test would wait.

#[path = "mesos/daybreak.rs"]
mod daybreak;
#[path = "mesos/world.rs"]
mod world;

use std::time::Duration;

use daybreak::{Daybreak, LoopClock, batch, options, service};
use model::{JobKey, TaskConfig, TaskStatus};
use simulation::mesos::faults::{Fate, Rule, Topic};
use simulation::mesos::history::Moment;
use simulation::mesos::server::{AgentSpec, Simulation};
use simulation::mesos::{Cluster, Script, Settings};
use world::{SOON, World};

fn patient() -> Settings {
    Settings { masters: 3, agent_reregister_spread_ms: 5_000, ..Settings::default() }
}

#[test]
fn a_job_runs_is_killed_and_every_update_is_acknowledged_exactly_once() {
    let world = World::new(5, Settings::default());
    world.job(&service("web"), 40);
    world.daybreak().wait_for(TaskStatus::Running, 40);
    assert_eq!(world.live(), 40);
    let accepts = world.simulation.with(|cluster| cluster.counters().accepts);
    assert!(accepts <= 10, "an ACCEPT carries as many tasks as fit: {accepts}");
    world.daybreak().kill_job(&service("web").job);
    world.daybreak().wait_for(TaskStatus::Killed, 40);
    world.judge();
    let counters = world.simulation.with(|cluster| cluster.counters());
    assert_eq!(counters.acknowledged, counters.updates_with_uuid);
    assert_eq!((counters.acknowledgements_dropped, counters.refused, counters.launched), (0, 0, 40));
}

#[test]
fn tasks_are_named_and_labelled_for_mesos_own_pages() {
    let world = World::new(1, Settings::default());
    world.job(&service("web"), 1);
    world.daybreak().wait_for(TaskStatus::Running, 1);
    let known = world.simulation.with(Cluster::known_tasks);
    assert!(known[0].1.contains("www-data/prod/web"), "{known:?}");
}

#[test]
fn nothing_is_launched_or_acknowledged_before_it_is_durable() {
    let world = World::new(2, Settings::default());
    world.simulation.with(|cluster| {
        cluster.set_scripts(|_, _| Script { starting_ms: Some(2_000), ..Script::batch(1_000) });
    });
    world.until("offers", |cluster| cluster.outstanding_offers() == 2);
    let request = {
        world.daybreak().hold_disk(true);
        let daybreak = world.daybreak();
        std::thread::scope(|scope| {
            let creating = scope.spawn(|| daybreak.create(batch("once"), 10));
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 0, "launched before durable");
            daybreak.hold_disk(false);
            creating.join()
        })
    };
    request.unwrap();
    world.until("launches", |cluster| cluster.counters().launched == 10);
    world.daybreak().hold_disk(true);
    world.until("updates", |cluster| cluster.counters().updates_with_uuid >= 10);
    std::thread::sleep(Duration::from_millis(200));
    let counters = world.simulation.with(|cluster| cluster.counters());
    assert_eq!(counters.acknowledged, 0, "acknowledged before durable");
    world.daybreak().hold_disk(false);
    world.daybreak().wait_for(TaskStatus::Finished, 10);
    world.judge();
}

#[test]
fn lost_late_and_doubled_messages_lose_no_task_and_start_none_twice() {
    let world = World::new(6, Settings { seed: 7, ..Settings::default() });
    world.simulation.with(|cluster| {
        for topic in [Topic::Update, Topic::Acknowledgement] {
            cluster.faults.add(Rule::sometimes(topic, 150, Fate::Lost));
            cluster.faults.add(Rule::sometimes(topic, 150, Fate::Late(3_000)));
            cluster.faults.add(Rule::sometimes(topic, 150, Fate::Twice(2_000)));
        }
        cluster.faults.add(Rule::sometimes(Topic::Kill, 300, Fate::Lost));
        cluster.set_scripts(
            |info, _| {
                if info.name.contains("batch") { Script::batch(20_000) } else { Script::service() }
            },
        );
    });
    world.job(&service("web"), 60);
    world.job(&batch("batch"), 60);
    // A streak of bad luck with one task waits up to ten minutes for its next try.
    world.pass_until("every task runs or has ended", || {
        world.daybreak().count(TaskStatus::Finished) == 60 && world.daybreak().count(TaskStatus::Running) == 60
    });
    world.daybreak().kill_job(&service("web").job);
    // One whose kills are lost time and again is LOST after five minutes; that nothing of it runs on is judged below.
    world.pass_until("every service has ended", || {
        world.daybreak().count(TaskStatus::Killed) + world.daybreak().count(TaskStatus::Lost) == 60
    });
    assert!(world.simulation.with(|cluster| cluster.faults.met) > 50);
    world.simulation.with(|cluster| cluster.faults.clear());
    world.pass(700_000);
    // What an agent says again when time has passed, it says before this machine has heard of it.
    world.pass_until("every end is acknowledged", || {
        world.simulation.with(|cluster| cluster.known_tasks().len() == cluster.live_tasks().len())
    });
    world.judge();
}

#[test]
fn a_stream_that_is_cut_within_a_record_is_taken_up_again() {
    let world = World::new(3, Settings::default());
    world.simulation.stream_faults().split_records(5);
    world.job(&service("web"), 20);
    world.daybreak().wait_for(TaskStatus::Running, 20);
    for round in 1..=5 {
        world.simulation.stream_faults().cut_in_next_record();
        world.skip(15_000);
        world.until("another subscription", |cluster| cluster.counters().subscriptions > round);
    }
    world.job(&service("more"), 20);
    world.daybreak().wait_for(TaskStatus::Running, 40);
    world.judge();
}

#[test]
fn a_stream_that_stalls_is_given_up_after_missed_heartbeats() {
    // One heartbeat each simulated 2.5 s is 250 real ms; the master says so in simulated seconds, so the engine waits five times 2.5 s
    // of real time at most.
    let settings = Settings { heartbeat_interval_ms: 400, ..Settings::default() };
    let world = World::new(2, settings);
    world.job(&service("web"), 4);
    world.daybreak().wait_for(TaskStatus::Running, 4);
    let before = world.simulation.with(|cluster| cluster.counters().subscriptions);
    world.simulation.stream_faults().halve_next_record();
    world.until("another subscription", |cluster| cluster.counters().subscriptions > before);
    world.simulation.stream_faults().stall(true);
    std::thread::sleep(Duration::from_millis(200));
    world.simulation.stream_faults().stall(false);
    world.simulation.nudge();
    world.job(&service("more"), 4);
    world.daybreak().wait_for(TaskStatus::Running, 8);
    world.judge();
}

#[test]
fn masters_that_are_not_ready_are_asked_again() {
    let world = World::new(2, Settings { masters: 3, ..Settings::default() });
    world.until("subscribed", |cluster| cluster.counters().subscriptions == 1);
    world.simulation.with(|cluster| cluster.refuse_requests(503, 10));
    world.simulation.cut_connections(0);
    world.job(&service("web"), 10);
    world.daybreak().wait_for(TaskStatus::Running, 10);
    world.judge();
}

#[test]
fn another_master_is_followed_and_tasks_live_on() {
    let world = World::new(10, patient());
    world.job(&service("web"), 50);
    world.daybreak().wait_for(TaskStatus::Running, 50);
    let framework = world.simulation.with(Cluster::frameworks);
    for _ in 0..2 {
        world.simulation.with(Cluster::kill_leader);
        world.until("subscribed again", |cluster| cluster.frameworks().iter().any(|(_, subscribed)| *subscribed));
        world.pass(20_000);
    }
    assert_eq!(world.simulation.with(Cluster::frameworks).len(), 1);
    assert_eq!(world.simulation.with(Cluster::frameworks)[0].0, framework[0].0, "under the same id");
    assert_eq!(world.daybreak().count(TaskStatus::Running), 50);
    assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 50, "nothing was replaced");
    world.daybreak().kill_job(&service("web").job);
    world.daybreak().wait_for(TaskStatus::Killed, 50);
    world.judge();
}

#[test]
fn a_master_that_calls_live_tasks_lost_while_its_agents_come_back_replaces_nothing() {
    // T31. Agents come back after five minutes; until then the new master answers as if it had never heard of them.
    let settings = Settings { answers_lost_while_recovering: true, agent_reregister_spread_ms: 300_000, ..patient() };
    let world = World::new(10, settings);
    world.job(&service("web"), 30);
    world.daybreak().wait_for(TaskStatus::Running, 30);
    world.simulation.with(Cluster::kill_leader);
    world.until("subscribed again", |cluster| cluster.frameworks().iter().any(|(_, subscribed)| *subscribed));
    world.until("asked about tasks", |cluster| cluster.counters().explicit_reconciles > 1);
    for _ in 0..30 {
        world.pass(10_000);
        assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 30, "replaced too early");
    }
    world.pass(60_000);
    world.daybreak().wait_for(TaskStatus::Running, 30);
    assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 30);
    world.judge();
}

#[test]
fn agents_that_never_come_back_after_a_failover_are_replaced_once_their_time_is_over() {
    // The other half of T31.
    let world = World::new(4, patient());
    world.job(&service("web"), 8);
    world.daybreak().wait_for(TaskStatus::Running, 8);
    let on_first = world.simulation.with(|cluster| {
        cluster.partition(0);
        cluster.live_tasks().iter().filter(|(_, agent, _)| *agent == 0).count()
    });
    world.simulation.with(Cluster::kill_leader);
    world.until("subscribed again", |cluster| cluster.frameworks().iter().any(|(_, subscribed)| *subscribed));
    world.pass(570_000);
    assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 8, "too early");
    world.pass(120_000);
    for _ in 0..60 {
        if world.simulation.with(|cluster| cluster.counters().launched) == 8 + on_first as u64 {
            break;
        }
        world.pass(60_000);
    }
    assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 8 + on_first as u64);
    world.daybreak().wait_for(TaskStatus::Running, 8);
}

fn partition_policy(config: TaskConfig, delay_secs: i64) -> TaskConfig {
    let partition_policy = Some(model::task::PartitionPolicy { reschedule: true, delay_secs: Some(delay_secs) });
    TaskConfig { partition_policy, ..config }
}

#[test]
fn an_agent_that_returns_within_the_partition_delay_keeps_its_tasks() {
    // T29, within.
    let world = World::new(4, Settings::default());
    world.job(&partition_policy(service("web"), 600), 12);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    let lost = world.simulation.with(|cluster| cluster.live_tasks()[0].1);
    world.simulation.with(|cluster| cluster.partition(lost));
    world.pass(80_000);
    let away =
        world.simulation.with(|cluster| cluster.live_tasks().iter().filter(|(_, agent, _)| *agent == lost).count());
    world.daybreak().wait_for(TaskStatus::Partitioned, away as u64);
    world.pass(300_000);
    world.simulation.with(|cluster| cluster.heal(lost));
    world.daybreak().wait_for(TaskStatus::Running, 12);
    world.pass(600_000);
    assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 12);
    world.judge();
}

#[test]
fn an_agent_that_returns_too_late_finds_its_tasks_replaced_and_the_surplus_is_killed_at_once() {
    // T29, after.
    let world = World::new(4, Settings::default());
    world.job(&partition_policy(service("web"), 60), 12);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    let lost = world.simulation.with(|cluster| cluster.live_tasks()[0].1);
    world.simulation.with(|cluster| cluster.partition(lost));
    let away =
        world.simulation.with(|cluster| cluster.live_tasks().iter().filter(|(_, agent, _)| *agent == lost).count());
    assert!(away > 0);
    world.pass(76_000);
    world.pass(50_000);
    assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 12, "the delay is not over");
    world.pass(30_000);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    assert_eq!(world.live(), 12 + away);
    let healed_ms = world.simulation.with(|cluster| {
        cluster.heal(lost);
        cluster.now_ms()
    });
    world.until("the surplus is gone", |cluster| cluster.live_tasks().len() == 12);
    let kills: Vec<u64> = world.simulation.with(|cluster| {
        let kills = cluster.history.moments().iter();
        kills
            .filter(|(_, moment)| matches!(moment, Moment::KillArrived { agent, .. } if *agent == lost))
            .map(|(at, _)| *at)
            .collect()
    });
    assert!(kills.len() >= away);
    // A round trip, at ten simulated ms for one real.
    assert!(kills.iter().all(|at| at - healed_ms < 5_000), "{kills:?} after {healed_ms}");
    world.judge();
}

#[test]
fn an_agent_that_is_gone_for_good_is_replaced() {
    let world = World::new(4, Settings::default());
    world.job(&service("web"), 12);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    world.simulation.with(|cluster| cluster.unregister_agent(1));
    world.until("replacements", |cluster| cluster.live_tasks().len() == 12);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    world.simulation.with(|cluster| cluster.mark_agent_gone(2));
    world.until("replacements", |cluster| cluster.live_tasks().len() == 12);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    world.judge();
}

#[test]
fn agents_that_restart_keep_their_tasks() {
    let world = World::new(3, Settings::default());
    world.job(&service("web"), 12);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    for agent in 0..3 {
        world.simulation.with(|cluster| cluster.crash_agent(agent));
        world.pass(10_000);
        world.simulation.with(|cluster| cluster.restart_agent(agent));
        world.pass(10_000);
    }
    world.daybreak().wait_for(TaskStatus::Running, 12);
    assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 12);
    world.judge();
}

#[test]
fn agents_that_lose_their_executors_have_their_tasks_replaced() {
    let world = World::new(3, Settings::default());
    world.job(&service("web"), 9);
    world.daybreak().wait_for(TaskStatus::Running, 9);
    world.simulation.with(|cluster| {
        cluster.silence_executors(0);
        cluster.crash_agent(0);
    });
    world.pass(5_000);
    world.simulation.with(|cluster| cluster.restart_agent(0));
    let launched =
        world.simulation.with(|cluster| cluster.live_tasks().iter().filter(|(_, agent, _)| *agent == 0).count());
    world.pass(5_000);
    world.until("replacements", |cluster| cluster.counters().launched == 9 + launched as u64);
    world.daybreak().wait_for(TaskStatus::Running, 9);
    world.judge();
}

#[test]
fn a_scheduler_that_dies_adopts_what_runs_and_starts_nothing_twice() {
    let mut world = World::new(6, Settings::default());
    world.simulation.with(|cluster| {
        cluster.set_scripts(
            |info, _| {
                if info.name.contains("batch") { Script::batch(10_000) } else { Script::service() }
            },
        );
    });
    world.job(&service("web"), 40);
    world.job(&batch("batch"), 20);
    // In the middle of everything.
    std::thread::sleep(Duration::from_millis(15));
    for _ in 0..3 {
        world.restart();
        std::thread::sleep(Duration::from_millis(30));
    }
    world.daybreak().wait_for(TaskStatus::Running, 40);
    world.pass(60_000);
    // A launch that never left is LOST after reconciliation and replaced; nothing else is.
    let finished = |view: &scheduler::View| view.count_by_status().get(&TaskStatus::Finished).copied() == Some(20);
    assert!(world.daybreak().reaches(SOON, finished), "{:?}", world.daybreak().view().count_by_status());
    assert_eq!(world.simulation.with(Cluster::frameworks).len(), 1, "one framework id");
    world.judge();
}

#[test]
fn nothing_is_launched_before_the_framework_id_is_durable_and_the_id_outlives_crashes() {
    // T32.
    let mut world = World::new(2, Settings::default());
    world.simulation.with(|cluster| cluster.refuse_requests(503, u64::MAX));
    world.restart();
    let daybreak = world.daybreak();
    assert!(daybreak.reaches(SOON, |view| view.epoch > 0 || view.position > 0));
    daybreak.hold_disk(true);
    world.simulation.with(|cluster| cluster.refuse_requests(503, 0));
    std::thread::scope(|scope| {
        scope.spawn(|| daybreak.create(service("web"), 2));
        world.until("offers", |cluster| cluster.counters().offers >= 2);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 0, "the id is not durable yet");
        assert_eq!(daybreak.view().framework_id, None);
        daybreak.hold_disk(false);
    });
    world.daybreak().wait_for(TaskStatus::Running, 2);
    let id = world.daybreak().view().framework_id.clone();
    for _ in 0..3 {
        world.restart();
        world.until("subscribed", |cluster| cluster.frameworks().iter().any(|(_, subscribed)| *subscribed));
    }
    assert_eq!(world.daybreak().view().framework_id, id);
    let subscribed: Vec<_> =
        world.simulation.with(Cluster::frameworks).into_iter().filter(|(_, subscribed)| *subscribed).collect();
    assert_eq!(subscribed, [(id.unwrap().to_string(), true)]);
    world.judge();
}

#[test]
fn without_any_master_for_five_minutes_it_waits_says_since_when_and_goes_on_alone() {
    // T33, the master's half.
    let world = World::new(3, Settings::default());
    world.job(&service("web"), 6);
    world.daybreak().wait_for(TaskStatus::Running, 6);
    world.simulation.with(Cluster::kill_leader);
    assert!(world.daybreak().reaches(SOON, |view| view.disconnected_since_ms.is_some()));
    world.pass(300_000);
    assert!(world.daybreak().view().disconnected_since_ms.is_some());
    world.simulation.with(|cluster| cluster.start_master(0));
    assert!(world.daybreak().reaches(SOON, |view| view.disconnected_since_ms.is_none() && view.registered));
    world.pass(20_000);
    world.job(&service("more"), 6);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    assert_eq!(world.simulation.with(|cluster| cluster.counters().launched), 12);
    world.judge();
}

#[test]
fn a_scheduler_whose_place_was_taken_stops_and_says_why() {
    // T3 at the master.
    let world = World::new(2, Settings::default());
    world.job(&service("web"), 2);
    world.daybreak().wait_for(TaskStatus::Running, 2);
    let id = world.simulation.with(Cluster::frameworks)[0].0.clone();
    let info = world.simulation.with(|cluster| cluster.framework_info(&id)).unwrap();
    world.simulation.with(|cluster| {
        let subscribe = mesos::v1::scheduler::call::Subscribe { framework_info: info.clone(), ..Default::default() };
        let call = mesos::v1::scheduler::Call {
            framework_id: info.id.clone(),
            r#type: Some(mesos::v1::scheduler::call::Type::Subscribe as i32),
            subscribe: Some(subscribe),
            ..Default::default()
        };
        cluster.call(call, None, None)
    });
    let deadline = std::time::Instant::now() + SOON;
    while world.daybreak().told.deposed.get().is_none() {
        assert!(std::time::Instant::now() < deadline, "it does not know that it was deposed");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(world.daybreak().told.deposed.get().unwrap().contains("failed over"));
    assert_eq!(world.live(), 2);
}

#[test]
fn an_idle_framework_suppresses_offers_and_a_new_job_asks_at_once() {
    let settings =
        scheduler::Settings { suppress_idle_after: Some(Duration::from_secs(30)), ..scheduler::Settings::default() };
    let world = World::with(3, Settings::default(), settings, |_| {});
    world.until("offers", |cluster| cluster.outstanding_offers() == 3);
    world.pass(60_000);
    world.until("suppressed", |cluster| cluster.counters().suppresses >= 1);
    world.pass(600_000);
    let idle = world.simulation.with(|cluster| cluster.counters());
    world.pass(300_000);
    assert_eq!(world.simulation.with(|cluster| cluster.counters()).offers, idle.offers, "costs the master nothing");
    world.job(&service("web"), 3);
    world.daybreak().wait_for(TaskStatus::Running, 3);
    assert!(world.simulation.with(|cluster| cluster.counters().revives) >= 1);
    // A broken stream does not end it: the subscription says so again.
    world.pass(60_000);
    world.simulation.cut_connections(0);
    world.until("subscribed again", |cluster| cluster.counters().subscriptions >= 2);
    world.judge();
}

#[test]
fn rescinded_offers_cost_no_task() {
    let world = World::new(4, Settings { offer_timeout_ms: Some(60_000), ..Settings::default() });
    for round in 0..20 {
        world.job(&service(&format!("web-{round}")), 4);
        world.simulation.with(Cluster::rescind_all);
    }
    // What was accepted too late is LOST, and waits as a task does that ended too soon.
    for _ in 0..100 {
        if world.daybreak().count(TaskStatus::Running) == 80 {
            break;
        }
        world.pass(20_000);
    }
    world.daybreak().wait_for(TaskStatus::Running, 80);
    world.judge();
}

#[test]
fn a_launch_that_is_lost_with_its_connection_is_found_missing_and_replaced() {
    let world = World::new(1, Settings::default());
    world.simulation.with(|cluster| cluster.faults.add(Rule::next(Topic::Launch, 2, Fate::Lost)));
    world.job(&service("web"), 6);
    world.daybreak().wait_for(TaskStatus::Running, 4);
    assert_eq!(world.live(), 4);
    // Between a real master and agent a message is lost only with their connection; the agent then says what it has.
    world.simulation.with(|cluster| cluster.crash_agent(0));
    world.pass(5_000);
    world.simulation.with(|cluster| cluster.restart_agent(0));
    for _ in 0..60 {
        if world.daybreak().count(TaskStatus::Running) == 6 {
            break;
        }
        world.pass(10_000);
    }
    world.daybreak().wait_for(TaskStatus::Running, 6);
    world.judge();
}

#[test]
fn a_launch_that_the_master_forgets_is_asked_about_and_replaced_within_two_minutes() {
    let world = World::new(3, Settings::default());
    world.simulation.with(|cluster| cluster.lose_accepts(1));
    world.job(&service("web"), 6);
    world.daybreak().wait_for(TaskStatus::Assigned, 6);
    let before_ms = world.simulation.with(|cluster| cluster.now_ms());
    world.pass(120_000);
    world.daybreak().wait_for(TaskStatus::Running, 6);
    let took_ms = world.simulation.with(|cluster| cluster.now_ms()) - before_ms;
    assert!(took_ms < 300_000, "found by asking, not by waiting for the end of its time: {took_ms}");
    assert_eq!(world.daybreak().count(TaskStatus::Lost), 6);
    world.judge();
}

#[test]
fn a_launch_that_an_agent_took_and_of_which_nothing_is_ever_heard_is_replaced_when_its_time_is_over() {
    // The master has passed it on and says so; its agent, which never got it, is there and well.
    let world = World::new(2, Settings::default());
    world.simulation.with(|cluster| cluster.faults.add(Rule::next(Topic::Launch, 2, Fate::Lost)));
    world.job(&service("web"), 6);
    world.daybreak().wait_for(TaskStatus::Running, 4);
    world.pass(240_000);
    assert!(world.simulation.with(|cluster| cluster.counters().explicit_reconciles) >= 1, "they are asked about");
    assert_eq!(world.daybreak().count(TaskStatus::Assigned), 2, "what is staged may still come");
    world.pass(90_000);
    world.daybreak().wait_for(TaskStatus::Running, 6);
    assert_eq!(world.daybreak().count(TaskStatus::Lost), 2);
    assert_eq!(world.live(), 6);
}

#[test]
fn under_a_new_master_a_returning_agents_surplus_is_killed_within_a_round_trip() {
    // Its tasks were given up under the old master, and their replacements run.
    let world = World::new(4, patient());
    world.job(&partition_policy(service("web"), 60), 12);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    let lost = world.simulation.with(|cluster| cluster.live_tasks()[0].1);
    let away =
        world.simulation.with(|cluster| cluster.live_tasks().iter().filter(|(_, agent, _)| *agent == lost).count());
    world.simulation.with(|cluster| cluster.partition(lost));
    world.pass(160_000);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    assert_eq!(world.live(), 12 + away);
    world.simulation.with(Cluster::kill_leader);
    world.until("subscribed again", |cluster| cluster.frameworks().iter().any(|(_, subscribed)| *subscribed));
    world.pass(60_000);
    // What the new master says when the agent comes back does not reach the scheduler.
    world.simulation.with(|cluster| cluster.forget_unreachable());
    let healed_ms = world.simulation.with(|cluster| {
        cluster.heal(lost);
        cluster.now_ms()
    });
    world.until("the surplus is gone", |cluster| cluster.live_tasks().len() == 12);
    let gone_ms = world.simulation.with(|cluster| cluster.now_ms());
    assert!(gone_ms - healed_ms < 60_000, "{} ms after its return", gone_ms - healed_ms);
    world.judge();
}

#[test]
fn a_kill_that_found_its_agent_out_of_reach_under_a_new_master_is_repeated_when_the_agent_returns() {
    let world = World::new(4, Settings { agent_reregister_spread_ms: 0, ..patient() });
    world.job(&service("web"), 12);
    world.daybreak().wait_for(TaskStatus::Running, 12);
    let lost = world.simulation.with(|cluster| cluster.live_tasks()[0].1);
    world.simulation.with(|cluster| cluster.partition(lost));
    world.simulation.with(Cluster::kill_leader);
    world.until("subscribed again", |cluster| cluster.frameworks().iter().any(|(_, subscribed)| *subscribed));
    world.pass(10_000);
    world.daybreak().kill_job(&service("web").job);
    world.pass(250_000);
    assert!(world.live() > 0, "the order found nobody");
    let healed_ms = world.simulation.with(|cluster| {
        cluster.heal(lost);
        cluster.now_ms()
    });
    world.until("what was killed is gone", |cluster| cluster.live_tasks().is_empty());
    let gone_ms = world.simulation.with(|cluster| cluster.now_ms());
    assert!(gone_ms - healed_ms < 60_000, "{} ms after its return", gone_ms - healed_ms);
    world.daybreak().wait_for(TaskStatus::Killed, 12);
    world.judge();
}

#[test]
fn maintenance_is_answered_and_no_new_task_goes_where_a_machine_goes_away() {
    let world = World::new(2, Settings::default());
    world.job(&service("web"), 4);
    world.daybreak().wait_for(TaskStatus::Running, 4);
    let leaving = world.simulation.with(|cluster| cluster.live_tasks()[0].1);
    world.simulation.with(|cluster| {
        let soon_ms = cluster.now_ms() + 60_000;
        cluster.schedule_maintenance(leaving, soon_ms, None);
    });
    let deadline = std::time::Instant::now() + SOON;
    while !world.daybreak().told.calls.lock().unwrap().contains_key("accept inverse offers") {
        assert!(std::time::Instant::now() < deadline, "the inverse offer is not answered");
        world.pass(1_000);
    }
    world.job(&service("more"), 6);
    let runs = |view: &scheduler::View| {
        let of_job = |task: &&std::sync::Arc<scheduler::Task>| task.config.job.name == "more";
        view.tasks.values().filter(of_job).filter(|task| task.status == TaskStatus::Running).count() == 6
    };
    assert!(world.daybreak().reaches(SOON, runs), "{:?}", world.daybreak().view().count_by_status());
    let there = world.simulation.with(|cluster| {
        cluster.live_tasks().iter().filter(|(id, agent, _)| *agent == leaving && id.contains("more")).count()
    });
    assert_eq!(there, 0);
}

#[test]
fn several_roles_and_reserved_resources_are_used() {
    let simulation = Simulation::start(Settings::default(), 10.0, None).unwrap();
    simulation.add_agents([
        AgentSpec::new("a0", "cpus(web):8;mem(web):8192;disk(web):8192;ports(web):[31000-31999]"),
        AgentSpec::new("a1", "cpus:8;mem:8192;disk:8192;ports:[31000-31999]"),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&simulation.master_list());
    options.framework.roles = vec!["*".into(), "web".into()];
    let clock = LoopClock::Simulated(simulation.time(), 1_700_000_000_000);
    let daybreak = Daybreak::start(directory.path(), options, scheduler::Settings::default(), clock, false);
    let big = |name: &str| TaskConfig::new(JobKey::new("www-data", "prod", name), 6.0, 16, 16, "{}");
    daybreak.create(big("one"), 2);
    daybreak.wait_for(TaskStatus::Running, 2);
    let agents: Vec<usize> =
        simulation.with(|cluster| cluster.live_tasks().iter().map(|(_, agent, _)| *agent).collect());
    assert!(agents.contains(&0) && agents.contains(&1), "{agents:?}");
}

#[test]
fn what_two_roles_were_offered_of_an_agent_comes_together_for_a_task_that_needs_both() {
    let simulation = Simulation::start(Settings::default(), 10.0, None).unwrap();
    // What is nobody's goes to the role that comes first, beside what is reserved for the other.
    simulation.add_agents([AgentSpec::new(
        "a0",
        "cpus(web):4;mem(web):4096;disk(web):4096;cpus:4;mem:4096;disk:4096;ports:[31000-31999]",
    )]);
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&simulation.master_list());
    options.framework.roles = vec!["batch".into(), "web".into()];
    let clock = LoopClock::Simulated(simulation.time(), 1_700_000_000_000);
    let settings = scheduler::Settings { several_roles: true, ..scheduler::Settings::default() };
    let daybreak = Daybreak::start(directory.path(), options, settings, clock, false);
    let two_are_held = |view: &scheduler::View| view.agents.values().any(|agent| agent.shares.len() == 2);
    assert!(daybreak.reaches(SOON, two_are_held), "{:?}", daybreak.view().agents);
    let begun_ms = simulation.with(|cluster| cluster.now_ms());
    daybreak.create(TaskConfig::new(JobKey::new("www-data", "prod", "wide"), 6.0, 16, 16, "{}"), 1);
    daybreak.wait_for(TaskStatus::Running, 1);
    let took_ms = simulation.with(|cluster| cluster.now_ms()) - begun_ms;
    // Offers are held for five minutes.
    assert!(took_ms < 60_000, "{took_ms} ms");
}

#[test]
fn masters_that_want_a_name_and_a_secret_get_them() {
    let credentials = Some(vec![("daybreak".to_owned(), "secret".to_owned())]);
    let world =
        World::with(1, Settings { credentials, ..Settings::default() }, scheduler::Settings::default(), |options| {
            options.credentials =
                Some(engine_mesos::Credentials { principal: "daybreak".into(), secret: "secret".into() });
        });
    world.job(&service("web"), 1);
    world.daybreak().wait_for(TaskStatus::Running, 1);
    let id = world.simulation.with(Cluster::frameworks)[0].0.clone();
    let info = world.simulation.with(|cluster| cluster.framework_info(&id)).unwrap();
    assert_eq!(info.principal.as_deref(), Some("daybreak"));
    world.judge();
}

#[test]
fn gpus_and_revocable_resources_are_wanted_where_the_operator_says_so() {
    let simulation = Simulation::start(Settings::default(), 10.0, None).unwrap();
    simulation.add_agents([
        AgentSpec::new("a0", "cpus:8;mem:8192;disk:8192;gpus:2"),
        AgentSpec::new("a1", "cpus:1;mem:8192;disk:8192;cpus{revocable}:8"),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&simulation.master_list());
    (options.framework.gpus, options.framework.revocable) = (true, true);
    let mut settings = scheduler::Settings::default();
    settings.admission.allow_gpu_resource = true;
    let clock = LoopClock::Simulated(simulation.time(), 1_700_000_000_000);
    let daybreak = Daybreak::start(directory.path(), options, settings, clock, false);
    let mut training = service("training");
    training.resources.gpus = 1;
    daybreak.create(training, 2);
    daybreak.wait_for(TaskStatus::Running, 2);
    let on = |job: &'static str| -> Vec<usize> {
        simulation.with(|cluster| {
            let live = cluster.live_tasks();
            live.iter().filter(|(id, ..)| id.contains(job)).map(|(_, agent, _)| *agent).collect()
        })
    };
    assert_eq!(on("training"), [0, 0]);
    let mut spare = TaskConfig::new(JobKey::new("www-data", "prod", "spare"), 3.0, 16, 16, "{}");
    spare.tier = Some("revocable".into());
    daybreak.create(spare, 2);
    daybreak.wait_for(TaskStatus::Running, 4);
    assert_eq!(on("spare"), [1, 1], "only there is revocable CPU");
    // What may be taken away at any time is for those that agreed to it: one core is free beside it, and three are wanted.
    daybreak.create(TaskConfig::new(JobKey::new("www-data", "prod", "solid"), 6.0, 16, 16, "{}"), 1);
    daybreak.create(TaskConfig::new(JobKey::new("www-data", "prod", "second"), 3.0, 16, 16, "{}"), 1);
    daybreak.wait_for(TaskStatus::Running, 5);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(daybreak.count(TaskStatus::Pending), 1, "neither of them on the revocable cores");
    assert!(on("solid").iter().chain(&on("second")).all(|agent| *agent == 0));
}

#[test]
fn without_the_operators_word_nothing_with_gpus_and_nothing_revocable_is_offered() {
    let simulation = Simulation::start(Settings::default(), 10.0, None).unwrap();
    simulation.add_agents([
        AgentSpec::new("a0", "cpus:8;mem:8192;disk:8192;gpus:2"),
        AgentSpec::new("a1", "cpus:1;mem:8192;disk:8192;cpus{revocable}:8"),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&simulation.master_list());
    (options.framework.gpus, options.framework.revocable) = (false, false);
    let clock = LoopClock::Simulated(simulation.time(), 1_700_000_000_000);
    let daybreak = Daybreak::start(directory.path(), options, scheduler::Settings::default(), clock, false);
    assert!(daybreak.reaches(SOON, |view| !view.agents.is_empty()));
    daybreak.create(service("small"), 1);
    daybreak.wait_for(TaskStatus::Running, 1);
    let mut spare = TaskConfig::new(JobKey::new("www-data", "prod", "spare"), 3.0, 16, 16, "{}");
    spare.tier = Some("revocable".into());
    daybreak.create(spare, 1);
    simulation.skip(30_000);
    daybreak.ring();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(daybreak.count(TaskStatus::Pending), 1);
    let view = daybreak.view();
    assert!(view.agents.values().all(|agent| agent.host == "a1"), "a master keeps machines with GPUs for who asks");
    assert!(simulation.with(|cluster| cluster.live_tasks().iter().all(|(_, agent, _)| *agent == 1)));
}
