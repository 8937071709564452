//! A flood of questions delays no command: whoever asks, however long his question takes, and however slowly he takes his answer, holds
//! nothing that a command waits for.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::task::Poll;
use std::time::Duration;

use api::{ApiSettings, ApiState, router};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use gateway::{Door, Gateway, Lane, Policy};
use http_body_util::BodyExt;
use model::JobKey;
use scheduler::{Effect, Input, Now, Scheduler, Settings};
use thrift::*;
use tower::ServiceExt;

/// Tasks that every question is answered with.
const TASKS: i32 = 1500;
/// Readers that have begun to read their answer and read no further.
const STALLED: usize = 30;
/// Threads that ask again and again.
const ASKING: usize = 2;
const COMMANDS: usize = 20;
/// After this the test is taken to hang.
const PATIENCE: Duration = Duration::from_secs(300);

/// The loop: a thread of its own, which takes commands one after the other and publishes the state before it answers.
struct Loop(Mutex<mpsc::Sender<Input>>);

impl Door for Loop {
    fn enter(&self, _: Lane, input: Input) -> bool {
        self.0.lock().unwrap().send(input).is_ok()
    }
}

fn run(inputs: &mpsc::Receiver<Input>, gateway: &OnceLock<Weak<Gateway>>) {
    let mut core = Scheduler::new(Settings::default());
    let mut ms = 0;
    while let Ok(input) = inputs.recv() {
        ms += 10;
        let output = core.step(Now { wall_ms: 1_800_000_000_000 + ms as i64, monotonic_ms: ms }, input);
        let Some(gateway) = gateway.get().and_then(Weak::upgrade) else { return };
        gateway.publish(Arc::new(core.freeze()));
        for effect in output.effects {
            if let Effect::Reply { request, reply } = effect {
                gateway.deliver(request, reply);
            }
        }
    }
}

fn scheduler() -> Router {
    let (sender, inputs) = mpsc::channel();
    sender.send(Input::Start { seed: [7; 32], epoch: 1 }).unwrap();
    let gateway = Arc::new(Gateway::new(Box::new(Loop(Mutex::new(sender))), Policy::default()));
    let own = OnceLock::new();
    own.set(Arc::downgrade(&gateway)).expect("set once");
    std::thread::spawn(move || run(&inputs, &own));
    router(ApiState::new(gateway, ApiSettings::default()))
}

async fn send(router: &Router, call: &Call) -> Response {
    let request = Request::post("/api").body(Body::from(encode_call(Protocol::Json, 1, call))).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn ask(router: &Router, call: impl Into<Call>) -> thrift::Response {
    let call = call.into();
    let bytes = send(router, &call).await.into_body().collect().await.unwrap().to_bytes();
    decode_reply(Protocol::Json, call.method(), 1, &bytes, Limits::REPLY).expect("a reply")
}

fn create(name: &str, instance_count: i32) -> CreateJobArguments {
    let key = JobKey::new("www-data", "prod", name);
    let mut config = model::TaskConfig::new(key.clone(), 0.5, 16, 32, "{}");
    config.is_service = true;
    CreateJobArguments {
        description: Some(JobConfiguration {
            key: Some(thrift::JobKey::from(&key)),
            owner: Some(Identity { user: "www-data".to_owned() }),
            task_config: Some(TaskConfig::from(&config)),
            instance_count,
            ..Default::default()
        }),
    }
}

/// Without any limit.
fn everything() -> Call {
    GetTasksStatusArguments { query: Some(TaskQuery::default()) }.into()
}

fn of_job(name: &str) -> GetTasksWithoutConfigsArguments {
    let key = thrift::JobKey::from(&JobKey::new("www-data", "prod", name));
    GetTasksWithoutConfigsArguments { query: Some(TaskQuery { job_keys: Some(Set(vec![key])), ..Default::default() }) }
}

fn tasks_in(response: &thrift::Response) -> usize {
    match &response.result {
        Some(ResponseResult::ScheduleStatus(result)) => result.tasks.len(),
        other => panic!("no tasks: {other:?}"),
    }
}

async fn flood() -> usize {
    let router = scheduler();
    assert_eq!(ask(&router, create("large", TASKS)).await.response_code, Some(ResponseCode::Ok));
    // They take the first piece of their answer and leave the rest lying.
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut body = send(&router, &everything()).await.into_body();
        let first = body.frame().await.expect("a first piece").unwrap().into_data().unwrap();
        stalled.push((first, body));
    }
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asking: Vec<_> = (0..ASKING)
        .map(|_| {
            let (router, stop, answered) = (router.clone(), stop.clone(), answered.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let bytes = runtime.block_on(async {
                        send(&router, &everything()).await.into_body().collect().await.unwrap().to_bytes()
                    });
                    assert!(bytes.len() > TASKS as usize * 100);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < ASKING {
        tokio::task::yield_now().await;
    }
    for number in 0..COMMANDS {
        let name = format!("small-{number}");
        assert_eq!(ask(&router, create(&name, 2)).await.response_code, Some(ResponseCode::Ok));
        // Who was answered sees what he did.
        assert_eq!(tasks_in(&ask(&router, of_job(&name)).await), 2);
    }
    stop.store(true, Ordering::Relaxed);
    asking.into_iter().for_each(|thread| thread.join().unwrap());
    // What the slow ones read in the end is the state at the time of their question.
    for (first, body) in stalled {
        let rest = body.collect().await.unwrap().to_bytes();
        assert!(first.len() < rest.len(), "{} bytes were written ahead of a reader, {} not", first.len(), rest.len());
        let whole = [first, rest].concat();
        let reply =
            decode_reply(Protocol::Json, everything().method(), 1, &whole, Limits::REPLY).expect("a whole reply");
        assert_eq!(tasks_in(&reply), TASKS as usize);
    }
    answered.load(Ordering::Relaxed)
}

#[test]
fn a_flood_of_questions_and_readers_that_never_finish_delay_no_command() {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        done.send(runtime.block_on(flood())).unwrap();
    });
    let answered = is_done.recv_timeout(PATIENCE).expect("commands wait for readers");
    assert!(answered >= ASKING);
}

/// What creating a job would come to.
async fn plan(router: Router, name: &str) -> serde_json::Value {
    let arguments: serde_json::Value = serde_json::from_slice(&encode_plain(&create(name, 1))).unwrap();
    let question = serde_json::json!({"method": "createJob", "arguments": arguments}).to_string();
    let request = Request::post("/api/v1/plan").header("content-type", "application/json");
    let answer = router.oneshot(request.body(Body::from(question)).unwrap()).await.unwrap();
    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

/// Looks once whether something is done.
async fn is_done<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

/// What takes long is worked out on threads of its own, forecasts two at a time; while none of these is free commands are answered.
#[test]
fn long_questions_wait_for_threads_of_their_own_and_commands_do_not() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let router = scheduler();
        for name in ["one", "two", "three"] {
            assert_eq!(ask(&router, create(name, 4000)).await.response_code, Some(ResponseCode::Ok));
        }
        // The only thread for long work is taken.
        let (release, released) = mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || released.recv());
        let question = everything();
        let mut reading = pin!(send(&router, &question));
        assert!(!is_done(reading.as_mut()).await, "twelve thousand tasks were read where commands are answered");
        let mut plans: Vec<_> = (0..3).map(|_| Box::pin(plan(router.clone(), "new"))).collect();
        for plan in &mut plans {
            assert!(!is_done(plan.as_mut()).await, "a forecast was worked out where commands are answered");
        }
        assert_eq!(ask(&router, create("new", 1)).await.response_code, Some(ResponseCode::Ok));
        drop(release);
        taken.await.unwrap().expect_err("nothing is sent");
        // Two were about the state before; the third waited for its turn, and is about the state that it found then.
        let mut are_refused = Vec::new();
        for plan in plans {
            are_refused.push(!plan.await["refusal"].is_null());
        }
        assert_eq!(are_refused, [false, false, true]);
        assert_eq!(reading.await.status(), 200);
    });
}
