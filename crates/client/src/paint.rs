//! Colours for people at a terminal. The texts are the same with and without them.

use anstyle::{AnsiColor, Style};

/// What is marked, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A title.
    Heading,
    /// The name of what follows.
    Label,
    /// What goes away.
    Removed,
    /// What comes.
    Added,
    /// What needs to be looked at.
    Notice,
}

impl Mark {
    fn style(self) -> Style {
        match self {
            Self::Heading => Style::new().bold(),
            Self::Label => AnsiColor::Cyan.on_default(),
            Self::Removed => AnsiColor::Red.on_default(),
            Self::Added => AnsiColor::Green.on_default(),
            Self::Notice => AnsiColor::Yellow.on_default(),
        }
    }
}

/// A brush, possibly without colour.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    is_on: bool,
}

impl Paint {
    /// With colours or without.
    pub fn new(is_on: bool) -> Self {
        Self { is_on }
    }

    /// A text, marked.
    pub fn mark(self, mark: Mark, text: &str) -> String {
        if !self.is_on || text.is_empty() {
            return text.to_owned();
        }
        let style = mark.style();
        format!("{}{text}{}", style.render(), style.render_reset())
    }

    /// The text form of `job inspect`: titles, names and values apart. A command line stays as it is.
    pub fn inspection(self, text: &str) -> String {
        if !self.is_on {
            return text.to_owned();
        }
        let mut in_command = false;
        let lines = text.lines().map(|line| {
            let body = line.trim_start();
            let indent = &line[..line.len() - body.len()];
            if indent.is_empty() {
                in_command = false;
                return self.mark(Mark::Heading, line);
            }
            if in_command {
                return line.to_owned();
            }
            in_command = body == "cmdline:";
            match body.split_once(": ") {
                Some((label, value)) if !label.contains(' ') => {
                    format!("{indent}{} {value}", self.mark(Mark::Label, &format!("{label}:")))
                }
                _ if body.ends_with(':') => format!("{indent}{}", self.mark(Mark::Label, body)),
                _ => format!("{indent}{}", self.mark(Mark::Notice, body)),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Job level information\n  name:       'web'\n  cron:\n    schedule: '* * * * *'\n\nProcess 'p':\n  daemon\n  cmdline:\n    \
                        echo a: b";

    #[test]
    fn colours_change_no_text() {
        let plain = Paint::new(false).inspection(TEXT);
        assert_eq!(plain, TEXT);
        let coloured = Paint::new(true).inspection(TEXT);
        assert_ne!(coloured, TEXT);
        let mut without = coloured.clone();
        while let Some(at) = without.find('\u{1b}') {
            let end = at + without[at..].find('m').unwrap();
            without.replace_range(at..=end, "");
        }
        assert_eq!(without, TEXT);
        assert!(coloured.ends_with("\n    echo a: b"), "a command line is the user's own: {coloured:?}");
        assert!(coloured.contains("\u{1b}[1mProcess 'p':"), "{coloured:?}");
    }
}
