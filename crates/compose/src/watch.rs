//! What the containers of a project are doing, and what that means for the task.

use serde::Deserialize;

use crate::ComposeError;
use crate::command::{Project, docker, output};

/// One container, as `docker inspect` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Name, for people.
    pub name: String,
    /// Whether it runs.
    pub is_running: bool,
    /// Whether it ran before, or runs.
    pub has_started: bool,
    /// Whether Docker is about to start it again.
    pub is_restarting: bool,
    /// Exit code of its last run.
    pub exit_code: i64,
    /// How often Docker started it again.
    pub restarts: i64,
    /// How often Docker may start it again; 0 for never.
    pub restarts_max: i64,
}

/// What the containers together say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not all of them have begun.
    Starting,
    /// All have begun, and at least one runs.
    Running,
    /// All ran and ended well.
    Finished,
    /// One ended badly for good; its name and exit code.
    Failed(String, i64),
}

impl Container {
    fn failed(&self) -> bool {
        self.has_started
            && !self.is_running
            && !self.is_restarting
            && self.exit_code != 0
            && self.restarts >= self.restarts_max
    }
}

/// What `containers` say; `expected` is how many there will be at least.
pub fn judge(containers: &[Container], expected: usize) -> Verdict {
    if let Some(failed) = containers.iter().find(|container| container.failed()) {
        return Verdict::Failed(failed.name.clone(), failed.exit_code);
    }
    if containers.len() < expected.max(1) || !containers.iter().all(|container| container.has_started) {
        return Verdict::Starting;
    }
    if containers.iter().any(|container| container.is_running || container.is_restarting) {
        return Verdict::Running;
    }
    Verdict::Finished
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(default)]
    name: String,
    #[serde(default)]
    restart_count: i64,
    state: InspectedState,
    #[serde(default)]
    host_config: InspectedHost,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedState {
    #[serde(default)]
    status: String,
    #[serde(default)]
    running: bool,
    #[serde(default)]
    restarting: bool,
    #[serde(default)]
    exit_code: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedHost {
    #[serde(default)]
    restart_policy: RestartPolicy,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    #[serde(default)]
    maximum_retry_count: i64,
}

/// The containers of a project.
pub fn containers(project: &Project) -> Result<Vec<Container>, ComposeError> {
    let mut list = project.compose(&["ps", "-q"]);
    if project.flavour == crate::command::Flavour::Plugin {
        // The plugin leaves out those that have ended, unless it is asked for all.
        list = project.compose(&["ps", "-q", "--all"]);
    }
    let listed = output(list)?;
    let ids: Vec<&str> = listed.split_whitespace().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    parse(&output(docker(&[&["inspect"], ids.as_slice()].concat()))?)
}

fn parse(text: &str) -> Result<Vec<Container>, ComposeError> {
    let inspected: Vec<Inspected> = serde_json::from_str(text)
        .map_err(|error| ComposeError::Machine(format!("docker inspect answered something else: {error}")))?;
    let containers = inspected.into_iter().map(|one| Container {
        name: one.name.trim_start_matches('/').to_owned(),
        is_running: one.state.running,
        has_started: one.state.status != "created",
        is_restarting: one.state.restarting,
        exit_code: one.state.exit_code,
        restarts: one.restart_count,
        restarts_max: one.host_config.restart_policy.maximum_retry_count,
    });
    Ok(containers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Container {
        Container { is_running: true, has_started: true, ..Container::default() }
    }

    fn ended(exit_code: i64) -> Container {
        Container { name: format!("c{exit_code}"), has_started: true, exit_code, ..Container::default() }
    }

    #[test]
    fn a_project_is_what_its_containers_are() {
        assert_eq!(judge(&[], 1), Verdict::Starting);
        assert_eq!(judge(&[running()], 2), Verdict::Starting);
        assert_eq!(judge(&[running(), Container::default()], 2), Verdict::Starting);
        assert_eq!(judge(&[running(), running()], 2), Verdict::Running);
        assert_eq!(judge(&[running(), ended(0)], 2), Verdict::Running, "a helper may be done");
        assert_eq!(judge(&[ended(0), ended(0)], 2), Verdict::Finished);
        assert_eq!(judge(&[running(), ended(3)], 2), Verdict::Failed("c3".into(), 3));
        assert_eq!(judge(&[running(), ended(3)], 5), Verdict::Failed("c3".into(), 3), "even before all have begun");
    }

    #[test]
    fn a_container_that_docker_starts_again_has_not_failed_yet() {
        let again = Container { restarts: 1, restarts_max: 3, ..ended(1) };
        assert_eq!(judge(std::slice::from_ref(&again), 1), Verdict::Finished, "between two runs nothing runs");
        assert_eq!(judge(&[Container { is_restarting: true, ..again.clone() }], 1), Verdict::Running);
        assert_eq!(judge(&[Container { restarts: 3, ..again }], 1), Verdict::Failed("c1".into(), 1));
    }

    #[test]
    fn inspections_are_read() {
        let text = r#"[{"Name": "/web", "RestartCount": 2, "State": {"Status": "exited", "Running": false, "ExitCode": 137},
            "HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}},
            {"Name": "/new", "State": {"Status": "created"}}]"#;
        let containers = parse(text).unwrap();
        assert_eq!(judge(&containers, 2), Verdict::Failed("web".into(), 137));
        assert!(!containers[1].has_started);
        assert!(parse("no").is_err());
    }
}
