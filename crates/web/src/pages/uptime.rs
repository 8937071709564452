//! What a job's page says of its level of service: how long its instances have been up, and the policy that maintenance heeds.

use std::sync::Arc;

use model::JobKey;
use scheduler::sla::metrics::{UPTIME_PERCENTILES, job_uptime_secs};
use scheduler::{Task, View};

use super::maintenance;
use crate::words;

/// Level of service of a job.
pub struct UptimeBox {
    /// Percentage, and for how long so many of the running instances have been up.
    pub uptimes: Vec<(String, String)>,
    /// What maintenance and updates heed, in words; empty without a policy.
    pub policy: String,
}

/// The box of a service of which something runs.
pub fn of_job(view: &View, key: &JobKey, tasks: &[&Arc<Task>], now_ms: i64) -> Option<UptimeBox> {
    let running = tasks.iter().filter(|task| task.status == model::TaskStatus::Running);
    let newest = running.max_by_key(|task| task.last_event_ms())?;
    if !newest.config.is_service {
        return None;
    }
    let uptime = |percentile: f64| {
        let seconds = job_uptime_secs(view, key, percentile, now_ms);
        (format!("{percentile} %"), words::exact(seconds.saturating_mul(1000)))
    };
    Some(UptimeBox {
        uptimes: UPTIME_PERCENTILES.into_iter().map(uptime).collect(),
        policy: newest.config.sla_policy.as_ref().map(maintenance::policy).unwrap_or_default(),
    })
}
