//! How fast the answer to getTasksStatus is encoded, and how much memory it takes beside the tasks themselves.
//! Budget: 100,000 tasks at 1 GB/s, 8 MiB extra. Run: `cargo bench -p api`.

#[path = "../tests/common/counting.rs"]
mod counting;

use std::sync::Arc;
use std::time::Instant;

use api::streamed::tasks::Tasks;
use api::streamed::{Frame, body};
use counting::Counted;
use http_body_util::BodyExt;
use model::{JobKey, TaskConfig, TaskId, TaskStatus};
use scheduler::{SharedText, Task, TaskEvent};
use thrift::{BinaryWriter, JsonWriter, Method, ServerInfo, Writer};

const TASKS: u32 = 100_000;
const TASKS_PER_JOB: u32 = 1000;

fn tasks() -> Vec<Arc<Task>> {
    let data = format!("{{\"task\": {{\"processes\": [{}]}}}}", "{\"cmdline\": \"./run --port 80\"}, ".repeat(40));
    let message: SharedText = "Task failed with exit code 1, see its standard error.".into();
    let host = Arc::new("agent-17.example.org".to_owned());
    let mut tasks = Vec::new();
    for job in 0..TASKS / TASKS_PER_JOB {
        let job = JobKey::new("www-data", "prod", format!("service-{job}"));
        let config = Arc::new(TaskConfig::new(job.clone(), 0.5, 256, 1024, data.clone()));
        for instance in 0..TASKS_PER_JOB {
            let statuses = [TaskStatus::Pending, TaskStatus::Assigned, TaskStatus::Starting, TaskStatus::Running];
            let events = statuses.iter().map(|status| TaskEvent {
                timestamp_ms: 1_800_000_000_000 + i64::from(instance),
                status: *status,
                message: Some(message.clone()),
            });
            tasks.push(Arc::new(Task {
                id: TaskId::generate(&job, instance, u128::from(instance)),
                instance,
                config: config.clone(),
                status: TaskStatus::Running,
                failure_count: 0,
                times_partitioned: 0,
                ancestor: None,
                events: events.collect(),
                agent_id: Some("2f1c-S7".into()),
                host: Some(host.clone()),
                ports: [("http".to_owned(), 31_000)].into(),
            }));
        }
    }
    tasks
}

async fn measure<W: Writer + Send + 'static>(name: &str, tasks: &[Arc<Task>]) {
    for round in 0..3 {
        let selected = tasks.to_vec();
        let frame = Frame {
            envelope: Some((Method::GetTasksStatus, 1)),
            server_info: ServerInfo { cluster_name: "devcluster".to_owned(), stats_url_prefix: String::new() },
        };
        let listing = Tasks::new("scheduler.example.org".into(), true);
        let counted = Counted::begin();
        let started = Instant::now();
        let mut body = body::<W, Tasks>(selected, listing, frame);
        let mut bytes = 0;
        while let Some(piece) = body.frame().await {
            bytes += piece.expect("a piece").into_data().map_or(0, |data| data.len());
        }
        let seconds = started.elapsed().as_secs_f64();
        let extra = counted.taken().peak;
        println!(
            "{name} round {round}: {TASKS} tasks, {:.0} MB, {:.2} GB/s, {:.0} ns per task, {:.1} MiB extra",
            bytes as f64 / 1e6,
            bytes as f64 / 1e9 / seconds,
            seconds * 1e9 / f64::from(TASKS),
            extra as f64 / f64::from(1 << 20),
        );
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let tasks = tasks();
    measure::<JsonWriter>("thrift json", &tasks).await;
    measure::<BinaryWriter>("thrift binary", &tasks).await;
}
