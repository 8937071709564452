//! The grammar of `daybreak`. Declarations and help texts only.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use super::backup_arguments::BackupArguments;
pub use super::mesos_arguments::{JobArguments, MesosArguments, OfferArguments};
pub use super::service_level_arguments::ServiceLevelArguments;
pub use super::tuning_arguments::{AuthenticationMechanism, SecurityArguments, TuningArguments};
pub use super::zookeeper_arguments::ZookeeperArguments;
use crate::aurora::arguments::{FileOptions, Noun};
use crate::command::JsonOutput;
use crate::syntax::ClusterJob;

/// Runs services and batch jobs: on this machine with one command, on a cluster with the same files.
///
/// Start here:  daybreak run FILE        runs a job file and shows its output
///              daybreak tutorial DIR    a guided tour: a job fails, is fixed, updated and killed
#[derive(Debug, Parser)]
#[command(
    name = "daybreak",
    version,
    infer_long_args = true,
    subcommand_required = true,
    max_term_width = 100,
    verbatim_doc_comment
)]
pub struct Daybreak {
    /// Command.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Commands of `daybreak`.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)]
pub enum Verb {
    /// Run the daemon: scheduler, web pages and an engine for this machine
    Up(UpArguments),
    /// Run one job of a file, show its output, and leave nothing behind
    Run(RunArguments),
    /// Write the tutorial's files, start a daemon and say what to type next
    Tutorial(TutorialArguments),
    /// Look at job files; needs no daemon
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Say what a job file would change, how, and whether there is quota and room for it
    ///
    /// Compares a job file with what runs and says, instance by instance, what `aurora job create`, `aurora update start` or `aurora
    /// cron schedule` would do; in which steps an update would go; and what the scheduler would say of quota and of room on the
    /// machines. Changes nothing.
    Plan(super::plan::arguments::PlanArguments),
    /// Tell why a task waits, failed or was killed, why an update does not go on, and what you can do
    ///
    /// Tells in plain words why a task is pending, throttled, killed, lost or failed, why a job's instances are not what they should
    /// be, why an update does not go on, or when a cron job runs - and what you can do about it. The history follows as evidence.
    Explain(super::explain::arguments::ExplainArguments),
    /// Talk to a scheduler as Aurora's client does
    #[command(subcommand)]
    Aurora(Noun),
    /// Look after a cluster as Aurora's aurora_admin does
    Admin(crate::admin::arguments::AuroraAdmin),
    /// Show the tasks of this machine as the Thermos observer did: pages and JSON about processes, logs and sandboxes
    Observer(super::observer::ObserverArguments),
    /// Look after the tasks of this machine without any scheduler
    Thermos(crate::thermos::arguments::Thermos),
    /// Look at the journal of a stopped daemon, salvage a damaged one, or restore a backup
    Journal(JournalArguments),
    /// Print a completion script for a shell
    Completion(CompletionArguments),
    /// Print the version
    Version(JsonOutput),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One object per line
    Json,
}

/// `daybreak up`.
#[derive(Args, Clone, Debug)]
pub struct UpArguments {
    /// Where the daemon keeps everything; made if missing [default: /var/lib/daybreak for root, otherwise ~/.local/state/daybreak]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address and port of the web pages and the API; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8081", value_parser = listen_address)]
    pub listen: SocketAddr,
    /// Name of this machine in pages, constraints and {{mesos.hostname}} [default: the machine's own]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Name of the cluster: the first part of job keys
    #[arg(long, value_name = "NAME", default_value = "devcluster")]
    pub cluster: String,
    /// Which engine runs tasks [default: local, or mesos where --mesos-master is given]
    #[arg(long, value_enum)]
    pub engine: Option<EngineName>,
    /// What of this machine tasks may use, e.g. cpus:4;mem:8192;disk:20000;ports:[31000-32000] [default: all but some headroom]
    #[arg(long, value_name = "RESOURCES")]
    pub resources: Option<String>,
    /// Attributes for constraints, e.g. rack:a;zone:eu
    #[arg(long, value_name = "ATTRIBUTES")]
    pub attributes: Option<String>,
    /// How many agents this machine plays, sharing its capacity
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub agents: u32,
    /// One agent as it shall be, in words such as 'hostname=NAME attributes=zone:west resources=cpus:4;mem:2048'; once per agent
    #[arg(long, value_name = "WORDS", conflicts_with = "agents")]
    pub agent: Vec<String>,
    /// Never give a task more cpu than it asked for; without this it may use what is idle
    #[arg(long)]
    pub cpu_quota: bool,
    /// Let jobs of the role root run as root
    #[arg(long)]
    pub allow_root_role: bool,
    /// Listen beyond this machine although nobody has to authenticate
    #[arg(long)]
    pub allow_unauthenticated: bool,
    /// Form of log lines
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Which log lines: error, warn, info, debug or trace, also per module as in info,engine_local=debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// End when standard input ends; on the way out kill every task, stop the launcher and leave no process behind
    #[arg(long, hide = true)]
    pub ephemeral: bool,
    /// Leave the terminal's session
    #[arg(long, hide = true)]
    pub detached: bool,
    /// What jobs may ask for
    #[command(flatten)]
    pub jobs: JobArguments,
    /// A Mesos cluster
    #[command(flatten)]
    pub mesos: MesosArguments,
    /// ZooKeeper
    #[command(flatten)]
    pub zookeeper: ZookeeperArguments,
    /// Levels of service
    #[command(flatten)]
    pub service_levels: ServiceLevelArguments,
    /// Backups
    #[command(flatten)]
    pub backups: BackupArguments,
    /// Who may use the scheduler
    #[command(flatten)]
    pub security: SecurityArguments,
    /// Numbers of the scheduler
    #[command(flatten)]
    pub tuning: TuningArguments,
    /// Told once in the log: options of Aurora's that mean nothing here
    #[arg(long, hide = true, value_name = "TEXT")]
    pub ignored_flag: Vec<String>,
}

/// Engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// This machine
    Local,
    /// A Mesos cluster
    Mesos,
}

impl UpArguments {
    /// The engine: as named, or the one that the other options mean. An error where they contradict each other.
    pub fn engine(&self) -> Result<EngineName, String> {
        match (self.engine, &self.mesos.mesos_master) {
            (Some(EngineName::Local), Some(_)) => {
                Err("--engine local and --mesos-master contradict each other: give one of them".into())
            }
            (Some(EngineName::Mesos), None) => {
                Err("--engine mesos needs --mesos-master: host:port,host:port or zk://host:port,host:port/path".into())
            }
            (_, Some(_)) => Ok(EngineName::Mesos),
            (_, None) => Ok(EngineName::Local),
        }
    }

    /// The state directory: as named, or the default for this user.
    pub fn state_directory(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(default_state_directory)
    }
}

/// `/var/lib/daybreak` for root; otherwise `$XDG_STATE_HOME/daybreak`, by default `~/.local/state/daybreak`.
pub fn default_state_directory() -> PathBuf {
    if nix::unistd::Uid::effective().is_root() {
        return PathBuf::from("/var/lib/daybreak");
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    base.unwrap_or_else(std::env::temp_dir).join("daybreak")
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map_err(|_| format!("'{text}' is not an address: write for example 127.0.0.1:8081 or [::1]:8081"))
}

/// `daybreak run`.
#[derive(Args, Clone, Debug)]
pub struct RunArguments {
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// Which job of the file; needed when it defines several
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: Option<ClusterJob>,
    /// Run on this cluster (a name from clusters.json, or an address) instead of a private, temporary one
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
}

/// `daybreak tutorial`.
#[derive(Args, Clone, Debug)]
pub struct TutorialArguments {
    /// Where to write the tutorial's files; made if missing
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Address of the daemon to start
    #[arg(long, value_name = "ADDRESS:PORT", hide = true)]
    pub listen: Option<SocketAddr>,
}

/// `daybreak config`.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// List the jobs that a file defines
    List(ConfigArguments),
    /// Show what a file says about a job
    Inspect(ConfigArguments),
    /// Write a file's jobs in another format: aurora (Python), yaml, json or toml
    Convert(super::config_convert::ConvertArguments),
    /// Print the JSON Schema of job files in YAML, JSON and TOML, for editors
    Schema,
}

/// Arguments of `daybreak config`.
#[derive(Args, Clone, Debug)]
pub struct ConfigArguments {
    /// The job file
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// Which job of the file (inspect); needed when it defines several
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME")]
    pub key: Option<ClusterJob>,
    /// File options
    #[command(flatten)]
    pub file: FileOptions,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
}

/// `daybreak journal`.
#[derive(Args, Clone, Debug)]
pub struct JournalArguments {
    /// What to do
    #[command(subcommand)]
    pub verb: JournalVerb,
}

/// Verbs of `daybreak journal`.
#[derive(Clone, Debug, Subcommand)]
pub enum JournalVerb {
    /// Print what the journal holds and where it is damaged; changes nothing
    Inspect {
        /// State directory of a stopped daemon [default: as for `daybreak up`]
        #[arg(value_name = "DIR")]
        state_dir: Option<PathBuf>,
        /// How the result is printed
        #[command(flatten)]
        output: JsonOutput,
    },
    /// Keep what is readable of a damaged journal; the old files are moved aside, not deleted
    Salvage {
        /// State directory of a stopped daemon [default: as for `daybreak up`]
        #[arg(value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
    /// Put a backup in the place of a stopped daemon's journal, which is moved aside. Tasks that still run are adopted
    Restore {
        /// The backup: a file, or the name of one in the state directory's backups
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
        /// State directory of a stopped daemon [default: as for `daybreak up`]
        #[arg(value_name = "DIR")]
        state_dir: Option<PathBuf>,
        /// Kill the tasks that were created after the backup; without this they are kept
        #[arg(long)]
        kill_later_tasks: bool,
    },
}

/// `daybreak completion`.
#[derive(Args, Clone, Debug)]
pub struct CompletionArguments {
    /// Which shell
    pub shell: CompletionShell,
    /// For which command
    #[arg(long, default_value = "daybreak", value_parser = ["daybreak", "aurora", "aurora_admin", "thermos"])]
    pub command: String,
}

/// Shells with completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompletionShell {
    /// eval "$(daybreak completion bash)"
    Bash,
    /// daybreak completion zsh > "${fpath[1]}/_daybreak"
    Zsh,
    /// daybreak completion fish > ~/.config/fish/completions/daybreak.fish
    Fish,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Verb, String> {
        let words = std::iter::once("daybreak").chain(words.split_whitespace());
        Daybreak::try_parse_from(words).map(|parsed| parsed.verb).map_err(|error| error.to_string())
    }

    #[test]
    fn the_grammar_is_sound() {
        use clap::CommandFactory;
        Daybreak::command().debug_assert();
    }

    #[test]
    fn up_has_the_defaults_of_one_machine() {
        let Ok(Verb::Up(up)) = parse("up") else { panic!("up parses") };
        assert_eq!(up.listen.to_string(), "127.0.0.1:8081");
        assert_eq!((up.cluster.as_str(), up.agents, up.allow_root_role, up.ephemeral), ("devcluster", 1, false, false));
        assert_eq!(up.state_directory(), default_state_directory());
        assert!(!up.cpu_quota);
        let Ok(Verb::Up(up)) = parse("up --state-dir /x --listen localhost:0 --agents 3 --cpu-quota --log-format json")
        else {
            panic!("options parse")
        };
        assert!(up.cpu_quota);
        assert_eq!((up.state_directory(), up.listen.to_string()), (PathBuf::from("/x"), "127.0.0.1:0".into()));
        assert_eq!((up.agents, up.log_format), (3, LogFormat::Json));
        assert_eq!(up.engine(), Ok(EngineName::Local));
    }

    #[test]
    fn mesos_is_meant_by_naming_its_masters() {
        let up = |words: &str| match parse(words) {
            Ok(Verb::Up(up)) => up,
            other => panic!("{words}: {other:?}"),
        };
        let cluster = up(
            "up --mesos-master zk://a:2181/mesos --mesos-role web,batch --hold-offers-forever --partition-aware=false",
        );
        assert_eq!(cluster.engine(), Ok(EngineName::Mesos));
        assert_eq!(cluster.mesos.mesos_role, ["web", "batch"]);
        assert!(cluster.mesos.offers.hold_offers_forever && !cluster.mesos.partition_aware);
        assert_eq!(cluster.mesos.failover_timeout.as_secs(), 7 * 86_400);
        assert_eq!((cluster.mesos.executor_cpu, cluster.mesos.executor_ram), (model::CpuMillis(250), 128));
        assert!(up("up --engine local --mesos-master a:5050").engine().is_err());
        assert!(up("up --engine mesos").engine().unwrap_err().contains("--mesos-master"));
        let jobs =
            up("up --enable-mesos-fetcher=true --allowed-container-types mesos,DOCKER --default-docker-parameters a=b")
                .jobs;
        assert!(jobs.enable_mesos_fetcher && jobs.require_docker_use_executor && !jobs.allow_gpu_resource);
        assert_eq!(jobs.allowed_container_types.len(), 2);
        assert_eq!(jobs.default_docker_parameters.0, [("a".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn bad_values_say_what_is_expected() {
        for (words, expected) in [
            ("up --listen 8081", "write for example 127.0.0.1:8081"),
            ("up --agents 0", "0 is not in 1..=1000"),
            ("up --executor-path x", "--mesos-master"),
            ("up --mesos-master a:1 --failover-timeout 5", "5mins"),
            ("up --mesos-master a:1 --executor-ram 128", "128MB"),
            ("up --allowed-container-types APPC", "use MESOS or DOCKER"),
            ("run", "<FILE>"),
            ("run f a/b", "write CLUSTER/ROLE/ENV/NAME"),
            ("tutorial", "<DIR>"),
            ("completion tcsh", "possible values: bash, zsh, fish"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(expected), "{words}: {error}");
        }
    }
}
