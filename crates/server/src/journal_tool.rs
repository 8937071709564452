//! `daybreak journal`: looking at the journal of a stopped daemon, and keeping what is sound of a damaged one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use journal::disk::RealDisk;
use journal::{Finding, Inspection};
use serde_json::{Value, json};

/// Prints what the journal in a state directory holds and what a start would find. Changes nothing.
///
/// Exit code 0 when a daemon would start from it, 1 when it would refuse.
pub fn inspect(state_dir: &Path, as_json: bool) -> ExitCode {
    match journal::inspect(&RealDisk, &state_dir.join("journal")) {
        Ok(inspection) => {
            if as_json {
                println!("{:#}", document(&inspection));
            } else {
                println!("{inspection}");
            }
            match inspection.start {
                Finding::Sound(_) => ExitCode::SUCCESS,
                Finding::Refused(_) => ExitCode::FAILURE,
            }
        }
        Err(error) if as_json => {
            eprintln!("{}", json!({ "error": error.to_string(), "exit_code": 1 }));
            ExitCode::FAILURE
        }
        Err(error) => fail(&error.to_string()),
    }
}

/// What an inspection found, as JSON.
fn document(inspection: &Inspection) -> Value {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let snapshots = inspection.snapshots.iter().map(|snapshot| match &snapshot.state {
        Ok(info) => json!({
            "name": name(&snapshot.path),
            "position": snapshot.position.0,
            "epoch": info.epoch.0,
            "records": info.records,
            "bytes": info.bytes,
        }),
        Err(damage) => json!({
            "name": name(&snapshot.path),
            "position": snapshot.position.0,
            "damage": { "offset_bytes": damage.offset, "reason": damage.reason },
        }),
    });
    let segments = inspection.segments.iter().map(|segment| {
        json!({
            "name": name(&segment.path),
            "first_position": segment.positions.map(|(first, _)| first.0),
            "last_position": segment.positions.map(|(_, last)| last.0),
            "groups": segment.groups,
            "records": segment.records,
            "bytes": segment.bytes,
            "used_bytes": segment.used_bytes,
            "sealed": segment.sealed,
            "damage": segment.damage,
        })
    });
    let start = match &inspection.start {
        Finding::Sound(found) => {
            json!({ "sound": true, "position": found.position.0, "epoch": found.epoch.0, "notes": found.notes })
        }
        Finding::Refused(reason) => json!({ "sound": false, "reason": reason }),
    };
    json!({
        "directory": inspection.directory.display().to_string(),
        "in_use_by": inspection.in_use_by,
        "snapshots": snapshots.collect::<Vec<Value>>(),
        "segments": segments.collect::<Vec<Value>>(),
        "start": start,
    })
}

/// Replaces a damaged journal by what is sound of it. The damaged files stay beside it.
pub fn salvage(state_dir: &Path) -> ExitCode {
    let damaged = state_dir.join("journal");
    // What an interrupted salvage left is nobody's journal, and nobody's to remove unasked.
    let fresh = first_free(state_dir, "journal.salvaged");
    let salvaged = match journal::salvage(&RealDisk, &damaged, &fresh) {
        Ok(salvaged) => salvaged,
        Err(error) => return fail(&error.to_string()),
    };
    let aside = match move_aside(state_dir, &damaged, &fresh) {
        Ok(aside) => aside,
        Err(error) => {
            let place = damaged.display();
            return fail(&format!(
                "the sound part is in {0}, but could not take its place: {error}. Move {place} away, then {0} to {place}.",
                fresh.display()
            ));
        }
    };
    println!("Kept {} records up to position {}.", salvaged.snapshot.records, salvaged.snapshot.position);
    for (first, last) in &salvaged.lost {
        println!("Lost: positions {first} to {last}.");
    }
    for note in &salvaged.notes {
        println!("{note}");
    }
    println!("The damaged files are in {}; remove them when nothing is missed.", aside.display());
    ExitCode::SUCCESS
}

/// Puts `fresh` in the place of `damaged`, which is kept under the first free name beside it.
fn move_aside(state_dir: &Path, damaged: &Path, fresh: &Path) -> std::io::Result<PathBuf> {
    let aside = first_free(state_dir, "journal.damaged");
    std::fs::rename(damaged, &aside)?;
    std::fs::rename(fresh, damaged)?;
    Ok(aside)
}

/// `<name>-<number>` with the first number that nothing has yet, in the state directory.
pub(crate) fn first_free(state_dir: &Path, name: &str) -> PathBuf {
    let numbered = |number: u32| state_dir.join(format!("{name}-{number}"));
    (1..).map(numbered).find(|path| path.symlink_metadata().is_err()).expect("some number is free")
}

fn fail(reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interrupted_salvage_left_is_not_in_the_way_of_the_next() {
        let state = tempfile::tempdir().unwrap();
        let (damaged, leftover) = (state.path().join("journal"), state.path().join("journal.salvaged-1"));
        std::fs::create_dir(&damaged).unwrap();
        std::fs::write(damaged.join("what"), "damaged").unwrap();
        std::fs::create_dir(&leftover).unwrap();
        std::fs::write(leftover.join("half"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", state.path().join("journal.damaged-1")).unwrap();
        let fresh = first_free(state.path(), "journal.salvaged");
        assert_eq!(fresh, state.path().join("journal.salvaged-2"));
        std::fs::create_dir(&fresh).unwrap();
        let aside = move_aside(state.path(), &damaged, &fresh).unwrap();
        assert_eq!(aside, state.path().join("journal.damaged-2"));
        assert!(aside.join("what").exists() && !damaged.join("what").exists() && leftover.join("half").exists());
    }
}
