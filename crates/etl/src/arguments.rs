//! The command line, with the flags and defaults of mesos-http-scheduler: `-name value`, `-name=value`, with one dash or two.

use std::net::SocketAddr;

use model::CpuMillis;

/// What `-h` prints.
pub const USAGE: &str = "  -cmd string
    \tCommand to execute (default \"echo 'Hello World'\")
  -cpu float
    \tCpu Resources for one task (default 0.1)
  -debug
    \tPrint debug logs
  -exit-on-failure
    \tEnd with an error when a task fails
  -health address
    \tWhere the health page is served (default 0.0.0.0:8080)
  -img string
    \tDocker image to use; without one the command runs on the agent itself
  -master string
    \tMaster addresses <ip:port>[,<ip:port>..] or zk://<ip:port>[,<ip:port>..]/path (default \"127.0.0.1:5050\")
  -maxtasks int
    \tMaximal concurrent tasks (default 5)
  -mem int
    \tMemory for one task in MB (default 64)
  -principal string
    \tPrincipal to authenticate with; its secret is read from the environment variable MESOS_SECRET
  -role string
    \tRole whose resources are used (default \"*\")
  -user string
    \tFramework user (default: whoever runs this)
  -wait int
    \tWait in seconds before launching new tasks (default 60)";

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    /// Addresses of masters.
    pub masters: String,
    /// The command, for a shell.
    pub command: String,
    /// Copies that may run at once.
    pub tasks_max: u32,
    /// User of the tasks; the caller's own where none is named.
    pub user: Option<String>,
    /// Seconds between rounds.
    pub wait_secs: u64,
    /// Docker image.
    pub image: Option<String>,
    /// Cores of one copy.
    pub cpu: CpuMillis,
    /// Memory of one copy.
    pub ram_mb: i64,
    /// More log lines.
    pub debug: bool,
    /// Where the health page is served.
    pub health: SocketAddr,
    /// Role to take offers for.
    pub role: Option<String>,
    /// Whom to authenticate as.
    pub principal: Option<String>,
    /// End when a copy fails.
    pub exit_on_failure: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            masters: "127.0.0.1:5050".into(),
            command: "echo 'Hello World'".into(),
            tasks_max: 5,
            user: None,
            wait_secs: 60,
            image: None,
            cpu: CpuMillis(100),
            ram_mb: 64,
            debug: false,
            health: SocketAddr::from(([0, 0, 0, 0], 8080)),
            role: None,
            principal: None,
            exit_on_failure: false,
        }
    }
}

/// Why nothing is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The usage was asked for.
    Help,
    /// Something is wrong with the command line.
    Wrong(String),
}

impl Arguments {
    /// From the words after the program's name.
    pub fn parse(words: &[String]) -> Result<Self, Refused> {
        let mut arguments = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|flag| !flag.is_empty());
            let flag = flag.ok_or_else(|| Refused::Wrong(format!("unexpected argument: {word}")))?;
            let (name, given) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            match name {
                "h" | "help" => return Err(Refused::Help),
                "debug" => arguments.debug = boolean(name, given)?,
                "exit-on-failure" => arguments.exit_on_failure = boolean(name, given)?,
                _ => {
                    if !VALUED.contains(&name) {
                        return Err(Refused::Wrong(format!("flag provided but not defined: -{name}")));
                    }
                    let value = given.or_else(|| words.next().cloned());
                    let value = value.ok_or_else(|| Refused::Wrong(format!("flag needs an argument: -{name}")))?;
                    arguments.set(name, value)?;
                }
            }
        }
        arguments.check()
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Refused> {
        let text = |value: String| (!value.is_empty()).then_some(value);
        match name {
            "master" => self.masters = value,
            "cmd" => self.command = value,
            "maxtasks" => self.tasks_max = number(name, &value)?,
            "wait" => self.wait_secs = number(name, &value)?,
            "mem" => self.ram_mb = number(name, &value)?,
            "cpu" => self.cpu = CpuMillis::from_cores(number(name, &value)?),
            "health" => {
                self.health = number(
                    name,
                    value.strip_prefix(':').map(|port| format!("0.0.0.0:{port}")).as_deref().unwrap_or(&value),
                )?
            }
            "user" => self.user = text(value),
            "img" => self.image = text(value),
            "role" => self.role = text(value),
            _ => self.principal = text(value),
        }
        Ok(())
    }

    fn check(self) -> Result<Self, Refused> {
        let wrong = |why: &str| Err(Refused::Wrong(why.to_owned()));
        match () {
            () if self.tasks_max == 0 => wrong("-maxtasks must be at least 1"),
            () if self.wait_secs == 0 => wrong("-wait must be at least 1 second"),
            () if self.cpu.0 <= 0 => wrong("-cpu must be at least 0.001"),
            () if self.ram_mb <= 0 => wrong("-mem must be at least 1 (MB)"),
            () if self.command.trim().is_empty() => wrong("-cmd must be a command"),
            () => Ok(self),
        }
    }
}

/// Flags that take a value.
const VALUED: [&str; 11] =
    ["master", "cmd", "maxtasks", "wait", "mem", "cpu", "health", "user", "img", "role", "principal"];

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Refused> {
    value.parse().map_err(|_| Refused::Wrong(format!("invalid value \"{value}\" for flag -{name}")))
}

fn boolean(name: &str, given: Option<String>) -> Result<bool, Refused> {
    match given.as_deref() {
        None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(Refused::Wrong(format!("invalid boolean value \"{other}\" for -{name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, Refused> {
        Arguments::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_of_the_original_is_understood() {
        assert_eq!(parse(&[]), Ok(Arguments::default()));
        let parsed = parse(&[
            "-master",
            "10.4.1.10:5050,10.4.2.10:5050",
            "-cmd",
            "for i in 1 2; do echo $i; done",
            "-maxtasks",
            "2",
            "-user",
            "root",
            "-wait",
            "60",
            "-img",
            "meteogroup/centos:7",
        ])
        .unwrap();
        assert_eq!(parsed.masters, "10.4.1.10:5050,10.4.2.10:5050");
        assert_eq!((parsed.tasks_max, parsed.wait_secs, parsed.cpu, parsed.ram_mb), (2, 60, CpuMillis(100), 64));
        assert_eq!((parsed.user.as_deref(), parsed.image.as_deref()), (Some("root"), Some("meteogroup/centos:7")));
    }

    #[test]
    fn flags_may_have_two_dashes_or_an_equals_sign() {
        let parsed =
            parse(&["--cpu=0.5", "-debug", "--mem", "128", "-exit-on-failure=false", "-health", ":9090"]).unwrap();
        assert_eq!(
            (parsed.cpu, parsed.debug, parsed.ram_mb, parsed.exit_on_failure),
            (CpuMillis(500), true, 128, false)
        );
        assert_eq!(parsed.health.to_string(), "0.0.0.0:9090");
        assert_eq!(parse(&["-h"]), Err(Refused::Help));
    }

    #[test]
    fn nonsense_is_named() {
        for (words, part) in [
            (&["-maxtasks", "many"][..], "invalid value \"many\" for flag -maxtasks"),
            (&["-maxtasks"], "needs an argument"),
            (&["-maxtasks", "0"], "at least 1"),
            (&["-wait=0"], "at least 1 second"),
            (&["-cpu", "0"], "0.001"),
            (&["-mem", "-5"], "at least 1"),
            (&["-cmd", " "], "must be a command"),
            (&["-odd"], "not defined: -odd"),
            (&["word"], "unexpected argument: word"),
            (&["-debug=perhaps"], "invalid boolean"),
        ] {
            let Err(Refused::Wrong(why)) = parse(words) else { panic!("{words:?} is refused") };
            assert!(why.contains(part), "{words:?}: {why}");
        }
    }

    #[test]
    fn the_usage_names_every_flag() {
        for flag in VALUED.iter().chain(&["debug", "exit-on-failure"]) {
            assert!(USAGE.contains(&format!("  -{flag}")), "{flag}");
        }
    }
}
