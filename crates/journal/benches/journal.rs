//! How fast groups become durable, and how long a recovery takes. Prints; fails never.
//!
//! `cargo bench -p journal` works in a temporary directory below the present one, so that it measures a real disk. The
//! time of one lone sync on that disk is printed beside the rates: rates are to be read against it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use journal::{Journal, Options};
use node::storage::{Epoch, Group, Position, Record, RestoreError, Storage};

/// Wakes the bench when the journal has something to say.
#[derive(Clone, Default)]
struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    fn ringer(&self) -> journal::OnProgress {
        let bell = self.clone();
        Arc::new(move || {
            *bell.0.0.lock().expect("no panic under the lock") = true;
            bell.0.1.notify_all();
        })
    }

    fn wait(&self) {
        let mut rung = self.0.0.lock().expect("no panic under the lock");
        while !std::mem::take(&mut *rung) {
            rung = self.0.1.wait(rung).expect("no panic under the lock");
        }
    }
}

fn open(path: &Path) -> (Journal, Bell, node::storage::Recovered) {
    let bell = Bell::default();
    let mut journal = Journal::open(path, Options::default(), bell.ringer()).expect("opens");
    let recovered = journal.recover(&mut |_: Record| -> Result<(), RestoreError> { Ok(()) }).expect("recovers");
    (journal, bell, recovered)
}

fn group(position: u64, records: u64, value_bytes: usize) -> Group {
    let records = (0..records)
        .map(|n| Record {
            table: 1,
            key: format!("www-data-devel-hello-{:012}", position * records + n).into_bytes(),
            value: Some(vec![n as u8; value_bytes]),
        })
        .collect();
    Group { epoch: Epoch(1), position: Position(position), records }
}

fn wait_durable(journal: &mut Journal, bell: &Bell, position: u64) {
    while journal.progress().expect("works").durable < Position(position) {
        bell.wait();
    }
}

fn lone_sync(directory: &Path) -> Duration {
    let file = File::create(directory.join("plain")).expect("creates");
    file.write_all_at(&vec![0; 1 << 20], 0).expect("writes");
    file.sync_all().expect("syncs");
    let mut times: Vec<Duration> = (0..200u64)
        .map(|n| {
            let start = Instant::now();
            file.write_all_at(&[1; 512], n * 512).expect("writes");
            file.sync_data().expect("syncs");
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// One group at a time: what a lone command waits for.
fn latency(directory: &Path) {
    let (mut journal, bell, _) = open(&directory.join("latency"));
    let mut times: Vec<Duration> = (1..=2000)
        .map(|position| {
            let start = Instant::now();
            journal.append(group(position, 2, 400)).expect("appends");
            wait_durable(&mut journal, &bell, position);
            start.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "one group at a time: median {:?}, p99 {:?}, longest {:?}, {} syncs for 2000 groups",
        times[1000],
        times[1980],
        times[1999],
        journal.sync_count()
    );
}

/// Many groups in flight: what a loaded loop gets. The time that the caller spends in `append` is the loop's share.
fn throughput(directory: &Path) {
    const GROUPS: u64 = 200_000;
    let (mut journal, bell, _) = open(&directory.join("throughput"));
    let start = Instant::now();
    let mut in_append = Duration::ZERO;
    let mut longest = Duration::ZERO;
    for position in 1..=GROUPS {
        let group = group(position, 2, 400);
        let before = Instant::now();
        journal.append(group).expect("appends");
        let took = before.elapsed();
        in_append += took;
        longest = longest.max(took);
        if position % 1000 == 0 {
            wait_durable(&mut journal, &bell, position.saturating_sub(4000));
        }
    }
    wait_durable(&mut journal, &bell, GROUPS);
    let took = start.elapsed();
    let mebibytes = GROUPS as f64 * 2.0 * 450.0 / f64::from(1 << 20);
    println!(
        "{GROUPS} groups of 2 records: {:.0} groups/s, {:.0} MiB/s, {} syncs, {:?} per append, longest append {longest:?}",
        GROUPS as f64 / took.as_secs_f64(),
        mebibytes / took.as_secs_f64(),
        journal.sync_count(),
        in_append / GROUPS as u32,
    );
}

/// A snapshot of a million records while groups go on, and the recovery from it and from the log alone.
fn recovery(directory: &Path) {
    const RECORDS: u64 = 1_000_000;
    let path = directory.join("recovery");
    let (mut journal, bell, _) = open(&path);
    for position in 1..=RECORDS / 100 {
        journal.append(group(position, 100, 400)).expect("appends");
    }
    wait_durable(&mut journal, &bell, RECORDS / 100);
    drop(journal);
    let start = Instant::now();
    let (mut journal, bell, recovered) = open(&path);
    println!("recovery of {} records from the log alone: {:?}", recovered.records, start.elapsed());
    let mut position = recovered.position;
    let records = (0..RECORDS / 100).flat_map(|n| group(n, 100, 400).records);
    let start = Instant::now();
    journal.start_snapshot(position, Epoch(1), Box::new(records)).expect("starts");
    let mut times = Vec::new();
    while journal.progress().expect("works").snapshot_running {
        position = position.next();
        let before = Instant::now();
        journal.append(group(position.0, 2, 400)).expect("appends");
        wait_durable(&mut journal, &bell, position.0);
        times.push(before.elapsed());
    }
    times.sort();
    println!(
        "a snapshot of {RECORDS} records: {:?}; {} groups became durable meanwhile, median {:?}, longest {:?}",
        start.elapsed(),
        times.len(),
        times.get(times.len() / 2).copied().unwrap_or_default(),
        times.last().copied().unwrap_or_default()
    );
    journal.close().expect("closes");
    let start = Instant::now();
    let (_, _, recovered) = open(&path);
    println!("recovery of {} records, snapshot first: {:?}", recovered.records, start.elapsed());
}

fn main() {
    let place = tempfile::tempdir_in(std::env::current_dir().expect("a directory")).expect("a directory");
    println!("a lone write and sync of 512 bytes on this disk: {:?}", lone_sync(place.path()));
    latency(place.path());
    throughput(place.path());
    recovery(place.path());
}
