//! Masters that are found in a real ZooKeeper: another leader, and a ZooKeeper that is away for minutes (T33).

#[path = "mesos/daybreak.rs"]
#[allow(dead_code)]
mod daybreak;

use std::time::Duration;

use daybreak::{Daybreak, LoopClock, options, service};
use discovery::testing::{Client, Zookeeper};
use mesos::json::Json;
use model::TaskStatus;
use simulation::mesos::server::{AgentSpec, Simulation};
use simulation::mesos::{Cluster, Settings};

const SOON: Duration = Duration::from_secs(30);

/// Writes down who leads, as a real master does.
fn contend(client: &Client, simulation: &Simulation) -> String {
    let info = simulation.with(|cluster| cluster.leader_info()).expect("a leader");
    client.register("/mesos/json.info_", info.to_json_text().as_bytes())
}

fn pass(simulation: &Simulation, daybreak: &Daybreak, ms: u64) {
    for _ in 0..ms.div_ceil(5_000) {
        simulation.skip(5_000);
        daybreak.ring();
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn neither_a_lost_zookeeper_nor_a_lost_leader_ends_the_scheduler_or_costs_a_task() {
    let mut zookeeper = Zookeeper::start();
    let client = zookeeper.client();
    client.make("/mesos");
    let simulation = Simulation::start(Settings { masters: 2, ..Settings::default() }, 10.0, None).unwrap();
    simulation.add_agents((0..4).map(|index| AgentSpec::new(format!("a{index}"), "cpus:8;mem:8192;disk:8192")));
    let directory = tempfile::tempdir().unwrap();
    let clock = LoopClock::Simulated(simulation.time(), 1_700_000_000_000);
    let mut options = options(&format!("zk://{}/mesos", zookeeper.address()));
    options.timing.zookeeper_session_timeout = Duration::from_secs(2);
    let daybreak = Daybreak::start(directory.path(), options, scheduler::Settings::default(), clock, true);
    contend(&client, &simulation);
    daybreak.create(service("web"), 8);
    daybreak.wait_for(TaskStatus::Running, 8);

    // ZooKeeper goes; the master is still there, and so is the work.
    drop(client);
    zookeeper.stop();
    pass(&simulation, &daybreak, 150_000);
    // For longer than any session lasts.
    std::thread::sleep(Duration::from_secs(7));
    daybreak.create(service("more"), 8);
    daybreak.wait_for(TaskStatus::Running, 16);
    let subscriptions = || simulation.with(|cluster| cluster.counters().subscriptions);
    assert_eq!(subscriptions(), 1, "the connection to the master was kept");

    // It is back and names nobody: the master's own session is over, and it has not registered anew.
    zookeeper.start_again();
    let client = zookeeper.client();
    std::thread::sleep(Duration::from_secs(3));
    daybreak.create(service("again"), 2);
    daybreak.wait_for(TaskStatus::Running, 18);
    assert_eq!(subscriptions(), 1);
    // Nor does the same leader under a new name cost anything.
    contend(&client, &simulation);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(subscriptions(), 1);
    drop(client);
    zookeeper.stop();

    // The leader goes as well: nobody can say who leads now.
    simulation.with(Cluster::kill_leader);
    assert!(daybreak.reaches(SOON, |view| view.disconnected_since_ms.is_some()), "it says since when");
    pass(&simulation, &daybreak, 300_000);
    assert!(daybreak.view().disconnected_since_ms.is_some());
    assert!(daybreak.told.deposed.get().is_none());

    // All is well again, and nobody has to do anything.
    zookeeper.start_again();
    let client = zookeeper.client();
    contend(&client, &simulation);
    assert!(daybreak.reaches(SOON, |view| view.disconnected_since_ms.is_none() && view.registered), "it goes on alone");
    pass(&simulation, &daybreak, 60_000);
    daybreak.wait_for(TaskStatus::Running, 18);
    daybreak.kill_job(&service("web").job);
    daybreak.wait_for(TaskStatus::Killed, 8);
    let launched = simulation.with(|cluster| cluster.counters().launched);
    assert_eq!(launched, 18, "nothing was started twice");
    assert_eq!(simulation.with(|cluster| cluster.live_tasks().len()), 10);
}
