//! Files that run away: without end, without bound, or out of the process.

use std::time::{Duration, Instant};

use config::ErrorKind;

use crate::common::Files;

#[test]
fn a_loop_without_end_ends_at_the_time_limit() {
    for text in ["while True: pass\n", "import time\ntime.sleep(1000)\n"] {
        let files = Files::new();
        let mut request = files.request(text);
        request.limits.time = Duration::from_millis(700);
        let begin = Instant::now();
        let error = config::evaluate(&request).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TimeLimit);
        assert!(error.reason.contains("took longer than its time limit of 700 ms"), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_list_that_grows_ends_at_the_memory_limit() {
    let files = Files::new();
    let mut request = files.request("x = []\nwhile True: x.append('a' * 1000000 + str(len(x)))\n");
    request.limits.memory_bytes = 256 << 20;
    let error = config::evaluate(&request).unwrap_err();
    assert_eq!(error.kind, ErrorKind::MemoryLimit, "{error}");
    assert!(error.reason.contains("needed more than its memory limit of 256 MiB"), "{error}");
}

#[test]
fn recursion_without_end_is_an_exception() {
    let files = Files::new();
    let error = config::evaluate(&files.request("def f(n): return f(n + 1)\nf(0)\n")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exception);
    assert!(error.reason.starts_with("RecursionError"), "{error}");
    assert!(error.render().lines().count() < 20, "{}", error.render());
    let nested = "x = []\nfor i in range(100000): x = [x]\nString(x)\n";
    let error = config::evaluate(&files.request(nested)).unwrap_err();
    assert!(error.reason.contains("nested"), "{error}");
}

#[test]
fn a_file_that_ends_the_process_is_told_so() {
    let files = Files::new();
    let error = config::evaluate(&files.request("import os\nos._exit(0)\n")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.reason.contains("without an answer"), "{error}");
    let error =
        config::evaluate(&files.request("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")).unwrap_err();
    assert!(error.reason.contains("was ended by signal 9"), "{error}");
}

#[test]
fn a_program_that_is_no_evaluator_is_told_so() {
    let files = Files::new();
    let mut request = files.request("");
    request.executable = Some("/bin/true".into());
    assert_eq!(config::evaluate(&request).unwrap_err().kind, ErrorKind::Internal);
    request.executable = Some("/nonexistent".into());
    assert!(config::evaluate(&request).unwrap_err().reason.contains("cannot start /nonexistent"));
}
