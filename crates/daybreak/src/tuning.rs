//! The numbers of the scheduler and who may use it: the words of the command line handed to the daemon.

use client::{AuthenticationMechanism, SecurityArguments, TuningArguments};
use server::{CoreSettings, SecurityOptions};

/// Settings of the core, and its rules for jobs.
pub fn core(arguments: TuningArguments) -> CoreSettings {
    let mut settings = CoreSettings {
        flapping_task_threshold: arguments.flapping_task_threshold,
        initial_flapping_task_delay: arguments.initial_flapping_task_delay,
        max_flapping_task_delay: arguments.max_flapping_task_delay,
        initial_schedule_penalty: arguments.initial_schedule_penalty,
        max_schedule_penalty: arguments.max_schedule_penalty,
        transient_task_state_timeout: arguments.transient_task_state_timeout,
        initial_task_kill_retry_interval: arguments.initial_task_kill_retry_interval,
        enable_preemptor: arguments.enable_preemptor,
        preemption_delay: arguments.preemption_delay,
        preemption_slot_search_interval: arguments.preemption_slot_search_interval,
        offer_reservation_duration: arguments.offer_reservation_duration,
        sla_aware_kill_retry_min_delay: arguments.sla_aware_kill_retry_min_delay,
        sla_aware_kill_retry_max_delay: arguments.sla_aware_kill_retry_max_delay,
        enable_update_affinity: arguments.enable_update_affinity,
        update_affinity_reservation_hold_time: arguments.update_affinity_reservation_hold_time,
        cron_timezone: arguments.cron_timezone,
        cron_scheduling_max_batch_size: arguments.cron_scheduling_max_batch_size as usize,
        history_prune_threshold: arguments.history_prune_threshold,
        history_max_per_job_threshold: arguments.history_max_per_job_threshold as usize,
        history_min_retention_threshold: arguments.history_min_retention_threshold,
        job_update_history_per_job_threshold: arguments.job_update_history_per_job_threshold as usize,
        job_update_history_pruning_interval: arguments.job_update_history_pruning_interval,
        job_update_history_pruning_threshold: arguments.job_update_history_pruning_threshold,
        max_update_instance_failures: i64::from(arguments.max_update_instance_failures),
        ..CoreSettings::default()
    };
    let rules = &mut settings.admission;
    rules.max_tasks_per_job = arguments.max_tasks_per_job;
    rules.allowed_job_environments = arguments.allowed_job_environments;
    rules.min_required_instances_for_sla_check = arguments.min_required_instances_for_sla_check;
    rules.max_sla_duration_secs = i64::try_from(arguments.max_sla_duration.as_secs()).unwrap_or(i64::MAX);
    rules.sla_aware_kill_non_prod = arguments.sla_aware_kill_non_prod;
    settings
}

/// How callers say who they are.
pub fn security(arguments: &SecurityArguments) -> SecurityOptions {
    SecurityOptions {
        basic: arguments.http_authentication_mechanism == AuthenticationMechanism::Basic,
        ini: arguments.shiro_ini_path.clone(),
    }
}
