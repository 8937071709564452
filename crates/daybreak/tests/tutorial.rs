//! The tutorial, step for step, with the real binary, a real Python and a real browser: create with the bug, see it fail, read the
//! NameError in the terminal and on the page, fix it, update, see it run, read its output, kill it.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::browser::Browser;
use support::{DAYBREAK, Done, open_directory, processes_of, wait_for};

/// Where pictures are kept for people to look at.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("tutorial")
}

/// The tutorial in a directory, with a daemon of its own.
struct Tutorial {
    directory: tempfile::TempDir,
    url: String,
    role: String,
    printed: String,
}

impl Tutorial {
    fn begin() -> Self {
        let directory = open_directory();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let home = directory.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let done = Command::new(DAYBREAK)
            .args(["tutorial", directory.path().join("hello").to_str().unwrap(), "--listen", &free.to_string()])
            .env("HOME", &home)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{printed}{}", String::from_utf8_lossy(&done.stderr));
        let key =
            printed.split_whitespace().find(|word| word.starts_with("devcluster/")).expect("a job key is printed");
        let role = key.split('/').nth(1).unwrap().to_owned();
        Self { url: format!("http://{free}"), role, printed, directory }
    }

    fn key(&self) -> String {
        format!("devcluster/{}/devel/hello_world", self.role)
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join("hello").join(name).to_str().unwrap().to_owned()
    }

    fn aurora(&self, arguments: &[&str]) -> Done {
        let config = self.directory.path().join("client");
        std::fs::create_dir_all(&config).unwrap();
        let clusters = serde_json::json!([{"name": "devcluster", "scheduler_uri": self.url}]);
        std::fs::write(config.join("clusters.json"), clusters.to_string()).unwrap();
        let mut command = Command::new(DAYBREAK);
        command.arg("aurora").args(arguments).env("AURORA_CONFIG_ROOT", &config).env("HOME", &config);
        let output = command.stdin(Stdio::null()).output().unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn wait_for_status(&self, text: &str) -> String {
        wait_for(&format!("job status to show {text:?}"), Duration::from_secs(60), || {
            let done = self.aurora(&["job", "status", &self.key()]);
            done.stdout.contains(text).then_some(done.stdout)
        })
    }
}

impl Drop for Tutorial {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("daybreak.log")).unwrap_or_default();
            eprintln!("--- log of the daemon ---\n{log}");
        }
        support::kill_processes_of(self.directory.path());
    }
}

#[test]
fn the_tutorial_works_as_it_is_told() {
    let tutorial = Tutorial::begin();
    let (key, file) = (tutorial.key(), tutorial.path("hello_world.aurora"));
    for command in ["job create", "job status", "xrang", "update start", "job killall"] {
        assert!(tutorial.printed.contains(command), "names the command {command:?}:\n{}", tutorial.printed);
    }

    // Create with the bug, by the tutorial's old verb.
    let created = tutorial.aurora(&["create", &key, &file]).expect_code(0);
    let said = format!("{}{}", created.stdout, created.stderr);
    assert!(said.contains(" INFO] Creating job hello_world"), "{said}");
    let response = format!("OK (message: 1 new tasks pending for job {}/devel/hello_world)", tutorial.role);
    assert!(said.contains(" INFO] Response from scheduler: ") && said.contains(&response), "{said}");
    assert!(said.contains(&format!(" INFO] Job url: {}/scheduler/{}/devel/hello_world", tutorial.url, tutorial.role)));

    // The printed commands reach the daemon, on whatever port it listens, as they stand.
    let printed = tutorial.printed.lines().find(|line| line.contains(" aurora job status ")).expect("a command");
    let mut shell = Command::new("bash");
    shell.args(["-c", printed]).env("HOME", tutorial.directory.path().join("home")).env_remove("AURORA_CONFIG_ROOT");
    let typed = shell.stdin(Stdio::null()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&typed.stdout), String::from_utf8_lossy(&typed.stderr));
    assert!(typed.status.success() && said.contains("hello_world"), "{printed}: {said}");

    // It fails; the terminal says why.
    let status = tutorial.wait_for_status("FAILED");
    assert!(status.contains("NameError") && status.contains("xrang"), "the last lines of stderr: {status}");

    // The clicks of the tutorial: roles, the role, the job, the task, stderr.
    let browser = Browser::open(1280, 900, false);
    browser.go(&tutorial.url);
    assert_eq!(browser.url(), format!("{}/scheduler", tutorial.url), "the root leads to the roles");
    browser.click(&tutorial.role);
    browser.click("hello_world");
    browser.wait_for_text("NameError", Duration::from_secs(20));
    browser.screenshot(&pictures().join("1-job-failed.png"));
    let failed = wait_for("a failed task", Duration::from_secs(20), || failed_task(&tutorial));
    browser.go(&format!("{}/scheduler/{}/devel/hello_world/task/{failed}", tutorial.url, tutorial.role));
    browser.wait_for_text("hello_world", Duration::from_secs(10));
    browser.screenshot(&pictures().join("2-task-failed.png"));
    open_stream(&browser, "stderr");
    browser.wait_for_text("NameError: name 'xrang' is not defined", Duration::from_secs(20));
    browser.screenshot(&pictures().join("3-stderr.png"));

    // The fix, and the update waited for. The job page is left open and must follow by itself.
    let script = std::fs::read_to_string(tutorial.path("hello_world.py")).unwrap();
    std::fs::write(tutorial.path("hello_world.py"), script.replace("xrang(", "range(")).unwrap();
    browser.go(&format!("{}/scheduler/{}/devel/hello_world", tutorial.url, tutorial.role));
    let update = tutorial.aurora(&["update", "start", "--wait", &key, &file]).expect_code(0);
    assert!(update.stdout.contains("ROLLED_FORWARD"), "{}", update.stdout);
    tutorial.wait_for_status("status: RUNNING");
    browser.wait_for_text("RUNNING", Duration::from_secs(20));
    browser.wait_for_text("ROLLED_FORWARD", Duration::from_secs(20));
    browser.screenshot(&pictures().join("4-job-running.png"));
    let running = running_task(&tutorial).expect("a running task");
    browser.go(&format!("{}/scheduler/{}/devel/hello_world/task/{running}", tutorial.url, tutorial.role));
    browser.screenshot(&pictures().join("5-task-running.png"));
    open_stream(&browser, "stdout");
    browser.wait_for_text("Hello world!", Duration::from_secs(20));
    browser.screenshot(&pictures().join("6-stdout.png"));

    // The end.
    browser.go(&format!("{}/scheduler/{}/devel/hello_world", tutorial.url, tutorial.role));
    let killed = tutorial.aurora(&["killall", &key]).expect_code(0);
    let said = format!("{}{}", killed.stdout, killed.stderr);
    assert!(said.contains(&format!(" INFO] Killing tasks for job: {key}")), "{said}");
    assert!(said.contains(" INFO] Response from scheduler: OK (message: Tasks killed.)"), "{said}");
    browser.wait_for_text("KILLED", Duration::from_secs(60));
    browser.screenshot(&pictures().join("7-job-killed.png"));
    tutorial.wait_for_status("status: KILLED");
    assert_eq!(browser.complaints(), Vec::<String>::new(), "the pages' scripts ran without errors");
    let python = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|it| it.contains("python"));
    assert!(!processes_of(tutorial.directory.path()).iter().any(python), "the script is gone");

    // A phone in the dark sees the same, without scrolling sideways.
    let phone = Browser::open(400, 850, true);
    phone.go(&format!("{}/scheduler/{}/devel/hello_world", tutorial.url, tutorial.role));
    phone.wait_for_text("KILLED", Duration::from_secs(10));
    phone.screenshot(&pictures().join("8-phone-dark.png"));
    assert!(phone.fits_its_width(), "nothing sticks out to the side");
    println!("pictures: {}", pictures().display());
}

/// Opens a stream of the process hello_world from the task's page.
fn open_stream(browser: &Browser, stream: &str) {
    let task = browser.url();
    let link = browser.link_ending(&format!("/hello_world/0/{stream}"));
    assert!(link.starts_with(task.split("/scheduler").next().unwrap()), "{link}");
    browser.go(&link);
}

fn task_with(tutorial: &Tutorial, list: &str, status: &str) -> Option<String> {
    let done = tutorial.aurora(&["job", "status", &tutorial.key(), "--write-json"]);
    let json: serde_json::Value = serde_json::from_str(&done.stdout).ok()?;
    let task = json[0][list].as_array()?.iter().find(|task| task["status"] == status)?;
    Some(task["assignedTask"]["taskId"].as_str()?.to_owned())
}

fn failed_task(tutorial: &Tutorial) -> Option<String> {
    task_with(tutorial, "inactive", "FAILED")
}

fn running_task(tutorial: &Tutorial) -> Option<String> {
    task_with(tutorial, "active", "RUNNING")
}

/// A service as people write their first one: a loop over several lines, whole cores and megabytes, and a role that is another user.
const SERVICE_OF_ANOTHER_USER: &str = r#"
greeter = Process(
  name = 'hello',
  cmdline = """
    while true; do
      echo hello from $(id -un)
      sleep 10
    done
  """)

jobs = [Service(
  task = SequentialTask(processes = [greeter], resources = Resources(cpu = 1.0, ram = 128*MB, disk = 128*MB)),
  cluster = 'devcluster', role = 'www-data', environment = 'prod', name = 'hello')]
"#;

#[test]
fn a_service_of_the_web_servers_user_is_created_speaks_and_is_killed() {
    let daemon = support::Daemon::start(&[]);
    let directory = open_directory();
    let file = directory.path().join("hello_world.aurora");
    std::fs::write(&file, SERVICE_OF_ANOTHER_USER).unwrap();
    let key = "devcluster/www-data/prod/hello";
    let created = daemon.aurora(&["job", "create", key, file.to_str().unwrap()]).expect_code(0);
    let said = format!("{}{}", created.stdout, created.stderr);
    assert!(said.contains("/scheduler/www-data/prod/hello"), "{said}");

    // As root it runs as that user; others can only start it as themselves.
    let user = if support::is_root() { "www-data".to_owned() } else { support::login() };
    let task = wait_for("the service to run", Duration::from_secs(40), || {
        let (active, _) = daemon.tasks(key);
        let running = active.iter().find(|task| task["status"] == "RUNNING")?;
        Some(running["assignedTask"]["taskId"].as_str().expect("a task id").to_owned())
    });
    let greeting = format!("hello from {user}\n");
    wait_for("its output", Duration::from_secs(20), || {
        let (status, text) = daemon.get(&format!("/files/{task}/hello/0/stdout"));
        (status == 200 && text == greeting).then_some(())
    });
    let (status, page) = daemon.get(&format!("/scheduler/www-data/prod/hello/task/{task}"));
    assert!(status == 200 && page.contains("of 128 MB"), "asked for and used: {page}");

    daemon.aurora(&["job", "killall", key]).expect_code(0);
    wait_for("the service to be killed", Duration::from_secs(40), || {
        let (active, inactive) = daemon.tasks(key);
        (active.is_empty() && inactive.iter().all(|task| task["status"] == "KILLED")).then_some(())
    });
    let sandbox = daemon.state.join("local/agents");
    assert_eq!(processes_of(&sandbox), Vec::<i32>::new(), "nothing of it is left");
}
