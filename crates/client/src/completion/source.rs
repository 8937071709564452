//! Where the names come from: clusters.json and the schedulers. Somebody waits with a finger on a key, so a scheduler has a second to answer,
//! and what it said is kept for a short while in a file of the user's.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use model::JobKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thrift::{
    Call, GetJobUpdateSummariesArguments, GetJobsArguments, GetRoleSummaryArguments, GetTasksWithoutConfigsArguments,
    JobUpdateQuery, ResponseCode, ResponseResult,
};

use crate::aurora::tasks::instance_of;
use crate::clusters::{Cluster, Clusters};
use crate::scheduler::{active_query_of, model_key, wire_key};
use crate::syntax::ClusterJob;
use crate::world::{RealWorld, World};

/// How long a scheduler may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an answer is used again; also that none came.
const KEPT: Duration = Duration::from_secs(10);
/// The longest list that is offered: nobody reads more, and shells become slow.
const MOST: usize = 2_000;

/// A job as completion needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownJob {
    /// Its key.
    pub key: JobKey,
    /// Whether it has a schedule.
    pub is_cron: bool,
}

/// A question to a scheduler.
#[derive(Clone, Debug)]
pub enum Question {
    /// A call.
    Call(Box<Call>),
    /// A page of its own.
    Page(&'static str),
}

/// Its answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The result of a call.
    Result(Box<ResponseResult>),
    /// A page's body.
    Page(Vec<u8>),
}

type Ask = Box<dyn Fn(&Cluster, Question) -> Option<Answer> + Send + Sync>;

/// Clusters and a way to ask their schedulers.
pub struct Source {
    clusters: Clusters,
    ask: Ask,
    /// Where answers are kept; nowhere when unset.
    directory: Option<PathBuf>,
}

/// What is kept of an answer.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    of: String,
    names: T,
}

impl Source {
    /// Asks real schedulers.
    pub fn real(clusters: Clusters) -> Self {
        Self { clusters, ask: Box::new(ask_in_time), directory: cache_directory() }
    }

    /// Asks whatever the test says, and keeps answers there.
    #[cfg(test)]
    pub fn of(
        clusters: Clusters,
        ask: impl Fn(&Cluster, Question) -> Option<Answer> + Send + Sync + 'static,
        directory: Option<PathBuf>,
    ) -> Self {
        Self { clusters, ask: Box::new(ask), directory }
    }

    /// Names of the clusters.
    pub fn clusters(&self) -> Vec<String> {
        self.clusters.names().into_iter().map(str::to_owned).collect()
    }

    /// Roles with jobs.
    pub fn roles(&self, cluster: &str) -> Vec<String> {
        self.kept(cluster, "roles", || match self.call(cluster, GetRoleSummaryArguments {})? {
            ResponseResult::RoleSummary(result) => {
                Some(result.summaries.iter().map(|summary| summary.role.clone()).collect())
            }
            _ => None,
        })
    }

    /// Jobs of a role.
    pub fn jobs(&self, cluster: &str, role: &str) -> Vec<KnownJob> {
        let owner_role = Some(role.to_owned());
        self.kept(cluster, &format!("jobs/{role}"), || match self.call(cluster, GetJobsArguments { owner_role })? {
            ResponseResult::GetJobs(result) => {
                let jobs = result.configs.iter().map(|job| KnownJob {
                    key: model_key(job.key.as_ref()),
                    is_cron: job.cron_schedule.as_deref().is_some_and(|schedule| !schedule.is_empty()),
                });
                Some(jobs.take(MOST).collect())
            }
            _ => None,
        })
    }

    /// Active instances of a job.
    pub fn instances(&self, job: &ClusterJob) -> Vec<i32> {
        let call = GetTasksWithoutConfigsArguments { query: Some(active_query_of(&job.job)) };
        self.kept(&job.cluster, &format!("instances/{}", job.job), || match self.call(&job.cluster, call)? {
            ResponseResult::ScheduleStatus(result) => Some(result.tasks.iter().map(instance_of).take(MOST).collect()),
            _ => None,
        })
    }

    /// Ids of a job's updates.
    pub fn updates(&self, job: &ClusterJob) -> Vec<String> {
        let query = JobUpdateQuery { job_key: Some(wire_key(&job.job)), ..JobUpdateQuery::default() };
        let call = GetJobUpdateSummariesArguments { job_update_query: Some(query) };
        self.kept(&job.cluster, &format!("updates/{}", job.job), || match self.call(&job.cluster, call)? {
            ResponseResult::GetJobUpdateSummaries(result) => {
                let ids = result.update_summaries.iter().filter_map(|summary| Some(summary.key.as_ref()?.id.clone()));
                Some(ids.take(MOST).collect())
            }
            _ => None,
        })
    }

    /// Hosts: those that offer something, those that run something, and those in maintenance.
    pub fn hosts(&self, cluster: &str) -> Vec<String> {
        self.kept(cluster, "hosts", || {
            let mut hosts = Vec::new();
            collect_hosts(&self.page(cluster, "/offers")?, &mut hosts);
            if let Some(Value::Object(modes)) = self.page(cluster, "/maintenance") {
                for hosts_in_mode in modes.values() {
                    match hosts_in_mode {
                        Value::Array(names) => hosts.extend(names.iter().filter_map(Value::as_str).map(str::to_owned)),
                        Value::Object(names) => hosts.extend(names.keys().cloned()),
                        _ => {}
                    }
                }
            }
            hosts.sort();
            hosts.dedup();
            hosts.truncate(MOST);
            Some(hosts)
        })
    }

    fn call(&self, cluster: &str, call: impl Into<Call>) -> Option<ResponseResult> {
        match (self.ask)(&self.clusters.get(cluster).ok()?, Question::Call(Box::new(call.into())))? {
            Answer::Result(result) => Some(*result),
            Answer::Page(_) => None,
        }
    }

    fn page(&self, cluster: &str, path: &'static str) -> Option<Value> {
        match (self.ask)(&self.clusters.get(cluster).ok()?, Question::Page(path))? {
            Answer::Page(body) => serde_json::from_slice(&body).ok(),
            Answer::Result(_) => None,
        }
    }

    /// What was answered a moment ago, or what is answered now. Who does not answer is not asked again for a moment either.
    fn kept<T: DeserializeOwned + Serialize + Default>(
        &self,
        cluster: &str,
        what: &str,
        ask: impl FnOnce() -> Option<T>,
    ) -> T {
        let url = self.clusters.get(cluster).map(|cluster| cluster.url).unwrap_or_default();
        let of = format!("{url} {what}");
        let file = self.directory.as_ref().map(|directory| directory.join(file_name(&of)));
        let read = file.as_ref().and_then(|file| {
            let age = SystemTime::now().duration_since(file.metadata().ok()?.modified().ok()?).ok()?;
            let kept: Kept<T> = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
            (age < KEPT && kept.of == of).then_some(kept.names)
        });
        read.unwrap_or_else(|| {
            let names = ask().unwrap_or_default();
            if let Some(file) = file {
                write(&file, &Kept { of, names: &names });
            }
            names
        })
    }
}

/// The names of hosts in the offers' fields.
fn collect_hosts(value: &Value, hosts: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            hosts.extend(fields.get("hostname").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect_hosts(field, hosts));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_hosts(item, hosts)),
        _ => {}
    }
}

fn file_name(of: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    format!("{:016x}.json", hasher.finish())
}

/// Writes beside and renames, so that two shells never read half a file. What cannot be kept is asked for again.
fn write<T: Serialize>(file: &std::path::Path, kept: &Kept<&T>) {
    use std::os::unix::fs::DirBuilderExt;
    let Some(directory) = file.parent() else { return };
    let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let Ok(text) = serde_json::to_vec(kept) else { return };
    if let Ok(mut beside) = tempfile::NamedTempFile::new_in(directory)
        && std::io::Write::write_all(&mut beside, &text).is_ok()
    {
        let _ = beside.persist(file);
    }
    forget_old(directory);
}

/// Answers that nobody will use again are deleted.
fn forget_old(directory: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let age = entry.metadata().ok().and_then(|data| SystemTime::now().duration_since(data.modified().ok()?).ok());
        if age.is_some_and(|age| age > KEPT * 60) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// `$XDG_CACHE_HOME/daybreak/completion`, by default below `~/.cache`.
fn cache_directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("daybreak/completion"))
}

/// Asks in another thread, which is left to itself when it takes too long: this process ends soon.
fn ask_in_time(cluster: &Cluster, question: Question) -> Option<Answer> {
    let (sender, receiver) = mpsc::channel();
    let cluster = cluster.clone();
    std::thread::spawn(move || {
        let _ = sender.send(ask_now(cluster, question));
    });
    receiver.recv_timeout(PATIENCE).ok()?
}

fn ask_now(cluster: Cluster, question: Question) -> Option<Answer> {
    let world = RealWorld::new();
    let cluster = crate::scheduler::located(cluster, &world).ok()?;
    let mut transport = world.connect(&cluster);
    match question {
        Question::Page(path) => {
            let page = transport.get(path).ok()?;
            (page.status == 200).then_some(Answer::Page(page.body))
        }
        Question::Call(call) => {
            let response = transport.call(&call, None).ok()?;
            let is_ok = response.response_code == Some(ResponseCode::Ok);
            response.result.filter(|_| is_ok).map(|result| Answer::Result(Box::new(result)))
        }
    }
}
