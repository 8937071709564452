//! Who may call what (spec thrift-api 1.4): which permission a call demands, and what an unknown caller hears. Only what the wire says is
//! looked at; who decides is behind the gateway. Where security is off nothing of this shows.

use gateway::{Gateway, Permission};
use model::JobKey;
use scheduler::Principal;
use thrift::{Call, Service};

use crate::answer::{Answer, MethodResult, Refusal};

/// Whether the caller must say who he is before this call is even looked at.
pub fn wants_login(gateway: &Gateway, principal: Option<&Principal>, service: Service) -> bool {
    service != Service::ReadOnlyScheduler && principal.is_none() && gateway.requires_login()
}

/// Why a call is refused before its arguments are looked at; nothing where it is not.
pub fn refusal(gateway: &Gateway, principal: &Principal, call: &Call) -> Option<Answer> {
    if !gateway.requires_login() {
        return None;
    }
    match permission(call)? {
        Ok(permission) => gateway.authorise(principal, &permission).err().map(|reply| Answer::of_reply(reply, None)),
        Err(refusal) => Some(refusal.into()),
    }
}

/// What a call demands; nothing where anybody may call.
fn permission(call: &Call) -> Option<MethodResult<Permission>> {
    let method = call.method().name();
    match call.method().service() {
        Service::ReadOnlyScheduler => None,
        Service::AuroraAdmin => Some(Ok(Permission::Admin { method })),
        Service::AuroraSchedulerManager => {
            let job = job_of(call).map(|key| JobKey::from(key.clone())).filter(JobKey::is_valid);
            let missing = || {
                Refusal::invalid(format!("The job key of {method} is missing or invalid: write role/environment/name."))
            };
            Some(job.map(|job| Permission::Job { method, job }).ok_or_else(missing))
        }
    }
}

/// The key that says whose job it is.
fn job_of(call: &Call) -> Option<&thrift::JobKey> {
    match call {
        Call::CreateJob(arguments) => arguments.description.as_ref()?.key.as_ref(),
        Call::ScheduleCronJob(arguments) => arguments.description.as_ref()?.key.as_ref(),
        Call::ReplaceCronTemplate(arguments) => arguments.config.as_ref()?.key.as_ref(),
        Call::DescheduleCronJob(arguments) => arguments.job.as_ref(),
        Call::StartCronJob(arguments) => arguments.job.as_ref(),
        Call::RestartShards(arguments) => arguments.job.as_ref(),
        Call::KillTasks(arguments) => arguments.job.as_ref(),
        Call::AddInstances(arguments) => arguments.key.as_ref()?.job_key.as_ref(),
        Call::StartJobUpdate(arguments) => arguments.request.as_ref()?.task_config.as_ref()?.job.as_ref(),
        Call::PauseJobUpdate(arguments) => arguments.key.as_ref()?.job.as_ref(),
        Call::ResumeJobUpdate(arguments) => arguments.key.as_ref()?.job.as_ref(),
        Call::AbortJobUpdate(arguments) => arguments.key.as_ref()?.job.as_ref(),
        Call::RollbackJobUpdate(arguments) => arguments.key.as_ref()?.job.as_ref(),
        Call::PulseJobUpdate(arguments) => arguments.key.as_ref()?.job.as_ref(),
        // A method of this service without a job would be refused for everybody.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use thrift::{Limits, Method, decode_plain_arguments};

    use super::*;

    #[test]
    fn every_method_that_changes_something_demands_a_permission() {
        let key = r#"{"role": "r", "environment": "prod", "name": "j"}"#;
        for method in Method::ALL {
            let argument = method.arguments().first().map(|argument| argument.name).unwrap_or_default();
            let with_job = match method.name() {
                "createJob" | "scheduleCronJob" | "replaceCronTemplate" => {
                    format!(r#"{{"{argument}": {{"key": {key}}}}}"#)
                }
                "addInstances" => format!(r#"{{"key": {{"jobKey": {key}}}}}"#),
                "startJobUpdate" => format!(r#"{{"request": {{"taskConfig": {{"job": {key}}}}}}}"#),
                name if name.ends_with("JobUpdate") => format!(r#"{{"key": {{"job": {key}}}}}"#),
                _ => format!(r#"{{"job": {key}}}"#),
            };
            let read = |text: &str| decode_plain_arguments(*method, text.as_bytes(), Limits::REQUEST);
            match method.service() {
                Service::ReadOnlyScheduler => assert!(permission(&read("{}").unwrap()).is_none()),
                Service::AuroraAdmin => {
                    let permission = permission(&read("{}").unwrap()).unwrap().unwrap();
                    assert_eq!(permission.to_string(), format!("thrift.AuroraAdmin:{}", method.name()));
                }
                Service::AuroraSchedulerManager => {
                    let permission_of = |text: &str| permission(&read(text).unwrap()).unwrap();
                    let expected = format!("thrift.AuroraSchedulerManager:{}:r:prod:j", method.name());
                    assert_eq!(permission_of(&with_job).unwrap().to_string(), expected);
                    for bad in ["{}", &with_job.replace("\"r\"", "\"a:b\"")] {
                        let refusal = permission_of(bad).unwrap_err();
                        assert!(refusal.message.contains(method.name()), "{refusal:?}");
                    }
                }
            }
        }
    }
}
