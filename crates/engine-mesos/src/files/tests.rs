//! Files through an agent of a few lines: it serves a directory by the names Mesos gives it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use checkpoint::layout::{OutputStream, RunDirectory};
use checkpoint::record::{ProcessRecord, ProcessState};
use checkpoint::stream::Writer;
use engine::files::FilesError;
use mesos::v1;
use model::JobKey;
use model::executor::{ThermosSettings, parse_custom, thermos};
use serde_json::json;

use super::*;
use authority::{Authority, server_config};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

#[path = "../../tests/common/authority.rs"]
mod authority;

/// An agent whose `/frameworks/…/latest` of any executor is `root`. Ends with the test's process.
fn agent(root: PathBuf, tls: Option<Arc<ServerConfig>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            match &tls {
                Some(config) => {
                    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                    serve(&root, StreamOwned::new(connection, stream));
                }
                None => serve(&root, stream),
            }
        }
    });
    port
}

fn serve(root: &Path, stream: impl Read + Write) {
    let mut stream = BufReader::new(stream);
    let mut lines = stream.by_ref().lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let target = first.split(' ').nth(1).unwrap_or_default();
    let (status, body) = answer(root, target);
    let stream = stream.get_mut();
    let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(&body).and_then(|()| stream.flush());
}

fn answer(root: &Path, target: &str) -> (u16, Vec<u8>) {
    let (endpoint, query) = target.split_once('?').unwrap_or((target, ""));
    let parameter = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        found.map(|value| value.replace("%2F", "/").replace("%20", " ").replace('+', " "))
    };
    if endpoint == "/containers" {
        let statistics = json!({"cpus_user_time_secs": 1.5, "cpus_system_time_secs": 0.5, "mem_rss_bytes": 4096});
        return (200, json!([{"executor_id": "thermos-t1", "statistics": statistics}]).to_string().into_bytes());
    }
    let Some(path) = parameter("path") else { return (400, b"no path".to_vec()) };
    let Some((_, inner)) = path.split_once("/runs/latest") else { return (404, Vec::new()) };
    let file = root.join(inner.trim_start_matches('/'));
    match endpoint {
        "/files/browse" => match fs::read_dir(&file) {
            Ok(entries) => {
                let list = entries.map(|entry| {
                    let entry = entry.unwrap();
                    let metadata = entry.metadata().unwrap();
                    let mode = if metadata.is_dir() { "drwxr-xr-x" } else { "-rw-r-----" };
                    let name = entry.file_name().into_string().unwrap();
                    json!({"path": format!("{path}/{name}"), "mode": mode, "size": metadata.len(), "mtime": 5.5, "uid": "www"})
                });
                (200, json!(list.collect::<Vec<_>>()).to_string().into_bytes())
            }
            Err(_) => (404, Vec::new()),
        },
        "/files/download" => fs::read(&file).map_or((404, Vec::new()), |bytes| (200, bytes)),
        "/files/read" => {
            let Ok(bytes) = fs::read(&file) else { return (404, Vec::new()) };
            let offset: i64 = parameter("offset").unwrap().parse().unwrap();
            let Ok(offset) = usize::try_from(offset) else {
                return (200, json!({"offset": bytes.len(), "data": ""}).to_string().into_bytes());
            };
            let length = parameter("length").map_or(65536, |length| length.parse().unwrap()).min(65536);
            let piece: Vec<u8> = bytes.iter().copied().skip(offset).take(length).collect();
            // As agents do it: bytes that are no text are put into the answer as they are.
            let text = unsafe_text(&piece);
            (200, [format!("{{\"offset\":{offset},\"data\":\"").into_bytes(), text, b"\"}".to_vec()].concat())
        }
        _ => (404, Vec::new()),
    }
}

fn unsafe_text(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| if *byte == b'\n' { b"\\n".to_vec() } else { vec![*byte] }).collect()
}

struct Cluster {
    run: RunDirectory,
    files: MesosFiles,
    _folder: tempfile::TempDir,
}

fn cluster(executor: &'static str) -> Cluster {
    cluster_over(executor, Tls::default(), None)
}

/// With what the scheduler trusts and shows, and an agent that speaks TLS, if it does.
fn cluster_over(executor: &'static str, tls: Tls, server: Option<Arc<ServerConfig>>) -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDirectory::new(folder.path().join("run"));
    fs::create_dir_all(run.root()).unwrap();
    let settings = ThermosSettings { path: "/opt/executor".into(), ..ThermosSettings::default() };
    let custom = r#"[{"executor": {"name": "x", "command": {"value": "run"}}, "task_prefix": "x-"}]"#;
    let executors = [vec![thermos(&settings).unwrap()], parse_custom(custom).unwrap()].concat();
    let directory = Arc::new(Directory::new(&executors));
    directory.set_framework_id("F");
    directory.learn(&[v1::Offer {
        agent_id: "S1".into(),
        hostname: "localhost".into(),
        url: Some(v1::Url {
            scheme: if server.is_some() { "https" } else { "http" }.into(),
            address: v1::Address {
                hostname: None,
                ip: Some("127.0.0.1".into()),
                port: i32::from(agent(run.root().to_owned(), server)),
            },
            ..Default::default()
        }),
        ..Default::default()
    }]);
    let locate: Locate = Arc::new(move |task| {
        let mut config = TaskConfig::new(JobKey::new("www", "prod", "hello"), 1.0, 1, 1, "");
        config.executor_config.as_mut().unwrap().name = executor.into();
        let placed = Placed { agent_id: "S1".into(), host: "h1".into(), config: Arc::new(config) };
        (task.as_str() == "t1").then_some(placed)
    });
    Cluster { run, files: MesosFiles::new(directory, locate, &tls, None).unwrap(), _folder: folder }
}

fn task() -> TaskId {
    TaskId("t1".into())
}

#[test]
fn a_task_of_ours_is_shown_with_its_processes_and_what_it_uses() {
    let cluster = cluster("AuroraExecutor");
    let mut writer = Writer::create(&cluster.run.checkpoint()).unwrap();
    writer.push(Header {
        task_id: "t1".into(),
        user: "www".into(),
        sandbox: "/mnt/s".into(),
        task_json: br#"{"processes": [{"name": "p", "cmdline": "true"}]}"#.into(),
        ..Header::default()
    });
    writer.push(ProcessRecord { process: "p".into(), state: ProcessState::Running.into(), ..ProcessRecord::default() });
    writer.commit().unwrap();
    let info = cluster.files.task(&task()).unwrap();
    assert_eq!((info.user.as_deref(), info.sandbox.as_str()), (Some("www"), "/mnt/s"));
    assert_eq!((info.processes[0].name.as_str(), info.processes[0].runs.len()), ("p", 1));
    assert_eq!((info.usage.ram_bytes, info.usage.cpu_cores), (Some(4096), None));
    assert!(matches!(cluster.files.task(&TaskId("other".into())), Err(FilesError::NotFound(_))));
}

#[test]
fn a_task_of_the_original_executor_is_shown_too() {
    let cluster = cluster("AuroraExecutor");
    let root = cluster.run.root().join("checkpoints");
    fs::create_dir_all(root.join("checkpoints/t1")).unwrap();
    fs::create_dir_all(root.join("tasks/finished")).unwrap();
    fs::write(root.join("tasks/finished/t1"), r#"{"processes": [{"name": "old", "cmdline": "true"}]}"#).unwrap();
    let header = thrift::thermos::RunnerCheckpoint {
        runner_header: Some(thrift::thermos::RunnerHeader {
            task_id: "t1".into(),
            user: Some("u".into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let payload = thrift::encode_value(thrift::Protocol::Binary, &header);
    let frame = [u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec(), payload].concat();
    fs::write(root.join("checkpoints/t1/runner"), frame).unwrap();
    let info = cluster.files.task(&task()).unwrap();
    assert_eq!((info.user.as_deref(), info.processes[0].name.as_str()), (Some("u"), "old"));
}

#[test]
fn logs_are_read_in_ranges_from_either_end_text_or_not() {
    let cluster = cluster("AuroraExecutor");
    let log = cluster.run.log("p", 0, OutputStream::Stdout);
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    fs::write(&log, &text).unwrap();
    let read = |offset, limit| cluster.files.log(&task(), "p", 0, Stream::Stdout, offset, limit).unwrap();
    let all = read(0, 1 << 20);
    assert_eq!((all.data.len(), all.size_bytes), (text.len(), text.len() as u64), "more than one answer of the agent");
    assert_eq!(all.data, text.as_bytes());
    assert_eq!(read(-5, 3).data, text.as_bytes()[text.len() - 5..text.len() - 2].to_vec());
    assert_eq!(read(1 << 30, 3).data, b"");
    let binary: Vec<u8> = (0..=255).collect();
    fs::write(&log, &binary).unwrap();
    assert_eq!(read(100, 100).data, binary[100..200].to_vec(), "byte for byte");
    let missing = cluster.files.log(&task(), "p", 7, Stream::Stderr, 0, 1).unwrap_err();
    assert!(matches!(missing, FilesError::NotFound(_)), "{missing}");
    assert!(cluster.files.log(&task(), "../p", 0, Stream::Stdout, 0, 1).is_err());
}

#[test]
fn sandboxes_are_browsed_and_not_left() {
    let cluster = cluster("AuroraExecutor");
    fs::create_dir_all(cluster.run.sandbox().join("data")).unwrap();
    fs::write(cluster.run.sandbox().join("file"), "hello").unwrap();
    let entries = cluster.files.list(&task(), "").unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind, entry.mode)).collect();
    assert_eq!(seen, [("data", 'd', 0o755), ("file", 'f', 0o640)]);
    assert_eq!(cluster.files.read(&task(), "file", 1, 3).unwrap().data, b"ell");
    for bad in ["../checkpoint", "a/../../x"] {
        assert!(matches!(cluster.files.read(&task(), bad, 0, 1), Err(FilesError::Refused(..))), "{bad}");
        assert!(matches!(cluster.files.list(&task(), bad), Err(FilesError::Refused(..))), "{bad}");
    }
    assert!(matches!(cluster.files.list(&task(), "nothing"), Err(FilesError::NotFound(_))));
}

#[test]
fn other_executors_show_their_own_output_and_the_whole_run_directory() {
    let cluster = cluster("x");
    fs::write(cluster.run.root().join("stdout"), "from the executor").unwrap();
    let info = cluster.files.task(&task()).unwrap();
    assert_eq!((info.processes.len(), info.processes[0].name.as_str()), (1, "x"));
    assert_eq!(cluster.files.log(&task(), "x", 0, Stream::Stdout, 0, 100).unwrap().data, b"from the executor");
    assert_eq!(cluster.files.list(&task(), "").unwrap()[0].name, "stdout");
}

#[test]
fn an_agent_that_is_away_is_named() {
    let directory = Arc::new(Directory::new(&[]));
    directory.set_framework_id("F");
    let locate: Locate = Arc::new(|_| {
        let mut config = TaskConfig::new(JobKey::new("www", "prod", "hello"), 1.0, 1, 1, "");
        config.executor_config = None;
        Some(Placed { agent_id: "S9".into(), host: "127.0.0.1".into(), config: Arc::new(config) })
    });
    let files = MesosFiles::new(directory, locate, &Tls::default(), None).unwrap();
    let error = files.read(&task(), "x", 0, 1).unwrap_err();
    let FilesError::Io(_, cause) = &error else { panic!("{error}") };
    assert!(cause.to_string().contains("127.0.0.1:5051"), "{cause}");
}

#[test]
fn agents_that_speak_tls_are_trusted_by_the_operators_authority_and_shown_our_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let trusting = |ca: &Authority, certificate| Tls { enabled: true, ca_file: Some(ca.ca()), certificate };
    let server = || Some(server_config(&authority, "localhost"));
    let own = || Some(authority.certify("scheduler"));
    let cluster = cluster_over("x", trusting(&authority, own()), server());
    fs::write(cluster.run.root().join("out.txt"), "hello").unwrap();
    assert_eq!(cluster.files.read(&task(), "out.txt", 0, 100).unwrap().data, b"hello");
    // An agent that wants our certificate and gets none, and one of another authority.
    for tls in [trusting(&authority, None), trusting(&other, own())] {
        let cluster = cluster_over("x", tls, server());
        fs::write(cluster.run.root().join("out.txt"), "hello").unwrap();
        let error = cluster.files.read(&task(), "out.txt", 0, 100).unwrap_err();
        assert!(matches!(error, FilesError::Io(..)), "{error:?}");
    }
    let missing = Tls { enabled: true, ca_file: Some("/nonexistent/ca.pem".into()), certificate: None };
    let locate: Locate = Arc::new(|_| None);
    let refused = MesosFiles::new(Arc::new(Directory::new(&[])), locate, &missing, None).err().unwrap();
    assert!(refused.to_string().contains("/nonexistent/ca.pem"), "{refused}");
}
