//! A story: what is so, why, what can be done, and the evidence. As text or as a document.

use serde::Serialize;

use crate::daybreak::telling::Tones;
use crate::paint::Paint;

/// What is told of one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Story {
    /// What it is about: a job key, an instance, the id of a task or an update.
    pub subject: String,
    /// Its state in a word, e.g. `PENDING`.
    pub state: String,
    /// The cause in a word, for programs; empty where there is none.
    pub cause: String,
    /// The answer in one sentence.
    pub headline: String,
    /// What there is to know besides, a sentence a line.
    pub sentences: Vec<String>,
    /// What the reader can do.
    pub advice: Vec<String>,
    /// History, oldest first.
    pub evidence: Vec<String>,
    /// Stories of the parts that are odd.
    pub parts: Vec<Story>,
}

impl Story {
    /// One more sentence.
    pub fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }

    /// One more piece of advice, unless it was given.
    pub fn advise(&mut self, advice: impl Into<String>) {
        let advice = advice.into();
        if !self.advice.contains(&advice) {
            self.advice.push(advice);
        }
    }

    /// The lines of the text.
    pub fn lines(&self, paint: Paint) -> Vec<String> {
        let mut lines = vec![colour(&self.state, paint, &self.headline)];
        lines.extend(self.sentences.iter().map(|sentence| format!("  {sentence}")));
        for part in &self.parts {
            lines.push(String::new());
            lines.push(format!("  {}", colour(&part.state, paint, &part.headline)));
            lines.extend(part.sentences.iter().map(|sentence| format!("    {sentence}")));
        }
        let mut advice: Vec<&String> = Vec::new();
        for one in self.advice.iter().chain(self.parts.iter().flat_map(|part| &part.advice)) {
            if !advice.contains(&one) {
                advice.push(one);
            }
        }
        if !advice.is_empty() {
            lines.push(String::new());
            lines.push(paint.title("What you can do"));
            lines.extend(advice.into_iter().map(|one| format!("  - {one}")));
        }
        if !self.evidence.is_empty() {
            lines.push(String::new());
            lines.push(paint.title("History"));
            lines.extend(self.evidence.iter().map(|line| format!("  {line}")));
        }
        lines
    }
}

/// Red for what is wrong, yellow for what waits, green for what is well.
fn colour(state: &str, paint: Paint, text: &str) -> String {
    match state {
        "FAILED" | "LOST" | "ERROR" | "ROLLED_BACK" => paint.bad(text),
        "RUNNING" | "FINISHED" | "ROLLED_FORWARD" | "SCHEDULED" => paint.good(text),
        _ => paint.notable(text),
    }
}
