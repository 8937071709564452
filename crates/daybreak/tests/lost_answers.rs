//! Answers that are lost on their way (reliability case T4), end to end: the real client before a line that swallows the answer to each
//! change, the real daemon behind it, which is killed in between or not. Each change is made once, and the client ends well.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{DAYBREAK, Daemon, Done, login, open_directory, wait_for, wire};

/// Methods whose first answer is lost.
const CHANGES: [&str; 8] = [
    "createJob",
    "addInstances",
    "startJobUpdate",
    "abortJobUpdate",
    "restartShards",
    "scheduleCronJob",
    "startCronJob",
    "killTasks",
];

/// What happens besides the loss of answers.
#[derive(Clone, Copy, PartialEq)]
enum Line {
    Lossy,
    /// The daemon is killed when it has answered a change that is then lost.
    Deadly,
    /// Keys are taken out on the way.
    Keyless,
}

/// What the line and the test share.
struct Shared {
    daemon: Daemon,
    /// How often each change came by.
    seen: BTreeMap<&'static str, usize>,
    line: Line,
}

/// Everything up to the announced end of a request.
fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let head = request.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
            let announced = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if request.len() >= head + 4 + announced.unwrap_or(0) {
                return request;
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return Vec::new(),
            Ok(count) => request.extend_from_slice(&piece[..count]),
        }
    }
}

/// The daemon's whole answer.
fn forward(target: &str, request: &[u8], line: Line) -> Vec<u8> {
    let Ok(mut daemon) = TcpStream::connect(target) else { return Vec::new() };
    // One request a connection, so that its end is the answer's end.
    let mut text = String::from_utf8_lossy(request).into_owned();
    if line == Line::Keyless {
        text = text.replacen("\r\nidempotency-key:", "\r\nx-no-key:", 1);
    }
    let (first, rest) = text.split_once("\r\n").expect("a request line");
    let _ = daemon.write_all(format!("{first}\r\nConnection: close\r\n{rest}").as_bytes());
    let mut answer = Vec::new();
    let _ = daemon.read_to_end(&mut answer);
    answer
}

/// Passes requests on, one a connection, and loses the first answer to each change.
fn serve(mut client: TcpStream, shared: &Mutex<Shared>) {
    let request = read_request(&mut client);
    if request.is_empty() {
        return;
    }
    let mut shared = shared.lock().unwrap();
    let target = shared.daemon.url.trim_start_matches("http://").to_owned();
    let answer = forward(&target, &request, shared.line);
    let text = String::from_utf8_lossy(&request);
    let change = CHANGES.into_iter().find(|name| text.contains(&format!("\"{name}\"")));
    if let Some(change) = change {
        let seen = shared.seen.entry(change).or_default();
        *seen += 1;
        if *seen == 1 {
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{change}: {}", String::from_utf8_lossy(&answer));
            if shared.line == Line::Deadly {
                shared.daemon.kill_nine();
                shared.daemon.restart();
            }
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = client.write_all(&answer);
}

struct House {
    shared: Arc<Mutex<Shared>>,
    directory: tempfile::TempDir,
}

impl House {
    fn new(line: Line) -> Self {
        let directory = open_directory();
        let daemon = Daemon::start(&["--allow-root-role"]);
        let shared = Arc::new(Mutex::new(Shared { daemon, seen: BTreeMap::new(), line }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let clusters = serde_json::json!([{"name": "lossy", "scheduler_uri": url}]);
        std::fs::write(directory.path().join("clusters.json"), clusters.to_string()).unwrap();
        // The daemon ends with the test, not with the line.
        let served = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(shared) = served.upgrade() else { return };
                serve(client, &shared);
            }
        });
        Self { shared, directory }
    }

    fn aurora(&self, arguments: &[&str]) -> Done {
        let mut command = Command::new(DAYBREAK);
        command.arg("aurora").args(arguments).env("AURORA_CONFIG_ROOT", self.directory.path());
        let output = command.env("HOME", self.directory.path()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    fn url(&self) -> String {
        self.shared.lock().unwrap().daemon.url.clone()
    }

    /// Every task that the job has or had.
    fn tasks(&self, job: &str) -> Vec<wire::WireTask> {
        let tasks = wire::tasks(&self.url()).unwrap();
        tasks.into_iter().filter(|task| task.job == job).collect()
    }

    /// A launch may be lost with its daemon; then another task takes the place of the one that ended.
    fn active(&self, job: &str) -> usize {
        self.tasks(job).iter().filter(|task| task.is_active()).count()
    }

    /// How many runs of a cron job were recorded.
    fn runs(&self, job: &str) -> usize {
        let url = format!("{}/api/v1/explain?job={}/devel/{job}", self.url(), login());
        let (status, body) = support::http("GET", &url, &[], b"");
        assert_eq!(status, 200, "{body}");
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        json["cron"]["runs"].as_array().expect("runs").len()
    }

    fn wait_for_running(&self, job: &str, count: usize) {
        wait_for("running tasks", Duration::from_secs(60), || {
            (self.tasks(job).iter().filter(|task| task.status == 2).count() == count).then_some(())
        });
    }

    fn seen(&self, method: &str) -> usize {
        self.shared.lock().unwrap().seen.get(method).copied().unwrap_or(0)
    }
}

fn job_file(directory: &Path, name: &str, cmdline: &str, more: &str) -> String {
    let path = directory.join(format!("{name}.aurora"));
    let text = format!(
        "work = Process(name = 'work', cmdline = '{cmdline}')\n\
         task = SequentialTask(processes = [work], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))\n\
         jobs = [Job(cluster = 'lossy', role = '{role}', environment = 'devel', name = '{name}', task = task, {more})]\n",
        role = login()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn every_change_is_made_once(line: Line) {
    let house = House::new(line);
    let directory = house.directory.path();
    let key = |name: &str| format!("lossy/{}/devel/{name}", login());
    let web = job_file(directory, "web", "sleep 1000", "service = True");
    let web_key = key("web");

    house.aurora(&["job", "create", &web_key, &web]).expect_code(0);
    assert_eq!((house.seen("createJob"), house.active("web")), (2, 1));
    house.aurora(&["job", "add", &format!("{web_key}/0"), "2"]).expect_code(0);
    assert_eq!((house.seen("addInstances"), house.active("web")), (2, 3));
    house.wait_for_running("web", 3);

    house.aurora(&["job", "restart", &format!("{web_key}/1"), "--watch-secs", "1"]).expect_code(0);
    house.wait_for_running("web", 3);
    let restarted = |task: &&wire::WireTask| task.events.iter().any(|(_, text)| text.starts_with("Restarted by"));
    assert_eq!((house.seen("restartShards"), house.tasks("web").iter().filter(restarted).count()), (2, 1));

    let slow = "service = True, instances = 3, update_config = UpdateConfig(watch_secs = 600)";
    let changed = job_file(directory, "web", "sleep 2000", slow);
    house.aurora(&["update", "start", &web_key, &changed]).expect_code(0);
    let list = || house.aurora(&["update", "list", &web_key]).expect_code(0).stdout;
    assert_eq!((house.seen("startJobUpdate"), list().lines().filter(|line| line.contains(&web_key)).count()), (2, 1));
    house.aurora(&["update", "abort", &web_key]).expect_code(0);
    assert_eq!((house.seen("abortJobUpdate"), list().contains("ABORTED")), (2, true), "{}", list());

    // Each run that is asked for would end the one before.
    let tick = "cron_schedule = \"0 0 29 2 *\", cron_collision_policy = \"KILL_EXISTING\"";
    let cron = job_file(directory, "tick", "sleep 1000", tick);
    house.aurora(&["cron", "schedule", &key("tick"), &cron]).expect_code(0);
    house.aurora(&["cron", "start", &key("tick")]).expect_code(0);
    house.wait_for_running("tick", 1);
    assert_eq!((house.seen("scheduleCronJob"), house.seen("startCronJob"), house.runs("tick")), (2, 2, 1));

    house.aurora(&["job", "killall", "--no-batching", &web_key]).expect_code(0);
    assert_eq!(house.seen("killTasks"), 2);
    assert!(house.tasks("web").iter().all(|task| !task.is_active()));
}

#[test]
fn a_change_whose_answer_is_lost_is_made_once() {
    every_change_is_made_once(Line::Lossy);
}

#[test]
fn a_change_whose_answer_is_lost_with_its_daemon_is_made_once() {
    every_change_is_made_once(Line::Deadly);
}

#[test]
fn it_is_the_key_by_which_a_repetition_is_known() {
    let house = House::new(Line::Keyless);
    let key = format!("lossy/{}/devel/web", login());
    let file = job_file(house.directory.path(), "web", "sleep 1000", "service = True");
    let done = house.aurora(&["job", "create", &key, &file]).expect_code(4);
    assert!(done.stderr.contains("already exists"), "{}", done.stderr);
    house.aurora(&["job", "add", &format!("{key}/0"), "2"]).expect_code(0);
    assert_eq!((house.seen("addInstances"), house.active("web")), (2, 5));
}
