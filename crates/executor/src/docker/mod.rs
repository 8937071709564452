//! Docker, through its API on the machine's socket: what a supervisor has done for a task in a container (spec executor 3.2, 5.8). Each
//! order is carried out by a helper process ([`main`]), so that a supervisor never waits for Docker and an order ends like any process.
//!
//! - [`Order::Create`]: a container is made, in which nothing runs but a shell that waits. The task's processes are started in it by
//!   [`Order::Exec`], one helper for each run.
//! - [`Order::Run`]: a container does what its image says, for as long as the helper lives.
//! - [`Order::Sweep`]: everything that carries the task's label is removed. Every task with containers ends with it, and whoever finds a
//!   task whose supervisor is dead gives the same order: no container depends on a process of ours to be removed.
//!
//! Not here: when orders are given (`supervisor`, `launcher`).

mod api;
mod exec;
mod options;
mod registry;
mod run;
mod stream;
mod sweep;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::process::ExitCode;

use checkpoint::layout::RunDirectory;
use checkpoint::protocol::{Containers, Launch};
use serde::{Deserialize, Serialize};

use crate::system::spawn::{Spawn, SpawnError, spawn};

/// First argument with which a program is told to carry out an order; the order follows as the second one.
pub(crate) const ARGUMENT: &str = "__docker";
/// Where the sandbox is inside a container (spec executor 3.2).
pub(crate) const SANDBOX_INSIDE: &str = "/mnt/mesos/sandbox";
/// Label with the task's id; docker-compose projects carry it too (spec executor 6.2).
pub(crate) const TASK_LABEL: &str = "taskId";
/// Label with the engine directory that a container belongs to. The local engine puts it on.
pub(crate) const ENGINE_LABEL: &str = "org.apache.aurora.engine";
/// Exit code of a helper that could not do its part, as Docker's own client has it.
pub(crate) const DOCKER_FAILED: u8 = 125;
/// This very program, also after its file was replaced.
pub(crate) const PROGRAM: &std::ffi::CStr = c"/proc/self/exe";

/// What a helper is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Make and start a container for processes.
    Create(Container),
    /// Run a container that does what its image says.
    Run(Container),
    /// Run a command in a container.
    Exec(Command),
    /// Remove what a task has left.
    Sweep(Leftovers),
    /// Remove what belongs to tasks of an engine directory that are over.
    SweepAll {
        /// Value of `DOCKER_HOST`.
        docker_host: String,
        /// The engine directory.
        directory: String,
    },
}

/// A container to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) docker_host: String,
    pub(crate) task_id: String,
    pub(crate) image: String,
    /// Options of Docker's command line.
    pub(crate) parameters: Vec<(String, String)>,
    /// The run directory, where the sandbox is and notes are left.
    pub(crate) run_directory: String,
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_milli: u64,
    pub(crate) cpu_quota: bool,
    pub(crate) gpus: u32,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A command line to be run in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) docker_host: String,
    pub(crate) task_id: String,
    /// For bash.
    pub(crate) line: String,
    /// Whether there is a profile that bash is to read first.
    pub(crate) has_profile: bool,
    /// The run directory, where notes are left.
    pub(crate) run_directory: String,
}

/// What a task may have left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Leftovers {
    pub(crate) docker_host: String,
    pub(crate) task_id: String,
    /// Project of docker-compose; empty for none.
    pub(crate) project: String,
    /// How long a daemon that does not answer is waited for, seconds.
    pub(crate) patience_secs: u64,
}

impl Container {
    /// The container of a launch.
    pub(crate) fn of(launch: &Launch, containers: &Containers) -> Self {
        Self {
            docker_host: containers.docker_host.clone(),
            task_id: launch.task_id.clone(),
            image: containers.image.clone(),
            parameters: containers.parameters.iter().map(|one| (one.name.clone(), one.value.clone())).collect(),
            run_directory: launch.run_directory.clone(),
            memory_bytes: containers.memory_bytes,
            cpu_milli: containers.cpu_milli,
            cpu_quota: containers.cpu_quota,
            gpus: containers.gpus,
            labels: containers.labels.clone(),
        }
    }

    fn run(&self) -> RunDirectory {
        RunDirectory::new(&self.run_directory)
    }
}

/// Name of a task's container.
fn container_name(task_id: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    format!("daybreak-{}", task_id.chars().map(safe).collect::<String>())
}

/// The helper: carries out one order. What went wrong is its last line on standard error.
pub(crate) fn main(order: &str) -> ExitCode {
    let order: Order = match serde_json::from_str(order) {
        Ok(order) => order,
        Err(error) => {
            eprintln!("the order cannot be read: {error}");
            return ExitCode::from(2);
        }
    };
    let result = match &order {
        Order::Create(container) => run::create(container).map(|()| ExitCode::SUCCESS),
        Order::Run(container) => run::run(container),
        Order::Exec(command) => exec::exec(command),
        Order::Sweep(leftovers) => sweep::sweep(leftovers).map(|()| ExitCode::SUCCESS),
        Order::SweepAll { docker_host, directory } => {
            sweep::sweep_all(docker_host, directory).map(|()| ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|why| {
        eprintln!("{}", why.replace('\n', " "));
        ExitCode::from(DOCKER_FAILED)
    })
}

/// A helper's program and its arguments.
pub(crate) fn arguments(order: &Order) -> Result<Vec<CString>, String> {
    let text = serde_json::to_string(order).map_err(|error| error.to_string())?;
    let words = [PROGRAM.to_bytes(), ARGUMENT.as_bytes(), text.as_bytes()];
    words.into_iter().map(|word| CString::new(word).map_err(|error| error.to_string())).collect()
}

/// Starts a helper beside the caller, with the caller's user and without a terminal; returns its pid.
pub(crate) fn start(order: &Order, output: impl AsFd, null: impl AsFd) -> Result<i32, String> {
    let arguments = arguments(order)?;
    let arguments: Vec<&std::ffi::CStr> = arguments.iter().map(CString::as_c_str).collect();
    let request = Spawn {
        program: PROGRAM,
        arguments: &arguments,
        environment: &[],
        root: None,
        directory: c"/",
        stdin: null.as_fd(),
        stdout: output.as_fd(),
        stderr: output.as_fd(),
        identity: None,
        cgroup: None,
        oom_score: b"0",
        open_files_soft: None,
    };
    spawn(&request).map_err(|error: SpawnError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_way_to_a_helper() {
        let order = Order::Run(Container {
            task_id: "t".into(),
            image: "busybox:1".into(),
            parameters: vec![("env".into(), "A=b c".into())],
            ..Container::default()
        });
        let words = arguments(&order).unwrap();
        let back: Order = serde_json::from_str(words[2].to_str().unwrap()).unwrap();
        assert_eq!((words[1].to_str().unwrap(), back), (ARGUMENT, order));
    }

    #[test]
    fn names_of_containers_are_what_docker_takes() {
        assert_eq!(container_name("www-data-prod-h\u{e9}-0-1"), "daybreak-www-data-prod-h--0-1");
    }
}
