//! Job files in YAML, JSON and TOML with the real binary: run, created, compared, updated, scheduled, converted; each as the same job in
//! Python.

mod support;

use std::path::{Path, PathBuf};

use support::{DAYBREAK, Daemon, daybreak, login};

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name).to_str().unwrap().to_owned()
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_example_runs_from_every_format() {
    for name in ["hello.yaml", "hello.json", "hello.toml"] {
        let done = daybreak(&["run", &example(name)]);
        assert_eq!(done.code, 0, "{name}: {}{}", done.stdout, done.stderr);
        assert_eq!(done.stdout.trim_end(), "hello/0 | Hello from Daybreak, instance 0", "{name}");
    }
}

/// A service, and a job with a schedule.
fn jobs(instances: u32) -> String {
    let role = login();
    format!(
        "x-common: &common\n  cluster: devcluster\n  role: {role}\n  environment: devel\n\
         jobs:\n- <<: *common\n  name: web\n  service: true\n  instances: {instances}\n  update_config: {{watch_secs: 1}}\n  \
         task: &task\n    processes: [{{name: p, cmdline: sleep {{{{secs}}}}}}]\n    resources: {{cpu: 0.1, ram: 16 MB, disk: 16 MB}}\n\
         - <<: *common\n  name: nightly\n  cron_schedule: '0 3 * * *'\n  task: *task\n"
    )
    .replace("sleep {{secs}}", "'sleep {{secs}}'")
}

#[test]
fn verbs_of_the_client_take_every_format() {
    let daemon = Daemon::start(&["--allow-root-role"]);
    let directory = tempfile::tempdir().unwrap();
    let (web, nightly) = (format!("devcluster/{}/devel/web", login()), format!("devcluster/{}/devel/nightly", login()));
    let yaml = write(directory.path(), "jobs.yaml", &jobs(1));
    let bind = ["--bind", "secs=1000"];
    let listed = daemon.aurora(&["config", "list", &yaml]).expect_code(0);
    assert_eq!(listed.stdout.trim(), format!("jobs=[{web}, {nightly}]"));
    daemon.aurora(&["job", "create", &web, &yaml, bind[0], bind[1]]).expect_code(0);
    // The same job in the other formats is no change.
    for format in ["json", "toml", "aurora"] {
        let path = directory.path().join(format!("jobs.{format}")).to_str().unwrap().to_owned();
        let words = ["config", "convert", &yaml, "--to", format, "-o", &path, bind[0], bind[1]];
        let done = daybreak(&words).expect_code(0);
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""), "{format}");
        let diff = daemon.aurora(&["job", "diff", &web, &path]).expect_code(0);
        assert_eq!(
            diff.stdout,
            "This job update will:
not change instances: [0]
",
            "{format}"
        );
        let inspected = daemon.aurora(&["job", "inspect", &web, &path]).expect_code(0);
        assert!(inspected.stdout.contains("sleep 1000"), "{format}: {}", inspected.stdout);
    }
    let more = write(directory.path(), "more.yml", &jobs(2));
    daemon.aurora(&["update", "start", &web, &more, bind[0], bind[1], "--wait"]).expect_code(0);
    assert_eq!(daemon.tasks(&web).0.len(), 2);
    // By any name, where the format is said.
    let unnamed = write(directory.path(), "jobs.txt", &jobs(1));
    daemon.aurora(&["cron", "schedule", &nightly, &unnamed, "--format", "yaml", bind[0], bind[1]]).expect_code(0);
    daemon.aurora(&["job", "killall", &web]).expect_code(0);
}

#[test]
fn errors_show_the_place_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "typo.yaml", "cluster: devcluster\nrol: www\n");
    let done = daybreak(&["run", &path]).expect_code(3);
    assert!(done.stderr.contains("typo.yaml:2:1") && done.stderr.contains("2 | rol: www\n  | ^^^"), "{}", done.stderr);
    assert!(done.stderr.contains("did you mean 'role'?"), "{}", done.stderr);
}

#[test]
fn convert_says_what_is_lost_and_the_schema_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let hooked = "class Watch(object):\n  def pre_create_job(self, *a): pass\nhooks = [Watch()]\n\
        jobs = [Job(cluster='c', role='r', environment='e', name='n', task=Task(\n\
          processes=[Process(name='p', cmdline='echo {{unknown}}')], resources=Resources(cpu=1, ram=1*MB, disk=1*MB)))]\n";
    let path = write(directory.path(), "hooked.aurora", hooked);
    let done = daybreak(&["config", "convert", &path, "--to", "yaml"]).expect_code(0);
    assert!(done.stdout.starts_with("# Converted from hooked.aurora by daybreak config convert.\n\ncluster: c\n"));
    for part in ["is written as plain values", "hooks are code, and lost: Watch", "kept: {{unknown}}"] {
        assert!(done.stderr.contains(part), "{part:?} in: {}", done.stderr);
    }
    let over = daybreak(&["config", "convert", &path, "--to", "aurora", "-o", &path]);
    assert!(over.code != 0 && over.stderr.contains("over itself"), "{}", over.stderr);
    let schema = daybreak(&["config", "schema"]).expect_code(0);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/job-file.schema.json");
    assert_eq!(schema.stdout, std::fs::read_to_string(kept).unwrap());
}

#[test]
fn tasks_run_without_a_scheduler() {
    let directory = tempfile::tempdir().unwrap();
    let text = "name: t\nprocesses: [{name: p, cmdline: 'echo \"it is {{what}}\"'}]\nresources: {cpu: 1, ram: 1 MB, disk: 1 MB}\n";
    let path = write(directory.path(), "task.yaml", text);
    let mut command = std::process::Command::new(DAYBREAK);
    command.args(["thermos", "inspect", &path, "-E", "what=done"]).env("HOME", directory.path());
    let done = command.output().unwrap();
    let shown = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && shown.contains("it is done"), "{shown}{}", String::from_utf8_lossy(&done.stderr));
}
