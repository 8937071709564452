//! `daybreak observer`, also under the name `thermos_observer`: the pages of the Thermos observer for the tasks of this machine (spec
//! executor 4.1). What is served is the crate `observer`'s.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use observer::Options;
use observer::detect::Root;

use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};
use crate::thermos::{own_engine, thermos_roots};

/// `daybreak observer`.
#[derive(Args, Clone, Debug)]
pub struct ObserverArguments {
    /// Work directory of the Mesos agent [default: /var/lib/mesos]
    #[arg(long, alias = "mesos_root", value_name = "DIR")]
    pub mesos_root: Option<PathBuf>,
    /// State directory of a daemon on this machine, whose own tasks are shown too [default: as for `daybreak up`, if it is there]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Checkpoint root of `thermos run`, whose tasks are shown too; may be repeated [default: as for `thermos`, if it is there]
    #[arg(long = "root", value_name = "DIR")]
    pub roots: Vec<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub ip: IpAddr,
    /// Port to listen on
    #[arg(long, value_name = "PORT", default_value_t = 1338)]
    pub port: u16,
    /// How often the disk is looked at for tasks
    #[arg(long = "polling_interval_secs", value_name = "SECONDS", default_value_t = 5, value_parser = at_least_one())]
    pub polling_interval_secs: u64,
    /// How often processes are measured
    #[arg(long = "task_process_collection_interval_secs", value_name = "SECONDS", default_value_t = 20, value_parser = at_least_one())]
    pub task_process_collection_interval_secs: u64,
    /// How often sandboxes are measured
    #[arg(long = "task_disk_collection_interval_secs", value_name = "SECONDS", default_value_t = 60, value_parser = at_least_one())]
    pub task_disk_collection_interval_secs: u64,
    /// Measure nothing
    #[arg(long = "disable_task_resource_collection")]
    pub disable_task_resource_collection: bool,
}

fn at_least_one() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

/// The program under its old name.
#[derive(Debug, Parser)]
#[command(name = "thermos_observer", version, about = "Shows the tasks of this machine", infer_long_args = true)]
pub struct ThermosObserver {
    /// Arguments.
    #[command(flatten)]
    pub arguments: ObserverArguments,
}

/// Serves until it is ended.
pub fn run(arguments: &ObserverArguments, console: &mut Console) -> Outcome {
    let options = options(arguments);
    let roots: Vec<String> = options.roots.iter().map(|root| root.path().display().to_string()).collect();
    let served = observer::run(options, |address| {
        console.err(format!("Tasks of {}: http://{address}/", roots.join(", ")));
    });
    served.map_err(|error| Failure::new(Exit::CommandFailure, error.to_string()))
}

fn options(arguments: &ObserverArguments) -> Options {
    let mesos_root = arguments.mesos_root.clone().unwrap_or_else(observer::default_mesos_root);
    let mut roots = vec![Root::Mesos(mesos_root)];
    roots.extend(own_engine(arguments.state_dir.clone()));
    roots.extend(thermos_roots(&arguments.roots).into_iter().map(Root::Thermos));
    Options {
        listen: SocketAddr::new(arguments.ip, arguments.port),
        polling_interval: Duration::from_secs(arguments.polling_interval_secs),
        process_interval: (!arguments.disable_task_resource_collection)
            .then(|| Duration::from_secs(arguments.task_process_collection_interval_secs)),
        disk_interval: Duration::from_secs(arguments.task_disk_collection_interval_secs),
        ..Options::new(roots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Options {
        let words = std::iter::once("thermos_observer").chain(words.split_whitespace());
        options(&ThermosObserver::try_parse_from(words).unwrap().arguments)
    }

    #[test]
    fn flags_of_the_original_mean_what_they_meant() {
        let defaults = parse("");
        assert_eq!(defaults.listen.to_string(), "0.0.0.0:1338");
        assert_eq!(defaults.roots[0], Root::Mesos("/var/lib/mesos".into()));
        assert_eq!(defaults.process_interval, Some(Duration::from_secs(20)));
        let set = parse(
            "--mesos-root=/m --ip=127.0.0.1 --port=9 --task_disk_collection_interval_secs=7 --disable_task_resource_collection",
        );
        assert_eq!((set.listen.to_string(), set.disk_interval), ("127.0.0.1:9".into(), Duration::from_secs(7)));
        assert_eq!((&set.roots[0], set.process_interval), (&Root::Mesos("/m".into()), None));
    }

    #[test]
    fn a_state_directory_is_looked_at_when_it_is_named() {
        assert_eq!(parse("--state-dir /s").roots[1], Root::Engine("/s/local".into()));
        assert_eq!(parse("--state-dir /s --root /r").roots[2], Root::Thermos("/r".into()));
    }
}
