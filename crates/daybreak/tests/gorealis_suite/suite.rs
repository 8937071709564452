//! Running a compiled Go test to its end, whatever panics on the way, and what became of each of its tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Passed,
    /// Its authors, or Go's machinery, passed it over.
    Skipped,
    /// Not as it should.
    Failed,
    /// It took the whole program down with it.
    Panicked,
}

/// What became of every test, parts of tests included, and all that was printed.
#[derive(Debug, Default)]
pub struct Report {
    /// By name, parts as `Test/Part`.
    pub verdicts: BTreeMap<String, (Verdict, String)>,
    /// The whole output.
    pub output: String,
}

/// A compiled test of a package in Go's module cache.
pub struct Suite {
    program: PathBuf,
    folder: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

/// How another process is told of a suite.
const PROGRAM: &str = "DAYBREAK_TEST_SUITE_PROGRAM";
const FOLDER: &str = "DAYBREAK_TEST_SUITE_FOLDER";

fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(folder).stdin(Stdio::null());
    command.env("GOFLAGS", "").env("GOWORK", "off").env("GOTOOLCHAIN", "local");
    command
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

impl Suite {
    /// Compiles the package's own tests, as they are in the module that `tests/gorealis/<name>/go.mod` requires. The reason where that
    /// cannot be had here.
    pub fn build(name: &str, package: &str) -> Result<Self, String> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gorealis").join(name);
        said(go(&module).args(["mod", "download"])).map_err(|why| format!("Go cannot fetch {package}: {why}"))?;
        let folder = PathBuf::from(said(go(&module).args(["list", "-m", "-f", "{{.Dir}}", package]))?);
        let directory = tempfile::Builder::new().prefix("gorealis-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let program = directory.path().join("suite");
        said(go(&module).args(["test", "-c", "-o"]).arg(&program).arg(package))?;
        Ok(Self { program, folder, _directory: Some(directory) })
    }

    /// The variables that tell another process of it.
    pub fn variables(&self) -> [(&'static str, &Path); 2] {
        [(PROGRAM, &self.program), (FOLDER, &self.folder)]
    }

    /// The suite that this process was told of.
    pub fn told() -> Self {
        let path = |name| PathBuf::from(std::env::var_os(name).expect("whoever started this process built the suite"));
        Self { program: path(PROGRAM), folder: path(FOLDER), _directory: None }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Its files are found relative to the package's folder.
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// Names of its tests.
    pub fn tests(&self) -> Vec<String> {
        let list = said(self.command().args(["-test.list", "."])).expect("the suite lists its tests");
        list.lines().filter(|line| line.starts_with("Test")).map(str::to_owned).collect()
    }

    /// Runs all of it in one process, as its authors do. Where one test takes the process down, the rest runs in the next one.
    pub fn run(&self, limit: Duration) -> Report {
        let mut report = Report::default();
        let mut open = self.tests();
        while !open.is_empty() {
            let chosen = format!("^({})$", open.join("|"));
            let mut command = self.command();
            let output = command
                .args(["-test.v", "-test.count=1", "-test.timeout", &format!("{}s", limit.as_secs())])
                .args(["-test.run", &chosen])
                .output()
                .expect("the suite runs");
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            let begun = read(&text, &mut report.verdicts);
            report.output.push_str(&text);
            if let Some(test) = begun.iter().rev().find(|test| !report.verdicts.contains_key(*test)) {
                let why = text.lines().find(|line| line.starts_with("panic:")).unwrap_or("the program ended");
                report.verdicts.insert(test.clone(), (Verdict::Panicked, why.to_owned()));
            }
            let before = open.len();
            open.retain(|test| !report.verdicts.contains_key(test));
            assert!(open.len() < before, "no test of the suite began:\n{text}");
        }
        report
    }
}

/// Reads the verdicts out of what `go test -v` prints; the names of whole tests that began, in order.
fn read(text: &str, verdicts: &mut BTreeMap<String, (Verdict, String)>) -> Vec<String> {
    let mut begun = Vec::new();
    let mut complaints: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== RUN   ") {
            if !name.contains('/') {
                begun.push(name.to_owned());
                complaints.clear();
            }
            continue;
        }
        // What a test printed without a line's end stands before it.
        let Some((kind, rest)) = line.split_once("--- ").and_then(|(_, rest)| rest.split_once(": ")) else {
            let words = line.trim();
            if ["Error:", "Messages:", "panic:"].iter().any(|word| words.starts_with(word)) {
                complaints.push(words);
            }
            continue;
        };
        let verdict = match kind {
            "PASS" => Verdict::Passed,
            "SKIP" => Verdict::Skipped,
            "FAIL" => Verdict::Failed,
            _ => continue,
        };
        let name = rest.split(' ').next().unwrap_or(rest).to_owned();
        let why = if verdict == Verdict::Failed { complaints.join("; ") } else { String::new() };
        verdicts.insert(name, (verdict, why));
    }
    begun
}

/// The tests whose verdict is not what `expected` says: those that should have passed, and those that should not have.
pub fn surprises(report: &Report, expected: &[(&str, &str)]) -> Vec<String> {
    let expected: BTreeMap<&str, &str> = expected.iter().copied().collect();
    let mut surprises: Vec<String> = expected
        .keys()
        .filter(|name| !report.verdicts.contains_key(**name))
        .map(|name| format!("{name} is listed as failing and did not run at all: take it off the list"))
        .collect();
    for (name, (verdict, why)) in &report.verdicts {
        let good = matches!(verdict, Verdict::Passed | Verdict::Skipped);
        match expected.get(name.as_str()) {
            Some(_) if good => surprises.push(format!("{name} passes now: take it off the list")),
            None if !good && !has_listed_part(name, &expected) => surprises.push(format!("{name}: {verdict:?} {why}")),
            _ => {}
        }
    }
    surprises
}

/// A test fails with a part of it that is known to fail.
fn has_listed_part(name: &str, expected: &BTreeMap<&str, &str>) -> bool {
    expected.keys().any(|listed| listed.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')))
}

#[test]
fn verdicts_are_read_as_go_prints_them_and_the_list_must_be_true() {
    let text = "=== RUN   TestA\n=== RUN   TestA/part\n    a_test.go:3: \n        \tError:      \tReceived unexpected error:\n\
                --- FAIL: TestA (0.10s)\n    --- FAIL: TestA/part (0.10s)\n=== RUN   TestB\nprinted--- PASS: TestB (0.00s)\n\
                === RUN   TestC\npanic: runtime error\n";
    let mut report = Report::default();
    let begun = read(text, &mut report.verdicts);
    assert_eq!(begun, ["TestA", "TestB", "TestC"]);
    assert_eq!(report.verdicts["TestA/part"].0, Verdict::Failed);
    assert!(report.verdicts["TestA"].1.contains("unexpected error"), "{report:?}");
    assert_eq!(report.verdicts["TestB"].0, Verdict::Passed);
    assert!(!report.verdicts.contains_key("TestC"));
    report.verdicts.insert("TestC".into(), (Verdict::Panicked, "runtime error".into()));
    assert_eq!(surprises(&report, &[("TestA/part", "x"), ("TestC", "y")]), [""; 0]);
    let wrong = surprises(&report, &[("TestA", "x"), ("TestB", "y"), ("TestD", "z")]);
    let of = |name: &str| wrong.iter().find(|line| line.starts_with(name)).cloned().unwrap_or_default();
    assert!(of("TestB").contains("take it off"), "{wrong:?}");
    assert!(of("TestD").contains("did not run"), "{wrong:?}");
    assert!(of("TestC").contains("Panicked") && of("TestA/part").contains("Failed"), "{wrong:?}");
}
