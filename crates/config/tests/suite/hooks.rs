//! Hooks of job files: they run in the interpreter that made them, with what the client's calls are made with.

use config::{HookCall, HookEvent, HookOutcome, HookSession, HookVerdict};
use serde_json::{Value, json};

use crate::common::{Files, request};

const KEY: &str = "c/www-data/devel/hello";

/// A file whose job has hooks: the classes in `classes`, in the list `hooks`.
fn text(classes: &str, hooks: &str) -> String {
    format!(
        "{classes}\n\
         task = SequentialTask(processes = [Process(name = 'p', cmdline = 'true')],\n\
           resources = Resources(cpu = 1, ram = 1*MB, disk = 1*MB))\n\
         jobs = [Job(cluster = 'c', role = 'www-data', environment = 'devel', name = 'hello', instances = '{{{{count}}}}',\n\
           enable_hooks = True, task = task)]\n\
         hooks = {hooks}\n"
    )
}

struct Hooked {
    files: Files,
    session: HookSession,
}

impl Hooked {
    fn new(classes: &str, hooks: &str) -> Self {
        let files = Files::new();
        let mut request = request(&files.write("hooks.aurora", &text(classes, hooks))).bind("count", "3");
        request.wanted = Some(KEY.parse().expect("a key"));
        request.working_directory = Some(files.folder.path().to_owned());
        let session =
            HookSession::start(&request, &json!({ "instanceCount": 3 }), false).expect("the hooks are loaded");
        Self { files, session }
    }

    fn run(&mut self, event: HookEvent, outcome: Option<HookOutcome>) -> HookVerdict {
        let call = HookCall {
            event,
            method: "kill_job".into(),
            arguments: vec![("job_key".into(), json!("@job_key"))],
            keywords: vec![
                ("instances".into(), json!([0, 2])),
                ("config".into(), json!("@config")),
                ("message".into(), Value::Null),
            ],
            outcome,
        };
        self.session.run(&call).expect("the hooks answer")
    }

    fn passes(&mut self) -> bool {
        self.run(HookEvent::Pre, None).passed
    }

    /// What hooks wrote into the file `seen`.
    fn seen(&self) -> String {
        std::fs::read_to_string(self.files.folder.path().join("seen")).unwrap_or_default()
    }
}

#[test]
fn every_hook_runs_and_one_false_value_stops_the_call() {
    let classes = "import subprocess\n\
        class Hook(object):\n\
        \x20 def __init__(self, name, verdict):\n\
        \x20   self.name, self.verdict, self.count = name, verdict, 0\n\
        \x20 def pre_kill_job(self, job_key, instances=None, **kw):\n\
        \x20   self.count += 1\n\
        \x20   subprocess.check_call(['sh', '-c', 'echo %s %d %s %s >> seen' % (self.name, self.count, job_key, instances)])\n\
        \x20   return self.verdict\n";
    let mut hooked = Hooked::new(classes, "[Hook('a', None), Hook('b', 'yes')]");
    assert!(!hooked.passes(), "no value is false");
    assert_eq!(hooked.seen(), format!("a 1 {KEY} [0, 2]\nb 1 {KEY} [0, 2]\n"));
    assert!(!hooked.passes(), "they keep what they know");
    assert!(hooked.seen().ends_with(&format!("b 2 {KEY} [0, 2]\n")));
    assert!(Hooked::new(classes, "[Hook('a', 1)]").passes());
    assert!(Hooked::new(classes, "[]").passes());
}

#[test]
fn hooks_of_the_documentation_of_older_clients_are_given_what_they_name() {
    let mut old = Hooked::new(
        "class Old(object):\n  def pre_kill_job(self, job_key, shards=None):\n    return job_key.role == 'www-data' and shards == [0, 2]\n",
        "[Old()]",
    );
    assert!(old.passes());
    let mut plain =
        Hooked::new("class Plain(object):\n  def pre_kill_job(self, job_key):\n    return True\n", "[Plain()]");
    assert!(plain.passes());
    let call = HookCall {
        event: HookEvent::Pre,
        method: "start_job_update".into(),
        arguments: vec![("config".into(), json!("@config")), ("message".into(), json!("why"))],
        keywords: vec![("instances".into(), json!([1])), ("metadata".into(), Value::Null)],
        outcome: None,
    };
    let mut update = Hooked::new(
        "class Update(object):\n  def pre_start_job_update(self, config, instances=None):\n    return config.instances() == 3 and instances == [1]\n",
        "[Update()]",
    );
    assert!(update.session.run(&call).unwrap().passed);
}

#[test]
fn a_generic_hook_stands_in_for_what_a_class_does_not_have() {
    let classes = "class Generic(object):\n\
        \x20 def pre_kill_job(self, job_key, **kw):\n    return False\n\
        \x20 def generic_hook(self, hook_config, event, method_name, result_or_err, args, kw):\n\
        \x20   config, key = hook_config\n\
        \x20   open('seen', 'w').write('%s %s %s %s %s' % (event, method_name, result_or_err.responseCode, key, kw['instances']))\n\
        \x20   return config.raw().task().name().get() == 'p' and config.job().instanceCount == 3\n";
    let mut hooked = Hooked::new(classes, "[Generic()]");
    assert!(!hooked.passes());
    let outcome =
        HookOutcome { response_code: Some((1, "OK".into())), messages: vec!["done".into()], result: json!({}) };
    assert!(hooked.run(HookEvent::Post, Some(outcome)).passed);
    assert_eq!(hooked.seen(), format!("post kill_job 1 {KEY} [0, 2]"));
}

#[test]
fn a_failed_call_is_told_as_an_exception() {
    let classes = "from gen.apache.aurora.api.ttypes import ResponseCode\n\
        class Watch(object):\n\
        \x20 def err_kill_job(self, exc, job_key, **kw):\n\
        \x20   open('seen', 'a').write('%s: %s;' % (isinstance(exc, Exception), exc))\n\
        \x20   return getattr(exc, 'responseCode', None) in (ResponseCode.JOB_UPDATING_ERROR, None)\n";
    let mut hooked = Hooked::new(classes, "[Watch()]");
    let refused = HookOutcome {
        response_code: Some((5, "JOB_UPDATING_ERROR".into())),
        messages: vec!["no such job".into()],
        result: Value::Null,
    };
    assert!(hooked.run(HookEvent::Err, Some(refused)).passed);
    let broken = HookOutcome { response_code: None, messages: vec!["connection refused".into()], result: Value::Null };
    assert!(hooked.run(HookEvent::Err, Some(broken)).passed);
    assert_eq!(hooked.seen(), "True: APIError: JOB_UPDATING_ERROR: no such job;True: connection refused;");
}

#[test]
fn exceptions_are_false_and_leaving_the_program_is_told() {
    let mut broken =
        Hooked::new("class Broken(object):\n  def pre_kill_job(self, *a, **k):\n    return 1 / 0\n", "[Broken()]");
    assert_eq!(broken.run(HookEvent::Pre, None), HookVerdict { passed: false, exit: None });
    assert!(!broken.passes(), "the process lives on");
    let mut leaving = Hooked::new(
        "import sys\nclass Leave(object):\n  def pre_kill_job(self, *a, **k):\n    sys.exit(7)\n",
        "[Leave()]",
    );
    assert_eq!(leaving.run(HookEvent::Pre, None), HookVerdict { passed: false, exit: Some(7) });
    let mut dying =
        Hooked::new("import os\nclass Die(object):\n  def pre_kill_job(self, *a, **k):\n    os._exit(0)\n", "[Die()]");
    let call = HookCall {
        event: HookEvent::Pre,
        method: "kill_job".into(),
        arguments: vec![],
        keywords: vec![],
        outcome: None,
    };
    assert!(dying.session.run(&call).unwrap_err().render().contains("os._exit"));
}

#[test]
fn without_enable_hooks_none_runs() {
    let files = Files::new();
    let text = text("class No(object):\n  def pre_kill_job(self, *a, **k):\n    return False\n", "[No()]");
    let mut request = request(&files.write("f.aurora", &text.replace("enable_hooks = True", "enable_hooks = False")));
    request.wanted = Some(KEY.parse().expect("a key"));
    let mut session = HookSession::start(&request.bind("count", "1"), &Value::Null, false).expect("it loads");
    let call = HookCall {
        event: HookEvent::Pre,
        method: "kill_job".into(),
        arguments: vec![],
        keywords: vec![],
        outcome: None,
    };
    assert!(session.run(&call).unwrap().passed);
}

#[test]
fn hooks_written_for_python_2_find_what_they_knew() {
    let class = "class Old(object):\n  def pre_kill_job(self, *arguments, **names):\n    \
                 return {'a': 1}.has_key('a') and map(str, [1])[0] == '1' and '%s' % b'x' == 'x'\n";
    assert!(Hooked::new(class, "[Old()]").passes());
}
