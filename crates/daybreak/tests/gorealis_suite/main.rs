//! The end-to-end tests of gorealis, the client library of Aurora's users, as their authors wrote them, against a daemon on this machine.
//!
//! They expect a scheduler at 192.168.33.7:8081 that is announced in a ZooKeeper at 192.168.33.2:2181, agents named `localhost`, a user
//! `vagrant`, and answers that take longer than 5 ms (spec thrift-api 4.6). All of that is given to them here, in a network of their own:
//! the daemon knows nothing of it. Go fetches the library from its module proxy; without it these tests say loudly that they did not run.

mod network;
mod suite;
#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::time::Duration;

use discovery::testing::Zookeeper;
use suite::{Report, Suite, surprises};
use support::{Daemon, is_root, open_directory};

/// Where the suites look for the scheduler and for ZooKeeper.
const SCHEDULER: &str = "192.168.33.7";
const ZOOKEEPER: &str = "192.168.33.2";
/// Later than the 5 ms after which a test hangs up.
const DELAY: Duration = Duration::from_millis(12);
/// Longest run of a suite.
const LIMIT: Duration = Duration::from_secs(25 * 60);

/// Tests of the first generation that fail, and why.
const FAIL_V1: &[(&str, &str)] = &[];

/// Tests of the second generation that fail, and why.
const FAIL_V2: &[(&str, &str)] = &[(
    "TestRealisClient_BatchAwareAutoPause",
    "It wants a pause after the last batch too, and to resume from it. Aurora pauses between batches only and then is done \
     (ROLLED_FORWARD), which is what the first generation's test of the same name demands",
)];

fn say(text: &str) {
    // Past the test harness, which keeps what good tests print. With nobody left to read it, there is nothing to say.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Runs the suite of `tests/gorealis/<name>`, and fails unless exactly the tests of `expected` fail.
fn run(name: &str, package: &str, test: &str, expected: &[(&str, &str)], options: &[&str]) {
    if network::is_inside(test) {
        let report = run_inside(&Suite::told(), options);
        tell(name, &report, expected);
        let surprises = surprises(&report, expected);
        assert!(surprises.is_empty(), "{}\n{}", report.output, surprises.join("\n"));
        return;
    }
    if !is_root() {
        return say(&format!("\n!!! The suite of gorealis {name} DID NOT RUN: a network of its own takes root\n\n"));
    }
    // Built outside, since inside there is no module proxy.
    let suite = match Suite::build(name, package) {
        Ok(suite) => suite,
        Err(why) => return say(&format!("\n!!! The suite of gorealis {name} DID NOT RUN: {why}\n\n")),
    };
    let (succeeded, said) = network::run_inside(test, &suite.variables());
    assert!(succeeded, "{said}");
    say(&said);
}

fn run_inside(suite: &Suite, options: &[&str]) -> Report {
    network::addresses(&[SCHEDULER, ZOOKEEPER]);
    let directory = open_directory();
    network::account(directory.path(), "vagrant", 54_321);
    let zookeeper = Zookeeper::start();
    network::relay(&format!("{ZOOKEEPER}:2181"), &zookeeper.address(), Duration::ZERO);
    std::fs::write(directory.path().join("security.ini"), "[users]\naurora = secret, admin\n[roles]\nadmin = *\n")
        .unwrap();
    let security = format!("-shiro_ini_path={}", directory.path().join("security.ini").display());
    let common = [
        "--cluster=test-cluster",
        "-hostname=192.168.33.7",
        "-zk_endpoints=192.168.33.2:2181",
        "-serverset_path=/aurora/scheduler",
        "-min_required_instances_for_sla_check=1",
    ];
    let options: Vec<String> =
        common.iter().chain(options).map(|option| option.replace("SECURITY", &security)).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut daemon = Daemon::start_at("127.0.0.1:8081", directory, &options);
    network::relay(&format!("{SCHEDULER}:8081"), "127.0.0.1:8081", DELAY);
    let client = zookeeper.client();
    support::wait_for("the announcement", Duration::from_secs(30), || {
        (client.children("/aurora/scheduler").len() == 1).then_some(())
    });
    drop(client);
    let report = suite.run(LIMIT);
    let panics: Vec<&str> = {
        let log = daemon.log();
        log.lines().filter(|line| line.contains("panicked at")).map(|line| line.to_owned().leak() as &str).collect()
    };
    assert!(panics.is_empty(), "the daemon panicked: {panics:?}");
    assert_eq!(daemon.stop(), 0, "{}", daemon.log());
    report
}

/// What each test did.
fn tell(name: &str, report: &Report, expected: &[(&str, &str)]) {
    let mut text = format!("\ngorealis {name}:\n");
    for (test, (verdict, why)) in &report.verdicts {
        let known = expected.iter().find(|(listed, _)| listed == test).map_or(why.as_str(), |(_, reason)| reason);
        let line = format!("  {:<9} {test}  {known}", format!("{verdict:?}"));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    say(&text);
}

#[test]
fn the_suite_of_the_first_generation_passes() {
    let agents = [
        "--agent=hostname=localhost attributes=zone:west resources=cpus:8;mem:8192;disk:20000;ports:[11000-11499]",
        "--agent=hostname=localhost attributes=zone:east resources=cpus:8;mem:8192;disk:20000;ports:[11500-11999]",
    ];
    let test = "the_suite_of_the_first_generation_passes";
    run("v1", "github.com/paypal/gorealis", test, FAIL_V1, &agents);
}

#[test]
fn the_suite_of_the_second_generation_passes() {
    let options = [
        "--agent=hostname=localhost resources=cpus:8;mem:8192;disk:20000;ports:[11000-11999]",
        "-http_authentication_mechanism=BASIC",
        "SECURITY",
    ];
    let test = "the_suite_of_the_second_generation_passes";
    run("v2", "github.com/aurora-scheduler/gorealis/v2", test, FAIL_V2, &options);
}
