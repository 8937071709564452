//! Questions against a view with tasks and updates.

use model::update::{
    InstanceConfig, InstanceRange, InstanceUpdateEvent, Update, UpdateAction, UpdateEvent, UpdateSettings, UpdateStatus,
};
use model::{JobKey, TaskId, TaskStatus, UpdateKey};
use scheduler::view::PendingReason as StoredReason;
use thrift::*;

use super::*;
use crate::samples::{sample_task, view_of};

fn stored_update(job: &str, id: &str, status: UpdateStatus, at_ms: i64) -> Update {
    let event = |status, timestamp_ms| UpdateEvent { status, timestamp_ms, user: None, message: None };
    let task = sample_task(job, 0, TaskStatus::Running, None);
    Update {
        key: UpdateKey { job: job.parse().unwrap(), id: id.to_owned() },
        user: "alice".to_owned(),
        settings: UpdateSettings::default(),
        metadata: Default::default(),
        initial: vec![],
        desired: Some(InstanceConfig {
            task: (*task.config).clone(),
            instances: vec![InstanceRange { first: 0, last: 2 }],
        }),
        events: vec![event(UpdateStatus::RollingForward, 1), event(status, at_ms)],
        instance_events: vec![InstanceUpdateEvent {
            instance: 1,
            timestamp_ms: at_ms,
            action: UpdateAction::InstanceUpdating,
            message: None,
        }],
    }
}

fn view() -> View {
    let mut production = Arc::unwrap_or_clone(sample_task("a/prod/x", 2, TaskStatus::Running, Some("h1")));
    let mut config = (*production.config).clone();
    config.production = Some(true);
    config.priority = 7;
    production.config = Arc::new(config);
    production.events[0].timestamp_ms = 99;
    let mut view = view_of([
        sample_task("a/prod/x", 0, TaskStatus::Running, Some("h1")),
        sample_task("a/prod/x", 1, TaskStatus::Failed, Some("h2")),
        Arc::new(production),
        sample_task("a/prod/y", 0, TaskStatus::Pending, None),
        sample_task("a/prod/y", 1, TaskStatus::Pending, None),
        sample_task("b/devel/z", 0, TaskStatus::Finished, Some("h1")),
    ]);
    let reason = StoredReason { nearest_fit: "Insufficient: CPU".to_owned(), ..StoredReason::default() };
    view.pending_reasons.insert(TaskId::from("a-prod-y-0"), Arc::new(reason));
    let quota = model::Resources { cpu: model::CpuMillis(3500), ram_mb: 20, disk_mb: 10, ports: 0, gpus: 0 };
    view.quotas.insert("a".to_owned(), quota);
    for update in [
        stored_update("a/prod/x", "old", UpdateStatus::RolledForward, 10),
        stored_update("a/prod/x", "new", UpdateStatus::RollForwardPaused, 30),
        stored_update("b/devel/z", "other", UpdateStatus::Aborted, 20),
    ] {
        view.updates.insert(update.key.clone(), Arc::new(update));
    }
    view
}

async fn ask(call: impl Into<Call>) -> Response {
    House::new(view(), Reply::ok()).call(call).await
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn wire_key(job: &str) -> thrift::JobKey {
    thrift::JobKey::from(&job.parse::<JobKey>().unwrap())
}

/// The member of the result that a question must have.
macro_rules! result {
    ($response:expr, $Variant:ident) => {{
        let response = $response;
        assert_eq!(response.response_code, Some(ResponseCode::Ok), "{response:?}");
        match response.result {
            Some(ResponseResult::$Variant(result)) => result,
            other => panic!("another result: {other:?}"),
        }
    }};
}

#[tokio::test]
async fn tasks_with_and_without_documents() {
    let query = TaskQuery { role: text("a"), statuses: Some(Set(vec![ScheduleStatus::Running])), ..Default::default() };
    let tasks = result!(ask(GetTasksStatusArguments { query: Some(query.clone()) }).await, ScheduleStatus).tasks;
    let ids: Vec<_> = tasks.iter().map(|task| task.assigned_task.as_ref().unwrap().task_id.as_str()).collect();
    assert_eq!(ids, ["a-prod-x-0", "a-prod-x-2"]);
    let data = |task: &ScheduledTask| {
        task.assigned_task.as_ref().unwrap().task.as_ref().unwrap().executor_config.as_ref().unwrap().clone()
    };
    assert_eq!(data(&tasks[0]), ExecutorConfig { name: AURORA_EXECUTOR_NAME.to_owned(), data: text("{\"task\": {}}") });
    let tasks = result!(ask(GetTasksWithoutConfigsArguments { query: Some(query) }).await, ScheduleStatus).tasks;
    assert_eq!(data(&tasks[0]), ExecutorConfig { name: AURORA_EXECUTOR_NAME.to_owned(), data: None });

    let nothing = TaskQuery { role: text("nobody"), ..Default::default() };
    let tasks = result!(ask(GetTasksStatusArguments { query: Some(nothing) }).await, ScheduleStatus).tasks;
    assert_eq!(tasks, []);
    let response = ask(GetTasksStatusArguments { query: None }).await;
    assert_eq!(response.response_code, Some(ResponseCode::Error));
}

#[tokio::test]
async fn a_long_list_of_tasks_arrives_in_pieces_and_whole() {
    let tasks = (0..20_000).map(|instance| sample_task("r/prod/j", instance, TaskStatus::Running, Some("h")));
    let house = House::new(view_of(tasks), Reply::ok());
    let response = house.call(GetTasksStatusArguments { query: Some(TaskQuery::default()) }).await;
    assert_eq!(result!(response, ScheduleStatus).tasks.len(), 20_000);
}

#[tokio::test]
async fn pending_reasons_cover_every_pending_task() {
    let query = |change: fn(&mut TaskQuery)| {
        let mut query = TaskQuery { role: text("a"), ..Default::default() };
        change(&mut query);
        GetPendingReasonArguments { query: Some(query) }
    };
    let reasons = result!(ask(query(|_| {})).await, GetPendingReason).reasons;
    let reasons: Vec<_> = reasons.iter().map(|reason| (reason.task_id.as_str(), reason.reason.as_str())).collect();
    assert_eq!(reasons, [("a-prod-y-0", "Insufficient: CPU"), ("a-prod-y-1", "")]);
    let reasons = result!(ask(query(|query| query.limit = Some(1))).await, GetPendingReason).reasons;
    assert_eq!(reasons.len(), 1);
    for restricted in [
        query(|query| query.statuses = Some(Set(vec![ScheduleStatus::Pending]))),
        query(|query| query.slave_hosts = Some(Set(vec!["h1".to_owned()]))),
    ] {
        assert_eq!(ask(restricted).await.response_code, Some(ResponseCode::InvalidRequest));
    }
}

#[tokio::test]
async fn roles_and_jobs_are_counted() {
    let summaries = result!(ask(GetRoleSummaryArguments {}).await, RoleSummary).summaries;
    let roles: Vec<_> = summaries.iter().map(|summary| (summary.role.as_str(), summary.job_count)).collect();
    assert_eq!(roles, [("a", 2), ("b", 1)]);

    let summaries = result!(ask(GetJobSummaryArguments { role: text("a") }).await, JobSummary).summaries;
    assert_eq!(summaries.len(), 2);
    let stats = JobStats { active_task_count: 2, failed_task_count: 1, ..JobStats::default() };
    assert_eq!(summaries[0].stats, Some(stats));
    let job = summaries[0].job.as_ref().unwrap();
    assert_eq!((job.key.clone(), job.instance_count), (Some(wire_key("a/prod/x")), 3));
    assert_eq!(job.task_config.as_ref().unwrap().priority, 7, "the latest active task speaks for the job");
    assert_eq!(summaries[1].stats, Some(JobStats { pending_task_count: 2, ..JobStats::default() }));
    let all = result!(ask(GetJobSummaryArguments { role: None }).await, JobSummary).summaries;
    assert_eq!(all.len(), 3);
    assert_eq!(all[2].stats, Some(JobStats { finished_task_count: 1, ..JobStats::default() }));
}

#[tokio::test]
async fn jobs_are_those_with_active_tasks() {
    let configs = result!(ask(GetJobsArguments { owner_role: None }).await, GetJobs).configs;
    let jobs: Vec<_> = configs.iter().map(|job| (job.key.clone().unwrap().name, job.instance_count)).collect();
    assert_eq!(jobs, [("x".to_owned(), 2), ("y".to_owned(), 2)]);
    assert_eq!(result!(ask(GetJobsArguments { owner_role: text("b") }).await, GetJobs).configs.len(), 0);
}

#[tokio::test]
async fn configurations_are_grouped_with_their_instances() {
    let summary =
        result!(ask(GetConfigSummaryArguments { job: Some(wire_key("a/prod/x")) }).await, ConfigSummary).summary;
    let groups = summary.unwrap().groups;
    let mut instances: Vec<_> = groups.iter().map(|group| group.instances.0.clone()).collect();
    instances.sort_by_key(|ranges| ranges[0].first);
    assert_eq!(instances, [[Range { first: 0, last: 0 }], [Range { first: 2, last: 2 }]]);
    let summary =
        result!(ask(GetConfigSummaryArguments { job: Some(wire_key("a/prod/no")) }).await, ConfigSummary).summary;
    assert_eq!(summary, Some(ConfigSummary { key: Some(wire_key("a/prod/no")), groups: Set::default() }));
    assert_eq!(ask(GetConfigSummaryArguments { job: None }).await.response_code, Some(ResponseCode::Error));
}

#[tokio::test]
async fn consumption_is_split_into_four_classes_of_three_resources() {
    let result = result!(ask(GetQuotaArguments { owner_role: text("a") }).await, GetQuota);
    let three = |cpus, ram, disk| {
        Some(ResourceAggregate {
            resources: Set(vec![Resource::NumCpus(cpus), Resource::RamMb(ram), Resource::DiskMb(disk)]),
        })
    };
    assert_eq!(result.quota, three(3.5, 20, 10));
    let without = result!(ask(GetQuotaArguments { owner_role: text("b") }).await, GetQuota);
    assert_eq!(without.quota, three(0.0, 0, 0));
    // Instances 0 to 2 of a/prod/x count through the active update: three of the configuration it wants.
    assert_eq!(result.prod_shared_consumption, three(0.0, 0, 0));
    assert_eq!(result.non_prod_shared_consumption, three(2.5, 80, 160));
    assert_eq!(result.prod_dedicated_consumption, three(0.0, 0, 0));
    assert_eq!(result.non_prod_dedicated_consumption, three(0.0, 0, 0));
    assert_eq!(ask(GetQuotaArguments { owner_role: text(" ") }).await.response_code, Some(ResponseCode::Error));
}

#[tokio::test]
async fn updates_are_listed_newest_first_and_filtered() {
    async fn ids(query: JobUpdateQuery) -> Vec<String> {
        let call = GetJobUpdateSummariesArguments { job_update_query: Some(query) };
        let summaries = result!(ask(call).await, GetJobUpdateSummaries).update_summaries;
        summaries.into_iter().map(|summary| summary.key.unwrap().id).collect()
    }
    assert_eq!(ids(JobUpdateQuery::default()).await, ["new", "other", "old"]);
    assert_eq!(ids(JobUpdateQuery { role: text("a"), ..Default::default() }).await, ["new", "old"]);
    assert_eq!(ids(JobUpdateQuery { user: text("bob"), ..Default::default() }).await, [""; 0]);
    assert_eq!(ids(JobUpdateQuery { job_key: Some(wire_key("b/devel/z")), ..Default::default() }).await, ["other"]);
    let active = Some(Set(ACTIVE_JOB_UPDATE_STATES.to_vec()));
    assert_eq!(ids(JobUpdateQuery { update_statuses: active, ..Default::default() }).await, ["new"]);
    let key = JobUpdateKey { job: Some(wire_key("a/prod/x")), id: "old".to_owned() };
    assert_eq!(ids(JobUpdateQuery { key: Some(key), ..Default::default() }).await, ["old"]);
    assert_eq!(ids(JobUpdateQuery { key: Some(JobUpdateKey::default()), ..Default::default() }).await, [""; 0]);
    assert_eq!(ids(JobUpdateQuery { offset: Some(1), limit: Some(1), ..Default::default() }).await, ["other"]);
    assert_eq!(ids(JobUpdateQuery { offset: Some(0), limit: Some(0), ..Default::default() }).await.len(), 3);
    let response = ask(GetJobUpdateSummariesArguments { job_update_query: None }).await;
    assert_eq!(response.response_code, Some(ResponseCode::Error));
}

#[tokio::test]
async fn update_details_by_query_are_a_list_and_by_key_one() {
    let key = |id: &str| Some(JobUpdateKey { job: Some(wire_key("a/prod/x")), id: id.to_owned() });
    let by_query = GetJobUpdateDetailsArguments {
        key: key("old"),
        query: Some(JobUpdateQuery { key: key("new"), ..Default::default() }),
    };
    let result = result!(ask(by_query).await, GetJobUpdateDetails);
    assert_eq!(result.details, None);
    let list = result.details_list.unwrap();
    assert_eq!(list.len(), 1);
    let update = list[0].update.as_ref().unwrap();
    let instructions = update.instructions.as_ref().unwrap();
    assert!(instructions.settings.as_ref().unwrap().update_strategy.is_some());
    assert_eq!(instructions.desired_state.as_ref().unwrap().instances.0, [Range { first: 0, last: 2 }]);
    let state = update.summary.as_ref().unwrap().state.as_ref().unwrap();
    assert_eq!(state.status, Some(JobUpdateStatus::RollForwardPaused));
    assert_eq!((state.created_timestamp_ms, state.last_modified_timestamp_ms), (1, 30));
    assert_eq!((list[0].update_events.len(), list[0].instance_events.len()), (2, 1));

    let response = ask(GetJobUpdateDetailsArguments { key: key("old"), query: None }).await;
    assert_eq!(messages(&response).len(), 1);
    let result = result!(response, GetJobUpdateDetails);
    assert!(result.details.is_some() && result.details_list.is_none());
    let response = ask(GetJobUpdateDetailsArguments { key: key("no"), query: None }).await;
    assert_eq!(response.response_code, Some(ResponseCode::InvalidRequest));
    let response = ask(GetJobUpdateDetailsArguments::default()).await;
    assert_eq!(response.response_code, Some(ResponseCode::Error));
}

fn diff_request(instance_count: i32, change: fn(&mut model::TaskConfig)) -> GetJobUpdateDiffArguments {
    let mut task = (*sample_task("a/prod/x", 0, TaskStatus::Running, None).config).clone();
    task.tier = None;
    task.production = None;
    change(&mut task);
    let settings = UpdateSettings::default();
    let request = model::update::UpdateRequest { task, instance_count, settings, metadata: Default::default() };
    GetJobUpdateDiffArguments { request: Some((&request).into()) }
}

fn instances(groups: &Set<ConfigGroup>) -> Vec<i32> {
    groups.iter().flat_map(|group| group.instances.iter().flat_map(|range| range.first..=range.last)).collect()
}

#[tokio::test]
async fn a_diff_names_what_would_change() {
    // Stored are instance 0 and, with another priority, instance 2.
    let same = result!(ask(diff_request(2, |_| {})).await, GetJobUpdateDiff);
    assert_eq!(instances(&same.add), [1]);
    assert_eq!(instances(&same.remove), [2]);
    assert_eq!(instances(&same.update), [0; 0]);
    assert_eq!(instances(&same.unchanged), [0]);
    assert_eq!(same.add[0].config.as_ref().unwrap().tier.as_deref(), Some("preemptible"));
    assert_eq!(same.remove[0].config.as_ref().unwrap().priority, 7);

    let other = result!(ask(diff_request(3, |task| task.priority = 5)).await, GetJobUpdateDiff);
    assert_eq!(instances(&other.add), [1]);
    assert_eq!(instances(&other.remove), [0; 0]);
    assert_eq!(instances(&other.update), [0, 2]);
    assert_eq!(other.update.len(), 2, "the present configurations differ");

    for (arguments, code) in [
        (diff_request(2, |task| task.tier = Some("gold".to_owned())), ResponseCode::InvalidRequest),
        (diff_request(-1, |_| {}), ResponseCode::Error),
        (diff_request(i32::MAX, |_| {}), ResponseCode::InvalidRequest),
        (GetJobUpdateDiffArguments { request: None }, ResponseCode::Error),
    ] {
        assert_eq!(ask(arguments).await.response_code, Some(code));
    }
}

#[tokio::test]
async fn configurations_are_populated_and_tiers_told() {
    let job = model::JobConfiguration {
        key: JobKey::new("a", "prod", "x"),
        owner: None,
        cron_schedule: None,
        cron_collision_policy: Default::default(),
        task: model::TaskConfig::new(JobKey::new("a", "prod", "x"), 1.0, 1, 1, "{}"),
        instance_count: 1,
    };
    let populate = |job: &model::JobConfiguration| PopulateJobConfigArguments { description: Some(job.into()) };
    let task = result!(ask(populate(&job)).await, PopulateJob).task_config.unwrap();
    assert_eq!((task.tier.as_deref(), task.production), (Some("preemptible"), Some(false)));
    let response = ask(populate(&model::JobConfiguration { instance_count: 0, ..job })).await;
    assert_eq!(response.response_code, Some(ResponseCode::InvalidRequest));
    assert!(messages(&response)[0].starts_with("Invalid configuration: "));

    let tiers = result!(ask(GetTierConfigsArguments {}).await, GetTierConfig);
    assert_eq!(tiers.default_tier_name, "preemptible");
    let settings: Vec<_> = tiers
        .tiers
        .iter()
        .map(|tier| (tier.name.as_str(), tier.settings["preemptible"].as_str(), tier.settings["revocable"].as_str()))
        .collect();
    assert_eq!(
        settings,
        [("preemptible", "true", "false"), ("preferred", "false", "false"), ("revocable", "true", "true")]
    );
}
