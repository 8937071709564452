//! The small executor: launcher and supervisors without the rest of Daybreak.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    executor::launcher_main(&arguments).unwrap_or_else(|| {
        eprintln!("usage: daybreak-executor {} ENGINE-DIRECTORY", executor::LAUNCHER_ARGUMENT);
        eprintln!("It is started by the scheduler's embedded engine. Running as an executor of a Mesos agent is not supported yet.");
        ExitCode::from(2)
    })
}
