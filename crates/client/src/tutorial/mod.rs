//! `daybreak tutorial DIR`: writes a job that fails on purpose, starts a daemon in the background and says what to type next.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use thrift::GetTierConfigsArguments;

use crate::clusters::{Cluster, Clusters, LOCAL_CLUSTER};
use crate::console::Console;
use crate::daybreak::arguments::TutorialArguments;
use crate::daybreak::daemon::{self, DaemonOptions};
use crate::exit::{Exit, Failure, Outcome};
use crate::http::HttpTransport;
use crate::scheduler::{Transport, TransportError};
use crate::world::login;

const SCRIPT: &str = include_str!("hello_world.py");
const JOB_FILE: &str = include_str!("hello_world.aurora");
/// The account web servers run as on Debian and its kin; the tutorial's role where it exists.
const USUAL_ROLE: &str = "www-data";

/// Runs the command; `program` is this program's full path.
pub fn tutorial(arguments: &TutorialArguments, console: &mut Console, program: &str) -> Outcome {
    let python = find_python()?;
    std::fs::create_dir_all(&arguments.directory).map_err(|error| cannot(&arguments.directory, &error))?;
    let directory = arguments.directory.canonicalize().map_err(|error| cannot(&arguments.directory, &error))?;
    let role = choose_role(&directory);
    let files = Files::write(&directory, &python, &role, console)?;
    let listen = arguments.listen.unwrap_or_else(default_listen);
    let settings = settings_of_commands(&directory, listen)?;
    let stop = ensure_daemon(&directory, &role, listen, program, console)?;
    let aurora = format!("{settings}{} aurora", shell_word(program));
    for line in next_steps(&aurora, &role, &files, listen, &stop) {
        console.out(line);
    }
    Ok(())
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::CommandFailure, format!("{}: {error}", path.display()))
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8081))
}

/// What the commands need before the program's name to reach the daemon at `listen`: nothing where they would go there anyway,
/// otherwise settings of their own, in the tutorial's directory.
fn settings_of_commands(directory: &Path, listen: SocketAddr) -> Outcome<String> {
    let url = format!("http://{listen}");
    if Clusters::load()?.get(LOCAL_CLUSTER).is_ok_and(|cluster| cluster.url == url) {
        return Ok(String::new());
    }
    let path = directory.join("clusters.json");
    let clusters = serde_json::json!([{ "name": LOCAL_CLUSTER, "scheduler_uri": url }]);
    std::fs::write(&path, format!("{clusters}\n")).map_err(|error| cannot(&path, &error))?;
    let directory = shell_word(&directory.display().to_string());
    // The user's own file is read last; if it says where the cluster is, it has to be kept out.
    let home = if is_in_users_file() { format!("HOME={directory} ") } else { String::new() };
    Ok(format!("{home}AURORA_CONFIG_ROOT={directory} "))
}

fn is_in_users_file() -> bool {
    let Some(home) = std::env::var_os("HOME") else { return false };
    let file = PathBuf::from(home).join(".aurora/clusters.json");
    let mut clusters = Clusters::default();
    let Ok(text) = std::fs::read_to_string(&file) else { return false };
    clusters.add_file(&file, &text).is_err()
        || clusters.get(LOCAL_CLUSTER).is_ok_and(|cluster| !cluster.is_local_default)
}

/// Where tasks look for programs; what the caller has beyond that (version managers, a home directory) they do not see.
const TASK_PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// `python` where tasks find one, otherwise `python3`, otherwise the full path of the caller's own.
fn find_python() -> Outcome<String> {
    let callers = std::env::var_os("PATH").unwrap_or_default();
    let callers: Vec<PathBuf> = std::env::split_paths(&callers).collect();
    choose_python(&TASK_PATH.map(PathBuf::from), &callers).ok_or_else(|| {
        Failure::new(
            Exit::CommandFailure,
            "The tutorial's job is a Python program, and there is neither python nor python3 on this machine. Install one (for example: \
             apt install python3), or try a job that needs only a shell with `daybreak run`.",
        )
    })
}

fn choose_python(of_tasks: &[PathBuf], of_caller: &[PathBuf]) -> Option<String> {
    let names = ["python", "python3"];
    let bare = names.iter().find(|name| of_tasks.iter().any(|directory| directory.join(name).is_file()));
    let full = || {
        let candidates = names.iter().flat_map(|name| of_caller.iter().map(move |directory| directory.join(name)));
        candidates.into_iter().find(|path| path.is_file()).map(|path| path.display().to_string())
    };
    bare.map(|name| (*name).to_owned()).or_else(full)
}

/// The usual role if its account exists and its tasks can read the tutorial's files; otherwise the caller.
fn choose_role(directory: &Path) -> String {
    let exists = matches!(User::from_name(USUAL_ROLE), Ok(Some(_)));
    // A daemon that is not root runs every task as the caller, who can read his own files.
    let can_read = !Uid::effective().is_root() || is_open_to_all(directory);
    if exists && can_read { USUAL_ROLE.into() } else { login() }
}

/// Whether everybody may enter the directory and all those above it.
fn is_open_to_all(directory: &Path) -> bool {
    directory.ancestors().all(|path| std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o001 != 0))
}

/// The tutorial's files.
struct Files {
    script: PathBuf,
    job_file: PathBuf,
}

impl Files {
    fn write(directory: &Path, python: &str, role: &str, console: &mut Console) -> Outcome<Self> {
        let files = Self { script: directory.join("hello_world.py"), job_file: directory.join("hello_world.aurora") };
        let Some(script_path) = files.script.to_str() else {
            let text = format!("{}: its name is not UTF-8 text; choose another directory.", directory.display());
            return Err(Failure::new(Exit::InvalidParameter, text));
        };
        write_new(&files.script, SCRIPT, console)?;
        write_new(&files.job_file, &job_file(script_path, python, role), console)?;
        Ok(files)
    }
}

/// Writes a file; one that exists is the user's work and stays.
fn write_new(path: &Path, text: &str, console: &mut Console) -> Outcome {
    match std::fs::File::create_new(path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).map_err(|error| cannot(path, &error))?;
            console.err(format!("Wrote {}", path.display()));
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            console.err(format!("{} exists already and stays as it is", path.display()));
            Ok(())
        }
        Err(error) => Err(cannot(path, &error)),
    }
}

fn job_file(script_path: &str, python: &str, role: &str) -> String {
    JOB_FILE
        .replace("@PATH@", &python_literal(script_path))
        .replace(
            "@QUOTED@",
            if is_plain(script_path) { "pkg_path" } else { "\"'\" + pkg_path.replace(\"'\", \"'\\\\''\") + \"'\"" },
        )
        .replace("@PYTHON@", python)
        .replace("@ROLE@", role)
}

/// Whether a shell takes the text as one word without quotes.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ','))
}

fn python_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A word for the shell.
fn shell_word(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Starts a daemon unless one serves already; returns how to stop it.
fn ensure_daemon(
    directory: &Path,
    role: &str,
    listen: SocketAddr,
    program: &str,
    console: &mut Console,
) -> Outcome<String> {
    let url = format!("http://{listen}");
    match HttpTransport::new(&url).call(&GetTierConfigsArguments {}.into(), None) {
        Ok(_) => {
            console.err(format!("A daemon answers at {url} already; the tutorial uses it"));
            return Ok("When you are done, stop the daemon where you started it.".into());
        }
        Err(TransportError::Connect(_)) => {}
        Err(_) => {
            let text =
                format!("Something that is not Daybreak answers at {url}. Stop it, then call the tutorial again.");
            return Err(Failure::new(Exit::NetworkError, text));
        }
    }
    let state_directory = directory.join(".daybreak");
    let daemon = daemon::start(&DaemonOptions {
        program: Path::new(program),
        state_directory: &state_directory,
        log: directory.join("daybreak.log"),
        listen,
        cluster: LOCAL_CLUSTER,
        allow_root_role: role == "root",
        ephemeral: None,
    })?;
    let cluster = Cluster::at(LOCAL_CLUSTER, &daemon.endpoint.url);
    console.err(format!("Started a daemon at {} (log: {})", cluster.url, directory.join("daybreak.log").display()));
    if let Some(notice) = &daemon.endpoint.notice {
        console.err(notice);
    }
    Ok(format!("When you are done, stop the daemon:  kill {}", daemon.endpoint.pid))
}

fn next_steps(aurora: &str, role: &str, files: &Files, listen: SocketAddr, stop: &str) -> Vec<String> {
    let key = format!("{LOCAL_CLUSTER}/{role}/devel/hello_world");
    let page = format!("http://{listen}/scheduler/{role}/devel/hello_world");
    let script = shell_word(&files.script.display().to_string());
    let file = shell_word(&files.job_file.display().to_string());
    let lines = [
        String::new(),
        "1. Create the job. It will fail: hello_world.py has a mistake in it.".into(),
        format!("     {aurora} job create {key} {file}"),
        "2. See that it failed, and the last lines of its stderr (also on its page):".into(),
        format!("     {aurora} job status {key}"),
        format!("     {page}"),
        "3. Mend the script: it should say range, not xrang.".into(),
        format!("     sed -i s/xrang/range/ {script}"),
        "4. Roll the mended script out and wait until it has been running for 5 seconds:".into(),
        format!("     {aurora} update start --wait {key} {file}"),
        "5. See it run; its stdout is on the page of the task:".into(),
        format!("     {aurora} job status {key}"),
        "6. Kill it:".into(),
        format!("     {aurora} job killall {key}"),
        String::new(),
        stop.to_owned(),
    ];
    lines.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Buffer;
    use std::os::unix::fs::PermissionsExt;

    fn console() -> (Console, Buffer) {
        let err = Buffer::default();
        (Console::to(Box::new(Buffer::default()), Box::new(err.clone())), err)
    }

    #[test]
    fn the_files_are_written_once_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let (mut console, err) = console();
        let files = Files::write(directory.path(), "python3", "www-data", &mut console).unwrap();
        assert!(std::fs::read_to_string(&files.script).unwrap().contains("in xrang(100):"));
        let job_file = std::fs::read_to_string(&files.job_file).unwrap();
        let path = files.script.display();
        assert!(job_file.contains(&format!("pkg_path = '{path}'\n")), "{job_file}");
        assert!(job_file.contains("cmdline = 'python3 hello_world.py')"), "{job_file}");
        assert!(job_file.contains("role = 'www-data',") && !job_file.contains('@'), "{job_file}");

        std::fs::write(&files.script, "mine").unwrap();
        Files::write(directory.path(), "python", "ana", &mut console).unwrap();
        assert_eq!(std::fs::read_to_string(&files.script).unwrap(), "mine");
        assert!(err.text().contains("hello_world.py exists already and stays as it is"), "{}", err.text());
    }

    #[test]
    fn names_with_blanks_and_quotes_survive_python_and_the_shell() {
        let text = job_file("/tmp/ana's files/hello_world.py", "python3", "ana");
        assert!(text.contains(r"pkg_path = '/tmp/ana\'s files/hello_world.py'"), "{text}");
        assert!(text.contains(r#"% ("'" + pkg_path.replace("'", "'\\''") + "'", pkg_checksum)"#), "{text}");
        assert_eq!(shell_word("/tmp/ana's files"), r"'/tmp/ana'\''s files'");
        assert_eq!(shell_word("/tmp/a-b_c.d"), "/tmp/a-b_c.d");
    }

    #[test]
    fn every_next_command_has_the_program_s_full_path() {
        let files = Files { script: "/t/hello_world.py".into(), job_file: "/t/hello_world.aurora".into() };
        let lines = next_steps("/opt/daybreak aurora", "ana", &files, default_listen(), "kill 7");
        let commands: Vec<&str> =
            lines.iter().map(|line| line.trim()).filter(|line| line.contains(" aurora ")).collect();
        assert_eq!(
            commands,
            [
                "/opt/daybreak aurora job create devcluster/ana/devel/hello_world /t/hello_world.aurora",
                "/opt/daybreak aurora job status devcluster/ana/devel/hello_world",
                "/opt/daybreak aurora update start --wait devcluster/ana/devel/hello_world /t/hello_world.aurora",
                "/opt/daybreak aurora job status devcluster/ana/devel/hello_world",
                "/opt/daybreak aurora job killall devcluster/ana/devel/hello_world",
            ]
        );
        assert!(lines.iter().any(|line| line.trim() == "sed -i s/xrang/range/ /t/hello_world.py"));
        assert_eq!(lines.last().unwrap(), "kill 7");
    }

    #[test]
    fn commands_reach_a_daemon_at_another_port() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings_of_commands(directory.path(), SocketAddr::from(([127, 0, 0, 1], 31999))).unwrap();
        let words: Vec<&str> = settings.split_whitespace().collect();
        let root = format!("AURORA_CONFIG_ROOT={}", directory.path().display());
        assert_eq!(words.last(), Some(&root.as_str()), "{settings}");
        let path = directory.path().join("clusters.json");
        let mut clusters = Clusters::default();
        clusters.add_file(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(clusters.get(LOCAL_CLUSTER).unwrap().url, "http://127.0.0.1:31999");
    }

    #[test]
    fn the_python_that_tasks_find_is_preferred() {
        let directory = tempfile::tempdir().unwrap();
        let (tasks, own, none) =
            (directory.path().join("tasks"), directory.path().join("own"), directory.path().join("none"));
        for path in [&tasks, &own] {
            std::fs::create_dir(path).unwrap();
        }
        std::fs::write(tasks.join("python3"), "").unwrap();
        std::fs::write(own.join("python"), "").unwrap();
        let choose = |of_tasks: &Path, of_caller: &Path| choose_python(&[of_tasks.into()], &[of_caller.into()]);
        assert_eq!(choose(&tasks, &own).as_deref(), Some("python3"));
        assert_eq!(choose(&none, &own), Some(own.join("python").display().to_string()));
        assert_eq!(choose(&none, &none), None);
    }

    #[test]
    fn a_role_that_cannot_read_the_files_is_not_chosen() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!is_open_to_all(&directory.path().join(".")), "nobody else may enter it");
        assert!(is_open_to_all(Path::new("/usr")));
    }
}
