//! The programs of this machine: `docker`, and compose in either of its forms.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::ComposeError;

/// How compose is called here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `docker compose`
    Plugin,
    /// `docker-compose`
    Standalone,
}

/// A project of compose: its name and its files.
#[derive(Clone, Debug)]
pub struct Project {
    /// How compose is called.
    pub flavour: Flavour,
    /// Name, unique for the task.
    pub name: String,
    /// The rewritten files.
    pub files: Vec<PathBuf>,
}

/// Finds compose on this machine.
pub fn find() -> Result<Flavour, ComposeError> {
    let answers = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if answers("docker", &["compose", "version"]) {
        return Ok(Flavour::Plugin);
    }
    if answers("docker-compose", &["version"]) {
        return Ok(Flavour::Standalone);
    }
    Err(ComposeError::Machine(
        "neither `docker compose` nor `docker-compose` works on this machine; install one of them (Debian: apt-get install \
         docker.io docker-compose)"
            .into(),
    ))
}

impl Project {
    /// A compose command for this project.
    pub fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = match self.flavour {
            Flavour::Plugin => {
                let mut command = Command::new("docker");
                command.arg("compose");
                command
            }
            Flavour::Standalone => Command::new("docker-compose"),
        };
        command.args(["-p", &self.name]);
        for file in &self.files {
            command.arg("-f").arg(file);
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }
}

/// What a finished command printed; its own complaint when it failed.
pub fn output(mut command: Command) -> Result<String, ComposeError> {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| ComposeError::Io(format!("starting {shown}"), error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ComposeError::Machine(format!("{shown} ended with {}: {complaint}", output.status)))
}

/// A `docker` command.
pub fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// How the Docker daemon makes control groups: driver and version. Fails plainly when it cannot be asked.
pub fn cgroup_driver() -> Result<String, ComposeError> {
    // Where the answer is the server's alone; other commands go on without one.
    output(docker(&["info", "--format", "{{.CgroupDriver}} {{.CgroupVersion}}"])).map_err(|error| match error {
        ComposeError::Machine(complaint) => ComposeError::Machine(why_unreachable(&complaint)),
        other => other,
    })
}

/// What to do about a daemon that cannot be asked.
fn why_unreachable(complaint: &str) -> String {
    let last = complaint.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    if complaint.contains("permission denied") {
        let user = std::env::var("USER").unwrap_or_else(|_| "of this task".to_owned());
        return format!(
            "user {user} may not use Docker, its socket refuses the user: an administrator can allow it with: gpasswd -a {user} docker \
             ({last})"
        );
    }
    format!("Docker does not answer on this machine: {last}")
}

/// The control group in which containers count as part of this task, if Docker and this machine can do that: this process's own one, where
/// control groups are of version 1 and Docker makes them itself. `driver` is what [`cgroup_driver`] says.
pub fn group_of_this_task(driver: &str) -> Option<String> {
    // In version 2 a group with processes cannot have groups with limits below it.
    if driver.split_whitespace().collect::<Vec<_>>() != ["cgroupfs", "1"] {
        return None;
    }
    group_of(&std::fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The memory group in the text of `/proc/<pid>/cgroup`; `None` for the root, which limits nothing.
fn group_of(text: &str) -> Option<String> {
    let memory = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|controller| controller == "memory").then(|| path.to_owned())
    });
    memory.filter(|path| path != "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_task_is_where_its_memory_is_limited() {
        let text = "5:pids:/x\n4:cpu,cpuacct:/y\n3:memory:/mesos/c1\n0::/\n";
        assert_eq!(group_of(text), Some("/mesos/c1".into()));
        assert_eq!(group_of("3:memory:/\n"), None);
        assert_eq!(group_of("0::/user.slice\n"), None);
    }

    #[test]
    fn a_daemon_that_refuses_a_user_is_told_from_one_that_is_not_there() {
        let denied =
            why_unreachable("docker info ended with 1: permission denied while trying to connect to the socket");
        assert!(denied.contains("may not use Docker") && denied.contains("gpasswd"), "{denied}");
        let gone = why_unreachable("docker info ended with 1:\nCannot connect to the Docker daemon");
        assert_eq!(gone, "Docker does not answer on this machine: Cannot connect to the Docker daemon");
    }

    #[test]
    fn a_project_names_itself_and_its_files() {
        let project = |flavour| Project { flavour, name: "p".into(), files: vec!["a.yml".into(), "b.yml".into()] };
        let shown = format!("{:?}", project(Flavour::Plugin).compose(&["up"]));
        assert_eq!(shown, r#""docker" "compose" "-p" "p" "-f" "a.yml" "-f" "b.yml" "up""#);
        let shown = format!("{:?}", project(Flavour::Standalone).compose(&["ps", "-q"]));
        assert_eq!(shown, r#""docker-compose" "-p" "p" "-f" "a.yml" "-f" "b.yml" "ps" "-q""#);
    }
}
