//! Disks that fail, lie, tear and fill up. A failing random case prints its seed; `SEED=n cargo test -p journal` runs it.

mod support;

use std::path::PathBuf;

use journal::format::{FRAME_BYTES, Found, FrameKind, HEADER_BYTES, Place, frame_at, put_frame};
use journal::{Corruption, JournalError, SnapshotInfo};
use node::group::Link;
use node::storage::{Epoch, Group, Position, Space, Storage};
use support::{FaultDisk, Opened, Plan, Random, State, cause, directory, open, put, record, small};

fn segment(number: u64) -> PathBuf {
    directory().join(format!("segment-{number:012}.log"))
}

/// The seeds to run: all up to `count`, or the one that the environment names.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

fn corruption(error: node::storage::StorageError) -> Corruption {
    match cause(&error) {
        JournalError::Corrupt(corruption) => corruption.clone(),
        other => panic!("{other}"),
    }
}

/// A journal of `groups` small groups, each durable before the next, closed.
fn closed(groups: u64) -> (FaultDisk, State) {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    for key in 0..groups {
        opened.append_durably(vec![record(key, b"a value of some length")]).expect("appends");
    }
    let state = opened.state.clone();
    opened.journal.close().expect("closes");
    (disk, state)
}

fn place(number: u64) -> Place {
    Place { journal: small().new_journal_id.expect("fixed"), number }
}

/// The sound frames at the front of a segment: kind, first byte, byte after.
fn frames(disk: &FaultDisk, number: u64) -> Vec<(FrameKind, usize, usize)> {
    let bytes = disk.bytes(&segment(number));
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    while let Found::Frame(frame) = frame_at(place(number), &bytes, at) {
        found.push((frame.kind, frame.offset, frame.end));
        at = frame.end;
    }
    found
}

/// Where the groups of a segment lie.
fn groups(disk: &FaultDisk, number: u64) -> Vec<std::ops::Range<usize>> {
    let frames = frames(disk, number).into_iter();
    frames.filter(|(kind, ..)| *kind == FrameKind::Group).map(|(_, from, to)| from..to).collect()
}

/// Where the unused rest of a segment begins.
fn used(disk: &FaultDisk, number: u64) -> usize {
    frames(disk, number).last().expect("a frame").2
}

// T15: a sync fails once.

#[test]
fn a_failed_sync_is_final_and_never_tried_again() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(1, b"safe")]).expect("appends");
    disk.set_plan(Plan { sync_error_at: Some(1), ..Plan::default() });
    let position = opened.append(vec![record(2, b"unsure")]).expect("handed over");
    let error = opened.wait_durable(position).expect_err("reported");
    assert!(error.to_string().contains("cannot sync"), "{error}");
    let operations = disk.operations();
    assert!(opened.append(vec![record(3, b"late")]).is_err(), "nothing is taken any more");
    assert!(opened.journal.progress().is_err());
    assert!(opened.journal.close().is_err());
    let log = disk.operation_log();
    assert!(log.iter().any(|operation| operation == "sync segment-000000000001.log"), "{log:?}");
    let after: Vec<String> = log[operations as usize..].to_vec();
    assert!(after.iter().all(|operation| !operation.contains("segment-000000000001.log")), "no second try: {after:?}");
}

#[test]
fn what_a_failed_sync_left_in_memory_is_written_again_before_it_is_trusted() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(1, b"safe")]).expect("appends");
    disk.set_plan(Plan { sync_error_at: Some(1), ..Plan::default() });
    let position = opened.append(vec![record(2, b"unsure")]).expect("handed over");
    opened.wait_durable(position).expect_err("reported");
    drop(opened.journal);
    // The next process reads the group from the system's memory, where it counts as clean.
    let mut next = open(&disk, small()).expect("opens");
    assert_eq!(next.recovered.position, Position(2));
    next.append_durably(vec![record(3, b"built on it")]).expect("appends");
    let state = next.state.clone();
    let found = open(&disk.after_power_loss(&mut Random(3)), small()).expect("opens after the power went");
    assert_eq!(found.state, state);
}

// T16: syncs lie.

#[test]
fn a_lying_disk_loses_only_the_tail_or_is_refused_and_never_invents() {
    let (mut sound, mut refused) = (0, 0);
    for seed in seeds(150) {
        let mut random = Random(seed);
        let disk = FaultDisk::default();
        let mut opened = open(&disk, small()).expect("a new journal");
        let mut states = vec![State::new()];
        let honest = random.below(10);
        for key in 0..20 {
            if key == honest {
                disk.set_plan(Plan { syncs_lie: true, ..Plan::default() });
            }
            opened.append_durably(vec![record(key, &[key as u8; 60])]).expect("appends");
            states.push(opened.state.clone());
        }
        match open(&disk.after_power_loss(&mut random), small()) {
            Ok(found) => {
                let position = found.recovered.position.0;
                assert!(position >= honest, "seed {seed}: what was truly synced is there");
                assert_eq!(found.state, states[position as usize], "seed {seed}: a prefix, nothing half");
                sound += 1;
            }
            Err(error) => {
                assert!(corruption(error).position.0 > honest, "seed {seed}: only the lied-about part is missed");
                refused += 1;
            }
        }
    }
    assert!(sound > 0 && refused > 0 || std::env::var("SEED").is_ok(), "{sound} sound, {refused} refused");
}

// T17: what a tail can look like.

#[test]
fn a_torn_last_group_is_cut_and_reported_once() {
    let (disk, state) = closed(4);
    let end = used(&disk, 1);
    // A fifth group is written without a sync, and only its first sector arrives.
    let torn = disk.copy();
    let mut opened = open(&torn, small()).expect("opens");
    opened.append_durably(vec![record(9, &[9; 2000])]).expect("appends");
    drop(opened);
    torn.tamper(&segment(1), |bytes| bytes[end + 700..].fill(0));
    let found = open(&torn, small()).expect("a torn tail is no corruption");
    assert_eq!(found.state, state);
    let note = found.recovered.notes.first().expect("reported");
    assert!(note.contains(&format!("from byte {end} on")) && note.contains("were cut"), "{note}");
    found.journal.close().expect("closes");
    assert_eq!(open(&torn, small()).expect("opens").recovered.notes, Vec::<String>::new(), "gone for good");
}

#[test]
fn a_hole_before_groups_that_were_written_with_it_is_a_torn_write() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(1, b"safe")]).expect("appends");
    let state = opened.state.clone();
    opened.journal.close().expect("closes");
    let mut opened = open(&disk, small()).expect("opens");
    // Usually both are in one write with one sync: the device may store the second and lose the first.
    opened.append(vec![record(2, &[2; 500])]).expect("handed over");
    opened.append(vec![record(3, &[3; 500])]).expect("handed over");
    opened.wait_durable(Position(3)).expect("durable");
    drop(opened);
    let groups = groups(&disk, 1);
    let last = &disk.bytes(&segment(1))[groups[2].clone()];
    let (header, _) = node::group::decode_header(&last[FRAME_BYTES..]).expect("a group");
    disk.tamper(&segment(1), |bytes| {
        bytes[groups[1].clone()].fill(0);
        // The power went before the mark that follows the sync.
        bytes[groups[2].end..].fill(0);
    });
    let found = open(&disk, small());
    if header.link.durable_before == Position(1) {
        let found = found.expect("never acknowledged, so never lost");
        assert_eq!(found.state, state);
        assert!(found.recovered.notes[0].contains("1 of them whole groups"), "{:?}", found.recovered.notes);
    } else {
        // The writer was quicker than this test: the second group knows that the first was durable.
        assert_eq!(corruption(found.err().expect("refused")).position, Position(2));
    }
}

#[test]
fn a_bad_group_followed_by_one_that_knew_it_is_corruption() {
    let (disk, _) = closed(4);
    let third = groups(&disk, 1)[2].clone();
    disk.tamper(&segment(1), |bytes| bytes[third.start + 50] ^= 1);
    let found = corruption(open(&disk, small()).err().expect("refused"));
    assert_eq!((found.path, found.offset, found.position), (segment(1), third.start as u64, Position(3)));
}

#[test]
fn zeros_in_place_of_groups_are_corruption_when_something_knows_better() {
    let (disk, _) = closed(4);
    let groups = groups(&disk, 1);
    disk.tamper(&segment(1), |bytes| bytes[groups[2].start..groups[3].end].fill(0));
    let found = corruption(open(&disk, small()).err().expect("the mark at the end knows"));
    assert_eq!((found.offset, found.position), (groups[2].start as u64, Position(3)));
}

#[test]
fn a_duplicated_tail_is_cut_and_everything_is_there() {
    let (disk, state) = closed(4);
    let end = used(&disk, 1);
    disk.tamper(&segment(1), |bytes| bytes.copy_within(64..end, end));
    let found = open(&disk, small()).expect("nothing is missing");
    assert_eq!(found.state, state);
    assert_eq!(found.recovered.position, Position(4));
    assert_eq!(found.recovered.notes.len(), 1);
}

#[test]
fn a_misdirected_write_is_found_where_it_struck() {
    let (disk, _) = closed(60);
    let path = segment(1);
    // A later sector lands on an earlier one.
    disk.tamper(&path, |bytes| bytes.copy_within(2048..2560, 512));
    let found = corruption(open(&disk, small()).err().expect("refused"));
    assert_eq!(found.path, path);
    assert!(found.offset > 512 - 128 && found.offset < 1024, "{found}");
    // A sector of another segment lands here.
    let (disk, _) = closed(60);
    let other = disk.bytes(&segment(2));
    disk.tamper(&path, |bytes| bytes[1024..1536].copy_from_slice(&other[512..1024]));
    let found = corruption(open(&disk, small()).err().expect("refused"));
    assert!(found.path == path && found.offset < 1536, "{found}");
}

#[test]
fn a_group_of_another_history_does_not_fit_however_sound_it_is() {
    // Two journals of one name that differ from the second group on, such as a restored copy and its original.
    let history = |value: &[u8]| {
        let disk = FaultDisk::default();
        let mut opened = open(&disk, small()).expect("a new journal");
        opened.append_durably(vec![record(1, b"same")]).expect("appends");
        opened.append_durably(vec![record(2, value)]).expect("appends");
        opened.append_durably(vec![record(3, b"same")]).expect("appends");
        opened.journal.close().expect("closes");
        disk
    };
    let ours = history(b"ours--");
    let third = groups(&ours, 1)[2].clone();
    // Whether a mark lies between two groups depends on the writer's haste; only a group from the same offset can pass.
    let mut others = std::iter::repeat_with(|| history(b"theirs")).take(1000);
    let theirs = others.find(|theirs| groups(theirs, 1)[2] == third).expect("the same layout, sooner or later");
    let foreign = theirs.bytes(&segment(1))[third.clone()].to_vec();
    ours.tamper(&segment(1), |bytes| bytes[third.clone()].copy_from_slice(&foreign));
    let found = corruption(open(&ours, small()).err().expect("refused"));
    assert_eq!((found.offset, found.position), (third.start as u64, Position(3)));
}

#[test]
fn a_group_of_an_older_epoch_does_not_follow_a_newer_one() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(1, b"new reign")]).expect("appends");
    opened.journal.close().expect("closes");
    let (first, end) = (groups(&disk, 1)[0].clone(), used(&disk, 1));
    let bytes = disk.bytes(&segment(1));
    let body = match frame_at(place(1), &bytes, first.start) {
        Found::Frame(frame) => frame.body.to_vec(),
        other => panic!("{other:?}"),
    };
    let link = Link { previous: node::group::checksum(&body), durable_before: Position(1) };
    let with_epoch = |epoch| {
        let group = Group { epoch: Epoch(epoch), position: Position(2), records: vec![record(2, b"x")] };
        let mut frame = Vec::new();
        put_frame(place(1), end as u64, FrameKind::Group, &mut frame, |out| node::group::encode(&group, link, out));
        let disk = disk.copy();
        disk.tamper(&segment(1), |bytes| bytes[end..end + frame.len()].copy_from_slice(&frame));
        open(&disk, small()).expect("opens").recovered.position
    };
    assert_eq!(with_epoch(1), Position(2), "made by hand, and sound");
    assert_eq!(with_epoch(0), Position(1), "of an older reign");
}

#[test]
fn a_missing_or_foreign_segment_is_corruption() {
    let (disk, _) = closed(100);
    let lost = disk.copy();
    journal::disk::Disk::remove(&lost, &segment(2)).expect("removes");
    let found = corruption(open(&lost, small()).err().expect("refused"));
    assert!(found.reason.contains("segment 2, which follows, is missing"), "{found}");
    let foreign = FaultDisk::default();
    let options = journal::Options { new_journal_id: Some([9; 16]), ..small() };
    let mut opened = open(&foreign, options).expect("a new journal");
    for key in 0..100 {
        opened.append_durably(vec![record(key, b"a value of some length")]).expect("appends");
    }
    drop(opened);
    let bytes = foreign.bytes(&segment(2));
    disk.tamper(&segment(2), |target| *target = bytes);
    let found = corruption(open(&disk, small()).err().expect("refused"));
    assert_eq!((found.path.clone(), found.offset), (segment(2), 0), "{found}");
}

// T19: the disk is full.

#[test]
fn a_full_disk_says_so_early_keeps_a_reserve_and_recovers() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(0, b"first")]).expect("appends");
    while disk.paths().iter().filter(|path| path.extension().is_some_and(|ext| ext == "log")).count() < 3 {
        opened.bell.wait();
    }
    disk.set_plan(Plan { room_bytes: Some(disk.used_bytes()), ..Plan::default() });
    // One segment in use, one ahead, one in reserve. These groups fill the first, with marks or without.
    for key in 1..46u64 {
        opened.append_durably(vec![record(key, &[1; 40])]).expect("goes on");
    }
    while opened.journal.progress().expect("works").space == Space::Enough {
        opened.bell.wait();
    }
    for key in 46..80u64 {
        opened.append_durably(vec![record(key, &[1; 40])]).expect("there is room when space is first called low");
    }
    let Space::Low { reason } = opened.journal.progress().expect("works").space else { panic!("space is low") };
    assert!(reason.contains("reserve room for"), "{reason}");
    // Fill the reserve too: the next group waits, is not lost, and nothing fails.
    let mut last = opened.head;
    for key in 100..160u64 {
        last = opened.append(vec![record(key, &[2; 40])]).expect("handed over");
    }
    for _ in 0..200 {
        opened.bell.wait();
    }
    let stuck = opened.journal.progress().expect("no failure").durable;
    assert!(stuck < last, "the reserve is used up");
    disk.set_plan(Plan::default());
    opened.wait_durable(last).expect("space returned, and the groups that waited are stored");
    while opened.journal.progress().expect("works").space != Space::Enough {
        opened.bell.wait();
    }
    let state = opened.state.clone();
    opened.journal.close().expect("closes");
    assert_eq!(open(&disk, small()).expect("opens").state, state);
}

#[test]
fn a_snapshot_that_finds_no_room_changes_nothing_and_is_told() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    for key in 0..20 {
        opened.append_durably(vec![record(key, &[1; 40])]).expect("appends");
    }
    let before = disk.paths();
    disk.set_plan(Plan { room_bytes: Some(disk.used_bytes() + 100), ..Plan::default() });
    opened.snapshot().expect("no failure of the journal");
    let progress = opened.journal.progress().expect("works");
    assert!(progress.snapshot_failure.expect("told").contains("cannot write the snapshot"));
    assert!(before.iter().all(|path| disk.paths().contains(path)));
    assert!(!disk.paths().iter().any(|path| path.to_string_lossy().contains("snapshot")), "nothing half-written stays");
    disk.set_plan(Plan::default());
    opened.snapshot().expect("works");
    assert_eq!(opened.journal.progress().expect("works").snapshot_failure, None);
}

// T20: a crash at each step of a snapshot, and of everything else.

/// Writes, takes a snapshot and writes on, until the power goes at the given operation. What was durable comes back.
fn work_until_power_off(opened: &mut Opened) -> (State, Vec<State>) {
    let mut acknowledged = opened.state.clone();
    let mut later = Vec::new();
    for round in 0..3u64 {
        for key in 0..6 {
            let sent = opened.append(vec![record(key, &[round as u8; 30]), record(key + 50, &[round as u8; 30])]);
            if sent.is_err() {
                return (acknowledged, later);
            }
            later.push(opened.state.clone());
            if opened.wait_durable(opened.head).is_err() {
                return (acknowledged, later);
            }
            acknowledged = opened.state.clone();
            later.clear();
        }
        if opened.snapshot().is_err() {
            return (acknowledged, later);
        }
    }
    (acknowledged, later)
}

#[test]
fn a_crash_at_each_step_of_a_snapshot_loses_nothing() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    for key in 0..150 {
        opened.append_durably(vec![record(key, &[3; 40])]).expect("appends");
    }
    opened.snapshot().expect("a first snapshot");
    for key in 0..150 {
        opened.append_durably(vec![record(key, &[4; 40])]).expect("appends");
    }
    let state = opened.state.clone();
    opened.journal.close().expect("closes");
    let mut steps = Vec::new();
    for step in 1..100 {
        let disk = disk.copy();
        let mut opened = open(&disk, small()).expect("opens");
        while disk.paths().iter().filter(|path| path.extension().is_some_and(|ext| ext == "log")).count() < 8 {
            opened.bell.wait();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
        disk.set_plan(Plan { power_off_at: Some(step), ..Plan::default() });
        // The dead disk fails the preparer and the snapshot; the writer has nothing to do.
        opened.snapshot().expect("a failed snapshot is no failure of the journal");
        steps = disk.operation_log();
        for seed in 0..6 {
            let found = open(&disk.after_power_loss(&mut Random(seed)), small());
            let found = found.unwrap_or_else(|error| panic!("step {step}, seed {seed}: {error}"));
            assert_eq!(found.state, state, "step {step}, seed {seed}");
        }
        if (steps.len() as u64) < step - 1 {
            break;
        }
    }
    let told = |what: &str| steps.iter().any(|step| step.contains(what));
    assert!(
        told("create") && told("sync snapshot") && told("rename") && told("sync directory") && told("remove"),
        "{steps:?}"
    );
}

#[test]
fn whatever_was_acknowledged_is_there_after_a_crash_anywhere() {
    for seed in seeds(400) {
        let mut random = Random(seed);
        let mut disk = FaultDisk::default();
        let mut possible: Vec<State> = vec![State::new()];
        for life in 0..3 {
            disk.set_plan(Plan::default());
            let mut opened = match open(&disk, small()) {
                Ok(opened) => opened,
                Err(error) => panic!("seed {seed}, life {life}: {error}"),
            };
            assert!(possible.contains(&opened.state), "seed {seed}, life {life}: a state that nobody made");
            disk.set_plan(Plan { power_off_at: Some(1 + random.below(150)), ..Plan::default() });
            let (acknowledged, later) = work_until_power_off(&mut opened);
            possible = vec![acknowledged];
            possible.extend(later);
            drop(opened);
            disk = if random.below(4) == 0 { disk.after_kill() } else { disk.after_power_loss(&mut random) };
        }
    }
}

#[test]
fn a_crash_during_recovery_itself_changes_nothing_for_the_next() {
    for seed in seeds(200) {
        let mut random = Random(seed);
        let disk = FaultDisk::default();
        let mut opened = open(&disk, small()).expect("a new journal");
        disk.set_plan(Plan { power_off_at: Some(40 + random.below(60)), ..Plan::default() });
        let (acknowledged, later) = work_until_power_off(&mut opened);
        drop(opened);
        let mut found = disk.after_power_loss(&mut random);
        for _ in 0..3 {
            found.set_plan(Plan { power_off_at: Some(1 + random.below(6)), ..Plan::default() });
            drop(open(&found, small()));
            found = found.after_power_loss(&mut random);
        }
        let state = open(&found, small()).unwrap_or_else(|error| panic!("seed {seed}: {error}")).state;
        assert!(state == acknowledged || later.contains(&state), "seed {seed}");
    }
}

// T48, as far as a storage can show it: what is decided together stays together.

#[test]
fn the_records_of_a_group_are_there_together_or_not_at_all() {
    for seed in seeds(200) {
        let mut random = Random(seed);
        let disk = FaultDisk::default();
        let mut opened = open(&disk, small()).expect("a new journal");
        if random.below(2) == 0 {
            opened.append_durably(vec![record(99, b"first")]).expect("appends");
        }
        // The power goes between a write and its sync, more often than not.
        disk.set_plan(Plan { power_off_at: Some(1 + random.below(12)), ..Plan::default() });
        for key in 0..10 {
            let records = (0..4).map(|table| node::storage::Record { table, ..record(key, &[1; 300]) }).collect();
            if opened.append(records).is_err() {
                break;
            }
        }
        for _ in 0..random.below(8) {
            opened.bell.wait();
        }
        let found = open(&disk.after_power_loss(&mut random), small());
        let found = found.unwrap_or_else(|error| panic!("seed {seed}: an honest disk is no corruption: {error}"));
        for key in 0u64..10 {
            let tables = found.state.keys().filter(|(_, found)| *found == key.to_be_bytes()).count();
            assert!(tables == 0 || tables == 4, "seed {seed}: {tables} of 4 records");
        }
    }
}

#[test]
fn a_snapshot_says_what_it_holds() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(1, b"one"), record(2, b"two")]).expect("appends");
    opened.snapshot().expect("a snapshot");
    let snapshots = opened.journal.snapshots();
    let [SnapshotInfo { position: Position(1), records: 2, bytes, .. }] = snapshots[..] else {
        panic!("{snapshots:?}")
    };
    assert!(bytes > 64);
    let mut state = State::new();
    put(&mut state, record(1, b"one"));
    assert_ne!(opened.state, state);
}

#[test]
fn a_fault_in_a_thread_of_the_journal_is_told_and_not_waited_for() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(1, b"one")]).expect("appends");
    let state = opened.state.clone();
    let records = std::iter::once_with(|| panic!("on purpose: a view that cannot be read"));
    opened.journal.start_snapshot(Position(1), Epoch(1), Box::new(records)).expect("starts");
    let error = loop {
        match opened.journal.progress() {
            Ok(_) => opened.bell.wait(),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("`journal-snapshot` ended by a fault"), "{error}");
    assert!(opened.append(vec![record(2, b"two")]).is_err());
    drop(opened.journal);
    assert_eq!(open(&disk, small()).expect("opens").state, state);
}

#[test]
fn groups_go_on_and_are_counted_while_a_snapshot_is_being_written() {
    let disk = FaultDisk::default();
    let mut opened = open(&disk, small()).expect("a new journal");
    opened.append_durably(vec![record(1, b"one")]).expect("appends");
    // The snapshot's records come only when the test lets them.
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let records = std::iter::from_fn(move || held.recv().ok().map(|()| record(1, b"one")));
    opened.journal.start_snapshot(Position(1), Epoch(1), Box::new(records)).expect("starts");
    let_go.send(()).expect("the snapshot is being written");
    for key in 2..30 {
        opened.append_durably(vec![record(key, &[7; 50])]).expect("nothing stops");
    }
    assert!(opened.journal.progress().expect("works").snapshot_running);
    opened.journal.start_snapshot(Position(2), Epoch(1), Box::new(std::iter::empty())).expect("ignored");
    drop(let_go);
    while opened.journal.progress().expect("works").snapshot_running {
        opened.bell.wait();
    }
    assert_eq!(opened.journal.snapshots().iter().map(|found| found.position).collect::<Vec<_>>(), [Position(1)]);
    let since = opened.journal.progress().expect("works").bytes_since_snapshot;
    assert!(since >= 28 * 50, "what was appended meanwhile has still to be replayed: {since}");
    let state = opened.state.clone();
    opened.journal.close().expect("closes");
    assert_eq!(open(&disk, small()).expect("opens").state, state);
}
