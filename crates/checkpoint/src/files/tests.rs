//! Reading tasks from a directory as an engine leaves it (reliability case T45).

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::PathBuf;

use super::*;
use crate::layout::OutputStream;
use crate::record::{ProcessRecord, ProcessState as Recorded};
use crate::stream::Writer;

struct Fixture {
    _folder: tempfile::TempDir,
    files: DiskFiles,
    run: RunDirectory,
    task: TaskId,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = EngineDirectory::new(folder.path());
        fs::create_dir_all(engine.tasks("agent-0")).unwrap();
        let run = engine.run("agent-1", "t1");
        fs::create_dir_all(run.process_logs("web", 0)).unwrap();
        Self { _folder: folder, files: DiskFiles::new(engine), run, task: "t1".into() }
    }

    fn stdout(&self) -> PathBuf {
        self.run.log("web", 0, OutputStream::Stdout)
    }

    fn log(&self, offset: i64, limit_bytes: usize) -> Result<FileRange, FilesError> {
        self.files.log(&self.task, "web", 0, Stream::Stdout, offset, limit_bytes)
    }

    fn tail(&self, lines: usize, limit_bytes: usize) -> FileRange {
        last_lines(&self.files, &self.task, "web", 0, Stream::Stdout, lines, limit_bytes).unwrap()
    }
}

const TASK: &str = r#"{"processes": [
    {"name": "web", "cmdline": "serve {{thermos.ports[http]}} {{mesos.instance}}", "daemon": true},
    {"name": "last", "cmdline": "bye", "final": true, "ephemeral": true}]}"#;

#[test]
fn a_task_is_shown_with_its_processes_in_their_order_and_their_runs() {
    let fixture = Fixture::new();
    let mut writer = Writer::create(&fixture.run.checkpoint()).unwrap();
    writer.push(Header {
        task_id: "t1".into(),
        user: "www".into(),
        hostname: "h".into(),
        ports: [("http".to_owned(), 8080)].into(),
        instance: 4,
        task_json: TASK.into(),
        ..Header::default()
    });
    let record = |sequence, run, state: Recorded| ProcessRecord {
        sequence,
        process: "web".into(),
        run,
        state: state.into(),
        ..ProcessRecord::default()
    };
    writer.push(ProcessRecord { start_time_ms: Some(5), pid: Some(77), ..record(0, 0, Recorded::Running) });
    writer.push(ProcessRecord { stop_time_ms: Some(9), return_code: Some(-9), ..record(1, 0, Recorded::Killed) });
    writer.push(record(2, 1, Recorded::Waiting));
    writer.push(ProcessRecord { process: "stranger".into(), ..record(0, 0, Recorded::Success) });
    writer.commit().unwrap();

    let info = fixture.files.task(&fixture.task).unwrap();
    assert_eq!(info.user.as_deref(), Some("www"));
    assert_eq!(info.sandbox, fixture.run.sandbox().to_str().unwrap());
    let names: Vec<&str> = info.processes.iter().map(|process| process.name.as_str()).collect();
    assert_eq!(names, ["web", "last", "stranger"]);
    let web = &info.processes[0];
    assert_eq!((web.cmdline.as_str(), &web.flags[..]), ("serve 8080 4", &["daemon"][..]));
    let first = ProcessRun {
        run: 0,
        state: ProcessState::Killed,
        pid: Some(77),
        started_ms: Some(5),
        stopped_ms: Some(9),
        return_code: Some(-9),
    };
    assert_eq!(web.runs.len(), 2);
    assert_eq!((&web.runs[0], web.runs[1].state), (&first, ProcessState::Waiting));
    assert_eq!((&info.processes[1].flags[..], info.processes[1].runs.len()), (&["ephemeral", "final"][..], 0));
    assert_eq!(info.processes[2].runs[0].state, ProcessState::Success);
}

#[test]
fn a_task_that_has_just_begun_has_no_processes_yet_and_a_damaged_one_says_so() {
    let fixture = Fixture::new();
    assert!(fixture.files.task(&fixture.task).unwrap().processes.is_empty());
    fs::write(fixture.run.checkpoint(), "no checkpoint at all").unwrap();
    let error = fixture.files.task(&fixture.task).unwrap_err();
    assert!(matches!(&error, FilesError::Io(what, _) if what == "the checkpoint of task t1"), "{error}");
}

#[test]
fn what_is_not_there_is_not_found() {
    let fixture = Fixture::new();
    for bad in ["t2", "", "..", "../agents", "t1/sandbox"] {
        assert!(matches!(fixture.files.task(&bad.into()), Err(FilesError::NotFound(_))), "{bad:?}");
    }
    let of = |process: &str, run| fixture.files.log(&fixture.task, process, run, Stream::Stderr, 0, 10).unwrap_err();
    for (process, run) in [("web", 0), ("web", 7), ("nobody", 0), ("..", 0), ("web/0", 0)] {
        assert!(matches!(of(process, run), FilesError::NotFound(_)), "{process} {run}");
    }
    let files = DiskFiles::new(EngineDirectory::new("/nonexistent"));
    assert!(matches!(files.task(&fixture.task), Err(FilesError::NotFound(_))));
}

#[test]
fn binary_bytes_come_back_as_they_are() {
    let fixture = Fixture::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    fs::write(fixture.stdout(), &bytes).unwrap();
    assert_eq!(fixture.log(0, usize::MAX).unwrap().data, bytes);
    let range = fixture.log(-5, 3).unwrap();
    assert_eq!((range.offset, &range.data[..]), (99_995, &bytes[99_995..99_998]));
}

#[test]
fn of_a_huge_sparse_line_only_the_piece_asked_for_is_read() {
    let fixture = Fixture::new();
    let huge = 10 << 30;
    let file = File::create(fixture.stdout()).unwrap();
    file.set_len(huge).unwrap();
    file.write_all_at(b"the end", huge - 7).unwrap();
    let range = fixture.log(5 << 30, 100).unwrap();
    assert_eq!((range.offset, range.data.len(), range.size_bytes), (5 << 30, 100, huge));
    assert_eq!(fixture.log(-7, 1000).unwrap().data, b"the end");
    assert_eq!(fixture.log(0, usize::MAX).unwrap().data.len(), READ_BYTES_MAX);
    let range = fixture.tail(10, usize::MAX);
    assert_eq!(range.data.len(), LINES_BYTES_MAX);
    assert!(range.data.ends_with(b"\0the end"));
    assert_eq!(fixture.tail(10, 20).data.len(), 20);
}

#[test]
fn last_lines_are_found_in_files_of_any_size() {
    let fixture = Fixture::new();
    fs::write(fixture.stdout(), "").unwrap();
    assert_eq!(fixture.tail(3, 1 << 20).data, b"");
    let mut text = String::new();
    for line in 0..50_000 {
        text.push_str(&format!("line {line} {}\n", "x".repeat(line % 400)));
    }
    fs::write(fixture.stdout(), &text).unwrap();
    for lines in [0, 1, 2, 17, 1000, 49_999, 50_000, 60_000] {
        let expected: Vec<&str> = text.split_inclusive('\n').collect();
        let expected = expected[expected.len().saturating_sub(lines)..].concat();
        let range = fixture.tail(lines, usize::MAX);
        let cut = &expected[expected.len().saturating_sub(LINES_BYTES_MAX)..];
        assert_eq!(range.data, cut.as_bytes(), "{lines}");
        assert_eq!(range.offset as usize + range.data.len(), text.len());
    }
}

#[test]
fn a_follower_sees_growth_rotation_and_cutting() {
    let fixture = Fixture::new();
    let path = fixture.stdout();
    fs::write(&path, "one\n").unwrap();
    let first = fixture.log(0, 100).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"two\n").unwrap();
    let second = fixture.log(4, 100).unwrap();
    assert_eq!((second.identity, &second.data[..]), (first.identity, &b"two\n"[..]));

    let rotated = fixture.run.process_logs("web", 0).join("stdout.1");
    fs::rename(&path, &rotated).unwrap();
    assert!(matches!(fixture.log(8, 100), Err(FilesError::NotFound(_))), "between the two steps of a rotation");
    fs::write(&path, "three and more\n").unwrap();
    let third = fixture.log(8, 100).unwrap();
    assert_ne!(third.identity, first.identity);
    let old = fixture.files.read(&fixture.task, ".logs/web/0/stdout.1", 0, 100).unwrap();
    assert_eq!((old.identity, &old.data[..]), (first.identity, &b"one\ntwo\n"[..]));

    File::create(&path).unwrap();
    let cut = fixture.log(15, 100).unwrap();
    assert_eq!((cut.identity, cut.offset, cut.size_bytes), (third.identity, 0, 0));
}

#[test]
fn a_new_file_with_the_inode_of_a_deleted_one_is_another_file() {
    let fixture = Fixture::new();
    let mut identities = std::collections::BTreeSet::new();
    for _ in 0..5 {
        fs::write(fixture.stdout(), "text").unwrap();
        assert!(identities.insert(fixture.log(0, 10).unwrap().identity));
        fs::remove_file(fixture.stdout()).unwrap();
        // Times of birth advance with the kernel's tick, at most 10 ms.
        std::thread::sleep(std::time::Duration::from_millis(11));
    }
}

#[test]
fn deleted_directories_are_not_found_at_each_level() {
    let fixture = Fixture::new();
    fs::write(fixture.stdout(), "text").unwrap();
    fs::remove_dir_all(fixture.run.logs()).unwrap();
    assert!(matches!(fixture.log(0, 10), Err(FilesError::NotFound(_))));
    assert_eq!(fixture.files.list(&fixture.task, "").unwrap(), []);
    fs::remove_dir_all(fixture.run.sandbox()).unwrap();
    let error = fixture.files.list(&fixture.task, "").unwrap_err().to_string();
    assert_eq!(error, "the sandbox of task t1 is not there; it may have been collected");
    fs::remove_dir_all(fixture.run.root()).unwrap();
    let error = fixture.log(0, 10).unwrap_err().to_string();
    assert_eq!(error, "task t1 is not there; it may have been collected");
}

#[test]
fn a_log_that_was_made_a_link_or_a_fifo_is_refused_without_waiting() {
    let fixture = Fixture::new();
    symlink("/etc/passwd", fixture.stdout()).unwrap();
    assert!(matches!(fixture.log(0, 10), Err(FilesError::Refused(..))));
    fs::remove_file(fixture.stdout()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, fixture.stdout(), rustix::fs::Mode::RUSR).unwrap();
    assert!(matches!(fixture.log(0, 10), Err(FilesError::Refused(..))));
    fs::remove_dir_all(fixture.run.logs()).unwrap();
    symlink("/var/log", fixture.run.logs()).unwrap();
    assert!(matches!(fixture.log(0, 10), Err(FilesError::Refused(..))));
}

#[test]
fn a_directory_is_listed_by_name_without_following_links() {
    let fixture = Fixture::new();
    let sandbox = fixture.run.sandbox();
    fs::remove_dir_all(fixture.run.logs()).unwrap();
    fs::write(sandbox.join("b"), "12345").unwrap();
    fs::create_dir(sandbox.join("a")).unwrap();
    symlink("/etc/shadow", sandbox.join("c")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, sandbox.join("d"), rustix::fs::Mode::RUSR).unwrap();
    let entries = fixture.files.list(&fixture.task, "").unwrap();
    let shown: Vec<(&str, char)> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
    assert_eq!(shown, [("a", 'd'), ("b", 'f'), ("c", 'l'), ("d", 'o')]);
    assert_eq!((entries[1].size_bytes, entries[2].size_bytes), (5, "/etc/shadow".len() as u64));
    assert!(entries[1].modified_ms > 1_600_000_000_000 && entries[1].mode & 0o600 == 0o600);
    if rustix::process::geteuid().is_root() {
        assert_eq!(entries[1].owner, "root");
    }
    assert_eq!(fixture.files.list(&fixture.task, "a").unwrap(), []);
    assert!(matches!(fixture.files.list(&fixture.task, "b"), Err(FilesError::Refused(..))));
    assert!(matches!(fixture.files.list(&fixture.task, "c"), Err(FilesError::Refused(..))));
    assert!(matches!(fixture.files.list(&fixture.task, "x"), Err(FilesError::NotFound(_))));
}

#[test]
fn a_directory_with_too_many_entries_is_refused_with_a_reason() {
    let fixture = Fixture::new();
    let folder = fixture.run.sandbox().join("many");
    fs::create_dir(&folder).unwrap();
    for number in 0..LIST_ENTRIES_MAX {
        symlink("x", folder.join(number.to_string())).unwrap();
    }
    assert_eq!(fixture.files.list(&fixture.task, "many").unwrap().len(), LIST_ENTRIES_MAX);
    symlink("x", folder.join("one more")).unwrap();
    assert!(matches!(fixture.files.list(&fixture.task, "many"), Err(FilesError::Refused(..))));
}
