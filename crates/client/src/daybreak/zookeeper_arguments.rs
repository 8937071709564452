//! Options of `daybreak up` about ZooKeeper: where the scheduler announces itself, and where tasks do. Declarations and help texts only.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use discovery::{Credential, Ensemble, check_path};

use super::mesos_arguments::duration;

const SCHEDULER: &str = "Announcing the scheduler in ZooKeeper";
const TASKS: &str = "Announcing tasks in ZooKeeper";

/// What is announced in ZooKeeper (spec scheduler 8, executor 2.1).
#[derive(Args, Clone, Debug)]
pub struct ZookeeperArguments {
    /// Servers where this scheduler announces itself; clients find it by zk and scheduler_zk_path of their clusters.json
    #[arg(long, value_name = "HOST:PORT,...", value_parser = ensemble, help_heading = SCHEDULER)]
    pub zk_endpoints: Option<Ensemble>,
    /// Where there: the scheduler_zk_path of clients
    #[arg(long, value_name = "PATH", default_value = "/aurora/scheduler", value_parser = path, requires = "zk_endpoints", help_heading = SCHEDULER)]
    pub serverset_path: String,
    /// Name of the endpoint that clients look for, http or https
    #[arg(long, value_name = "NAME", default_value = "http", requires = "zk_endpoints", help_heading = SCHEDULER)]
    pub serverset_endpoint_name: String,
    /// A path that is put before every other
    #[arg(long, value_name = "PATH", value_parser = path, requires = "zk_endpoints", help_heading = SCHEDULER)]
    pub zk_chroot_path: Option<String>,
    /// How long ZooKeeper shows a scheduler that is gone
    #[arg(long, value_name = "DURATION", default_value = "15secs", value_parser = duration, requires = "zk_endpoints", help_heading = SCHEDULER)]
    pub zk_session_timeout: Duration,
    /// USER:PASSWORD with which only this scheduler may change its nodes; @FILE reads it from a file
    #[arg(long, value_name = "CREDENTIALS", value_parser = credentials, requires = "zk_endpoints", help_heading = SCHEDULER)]
    pub zk_digest_credentials: Option<Credential>,
    /// Servers where tasks are announced whose jobs have an Announcer; without it none is
    #[arg(long, value_name = "HOST:PORT,...", value_parser = ensemble, help_heading = TASKS)]
    pub announcer_ensemble: Option<Ensemble>,
    /// Path below which each job has its set, as ROLE/ENV/NAME
    #[arg(long, value_name = "PATH", default_value = "/aurora", value_parser = root, requires = "announcer_ensemble", help_heading = TASKS)]
    pub announcer_serverset_path: String,
    /// Let jobs choose another path by zk_path
    #[arg(long, requires = "announcer_ensemble", help_heading = TASKS)]
    pub announcer_allow_custom_serverset_path: bool,
    /// Host that is announced instead of the agent's
    #[arg(long, value_name = "HOST", requires = "announcer_ensemble", help_heading = TASKS)]
    pub announcer_hostname: Option<String>,
    /// JSON file with credentials and access rules; on Mesos it must be on the agents
    #[arg(long, value_name = "FILE", requires = "announcer_ensemble", help_heading = TASKS)]
    pub announcer_zookeeper_auth_config: Option<PathBuf>,
}

impl ZookeeperArguments {
    /// The options about tasks as an executor takes them, a word each (spec executor 2.1).
    pub fn executor_flags(&self) -> Vec<String> {
        let Some(ensemble) = &self.announcer_ensemble else { return Vec::new() };
        let mut flags = vec![
            format!("--announcer-ensemble={ensemble}"),
            format!("--announcer-serverset-path={}", self.announcer_serverset_path),
        ];
        if self.announcer_allow_custom_serverset_path {
            flags.push("--announcer-allow-custom-serverset-path".into());
        }
        flags.extend(self.announcer_hostname.iter().map(|host| format!("--announcer-hostname={host}")));
        let file = self.announcer_zookeeper_auth_config.iter();
        flags.extend(file.map(|path| format!("--announcer-zookeeper-auth-config={}", path.display())));
        flags
    }
}

fn ensemble(text: &str) -> Result<Ensemble, String> {
    text.parse::<Ensemble>().map_err(|error| error.to_string())
}

/// A path without a slash at its end.
fn path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    check_path(path).map_err(|error| error.to_string())?;
    Ok(path.to_owned())
}

/// As [`path`], but the root is one too.
fn root(text: &str) -> Result<String, String> {
    if text == "/" { Ok(text.to_owned()) } else { path(text) }
}

fn credentials(text: &str) -> Result<Credential, String> {
    let held = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).map_err(|error| format!("{file} cannot be read: {error}"))?,
        None => text.to_owned(),
    };
    match held.trim_end_matches(['\r', '\n']).split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => Ok(Credential::digest(user, password)),
        _ => Err("write USER:PASSWORD, or @FILE with a file that holds it".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        zookeeper: ZookeeperArguments,
    }

    fn parse(words: &str) -> Result<ZookeeperArguments, String> {
        let words = std::iter::once("up").chain(words.split_whitespace());
        Line::try_parse_from(words).map(|line| line.zookeeper).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_auroras() {
        let none = parse("").unwrap();
        assert_eq!((none.zk_endpoints, none.announcer_ensemble), (None, None));
        let some = parse("--zk-endpoints zk1,zk2:2182").unwrap();
        assert_eq!(some.zk_endpoints.as_ref().unwrap().to_string(), "zk1:2181,zk2:2182");
        assert_eq!(
            (some.serverset_path.as_str(), some.serverset_endpoint_name.as_str()),
            ("/aurora/scheduler", "http")
        );
        assert_eq!(some.zk_session_timeout, Duration::from_secs(15));
        assert_eq!(some.executor_flags(), [""; 0]);
    }

    #[test]
    fn executors_get_what_was_said_about_tasks() {
        let words = "--announcer-ensemble zk:1 --announcer-serverset-path /x/ --announcer-allow-custom-serverset-path \
                     --announcer-hostname h --announcer-zookeeper-auth-config /etc/a.json";
        let expected = "--announcer-ensemble=zk:1 --announcer-serverset-path=/x --announcer-allow-custom-serverset-path \
                        --announcer-hostname=h --announcer-zookeeper-auth-config=/etc/a.json";
        assert_eq!(
            parse(words).unwrap().executor_flags().join(" "),
            expected.split_whitespace().collect::<Vec<_>>().join(" ")
        );
        assert_eq!(
            parse("--announcer-ensemble zk:1 --announcer-serverset-path /").unwrap().announcer_serverset_path,
            "/"
        );
    }

    #[test]
    fn nonsense_is_refused_and_passwords_are_not_repeated() {
        for (words, says) in [
            ("--zk-endpoints zk:x", "'zk:x' is no ZooKeeper server"),
            ("--zk-endpoints zk --serverset-path /", "name a path below it"),
            ("--zk-endpoints zk --serverset-path a", "is no path in ZooKeeper"),
            ("--serverset-path /a", "--zk-endpoints"),
            ("--announcer-hostname h", "--announcer-ensemble"),
            ("--zk-endpoints zk --zk-session-timeout 5", "5mins"),
            ("--zk-endpoints zk --zk-digest-credentials @/no/such", "cannot be read"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(says), "{words}: {error}");
        }
        let file = std::env::temp_dir().join(format!("daybreak-credentials-{}", std::process::id()));
        std::fs::write(&file, "me:secret\n").unwrap();
        let words = format!("--zk-endpoints zk --zk-digest-credentials @{}", file.display());
        let read = parse(&words).unwrap().zk_digest_credentials;
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read, Some(Credential::digest("me", "secret")));
        assert!(!format!("{read:?}").contains("secret"));
    }
}
