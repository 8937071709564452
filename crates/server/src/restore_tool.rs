//! `daybreak journal restore`: a backup takes the place of a stopped daemon's journal, by the rules of a recovery on-line. The
//! journal that was there stays beside the new one; at every moment one of both is in its place.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use journal::JournalError;
use journal::backup::{self, Moment};
use journal::disk::RealDisk;
use node::storage::{Record, RestoreError};
use rustix::fs::{CWD, RenameFlags};
use scheduler::admin::AdminCommand;
use scheduler::restore::{LaterTasks, Staged};
use scheduler::{Command, Effect, Input, Now, Principal, Record as Stored, ReplyCode, RequestId, Scheduler, Settings};

use crate::backups;
use crate::host::{SystemEntropy, wall_clock_ms};
use crate::journal_tool::first_free;

/// Puts a backup in the place of the journal in a state directory.
pub fn restore(state_dir: &Path, backup: &Path, kill_later_tasks: bool) -> ExitCode {
    let later = if kill_later_tasks { LaterTasks::Kill } else { LaterTasks::Keep };
    match run(state_dir, backup, later) {
        Ok(sentences) => {
            sentences.iter().for_each(|sentence| println!("{sentence}"));
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// What is stored now.
struct Present {
    records: Vec<Stored>,
    moment: Moment,
}

fn run(state_dir: &Path, path: &Path, later: LaterTasks) -> Result<Vec<String>, String> {
    let found = find(state_dir, path)?;
    let (then, staged) = backups::read(&found)?;
    let directory = state_dir.join("journal");
    let mut sentences = Vec::new();
    let present = match present(&directory) {
        Ok(present) => Some(present),
        Err(JournalError::NoJournal(_)) => None,
        Err(error @ JournalError::InUse { .. }) => return Err(error.to_string()),
        Err(error) => {
            sentences.push(format!("What is in the journal now is not looked at: {error}"));
            None
        }
    };
    let lock = directory.exists().then(|| backup::take(&RealDisk, &directory)).transpose();
    let _lock = lock.map_err(|error| error.to_string())?;
    let moment = present.as_ref().map_or(then, |present| then.latest(present.moment)).restored();
    let restored = match restored(present, &staged, later, moment)? {
        Ok(restored) => restored,
        Err(refusal) => {
            sentences.push(format!("Nothing of the journal is taken over: {refusal}"));
            restored_alone(&staged, later, moment)?
        }
    };
    let fresh = first_free(state_dir, "journal.restored");
    let written = backup::create_journal(&RealDisk, &fresh, moment, &mut restored.records.into_iter());
    let written = written.map_err(|error| error.to_string())?;
    sentences.push(format!("Restored {} records of {}.", written.records, found.display()));
    sentences.extend(restored.sentences);
    if let Some(aside) = put_in_place(state_dir, &directory, &fresh)? {
        sentences.push(format!("What was there is in {}; remove it when nothing is missed.", aside.display()));
    }
    Ok(sentences)
}

/// A path, or the name of a backup in the usual place.
fn find(state_dir: &Path, path: &Path) -> Result<PathBuf, String> {
    let usual = backups::BackupOptions::default().directory_in(state_dir).join(path);
    let candidates = [path.to_owned(), usual];
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    found.ok_or_else(|| format!("there is no backup {}: give a file, or the name of one in {0}", path.display()))
}

fn present(directory: &Path) -> Result<Present, JournalError> {
    if !directory.exists() {
        return Err(JournalError::NoJournal(directory.to_owned()));
    }
    let mut scheduler = Scheduler::new(Settings::default());
    let mut apply = |record: Record| {
        scheduler.apply(&record).map_err(|error| RestoreError { table: record.table, reason: error.to_string() })
    };
    let moment = backup::read_journal(&RealDisk, directory, &mut apply)?;
    Ok(Present { records: Scheduler::records(&scheduler.freeze()).collect(), moment })
}

struct Restored {
    records: Vec<Stored>,
    sentences: Vec<String>,
}

/// The backup over what is stored now, or over nothing but its own name. The inner error is the scheduler's refusal.
fn restored(
    present: Option<Present>,
    staged: &Staged,
    later: LaterTasks,
    moment: Moment,
) -> Result<Result<Restored, String>, String> {
    match present {
        Some(present) => step(present.records, staged, later, moment),
        None => restored_alone(staged, later, moment).map(Ok),
    }
}

fn restored_alone(staged: &Staged, later: LaterTasks, moment: Moment) -> Result<Restored, String> {
    let identity = |record: &Stored| record.table == scheduler::record::TABLE_IDENTITY;
    let identity = Scheduler::records(staged.view()).filter(identity).collect();
    step(identity, staged, later, moment)?
}

/// The same step a running scheduler takes, by one that is not connected to anything. Nothing is pruned or timed by its settings:
/// those of the daemon count, once it starts.
fn step(
    records: Vec<Stored>,
    staged: &Staged,
    later: LaterTasks,
    moment: Moment,
) -> Result<Result<Restored, String>, String> {
    let settings = Settings {
        history_max_per_job_threshold: usize::MAX,
        history_prune_threshold: std::time::Duration::MAX,
        ..Settings::default()
    };
    let mut scheduler = Scheduler::new(settings);
    for record in &records {
        scheduler.apply(record).map_err(|error| error.to_string())?;
    }
    let now = Now { wall_ms: wall_clock_ms(), monotonic_ms: 0 };
    let seed = node::Entropy::seed(&mut SystemEntropy);
    scheduler.step(now, Input::Start { seed, epoch: moment.epoch.0 });
    let command = Command::Admin(AdminCommand::Restore { staged: staged.clone(), later });
    let principal = Principal { name: "daybreak journal restore".into() };
    let output = scheduler.step(now, Input::command(RequestId(1), principal, command));
    let reply = output.effects.into_iter().find_map(|effect| match effect {
        Effect::Reply { reply, .. } => Some(reply),
        _ => None,
    });
    let reply = reply.ok_or("the scheduler gave no answer")?;
    if reply.code != ReplyCode::Ok {
        return Ok(Err(reply.messages.join(" ")));
    }
    Ok(Ok(Restored { records: Scheduler::records(&scheduler.freeze()).collect(), sentences: reply.messages }))
}

/// Puts the new journal where the old one is, in one act, and the old one beside it; its new place comes back, if there was one.
fn put_in_place(state_dir: &Path, directory: &Path, fresh: &Path) -> Result<Option<PathBuf>, String> {
    let failed = |error: std::io::Error| {
        format!("the restored journal is in {}, but could not take its place: {error}", fresh.display())
    };
    if !directory.exists() {
        std::fs::rename(fresh, directory).map_err(failed)?;
        sync(state_dir).map_err(failed)?;
        return Ok(None);
    }
    rustix::fs::renameat_with(CWD, fresh, CWD, directory, RenameFlags::EXCHANGE)
        .map_err(|error| failed(error.into()))?;
    sync(state_dir).map_err(failed)?;
    // From here on the restoration stands, whatever the old one is called.
    let aside = first_free(state_dir, "journal.replaced");
    match std::fs::rename(fresh, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(_) => Ok(Some(fresh.to_owned())),
    }
}

fn sync(directory: &Path) -> std::io::Result<()> {
    std::fs::File::open(directory)?.sync_all()
}
