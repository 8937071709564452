//! Journals written by earlier versions open in this one. The files under `tests/golden` are never rewritten; a new format
//! version adds a directory. `WRITE_GOLDEN=DIR cargo test -p journal --test golden` makes one in the present format.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::disk::RealDisk;
use node::storage::{Epoch, Position, Record};
use support::{State, open_at, put, record, small};

/// What every golden journal holds: 70 puts over 30 keys, a snapshot after 40 groups, deletes after it.
fn content() -> (Vec<Vec<Record>>, State) {
    let mut groups: Vec<Vec<Record>> = (0..70u64).map(|n| vec![record(n % 30, &[n as u8; 50])]).collect();
    groups.push((0..5).map(|key| Record { value: None, ..record(key, b"") }).collect());
    groups.push(vec![Record { table: 4_000_000_000, key: Vec::new(), value: Some(Vec::new()) }]);
    let mut state = State::new();
    groups.iter().flatten().for_each(|record| put(&mut state, record.clone()));
    (groups, state)
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("the golden directory") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}

#[test]
fn version_1_opens_and_can_be_written_on() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/version-1");
    let place = tempfile::tempdir().expect("a directory");
    copy(&golden, place.path());
    let mut opened = open_at(Arc::new(RealDisk), place.path(), small()).expect("an old journal opens");
    let (groups, state) = content();
    assert_eq!(opened.state, state);
    assert_eq!((opened.recovered.position, opened.recovered.epoch), (Position(groups.len() as u64), Epoch(1)));
    assert_eq!(opened.recovered.notes, Vec::<String>::new());
    opened.append_durably(vec![record(1, b"new")]).expect("appends");
    let state = opened.state.clone();
    opened.journal.close().expect("closes");
    assert_eq!(open_at(Arc::new(RealDisk), place.path(), small()).expect("opens").state, state);
}

#[test]
fn the_present_format_holds_the_same() {
    let kept = std::env::var_os("WRITE_GOLDEN").map(PathBuf::from);
    let place = tempfile::tempdir().expect("a directory");
    let path = kept.unwrap_or_else(|| place.path().to_owned());
    let mut opened = open_at(Arc::new(RealDisk), &path, small()).expect("a new journal");
    let (groups, state) = content();
    for (number, group) in groups.into_iter().enumerate() {
        opened.append_durably(group).expect("appends");
        if number == 40 {
            opened.snapshot().expect("a snapshot");
        }
    }
    opened.journal.close().expect("closes");
    assert_eq!(open_at(Arc::new(RealDisk), &path, small()).expect("opens").state, state);
}
