//! A world for tests: a scheduler that answers what the test says and remembers what it was asked, a job file that holds what the test
//! says, a clock that only moves when somebody waits.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use model::{CronCollisionPolicy, JobConfiguration, JobKey, TaskConfig};
use thrift::{
    AssignedTask, Call, GetTierConfigResult, Response, ResponseCode, ResponseDetail, ResponseResult, ScheduleStatus,
    ScheduleStatusResult, ScheduledTask, TaskEvent, TierConfig,
};

use crate::clusters::{Cluster, Clusters};
use crate::console::Console;
use crate::evaluation::{EvaluatedFile, Evaluation, EvaluationRequest, LoadedJob, Wanted};
use crate::exit::Exit;
use crate::hooks::{HookEvent, HookOutcome, HookRunner, HookVerdict, HookedCall};
use crate::leader::Announced;
use crate::scheduler::{Page, Transport, TransportError};
use crate::syntax::ClusterJob;
use crate::world::World;

/// When commands begin, in ms since the epoch.
pub const NOW_MS: i64 = 1_600_000_000_000;

type Answer = Box<dyn FnMut(&Call) -> Result<Response, TransportError>>;
type Pages = Box<dyn FnMut(&str) -> Page>;

/// The world; cheap to clone, all clones are one.
#[derive(Clone)]
pub struct FakeWorld(Rc<Inner>);

struct Inner {
    answer: RefCell<Answer>,
    pages: RefCell<Pages>,
    evaluation: RefCell<Result<Evaluation, String>>,
    more_jobs: RefCell<Vec<LoadedJob>>,
    evaluations: Cell<u32>,
    calls: RefCell<Vec<Call>>,
    keys: RefCell<Vec<Option<String>>>,
    opened: RefCell<Vec<String>>,
    ran: RefCell<Vec<String>>,
    attended_files: RefCell<Vec<String>>,
    leaders: RefCell<VecDeque<Result<String, String>>>,
    hooked: RefCell<Vec<String>>,
    verdicts: RefCell<VecDeque<Result<HookVerdict, String>>>,
    connected: RefCell<Vec<String>>,
    now: Cell<Duration>,
}

impl FakeWorld {
    /// A world whose scheduler answers like this; tiers and everything not answered is OK without a result.
    pub fn new(mut answer: impl FnMut(&Call) -> Option<Response> + 'static) -> Self {
        Self::failing(move |call| {
            Ok(answer(call).unwrap_or_else(|| match call {
                Call::GetTierConfigs(_) => with_result(ResponseResult::GetTierConfig(tiers())),
                _ => ok(),
            }))
        })
    }

    /// A world whose scheduler may not answer at all.
    pub fn failing(answer: impl FnMut(&Call) -> Result<Response, TransportError> + 'static) -> Self {
        Self(Rc::new(Inner {
            answer: RefCell::new(Box::new(answer)),
            pages: RefCell::new(Box::new(|_| Page { status: 404, ..Page::default() })),
            evaluation: RefCell::new(Ok(hello_file())),
            more_jobs: RefCell::default(),
            evaluations: Cell::default(),
            calls: RefCell::default(),
            keys: RefCell::default(),
            opened: RefCell::default(),
            attended_files: RefCell::default(),
            ran: RefCell::default(),
            leaders: RefCell::default(),
            hooked: RefCell::default(),
            verdicts: RefCell::default(),
            connected: RefCell::default(),
            now: Cell::default(),
        }))
    }

    /// The daemon's pages.
    pub fn with_pages(self, pages: impl FnMut(&str) -> Page + 'static) -> Self {
        *self.0.pages.borrow_mut() = Box::new(pages);
        self
    }

    /// What ZooKeeper says of the leader, one answer after another.
    pub fn with_leaders<const N: usize>(self, leaders: [Result<&str, &str>; N]) -> Self {
        let owned = leaders.map(|leader| leader.map(str::to_owned).map_err(str::to_owned));
        *self.0.leaders.borrow_mut() = owned.into();
        self
    }

    /// The file's job has hooks, which say this, one after another, and then yes.
    pub fn with_hooks<const N: usize>(self, verdicts: [Result<HookVerdict, &str>; N]) -> Self {
        if let Ok(Evaluation { job: Some(job), .. }) = &mut *self.0.evaluation.borrow_mut() {
            job.has_hooks = true;
        }
        *self.0.verdicts.borrow_mut() = verdicts.map(|verdict| verdict.map_err(str::to_owned)).into();
        self
    }

    /// What hooks were told.
    pub fn hooked(&self) -> Vec<String> {
        self.0.hooked.borrow().clone()
    }

    /// Addresses that were connected to, in order.
    pub fn connected(&self) -> Vec<String> {
        self.0.connected.borrow().clone()
    }

    /// What a job file evaluates to.
    pub fn with_file(self, evaluation: Result<Evaluation, String>) -> Self {
        *self.0.evaluation.borrow_mut() = evaluation;
        self
    }

    /// The file has these jobs as well.
    pub fn with_more_jobs(self, jobs: Vec<LoadedJob>) -> Self {
        if let Ok(evaluation) = &mut *self.0.evaluation.borrow_mut() {
            evaluation.keys.extend(jobs.iter().map(|job| job.key.to_string()));
        }
        *self.0.more_jobs.borrow_mut() = jobs;
        self
    }

    /// How often a file was evaluated.
    pub fn evaluations(&self) -> u32 {
        self.0.evaluations.get()
    }

    /// What the scheduler was asked, by the methods' names, tiers and reading of tasks left out.
    pub fn changes(&self) -> Vec<&'static str> {
        let calls = self.0.calls.borrow();
        let changing = |call: &&Call| call.method().service() != thrift::Service::ReadOnlyScheduler;
        calls.iter().filter(changing).map(|call| call.method().name()).collect()
    }

    /// Every call.
    pub fn calls(&self) -> Vec<Call> {
        self.0.calls.borrow().clone()
    }

    /// The idempotency key of every call.
    pub fn keys(&self) -> Vec<Option<String>> {
        self.0.keys.borrow().clone()
    }

    /// Pages opened in the browser.
    pub fn opened(&self) -> Vec<String> {
        self.0.opened.borrow().clone()
    }

    /// Programs that were run, with their arguments.
    pub fn ran(&self) -> Vec<String> {
        self.0.ran.borrow().clone()
    }

    /// Runs `aurora_admin` with these words.
    pub fn admin(&self, words: &str) -> Ran {
        let mut clusters = Clusters::default();
        clusters.add(Cluster::at("c1", "http://scheduler.example:8081"));
        self.admin_with(words, clusters)
    }

    /// Runs `aurora_admin` where these clusters are known.
    pub fn admin_with(&self, words: &str, clusters: Clusters) -> Ran {
        let arguments: Vec<OsString> =
            std::iter::once("aurora_admin").chain(words.split_whitespace()).map(OsString::from).collect();
        let (out, err) = (Buffer::default(), Buffer::default());
        let console = Console::to(Box::new(out.clone()), Box::new(err.clone()));
        let exit = crate::admin::run(arguments, clusters, console, self);
        Ran { exit, out: out.text(), err: err.text() }
    }

    /// What was in the files that the last program was given which had any.
    pub fn attended_files(&self) -> Vec<String> {
        self.0.attended_files.borrow().clone()
    }

    /// Runs `aurora` with exactly these words.
    pub fn aurora_words(&self, words: &[&str]) -> Ran {
        let mut clusters = Clusters::default();
        clusters.add(Cluster::at("c1", "http://scheduler.example:8081"));
        self.run_aurora(words, clusters)
    }

    /// Runs `aurora` with these words.
    pub fn aurora(&self, words: &str) -> Ran {
        let mut clusters = Clusters::default();
        clusters.add(Cluster::at("c1", "http://scheduler.example:8081"));
        self.aurora_with(words, clusters)
    }

    /// Runs `aurora` where these clusters are known.
    pub fn aurora_with(&self, words: &str, clusters: Clusters) -> Ran {
        self.run_aurora(&words.split_whitespace().collect::<Vec<_>>(), clusters)
    }

    fn run_aurora(&self, words: &[&str], clusters: Clusters) -> Ran {
        let arguments: Vec<OsString> = std::iter::once(&"aurora").chain(words).map(OsString::from).collect();
        let (out, err) = (Buffer::default(), Buffer::default());
        let console = Console::to(Box::new(out.clone()), Box::new(err.clone()));
        let exit = crate::aurora::run(arguments, clusters, console, self);
        Ran { exit, out: out.text(), err: err.text() }
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Both streams and the code at once, so that a failing test shows all of them.
    #[track_caller]
    pub fn expect(&self, exit: Exit, out: &str, err: &str) {
        let expected = Self { exit, out: out.into(), err: err.into() };
        assert_eq!(*self, expected, "\n--- stdout\n{}--- stderr\n{}", self.out, self.err);
    }
}

/// A stream that can be read back.
#[derive(Clone, Default)]
pub struct Buffer(Rc<RefCell<Vec<u8>>>);

impl Buffer {
    /// All that was written.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Hooks that note what they are told.
struct FakeHooks(FakeWorld);

impl HookRunner for FakeHooks {
    fn run(
        &mut self,
        event: HookEvent,
        call: &HookedCall,
        outcome: Option<&HookOutcome>,
    ) -> Result<HookVerdict, String> {
        let mut shown = format!("{event:?} {}", call.method);
        for (name, value) in call.arguments.iter().chain(&call.keywords) {
            shown.push_str(&format!(" {name}={value}"));
        }
        if let Some(outcome) = outcome {
            shown.push_str(&format!(" -> {:?} {}", outcome.code, outcome.messages.join(", ")));
        }
        self.0.0.hooked.borrow_mut().push(shown);
        let verdict = self.0.0.verdicts.borrow_mut().pop_front();
        verdict.unwrap_or(Ok(HookVerdict { passed: true, exit: None }))
    }
}

struct FakeTransport(FakeWorld);

impl Transport for FakeTransport {
    fn call(&mut self, call: &Call, key: Option<&str>) -> Result<Response, TransportError> {
        self.0.0.calls.borrow_mut().push(call.clone());
        self.0.0.keys.borrow_mut().push(key.map(str::to_owned));
        let mut answer = self.0.0.answer.borrow_mut();
        (*answer)(call)
    }

    fn get(&mut self, path: &str) -> Result<Page, TransportError> {
        let mut pages = self.0.0.pages.borrow_mut();
        Ok((*pages)(path))
    }

    fn ask(&mut self, path: &str, _document: Option<&[u8]>) -> Result<Page, TransportError> {
        self.get(path)
    }
}

impl World for FakeWorld {
    fn connect(&self, cluster: &Cluster) -> Box<dyn Transport> {
        self.0.connected.borrow_mut().push(cluster.url.clone());
        Box::new(FakeTransport(self.clone()))
    }

    fn locate(&self, _announced: &Announced) -> Result<String, String> {
        self.0.leaders.borrow_mut().pop_front().unwrap_or_else(|| Err("no ZooKeeper in this test".into()))
    }

    fn evaluate_file(&self, _: &EvaluationRequest) -> Result<Box<dyn EvaluatedFile>, String> {
        self.0.evaluations.set(self.0.evaluations.get() + 1);
        let evaluation = self.0.evaluation.borrow().clone()?;
        Ok(Box::new(FakeFile { evaluation, more_jobs: self.0.more_jobs.borrow().clone() }))
    }

    fn start_hooks(
        &self,
        request: &EvaluationRequest,
        _job: &serde_json::Value,
        _verbose: bool,
    ) -> Result<Box<dyn HookRunner>, String> {
        assert!(matches!(request.wanted, Wanted::Job(_)), "hooks belong to a job");
        Ok(Box::new(FakeHooks(self.clone())))
    }

    fn pause(&self, duration: Duration) {
        self.0.now.set(self.0.now.get() + duration);
    }

    fn elapsed(&self) -> Duration {
        self.0.now.get()
    }

    fn wall_clock_ms(&self) -> i64 {
        NOW_MS + self.0.now.get().as_millis() as i64
    }

    fn run_program(&self, program: &Path, arguments: &[&str]) -> Result<(), String> {
        self.0.ran.borrow_mut().push(format!("{} {}", program.display(), arguments.join(" ")));
        if program.ends_with("false") { Err(format!("{}: exit status: 1", program.display())) } else { Ok(()) }
    }

    /// What runs ends as its last word says, `exit N`; its pid is 4711.
    fn attend(
        &self,
        program: &str,
        arguments: &[String],
        started: &mut dyn FnMut(u32) -> Result<(), String>,
    ) -> Result<i32, String> {
        self.0.ran.borrow_mut().push(format!("{program} {}", arguments.join(" ")));
        let files: Vec<String> = arguments.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        if !files.is_empty() {
            *self.0.attended_files.borrow_mut() = files;
        }
        started(4711)?;
        let code = arguments.last().and_then(|last| last.rsplit_once("exit ")?.1.parse().ok());
        Ok(code.unwrap_or(0))
    }

    /// A command that ends with `exit N` ends so.
    fn run_all(&self, commands: &[Vec<String>], _: usize, line: &mut dyn FnMut(usize, &str)) -> Vec<i32> {
        let mut codes = Vec::new();
        for (number, command) in commands.iter().enumerate() {
            self.0.ran.borrow_mut().push(command.join(" "));
            line(number, &format!("out of {number}"));
            codes.push(command.last().and_then(|last| last.rsplit_once("exit ")?.1.parse().ok()).unwrap_or(0));
        }
        codes
    }

    fn open_browser(&self, url: &str) -> bool {
        self.0.opened.borrow_mut().push(url.to_owned());
        true
    }

    fn fresh_uuid(&self) -> String {
        "11111111-2222-4333-8444-555555555555".into()
    }

    fn program(&self) -> String {
        "/opt/daybreak".into()
    }
}

/// The job of most tests.
pub fn hello_key() -> ClusterJob {
    "c1/www-data/devel/hello_world".parse().unwrap()
}

/// A file that was evaluated.
struct FakeFile {
    evaluation: Evaluation,
    more_jobs: Vec<LoadedJob>,
}

impl EvaluatedFile for FakeFile {
    fn load(&self, request: &EvaluationRequest) -> Result<Evaluation, String> {
        let mut evaluation = self.evaluation.clone();
        match &request.wanted {
            Wanted::Keys => evaluation.job = None,
            Wanted::Only => {}
            Wanted::Job(key) => {
                let mut jobs = evaluation.job.into_iter().chain(self.more_jobs.iter().cloned());
                evaluation.job = jobs.find(|job| job.key == *key);
            }
        }
        Ok(evaluation)
    }
}

/// A file with that job.
pub fn hello_file() -> Evaluation {
    hello_file_as(|_| {})
}

/// A file with that job, changed.
pub fn hello_file_as(change: impl FnOnce(&mut JobConfiguration)) -> Evaluation {
    let key = hello_key();
    let mut configuration = JobConfiguration {
        key: key.job.clone(),
        owner: Some("ana".into()),
        cron_schedule: None,
        cron_collision_policy: CronCollisionPolicy::KillExisting,
        task: TaskConfig::new(key.job.clone(), 1.0, 1, 8, "{}"),
        instance_count: 1,
    };
    configuration.task.is_service = true;
    change(&mut configuration);
    let job = LoadedJob {
        key: key.clone(),
        configuration,
        update: Ok(model::update::UpdateSettings::default()),
        raw: serde_json::json!({ "name": "hello_world" }),
        has_hooks: false,
    };
    Evaluation { keys: vec![key.to_string()], job: Some(job), warnings: Vec::new() }
}

/// OK without a result.
pub fn ok() -> Response {
    Response { response_code: Some(ResponseCode::Ok), ..Response::default() }
}

/// OK with a result.
pub fn with_result(result: ResponseResult) -> Response {
    Response { result: Some(result), ..ok() }
}

/// OK with words.
pub fn with_message(message: &str) -> Response {
    refused(ResponseCode::Ok, message)
}

/// An answer with a code and a reason.
pub fn refused(code: ResponseCode, message: &str) -> Response {
    Response {
        response_code: Some(code),
        details: vec![ResponseDetail { message: Some(message.into()) }],
        ..Response::default()
    }
}

/// An answer that lists tasks.
pub fn with_tasks(tasks: Vec<ScheduledTask>) -> Response {
    with_result(ResponseResult::ScheduleStatus(ScheduleStatusResult { tasks }))
}

fn tiers() -> GetTierConfigResult {
    let tier = |name: &str, preemptible: &str, revocable: &str| TierConfig {
        name: name.into(),
        settings: BTreeMap::from([
            ("preemptible".to_owned(), preemptible.to_owned()),
            ("revocable".to_owned(), revocable.to_owned()),
        ]),
    };
    GetTierConfigResult {
        default_tier_name: "preemptible".into(),
        tiers: [tier("preferred", "false", "false"), tier("preemptible", "true", "false")].into_iter().collect(),
    }
}

/// A task of the hello job with a history.
pub fn task(instance: i32, id: &str, events: &[(i64, ScheduleStatus, Option<&str>)]) -> ScheduledTask {
    task_of(&hello_key().job, instance, id, events)
}

/// A task of a job with a history.
pub fn task_of(job: &JobKey, instance: i32, id: &str, events: &[(i64, ScheduleStatus, Option<&str>)]) -> ScheduledTask {
    let config = TaskConfig::new(job.clone(), 0.5, 64, 128, "");
    ScheduledTask {
        assigned_task: Some(AssignedTask {
            task_id: id.into(),
            slave_id: Some("agent-1".into()),
            slave_host: Some("host-a".into()),
            task: Some((&config).into()),
            assigned_ports: BTreeMap::new(),
            instance_id: instance,
        }),
        status: events.last().map(|(_, status, _)| *status),
        task_events: events
            .iter()
            .map(|(timestamp, status, message)| TaskEvent {
                timestamp: *timestamp,
                status: Some(*status),
                message: message.map(str::to_owned),
                scheduler: None,
            })
            .collect(),
        ..ScheduledTask::default()
    }
}
