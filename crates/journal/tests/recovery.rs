//! What was durable is there after every kind of end, and only the files that are needed stay.

mod support;

use std::path::Path;
use std::sync::Arc;

use journal::disk::RealDisk;
use journal::{Journal, JournalError, Options};
use node::storage::{Epoch, Group, Position, Record, RestoreError, Space, Storage};
use support::{FaultDisk, Opened, cause, directory, open, open_at, record, small};

fn reopen(opened: Opened, disk: &FaultDisk) -> Opened {
    opened.journal.close().expect("closes");
    open(disk, small()).expect("opens again")
}

#[test]
fn everything_comes_back_after_a_clean_close() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    assert_eq!(opened.recovered, node::storage::Recovered::default());
    opened.append_durably(vec![record(1, b"one"), record(2, b"two")]).expect("appends");
    opened.append_durably(vec![record(1, b"uno"), Record { value: None, ..record(2, b"") }]).expect("appends");
    let before = opened.state.clone();
    let again = reopen(opened, &disk);
    assert_eq!(again.state, before);
    assert_eq!(again.recovered.position, Position(2));
    assert_eq!(again.recovered.epoch, Epoch(1));
    assert_eq!(again.recovered.notes, Vec::<String>::new());
}

#[test]
fn many_segments_and_many_starts_are_one_log() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    for round in 0..8u64 {
        for key in 0..40u64 {
            opened.append(vec![record(key, &[round as u8; 100])]).expect("appends");
        }
        opened.wait_durable(opened.head).expect("durable");
        let before = (opened.state.clone(), opened.head);
        opened = reopen(opened, &disk);
        assert_eq!((opened.state.clone(), opened.head), before, "round {round}");
        assert_eq!(opened.recovered.notes, Vec::<String>::new(), "round {round}");
    }
    assert!(disk.paths().len() > 8, "segments of 4 KiB were filled: {:?}", disk.paths());
}

#[test]
fn a_group_larger_than_a_segment_is_kept_whole() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(1, &[1; 100])]).expect("appends");
    opened.append_durably(vec![record(2, &[2; 20_000])]).expect("appends a large group");
    opened.append_durably(vec![record(3, &[3; 100])]).expect("appends");
    let before = opened.state.clone();
    assert_eq!(reopen(opened, &disk).state, before);
}

#[test]
fn a_kill_loses_nothing_that_was_handed_to_the_system() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    for key in 0..20 {
        opened.append_durably(vec![record(key, b"value")]).expect("appends");
        let found = open(&disk.after_kill(), small()).expect("opens what a kill leaves");
        assert_eq!(found.state, opened.state);
        assert_eq!(found.recovered.notes, Vec::<String>::new());
    }
}

#[test]
fn a_snapshot_replaces_the_segments_before_the_snapshot_before_it() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    let mut used = Vec::new();
    for round in 0..6u64 {
        for key in 0..60 {
            opened.append_durably(vec![record(key, &[round as u8; 150])]).expect("appends");
        }
        assert!(opened.journal.progress().expect("works").bytes_since_snapshot > 9000);
        opened.snapshot().expect("a snapshot");
        assert_eq!(opened.journal.progress().expect("works").bytes_since_snapshot, 0);
        used.push(disk.used_bytes());
    }
    assert!(used[5] <= used[2] + 3 * 4096, "the log does not grow with its age, give or take spares: {used:?}");
    let kept: Vec<Position> = opened.journal.snapshots().iter().map(|snapshot| snapshot.position).collect();
    assert_eq!(kept, [Position(300), Position(360)]);
    opened.append_durably(vec![record(7, b"after the snapshot")]).expect("appends");
    let before = opened.state.clone();
    let again = reopen(opened, &disk);
    assert_eq!(again.state, before);
    assert_eq!(again.recovered.records, 61, "sixty from the snapshot, one from the log");
}

#[test]
fn positions_out_of_order_and_calls_out_of_order_are_refused() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    let group = |position| Group { epoch: Epoch(1), position: Position(position), records: Vec::new() };
    for position in [0, 2] {
        let error = opened.journal.append(group(position)).expect_err("out of order");
        assert!(matches!(cause(&error), JournalError::Misused(_)));
    }
    opened.journal.append(group(1)).expect("in order");
    let mut take = |_: Record| -> Result<(), RestoreError> { Ok(()) };
    assert!(opened.journal.recover(&mut take).is_err(), "a second recovery");
    let snapshot = opened.journal.start_snapshot(Position(9), Epoch(1), Box::new(std::iter::empty()));
    assert!(snapshot.is_err(), "a snapshot of what is not durable");
    let mut unopened = Journal::open_on(Arc::new(FaultDisk::default()), &directory(), small(), Arc::new(|| {}))
        .expect("takes a directory");
    assert!(unopened.append(group(1)).is_err(), "an append before recovery");
}

#[test]
fn a_record_that_the_state_refuses_stops_the_recovery() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(1, b"one")]).expect("appends");
    opened.journal.close().expect("closes");
    let mut journal =
        Journal::open_on(Arc::new(disk), &directory(), small(), Arc::new(|| {})).expect("takes the directory");
    let error = journal
        .recover(&mut |record: Record| Err(RestoreError { table: record.table, reason: "unknown table".to_owned() }))
        .expect_err("refused");
    let text = error.to_string();
    assert!(text.contains("group 1 in") && text.contains("byte 64") && text.contains("unknown table"), "{text}");
}

#[test]
fn a_directory_in_use_names_its_holder_and_is_free_again_afterwards() {
    let place = tempfile::tempdir().expect("a directory");
    let options = || Options { segment_bytes: 1 << 16, ..Options::default() };
    let first = open_at(Arc::new(RealDisk), place.path(), options()).expect("a new journal");
    let error = Journal::open(place.path(), options(), Arc::new(|| {})).err().expect("in use");
    let JournalError::InUse { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(error.to_string().contains(&format!("by process {}", std::process::id())), "{error}");
    first.journal.close().expect("closes");
    open_at(Arc::new(RealDisk), place.path(), options()).expect("free again");
}

#[test]
fn a_journal_on_a_real_disk_comes_back() {
    let place = tempfile::tempdir().expect("a directory");
    let path: &Path = place.path();
    let options = || Options { segment_bytes: 1 << 14, ..Options::default() };
    let mut opened = open_at(Arc::new(RealDisk), path, options()).expect("a new journal");
    for key in 0..200 {
        opened.append(vec![record(key, &[key as u8; 200])]).expect("appends");
    }
    opened.wait_durable(opened.head).expect("durable");
    opened.snapshot().expect("a snapshot");
    opened.append_durably(vec![record(5, b"later")]).expect("appends");
    assert_eq!(opened.journal.progress().expect("works").space, Space::Enough);
    let before = opened.state.clone();
    opened.journal.close().expect("closes");
    let again = open_at(Arc::new(RealDisk), path, options()).expect("opens");
    assert_eq!(again.state, before);
    assert_eq!(again.recovered.notes, Vec::<String>::new());
}
