//! The public table of what is compatible (docs/compatibility.md) tells the truth: every method, verb, flag and endpoint has a row, and
//! every check that a row names exists.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document() -> String {
    std::fs::read_to_string(root().join("docs/compatibility.md")).expect("docs/compatibility.md is there")
}

/// A row of a table.
struct Row {
    section: String,
    item: String,
    state: String,
    checks: Vec<String>,
}

/// Every row of the document's tables that have a check as their last column.
fn rows(document: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let (mut section, mut checked) = (String::new(), false);
    for line in document.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
        }
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            checked = false;
            continue;
        };
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        if !checked {
            checked = cells.last() == Some(&"check");
            continue;
        }
        if cells.iter().all(|cell| cell.trim_matches('-').is_empty()) {
            continue;
        }
        let (item, check) = (cells[0].trim_matches('`').to_owned(), cells[cells.len() - 1]);
        let checks = check.split(", ").map(|check| check.trim_matches('`').to_owned()).collect();
        rows.push(Row { section: section.clone(), item, state: cells[1].to_owned(), checks });
    }
    rows
}

fn items(section: &str) -> BTreeSet<String> {
    rows(&document()).into_iter().filter(|row| row.section == section).map(|row| row.item).collect()
}

#[test]
fn every_check_that_is_named_exists() {
    let rows = rows(&document());
    assert!(rows.len() > 100, "only {} rows were found", rows.len());
    let mut wrong = Vec::new();
    for Row { section, item, state, checks } in rows {
        for check in checks {
            if check == "missing" {
                // What nothing proves may not be called whole.
                if state == "works" {
                    wrong.push(format!("{section}, {item}: works, and nothing shows it"));
                }
                continue;
            }
            let Some((file, name)) = check.split_once("::") else {
                wrong.push(format!("{section}, {item}: '{check}' is not FILE::NAME"));
                continue;
            };
            let path = root().join("crates").join(file);
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            // Suites with a harness of their own list their cases by function, too; some tests are rows: their name and their file.
            if !text.contains(&format!("fn {name}(")) && !text.contains(&format!("\n    {name}: \"")) {
                wrong.push(format!("{section}, {item}: there is no test {check}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_method_has_a_row() {
    let rows = items("Thrift methods");
    let missing: Vec<&str> =
        thrift::Method::ALL.iter().map(|method| method.name()).filter(|name| !rows.contains(*name)).collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
    let unknown: Vec<&String> = rows.iter().filter(|name| thrift::Method::from_name(name).is_none()).collect();
    assert!(unknown.is_empty(), "no methods: {unknown:?}");
}

/// The verbs that a program's help lists, those of its nouns as `noun verb`.
fn verbs(program: &str) -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(program);
    symlink(env!("CARGO_BIN_EXE_daybreak"), &path).expect("a link can be made");
    let listed = |words: &[&str]| -> Vec<String> {
        let output = Command::new(&path).args(words).arg("--help").output().expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("help is text");
        let commands = text.lines().skip_while(|line| line.trim() != "Commands:").skip(1);
        let commands = commands.take_while(|line| line.starts_with("  ") || line.is_empty());
        let names = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        names
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .map(str::to_owned)
            .collect()
    };
    let mut verbs = BTreeSet::new();
    for noun in listed(&[]) {
        let below = listed(&[&noun]);
        if below.is_empty() {
            verbs.insert(noun);
        } else {
            verbs.extend(below.into_iter().map(|verb| format!("{noun} {verb}")));
        }
    }
    verbs
}

#[test]
fn every_verb_has_a_row() {
    for (program, section) in
        [("aurora", "Verbs of aurora"), ("aurora_admin", "Verbs of aurora_admin"), ("thermos", "Verbs of thermos")]
    {
        let (verbs, rows) = (verbs(program), items(section));
        assert!(verbs.len() > 3, "{program}: {verbs:?}");
        let missing: Vec<&String> = verbs.difference(&rows).collect();
        assert!(missing.is_empty(), "{program}: without a row: {missing:?}");
    }
}
