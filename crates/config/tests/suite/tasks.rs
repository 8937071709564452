//! Tasks that are run without a scheduler: exported ones, those of jobs, and JSON.

use config::{ErrorKind, Evaluation, EvaluationRequest};

use crate::common::{Files, request};

fn tasks(text: &str) -> Evaluation {
    config::evaluate(&as_tasks(Files::new(), text).1).unwrap()
}

fn as_tasks(files: Files, text: &str) -> (Files, EvaluationRequest) {
    let mut request = files.request(text);
    request.as_tasks = true;
    (files, request)
}

const TWO: &str = "
p = Process(name = 'p', cmdline = 'echo {{greeting}} {{thermos.task_id}} {{thermos.ports[http]}}')
export(Task(name = 'one', processes = [p]))
export(SequentialTask(name = 'two', processes = [p.bind(greeting = 'hi'), Process(name = 'q', cmdline = 'true')]))
";

#[test]
fn exported_tasks_are_found_by_their_names() {
    let found = tasks(TWO);
    let two = found.select_task(Some("two")).unwrap().checked("f").unwrap();
    assert_eq!(two["processes"][0]["cmdline"], "echo hi {{thermos.task_id}} {{thermos.ports[http]}}");
    assert_eq!(two["constraints"][0]["order"], serde_json::json!(["p", "q"]));
    let error = found.select_task(Some("one")).unwrap().checked("f").unwrap_err();
    assert!(error.reason.ends_with("unbound references: {{greeting}}"), "{}", error.reason);
    let error = found.select_task(None).unwrap_err();
    assert_eq!(error.reason, "Multiple tasks in config but no task name specified!");
    assert!(error.help[0].contains("one, two"), "{:?}", error.help);
    assert_eq!(found.select_task(Some("three")).unwrap_err().reason, "Could not find task three!");
}

#[test]
fn the_command_line_binds_what_a_task_leaves_open() {
    let (_files, request) = as_tasks(Files::new(), TWO);
    let found = config::evaluate(&request.bind("greeting", "hello")).unwrap();
    let one = found.select_task(Some("one")).unwrap().checked("f").unwrap();
    assert!(one["processes"][0]["cmdline"].as_str().unwrap().starts_with("echo hello "));
}

#[test]
fn a_file_of_jobs_gives_their_tasks_with_what_the_jobs_say() {
    let found = tasks(
        "
t = Task(name = 't', processes = [Process(name = 'p', cmdline = '{{role}} {{mesos.cluster}} {{thermos.user}} {{mesos.instance}}')],
         resources = Resources(cpu = 1, ram = 1, disk = 1))
j = Job(cluster = 'c', role = 'r', environment = 'devel', task = t)
jobs = [j(name = 'a'), j(name = 'b', role = 's')]
",
    );
    assert_eq!(found.tasks.len(), 2);
    let error = found.select_task(Some("t")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::SeveralJobs);
    let task = found.select_task(Some("b")).unwrap().checked("f").unwrap();
    assert_eq!(task["processes"][0]["cmdline"], "s c {{thermos.user}} {{mesos.instance}}");
}

#[test]
fn exports_win_over_jobs_and_are_no_jobs() {
    let text = "
t = SimpleTask('t', 'true')
export(t(name = 'exported'))
jobs = [Job(cluster = 'c', role = 'r', environment = 'devel', name = 'j', task = t)]
";
    let found = tasks(text);
    assert_eq!(found.tasks.len(), 1);
    assert!(found.select_task(Some("exported")).is_ok());
    let files = Files::new();
    assert_eq!(config::evaluate(&files.request(text)).unwrap().jobs.len(), 1);
}

#[test]
fn json_is_a_task_or_jobs() {
    let files = Files::new();
    let read = |text: &str| {
        let mut request = request(&files.write("t.json", text));
        (request.as_tasks, request.read_json) = (true, true);
        config::evaluate(&request)
    };
    let one = read(r#"{"name": "t", "processes": [{"name": "p", "cmdline": "true", "max_failures": 2}]}"#).unwrap();
    assert_eq!(one.select_task(None).unwrap().checked("f").unwrap()["processes"][0]["max_failures"], 2);
    let job =
        r#"{"cluster": "c", "role": "r", "environment": "devel", "name": "j", "task": {"name": "t", "processes": []}}"#;
    assert_eq!(read(&format!(r#"{{"jobs": [{job}, {job}]}}"#)).unwrap().tasks.len(), 2);
    assert_eq!(read(job).unwrap().tasks[0].job.as_deref(), Some("j"));
    let error = read(r#"{"name": "t", "porcesses": []}"#).unwrap_err();
    assert!(error.reason.starts_with("the task of the file: "), "{}", error.reason);
}

#[test]
fn files_without_a_task_and_tasks_that_are_not_whole_say_so() {
    let error = tasks("x = 1\n").select_task(None).unwrap_err();
    assert_eq!(error.reason, "No tasks specified!");
    let found = tasks("export(Task(name = 't', processes = [Process(name = 'p')]))\n");
    let error = found.select_task(None).unwrap().checked("f").unwrap_err();
    assert!(error.reason.contains("the task t is not whole") && error.reason.contains("cmdline"), "{}", error.reason);
    let (_files, request) = as_tasks(Files::new(), "export('t')\n");
    let error = config::evaluate(&request).unwrap_err();
    assert!(error.reason.contains("export() takes a Task"), "{}", error.reason);
}
