//! Containers, docker-compose projects and fetched files with the real binary and a real Docker daemon: what a user sees of them.

mod support;

#[path = "../../engine-local/tests/docker/mod.rs"]
mod docker;

use std::path::PathBuf;
use std::time::Duration;

use docker::{Docker, IMAGE, serve};
use serde_json::{Value, json};
use support::{Daemon, open_directory, wait_for, wire};

const LIMIT: Duration = Duration::from_secs(90);

/// A daemon whose tasks use the tests' Docker, with what an operator has to allow for containers.
fn daemon(docker: &Docker) -> Daemon {
    use std::os::unix::fs::PermissionsExt;
    let directory = open_directory();
    let program = directory.path().join("daybreak");
    let script = format!("#!/bin/sh\nexport DOCKER_HOST='{}'\nexec '{}' \"$@\"\n", docker.host(), support::DAYBREAK);
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = [
        "--allow-root-role",
        "--enable-mesos-fetcher",
        "--allowed-container-types",
        "MESOS,DOCKER",
        "--allow-docker-parameters",
        "--require-docker-use-executor=false",
    ];
    Daemon::start_program(&program, directory, &options)
}

/// The job of the guide: two services, one port, the project as an archive to be fetched.
fn compose_job(address: &str) -> Value {
    let mut job = wire::job("root", "docker-compose", 1, false, "");
    let config = &mut job["6"]["rec"];
    config["25"] = json!({"rec": {"1": {"str": "docker-compose-executor"}, "2": {"str": "{}"}}});
    config["27"] =
        json!({"set": ["rec", 1, {"1": {"str": "fileName"}, "2": {"str": "sample-app/docker-compose.yml"}}]});
    config["32"] = json!({"set": ["rec", 4, {"1": {"dbl": 0.1}}, {"2": {"i64": 64}}, {"3": {"i64": 100}},
        {"4": {"str": "org.apache.aurora.port.0"}}]});
    config["33"] = json!({"set": ["rec", 1, {"1": {"str": format!("{address}/sample-app.tar.gz")},
        "2": {"tf": 1}, "3": {"tf": 1}}]});
    job
}

fn archive() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("sample-app");
    std::fs::create_dir(&project).unwrap();
    let service = |name: &str, more: &str| {
        format!(
            "  {name}:\n    image: {IMAGE}\n    command: ['/bin/sh', '-c', 'trap exit TERM; echo {name} is up; sleep 1000 & wait']\n{more}"
        )
    };
    let text = format!(
        "version: '2'\nservices:\n{}{}",
        service("web", "    ports: ['80:5000']\n    links: [redis]\n"),
        service("redis", "")
    );
    std::fs::write(project.join("docker-compose.yml"), text).unwrap();
    let tar = std::process::Command::new("tar").arg("-C").arg(folder.path()).args(["-cz", "."]).output().unwrap();
    assert!(tar.status.success());
    tar.stdout
}

fn sandbox(daemon: &Daemon, task_id: &str) -> PathBuf {
    daemon.state.join("local/agents/agent-0/tasks").join(task_id).join("sandbox")
}

fn running(daemon: &Daemon, job: &str) -> String {
    wait_for(&format!("{job} to run"), LIMIT, || {
        let tasks = wire::tasks(&daemon.url).ok()?;
        let task = tasks.into_iter().find(|task| task.job == job)?;
        assert!(task.is_active(), "{task:?}");
        task.is_running().then_some(task.id)
    })
}

#[test]
fn the_guide_to_custom_executors_runs_a_project_and_the_client_kills_it() {
    let Some(docker) = docker::docker() else { return };
    let daemon = daemon(docker);
    let job = compose_job(&serve(archive()));
    let mut unknown = job.clone();
    unknown["6"]["rec"]["25"]["rec"]["1"] = json!({"str": "other-executor"});
    let (code, message) = wire::create(&daemon.url, unknown).unwrap();
    assert_ne!(code, wire::OK);
    assert!(message.contains("other-executor"), "{message}");

    let created = wire::create(&daemon.url, job).unwrap();
    assert_eq!(created.0, wire::OK, "{created:?}");
    let task_id = running(&daemon, "docker-compose");
    assert_eq!(docker.containers_of(&task_id).len(), 2);
    let (active, _) = daemon.tasks("devcluster/root/devel/docker-compose");
    let port = active[0]["assignedTask"]["assignedPorts"]["org.apache.aurora.port.0"].as_u64().unwrap();
    let generated = sandbox(&daemon, &task_id).join("sample-app/docker-compose.yml-generated.yml");
    let generated = std::fs::read_to_string(generated).unwrap();
    assert!(generated.contains(&format!("{port}:5000")), "{generated}");
    let log = sandbox(&daemon, &task_id).join(".logs/docker-compose/0/stdout");
    wait_for("the services' output in the task's log", LIMIT, || {
        std::fs::read_to_string(&log).ok().filter(|text| text.contains("web is up") && text.contains("redis is up"))
    });
    daemon.aurora(&["job", "killall", "devcluster/root/devel/docker-compose"]).expect_code(0);
    let gone = wire::tasks(&daemon.url).unwrap();
    assert!(gone.iter().all(|task| !task.is_active()), "{gone:?}");
    assert!(docker.containers_of(&task_id).is_empty());
}

#[test]
fn a_job_file_puts_its_processes_into_a_container() {
    let Some(docker) = docker::docker() else { return };
    let daemon = daemon(docker);
    let file = daemon.state.join("inside.aurora");
    let text = format!(
        "inside = Process(name = 'inside', cmdline = 'echo $COLOR from instance {{{{mesos.instance}}}}; sleep 1000')\n\
         task = SequentialTask(processes = [inside], resources = Resources(cpu = 0.1, ram = 64*MB, disk = 64*MB))\n\
         jobs = [Service(task = task, cluster = 'devcluster', role = 'root', environment = 'devel', name = 'inside',\n  \
         container = Docker(image = '{IMAGE}', parameters = [Parameter(name = 'env', value = 'COLOR=green')]))]\n"
    );
    std::fs::write(&file, text).unwrap();
    daemon.aurora(&["job", "create", "devcluster/root/devel/inside", file.to_str().unwrap()]).expect_code(0);
    let task_id = running(&daemon, "inside");
    assert_eq!(docker.containers_of(&task_id).len(), 1);
    let log = sandbox(&daemon, &task_id).join(".logs/inside/0/stdout");
    let said = wait_for("its output", LIMIT, || std::fs::read_to_string(&log).ok().filter(|text| text.ends_with('\n')));
    assert_eq!(said, "green from instance 0\n");
    daemon.aurora(&["job", "killall", "devcluster/root/devel/inside"]).expect_code(0);
    assert!(docker.containers_of(&task_id).is_empty());
}
