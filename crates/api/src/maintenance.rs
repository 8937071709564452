//! Maintenance of hosts (spec thrift-api 3.6): the calls become commands, their answers the modes of those hosts that are known.

use gateway::Gateway;
use model::{Host, MaintenanceMode};
use scheduler::command::Outcome;
use scheduler::{Command, MaintenanceCommand, ReplyCode, View};
use thrift::{
    Call, DrainHostsResult, EndMaintenanceResult, HostStatus, Hosts, MaintenanceStatusResult, ResponseResult, Set,
    SlaDrainHostsArguments, StartMaintenanceResult,
};

use crate::answer::{Answer, MethodResult, given};
use crate::change::Asker;

/// Answers a call about hosts; `None` when it is none.
pub async fn answer(gateway: &Gateway, asker: &Asker, call: &Call) -> Option<Answer> {
    let (command, result): (_, fn(Set<HostStatus>) -> ResponseResult) = match call.clone() {
        Call::StartMaintenance(arguments) => {
            (hosts(arguments.hosts).map(|hosts| MaintenanceCommand::Start { hosts }), |statuses| {
                ResponseResult::StartMaintenance(StartMaintenanceResult { statuses })
            })
        }
        Call::DrainHosts(arguments) => {
            (hosts(arguments.hosts).map(|hosts| MaintenanceCommand::Drain { hosts }), drained)
        }
        Call::SlaDrainHosts(arguments) => (sla_drain(arguments), drained),
        Call::EndMaintenance(arguments) => {
            (hosts(arguments.hosts).map(|hosts| MaintenanceCommand::End { hosts }), |statuses| {
                ResponseResult::EndMaintenance(EndMaintenanceResult { statuses })
            })
        }
        Call::MaintenanceStatus(arguments) => {
            let status = hosts(arguments.hosts).map(|hosts| status(&gateway.view(), hosts));
            return Some(status.unwrap_or_else(Answer::from));
        }
        _ => return None,
    };
    let command = match command {
        Ok(command) => command,
        Err(refusal) => return Some(refusal.into()),
    };
    let reply = asker.submit(gateway, Command::Maintenance(command)).await;
    let result = match &reply.outcome {
        Outcome::Hosts(modes) if reply.code == ReplyCode::Ok => Some(result(statuses(modes.clone()))),
        _ => None,
    };
    Some(Answer::of_reply(reply, result))
}

fn drained(statuses: Set<HostStatus>) -> ResponseResult {
    ResponseResult::DrainHosts(DrainHostsResult { statuses })
}

fn hosts(hosts: Option<Hosts>) -> MethodResult<Vec<Host>> {
    Ok(given(hosts, "hosts")?.host_names.into_iter().collect())
}

fn sla_drain(arguments: SlaDrainHostsArguments) -> MethodResult<MaintenanceCommand> {
    Ok(MaintenanceCommand::SlaDrain {
        hosts: hosts(arguments.hosts)?,
        default_policy: given(arguments.default_sla_policy, "defaultSlaPolicy")?.into(),
        timeout_secs: arguments.timeout_secs,
    })
}

fn statuses(modes: Vec<(Host, MaintenanceMode)>) -> Set<HostStatus> {
    Set(modes.into_iter().map(|(host, mode)| HostStatus { host, mode: Some(mode.into()) }).collect())
}

/// The modes of those of the hosts that are known.
fn status(view: &View, mut hosts: Vec<Host>) -> Answer {
    hosts.sort_unstable();
    hosts.dedup();
    let known = hosts.into_iter().filter_map(|host| view.hosts.get(&host).map(|record| (host, record.mode)));
    let statuses = statuses(known.collect());
    Answer::ok(ResponseResult::MaintenanceStatus(MaintenanceStatusResult { statuses }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use scheduler::view::HostRecord;
    use thrift::{
        CountSlaPolicy, DrainHostsArguments, EndMaintenanceArguments, MaintenanceStatusArguments, Method, ResponseCode,
        SlaPolicy, StartMaintenanceArguments,
    };

    use super::*;
    use crate::tests::House;
    use model::task::SlaPolicy as ModelPolicy;
    use scheduler::Reply;

    fn named(names: &[&str]) -> Option<Hosts> {
        Some(Hosts { host_names: names.iter().map(|name| (*name).to_owned()).collect() })
    }

    fn one(mode: MaintenanceMode) -> Set<HostStatus> {
        statuses(vec![("a".into(), mode)])
    }

    fn house(mode: MaintenanceMode) -> House {
        House::new(View::default(), Reply { outcome: Outcome::Hosts(vec![("a".into(), mode)]), ..Reply::ok() })
    }

    #[tokio::test]
    async fn each_call_is_a_command_with_a_result_of_its_own() {
        let hosts: Vec<Host> = vec!["a".into(), "b".into()];
        let scheduled = house(MaintenanceMode::Scheduled);
        let response = scheduled.call(StartMaintenanceArguments { hosts: named(&["a", "b"]) }).await;
        let expected = StartMaintenanceResult { statuses: one(MaintenanceMode::Scheduled) };
        assert_eq!(response.result, Some(ResponseResult::StartMaintenance(expected)));
        assert_eq!(scheduled.commands(), [Command::Maintenance(MaintenanceCommand::Start { hosts: hosts.clone() })]);

        let draining = house(MaintenanceMode::Draining);
        let response = draining.call(DrainHostsArguments { hosts: named(&["a", "b"]) }).await;
        assert_eq!(response.result, Some(drained(one(MaintenanceMode::Draining))));
        let policy = SlaPolicy::Count(CountSlaPolicy { count: 2, duration_secs: 9 });
        let arguments =
            SlaDrainHostsArguments { hosts: named(&["b", "a"]), default_sla_policy: Some(policy), timeout_secs: 30 };
        let response = draining.call(arguments).await;
        assert_eq!(response.result, Some(drained(one(MaintenanceMode::Draining))));
        let commands = draining.commands();
        assert_eq!(commands[0], Command::Maintenance(MaintenanceCommand::Drain { hosts }));
        let Command::Maintenance(MaintenanceCommand::SlaDrain { default_policy, timeout_secs, .. }) = &commands[1]
        else {
            panic!("{commands:?}")
        };
        assert_eq!(*default_policy, ModelPolicy::Count { count: 2, duration_secs: 9 });
        assert_eq!(*timeout_secs, 30);

        let response = house(MaintenanceMode::None).call(EndMaintenanceArguments { hosts: named(&["a"]) }).await;
        let expected = EndMaintenanceResult { statuses: one(MaintenanceMode::None) };
        assert_eq!(response.result, Some(ResponseResult::EndMaintenance(expected)));
    }

    #[tokio::test]
    async fn the_status_of_unknown_hosts_is_left_out() {
        let mut view = View::default();
        let record = HostRecord { mode: MaintenanceMode::Drained, ..HostRecord::default() };
        view.hosts.insert("a".into(), Arc::new(record));
        let house = House::new(view, Reply::ok());
        let response = house.call(MaintenanceStatusArguments { hosts: named(&["IMAGINARY_HOST", "a"]) }).await;
        let expected = MaintenanceStatusResult { statuses: one(MaintenanceMode::Drained) };
        assert_eq!(response.result, Some(ResponseResult::MaintenanceStatus(expected)));
        assert_eq!(house.commands(), []);
    }

    #[tokio::test]
    async fn missing_arguments_are_named_and_change_nothing() {
        let house = house(MaintenanceMode::None);
        let methods = [
            Method::StartMaintenance,
            Method::DrainHosts,
            Method::SlaDrainHosts,
            Method::MaintenanceStatus,
            Method::EndMaintenance,
        ];
        for method in methods {
            let response = house.call(Call::without_arguments(method)).await;
            assert_eq!(response.response_code, Some(ResponseCode::Error), "{}", method.name());
            let message = response.details[0].message.as_deref().unwrap_or_default();
            assert!(message.contains("hosts is missing"), "{message}");
        }
        let arguments = SlaDrainHostsArguments { hosts: named(&["a"]), default_sla_policy: None, timeout_secs: 1 };
        let response = house.call(arguments).await;
        assert!(response.details[0].message.as_deref().unwrap_or_default().contains("defaultSlaPolicy"));
        assert_eq!(house.commands(), []);
    }
}
