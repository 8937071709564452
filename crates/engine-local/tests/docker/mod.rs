//! A Docker daemon of the tests' own, and images made on the machine.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The image with bash and busybox.
pub const IMAGE: &str = "daybreak-test/tools:1";
/// The same with an entry point of its own and another user.
pub const GREETER: &str = "daybreak-test/greeter:1";

/// Busybox alone.
pub const BARE: &str = "daybreak-test/bare:1";

/// The first one, sleeping.
pub const SLEEPER: &str = "daybreak-test/sleeper:1";

/// Ends the daemon once this process has ended, however that comes about: then its standard input ends.
const KEEPER: &str = r#"
"$0" --host "unix://$1/docker.sock" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --bridge "$2" --iptables=false \
    >"$1/log" 2>&1 </dev/null &
daemon=$!
read -r _
kill "$daemon"
wait "$daemon"
umount "$1"/exec/netns/* 2>/dev/null
rm -rf "$1"
"#;
/// What the images have beside bash.
const TOOLS: [&str; 12] = ["sh", "sleep", "cat", "ls", "echo", "id", "kill", "true", "false", "nc", "httpd", "dd"];

/// The daemon of this test process.
pub struct Docker {
    folder: PathBuf,
    _keeper: Child,
}

/// The daemon; `None`, said loudly, where there is none to be had.
pub fn docker() -> Option<&'static Docker> {
    docker_on("none")
}

/// The same with a bridge of this name as its network; the first call decides.
pub fn docker_on(bridge: &str) -> Option<&'static Docker> {
    static DAEMON: OnceLock<Option<Docker>> = OnceLock::new();
    DAEMON
        .get_or_init(|| {
            if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
                eprintln!("NOT RUN: tests with a real Docker daemon take root");
                return None;
            }
            Some(Docker::start(bridge))
        })
        .as_ref()
}

impl Docker {
    fn start(bridge: &str) -> Self {
        for program in ["dockerd", "docker-compose", "busybox"] {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
            assert!(
                found.status.success(),
                "{program} is missing; install what ./test names: apt-get install docker.io docker-compose busybox-static"
            );
        }
        let folder = tempfile::Builder::new().prefix("daybreak-docker").tempdir().unwrap().keep();
        let keeper = Command::new("/bin/bash")
            .args(["-c", KEEPER, "dockerd"])
            .arg(&folder)
            .arg(bridge)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let docker = Self { folder, _keeper: keeper };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !docker.try_run(&["version"]).0 {
            let log = std::fs::read_to_string(docker.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the Docker daemon does not start: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        docker.make_images();
        docker
    }

    /// Value of `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// The files of [`IMAGE`].
    pub fn image_root(&self) -> PathBuf {
        self.folder.join("image")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.host()]).args(arguments).stdin(Stdio::null());
        command
    }

    fn try_run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// What a command prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Containers with the label of this task, whatever their state.
    pub fn containers_of(&self, task_id: &str) -> Vec<String> {
        let filter = format!("label=taskId={task_id}");
        self.run(&["ps", "--all", "--quiet", "--filter", &filter]).lines().map(str::to_owned).collect()
    }

    /// Networks that docker-compose has made for a project and that are still there.
    pub fn networks_of(&self, project: &str) -> String {
        self.run(&["network", "ls", "--quiet", "--filter", &format!("label=com.docker.compose.project={project}")])
    }

    fn make_images(&self) {
        let root = self.folder.join("image");
        for folder in ["bin", "etc", "tmp"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nguest:x:1234:1234::/:/bin/sh\n").unwrap();
        std::fs::copy(which("busybox"), root.join("bin/busybox")).unwrap();
        for tool in TOOLS {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(tool)).unwrap();
        }
        self.import(&root, BARE, &[]);
        copy_with_libraries(Path::new("/bin/bash"), &root);
        self.import(&root, IMAGE, &[]);
        self.import(&root, SLEEPER, &[r#"CMD ["/bin/sh", "-c", "trap exit TERM; sleep 1000 & wait"]"#]);
        self.import(
            &root,
            GREETER,
            &["USER guest", r#"ENTRYPOINT ["/bin/sh", "-c"]"#, r#"CMD ["echo hello from $MESOS_TASK_ID"]"#],
        );
    }

    fn import(&self, root: &Path, name: &str, changes: &[&str]) {
        let mut tar = Command::new("tar").arg("-C").arg(root).args(["-c", "."]).stdout(Stdio::piped()).spawn().unwrap();
        let mut arguments = vec!["import"];
        for change in changes {
            arguments.extend(["--change", change]);
        }
        arguments.extend(["-", name]);
        let mut command = self.command(&arguments);
        let output = command.stdin(tar.stdout.take().unwrap()).output().unwrap();
        assert!(
            tar.wait().unwrap().success() && output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn which(program: &str) -> PathBuf {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
}

/// Copies a program and what it is linked with to the same places below `root`.
fn copy_with_libraries(program: &Path, root: &Path) {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.map(Path::new).chain([program]) {
        let inside = root.join(path.strip_prefix("/").unwrap());
        std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
        std::fs::copy(path, inside).unwrap();
    }
}

/// A server on this machine that answers every request with `content`; its address.
pub fn serve(content: Vec<u8>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut head = [0_u8; 4096];
            let _ = std::io::Read::read(&mut stream, &mut head);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(&content));
        }
    });
    format!("http://{address}")
}
