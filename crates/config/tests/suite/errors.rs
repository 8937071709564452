//! What the user is told when a file is wrong: reason, place, the line underlined, advice.

use config::{ErrorKind, JobSelector};

use crate::common::{Files, evaluate, failure, request};

/// Evaluates a text with one job, and gives why that job cannot be submitted.
fn refusal(text: &str) -> String {
    let files = Files::new();
    let evaluation = config::evaluate(&files.request(text)).unwrap_or_else(|error| panic!("{}", error.render()));
    let job = evaluation.select(None).unwrap_or_else(|error| panic!("{}", error.render()));
    let error = job.submission("me", &config::default_tiers()).expect_err("it was accepted");
    error.render().replace(&format!("{}/", files.folder.path().display()), "")
}

#[test]
fn an_unknown_field_is_underlined_and_the_nearest_one_named() {
    let text = "hello = Process(\n  name = 'hello',\n  cmdlin = 'echo hello')\n";
    assert_eq!(
        failure(text),
        "error: Process has no field 'cmdlin'; did you mean 'cmdline'?
 --> test.aurora:3:3
  |
3 |   cmdlin = 'echo hello')
  |   ^^^^^^
"
    );
    assert!(failure("Constraint(size=1)").starts_with("error: Constraint has no field 'size'; it has: order\n"));
}

#[test]
fn a_field_of_older_versions_is_told_to_be_one() {
    for (text, advice) in [
        ("Job(daemon=True)", "daemon was a field of older versions; write service = True instead"),
        ("UpdateConfig(restart_threshold=60)", "restart_threshold was a field of older versions; leave it out"),
        ("HealthCheckConfig(endpoint='/h')", "HealthCheckerConfig(http = HttpHealthChecker(...))"),
    ] {
        let told = failure(text);
        assert!(told.contains(advice), "{text}\n{told}");
    }
}

#[test]
fn a_syntax_error_is_underlined() {
    let told = failure("x = 1\ny = = 2\n");
    assert!(told.ends_with("\n --> test.aurora:2:5\n  |\n2 | y = = 2\n  |     ^\n"), "{told}");
    for text in ["task = Task(name='a'\njobs = []\n", "p = Process(\n  name='a'\n  cmdline='b')\n"] {
        let told = failure(text);
        assert!(told.contains("the '(' of line 1 is still open here: close it, or put a comma before this"), "{told}");
    }
}

#[test]
fn a_missing_name_is_underlined_and_the_callers_are_told() {
    assert_eq!(
        failure("def make():\n  return undefined + 1\njobs = [make()]\n"),
        "error: NameError: name 'undefined' is not defined
 --> test.aurora:2:10
  |
2 |   return undefined + 1
  |          ^^^^^^^^^
  = called from <module> at test.aurora:3
"
    );
}

#[test]
fn a_missing_required_field_shows_where_its_struct_was_made() {
    let text = "
hello = Process(name = 'hello')
task = Task(processes = [hello], resources = Resources(cpu=1, ram=64*MB, disk=64*MB))
jobs = [Service(cluster='c', role='r', environment='devel', name='n', task=task)]
";
    assert_eq!(
        refusal(text),
        "error: the job c/r/devel/n is invalid: MesosJob[task] failed: Task[processes] failed: Element in ProcessList failed \
         check: Process[cmdline] is required.
 --> test.aurora:2:9
  |
2 | hello = Process(name = 'hello')
  |         ^^^^^^^^^^^^^^^^^^^^^^^
  = help: set cmdline of the Process, as in Process(cmdline = ...)
"
    );
}

#[test]
fn an_unbound_reference_is_underlined() {
    let text = "
hello = Process(name = 'hello', cmdline = 'echo {{greeting}} {{mesos.instance}}')
task = Task(processes = [hello], resources = Resources(cpu=1, ram=64*MB, disk=64*MB))
jobs = [Service(cluster='c', role='r', environment='devel', name='n', task=task)]
";
    let told = refusal(text);
    let mark = "
2 | hello = Process(name = 'hello', cmdline = 'echo {{greeting}} {{mesos.instance}}')
  |                                                 ^^^^^^^^^^^^
";
    assert!(
        told.starts_with("error: the job c/r/devel/n is invalid: unexpected unbound references: {{greeting}}\n"),
        "{told}"
    );
    assert!(told.contains(mark), "{told}");
    assert!(told.contains("--bind greeting=VALUE"), "{told}");
}

#[test]
fn values_that_do_not_fit_are_told_with_their_place() {
    for (text, reason) in [
        ("Process('a')", "Process expected a dictionary or another Process, not 'a' (str)"),
        ("Task(resources=3)", "Task.resources: Resources expected a dictionary or another Resources, not 3 (int)"),
        ("Task(processes=[1])", "Task.processes: element 0: Process expected a dictionary"),
        ("Task(processes='ab')", "Task.processes: ProcessList expects an iterable (a list or a tuple), not 'ab' (str)"),
        ("Volume(mode='ro')", "Volume.mode: Mode only accepts the following values: RO, RW (not 'ro')"),
        ("order(3)", "ValueError: order() takes Process objects and names, not 3"),
        ("String('x').bind(a=None)", "a bound value must be a text"),
        ("String('{{ a }}').check()", "' a ' between braces is not a reference"),
        ("List(3)", "List takes configuration types such as String or a Struct, not 3"),
        ("class X(Struct):\n  a = Required(3)", "Required() and Default() take a configuration type"),
        ("include('absent.aurora')", "absent.aurora to include"),
        ("open('/nonexistent/file')", "No such file or directory"),
    ] {
        let told = failure(text);
        assert!(told.contains(reason), "{text}\n{told}");
        assert!(told.contains("--> test.aurora:"), "{text}\n{told}");
    }
    let coerced = refusal(
        "jobs = [Job(cluster='c', role='r', environment='devel', name='n', instances='many',
         task=Task(processes=[Process(name='p', cmdline='c')]))]",
    );
    assert!(
        coerced.contains("MesosJob[instances] failed: Unable to interpolate: Cannot coerce 'many' to Integer"),
        "{coerced}"
    );
    assert!(coerced.contains("--> test.aurora:1:67\n"), "{coerced}");
}

#[test]
fn an_error_in_an_included_file_names_that_file() {
    let files = Files::new();
    files.write("part.aurora", "\n\nboom\n");
    let error = config::evaluate(&files.request("include('part.aurora')\n")).unwrap_err();
    let place = error.place.as_ref().unwrap();
    assert!(place.file.ends_with("part.aurora"));
    assert_eq!(place.line, Some(3));
    assert!(error.trace.iter().any(|(file, line, _)| file.ends_with("test.aurora") && *line == 1), "{:?}", error.trace);
}

#[test]
fn files_without_usable_jobs_are_refused() {
    for (text, reason) in [
        ("", "defines no jobs"),
        ("jobs = []", "defines no jobs"),
        ("jobs = 1234", "'jobs' must be a list of jobs, not 1234"),
        ("jobs = Job(name='x')", "'jobs' must be a list of jobs, not a single MesosJob"),
        ("jobs = ['x']", "element 0 of 'jobs' is no Job but 'x' (str)"),
        ("jobs = [Process(name='x')]", "element 0 of 'jobs' is a Process, not a Job"),
    ] {
        let error = evaluate(text).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::NoJobs | ErrorKind::Exception), "{text}: {error:?}");
        assert!(error.reason.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_key_that_fits_no_job_lists_the_candidates() {
    let text = "
def job(name, **more): return Job(cluster='c', role='r', name=name, task=Task(), **more)
jobs = [job('alpha', environment='devel'), job('beta', environment='prod'), job('gamma')]
";
    let evaluation = evaluate(text).unwrap_or_else(|error| panic!("{}", error.render()));
    let select = |key: &str| evaluation.select(Some(&key.parse::<JobSelector>().unwrap()));
    assert_eq!(select("c/r/prod/beta").unwrap().key(), "c/r/prod/beta");
    let error = select("c/r/devel/alpah").unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSuchJob);
    for part in [
        "defines no job c/r/devel/alpah",
        "the job gamma does not set its environment",
        "\n  c/r/devel/alpha\n  c/r/prod/beta\n  c/r/{MISSING}/gamma",
    ] {
        assert!(error.reason.contains(part), "{}", error.reason);
    }
    assert_eq!(error.help, ["did you mean c/r/devel/alpha?"]);
    let several = evaluation.select(None).unwrap_err();
    assert_eq!(several.kind, ErrorKind::SeveralJobs);
    assert!(several.reason.contains("c/r/prod/beta"));
    let twice =
        evaluate("j = Job(cluster='c', role='r', environment='devel', name='n', task=Task())\njobs = [j, j]").unwrap();
    let error = twice.select(Some(&"c/r/devel/n".parse().unwrap())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::SeveralJobs);
    assert!("a/b/c".parse::<JobSelector>().unwrap_err().contains("cluster/role/environment/name"));
}

#[test]
fn a_file_that_is_not_there_or_no_text_is_told() {
    let files = Files::new();
    let absent = config::evaluate(&request("/nonexistent.aurora")).unwrap_err();
    assert_eq!((absent.kind, absent.reason.as_str()), (ErrorKind::NotFound, "there is no file /nonexistent.aurora"));
    let folder = config::evaluate(&request(files.folder.path().to_str().unwrap())).unwrap_err();
    assert_eq!(folder.kind, ErrorKind::NotFound);
    assert!(folder.reason.ends_with("is a directory, not a job file"));
    let path = files.folder.path().join("latin.aurora");
    std::fs::write(&path, b"x = 1\ny = '\xe9'\n").unwrap();
    let error = config::evaluate(&request(path.to_str().unwrap())).unwrap_err();
    assert_eq!(error.reason, "the file is not UTF-8 text");
    assert_eq!(error.place.unwrap().line, Some(2));
}

#[test]
fn json_that_is_wrong_is_told_with_its_place() {
    let files = Files::new();
    let read = |text: &str| {
        let mut request = request(&files.write("job.json", text));
        request.read_json = true;
        config::evaluate(&request).unwrap_err()
    };
    let syntax = read("{\n \"jobs\": [\n}");
    assert_eq!(syntax.kind, ErrorKind::Syntax);
    assert_eq!(syntax.place.unwrap().line, Some(3));
    let field = read(r#"{"jobs": [{"name": "n", "rol": "r"}]}"#);
    assert_eq!(field.reason, "job 1 of the file: MesosJob has no field 'rol'; did you mean 'role'?");
    assert!(read("[1]").reason.contains("expected a dictionary"));
}

#[test]
fn leaving_with_sys_exit_keeps_the_code() {
    let error = evaluate("import sys\nsys.exit(7)\n").unwrap_err();
    assert_eq!((error.kind, error.exit_code), (ErrorKind::Exit, Some(7)));
    let error = evaluate("raise SystemExit('not today')\n").unwrap_err();
    assert_eq!((error.exit_code, error.reason.as_str()), (Some(1), "the file called sys.exit: not today"));
}
