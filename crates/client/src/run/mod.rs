//! `daybreak run`: one job from a file to its end, on a private cluster unless another is named. What is not the tasks' own output goes to
//! stderr. Exit codes: 0 all FINISHED, 1 any other end, 3 a bad file, 130 interrupted.

pub mod groups;
mod machine;
mod output;
mod private;
mod processes;
mod session;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::clusters::{Cluster, Clusters};
use crate::console::Console;
use crate::daybreak::arguments::RunArguments;
use crate::evaluation::{EvaluationRequest, LoadedJob, Wanted};
use crate::exit::{Exit, Failure, Outcome};
use crate::scheduler::Scheduler;
use crate::world::{RealWorld, World, login, program_path};
use machine::Machine;
use private::PrivateCluster;
pub use private::remove_cluster;
use session::Session;

/// How often the user has asked to stop; the signals' only effect.
#[derive(Clone, Debug, Default)]
pub struct Interrupts(Arc<AtomicUsize>);

impl Interrupts {
    /// Counts Ctrl-C, SIGTERM and the closing of the terminal.
    fn listen() -> Self {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let interrupts = Self::default();
        if let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]) {
            let counter = interrupts.0.clone();
            std::thread::spawn(move || {
                for _ in signals.forever() {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        interrupts
    }

    /// How often.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// `daybreak run FILE [JOBKEY]`.
pub fn run(arguments: &RunArguments, console: &mut Console) -> Outcome {
    let interrupts = Interrupts::listen();
    let world = RealWorld::new();
    let job = load(arguments, &world, console)?;
    match &arguments.cluster {
        Some(name) => {
            let cluster =
                if name.contains("://") { Cluster::at(&job.key.cluster, name) } else { Clusters::load()?.get(name)? };
            let scheduler = Scheduler::new(cluster, &world);
            Session::new(scheduler, &job, None, interrupts).run(console, None)
        }
        None => run_privately(&job, &program_path(), &world, interrupts, console),
    }
}

fn load(arguments: &RunArguments, world: &RealWorld, console: &mut Console) -> Outcome<LoadedJob> {
    let request = EvaluationRequest {
        path: arguments.path.clone(),
        bindings: arguments.file.bindings.clone(),
        is_json: arguments.file.read_json,
        format: arguments.file.format,
        wanted: arguments.key.clone().map_or(Wanted::Only, Wanted::Job),
        ..EvaluationRequest::default()
    };
    let bad = |why: String| Failure::new(Exit::InvalidConfiguration, why.trim_end().to_owned());
    let evaluation = world.evaluate(&request).map_err(bad)?;
    for warning in &evaluation.warnings {
        console.warning(warning);
    }
    let mut job = evaluation.job.ok_or_else(|| bad(format!("{} defines no such job", arguments.path.display())))?;
    if let Some(schedule) = job.configuration.cron_schedule.take() {
        console.err(format!("{} has the cron schedule '{schedule}'; it runs once now.", job.key.job));
    }
    if job.has_hooks {
        console.err("The file's hooks do not run here: they are around the calls of `aurora` verbs.");
    }
    Ok(job)
}

fn run_privately(
    job: &LoadedJob,
    program: &Path,
    world: &RealWorld,
    interrupts: Interrupts,
    console: &mut Console,
) -> Outcome {
    console.err("No cluster named; starting one for this run (removed at exit)");
    let mut private = PrivateCluster::start(program, &job.key.cluster)?;
    let Some(endpoint) = private.endpoint().cloned() else {
        return Err(Failure::new(Exit::CommandFailure, "The private cluster's daemon does not say where it listens."));
    };
    let identity = identity_text(&login(), &job.key.job.role, nix::unistd::Uid::effective().is_root());
    let notice = endpoint.notice.map_or_else(String::new, |notice| format!(" {notice}"));
    console.err(format!("{identity}{notice}"));
    let mut cluster = Cluster::at(&job.key.cluster, &endpoint.url);
    // Nobody waits ten minutes for a daemon that is our own child.
    cluster.is_local_default = true;
    let scheduler = Scheduler::new(cluster, world);
    Session::new(scheduler, job, Some(Machine::measure()), interrupts)
        .with_next_step(next_step(&world.program()))
        .run(console, Some(&mut private))
}

/// Whose processes the tasks are.
fn identity_text(login: &str, role: &str, is_root: bool) -> String {
    if is_root {
        format!("Tasks run as {role}.")
    } else if login == role {
        format!("Tasks run as {login}.")
    } else {
        format!("Tasks run as {login}: only root can run them as their role, {role}.")
    }
}

/// For those who have not seen the tutorial yet.
fn next_step(program: &str) -> Option<String> {
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from)?;
    if home.join("hello").exists() {
        return None;
    }
    Some(format!("Next: {} tutorial ~/hello   (fails on purpose; you fix it)", shown_program(program)))
}

/// The bare name when typing it finds this very program, otherwise the path.
fn shown_program(program: &str) -> String {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|directory| directory.join("daybreak")).find(|candidate| candidate.is_file())
    });
    let same = |candidate: std::path::PathBuf| candidate.canonicalize().ok() == Path::new(program).canonicalize().ok();
    if found.is_some_and(same) { "daybreak".into() } else { program.to_owned() }
}

#[cfg(test)]
mod end_to_end;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_processes_they_are_is_said_plainly() {
        assert_eq!(identity_text("ana", "ana", false), "Tasks run as ana.");
        assert_eq!(identity_text("root", "www-data", true), "Tasks run as www-data.");
        let other = identity_text("ana", "www-data", false);
        assert_eq!(other, "Tasks run as ana: only root can run them as their role, www-data.");
    }
}
