//! Running other programs for the user: one with this process's streams, or many whose lines are gathered.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// The exit code of a shell for a program that is not there.
const CANNOT_BE_RUN: i32 = 127;

/// As a shell has it: 128 and the number of the signal for what a signal ended.
fn code_of(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

/// Runs a program with this process's streams. `started` hears its pid; when that fails, the program is ended.
pub fn attend(
    program: &str,
    arguments: &[String],
    started: &mut dyn FnMut(u32) -> Result<(), String>,
) -> Result<i32, String> {
    let failed = |error: std::io::Error| format!("{program} cannot be run: {error}");
    let mut child = Command::new(program).args(arguments).spawn().map_err(failed)?;
    if let Err(why) = started(child.id()) {
        // It may have ended by itself already.
        let _ = child.kill();
        let _ = child.wait();
        return Err(why);
    }
    child.wait().map(code_of).map_err(failed)
}

/// Runs commands without input, so many at a time; lines come as they are written, with the number of their command. A command that
/// cannot be run gives one line that says so. The exit codes come back in the commands' order, as a shell has them.
pub fn run_all(commands: &[Vec<String>], at_once: usize, line: &mut dyn FnMut(usize, &str)) -> Vec<i32> {
    let codes = Mutex::new(vec![0; commands.len()]);
    let next = AtomicUsize::new(0);
    let (sender, lines) = mpsc::channel::<(usize, String)>();
    let sender = Mutex::new(sender);
    std::thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, commands.len().max(1)) {
            let lines = sender.lock().expect("nobody panics while it is held").clone();
            let (next, codes) = (&next, &codes);
            scope.spawn(move || {
                while let Some((number, command)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    commands.get(number).map(|command| (number, command))
                } {
                    let code = run(command, |text| drop(lines.send((number, text)))).unwrap_or_else(|error| {
                        let program = command.first().map_or("", String::as_str);
                        drop(lines.send((number, format!("{program} cannot be run: {error}"))));
                        CANNOT_BE_RUN
                    });
                    codes.lock().expect("nobody panics while it is held")[number] = code;
                }
            });
        }
        drop(sender);
        lines.iter().for_each(|(number, text)| line(number, &text));
    });
    codes.into_inner().unwrap_or_default()
}

fn run(command: &[String], mut line: impl FnMut(String)) -> std::io::Result<i32> {
    let Some((program, arguments)) = command.split_first() else { return Ok(0) };
    let (reader, writer) = std::io::pipe()?;
    let errors = OwnedFd::from(writer.try_clone()?);
    let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(writer).stderr(errors).spawn()?;
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        line(String::from_utf8_lossy(&bytes).into_owned());
        bytes.clear();
    }
    child.wait().map(code_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        let run = |script: &str| attend("sh", &words(&["-c", script]), &mut |_| Ok(()));
        assert_eq!(run("exit 3"), Ok(3));
        assert_eq!(run("kill -9 $$"), Ok(137));
        assert!(attend("/nonexistent/program", &[], &mut |_| Ok(())).unwrap_err().contains("cannot be run"));
        let refused = attend("sleep", &words(&["1000"]), &mut |_| Err("no room for the pid file".into()));
        assert_eq!(refused, Err("no room for the pid file".to_owned()));
    }

    #[test]
    fn lines_of_many_commands_are_gathered_with_their_numbers() {
        let script =
            |number: usize| words(&["sh", "-c", &format!("echo a{number}; echo b{number} >&2; printf c{number}")]);
        let mut commands: Vec<Vec<String>> = (0..20).map(script).collect();
        commands.push(words(&["/nonexistent/program"]));
        for at_once in [0, 1, 4, 100] {
            let mut lines = vec![Vec::new(); commands.len()];
            let codes = run_all(&commands, at_once, &mut |number, line| lines[number].push(line.to_owned()));
            assert_eq!((codes[0], codes[20]), (0, 127));
            for (number, lines) in lines.iter().take(20).enumerate() {
                assert_eq!(*lines, [format!("a{number}"), format!("b{number}"), format!("c{number}")]);
            }
            assert!(lines[20][0].contains("cannot be run"), "{:?}", lines[20]);
        }
        run_all(&[], 3, &mut |_, _| panic!("nothing was run"));
    }
}
