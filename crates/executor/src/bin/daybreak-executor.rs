//! The small executor: on a Mesos agent it runs one task; started by the embedded engine it is the launcher of this machine's tasks.
//!
//! For agents it is built as one static file, `target/executor/daybreak-executor`, of at most 4 MiB, by
//!
//! ```text
//! cargo static-executor
//! ```
//!
//! (an alias of the repository's `.cargo/config.toml`), and runs on any distribution with Linux 3.10 or newer, without a C library there.
//! What that costs: name services that the machine's own C library loads (LDAP, SSSD, systemd) cannot be loaded. Users who are not in
//! `/etc/passwd` are found by asking the machine's `getent`; where there is none, as in many container images, such a user is refused by
//! name. Host names, which only ZooKeeper's servers need, are found in `/etc/hosts` and by DNS.

use std::process::ExitCode;

fn main() -> ExitCode {
    if cfg!(target_feature = "crt-static") {
        executor::system::user::set_static();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = executor::launcher_main(&arguments) {
        return code;
    }
    if let Some(code) = compose::child_main(&arguments) {
        return code;
    }
    match arguments.as_slice() {
        [only] if only == "--version" => println!("{}", executor::mesos::VERSION),
        [only] if only == "--help" || only == "-h" => println!("{}", executor::mesos::HELP),
        _ => return executor::mesos::main(&arguments),
    }
    ExitCode::SUCCESS
}
