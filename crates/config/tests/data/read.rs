//! What the three formats have of their own.

use config::{ErrorKind, Evaluation, Format, Job, Submission};
use serde_json::Value;

use crate::common::{Files, request};

/// The only job of a text in a format.
pub fn submission(name: &str, text: &str) -> Submission {
    let evaluation = evaluated(name, text);
    let job = evaluation.select(None).unwrap_or_else(|error| panic!("{}", error.render()));
    job.submission("me", &config::default_tiers()).unwrap_or_else(|error| panic!("{}", error.render()))
}

pub fn evaluated(name: &str, text: &str) -> Evaluation {
    let files = Files::new();
    // No program could be started: such files are read here.
    let mut request = request(&files.write(name, text));
    request.executable = Some("/nonexistent".into());
    config::evaluate(&request).unwrap_or_else(|error| panic!("{}\n{text}", error.render()))
}

/// A job with these lines among its fields and its process's command.
fn job_with(fields: &str) -> String {
    format!(
        "cluster: c\nrole: r\nenvironment: devel\nname: n\n{fields}\ntask:\n  resources: {{cpu: 1, ram: 1MB, disk: 1MB}}\n  \
         processes:\n  - name: p\n    cmdline: echo\n"
    )
}

fn field(fields: &str, name: &str) -> Value {
    submission("job.yaml", &job_with(fields)).raw[name].clone()
}

#[test]
fn words_without_quotes_are_texts_where_texts_are_due() {
    for (written, expected) in [
        ("no", "no"),
        ("on", "on"),
        ("1.10", "1.10"),
        ("0755", "0755"),
        ("2026-01-01", "2026-01-01"),
        ("12:30", "12:30"),
        ("true", "true"),
        ("1e3", "1e3"),
        ("'~'", "~"),
        ("\"null\"", "null"),
        ("!!str null", "null"),
        ("''", ""),
        ("a b # c", "a b"),
        ("{{mesos.instance}}x", "{{mesos.instance}}x"),
    ] {
        if written.starts_with("{{") {
            continue; // A map, in YAML; told by errors.rs.
        }
        assert_eq!(field(&format!("contact: {written}"), "contact"), expected, "{written}");
    }
    let toml = "cluster='c'\nrole='r'\nenvironment='devel'\nname='n'\ncontact=1.10\n[[metadata]]\nkey='day'\nvalue=2026-01-01\n\
                [task]\nresources={cpu=1,ram='1 MB',disk=1_048_576}\nprocesses=[{name='p',cmdline='echo'}]\n";
    let read = submission("job.toml", toml);
    assert_eq!(read.raw["contact"], "1.10");
    assert_eq!(read.raw["metadata"][0]["value"], "2026-01-01");
    assert_eq!(read.raw["task"]["resources"]["disk"], 1 << 20);
}

#[test]
fn numbers_and_truth_values_are_read_where_they_are_due() {
    for (written, name, expected) in [
        ("instances: 3", "instances", Value::from(3)),
        ("instances: '3'", "instances", Value::from(3)),
        ("instances: 0x10", "instances", Value::from(16)),
        ("instances: 1_0", "instances", Value::from(10)),
        ("instances: 2.9", "instances", Value::from(2)),
        ("service: TRUE", "service", Value::from(true)),
        ("service: 1", "service", Value::from(true)),
        ("service: 'false'", "service", Value::from(false)),
        ("priority: -7", "priority", Value::from(-7)),
    ] {
        assert_eq!(field(written, name), expected, "{written}");
    }
}

#[test]
fn null_unsets_a_field_and_says_so_for_defaults_too() {
    assert_eq!(field("lifecycle: null", "lifecycle"), Value::Null);
    assert_eq!(field("lifecycle: {}", "lifecycle"), serde_json::json!({}));
    assert_eq!(field("contact: ~", "contact"), Value::Null);
}

#[test]
fn anchors_and_merge_keys_are_filled_in_and_what_is_written_wins() {
    let text = "\
x-defaults: &defaults
  cluster: c
  role: r
  environment: devel
  instances: 2
  task: &task
    resources: &small {cpu: 0.5, ram: 16 MB, disk: 16 MB}
    processes: [{name: p, cmdline: echo}]
jobs:
- <<: *defaults
  name: one
- name: two
  <<: [{instances: 5}, *defaults]
  contact: me
- {<<: *defaults, name: three, instances: 7, task: {<<: *task, resources: {<<: *small, ram: 32 MB}}}
";
    let evaluation = evaluated("jobs.yml", text);
    let of = |index: usize| evaluation.jobs[index].submission("me", &config::default_tiers()).unwrap();
    assert_eq!((of(0).job.instance_count, of(1).job.instance_count, of(2).job.instance_count), (2, 5, 7));
    let resources = of(2).job.task.resources;
    assert_eq!((resources.cpu.0, resources.ram_mb, resources.disk_mb), (500, 32, 16));
    assert_eq!(of(1).job.task.contact_email.as_deref(), Some("me"));
}

#[test]
fn files_hold_a_job_a_list_a_map_of_jobs_or_several_documents() {
    let job = |name: &str| {
        format!(
            "{{cluster: c, role: r, environment: devel, name: {name}, task: {{processes: [{{name: p, cmdline: x}}]}}}}"
        )
    };
    let keys = |text: String| evaluated("jobs.yaml", &text).jobs.iter().map(Job::key).collect::<Vec<_>>();
    let both = ["c/r/devel/a", "c/r/devel/b"];
    assert_eq!(keys(job("a")), both[..1]);
    assert_eq!(keys(format!("[{}, {}]", job("a"), job("b"))), both);
    assert_eq!(keys(format!("jobs: [{}, {}]\n$schema: x\nx-y: 1\n", job("a"), job("b"))), both);
    assert_eq!(keys(format!("jobs: {}\n", job("a"))), both[..1]);
    assert_eq!(keys(format!("--- {}\n--- {}\n", job("a"), job("b"))), both);
}

#[test]
fn names_are_bound_by_the_file_and_then_by_the_command_line() {
    let text = "\
bind:
  profile: {instances: 2, ram: 64 MB}
  stage: devel
jobs:
- cluster: c
  role: r
  environment: '{{stage}}'
  name: n
  instances: '{{profile.instances}}'
  task:
    resources: {cpu: 1, ram: 1 GB, disk: 1 MB}
    processes: [{name: p, cmdline: 'echo {{profile.ram}} {{mesos.instance}} {{mesos.role}}'}]
";
    let read = submission("jobs.yaml", text);
    assert_eq!((read.job.instance_count, read.job.key.environment.as_str()), (2, "devel"));
    assert_eq!(read.raw["task"]["processes"][0]["cmdline"], "echo 64 MB {{mesos.instance}} r");
    let files = Files::new();
    let request = request(&files.write("jobs.yaml", text)).bind("profile.instances", "9").bind("stage", "test");
    let evaluation = config::evaluate(&request).unwrap();
    assert_eq!(evaluation.jobs[0].key(), "c/r/test/n");
    let bound = evaluation.jobs[0].submission("me", &config::default_tiers()).unwrap();
    assert_eq!(bound.job.instance_count, 9);
}

#[test]
fn the_format_is_told_by_the_name_or_the_beginning_or_by_hand() {
    let json = r#"{"cluster":"c","role":"r","environment":"devel","name":"n","task":{"processes":[{"name":"p","cmdline":"x"}]}}"#;
    for name in ["a.json", "a.yaml", "a.YML", "noname", "a.conf"] {
        assert_eq!(evaluated(name, json).jobs[0].key(), "c/r/devel/n", "{name}");
    }
    let files = Files::new();
    let mut by_hand = request(&files.write("job.txt", "cluster = 'c'\n"));
    by_hand.format = Some(Format::Toml);
    assert_eq!(config::evaluate(&by_hand).unwrap().jobs[0].key(), "c/{MISSING}/{MISSING}/{{task.name}}");
    // What Aurora's client reads as JSON stays as it was: unknown alternatives are tried one by one, null is a value.
    let mut old = request(&files.write("old.json", json));
    old.read_json = true;
    assert_eq!(config::evaluate(&old).unwrap().jobs[0].key(), "c/r/devel/n");
}

#[test]
fn tasks_run_without_a_scheduler_from_every_format() {
    let task = "name: t\nprocesses: [{name: p, cmdline: 'echo {{who}}'}]\nresources: {cpu: 1, ram: 1 MB, disk: 1 MB}\n";
    let as_task = |text: &str| {
        let files = Files::new();
        let mut request = request(&files.write("task.yaml", text)).bind("who", "me");
        request.as_tasks = true;
        config::evaluate(&request).unwrap_or_else(|error| panic!("{}", error.render()))
    };
    let indented = task.replace('\n', "\n  ");
    for text in [
        task.to_owned(),
        format!("tasks:\n- {indented}"),
        format!("cluster: c\nrole: r\nenvironment: devel\ntask:\n  {indented}"),
        concat!(
            "jobs:\n- cluster: c\n  role: r\n  environment: devel\n",
            "  task: {processes: [{name: p, cmdline: 'echo {{who}}'}], name: t}\n"
        )
        .to_owned(),
    ] {
        let evaluation = as_task(&text);
        let task = evaluation.select_task(Some("t")).unwrap().checked("f").unwrap();
        assert_eq!(task["processes"][0]["cmdline"], "echo me", "{text}");
    }
}

#[test]
fn what_repeats_itself_without_end_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", ")));
    }
    for (name, text, expected) in [
        ("bomb.yaml", bomb, "holds more than 500000 values"),
        ("deep.yaml", "[".repeat(400), "this is not YAML"),
        ("deeper.yaml", format!("{}{}", "[".repeat(60), "]".repeat(60)), "more than 50 levels within each other"),
        ("deep.json", "[".repeat(100_000), "this is not JSON"),
        ("deep.toml", format!("a = {}", "[".repeat(100_000)), "this is not TOML"),
        ("self.yaml", "a: &a [*a]\n".to_owned(), "stands within what it is to repeat"),
        ("big.yaml", "#".repeat(9 << 20), "is larger than 8 MB"),
    ] {
        let files = Files::new();
        let error = config::evaluate(&request(&files.write(name, &text))).unwrap_err();
        assert!(error.reason.contains(expected), "{name}: {}", error.reason);
    }
}

#[test]
fn what_inspect_writes_as_json_is_read_without_saying_that_it_is_auroras() {
    let fields = "announce: {primary_port: http}\nupdate_config: {update_strategy: {batch_sizes: [1, 2]}}\n\
                  container: {image: {name: a, tag: b}}\nsla_policy: {count: 1, duration_secs: 2}";
    let written = submission("job.yaml", &job_with(fields));
    let again = submission("job.json", &written.raw.to_string());
    assert_eq!(again.raw, written.raw);
    assert_eq!(again.job.task.container, written.job.task.container);
}

#[test]
fn a_file_without_jobs_says_so() {
    for (name, text) in
        [("a.yaml", ""), ("a.yaml", "# nothing\n"), ("a.yaml", "jobs: []\n"), ("a.json", "[]"), ("a.json", "")]
    {
        let files = Files::new();
        let error = config::evaluate(&request(&files.write(name, text))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoJobs, "{text:?}: {}", error.reason);
    }
}
