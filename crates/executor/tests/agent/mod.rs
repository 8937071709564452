//! A Mesos agent as far as an executor sees it: takes its calls over real sockets, answers as told, and keeps what was said.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use checkpoint::layout::RunDirectory;
use checkpoint::replay::RunState;
use mesos::v1::executor::call::{Subscribe, Type as CallType};
use mesos::v1::executor::{Call, Event, event};
use mesos::v1::{AgentId, KillPolicy, TaskId, TaskInfo, TaskState, TaskStatus};
use prost::Message;
use thrift::{AssignedTask, ExecutorConfig, JobKey, Protocol, Resource, TaskConfig, encode_value};

#[derive(Default)]
struct State {
    stream: Option<Box<dyn Socket>>,
    subscriptions: Vec<Subscribe>,
    updates: Vec<TaskStatus>,
    heads: Vec<String>,
    /// Updates are not stored, and so not acknowledged.
    silent: bool,
    /// Every call is answered with this code.
    refusing: Option<u16>,
    acknowledged: Vec<Vec<u8>>,
}

trait Socket: Read + Write + Send {
    fn again(&self) -> Box<dyn Socket>;
    fn end(&self);
}

impl Socket for std::net::TcpStream {
    fn again(&self) -> Box<dyn Socket> {
        Box::new(self.try_clone().unwrap())
    }
    fn end(&self) {
        let _ = self.shutdown(std::net::Shutdown::Both);
    }
}

impl Socket for std::os::unix::net::UnixStream {
    fn again(&self) -> Box<dyn Socket> {
        Box::new(self.try_clone().unwrap())
    }
    fn end(&self) {
        let _ = self.shutdown(std::net::Shutdown::Both);
    }
}

pub struct Agent {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Agent {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (shared, socket) = (Arc::clone(&shared), socket.unwrap());
                std::thread::spawn(move || serve(Box::new(socket), &shared));
            }
        });
        Self { endpoint, state }
    }

    /// One that listens on a socket of this machine only.
    pub fn start_unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (shared, socket) = (Arc::clone(&shared), socket.unwrap());
                std::thread::spawn(move || serve(Box::new(socket), &shared));
            }
        });
        Self { endpoint: "127.0.0.1:1".into(), state }
    }

    fn send(&self, event: &Event) {
        send(&mut self.state.lock().unwrap(), event);
    }

    pub fn launch(&self, info: TaskInfo) {
        let launch = Some(event::Launch { task: info });
        self.send(&Event { r#type: Some(event::Type::Launch as i32), launch, ..Event::default() });
    }

    pub fn kill(&self, task_id: &str, kill_policy: Option<KillPolicy>) {
        let kill = Some(event::Kill { task_id: TaskId { value: task_id.into() }, kill_policy });
        self.send(&Event { r#type: Some(event::Type::Kill as i32), kill, ..Event::default() });
    }

    pub fn plain(&self, kind: event::Type) {
        self.send(&Event { r#type: Some(kind as i32), ..Event::default() });
    }

    /// From now on updates are taken but not stored.
    pub fn be_silent(&self, silent: bool) {
        self.state.lock().unwrap().silent = silent;
    }

    /// From now on everything is refused.
    pub fn refuse(&self, code: Option<u16>) {
        self.state.lock().unwrap().refusing = code;
    }

    /// Ends the stream, as the end of the agent does.
    pub fn disconnect(&self) {
        self.state.lock().unwrap().stream.take().unwrap().end();
    }

    pub fn subscriptions(&self) -> Vec<Subscribe> {
        self.state.lock().unwrap().subscriptions.clone()
    }

    pub fn heads(&self) -> Vec<String> {
        self.state.lock().unwrap().heads.clone()
    }

    pub fn updates(&self) -> Vec<TaskStatus> {
        self.state.lock().unwrap().updates.clone()
    }

    /// State and message of the updates of a task, repetitions left out.
    pub fn told(&self, task_id: &str) -> Vec<(TaskState, String)> {
        let mut seen = Vec::new();
        let mut told = Vec::new();
        for status in self.updates() {
            if status.task_id.value == task_id && !seen.contains(&status.uuid) {
                seen.push(status.uuid.clone());
                told.push((status.state(), status.message.unwrap_or_default()));
            }
        }
        told
    }

    pub fn states(&self, task_id: &str) -> Vec<TaskState> {
        self.told(task_id).into_iter().map(|(state, _)| state).collect()
    }

    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}; updates: {:?}", self.updates());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn until_subscribed(&self, times: usize) {
        self.until("a subscription", |agent| agent.subscriptions().len() >= times);
    }

    pub fn until_state(&self, task_id: &str, state: TaskState) {
        self.until(state.name(), |agent| agent.states(task_id).contains(&state));
    }
}

fn send(state: &mut State, event: &Event) {
    let bytes = event.encode_to_vec();
    let record = [bytes.len().to_string().as_bytes(), b"\n", &bytes].concat();
    let stream = state.stream.as_mut().expect("a subscription");
    // Two chunks that cut the record anywhere.
    let (first, second) = record.split_at(record.len() / 3 + 1);
    for part in [first, second] {
        if !part.is_empty() {
            let chunk = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            let _ = stream.write_all(&chunk);
        }
    }
}

/// The calls of one connection, one after another.
fn serve(mut socket: Box<dyn Socket>, shared: &Mutex<State>) {
    while let Some((head, body)) = request(&mut *socket) {
        let call = Call::decode(body.as_slice()).unwrap();
        let mut state = shared.lock().unwrap();
        state.heads.push(head);
        if let Some(code) = state.refusing {
            drop(state);
            let _ = socket.write_all(format!("HTTP/1.1 {code} X\r\nContent-Length: 2\r\n\r\nno").as_bytes());
            continue;
        }
        match CallType::try_from(call.r#type.unwrap()).unwrap() {
            CallType::Subscribe => {
                let answer =
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-protobuf\r\n\r\n";
                socket.write_all(answer.as_bytes()).unwrap();
                state.stream = Some(socket.again());
                let told = call.subscribe.unwrap();
                for update in &told.unacknowledged_updates {
                    store(&mut state, &update.status);
                }
                state.subscriptions.push(told);
                let subscribed = Some(event::Subscribed::default());
                let event = Event { r#type: Some(event::Type::Subscribed as i32), subscribed, ..Event::default() };
                send(&mut state, &event);
                return;
            }
            CallType::Update => {
                socket.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").unwrap();
                store(&mut state, &call.update.unwrap().status);
            }
            other => panic!("a call of kind {}", other.name()),
        }
    }
}

fn store(state: &mut State, status: &TaskStatus) {
    state.updates.push(status.clone());
    if state.silent || state.stream.is_none() {
        return;
    }
    let uuid = status.uuid.clone().unwrap();
    state.acknowledged.push(uuid.to_vec());
    let acknowledged = Some(event::Acknowledged { task_id: status.task_id.clone(), uuid });
    let event = Event { r#type: Some(event::Type::Acknowledged as i32), acknowledged, ..Event::default() };
    send(state, &event);
}

fn request(socket: &mut dyn Socket) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    socket.read_exact(&mut body).ok()?;
    Some((head, body))
}

pub fn agent_id() -> AgentId {
    AgentId { value: "agent".into() }
}

/// An executor that an agent has started.
pub struct Executor {
    pub process: Child,
    pub run: RunDirectory,
    _root: tempfile::TempDir,
}

impl Executor {
    pub fn start(agent: &Agent) -> Self {
        Self::start_with(agent, &[], &[])
    }

    pub fn start_with(agent: &Agent, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let executable = Path::new(env!("CARGO_BIN_EXE_daybreak-executor"));
        Self::start_file(executable, agent, flags, variables, |_| {})
    }

    /// Starts this executable, after something was done to its command.
    pub fn start_file(
        executable: &Path,
        agent: &Agent,
        flags: &[&str],
        variables: &[(&str, &str)],
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let root = tempfile::Builder::new().prefix("daybreak-executor").tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let directory = root.path().join("slaves/agent/frameworks/f/executors/e/runs/r");
        std::fs::create_dir_all(&directory).unwrap();
        // As new agents make it.
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o750)).unwrap();
        let output = |name: &str| std::fs::File::create(directory.join(name)).unwrap();
        let path = directory.to_str().unwrap();
        let mut environment: BTreeMap<&str, &str> = [
            ("MESOS_FRAMEWORK_ID", "f"),
            ("MESOS_EXECUTOR_ID", "e"),
            ("MESOS_SLAVE_ID", "agent"),
            ("MESOS_DIRECTORY", path),
            ("MESOS_SANDBOX", path),
            ("MESOS_AGENT_ENDPOINT", agent.endpoint.as_str()),
            ("MESOS_CHECKPOINT", "1"),
            ("MESOS_RECOVERY_TIMEOUT", "15mins"),
            ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "200ms"),
            ("PATH", "/usr/bin:/bin"),
        ]
        .into();
        environment.extend(variables.iter().copied());
        let mut command = Command::new(executable);
        command
            .args(flags)
            .env_clear()
            .envs(environment)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"));
        prepare(&mut command);
        let process = command.spawn().unwrap();
        Self { process, run: RunDirectory::new(directory), _root: root }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.run.root().join("stderr")).unwrap()
    }

    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the executor does not end; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub fn supervisor(&self) -> i32 {
        RunState::load(&self.run.checkpoint()).unwrap().header.unwrap().supervisor_pid
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A role that is a user of this machine, another one than this process' where that is root.
pub fn role() -> String {
    if rustix::process::geteuid().is_root() { "nobody".into() } else { "anybody".into() }
}

pub fn task(task_id: &str, payload: Vec<u8>) -> TaskInfo {
    task_of(task_id, payload, &role(), None)
}

pub fn task_of(task_id: &str, payload: Vec<u8>, role: &str, health_port: Option<u16>) -> TaskInfo {
    let config = TaskConfig {
        job: Some(JobKey { role: role.into(), environment: "prod".into(), name: "j".into() }),
        resources: [Resource::NumCpus(1.0), Resource::RamMb(64), Resource::DiskMb(64)].into_iter().collect(),
        executor_config: Some(ExecutorConfig {
            name: "AuroraExecutor".into(),
            data: Some(String::from_utf8(payload).unwrap()),
        }),
        ..TaskConfig::default()
    };
    let assigned = AssignedTask {
        task_id: task_id.into(),
        slave_host: Some("host".into()),
        task: Some(config),
        assigned_ports: health_port.map(|port| ("health".to_owned(), i32::from(port))).into_iter().collect(),
        instance_id: 5,
        ..AssignedTask::default()
    };
    TaskInfo {
        task_id: TaskId { value: task_id.into() },
        agent_id: agent_id(),
        data: Some(encode_value(Protocol::Binary, &assigned).into()),
        ..TaskInfo::default()
    }
}
