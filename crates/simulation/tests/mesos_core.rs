//! The simulated Mesos by itself, without sockets: each rule that a framework may come to feel (spec mesos 1 to 3).

#[path = "mesos/client.rs"]
mod client;

use client::*;
use mesos::v1::scheduler::{call, event};
use mesos::v1::{TaskState, task_status::Reason};
use simulation::mesos::faults::{Fate, Rule, Topic};
use simulation::mesos::script::{End, OnKill, Script};
use simulation::mesos::server::AgentSpec;
use simulation::mesos::{Cluster, Phase, Settings};

const RESOURCES: &str = "cpus:4;mem:4096;disk:10000;ports:[31000-31999]";

fn cluster_with(settings: Settings, agents: usize) -> Cluster {
    let mut cluster = Cluster::new(settings);
    for index in 0..agents {
        let spec = AgentSpec::new(format!("a{index}"), RESOURCES).attributes(format!("host:a{index};rack:r1"));
        cluster.add_agent(spec.describe("127.0.0.1", 5051));
    }
    cluster.advance(0);
    cluster
}

fn cluster(agents: usize) -> Cluster {
    cluster_with(Settings::default(), agents)
}

/// A framework with one task running on agent 0 and everything acknowledged.
fn one_running(cluster: &mut Cluster) -> (Client, String) {
    let mut client = Client::subscribe(cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    client.accept(cluster, &agent, vec![launch(vec![task("t1", &agent, 1.0)])], 3600.0);
    let seen: Vec<_> = client.acknowledge_all(cluster).iter().map(state).collect();
    assert_eq!(seen, [TaskState::Starting, TaskState::Running]);
    (client, agent)
}

#[test]
fn a_subscription_is_told_its_id_and_given_the_whole_cluster_in_one_event() {
    let mut cluster = cluster(3);
    let client = Client::subscribe(&mut cluster, framework("one", "web"));
    let kinds: Vec<i32> = client.events.iter().filter_map(|event| event.r#type).collect();
    assert_eq!(kinds, [event::Type::Subscribed, event::Type::Heartbeat, event::Type::Offers].map(|kind| kind as i32));
    let master = cluster.leader_info().unwrap().id;
    assert_eq!(client.info.id.as_ref().unwrap().value, format!("{master}-0000"));
    assert_eq!(client.offers.len(), 3);
    let offer = client.offers.values().next().unwrap();
    assert!(offer.id.value.starts_with(&format!("{master}-O")));
    assert!(offer.agent_id.value.starts_with(&format!("{master}-S")));
    assert_eq!(offer.allocation_info.as_ref().unwrap().role.as_deref(), Some("web"));
    assert_eq!(offer.url.as_ref().unwrap().path.as_deref(), Some("/slave(1)"));
}

#[test]
fn heartbeats_come_every_fifteen_seconds() {
    let mut cluster = cluster(0);
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    client.wait(&mut cluster, 60_000);
    assert_eq!(client.count(event::Type::Heartbeat), 5);
}

#[test]
fn ten_thousand_agents_are_offered_in_one_event() {
    let mut cluster = cluster(10_000);
    let client = Client::subscribe(&mut cluster, framework("one", "web"));
    assert_eq!(client.count(event::Type::Offers), 1);
    assert_eq!(client.offers.len(), 10_000);
}

#[test]
fn a_newer_subscription_ends_the_older_one_with_an_error_and_takes_its_offers() {
    let mut cluster = cluster(1);
    let mut first = Client::subscribe(&mut cluster, framework("one", "web"));
    let mut second = Client { info: first.info.clone(), ..Client::default() };
    let call = mesos::v1::scheduler::Call {
        framework_id: first.info.id.clone(),
        r#type: Some(call::Type::Subscribe as i32),
        subscribe: Some(call::Subscribe { framework_info: first.info.clone(), ..call::Subscribe::default() }),
        ..mesos::v1::scheduler::Call::default()
    };
    let simulation::mesos::Answer::Stream { stream, id } = cluster.call(call, None, None) else { panic!() };
    first.take(&mut cluster);
    (second.stream, second.stream_id) = (stream, id);
    let error = first.events.last().and_then(|event| event.error.clone()).unwrap();
    assert_eq!(error.message, "Framework failed over");
    assert!(first.closed);
    assert_eq!(first.count(event::Type::Rescind), 0, "offers vanish without a word");
    assert_eq!(first.call(&mut cluster, call::Type::Revive, |_| {}), 400, "its stream id is old");
    assert_eq!(second.call(&mut cluster, call::Type::Revive, |_| {}), 202);
}

#[test]
fn a_framework_that_stays_away_is_removed_with_its_tasks_and_may_not_come_back() {
    let mut cluster = cluster(1);
    let (mut client, _) = one_running(&mut cluster);
    cluster.stream_broke(client.stream);
    assert_eq!(client.call(&mut cluster, call::Type::Revive, |_| {}), 403);
    client.wait(&mut cluster, 3_599_000);
    assert_eq!(cluster.live_tasks().len(), 1);
    client.wait(&mut cluster, 2_000);
    assert!(cluster.live_tasks().is_empty());
    client.subscribe_again(&mut cluster);
    assert_eq!(client.events[0].error.as_ref().unwrap().message, "Framework has been removed");
    assert!(client.closed);
}

#[test]
fn refused_subscriptions_are_streams_with_an_error() {
    let mut cluster = cluster(0);
    let mut wrong = framework("one", "web");
    wrong.role = Some("web".into());
    let refused = Client::subscribe(&mut cluster, wrong);
    assert!(refused.closed && refused.events[0].error.is_some());
    let refused = Client::subscribe(&mut cluster, framework("one", "a b"));
    assert!(refused.closed && refused.events[0].error.is_some());
}

#[test]
fn declined_resources_stay_away_until_more_of_them_is_free() {
    let mut cluster = cluster(1);
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    // A task takes a part; the rest is refused for long.
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t1", &agent, 1.0)])], 3600.0);
    client.acknowledge_all(&mut cluster);
    client.wait(&mut cluster, 60_000);
    assert!(client.offers.is_empty());
    // The end of the task makes more free than what was refused.
    client.kill(&mut cluster, "t1", None);
    client.wait(&mut cluster, 1_000);
    assert_eq!(client.offers.len(), 1);
}

#[test]
fn filters_last_as_long_as_said_and_revive_drops_them() {
    let mut cluster = cluster(2);
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    client.decline_all(&mut cluster, 10.0);
    client.wait(&mut cluster, 9_000);
    assert!(client.offers.is_empty());
    client.wait(&mut cluster, 2_000);
    assert_eq!(client.offers.len(), 2);
    client.decline_all(&mut cluster, 3600.0);
    client.call(&mut cluster, call::Type::Revive, |_| {});
    assert_eq!(client.offers.len(), 2, "at once");
    client.decline_all(&mut cluster, 0.0);
    client.wait(&mut cluster, 1_000);
    assert_eq!(client.offers.len(), 2, "0 is no filter");
    client.decline_all(&mut cluster, 3600.0);
    cluster.stream_broke(client.stream);
    client.subscribe_again(&mut cluster);
    assert_eq!(client.offers.len(), 2, "a broken stream drops filters");
}

#[test]
fn a_suppressed_framework_is_offered_nothing_and_resubscribing_without_saying_so_ends_it() {
    let mut cluster = cluster(1);
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    client.call(&mut cluster, call::Type::Suppress, |_| {});
    assert_eq!(client.offers.len(), 1, "what is out stays out");
    client.decline_all(&mut cluster, 0.0);
    client.wait(&mut cluster, 30_000);
    assert!(client.offers.is_empty());
    client.suppressed = vec!["web".into()];
    client.subscribe_again(&mut cluster);
    assert!(client.offers.is_empty());
    client.suppressed.clear();
    client.subscribe_again(&mut cluster);
    assert_eq!(client.offers.len(), 1);
}

#[test]
fn two_frameworks_share_by_whole_agents() {
    let mut cluster = cluster(10);
    let mut first = Client::subscribe(&mut cluster, framework("one", "a"));
    first.decline_all(&mut cluster, 0.0);
    let mut second = Client::subscribe(&mut cluster, framework("two", "b"));
    second.wait(&mut cluster, 1_000);
    assert!((4..=6).contains(&second.offers.len()), "{}", second.offers.len());
}

#[test]
fn one_bad_offer_drops_every_task_and_gives_all_offers_back() {
    let mut cluster = cluster(2);
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    let ids: Vec<_> = client.offers.values().map(|offer| offer.id.clone()).collect();
    let tasks = vec![task("t1", &agent, 1.0), task("t2", &agent, 1.0)];
    client.offers.clear();
    client.accept_offers(&mut cluster, ids, vec![launch(tasks)], 3600.0);
    assert_eq!(client.states(), [TaskState::Dropped, TaskState::Dropped]);
    assert!(client.updates.iter().all(|status| status.uuid.is_none() && reason(status) == Some(Reason::InvalidOffers)));
    client.wait(&mut cluster, 1_000);
    assert_eq!(client.offers.len(), 2, "given back without a filter");
    assert!(cluster.live_tasks().is_empty());
}

#[test]
fn each_task_of_a_launch_is_judged_alone_and_the_executor_counts_once() {
    let mut cluster = cluster(1);
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    let shared = |id: &str, cpus: f64| {
        let mut task = task(id, &agent, cpus);
        task.executor.as_mut().unwrap().executor_id = "shared".into();
        task
    };
    let mut other = shared("t5", 0.1);
    other.executor.as_mut().unwrap().name = Some("not the same".into());
    let mut both = task("t6", &agent, 0.1);
    both.command = Some(mesos::v1::CommandInfo::default());
    let mut none = task("t7", &agent, 0.1);
    none.resources.clear();
    // 4 cpus: 0.1 for the executor, 1.9 and 2.0 for two tasks, then nothing is left.
    let tasks = vec![
        shared("t1", 1.9),
        shared("a/b", 0.1),
        shared("t2", 2.0),
        shared("t1", 0.1),
        shared("t4", 0.1),
        other,
        both,
        none,
        task("t8", "another-agent", 0.1),
    ];
    client.accept(&mut cluster, &agent, vec![launch(tasks)], 5.0);
    let errors = client.updates.iter().filter(|status| state(status) == TaskState::Error);
    let mut bad: Vec<_> = errors
        .inspect(|status| assert!(status.uuid.is_none() && reason(status) == Some(Reason::TaskInvalid)))
        .map(|status| status.task_id.value.as_str())
        .collect();
    bad.sort_unstable();
    assert_eq!(bad, ["a/b", "t1", "t4", "t5", "t6", "t7", "t8"]);
    let mut live: Vec<_> = cluster.live_tasks().into_iter().map(|(id, ..)| id.to_string()).collect();
    live.sort();
    assert_eq!(live, ["t1", "t2"]);
}

#[test]
fn many_offers_of_one_agent_make_one_launch() {
    let mut cluster = cluster(1);
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t1", &agent, 3.0)])], 0.0);
    client.acknowledge_all(&mut cluster);
    client.wait(&mut cluster, 1_000);
    assert_eq!(client.offers.len(), 1, "the leftovers, held");
    client.kill(&mut cluster, "t1", None);
    client.acknowledge_all(&mut cluster);
    client.wait(&mut cluster, 1_000);
    assert_eq!(client.offers.len(), 2, "and what the task gave back");
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t2", &agent, 3.9)])], 0.0);
    assert_eq!(client.states(), [TaskState::Starting]);
}

#[test]
fn reservations_are_for_their_role_and_below_and_can_be_made_and_ended() {
    let mut cluster = Cluster::new(Settings::default());
    cluster.add_agent(AgentSpec::new("a0", "cpus:1;mem:512;cpus(web):3").describe("127.0.0.1", 5051));
    cluster.advance(0);
    let cpus = |client: &Client| -> Vec<f64> {
        let offers = client.offers.values().flat_map(|offer| &offer.resources);
        offers.filter(|resource| resource.name == "cpus").map(|one| one.scalar.as_ref().unwrap().value).collect()
    };
    let mut other = Client::subscribe(&mut cluster, framework("other", "batch"));
    assert_eq!(cpus(&other), [1.0]);
    other.call(&mut cluster, call::Type::Teardown, |_| {});
    let mut client = Client::subscribe(&mut cluster, framework("one", "web/front"));
    assert_eq!(cpus(&client), [1.0, 3.0]);
    let agent = cluster.agent_id(0).unwrap();
    // Reserved resources do not serve a request for unreserved ones.
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t1", &agent, 2.0)])], 0.0);
    assert_eq!(client.states(), [TaskState::Error]);
}

#[test]
fn gpus_and_revocable_resources_are_for_those_who_ask() {
    let mut cluster = Cluster::new(Settings::default());
    cluster.add_agent(AgentSpec::new("a0", "cpus:1;mem:512;gpus:2").describe("127.0.0.1", 5051));
    cluster.add_agent(AgentSpec::new("a1", "cpus:1;mem:512;cpus{revocable}:8").describe("127.0.0.1", 5051));
    cluster.advance(0);
    let mut plain = Client::subscribe(&mut cluster, framework("plain", "web"));
    assert_eq!(plain.offers.len(), 1);
    assert!(plain.offers.values().all(|offer| offer.resources.iter().all(|resource| resource.revocable.is_none())));
    plain.call(&mut cluster, call::Type::Teardown, |_| {});
    let mut info = framework("eager", "web");
    for kind in [2, 3, 1] {
        info.capabilities.push(mesos::v1::framework_info::Capability { r#type: Some(kind) });
    }
    let eager = Client::subscribe(&mut cluster, info);
    assert_eq!(eager.offers.len(), 2);
    let revocable = eager.offers.values().flat_map(|offer| &offer.resources);
    assert!(revocable.filter(|resource| resource.revocable.is_some()).count() == 1);
}

#[test]
fn one_update_of_a_task_is_out_at_a_time_and_comes_again_until_it_is_acknowledged() {
    let mut cluster = cluster(1);
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    cluster.set_scripts(|_, _| Script::batch(1_000));
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t1", &agent, 1.0)])], 0.0);
    client.wait(&mut cluster, 9_000);
    assert_eq!(client.states(), [TaskState::Starting], "FINISHED waits behind it");
    client.wait(&mut cluster, 1_000);
    assert_eq!(client.updates.len(), 2, "again after 10 s");
    client.wait(&mut cluster, 19_999);
    assert_eq!(client.updates.len(), 2);
    client.wait(&mut cluster, 1);
    assert_eq!(client.updates.len(), 3, "then after 20 s");
    let first = uuid(&client.updates[0]);
    assert!(client.updates.iter().all(|status| uuid(status) == first));
    let again = client.updates[0].clone();
    let seen: Vec<_> = client.acknowledge_all(&mut cluster).iter().map(state).collect();
    assert_eq!(seen[3..], [TaskState::Running, TaskState::Finished]);
    client.acknowledge(&mut cluster, &again);
    client.wait(&mut cluster, 3_600_000);
    assert!(client.updates.is_empty());
}

#[test]
fn resources_come_back_before_the_end_is_acknowledged_and_the_id_only_then() {
    let mut cluster = cluster(1);
    cluster.set_scripts(|_, _| Script::batch(0));
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t1", &agent, 3.5)])], 0.0);
    // The agent tells the newest state with every try, so the master learns of the end with the second one.
    client.wait(&mut cluster, 11_000);
    let cpus = client.offers.values().flat_map(|offer| &offer.resources).filter(|resource| resource.name == "cpus");
    assert_eq!(cpus.map(|resource| resource.scalar.as_ref().unwrap().value).sum::<f64>(), 4.0);
    let starting = client.updates.remove(0);
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t1", &agent, 1.0)])], 0.0);
    let states = client.states();
    assert_eq!(states.last(), Some(&TaskState::Error), "the id is known until its end is acknowledged");
    client.updates.clear();
    client.acknowledge(&mut cluster, &starting);
    client.acknowledge_all(&mut cluster);
    assert!(cluster.known_tasks().is_empty());
}

#[test]
fn duplicates_lost_and_late_messages_on_demand() {
    let mut cluster = cluster(1);
    cluster.faults.add(Rule::next(Topic::Update, 1, Fate::Twice(0)));
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t1", &agent, 1.0)])], 3600.0);
    assert_eq!(client.states(), [TaskState::Starting, TaskState::Starting]);
    cluster.faults.add(Rule::next(Topic::Update, 1, Fate::Lost));
    client.acknowledge_all(&mut cluster);
    client.wait(&mut cluster, 10_000);
    assert_eq!(client.states(), [TaskState::Running], "lost, and sent again");
    cluster.faults.add(Rule::next(Topic::Acknowledgement, 1, Fate::Late(25_000)));
    client.acknowledge_all(&mut cluster);
    client.wait(&mut cluster, 60_000);
    assert_eq!(client.states(), [TaskState::Running], "one more before the slow acknowledgement came");
    cluster.faults.add(Rule::next(Topic::Launch, 1, Fate::Lost));
    client.call(&mut cluster, call::Type::Revive, |_| {});
    client.updates.clear();
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t2", &agent, 1.0)])], 3600.0);
    client.wait(&mut cluster, 60_000);
    assert!(client.updates.is_empty(), "a lost launch is not told of by itself");
    let answers = client.reconcile(&mut cluster, &[("t2", Some(&agent))]);
    assert_eq!(state(&answers[0]), TaskState::Staging);
}

#[test]
fn reconciliation_answers_six_ways() {
    let mut cluster = cluster_with(Settings { masters: 2, ..Settings::default() }, 4);
    let (mut client, agent) = one_running(&mut cluster);
    let ids: Vec<String> = (0..4).map(|index| cluster.agent_id(index).unwrap()).collect();
    let one = |client: &mut Client, cluster: &mut Cluster, task: &str, agent: Option<&str>| {
        let answers = client.reconcile(cluster, &[(task, agent)]);
        answers
            .iter()
            .inspect(|status| assert!(status.uuid.is_none() && reason(status) == Some(Reason::Reconciliation)))
            .map(state)
            .collect::<Vec<_>>()
    };
    assert_eq!(one(&mut client, &mut cluster, "t1", Some(&agent)), [TaskState::Running]);
    assert_eq!(one(&mut client, &mut cluster, "x", Some(&agent)), [TaskState::Gone]);
    assert_eq!(one(&mut client, &mut cluster, "x", None), [TaskState::Unknown]);
    cluster.partition(1);
    client.wait(&mut cluster, 76_000);
    assert_eq!(one(&mut client, &mut cluster, "x", Some(&ids[1])), [TaskState::Unreachable]);
    cluster.mark_agent_gone(2);
    assert_eq!(one(&mut client, &mut cluster, "x", Some(&ids[2])), [TaskState::GoneByOperator]);
    // Another master: nobody is back yet, so it says nothing.
    cluster.partition(3);
    cluster.kill_leader();
    cluster.advance(cluster.now_ms() + 1_500);
    client.subscribe_again(&mut cluster);
    assert_eq!(one(&mut client, &mut cluster, "t1", Some(&agent)), []);
    assert_eq!(one(&mut client, &mut cluster, "x", None), []);
    client.wait(&mut cluster, 2_000);
    assert_eq!(one(&mut client, &mut cluster, "t1", Some(&agent)), [TaskState::Running]);
    assert_eq!(one(&mut client, &mut cluster, "x", Some(&ids[3])), [], "not back, not given up");
    client.wait(&mut cluster, 600_000);
    assert_eq!(one(&mut client, &mut cluster, "x", Some(&ids[3])), [TaskState::Unreachable]);
    let all = client.reconcile(&mut cluster, &[]);
    assert_eq!(all.iter().map(|status| status.task_id.value.as_str()).collect::<Vec<_>>(), ["t1"]);
}

#[test]
fn the_old_fault_of_masters_can_be_had() {
    let settings = Settings { masters: 2, answers_lost_while_recovering: true, ..Settings::default() };
    let mut cluster = cluster_with(settings, 1);
    let (mut client, agent) = one_running(&mut cluster);
    cluster.partition(0);
    cluster.kill_leader();
    cluster.advance(cluster.now_ms() + 1_500);
    client.subscribe_again(&mut cluster);
    let answers = client.reconcile(&mut cluster, &[("t1", Some(&agent))]);
    assert_eq!(answers.iter().map(state).collect::<Vec<_>>(), [TaskState::Unknown], "though it runs");
    assert_eq!(cluster.live_tasks().len(), 1);
}

#[test]
fn kills_are_obeyed_ignored_or_answered_for_unknown_tasks() {
    let mut cluster = cluster(1);
    cluster.set_scripts(|info, _| match info.task_id.value.as_str() {
        "stubborn" => Script { on_kill: OnKill::Ignored, ..Script::service() },
        _ => Script { on_kill: OnKill::KillingThenKilled(2_000), ..Script::service() },
    });
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    let tasks = vec![task("good", &agent, 1.0), task("stubborn", &agent, 1.0)];
    client.accept(&mut cluster, &agent, vec![launch(tasks)], 3600.0);
    client.acknowledge_all(&mut cluster);
    client.kill(&mut cluster, "good", Some("another-agent"));
    client.wait(&mut cluster, 5_000);
    assert!(client.updates.is_empty(), "a kill for another agent is ignored");
    client.kill(&mut cluster, "good", Some(&agent));
    let killing = client.acknowledge_all(&mut cluster);
    assert_eq!(killing.iter().map(state).collect::<Vec<_>>(), [TaskState::Killing]);
    client.wait(&mut cluster, 2_000);
    assert_eq!(client.states(), [TaskState::Killed]);
    client.acknowledge_all(&mut cluster);
    for _ in 0..3 {
        client.kill(&mut cluster, "stubborn", None);
    }
    client.wait(&mut cluster, 60_000);
    assert!(client.updates.is_empty());
    client.kill(&mut cluster, "nobody", Some(&agent));
    assert_eq!(client.states(), [TaskState::Gone]);
    // SHUTDOWN ends what ignores kills, after the grace period.
    let shutdown = call::Shutdown { executor_id: "executor-stubborn".into(), agent_id: agent.as_str().into() };
    client.updates.clear();
    client.call(&mut cluster, call::Type::Shutdown, |call| call.shutdown = Some(shutdown));
    client.wait(&mut cluster, 5_000);
    assert_eq!(client.states(), [TaskState::Failed]);
    assert_eq!(reason(&client.updates[0]), Some(Reason::ExecutorTerminated));
    let failure = client.events.iter().rev().find_map(|event| event.failure.clone()).unwrap();
    assert_eq!(failure.status, Some(9));
}

#[test]
fn an_executor_that_exits_fails_its_task_and_is_told_of() {
    let mut cluster = cluster(1);
    cluster.set_scripts(|_, _| Script { run_ms: Some(1_000), end: End::ExecutorExits(256), ..Script::default() });
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t1", &agent, 1.0)])], 3600.0);
    client.acknowledge_all(&mut cluster);
    client.wait(&mut cluster, 1_000);
    assert_eq!(client.states(), [TaskState::Failed]);
    assert_eq!(reason(&client.updates[0]), Some(Reason::ExecutorTerminated));
    // The executor's name is free once the end is acknowledged.
    client.wait(&mut cluster, 1_000);
    client.call(&mut cluster, call::Type::Revive, |_| {});
    let mut again = task("t2", &agent, 1.0);
    again.executor.as_mut().unwrap().executor_id = "executor-t1".into();
    client.updates.clear();
    client.accept(&mut cluster, &agent, vec![launch(vec![again])], 3600.0);
    assert_eq!(client.states(), [TaskState::Dropped]);
    assert_eq!(reason(&client.updates[0]), Some(Reason::ExecutorTerminated));
}

#[test]
fn a_partition_makes_tasks_unreachable_and_their_return_is_told() {
    let mut cluster = cluster(2);
    let (mut client, agent) = one_running(&mut cluster);
    client.call(&mut cluster, call::Type::Revive, |_| {});
    assert!(client.offers.values().any(|offer| offer.agent_id.value == agent));
    cluster.partition(0);
    client.wait(&mut cluster, 74_000);
    assert!(client.updates.is_empty());
    client.wait(&mut cluster, 1_000);
    assert_eq!(client.states(), [TaskState::Unreachable]);
    assert!(client.updates[0].uuid.is_none() && client.updates[0].unreachable_time.is_some());
    assert!(client.offers.values().all(|offer| offer.agent_id.value != agent), "rescinded");
    let failure = client.events.iter().rev().find_map(|event| event.failure.clone()).unwrap();
    assert_eq!((failure.agent_id.unwrap().value, failure.executor_id), (agent.clone(), None));
    // The id is not free meanwhile.
    let other = cluster.agent_id(1).unwrap();
    client.updates.clear();
    client.accept(&mut cluster, &other, vec![launch(vec![task("t1", &other, 1.0)])], 3600.0);
    assert_eq!(client.states(), [TaskState::Error]);
    client.updates.clear();
    cluster.heal(0);
    client.wait(&mut cluster, 0);
    assert_eq!(client.states(), [TaskState::Running]);
    assert_eq!(reason(&client.updates[0]), Some(Reason::AgentReregistered));
    assert!(client.updates[0].uuid.is_none());
    client.kill(&mut cluster, "t1", Some(&agent));
    client.take(&mut cluster);
    assert_eq!(client.acknowledge_all(&mut cluster).iter().map(state).next_back(), Some(TaskState::Killed));
}

#[test]
fn an_agent_that_restarts_brings_its_tasks_back_or_not_by_checkpointing() {
    for checkpoint in [true, false] {
        let mut cluster = cluster(1);
        cluster.set_scripts(|_, _| Script::batch(30_000));
        let mut info = framework("one", "web");
        info.checkpoint = Some(checkpoint);
        let mut client = Client::subscribe(&mut cluster, info);
        let agent = cluster.agent_id(0).unwrap();
        client.accept(&mut cluster, &agent, vec![launch(vec![task("t1", &agent, 1.0)])], 0.0);
        client.acknowledge_all(&mut cluster);
        cluster.crash_agent(0);
        client.take(&mut cluster);
        let at_once = client.states();
        assert_eq!(at_once, if checkpoint { vec![] } else { vec![TaskState::Lost] });
        client.updates.clear();
        client.wait(&mut cluster, 40_000);
        cluster.restart_agent(0);
        client.wait(&mut cluster, 5_000);
        assert_eq!(cluster.agent_id(0), Some(agent.clone()));
        // What the executor said while its agent was away comes now.
        assert_eq!(client.states(), if checkpoint { vec![TaskState::Finished] } else { vec![] });
        assert!(cluster.live_tasks().is_empty());
    }
}

#[test]
fn executors_that_do_not_come_back_with_their_agent_are_gone() {
    let mut cluster = cluster(1);
    let (mut client, _) = one_running(&mut cluster);
    cluster.silence_executors(0);
    cluster.crash_agent(0);
    client.wait(&mut cluster, 1_000);
    cluster.restart_agent(0);
    client.wait(&mut cluster, 5_000);
    assert_eq!(client.states(), [TaskState::Gone]);
    assert_eq!(reason(&client.updates[0]), Some(Reason::ExecutorReregistrationTimeout));
}

#[test]
fn a_launch_that_was_lost_with_its_agent_is_reported_dropped_when_it_is_back() {
    let mut cluster = cluster(1);
    let (mut client, agent) = one_running(&mut cluster);
    client.call(&mut cluster, call::Type::Revive, |_| {});
    cluster.faults.add(Rule::next(Topic::Launch, 1, Fate::Lost));
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t2", &agent, 1.0)])], 3600.0);
    cluster.crash_agent(0);
    client.wait(&mut cluster, 1_000);
    cluster.restart_agent(0);
    client.wait(&mut cluster, 5_000);
    assert_eq!(client.states(), [TaskState::Dropped]);
    assert!(client.updates[0].uuid.is_some());
    assert_eq!(client.updates[0].task_id.value, "t2");
    client.acknowledge_all(&mut cluster);
    assert_eq!(cluster.live_tasks().len(), 1);
}

#[test]
fn another_master_knows_nothing_until_the_agents_are_back() {
    let settings = Settings { masters: 3, agent_reregister_spread_ms: 30_000, ..Settings::default() };
    let mut cluster = cluster_with(settings, 20);
    let (mut client, _) = one_running(&mut cluster);
    let first = cluster.leader();
    cluster.kill_leader();
    assert!(matches!(cluster.serving(1), Err(simulation::mesos::Answer::Status(503, _))));
    cluster.advance(cluster.now_ms() + 1_000);
    assert_ne!(cluster.leader_info().map(|info| info.port), None);
    assert!(matches!(cluster.serving(1), Err(simulation::mesos::Answer::Status(503, _))), "still reads the registry");
    assert!(matches!(cluster.serving(2), Err(simulation::mesos::Answer::Redirect(_))));
    cluster.advance(cluster.now_ms() + 500);
    assert_ne!(cluster.leader(), first);
    let id = client.info.id.clone();
    client.subscribe_again(&mut cluster);
    assert_eq!(client.info.id, id);
    client.wait(&mut cluster, 3_000);
    let early = client.offers.len();
    assert!((1..15).contains(&early), "{early}");
    client.wait(&mut cluster, 30_000);
    assert_eq!(client.offers.len(), 20);
    assert!(client.updates.is_empty());
    assert_eq!(cluster.live_tasks().len(), 1);
    client.kill(&mut cluster, "t1", None);
    assert_eq!(client.states(), [TaskState::Killed]);
}

#[test]
fn an_acknowledgement_of_an_update_that_only_the_old_master_carried_is_dropped() {
    let mut cluster = cluster_with(Settings { masters: 2, ..Settings::default() }, 1);
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    let agent = cluster.agent_id(0).unwrap();
    client.accept(&mut cluster, &agent, vec![launch(vec![task("t1", &agent, 1.0)])], 3600.0);
    let starting = client.updates.remove(0);
    cluster.faults.add(Rule::next(Topic::Update, 1, Fate::Lost));
    cluster.kill_leader();
    cluster.advance(cluster.now_ms() + 1_500);
    client.subscribe_again(&mut cluster);
    client.wait(&mut cluster, 2_000);
    let before = cluster.counters().acknowledgements_dropped;
    client.acknowledge(&mut cluster, &starting);
    assert_eq!(cluster.counters().acknowledgements_dropped, before + 1);
    client.wait(&mut cluster, 20_000);
    assert_eq!(uuid(&client.updates[0]), uuid(&starting), "the agent's next try heals it");
    let seen: Vec<_> = client.acknowledge_all(&mut cluster).iter().map(state).collect();
    assert_eq!(seen.last(), Some(&TaskState::Running));
}

#[test]
fn an_agent_that_unregisters_or_goes_down_loses_its_tasks_even_for_the_partition_aware() {
    let mut cluster = cluster(2);
    let (mut client, _) = one_running(&mut cluster);
    cluster.unregister_agent(0);
    client.take(&mut cluster);
    assert_eq!(client.states(), [TaskState::Lost]);
    assert_eq!(cluster.agent_phase(0), Phase::Gone);
    assert!(cluster.live_tasks().is_empty());
}

#[test]
fn maintenance_rescinds_asks_and_takes_the_machine_down() {
    let mut cluster = cluster(2);
    let (mut client, agent) = one_running(&mut cluster);
    client.call(&mut cluster, call::Type::Revive, |_| {});
    cluster.schedule_maintenance(0, 3_600_000, Some(600_000));
    client.take(&mut cluster);
    assert!(client.count(event::Type::Rescind) >= 1);
    client.wait(&mut cluster, 1_000);
    let offer = client.offers.values().find(|offer| offer.agent_id.value == agent).unwrap();
    assert!(offer.unavailability.is_some());
    let inverse = client.events.iter().find_map(|event| event.inverse_offers.clone()).unwrap();
    assert_eq!(inverse.inverse_offers.len(), 1);
    let ids = vec![inverse.inverse_offers[0].id.clone()];
    let accept = call::AcceptInverseOffers { inverse_offer_ids: ids, filters: None };
    client.call(&mut cluster, call::Type::AcceptInverseOffers, |call| call.accept_inverse_offers = Some(accept));
    let asked = client.count(event::Type::InverseOffers);
    client.wait(&mut cluster, 4_000);
    assert_eq!(client.count(event::Type::InverseOffers), asked);
    client.wait(&mut cluster, 2_000);
    assert_eq!(client.count(event::Type::InverseOffers), asked + 1, "asked again after its filter");
    cluster.machine_down(0);
    client.take(&mut cluster);
    assert_eq!(client.states(), [TaskState::Lost]);
    assert_eq!(client.count(event::Type::RescindInverseOffer), 1);
}

#[test]
fn a_drained_agent_kills_its_tasks_and_says_why() {
    let mut cluster = cluster(1);
    let (mut client, _) = one_running(&mut cluster);
    cluster.drain_agent_by_operator(0, None, true);
    client.take(&mut cluster);
    assert_eq!(client.states(), [TaskState::GoneByOperator]);
    assert_eq!(reason(&client.updates[0]), Some(Reason::AgentDraining));
    client.acknowledge_all(&mut cluster);
    client.wait(&mut cluster, 10_000);
    assert!(client.offers.is_empty());
    cluster.reactivate_agent(0);
    client.take(&mut cluster);
    assert_eq!(client.offers.len(), 1);
}

#[test]
fn offers_time_out_and_are_rescinded_on_demand() {
    let mut cluster = cluster_with(Settings { offer_timeout_ms: Some(30_000), ..Settings::default() }, 2);
    let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
    client.wait(&mut cluster, 30_000);
    assert_eq!(client.count(event::Type::Rescind), 2);
    client.wait(&mut cluster, 1_000);
    assert_eq!(client.offers.len(), 2);
    cluster.rescind_all();
    client.take(&mut cluster);
    assert_eq!(client.count(event::Type::Rescind), 4);
}

#[test]
fn the_same_seed_repeats_a_run() {
    let run = |seed: u64| {
        let mut cluster = cluster_with(Settings { seed, ..Settings::default() }, 5);
        cluster.faults.add(Rule::sometimes(Topic::Update, 300, Fate::Lost));
        let (client, _) = {
            let mut client = Client::subscribe(&mut cluster, framework("one", "web"));
            for agent in (0..5).map(|index| cluster.agent_id(index).unwrap()).collect::<Vec<_>>() {
                let id = format!("t-{agent}");
                client.accept(&mut cluster, &agent, vec![launch(vec![task(&id, &agent, 1.0)])], 10.0);
            }
            for _ in 0..20 {
                client.wait(&mut cluster, 5_000);
                for status in client.updates.clone() {
                    if status.uuid.is_some() {
                        client.acknowledge(&mut cluster, &status);
                    }
                }
            }
            (client, ())
        };
        format!("{:?}{:?}", client.updates, client.events)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
