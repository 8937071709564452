//! `aurora <noun> <verb>`: from the command line to the verb that does it. Results and exit codes as in spec client-cli 1 and 2.

pub mod arguments;
mod changes;
mod cron;
pub mod cron_arguments;
mod diff;
mod inspect;
mod job;
mod kill;
mod legacy;
pub(crate) mod load;
mod quota;
mod remote;
pub mod remote_arguments;
mod restart;
mod sla;
pub mod sla_arguments;
pub(crate) mod status;
mod status_json;
pub mod tasks;
mod update;
mod update_info;
mod update_list;
mod update_progress;
pub mod uptimes;
pub(crate) mod wait;

#[cfg(test)]
mod tests;

pub use inspect::text as inspect_text;
pub use status_json::task_json;

use std::ffi::OsString;

use crate::clusters::Clusters;
use crate::command::{self, finish, parse};
use crate::console::Console;
use crate::exit::{Exit, Outcome};
use crate::scheduler::Scheduler;
use crate::world::World;
use arguments::{Aurora, ConfigVerb, JobVerb, Noun, UpdateVerb};
use remote_arguments::{QuotaVerb, TaskVerb};

/// What a verb works with.
pub struct Context<'a> {
    /// Where it prints.
    pub console: Console,
    /// Where schedulers are.
    pub clusters: Clusters,
    /// Everything else outside.
    pub world: &'a dyn World,
}

impl<'a> Context<'a> {
    /// The scheduler of a cluster; unknown clusters are exit 3, a leader that is not found is exit 9.
    pub fn scheduler(&self, cluster: &str) -> Outcome<Scheduler<'a>> {
        Scheduler::find(self.clusters.get(cluster)?, self.world)
    }

    /// Opens a page if asked to; without a browser the address is told instead.
    pub fn open_page(&mut self, wanted: bool, url: &str) {
        if wanted && !self.world.open_browser(url) {
            self.console.info(format!("No browser found; the page is {url}"));
        }
    }
}

/// Runs `aurora`; the first argument is the name it was called by.
pub fn run(arguments: Vec<OsString>, clusters: Clusters, console: Console, world: &dyn World) -> Exit {
    let mut context = Context { console, clusters, world };
    let outcome = dispatch(arguments, &mut context);
    finish(&mut context.console, outcome)
}

fn dispatch(arguments: Vec<OsString>, context: &mut Context<'_>) -> Outcome {
    let words: Vec<&str> = arguments.iter().skip(1).map(|word| word.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        [] => {
            command::help::<Aurora>(&mut context.console);
            return Ok(());
        }
        ["--version", ..] => {
            // The classic client prints it on stderr (spec client-cli 1); scripts merge the streams.
            context.console.err(env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        _ => {}
    }
    if legacy::is_old_verb(&words) {
        return legacy::run(arguments, context);
    }
    let parsed = parse::<Aurora>(arguments, &mut context.console)?;
    run_noun(parsed.noun, context)
}

fn run_noun(noun: Noun, context: &mut Context<'_>) -> Outcome {
    match noun {
        Noun::Job(verb) => run_job(verb, context),
        Noun::Update(verb) => run_update(verb, context),
        Noun::Config(ConfigVerb::List(arguments)) => load::list(&arguments, context),
        Noun::Cron(verb) => cron::run(&verb, context),
        Noun::Quota(QuotaVerb::Get(arguments)) => quota::get(&arguments, context),
        Noun::Sla(verb) => sla::run(&verb, context),
        Noun::Task(TaskVerb::Run(arguments)) => remote::run(&arguments, context),
        Noun::Task(TaskVerb::Ssh(arguments)) => remote::ssh(&arguments, context),
        Noun::Task(TaskVerb::Scp(arguments)) => remote::scp(&arguments, context),
    }
}

fn run_job(verb: JobVerb, context: &mut Context<'_>) -> Outcome {
    match verb {
        JobVerb::Create(arguments) => job::create(&arguments, context),
        JobVerb::Kill(arguments) => kill::kill(&arguments, context),
        JobVerb::Killall(arguments) => kill::killall(&arguments, context),
        JobVerb::Status(arguments) => status::status(&arguments, context),
        JobVerb::List(arguments) => job::list(&arguments, context),
        JobVerb::Inspect(arguments) => inspect::inspect(&arguments, context),
        JobVerb::Restart(arguments) => restart::restart(&arguments, context),
        JobVerb::Add(arguments) => job::add(&arguments, context),
        JobVerb::Open(arguments) => job::open(&arguments, context),
        JobVerb::Diff(arguments) => diff::diff(&arguments, context),
    }
}

fn run_update(verb: UpdateVerb, context: &mut Context<'_>) -> Outcome {
    match verb {
        UpdateVerb::Start(arguments) => update::start(&arguments, context),
        UpdateVerb::Pause(arguments) => update::act(update::Action::Pause, &arguments, context),
        UpdateVerb::Resume(arguments) => update::act(update::Action::Resume, &arguments, context),
        UpdateVerb::Abort(arguments) => update::act(update::Action::Abort, &arguments, context),
        UpdateVerb::Rollback(arguments) => update::rollback(&arguments, context),
        UpdateVerb::List(arguments) => update_list::list(&arguments, context),
        UpdateVerb::Info(arguments) => update_info::info(&arguments, context),
        UpdateVerb::Wait(arguments) => update::wait(&arguments, context),
    }
}
