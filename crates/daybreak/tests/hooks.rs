//! Hooks of job files with the real binary: they run around the client's calls, in Python, and may stop them.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::{DAYBREAK, Daemon, login};

/// A job whose hooks write what they are told into `seen`, and allow a kill only where the file `allow` lies.
fn job_file(directory: &std::path::Path) -> String {
    let (role, shown) = (login(), directory.display());
    let text = format!(
        r#"
import os, subprocess

class Record(object):
  def note(self, *words):
    with open('{shown}/seen', 'a') as out:
      out.write(' '.join(str(word) for word in words) + '\n')

  def pre_create_job(self, config):
    self.note('pre_create_job', config.job_key(), config.instances(), config.raw().task().name())
    return subprocess.call(['true']) == 0

  def post_create_job(self, result, config):
    self.note('post_create_job', result.responseCode)
    raise ValueError('this is only logged')

  def err_create_job(self, exc, config):
    self.note('err_create_job', type(exc).__name__, exc.response.responseCode)

  def pre_kill_job(self, job_key, instances=None, **rest):
    self.note('pre_kill_job', job_key, instances)
    return os.path.exists('{shown}/allow')

  def generic_hook(self, hook_config, event, method, result, args, kw):
    self.note('generic', event, method, hook_config.job_key)
    return True

hooks = [Record()]
p = Process(name = 'p', cmdline = 'sleep 1000')
t = Task(processes = [p], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))
jobs = [Service(cluster = 'devcluster', role = '{role}', environment = 'devel', name = 'hooked', task = t, enable_hooks = True)]
"#
    );
    let path = directory.join("hooked.aurora");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn hooks_run_around_the_calls_of_verbs_and_may_stop_them() {
    let directory = support::open_directory();
    let daemon = Daemon::start(&["--allow-root-role"]);
    let file = job_file(directory.path());
    let key = format!("devcluster/{}/devel/hooked", login());
    let seen = || {
        let path = directory.path().join("seen");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };

    let created = daemon.aurora(&["job", "create", &key, &file]).expect_code(0);
    assert_eq!(seen(), [format!("pre_create_job {key} 1 p"), "post_create_job 1".to_owned()]);
    assert!(created.stderr.contains("Error in post_create_job in Record"), "{}", created.stderr);
    assert!(created.stderr.contains("ValueError: this is only logged"), "{}", created.stderr);

    daemon.aurora(&["job", "create", &key, &file]).expect_code(4);
    assert_eq!(seen()[1], "err_create_job APIError 0");

    let stopped = daemon.aurora(&["job", "killall", &key, "--config", &file]).expect_code(1);
    assert!(stopped.stderr.contains("Pre hooks stopped call to kill_job"), "{}", stopped.stderr);
    assert_eq!(seen(), [format!("pre_kill_job {key} [0]")]);
    let status = daemon.aurora(&["job", "status", &key, "--write-json"]).expect_code(0).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status[0]["active"].as_array().unwrap().len(), 1, "nothing was killed");

    let restarted =
        daemon.aurora(&["job", "restart", &key, "--config", &file, "--watch-secs", "0", "-v"]).expect_code(0);
    assert!(restarted.stderr.contains("Running generic_hook in Record"), "{}", restarted.stderr);
    assert_eq!(seen(), [format!("generic pre restart {key}"), format!("generic post restart {key}")]);

    daemon.aurora(&["update", "start", &key, &file, "--bind", "x=1"]).expect_code(0);
    assert_eq!(seen()[0], format!("generic pre start_job_update {key}"));

    std::fs::write(directory.path().join("allow"), "").unwrap();
    daemon.aurora(&["job", "killall", &key, "--config", &file]).expect_code(0);
    assert_eq!(seen(), [format!("pre_kill_job {key} [0]"), format!("generic post kill_job {key}")]);
}

/// The confirmation that Aurora's documentation shows, written for a client of long ago.
const CONFIRM: &str = r"
class KillConfirmer(object):
  def pre_kill_job(self, job_key, shards=None):
    return raw_input('Really kill %s of %s? ' % (shards, job_key)).lower() == 'yes'

hooks = [KillConfirmer()]
t = Task(processes = [Process(name = 'p', cmdline = 'sleep 1000')], resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))
";

#[test]
fn a_hook_may_ask_the_user() {
    let directory = support::open_directory();
    let daemon = Daemon::start(&["--allow-root-role"]);
    let (role, file) = (login(), directory.path().join("confirm.aurora"));
    let job = format!(
        "jobs = [Service(cluster = 'devcluster', role = '{role}', environment = 'devel', name = 'asked', task = t, enable_hooks = True)]\n"
    );
    std::fs::write(&file, format!("{CONFIRM}{job}")).unwrap();
    let (key, file) = (format!("devcluster/{role}/devel/asked"), file.to_str().unwrap().to_owned());
    daemon.aurora(&["job", "create", &key, &file]).expect_code(0);
    let answered = |answer: &str| {
        let config = daemon.state.join("client");
        let mut command = Command::new(DAYBREAK);
        command.args(["aurora", "job", "killall", &key, "--config", &file]);
        command.env("AURORA_CONFIG_ROOT", &config).env("HOME", &config);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{answer}").unwrap();
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(&format!("Really kill [0] of {key}?")), "{told}");
        output.status.code()
    };
    assert_eq!(answered("no"), Some(1));
    daemon.aurora(&["job", "status", &key]).expect_code(0);
    assert_eq!(answered("yes"), Some(0));
}
