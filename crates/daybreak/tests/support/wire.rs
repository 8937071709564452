//! Thrift JSON typed by hand (spec thrift-api 1.8, 2), so that the tests do not check our codec with itself.

use serde_json::{Value, json};

use super::try_http;

/// Response code OK.
pub const OK: i64 = 1;

/// A task as the wire shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireTask {
    pub id: String,
    pub job: String,
    pub instance: i64,
    pub status: i64,
    /// Status and message of each event.
    pub events: Vec<(i64, String)>,
}

impl WireTask {
    /// Neither FINISHED 3, FAILED 4, KILLED 5 nor LOST 7.
    pub fn is_active(&self) -> bool {
        ![3, 4, 5, 7].contains(&self.status)
    }

    pub fn is_running(&self) -> bool {
        self.status == 2
    }
}

/// Calls a method; the Response struct, or why there is none.
pub fn call(url: &str, method: &str, arguments: Value) -> Result<Value, String> {
    let body = json!([1, method, 1, 7, arguments]).to_string();
    let headers = [("Content-Type", "application/vnd.apache.thrift.json")];
    let answer = try_http("POST", &format!("{url}/api"), &headers, body.as_bytes());
    let (status, answer) = answer.map_err(|error| error.to_string())?;
    if status == 0 {
        return Err("no answer".into());
    }
    assert_eq!(status, 200, "{answer}");
    let message: Value = serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))?;
    assert_eq!(message[1], method, "{message}");
    assert_eq!((&message[2], &message[3]), (&json!(2), &json!(7)), "{message}");
    Ok(message[4]["0"]["rec"].clone())
}

/// Code and first message of a Response.
pub fn outcome(response: &Value) -> (i64, String) {
    let message = response["6"]["lst"][2]["1"]["str"].as_str().unwrap_or_default();
    (response["1"]["i32"].as_i64().expect("a response code"), message.to_owned())
}

/// A job's key as a struct.
pub fn job_key(role: &str, name: &str) -> Value {
    json!({"1": {"str": role}, "2": {"str": "devel"}, "3": {"str": name}})
}

/// A JobConfiguration with one process running `cmdline`.
pub fn job(role: &str, name: &str, instances: i64, service: bool, cmdline: &str) -> Value {
    let data = json!({
        "name": name, "role": role, "environment": "devel", "cluster": "devcluster", "lifecycle": {},
        "task": {"name": name, "constraints": [], "finalization_wait": 1,
                 "processes": [{"name": "main", "cmdline": cmdline, "min_duration": 1}],
                 "resources": {"cpu": 0.001, "ram": 1 << 20, "disk": 1 << 20}},
    });
    let config = json!({
        "7": {"tf": i32::from(service)}, "11": {"i32": 0}, "13": {"i32": 1},
        "17": {"rec": {"2": {"str": role}}}, "20": {"set": ["rec", 0]},
        "25": {"rec": {"1": {"str": "AuroraExecutor"}, "2": {"str": data.to_string()}}},
        "28": {"rec": job_key(role, name)},
        "32": {"set": ["rec", 3, {"1": {"dbl": 0.001}}, {"2": {"i64": 1}}, {"3": {"i64": 1}}]},
    });
    json!({"6": {"rec": config}, "7": {"rec": {"2": {"str": role}}}, "8": {"i32": instances},
           "9": {"rec": job_key(role, name)}})
}

/// createJob.
pub fn create(url: &str, job: Value) -> Result<(i64, String), String> {
    call(url, "createJob", json!({"1": {"rec": job}})).map(|response| outcome(&response))
}

/// killTasks of all instances.
pub fn kill(url: &str, role: &str, name: &str) -> Result<(i64, String), String> {
    let arguments = json!({"4": {"rec": job_key(role, name)}, "5": {"set": ["i32", 0]}, "6": {"str": ""}});
    call(url, "killTasks", arguments).map(|response| outcome(&response))
}

/// Every stored task.
pub fn tasks(url: &str) -> Result<Vec<WireTask>, String> {
    let response = call(url, "getTasksStatus", json!({"1": {"rec": {}}}))?;
    assert_eq!(outcome(&response).0, OK, "{response}");
    let list = response["3"]["rec"]["3"]["rec"]["1"]["lst"].as_array().cloned().unwrap_or_default();
    Ok(list.iter().skip(2).map(task).collect())
}

fn task(value: &Value) -> WireTask {
    let assigned = &value["1"]["rec"];
    let events = value["4"]["lst"].as_array().cloned().unwrap_or_default();
    let event = |event: &Value| {
        (event["2"]["i32"].as_i64().unwrap(), event["3"]["str"].as_str().unwrap_or_default().to_owned())
    };
    WireTask {
        id: assigned["1"]["str"].as_str().expect("a task id").to_owned(),
        job: assigned["4"]["rec"]["28"]["rec"]["3"]["str"].as_str().expect("a job name").to_owned(),
        instance: assigned["6"]["i32"].as_i64().expect("an instance"),
        status: value["2"]["i32"].as_i64().expect("a status"),
        events: events.iter().skip(2).map(event).collect(),
    }
}
