//! Finding Go, building the clients, running them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::Daemon;

/// The oldest Go that builds the clients, as their go.mod says.
const OLDEST: (u32, u32) = (1, 19);

/// How a client speaks to the scheduler.
pub const TRANSPORTS: [&str; 2] = ["json", "binary"];

/// Says past the test harness, which keeps what good tests print, that something did not run.
fn say_loudly(what: &str, why: &str) {
    let text = format!("\n!!! {what} DID NOT RUN: {}\n\n", why.trim().replace('\n', "\n!!!   "));
    // With nobody left to read it, there is nothing to say.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(output) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    // What a developer set for his own work must not change what is built here, nor may anything be fetched but what go.sum names.
    command.current_dir(folder).env("GOFLAGS", "").env("GOWORK", "off").env("GOTOOLCHAIN", "local");
    command
}

/// Whether there is a Go that can build the clients; otherwise what to do.
fn usable_go() -> Result<(), String> {
    let advice = format!("install Go {}.{} or newer and put it on the PATH (Debian: golang-go)", OLDEST.0, OLDEST.1);
    let output = run(go(Path::new("/")).arg("version")).map_err(|why| format!("no usable Go ({why}); {advice}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // "go version go1.22.3 linux/amd64"
    let number = said.split_whitespace().nth(2).and_then(|word| word.strip_prefix("go")).unwrap_or_default();
    let mut parts = number.split(['.', '-', 'r', 'b']).map(|part| part.parse().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= OLDEST { Ok(()) } else { Err(format!("Go is too old ({}); {advice}", said.trim())) }
}

/// A built client.
pub struct Client {
    /// Its folder, which names the generation of the library.
    pub name: String,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Client {
    /// Builds the program of `tests/gorealis/<name>`; `None`, said loudly, where its parts are not to be had. One that does not compile
    /// fails the test.
    pub fn build(name: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gorealis").join(name);
        let fetched = usable_go().and_then(|()| {
            let modules = run(go(&folder).args(["mod", "download"]));
            modules.map(drop).map_err(|why| format!("Go cannot fetch it:\n{why}"))
        });
        if let Err(why) = fetched {
            say_loudly(&format!("The test with gorealis {name}"), &why);
            return None;
        }
        // Tests run at the same time, and each may build the same program.
        let program = tempfile::Builder::new().prefix("gorealis-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = program.path().join(name);
        let built = run(go(&folder).arg("build").arg("-o").arg(&path).arg("."));
        built.unwrap_or_else(|why| panic!("the client does not build:\n{why}"));
        Some(Self { name: name.to_owned(), path, _folder: program })
    }

    /// Runs one verb for a job of this role in the environment prod; what it prints, or why it failed.
    pub fn call(
        &self,
        daemon: &Daemon,
        transport: &str,
        role: &str,
        job: &str,
        rest: &[&str],
    ) -> Result<String, String> {
        let mut command = Command::new(&self.path);
        command.args(["-url", &daemon.url, "-transport", transport, "-role", role, "-name", job]).args(rest);
        run(&mut command).map(|output| String::from_utf8(output.stdout).expect("text"))
    }

    /// Every stored task of a job, as the client sees them.
    pub fn tasks(&self, daemon: &Daemon, transport: &str, role: &str, job: &str) -> Vec<Value> {
        let lines = self.call(daemon, transport, role, job, &["status"]).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
