//! A network of its own for a test: the fixed addresses that foreign suites expect, and nothing of the machine's.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Set in the process that has the network of its own; its value is the test that runs there.
const INSIDE: &str = "DAYBREAK_TEST_INSIDE";

/// Whether this process is the one that has the network of its own for `test`.
pub fn is_inside(test: &str) -> bool {
    std::env::var(INSIDE).is_ok_and(|inside| inside == test)
}

/// Runs `test` of this very program in namespaces of network and mounts of its own, with these variables besides. Whether it succeeded, and
/// what it said. Needs root.
pub fn run_inside(test: &str, variables: &[(&str, &std::path::Path)]) -> (bool, String) {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "--"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(INSIDE, test);
    command.envs(variables.iter().copied());
    let output = command.stdin(Stdio::null()).output().expect("unshare of the package util-linux");
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
}

/// Gives the loopback device these addresses too. Only inside.
pub fn addresses(addresses: &[&str]) {
    run("ip", &["link", "set", "lo", "up"]);
    for address in addresses {
        run("ip", &["address", "add", &format!("{address}/32"), "dev", "lo"]);
    }
}

/// Makes a user known by this name, for processes that see our mounts. Only inside.
pub fn account(directory: &std::path::Path, name: &str, id: u32) {
    let known = std::fs::read_to_string("/etc/passwd").unwrap();
    if known.lines().any(|line| line.split(':').next() == Some(name)) {
        return;
    }
    let file = directory.join("passwd");
    std::fs::write(&file, format!("{}\n{name}:x:{id}:{id}::/nonexistent:/bin/sh\n", known.trim_end())).unwrap();
    run("mount", &["--bind", file.to_str().unwrap(), "/etc/passwd"]);
}

/// Passes connections at `from` on to `to`; what a client says is passed on late by `delay`. A client that hangs up is seen to.
pub fn relay(from: &str, to: &str, delay: Duration) {
    let listener = TcpListener::bind(from).unwrap_or_else(|error| panic!("listening at {from}: {error}"));
    let to: SocketAddr = to.parse().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // With no server yet, or none any more, the client is hung up on.
                let Ok(server) = TcpStream::connect(to) else { return };
                let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
                std::thread::spawn(move || pass(server_too, client_too, Duration::ZERO));
                pass(client, server, delay);
            });
        }
    });
}

fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut piece = vec![0; 1 << 16];
    loop {
        match from.read(&mut piece) {
            Ok(count) if count > 0 => {
                std::thread::sleep(delay);
                if to.write_all(&piece[..count]).is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
