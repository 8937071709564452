//! Stored tasks and views for tests.

use std::sync::Arc;

use model::{JobKey, TaskConfig, TaskId, TaskStatus};
use scheduler::{Task, TaskEvent, View};

/// A task `role-env-name-instance` with an admitted configuration, in a status, on a host or nowhere.
pub fn sample_task(job: &str, instance: u32, status: TaskStatus, host: Option<&str>) -> Arc<Task> {
    let job: JobKey = job.parse().expect("a job key");
    let mut config = TaskConfig::new(job.clone(), 0.5, 16, 32, "{\"task\": {}}");
    config.tier = Some("preemptible".to_owned());
    config.production = Some(false);
    Arc::new(Task {
        id: TaskId::from(format!("{}-{}-{}-{instance}", job.role, job.environment, job.name)),
        instance,
        config: Arc::new(config),
        status,
        failure_count: 0,
        times_partitioned: 0,
        ancestor: None,
        events: vec![TaskEvent { timestamp_ms: 5, status, message: None }],
        agent_id: host.map(|host| format!("agent-{host}").into()),
        host: host.map(|host| Arc::new(host.to_owned())),
        ports: Default::default(),
    })
}

/// A view with these tasks.
pub fn view_of(tasks: impl IntoIterator<Item = Arc<Task>>) -> View {
    let mut view = View { position: 1, registered: true, ..View::default() };
    for task in tasks {
        view.tasks_by_job.entry(task.config.job.clone()).or_default().insert(task.id.clone());
        view.tasks.insert(task.id.clone(), task);
    }
    view
}
