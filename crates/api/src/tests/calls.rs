//! Changes: every call becomes its command, every outcome its response; what cannot become a command is refused with the code of the spec.

use model::update::{Update, UpdateEvent, UpdateSettings, UpdateStatus};
use model::{JobConfiguration, JobKey, TaskConfig, UpdateKey};
use scheduler::ReplyCode;
use scheduler::command::{Outcome, UpdateControl};
use thrift::*;

use super::*;

fn job() -> JobKey {
    JobKey::new("vagrant", "prod", "x")
}

fn job_configuration() -> JobConfiguration {
    JobConfiguration {
        key: job(),
        owner: Some("vagrant".to_owned()),
        cron_schedule: None,
        cron_collision_policy: model::CronCollisionPolicy::KillExisting,
        task: TaskConfig::new(job(), 0.1, 16, 50, "{}"),
        instance_count: 2,
    }
}

fn cron_configuration() -> JobConfiguration {
    let cron_collision_policy = model::CronCollisionPolicy::CancelNew;
    JobConfiguration { cron_schedule: Some("*/5 * * * *".to_owned()), cron_collision_policy, ..job_configuration() }
}

fn quota() -> model::Resources {
    model::Resources { cpu: model::CpuMillis(3500), ram_mb: 20480, disk_mb: 10240, ports: 0, gpus: 0 }
}

fn update_request() -> model::update::UpdateRequest {
    model::update::UpdateRequest {
        task: TaskConfig::new(job(), 0.1, 16, 50, "{}"),
        instance_count: 2,
        settings: UpdateSettings::default(),
        metadata: [model::Metadata { key: "id".to_owned(), value: "7".to_owned() }].into(),
    }
}

fn update_key(id: &str) -> Option<thrift::JobUpdateKey> {
    Some(thrift::JobUpdateKey { job: Some(job_key()), id: id.to_owned() })
}

fn stored_update() -> Update {
    Update {
        key: UpdateKey { job: job(), id: "u".to_owned() },
        user: "alice".to_owned(),
        settings: UpdateSettings::default(),
        metadata: update_request().metadata,
        initial: vec![],
        desired: None,
        events: vec![UpdateEvent {
            status: UpdateStatus::RollingForward,
            timestamp_ms: 5,
            user: Some("alice".to_owned()),
            message: None,
        }],
        instance_events: vec![],
    }
}

#[tokio::test]
async fn every_change_becomes_its_command() {
    let house = House::new(View::default(), Reply::ok());
    let key = UpdateKey { job: job(), id: "u".to_owned() };
    let message = Some("why".to_owned());
    let calls: Vec<(Call, Command)> = vec![
        (
            CreateJobArguments { description: Some((&job_configuration()).into()) }.into(),
            Command::CreateJob(Box::new(job_configuration())),
        ),
        (
            KillTasksArguments { job: Some(job_key()), instances: Some(Set(vec![2, 0])), message: message.clone() }
                .into(),
            Command::KillTasks { job: job(), instances: [0, 2].into(), message: message.clone() },
        ),
        (
            KillTasksArguments { job: Some(job_key()), ..Default::default() }.into(),
            Command::KillTasks { job: job(), instances: [].into(), message: None },
        ),
        (
            RestartShardsArguments { job: Some(job_key()), shard_ids: Some(Set(vec![1])) }.into(),
            Command::RestartTasks { job: job(), instances: [1].into() },
        ),
        (
            AddInstancesArguments { key: Some(InstanceKey { job_key: Some(job_key()), instance_id: 1 }), count: -4 }
                .into(),
            Command::AddInstances { job: job(), template: 1, count: -4 },
        ),
        (
            StartJobUpdateArguments { request: Some((&update_request()).into()), message: message.clone() }.into(),
            Command::StartUpdate { request: Box::new(update_request()), message: message.clone() },
        ),
        (
            PauseJobUpdateArguments { key: update_key("u"), message: message.clone() }.into(),
            Command::ControlUpdate { key: key.clone(), action: UpdateControl::Pause, message: message.clone() },
        ),
        (
            ResumeJobUpdateArguments { key: update_key("u"), message: None }.into(),
            Command::ControlUpdate { key: key.clone(), action: UpdateControl::Resume, message: None },
        ),
        (
            AbortJobUpdateArguments { key: update_key("u"), message: None }.into(),
            Command::ControlUpdate { key: key.clone(), action: UpdateControl::Abort, message: None },
        ),
        (
            RollbackJobUpdateArguments { key: update_key("u"), message: None }.into(),
            Command::ControlUpdate { key: key.clone(), action: UpdateControl::Rollback, message: None },
        ),
        (PulseJobUpdateArguments { key: update_key("u") }.into(), Command::PulseUpdate { key }),
        (
            ScheduleCronJobArguments { description: Some((&cron_configuration()).into()) }.into(),
            Command::ScheduleCronJob(Box::new(cron_configuration())),
        ),
        (
            ReplaceCronTemplateArguments { config: Some((&cron_configuration()).into()) }.into(),
            Command::ReplaceCronTemplate(Box::new(cron_configuration())),
        ),
        (DescheduleCronJobArguments { job: Some(job_key()) }.into(), Command::DescheduleCronJob { job: job() }),
        (StartCronJobArguments { job: Some(job_key()) }.into(), Command::StartCronJob { job: job() }),
        (
            SetQuotaArguments { owner_role: Some("vagrant".to_owned()), quota: Some((&quota()).into()) }.into(),
            Command::SetQuota { role: "vagrant".to_owned(), quota: quota() },
        ),
    ];
    let mut expected = Vec::new();
    for (call, command) in calls {
        let response = house.call(call).await;
        assert_eq!(response.response_code, Some(thrift::ResponseCode::Ok));
        assert_eq!((response.result, response.details), (None, vec![]));
        expected.push(command);
        assert_eq!(house.commands(), expected);
    }
}

#[tokio::test]
async fn what_cannot_become_a_command_is_refused() {
    use thrift::ResponseCode::{Error, InvalidRequest};
    let house = House::new(View::default(), Reply::ok());
    let bad_key =
        || Some(thrift::JobKey { role: "a b".to_owned(), environment: "prod".to_owned(), name: "x".to_owned() });
    let without_settings = || thrift::JobUpdateRequest { settings: None, ..(&update_request()).into() };
    let without_task = || thrift::JobUpdateRequest { task_config: None, ..(&update_request()).into() };
    let long = Some("x".repeat(1025));
    let calls: Vec<(Call, ResponseCode)> = vec![
        (CreateJobArguments::default().into(), Error),
        (CreateJobArguments { description: Some(Default::default()) }.into(), InvalidRequest),
        (KillTasksArguments::default().into(), Error),
        (KillTasksArguments { job: bad_key(), ..Default::default() }.into(), Error),
        (
            KillTasksArguments { job: Some(job_key()), instances: Some(Set(vec![-1])), message: None }.into(),
            InvalidRequest,
        ),
        (RestartShardsArguments { job: Some(job_key()), shard_ids: None }.into(), Error),
        (RestartShardsArguments { job: Some(job_key()), shard_ids: Some(Set(vec![])) }.into(), Error),
        (AddInstancesArguments::default().into(), Error),
        (StartJobUpdateArguments::default().into(), Error),
        (StartJobUpdateArguments { request: Some(without_settings()), message: None }.into(), Error),
        (StartJobUpdateArguments { request: Some(without_task()), message: None }.into(), InvalidRequest),
        (StartJobUpdateArguments { request: Some((&update_request()).into()), message: long.clone() }.into(), Error),
        (PauseJobUpdateArguments { key: update_key("u"), message: long }.into(), Error),
        (AbortJobUpdateArguments { key: None, message: None }.into(), Error),
        (PulseJobUpdateArguments { key: update_key(" ") }.into(), Error),
        (SetQuotaArguments { owner_role: None, quota: Some((&quota()).into()) }.into(), Error),
        (SetQuotaArguments { owner_role: Some("r".to_owned()), quota: None }.into(), Error),
        (SetQuotaArguments { owner_role: Some("r".to_owned()), quota: Some(Default::default()) }.into(), Error),
        (
            PulseJobUpdateArguments { key: Some(thrift::JobUpdateKey { job: bad_key(), id: "u".to_owned() }) }.into(),
            Error,
        ),
    ];
    for (call, code) in calls {
        let response = house.call(call.clone()).await;
        assert_eq!(response.response_code, Some(code), "{call:?}");
        assert_eq!(messages(&response).len(), 1, "{call:?}");
        assert!(messages(&response)[0].ends_with('.'), "{:?}", messages(&response));
        assert!(response.result.is_none() && response.server_info.is_some());
    }
    assert_eq!(house.commands(), []);
}

#[tokio::test]
async fn the_scheduler_s_code_and_words_are_passed_on() {
    for (code, expected) in [
        (ReplyCode::InvalidRequest, ResponseCode::InvalidRequest),
        (ReplyCode::Error, ResponseCode::Error),
        (ReplyCode::AuthFailed, ResponseCode::AuthFailed),
        (ReplyCode::JobUpdatingError, ResponseCode::JobUpdatingError),
        (ReplyCode::ErrorTransient, ResponseCode::ErrorTransient),
    ] {
        let house = House::new(View::default(), Reply::refused(code, "Because."));
        let response = house.call(KillTasksArguments { job: Some(job_key()), ..Default::default() }).await;
        assert_eq!(response.response_code, Some(expected));
        assert_eq!(messages(&response), ["Because."]);
    }
    let nothing_killed = Reply { messages: vec!["Nothing to kill.".to_owned()], ..Reply::ok() };
    let house = House::new(View::default(), nothing_killed);
    let response = house.call(KillTasksArguments { job: Some(job_key()), ..Default::default() }).await;
    assert_eq!(response.response_code, Some(ResponseCode::Ok));
    assert_eq!(messages(&response), ["Nothing to kill."]);
}

async fn start_update(reply: Reply) -> Response {
    let house = House::new(View::default(), reply);
    house.call(StartJobUpdateArguments { request: Some((&update_request()).into()), message: None }).await
}

#[tokio::test]
async fn a_fresh_update_has_no_state_and_one_in_the_way_has() {
    let fresh = Reply { outcome: Outcome::Update(Box::new(stored_update())), ..Reply::ok() };
    let response = start_update(fresh).await;
    let Some(ResponseResult::StartJobUpdate(result)) = response.result else { panic!("no result") };
    assert_eq!(result.key, update_key("u"));
    let summary = result.update_summary.unwrap();
    assert_eq!((summary.user.as_deref(), summary.state), (Some("alice"), None));
    assert_eq!(summary.metadata.unwrap()[0].value, "7");

    let in_the_way = Reply {
        outcome: Outcome::Update(Box::new(stored_update())),
        ..Reply::refused(ReplyCode::InvalidRequest, "An update is in progress.")
    };
    let response = start_update(in_the_way).await;
    assert_eq!(response.response_code, Some(ResponseCode::InvalidRequest));
    let Some(ResponseResult::StartJobUpdate(result)) = response.result else { panic!("no result") };
    let state = result.update_summary.unwrap().state.unwrap();
    assert_eq!(state.status, Some(JobUpdateStatus::RollingForward));
    assert_eq!((state.created_timestamp_ms, state.last_modified_timestamp_ms), (5, 5));

    let nothing_to_do = Reply { messages: vec!["Nothing would change.".to_owned()], ..Reply::ok() };
    let response = start_update(nothing_to_do).await;
    assert_eq!(response.response_code, Some(ResponseCode::Ok));
    assert!(response.result.is_none());
}

#[tokio::test]
async fn pulses_are_answered_ok_or_finished() {
    for (active, status) in [(true, JobUpdatePulseStatus::Ok), (false, JobUpdatePulseStatus::Finished)] {
        let house = House::new(View::default(), Reply { outcome: Outcome::Pulse { active }, ..Reply::ok() });
        let response = house.call(PulseJobUpdateArguments { key: update_key("u") }).await;
        let expected = PulseJobUpdateResult { status: Some(status) };
        assert_eq!(response.result, Some(ResponseResult::PulseJobUpdate(expected)));
    }
}

#[tokio::test]
async fn every_method_answers_for_itself() {
    let house = House::new(View::default(), Reply::ok());
    for method in Method::ALL {
        let response = house.call(Call::without_arguments(*method)).await;
        assert!(messages(&response).iter().all(|text| !text.contains("not available")), "{}", method.name());
    }
    let without_arguments = scheduler::AdminCommand::ReconcileImplicitly;
    assert_eq!(house.commands(), [scheduler::Command::Admin(without_arguments)]);
}
