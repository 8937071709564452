//! The command line of the executor, all flags of the original included (spec executor 2.1), and what its agent puts into the environment
//! (spec mesos 3.10).

use std::path::PathBuf;
use std::time::Duration;

use checkpoint::protocol::LoggerDefaults;

/// What `--version` prints: the program and the version of Daybreak it was built with.
pub const VERSION: &str = concat!("daybreak-executor ", env!("CARGO_PKG_VERSION"));

/// What `--help` prints.
pub const HELP: &str = "\
usage: daybreak-executor [FLAG...]

Runs one task on an Apache Mesos agent, which starts this program. It is not started by hand.

  --stop_timeout_in_secs N              bound on everything that is done to end a task (120)
  --execute-as-user USER                user of the processes, instead of the role
  --nosetuid                            processes run as the executor's user
  --nosetuid-health-checks              health checks by a command run as the executor's user
  --preserve_env                        processes get the executor's environment
  --runner-logger-destination WHERE     file, console, both or none (file)
  --runner-logger-mode MODE             standard or rotate (standard)
  --runner-rotate-log-size-mb N         size at which logs are rotated, MiB (100)
  --runner-rotate-log-backups N         rotated logs that are kept (5)
  --announcer-ensemble HOST:PORT,...    ZooKeeper to announce tasks in; none when unset
  --announcer-serverset-path PATH       root of the announced paths (/aurora)
  --announcer-allow-custom-serverset-path
                                        jobs may name a path of their own
  --announcer-hostname HOST             announced instead of the agent's host name
  --announcer-zookeeper-auth-config FILE
                                        credentials and access lists, JSON
  --mesos-containerizer-path PATH, --sandbox-mount-point PATH, --no-create-user
                                        for tasks in images of the Mesos containerizer
  --log_dir DIR                         folder of the executor's own log, __main__.log (its sandbox)
  --version, --help
The other logging flags of the original executor are accepted and without effect: the log is that file and standard error.";

/// Flags for logging that the original takes from its framework: with a value, and without.
const LOGGING_WITH_VALUE: [&str; 3] = ["log_to_stderr", "log_to_disk", "log_simple_format"];
const LOGGING_BARE: [&str; 4] = ["log_simple", "nolog_simple", "app_debug", "app_daemonize"];

/// The command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Bound on ending a task.
    pub stop_timeout: Duration,
    /// Folder of the executor's own log; unset for its sandbox.
    pub log_directory: Option<PathBuf>,
    /// User of the processes, instead of the role.
    pub execute_as_user: Option<String>,
    /// Processes run as the executor's user.
    pub keep_user: bool,
    /// Health checks by a command do.
    pub health_checks_keep_user: bool,
    /// Processes get the executor's environment.
    pub preserve_environment: bool,
    /// Where output goes that says nothing about it.
    pub logger: LoggerDefaults,
    /// How tasks are announced.
    pub announcer: AnnouncerOptions,
    /// Program that enters images.
    pub containerizer: PathBuf,
    /// Where the sandbox appears in images.
    pub sandbox_mount_point: String,
    /// Whether no user is made in images.
    pub no_create_user: bool,
    /// Flags that were given and have no effect.
    pub without_effect: Vec<String>,
}

/// How tasks are announced in ZooKeeper (spec executor 2.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncerOptions {
    /// `host:port,...`; nothing is announced when unset.
    pub ensemble: Option<String>,
    /// Root of the paths.
    pub serverset_path: String,
    /// Whether jobs may name a path of their own.
    pub allow_custom_path: bool,
    /// Host that is announced instead of the agent's.
    pub hostname: Option<String>,
    /// File with credentials and access lists.
    pub auth_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stop_timeout: Duration::from_secs(120),
            execute_as_user: None,
            log_directory: None,
            keep_user: false,
            health_checks_keep_user: false,
            preserve_environment: false,
            logger: LoggerDefaults::default(),
            announcer: AnnouncerOptions {
                ensemble: None,
                serverset_path: "/aurora".into(),
                allow_custom_path: false,
                hostname: None,
                auth_file: None,
            },
            containerizer: "/usr/libexec/mesos/mesos-containerizer".into(),
            sandbox_mount_point: "/mnt/mesos/sandbox".into(),
            no_create_user: false,
            without_effect: Vec::new(),
        }
    }
}

impl Options {
    /// Reads the arguments, without the program's name. The error says what is wrong.
    pub fn read(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (name, attached) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let Some(name) = name.strip_prefix("--") else {
                return Err(format!("daybreak-executor takes flags only, not {argument}; see --help"));
            };
            let name = name.replace('-', "_");
            if LOGGING_BARE.contains(&name.as_str()) {
                options.without_effect.push(argument.clone());
                continue;
            }
            let switch = |target: &mut bool| match attached.as_deref() {
                None | Some("true") => {
                    *target = true;
                    Ok(())
                }
                Some("false") => {
                    *target = false;
                    Ok(())
                }
                Some(other) => Err(format!("--{name} is on or off, not {other}")),
            };
            match name.as_str() {
                "nosetuid" => switch(&mut options.keep_user)?,
                "nosetuid_health_checks" => switch(&mut options.health_checks_keep_user)?,
                "preserve_env" => switch(&mut options.preserve_environment)?,
                "no_create_user" => switch(&mut options.no_create_user)?,
                "announcer_allow_custom_serverset_path" => switch(&mut options.announcer.allow_custom_path)?,
                _ => {
                    let value = match attached {
                        Some(value) => value,
                        None => rest.next().cloned().ok_or_else(|| format!("{argument} needs a value; see --help"))?,
                    };
                    options.set(&name, argument, value)?;
                }
            }
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, argument: &str, value: String) -> Result<(), String> {
        let number = |value: &str| {
            value.parse::<u64>().ok().filter(|number| *number > 0).ok_or_else(|| {
                format!("--{} should be a whole number above 0, not {value}", argument.trim_start_matches('-'))
            })
        };
        let one_of = |value: String, known: &[&str]| {
            if known.contains(&value.as_str()) {
                Ok(value)
            } else {
                Err(format!("{argument} should be one of {}, not {value}", known.join(", ")))
            }
        };
        match name {
            "stop_timeout_in_secs" => self.stop_timeout = Duration::from_secs(number(&value)?),
            "execute_as_user" => self.execute_as_user = Some(value),
            "runner_logger_destination" => {
                self.logger.destination = one_of(value, &["file", "console", "both", "none"])?;
            }
            "runner_logger_mode" => self.logger.mode = one_of(value, &["standard", "rotate"])?,
            "runner_rotate_log_size_mb" => self.logger.rotate_bytes = number(&value)?.saturating_mul(1 << 20),
            "runner_rotate_log_backups" => self.logger.rotate_backups = number(&value)?,
            "announcer_ensemble" => self.announcer.ensemble = Some(value),
            "announcer_serverset_path" => self.announcer.serverset_path = value,
            "announcer_hostname" => self.announcer.hostname = Some(value),
            "announcer_zookeeper_auth_config" => self.announcer.auth_file = Some(value.into()),
            "mesos_containerizer_path" => self.containerizer = value.into(),
            "log_dir" => self.log_directory = Some(value.into()),
            "sandbox_mount_point" => self.sandbox_mount_point = value,
            _ if LOGGING_WITH_VALUE.contains(&name) => self.without_effect.push(argument.to_owned()),
            _ => return Err(format!("unknown flag {argument}; see --help")),
        }
        Ok(())
    }
}

/// What the agent tells through the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) framework_id: String,
    pub(super) executor_id: String,
    pub(super) agent_id: Option<String>,
    /// Run directory as the agent sees it.
    pub(super) directory: PathBuf,
    /// The same as this process sees it.
    pub(super) sandbox: PathBuf,
    /// `host:port` of the agent.
    pub(super) endpoint: String,
    /// Socket of the agent, which is preferred.
    pub(super) domain_socket: Option<PathBuf>,
    pub(super) token: Option<String>,
    pub(super) checkpoint: bool,
    /// How long the agent may be away.
    pub(super) recovery_timeout: Duration,
    /// Bound of the pause between subscriptions.
    pub(super) backoff_max: Duration,
    /// How long this process may live on after SHUTDOWN.
    pub(super) shutdown_grace: Duration,
}

impl Environment {
    /// Reads the variables. The error names the one that is missing or senseless.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let need = |name: &str| {
            get(name).ok_or_else(|| {
                format!(
                    "{name} is not set: this program is started by an Apache Mesos agent, which sets it; see --help"
                )
            })
        };
        let duration = |name: &str, usual: Duration| match get(name) {
            Some(text) => parse_duration(&text).ok_or_else(|| format!("{name} is no duration: {text}")),
            None => Ok(usual),
        };
        let directory = PathBuf::from(need("MESOS_DIRECTORY")?);
        // Old agents name only their process: slave(1)@10.0.0.1:5051.
        let endpoint = match get("MESOS_AGENT_ENDPOINT") {
            Some(endpoint) => endpoint,
            None => {
                let pid = need("MESOS_SLAVE_PID")?;
                pid.rsplit('@').next().unwrap_or_default().to_owned()
            }
        };
        Ok(Self {
            framework_id: need("MESOS_FRAMEWORK_ID")?,
            executor_id: need("MESOS_EXECUTOR_ID")?,
            agent_id: get("MESOS_SLAVE_ID"),
            sandbox: get("MESOS_SANDBOX").map_or_else(|| directory.clone(), PathBuf::from),
            directory,
            endpoint,
            domain_socket: get("MESOS_DOMAIN_SOCKET").map(PathBuf::from),
            token: get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN"),
            checkpoint: get("MESOS_CHECKPOINT").is_some_and(|value| value == "1" || value == "true"),
            recovery_timeout: duration("MESOS_RECOVERY_TIMEOUT", Duration::from_secs(15 * 60))?,
            backoff_max: duration("MESOS_SUBSCRIPTION_BACKOFF_MAX", Duration::from_secs(2))?,
            shutdown_grace: duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", Duration::from_secs(5))?,
        })
    }
}

/// `15mins`, `1.5hrs`, `250ms`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..at].parse().ok()?;
    let unit_secs = match &text[at..] {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "secs" => 1.0,
        "mins" => 60.0,
        "hrs" => 3_600.0,
        "days" => 86_400.0,
        "weeks" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit_secs).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Options, String> {
        Options::read(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_flag_of_the_original_is_read() {
        let options = read(
            "--announcer-ensemble zk:2181 --announcer-serverset-path=/x --announcer-allow-custom-serverset-path \
             --announcer-hostname h --announcer-zookeeper-auth-config /a --mesos-containerizer-path /m --no-create-user \
             --sandbox-mount-point /s --execute-as-user u --nosetuid --nosetuid-health-checks \
             --runner-logger-destination both --runner-logger-mode rotate --runner-rotate-log-size-mb 7 \
             --runner-rotate-log-backups 3 --preserve_env --stop_timeout_in_secs 9 --log_to_disk DEBUG --log_dir /logs --log_simple",
        )
        .unwrap();
        let announcer = AnnouncerOptions {
            ensemble: Some("zk:2181".into()),
            serverset_path: "/x".into(),
            allow_custom_path: true,
            hostname: Some("h".into()),
            auth_file: Some("/a".into()),
        };
        let logger = LoggerDefaults {
            destination: "both".into(),
            mode: "rotate".into(),
            rotate_bytes: 7 << 20,
            rotate_backups: 3,
        };
        let expected = Options {
            log_directory: Some("/logs".into()),
            stop_timeout: Duration::from_secs(9),
            execute_as_user: Some("u".into()),
            keep_user: true,
            health_checks_keep_user: true,
            preserve_environment: true,
            logger,
            announcer,
            containerizer: "/m".into(),
            sandbox_mount_point: "/s".into(),
            no_create_user: true,
            without_effect: vec!["--log_to_disk".into(), "--log_simple".into()],
        };
        assert_eq!(options, expected);
        assert_eq!(read("--nosetuid=false --stop-timeout-in-secs=120").unwrap(), Options::default());
    }

    #[test]
    fn senseless_flags_are_refused_with_their_name() {
        for (text, told) in [
            ("--unknown x", "unknown flag --unknown"),
            ("run", "not run"),
            ("--announcer-ensemble", "needs a value"),
            ("--stop_timeout_in_secs soon", "not soon"),
            ("--nosetuid=maybe", "not maybe"),
            ("--runner-logger-mode loud", "standard, rotate"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(told), "{text}: {message}");
        }
    }

    #[test]
    fn the_environment_of_agents_old_and_new_is_read() {
        let variables = |extra: &'static [(&'static str, &'static str)]| {
            move |name: &str| {
                let base = [("MESOS_FRAMEWORK_ID", "f"), ("MESOS_EXECUTOR_ID", "e"), ("MESOS_DIRECTORY", "/d")];
                base.iter().chain(extra).find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            }
        };
        let old = Environment::read(variables(&[("MESOS_SLAVE_PID", "slave(1)@10.0.0.1:5051")])).unwrap();
        assert_eq!((old.endpoint.as_str(), old.checkpoint), ("10.0.0.1:5051", false));
        assert_eq!((old.sandbox, old.shutdown_grace), (PathBuf::from("/d"), Duration::from_secs(5)));
        let new = Environment::read(variables(&[
            ("MESOS_AGENT_ENDPOINT", "a:1"),
            ("MESOS_SANDBOX", "/s"),
            ("MESOS_CHECKPOINT", "1"),
            ("MESOS_RECOVERY_TIMEOUT", "15mins"),
            ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs"),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "250ms"),
            ("MESOS_DOMAIN_SOCKET", "/a.sock"),
            ("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "t"),
        ]))
        .unwrap();
        assert!(new.checkpoint);
        assert_eq!(new.recovery_timeout, Duration::from_secs(900));
        assert_eq!(new.shutdown_grace, Duration::from_millis(250));
        assert_eq!(new.domain_socket, Some(PathBuf::from("/a.sock")));
        let error = Environment::read(|_| None).unwrap_err();
        assert!(error.contains("MESOS_DIRECTORY is not set"), "{error}");
        assert!(
            Environment::read(variables(&[("MESOS_AGENT_ENDPOINT", "a"), ("MESOS_RECOVERY_TIMEOUT", "x")])).is_err()
        );
    }

    #[test]
    fn durations_are_read_as_mesos_writes_them() {
        for (text, ms) in [("5secs", 5_000), ("1.5hrs", 5_400_000), ("90secs", 90_000), ("2days", 172_800_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "secs", "5 secs", "-1secs", "5parsecs"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
