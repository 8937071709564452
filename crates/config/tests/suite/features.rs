//! The interpreter is compiled once: the libraries below it have the same features whichever crates of the workspace are built.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The packages below the interpreter, each as `name version|features`, when the given crates are built.
fn below_the_interpreter(selection: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "depth", "--format", " {p}|{f}"])
        .args(selection)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo prints text");
    // A package is printed with what it uses once; later it is only named, with a star.
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut path: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some((depth, package)) = line.split_once(' ') else { continue };
        let Ok(depth) = depth.parse::<usize>() else { continue };
        let package = package.replace(" (*)", "").replace(" (proc-macro)", "");
        path.truncate(depth);
        if let Some(user) = path.last() {
            uses.entry(user.clone()).or_default().insert(package.clone());
        }
        path.push(package);
    }
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = uses.keys().filter(|package| package.starts_with("rustpython-stdlib ")).collect();
    while let Some(package) = next.pop() {
        if found.insert(package.clone()) {
            next.extend(uses.get(package).into_iter().flatten());
        }
    }
    found
}

#[test]
fn the_interpreter_is_compiled_once_for_every_selection_of_crates() {
    let everything = below_the_interpreter(&["--workspace", "-e", "normal,build,dev"]);
    assert!(everything.len() > 100, "only {} packages were found", everything.len());
    for selection in ["config", "daybreak"] {
        let selected = below_the_interpreter(&["-p", selection, "-e", "normal,build"]);
        let other: Vec<_> = selected.symmetric_difference(&everything).collect();
        assert!(
            other.is_empty(),
            "features differ between -p {selection} and --workspace, so the interpreter is compiled twice; name them all in \
             crates/config/Cargo.toml: {other:#?}"
        );
    }
}
