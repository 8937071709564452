//! The small executor: on a Mesos agent it runs one task; started by the embedded engine it is the launcher of this machine's tasks.

use std::process::ExitCode;

fn main() -> ExitCode {
    if cfg!(target_feature = "crt-static") {
        executor::system::user::set_static();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = executor::launcher_main(&arguments) {
        return code;
    }
    match arguments.as_slice() {
        [only] if only == "--version" => println!("{}", executor::mesos::VERSION),
        [only] if only == "--help" || only == "-h" => println!("{}", executor::mesos::HELP),
        _ => return executor::mesos::main(&arguments),
    }
    ExitCode::SUCCESS
}
