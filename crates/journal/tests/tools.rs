//! `inspect`, `salvage` and `compact`, as an operator meets them.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::disk::{Disk, RealDisk};
use journal::{Finding, JournalError, compact, inspect, salvage};
use node::storage::{Epoch, Position, Storage};
use support::{FaultDisk, State, cause, directory, open, open_at, record, small};

fn sample() -> (FaultDisk, State) {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    for key in 0..60 {
        opened.append_durably(vec![record(key, &[1; 90])]).expect("appends");
        if key == 30 {
            opened.snapshot().expect("a snapshot");
        }
    }
    // Nine thousand bytes are in three segments; at least one more is prepared.
    while disk.paths().iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")).count() < 4 {
        opened.bell.wait();
    }
    let state = opened.state.clone();
    opened.journal.close().expect("closes");
    (disk, state)
}

fn segment(number: u64) -> PathBuf {
    directory().join(format!("segment-{number:012}.log"))
}

#[test]
fn inspect_lists_what_is_there_and_what_a_start_would_find() {
    let (disk, _) = sample();
    let before = disk.paths();
    let seen = inspect(&disk, &directory()).expect("looks");
    let Finding::Sound(recovered) = &seen.start else { panic!("{seen}") };
    assert_eq!((recovered.position, recovered.epoch, recovered.records), (Position(60), Epoch(1), 60));
    assert_eq!(seen.segments.iter().map(|segment| segment.groups).sum::<u64>(), 60);
    let text = seen.to_string();
    for expected in [
        "journal /journal",
        "snapshot-00000000000000000031.snap  31 records",
        "segment-000000000001.log  positions 1 to ",
        ", sealed",
        "prepared, no groups",
        "a start goes on from position 60, epoch 1",
    ] {
        assert!(text.contains(expected), "`{expected}` is missing in:\n{text}");
    }
    assert!(!text.contains("UNREADABLE") && !text.contains("DAMAGED"), "{text}");
    assert_eq!(disk.paths(), before, "nothing was changed");
}

#[test]
fn inspect_shows_where_the_damage_is() {
    let (disk, _) = sample();
    disk.tamper(&segment(2), |bytes| bytes[2500] ^= 1);
    let snapshot = directory().join("snapshot-00000000000000000031.snap");
    disk.tamper(&snapshot, |bytes| bytes[80] ^= 1);
    let seen = inspect(&disk, &directory()).expect("looks");
    assert!(matches!(&seen.start, Finding::Refused(reason) if reason.contains("segment-000000000002.log")), "{seen}");
    let text = seen.to_string();
    assert!(text.contains("; UNREADABLE from byte ") && text.contains("DAMAGED at byte 64"), "{text}");
    assert!(text.contains("a start refuses: the journal is damaged"), "{text}");
}

#[test]
fn salvage_copies_what_is_sound_and_names_what_is_not() {
    let (disk, state) = sample();
    // Two groups after the snapshot are struck.
    disk.tamper(&segment(2), |bytes| bytes[2500] ^= 1);
    disk.tamper(&segment(2), |bytes| bytes[2800] ^= 1);
    let error = open(&disk, small()).err().expect("refused");
    assert!(matches!(cause(&error), JournalError::Corrupt(_)));
    let to = PathBuf::from("/saved");
    let saved = salvage(&disk, &directory(), &to).expect("salvages");
    assert!(
        !saved.lost.is_empty() && saved.notes.iter().all(|note| note.contains("unreadable from byte")),
        "{saved:?}"
    );
    let found = open_at(Arc::new(disk.clone()), &to, small()).expect("the copy opens");
    let lost: Vec<u64> = saved.lost.iter().flat_map(|(first, last)| first.0..=last.0).collect();
    let mut expected = state;
    // Group n wrote key n - 1 and nothing else.
    lost.iter().for_each(|position| drop(expected.remove(&(1, (position - 1).to_be_bytes().to_vec()))));
    assert_eq!(found.state, expected);
    assert_eq!(found.recovered.position, Position(60));
    assert!(found.recovered.epoch > Epoch(1), "reigns that are lost may have shown higher epochs");
    assert!(open(&disk, small()).is_err(), "the original is as it was");
    let again = salvage(&disk, &directory(), &to).expect_err("would overwrite");
    assert!(matches!(again, JournalError::NotEmpty(_)));
}

#[test]
fn salvage_uses_the_readable_blocks_of_a_damaged_snapshot() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    // Four blocks of 256 KiB, in a snapshot that nothing older stands behind.
    let records = (0..10u64).map(|key| record(key, &[key as u8; 100 << 10])).collect();
    opened.append_durably(records).expect("appends");
    opened.snapshot().expect("a snapshot");
    opened.journal.close().expect("closes");
    let snapshot = directory().join("snapshot-00000000000000000001.snap");
    for path in disk.paths().iter().filter(|path| **path != snapshot) {
        disk.remove(path).expect("removes");
    }
    disk.tamper(&snapshot, |bytes| bytes[400 << 10] ^= 1);
    assert!(open(&disk, small()).is_err());
    let saved = salvage(&disk, &directory(), Path::new("/saved")).expect("salvages");
    assert!(saved.notes[0].contains("damaged at byte") && saved.notes[0].contains("readable blocks"), "{saved:?}");
    let found = open_at(Arc::new(disk), Path::new("/saved"), small()).expect("opens");
    assert_eq!(found.state.len(), 7, "three of ten were in the damaged block");
}

#[test]
fn a_journal_in_use_is_not_salvaged_or_compacted() {
    let place = tempfile::tempdir().expect("a directory");
    let (from, to) = (place.path().join("journal"), place.path().join("saved"));
    let mut opened = open_at(Arc::new(RealDisk), &from, small()).expect("a new journal");
    opened.append_durably(vec![record(1, b"one")]).expect("appends");
    let pid = Some(std::process::id());
    assert!(matches!(salvage(&RealDisk, &from, &to), Err(JournalError::InUse { pid: found, .. }) if found == pid));
    assert!(matches!(compact(&RealDisk, &from), Err(JournalError::InUse { pid: found, .. }) if found == pid));
    let seen = inspect(&RealDisk, &from).expect("looking is allowed");
    assert!(seen.to_string().contains(&format!("in use by process {}", std::process::id())), "{seen}");
    opened.journal.close().expect("closes");
    assert_eq!(inspect(&RealDisk, &from).expect("looks").in_use_by, None);
    salvage(&RealDisk, &from, &to).expect("free now");
}

#[test]
fn compaction_keeps_the_latest_value_of_every_key_and_nothing_else() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    for round in 0..20u64 {
        for key in 0..10 {
            opened.append_durably(vec![record(key, &[round as u8; 60])]).expect("appends");
        }
    }
    let state = opened.state.clone();
    opened.journal.close().expect("closes");
    let before = disk.used_bytes();
    let done = compact(&disk, &directory()).expect("compacts");
    assert_eq!((done.snapshot.records, done.snapshot.position), (10, Position(200)));
    assert!(disk.used_bytes() * 10 < before);
    let mut again = open(&disk, small()).expect("opens");
    assert_eq!((again.state.clone(), again.recovered.position), (state, Position(200)));
    again.append_durably(vec![record(77, b"goes on")]).expect("appends");
    let state = again.state.clone();
    again.journal.close().expect("closes");
    assert_eq!(open(&disk, small()).expect("opens").state, state);
}

#[test]
fn a_damaged_journal_is_not_compacted_and_an_empty_place_is_no_journal() {
    let (disk, _) = sample();
    disk.tamper(&segment(2), |bytes| bytes[2500] ^= 1);
    let before = disk.paths();
    assert!(matches!(compact(&disk, &directory()), Err(JournalError::Corrupt(_))));
    assert_eq!(disk.paths(), before);
    let empty = FaultDisk::default();
    assert!(matches!(inspect(&empty, &directory()), Err(JournalError::NoJournal(_))));
    assert!(matches!(salvage(&empty, &directory(), Path::new("/saved")), Err(JournalError::NoJournal(_))));
    assert!(matches!(compact(&empty, &directory()), Err(JournalError::NoJournal(_))));
}

#[test]
fn a_start_after_a_salvage_reigns_above_everything_seen() {
    let (disk, _) = sample();
    disk.tamper(&segment(2), |bytes| bytes[2500] ^= 1);
    let to = PathBuf::from("/saved");
    salvage(&disk, &directory(), &to).expect("salvages");
    let mut opened = open_at(Arc::new(disk), &to, small()).expect("opens");
    opened.append_durably(vec![record(1, b"x")]).expect("appends");
    assert!(opened.journal.progress().expect("works").durable > Position(60));
}

#[test]
fn the_advice_names_the_directory_that_the_commands_take() {
    let (disk, _) = sample();
    disk.tamper(&segment(2), |bytes| bytes[2500] ^= 1);
    let text = open(&disk, small()).err().expect("refused").to_string();
    assert!(text.contains("`daybreak journal inspect /`") && text.contains("`daybreak journal salvage /`"), "{text}");
    let copy = PathBuf::from("/elsewhere");
    for path in disk.paths() {
        let bytes = disk.bytes(&path);
        let file = disk.create(&copy.join(path.file_name().expect("a name"))).expect("creates");
        file.write_all_at(&bytes, 0).expect("writes");
    }
    let text = open_at(Arc::new(disk), &copy, small()).err().expect("refused").to_string();
    assert!(text.contains("`daybreak journal inspect /elsewhere`"), "{text}");
}
