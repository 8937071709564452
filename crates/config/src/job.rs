//! Jobs of an evaluated file: working out their keys and contents, and choosing one by its key (spec config-dsl 2.4 to 2.8).

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ConfigError, ErrorKind, Place};
use crate::object::{Binding, Environment, Fault, Object, Origin, Piece, Raw, Reference, split};
use crate::payload::{self, Insertions};
use crate::place::{self, Part};
use crate::request::{Evaluation, JobSelector};

/// One part of a job's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyPart {
    /// Its text.
    Text(String),
    /// The job does not set it.
    Missing,
    /// It cannot be worked out, and why.
    Broken(String),
}

impl KeyPart {
    /// The text; marks in braces where there is none.
    pub fn shown(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Missing => "{MISSING}",
            Self::Broken(_) => "{BROKEN}",
        }
    }

    fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Text(text) if text == wanted)
    }
}

/// A job as its file describes it, everything that can be resolved before submission resolved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The file it is from, as it was named.
    pub file: String,
    /// Cluster.
    pub cluster: KeyPart,
    /// Role.
    pub role: KeyPart,
    /// Environment.
    pub environment: KeyPart,
    /// Name.
    pub name: KeyPart,
    /// What was worked out beyond the key; unset for jobs that were not wanted.
    pub content: Option<Content>,
    /// What the author of the file should know although it stops nothing, each a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// What a job holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Content {
    /// All set fields and defaults of the job as JSON, keys in alphabetical order. References that only a running task can
    /// resolve stand in the texts.
    pub raw: Value,
    /// The order in which keys were put into the objects of `raw`, where nothing else tells it; see [`crate::payload`].
    #[serde(default, skip_serializing_if = "Insertions::is_empty")]
    pub(crate) insertions: Insertions,
    /// The references left, in the order of their addresses.
    pub unbound: Vec<Unbound>,
    /// Why the job's own check failed, and where; unset when it passed.
    pub failed_check: Option<(String, Option<Place>)>,
    /// What to do about the failed check, where reading the file has told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
    /// The file is no program but data.
    #[serde(default)]
    pub(crate) is_data: bool,
    /// Why it could not be resolved at all; then `raw` is null.
    pub broken: Option<String>,
    /// Where the job was made.
    pub place: Option<Place>,
    /// Where the structs within it were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Part>,
}

/// A reference that nothing in the file resolves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbound {
    /// Its address, without braces.
    pub address: String,
    /// Where the struct was made that holds it.
    pub place: Option<Place>,
}

impl Job {
    /// The key as text, `cluster/role/environment/name`.
    pub fn key(&self) -> String {
        let parts = [&self.cluster, &self.role, &self.environment, &self.name];
        parts.map(KeyPart::shown).join("/")
    }

    fn fits(&self, wanted: &JobSelector) -> bool {
        self.cluster.is(&wanted.cluster)
            && self.role.is(&wanted.role)
            && self.environment.is(&wanted.environment)
            && self.name.is(&wanted.name)
    }

    /// Works out a job from its object. `wanted` limits the work to jobs of that key.
    pub(crate) fn of(file: &str, object: &Object, wanted: Option<&JobSelector>) -> Self {
        let part = |name: &str| match object.field(name) {
            Ok(Some(value)) => match value.text() {
                Ok(text) => KeyPart::Text(text),
                Err(fault) => KeyPart::Broken(fault.to_string()),
            },
            Ok(None) => KeyPart::Missing,
            Err(fault) => KeyPart::Broken(fault.to_string()),
        };
        let mut job = Self {
            file: file.to_owned(),
            cluster: part("cluster"),
            role: part("role"),
            environment: part("environment"),
            name: part("name"),
            content: None,
            warnings: Vec::new(),
        };
        if wanted.is_none_or(|wanted| job.fits(wanted)) {
            job.content = Some(Content::of(object));
        }
        job
    }
}

/// How often a submitted job is resolved before it reaches the executor; each time takes one `&` off an escape.
pub(crate) const PASSES: usize = 3;

/// How often the resolved text is resolved again to see that no reference appears from under an escape.
const PASSES_CHECKED: usize = 2;

impl Content {
    pub(crate) fn of(object: &Object) -> Self {
        let content = Self::worked_out(object).unwrap_or_else(|fault| Self {
            raw: Value::Null,
            insertions: Insertions::new(),
            unbound: Vec::new(),
            failed_check: None,
            advice: Vec::new(),
            is_data: false,
            broken: Some(fault.to_string()),
            place: None,
            parts: Vec::new(),
        });
        let broken = content.broken.as_ref().and_then(|why| why.split_once("' between braces")?.0.strip_prefix('\''));
        let place = match broken.map(|inside| format!("{{{{{inside}}}}}")) {
            Some(text) => object.origin_of_text(&text).or(object.origin()).map(|origin| place::of_text(origin, &text)),
            None => object.origin().map(place::of_origin),
        };
        Self { place, parts: place::parts(object), ..content }
    }

    fn worked_out(object: &Object) -> Result<Self, Fault> {
        let failed = object.check()?;
        let inner = failed.as_ref().and_then(|failed| failed.inner.clone());
        let failed_check = failed.map(|failed| {
            let why = failed.inner.as_ref().unwrap_or(&failed.why);
            let place = failed.origin.as_ref().map(|origin| place_of_check(origin, why));
            (failed.why, place)
        });
        let unbound = |references: &[Reference]| {
            let mut unbound: Vec<_> = references.iter().map(|reference| unbound(object, reference)).collect();
            unbound.sort_by(|a, b| a.address.cmp(&b.address));
            unbound
        };
        if failed_check.is_some() {
            // What can be shown is shown, but a value that does not fit its type may stand in the way.
            let resolved = object.interpolate().and_then(|(resolved, left)| Ok((resolved.json()?, left)));
            let (raw, left) = resolved.unwrap_or((Value::Null, Vec::new()));
            let insertions = Insertions::new();
            return Ok(Self {
                raw,
                insertions,
                unbound: unbound(&left),
                failed_check,
                advice: inner.into_iter().collect(),
                is_data: false,
                broken: None,
                place: None,
                parts: Vec::new(),
            });
        }
        let (mut resolved, mut left) = object.interpolate()?;
        let mut raw = resolved.json()?;
        if has_escapes(&raw, &left) {
            for _ in 1..PASSES {
                (resolved, left) = resolved.interpolate()?;
            }
            raw = resolved.json()?;
            for _ in 0..PASSES_CHECKED {
                (resolved, left) = resolved.interpolate()?;
            }
        }
        let insertions = payload::insertions(&resolved);
        Ok(Self {
            raw,
            insertions,
            unbound: unbound(&left),
            failed_check: None,
            advice: Vec::new(),
            is_data: false,
            broken: None,
            place: None,
            parts: Vec::new(),
        })
    }
}

/// Does a text hold an escape, or a reference that was one a pass ago?
fn has_escapes(raw: &Value, left: &[Reference]) -> bool {
    match raw {
        Value::String(text) if text.contains("{{") => split(text).is_ok_and(|pieces| {
            pieces.iter().any(|piece| match piece {
                Piece::Text(_) => false,
                Piece::Escaped(_) => true,
                Piece::Reference(reference) => !left.contains(reference),
            })
        }),
        Value::Array(items) => items.iter().any(|item| has_escapes(item, left)),
        Value::Object(fields) => fields.values().any(|field| has_escapes(field, left)),
        _ => false,
    }
}

/// Where a check failed: the field that its last words name, or the struct that was to have it.
fn place_of_check(origin: &Origin, why: &str) -> Place {
    let field = why.rsplit_once("] ").and_then(|(before, _)| before.rsplit_once('[')).map_or("", |(_, field)| field);
    place::field_of(origin, field).unwrap_or_else(|| place::of_origin(origin))
}

fn unbound(object: &Object, reference: &Reference) -> Unbound {
    // What stands in the file may be written differently or come together from parts; then the job is the place.
    let text = reference.to_string();
    let origin = object.origin_of_text(&text).or(object.origin());
    Unbound { address: reference.address(), place: origin.map(|origin| place::of_text(origin, &text)) }
}

/// A job with the command line's bindings, which win over the file's own, and those that every job has.
pub(crate) fn with_bindings(job: &Object, bindings: &[(String, String)]) -> Result<Object, ConfigError> {
    let bound = with_own_bindings(job, bindings)?;
    in_standard_scope(
        &bound,
        &[("mesos.role", "{{role}}"), ("mesos.cluster", "{{cluster}}"), ("thermos.user", "{{role}}")],
    )
}

/// A job or a task with the command line's bindings, which win over the file's own.
pub(crate) fn with_own_bindings(object: &Object, bindings: &[(String, String)]) -> Result<Object, ConfigError> {
    let mut environment = Environment::default();
    for (name, value) in bindings {
        let address = Reference::parse(name).map_err(|_| {
            ConfigError::new(ErrorKind::Binding, format!("'{name}' is not a name that can be bound"))
                .help("write --bind name=value, where the name may have dots and indexes, as in profile.instances")
        })?;
        environment.bind(&address, Binding::Text(value.clone()));
    }
    match bindings {
        [] => Ok(object.clone()),
        _ => object.bind(vec![Binding::Environment(Rc::new(environment))]).map_err(internal),
    }
}

fn internal(fault: Fault) -> ConfigError {
    ConfigError::new(ErrorKind::Internal, fault.to_string())
}

/// An object in a scope outside all others, in which these names are bound.
pub(crate) fn in_standard_scope(object: &Object, names: &[(&str, &str)]) -> Result<Object, ConfigError> {
    let mut standard = Environment::default();
    for (name, value) in names {
        let address = Reference::parse(name).expect("a valid address");
        standard.bind(&address, Binding::Text((*value).to_owned()));
    }
    object.in_scope(vec![Binding::Environment(Rc::new(standard))]).map_err(internal)
}

/// The jobs of a JSON document: `{"jobs": [...]}` or one job.
pub(crate) fn from_json(document: &Value) -> Vec<Raw> {
    match document.get("jobs") {
        Some(Value::Array(jobs)) => jobs.iter().map(Raw::from_json).collect(),
        Some(other) => vec![Raw::from_json(other)],
        None => vec![Raw::from_json(document)],
    }
}

impl Evaluation {
    /// The job of that key; without a key the only one there is.
    pub fn select(&self, wanted: Option<&JobSelector>) -> Result<&Job, ConfigError> {
        let fitting: Vec<&Job> = match wanted {
            Some(wanted) => self.jobs.iter().filter(|job| job.fits(wanted)).collect(),
            None => self.jobs.iter().collect(),
        };
        match (fitting.as_slice(), wanted) {
            ([job], _) => Ok(job),
            ([], Some(wanted)) => Err(self.no_such_job(wanted)),
            ([], None) => Err(no_jobs(&self.path)),
            (several, wanted) => {
                let reason = match wanted {
                    Some(wanted) => format!("{} jobs of {} have the key {wanted}", several.len(), self.path),
                    None => format!("{} defines {} jobs and none was named", self.path, several.len()),
                };
                Err(ConfigError::new(ErrorKind::SeveralJobs, format!("{reason}; candidates are:\n{}", list(several)))
                    .in_file(&self.path)
                    .help("name one as cluster/role/environment/name"))
            }
        }
    }

    fn no_such_job(&self, wanted: &JobSelector) -> ConfigError {
        let mut reason = format!("{} defines no job {wanted}", self.path);
        for job in &self.jobs {
            if job.environment == KeyPart::Missing {
                reason.push_str(&format!("\nthe job {} does not set its environment", job.name.shown()));
            }
            for (part, name) in
                [(&job.cluster, "cluster"), (&job.role, "role"), (&job.environment, "environment"), (&job.name, "name")]
            {
                if let KeyPart::Broken(why) = part {
                    reason.push_str(&format!("\nthe {name} of the job {} cannot be worked out: {why}", job.key()));
                }
            }
        }
        let all: Vec<&Job> = self.jobs.iter().collect();
        reason.push_str(&format!("\ncandidates are:\n{}", list(&all)));
        let mut error = ConfigError::new(ErrorKind::NoSuchJob, reason).in_file(&self.path);
        let wanted_text = wanted.to_string();
        let keys: Vec<String> = self.jobs.iter().map(Job::key).collect();
        if let Some(nearest) = crate::suggest::nearest(&wanted_text, keys.iter().map(String::as_str)) {
            error = error.help(format!("did you mean {nearest}?"));
        }
        error
    }
}

fn list(jobs: &[&Job]) -> String {
    jobs.iter().map(|job| format!("  {}", job.key())).collect::<Vec<_>>().join("\n")
}

/// The failure of a file without jobs.
pub(crate) fn no_jobs(path: &str) -> ConfigError {
    ConfigError::new(ErrorKind::NoJobs, format!("{path} defines no jobs"))
        .in_file(path)
        .help("a job file ends with a list of jobs, as in jobs = [Service(cluster=..., role=..., environment=..., name=..., task=...)]")
}
