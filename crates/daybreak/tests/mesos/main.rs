//! The real thing: masters and agents of Apache Mesos on loopback, with this Daybreak as their framework.
//!
//! Runs where Mesos is found, on PATH or below `MESOS_HOME` (`bin/mesos-master`, `libexec/mesos`). No package has it, so elsewhere this says
//! loudly that it did not run; the simulated master of `simulation` covers the same ground there. Cases run one after the other, each with a
//! cluster of its own; `cargo test --release -p daybreak --test mesos -- NAME` runs those whose name contains NAME.

#[path = "../support/mod.rs"]
mod support;

#[path = "../../../engine-local/tests/docker/mod.rs"]
mod docker;

mod cases;
mod cluster;
mod containers;
mod failures;
mod operators;
mod resources;
mod security;
mod services;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("tutorial: fails, is fixed by an update, runs, its output is read, is killed", cases::tutorial),
    ("update: a version that fails is rolled back", cases::rollback),
    ("uris: files are fetched and unpacked before the task starts", cases::uris),
    ("custom executor: another program, chosen by name from a job file", cases::custom_executor),
    ("compose: a project of two services, its port rewritten, nothing left of it", cases::compose),
    ("etl: rounds of a command, torn down by Ctrl-C", cases::etl),
    ("agent restart: the task goes on and can be killed", failures::agent_restart),
    ("scheduler kill -9: same framework, same task", failures::scheduler_killed),
    ("master failover through ZooKeeper", failures::master_failover),
    ("partition: replaced after the delay, the surplus is killed on return", failures::partition),
    ("executor kill -9: the task is failed, its processes are gone", failures::executor_killed),
    ("crowd: ninety tasks, a scheduler and an agent that die meanwhile, none lost or twice", failures::crowd),
    ("docker: a task in an image, its output, its kill", containers::docker_task),
    ("docker bare: an image of busybox alone, exit codes, an image that is not there", containers::docker_bare),
    (
        "docker agent restart: Mesos removes the container, the service runs again in one",
        containers::docker_agent_restart,
    ),
    ("docker alone: the image's own entry point, without an executor", containers::docker_alone),
    ("etl image: rounds in a Docker image from a registry", containers::etl_image),
    ("pages: names, labels and logs in Mesos' own state and files", services::pages),
    ("announced: health gates RUNNING, members come and go in ZooKeeper", services::announced),
    ("executor path: another executor than the one that is served, a wrapper, flags", services::executor_path),
    ("reserved: static and dynamic reservations of two roles", resources::reserved),
    ("revocable: what Mesos may take back, for the tier that asks for it", resources::revocable),
    ("maintenance: inverse offers are answered, tasks move in time", resources::maintenance),
    ("gpu: agents that have some, tasks that ask for some", resources::gpus),
    ("drained: the operator drains an agent, its tasks move", operators::drained),
    ("torn down: the daemon ends and says how to begin anew", operators::torn_down),
    ("deposed: another scheduler takes the framework, this one ends and comes back", operators::deposed),
    ("memory: a task that takes too much fails and says so", operators::memory),
    ("on the agent: observer and thermos see the task and end it", operators::on_the_agent),
    ("etl failover: rounds go on under another leader", operators::etl_failover),
    ("credentials: frameworks, files and executors that have to prove who they are", security::credentials),
    ("tls: masters and agents that want certificates", security::tls),
    ("image: Mesos' own containerizer, volumes, from a directory; its agent restarts", containers::image_task),
    ("image sources: from a Docker registry, and of Appc", containers::image_sources),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if std::env::args().any(|word| word == "--list") {
        for (name, _) in CASES {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if let Err(why) = cluster::find() {
        eprintln!("\n!!! The suite against a real Apache Mesos DID NOT RUN: {why}.");
        eprintln!("!!! Put mesos-master and mesos-agent on PATH or set MESOS_HOME, and run it as root.\n");
        return ExitCode::SUCCESS;
    }
    let mut failures = 0;
    for (name, case) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(case));
        failures += u32::from(result.is_err());
        let why = cluster::take_not_run();
        let outcome = match (result.is_ok(), &why) {
            (false, _) => "FAILED",
            (true, Some(_)) => "NOTRUN",
            (true, None) => "ok    ",
        };
        println!("{outcome} {name} ({:.1} s)", begun.elapsed().as_secs_f64());
        if let Some(why) = why {
            eprintln!("!!! The case {name:?} DID NOT RUN: {why}.");
        }
    }
    containers::remove_bridge();
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
