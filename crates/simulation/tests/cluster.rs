//! Simulated clusters: thousands of histories from seeds, in each of which every rule of the scheduler must hold; every cell of the
//! state machine and every kind of fault must be met; and planted bugs must be found.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use simulation::cluster::coverage::{Coverage, Fault};
use simulation::cluster::expected::Table;
use simulation::cluster::mutation::Mutation;
use simulation::cluster::run::{Options, run};

/// More histories on request; fewer where nothing is optimised.
fn seed_count() -> u64 {
    match std::env::var("DAYBREAK_SIMULATION_SEEDS") {
        Ok(text) => text.parse().expect("DAYBREAK_SIMULATION_SEEDS is a number"),
        Err(_) if cfg!(debug_assertions) => 1000,
        Err(_) => 10_000,
    }
}

/// Calls `each` with the numbers below `count` on all processors, in order as far as that goes; stops at the first that gives something.
fn search<T: Send>(count: u64, each: impl Fn(u64) -> Option<T> + Sync) -> Option<(u64, T)> {
    let next = AtomicU64::new(0);
    let found: Mutex<Option<(u64, T)>> = Mutex::new(None);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return;
            }
            if let Some(result) = each(seed) {
                // No further ones are begun; those below go on.
                next.fetch_max(count, Ordering::Relaxed);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                if found.as_ref().is_none_or(|(other, _)| seed < *other) {
                    *found = Some((seed, result));
                }
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(2, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn in_every_history_the_rules_hold_and_together_they_meet_everything() {
    let total = Mutex::new(Coverage::default());
    let count = seed_count();
    let failed = search(count, |seed| {
        let report = run(seed, Options::default());
        assert!(report.coverage.inputs >= 1000 || !report.violations.is_empty());
        total.lock().unwrap().add(&report.coverage);
        // Now and then the same history once more: nothing may come from anywhere but the seed.
        if seed % 32 == 0 && run(seed, Options::default()).trace != report.trace {
            return Some(vec!["it went otherwise the second time".to_owned()]);
        }
        (!report.violations.is_empty()).then_some(report.violations)
    });
    if let Some((seed, violations)) = failed {
        panic!(
            "seed {seed}: {}\nshow it with: cargo run --release -p simulation --example seed -- {seed} --trace",
            violations.join("\n  ")
        );
    }
    let total = total.into_inner().unwrap();
    println!("{count} histories, {} inputs", total.inputs);
    let missing = missing(&total);
    assert!(missing.is_empty(), "never met in {count} histories: {missing:#?}");
}

/// Answers and events that a set of histories should have met.
const MET: &[&str] = &[
    "create Ok",
    "create InvalidRequest",
    "create JobUpdatingError",
    "create ErrorTransient",
    "kill Ok",
    "kill JobUpdatingError",
    "restart Ok",
    "restart InvalidRequest",
    "restart Error",
    "restart JobUpdatingError",
    "restart ErrorTransient",
    "add Ok",
    "add InvalidRequest",
    "add JobUpdatingError",
    "add ErrorTransient",
    "update Ok",
    "update InvalidRequest",
    "update ErrorTransient",
    "update goes on with room",
    "control Ok",
    "control InvalidRequest",
    "pulse Ok",
    "quota Ok",
    "quota InvalidRequest",
    "quota ErrorTransient",
    "schedule Ok",
    "schedule InvalidRequest",
    "schedule ErrorTransient",
    "replace Ok",
    "replace InvalidRequest",
    "deschedule Ok",
    "start Ok",
    "start InvalidRequest",
    "start ErrorTransient",
    "cron STARTED",
    "cron WAITING",
    "cron CANCELLED",
    "cron IGNORED",
    "cron MISSED",
    "maintenance Ok",
    "maintenance ErrorTransient",
    "maintenance SCHEDULED",
    "maintenance DRAINING",
    "maintenance DRAINED",
    "maintenance NONE",
    "maintenance forced",
    "maintenance sla",
    "maintenance allowed",
    "maintenance asked",
    "answer doubted",
    "offers suppressed",
    "repeated Ok",
    "repeated to another life",
    "key of another",
    "recover Ok",
    "recover ErrorTransient",
    "affinity kept",
    "affinity returned",
    "affinity expired",
];

/// What a set of histories should have met and has not.
fn missing(coverage: &Coverage) -> Vec<String> {
    let table = Table::default();
    let cells = table.cells().filter(|(cell, _)| Table::unasked(*cell).is_none() && !coverage.cells.contains_key(cell));
    let faults = Fault::ALL.into_iter().filter(|fault| !coverage.faults.contains_key(fault));
    let updates = model::update::UpdateStatus::ALL.map(model::update::UpdateStatus::name);
    let mut missing: Vec<String> = cells.map(|(cell, _)| cell.to_string()).collect();
    missing.extend(faults.map(|fault| format!("{fault:?}")));
    missing.extend(MET.iter().filter(|reply| !coverage.replies.contains_key(**reply)).map(|reply| (*reply).to_owned()));
    // An error of the controller itself is nothing that can be asked for.
    let updates = updates.into_iter().filter(|state| *state != "ERROR" && !coverage.updates.contains_key(state));
    missing.extend(updates.map(str::to_owned));
    missing
}

/// Each planted bug, and the number of histories within which it must be found.
const PLANTED: [(Mutation, u64); 34] = [
    (Mutation::ReleasedBeforeDurable, 10),
    (Mutation::AcknowledgedBeforeDurable, 20),
    (Mutation::TaskRecordDropped, 20),
    (Mutation::DeletionDropped, 50),
    (Mutation::ConfigRecordDropped, 20),
    (Mutation::SnapshotIncomplete, 50),
    (Mutation::KillDropped, 10),
    (Mutation::KillMisdirected, 20),
    (Mutation::LaunchRepeated, 20),
    (Mutation::OfferInflated, 20),
    (Mutation::AcknowledgementDropped, 10),
    (Mutation::StatusIgnored, 20),
    (Mutation::TimerLost, 20),
    (Mutation::AnsweredWithoutWork, 10),
    (Mutation::AnsweredTwice, 20),
    (Mutation::SpaceLowIgnored, 50),
    (Mutation::EpochEndIgnored, 20),
    (Mutation::StrayTolerated, 20),
    (Mutation::DelaysOnWallClock, 100),
    (Mutation::LeaderNotTold, 50),
    (Mutation::ReviveDropped, 100),
    (Mutation::GivenUpForgotten, 300),
    (Mutation::CronRunRecordDropped, 50),
    (Mutation::UpdateProgressRecordDropped, 50),
    (Mutation::AnswerRecordDropped, 50),
    (Mutation::RepetitionNotKnown, 50),
    (Mutation::MaintenanceRecordDropped, 50),
    (Mutation::SlaPolicyIgnored, 100),
    (Mutation::CoordinatorOverruled, 100),
    (Mutation::AffinityForgotten, 100),
    (Mutation::RestoreIncomplete, 100),
    (Mutation::RestoreKillsLater, 100),
    (Mutation::CronEarly, 20),
    (Mutation::NotDeterministic, 5),
];

#[test]
fn every_planted_bug_is_found_within_its_number_of_histories() {
    for (mutation, within) in PLANTED {
        let options = Options { mutation: Some(mutation), ..Options::default() };
        let found = search(within, |seed| {
            let report = run(seed, options);
            let differs = mutation == Mutation::NotDeterministic && run(seed, options).trace != report.trace;
            let first = report.violations.into_iter().next();
            first.or_else(|| differs.then(|| "the same seed went another way".to_owned()))
        });
        match found {
            Some((seed, violation)) => println!("{mutation:?}: seed {seed}: {violation}"),
            None => panic!("{mutation:?} was not found within {within} histories"),
        }
    }
}

#[test]
fn the_list_of_planted_bugs_is_complete() {
    assert!(Mutation::ALL.into_iter().all(|mutation| PLANTED.iter().any(|(planted, _)| *planted == mutation)));
}
