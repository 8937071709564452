//! Backups on disks that lose power, fill up and rot: what is listed is whole, and a damaged one is refused before it has left
//! a trace.

mod support;

use std::path::{Path, PathBuf};

use journal::JournalError;
use journal::backup::{
    Moment, create_journal, is_backup_name, list_backups, prune_backups, read_backup, read_journal, write_backup,
};
use node::storage::{Epoch, Position, Record};
use support::{FaultDisk, Plan, Random, State, directory, open, put, record, small};

const MOMENT: Moment = Moment { position: Position(17), epoch: Epoch(3) };

fn backups() -> PathBuf {
    PathBuf::from("/backups")
}

fn records(count: u64) -> Vec<Record> {
    (0..count).map(|key| record(key, &[key as u8; 300])).collect()
}

fn write(disk: &FaultDisk, stamp: &str, count: u64) -> Result<String, JournalError> {
    let written = write_backup(disk, &backups(), stamp, MOMENT, &mut records(count).into_iter())?;
    assert_eq!(written.records, count);
    Ok(written.name)
}

fn read(disk: &FaultDisk, path: &Path) -> Result<(Moment, State), JournalError> {
    let mut state = State::new();
    let mut take = |record: Record| {
        put(&mut state, record);
        Ok(())
    };
    let moment = read_backup(disk, path, &mut take)?;
    Ok((moment, state))
}

fn state_of(count: u64) -> State {
    let mut state = State::new();
    records(count).into_iter().for_each(|record| put(&mut state, record));
    state
}

#[test]
fn what_was_written_is_read_and_names_are_never_given_twice() {
    let disk = FaultDisk::default();
    assert_eq!(list_backups(&disk, &backups()).unwrap(), Vec::<String>::new());
    let names: Vec<String> = (1..4).map(|count| write(&disk, "2026-02-03-04-05", count).unwrap()).collect();
    let first = "scheduler-backup-2026-02-03-04-05";
    assert_eq!(names, [first.to_owned(), format!("{first}-02"), format!("{first}-03")]);
    assert_eq!(list_backups(&disk, &backups()).unwrap(), names);
    for (name, count) in names.iter().zip(1..) {
        assert_eq!(read(&disk, &backups().join(name)).unwrap(), (MOMENT, state_of(count)));
    }
    assert_eq!(prune_backups(&disk, &backups(), 2).unwrap(), names[..1]);
    assert_eq!(list_backups(&disk, &backups()).unwrap(), names[1..]);
    let mut newest = write(&disk, "2026-02-03-04-05", 4).unwrap();
    assert_eq!(newest, format!("{first}-04"), "the newest is last, though an older name is free");
    for _ in 5..=101 {
        newest = write(&disk, "2026-02-03-04-05", 4).unwrap();
        prune_backups(&disk, &backups(), 2).unwrap();
    }
    assert_eq!(newest, format!("{first}-101"));
    assert_eq!(list_backups(&disk, &backups()).unwrap(), [format!("{first}-100"), newest]);
}

#[test]
fn a_power_loss_at_any_step_leaves_whole_backups_only_and_a_finished_one_stays() {
    let mut finished = 0;
    for seed in 0..4 {
        for power_off_at in 1.. {
            let disk = FaultDisk::default();
            write(&disk, "2026-01-01-00-00", 5).unwrap();
            disk.set_plan(Plan { power_off_at: Some(power_off_at), ..Plan::default() });
            let outcome = write(&disk, "2026-01-01-01-00", 4000);
            let done = disk.operations() < power_off_at;
            let after = disk.after_power_loss(&mut Random(seed * 1000 + power_off_at));
            let names = list_backups(&after, &backups()).unwrap();
            assert_eq!(names[0], "scheduler-backup-2026-01-01-00-00");
            for name in &names {
                let count = if name.ends_with("01-00") { 4000 } else { 5 };
                assert_eq!(read(&after, &backups().join(name)).unwrap().1, state_of(count), "{name}, {power_off_at}");
            }
            if outcome.is_ok() {
                assert_eq!(names.len(), 2, "a backup that was confirmed is gone");
            }
            prune_backups(&after, &backups(), 9).unwrap();
            assert!(after.paths().iter().all(|path| !path.to_string_lossy().contains("temp_")), "{:?}", after.paths());
            if done {
                finished += 1;
                break;
            }
        }
    }
    assert_eq!(finished, 4);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let disk = FaultDisk::default();
    write(&disk, "2026-01-01-00-00", 5).unwrap();
    disk.set_plan(Plan { room_bytes: Some(disk.used_bytes() + 2000), ..Plan::default() });
    let error = write(&disk, "2026-01-01-01-00", 4000).unwrap_err();
    assert!(matches!(error, JournalError::Io { .. }), "{error}");
    assert_eq!(disk.paths().iter().filter(|path| path.starts_with("/backups")).count(), 1, "{:?}", disk.paths());
}

#[test]
fn every_flipped_bit_is_found_before_a_record_is_handed_over() {
    let disk = FaultDisk::default();
    let name = write(&disk, "2026-01-01-00-00", 4).unwrap();
    let path = backups().join(name);
    let length = disk.bytes(&path).len();
    for byte in 0..length {
        let copy = disk.copy();
        copy.tamper(&path, |bytes| bytes[byte] ^= 1 << (byte % 8));
        let mut handed = 0;
        let mut take = |_: Record| {
            handed += 1;
            Ok(())
        };
        match read_backup(&copy, &path, &mut take) {
            Ok(moment) => assert_eq!((moment, handed), (MOMENT, 4), "byte {byte} of {length} changes what is read"),
            Err(_) => assert_eq!(handed, 0, "byte {byte}"),
        }
    }
    let copy = disk.copy();
    copy.tamper(&path, |bytes| bytes.truncate(length - 20));
    let error = read(&copy, &path).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("another backup"), "{error}");
}

#[test]
fn names_that_lead_elsewhere_are_none() {
    assert!(is_backup_name("scheduler-backup-2026-01-01-00-00"));
    for wrong in
        ["", "x", "scheduler-backup-../x", "../scheduler-backup-1", "temp_scheduler-backup-1", "scheduler-backup-\0"]
    {
        assert!(!is_backup_name(wrong), "{wrong}");
    }
}

#[test]
fn a_journal_made_of_records_opens_with_them_at_that_moment() {
    let disk = FaultDisk::default();
    let later = MOMENT.restored();
    assert!(later.position > MOMENT.position && later.epoch.0 > MOMENT.epoch.0 + 1000);
    create_journal(&disk, &directory(), later, &mut records(9).into_iter()).unwrap();
    let mut state = State::new();
    let mut take = |record: Record| {
        put(&mut state, record);
        Ok(())
    };
    assert_eq!(read_journal(&disk, &directory(), &mut take).unwrap(), later);
    assert_eq!(state, state_of(9));
    let mut opened = open(&disk, small()).unwrap();
    assert_eq!((opened.recovered.position, opened.recovered.epoch), (later.position, later.epoch));
    opened.append_durably(vec![record(1, b"more")]).unwrap();
    let occupied = create_journal(&disk, &directory(), later, &mut records(1).into_iter()).unwrap_err();
    assert!(matches!(occupied, JournalError::NotEmpty(_)), "{occupied}");
}
