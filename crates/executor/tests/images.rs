//! Tasks in images of the Mesos containerizer: a real root file system with a shell in it, real mounts in a namespace of their own, and a
//! stand-in for `mesos-containerizer` that enters it as the original does, or the original where `MESOS_HOME` says where a Mesos is. Takes
//! root.

mod agent;
mod harness;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::{Agent, Executor, task};
use checkpoint::layout::OutputStream;
use mesos::v1::{ContainerInfo, ExecutorInfo, TaskInfo, TaskState, Volume};
use serde_json::json;
use thrift::{
    AssignedTask, Container, DockerImage, Image, Limits, MesosContainer, Protocol, decode_value, encode_value,
};

/// Becomes what the original program is told to be: the folder is the root, the user is the user.
const CONTAINERIZER: &str = r#"#!/usr/bin/python3
import json, os, pwd, sys
if "--help" in sys.argv:
    print("Usage: launch [options]\n  --launch_info=VALUE", file=sys.stderr)
    sys.exit(0)
info = json.loads(next(a for a in sys.argv if a.startswith("--launch_info=")).split("=", 1)[1])
assert "--unshare_namespace_mnt" in sys.argv and os.getuid() == 0
user = pwd.getpwnam(info["user"])
os.chroot(info["rootfs"])
os.chdir(info["working_directory"])
os.setgroups([])
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
os.execv(info["command"]["value"], info["command"]["arguments"])
"#;

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not root: images were not entered");
    }
    root
}

/// Puts programs and the libraries they need below `root`.
fn make_image(root: &Path, programs: &[&str]) {
    for folder in ["bin", "usr/bin", "etc", "tmp", "lib64"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let mut files: Vec<String> = Vec::new();
    for program in programs {
        files.push((*program).to_owned());
        let output = Command::new("ldd").arg(program).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        files.extend(text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned));
    }
    for file in files {
        let target = root.join(file.trim_start_matches('/'));
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, &target).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/bash\n").unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    std::fs::write(root.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\n").unwrap();
    std::fs::write(root.join("in-the-image"), "").unwrap();
}

/// A task of an executor whose container has a volume of the machine's.
fn image_task(payload: Vec<u8>, volume: &str) -> TaskInfo {
    let plain = task("t", payload);
    let mut assigned: AssignedTask =
        decode_value(Protocol::Binary, plain.data.as_deref().unwrap(), Limits::REQUEST).unwrap();
    let image = Image::Docker(DockerImage { name: "n".into(), tag: "t".into() });
    assigned.task.as_mut().unwrap().container =
        Some(Container::Mesos(MesosContainer { image: Some(image), volumes: None }));
    let volumes = ["taskfs", volume].map(|path| Volume { container_path: path.into(), ..Volume::default() });
    let container = ContainerInfo { volumes: volumes.to_vec(), ..ContainerInfo::default() };
    TaskInfo {
        data: Some(encode_value(Protocol::Binary, &assigned).into()),
        executor: Some(ExecutorInfo { container: Some(container), ..ExecutorInfo::default() }),
        ..plain
    }
}

fn containerizer(folder: &Path) -> PathBuf {
    if let Some(home) = std::env::var_os("MESOS_HOME") {
        return Path::new(&home).join("libexec/mesos/mesos-containerizer");
    }
    let path = folder.join("mesos-containerizer");
    std::fs::write(&path, CONTAINERIZER).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Starts an executor in a mount namespace, with the image in its run directory.
fn start(agent: &Agent, flags: &[&str]) -> Executor {
    // The executor waits until the image lies there, as one does that the agent has made.
    // The agent has mounted it, in a namespace that ends with the container.
    let script = "until test -e ready; do sleep 0.02; done; exec unshare -m --propagation private \
                  /bin/bash -c 'mount --bind taskfs taskfs && exec \"$0\" \"$@\"' \"$0\" \"$@\"";
    let executable = env!("CARGO_BIN_EXE_daybreak-executor");
    let arguments: Vec<&str> = ["-c", script, executable].into_iter().chain(flags.iter().copied()).collect();
    let executor = Executor::start_file(
        Path::new("/bin/bash"),
        agent,
        &arguments,
        &[("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")],
        |_| {},
    );
    let root = executor.run.root().join("taskfs");
    make_image(
        &root,
        &["/bin/bash", "/usr/bin/id", "/usr/bin/cat", "/usr/bin/getent", "/usr/bin/sleep", "/usr/bin/touch"],
    );
    std::fs::write(executor.run.root().join("ready"), "").unwrap();
    executor
}

#[test]
fn a_task_runs_in_its_image_as_its_user() {
    if !is_root() {
        return;
    }
    let folder = harness::folder();
    let volume = folder.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("given"), "of the machine\n").unwrap();
    let program = containerizer(folder.path());
    let agent = Agent::start();
    let mut executor = start(&agent, &["--mesos-containerizer-path", program.to_str().unwrap()]);
    agent.until_subscribed(1);
    let inside = volume.to_str().unwrap();
    let profile = "echo 'export FOO=profile' > .thermos_profile";
    let look = format!(
        "echo $FOO $HOME $PWD $(id -un); cat {inside}/given; test -e /in-the-image && echo image; exec sleep 1000"
    );
    let body = json!({
        "task": {
            "processes": [{"name": "first", "cmdline": profile}, {"name": "p", "cmdline": look}],
            "constraints": [{"order": ["first", "p"]}],
        },
        // In the container's sandbox, and in the image.
        "health_check_config": {
            "health_checker": {"shell": {"shell_command": "test -e /in-the-image && test -e .thermos_profile && touch probed"}},
            "initial_interval_secs": 5, "interval_secs": 0.1,
        },
        "lifecycle": {},
    });
    agent.launch(image_task(body.to_string().into_bytes(), inside));
    agent.until_state("t", TaskState::Running);
    assert_eq!(agent.told("t")[1].1, "Task is healthy.", "{}", executor.log());
    let log = executor.run.log("p", 0, OutputStream::Stdout);
    harness::eventually("the output", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("image")));
    let output = std::fs::read_to_string(&log).unwrap();
    assert_eq!(output, "profile /mnt/mesos/sandbox /mnt/mesos/sandbox nobody\nof the machine\nimage\n");
    assert!(executor.run.sandbox().join("probed").exists());
    let passwd = std::fs::read_to_string(executor.run.root().join("taskfs/etc/passwd")).unwrap();
    assert!(passwd.lines().any(|line| line.starts_with("nobody:") && line.contains(":65534:65534:")), "{passwd}");
    agent.kill("t", None);
    assert!(executor.end().success());
    assert_eq!(agent.states("t").last(), Some(&TaskState::Killed));
    // The mounts went with their namespace.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(executor.run.root().to_str().unwrap()), "{mounts}");
}

#[test]
fn a_user_who_is_another_one_in_the_image_is_refused() {
    if !is_root() {
        return;
    }
    let folder = harness::folder();
    let program = containerizer(folder.path());
    let agent = Agent::start();
    let mut executor = start(&agent, &["--mesos-containerizer-path", program.to_str().unwrap()]);
    let root = executor.run.root().join("taskfs/etc");
    std::fs::write(root.join("passwd"), "nobody:x:7:65534::/:/bin/bash\n").unwrap();
    std::fs::write(root.join("group"), "nogroup:x:65534:\n").unwrap();
    agent.until_subscribed(1);
    agent.launch(image_task(harness::payload("true"), folder.path().to_str().unwrap()));
    assert!(executor.end().success());
    let last = agent.told("t").pop().unwrap();
    assert_eq!(last.0, TaskState::Failed);
    assert!(last.1.contains("user nobody (65534) is another one in the image: uid=7(nobody)"), "{}", last.1);
}

#[test]
fn an_agent_without_the_program_is_told_apart() {
    for (path, why) in [("/no/such/program", "No such file"), ("/etc/passwd", "no executable file")] {
        let agent = Agent::start();
        let mut executor = Executor::start_with(&agent, &["--mesos-containerizer-path", path], &[]);
        agent.until_subscribed(1);
        agent.launch(image_task(harness::payload("true"), "/v"));
        assert!(executor.end().success());
        let told = agent.told("t");
        assert_eq!(told[0].0, TaskState::Starting);
        assert!(told[1].1.contains("mesos-containerizer") && told[1].1.contains(why), "{}", told[1].1);
    }
}
