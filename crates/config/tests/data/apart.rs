//! Files of data that strangers send: read in a process of its own, within bounds.

use std::time::{Duration, Instant};

use config::{ConfigError, ErrorKind, Evaluation, EvaluationRequest, Format, evaluate_apart};

const JOB: &str = "cluster: c\nrole: r\nenvironment: devel\nname: n\ntask:\n  processes:\n  - {name: p, cmdline: 'TEXT'}\n  \
                   resources: {cpu: 1, ram: 1 MB, disk: 1 MB}\n";

fn apart(text: &str, change: impl FnOnce(&mut EvaluationRequest)) -> Result<Evaluation, ConfigError> {
    let mut request = EvaluationRequest::of_text("the file", Format::Yaml, text);
    request.executable = Some(env!("CARGO_BIN_EXE_evaluate-job-file").into());
    change(&mut request);
    evaluate_apart(&request)
}

#[test]
fn a_text_gives_what_its_file_gives() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("job.yaml");
    std::fs::write(&path, JOB).unwrap();
    let of_file = config::evaluate(&EvaluationRequest::new(path.to_str().unwrap())).unwrap();
    let of_text = apart(JOB, |_| {}).unwrap();
    let raw = |evaluation: &Evaluation| evaluation.jobs[0].content.as_ref().unwrap().raw.clone();
    assert_eq!(raw(&of_text), raw(&of_file));
    assert_eq!((of_text.path.as_str(), of_text.jobs[0].key()), ("the file", "c/r/devel/n".to_owned()));
}

#[test]
fn answers_that_are_too_long_are_refused() {
    let long = JOB.replace("TEXT", &"x".repeat(100_000));
    assert!(apart(&long, |request| request.answer_bytes_max = Some(1 << 20)).is_ok());
    let refused = apart(&long, |request| request.answer_bytes_max = Some(90_000)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::MemoryLimit);
    assert!(refused.reason.contains("the jobs of the file are longer than"), "{refused}");
}

#[test]
fn time_and_memory_end_it() {
    let mut many = String::from("bind:\n");
    let mut text = String::new();
    for number in 0..12_000 {
        many.push_str(&format!("  n{number}: '{{{{m{number}}}}}'\n"));
        text.push_str(&format!("{{{{n{number}}}}}"));
    }
    let slow = format!("{many}{}", JOB.replace("TEXT", &text));
    let started = Instant::now();
    let refused = apart(&slow, |request| request.limits.time = Duration::from_millis(1)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::TimeLimit, "{refused}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let refused = apart(&deep, |_| {}).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Syntax, "{refused}");
}
