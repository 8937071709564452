//! Completion in the user's shell: of verbs and options, and of what a scheduler knows: jobs, roles, instances, updates, hosts. The shell's
//! script calls this program back with what was typed so far; see [`requested`]. Not where the names come from ([`source`]).

mod source;
mod values;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use clap::Command;
use clap_complete::engine::ArgValueCompleter;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use crate::clusters::Clusters;
use source::Source;
use values::{Kind, Values};

/// By this variable a shell's script says that it asks for candidates, and which shell it is.
pub const VARIABLE: &str = "DAYBREAK_COMPLETE";

/// Shells with completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// Fish.
    Fish,
}

impl Shell {
    fn named(name: &str) -> Option<Self> {
        match name {
            "bash" => Some(Self::Bash),
            "zsh" => Some(Self::Zsh),
            "fish" => Some(Self::Fish),
            _ => None,
        }
    }

    fn writer(self) -> &'static dyn EnvCompleter {
        match self {
            Self::Bash => &Bash,
            Self::Zsh => &Zsh,
            Self::Fish => &Fish,
        }
    }
}

/// The script that makes a shell complete a command of that name.
pub fn script(shell: Shell, command: &str) -> Vec<u8> {
    let mut script = Vec::new();
    // Only writing can fail, and a vector takes everything.
    let _ = shell.writer().write_registration(VARIABLE, command, command, command, &mut script);
    script
}

/// The candidates, if a shell's script asks for them: `arguments` are this process's, in which the words typed so far follow `--`.
pub fn requested(arguments: &[OsString], command: impl FnOnce() -> Command) -> Option<Vec<u8>> {
    let shell = Shell::named(std::env::var(VARIABLE).ok()?.as_str())?;
    let at = arguments.iter().position(|word| word == "--")?;
    let words = arguments[at + 1..].to_vec();
    // A file that cannot be read is told by the command itself, not in the middle of a line that is being typed.
    let clusters = Clusters::load().unwrap_or_default();
    let here = std::env::current_dir().ok();
    Some(candidates(shell, words, here.as_deref(), command(), Source::real(clusters)))
}

fn candidates(shell: Shell, words: Vec<OsString>, here: Option<&Path>, command: Command, source: Source) -> Vec<u8> {
    let typed = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let at = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse::<usize>().ok());
    let current = words.get(at.unwrap_or(words.len().saturating_sub(1))).cloned().unwrap_or_default();
    let values = Arc::new(Values { source, typed });
    let mut command = with_values(command, "", &values);
    command.build();
    let mut shown = Vec::new();
    let _ = shell.writer().write_complete(&mut command, words, here, &mut shown);
    if current.is_empty() { without_options(shown) } else { shown }
}

/// Leaves options out where something else can stand, so that what has no choice is completed at once; they are offered after a dash.
fn without_options(shown: Vec<u8>) -> Vec<u8> {
    let Ok(text) = String::from_utf8(shown) else { return Vec::new() };
    let separators = ['\n', '\u{b}'];
    let separator = text.chars().find(|letter| separators.contains(letter)).unwrap_or('\n').to_string();
    let all: Vec<&str> = text.split(separators).filter(|candidate| !candidate.is_empty()).collect();
    let others: Vec<&str> = all.iter().copied().filter(|candidate| !candidate.starts_with('-')).collect();
    if others.is_empty() { all.join(&separator) } else { others.join(&separator) }.into_bytes()
}

/// Gives each argument that names something a scheduler knows its candidates. What it names is said by how its help calls it.
fn with_values(command: Command, parent: &str, values: &Arc<Values>) -> Command {
    let (name, parent) = (command.get_name().to_owned(), parent.to_owned());
    let command = command.mut_args(|arg| {
        let shown = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str().to_owned());
        match Kind::of(&shown.unwrap_or_default(), arg.get_id().as_str(), &name, &parent) {
            Some(kind) => {
                let values = values.clone();
                arg.add(ArgValueCompleter::new(move |typed: &std::ffi::OsStr| values.candidates(kind, typed)))
            }
            None => arg,
        }
    });
    command.mut_subcommands(|sub| with_values(sub, &name, values))
}

#[cfg(test)]
mod tests;
