//! Aurora's spelling of the scheduler's options: `-thermos_executor_path=…` and the like, translated into ours before the command line
//! is read. Options of Aurora that mean nothing here are refused by name, never passed over.

use std::ffi::OsString;

use crate::exit::{Exit, Failure};

/// Aurora's names (spec scheduler 8) and ours.
const NAMES: [(&str, &str); 49] = [
    ("cluster_name", "cluster"),
    ("hostname", "hostname"),
    ("mesos_master_address", "mesos-master"),
    ("mesos_role", "mesos-role"),
    ("framework_name", "framework-name"),
    ("framework_authentication_file", "framework-authentication-file"),
    ("framework_announce_principal", "framework-announce-principal"),
    ("framework_failover_timeout", "failover-timeout"),
    ("executor_user", "executor-user"),
    ("receive_revocable_resources", "receive-revocable-resources"),
    ("partition_aware", "partition-aware"),
    ("thermos_executor_path", "executor-path"),
    ("thermos_executor_resources", "executor-resources"),
    ("thermos_executor_flags", "executor-flags"),
    ("thermos_executor_cpu", "executor-cpu"),
    ("thermos_executor_ram", "executor-ram"),
    ("thermos_home_in_sandbox", "home-in-sandbox"),
    ("custom_executor_config", "custom-executor-config"),
    ("global_container_mounts", "global-container-mounts"),
    ("populate_discovery_info", "populate-discovery-info"),
    ("allowed_container_types", "allowed-container-types"),
    ("allow_docker_parameters", "allow-docker-parameters"),
    ("default_docker_parameters", "default-docker-parameters"),
    ("require_docker_use_executor", "require-docker-use-executor"),
    ("enable_mesos_fetcher", "enable-mesos-fetcher"),
    ("allow_container_volumes", "allow-container-volumes"),
    ("allow_gpu_resource", "allow-gpu-resource"),
    ("min_offer_hold_time", "min-offer-hold-time"),
    ("offer_hold_jitter_window", "offer-hold-jitter-window"),
    ("hold_offers_forever", "hold-offers-forever"),
    ("offer_filter_duration", "offer-filter-duration"),
    ("unavailability_threshold", "unavailability-threshold"),
    ("reconciliation_initial_delay", "reconciliation-initial-delay"),
    ("reconciliation_explicit_interval", "reconciliation-explicit-interval"),
    ("reconciliation_implicit_interval", "reconciliation-implicit-interval"),
    ("reconciliation_schedule_spread", "reconciliation-schedule-spread"),
    ("reconciliation_explicit_batch_size", "reconciliation-explicit-batch-size"),
    ("reconciliation_explicit_batch_interval", "reconciliation-explicit-batch-interval"),
    ("zk_endpoints", "zk-endpoints"),
    ("serverset_path", "serverset-path"),
    ("serverset_endpoint_name", "serverset-endpoint-name"),
    ("zk_chroot_path", "zk-chroot-path"),
    ("zk_session_timeout", "zk-session-timeout"),
    ("zk_digest_credentials", "zk-digest-credentials"),
    // Spellings of our own options, for those who write all in one style.
    ("mesos_ca_file", "mesos-ca-file"),
    ("principal", "principal"),
    ("secret_file", "secret-file"),
    ("master_failover_grace", "master-failover-grace"),
    ("suppress_idle_after", "suppress-idle-after"),
];

/// The command line in our spelling. Only that of `daybreak up` has Aurora's options; all others are left as they are.
pub(super) fn translated(arguments: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    if arguments.get(1).is_none_or(|verb| verb != "up") {
        return Ok(arguments);
    }
    arguments.into_iter().map(translate).collect()
}

fn translate(argument: OsString) -> Result<OsString, Failure> {
    let Some(text) = argument.to_str() else { return Ok(argument) };
    // `-h` and `-V` are ours, and a lone dash or a number is somebody's value.
    let Some(flag) =
        text.strip_prefix('-').filter(|rest| rest.len() > 1 && rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    else {
        return Ok(argument);
    };
    let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
    let Some((_, ours)) = NAMES.iter().find(|(aurora, _)| *aurora == name) else { return Err(unknown(name)) };
    Ok(match value {
        Some(value) => format!("--{ours}={value}").into(),
        None => format!("--{ours}").into(),
    })
}

fn unknown(name: &str) -> Failure {
    let similar: Vec<String> = NAMES
        .iter()
        .map(|(aurora, _)| *aurora)
        .filter(|aurora| aurora.split('_').filter(|word| name.split('_').any(|other| other == *word)).count() > 1)
        .map(|aurora| format!("-{aurora}"))
        .collect();
    let hint =
        if similar.is_empty() { String::new() } else { format!(" Of Aurora's, it knows {}.", similar.join(", ")) };
    Failure::new(Exit::Usage, format!("-{name} is not an option of this scheduler.{hint} See daybreak up --help."))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::arguments::Daybreak;
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn auroras_spelling_becomes_ours() {
        let line = "daybreak up -thermos_executor_path=/x/y.pex -enable_mesos_fetcher=true -custom_executor_config=/a=b --agents 3 -h";
        let expected = "daybreak up --executor-path=/x/y.pex --enable-mesos-fetcher=true --custom-executor-config=/a=b --agents 3 -h";
        assert_eq!(translated(words(line)).unwrap(), words(expected));
        for untouched in ["daybreak run -x=y", "daybreak", "daybreak up --x=-y -5 -"] {
            assert_eq!(translated(words(untouched)).unwrap(), words(untouched));
        }
    }

    #[test]
    fn unknown_options_are_refused_by_name() {
        let text = translated(words("daybreak up -dlog_snapshot_interval=1hrs")).unwrap_err().text;
        assert!(text.contains("-dlog_snapshot_interval"), "{text}");
        let text = translated(words("daybreak up -thermos_executor_pth=/x")).unwrap_err().text;
        assert!(text.contains("-thermos_executor_path"), "{text}");
    }

    #[test]
    fn every_translation_is_an_option_that_exists() {
        let command = Daybreak::command();
        let up = command.find_subcommand("up").unwrap();
        for (aurora, ours) in NAMES {
            assert!(
                up.get_arguments().any(|argument| argument.get_long() == Some(ours)),
                "-{aurora} leads to --{ours}"
            );
        }
    }
}
