//! A real ZooKeeper between the real binary's daemon, its clients, and the tasks that announce themselves there.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use discovery::Member;
use discovery::testing::{Client, Zookeeper};
use support::{DAYBREAK, Daemon, Done, login, wait_for};

const SOON: Duration = Duration::from_secs(30);
const PATH: &str = "/aurora/scheduler";

/// Runs a verb of the client that knows of the scheduler only where it is announced.
fn aurora(directory: &Path, zookeeper: &Zookeeper, arguments: &[&str]) -> Done {
    let cluster = serde_json::json!([{
        "name": "devcluster", "zk": "127.0.0.1", "zk_port": zookeeper.port(), "scheduler_zk_path": PATH,
    }]);
    std::fs::write(directory.join("clusters.json"), cluster.to_string()).unwrap();
    let mut command = Command::new(DAYBREAK);
    command.arg("aurora").args(arguments).env("AURORA_CONFIG_ROOT", directory).env("HOME", directory);
    let output = command.stdin(Stdio::null()).output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn until_members(client: &Client, path: &str, count: usize) -> Vec<String> {
    wait_for(&format!("{count} members of {path}"), SOON, || {
        Some(client.children(path)).filter(|children| children.len() == count)
    })
}

#[test]
fn a_scheduler_is_found_where_it_is_announced_and_not_after_its_end() {
    let mut zookeeper = Zookeeper::start();
    let client = zookeeper.client();
    let directory = tempfile::tempdir().unwrap();
    let endpoints = zookeeper.address();
    // Aurora's spelling is understood too.
    let endpoints = format!("-zk_endpoints={endpoints}");
    let mut daemon = Daemon::start(&[&endpoints, "--zk-session-timeout", "2secs", "--allow-root-role"]);
    let node = until_members(&client, PATH, 1).remove(0);
    let port: u16 = daemon.url.rsplit_once(':').unwrap().1.parse().unwrap();
    let text = String::from_utf8(client.data(&format!("{PATH}/{node}")).unwrap()).unwrap();
    assert_eq!(
        text,
        format!(
            r#"{{"serviceEndpoint":{{"host":"127.0.0.1","port":{port}}},"additionalEndpoints":{{"http":{{"host":"127.0.0.1","port":{port}}}}},"status":"ALIVE"}}"#
        )
    );
    wait_for("the statistics", SOON, || daemon.get("/vars").1.contains("zookeeper_announced 1\n").then_some(()));
    // The client of the Java world reads it.
    let java = Command::new("/usr/share/zookeeper/bin/zkCli.sh")
        .args(["-server", &zookeeper.address(), "get", &format!("{PATH}/{node}")])
        .output()
        .unwrap();
    let read = String::from_utf8_lossy(&java.stdout);
    assert!(read.contains(&text), "{read}{}", String::from_utf8_lossy(&java.stderr));

    let job = directory.path().join("job.aurora");
    let role = login();
    let file = format!(
        "jobs = [Service(cluster = 'devcluster', role = '{role}', environment = 'devel', name = 'hello', \
         task = SimpleTask('hello', 'sleep 1000'))]\n"
    );
    std::fs::write(&job, file).unwrap();
    let key = format!("devcluster/{role}/devel/hello");
    let created = aurora(directory.path(), &zookeeper, &["job", "create", &key, job.to_str().unwrap()]).expect_code(0);
    assert!(created.stderr.contains(&daemon.url) || created.stdout.contains(&daemon.url), "{created:?}");

    // Killed, it is shown until its session is over; then nobody is.
    daemon.kill_nine();
    assert_eq!(client.children(PATH).len(), 1);
    until_members(&client, PATH, 0);
    let lost = aurora(directory.path(), &zookeeper, &["job", "status", &key]);
    assert_eq!(lost.code, 9, "{lost:?}");
    assert!(lost.stderr.contains("nobody announces there now"), "{}", lost.stderr);

    // The next one is another member; without ZooKeeper it goes on, and it is announced again when that is back.
    daemon.restart();
    let next = until_members(&client, PATH, 1).remove(0);
    assert_ne!(next, node);
    drop(client);
    zookeeper.stop();
    wait_for("the loss", SOON, || daemon.get("/vars").1.contains("zookeeper_connected 0\n").then_some(()));
    daemon.aurora(&["job", "status", &key]).expect_code(0);
    zookeeper.start_again();
    wait_for("the return", SOON, || daemon.get("/vars").1.contains("zookeeper_announced 1\n").then_some(()));
    aurora(directory.path(), &zookeeper, &["job", "killall", &key]).expect_code(0);

    // Told to stop, it takes its announcement back first.
    let client = zookeeper.client();
    until_members(&client, PATH, 1);
    assert_eq!(daemon.stop(), 0);
    assert!(client.children(PATH).is_empty());
    assert!(!daemon.log().contains("session times out"), "{}", daemon.log());
}

#[test]
fn a_zookeeper_that_is_not_there_keeps_no_daemon_from_its_work() {
    let daemon = Daemon::start(&["--zk-endpoints", "127.0.0.1:1"]);
    daemon.aurora(&["job", "list", &format!("devcluster/{}", login())]).expect_code(0);
    wait_for("a word in the log", SOON, || {
        daemon.log().contains("no ZooKeeper server answers at 127.0.0.1:1").then_some(())
    });
    assert!(daemon.get("/vars").1.contains("zookeeper_announced 0\n"));
}

#[test]
fn tasks_that_announce_themselves_are_found_by_role_environment_and_job() {
    let zookeeper = Zookeeper::start();
    let client = zookeeper.client();
    let directory = tempfile::tempdir().unwrap();
    let address = zookeeper.address();
    let daemon =
        Daemon::start(&["--announcer-ensemble", &address, "--announcer-hostname", "here", "--allow-root-role"]);
    let role = login();
    let job = directory.path().join("job.aurora");
    let file = format!(
        "p = Process(name = 'p', cmdline = 'echo {{{{thermos.ports[http]}}}} > port; sleep 1000')\n\
         t = Task(processes = [p], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))\n\
         jobs = [Service(cluster = 'devcluster', role = '{role}', environment = 'prod', name = 'web', task = t, instances = 3,\n\
           announce = Announcer(primary_port = 'http', portmap = {{'admin': 'http'}}))]\n"
    );
    std::fs::write(&job, file).unwrap();
    let key = format!("devcluster/{role}/prod/web");
    daemon.aurora(&["job", "create", &key, job.to_str().unwrap()]).expect_code(0);
    let path = format!("/aurora/{role}/prod/web");
    let nodes = until_members(&client, &path, 3);
    let members: Vec<Member> = nodes
        .iter()
        .map(|node| Member::parse(node, &client.data(&format!("{path}/{node}")).unwrap()).unwrap())
        .collect();
    let mut shards: Vec<i64> = members.iter().filter_map(|member| member.shard).collect();
    shards.sort_unstable();
    assert_eq!(shards, [0, 1, 2]);
    for member in &members {
        let ports = &member.additional_endpoints;
        assert_eq!(member.service_endpoint, ports["http"]);
        assert_eq!((&ports["admin"], ports.len()), (&ports["http"], 2));
        assert_eq!(member.service_endpoint.host, "here");
    }

    // Somebody deletes a member: its task announces itself again. The daemon has no part in it.
    assert!(client.delete(&format!("{path}/{}", nodes[1])));
    wait_for("three again", SOON, || {
        let now = client.children(&path);
        (now.len() == 3 && !now.contains(&nodes[1])).then_some(())
    });
    daemon.aurora(&["job", "killall", &key]).expect_code(0);
    assert!(client.children(&path).is_empty(), "gone by the time the tasks are");
}
