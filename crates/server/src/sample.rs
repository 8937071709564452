//! The job behind the "Run a sample job" button: a batch job in shell only, run as the given role.

use model::{CronCollisionPolicy, JobConfiguration, JobKey, Role, TaskConfig};

/// A batch job of `role` that says hello for three seconds and ends. It can be run again once it has ended.
pub fn job(role: &Role, cluster: &str) -> JobConfiguration {
    let key = JobKey::new(role.clone(), "devel", "sample");
    let process = serde_json::json!({
        "name": "hello",
        "cmdline": "for n in 1 2 3; do echo \"Hello from Daybreak, line $n\"; sleep 1; done",
        "max_failures": 1, "daemon": false, "ephemeral": false, "min_duration": 5, "final": false,
    });
    let data = serde_json::json!({
        "name": key.name, "role": key.role, "cluster": cluster, "environment": key.environment,
        "service": false, "lifecycle": {},
        "task": {
            "name": key.name, "processes": [process], "constraints": [],
            "resources": {"cpu": 0.1, "ram": 16 << 20, "disk": 16 << 20},
            "max_failures": 1, "max_concurrency": 0, "finalization_wait": 30,
        },
    });
    JobConfiguration {
        key: key.clone(),
        owner: Some(role.clone()),
        cron_schedule: None,
        cron_collision_policy: CronCollisionPolicy::default(),
        task: TaskConfig::new(key, 0.1, 16, 16, data.to_string()),
        instance_count: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_admitted() {
        let job = job(&"www-data".to_owned(), "devcluster");
        model::validation::admit_job(job, &Default::default()).unwrap();
    }
}
