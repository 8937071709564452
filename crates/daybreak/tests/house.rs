//! The walls of the house: which crate may use which, which licences and crates may come in. Reads what cargo knows.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Floor of each crate (ARCHITECTURE.md). A crate may use lower floors only.
const FLOORS: &[(&str, u32)] = &[
    ("model", 1),
    ("engine", 1),
    ("scheduler", 2),
    ("thrift", 2),
    ("mesos", 2),
    ("checkpoint", 2),
    ("discovery", 2),
    ("node", 3),
    ("journal", 3),
    ("gateway", 3),
    ("web", 4),
    ("api", 4),
    ("observer", 4),
    ("security", 4),
    ("fetcher", 2),
    ("compose", 2),
    ("config", 4),
    ("engine-local", 4),
    ("engine-mesos", 4),
    ("executor", 4),
    ("client", 5),
    ("etl", 5),
    ("server", 5),
    ("daybreak", 6),
];

/// Edges on one floor that the plan allows.
const SAME_FLOOR: &[(&str, &str)] = &[("engine", "model"), ("journal", "node"), ("checkpoint", "thrift")];

/// Crates that stand beside the floors: they may use everything, nothing in production may use them.
const SIDE: &[&str] = &["simulation"];

/// Libraries that state their licence in a file only, and which one it is.
const LICENCE_IN_A_FILE: &[(&str, &str)] = &[
    ("mt19937", "BSD-3-Clause"),
    ("rustpython-doc", "PSF-2.0"),
    ("rustpython-pylib", "PSF-2.0"),
    ("syn-ext", "BSD-2-Clause"),
];

/// Libraries whose published form may not come in; our own stand-ins below `third-party/` replace them.
const REPLACED: &[&str] = &["malachite-base", "malachite-bigint", "malachite-nz", "malachite-q"];

/// Whether a package is one of our replacements for a library with a licence that may not come in.
fn is_stand_in(package: &Value) -> bool {
    text(package, "manifest_path").contains("/third-party/")
}

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn crates_use_lower_floors_only() {
    let floors: BTreeMap<&str, u32> = FLOORS.iter().copied().collect();
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|package| text(package, "name")).collect();
    let mut forbidden = Vec::new();
    for package in packages {
        let name = text(package, "name");
        if SIDE.contains(&name) || is_stand_in(package) {
            continue;
        }
        let Some(floor) = floors.get(name) else {
            forbidden.push(format!("{name} has no floor: give it one in ARCHITECTURE.md and here"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = text(dependency, "name");
            // Tests may look at anything.
            if !ours.contains(used) || text(dependency, "kind") == "dev" {
                continue;
            }
            let lower = floors.get(used).is_some_and(|other| other < floor);
            if !lower && !SAME_FLOOR.contains(&(name, used)) {
                forbidden.push(format!("{name} (floor {floor}) may not use {used}"));
            }
        }
    }
    assert!(forbidden.is_empty(), "the plan forbids:\n  {}", forbidden.join("\n  "));
}

#[test]
fn the_core_stays_free_of_input_output_and_async() {
    let metadata = metadata(&["--no-deps"]);
    let banned = ["tokio", "futures", "axum", "hyper", "reqwest", "ureq", "rustix", "nix", "libc", "rand"];
    for package in metadata["packages"].as_array().unwrap() {
        if !["model", "scheduler"].contains(&text(package, "name")) {
            continue;
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = text(dependency, "name");
            let ok = text(dependency, "kind") == "dev" || !banned.contains(&used);
            assert!(ok, "{} is deterministic and may not use {used}", text(package, "name"));
        }
    }
}

/// The quoted words of the list that follows `key` in deny.toml.
fn deny_list(key: &str) -> Vec<String> {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deny.toml")).unwrap();
    let start = file.find(&format!("{key} = [")).unwrap_or_else(|| panic!("deny.toml has {key}"));
    let list = &file[start..start + file[start..].find("\n]").unwrap()];
    let lines = list.lines().skip(1).filter(|line| !line.trim_start().starts_with('#'));
    lines.filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect()
}

/// Whether an SPDX expression (or the old `A/B` form) can be met with the allowed licences.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    expression
        .split(" AND ")
        .all(|every| every.split(" OR ").any(|one| allowed.iter().any(|it| it == one.trim().trim_end_matches('+'))))
}

#[test]
fn every_library_has_an_allowed_licence_and_none_is_banned() {
    let allowed = deny_list("allow");
    let banned = deny_list("deny");
    let metadata = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let mut refused = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let (name, version) = (text(package, "name"), text(package, "version"));
        let in_a_file = LICENCE_IN_A_FILE.iter().find(|(of, _)| *of == name);
        let licence = in_a_file.map_or(text(package, "license"), |(_, licence)| licence);
        if REPLACED.contains(&name) && !is_stand_in(package) {
            refused.push(format!("{name} {version} is not our own stand-in: see third-party/"));
        }
        if !is_allowed(licence, &allowed) {
            refused.push(format!("{name} {version}: licence '{licence}' is not allowed by deny.toml"));
        }
        if banned.iter().any(|it| it == name) {
            refused.push(format!("{name} {version} is banned by deny.toml"));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT".to_owned(), "Zlib".to_owned()];
    for good in ["MIT", "MIT OR Apache-2.0", "GPL-3.0/MIT", "(MIT OR LGPL-3.0) AND Zlib"] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in ["", "LGPL-3.0-only", "MIT AND LGPL-3.0-only", "Apache-2.0"] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}
