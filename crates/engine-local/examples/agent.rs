//! All programs that tasks of the embedded engine need in one file, as the `daybreak` binary has them: launcher and supervisors, the
//! fetcher, docker-compose projects. Tests of this crate start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = executor::launcher_main(&arguments) {
        return code;
    }
    if arguments.first().is_some_and(|word| word == fetcher::CHILD_ARGUMENT) {
        return fetcher::child_main();
    }
    compose::child_main(&arguments).unwrap_or(ExitCode::from(2))
}
