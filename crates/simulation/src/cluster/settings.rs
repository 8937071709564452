//! How the scheduler, its loop and its engine are set in a run: drawn anew for each.

use std::time::Duration;

use scheduler::Settings;

use super::chance::Chance;
use super::world::Rates;

/// A small share for executors: agents of the simulation are small.
fn admission() -> model::validation::AdmissionRules {
    let overhead = model::Resources { cpu: model::CpuMillis(10), ram_mb: 16, ..model::Resources::ZERO };
    let mut rules = model::validation::AdmissionRules::default();
    rules.executors.insert(model::task::AURORA_EXECUTOR_NAME.into(), overhead);
    rules.min_required_instances_for_sla_check = 0;
    rules.sla_aware_kill_non_prod = true;
    rules
}

/// Settings of the core: Aurora's delays, shortened so that they matter within a run.
pub(super) fn settings(chance: &mut Chance) -> Settings {
    let secs = Duration::from_secs;
    Settings {
        admission: admission(),
        flapping_task_threshold: secs(chance.between(2, 30)),
        initial_flapping_task_delay: secs(chance.between(1, 4)),
        max_flapping_task_delay: secs(chance.between(5, 20)),
        transient_task_state_timeout: secs(chance.between(20, 60)),
        initial_task_kill_retry_interval: secs(chance.between(2, 8)),
        silent_task_question_delay: secs(chance.between(2, 15)),
        initial_schedule_penalty: secs(1),
        max_schedule_penalty: secs(chance.between(1, 15)),
        min_offer_hold_time: secs(chance.between(5, 60)),
        offer_filter_duration: secs(chance.between(1, 5)),
        preemption_delay: secs(chance.between(1, 20)),
        preemption_slot_search_interval: secs(chance.between(1, 10)),
        offer_reservation_duration: secs(chance.between(1, 20)),
        history_prune_threshold: secs(chance.between(60, 600)),
        history_max_per_job_threshold: chance.between(1, 20) as usize,
        history_min_retention_threshold: secs(chance.between(5, 30)),
        job_update_history_per_job_threshold: chance.between(1, 4) as usize,
        job_update_history_pruning_threshold: secs(chance.between(60, 3600)),
        suppress_idle_after: chance.per_mille(600).then(|| secs(chance.between(1, 20))),
        hold_offers_forever: chance.per_mille(100),
        reconciliation_initial_delay: secs(chance.between(1, 60)),
        reconciliation_explicit_interval: chance.per_mille(700).then(|| secs(chance.between(20, 200))),
        reconciliation_implicit_interval: chance.per_mille(700).then(|| secs(chance.between(20, 200))),
        reconciliation_schedule_spread: secs(chance.between(0, 60)),
        reconciliation_explicit_batch_size: chance.between(1, 30) as usize,
        reconciliation_explicit_batch_interval: secs(chance.below(3)),
        master_failover_grace: secs(chance.between(0, 60)),
        sla_aware_kill_retry_min_delay: secs(chance.between(1, 5)),
        sla_aware_kill_retry_max_delay: secs(chance.between(5, 15)),
        enable_update_affinity: chance.per_mille(500),
        update_affinity_reservation_hold_time: secs(chance.between(1, 30)),
        host_maintenance_polling_interval: secs(chance.between(1, 20)),
        sla_coordinator_timeout: secs(chance.between(1, 20)),
        max_parallel_coordinated_maintenance: chance.between(1, 3) as usize,
        max_step_work: *chance.pick(&[4, 16, 64, 4096]).expect("there are some"),
        ..Settings::default()
    }
}

pub(super) fn node_settings(chance: &mut Chance) -> node::Settings {
    node::Settings {
        inputs_per_turn: chance.between(1, 64) as usize,
        inputs_per_resume: chance.between(1, 100) as usize,
        held_turns: chance.between(2, 200) as usize,
        snapshot_bytes: chance.between(5_000, 200_000),
        snapshot_interval_ms: chance.between(5_000, 300_000),
        snapshot_retry_ms: 5_000,
        ..node::Settings::default()
    }
}

/// A quarter of the runs has an engine that keeps its word, the others are more or less wild.
pub(super) fn rates(chance: &mut Chance) -> Rates {
    if chance.per_mille(250) {
        return Rates { short_runs: 300, ..Rates::default() };
    }
    Rates {
        lost: chance.below(80),
        late: chance.below(60),
        doubled: chance.below(60),
        reordered: chance.below(300),
        launch_lost: chance.below(30),
        hangs: chance.below(40),
        kill_ignored: chance.below(200),
        short_runs: chance.below(900),
        wrong: chance.below(2),
    }
}
