//! What is said about files that are wrong, word for word.

use crate::common::{Files, request};

/// All that a user is told about a file.
fn told(name: &str, text: &str) -> String {
    let files = Files::new();
    let result = config::evaluate(&request(&files.write(name, text)))
        .and_then(|evaluation| evaluation.select(None)?.submission("me", &config::default_tiers()).map(drop));
    match result {
        Ok(()) => "accepted\n".to_owned(),
        Err(error) => error.render().replace(&format!("{}/", files.folder.path().display()), ""),
    }
}

#[test]
fn errors_name_the_place_and_what_to_do() {
    let cases = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/errors.txt")).unwrap();
    let mut now = String::new();
    for case in cases.split("=====\n").skip(1) {
        let (file, _) = case.split_once("-----\n").expect("a file and what is told about it");
        let (name, text) = file.split_once('\n').expect("a name and a text");
        now.push_str(&format!("=====\n{file}-----\n{}", told(name, text)));
    }
    let header = cases.split("=====\n").next().unwrap_or_default();
    let now = format!("{header}{now}");
    if now != cases {
        let path = std::env::temp_dir().join("errors-of-data-files.txt");
        std::fs::write(&path, &now).unwrap();
        let differing = now.lines().zip(cases.lines()).position(|(now, then)| now != then);
        panic!("told otherwise from line {:?} on; all of it is in {}", differing.map(|line| line + 1), path.display());
    }
}
