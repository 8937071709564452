//! `cron schedule`, `deschedule`, `start`, `show`, and the old spellings.

use thrift::{
    Call, CronCollisionPolicy, GetJobsResult, JobConfiguration, ResponseCode, ResponseDetail, ResponseResult,
};

use crate::exit::Exit;
use crate::testing::{FakeWorld, hello_file_as, ok, refused, with_result};

const KEY: &str = "c1/www-data/devel/hello_world";

fn cron_file() -> Result<crate::evaluation::Evaluation, String> {
    Ok(hello_file_as(|job| {
        job.cron_schedule = Some("*/5 * * * *".into());
        job.cron_collision_policy = model::CronCollisionPolicy::CancelNew;
    }))
}

fn jobs(schedules: &[(&str, Option<&str>)]) -> thrift::Response {
    let configs = schedules.iter().map(|(name, schedule)| JobConfiguration {
        key: Some(thrift::JobKey { role: "www-data".into(), environment: "devel".into(), name: (*name).into() }),
        cron_schedule: schedule.map(str::to_owned),
        ..JobConfiguration::default()
    });
    with_result(ResponseResult::GetJobs(GetJobsResult { configs: configs.collect() }))
}

fn with_message(message: &str) -> thrift::Response {
    let details = vec![ResponseDetail { message: Some(message.into()) }];
    thrift::Response { details, ..ok() }
}

#[test]
fn schedule_sends_the_job_and_prints_its_page() {
    let world = FakeWorld::new(|_| None).with_file(cron_file());
    world.aurora(&format!("cron schedule --bind a.b=1 {KEY} hello.aurora --read-json")).expect(
        Exit::Ok,
        "Cron job scheduled, status can be viewed at \
         http://scheduler.example:8081/scheduler/www-data/devel/hello_world\n",
        "",
    );
    assert_eq!(world.changes(), ["scheduleCronJob"]);
    let sent = world.calls().into_iter().find_map(|call| match call {
        Call::ScheduleCronJob(arguments) => arguments.description,
        _ => None,
    });
    let sent = sent.unwrap();
    assert_eq!(sent.cron_schedule.as_deref(), Some("*/5 * * * *"));
    assert_eq!(sent.cron_collision_policy, Some(CronCollisionPolicy::CancelNew));
}

#[test]
fn a_job_without_a_schedule_is_not_scheduled() {
    let world = FakeWorld::new(|_| None);
    let ran = world.aurora(&format!("cron schedule {KEY} f"));
    assert_eq!((ran.exit, world.changes().len()), (Exit::CommandFailure, 0));
    assert!(ran.err.contains("no cron_schedule") && ran.err.contains("aurora job create"), "{}", ran.err);
}

#[test]
fn what_the_scheduler_refuses_is_exit_10_with_its_reason() {
    let refusing = |_: &Call| Some(refused(ResponseCode::InvalidRequest, "minute '60' is out of range"));
    let world = FakeWorld::new(move |call| match call {
        Call::ScheduleCronJob(_) | Call::DescheduleCronJob(_) | Call::StartCronJob(_) => refusing(call),
        _ => None,
    })
    .with_file(cron_file());
    for (words, said) in [
        (format!("cron schedule {KEY} f"), "Error scheduling cron job"),
        (format!("cron deschedule {KEY}"), "Error descheduling cron job"),
        (format!("cron start {KEY}"), "Error starting cron job"),
    ] {
        let expected = format!("{said} {KEY}:\n\tminute '60' is out of range\n");
        world.aurora(&words).expect(Exit::ApiError, "", &expected);
    }
}

#[test]
fn deschedule_says_so_and_whether_there_was_anything() {
    let world = FakeWorld::new(|_| None);
    world.aurora(&format!("cron deschedule {KEY}")).expect(Exit::Ok, "Cron descheduling succeeded.\n", "");
    let sent = world.calls().into_iter().find_map(|call| match call {
        Call::DescheduleCronJob(arguments) => arguments.job,
        _ => None,
    });
    assert_eq!(sent.unwrap().name, "hello_world");
    let world = FakeWorld::new(|call| match call {
        Call::DescheduleCronJob(_) => Some(with_message("Job x is not scheduled with cron.")),
        _ => None,
    });
    world.aurora(&format!("cron deschedule {KEY}")).expect(
        Exit::Ok,
        "Cron descheduling succeeded.\n",
        " INFO] Job x is not scheduled with cron.\n",
    );
}

#[test]
fn start_is_silent_and_opens_the_page_when_asked() {
    let world = FakeWorld::new(|_| None);
    world.aurora(&format!("cron start {KEY} --bind a=1 --config f --read-json")).expect(Exit::Ok, "", "");
    assert_eq!((world.changes(), world.opened().len()), (vec!["startCronJob"], 0));
    world.aurora(&format!("cron start --open-browser {KEY}")).expect(Exit::Ok, "", "");
    assert_eq!(world.opened(), ["http://scheduler.example:8081/scheduler/www-data/devel/hello_world"]);
    let world = FakeWorld::new(|call| match call {
        Call::StartCronJob(_) => Some(with_message("The run of x: not started.")),
        _ => None,
    });
    world.aurora(&format!("cron start {KEY}")).expect(Exit::Ok, "", " INFO] The run of x: not started.\n");
}

#[test]
fn show_prints_the_key_and_the_schedule() {
    let world = FakeWorld::new(|call| match call {
        Call::GetJobs(_) => Some(jobs(&[("other", Some("0 0 * * *")), ("hello_world", Some("*/5 * * * *"))])),
        _ => None,
    });
    world.aurora(&format!("cron show {KEY}")).expect(Exit::Ok, &format!("{KEY}\t */5 * * * *\n"), "");
    let world = FakeWorld::new(|call| match call {
        Call::GetJobs(_) => Some(jobs(&[("other", Some("0 0 * * *")), ("hello_world", None)])),
        _ => None,
    });
    let expected = format!("No cron entry found for job {KEY}\n");
    world.aurora(&format!("cron show {KEY}")).expect(Exit::InvalidParameter, "", &expected);
}

#[test]
fn old_clients_start_and_list_cron_jobs_too() {
    let world = FakeWorld::new(|call| match call {
        Call::GetJobs(_) => Some(jobs(&[("other", None), ("hello_world", Some("*/5 * * * *"))])),
        _ => None,
    });
    assert_eq!(world.aurora(&format!("start_cron {KEY}")).exit, Exit::Ok);
    assert_eq!(world.changes(), ["startCronJob"]);
    let listed = world.aurora("list_jobs c1/www-data --show-cron");
    assert_eq!(listed.out, format!("{KEY}\t */5 * * * *\nc1/www-data/devel/other\n"));
    let listed = world.aurora("list_jobs c1/www-data");
    assert_eq!(listed.out, format!("{KEY}\nc1/www-data/devel/other\n"));
}
