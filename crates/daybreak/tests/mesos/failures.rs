//! What breaks.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::cluster::{Cluster, Plan, ROLE};
use crate::support::{processes_of, wait_for, wire};

fn create(cluster: &Cluster, name: &str, instances: i64, cmdline: &str) -> String {
    let (code, message) = wire::create(&cluster.daemon.url, wire::job(ROLE, name, instances, true, cmdline)).unwrap();
    assert_eq!(code, wire::OK, "{message}");
    format!("devcluster/{ROLE}/devel/{name}")
}

/// Processes of the cluster whose command line contains `text`.
fn processes(cluster: &Cluster, text: &str) -> Vec<i32> {
    let command = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ")
    };
    processes_of(cluster.directory.path()).into_iter().filter(|pid| command(pid).contains(text)).collect()
}

fn killall(cluster: &Cluster, job: &str) {
    cluster.daemon.aurora(&["job", "killall", job]).expect_code(0);
    wait_for("no active task", Duration::from_secs(60), || cluster.daemon.tasks(job).0.is_empty().then_some(()));
}

pub fn agent_restart() {
    // It is away and recovers for longer than the suite's masters usually wait.
    let mut cluster = Cluster::start(&Plan { master: &["--max_agent_ping_timeouts=20"], ..Plan::default() });
    let job = create(&cluster, "survivor", 1, "exec sleep 34567");
    let before = cluster.wait_for_active(&job, "RUNNING", 1);
    let process = processes(&cluster, "sleep 34567");
    cluster.agents[0].kill_nine();
    std::thread::sleep(Duration::from_secs(1));
    cluster.agents[0].start_again();
    wait_for("the agent to be back", Duration::from_secs(60), || {
        let state = cluster.state()?;
        (state["activated_slaves"].as_f64()? as usize == 1).then_some(())
    });
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(cluster.active(&job, "RUNNING"), before, "the same task");
    assert_eq!(processes(&cluster, "sleep 34567"), process, "the same process");
    killall(&cluster, &job);
    assert!(processes(&cluster, "sleep 34567").is_empty());
}

pub fn scheduler_killed() {
    let mut cluster = Cluster::start(&Plan::default());
    let job = create(&cluster, "kept", 2, "exec sleep 34568");
    let before = cluster.wait_for_active(&job, "RUNNING", 2);
    let frameworks = |cluster: &Cluster| -> Vec<String> {
        let state = cluster.state().unwrap();
        let list = state["frameworks"].as_array().unwrap().clone();
        list.iter().map(|framework| framework["id"].as_str().unwrap().to_owned()).collect()
    };
    let known = frameworks(&cluster);
    for _ in 0..3 {
        cluster.daemon.kill_nine();
        cluster.daemon.restart();
    }
    // One that ended meanwhile is told, and replaced because it is a service.
    cluster.daemon.kill_nine();
    let victim = processes(&cluster, "sleep 34568")[0];
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), Signal::SIGKILL).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    cluster.daemon.restart();
    let after = cluster.wait_for_active(&job, "RUNNING", 2);
    assert!(after.iter().any(|id| before.contains(id)), "{before:?} {after:?}");
    assert_eq!(frameworks(&cluster), known, "one framework, the same one");
    wait_for("two processes and no third", Duration::from_secs(30), || {
        (processes(&cluster, "sleep 34568").len() == 2).then_some(())
    });
    killall(&cluster, &job);
}

pub fn master_failover() {
    let mut cluster = Cluster::start(&Plan { masters: 2, ..Plan::default() });
    let job = create(&cluster, "through", 1, "exec sleep 34569");
    let before = cluster.wait_for_active(&job, "RUNNING", 1);
    let leader = cluster.state().unwrap()["leader_info"]["port"].as_u64().unwrap();
    let leading = cluster.masters.iter().position(|master| u64::from(master.port) == leader).unwrap();
    cluster.masters[leading].kill_nine();
    wait_for("another leader that knows the framework and the agent", Duration::from_secs(90), || {
        let state = cluster.state()?;
        let is_other = state["leader_info"]["port"].as_u64()? != leader;
        let knows = state["frameworks"].as_array()?.iter().any(|framework| framework["active"] == true);
        (is_other && knows && state["activated_slaves"].as_f64()? as usize == 1).then_some(())
    });
    let second = create(&cluster, "later", 1, "exec sleep 34570");
    cluster.wait_for_active(&second, "RUNNING", 1);
    assert_eq!(cluster.active(&job, "RUNNING"), before, "nothing was lost or started twice");
    assert_eq!(processes(&cluster, "sleep 34569").len(), 1);
    killall(&cluster, &job);
    killall(&cluster, &second);
}

pub fn partition() {
    let cluster = Cluster::start(&Plan { agents: 2, ..Plan::default() });
    let mut wanted = wire::job(ROLE, "torn", 1, true, "exec sleep 34571");
    // Another one is wanted two seconds after the agent is gone.
    wanted["6"]["rec"]["34"] = json!({"rec": {"1": {"tf": 1}, "2": {"i64": 2}}});
    let (code, message) = wire::create(&cluster.daemon.url, wanted).unwrap();
    assert_eq!(code, wire::OK, "{message}");
    let job = format!("devcluster/{ROLE}/devel/torn");
    let before = cluster.wait_for_active(&job, "RUNNING", 1);
    let (active, _) = cluster.daemon.tasks(&job);
    let host = active[0]["assignedTask"]["slaveHost"].as_str().unwrap().to_owned();
    let agent = &cluster.agents[if host == "agent-0" { 0 } else { 1 }];
    agent.signal(Signal::SIGSTOP);
    let replacement = wait_for("a replacement on the other agent", Duration::from_secs(60), || {
        cluster.active(&job, "RUNNING").into_iter().find(|id| !before.contains(id))
    });
    agent.signal(Signal::SIGCONT);
    wait_for("the surplus to be gone", Duration::from_secs(60), || {
        (processes(&cluster, "sleep 34571").len() == 1).then_some(())
    });
    let (active, _) = cluster.daemon.tasks(&job);
    assert_eq!(active.len(), 1, "{active:?}");
    assert_eq!(cluster.active(&job, "RUNNING"), [replacement]);
    killall(&cluster, &job);
}

pub fn executor_killed() {
    let cluster = Cluster::start(&Plan::default());
    let job = create(&cluster, "orphaned", 1, "(setsid sleep 34572 &) ; exec sleep 34573");
    cluster.wait_for_active(&job, "RUNNING", 1);
    // The executor itself: not the shell that started it, and not the supervisor, which is its child.
    let all = processes(&cluster, "daybreak-executor");
    let parent = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit(')').next().unwrap_or_default().to_owned();
        rest.split_whitespace().nth(1).and_then(|pid| pid.parse::<i32>().ok()).unwrap_or_default()
    };
    let is_shell =
        |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sh");
    let executor =
        all.iter().copied().find(|pid| !is_shell(*pid) && (is_shell(parent(*pid)) || !all.contains(&parent(*pid))));
    let executor = executor.unwrap_or_else(|| panic!("an executor among {all:?}"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(executor), Signal::SIGKILL).unwrap();
    wait_for("the end of the first run", Duration::from_secs(60), || {
        let (_, inactive) = cluster.daemon.tasks(&job);
        inactive.iter().any(|task| task["status"] == "FAILED" || task["status"] == "LOST").then_some(())
    });
    killall(&cluster, &job);
    wait_for("no process to be left", Duration::from_secs(30), || {
        let left = processes(&cluster, "sleep 34573");
        left.is_empty().then_some(())
    });
}

pub fn crowd() {
    const COUNT: usize = 90;
    let agent = ["--resources=cpus:100;mem:100000;disk:100000;ports:[31000-31999]"];
    let daybreak = ["--executor-cpu", "0.01", "--executor-ram", "32MB"];
    let mut cluster = Cluster::start(&Plan { agents: 3, daybreak: &daybreak, agent: &agent, ..Plan::default() });
    let job = create(&cluster, "crowd", COUNT as i64, "exec sleep 34574");
    // In the middle of it the scheduler dies, and then an agent comes and goes.
    wait_for("some to run", Duration::from_secs(90), || (cluster.active(&job, "RUNNING").len() > 5).then_some(()));
    cluster.daemon.kill_nine();
    cluster.daemon.restart();
    cluster.agents[1].kill_nine();
    cluster.agents[1].start_again();
    // A launch that was on its way to the dead agent is asked about after a minute of silence.
    wait_for("all to run", Duration::from_secs(300), || (cluster.active(&job, "RUNNING").len() == COUNT).then_some(()));
    wait_for("one process for each, and no more", Duration::from_secs(60), || {
        let state = cluster.state()?;
        let tasks = state["frameworks"][0]["tasks"].as_array()?;
        let running = tasks.iter().filter(|task| task["state"] == "TASK_RUNNING").count();
        (running == COUNT && sleepers(&cluster) == COUNT).then_some(())
    });
    killall(&cluster, &job);
    wait_for("nothing to be left", Duration::from_secs(30), || (sleepers(&cluster) == 0).then_some(()));
}

/// Processes of the task itself: neither its shell nor what else names its command.
fn sleepers(cluster: &Cluster) -> usize {
    let is_sleep =
        |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x0034574\0");
    processes(cluster, "sleep 34574").iter().filter(|pid| is_sleep(pid)).count()
}
