//! Big questions while placement goes on: `getTasksStatus` of 100,000 tasks and `getJobSummary` of 10,000 jobs, asked without a pause
//! through the routes while the real core creates, places and starts 5,000 tasks a second and publishes a view after every step. Shown are
//! the rate of encoding, the memory that readers take beside the tasks, and the processor time of the loop per placement with and without
//! them. Processor time of threads is counted, not time by the wall: other programs on the machine do not matter.
//!
//! `cargo bench -p api --bench readers`

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::{ApiSettings, ApiState, router};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use engine::{Call as EngineCall, Event, Offer, StatusUpdate, TaskState};
use gateway::{Door, Gateway, Lane, Policy};
use http_body_util::BodyExt;
use model::{CpuMillis, CronCollisionPolicy, JobConfiguration, JobKey, Ports, Resources, TaskConfig};
use scheduler::{Command, Effect, Input, Now, Principal, RequestId, Scheduler, Settings};
use thrift::{Call, GetJobSummaryArguments, GetTasksStatusArguments, Protocol, TaskQuery, encode_call};
use tower::ServiceExt;

/// Counts what each thread and the whole have in use, and the peaks. What one thread takes and another gives back counts at both.
struct Counting;

static IN_USE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static OWN: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn account(bytes: isize) {
    let now = IN_USE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
    // A thread that is ending has no account any more.
    let _ = OWN.try_with(|own| {
        let (in_use, peak) = own.get();
        own.set((in_use + bytes, peak.max(in_use + bytes)));
    });
}

/// The peak of this thread's account while something was done, above what it was before.
fn extra_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    OWN.with(|own| own.set((0, 0)));
    let done = work();
    (done, OWN.with(|own| own.get().1).unsigned_abs())
}

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        account(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        account(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const JOBS: usize = 10_000;
const TASKS_PER_JOB: usize = 10;
const AGENTS: usize = 2_000;
/// Of the churn: a job of so many tasks at every step, and the pause between two.
const CHURN_TASKS: usize = 50;
const CHURN_STEPS: usize = 600;
const CHURN_PAUSE: Duration = Duration::from_millis(10);

/// Processor time of this thread.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts the time of threads");
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first number is the time on a processor"))
}

struct NoDoor;

impl Door for NoDoor {
    fn enter(&self, _: Lane, _: Input) -> bool {
        false
    }
}

/// The core with its gateway, as the loop's host has them, and a played engine that starts whatever it is given.
struct World {
    core: Scheduler,
    gateway: Arc<Gateway>,
    ms: u64,
    offers_made: usize,
    placed: usize,
}

impl World {
    fn new() -> Self {
        let settings = Settings { enable_preemptor: false, ..Settings::default() };
        let gateway = Arc::new(Gateway::new(Box::new(NoDoor), Policy::default()));
        let mut world = Self { core: Scheduler::new(settings), gateway, ms: 0, offers_made: 0, placed: 0 };
        world.step(Input::Start { seed: [1; 32], epoch: 1 });
        world.step(Input::Engine(Event::Registered { framework_id: None, master: None }));
        let offers = (0..AGENTS).map(|agent| world.offer(&format!("agent-{agent}"))).collect();
        world.step(Input::Engine(Event::Offers(offers)));
        let data = format!("{{\"task\": {{\"processes\": [{}]}}}}", "{\"cmdline\": \"./run --port 80\"}, ".repeat(40));
        for job in 0..JOBS {
            world.create("www-data", &format!("service-{job}"), TASKS_PER_JOB, &data);
        }
        assert_eq!(world.placed, JOBS * TASKS_PER_JOB, "everything runs");
        world
    }

    /// All that is left of an agent; more than can be used up here.
    fn offer(&mut self, agent: &str) -> Offer {
        self.offers_made += 1;
        Offer {
            id: format!("{agent}/{}", self.offers_made),
            agent_id: agent.to_owned(),
            host: format!("{agent}.example.org"),
            resources: Resources { cpu: CpuMillis(4_000_000), ram_mb: 4 << 20, disk_mb: 8 << 20, ports: 1000, gpus: 0 },
            port_ranges: Ports::from_ranges([(31_000, 31_999)]),
            attributes: BTreeMap::from([("host".to_owned(), vec![format!("{agent}.example.org")])]),
            ..Offer::default()
        }
    }

    /// A job, whose tasks are placed and start at once.
    fn create(&mut self, role: &str, name: &str, tasks: usize, data: &str) {
        let mut task = TaskConfig::new(JobKey::new(role, "devel", name), 0.5, 256, 1024, data);
        task.is_service = true;
        let job = JobConfiguration {
            key: task.job.clone(),
            owner: None,
            cron_schedule: None,
            cron_collision_policy: CronCollisionPolicy::default(),
            task,
            instance_count: tasks as i32,
        };
        let command = Command::CreateJob(Box::new(job));
        self.step(Input::command(RequestId(0), Principal::unsecure(), command));
    }

    /// One input and all that follows from it; what readers see is published after each step.
    fn step(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.ms += 1;
            let now = Now { wall_ms: 1_800_000_000_000 + self.ms as i64, monotonic_ms: self.ms };
            let output = self.core.step(now, input);
            if output.more {
                inputs.push_back(Input::Resume);
            }
            for effect in output.effects {
                let Effect::Engine(EngineCall::Accept { offers, launches }) = effect else { continue };
                assert_eq!(offers.len(), 1, "one offer stands for an agent");
                self.placed += launches.len();
                let status = |task_id, agent_id| StatusUpdate {
                    task_id,
                    state: TaskState::Running,
                    reason: None,
                    message: Some("No health-check defined, task is assumed healthy.".into()),
                    timestamp_ms: None,
                    agent_id,
                    token: None,
                };
                for launch in launches {
                    inputs.push_back(Input::Engine(Event::Status(status(launch.task_id, None))));
                }
                let (agent, _) = offers[0].split_once('/').expect("made here");
                let offer = self.offer(agent);
                inputs.push_back(Input::Engine(Event::Offers(vec![offer])));
            }
            self.gateway.publish(Arc::new(self.core.freeze()));
        }
    }

    /// Jobs come for some seconds; the processor time of the loop per placed task.
    fn churn(&mut self) -> Duration {
        let (began, placed, started) = (processor_time(), self.placed, Instant::now());
        for step in 0..CHURN_STEPS {
            self.create("batch", &format!("churn-{step}"), CHURN_TASKS, "{}");
            let due = CHURN_PAUSE * (step as u32 + 1);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
        assert_eq!(self.placed - placed, CHURN_STEPS * CHURN_TASKS);
        (processor_time() - began) / (CHURN_STEPS * CHURN_TASKS) as u32
    }
}

/// How a question travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Binary,
    ThriftJson,
    PlainJson,
}

fn request(way: Way, call: &Call) -> Request<Body> {
    let protocol = match way {
        Way::Binary => Protocol::Binary,
        Way::ThriftJson => Protocol::Json,
        Way::PlainJson => {
            let method = call.method();
            let names = method.arguments().iter().filter(|argument| argument.name == "query");
            let arguments = names.map(|argument| format!("{{\"{}\": {{}}}}", argument.name)).next();
            let request = Request::post(format!("/apibeta/{}", method.name()));
            let request = request.header("content-type", "application/json");
            return request.body(Body::from(arguments.unwrap_or_else(|| "{}".into()))).expect("a request");
        }
    };
    let request = Request::post("/api").header("content-type", protocol.media_type());
    let request = request.header("accept", protocol.media_type());
    request.body(Body::from(encode_call(protocol, 1, call))).expect("a request")
}

/// What was seen of one kind of question.
#[derive(Default)]
struct Seen {
    answers: u32,
    bytes: usize,
    spent: Duration,
    extra_bytes: usize,
}

type Sheet = Mutex<BTreeMap<(&'static str, Way), Seen>>;

fn read_once(runtime: &tokio::runtime::Runtime, router: &Router, way: Way, call: &Call) -> usize {
    runtime.block_on(async {
        let mut body = router.clone().oneshot(request(way, call)).await.expect("an answer").into_body();
        let mut bytes = 0;
        while let Some(piece) = body.frame().await {
            bytes += piece.expect("a piece").into_data().map_or(0, |data| data.len());
        }
        bytes
    })
}

/// Asks until it is told to stop.
fn read(router: &Router, name: &'static str, call: &Call, sheet: &Sheet, stop: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for way in [Way::Binary, Way::ThriftJson, Way::PlainJson].into_iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let began = processor_time();
        let (bytes, extra) = extra_of(|| read_once(&runtime, router, way, call));
        assert!(bytes > 1 << 20, "{name} {way:?}: {bytes} bytes");
        let mut sheet = sheet.lock().expect("no panic");
        let seen = sheet.entry((name, way)).or_default();
        seen.answers += 1;
        seen.bytes += bytes;
        seen.spent += processor_time() - began;
        seen.extra_bytes = seen.extra_bytes.max(extra);
    }
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The processor time of the loop per placement, and the growth of the whole process at its peak.
fn run(readers: bool) -> (Duration, usize) {
    let mut world = World::new();
    let routes = router(ApiState::new(Arc::clone(&world.gateway), ApiSettings::default()));
    let questions: [(&'static str, Call); 2] = [
        ("getTasksStatus", GetTasksStatusArguments { query: Some(TaskQuery::default()) }.into()),
        ("getJobSummary", GetJobSummaryArguments { role: None }.into()),
    ];
    let (sheet, stop) = (Sheet::default(), AtomicBool::new(false));
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let per_placement = std::thread::scope(|scope| {
        for (name, call) in questions.iter().filter(|_| readers) {
            let (routes, sheet, stop) = (&routes, &sheet, &stop);
            scope.spawn(move || read(routes, name, call, sheet, stop));
        }
        let per_placement = world.churn();
        stop.store(true, Ordering::Relaxed);
        per_placement
    });
    let grown = (PEAK.load(Ordering::Relaxed) - before).unsigned_abs();
    for ((name, way), seen) in sheet.into_inner().expect("no panic") {
        println!(
            "{name} {way:?}: {} answers of {:.0} MB, {:.2} GB per second of processor, {:.0} ms each, {:.1} MiB extra",
            seen.answers,
            seen.bytes as f64 / 1e6 / f64::from(seen.answers),
            seen.bytes as f64 / 1e9 / seen.spent.as_secs_f64(),
            seen.spent.as_secs_f64() * 1e3 / f64::from(seen.answers),
            mib(seen.extra_bytes),
        );
    }
    (per_placement, grown)
}

fn main() {
    let (alone, grown_alone) = run(false);
    let (watched, grown_watched) = run(true);
    println!("the loop, per placed task: {alone:.1?} alone, {watched:.1?} with readers");
    println!(
        "the process grew at its peak by {:.1} MiB alone, {:.1} MiB with readers; {} new tasks are in both",
        mib(grown_alone),
        mib(grown_watched),
        CHURN_STEPS * CHURN_TASKS,
    );
}
