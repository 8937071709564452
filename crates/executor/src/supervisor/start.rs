//! Beginning a run: the start token, the sandbox, the user, the payload (spec executor 2.2, 2.4, 2.11).

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use checkpoint::layout::{LOGS, RunDirectory};
use checkpoint::protocol::{ContainerKind, Containers, Launch, LaunchRefused};
use checkpoint::record::Header;
use checkpoint::replay::RunState;
use checkpoint::stream::Writer;
use model::process::{Late, LateValues, Payload, TaskPlan, check_task, ports};
use rustix::fs::{Mode, OFlags};

use super::Surroundings;
use crate::system::identity::acting_as;
use crate::system::spawn::Identity;
use crate::system::user::{self, User};
use crate::system::wall_ms;

/// Before the user in the place of a role, where it is one of the container that this process runs in, in Docker's words. Roles have no
/// colon.
pub(crate) const CONTAINER_USER: &str = "container:";

/// The payload read last: the tasks of a slot mostly share one.
#[derive(Debug, Default)]
pub(super) struct PayloadCache {
    bytes: Vec<u8>,
    parsed: Option<Late<Payload>>,
    task_json: Vec<u8>,
    /// The user found last, by the role it was for; the empty role stands for whoever runs this process.
    user: Option<(String, User)>,
}

impl PayloadCache {
    fn payload(&mut self, bytes: &[u8]) -> Result<&Late<Payload>, String> {
        if self.parsed.is_none() || self.bytes != bytes {
            self.parsed = None;
            let text = std::str::from_utf8(bytes).map_err(|error| format!("the executor data is not text: {error}"))?;
            let parsed = Late::<Payload>::parse(text).map_err(|error| error.to_string())?;
            self.bytes = bytes.to_vec();
            self.task_json = parsed.task_json().into_bytes();
            self.parsed = Some(parsed);
        }
        self.parsed.as_ref().ok_or_else(|| "the executor data was not read".to_owned())
    }

    /// The user whose processes they are: the role when this process is root, else whoever runs it.
    fn user(&mut self, role: &str, root: bool) -> Result<User, String> {
        let role = if root { role } else { "" };
        if let Some((name, user)) = &self.user
            && name == role
        {
            return Ok(user.clone());
        }
        let in_container = role.strip_prefix(CONTAINER_USER);
        let found = match in_container {
            Some(text) => user::of_container(text),
            None if role.is_empty() => Ok(Some(user::current())),
            None => user::by_name(role),
        };
        if let (Some(text), Ok(None)) = (in_container, &found) {
            return Err(format!(
                "{text} is no user of the image: give the Docker parameter user a name or a number that it has"
            ));
        }
        match found {
            Ok(Some(user)) => {
                self.user = Some((role.to_owned(), user.clone()));
                Ok(user)
            }
            Ok(None) => Err(format!(
                "role {role} is no user of {}: create the user, or run the job under a role that is one",
                user::looked_in()
            )),
            Err(error) => Err(format!("looking up user {role}: {error}")),
        }
    }
}

/// A run whose directory and checkpoint exist.
pub(super) struct Prepared {
    pub(super) writer: Writer,
    pub(super) user: User,
    pub(super) owner: Option<Identity>,
    /// What follows may have failed; the task then ends with that reason.
    pub(super) ready: Result<Ready, String>,
    /// What was done of a run that is resumed.
    pub(super) past: Option<RunState>,
}

/// Everything that is needed to run the task.
pub(super) struct Ready {
    pub(super) sandbox: OwnedFd,
    pub(super) sandbox_path: CString,
    /// The payload with its templates filled in.
    pub(super) payload: Payload,
    pub(super) plan: TaskPlan,
    pub(super) ports: BTreeMap<String, u32>,
}

/// Takes the start token (the run directory) and opens the checkpoint; with what it holds of a run that is resumed. An error leaves
/// nothing behind that is not an earlier run's.
fn take_run(launch: &Launch, run: &RunDirectory) -> Result<(Writer, Option<RunState>), LaunchRefused> {
    let refused = |already_started: bool, reason: String| LaunchRefused {
        task_id: launch.task_id.clone(),
        already_started,
        reason,
    };
    if !launch.run_directory_exists {
        match rustix::fs::mkdir(run.root(), Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(refused(true, "it was started before".to_owned())),
            Err(error) => return Err(refused(false, format!("cannot make {}: {error}", run.root().display()))),
        }
    }
    if launch.resumes {
        let past = RunState::load(&run.checkpoint());
        let taken = past.and_then(|past| Ok((Writer::open(&run.checkpoint())?, Some(past))));
        return taken.map_err(|error| refused(true, error.to_string()));
    }
    let writer = Writer::create(&run.checkpoint()).map_err(|error| {
        if !launch.run_directory_exists {
            let _ = fs::remove_dir(run.root());
        }
        let already_started = launch.run_directory_exists && error.kind() == io::ErrorKind::AlreadyExists;
        refused(already_started, format!("cannot make {}: {error}", run.checkpoint().display()))
    })?;
    Ok((writer, None))
}

/// Takes the run, writes its header, and makes ready what the task needs.
pub(super) fn prepare(
    launch: &Launch,
    surroundings: &Surroundings,
    payloads: &mut PayloadCache,
) -> Result<Prepared, LaunchRefused> {
    let run = RunDirectory::new(&launch.run_directory);
    let (mut writer, past) = take_run(launch, &run)?;
    // The user inside a container is the image's affair: the role need not be a user of this machine.
    let in_container = is_container(launch);
    let sandbox_path = sandbox_of(launch, &run);
    let found = payloads
        .user(&launch.role, surroundings.root)
        .or_else(|why| if in_container { Ok(user::current()) } else { Err(why) });
    let user = found
        .as_ref()
        .map_or_else(|_| User { name: launch.role.clone(), identity: user::current().identity }, User::clone);
    let owner = (surroundings.root && user.identity.uid != 0).then(|| user.identity.clone());
    let ready = match found {
        Ok(_) => make_ready(launch, &sandbox_path, &user, owner.as_ref(), payloads),
        Err(error) => Err(format!("Failed to initialize sandbox: {error}")),
    };
    writer.push(Header {
        task_id: launch.task_id.clone(),
        agent_id: launch.agent_id.clone(),
        launch_time_ms: wall_ms(),
        boot_id: surroundings.boot_id.clone(),
        sandbox: sandbox_path.to_string_lossy().into_owned(),
        hostname: launch.hostname.clone(),
        user: user.name.clone(),
        uid: Some(user.identity.uid),
        ports: ready.as_ref().map_or_else(|_| launch.ports.clone(), |ready| ready.ports.clone()),
        instance: launch.instance,
        supervisor_pid: surroundings.pid,
        supervisor_start_ticks: surroundings.start_ticks,
        cgroups: surroundings.group.paths(),
        engine_data: launch.engine_data.clone(),
        task_json: if ready.is_ok() { payloads.task_json.clone() } else { Vec::new() },
        memory_bytes: launch.memory_bytes,
        disk_bytes: launch.disk_bytes,
        slot_id: surroundings.slot_id,
        shares_sandbox: !launch.sandbox.is_empty(),
        docker_host: launch.containers.as_ref().map(|containers| containers.docker_host.clone()),
    });
    Ok(Prepared { writer, user, owner, ready, past })
}

fn make_ready(
    launch: &Launch,
    sandbox_path: &Path,
    user: &User,
    owner: Option<&Identity>,
    payloads: &mut PayloadCache,
) -> Result<Ready, String> {
    // Users of containers are others than the task's on this machine; theirs are the modes of what they make.
    let mode = if is_container(launch) { 0o755 } else { 0o700 };
    let made = if launch.sandbox.is_empty() {
        make_sandbox(sandbox_path, mode, owner, launch.run_directory_exists)
    } else {
        enter_sandbox(sandbox_path, mode, owner)
    };
    let sandbox = made.map_err(|error| format!("Failed to initialize sandbox: {}: {error}", sandbox_path.display()))?;
    let payload = payloads.payload(&launch.payload)?;
    // Names that stand for other ports (spec executor 2.9).
    let ports = match &payload.shape().announce {
        Some(announce) => ports::resolve(&announce.portmap, &launch.ports).map_err(|error| error.to_string())?.numbers,
        None => launch.ports.clone(),
    };
    let values = LateValues {
        instance: launch.instance,
        hostname: launch.hostname.clone(),
        task_id: launch.task_id.clone(),
        user: user.name.clone(),
        ports,
    };
    let filled = payload.fill(&values).map_err(|error| error.to_string())?;
    let mut plan = check_task(&filled.task).map_err(|error| error.to_string())?;
    if launch.only_processes {
        plan = TaskPlan::with_run_limit(&filled.task, u32::MAX).map_err(|error| error.to_string())?;
    }
    Ok(Ready {
        sandbox,
        sandbox_path: CString::new(sandbox_path.as_os_str().as_bytes()).map_err(|error| error.to_string())?,
        plan,
        ports: values.ports,
        payload: filled,
    })
}

/// Where the sandbox of a run is.
fn sandbox_of(launch: &Launch, run: &RunDirectory) -> PathBuf {
    if launch.sandbox.is_empty() { run.sandbox() } else { PathBuf::from(&launch.sandbox) }
}

/// Whether the task is a container, or its processes are in one.
fn is_container(launch: &Launch) -> bool {
    let kind = launch.containers.as_ref().map(Containers::kind);
    matches!(kind, Some(ContainerKind::Processes | ContainerKind::Alone))
}

/// A sandbox that somebody has chosen. Where it exists it stays as it is, and whoever may write to it may use it.
fn enter_sandbox(path: &Path, mode: u32, owner: Option<&Identity>) -> io::Result<OwnedFd> {
    if !path.exists() {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        return make_sandbox(path, mode, owner, true);
    }
    let sandbox = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match acting_as(owner, || rustix::fs::mkdirat(&sandbox, LOGS, Mode::from_raw_mode(0o755))) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(sandbox),
        Err(error) => Err(error.into()),
    }
}

/// The sandbox: private to the user, with the folder for logs in it.
fn make_sandbox(path: &Path, mode: u32, owner: Option<&Identity>, may_exist: bool) -> io::Result<OwnedFd> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Err(rustix::io::Errno::EXIST) if may_exist => {}
        made => made?,
    }
    let sandbox = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    if let Some(owner) = owner {
        let (uid, gid) = (rustix::fs::Uid::from_raw(owner.uid), rustix::fs::Gid::from_raw(owner.gid));
        rustix::fs::fchown(&sandbox, Some(uid), Some(gid))?;
    }
    acting_as(owner, || rustix::fs::mkdirat(&sandbox, LOGS, Mode::from_raw_mode(0o755)))?;
    Ok(sandbox)
}
