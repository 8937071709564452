//! The two streams of a command: results on stdout, everything else on stderr (spec client-cli 1.1). On a terminal long work shows a bar; with
//! `--json` what goes wrong is JSON too. Not what is said.
//!
//! Write errors are ignored on purpose: a reader that closes its end (`| head`) ends the output, not the command.

use std::io::{IsTerminal, Write};

use clap::ColorChoice;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// Where a command prints.
pub struct Console {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    out_is_terminal: bool,
    err_is_terminal: bool,
    quiet: bool,
    verbose: bool,
    json: bool,
    bar: Option<ProgressBar>,
}

impl Console {
    /// The process's own streams.
    pub fn standard() -> Self {
        let (out, err) = (std::io::stdout(), std::io::stderr());
        Self {
            out_is_terminal: out.is_terminal(),
            err_is_terminal: err.is_terminal(),
            ..Self::to(Box::new(out), Box::new(err))
        }
    }

    /// Other streams, for tests; no terminals.
    pub fn to(out: Box<dyn Write>, err: Box<dyn Write>) -> Self {
        Self {
            out,
            err,
            out_is_terminal: false,
            err_is_terminal: false,
            quiet: false,
            verbose: false,
            json: false,
            bar: None,
        }
    }

    /// A line of the result.
    pub fn out(&mut self, line: impl AsRef<str>) {
        beside(self.bar.as_ref(), || {
            let _ = writeln!(self.out, "{}", line.as_ref());
            let _ = self.out.flush();
        });
    }

    /// A line for the person watching.
    pub fn err(&mut self, line: impl AsRef<str>) {
        beside(self.bar.as_ref(), || {
            let _ = writeln!(self.err, "{}", line.as_ref());
            let _ = self.err.flush();
        });
    }

    /// From now on only what went wrong is logged.
    pub fn be_quiet(&mut self) {
        self.quiet = true;
    }

    /// From now on every call is logged.
    pub fn be_verbose(&mut self) {
        self.verbose = true;
    }

    /// From now on the result is JSON, and each line on stderr is a JSON object: `{"error", "exit_code"}`, `{"warning"}`, `{"debug"}`.
    pub fn be_json(&mut self) {
        self.json = true;
    }

    /// Whether the result is to be JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A result as JSON, indented by two blanks.
    pub fn out_json(&mut self, value: &serde_json::Value) {
        self.out(serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// A log record at level DEBUG, shown to those who asked for more.
    pub fn debug(&mut self, text: impl AsRef<str>) {
        if self.verbose && self.json {
            self.err(json!({ "debug": text.as_ref() }).to_string());
        } else if self.verbose {
            self.err(format!("DEBUG] {}", text.as_ref()));
        }
    }

    /// A log record at level INFO, in the client's classic form. Programs that read JSON are not told.
    pub fn info(&mut self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            self.err(format!(" INFO] {}", text.as_ref()));
        }
    }

    /// A log record at level WARNING.
    pub fn warning(&mut self, text: impl AsRef<str>) {
        if self.json {
            self.err(json!({ "warning": text.as_ref() }).to_string());
        } else {
            self.err(format!(" WARN] {}", text.as_ref()));
        }
    }

    /// Why the command fails.
    pub fn failure(&mut self, text: &str, exit_code: u8) {
        if self.json {
            self.err(json!({ "error": text, "exit_code": exit_code }).to_string());
        } else {
            self.err(text);
        }
    }

    /// Bytes of the result as they are.
    pub fn out_bytes(&mut self, bytes: &[u8]) {
        beside(self.bar.as_ref(), || {
            let _ = self.out.write_all(bytes);
            let _ = self.out.flush();
        });
    }

    /// Bytes for the person watching as they are.
    pub fn err_bytes(&mut self, bytes: &[u8]) {
        beside(self.bar.as_ref(), || {
            let _ = self.err.write_all(bytes);
            let _ = self.err.flush();
        });
    }

    /// Whether the result is read by a person rather than by a program.
    pub fn out_is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Whether the result may be in colour. Left to us it is on a terminal, unless the user's environment says NO_COLOR.
    pub fn has_colour(&self, wanted: ColorChoice) -> bool {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match wanted {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                self.out_is_terminal
                    && !is_set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }

    /// Whether [`Self::progress`] shows anything: only a person at a terminal sees it.
    pub fn shows_progress(&self) -> bool {
        self.err_is_terminal && !self.quiet && !self.json
    }

    /// How far long work has come: `done` of `total`.
    pub fn progress(&mut self, what: &str, done: u64, total: u64) {
        if !self.shows_progress() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(total).with_position(done.min(total)).with_message(what.to_owned());
            let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.enable_steady_tick(std::time::Duration::from_millis(250));
            bar
        });
        bar.set_length(total);
        bar.set_position(done.min(total));
        bar.set_message(what.to_owned());
    }

    /// The long work is over, or broken off.
    pub fn end_progress(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Writes with the bar out of the way.
fn beside(bar: Option<&ProgressBar>, write: impl FnOnce()) {
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
