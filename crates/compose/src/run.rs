//! The life of a project: files, pull, up, watching, ending, clean-up (spec executor 6.4, 6.5).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::command::{Project, cgroup_driver, docker, find, group_of_this_task, output};
use crate::rewrite::{Limits, Marks, Ports, rewrite, unique};
use crate::watch::{Verdict, containers, judge};
use crate::{ComposeError, Request};

/// File that is there once the containers are up.
pub const RUNNING_MARKER: &str = ".compose-running";
/// Added to the name of a compose file for its rewritten form.
const GENERATED: &str = "-generated.yml";
/// How often containers are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// How often it is looked at whether the project is to end.
const STEP: Duration = Duration::from_millis(100);
/// How long containers may take to end when they are asked to, in seconds.
const STOP_SECONDS: &str = "10";
/// How long stopping may take as a whole; then containers are killed.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// How a project ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All containers ended with 0.
    Finished,
    /// A container ended badly, or compose itself did.
    Failed(String),
    /// It was stopped on request.
    Stopped,
}

impl Ending {
    /// Exit code of the process that ran the project.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Finished => 0,
            Self::Failed(_) => 1,
            // As a shell says it of SIGTERM.
            Self::Stopped => 143,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => formatter.write_str("All containers ended with 0."),
            Self::Failed(why) => formatter.write_str(why),
            Self::Stopped => formatter.write_str("Stopped on request."),
        }
    }
}

/// Runs the project of `request`, whose marker is made in `directory`, until it ends or this process is told to (SIGTERM, SIGINT). Nothing of it is left.
pub fn run(request: &Request, directory: &Path) -> Result<Ending, ComposeError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| ComposeError::Io("listening for signals".into(), error))?;
    }
    let flavour = find()?;
    let (files, services) = generate(request, &directory.join(&request.directory), &cgroup_driver()?)?;
    let project = Project { flavour, name: project_name(&request.task_id), files };
    let ending = live(&project, services, directory, &stop);
    clean_up(&project, &request.task_id);
    let _ = fs::remove_file(directory.join(RUNNING_MARKER));
    ending
}

/// Name of the project of a task. Compose takes small letters, digits, `-` and `_`.
pub fn project_name(task_id: &str) -> String {
    let lower = unique("p", task_id).to_lowercase();
    lower.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' }).collect()
}

/// Writes the rewritten files beside the given ones; also how many services they have.
fn generate(request: &Request, directory: &Path, driver: &str) -> Result<(Vec<PathBuf>, usize), ComposeError> {
    let mut labels: Vec<(String, String)> = request.labels.clone().into_iter().collect();
    labels.push(("taskId".into(), request.task_id.clone()));
    labels.push(("executorId".into(), request.executor_id.clone()));
    let limits = match group_of_this_task(driver) {
        Some(group) => Limits::Parent(group),
        None => Limits::Each { memory_bytes: request.memory_bytes, cpu_millis: request.cpu_millis },
    };
    let marks = Marks { task_id: &request.task_id, labels, limits };
    let mut ports = Ports::new(&request.ports);
    let mut generated = Vec::new();
    let mut services = std::collections::BTreeSet::new();
    for file in request.files()? {
        let path = directory.join(&file);
        let shown = file.display().to_string();
        let text = fs::read_to_string(&path).map_err(|error| {
            ComposeError::BadFile(shown.clone(), format!("it cannot be read in the sandbox ({error})"))
        })?;
        let rewritten =
            rewrite(&text, &marks, &mut ports).map_err(|error| ComposeError::BadFile(shown, error.to_string()))?;
        services.extend(service_names(&rewritten));
        let mut name = path.into_os_string();
        name.push(GENERATED);
        fs::write(&name, rewritten).map_err(|error| ComposeError::Io(format!("writing {}", name.display()), error))?;
        generated.push(PathBuf::from(name));
    }
    Ok((generated, services.len()))
}

fn service_names(text: &str) -> Vec<String> {
    let file: yaml_serde::Value = yaml_serde::from_str(text).unwrap_or_default();
    let services = file.get("services").and_then(|services| services.as_mapping());
    services
        .into_iter()
        .flat_map(|services| services.keys())
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

fn start(mut command: Command) -> Result<Child, ComposeError> {
    use std::os::unix::process::CommandExt;
    let shown = format!("{command:?}");
    // A signal to our group is for us: compose is told by us, once, and in the right order.
    command.process_group(0).spawn().map_err(|error| ComposeError::Io(format!("starting {shown}"), error))
}

/// Waits for `child` to end; `None` when the limit passed or the project is to stop.
fn wait(child: &mut Child, limit: Option<Duration>, stop: Option<&AtomicBool>) -> Option<bool> {
    let begun = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status.success());
        }
        if limit.is_some_and(|limit| begun.elapsed() > limit) || stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return None;
        }
        std::thread::sleep(STEP);
    }
}

fn end_child(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn live(project: &Project, services: usize, directory: &Path, stop: &AtomicBool) -> Result<Ending, ComposeError> {
    let mut pull = start(project.compose(&["pull"]))?;
    match wait(&mut pull, None, Some(stop)) {
        Some(true) => {}
        // Images that are on the machine already need no registry; those that are nowhere are missed by `up`.
        Some(false) => eprintln!("pulling failed; going on with the images of this machine"),
        None => {
            end_child(&mut pull);
            return Ok(Ending::Stopped);
        }
    }
    let mut up = start(project.compose(&["up", "--no-color"]))?;
    let mut is_up = false;
    let mut looked: Option<Instant> = None;
    let ending = loop {
        if stop.load(Ordering::Relaxed) {
            break Ending::Stopped;
        }
        if let Some(ended) = up.try_wait().map_err(|error| ComposeError::Io("waiting for compose".into(), error))? {
            break match judge(&containers(project)?, services) {
                Verdict::Finished => Ending::Finished,
                Verdict::Failed(name, code) => failed(&name, code),
                Verdict::Starting | Verdict::Running => {
                    Ending::Failed(format!("compose ended with {ended}; see its output above"))
                }
            };
        }
        if looked.is_none_or(|looked| looked.elapsed() >= if is_up { WATCH_INTERVAL } else { WATCH_INTERVAL / 4 }) {
            // A look may fail while compose is busy; the next one decides.
            let verdict = containers(project).map_or(Verdict::Starting, |containers| judge(&containers, services));
            looked = Some(Instant::now());
            match verdict {
                Verdict::Failed(name, code) => break failed(&name, code),
                Verdict::Running | Verdict::Finished if !is_up => {
                    is_up = true;
                    let marker = directory.join(RUNNING_MARKER);
                    fs::write(&marker, "")
                        .map_err(|error| ComposeError::Io(format!("writing {}", marker.display()), error))?;
                }
                _ => {}
            }
        }
        std::thread::sleep(STEP);
    };
    if ending != Ending::Finished {
        stop_project(project);
    }
    if wait(&mut up, Some(Duration::from_secs(5)), None).is_none() {
        end_child(&mut up);
    }
    Ok(ending)
}

fn failed(name: &str, code: i64) -> Ending {
    Ending::Failed(format!("container {name} ended with {code}"))
}

/// Asks the containers to end, and kills those that do not.
fn stop_project(project: &Project) {
    match start(project.compose(&["stop", "-t", STOP_SECONDS])) {
        Ok(mut child) => match wait(&mut child, Some(STOP_LIMIT), None) {
            Some(true) => return,
            Some(false) => {}
            None => end_child(&mut child),
        },
        Err(error) => eprintln!("{error}"),
    }
    if let Ok(mut child) = start(project.compose(&["kill"])) {
        wait(&mut child, Some(STOP_LIMIT), None);
    }
}

/// Removes containers, networks and volumes; the volumes carry the project's name, so nobody could use them again.
fn clean_up(project: &Project, task_id: &str) {
    if let Ok(mut child) = start(project.compose(&["down", "--volumes", "--remove-orphans", "-t", "1"]))
        && wait(&mut child, Some(STOP_LIMIT), None).is_none()
    {
        end_child(&mut child);
    }
    remove_containers(task_id);
}

/// Removes every container that carries the label of a task.
pub(crate) fn remove_containers(task_id: &str) {
    let filter = format!("label=taskId={task_id}");
    let listed = output(docker(&["ps", "--all", "--quiet", "--filter", &filter])).unwrap_or_default();
    let ids: Vec<&str> = listed.split_whitespace().collect();
    if !ids.is_empty() {
        let mut remove = docker(&[&["rm", "--force", "--volumes"], ids.as_slice()].concat());
        remove.stdout(Stdio::null());
        if let Err(error) = output(remove) {
            eprintln!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_projects_are_what_compose_takes() {
        let name = project_name("Www.data-prod-app-0-2D3C");
        assert_eq!(name, "p-www-data-prod-app-0-2d3c");
        assert!(project_name(&"x".repeat(200)).len() <= 63);
    }

    #[test]
    fn the_generated_file_lies_beside_the_given_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("app")).unwrap();
        fs::write(folder.path().join("app/docker-compose.yml"), "services: {web: {ports: ['80:80']}, db: {}}").unwrap();
        let request = Request {
            task_id: "t-1".into(),
            executor_id: "compose-t-1".into(),
            labels: [("fileName".to_owned(), "app/docker-compose.yml".to_owned())].into(),
            ports: vec![31000],
            ..Request::default()
        };
        let (files, services) = generate(&request, folder.path(), "").unwrap();
        assert_eq!(
            (files.as_slice(), services),
            ([folder.path().join("app/docker-compose.yml-generated.yml")].as_slice(), 2)
        );
        let text = fs::read_to_string(&files[0]).unwrap();
        for part in ["31000:80", "taskId: t-1", "executorId: compose-t-1", "web-t-1:"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let missing = Request { labels: [("fileName".to_owned(), "no.yml".to_owned())].into(), ..request };
        assert!(generate(&missing, folder.path(), "").unwrap_err().to_string().contains("no.yml"));
    }

    #[test]
    fn endings_are_told_by_the_exit_code() {
        assert_eq!((Ending::Finished.exit_code(), Ending::Stopped.exit_code()), (0, 143));
        assert_eq!(failed("web", 3).to_string(), "container web ended with 3");
    }
}
