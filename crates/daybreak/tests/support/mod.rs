//! What the end-to-end tests share: a daemon of the real binary in a directory of its own, and the client's verbs against it.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod browser;
pub mod wire;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub const DAYBREAK: &str = env!("CARGO_BIN_EXE_daybreak");

/// Waits until `probe` gives something, or fails with what was awaited.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Name of the account the tests run under.
pub fn login() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().expect("the tests' user has a name").name
}

/// A directory that other users can enter, removed at the end.
pub fn open_directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new().prefix("daybreak-test-").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// A finished command, with what it printed.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails the test unless the exit code is `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs the binary with arguments, no daemon implied.
pub fn daybreak(arguments: &[&str]) -> Done {
    Done::from(Command::new(DAYBREAK).args(arguments).stdin(Stdio::null()).output().unwrap())
}

/// Runs the binary with arguments as the user nobody; the caller is root.
pub fn daybreak_as_nobody(arguments: &[&str], directory: &Path) -> Done {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(public_binary()).args(arguments);
    command.env("HOME", directory).env("USER", "nobody").env("LOGNAME", "nobody").env("TMPDIR", directory);
    Done::from(command.current_dir(directory).stdin(Stdio::null()).output().unwrap())
}

/// A copy of the binary where every user can execute it: the build directory may be closed to others.
pub fn public_binary() -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::OnceLock;
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("daybreak-under-test-{}", std::process::id()));
        std::fs::copy(DAYBREAK, &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    })
    .clone()
}

/// A running daemon. Dropping it kills every job's tasks and then the daemon.
pub struct Daemon {
    pub state: PathBuf,
    pub url: String,
    /// The program it is started from.
    pub program: PathBuf,
    child: Option<Child>,
    extra: Vec<String>,
    _directory: Option<tempfile::TempDir>,
}

impl Daemon {
    /// Starts one in a new state directory.
    pub fn start(extra: &[&str]) -> Self {
        Self::start_in(open_directory(), extra)
    }

    /// Starts one whose state lies in `directory`.
    pub fn start_in(directory: tempfile::TempDir, extra: &[&str]) -> Self {
        Self::start_program(DAYBREAK.as_ref(), directory, extra)
    }

    /// Starts one whose state lies in `directory` at a fixed address.
    pub fn start_at(listen: &str, directory: tempfile::TempDir, extra: &[&str]) -> Self {
        Self::start_listening(DAYBREAK.as_ref(), listen, directory, extra)
    }

    /// Starts one from another copy of the program.
    pub fn start_program(program: &Path, directory: tempfile::TempDir, extra: &[&str]) -> Self {
        Self::start_listening(program, "127.0.0.1:0", directory, extra)
    }

    fn start_listening(program: &Path, listen: &str, directory: tempfile::TempDir, extra: &[&str]) -> Self {
        let mut daemon = Self {
            state: directory.path().join("state"),
            url: String::new(),
            program: program.into(),
            child: None,
            extra: extra.iter().map(|it| (*it).to_owned()).collect(),
            _directory: Some(directory),
        };
        daemon.spawn(listen);
        daemon
    }

    fn spawn(&mut self, listen: &str) {
        let mut command = Command::new(&self.program);
        command.args(["up", "--listen", listen, "--state-dir"]).arg(&self.state).args(&self.extra);
        std::fs::create_dir_all(&self.state).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.state.join("daemon.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let mut child = command.spawn().unwrap();
        let endpoint = self.state.join("endpoint.json");
        let pid = u64::from(child.id());
        let started = Instant::now();
        self.url = wait_for("the daemon's endpoint", Duration::from_secs(60), || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended at once ({status}):\n{}", self.log());
            }
            assert!(started.elapsed() < Duration::from_secs(55), "{}", self.log());
            let text = std::fs::read_to_string(&endpoint).ok()?;
            let json: serde_json::Value = serde_json::from_str(&text).ok()?;
            (json["pid"] == pid).then(|| json["url"].as_str().unwrap().to_owned())
        });
        self.child = Some(child);
    }

    /// What the daemon logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.state.join("daemon.log")).unwrap_or_default()
    }

    /// Process id of the daemon.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().expect("the daemon runs").id() as i32
    }

    /// Kills the daemon with SIGKILL and reaps it.
    pub fn kill_nine(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the daemon to stop (SIGTERM) and gives its exit code.
    pub fn stop(&mut self) -> i32 {
        let mut child = self.child.take().expect("the daemon runs");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
            .unwrap();
        let status = wait_for("the daemon to stop", Duration::from_secs(30), || child.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }

    /// Waits until the daemon has ended by itself and gives its exit code.
    pub fn wait_for_end(&mut self) -> i32 {
        let mut child = self.child.take().expect("the daemon runs");
        let status = wait_for("the daemon to end", Duration::from_secs(30), || child.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }

    /// Starts the daemon again on the same state directory and port.
    pub fn restart(&mut self) {
        let listen = self.url.trim_start_matches("http://").to_owned();
        self.spawn(&listen);
    }

    /// The same with further options, from now on.
    pub fn restart_with(&mut self, extra: &[&str]) {
        self.extra.extend(extra.iter().map(|word| (*word).to_owned()));
        self.restart();
    }

    /// Runs a client verb against this daemon.
    pub fn aurora(&self, arguments: &[&str]) -> Done {
        let config = self.state.join("client");
        std::fs::create_dir_all(&config).unwrap();
        let clusters = serde_json::json!([{"name": "devcluster", "scheduler_uri": self.url}]);
        std::fs::write(config.join("clusters.json"), clusters.to_string()).unwrap();
        let mut command = Command::new(DAYBREAK);
        command.arg("aurora").args(arguments).env("AURORA_CONFIG_ROOT", &config).env("HOME", &config);
        Done::from(command.stdin(Stdio::null()).output().unwrap())
    }

    /// Runs one of Daybreak's own verbs against this daemon.
    pub fn verb(&self, arguments: &[&str]) -> Done {
        // The clusters file of the client's verbs is written by them.
        self.aurora(&["job", "list", "devcluster"]);
        let config = self.state.join("client");
        let mut command = Command::new(DAYBREAK);
        command.args(arguments).env("AURORA_CONFIG_ROOT", &config).env("HOME", &config);
        Done::from(command.stdin(Stdio::null()).output().unwrap())
    }

    /// The tasks of a job as `job status --write-json` shows them: active, then inactive.
    pub fn tasks(&self, job: &str) -> (Vec<serde_json::Value>, Vec<serde_json::Value>) {
        let done = self.aurora(&["job", "status", job, "--write-json"]).expect_code(0);
        let json: serde_json::Value =
            serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", done.stdout));
        let list = |key: &str| json[0][key].as_array().cloned().unwrap_or_default();
        (list("active"), list("inactive"))
    }

    /// GET of a path; the status and the body.
    pub fn get(&self, path: &str) -> (u16, String) {
        http("GET", &format!("{}{path}", self.url), &[], b"")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Tasks and launcher outlive the daemon by design; a test must leave nothing behind.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        kill_processes_of(&self.state);
        if std::thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}", self.log());
        }
    }
}

/// Kills every process whose command line or working directory lies in `directory`.
pub fn kill_processes_of(directory: &Path) {
    for _ in 0..3 {
        for pid in processes_of(directory) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Process ids whose command line names `directory` or whose working directory lies in it; not our own.
pub fn processes_of(directory: &Path) -> Vec<i32> {
    let name = directory.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != std::process::id() as i32)
        .filter(|pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            command.contains(&name) || directory.to_string_lossy().starts_with(&name)
        })
        .collect()
}

/// A plain HTTP request; the status and the body as text.
pub fn http(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    try_http(method, url, headers, body).unwrap()
}

/// The same where the server may die meanwhile.
pub fn try_http(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<(u16, String)> {
    use std::io::{Read, Write};
    let rest = url.strip_prefix("http://").expect("a plain http address");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = std::net::TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut head = format!("{method} /{path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {authority}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    // A server that refuses a body may close before it has read all of it.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let mut piece = vec![0; 1 << 16];
    // Some servers keep the connection open whatever they are asked.
    while !is_whole(&answer) {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
        }
    }
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..split]).to_ascii_lowercase();
    let body = answer.get(split + 4..).unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = if head.contains("transfer-encoding: chunked") { dechunk(body)? } else { body.to_vec() };
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Whether an answer of announced length has arrived.
fn is_whole(answer: &[u8]) -> bool {
    let Some(split) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..split]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= split + 4 + length)
}

fn dechunk(mut body: &[u8]) -> std::io::Result<Vec<u8>> {
    let cut_off = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").ok_or_else(cut_off)?;
        let size = std::str::from_utf8(&body[..end]).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let size = size.ok_or_else(cut_off)?;
        if size == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(body.get(end + 2..end + 2 + size).ok_or_else(cut_off)?);
        body = body.get(end + 4 + size..).ok_or_else(cut_off)?;
    }
}
