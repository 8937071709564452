//! Asks the coordinators of SLA policies over HTTP (spec scheduler 5.3). One thread per question, as many as the core lets be asked at the
//! same time. When, and what an answer means, the core decides.

use std::sync::Arc;
use std::time::Duration;

use node::inbox::{Lane, Sender};
use scheduler::{CoordinatorAnswer, CoordinatorQuestion, Input};
use serde_json::{Map, Value};

/// A coordinator's answer is an object with a few booleans.
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;
/// How much of an answer that cannot be read is shown.
const EXCERPT_CHARS: usize = 200;

/// What asks.
#[derive(Clone)]
pub struct CoordinatorClient {
    agent: ureq::Agent,
    cluster: Arc<str>,
    scheduler_host: Arc<str>,
    answers: Sender<Input>,
}

impl CoordinatorClient {
    /// A client whose answers go into the loop. No question takes longer than `timeout`.
    pub fn new(cluster: &str, scheduler_host: &str, timeout: Duration, answers: Sender<Input>) -> Self {
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(timeout))
            .user_agent(concat!("daybreak-", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), cluster: cluster.into(), scheduler_host: scheduler_host.into(), answers }
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
        if question.url.starts_with("https:") {
            let why = "coordinators are asked over plain HTTP; HTTPS is not in this version of Daybreak";
            return CoordinatorAnswer::Error(why.into());
        }
        let body = match self.body(question) {
            Ok(body) => body,
            Err(why) => return CoordinatorAnswer::Error(why),
        };
        let request = self
            .agent
            .post(&question.url)
            .query("task", self.task_key(question))
            .header("Content-Type", "application/json")
            .header("Accept", "application/json");
        let mut response = match request.send(&body[..]) {
            Ok(response) => response,
            Err(error) => return CoordinatorAnswer::Error(error.to_string()),
        };
        let status = response.status().as_u16();
        let text = match response.body_mut().with_config().limit(ANSWER_LIMIT_BYTES).read_to_string() {
            Ok(text) => text,
            Err(error) if status == 200 => return CoordinatorAnswer::Error(error.to_string()),
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
        let task = api::tasks_reply::plain_json(&question.task, &self.scheduler_host);
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
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use model::{JobKey, TaskConfig, TaskStatus};
    use node::inbox::{Inbox, Limits};
    use scheduler::{Task, TaskEvent};

    use super::*;

    fn question(url: String, status_key: &str) -> CoordinatorQuestion {
        let mut config = TaskConfig::new(JobKey::new("www-data", "prod", "web"), 1.0, 1, 1, "{}");
        config.is_service = true;
        let task = Task {
            id: "task-7".into(),
            instance: 7,
            config: Arc::new(config),
            status: TaskStatus::Running,
            failure_count: 0,
            times_partitioned: 0,
            ancestor: None,
            events: vec![TaskEvent { timestamp_ms: 5, status: TaskStatus::Running, message: None }],
            agent_id: Some("agent".into()),
            host: Some(Arc::new("host".into())),
            ports: BTreeMap::new(),
        };
        let parameters = [("forceMaintenanceCountdownMs".to_owned(), "60000".to_owned())].into();
        CoordinatorQuestion { id: 3, url, status_key: status_key.into(), task: Arc::new(task), parameters }
    }

    /// A coordinator that answers once, and what it was asked: the request line and the body.
    fn coordinator(answer: &'static str) -> (String, std::thread::JoinHandle<(String, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/may-i", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            (first, String::from_utf8(body).unwrap())
        });
        (url, serving)
    }

    fn client(timeout: Duration) -> (CoordinatorClient, Inbox<Input>) {
        let (sender, inbox) = node::inbox::inbox(Limits::default(), Arc::new(|| {}));
        (CoordinatorClient::new("devcluster", "scheduler.example", timeout, sender), inbox)
    }

    fn said(answer: &'static str, status_key: &str) -> CoordinatorAnswer {
        let (url, serving) = coordinator(answer);
        let (client, _inbox) = client(Duration::from_secs(20));
        let answer = client.answer_of(&question(url, status_key));
        serving.join().unwrap();
        answer
    }

    #[test]
    fn the_question_names_the_task_and_the_answer_reaches_the_loop() {
        let (url, serving) = coordinator("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"drain\": true}");
        let (client, mut inbox) = client(Duration::from_secs(20));
        client.ask(question(url, "drain"));
        let (line, body) = serving.join().unwrap();
        assert_eq!(line.trim_end(), "POST /may-i?task=devcluster%2Fwww-data%2Fprod%2Fweb%2F7 HTTP/1.1");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["task"], "devcluster/www-data/prod/web/7");
        assert_eq!(body["forceMaintenanceCountdownMs"], "60000");
        assert_eq!(body["taskConfig"]["assignedTask"]["taskId"], "task-7");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let told = loop {
            let mut taken = std::collections::VecDeque::new();
            inbox.take(1, &mut taken);
            if let Some(input) = taken.pop_front() {
                break input;
            }
            assert!(std::time::Instant::now() < deadline, "no answer came");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(told, Input::CoordinatorAnswer { question: 3, answer: CoordinatorAnswer::Allowed });
    }

    #[test]
    fn an_answer_decides_by_the_key_of_the_policy() {
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n{\"drain\": false, \"replace\": true } ";
        assert_eq!(said(both, "drain"), CoordinatorAnswer::Refused);
        assert_eq!(said(both, "replace"), CoordinatorAnswer::Allowed);
        let error = |answer, key| match said(answer, key) {
            CoordinatorAnswer::Error(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(error(both, "other").contains("no 'other'"));
        assert!(error("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"drain\":1}", "drain").contains("neither"));
        assert!(error("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTrue", "drain").contains("no JSON object"));
        assert!(error("nonsense\r\n\r\n", "drain").len() > 3);
    }

    #[test]
    fn other_statuses_are_errors_of_the_user_and_silence_ends() {
        match said("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nboom", "drain") {
            CoordinatorAnswer::UserError(why) => assert!(why.contains("HTTP 500 boom"), "{why}"),
            other => panic!("{other:?}"),
        }
        match said("HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n", "drain") {
            CoordinatorAnswer::UserError(why) => assert!(why.contains("HTTP 302"), "{why}"),
            other => panic!("{other:?}"),
        }
        let (client, _inbox) = client(Duration::from_millis(200));
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        assert!(matches!(client.answer_of(&question(url, "drain")), CoordinatorAnswer::Error(_)));
        drop(silent);
        let refused = client.answer_of(&question("https://127.0.0.1:1/".into(), "drain"));
        assert!(matches!(&refused, CoordinatorAnswer::Error(why) if why.contains("HTTPS is not")), "{refused:?}");
        for unusable in ["not an address", "ftp://x/", "http://127.0.0.1:1/"] {
            let answer = client.answer_of(&question(unusable.into(), "drain"));
            assert!(matches!(answer, CoordinatorAnswer::Error(_)), "{unusable}: {answer:?}");
        }
    }
}
