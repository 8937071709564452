//! Removing what tasks have left: containers by their label, and networks and volumes of docker-compose projects.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use checkpoint::layout::{EngineDirectory, is_safe_segment};
use checkpoint::replay::RunState;
use serde_json::{Value, json};

use super::api::{Docker, Failure, escaped};
use super::{ENGINE_LABEL, Leftovers, TASK_LABEL};
use crate::system::procfs;

/// docker-compose's own label with the name of the project.
const PROJECT_LABEL: &str = "com.docker.compose.project";
/// How long removing may take once the daemon answers.
const REMOVAL_LIMIT: Duration = Duration::from_secs(20);
/// How long a daemon is waited for when nobody waits for the result: it may start later than the launcher when a machine boots.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(200);

/// Removes everything of one task.
pub(super) fn sweep(leftovers: &Leftovers) -> Result<(), String> {
    let docker = Docker::new(&leftovers.docker_host)?;
    wait_for(&docker, Duration::from_secs(leftovers.patience_secs))?;
    remove(&docker, &leftovers.task_id, &leftovers.project)
}

/// Removes everything of tasks of this engine directory that nobody looks after.
pub(super) fn sweep_all(docker_host: &str, directory: &str) -> Result<(), String> {
    let docker = Docker::new(docker_host)?;
    wait_for(&docker, PATIENCE)?;
    let directory = EngineDirectory::new(directory);
    let label = format!("{ENGINE_LABEL}={}", directory.root().display());
    let tasks: BTreeSet<String> = containers(&docker, &label)?
        .iter()
        .filter_map(|container| container["Labels"][TASK_LABEL].as_str().map(str::to_owned))
        .collect();
    let mut result = Ok(());
    for task_id in tasks.iter().filter(|task_id| !is_looked_after(&directory, task_id)) {
        eprintln!("removing the containers of {task_id}: nobody looks after them any more");
        // The others are removed all the same.
        result = result.and(remove(&docker, task_id, ""));
    }
    result
}

/// Whether a task's supervisor lives.
fn is_looked_after(directory: &EngineDirectory, task_id: &str) -> bool {
    let Ok(agents) = std::fs::read_dir(directory.agents()) else { return false };
    let names = agents.flatten().filter_map(|agent| agent.file_name().into_string().ok());
    is_safe_segment(task_id)
        && names.into_iter().any(|agent| {
            let Ok(state) = RunState::load(&directory.run(&agent, task_id).checkpoint()) else { return false };
            let over = state.is_over();
            state
                .header
                .is_some_and(|header| !over && procfs::is_alive(header.supervisor_pid, header.supervisor_start_ticks))
        })
}

fn wait_for(docker: &Docker, patience: Duration) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    loop {
        match docker.call("GET", "/version", None) {
            Err(Failure::Unreachable(_)) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

fn containers(docker: &Docker, label: &str) -> Result<Vec<Value>, Failure> {
    let filters = escaped(&json!({ "label": [label] }).to_string());
    let listed = docker.call("GET", &format!("/containers/json?all=1&filters={filters}"), None)?;
    Ok(listed.as_array().cloned().unwrap_or_default())
}

fn remove(docker: &Docker, task_id: &str, project: &str) -> Result<(), String> {
    let deadline = Instant::now() + REMOVAL_LIMIT;
    let mut projects: BTreeSet<String> = [project.to_owned()].into();
    loop {
        let left = containers(docker, &format!("{TASK_LABEL}={task_id}"))?;
        let mut complaint = None;
        for container in &left {
            projects.extend(container["Labels"][PROJECT_LABEL].as_str().map(str::to_owned));
            let id = container["Id"].as_str().unwrap_or_default();
            match docker.call("DELETE", &format!("/containers/{id}?force=1&v=1"), None) {
                Ok(_) | Err(Failure::NotFound(_)) => {}
                // Somebody else may be at it; the next look tells.
                Err(error) => complaint = Some(error),
            }
        }
        if left.is_empty() {
            break;
        }
        if let Some(complaint) = complaint {
            if Instant::now() >= deadline {
                return Err(complaint.into());
            }
            std::thread::sleep(PAUSE);
        }
    }
    projects.remove("");
    for project in &projects {
        remove_project(docker, project)?;
    }
    Ok(())
}

/// Networks and volumes that docker-compose has made for a project.
fn remove_project(docker: &Docker, project: &str) -> Result<(), Failure> {
    let filters = escaped(&json!({ "label": [format!("{PROJECT_LABEL}={project}")] }).to_string());
    let networks = docker.call("GET", &format!("/networks?filters={filters}"), None)?;
    let volumes = docker.call("GET", &format!("/volumes?filters={filters}"), None)?;
    let named = |list: &Value, key: &str| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|one| one[key].as_str().map(str::to_owned)).collect()
    };
    let networks = named(&networks, "Id").into_iter().map(|id| format!("/networks/{id}"));
    let volumes = named(&volumes["Volumes"], "Name").into_iter().map(|name| format!("/volumes/{name}?force=1"));
    for target in networks.chain(volumes) {
        match docker.call("DELETE", &target, None) {
            Ok(_) | Err(Failure::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
