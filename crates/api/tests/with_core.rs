//! The routes in front of the real core, without engine or journal: what clients of Aurora rely on, call by call (spec thrift-api 3.3 to 3.6).

#[path = "common/door.rs"]
mod door;

use api::{ApiSettings, ApiState, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use door::CoreDoor;
use model::JobKey;
use thrift::*;
use tower::ServiceExt;

fn scheduler() -> Router {
    let (_, gateway) = CoreDoor::open();
    router(ApiState::new(gateway, ApiSettings::default()))
}

async fn call(router: &Router, call: impl Into<Call>) -> Response {
    let call = call.into();
    let request = Request::post("/api").body(Body::from(encode_call(Protocol::Json, 1, &call))).unwrap();
    let body = router.clone().oneshot(request).await.unwrap().into_body();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let response = decode_reply(Protocol::Json, call.method(), 1, &bytes, Limits::REPLY).expect("a reply");
    assert!(response.server_info.is_some());
    response
}

async fn code(router: &Router, arguments: impl Into<Call>) -> ResponseCode {
    let response = call(router, arguments).await;
    let code = response.response_code.unwrap();
    if code != ResponseCode::Ok {
        assert_eq!(response.details.len(), 1, "{response:?}");
        assert!(response.details[0].message.as_ref().is_some_and(|text| text.len() > 10), "{response:?}");
    }
    code
}

fn job_key() -> JobKey {
    JobKey::new("www-data", "prod", "hello")
}

fn wire_key() -> Option<thrift::JobKey> {
    Some(thrift::JobKey::from(&job_key()))
}

fn config(data: &str) -> thrift::TaskConfig {
    let mut config = model::TaskConfig::new(job_key(), 0.5, 16, 32, data);
    config.is_service = true;
    thrift::TaskConfig::from(&config)
}

fn create(instance_count: i32, change: impl FnOnce(&mut thrift::JobConfiguration)) -> CreateJobArguments {
    let mut job = thrift::JobConfiguration {
        key: wire_key(),
        owner: Some(Identity { user: "www-data".to_owned() }),
        task_config: Some(config("{}")),
        instance_count,
        ..Default::default()
    };
    change(&mut job);
    CreateJobArguments { description: Some(job) }
}

async fn tasks(router: &Router) -> Vec<(i32, ScheduleStatus)> {
    let query = TaskQuery { job_keys: Some(Set(vec![wire_key().unwrap()])), ..Default::default() };
    let response = call(router, GetTasksWithoutConfigsArguments { query: Some(query) }).await;
    let Some(ResponseResult::ScheduleStatus(result)) = response.result else { panic!("no tasks") };
    let mut tasks: Vec<_> = result
        .tasks
        .iter()
        .map(|task| (task.assigned_task.as_ref().unwrap().instance_id, task.status.unwrap()))
        .collect();
    tasks.sort();
    tasks
}

fn kill() -> KillTasksArguments {
    KillTasksArguments { job: wire_key(), instances: Some(Set::default()), message: Some(String::new()) }
}

const PENDING: ScheduleStatus = ScheduleStatus::Pending;

#[tokio::test]
async fn a_job_is_created_once_seen_at_once_and_killed_once() {
    let router = scheduler();
    let created = call(&router, create(2, |_| {})).await;
    assert_eq!((created.response_code, created.result, created.details), (Some(ResponseCode::Ok), None, vec![]));
    assert_eq!(tasks(&router).await, [(0, PENDING), (1, PENDING)]);
    assert_eq!(code(&router, create(2, |_| {})).await, ResponseCode::InvalidRequest);
    assert_eq!(tasks(&router).await.len(), 2);

    let query = Some(TaskQuery { role: Some("www-data".to_owned()), ..Default::default() });
    let response = call(&router, GetPendingReasonArguments { query }).await;
    let Some(ResponseResult::GetPendingReason(result)) = response.result else { panic!("no reasons") };
    assert_eq!(result.reasons.len(), 2);

    let killed = call(&router, kill()).await;
    assert_eq!((killed.response_code, killed.details), (Some(ResponseCode::Ok), vec![]));
    assert_eq!(tasks(&router).await, []);
    let nothing = call(&router, kill()).await;
    assert_eq!((nothing.response_code, nothing.details.len()), (Some(ResponseCode::Ok), 1));
}

#[tokio::test]
async fn jobs_that_may_not_be_are_refused_and_leave_nothing() {
    let router = scheduler();
    type Change = fn(&mut thrift::JobConfiguration);
    let executor: Change = |job| {
        let task = job.task_config.as_mut().unwrap();
        task.executor_config.as_mut().unwrap().name = "idontexist".to_owned();
    };
    let changes: [Change; 10] = [
        executor,
        |job| job.instance_count = 0,
        |job| job.instance_count = i32::MAX,
        |job| job.cron_schedule = Some(String::new()),
        |job| job.owner = Some(Identity::default()),
        |job| job.key = None,
        |job| job.task_config = None,
        |job| job.task_config.as_mut().unwrap().resources = Set(vec![]),
        |job| job.task_config.as_mut().unwrap().tier = Some("gold".to_owned()),
        |job| {
            let key = thrift::JobKey { environment: "production".to_owned(), ..job.key.clone().unwrap() };
            job.key = Some(key);
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(code(&router, create(1, change)).await, ResponseCode::InvalidRequest, "change {number}");
    }
    let response = call(&router, GetTasksStatusArguments { query: Some(TaskQuery::default()) }).await;
    let Some(ResponseResult::ScheduleStatus(result)) = response.result else { panic!("no tasks") };
    assert_eq!(result.tasks, []);
}

#[tokio::test]
async fn instances_are_added_above_the_highest() {
    let router = scheduler();
    call(&router, create(2, |_| {})).await;
    let add = |instance_id, count| AddInstancesArguments {
        key: Some(InstanceKey { job_key: wire_key(), instance_id }),
        count,
    };
    for (instance, count) in [(0, 0), (0, -1), (7, 1), (0, i32::MAX)] {
        assert_eq!(code(&router, add(instance, count)).await, ResponseCode::InvalidRequest, "{instance} {count}");
    }
    assert_eq!(code(&router, add(1, 2)).await, ResponseCode::Ok);
    let instances: Vec<i32> = tasks(&router).await.into_iter().map(|(instance, _)| instance).collect();
    assert_eq!(instances, [0, 1, 2, 3]);
    let restart = |shards: &[i32]| RestartShardsArguments { job: wire_key(), shard_ids: Some(Set(shards.to_vec())) };
    assert_eq!(code(&router, restart(&[0, 9])).await, ResponseCode::InvalidRequest);
    assert_eq!(code(&router, restart(&[0, 1])).await, ResponseCode::Ok);
    assert_eq!(code(&router, restart(&[])).await, ResponseCode::Error);
}

fn update(data: &str, instance_count: i32, change: fn(&mut JobUpdateRequest)) -> StartJobUpdateArguments {
    let settings = JobUpdateSettings { update_group_size: 1, rollback_on_failure: true, ..Default::default() };
    let mut request =
        JobUpdateRequest { task_config: Some(config(data)), instance_count, settings: Some(settings), metadata: None };
    change(&mut request);
    StartJobUpdateArguments { request: Some(request), message: Some("go".to_owned()) }
}

async fn details(router: &Router) -> Vec<JobUpdateDetails> {
    let query = Some(JobUpdateQuery { job_key: wire_key(), ..Default::default() });
    let response = call(router, GetJobUpdateDetailsArguments { key: None, query }).await;
    match response.result {
        Some(ResponseResult::GetJobUpdateDetails(result)) => result.details_list.expect("a list"),
        other => panic!("no details: {other:?}"),
    }
}

fn status(details: &JobUpdateDetails) -> JobUpdateStatus {
    details.update.as_ref().unwrap().summary.as_ref().unwrap().state.as_ref().unwrap().status.unwrap()
}

#[tokio::test]
async fn an_update_starts_stands_in_the_way_and_is_steered() {
    let router = scheduler();
    call(&router, create(2, |_| {})).await;
    let started = call(&router, update("new", 2, |_| {})).await;
    assert_eq!(started.response_code, Some(ResponseCode::Ok), "{started:?}");
    let Some(ResponseResult::StartJobUpdate(result)) = started.result else { panic!("no result") };
    let key = result.key.unwrap();
    assert_eq!(result.update_summary.unwrap().state, None);

    // The first evaluation is done before the reply.
    let list = details(&router).await;
    assert_eq!((list.len(), status(&list[0])), (1, JobUpdateStatus::RollingForward));
    assert_eq!(list[0].update_events[0].message.as_deref(), Some("go"));
    assert_eq!(list[0].update_events[0].user.as_deref(), Some("UNSECURE"));
    assert_eq!(list[0].instance_events[0].action, Some(JobUpdateAction::InstanceUpdating));

    let second = call(&router, update("newer", 2, |_| {})).await;
    assert_eq!((second.response_code, second.details.len()), (Some(ResponseCode::InvalidRequest), 1));
    let Some(ResponseResult::StartJobUpdate(result)) = second.result else { panic!("no result") };
    assert_eq!(result.key, Some(key.clone()));
    assert!(result.update_summary.unwrap().state.is_some());
    for busy in [Call::from(kill()), Call::from(create(1, |_| {}))] {
        assert_eq!(code(&router, busy).await, ResponseCode::JobUpdatingError);
    }

    let named = || Some(key.clone());
    assert_eq!(code(&router, PauseJobUpdateArguments { key: named(), message: None }).await, ResponseCode::Ok);
    assert_eq!(status(&details(&router).await[0]), JobUpdateStatus::RollForwardPaused);
    assert_eq!(code(&router, PauseJobUpdateArguments { key: named(), message: None }).await, ResponseCode::Ok);
    assert_eq!(code(&router, ResumeJobUpdateArguments { key: named(), message: None }).await, ResponseCode::Ok);
    assert_eq!(status(&details(&router).await[0]), JobUpdateStatus::RollingForward);
    assert_eq!(code(&router, AbortJobUpdateArguments { key: named(), message: None }).await, ResponseCode::Ok);
    assert_eq!(status(&details(&router).await[0]), JobUpdateStatus::Aborted);
    assert_eq!(
        code(&router, ResumeJobUpdateArguments { key: named(), message: None }).await,
        ResponseCode::InvalidRequest
    );
    assert_eq!(code(&router, kill()).await, ResponseCode::Ok);
}

#[tokio::test]
async fn updates_that_may_not_be_are_refused_and_leave_nothing() {
    let router = scheduler();
    call(&router, create(2, |_| {})).await;
    type Change = fn(&mut JobUpdateRequest);
    let changes: [Change; 8] = [
        |request| request.task_config.as_mut().unwrap().is_service = false,
        |request| request.settings.as_mut().unwrap().update_group_size = 0,
        |request| request.settings.as_mut().unwrap().max_per_instance_failures = -1,
        |request| request.settings.as_mut().unwrap().max_failed_instances = -1,
        |request| request.settings.as_mut().unwrap().min_wait_in_instance_running_ms = -1,
        |request| request.settings.as_mut().unwrap().block_if_no_pulses_after_ms = Some(-1),
        |request| request.settings.as_mut().unwrap().sla_aware = Some(true),
        |request| {
            request.settings.as_mut().unwrap().update_only_these_instances = Set(vec![Range { first: 9, last: 9 }]);
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(code(&router, update("new", 2, change)).await, ResponseCode::InvalidRequest, "change {number}");
    }
    assert_ne!(code(&router, update("new", -1, |_| {})).await, ResponseCode::Ok);
    let nothing_to_do = call(&router, update("{}", 2, |_| {})).await;
    assert_eq!((nothing_to_do.response_code, nothing_to_do.details.len()), (Some(ResponseCode::Ok), 1));
    assert_eq!(nothing_to_do.result, None);
    assert_eq!(details(&router).await, []);

    let unknown = || Some(JobUpdateKey { job: wire_key(), id: "unknown".to_owned() });
    let pulse = call(&router, PulseJobUpdateArguments { key: unknown() }).await;
    let finished = PulseJobUpdateResult { status: Some(JobUpdatePulseStatus::Finished) };
    assert_eq!(pulse.result, Some(ResponseResult::PulseJobUpdate(finished)));
    let abort = AbortJobUpdateArguments { key: unknown(), message: None };
    assert_eq!(code(&router, abort).await, ResponseCode::InvalidRequest);
}

#[tokio::test]
async fn a_diff_and_the_update_that_follows_agree() {
    let router = scheduler();
    call(&router, create(3, |_| {})).await;
    let request = update("new", 4, |_| {});
    let response = call(&router, GetJobUpdateDiffArguments { request: request.request.clone() }).await;
    let Some(ResponseResult::GetJobUpdateDiff(diff)) = response.result else { panic!("no diff") };
    let instances = |groups: &Set<ConfigGroup>| -> Vec<i32> {
        groups.iter().flat_map(|group| group.instances.iter().flat_map(|range| range.first..=range.last)).collect()
    };
    assert_eq!((instances(&diff.add), instances(&diff.update)), (vec![3], vec![0, 1, 2]));
    assert_eq!(code(&router, request).await, ResponseCode::Ok);
    let details = details(&router).await;
    let instructions = details[0].update.as_ref().unwrap().instructions.as_ref().unwrap();
    assert_eq!(instructions.desired_state.as_ref().unwrap().instances.0, [Range { first: 0, last: 3 }]);
    assert_eq!(instructions.initial_state[0].instances.0, [Range { first: 0, last: 2 }]);
}

#[tokio::test]
async fn quotas_are_kept_exactly_and_bound_production() {
    let router = scheduler();
    let production = |job: &mut thrift::JobConfiguration| {
        job.task_config.as_mut().unwrap().tier = Some("preferred".to_owned());
    };
    assert_eq!(code(&router, create(1, production)).await, ResponseCode::InvalidRequest);
    let set = |cpu, ram, disk| SetQuotaArguments {
        owner_role: Some("www-data".to_owned()),
        quota: Some(ResourceAggregate {
            resources: Set(vec![Resource::NumCpus(cpu), Resource::RamMb(ram), Resource::DiskMb(disk)]),
        }),
    };
    assert_eq!(code(&router, set(-1.0, 1, 1)).await, ResponseCode::InvalidRequest);
    assert_eq!(code(&router, set(3.5, 20480, 10240)).await, ResponseCode::Ok);
    assert_eq!(code(&router, create(1, production)).await, ResponseCode::Ok);
    let response = call(&router, GetQuotaArguments { owner_role: Some("www-data".to_owned()) }).await;
    let Some(ResponseResult::GetQuota(quota)) = response.result else { panic!("no quota") };
    let amounts = [Resource::NumCpus(3.5), Resource::RamMb(20480), Resource::DiskMb(10240)];
    assert_eq!(quota.quota.unwrap().resources.0, amounts);
    let used = [Resource::NumCpus(0.5), Resource::RamMb(16), Resource::DiskMb(32)];
    assert_eq!(quota.prod_shared_consumption.unwrap().resources.0, used);
    assert_eq!(code(&router, set(0.25, 20480, 10240)).await, ResponseCode::InvalidRequest);
}

// ---- cron ----

fn cron(schedule: &str, change: impl FnOnce(&mut thrift::JobConfiguration)) -> ScheduleCronJobArguments {
    let job = create(2, |job| {
        job.cron_schedule = Some(schedule.to_owned());
        job.cron_collision_policy = Some(CronCollisionPolicy::CancelNew);
        job.task_config.as_mut().unwrap().is_service = false;
        change(job);
    });
    ScheduleCronJobArguments { description: job.description }
}

fn replace(schedule: &str) -> ReplaceCronTemplateArguments {
    ReplaceCronTemplateArguments { config: cron(schedule, |_| {}).description }
}

fn start() -> StartCronJobArguments {
    StartCronJobArguments { job: wire_key() }
}

fn deschedule() -> DescheduleCronJobArguments {
    DescheduleCronJobArguments { job: wire_key() }
}

async fn summary(router: &Router) -> JobSummary {
    let response = call(router, GetJobSummaryArguments { role: Some("www-data".to_owned()) }).await;
    let Some(ResponseResult::JobSummary(result)) = response.result else { panic!("no summaries") };
    assert_eq!(result.summaries.len(), 1);
    result.summaries.iter().next().unwrap().clone()
}

#[tokio::test]
async fn a_cron_job_is_scheduled_shown_started_replaced_and_descheduled() {
    let router = scheduler();
    assert_eq!(call(&router, cron("*/7 * * * *", |_| {})).await.response_code, Some(ResponseCode::Ok));
    assert_eq!(tasks(&router).await, [], "scheduling starts nothing");
    let shown = summary(&router).await;
    let config = shown.job.unwrap();
    assert_eq!((config.cron_schedule.as_deref(), config.instance_count), (Some("*/7 * * * *"), 2));
    assert_eq!(config.cron_collision_policy, Some(CronCollisionPolicy::CancelNew));
    let next_ms = shown.next_cron_run_ms.unwrap();
    assert!(next_ms > 1_800_000_000_000 && next_ms % 60_000 == 0, "{next_ms}");
    assert_eq!(shown.stats, Some(JobStats::default()));

    assert_eq!(call(&router, start()).await.details, vec![]);
    assert_eq!(tasks(&router).await, [(0, PENDING), (1, PENDING)]);
    let collided = call(&router, start()).await;
    assert_eq!((collided.response_code, collided.details.len()), (Some(ResponseCode::Ok), 1));
    assert_eq!(tasks(&router).await.len(), 2);

    assert_eq!(code(&router, replace("0 0 * * *")).await, ResponseCode::Ok);
    let response = call(&router, GetJobsArguments { owner_role: Some("www-data".to_owned()) }).await;
    let Some(ResponseResult::GetJobs(result)) = response.result else { panic!("no jobs") };
    let jobs: Vec<_> = result.configs.iter().map(|job| (job.cron_schedule.as_deref(), job.instance_count)).collect();
    assert_eq!(jobs, [(Some("0 0 * * *"), 2)], "the schedule speaks for the job, not its tasks");
    let response = call(&router, GetRoleSummaryArguments {}).await;
    let Some(ResponseResult::RoleSummary(result)) = response.result else { panic!("no roles") };
    let roles: Vec<_> = result.summaries.iter().map(|role| (role.job_count, role.cron_job_count)).collect();
    assert_eq!(roles, [(1, 1)]);

    assert_eq!(call(&router, deschedule()).await.details, vec![]);
    assert_eq!(tasks(&router).await.len(), 2, "running tasks stay");
    assert_eq!(summary(&router).await.next_cron_run_ms, None);
    let again = call(&router, deschedule()).await;
    assert_eq!((again.response_code, again.details.len()), (Some(ResponseCode::Ok), 1));
}

#[tokio::test]
async fn each_cron_call_has_its_code_for_each_way_it_can_fail() {
    use ResponseCode::{Error, InvalidRequest};
    let router = scheduler();
    assert_eq!(code(&router, start()).await, InvalidRequest);
    assert_eq!(code(&router, replace("* * * * *")).await, InvalidRequest);
    assert_eq!(code(&router, cron("* * * * *", |job| job.cron_schedule = None)).await, InvalidRequest);
    for schedule in ["", "* * * *", "60 * * * *", "* * * * 7", "@daily", "0 0 1 * MON"] {
        assert_eq!(code(&router, cron(schedule, |_| {})).await, InvalidRequest, "{schedule}");
    }
    let overlap =
        |job: &mut thrift::JobConfiguration| job.cron_collision_policy = Some(CronCollisionPolicy::RunOverlap);
    assert_eq!(code(&router, cron("* * * * *", overlap)).await, InvalidRequest);
    let service = |job: &mut thrift::JobConfiguration| job.task_config.as_mut().unwrap().is_service = true;
    assert_eq!(code(&router, cron("* * * * *", service)).await, InvalidRequest);
    let bad_key = |job: &mut thrift::JobConfiguration| job.key.as_mut().unwrap().name = "a b".to_owned();
    assert_eq!(code(&router, cron("* * * * *", bad_key)).await, Error);
    assert_eq!(code(&router, ScheduleCronJobArguments { description: None }).await, Error);
    assert_eq!(code(&router, ReplaceCronTemplateArguments { config: None }).await, Error);
    assert_eq!(code(&router, StartCronJobArguments { job: None }).await, Error);
    assert_eq!(code(&router, DescheduleCronJobArguments { job: None }).await, Error);
    assert_eq!(summary_count(&router).await, 0);

    assert_eq!(code(&router, create(1, |_| {})).await, ResponseCode::Ok);
    assert_eq!(code(&router, cron("* * * * *", |_| {})).await, InvalidRequest, "a job with tasks is there");
    assert_eq!(code(&router, kill()).await, ResponseCode::Ok);
    assert_eq!(code(&router, cron("* * * * *", |_| {})).await, ResponseCode::Ok);
    assert_eq!(code(&router, create(1, |_| {})).await, InvalidRequest, "it is a cron job");
    let request = JobUpdateRequest {
        task_config: Some(config("{}")),
        instance_count: 1,
        settings: Some(JobUpdateSettings { update_group_size: 1, ..Default::default() }),
        ..Default::default()
    };
    let diff = GetJobUpdateDiffArguments { request: Some(request.clone()) };
    assert_eq!(code(&router, diff).await, InvalidRequest);
    let update = StartJobUpdateArguments { request: Some(request), message: None };
    assert_eq!(code(&router, update).await, InvalidRequest);
    let key = InstanceKey { job_key: wire_key(), instance_id: 0 };
    assert_eq!(code(&router, AddInstancesArguments { key: Some(key), count: 1 }).await, InvalidRequest);
}

async fn summary_count(router: &Router) -> usize {
    let response = call(router, GetJobSummaryArguments { role: None }).await;
    let Some(ResponseResult::JobSummary(result)) = response.result else { panic!("no summaries") };
    result.summaries.len()
}

#[tokio::test]
async fn a_role_s_consumption_counts_a_cron_job_before_it_runs() {
    let router = scheduler();
    let used = async || {
        let response = call(&router, GetQuotaArguments { owner_role: Some("www-data".to_owned()) }).await;
        let Some(ResponseResult::GetQuota(result)) = response.result else { panic!("no quota") };
        let consumption = model::Resources::try_from(result.non_prod_shared_consumption.unwrap()).unwrap();
        consumption.cpu.0
    };
    assert_eq!(used().await, 0);
    code(&router, cron("* * * * *", |_| {})).await;
    assert_eq!(used().await, 1000, "two instances of half a core");
    code(&router, start()).await;
    assert_eq!(used().await, 1000);
    code(&router, deschedule()).await;
    assert_eq!(used().await, 1000, "its tasks go on");
    code(&router, kill()).await;
    assert_eq!(used().await, 0);
}
