//! What nobody may do on this cluster, whoever he is. Who may do what else is decided by an [`crate::Authorizer`]; who is asking, by the
//! server.

use scheduler::{Command, Reply, ReplyCode};

/// What is allowed on this cluster.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether jobs may run as root. Only matters where the agents can become another user.
    pub allow_root_role: bool,
}

/// Refuses a command that is not allowed here.
pub fn authorise(policy: &Policy, command: &Command) -> Result<(), Reply> {
    let starts_tasks_of = match command {
        Command::CreateJob(job) | Command::ScheduleCronJob(job) | Command::ReplaceCronTemplate(job) => {
            Some(&job.key.role)
        }
        Command::StartUpdate { request, .. } => Some(&request.task.job.role),
        Command::AddInstances { job, .. } | Command::StartCronJob { job } => Some(&job.role),
        _ => None,
    };
    if starts_tasks_of.is_some_and(|role| role == "root") && !policy.allow_root_role {
        return Err(Reply::refused(
            ReplyCode::AuthFailed,
            "Jobs of role root run as root on this machine. Use another role, or start the daemon with --allow-root-role.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::{CronCollisionPolicy, JobConfiguration, JobKey, TaskConfig};

    use super::*;

    #[test]
    fn root_needs_the_flag() {
        let job = |role: &str| {
            let key = JobKey::new(role, "devel", "j");
            Box::new(JobConfiguration {
                key: key.clone(),
                owner: None,
                cron_schedule: None,
                cron_collision_policy: CronCollisionPolicy::default(),
                task: TaskConfig::new(key, 1.0, 1, 1, ""),
                instance_count: 1,
            })
        };
        let ask = |policy: &Policy, role: &str| authorise(policy, &Command::CreateJob(job(role)));
        assert!(ask(&Policy::default(), "www-data").is_ok());
        assert_eq!(ask(&Policy::default(), "root").unwrap_err().code, ReplyCode::AuthFailed);
        assert!(ask(&Policy { allow_root_role: true }, "root").is_ok());
        for cron in [Command::ScheduleCronJob(job("root")), Command::ReplaceCronTemplate(job("root"))] {
            assert_eq!(authorise(&Policy::default(), &cron).unwrap_err().code, ReplyCode::AuthFailed, "{cron:?}");
        }
    }
}
