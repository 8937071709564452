//! A scheduler behind https, as a proxy that ends TLS makes one: the real client verifies who answers, by the machine's authorities or those
//! that the user names.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{DAYBREAK, Daemon, Done};

/// Ends TLS and passes on what is within; prints its port.
const PROXY: &str = "
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
def serve(raw):
    try:
        inside = context.wrap_socket(raw, server_side=True)
    except OSError:
        return
    outside = socket.create_connection(('127.0.0.1', int(sys.argv[3])))
    threading.Thread(target=pump, args=(inside, outside), daemon=True).start()
    pump(outside, inside)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
";

struct Proxy {
    child: Child,
    port: u16,
}

impl Proxy {
    fn before(daemon: &Daemon, directory: &Path) -> Self {
        let target = daemon.url.rsplit(':').next().unwrap().to_owned();
        let named = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let mut command = Command::new("python3");
        command.args(["-c", PROXY, &named("server.pem"), &named("server.key"), &target]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority, and a certificate of it for localhost.
fn certificates(directory: &Path) {
    let script = "set -e\n\
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj '/CN=authority of this test'\n\
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost\n\
        printf 'subjectAltName=DNS:localhost\\n' > names\n\
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names\n";
    let done = Command::new("bash").args(["-c", script]).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn aurora(directory: &Path, cluster: serde_json::Value, authorities: Option<&str>) -> Done {
    std::fs::write(directory.join("clusters.json"), serde_json::json!([cluster]).to_string()).unwrap();
    let mut command = Command::new(DAYBREAK);
    command.args(["aurora", "quota", "get", "secure/www-data", "-v"]);
    command.env("AURORA_CONFIG_ROOT", directory).env("HOME", directory).env_remove("SSL_CERT_FILE");
    if let Some(file) = authorities {
        command.env("SSL_CERT_FILE", directory.join(file));
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_scheduler_behind_https_is_believed_when_its_authority_is_known() {
    let directory = support::open_directory();
    certificates(directory.path());
    let daemon = Daemon::start(&[]);
    let proxy = Proxy::before(&daemon, directory.path());
    let url = format!("https://localhost:{}", proxy.port);
    let cluster = || serde_json::json!({"name": "secure", "scheduler_uri": url});

    let mut named = cluster();
    named["ca_file"] = "ca.pem".into();
    let done = aurora(directory.path(), named, None).expect_code(0);
    assert!(done.stdout.starts_with("Allocated:\n"), "{}", done.stdout);
    assert!(done.stderr.contains(&format!("DEBUG] getQuota at {url}/api: OK in ")), "{}", done.stderr);

    aurora(directory.path(), cluster(), Some("ca.pem")).expect_code(0);

    let refused = aurora(directory.path(), cluster(), None).expect_code(7);
    assert!(refused.stderr.contains("is not trusted") && refused.stderr.contains("ca_file"), "{}", refused.stderr);

    let mut elsewhere = cluster();
    elsewhere["scheduler_uri"] = url.replace("localhost", "127.0.0.1").into();
    elsewhere["ca_file"] = "ca.pem".into();
    let refused = aurora(directory.path(), elsewhere, None).expect_code(7);
    assert!(refused.stderr.contains("it is for another host"), "{}", refused.stderr);
}
