//! Every example of the repository, and the tutorial's files as they are written, come to the job they describe. This program is its own
//! evaluating process, as the product's binary is, and so has no test harness.

use std::path::{Path, PathBuf};

use client::aurora::inspect_text;
use client::evaluation::{EvaluationRequest, LoadedJob, Wanted, evaluate, evaluate_file};

fn load(path: PathBuf) -> LoadedJob {
    let request = EvaluationRequest { path: path.clone(), wanted: Wanted::Only, ..EvaluationRequest::default() };
    let evaluation = evaluate(&request).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    assert!(evaluation.warnings.is_empty(), "{}: {:?}", path.display(), evaluation.warnings);
    evaluation.job.unwrap_or_else(|| panic!("{} defines a job", path.display()))
}

fn check(examples: &Path, file: &str, instances: i32, is_service: bool, cpu_millis: i64) -> LoadedJob {
    let job = load(examples.join(file));
    let login = client::world::login();
    let name = Path::new(file).file_stem().unwrap().to_str().unwrap();
    assert_eq!(job.key.to_string(), format!("devcluster/{login}/devel/{name}"));
    assert_eq!(job.configuration.instance_count, instances, "{file}");
    assert_eq!(job.configuration.task.is_service, is_service, "{file}");
    assert_eq!(job.configuration.task.resources.cpu.0, cpu_millis, "{file}");
    assert!(inspect_text(&job.raw).contains("Process '"), "{file}");
    println!("test {file} ... ok");
    job
}

fn main() {
    if std::env::args().nth(1).is_some_and(|first| first == config::CHILD_ARGUMENT) {
        config::evaluation_child_main();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // The tutorial's copy names its program from here.
    std::env::set_current_dir(&root).unwrap();
    let examples = root.join("examples");
    check(&examples, "hello.aurora", 1, false, 100);
    for data in ["hello.yaml", "hello.json", "hello.toml"] {
        check(&examples, data, 1, false, 100);
    }
    check(&examples, "service.aurora", 2, true, 100);
    check(&examples, "parallel.aurora", 100, false, 100);
    check(&examples, "retry.aurora", 1, false, 100);
    let ports = check(&examples, "ports.aurora", 2, false, 100);
    let names: Vec<&str> = ports.configuration.task.requested_ports.iter().map(String::as_str).collect();
    assert_eq!(names, ["admin", "http"]);
    let tutorial = check(&examples, "tutorial/hello_world.aurora", 1, true, 1000);
    assert_eq!(tutorial.update.unwrap().min_wait_in_running_ms, 5000);

    jobs_of_a_file_are_loaded_from_one_evaluation();
    broken_files_say_where();
}

fn jobs_of_a_file_are_loaded_from_one_evaluation() {
    let path = std::env::temp_dir().join(format!("daybreak-several-{}.aurora", std::process::id()));
    let text = "t = SimpleTask(name = 't', command = 'true')\n\
                jobs = [Job(cluster = 'c1', role = 'r', environment = 'devel', name = n, task = t) for n in ('one', 'two')]\n";
    std::fs::write(&path, text).unwrap();
    let request = EvaluationRequest { path: path.clone(), ..EvaluationRequest::default() };
    let file = evaluate_file(&request).unwrap();
    // Nothing could be evaluated again.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(file.load(&request).unwrap().keys, ["c1/r/devel/one", "c1/r/devel/two"]);
    for key in ["c1/r/devel/two", "c1/r/devel/one"] {
        let wanted = Wanted::Job(key.parse().unwrap());
        let loaded = file.load(&EvaluationRequest { wanted, ..request.clone() }).unwrap();
        assert_eq!(loaded.job.unwrap().key.to_string(), key);
    }
    let other = Wanted::Job("c1/r/devel/three".parse().unwrap());
    let why = file.load(&EvaluationRequest { wanted: other, ..request.clone() }).unwrap_err();
    assert!(why.contains("defines no job c1/r/devel/three"), "{why}");
    println!("test jobs of a file are loaded from one evaluation ... ok");
}

fn broken_files_say_where() {
    let directory = std::env::temp_dir().join(format!("daybreak-examples-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for (text, expected) in [
        ("jobs = [\n  Job(\n", "bad.aurora:"),
        ("jobs = [Job(nonsense = 1)]\n", "nonsense"),
        ("jobs = []\n", "no job"),
        ("import time\nx = undefined_name\n", "undefined_name"),
    ] {
        let path = directory.join("bad.aurora");
        std::fs::write(&path, text).unwrap();
        let request = EvaluationRequest { path, wanted: Wanted::Only, ..EvaluationRequest::default() };
        let why = evaluate(&request).expect_err(text);
        assert!(why.contains(expected), "{text:?} gave: {why}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
    println!("test broken files ... ok");
}
