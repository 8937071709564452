//! `thermos` over a disk as an engine leaves it.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::rc::Rc;

use checkpoint::layout::{EngineDirectory, OutputStream, RunDirectory};
use checkpoint::record::{Header, ProcessRecord, ProcessState, TaskRecord, TaskState};
use checkpoint::stream::Writer;
use clap::Parser;

use clap::CommandFactory as _;

use super::*;

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn add(&self, id: &str, end: Option<TaskState>) -> RunDirectory {
        let run = EngineDirectory::new(self.folder.path().join("local")).run("a", id);
        fs::create_dir_all(run.process_logs("p", 0)).unwrap();
        fs::write(run.log("p", 0, OutputStream::Stdout), format!("{id} says hello\n")).unwrap();
        let mut writer = Writer::create(&run.checkpoint()).unwrap();
        writer.push(Header {
            task_id: id.into(),
            user: "nobody".into(),
            launch_time_ms: 1_000,
            ports: [("http".to_owned(), 80)].into(),
            task_json:
                br#"{"name": "t", "processes": [{"name": "p", "cmdline": "true"}, {"name": "q", "cmdline": "true"}]}"#
                    .into(),
            ..Header::default()
        });
        writer.push(TaskRecord { state: TaskState::Active.into(), timestamp_ms: 1_000, decider_pid: 0 });
        writer.push(ProcessRecord {
            process: "p".into(),
            state: ProcessState::Success.into(),
            return_code: Some(0),
            ..ProcessRecord::default()
        });
        if let Some(end) = end {
            writer.push(TaskRecord { state: end.into(), timestamp_ms: 2_000, decider_pid: 0 });
        }
        writer.commit().unwrap();
        run
    }

    /// What is printed, and how it ends.
    fn thermos(&self, words: &[&str]) -> (Outcome, String) {
        let state_dir = self.folder.path().to_str().unwrap();
        let all = ["thermos", "--root", "/nonexistent", "--mesos-root", "/nonexistent", "--state-dir", state_dir];
        let parsed = Thermos::try_parse_from(all.iter().chain(words)).unwrap();
        let out = Shared::default();
        let mut console = Console::to(Box::new(out.clone()), Box::new(std::io::sink()));
        let outcome = run_verb(&parsed.verb, &parsed.roots, &mut console);
        let text = String::from_utf8(out.0.borrow().clone()).unwrap();
        (outcome, text)
    }
}

#[test]
fn the_grammar_is_sound() {
    Thermos::command().debug_assert();
}

#[test]
fn tasks_are_listed_as_asked() {
    let machine = Machine::new();
    machine.add("www-prod-web-0", None);
    machine.add("www-prod-old-0", Some(TaskState::Failed));
    let (outcome, text) = machine.thermos(&["status"]);
    assert_eq!(outcome, Ok(()));
    assert!(text.contains("Active tasks:\n  www-prod-web-0"), "{text}");
    assert!(text.contains("Finished tasks:\n  www-prod-old-0") && text.contains("[owner: nobody]"), "{text}");
    assert!(!text.contains("sandbox:"), "{text}");
    let (_, text) = machine.thermos(&["status", "--only", "finished", "--verbosity", "3"]);
    assert!(!text.contains("web") && text.contains("state: FAILED") && text.contains("http => 80"), "{text}");
    assert!(text.contains("q") && text.contains("[not started]") && text.contains("exit: 0"), "{text}");
    let (_, text) = machine.thermos(&["status", "www-.*-w"]);
    assert!(text.contains("web") && !text.contains("old"), "{text}");
    let (outcome, _) = machine.thermos(&["status", "prod"]);
    assert_eq!(outcome, Err(Failure::new(Exit::Failed, "No tasks found.")), "ids match from their start");
    let (outcome, _) = machine.thermos(&["status", "("]);
    assert_eq!(outcome.unwrap_err().exit, Exit::InvalidParameter);
}

#[test]
fn a_log_is_shown_to_its_end_when_the_task_is_over() {
    let machine = Machine::new();
    machine.add("old", Some(TaskState::Success));
    let (outcome, text) = machine.thermos(&["tail", "old", "p"]);
    assert_eq!((outcome, text), (Ok(()), "old says hello\n".into()));
    let (outcome, _) = machine.thermos(&["tail", "old"]);
    assert!(outcome.unwrap_err().text.contains("name one of p, q"));
    let (outcome, _) = machine.thermos(&["tail", "old", "q"]);
    assert!(outcome.unwrap_err().text.contains("has not started"));
    let (outcome, _) = machine.thermos(&["tail", "nobody"]);
    assert!(outcome.unwrap_err().text.contains("thermos status"));
}

#[test]
fn checkpoints_are_read_as_a_whole_and_record_by_record() {
    let machine = Machine::new();
    let run = machine.add("old", Some(TaskState::Killed));
    let checkpoint = run.checkpoint();
    let path = checkpoint.to_str().unwrap();
    let (_, text) = machine.thermos(&["read", path]);
    for part in ["id:       old", "http => 80", "KILLED at", "p   runs: 1", "SUCCESS"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_, text) = machine.thermos(&["read", "--simple", path]);
    assert_eq!(text.lines().count(), 4, "{text}");
    fs::write(&checkpoint, b"\xff\xff\xff\xff").unwrap();
    let (outcome, _) = machine.thermos(&["read", path]);
    assert!(outcome.unwrap_err().text.contains("byte 0"));
}

#[test]
fn nothing_is_killed_that_is_not_surely_the_runner() {
    let machine = Machine::new();
    let (outcome, text) = machine.thermos(&["kill", "x"]);
    assert_eq!((outcome, text), (Ok(()), "No active tasks matched.\n".into()));
    let run = machine.add("live", None);
    let (outcome, _) = machine.thermos(&["kill", "live"]);
    assert!(outcome.unwrap_err().text.contains("its runner is not known"));
    // This test process is alive, but began at another time than the supervisor that is recorded.
    fs::remove_file(run.checkpoint()).unwrap();
    let mut writer = Writer::create(&run.checkpoint()).unwrap();
    writer.push(Header {
        task_id: "live".into(),
        supervisor_pid: i32::try_from(std::process::id()).unwrap(),
        supervisor_start_ticks: 1,
        ..Header::default()
    });
    writer.commit().unwrap();
    let (outcome, _) = machine.thermos(&["kill", "live"]);
    assert!(outcome.unwrap_err().text.contains("is gone"));
}

#[cfg(feature = "evaluator")]
#[test]
fn a_file_is_inspected_with_what_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.json");
    let task = r#"{"name": "t", "processes": [{"name": "p", "cmdline": "serve {{thermos.ports[http]}} {{thermos.ports[admin]}} {{greeting}}"}]}"#;
    fs::write(&path, task).unwrap();
    let machine = Machine::new();
    let path = path.to_str().unwrap();
    let (outcome, text) = machine.thermos(&["inspect", path, "-P", "http:80", "-E", "greeting=hi"]);
    assert_eq!(outcome, Ok(()));
    assert!(text.contains("\"cmdline\": \"serve 80 {{thermos.ports[admin]}} hi\""), "{text}");
    assert!(text.contains("\n    \"processes\": [\n        {\n"), "four blanks: {text}");
    let (outcome, _) = machine.thermos(&["inspect", path]);
    let failure = outcome.unwrap_err();
    assert!(failure.exit == Exit::InvalidConfiguration && failure.text.contains("{{greeting}}"), "{failure:?}");
    let (outcome, _) = machine.thermos(&["inspect", path, path]);
    assert_eq!(outcome, Err(Failure::new(Exit::Usage, "Should specify precisely one config")));
    let (outcome, _) = machine.thermos(&["run", path, "-P", "http:80", "-E", "greeting=hi"]);
    let failure = outcome.unwrap_err();
    assert!(failure.text.starts_with("ERROR!  Unbound ports: admin\n"), "{}", failure.text);
    let (outcome, text) = machine.thermos(&["simplerun", "echo {{nothing}}"]);
    assert!(outcome.unwrap_err().text.contains("{{nothing}}") && text.is_empty());
}

#[cfg(feature = "evaluator")]
#[test]
fn ports_and_ids_are_checked_before_anything_is_run() {
    for bad in ["http", ":80", "http:x", "http:70000"] {
        assert!(Thermos::try_parse_from(["thermos", "run", "f", "-P", bad]).is_err(), "{bad}");
    }
    assert!(Thermos::try_parse_from(["thermos", "run", "f", "-E", "novalue"]).is_err());
    let machine = Machine::new();
    for bad in ["a/b", ".a", ""] {
        let (outcome, _) = machine.thermos(&["simplerun", "--task_id", bad, "--", "true"]);
        assert!(outcome.unwrap_err().text.contains("cannot be the id of a task"), "{bad:?}");
    }
    let (outcome, _) = machine.thermos(&["simplerun", "--user", "no-such-user", "--", "true"]);
    let text = outcome.unwrap_err().text;
    assert!(text.contains("no user no-such-user") || text.starts_with("Only root"), "{text}");
}

#[test]
fn everything_after_the_command_is_its_own() {
    let parsed = Thermos::try_parse_from(["thermos", "simplerun", "--name", "n", "ls", "-l", "--name", "x"]).unwrap();
    let arguments::Verb::Simplerun(simplerun) = parsed.verb else { panic!("another verb") };
    assert_eq!((simplerun.name.as_str(), simplerun.command.join(" ").as_str()), ("n", "ls -l --name x"));
}
