//! `daybreak journal`: looking at the journal of a stopped daemon, and keeping what is sound of a damaged one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use journal::disk::RealDisk;

/// Prints what the journal in a state directory holds and what a start would find. Changes nothing.
///
/// Exit code 0 when a daemon would start from it, 1 when it would refuse.
pub fn inspect(state_dir: &Path) -> ExitCode {
    match journal::inspect(&RealDisk, &state_dir.join("journal")) {
        Ok(inspection) => {
            println!("{inspection}");
            match inspection.start {
                journal::Finding::Sound(_) => ExitCode::SUCCESS,
                journal::Finding::Refused(_) => ExitCode::FAILURE,
            }
        }
        Err(error) => fail(&error.to_string()),
    }
}

/// Replaces a damaged journal by what is sound of it. The damaged files stay beside it.
pub fn salvage(state_dir: &Path) -> ExitCode {
    let damaged = state_dir.join("journal");
    let fresh = state_dir.join("journal.salvaged");
    let salvaged = match journal::salvage(&RealDisk, &damaged, &fresh) {
        Ok(salvaged) => salvaged,
        Err(error) => return fail(&error.to_string()),
    };
    let aside = match move_aside(&damaged, &fresh) {
        Ok(aside) => aside,
        Err(error) => {
            return fail(&format!("the sound part is in {}, but could not take its place: {error}", fresh.display()));
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
fn move_aside(damaged: &Path, fresh: &Path) -> std::io::Result<PathBuf> {
    let name = |number: u32| damaged.with_file_name(format!("journal.damaged-{number}"));
    let aside = (1..).map(name).find(|path| !path.exists()).expect("some number is free");
    std::fs::rename(damaged, &aside)?;
    std::fs::rename(fresh, damaged)?;
    Ok(aside)
}

fn fail(reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::FAILURE
}
