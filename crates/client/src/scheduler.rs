//! Calls to a scheduler with the retry rules of spec client-cli 3.3. Not the wire itself ([`Transport`]) and not what a verb makes of an answer.

use std::fmt;
use std::time::Duration;

use model::JobKey;
use thrift::{
    Call, JobUpdateQuery, JobUpdateSummary, Response, ResponseCode, ResponseResult, ScheduledTask, TaskQuery,
};

use crate::clusters::Cluster;
use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;

/// How one attempt to call a scheduler failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// No connection was made, so nothing can have happened.
    Connect(String),
    /// The connection broke after the call was sent: its effect is unknown.
    Broken(String),
    /// Over https: who answers there cannot be believed to be the scheduler, or the certificates to trust cannot be read.
    Untrusted(String),
    /// HTTP 401 or 403, with what the server said.
    Denied(String),
    /// Somebody answers there, but not a scheduler.
    Foreign(String),
}

impl fmt::Display for TransportError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(formatter, "no connection ({why})"),
            Self::Broken(why) => write!(formatter, "the connection broke ({why})"),
            Self::Untrusted(why) => write!(formatter, "not trusted ({why})"),
            Self::Denied(why) => write!(formatter, "refused ({why})"),
            Self::Foreign(why) => write!(formatter, "no scheduler ({why})"),
        }
    }
}

/// One attempt at one call.
pub trait Transport {
    /// Sends the call and waits for its answer. A change that is sent again under the same key is made once, by a scheduler that knows keys.
    fn call(&mut self, call: &Call, key: Option<&str>) -> Result<Response, TransportError>;
    /// Reads a page of the daemon's own HTTP surface below its base address, e.g. `/files/...`.
    fn get(&mut self, path: &str) -> Result<Page, TransportError>;
    /// Asks the leading scheduler's API of JSON documents: `GET`, or `POST` with a document. Redirects are followed.
    fn ask(&mut self, path: &str, document: Option<&[u8]>) -> Result<Page, TransportError>;
}

/// An HTTP answer that is not Thrift.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// The file's size at the time, where the page is a piece of one (`X-Size-Bytes`).
    pub size_bytes: Option<u64>,
    /// Changes when the name starts to mean another file (`X-Identity`).
    pub identity: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

/// A successful answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The result, for methods that have one.
    pub result: Option<ResponseResult>,
    /// What the scheduler has to say; usually nothing.
    pub messages: Vec<String>,
}

/// An answer that is not OK.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Code.
    pub code: ResponseCode,
    /// Reasons.
    pub messages: Vec<String>,
    /// The result; only a refused update has one.
    pub result: Option<Box<ResponseResult>>,
}

impl Refusal {
    /// The classic form: a heading, a tab, the reasons; for a job in an update also what to do (spec client-cli 1.1).
    pub fn failure(&self, heading: &str, exit: Exit) -> Failure {
        let mut text = format!("{heading}\n\t{}", self.reason());
        if self.code == ResponseCode::JobUpdatingError {
            text.push_str(
                "\nThe job is locked by an active update. Wait for it with `aurora update wait`, or stop it with `aurora update abort`.",
            );
        }
        Failure::new(exit, text)
    }

    /// The reasons in one line.
    pub fn reason(&self) -> String {
        if self.messages.is_empty() { self.code.name().to_owned() } else { self.messages.join(", ") }
    }
}

/// Why a call gave no successful answer.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The scheduler said no.
    Refused(Refusal),
    /// No answer of use.
    Failed(Failure),
}

impl CallError {
    /// As a failure of the verb; refusals under the given heading with the given code.
    pub fn failure(self, heading: &str, exit: Exit) -> Failure {
        match self {
            Self::Refused(refusal) => refusal.failure(heading, exit),
            Self::Failed(failure) => failure,
        }
    }
}

/// Between two attempts (spec client-cli 3.3).
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How long one call is retried.
const RETRY_LIMIT: Duration = Duration::from_secs(600);
/// How long a daemon on this machine, which may just be starting, is waited for.
const LOCAL_RETRY_INTERVAL: Duration = Duration::from_millis(200);
const LOCAL_RETRY_LIMIT: Duration = Duration::from_secs(1);
/// How long one is waited for that went away before it answered: whoever keeps it running may start it again.
const LOCAL_RETURN_LIMIT: Duration = Duration::from_secs(10);

/// A scheduler one can ask.
pub struct Scheduler<'a> {
    /// Where it is.
    pub cluster: Cluster,
    transport: Box<dyn Transport>,
    world: &'a dyn World,
}

impl<'a> Scheduler<'a> {
    /// Connects lazily: the first call says whether anybody is there.
    pub fn new(cluster: Cluster, world: &'a dyn World) -> Self {
        Self { transport: world.connect(&cluster), cluster, world }
    }

    /// As [`Self::new`], but where the leader must be looked for, that is done now.
    pub fn find(cluster: Cluster, world: &'a dyn World) -> Outcome<Self> {
        Ok(Self::new(located(cluster, world)?, world))
    }

    /// Nobody answered: another may lead by now.
    fn look_again(&mut self) {
        let Some(announced) = &self.cluster.announced else { return };
        // What is in the way is told by the next attempt, where the leader was last.
        if let Ok(url) = self.world.locate(announced)
            && url != self.cluster.url
        {
            self.cluster.move_to(&url);
            self.transport = self.world.connect(&self.cluster);
        }
    }

    /// Calls a method, retrying what may be retried; messages of a successful answer are logged.
    pub fn call(&mut self, call: impl Into<Call>, console: &mut Console) -> Result<Reply, CallError> {
        let reply = self.call_quietly(call, console)?;
        for message in &reply.messages {
            console.info(message);
        }
        Ok(reply)
    }

    /// As [`Self::call`], without logging the messages.
    pub fn call_quietly(&mut self, call: impl Into<Call>, console: &mut Console) -> Result<Reply, CallError> {
        let call = call.into();
        let changes = call.method().service() != thrift::Service::ReadOnlyScheduler;
        let key = changes.then(|| self.world.fresh_uuid());
        let started = self.world.elapsed();
        let (mut told, mut unsure, mut asked) = (false, None, false);
        loop {
            let (problem, interval, limit) = match self.attempt(&call, key.as_deref(), &mut unsure, console) {
                Ok(response) if response.response_code == Some(ResponseCode::ErrorTransient) => {
                    let messages = texts(&response);
                    (Pause::Busy(messages.join(", ")), RETRY_INTERVAL, RETRY_LIMIT)
                }
                Ok(response) => return settle(response),
                Err(TransportError::Connect(why)) if self.cluster.is_local_default => {
                    (Pause::Absent(why), LOCAL_RETRY_INTERVAL, LOCAL_RETRY_LIMIT)
                }
                Err(TransportError::Connect(why)) => (Pause::Absent(why), RETRY_INTERVAL, RETRY_LIMIT),
                Err(TransportError::Broken(why)) if may_repeat(&call) => {
                    (Pause::Broken(why), RETRY_INTERVAL, RETRY_LIMIT)
                }
                // It may be there all the same.
                Err(TransportError::Broken(_)) if unsure.is_some() && !asked => {
                    asked = true;
                    continue;
                }
                Err(TransportError::Broken(why)) if unsure.is_some() && self.cluster.is_local_default => {
                    (Pause::Broken(why), LOCAL_RETRY_INTERVAL, LOCAL_RETURN_LIMIT)
                }
                Err(TransportError::Broken(why)) if unsure.is_some() => {
                    (Pause::Broken(why), RETRY_INTERVAL, RETRY_LIMIT)
                }
                Err(error) => return Err(CallError::Failed(self.final_error(error))),
            };
            if self.world.elapsed().saturating_sub(started) + interval > limit {
                return Err(CallError::Failed(match unsure {
                    Some(why) => self.final_error(TransportError::Broken(why)),
                    None => self.given_up(&problem),
                }));
            }
            if !told && !self.cluster.is_local_default {
                told = true;
                let (problem, seconds) = (self.describe(&problem), RETRY_INTERVAL.as_secs());
                console.warning(format!("{problem} Trying again every {seconds} s for up to 10 minutes."));
            }
            self.world.pause(interval);
            if matches!(problem, Pause::Absent(_)) || unsure.is_some() {
                self.look_again();
            }
        }
    }

    /// Sends the call, unless it is a change that may have been made already (`unsure` holds why) and the scheduler does not say that it
    /// would know it again by its key. [`TransportError::Broken`] with `unsure` set: ask again later.
    fn attempt(
        &mut self,
        call: &Call,
        key: Option<&str>,
        unsure: &mut Option<String>,
        console: &mut Console,
    ) -> Result<Response, TransportError> {
        if let Some(why) = unsure.clone() {
            match self.transport.ask(ABOUT, None) {
                Ok(page) if knows_keys(&page) => {}
                // A proxy between, and nobody behind it.
                Ok(Page { status: 502..=504, .. }) => return Err(TransportError::Broken(why)),
                Err(TransportError::Connect(_) | TransportError::Broken(_)) => return Err(TransportError::Broken(why)),
                Ok(_) | Err(_) => {
                    *unsure = None;
                    return Err(TransportError::Broken(why));
                }
            }
        }
        let begun = self.world.elapsed();
        let answer = self.transport.call(call, key);
        self.log(call, &answer, self.world.elapsed().saturating_sub(begun), console);
        match &answer {
            Err(TransportError::Broken(why)) if key.is_some() && !may_repeat(call) => *unsure = Some(why.clone()),
            Ok(_) => *unsure = None,
            Err(_) => {}
        }
        answer
    }

    /// One line per attempt for those who want to know what goes over the wire.
    fn log(&self, call: &Call, answer: &Result<Response, TransportError>, took: Duration, console: &mut Console) {
        let outcome = match answer {
            Ok(response) => match (response.response_code, texts(response)) {
                (Some(code), texts) if texts.is_empty() => code.name().to_owned(),
                (Some(code), texts) => format!("{} ({})", code.name(), texts.join(", ")),
                (None, _) => "an answer without a code".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        let (url, method) = (&self.cluster.url, call.method().name());
        console.debug(format!("{method} at {url}/api: {outcome} in {} ms", took.as_millis()));
    }

    fn describe(&self, problem: &Pause) -> String {
        let url = &self.cluster.url;
        match problem {
            Pause::Absent(why) => format!("No scheduler answers at {url} ({why})."),
            Pause::Broken(why) => format!("The connection to {url} broke ({why})."),
            Pause::Busy(why) => format!("The scheduler at {url} is not ready: {why}."),
        }
    }

    fn given_up(&self, problem: &Pause) -> Failure {
        let text = match problem {
            Pause::Absent(_) if self.cluster.is_local_default => {
                format!("No scheduler answers at {}. Start one with: {} up", self.cluster.url, self.world.program())
            }
            problem => self.describe(problem),
        };
        Failure::new(Exit::Timeout, text)
    }

    fn final_error(&self, error: TransportError) -> Failure {
        let url = &self.cluster.url;
        match error {
            TransportError::Denied(why) => {
                Failure::new(Exit::AuthError, format!("The scheduler at {url} refused to authenticate you: {why}"))
            }
            TransportError::Untrusted(why) => Failure::new(
                Exit::NetworkError,
                format!(
                    "The scheduler at {url} is not trusted: {why}. Name the file with the right authority as \"ca_file\" of cluster {} in \
                     clusters.json, or in SSL_CERT_FILE.",
                    self.cluster.name
                ),
            ),
            TransportError::Foreign(what) => Failure::new(
                Exit::NetworkError,
                format!(
                    "What answers at {url} is not Daybreak or Aurora: {what}. Check the address of cluster {}.",
                    self.cluster.name
                ),
            ),
            TransportError::Broken(why) | TransportError::Connect(why) => Failure::new(
                Exit::NetworkError,
                format!(
                    "The connection to {url} broke ({why}); whether the scheduler did it is unknown. Look with: aurora job status"
                ),
            ),
        }
    }

    /// Tasks that match, without their executors' data. A failure to answer is the verb's failure.
    pub fn tasks(&mut self, query: TaskQuery, console: &mut Console) -> Outcome<Vec<ScheduledTask>> {
        let call = thrift::GetTasksWithoutConfigsArguments { query: Some(query) };
        let reply = self
            .call(call, console)
            .map_err(|error| error.failure("Could not read the job's tasks:", Exit::CommandFailure))?;
        match reply.result {
            Some(ResponseResult::ScheduleStatus(result)) => Ok(result.tasks),
            _ => Err(missing_result("getTasksWithoutConfigs")),
        }
    }

    /// Updates that match, latest first.
    pub fn updates(&mut self, query: JobUpdateQuery, console: &mut Console) -> Outcome<Vec<JobUpdateSummary>> {
        let call = thrift::GetJobUpdateSummariesArguments { job_update_query: Some(query) };
        let reply = self
            .call(call, console)
            .map_err(|error| error.failure("Could not read the job's updates:", Exit::ApiError))?;
        match reply.result {
            Some(ResponseResult::GetJobUpdateSummaries(result)) => Ok(result.update_summaries),
            _ => Err(missing_result("getJobUpdateSummaries")),
        }
    }

    /// A page of the daemon's own HTTP surface.
    pub fn get(&mut self, path: &str) -> Result<Page, TransportError> {
        self.transport.get(path)
    }

    /// A document of the daemon's own API, such as `/api/v1/explain`.
    pub fn ask(&mut self, path: &str, document: Option<&[u8]>) -> Result<Page, TransportError> {
        self.transport.ask(path, document)
    }

    /// Address of the page of a job.
    pub fn job_url(&self, job: &JobKey) -> String {
        format!("{}/scheduler/{job}", self.cluster.display_url)
    }
}

/// The cluster with its leader's address, looked for in ZooKeeper where only that knows it.
pub fn located(mut cluster: Cluster, world: &dyn World) -> Outcome<Cluster> {
    if let Some(announced) = &cluster.announced {
        let url = world.locate(announced).map_err(|why| {
            Failure::new(
                Exit::Timeout,
                format!("The leading scheduler of cluster {} was not found: {why}", cluster.name),
            )
        })?;
        cluster.move_to(&url);
    }
    Ok(cluster)
}

/// An OK answer without the result its method always has.
pub fn missing_result(method: &str) -> Failure {
    Failure::new(Exit::ApiError, format!("The scheduler's answer to {method} holds no result."))
}

/// Why a call waits before its next attempt.
enum Pause {
    Absent(String),
    Broken(String),
    Busy(String),
}

/// Where a scheduler tells what it is.
const ABOUT: &str = "/api/v1";

/// Whether what answers remembers changes by their keys.
fn knows_keys(page: &Page) -> bool {
    let about: serde_json::Value = serde_json::from_slice(&page.body).unwrap_or_default();
    page.status == 200 && about["idempotencyKeys"]["keptMost"].as_u64().is_some_and(|most| most > 0)
}

/// A call may be sent again after a broken connection when it only reads, or carries an id that makes it idempotent.
fn may_repeat(call: &Call) -> bool {
    let method = call.method();
    method.service() == thrift::Service::ReadOnlyScheduler || method == thrift::Method::StartJobUpdate
}

fn texts(response: &Response) -> Vec<String> {
    response.details.iter().filter_map(|detail| detail.message.clone()).collect()
}

fn settle(response: Response) -> Result<Reply, CallError> {
    let messages = texts(&response);
    match response.response_code {
        Some(ResponseCode::Ok) => Ok(Reply { result: response.result, messages }),
        code => Err(CallError::Refused(Refusal {
            code: code.unwrap_or(ResponseCode::Error),
            messages,
            result: response.result.map(Box::new),
        })),
    }
}

/// A query for all tasks of a job.
pub fn query_of(job: &JobKey) -> TaskQuery {
    TaskQuery { job_keys: Some(thrift::Set(vec![wire_key(job)])), ..TaskQuery::default() }
}

/// A query for the active tasks of a job.
pub fn active_query_of(job: &JobKey) -> TaskQuery {
    TaskQuery { statuses: Some(thrift::ACTIVE_STATES.iter().copied().collect()), ..query_of(job) }
}

/// A job key on the wire.
pub fn wire_key(job: &JobKey) -> thrift::JobKey {
    thrift::JobKey { role: job.role.clone(), environment: job.environment.clone(), name: job.name.clone() }
}

/// A job key from the wire; absent parts are empty.
pub fn model_key(key: Option<&thrift::JobKey>) -> JobKey {
    key.map_or_else(|| JobKey::new("", "", ""), |key| JobKey::new(&key.role, &key.environment, &key.name))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::leader::Announced;
    use crate::testing::{FakeWorld, ok};

    fn announced() -> Cluster {
        Cluster::announced("z", Announced { ensemble: "zk:2181".parse().unwrap(), path: "/aurora/scheduler".into() })
    }

    fn ask(scheduler: &mut Scheduler<'_>) -> Result<Reply, CallError> {
        let mut console = Console::to(Box::new(std::io::sink()), Box::new(std::io::sink()));
        scheduler.call(thrift::GetTierConfigsArguments {}, &mut console)
    }

    #[test]
    fn a_leader_is_found_and_followed_when_another_leads() {
        let attempts = Cell::new(0);
        let world = FakeWorld::failing(move |_| {
            attempts.set(attempts.get() + 1);
            if attempts.get() < 4 { Err(TransportError::Connect("refused".into())) } else { Ok(ok()) }
        })
        .with_leaders([
            Ok("http://one:8081"),
            Ok("http://one:8081"),
            Err("no ZooKeeper"),
            Ok("http://two:8081"),
        ]);
        let mut scheduler = Scheduler::find(announced(), &world).unwrap();
        assert_eq!(scheduler.cluster.url, "http://one:8081");
        ask(&mut scheduler).unwrap();
        assert_eq!(world.connected(), ["http://one:8081", "http://two:8081"]);
        assert_eq!(scheduler.cluster.display_url, "http://two:8081");
    }

    #[test]
    fn a_leader_that_is_not_found_names_the_cluster_and_the_reason() {
        let world = FakeWorld::failing(|_| Ok(ok())).with_leaders([Err("ZooKeeper at zk:2181 has no member")]);
        let failure = Scheduler::find(announced(), &world).err().unwrap();
        assert_eq!(failure.exit, Exit::Timeout);
        assert!(failure.text.contains("of cluster z was not found: ZooKeeper at zk:2181"), "{}", failure.text);
    }
}
