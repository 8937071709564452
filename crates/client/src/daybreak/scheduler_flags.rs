//! Aurora's own options of its scheduler, one row each: form of the value, default, and what becomes of it here (spec scheduler 8).
//! The table only; reading a command line by it is in [`super::flags`].

use super::mesos_arguments::duration;

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any words.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number, not below nothing.
    Count,
    /// A number, not below nothing.
    Number,
    /// `5mins`.
    Duration,
    /// `128MB`.
    Data,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is this option of `daybreak up`.
    Is(&'static str),
    /// The port of `--listen`.
    Port,
    /// The address of `--listen`.
    Address,
    /// Accepted and told once in the log, with the reason.
    Ignored(&'static str),
    /// Ignored for this value only; any other is refused, with the reason.
    Only(&'static str, &'static str),
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name, without the dash.
    pub name: &'static str,
    /// What its value looks like.
    pub form: Form,
    /// What Aurora takes when it is not given; empty for nothing.
    pub default: &'static str,
    /// What becomes of it.
    pub effect: Effect,
}

const fn flag(name: &'static str, form: Form, default: &'static str, effect: Effect) -> Flag {
    Flag { name, form, default, effect }
}

use Effect::{Address, Ignored, Is, Only, Port};
use Form::{Boolean, Count, Data, Duration, Number, Text, Word};

const OWN_JOURNAL: Effect = Ignored("the journal lies in --state-dir and needs no settings");
const NO_PACING: Effect = Ignored("the loop groups its work by itself");
const NO_MODULES: Effect = Ignored("there are no modules of the Java virtual machine here");
const REMOVED: Effect = Ignored("Aurora removed it");
const NO_KERBEROS: &str = "Kerberos is not available: use -http_authentication_mechanism=BASIC";

/// Every flag of Aurora's scheduler.
pub const FLAGS: &[Flag] = &[
    // Identity, HTTP.
    flag("cluster_name", Text, "", Is("cluster")),
    flag("serverset_path", Text, "", Is("serverset-path")),
    flag("serverset_endpoint_name", Text, "http", Is("serverset-endpoint-name")),
    flag("viz_job_url_prefix", Text, "", Is("viz-job-url-prefix")),
    flag("http_port", Count, "0", Port),
    flag("ip", Text, "", Address),
    flag("hostname", Text, "", Is("hostname")),
    flag("enable_cors_for", Text, "", Is("enable-cors-for")),
    flag("http_authentication_mechanism", Text, "NONE", Is("http-authentication-mechanism")),
    flag(
        "shiro_realm_modules",
        Text,
        "",
        Only("INI_AUTHNZ", "users and roles come from the file of -shiro_ini_path: write INI_AUTHNZ, or leave it out"),
    ),
    flag("shiro_ini_path", Text, "", Is("shiro-ini-path")),
    flag(
        "shiro_credentials_matcher",
        Text,
        "",
        Ignored("how a password of -shiro_ini_path is hashed shows in how it is written"),
    ),
    flag(
        "shiro_after_auth_filter",
        Text,
        "",
        Only("", "filters of the Java virtual machine cannot run here, and leaving one out could open a door"),
    ),
    flag("kerberos_server_keytab", Text, "", Only("", NO_KERBEROS)),
    flag("kerberos_server_principal", Text, "", Only("", NO_KERBEROS)),
    flag("kerberos_debug", Boolean, "false", Only("false", NO_KERBEROS)),
    // ZooKeeper.
    flag("zk_endpoints", Text, "", Is("zk-endpoints")),
    flag("zk_chroot_path", Text, "", Is("zk-chroot-path")),
    flag("zk_session_timeout", Duration, "15secs", Is("zk-session-timeout")),
    flag("zk_connection_timeout", Duration, "10secs", Ignored("ZooKeeper is asked again until it answers")),
    flag("zk_digest_credentials", Text, "", Is("zk-digest-credentials")),
    flag(
        "zk_in_proc",
        Boolean,
        "false",
        Only("false", "no ZooKeeper is part of this program: name one by -zk_endpoints"),
    ),
    // Mesos.
    flag("mesos_master_address", Text, "", Is("mesos-master")),
    flag(
        "mesos_driver",
        Word(&["SCHEDULER_DRIVER", "V0_DRIVER", "V1_DRIVER"]),
        "SCHEDULER_DRIVER",
        Ignored("Mesos is spoken to by its v1 API"),
    ),
    flag("mesos_role", Text, "", Is("mesos-role")),
    flag("framework_name", Text, "Aurora", Is("framework-name")),
    flag("framework_authentication_file", Text, "", Is("framework-authentication-file")),
    flag("framework_announce_principal", Boolean, "false", Is("framework-announce-principal")),
    flag("framework_failover_timeout", Duration, "21days", Is("failover-timeout")),
    flag("executor_user", Text, "root", Is("executor-user")),
    flag("receive_revocable_resources", Boolean, "false", Is("receive-revocable-resources")),
    flag("partition_aware", Boolean, "false", Is("partition-aware")),
    flag(
        "max_registration_delay",
        Duration,
        "1mins",
        Ignored("a master that cannot be reached is tried again, and never a reason to end"),
    ),
    flag("max_leading_duration", Duration, "1days", Ignored("a leader has no reason to end by itself")),
    flag("max_status_update_batch_size", Count, "1000", NO_PACING),
    flag("max_task_event_batch_size", Count, "300", NO_PACING),
    flag("async_worker_threads", Count, "8", NO_PACING),
    // Executors, containers.
    flag("thermos_executor_path", Text, "", Is("executor-path")),
    flag("thermos_executor_resources", Text, "", Is("executor-resources")),
    flag("thermos_executor_flags", Text, "", Is("executor-flags")),
    flag("thermos_executor_cpu", Number, "0.25", Is("executor-cpu")),
    flag("thermos_executor_ram", Data, "128MB", Is("executor-ram")),
    flag("thermos_home_in_sandbox", Boolean, "false", Is("home-in-sandbox")),
    flag("custom_executor_config", Text, "", Is("custom-executor-config")),
    flag("global_container_mounts", Text, "", Is("global-container-mounts")),
    flag("populate_discovery_info", Boolean, "false", Is("populate-discovery-info")),
    flag("allowed_container_types", Text, "MESOS", Is("allowed-container-types")),
    flag("allow_docker_parameters", Boolean, "false", Is("allow-docker-parameters")),
    flag("default_docker_parameters", Text, "", Is("default-docker-parameters")),
    flag("require_docker_use_executor", Boolean, "true", Is("require-docker-use-executor")),
    flag("enable_mesos_fetcher", Boolean, "false", Is("enable-mesos-fetcher")),
    flag("allow_container_volumes", Boolean, "false", Is("allow-container-volumes")),
    flag("allow_gpu_resource", Boolean, "false", Is("allow-gpu-resource")),
    // Validation, tiers, quota.
    flag("max_tasks_per_job", Count, "4000", Is("max-tasks-per-job")),
    flag("max_update_instance_failures", Count, "20000", Is("max-update-instance-failures")),
    flag("allowed_job_environments", Text, r"^(prod|devel|test|staging\d*)$", Is("allowed-job-environments")),
    flag("tier_config", Text, "", Is("tier-config")),
    flag("enable_revocable_cpus", Boolean, "true", Ignored("offers say which resources are revocable")),
    flag("enable_revocable_ram", Boolean, "false", Ignored("offers say which resources are revocable")),
    // Scheduling.
    flag("max_schedule_attempts_per_sec", Number, "40.0", NO_PACING),
    flag("first_schedule_delay", Duration, "1ms", NO_PACING),
    flag("initial_schedule_penalty", Duration, "1secs", Is("initial-schedule-penalty")),
    flag("max_schedule_penalty", Duration, "1mins", Is("max-schedule-penalty")),
    flag("max_tasks_per_schedule_attempt", Count, "5", NO_PACING),
    flag("scheduling_max_batch_size", Count, "3", NO_PACING),
    flag("flapping_task_threshold", Duration, "5mins", Is("flapping-task-threshold")),
    flag("initial_flapping_task_delay", Duration, "30secs", Is("initial-flapping-task-delay")),
    flag("max_flapping_task_delay", Duration, "5mins", Is("max-flapping-task-delay")),
    flag("max_reschedule_task_delay_on_startup", Duration, "30secs", NO_PACING),
    flag("offer_reservation_duration", Duration, "3mins", Is("offer-reservation-duration")),
    flag("task_assigner_modules", Text, "", NO_MODULES),
    // Offers.
    flag("min_offer_hold_time", Duration, "5mins", Is("min-offer-hold-time")),
    flag("offer_hold_jitter_window", Duration, "1mins", Is("offer-hold-jitter-window")),
    flag("hold_offers_forever", Boolean, "false", Is("hold-offers-forever")),
    flag("offer_filter_duration", Duration, "5secs", Is("offer-filter-duration")),
    flag("offer_order", Text, "RANDOM", Ignored("offers are tried in an order of the scheduler's own")),
    flag("offer_static_ban_cache_max_size", Count, "9223372036854775807", NO_PACING),
    flag("offer_set_module", Text, "", NO_MODULES),
    flag("unavailability_threshold", Duration, "6mins", Is("unavailability-threshold")),
    // Preemption.
    flag("enable_preemptor", Boolean, "true", Is("enable-preemptor")),
    flag("preemption_delay", Duration, "3mins", Is("preemption-delay")),
    flag(
        "preemption_slot_hold_time",
        Duration,
        "5mins",
        Ignored("room that preemption makes is kept for -offer_reservation_duration"),
    ),
    flag(
        "preemption_slot_search_initial_delay",
        Duration,
        "3mins",
        Ignored("room is looked for once a task has waited for -preemption_delay"),
    ),
    flag("preemption_slot_search_interval", Duration, "1mins", Is("preemption-slot-search-interval")),
    flag("preemption_reservation_max_batch_size", Count, "5", NO_PACING),
    flag("preemption_slot_finder_modules", Text, "", NO_MODULES),
    // Updates.
    flag("enable_update_affinity", Boolean, "false", Is("enable-update-affinity")),
    flag("update_affinity_reservation_hold_time", Duration, "3mins", Is("update-affinity-reservation-hold-time")),
    flag("sla_aware_action_max_batch_size", Count, "300", NO_PACING),
    flag("sla_aware_kill_retry_min_delay", Duration, "1mins", Is("sla-aware-kill-retry-min-delay")),
    flag("sla_aware_kill_retry_max_delay", Duration, "5mins", Is("sla-aware-kill-retry-max-delay")),
    flag("job_update_history_per_job_threshold", Count, "10", Is("job-update-history-per-job-threshold")),
    flag("job_update_history_pruning_interval", Duration, "15mins", Is("job-update-history-pruning-interval")),
    flag("job_update_history_pruning_threshold", Duration, "30days", Is("job-update-history-pruning-threshold")),
    // Cron.
    flag("cron_timezone", Text, "GMT", Is("cron-timezone")),
    flag("cron_scheduler_num_threads", Count, "10", NO_PACING),
    flag(
        "cron_start_initial_backoff",
        Duration,
        "5secs",
        Ignored("a run starts as soon as the one before it has ended"),
    ),
    flag("cron_start_max_backoff", Duration, "1mins", Ignored("a run starts as soon as the one before it has ended")),
    flag("cron_scheduling_max_batch_size", Count, "10", Is("cron-scheduling-max-batch-size")),
    // SLA, maintenance.
    flag("sla_stat_refresh_interval", Duration, "1mins", Is("sla-stat-refresh-interval")),
    flag("sla_prod_metrics", Text, "JOB_UPTIMES,PLATFORM_UPTIME,MEDIANS", Is("sla-prod-metrics")),
    flag("sla_non_prod_metrics", Text, "", Is("sla-non-prod-metrics")),
    flag("sla_coordinator_timeout", Duration, "1mins", Is("sla-coordinator-timeout")),
    flag("max_parallel_coordinated_maintenance", Count, "10", Is("max-parallel-coordinated-maintenance")),
    flag("min_required_instances_for_sla_check", Count, "20", Is("min-required-instances-for-sla-check")),
    flag("max_sla_duration_secs", Duration, "2hrs", Is("max-sla-duration")),
    flag("sla_aware_kill_non_prod", Boolean, "false", Is("sla-aware-kill-non-prod")),
    flag("host_maintenance_polling_interval", Duration, "1mins", Is("host-maintenance-polling-interval")),
    // Reconciliation, time-outs, history.
    flag("transient_task_state_timeout", Duration, "5mins", Is("transient-task-state-timeout")),
    flag("initial_task_kill_retry_interval", Duration, "15secs", Is("initial-task-kill-retry-interval")),
    flag("reconciliation_initial_delay", Duration, "1mins", Is("reconciliation-initial-delay")),
    flag("reconciliation_explicit_interval", Duration, "60mins", Is("reconciliation-explicit-interval")),
    flag("reconciliation_implicit_interval", Duration, "60mins", Is("reconciliation-implicit-interval")),
    flag("reconciliation_schedule_spread", Duration, "30mins", Is("reconciliation-schedule-spread")),
    flag("reconciliation_explicit_batch_size", Count, "1000", Is("reconciliation-explicit-batch-size")),
    flag("reconciliation_explicit_batch_interval", Duration, "5secs", Is("reconciliation-explicit-batch-interval")),
    flag("history_prune_threshold", Duration, "2days", Is("history-prune-threshold")),
    flag("history_max_per_job_threshold", Count, "100", Is("history-max-per-job-threshold")),
    flag("history_min_retention_threshold", Duration, "1hrs", Is("history-min-retention-threshold")),
    // Storage.
    flag("dlog_max_entry_size", Data, "512KB", OWN_JOURNAL),
    flag("dlog_snapshot_interval", Duration, "1hrs", OWN_JOURNAL),
    flag("backup_dir", Text, "", Is("backup-dir")),
    flag("backup_interval", Duration, "1hrs", Is("backup-interval")),
    flag("max_saved_backups", Count, "48", Is("max-saved-backups")),
    flag("native_log_file_path", Text, "", OWN_JOURNAL),
    flag("native_log_zk_group_path", Text, "", OWN_JOURNAL),
    flag("native_log_quorum_size", Count, "1", OWN_JOURNAL),
    flag("native_log_election_timeout", Duration, "15secs", OWN_JOURNAL),
    flag("native_log_election_retries", Count, "20", OWN_JOURNAL),
    flag("native_log_read_timeout", Duration, "5secs", OWN_JOURNAL),
    flag("native_log_write_timeout", Duration, "3secs", OWN_JOURNAL),
    // Statistics, extensions.
    flag("stat_sampling_interval", Duration, "1secs", Ignored("statistics are read when they are asked for")),
    flag("stat_retention_period", Duration, "1hrs", Ignored("no past statistics are kept: scrape /metrics")),
    flag("async_task_stat_update_interval", Duration, "1hrs", Ignored("statistics are read when they are asked for")),
    flag("async_slot_stat_update_interval", Duration, "1mins", Ignored("statistics are read when they are asked for")),
    flag("webhook_config", Text, "", Is("webhook-config")),
    flag("thrift_method_interceptor_modules", Text, "", NO_MODULES),
    // Removed from Aurora before its end, and still in many files.
    flag("use_beta_db_task_store", Boolean, "false", REMOVED),
    flag("enable_db_metrics", Boolean, "false", REMOVED),
    flag("slow_query_log_threshold", Duration, "25ms", REMOVED),
    flag("db_row_gc_interval", Duration, "2hrs", REMOVED),
    flag("db_lock_timeout", Duration, "1mins", REMOVED),
    flag("zk_use_curator", Boolean, "true", REMOVED),
    flag("offer_order_modules", Text, "", REMOVED),
    flag("enable_h2_console", Boolean, "false", REMOVED),
    // Spellings of our own options, for those who write all in one style.
    flag("mesos_ca_file", Text, "", Is("mesos-ca-file")),
    flag("principal", Text, "", Is("principal")),
    flag("secret_file", Text, "", Is("secret-file")),
    flag("master_failover_grace", Duration, "10mins", Is("master-failover-grace")),
    flag("suppress_idle_after", Duration, "30secs", Is("suppress-idle-after")),
];

/// Flags without which Aurora's scheduler does not start.
pub const REQUIRED: [&str; 5] =
    ["cluster_name", "serverset_path", "zk_endpoints", "mesos_master_address", "backup_dir"];

impl Form {
    /// Why a value is none of this form.
    pub fn check(self, value: &str) -> Result<(), String> {
        let number = |value: &str| value.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        match self {
            Form::Text => Ok(()),
            Form::Boolean if matches!(value, "true" | "false") => Ok(()),
            Form::Boolean => Err(format!("'{value}' is neither true nor false")),
            Form::Count if value.parse::<u64>().is_ok() => Ok(()),
            Form::Count => Err(format!("'{value}' is no whole number from 0 up")),
            Form::Number if number(value).is_some() => Ok(()),
            Form::Number => Err(format!("'{value}' is no number from 0 up")),
            Form::Duration => duration(value).map(drop),
            Form::Data => {
                let unit_at = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
                let (amount, unit) = value.split_at(unit_at);
                let units = ["BYTES", "Kb", "KB", "Mb", "MB", "Gb", "GB", "TB", "PB"];
                if amount.parse::<u64>().is_ok() && units.contains(&unit) {
                    Ok(())
                } else {
                    Err(format!(
                        "'{value}' is no amount of data: write a number and BYTES, KB, MB, GB, TB or PB, e.g. 128MB"
                    ))
                }
            }
            Form::Word(words) if words.contains(&value) => Ok(()),
            Form::Word(words) => Err(format!("'{value}' is not one of {}", words.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scheduler-flags.md");
    const HEAD: &str = "# Options of Aurora's scheduler\n\n\
        `daybreak up`, and the same program called `aurora-scheduler`, take the options of Aurora's scheduler as they are written there,\n\
        with one dash: `-name=value`. What each becomes here:\n\n\
        | option | form | Aurora's default | here |\n| --- | --- | --- | --- |\n";
    const TAIL: &str = "\nCalled `aurora-scheduler`, the program listens on every address as that one did, and on any free port unless `-http_port` says which.\n\
        Nobody has to say who he is unless `-http_authentication_mechanism=BASIC`; the log warns of that (see [security](security.md)).\n\
        What is ignored is told once in the log. Options of `daybreak up` with two dashes may be added, as `--state-dir`.\n";

    fn table() -> String {
        let mut text = HEAD.to_owned();
        for flag in FLAGS {
            let form = match flag.form {
                Form::Text => "text".to_owned(),
                Form::Boolean => "true or false".to_owned(),
                Form::Count | Form::Number => "number".to_owned(),
                Form::Duration => "duration".to_owned(),
                Form::Data => "amount".to_owned(),
                Form::Word(words) => words.join(", "),
            };
            let effect = match flag.effect {
                Effect::Is(ours) => format!("`--{ours}`"),
                Effect::Port => "the port of `--listen`".to_owned(),
                Effect::Address => "the address of `--listen`".to_owned(),
                Effect::Ignored(why) => format!("ignored: {why}"),
                Effect::Only("", why) => format!("refused: {why}"),
                Effect::Only(accepted, why) => format!("only `{accepted}`: {why}"),
            };
            let default = if flag.default.is_empty() { String::new() } else { format!("`{}`", flag.default) };
            let row = format!("| `-{}` | {form} | {} | {effect} |\n", flag.name, default.replace('|', "\\|"));
            text.push_str(&row);
        }
        text + TAIL
    }

    #[test]
    fn the_document_says_what_the_table_says() {
        let table = table();
        if std::env::var_os("DAYBREAK_WRITE_DOCS").is_some() {
            std::fs::write(FILE, &table).unwrap();
        }
        let written = std::fs::read_to_string(FILE).unwrap_or_default();
        let differs = table.lines().zip(written.lines()).find(|(new, old)| new != old);
        assert!(
            table == written,
            "docs/scheduler-flags.md is not up to date ({differs:?}): run this test with DAYBREAK_WRITE_DOCS=1"
        );
    }
}
