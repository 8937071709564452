//! Containers: their images, making them, and one that does what its image says (spec executor 5.8).

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use checkpoint::layout::CONTAINER_STARTED;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};

use super::api::{Docker, Failure, escaped};
use super::exec::{ended, note_out_of_memory, was_out_of_memory};
use super::options::{Purpose, body};
use super::{Container, container_name, registry, stream};
use crate::system::is_root;
use crate::system::signals::SignalSource;

/// How long an image may take to arrive.
const PULL_LIMIT: Duration = Duration::from_secs(3600);

/// Makes and starts a container for processes.
pub(super) fn create(container: &Container) -> Result<(), String> {
    let docker = Docker::new(&container.docker_host)?;
    let name = make(&docker, container, Purpose::Processes)?;
    docker.call("POST", &format!("/containers/{name}/start"), None).map_err(|error| {
        let hint = if error.to_string().contains("/bin/bash") {
            " (processes are run with /bin/bash, which the image must have)"
        } else {
            ""
        };
        format!("{error}{hint}")
    })?;
    give_sandbox(&docker, container, &name)
}

/// The sandbox belongs to the user inside the container when that is another one than root, which may write everywhere.
fn give_sandbox(docker: &Docker, container: &Container, name: &str) -> Result<(), String> {
    let told = docker.call("GET", &format!("/containers/{name}/json"), None)?;
    let user = told["Config"]["User"].as_str().unwrap_or_default();
    if !is_root() || matches!(user, "" | "root" | "0") || user.starts_with("0:") || user.starts_with("root:") {
        return Ok(());
    }
    // Bash knows its own number, whatever else the image has.
    let body = json!({ "AttachStdout": true, "Cmd": ["/bin/bash", "-c", "echo $UID"] });
    let made = docker.call("POST", &format!("/containers/{name}/exec"), Some(&body))?;
    let id = made["Id"].as_str().unwrap_or_default();
    let begin = json!({ "Detach": false, "Tty": false });
    let mut said = Vec::new();
    docker.read("POST", &format!("/exec/{id}/start"), Some(&begin), Some(Duration::from_secs(30)), |output| {
        stream::pass_on(output, &mut said, &mut io::sink())
    })?;
    let said = String::from_utf8_lossy(&said);
    let uid: u32 = said.trim().parse().map_err(|_| format!("user {user} of the container has no number: {said}"))?;
    let sandbox = container.run().sandbox();
    std::os::unix::fs::lchown(&sandbox, Some(uid), None).map_err(|error| format!("{}: {error}", sandbox.display()))
}

/// Runs a container that does what its image says; its exit code becomes this process'.
pub(super) fn run(container: &Container) -> Result<ExitCode, String> {
    let signals = SignalSource::open().map_err(|error| error.to_string())?;
    let docker = Docker::new(&container.docker_host)?;
    let name = make(&docker, container, Purpose::Alone)?;
    let forwarded = Arc::new(AtomicBool::new(false));
    let started = Arc::new(AtomicBool::new(false));
    let (mut begun, attach) = (Ok(()), format!("/containers/{name}/attach?stream=1&stdout=1&stderr=1"));
    let passed = docker.read("POST", &attach, None, None, |output| {
        // Attached before it starts, so that nothing of its output is missed.
        begun = start(&docker, container, &name);
        if begun.is_err() {
            return Ok(());
        }
        let (docker, name) = (docker.clone(), name.clone());
        let (their_forwarded, their_started) = (Arc::clone(&forwarded), Arc::clone(&started));
        std::thread::spawn(move || forward(&docker, &name, &signals, &their_started, &their_forwarded));
        started.store(true, Ordering::Release);
        stream::pass_on(output, &mut io::stdout(), &mut io::stderr())
    });
    begun?;
    if let Err(error) = passed {
        // The daemon may go away and come back; the container tells how it ended all the same.
        eprintln!("the output of the container: {error}");
    }
    let waited = docker.read("POST", &format!("/containers/{name}/wait"), None, None, |answer| {
        serde_json::from_reader::<_, Value>(answer).map_err(io::Error::other)
    })?;
    let code = waited["StatusCode"].as_i64().ok_or("Docker: it does not tell the exit code")?;
    if code == 128 + i64::from(libc::SIGKILL) && was_out_of_memory(&docker, &name) {
        note_out_of_memory(&container.run_directory);
    }
    Ok(ended(code, forwarded.load(Ordering::Relaxed)))
}

fn start(docker: &Docker, container: &Container, name: &str) -> Result<(), String> {
    docker.call("POST", &format!("/containers/{name}/start"), None)?;
    let note = container.run().root().join(CONTAINER_STARTED);
    std::fs::write(&note, "").map_err(|error| format!("{}: {error}", note.display()))
}

/// Passes on the wish that the container ends, as the signal that its image wants for that.
fn forward(docker: &Docker, name: &str, signals: &SignalSource, started: &AtomicBool, forwarded: &AtomicBool) {
    loop {
        let _ = poll(&mut [PollFd::new(signals, PollFlags::IN)], None);
        if !signals.drain() || !started.load(Ordering::Acquire) {
            continue;
        }
        let told = docker.call("GET", &format!("/containers/{name}/json"), None).unwrap_or_default();
        let signal = told["Config"]["StopSignal"].as_str().unwrap_or("SIGTERM").to_owned();
        forwarded.store(true, Ordering::Relaxed);
        if let Err(error) = docker.call("POST", &format!("/containers/{name}/kill?signal={}", escaped(&signal)), None) {
            eprintln!("{error}");
        }
    }
}

/// Makes the container, with its image fetched if the machine lacks it; returns its name.
fn make(docker: &Docker, container: &Container, purpose: Purpose) -> Result<String, String> {
    let name = container_name(&container.task_id);
    let body = body(container, purpose)?;
    ensure_image(docker, &container.image, &container.run().sandbox())?;
    docker.call("POST", &format!("/containers/create?name={name}"), Some(&body))?;
    Ok(name)
}

fn ensure_image(docker: &Docker, image: &str, sandbox: &Path) -> Result<(), String> {
    if image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '%')) {
        return Err(format!("'{image}' is no name of an image"));
    }
    let here = format!("/images/{image}/json");
    match docker.call("GET", &here, None) {
        Err(Failure::NotFound(_)) => {}
        other => return other.map(drop).map_err(String::from),
    }
    eprintln!("pulling image {image}");
    let last = image.rsplit('/').next().unwrap_or_default();
    // Without a tag Docker would fetch every one there is.
    let tag = if last.contains([':', '@']) { "" } else { "&tag=latest" };
    let pull = format!("/images/create?fromImage={}{tag}", escaped(image));
    let failed = |why: String| format!("image {image} is not on this machine and cannot be pulled: {why}");
    let credentials = registry::header(image, sandbox);
    let credentials = credentials.as_deref().map(|text| ("X-Registry-Auth", text));
    let complaint = docker
        .read_with(("POST", &pull), credentials, PULL_LIMIT, |answer| {
            let mut complaint = None;
            for line in BufReader::new(answer).lines() {
                let told: Value = serde_json::from_str(&line?).unwrap_or_default();
                complaint = told["error"].as_str().map(str::to_owned).or(complaint);
            }
            Ok(complaint)
        })
        .map_err(|error| failed(error.to_string()))?;
    match complaint {
        Some(complaint) => Err(failed(format!("Docker: {complaint}"))),
        None => docker.call("GET", &here, None).map(drop).map_err(|error| failed(error.to_string())),
    }
}
