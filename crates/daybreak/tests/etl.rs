//! `daybreak etl` as a user starts it, against a simulated Mesos whose agents run real processes.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use simulation::mesos::server::{AgentSpec, Simulation};
use simulation::mesos::{Cluster, Settings};
use support::{DAYBREAK, http, login, open_directory, wait_for};

const LIMIT: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The program, and what it says.
struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    health: String,
}

impl Program {
    fn start(masters: &str, words: &[&str]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(DAYBREAK);
        command.args(["etl", "-master", masters, "-user", &login(), "-wait", "2", "-health", &address]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line)).ok()
        });
        Self { child, lines, seen: Vec::new(), health: format!("http://{address}") }
    }

    /// Reads on until so many lines in all have this in them.
    fn wait_for(&mut self, text: &str, count: usize) {
        while self.seen.iter().filter(|line| line.contains(text)).count() < count {
            let line = self.lines.recv_timeout(LIMIT);
            self.seen.push(line.unwrap_or_else(|why| panic!("{count} times {text:?}: {why}: {:#?}", self.seen)));
        }
    }

    /// Its exit code and what it has printed.
    fn end(mut self) -> (Option<i32>, String) {
        let status = wait_for("its end", LIMIT, || self.child.try_wait().unwrap());
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (status.code(), out)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn simulation(directory: &std::path::Path, settings: Settings) -> Simulation {
    let simulation = Simulation::start(settings, 1.0, Some(directory.join("agents"))).unwrap();
    simulation.add_process_agent(&AgentSpec::new("a0", "cpus:8;mem:8192;disk:8192")).unwrap();
    simulation
}

#[test]
fn rounds_go_on_under_another_leader_and_ctrl_c_leaves_nothing() {
    let directory = open_directory();
    let simulation = simulation(directory.path(), Settings { masters: 3, ..Settings::default() });
    let mut program = Program::start(&simulation.master_list(), &["-cmd", "sleep 1", "-maxtasks", "2"]);
    program.wait_for("Finished task:  ", 2);
    assert!(program.seen[0].contains("Subscribed: FrameworkID:  "), "{:?}", program.seen);
    assert!(program.seen.iter().filter(|line| line.ends_with("in state RUNNING")).count() >= 2, "{:?}", program.seen);
    assert_eq!(http("GET", &format!("{}/health", program.health), &[], b""), (200, "healthy".into()));
    let (launched, framework) =
        simulation.with(|cluster| (cluster.counters().launched, cluster.frameworks()[0].0.clone()));
    assert!(launched <= 4, "not more than two at a time: {launched}");
    simulation.with(Cluster::kill_leader);
    // More than what may have been under way before.
    program.wait_for("Finished task:  ", 8);
    assert_eq!(simulation.with(Cluster::frameworks)[0].0, framework, "the same framework");
    kill(Pid::from_raw(program.child.id() as i32), Signal::SIGINT).unwrap();
    let (code, out) = program.end();
    assert_eq!((code, out.matches("Current Master is  ").count() >= 2), (Some(130), true), "{out}");
    assert!(simulation.wait_until(LIMIT, |cluster| cluster.frameworks().is_empty()), "torn down");
    assert!(simulation.with(|cluster| cluster.live_tasks().is_empty()));
}

#[test]
fn a_failed_copy_is_told_and_ends_the_program_only_where_that_is_asked_for() {
    let directory = open_directory();
    let simulation = simulation(directory.path(), Settings::default());
    let mut goes_on = Program::start(&simulation.master_list(), &["-cmd", "exit 3", "-maxtasks", "1"]);
    goes_on.wait_for("FAILED", 2);
    assert!(goes_on.child.try_wait().unwrap().is_none(), "{:?}", goes_on.seen);
    drop(goes_on);
    let words = ["-cmd", "exit 3", "-maxtasks", "1", "-exit-on-failure"];
    let (code, _) = Program::start(&simulation.master_list(), &words).end();
    assert_eq!(code, Some(1));
}
