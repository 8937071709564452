//! Beside the original: Pystachio from PyPI, which Aurora's client was built on, evaluates the same expressions and job files, and has to
//! come to the same.
//!
//! `beside/generate.py` makes expressions by chance from a seed; `DAYBREAK_PYSTACHIO_SEED` and `DAYBREAK_PYSTACHIO_COUNT` choose others.
//! `beside/schema.py` declares the structs of job files once more, from the specification; the helpers above them are ours on both sides.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::common;

const VERSION: &str = "0.8.10";
/// What to bind on the command line for the files that ask for it.
const BINDINGS: &[(&str, &[(&str, &str)])] = &[
    (
        "14_bound_by_the_command_line",
        &[
            ("CLUSTER", "c"),
            ("ROLE", "r"),
            ("ENVIRON", "prod"),
            ("NAME", "bound"),
            ("profile.instances", "3"),
            ("version", "9"),
            ("missing", "m"),
        ],
    ),
    ("21_containers", &[("docker.image[library/python][2.7-slim]", "library/python@sha256:1")]),
    ("29_one_of_each_guide", &[("docker.image[library/python][3-slim]", "library/python@sha256:2")]),
    ("30_one_service_in_many_ways", &[("docker.image[served][latest]", "served@sha256:3")]),
];

fn bindings(file: &str) -> &'static [(&'static str, &'static str)] {
    BINDINGS.iter().find(|(name, _)| *name == file).map_or(&[][..], |(_, bindings)| *bindings)
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/beside").join(name)
}

/// The folder with the original library, installed at first use.
fn library() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pystachio-{VERSION}"));
        if !folder.join("pystachio").is_dir() {
            let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
            let install = Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
                .arg(fresh.path())
                .arg(format!("pystachio=={VERSION}"))
                .output()
                .expect("python3 is there: ./test installs it");
            let why = String::from_utf8_lossy(&install.stderr);
            assert!(install.status.success(), "Pystachio cannot be installed from PyPI: {why}");
            // Another run of the tests may have been faster.
            if std::fs::rename(fresh.path(), &folder).is_err() {
                assert!(folder.join("pystachio").is_dir(), "{} cannot be made", folder.display());
            }
        }
        folder
    })
}

/// Runs one of our scripts under the original library.
pub fn original(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3")
        .arg(here(script))
        .args(arguments)
        .env("PYTHONPATH", library())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{script} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Our helpers for tasks and processes, which run under the original library, too.
pub fn helpers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/interpreter/python/jobfile_schema.py")
}

/// The environment that was asked for, or this.
fn chosen(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}

/// Whether an outcome is an exception or a check that fails. How a failure is worded is ours.
fn is_refusal(outcome: &str) -> bool {
    outcome.starts_with('!') || outcome.contains("!Coercion") || outcome.contains("TypeCheck(FAILED)")
        // The original's check of a choice whose value has the right type and cannot be worked out returns nothing.
        || outcome.contains("| None |")
        || outcome.contains(" failed: ") || outcome.contains("| !")
}

/// The words of an outcome in a fixed order: structs list their fields in the order in which they were put into dictionaries.
fn words(outcome: &str) -> Vec<&str> {
    let mut words: Vec<&str> = outcome.split(|c: char| c.is_whitespace() || "(),<>[]|".contains(c)).collect();
    words.sort_unstable();
    // A reference that is left twice is told once.
    words.dedup();
    words
}

/// Why two different outcomes are nevertheless right; `None` where they are not.
fn excuse(expression: &str, theirs: &str, ours: &str) -> Option<&'static str> {
    if words(theirs) == words(ours) {
        return Some("same words");
    }
    match (is_refusal(theirs), is_refusal(ours)) {
        (true, true) => Some("both refuse"),
        (true, false) if expression.contains("==") => Some("what cannot be worked out is unequal, and no exception"),
        (true, false) if expression.starts_with("[Default(") => Some("a wrong default is told when it is used"),
        (false, true) if expression.contains("bind(3") || expression.contains("in_scope(3") => {
            Some("a number has no names to bind")
        }
        // Maps take pairs one by one; a text or list of two things is not meant as one.
        (false, true) if expression.contains("table=") => Some("a text of two letters is no pair"),
        // Printing works values out once more, and each time takes one sign of an escape away; the original does it more often.
        _ if expression.contains("{{&") => Some("escapes in what is printed"),
        _ => None,
    }
}

#[test]
fn expressions_come_to_the_same_as_under_the_original() {
    let set_up = std::fs::read_to_string(here("setup.py")).expect("the set-up is there");
    let (seed, count) = (chosen("DAYBREAK_PYSTACHIO_SEED", "1"), chosen("DAYBREAK_PYSTACHIO_COUNT", "2000"));
    let theirs = original("generate.py", &[here("setup.py").to_str().expect("a plain path"), &seed, &count]);
    let theirs: Vec<(String, String)> =
        theirs.lines().map(|line| serde_json::from_str(line).expect("a pair of texts")).collect();
    let files = common::Files::new();
    let expressions: Vec<&str> = theirs.iter().map(|(expression, _)| expression.as_str()).collect();
    let list = files.write("expressions.json", &serde_json::to_string(&expressions).expect("texts are JSON"));
    let results = files.folder.path().join("results.json");
    let text = format!(
        "import json\n{set_up}\nwith open({results:?}, 'w') as out:\n  \
         json.dump([outcome(text) for text in json.load(open({list:?}))], out)\n\
         jobs = [Job(cluster='c', role='r', environment='devel', name='n', task=SimpleTask('p', 'true'))]\n"
    );
    config::evaluate(&files.request(&text)).unwrap_or_else(|error| panic!("{}", error.render()));
    let ours = std::fs::read_to_string(&results).expect("results were written");
    let ours: Vec<String> = serde_json::from_str(&ours).expect("a list of texts");
    assert_eq!(theirs.len(), ours.len());
    let (mut excused, mut wrong) = (0, Vec::new());
    for ((expression, theirs), ours) in theirs.iter().zip(&ours) {
        if theirs != ours {
            match excuse(expression, theirs, ours) {
                Some(_) => excused += 1,
                None => wrong.push(format!("{expression}\n  original {theirs}\n  ours     {ours}")),
            }
        }
    }
    assert!(wrong.is_empty(), "seed {seed}: {} of {} differ:\n{}", wrong.len(), ours.len(), wrong.join("\n"));
    // Were everything excused, nothing would be shown.
    assert!(excused * 5 < ours.len(), "{excused} of {} are excused", ours.len());
}

#[test]
fn job_files_come_to_the_same_as_under_the_original() {
    let helpers = helpers();
    let names = files();
    assert!(names.len() >= 25, "{names:?}");
    for name in names {
        let path = here("files").join(format!("{name}.aurora"));
        let path = path.to_str().expect("a plain path");
        let bindings = bindings(&name);
        let mut arguments = vec![helpers.to_str().expect("a plain path").to_owned(), path.to_owned()];
        arguments.extend(bindings.iter().map(|(name, value)| format!("{name}={value}")));
        let theirs = original("load.py", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        // What the file itself prints comes before.
        let theirs: Vec<(String, Value)> =
            serde_json::from_str(theirs.lines().last().expect("an answer")).expect("pairs of check and job");
        let evaluation = evaluated(&name);
        assert_eq!(evaluation.jobs.len(), theirs.len(), "{name}");
        for (ours, (check, theirs)) in evaluation.jobs.iter().zip(&theirs) {
            let content = ours.content.as_ref().unwrap_or_else(|| panic!("{name}: {} was not worked out", ours.key()));
            assert_eq!(content.failed_check.is_none(), check == "TypeCheck(OK)", "{name} {}: {check}", ours.key());
            let (ours_text, theirs_text) = (format!("{:#}", content.raw), format!("{theirs:#}"));
            let differing = ours_text.lines().zip(theirs_text.lines()).find(|(ours, theirs)| ours != theirs);
            assert!(
                in_any_order(&name, &content.raw) == in_any_order(&name, theirs),
                "{name} {}: ours and theirs: {differing:?}\n{ours_text}",
                ours.key()
            );
        }
    }
}

/// A job of the file whose tasks are merged, with the processes sorted: they come in the order of a set, which the original library does
/// not know. Any other job as it is.
fn in_any_order(file: &str, job: &Value) -> Value {
    let mut job = job.clone();
    if let Some(processes) = job["task"]["processes"].as_array_mut().filter(|_| file == "20_tasks_of_tasks") {
        processes.sort_by_key(Value::to_string);
    }
    if let Some(constraints) = job["task"]["constraints"].as_array_mut().filter(|_| file == "20_tasks_of_tasks") {
        constraints.sort_by_key(Value::to_string);
    }
    job
}

/// What `beside/executor_data.jsonl` holds: what Aurora's own client, version 0.22 under CPython 2.7, gave executors for the same files.
/// File, number of the job in it, data.
pub fn executor_data() -> Vec<(String, usize, String)> {
    let expected = std::fs::read_to_string(here("executor_data.jsonl")).expect("the data is there");
    expected.lines().map(|line| serde_json::from_str(line).expect("file, number and data")).collect()
}

/// A file of the folder, evaluated with the bindings it asks for.
pub fn evaluated(name: &str) -> config::Evaluation {
    let path = here("files").join(format!("{name}.aurora"));
    let mut request = common::request(path.to_str().expect("a plain path"));
    for (binding, value) in bindings(name) {
        request = request.bind(*binding, *value);
    }
    config::evaluate(&request).unwrap_or_else(|error| panic!("{name}: {}", error.render()))
}

/// The names of the files of the folder.
pub fn files() -> Vec<String> {
    let entries = std::fs::read_dir(here("files")).expect("the files are there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"));
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".aurora").map(str::to_owned)).collect();
    names.sort();
    names
}

/// Compares what executors get with what they got from Aurora's client, where that is known.
pub fn compare_executor_data(name: &str, evaluation: &config::Evaluation) {
    let mut wrong = Vec::new();
    for (_, number, data) in executor_data().into_iter().filter(|(file, ..)| file == name) {
        let submission = evaluation.jobs[number].submission("nobody", &config::default_tiers());
        let submission = submission.unwrap_or_else(|error| panic!("{name}: {}", error.render()));
        let ours = submission.job.task.executor_config.clone().expect("an executor").data;
        if ours != data {
            let at = ours.bytes().zip(data.bytes()).take_while(|(ours, theirs)| ours == theirs).count();
            wrong.push(format!("{name} {number}: at {at}\n  Aurora {data}\n  ours   {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_executors_data_is_that_of_auroras_client_to_the_byte() {
    let expected = executor_data();
    assert!(expected.len() > 40, "only {} jobs were found", expected.len());
    let names: std::collections::BTreeSet<String> = expected.into_iter().map(|(name, ..)| name).collect();
    for name in names {
        compare_executor_data(&name, &evaluated(&name));
    }
}
