//! Asks the coordinators of SLA policies over HTTP or HTTPS (spec scheduler 5.3). One thread per question, as many as the core lets be asked at the
//! same time. When, and what an answer means, the core decides.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use node::inbox::{Lane, Sender};
use scheduler::{CoordinatorAnswer, CoordinatorQuestion, Input};
use serde_json::{Map, Value};

use crate::outgoing::{Trust, failure};

/// A coordinator's answer is an object with a few booleans.
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;
/// How much of an answer that cannot be read is shown.
const EXCERPT_CHARS: usize = 200;

/// What asks.
#[derive(Clone)]
pub struct CoordinatorClient {
    trust: Trust,
    timeout: Duration,
    /// Made for the first question.
    agent: Arc<OnceLock<ureq::Agent>>,
    cluster: Arc<str>,
    scheduler_host: Arc<str>,
    answers: Sender<Input>,
}

impl CoordinatorClient {
    /// A client whose answers go into the loop. No question takes longer than `timeout`.
    pub fn new(cluster: &str, scheduler_host: &str, timeout: Duration, trust: Trust, answers: Sender<Input>) -> Self {
        let agent = Arc::default();
        Self { trust, timeout, agent, cluster: cluster.into(), scheduler_host: scheduler_host.into(), answers }
    }

    /// Asks, and lets the loop know. Does not wait.
    pub fn ask(&self, question: CoordinatorQuestion) {
        let (client, id) = (self.clone(), question.id);
        let spawned = std::thread::Builder::new().name("coordinator".into()).spawn(move || {
            let answer = client.answer_of(&question);
            tracing::debug!(url = question.url, ?answer, "coordinator");
            client.tell(id, answer);
        });
        if let Err(error) = spawned {
            // The caller is the loop itself and must not wait for room in its own inbox.
            let answer = CoordinatorAnswer::Error(format!("no thread can be started to ask it: {error}"));
            let _ = self.answers.try_send(Lane::Engine, Input::CoordinatorAnswer { question: id, answer });
        }
    }

    fn tell(&self, question: u64, answer: CoordinatorAnswer) {
        // When the loop has ended nobody wants to know.
        let _ = self.answers.send(Lane::Engine, Input::CoordinatorAnswer { question, answer });
    }

    fn answer_of(&self, question: &CoordinatorQuestion) -> CoordinatorAnswer {
        let body = match self.body(question) {
            Ok(body) => body,
            Err(why) => return CoordinatorAnswer::Error(why),
        };
        let agent = self.agent.get_or_init(|| self.trust.agent(self.timeout));
        let request = agent
            .post(&question.url)
            .query("task", self.task_key(question))
            .header("Content-Type", "application/json")
            .header("Accept", "application/json");
        let mut response = match request.send(&body[..]) {
            Ok(response) => response,
            Err(error) => return CoordinatorAnswer::Error(failure(&error)),
        };
        let status = response.status().as_u16();
        let text = match response.body_mut().with_config().limit(ANSWER_LIMIT_BYTES).read_to_string() {
            Ok(text) => text,
            Err(error) if status == 200 => return CoordinatorAnswer::Error(failure(&error)),
            Err(_) => String::new(),
        };
        if status != 200 {
            return CoordinatorAnswer::UserError(format!("it answered HTTP {status} {}", excerpt(&text)));
        }
        verdict(&text, &question.status_key)
    }

    /// `<cluster>/<role>/<env>/<name>/<instance>`.
    fn task_key(&self, question: &CoordinatorQuestion) -> String {
        format!("{}/{}/{}", self.cluster, question.task.config.job, question.task.instance)
    }

    fn body(&self, question: &CoordinatorQuestion) -> Result<Vec<u8>, String> {
        let task = api::streamed::tasks::plain_json(&question.task, &self.scheduler_host);
        let task: Value = serde_json::from_slice(&task).map_err(|error| error.to_string())?;
        let mut body: Map<String, Value> =
            question.parameters.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        body.insert("taskConfig".into(), task);
        body.insert("task".into(), self.task_key(question).into());
        serde_json::to_vec(&body).map_err(|error| error.to_string())
    }
}

/// What the body of an answer says.
fn verdict(text: &str, status_key: &str) -> CoordinatorAnswer {
    match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(answer) => match answer.get(status_key) {
            Some(Value::Bool(true)) => CoordinatorAnswer::Allowed,
            Some(Value::Bool(false)) => CoordinatorAnswer::Refused,
            Some(other) => CoordinatorAnswer::Error(format!("'{status_key}' is {other}, neither true nor false")),
            None => CoordinatorAnswer::Error(format!("its answer has no '{status_key}': {}", excerpt(text))),
        },
        Err(error) => CoordinatorAnswer::Error(format!("its answer is no JSON object ({error}): {}", excerpt(text))),
    }
}

fn excerpt(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(EXCERPT_CHARS).collect()
}

#[cfg(test)]
mod tests;
