//! What rates of no-op tasks are held against, and where they are measured.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `$DAYBREAK_BENCH_DIR`, or a directory of the target directory.
pub fn directory() -> PathBuf {
    std::env::var_os("DAYBREAK_BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from)
}

/// So many times `bash -c true` by `xargs -P2 -n1`.
pub fn xargs(tasks: usize) -> Duration {
    let began = Instant::now();
    let mut child = Command::new("xargs")
        .args(["-P2", "-n1", "bash", "-c", "true"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("xargs is installed");
    let mut input = child.stdin.take().expect("a pipe");
    for number in 0..tasks {
        writeln!(input, "{number}").expect("xargs reads");
    }
    drop(input);
    child.wait().expect("xargs ends");
    began.elapsed()
}
