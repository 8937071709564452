//! `daybreak completion`: scripts for shells. What they call back for is [`crate::completion`].

use super::arguments::{CompletionArguments, CompletionShell};
use crate::completion::{Shell, script};
use crate::console::Console;

/// Prints the script.
pub fn print(arguments: &CompletionArguments, console: &mut Console) {
    let shell = match arguments.shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    console.out_bytes(&script(shell, &arguments.command));
}
