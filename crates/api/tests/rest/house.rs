//! The routes before a real core, with a real reader of job files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, Weak};

use api::rest::{JobFile, JobFileError, JobFileFormat, JobFiles, JobOfFile};
use api::{ApiSettings, ApiState, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use engine::{Event, Offer};
use gateway::{Authorizer, Door, Gateway, Lane, Permission, Policy};
use model::{CpuMillis, Ports, Resources};
use scheduler::{Effect, Input, Now, Principal, Scheduler, Settings};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Steps the core for every command; everything is durable at once.
struct CoreDoor {
    core: Mutex<(Scheduler, u64)>,
    gateway: Arc<OnceLock<Weak<Gateway>>>,
    is_full: AtomicBool,
}

impl CoreDoor {
    fn step(&self, input: Input) {
        let mut guard = self.core.lock().unwrap();
        let (core, ms) = &mut *guard;
        *ms += 10;
        let output = core.step(Now { wall_ms: 1_800_000_000_000 + *ms as i64, monotonic_ms: *ms }, input);
        let gateway = self.gateway.get().and_then(Weak::upgrade).expect("the gateway lives");
        gateway.publish(Arc::new(core.freeze()));
        for effect in output.effects {
            if let Effect::Reply { request, reply } = effect {
                gateway.deliver(request, reply);
            }
        }
    }
}

struct SharedDoor(Arc<CoreDoor>);

impl Door for SharedDoor {
    fn enter(&self, _: Lane, input: Input) -> bool {
        if self.0.is_full.load(Ordering::Relaxed) {
            return false;
        }
        self.0.step(input);
        true
    }
}

/// Only `alice` may do anything.
struct OnlyAlice;

impl Authorizer for OnlyAlice {
    fn requires_login(&self) -> bool {
        true
    }

    fn permits(&self, principal: &Principal, _: &Permission) -> bool {
        principal.name == "alice"
    }
}

/// Reads job files within this process.
pub struct Files;

impl JobFiles for Files {
    fn read(&self, file: &JobFile) -> Result<JobOfFile, JobFileError> {
        let told = |error: config::ConfigError| JobFileError {
            sentence: error.reason.clone(),
            line: error.place.as_ref().and_then(|place| place.line),
            column: error.place.as_ref().and_then(|place| place.column),
            is_internal: false,
        };
        let format = match file.format {
            JobFileFormat::Json => config::Format::Json,
            JobFileFormat::Yaml => config::Format::Yaml,
            JobFileFormat::Toml => config::Format::Toml,
        };
        let mut request = config::EvaluationRequest::of_text("the job file", format, &file.text);
        request.wanted = file.job.as_ref().map(|key| config::JobSelector {
            cluster: file.cluster.clone(),
            role: key.role.clone(),
            environment: key.environment.clone(),
            name: key.name.clone(),
        });
        let evaluation = config::evaluate(&request).map_err(told)?;
        let job = evaluation.select(request.wanted.as_ref()).map_err(told)?;
        let submission = job.submission(file.owner.as_deref().unwrap_or("nobody"), &file.tiers).map_err(told)?;
        Ok(JobOfFile {
            cluster: submission.cluster,
            configuration: submission.job,
            update: job.update_settings(&[]).map_err(told),
            warnings: submission.warnings,
        })
    }
}

/// What a request was answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answered {
    /// Fails the test unless it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        self.body
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The routes before a real core.
pub struct House {
    pub router: Router,
    pub gateway: Arc<Gateway>,
    door: Arc<CoreDoor>,
    /// Who asks.
    pub caller: Option<&'static str>,
}

impl House {
    pub fn new() -> Self {
        Self::with_authorizer(None)
    }

    /// Where only `alice` may change something.
    pub fn with_login() -> Self {
        Self::with_authorizer(Some(Arc::new(OnlyAlice)))
    }

    fn with_authorizer(authorizer: Option<Arc<dyn Authorizer>>) -> Self {
        let own = Arc::new(OnceLock::new());
        let core = Mutex::new((Scheduler::new(Settings::default()), 0));
        let door = Arc::new(CoreDoor { core, gateway: own.clone(), is_full: AtomicBool::new(false) });
        let mut gateway = Gateway::new(Box::new(SharedDoor(door.clone())), Policy::default());
        if let Some(authorizer) = authorizer {
            gateway = gateway.with_authorizer(authorizer);
        }
        let gateway = Arc::new(gateway);
        own.set(Arc::downgrade(&gateway)).expect("set once");
        door.step(Input::Start { seed: [7; 32], epoch: 1 });
        let state = ApiState::new(gateway.clone(), ApiSettings::default()).with_job_files(Arc::new(Files));
        House { router: router(state), gateway, door, caller: None }
    }

    /// No command enters any more, or all do again.
    pub fn fill(&self, is_full: bool) {
        self.door.is_full.store(is_full, Ordering::Relaxed);
    }

    /// A machine offers room.
    pub fn offer(&self, host: &str) {
        self.door.step(Input::Engine(Event::Registered { framework_id: None, master: None }));
        let resources = Resources { cpu: CpuMillis(4000), ram_mb: 4096, disk_mb: 8192, ports: 100, gpus: 0 };
        self.door.step(Input::Engine(Event::Offers(vec![Offer {
            id: format!("offer-of-{host}"),
            role: None,
            agent_id: format!("agent-of-{host}"),
            host: host.to_owned(),
            resources,
            unreserved: resources,
            revocable_cpu: CpuMillis(0),
            port_ranges: Ports::from_ranges([(31_000, 31_099)]),
            attributes: [("rack".to_owned(), vec!["r1".to_owned()])].into(),
            unavailable_from_ms: None,
        }])));
    }

    /// Sends a request; its answer is held against the OpenAPI document.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answered {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        if let Some(caller) = self.caller {
            request.extensions_mut().insert(Principal { name: caller.to_owned() });
        }
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.expect("a whole body");
        let body = match bytes.len() {
            0 => Value::Null,
            _ => serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))),
        };
        let answered = Answered { status, headers, body };
        if method != "HEAD" && !status.is_redirection() && status != StatusCode::NO_CONTENT {
            document().check(method, path, &answered);
        }
        answered
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.send("GET", &format!("/api/v1{path}"), &[], Body::empty()).await
    }

    /// A change with a body in JSON.
    pub async fn change(&self, method: &str, path: &str, body: &Value) -> Answered {
        let headers = [("content-type", "application/json")];
        self.send(method, &format!("/api/v1{path}"), &headers, body.to_string()).await
    }

    /// A change without a body.
    pub async fn bare(&self, method: &str, path: &str) -> Answered {
        self.send(method, &format!("/api/v1{path}"), &[], Body::empty()).await
    }

    /// All that is stored and that a change could change.
    pub fn stored(&self) -> String {
        let view = self.gateway.view();
        format!(
            "{:?}",
            (
                (&view.tasks, &view.updates, &view.update_progress, &view.update_pulses, &view.cron_jobs),
                (&view.hosts, &view.maintenance, &view.quotas),
            )
        )
    }
}

/// A job file in JSON.
pub fn job_file(name: &str) -> Value {
    json!({
        "cluster": "devcluster", "role": "www-data", "environment": "prod", "name": name, "instances": 3, "service": true,
        "task": {
            "processes": [{"name": "hello", "cmdline": "echo hello; sleep 10"}],
            "resources": {"cpu": 0.25, "ram": "16 MB", "disk": "32 MB"},
        },
        "update_config": {"watch_secs": 5},
    })
}

/// The same with a schedule.
pub fn cron_file(name: &str) -> Value {
    let mut file = job_file(name);
    file["cron_schedule"] = json!("0 3 * * *");
    file["service"] = json!(false);
    file
}

/// The OpenAPI document, and what it says of answers.
pub struct Document(pub Value);

pub fn document() -> &'static Document {
    static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
        let text = api::rest::document().to_json().expect("a document");
        Document(serde_json::from_str(&text).expect("JSON"))
    });
    &DOCUMENT
}

impl Document {
    /// Whether an address is one of a path.
    fn is_of(template: &str, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or_default();
        let (parts, names): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), template.split('/').collect());
        parts.len() == names.len() && parts.iter().zip(names).all(|(part, name)| name.starts_with('{') || *part == name)
    }

    /// Fails when an answer is not what the document says.
    #[track_caller]
    fn check(&self, method: &str, path: &str, answered: &Answered) {
        let method = method.to_lowercase();
        let paths = self.0["paths"].as_object().expect("paths");
        let mut items: Vec<(&String, &Value)> =
            paths.iter().filter(|(template, _)| Self::is_of(template, path)).collect();
        // What is written out goes before what has names.
        items.sort_by_key(|(template, _)| template.matches('{').count());
        let operation = items.first().map(|(_, item)| &item[&method]).filter(|operation| !operation.is_null());
        let Some(operation) = operation else {
            // Nothing is said of what is not there; the refusal has the shape of all.
            assert!(matches!(answered.status.as_u16(), 404 | 405), "{method} {path}: {answered:?}");
            return self.validate(&json!({"$ref": "#/components/schemas/Problem"}), answered, path);
        };
        let response = &operation["responses"][answered.status.as_str()];
        assert!(
            response.is_object(),
            "{method} {path}: the document knows no {}: {:#}",
            answered.status,
            answered.body
        );
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path}: {} has no schema", answered.status);
        self.validate(schema, answered, path);
    }

    #[track_caller]
    fn validate(&self, schema: &Value, answered: &Answered, path: &str) {
        let mut whole =
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "components": self.0["components"]});
        for (name, value) in schema.as_object().expect("a schema") {
            whole[name] = value.clone();
        }
        let validator = jsonschema::validator_for(&whole).expect("a sound schema");
        let errors: Vec<String> = validator
            .iter_errors(&answered.body)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{path}: {errors:?}\n{:#}", answered.body);
        assert_eq!(answered.header("content-type"), Some("application/json"), "{path}");
    }
}
