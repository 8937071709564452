//! `thermos run` and `thermos simplerun`: a task on this machine, without any scheduler (spec executor 4.6).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use checkpoint::layout::is_safe_segment;
use checkpoint::protocol::Launch;
use nix::unistd::Uid;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::arguments::{RunArguments, RunOptions, SimplerunArguments};
use super::follow::{self, Followed};
use super::runner::Runner;
use super::{file, own_state_directory};
use crate::console::Console;
use crate::evaluation::LoadedTask;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::login;

/// Where tasks of root run.
const SYSTEM_SANDBOX: &str = "/var/lib/thermos/sandbox";

/// Id of a task, and the user it runs as.
struct Who {
    task_id: String,
    user: String,
}

impl Who {
    fn of(options: &RunOptions, name: &str) -> Outcome<Self> {
        let task_id = options.task_id.clone().unwrap_or_else(|| made_up_id(name));
        if !is_safe_segment(&task_id) {
            let text =
                format!("'{task_id}' cannot be the id of a task: no '/' in it, no '.' before it, 255 letters at most.");
            return Err(Failure::new(Exit::InvalidParameter, text));
        }
        Ok(Self { task_id, user: user(options)? })
    }
}

/// A task and where it is to run.
struct Order<'a> {
    task: LoadedTask,
    who: Who,
    ports: BTreeMap<String, u32>,
    options: &'a RunOptions,
    sandbox: PathBuf,
    changes_root: bool,
    /// Whether its processes' comings and goings are told.
    tells: bool,
}

/// `thermos run FILE`.
pub fn run(arguments: &RunArguments, root: &Path, console: &mut Console) -> Outcome {
    let task = file::load(&arguments.file)?;
    let ports = file::ports(&task, &arguments.file.bound)?;
    if arguments.enable_chroot && !Uid::effective().is_root() {
        return Err(Failure::new(
            Exit::InvalidParameter,
            "Only root can make the sandbox the root directory of a task.",
        ));
    }
    let sandbox = arguments.sandbox.clone().unwrap_or_else(default_sandbox);
    let order = Order {
        who: Who::of(&arguments.options, &task.name)?,
        task,
        ports,
        options: &arguments.options,
        sandbox: std::path::absolute(&sandbox).unwrap_or(sandbox),
        changes_root: arguments.enable_chroot,
        tells: true,
    };
    start(order, root, console)
}

/// `thermos simplerun COMMAND`.
pub fn simplerun(arguments: &SimplerunArguments, root: &Path, console: &mut Console) -> Outcome {
    let task = file::of_command(&arguments.name, &arguments.command, &arguments.bound)?;
    let ports = file::ports(&task, &arguments.bound)?;
    // Before anything is made.
    let who = Who::of(&arguments.options, &task.name)?;
    let told = format!("Running command: '{}'", arguments.command.join(" "));
    // In the background the result is the id, and nothing else.
    if arguments.options.daemon {
        console.err(told)
    } else {
        console.out(told)
    }
    // Kept afterwards: the output lies in it.
    let folder = tempfile::Builder::new().prefix("thermos-").tempdir();
    let folder = folder.map_err(|error| Failure::new(Exit::CommandFailure, format!("a temporary folder: {error}")))?;
    let sandbox = folder.keep();
    let options = &arguments.options;
    if let Some(user) = options.user.as_deref().filter(|_| Uid::effective().is_root()) {
        give(&sandbox, user)?;
    }
    start(Order { task, ports, who, options, sandbox, changes_root: false, tells: false }, root, console)
}

fn default_sandbox() -> PathBuf {
    if Uid::effective().is_root() { SYSTEM_SANDBOX.into() } else { own_state_directory().join("sandbox") }
}

/// Makes a folder a user's.
fn give(folder: &Path, user: &str) -> Outcome {
    let failed = |why: String| Failure::new(Exit::CommandFailure, format!("{}: {why}", folder.display()));
    let found = nix::unistd::User::from_name(user).map_err(|error| failed(error.to_string()))?;
    let found = found.ok_or_else(|| unknown_user(user))?;
    nix::unistd::chown(folder, Some(found.uid), Some(found.gid)).map_err(|error| failed(error.to_string()))
}

fn unknown_user(user: &str) -> Failure {
    Failure::new(Exit::InvalidParameter, format!("There is no user {user} on this machine."))
}

/// The user a task runs as.
fn user(options: &RunOptions) -> Outcome<String> {
    let own = login();
    let Some(user) = options.user.as_ref().filter(|user| **user != own) else { return Ok(own) };
    if !Uid::effective().is_root() {
        return Err(Failure::new(
            Exit::InvalidParameter,
            format!("Only root can run a task as another user: you are {own}, not {user}."),
        ));
    }
    match nix::unistd::User::from_name(user) {
        Ok(Some(_)) => Ok(user.clone()),
        _ => Err(unknown_user(user)),
    }
}

/// The id that a task gets when none is given: its name and the time (spec executor 1.12).
fn made_up_id(name: &str) -> String {
    let now = jiff::Zoned::now();
    format!("{}-{}.{:06}", name.replace('/', "-"), now.strftime("%Y%m%d-%H%M%S"), now.subsec_nanosecond() / 1000)
}

fn start(order: Order<'_>, root: &Path, console: &mut Console) -> Outcome {
    let Who { task_id, user } = order.who;
    let launch = Launch {
        task_id: task_id.clone(),
        hostname: hostname(),
        ports: order.ports,
        payload: json!({ "task": order.task.raw }).to_string().into_bytes(),
        role: user,
        sandbox: order.sandbox.to_string_lossy().into_owned(),
        changes_root: order.changes_root,
        ..Launch::default()
    };
    let is_detached = order.options.daemon;
    // Heard from here on: a task that was started is also ended.
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::new(Exit::CommandFailure, format!("signals cannot be heard: {error}")))?;
    let logs = follow::Output::new(&order.sandbox, &order.task.raw);
    let mut runner = Runner::start(root, launch, is_detached)
        .map_err(|error| Failure::new(Exit::CommandFailure, format!("the task's runner cannot be started: {error}")))?;
    let mut followed = Followed::new(&task_id, order.tells);
    if is_detached {
        followed.until_started(&mut runner)?;
        console.err(format!(
            "The task runs in the background: `thermos status`, `tail` and `kill` know it by its id; sandbox {}",
            order.sandbox.display()
        ));
        console.out(&task_id);
        return Ok(());
    }
    if order.tells {
        console.err(format!("Task {task_id} in {} (Ctrl-C kills it)", order.sandbox.display()));
    }
    followed.follow_to_end(&mut runner, logs, &mut signals, console)
}

fn hostname() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".into())
}
