//! `daybreak completion`: scripts for shells.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::arguments::{CompletionArguments, CompletionShell, Daybreak};
use crate::admin::arguments::AuroraAdmin;
use crate::aurora::arguments::Aurora;
use crate::console::Console;

/// Prints the script.
pub fn print(arguments: &CompletionArguments, console: &mut Console) {
    console.out_bytes(&script(arguments));
}

fn script(arguments: &CompletionArguments) -> Vec<u8> {
    let mut command = match arguments.command.as_str() {
        "aurora" => Aurora::command(),
        "aurora_admin" => AuroraAdmin::command(),
        _ => Daybreak::command(),
    };
    let shell = match arguments.shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut command, &arguments.command, &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_with_the_verbs() {
        for shell in [CompletionShell::Bash, CompletionShell::Zsh, CompletionShell::Fish] {
            let expected = [
                ("daybreak", "tutorial"),
                ("daybreak", "killall"),
                ("daybreak", "host_drain"),
                ("aurora", "killall"),
                ("aurora_admin", "sla_host_drain"),
            ];
            for (command, verb) in expected {
                let arguments = CompletionArguments { shell, command: command.into() };
                let script = String::from_utf8(script(&arguments)).unwrap();
                assert!(script.contains(verb) && script.contains(command), "{shell:?} {command} lacks {verb}");
            }
        }
    }
}
