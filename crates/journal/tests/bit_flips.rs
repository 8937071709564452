//! A flipped bit anywhere in a journal is never believed and never hides a loss.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use journal::JournalError;
use journal::format::{FRAME_BYTES, HEADER_BYTES, frame_bytes};
use node::storage::Position;
use support::{FaultDisk, Random, State, cause, open, record, small};

/// A journal with several segments and two snapshots, closed properly; and what it holds.
fn sample() -> (FaultDisk, State, Position) {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    for round in 0..5u64 {
        for key in 0..12 {
            opened
                .append_durably(vec![record(key, &[round as u8 + 1; 90]), record(100 + round, b"x")])
                .expect("appends");
        }
        if round == 1 || round == 3 {
            opened.snapshot().expect("a snapshot");
        }
    }
    let (state, head) = (opened.state.clone(), opened.head);
    opened.journal.close().expect("closes");
    (disk, state, head)
}

/// Offsets at which the frames of a file begin, the header's among them.
fn frame_starts(bytes: &[u8]) -> Vec<u64> {
    let mut starts = vec![0, HEADER_BYTES as u64];
    let mut at = HEADER_BYTES;
    while at + FRAME_BYTES <= bytes.len() && bytes[at] != 0 {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("four bytes"));
        at += frame_bytes(length as usize);
        starts.push(at as u64);
    }
    starts
}

fn files(disk: &FaultDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    disk.paths().into_iter().map(|path| (path.clone(), disk.bytes(&path))).collect()
}

#[test]
fn every_flipped_bit_is_harmless_or_refused_with_its_exact_place() {
    let (disk, state, head) = sample();
    let mut random = Random(1);
    let (mut refused, mut harmless) = (0, 0);
    for (path, bytes) in files(&disk) {
        let starts = frame_starts(&bytes);
        let used = *starts.last().expect("a header") as usize;
        // Every byte that holds something, one bit each by chance, and a sample of the unused rest.
        let places = (0..used.min(bytes.len())).chain((used..bytes.len()).step_by(97));
        for at in places {
            let damaged = disk.copy();
            damaged.tamper(&path, |bytes| bytes[at] ^= 1 << random.below(8));
            match open(&damaged, small()) {
                Ok(opened) => {
                    assert_eq!(opened.state, state, "byte {at} of {path:?}");
                    assert_eq!(opened.head, head, "byte {at} of {path:?}");
                    harmless += 1;
                }
                Err(error) => {
                    let JournalError::Corrupt(corruption) = cause(&error) else { panic!("{error}") };
                    let expected = starts.iter().rev().find(|start| **start <= at as u64).expect("a frame");
                    assert_eq!((&corruption.path, corruption.offset), (&path, *expected), "byte {at}: {error}");
                    let text = error.to_string();
                    assert!(text.contains("daybreak journal inspect") && text.contains("daybreak journal salvage"));
                    assert_eq!(files(&damaged).len(), files(&disk).len(), "nothing was changed");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 1000 && harmless > 1000, "{refused} refused, {harmless} harmless");
}

#[test]
fn every_bit_of_the_last_durable_group_is_guarded_by_the_mark_after_it() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(1, b"first")]).expect("appends");
    opened.append_durably(vec![record(2, b"last")]).expect("appends");
    opened.journal.close().expect("closes");
    let path = support::directory().join("segment-000000000001.log");
    let starts = frame_starts(&disk.bytes(&path));
    // Header, group 1, mark, group 2, mark, end; the first mark is left out when the second group came at once.
    let last_group = starts[starts.len() - 3] as usize..starts[starts.len() - 2] as usize;
    for bit in last_group.start * 8..last_group.end * 8 {
        let damaged = disk.copy();
        damaged.tamper(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let error = open(&damaged, small()).err().unwrap_or_else(|| panic!("bit {bit} was cut in silence"));
        let JournalError::Corrupt(corruption) = cause(&error) else { panic!("{error}") };
        assert_eq!((corruption.offset, corruption.position), (last_group.start as u64, Position(2)));
    }
}

#[test]
fn a_damaged_snapshot_is_passed_over_while_the_log_reaches_it_and_refused_when_not() {
    let (disk, state, _) = sample();
    let snapshots: Vec<PathBuf> =
        disk.paths().into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "snap")).collect();
    let flip = |disk: &FaultDisk, path: &PathBuf| disk.tamper(path, |bytes| bytes[100] ^= 4);
    let one = disk.copy();
    flip(&one, &snapshots[1]);
    let opened = open(&one, small()).expect("the older snapshot and the log since");
    assert_eq!(opened.state, state);
    let note = &opened.recovered.notes[0];
    assert!(note.contains("damaged at byte 64") && note.contains("nothing is lost"), "{note}");
    let both = disk.copy();
    flip(&both, &snapshots[0]);
    flip(&both, &snapshots[1]);
    let error = open(&both, small()).err().expect("nothing reaches the first snapshot");
    let JournalError::Corrupt(corruption) = cause(&error) else { panic!("{error}") };
    assert_eq!((&corruption.path, corruption.offset), (&snapshots[1], 64));
}

#[test]
fn a_file_cut_short_anywhere_is_noticed_or_harmless() {
    let (disk, state, head) = sample();
    for (path, bytes) in files(&disk) {
        let starts = frame_starts(&bytes);
        for length in (0..bytes.len()).step_by(41).chain(starts.iter().map(|start| *start as usize)) {
            let damaged = disk.copy();
            damaged.tamper(&path, |bytes| bytes.truncate(length));
            match open(&damaged, small()) {
                Ok(opened) => {
                    assert_eq!((opened.state, opened.head), (state.clone(), head), "{path:?} cut to {length}")
                }
                Err(error) => assert!(matches!(cause(&error), JournalError::Corrupt(_)), "{error}"),
            }
        }
    }
}
