//! Tells a program of the operator's of every change of a task, by POST (spec scheduler 7.4). As in Aurora nothing is told twice: an answer
//! other than 200, or none, is counted and logged. The loop never waits for it: what the program cannot keep up with is dropped and
//! counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use model::{TaskId, TaskStatus};
use scheduler::{Task, Transition, View};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::outgoing::{Trust, failure};

/// How many changes are told at the same time. Those of one task are told one after the other, in order.
const THREADS: usize = 4;
/// Changes that wait for their turn at each; every one keeps its task alive.
const QUEUE_MAX: usize = 2500;
/// Of an answer nothing is read but this much, so that the connection can be used again.
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;
/// The shape that clients of a file without a time-out get.
const DEFAULT_TIMEOUT_MS: u64 = 5000;

/// The operator's file.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Sent along.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Where to.
    #[serde(rename = "targetURL")]
    target_url: String,
    /// The longest that a call may take.
    #[serde(rename = "timeoutMsec", default = "default_timeout_ms")]
    timeout_ms: u64,
    /// Names of the statuses that are told; none given, or `*`, means all.
    #[serde(default)]
    statuses: Option<Vec<String>>,
}

fn default_timeout_ms() -> u64 {
    DEFAULT_TIMEOUT_MS
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It cannot be read.
    #[error("--webhook-config {0}: {1}")]
    Io(String, #[source] std::io::Error),
    /// It is not what it should be.
    #[error("--webhook-config {0}: {1}. It holds targetURL, timeoutMsec, and if wanted headers and statuses")]
    Form(String, String),
}

impl WebhookSettings {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, WebhookError> {
        let name = || path.display().to_string();
        let text = std::fs::read(path).map_err(|error| WebhookError::Io(name(), error))?;
        let settings: Self =
            serde_json::from_slice(&text).map_err(|error| WebhookError::Form(name(), error.to_string()))?;
        settings.check().map_err(|why| WebhookError::Form(name(), why))?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        let address = self.target_url.strip_prefix("http://").or_else(|| self.target_url.strip_prefix("https://"));
        if address.is_none_or(str::is_empty) {
            return Err(format!("'{}' is no address: write http://host:port/path or https://…", self.target_url));
        }
        if self.timeout_ms == 0 {
            return Err("timeoutMsec must be more than 0".into());
        }
        for (name, value) in &self.headers {
            let bad = |_| format!("'{name}' is no header that can be sent");
            axum::http::HeaderName::from_bytes(name.as_bytes()).map_err(|error| bad(error.to_string()))?;
            axum::http::HeaderValue::from_str(value).map_err(|error| bad(error.to_string()))?;
        }
        self.wanted().map(drop)
    }

    /// The statuses that are told; nothing for all.
    fn wanted(&self) -> Result<Option<BTreeSet<TaskStatus>>, String> {
        let Some(names) = &self.statuses else { return Ok(None) };
        if names.iter().any(|name| name == "*") {
            return Ok(None);
        }
        let status = |name: &String| TaskStatus::from_name(name).ok_or_else(|| format!("there is no status '{name}'"));
        names.iter().map(status).collect::<Result<_, _>>().map(Some)
    }
}

#[derive(Debug, Default)]
struct Counts {
    attempts: AtomicU64,
    successes: AtomicU64,
    errors: AtomicU64,
    user_errors: AtomicU64,
    dropped: AtomicU64,
}

/// One change.
struct Told {
    task: Arc<Task>,
    transition: Transition,
}

/// The way out; without a file it leads nowhere.
#[derive(Clone, Default)]
pub struct Webhook {
    queues: Vec<SyncSender<Told>>,
    wanted: Option<Arc<BTreeSet<TaskStatus>>>,
    counts: Arc<Counts>,
}

impl Webhook {
    /// Starts its threads. They end with the last copy of what is returned.
    pub fn start(settings: &WebhookSettings, scheduler_host: &str, trust: &Trust) -> std::io::Result<Self> {
        let mut queues = Vec::new();
        let counts = Arc::new(Counts::default());
        let agent = trust.agent(Duration::from_millis(settings.timeout_ms));
        for _ in 0..THREADS {
            let caller = Caller {
                agent: agent.clone(),
                settings: settings.clone(),
                scheduler_host: scheduler_host.to_owned(),
                counts: Arc::clone(&counts),
            };
            let (sender, receiver) = sync_channel(QUEUE_MAX);
            queues.push(sender);
            std::thread::Builder::new().name("webhook".into()).spawn(move || caller.run(&receiver))?;
        }
        let wanted = settings.wanted().ok().flatten().map(Arc::new);
        Ok(Self { queues, wanted, counts })
    }

    /// Takes note of a change that is durable, as the view shows it that was published with it. Never waits.
    pub fn tell(&self, transition: &Transition, view: &View) {
        let Some(status) = transition.to else { return };
        let Some(queue) = self.queue_of(&transition.task_id) else { return };
        if self.wanted.as_ref().is_some_and(|wanted| !wanted.contains(&status)) {
            return;
        }
        let Some(task) = view.task(&transition.task_id) else { return };
        let told = Told { task: Arc::clone(task), transition: transition.clone() };
        if let Err(TrySendError::Full(_)) = queue.try_send(told)
            && self.counts.dropped.fetch_add(1, Ordering::Relaxed).is_power_of_two()
        {
            tracing::warn!("the webhook's program does not keep up: changes are not told to it");
        }
    }

    /// The same for every change of one task, so that they are told in order.
    fn queue_of(&self, task: &TaskId) -> Option<&SyncSender<Told>> {
        let number = crc32fast::hash(task.0.as_bytes()) as usize;
        self.queues.get(number.checked_rem(self.queues.len())?)
    }

    /// Numbers for the statistics.
    pub fn gauges(&self) -> Vec<(String, i64)> {
        if self.queues.is_empty() {
            return Vec::new();
        }
        let number = |counter: &AtomicU64| i64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let counts = &self.counts;
        vec![
            ("webhooks_attempts".into(), number(&counts.attempts)),
            ("webhooks_dropped".into(), number(&counts.dropped)),
            ("webhooks_errors".into(), number(&counts.errors)),
            ("webhooks_success".into(), number(&counts.successes)),
            ("webhooks_user_errors".into(), number(&counts.user_errors)),
        ]
    }
}

struct Caller {
    agent: ureq::Agent,
    settings: WebhookSettings,
    scheduler_host: String,
    counts: Arc<Counts>,
}

impl Caller {
    fn run(&self, queue: &Receiver<Told>) {
        while let Ok(told) = queue.recv() {
            self.counts.attempts.fetch_add(1, Ordering::Relaxed);
            let counter = match self.call(&told) {
                Ok(200) => &self.counts.successes,
                Ok(status) => {
                    tracing::warn!(task = %told.task.id, "the webhook's program answered {status}");
                    &self.counts.user_errors
                }
                Err(error) => {
                    tracing::warn!(task = %told.task.id, "the webhook's program cannot be told: {}", failure(&error));
                    &self.counts.errors
                }
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn call(&self, told: &Told) -> Result<u16, ureq::Error> {
        let mut request = self.agent.post(&self.settings.target_url);
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        if !self.settings.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("content-type", "application/json");
        }
        request = request.header("Timestamp", crate::host::wall_clock_ms().to_string());
        let mut answer = request.send(body(told, &self.scheduler_host).to_string())?;
        let status = answer.status().as_u16();
        // Nobody reads it; what is read lets the connection serve the next call.
        let _ = answer.body_mut().with_config().limit(ANSWER_LIMIT_BYTES).read_to_vec();
        Ok(status)
    }
}

/// What is told: the task as it was right after the change, and what it had been.
fn body(told: &Told, scheduler_host: &str) -> Value {
    let Told { task, transition } = told;
    let mut then = Task::clone(task);
    // Later changes of the same moment are told by themselves.
    if let Some(status) = transition.to
        && let Some(last) = then.events.iter().rposition(|event| event.status == status)
    {
        then.status = status;
        then.events.truncate(last + 1);
    }
    let text = api::streamed::tasks::plain_json(&then, scheduler_host);
    let mut task: Value = serde_json::from_slice(&text).unwrap_or_default();
    spell_unions(&mut task);
    let old = transition.from.map_or_else(|| json!({}), |from| json!({ "value": from.name() }));
    json!({ "task": task, "oldState": old })
}

/// Unions as Aurora's webhook writes them: which member, and its value.
fn spell_unions(task: &mut Value) {
    let Some(config) = task.pointer_mut("/assignedTask/task").and_then(Value::as_object_mut) else { return };
    if let Some(image) = config.get_mut("container").and_then(|it| it.pointer_mut("/mesos/image")) {
        spell(image);
    }
    for name in ["container", "slaPolicy"] {
        config.get_mut(name).into_iter().for_each(spell);
    }
    let list = |config: &mut Map<String, Value>, name: &str, each: fn(&mut Value)| {
        config.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten().for_each(each);
    };
    list(config, "resources", spell);
    list(config, "constraints", |constraint| constraint.get_mut("constraint").into_iter().for_each(spell));
}

fn spell(union: &mut Value) {
    let Some((member, value)) = union.as_object().filter(|it| it.len() == 1).and_then(|it| it.iter().next()) else {
        return;
    };
    let mut name = String::new();
    for letter in member.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    *union = json!({ "setField": name, "value": value });
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use model::{JobKey, TaskConfig};
    use scheduler::TaskEvent;

    use super::*;
    use crate::test_support::{Authority, Program, answer};

    fn settings(text: &str) -> Result<WebhookSettings, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("webhook.json");
        std::fs::write(&path, text).unwrap();
        WebhookSettings::load(&path).map_err(|error| error.to_string())
    }

    fn transition(from: Option<TaskStatus>, to: Option<TaskStatus>) -> Transition {
        let job = JobKey::new("r", "prod", "hello");
        Transition { job, instance: 0, task_id: "t".into(), from, to, reason: None, timestamp_ms: 2 }
    }

    fn view() -> View {
        let event = |status, timestamp_ms| TaskEvent { timestamp_ms, status, message: None };
        let config = TaskConfig::new(JobKey::new("r", "prod", "hello"), 0.5, 16, 32, "{}");
        let task = Task {
            id: "t".into(),
            instance: 0,
            config: Arc::new(config),
            status: TaskStatus::Running,
            failure_count: 0,
            times_partitioned: 0,
            ancestor: None,
            events: vec![event(TaskStatus::Pending, 1), event(TaskStatus::Assigned, 2), event(TaskStatus::Running, 3)],
            agent_id: Some("a".into()),
            host: Some(Arc::new("h".to_owned())),
            ports: [("http".to_owned(), 31_000)].into(),
        };
        let mut view = View::default();
        view.tasks.insert(task.id.clone(), Arc::new(task));
        view
    }

    /// The operator's file for a program at an address.
    fn settings_for(address: &str, more: &str) -> WebhookSettings {
        settings(&format!(r#"{{"targetURL": "{address}", "timeoutMsec": 5000{more}}}"#)).unwrap()
    }

    fn until(webhook: &Webhook, name: &str, count: i64) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !webhook.gauges().iter().any(|(known, counted)| known == name && *counted >= count) {
            assert!(std::time::Instant::now() < deadline, "{name}: {:?}", webhook.gauges());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_is_told_of_the_changes_it_wants_in_auroras_words() {
        let program = Program::start(answer("200 OK", ""));
        let more = r#", "headers": {"X-Key": "k"}, "statuses": ["ASSIGNED"]"#;
        let settings = settings_for(&format!("http://{}/told", program.address), more);
        let webhook = Webhook::start(&settings, "s1", &Trust::default()).unwrap();
        webhook.tell(&transition(Some(TaskStatus::Assigned), Some(TaskStatus::Running)), &view());
        webhook.tell(&transition(Some(TaskStatus::Pending), Some(TaskStatus::Assigned)), &view());
        webhook.tell(&transition(Some(TaskStatus::Pending), None), &view());
        let heard = program.heard.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(heard.line, "POST /told HTTP/1.1");
        let headers = &heard.headers;
        assert!(headers.contains("x-key: k") && headers.contains("\ntimestamp: "), "{headers}");
        let body = heard.json();
        assert_eq!(body["oldState"], json!({"value": "PENDING"}));
        let task = &body["task"];
        assert_eq!((&task["status"], task["taskEvents"].as_array().unwrap().len()), (&json!("ASSIGNED"), 2));
        assert_eq!(task["assignedTask"]["assignedPorts"], json!({"http": 31_000}));
        let resources = task["assignedTask"]["task"]["resources"].as_array().unwrap();
        assert!(resources.contains(&json!({"setField": "NUM_CPUS", "value": 0.5})), "{resources:?}");
        assert!(resources.contains(&json!({"setField": "RAM_MB", "value": 16})), "{resources:?}");
        assert_eq!(task["assignedTask"]["task"]["container"]["setField"], "MESOS");
        until(&webhook, "webhooks_success", 1);
        assert!(webhook.gauges().contains(&("webhooks_attempts".into(), 1)));
    }

    #[test]
    fn failures_are_counted_once_and_the_loop_never_waits() {
        let program = Program::start(answer("500 Oops", ""));
        let address = format!("http://{}/", program.address);
        let webhook = Webhook::start(&settings_for(&address, ""), "s1", &Trust::default()).unwrap();
        webhook.tell(&transition(None, Some(TaskStatus::Pending)), &view());
        until(&webhook, "webhooks_user_errors", 1);
        // Nobody answers here: a listener that never accepts.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!(r#"{{"targetURL": "http://{}/", "timeoutMsec": 100}}"#, silent.local_addr().unwrap());
        let webhook = Webhook::start(&settings(&text).unwrap(), "s1", &Trust::default()).unwrap();
        let (view, transition) = (view(), transition(None, Some(TaskStatus::Pending)));
        for _ in 0..QUEUE_MAX + 100 {
            webhook.tell(&transition, &view);
        }
        until(&webhook, "webhooks_errors", 1);
        assert!(webhook.gauges().iter().any(|(name, count)| name == "webhooks_dropped" && *count > 0));
    }

    #[test]
    fn over_https_only_a_program_that_is_trusted_is_told() {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        for (trust, counted) in [
            (Trust::load(Some(&ca)).unwrap(), "webhooks_success"),
            // The authorities of the system do not know it.
            (Trust::default(), "webhooks_errors"),
        ] {
            let program = Program::start_tls(authority.server("localhost", false), answer("200 OK", ""));
            let settings = settings_for(&format!("https://localhost:{}/told", program.address.port()), "");
            let webhook = Webhook::start(&settings, "s1", &trust).unwrap();
            webhook.tell(&transition(Some(TaskStatus::Pending), Some(TaskStatus::Assigned)), &view());
            until(&webhook, counted, 1);
            assert_eq!(program.heard.try_recv().is_ok(), counted == "webhooks_success");
        }
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        for (text, why) in [
            ("", "EOF"),
            ("{}", "targetURL"),
            (r#"{"targetURL": "here"}"#, "no address"),
            (r#"{"targetURL": "http://h/", "timeoutMsec": 0}"#, "timeoutMsec"),
            (r#"{"targetURL": "http://h/", "statuses": ["WALKING"]}"#, "WALKING"),
            (r#"{"targetURL": "http://h/", "headers": {"a b": "c"}}"#, "a b"),
            (r#"{"targetURL": "http://h/", "retries": 3}"#, "retries"),
        ] {
            let error = settings(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(settings(r#"{"targetURL": "http://h/", "statuses": ["*", "LOST"]}"#).unwrap().wanted(), Ok(None));
    }
}
