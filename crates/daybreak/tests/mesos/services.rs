//! Services: what Mesos' own pages show of them, their health, where they are announced, and how their executor gets to the agents.

use std::time::Duration;

use discovery::Member;
use serde_json::Value;

use crate::cluster::{Cluster, Plan, ROLE, release};
use crate::support::wait_for;

const SOON: Duration = Duration::from_secs(40);

fn key(name: &str) -> String {
    format!("devcluster/{ROLE}/devel/{name}")
}

/// What a master or an agent tells of the one framework.
fn framework(state: &Value) -> &Value {
    let list = state["frameworks"].as_array().unwrap();
    assert_eq!(list.len(), 1, "{state}");
    &list[0]
}

fn label<'a>(labelled: &'a Value, key: &str) -> Option<&'a str> {
    let labels = labelled["labels"].as_array()?;
    labels.iter().find(|label| label["key"] == key)?["value"].as_str()
}

pub fn pages() {
    let cluster = Cluster::start(&Plan { daybreak: &["--populate-discovery-info"], ..Plan::default() });
    let job = key("shown");
    let text = format!(
        "main = Process(name = 'main', cmdline = 'echo to be seen; echo {{{{thermos.ports[http]}}}} >&2; sleep 1000')\n\
         task = Task(processes = [main], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 8*MB))\n\
         jobs = [Service(cluster = 'devcluster', role = '{ROLE}', environment = 'devel', name = 'shown', task = task,\n\
         tier = 'preemptible', metadata = [Metadata(key = 'team', value = 'blue')])]\n"
    );
    cluster.create(&job, &text).expect_code(0);
    let id = cluster.wait_for_active(&job, "RUNNING", 1).remove(0);
    let state = wait_for("the master to show it", SOON, || {
        cluster.state().filter(|state| framework(state)["tasks"][0]["state"] == "TASK_RUNNING")
    });
    let shown = framework(&state);
    assert_eq!((shown["name"].as_str(), shown["checkpoint"].as_bool()), (Some("Daybreak"), Some(true)), "{shown}");
    assert_eq!(shown["webui_url"], format!("{}/scheduler", cluster.daemon.url));
    let task = &shown["tasks"][0];
    assert_eq!(task["name"], format!("{ROLE}/devel/shown"), "{task}");
    assert_eq!((&task["id"], &task["executor_id"]), (&id.clone().into(), &format!("thermos-{id}").into()));
    assert_eq!(label(task, "org.apache.aurora.tier"), Some("preemptible"), "{task}");
    assert_eq!(label(task, "org.apache.aurora.metadata.team"), Some("blue"), "{task}");
    assert_eq!(task["discovery"]["name"], format!("shown.devel.{ROLE}"), "{task}");
    assert_eq!(task["discovery"]["ports"]["ports"][0]["name"], "http", "{task}");

    // The sandbox link of Mesos' pages: the agent's description of the executor has its directory, which may be looked into.
    let agent = cluster.ask(&cluster.agents[0], "/state", None).unwrap();
    let executor = &framework(&agent)["executors"][0];
    assert_eq!(executor["id"], format!("thermos-{id}"), "{executor}");
    assert_eq!(executor["source"], format!("{ROLE}.devel.shown.0"), "{executor}");
    assert_eq!(label(executor, "source"), Some(&*format!("{ROLE}.devel.shown.0")), "{executor}");
    let directory = executor["directory"].as_str().unwrap().to_owned();
    let names = |path: &str| -> Vec<String> {
        let listed = cluster.ask(&cluster.agents[0], &format!("/files/browse?path={path}"), None).unwrap();
        let path = |entry: &Value| {
            entry["path"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
        };
        listed.as_array().unwrap().iter().map(path).collect()
    };
    let top = names(&directory);
    assert!(["stdout", "stderr", "sandbox"].iter().all(|name| top.iter().any(|entry| entry == name)), "{top:?}");
    let logs = format!("{directory}/sandbox/.logs/main/0");
    assert_eq!(names(&logs), ["stderr", "stdout"]);
    let read = format!("/files/read?path={logs}/stdout&offset=0");
    wait_for("the output", SOON, || {
        let answer = cluster.ask(&cluster.agents[0], &read, None)?;
        (answer["data"] == "to be seen\n").then_some(())
    });
    // And our own page of the task leads to the same.
    let (status, page) = cluster.daemon.get(&format!("/scheduler/{ROLE}/devel/shown/0"));
    assert!(status == 200 || (300..400).contains(&status), "{status} {page}");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    let state = wait_for("the master to show its end", SOON, || {
        cluster.state().filter(|state| framework(state)["completed_tasks"][0]["state"] == "TASK_KILLED")
    });
    assert_eq!(framework(&state)["completed_tasks"][0]["id"], id);
}

/// Says that it is well once a file named `well` lies in its directory.
const SERVER: &str = r#"
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, text, code=200):
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    def do_GET(self):
        well = os.path.exists("well")
        self.answer("ok" if well else "not yet", 200 if well else 503)
    def do_POST(self):
        print("told to", self.path, flush=True)
        self.answer("ok")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

pub fn announced() {
    let cluster = Cluster::start(&Plan { zookeeper: true, ..Plan::default() });
    let server = cluster.write("server.py", SERVER);
    let job = key("announced");
    let text = format!(
        "main = Process(name = 'main', cmdline = 'exec python3 -u {server} {{{{thermos.ports[health]}}}}')\n\
         task = Task(processes = [main], resources = Resources(cpu = 0.1, ram = 32*MB, disk = 8*MB))\n\
         jobs = [Service(cluster = 'devcluster', role = '{ROLE}', environment = 'devel', name = 'announced', task = task, instances = 2,\n\
         announce = Announcer(primary_port = 'health', portmap = {{'admin': 'health'}}),\n\
         health_check_config = HealthCheckConfig(initial_interval_secs = 12, interval_secs = 0.3, max_consecutive_failures = 2))]\n"
    );
    cluster.create(&job, &text).expect_code(0);
    let starting = cluster.wait_for_active(&job, "STARTING", 2);
    let client = cluster.zookeeper.as_ref().unwrap().client();
    let path = format!("/aurora/{ROLE}/devel/announced");
    // Not healthy, they do not run, however long one waits.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.active(&job, "STARTING"), starting, "health gates RUNNING");
    let well = |id: &str| cluster.sandbox(id).join("well");
    for id in &starting {
        std::fs::write(well(id), "").unwrap();
    }
    let ids = cluster.wait_for_active(&job, "RUNNING", 2);
    assert_eq!(ids, starting);
    let members = |count: usize| {
        wait_for(&format!("{count} members of {path}"), SOON, || {
            let nodes = Some(client.children(&path)).filter(|nodes| nodes.len() == count)?;
            let read = |node: &String| Member::parse(node, &client.data(&format!("{path}/{node}"))?).ok();
            nodes.iter().map(read).collect::<Option<Vec<Member>>>()
        })
    };
    let found = members(2);
    let mut shards: Vec<i64> = found.iter().filter_map(|member| member.shard).collect();
    shards.sort_unstable();
    assert_eq!(shards, [0, 1]);
    for member in &found {
        assert_eq!(member.service_endpoint.host, "agent-0", "the host that the agent goes by");
        assert_eq!(member.additional_endpoints["admin"], member.service_endpoint);
        assert!((31_000..32_000).contains(&member.service_endpoint.port), "{member:?}");
    }
    // One that falls ill fails, and another takes its place.
    std::fs::remove_file(well(&ids[0])).unwrap();
    let failed = cluster.wait_for_end(&job);
    assert_eq!(failed["status"], "FAILED", "{failed}");
    assert_eq!(failed["assignedTask"]["taskId"], ids[0]);
    assert!(failed.to_string().to_lowercase().contains("health"), "{failed}");
    let next =
        wait_for("its successor", SOON, || cluster.active(&job, "STARTING").into_iter().find(|id| !ids.contains(id)));
    wait_for("its sandbox", SOON, || std::fs::write(well(&next), "").ok());
    cluster.wait_for_active(&job, "RUNNING", 2);
    members(2);
    // Killed, they are told so first, and are gone from ZooKeeper by the time they are gone.
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    assert!(client.children(&path).is_empty());
    let said = cluster.log(&next, "main", "stdout");
    assert!(said.contains("told to /quitquitquit"), "{said}");
}

pub fn executor_path() {
    let folder = crate::support::open_directory();
    let executor = folder.path().join("thermos_executor.pex");
    std::fs::copy(release().join("daybreak-executor"), &executor).unwrap();
    let path = format!("-thermos_executor_path={}", executor.display());
    {
        let cluster = Cluster::start(&Plan { daybreak: &[&path], ..Plan::default() });
        let job = key("configured");
        let text = format!(
            "main = Process(name = 'main', cmdline = 'id -un; sleep 1000')\n\
             task = Task(processes = [main], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 8*MB))\n\
             jobs = [Service(cluster = 'devcluster', role = '{ROLE}', environment = 'devel', name = 'configured', task = task)]\n"
        );
        cluster.create(&job, &text).expect_code(0);
        let id = cluster.wait_for_active(&job, "RUNNING", 1).remove(0);
        assert!(cluster.find("thermos_executor.pex").is_some(), "it was fetched from its path");
        assert!(cluster.find("daybreak-executor").is_none(), "and no other one");
        wait_for("its output", SOON, || (cluster.log(&id, "main", "stdout") == format!("{ROLE}\n")).then_some(()));
        cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    }
    // A wrapper that brings the executor along, as Aurora's documents have it, with flags and its own home.
    let wrapper = folder.path().join("wrapper.sh");
    let script = "#!/bin/sh\necho wrapped in $HOME >&2\nexec \"$MESOS_SANDBOX/thermos_executor.pex\" \"$@\"\n";
    std::fs::write(&wrapper, script).unwrap();
    let path = format!("-thermos_executor_path={}", wrapper.display());
    let resources = format!("-thermos_executor_resources={}", executor.display());
    let flags =
        ["-thermos_executor_flags=--nosetuid --preserve_env", "-thermos_home_in_sandbox=true", &path, &resources];
    let cluster = Cluster::start(&Plan { daybreak: &flags, ..Plan::default() });
    let job = key("wrapped");
    let text = format!(
        "main = Process(name = 'main', cmdline = 'id -un; echo $MESOS_EXECUTOR_ID; sleep 1000')\n\
         task = Task(processes = [main], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 8*MB))\n\
         jobs = [Service(cluster = 'devcluster', role = '{ROLE}', environment = 'devel', name = 'wrapped', task = task)]\n"
    );
    cluster.create(&job, &text).expect_code(0);
    let id = cluster.wait_for_active(&job, "RUNNING", 1).remove(0);
    let said = format!("root\nthermos-{id}\n");
    wait_for("its output", SOON, || (cluster.log(&id, "main", "stdout") == said).then_some(()));
    let stderr = std::fs::read_to_string(cluster.sandbox(&id).with_file_name("stderr")).unwrap();
    assert!(stderr.contains("wrapped in /") && stderr.contains("/runs/"), "{stderr}");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
}
