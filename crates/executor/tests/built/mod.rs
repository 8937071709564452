//! Programs of this workspace for tests of crates that do not own them: cargo tells nobody else where they lie, and does not build them.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names the executor when it was built already.
pub const EXECUTOR_VARIABLE: &str = "DAYBREAK_TEST_EXECUTOR";

/// Builds what `cargo build` is told, with the profile of this test; the directory where that leaves its programs.
pub fn build(arguments: &[&str]) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet"]).args(arguments);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success());
    let own = std::env::current_exe().expect("a path");
    own.parent().and_then(Path::parent).expect("the target directory").to_owned()
}

/// The executor, which can be a launcher too.
pub fn executor() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os(EXECUTOR_VARIABLE) {
        Some(path) => path.into(),
        None => build(&["-p", "executor", "--bin", "daybreak-executor"]).join("daybreak-executor"),
    })
}
