//! The executor on kernels that lack what newer ones have, and the static executable that is made for such machines.
#![allow(unsafe_code)]

mod agent;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::{Agent, Executor, task, task_of};
use checkpoint::layout::OutputStream;
use mesos::v1::TaskState;

/// Largest size of the static executable, bytes: it is fetched for each task and counts against its disk.
const SIZE_BYTES_MAX: u64 = 4 << 20;

/// Makes the kernel act as if it were older than 3.17 to the command and its children: the calls are not there.
fn like_an_old_kernel(command: &mut Command) {
    const MISSING: [libc::c_long; 6] = [
        libc::SYS_clone3,
        libc::SYS_close_range,
        libc::SYS_pidfd_open,
        libc::SYS_getrandom,
        libc::SYS_openat2,
        libc::SYS_statx,
    ];
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    // Load the number; for each missing call: if equal, answer ENOSYS; else allow.
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for call in MISSING {
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32));
        program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    // SAFETY: between fork and exec only system calls are made, on memory that was made before.
    unsafe {
        command.pre_exec(move || {
            let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) < 0
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

fn runs_a_task(executable: &Path) {
    let agent = Agent::start();
    let mut executor = Executor::start_file(executable, &agent, &[], &[], like_an_old_kernel);
    agent.until_subscribed(1);
    let body = r#"{"task": {"processes": [{"name": "p", "cmdline": "test -e go || sleep 0.2; touch go; id -un"}]},
        "health_check_config": {"health_checker": {"shell": {"shell_command": "true"}}}, "lifecycle": {}}"#;
    agent.launch(task("t", body.into()));
    assert!(executor.end().success(), "{}", executor.log());
    assert_eq!(agent.states("t"), [TaskState::Starting, TaskState::Running, TaskState::Finished], "{}", executor.log());
    let output = std::fs::read_to_string(executor.run.log("p", 0, OutputStream::Stdout)).unwrap();
    if rustix::process::geteuid().is_root() {
        assert_eq!(output, "nobody\n");
    }
}

#[test]
fn an_old_kernel_will_do() {
    runs_a_task(Path::new(env!("CARGO_BIN_EXE_daybreak-executor")));
}

#[test]
#[ignore = "builds an executable anew, which takes minutes; ./test runs it"]
fn the_static_executable_is_small_and_runs_tasks() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = Command::new(env!("CARGO")).arg("static-executor").current_dir(&workspace).status().unwrap();
    assert!(built.success());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let file = target.join("executor/daybreak-executor");
    let size_bytes = std::fs::metadata(&file).unwrap().len();
    println!("{size_bytes} bytes");
    assert!(size_bytes <= SIZE_BYTES_MAX, "{size_bytes} bytes");
    // No program header names an interpreter.
    let bytes = std::fs::read(&file).unwrap();
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]) as usize;
    let table = u64::from_le_bytes(bytes[32..40].try_into().unwrap()) as usize;
    let kinds: Vec<u8> = (0..word(56)).map(|number| bytes[table + number * word(54)]).collect();
    const LOAD: u8 = 1;
    const INTERPRETER: u8 = 3;
    assert!(kinds.contains(&LOAD) && !kinds.contains(&INTERPRETER), "{kinds:?}");
    let version = Command::new(&file).arg("--version").env_clear().output().unwrap();
    assert_eq!(version.stdout, format!("daybreak-executor {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
    runs_a_task(&file);
    if rustix::process::geteuid().is_root() {
        let agent = Agent::start();
        let mut executor = Executor::start_file(&file, &agent, &[], &[], |_| {});
        agent.until_subscribed(1);
        agent.launch(task_of("t", b"{}".to_vec(), "no-such-user", None));
        executor.end();
        let last = agent.told("t").pop().unwrap();
        assert!(last.1.contains("role no-such-user is no user of this machine"), "{}", last.1);
    }
}
