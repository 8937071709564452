//! Tasks in containers: Docker's, and images of Mesos' own containerizer.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::cluster::{Cluster, Plan, ROLE, free_port, release};
use crate::docker::{BARE, Docker, GREETER, IMAGE};
use crate::support::{http, wait_for, wire};

/// A network for containers that want one of their own, as ETL's do.
const BRIDGE: &str = "daybreak-mesos";
const ALLOWED: [&str; 4] =
    ["--allowed-container-types", "MESOS,DOCKER", "--allow-docker-parameters", "--require-docker-use-executor=false"];

/// The suite's Docker daemon, with a bridge.
pub fn docker() -> &'static Docker {
    let run = |words: &[&str]| Command::new("ip").args(words).stderr(Stdio::null()).status().unwrap();
    run(&["link", "add", "name", BRIDGE, "type", "bridge"]);
    run(&["address", "add", "172.31.251.1/24", "dev", BRIDGE]);
    assert!(run(&["link", "set", BRIDGE, "up"]).success(), "root can make a bridge");
    crate::docker::docker_on(BRIDGE).expect("root can start a Docker daemon")
}

/// The bridge outlives the daemon.
pub fn remove_bridge() {
    let _ = Command::new("ip").args(["link", "delete", BRIDGE]).stderr(Stdio::null()).status();
}

fn start(docker: &Docker, daybreak: &[&str]) -> Cluster {
    let socket = format!("--docker_socket={}", docker.socket().display());
    let agent = ["--containerizers=docker,mesos", &socket];
    Cluster::start(&Plan { daybreak, agent: &agent, containers: Some(docker), ..Plan::default() })
}

fn job_file(name: &str, container: &str, cmdline: &str, more: &str) -> String {
    format!(
        "inside = Process(name = 'inside', cmdline = '''{cmdline}''')\n\
         task = SequentialTask(processes = [inside], finalization_wait = 5, resources = Resources(cpu = 0.1, ram = 64*MB, disk = 64*MB))\n\
         jobs = [Job(task = task, cluster = 'devcluster', role = '{ROLE}', environment = 'devel', name = '{name}',\n\
         container = {container}, {more})]\n"
    )
}

fn key(name: &str) -> String {
    format!("devcluster/{ROLE}/devel/{name}")
}

/// Ids of the containers that carry the label.
fn labelled(docker: &Docker, label: &str) -> Vec<String> {
    let filter = format!("label={label}");
    docker.run(&["ps", "--quiet", "--no-trunc", "--filter", &filter]).lines().map(str::to_owned).collect()
}

pub fn docker_task() {
    let docker = docker();
    let cluster = start(docker, &ALLOWED);
    let job = key("inside");
    let container = format!(
        "Container(docker = Docker(image = '{IMAGE}', parameters = [Parameter(name = 'env', value = 'COLOR=green'), \
         Parameter(name = 'label', value = 'suite=inside')]))"
    );
    let line = "echo $COLOR {{mesos.instance}} {{thermos.task_id}}; cat /etc/passwd; ls /usr/bin/python3; sleep 1000";
    cluster.create(&job, &job_file("inside", &container, line, "service = True")).expect_code(0);
    let ids = cluster.wait_for_active(&job, "RUNNING", 1);
    assert_eq!(labelled(docker, "suite=inside").len(), 1);
    let said = wait_for("its output", Duration::from_secs(20), || {
        Some(cluster.log(&ids[0], "inside", "stdout")).filter(|text| text.ends_with('\n') && text.contains("guest"))
    });
    assert!(said.starts_with(&format!("green 0 {}\n", ids[0])), "{said}");
    assert!(cluster.log(&ids[0], "inside", "stderr").contains("/usr/bin/python3"), "not the machine's files");
    let page = cluster.daemon.get(&format!("/scheduler/{ROLE}/devel/inside")).1;
    assert!(page.contains("agent-0"), "{page}");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    cluster.wait_for_status(&job, "KILLED");
    wait_for("the container's end", Duration::from_secs(20), || {
        labelled(docker, "suite=inside").is_empty().then_some(())
    });
}

/// The exit code that a task's process is told to have had.
fn return_code(cluster: &Cluster, task: &str) -> i64 {
    let (_, text) = http("GET", &format!("{}/files/{task}", cluster.daemon.url), &[], b"");
    let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    told["processes"][0]["runs"][0]["returnCode"].as_i64().unwrap_or_else(|| panic!("{text}"))
}

pub fn docker_bare() {
    let cluster = start(docker(), &ALLOWED);
    // An image without bash: its plain shell reads the profile as well.
    let job = key("bare");
    let line = "test -e /bin/bash && exit 1; echo \"export GREETING=hello\" > .thermos_profile; sh -c \"exit 7\"";
    cluster.create(&job, &job_file("bare", &format!("Docker(image = '{BARE}')"), line, "")).expect_code(0);
    let task = cluster.wait_for_end(&job);
    let id = task["assignedTask"]["taskId"].as_str().unwrap();
    assert_eq!((task["status"].as_str(), return_code(&cluster, id)), (Some("FAILED"), 7), "{task}");
    let job = key("finishes");
    let text = format!(
        "first = Process(name = 'first', cmdline = 'echo \"export GREETING=hello\" > .thermos_profile')\n\
         second = Process(name = 'second', cmdline = 'echo $GREETING')\n\
         task = SequentialTask(processes = [first, second], resources = Resources(cpu = 0.1, ram = 64*MB, disk = 64*MB))\n\
         jobs = [Job(task = task, cluster = 'devcluster', role = '{ROLE}', environment = 'devel', name = 'finishes',\n\
         container = Docker(image = '{BARE}'))]\n"
    );
    cluster.create(&job, &text).expect_code(0);
    let task = cluster.wait_for_end(&job);
    assert_eq!(task["status"], "FINISHED", "{task}");
    let id = task["assignedTask"]["taskId"].as_str().unwrap();
    assert_eq!(cluster.log(id, "second", "stdout"), "hello\n");
    // One that is not there fails with the agent's own words.
    let job = key("missing");
    cluster.create(&job, &job_file("missing", "Docker(image = 'daybreak-test/none:1')", "true", "")).expect_code(0);
    let task = cluster.wait_for_end(&job);
    assert_eq!(task["status"], "FAILED", "{task}");
    assert!(task.to_string().contains("daybreak-test/none"), "{task}");
    // One with a user of its own may not even execute what agents fetch for root, and is told what helps.
    let job = key("stranger");
    cluster.create(&job, &job_file("stranger", &format!("Docker(image = '{GREETER}')"), "id -u", "")).expect_code(0);
    let task = cluster.wait_for_end(&job);
    assert_eq!(task["status"], "FAILED", "{task}");
    assert!(task.to_string().contains("Container exited with status 126"), "{task}");
    assert!(task.to_string().contains("Docker parameter user"), "{task}");
    // Named by Docker's own option, the user runs the processes, in a sandbox of theirs.
    let line = "echo > mine && echo $(id -u):$(id -g) $(busybox stat -c %u mine)";
    let users =
        [("root", "0", "0:0 0\n"), ("guest", "guest", "1234:1234 1234\n"), ("number", "4321:7", "4321:7 4321\n")];
    for (name, user, said) in users {
        let job = key(&format!("as-{name}"));
        let container =
            format!("Docker(image = '{GREETER}', parameters = [Parameter(name = 'user', value = '{user}')])");
        cluster.create(&job, &job_file(&format!("as-{name}"), &container, line, "")).expect_code(0);
        let task = cluster.wait_for_end(&job);
        assert_eq!(task["status"], "FINISHED", "{task}");
        let id = task["assignedTask"]["taskId"].as_str().unwrap();
        assert_eq!(cluster.log(id, "inside", "stdout"), said, "{name}");
    }
    let job = key("as-nobody-knows");
    let container = format!("Docker(image = '{GREETER}', parameters = [Parameter(name = 'user', value = 'stranger')])");
    cluster.create(&job, &job_file("as-nobody-knows", &container, line, "")).expect_code(0);
    let task = cluster.wait_for_end(&job);
    assert_eq!(task["status"], "FAILED", "{task}");
    assert!(task.to_string().contains("stranger is no user of the image"), "{task}");
}

pub fn docker_agent_restart() {
    let docker = docker();
    let mut cluster = start(docker, &ALLOWED);
    let job = key("kept");
    let container =
        format!("Docker(image = '{IMAGE}', parameters = [Parameter(name = 'label', value = 'suite=kept')])");
    let line = "echo begun; sleep 1000";
    cluster.create(&job, &job_file("kept", &container, line, "service = True")).expect_code(0);
    let before = (cluster.wait_for_active(&job, "RUNNING", 1), labelled(docker, "suite=kept"));
    cluster.agents[0].kill_nine();
    std::thread::sleep(Duration::from_secs(1));
    cluster.agents[0].start_again();
    cluster.wait_for_agents();
    // Mesos' Docker containerizer recovers only containers whose executor speaks the driver's protocol (docker.cpp, `_recover`: it wants
    // the executor's libprocess pid). Those of the HTTP API it removes, and their tasks have failed; a service runs again.
    let after = wait_for("the service to run again", Duration::from_secs(90), || {
        let after = (cluster.active(&job, "RUNNING"), labelled(docker, "suite=kept"));
        (after.0.len() == 1 && after.1.len() == 1 && after != before).then_some(after)
    });
    assert!(after.0 != before.0 && after.1 != before.1, "{before:?} {after:?}");
    let ended = cluster.wait_for_end(&job);
    assert!(ended["status"] == "FAILED" || ended["status"] == "LOST", "{ended}");
    assert_eq!(cluster.log(&after.0[0], "inside", "stdout"), "begun\n");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    wait_for("the container's end", Duration::from_secs(20), || {
        labelled(docker, "suite=kept").is_empty().then_some(())
    });
}

pub fn docker_alone() {
    let cluster = start(docker(), &ALLOWED);
    let mut wanted = wire::job(ROLE, "greeter", 1, false, "");
    let config = wanted["6"]["rec"].as_object_mut().unwrap();
    config.remove("25");
    config.insert("29".into(), json!({"rec": {"2": {"rec": {"1": {"str": GREETER}}}}}));
    let (code, message) = wire::create(&cluster.daemon.url, wanted).unwrap();
    assert_eq!(code, wire::OK, "{message}");
    let task = cluster.wait_for_end(&key("greeter"));
    assert_eq!(task["status"], "FINISHED", "{task}");
    let id = task["assignedTask"]["taskId"].as_str().unwrap();
    // Mesos' own executor tells the container nothing about its task.
    assert_eq!(cluster.log(id, "docker", "stdout").trim_end(), "hello from");
}

/// Debian's registry on a port of loopback, ended when dropped.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    fn start(folder: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let config = folder.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n",
            folder.join("registry").display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("install what ./test names: apt-get install docker-registry");
        wait_for("the registry", Duration::from_secs(20), || {
            crate::support::try_http("GET", &format!("http://{address}/v2/"), &[], b"").ok().filter(|it| it.0 == 200)
        });
        Self { child, address }
    }

    /// Puts an image into it; its name there.
    fn push(&self, docker: &Docker, image: &str) -> String {
        let name = format!("{}/{image}", self.address);
        docker.run(&["tag", image, &name]);
        docker.run(&["push", &name]);
        docker.run(&["rmi", &name]);
        name
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn etl_image() {
    let docker = docker();
    let cluster = start(docker, &["--suppress-idle-after", "1secs"]);
    let registry = Registry::start(cluster.directory.path());
    let image = registry.push(docker, IMAGE);
    let master = format!("127.0.0.1:{}", cluster.masters[0].port);
    let mut child = Command::new(release().join("daybreak"))
        .args(["etl", "-master", &master, "-cmd", "cat /etc/passwd; sleep 1", "-maxtasks", "2", "-user", "root"])
        .args(["-wait", "4", "-img", &image, "-health", &format!("127.0.0.1:{}", free_port())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    while seen.iter().filter(|line: &&String| line.contains("Finished task:  ")).count() < 4 {
        let line = lines.next().unwrap_or_else(|| panic!("the program goes on: {seen:#?}"));
        assert!(!line.contains("FAILED"), "{line}");
        seen.push(line);
    }
    let output = cluster.find("stdout").expect("the output of a copy");
    assert!(std::fs::read_to_string(output).unwrap().contains("guest"), "it ran in the image");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    wait_for("the containers' end", Duration::from_secs(20), || {
        docker.run(&["ps", "--quiet"]).is_empty().then_some(())
    });
}

/// Flags of an agent whose own containerizer has images; its control groups are below `root`.
fn image_flags(source: &str, root: &str) -> Vec<String> {
    [
        "--containerizers=mesos",
        "--launcher=linux",
        "--isolation=filesystem/linux,docker/runtime,cgroups/cpu,cgroups/mem",
        "--image_providers=docker,appc",
        "--image_provisioner_backend=copy",
        "--docker_store_dir={work}/store",
        "--appc_store_dir={work}/appc",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([format!("--docker_registry={source}"), format!("--cgroups_root={root}")])
    .collect()
}

/// An image as `docker save` of old wrote it, which is what Mesos reads from a directory: a layer and its description.
fn save(root: &Path, folder: &Path, name: &str, tag: &str) {
    const LAYER: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    let whole = folder.join("whole");
    std::fs::create_dir_all(whole.join(LAYER)).unwrap();
    let made =
        Command::new("tar").arg("-C").arg(root).arg("-cf").arg(whole.join(LAYER).join("layer.tar")).arg(".").status();
    assert!(made.unwrap().success());
    let described = json!({"id": LAYER, "created": "2020-01-01T00:00:00Z", "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin", "KIND=image"], "Cmd": ["/bin/sh"]}});
    std::fs::write(whole.join(LAYER).join("json"), described.to_string()).unwrap();
    std::fs::write(whole.join(LAYER).join("VERSION"), "1.0").unwrap();
    let repositories = json!({name: {tag: LAYER}});
    std::fs::write(whole.join("repositories"), repositories.to_string()).unwrap();
    let archive = folder.join(format!("{name}:{tag}.tar"));
    std::fs::create_dir_all(archive.parent().unwrap()).unwrap();
    let made = Command::new("tar").arg("-C").arg(&whole).arg("-cf").arg(archive).arg(".").status();
    assert!(made.unwrap().success());
    std::fs::remove_dir_all(whole).unwrap();
}

/// The same for Appc: an archive's content in the agent's store, under the id that is its checksum.
fn store_appc(root: &Path, store: &Path, name: &str) -> String {
    let id = format!("sha512-{}", "ab".repeat(64));
    let image = store.join("images").join(&id);
    std::fs::create_dir_all(&image).unwrap();
    let copied = Command::new("cp").arg("-a").arg(root).arg(image.join("rootfs")).status();
    assert!(copied.unwrap().success());
    let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.6.1", "name": name,
        "labels": [{"name": "version", "value": "1"}, {"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}]});
    std::fs::write(image.join("manifest"), manifest.to_string()).unwrap();
    id
}

pub fn image_task() {
    let docker = docker();
    let folder = crate::support::open_directory();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    save(&docker.image_root(), &images, "daybreak-test/tools", "1");
    let shared = folder.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("word"), "of the machine\n").unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
    let cgroups = crate::cluster::cgroups_root();
    let flags = image_flags(images.to_str().unwrap(), &cgroups);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let containerizer =
        format!("--mesos-containerizer-path={}", crate::cluster::find().unwrap().containerizer().display());
    let mounts = format!("{}:/var/everywhere:ro", shared.display());
    let daybreak =
        ["--allow-container-volumes", "--executor-flags", &containerizer, "--global-container-mounts", &mounts];
    std::fs::create_dir_all("/var/everywhere").unwrap();
    // It is away and recovers for longer than the suite's masters usually wait.
    let master = ["--max_agent_ping_timeouts=20"];
    let mut cluster = Cluster::start(&Plan { daybreak: &daybreak, agent: &flags, master: &master, ..Plan::default() });
    let job = key("imaged");
    let container = format!(
        "Mesos(image = DockerImage(name = 'daybreak-test/tools', tag = '1'), volumes = [Volume(container_path = 'shared', \
         host_path = '{}', mode = Mode('RW'))])",
        shared.display()
    );
    let line = "id; pwd; ls /usr/bin/python3; cat /shared/word /var/everywhere/word; echo written > /shared/answer; \
        echo kept > file; sleep 1000";
    cluster.create(&job, &job_file("imaged", &container, line, "service = True")).expect_code(0);
    let ids = cluster.wait_for_active(&job, "RUNNING", 1);
    let said = wait_for("its output", Duration::from_secs(20), || {
        Some(cluster.log(&ids[0], "inside", "stdout")).filter(|text| text.matches("of the machine").count() == 2)
    });
    assert!(said.contains(&format!("({ROLE})")) && said.contains("\n/mnt/mesos/sandbox\n"), "{said}");
    assert!(cluster.log(&ids[0], "inside", "stderr").contains("/usr/bin/python3"), "not the machine's files");
    wait_for("what it has written", Duration::from_secs(20), || {
        std::fs::read_to_string(shared.join("answer")).ok().filter(|text| text == "written\n")
    });
    // The agent comes and goes, the task stays.
    cluster.agents[0].kill_nine();
    std::thread::sleep(Duration::from_secs(1));
    cluster.agents[0].start_again();
    cluster.wait_for_agents();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(cluster.active(&job, "RUNNING"), ids, "the same task");
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    cluster.wait_for_status(&job, "KILLED");
    drop(cluster);
    let _ = std::fs::remove_dir("/var/everywhere");
}

pub fn image_sources() {
    let docker = docker();
    let folder = crate::support::open_directory();
    let registry = Registry::start(folder.path());
    let image = registry.push(docker, IMAGE);
    let (name, tag) = image.rsplit_once(':').unwrap();
    let store = folder.path().join("appc");
    let appc = store_appc(&docker.image_root(), &store, "example.com/tools");
    let source = format!("http://{}", registry.address);
    let mut flags = image_flags(&source, &crate::cluster::cgroups_root());
    flags.retain(|flag| !flag.starts_with("--appc_store_dir"));
    flags.push(format!("--appc_store_dir={}", store.display()));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let containerizer =
        format!("--mesos-containerizer-path={}", crate::cluster::find().unwrap().containerizer().display());
    let daybreak = ["--executor-flags", &containerizer];
    let cluster = Cluster::start(&Plan { daybreak: &daybreak, agent: &flags, ..Plan::default() });
    for (job, image) in [
        ("pulled", format!("DockerImage(name = '{name}', tag = '{tag}')")),
        ("appc", format!("AppcImage(name = 'example.com/tools', image_id = '{appc}')")),
    ] {
        let container = format!("Mesos(image = {image})");
        let line = "cat /etc/passwd; id -un; exit 6";
        cluster.create(&key(job), &job_file(job, &container, line, "")).expect_code(0);
        let task = cluster.wait_for_end(&key(job));
        let id = task["assignedTask"]["taskId"].as_str().unwrap();
        assert_eq!((task["status"].as_str(), return_code(&cluster, id)), (Some("FAILED"), 6), "{task}");
        let said = cluster.log(id, "inside", "stdout");
        assert!(said.contains("guest") && said.ends_with(&format!("\n{ROLE}\n")), "{said}");
    }
}
