//! Real processes on a real disk, killed with SIGKILL in the middle of their work: what they called durable is there.
//!
//! Without arguments this is the test. `kill write DIR` is the process that it starts and kills: it appends groups as fast as
//! it can, takes a snapshot now and then, and prints each position once it is durable.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use journal::{Journal, Options};
use node::storage::{Epoch, Group, Position, Record, Recovered, RestoreError, Storage};

const KILLS: u64 = 25;

fn options() -> Options {
    Options { segment_bytes: 1 << 16, ..Options::default() }
}

/// The record of a position: any other value under its key would be invented.
fn record(position: u64) -> Record {
    let value = vec![position as u8; 20 + (position * 37 % 400) as usize];
    Record {
        table: 1,
        key: (position % 500).to_be_bytes().to_vec(),
        value: Some([position.to_be_bytes().to_vec(), value].concat()),
    }
}

fn recover(journal: &mut Journal) -> (Recovered, BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut state = BTreeMap::new();
    let recovered = journal
        .recover(&mut |record: Record| -> Result<(), RestoreError> {
            state.insert(record.key, record.value.unwrap_or_default());
            Ok(())
        })
        .unwrap_or_else(|error| panic!("does not recover: {error}"));
    (recovered, state)
}

/// Every key holds the newest value that was written to it up to the recovered position.
fn check(recovered: &Recovered, state: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let end = recovered.position.0;
    assert_eq!(state.len() as u64, end.min(500));
    for position in end.saturating_sub(499).max(1)..=end {
        let expected = record(position);
        assert_eq!(state.get(&expected.key), expected.value.as_ref(), "position {position} of {end}");
    }
}

fn write(directory: &Path) {
    let mut journal = Journal::open(directory, options(), Arc::new(|| {})).expect("opens");
    let (recovered, mut state) = recover(&mut journal);
    let epoch = recovered.epoch.next();
    let (mut position, mut told) = (recovered.position, recovered.position);
    let mut out = std::io::stdout().lock();
    loop {
        let progress = journal.progress().expect("works");
        if progress.durable > told {
            told = progress.durable;
            writeln!(out, "{told}").and_then(|()| out.flush()).expect("the test listens");
        }
        if position.0 - told.0 > 64 {
            std::thread::yield_now();
            continue;
        }
        position = position.next();
        let record = record(position.0);
        state.insert(record.key.clone(), record.value.clone().expect("a put"));
        journal.append(Group { epoch, position, records: vec![record] }).expect("appends");
        if position.0 % 1000 == 0 {
            while journal.progress().expect("works").durable < position {
                std::thread::yield_now();
            }
            let records: Vec<Record> = state
                .iter()
                .map(|(key, value)| Record { table: 1, key: key.clone(), value: Some(value.clone()) })
                .collect();
            journal.start_snapshot(position, epoch, Box::new(records.into_iter())).expect("starts");
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, verb, directory] = &arguments[..]
        && verb == "write"
    {
        return write(Path::new(directory));
    }
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on a real disk");
    let mut epochs = Vec::new();
    let mut position = Position::NONE;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["write".as_ref(), place.path().as_os_str()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).last());
        std::thread::sleep(Duration::from_millis(20 + kill * 37 % 180));
        child.kill().expect("kills");
        child.wait().expect("ends");
        let told: u64 = match reader.join().expect("reads") {
            Some(line) => line.parse().expect("a position"),
            None => position.0,
        };
        let mut journal =
            Journal::open(place.path(), options(), Arc::new(|| {})).expect("the lock died with its holder");
        let (recovered, state) = recover(&mut journal);
        assert!(
            recovered.position.0 >= told,
            "position {told} was called durable, and the log ends at {}",
            recovered.position
        );
        check(&recovered, &state);
        position = recovered.position;
        epochs.push(recovered.epoch);
    }
    assert!(position.0 > 5000, "the processes did some work: {position}");
    assert!(epochs.is_sorted() && epochs.last() > Some(&Epoch(10)), "{epochs:?}");
    println!("{KILLS} kills, {position} groups, nothing lost: ok");
}
