//! Writes beginnings for every fuzz target into `corpus/`: whole inputs of each kind, from which the fuzzer goes on. Run it in `fuzz/`.

use std::path::Path;

use mesos::recordio;
use mesos::v1::scheduler as mesos_scheduler;
use model::{JobConfiguration, JobKey, TaskConfig};
use node::group::{self, Link};
use node::storage::{Epoch, Group, Position};
use prost::Message;
use scheduler::{Command, Input, Now, Principal, RequestId, Scheduler, Settings};
use thrift::{Call, CreateJobArguments, Method, Protocol, encode_call, encode_plain};

fn put(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new("corpus").join(target);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(format!("seed-{name}")), bytes).expect("a file");
}

fn job() -> JobConfiguration {
    let mut task = TaskConfig::new(JobKey::new("www-data", "prod", "other"), 0.5, 16, 32, "{\"task\": {}}");
    task.is_service = true;
    JobConfiguration {
        key: task.job.clone(),
        owner: None,
        cron_schedule: Some("*/5 * * * *".into()),
        cron_collision_policy: Default::default(),
        instance_count: 2,
        task,
    }
}

fn calls() {
    let call = |call: Call, name: &str| {
        let (binary, json) = (encode_call(Protocol::Binary, 1, &call), encode_call(Protocol::Json, 1, &call));
        put("thrift_binary", name, &binary);
        put("thrift_json", name, &json);
        put("api_body", &format!("{name}-json"), &[&[0][..], &json].concat());
        put("api_body", &format!("{name}-binary"), &[&[1][..], &binary].concat());
    };
    for (number, method) in Method::ALL.iter().enumerate() {
        call(Call::without_arguments(*method), method.name());
        let arguments: Vec<String> =
            method.arguments().iter().map(|argument| format!("\"{}\": {{}}", argument.name)).collect();
        let plain = [&[number as u8][..], format!("{{{}}}", arguments.join(", ")).as_bytes()].concat();
        put("plain_json", method.name(), &plain);
        let way = (number + Method::ALL.len()) as u8;
        put("api_body", &format!("{}-plain", method.name()), &[&[way][..], &plain[1..]].concat());
    }
    let description = Some(thrift::JobConfiguration::from(&job()));
    let number = Method::ALL.iter().position(|method| method.name() == "createJob").expect("it is there");
    if let Some(description) = &description {
        let body = [b"{\"description\": ", &encode_plain(description)[..], b"}"].concat();
        put("plain_json", "whole-job", &[&[number as u8][..], &body].concat());
    }
    call(CreateJobArguments { description }.into(), "whole-job");
}

fn stored() {
    let mut scheduler = Scheduler::new(Settings::default());
    let now = Now { wall_ms: 1_800_000_000_000, monotonic_ms: 1 };
    let mut records = scheduler.step(now, Input::Start { seed: [1; 32], epoch: 1 }).records;
    for command in [
        Command::CreateJob(Box::new(JobConfiguration { cron_schedule: None, ..job() })),
        Command::SetQuota { role: "www-data".into(), quota: model::Resources::ZERO },
        Command::ScheduleCronJob(Box::new(JobConfiguration { key: JobKey::new("www-data", "prod", "cron"), ..job() })),
    ] {
        let input = Input::command(RequestId(1), Principal::unsecure(), command);
        records.extend(scheduler.step(now, input).records);
    }
    for length in [1, 3, records.len()] {
        let group = Group { epoch: Epoch(1), position: Position(1), records: records[..length].to_vec() };
        let mut bytes = Vec::new();
        group::encode(&group, Link::default(), &mut bytes);
        put("journal_record", &length.to_string(), &bytes);
        let place = journal::format::Place { journal: [7; 16], number: 3 };
        let mut frame = Vec::new();
        journal::format::put_frame(place, 0, journal::format::FrameKind::Group, &mut frame, |body| {
            body.extend_from_slice(&bytes);
        });
        journal::format::put_mark(place, frame.len() as u64, Position(1), &mut frame);
        put("journal_frame", &length.to_string(), &frame);
    }
}

fn main() {
    calls();
    stored();
    let mut stream = vec![5];
    let event = mesos_scheduler::Event { r#type: Some(8), ..Default::default() };
    for _ in 0..3 {
        recordio::encode(&event.encode_to_vec(), &mut stream);
    }
    put("recordio", "heartbeats", &stream);
    put("names", "key", b"www-data/prod/hello");
    put("names", "grant", b"thrift.AuroraSchedulerManager:killTasks,createJob:www-data:*");
    let users = "# users\n[users]\nalice = $2y$05$xeuHMzfdqI/1q5vD7QJ4v.K04ueqtFmtSJfKKd/u1cxrPU2O3KpUG, web\nbob = \"a,b\", \\\n other\n\
                 carol = $shiro1$SHA-256$500000$c2FsdA==$aGFzaA==\n[roles]\nweb = thrift.AuroraSchedulerManager:*:web\nother = \"a:b,c\", *\n";
    put("shiro_ini", "users", users.as_bytes());
    for (name, text) in [
        ("five", "*/5 * * * *"),
        ("names", "0 3 1-7,15 JAN-MAR MON-FRI"),
        ("leap", "0 0 29 2 *"),
        ("sunday", "59 23 * * 7"),
    ] {
        put("cron", name, &[&[1][..], &1_774_746_000_000_i64.to_le_bytes(), text.as_bytes()].concat());
    }
}
