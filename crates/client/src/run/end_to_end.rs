//! `daybreak run` against a daemon that is a script and a scheduler that is a thread: real processes, real sockets, the whole way from the
//! private cluster's directory to its removal.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thrift::{
    Call, GetPendingReasonResult, Limits, PendingReason, Protocol, Response, ResponseCode, ResponseResult,
    ScheduleStatus as S, ScheduledTask, decode_call, encode_reply,
};

use super::*;
use crate::testing::{Buffer, hello_file_as, ok, refused, task_of, with_result, with_tasks};

/// A scheduler that plays a script: what the tasks look like at the n-th look, and what their logs hold.
struct Stage {
    looks: AtomicUsize,
    tasks: Box<dyn Fn(usize) -> Vec<ScheduledTask> + Send + Sync>,
    files: BTreeMap<&'static str, &'static str>,
    creation: Response,
    killed: AtomicUsize,
    seen: Mutex<Vec<&'static str>>,
}

impl Stage {
    fn new(tasks: impl Fn(usize) -> Vec<ScheduledTask> + Send + Sync + 'static) -> Self {
        Self {
            looks: AtomicUsize::new(0),
            tasks: Box::new(tasks),
            files: BTreeMap::new(),
            creation: ok(),
            killed: AtomicUsize::new(0),
            seen: Mutex::default(),
        }
    }

    fn with_files(mut self, files: &[(&'static str, &'static str)]) -> Self {
        self.files = files.iter().copied().collect();
        self
    }

    fn answer(&self, call: &Call) -> Response {
        self.seen.lock().unwrap().push(call.method().name());
        match call {
            Call::CreateJob(_) => self.creation.clone(),
            Call::GetTasksWithoutConfigs(_) => {
                let look = self.looks.fetch_add(1, Ordering::SeqCst);
                let mut tasks = (self.tasks)(look);
                if self.killed.load(Ordering::SeqCst) > 0 {
                    for task in &mut tasks {
                        task.status = Some(S::Killed);
                        task.task_events.push(thrift::TaskEvent {
                            timestamp: i64::MAX / 2,
                            status: Some(S::Killed),
                            message: Some("Killed by UNSECURE".into()),
                            scheduler: None,
                        });
                    }
                }
                with_tasks(tasks)
            }
            Call::KillTasks(_) => {
                self.killed.fetch_add(1, Ordering::SeqCst);
                ok()
            }
            Call::GetPendingReason(_) => {
                let reason = PendingReason { task_id: "t0".into(), reason: "Constraint not satisfied: rack".into() };
                let reasons = [reason].into_iter().collect();
                with_result(ResponseResult::GetPendingReason(GetPendingReasonResult { reasons }))
            }
            _ => ok(),
        }
    }

    fn serve(self: &Arc<Self>, mut stream: TcpStream) {
        while let Some((line, body)) = read_request(&mut stream) {
            let mut words = line.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let (status, answer) = if method == "POST" {
                let message = decode_call(Protocol::Json, &body, Limits::REQUEST).unwrap();
                let reply = self.answer(&message.call);
                (200, encode_reply(Protocol::Json, message.call.method(), message.sequence_id, &reply))
            } else {
                self.file(path)
            };
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", answer.len());
            let size = self.files.get(path.split('?').next().unwrap()).map_or(0, |text| text.len());
            let head = format!("{head}X-Size-Bytes: {size}\r\nX-Identity: 1\r\n\r\n");
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&answer)).is_err() {
                return;
            }
        }
    }

    fn file(&self, path: &str) -> (u16, Vec<u8>) {
        let (name, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(text) = self.files.get(name) else { return (404, b"no such file".to_vec()) };
        let offset =
            query.split('&').find_map(|pair| pair.strip_prefix("offset=")).map_or(0, |n| n.parse::<i64>().unwrap());
        let start =
            if offset < 0 { text.len().saturating_sub(offset.unsigned_abs() as usize) } else { offset as usize };
        (200, text.as_bytes()[start.min(text.len())..].to_vec())
    }
}

fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ").map(|n| n.parse::<usize>().unwrap())
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head.lines().next()?.to_owned(), body))
}

/// What a run did.
struct Ran {
    outcome: Outcome,
    out: String,
    err: String,
    stage: Arc<Stage>,
    /// The private cluster's state directory, as the daemon was told.
    state_directory: PathBuf,
    /// Whether the daemon's process is gone.
    is_daemon_gone: bool,
}

/// Runs the hello job of `instances` instances on that stage; `interrupt_after` presses Ctrl-C.
fn run_on(stage: Stage, instances: i32, interrupt_after: Option<Duration>) -> Ran {
    let stage = Arc::new(stage);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = stage.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let stage = serving.clone();
            std::thread::spawn(move || stage.serve(stream));
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let program = fake_daemon(directory.path(), &url);
    let job = hello_file_as(|job| {
        job.instance_count = instances;
        job.task.is_service = false;
    });
    let interrupts = Interrupts::default();
    if let Some(delay) = interrupt_after {
        let interrupts = interrupts.clone();
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            interrupts.0.fetch_add(1, Ordering::SeqCst);
        });
    }
    let (out, err) = (Buffer::default(), Buffer::default());
    let mut console = Console::to(Box::new(out.clone()), Box::new(err.clone()));
    let outcome = run_privately(&job.job.unwrap(), &program, &RealWorld::new(), interrupts, &mut console);
    let note = std::fs::read_to_string(directory.path().join("note")).unwrap();
    let (pid, state_directory) = note.trim().split_once(' ').unwrap();
    let is_daemon_gone = !Path::new("/proc").join(pid).exists();
    let state_directory = PathBuf::from(state_directory);
    Ran { outcome, out: out.text(), err: err.text(), stage, state_directory, is_daemon_gone }
}

/// A daemon that says where the stage is, and lives until its standard input ends.
fn fake_daemon(directory: &Path, url: &str) -> PathBuf {
    let path = directory.join("fake-daybreak");
    let note = directory.join("note");
    let script = format!(
        "#!/bin/sh\nmkdir -p \"$3\"\necho $$ $3 > {}\n\
         echo '{{\"url\": \"{url}\", \"pid\": '$$', \"version\": \"0\", \"notice\": \"No cgroup rights: limits are not enforced.\"}}' > $3/new\n\
         mv $3/new $3/endpoint.json\ncat > /dev/null\n",
        note.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn task(instance: i32, events: &[(i64, S, Option<&str>)]) -> ScheduledTask {
    task_of(&crate::testing::hello_key().job, instance, &format!("t{instance}"), events)
}

const ONE_PROCESS: &str =
    r#"{"processes": [{"name": "hello", "runs": [{"run": 0, "state": "SUCCESS", "returnCode": 0}]}]}"#;
const ONE_FAILURE: &str =
    r#"{"processes": [{"name": "hello", "runs": [{"run": 0, "state": "FAILED", "returnCode": 3}]}]}"#;

/// Runs well and ends: pending, running, finished.
fn good(look: usize) -> Vec<ScheduledTask> {
    let events =
        [(1000, S::Pending, None), (1010, S::Assigned, None), (1030, S::Running, None), (1050, S::Finished, None)];
    vec![task(0, &events[..(look + 1).min(4)])]
}

#[test]
fn a_good_run_shows_steps_on_stderr_and_output_on_stdout_and_leaves_nothing() {
    let stage = Stage::new(good).with_files(&[
        ("/files/t0", ONE_PROCESS),
        ("/files/t0/hello/0/stdout", "Hello from Daybreak, instance 0\nno newline at the end"),
        ("/files/t0/hello/0/stderr", "a warning\n"),
    ]);
    let ran = run_on(stage, 1, None);
    assert_eq!(ran.outcome, Ok(()), "{}", ran.err);
    assert_eq!(ran.out, "hello_world/0 | Hello from Daybreak, instance 0\nhello_world/0 | no newline at the end\n");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines[0], "No cluster named; starting one for this run (removed at exit)");
    assert!(lines[1].starts_with("Tasks run as "), "{}", ran.err);
    assert!(lines[1].ends_with(" No cgroup rights: limits are not enforced."), "{}", ran.err);
    assert!(lines[2].starts_with("Page: http://127.0.0.1:"), "{}", ran.err);
    assert!(lines[2].ends_with("/scheduler/www-data/devel/hello_world"), "{}", ran.err);
    let steps: String = lines[3..].join("\n");
    assert!(steps.contains("  0.01s hello_world/0 PENDING -> ASSIGNED this machine ("), "{steps}");
    assert!(steps.contains("hello_world/0 | a warning"), "{steps}");
    assert!(steps.contains("\n  0.05s hello_world/0 FINISHED (exit 0)\n1 of 1 finished."), "{steps}");
    assert!(!ran.state_directory.parent().unwrap().exists(), "the private cluster's directory is gone");
    assert!(ran.is_daemon_gone);
}

/// More lines than stay in sight.
const LONG_STDERR: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\nNameError: name 'xrang' is not defined\n";

#[test]
fn a_failed_run_exits_with_1_and_shows_the_end_of_its_stderr() {
    let failed = |_| {
        vec![task(0, &[(1000, S::Pending, None), (1010, S::Assigned, None), (1050, S::Failed, Some("Task failed."))])]
    };
    let stage = Stage::new(failed).with_files(&[("/files/t0", ONE_FAILURE), ("/files/t0/hello/0/stderr", LONG_STDERR)]);
    let ran = run_on(stage, 1, None);
    assert_eq!(ran.outcome.unwrap_err().exit, Exit::Failed);
    assert_eq!(ran.out, "");
    assert!(ran.err.contains("  0.05s hello_world/0 FAILED (exit 3)\n"), "{}", ran.err);
    let heading = "hello_world/0: process 'hello' exited with 3; the last lines of its stderr:\n    3\n";
    assert!(ran.err.contains(heading), "{}", ran.err);
    let end = "    NameError: name 'xrang' is not defined\n0 of 1 finished, 1 failed.\n";
    assert!(ran.err.ends_with(end), "{}", ran.err);
}

#[test]
fn only_the_newest_task_of_each_instance_decides() {
    let retried = |_| {
        vec![
            task_of(&crate::testing::hello_key().job, 0, "first", &[(1000, S::Pending, None), (1050, S::Failed, None)]),
            task_of(
                &crate::testing::hello_key().job,
                0,
                "second",
                &[(1050, S::Pending, None), (1100, S::Finished, None)],
            ),
        ]
    };
    let ran = run_on(Stage::new(retried), 1, None);
    assert_eq!(ran.outcome, Ok(()), "{}", ran.err);
    assert!(ran.err.contains("0.05s hello_world/0 FAILED") && ran.err.contains("1 of 1 finished."), "{}", ran.err);
}

#[test]
fn a_refused_job_is_a_bad_file() {
    let stage = Stage {
        creation: refused(ResponseCode::InvalidRequest, "Environment production is not allowed"),
        ..Stage::new(|_| Vec::new())
    };
    let ran = run_on(stage, 1, None);
    let failure = ran.outcome.unwrap_err();
    assert_eq!(failure.exit, Exit::InvalidConfiguration);
    assert_eq!(failure.text, "The scheduler refuses the job:\n\tEnvironment production is not allowed");
    assert!(!ran.state_directory.parent().unwrap().exists() && ran.is_daemon_gone);
}

#[test]
fn an_interrupt_kills_the_job_and_exits_with_130() {
    let running = |_| vec![task(0, &[(1000, S::Pending, None), (1010, S::Assigned, None), (1030, S::Running, None)])];
    let ran = run_on(Stage::new(running), 1, Some(Duration::from_millis(300)));
    assert_eq!(ran.outcome.unwrap_err().exit, Exit::Interrupted);
    assert!(ran.err.contains("Interrupted: killing www-data/devel/hello_world"), "{}", ran.err);
    assert!(ran.err.contains("hello_world/0 KILLED: Killed by UNSECURE"), "{}", ran.err);
    assert_eq!(ran.stage.killed.load(Ordering::SeqCst), 1);
    assert!(!ran.state_directory.parent().unwrap().exists() && ran.is_daemon_gone);
}

#[test]
fn pending_beyond_two_seconds_says_why() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let pending = move |_| vec![task(0, &[(now, S::Pending, None)])];
    let ran = run_on(Stage::new(pending), 1, Some(Duration::from_millis(3000)));
    assert!(ran.err.contains("s hello_world/0 PENDING: Constraint not satisfied: rack\n"), "{}", ran.err);
    assert_eq!(ran.err.matches("PENDING: Constraint").count(), 1, "said once");
    assert!(ran.stage.seen.lock().unwrap().contains(&"getPendingReason"));
}
