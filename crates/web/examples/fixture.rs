//! Serves a made-up cluster on 127.0.0.1, for looking at the pages: `cargo run -p web --example fixture [PORT [empty|busy|big]]`.
//!
//! `empty` has a machine and no jobs, `big` a hundred thousand tasks; `busy`, the default, changes a little all the time.

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use std::sync::Arc;
use std::time::Duration;

use engine::files::TaskInfo;
use scheduler::View;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(Ok(8099), |port| port.parse())?;
    let kind = arguments.next().unwrap_or_default();
    let now_ms = web::wall_clock_ms();
    let (view, files, known) = match kind.as_str() {
        "empty" => {
            let mut builder = fixture::Builder::new(now_ms);
            builder.agent(
                "this-machine",
                fixture::machine(8.0, 15_872, 240_000),
                fixture::machine(8.0, 15_872, 240_000),
            );
            (builder.view, builder.files, None)
        }
        "big" => {
            let mut builder = fixture::Builder::new(now_ms);
            for job in 0..50 {
                let key = model::JobKey::new(format!("role-{:02}", job % 5), "prod", format!("job-{job:03}"));
                let config = Arc::new(fixture::config(&key, 1.0, 128, 128, &[("main", "sleep 60")]));
                for instance in 0..2_000 {
                    builder.running(&config, instance, "worker", 60);
                }
            }
            (builder.view, builder.files, None)
        }
        _ => {
            let (mut view, files, known) = fixture::cluster(now_ms);
            fixture::maintain(&mut view, now_ms);
            (view, files, Some(known))
        }
    };
    let harness = fixture::harness(view, files, web::wall_clock_ms);
    if let Some(known) = known {
        let (view, files, transitions) = (harness.view.clone(), harness.files.clone(), harness.transitions.clone());
        // Every instance of the frontend writes as the known one does.
        let info = files.tasks.lock().unwrap()[&known.running].clone();
        let frontends: Vec<_> = view.lock().unwrap().tasks_of(&fixture::frontend()).cloned().collect();
        for task in frontends.into_iter().filter(|task| task.status.is_active() && task.id != known.running) {
            let begun = format!("listening on port {}\n", 31_000 + task.instance).into_bytes();
            files.logs.lock().unwrap().insert((task.id.clone(), "serve".into(), 1, "stdout"), begun);
            files.tasks.lock().unwrap().insert(task.id.clone(), TaskInfo { task_id: task.id.clone(), ..info.clone() });
        }
        tokio::spawn(async move {
            for tick in 0u64.. {
                tokio::time::sleep(Duration::from_millis(700)).await;
                for ((_, process, run, stream), log) in files.logs.lock().unwrap().iter_mut() {
                    if process == "serve" && *run == 1 && *stream == "stdout" {
                        log.extend_from_slice(format!("tick {tick} \x1b[32mok\x1b[0m\n").as_bytes());
                    }
                }
                if tick % 5 == 4 {
                    flip(&view, &transitions, tick);
                }
            }
        });
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}/", listener.local_addr()?);
    axum::serve(listener, web::router(harness.state)).await?;
    Ok(())
}

/// Lets instance 3 of the frontend come up and go back, so that something is seen to move.
fn flip(
    view: &std::sync::Mutex<Arc<View>>,
    transitions: &tokio::sync::broadcast::Sender<Arc<scheduler::Transition>>,
    tick: u64,
) {
    use model::TaskStatus::{Running, Starting};
    let mut current = view.lock().unwrap();
    let mut next = View::clone(&current);
    let found = next.tasks_of(&fixture::frontend()).find(|task| task.instance == 3 && task.status.is_active()).cloned();
    let Some(task) = found else { return };
    let mut changed = (*task).clone();
    let from = changed.status;
    changed.status = if from == Running { Starting } else { Running };
    let timestamp_ms = web::wall_clock_ms();
    changed.events.truncate(3);
    changed.events.push(scheduler::TaskEvent {
        timestamp_ms,
        status: changed.status,
        message: Some(format!("tick {tick}").as_str().into()),
    });
    let transition = scheduler::Transition {
        job: changed.config.job.clone(),
        instance: 3,
        task_id: changed.id.clone(),
        from: Some(from),
        to: Some(changed.status),
        reason: None,
        timestamp_ms,
    };
    next.position += 1;
    next.tasks.insert(changed.id.clone(), Arc::new(changed));
    *current = Arc::new(next);
    let _ = transitions.send(Arc::new(transition));
}
