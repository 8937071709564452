//! What the runner of Thermos writes about a task (spec executor 1.10), so that checkpoints of the original can be read, and so that its
//! tools can read what our executor leaves on a Mesos agent beside its own records. Not part of the API.

use std::collections::BTreeMap;

thrift_struct! {
    /// One record of a runner's checkpoint: exactly one of the members is there.
    pub struct RunnerCheckpoint {
        1 runner_header: Option<RunnerHeader>,
        2 process_status: Option<RunnerProcessStatus>,
        3 task_status: Option<RunnerTaskStatus>,
    }
    /// What the task is. Old versions wrote neither `log_dir` nor `uid`.
    pub struct RunnerHeader {
        1 task_id: String,
        2 launch_time_ms: i64,
        3 sandbox: Option<String>,
        7 log_dir: Option<String>,
        4 hostname: Option<String>,
        5 user: Option<String>,
        8 uid: Option<i32>,
        6 ports: Option<BTreeMap<String, i64>>,
    }
    /// A change of one run of one process; times in seconds since 1970.
    pub struct RunnerProcessStatus {
        1 seq: i64,
        3 process: String,
        5 state: i32,
        10 coordinator_pid: Option<i32>,
        11 fork_time: Option<f64>,
        6 start_time: Option<f64>,
        7 pid: Option<i32>,
        8 stop_time: Option<f64>,
        9 return_code: Option<i32>,
    }
    /// A change of the task as a whole.
    pub struct RunnerTaskStatus {
        1 state: i32,
        2 timestamp_ms: i64,
        3 runner_pid: Option<i32>,
        4 runner_uid: Option<i32>,
    }
}
