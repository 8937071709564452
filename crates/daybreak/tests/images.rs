//! `{{docker.image[NAME][TAG]}}` in a job file, resolved by the client in a registry that is played by the test.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use support::{DAYBREAK, open_directory};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Answers HEAD requests for one image's tag; its address.
fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let line = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let known = line.starts_with("HEAD /v2/team/app/manifests/1.2 ");
            let head = if known {
                format!("HTTP/1.1 200 OK\r\nDocker-Content-Digest: {DIGEST}")
            } else {
                "HTTP/1.1 404 Not Found".to_owned()
            };
            let _ = write!(stream, "{head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    address
}

#[test]
fn a_tag_becomes_what_it_means_in_the_clusters_registry() {
    let directory = open_directory();
    let registry = registry();
    let clusters = serde_json::json!([
        {"name": "c", "scheduler_uri": "http://127.0.0.1:1", "docker_registry": format!("http://{registry}")}
    ]);
    std::fs::write(directory.path().join("clusters.json"), clusters.to_string()).unwrap();
    let file = directory.path().join("job.aurora");
    let inspect = |tag: &str| {
        let image = format!("{{{{docker.image[team/app][{tag}]}}}}");
        let text = format!(
            "t = SimpleTask('t', 'true')\n\
             jobs = [Job(cluster = 'c', role = 'r', environment = 'devel', name = 'j', task = t,\n\
             container = Docker(image = '{image}'))]\n"
        );
        std::fs::write(&file, text).unwrap();
        Command::new(DAYBREAK)
            .args(["aurora", "job", "inspect", "c/r/devel/j", file.to_str().unwrap(), "--raw"])
            .env("AURORA_CONFIG_ROOT", directory.path())
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let output = inspect("1.2");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let image = format!("{registry}/team/app@{DIGEST}");
    assert!(text.contains(&image), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let output = inspect("2.0");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("the image team/app:2.0 cannot be resolved at http://") && text.contains("no such image or tag"),
        "{text}"
    );
}
