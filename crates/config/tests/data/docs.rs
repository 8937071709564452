//! The guide's examples are what it says they are.

use std::path::Path;

use crate::common::{Files, request};
use crate::pairs::{assert_same, submissions};
use crate::schema::{seen, validator};

/// The blocks of the guide: language and text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```").filter(|language| !language.is_empty()) {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language.to_owned(), body.join("\n") + "\n"));
        }
    }
    blocks
}

#[test]
fn the_guides_forms_of_a_job_are_one_job() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/job-files.md");
    let blocks = blocks(&std::fs::read_to_string(guide).unwrap());
    let validator = validator();
    let mut forms = Vec::new();
    let mut evaluated = 0;
    for (language, text) in &blocks {
        let extension = match language.as_str() {
            "python" => "aurora",
            "yaml" | "json" | "toml" => language,
            _ => continue,
        };
        let files = Files::new();
        let name = format!("job.{extension}");
        let jobs = config::evaluate(&request(&files.write(&name, text)).bind("version", "1.4"))
            .unwrap_or_else(|error| panic!("{}\n{text}", error.render()));
        let sent = submissions(&jobs);
        assert!(!sent.is_empty());
        if extension != "aurora" && !text.contains("<<:") {
            assert!(validator.is_valid(&seen(&name, text)), "{text}");
        }
        if sent[0].job.key.name == "clock" {
            forms.push((language.clone(), sent));
        }
        evaluated += 1;
    }
    let languages: Vec<&str> = forms.iter().map(|(language, _)| language.as_str()).collect();
    assert_eq!(languages, ["python", "yaml", "json", "toml"]);
    for (language, sent) in &forms[1..] {
        assert_same(&forms[0].1, sent, language);
    }
    assert!(evaluated > 4, "the guide shows more than the four forms");
}
