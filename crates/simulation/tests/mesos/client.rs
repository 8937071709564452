//! A scheduler by hand: subscribes, keeps what it is told, and answers only when the test says so.

use std::collections::BTreeMap;

use bytes::Bytes;
use mesos::v1::framework_info::{Capability, capability::Type};
use mesos::v1::offer::{Operation, operation};
use mesos::v1::scheduler::{Call, Event, call, event};
use mesos::v1::{
    CommandInfo, ExecutorInfo, Filters, FrameworkInfo, Offer, OfferId, Resource, TaskInfo, TaskState, TaskStatus,
    task_status::Reason, value,
};
use simulation::mesos::{Answer, Cluster, Output};

/// A description with the capabilities that Daybreak has.
pub fn framework(name: &str, role: &str) -> FrameworkInfo {
    let capabilities = [Type::PartitionAware, Type::MultiRole, Type::ReservationRefinement, Type::TaskKillingState];
    FrameworkInfo {
        user: "www-data".into(),
        name: name.into(),
        failover_timeout: Some(3600.0),
        checkpoint: Some(true),
        roles: vec![role.into()],
        capabilities: capabilities.map(|kind| Capability { r#type: Some(kind as i32) }).to_vec(),
        ..FrameworkInfo::default()
    }
}

pub fn scalar(name: &str, value: f64) -> Resource {
    let scalar = Some(value::Scalar { value });
    Resource { name: name.into(), r#type: value::Type::Scalar as i32, scalar, ..Resource::default() }
}

/// A task with an executor of its own, which takes 0.1 cpus and 32 MB.
pub fn task(id: &str, agent: &str, cpus: f64) -> TaskInfo {
    let command = Some(CommandInfo { value: Some("./executor".into()), ..CommandInfo::default() });
    let executor = ExecutorInfo {
        executor_id: format!("executor-{id}").into(),
        command,
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0)],
        ..ExecutorInfo::default()
    };
    TaskInfo {
        name: format!("name of {id}"),
        task_id: id.into(),
        agent_id: agent.into(),
        resources: vec![scalar("cpus", cpus), scalar("mem", 64.0)],
        executor: Some(executor),
        ..TaskInfo::default()
    }
}

pub fn launch(tasks: Vec<TaskInfo>) -> Operation {
    Operation {
        r#type: Some(operation::Type::Launch as i32),
        launch: Some(operation::Launch { task_infos: tasks }),
        ..Operation::default()
    }
}

#[derive(Default)]
pub struct Client {
    pub info: FrameworkInfo,
    pub stream: u64,
    pub stream_id: String,
    pub suppressed: Vec<String>,
    /// Every event of the present subscription, oldest first.
    pub events: Vec<Event>,
    pub offers: BTreeMap<String, Offer>,
    pub updates: Vec<TaskStatus>,
    pub closed: bool,
}

impl Client {
    pub fn subscribe(cluster: &mut Cluster, info: FrameworkInfo) -> Self {
        let mut client = Self { info, ..Self::default() };
        client.subscribe_again(cluster);
        client
    }

    pub fn subscribe_again(&mut self, cluster: &mut Cluster) {
        let subscribe = call::Subscribe {
            framework_info: self.info.clone(),
            suppressed_roles: self.suppressed.clone(),
            ..call::Subscribe::default()
        };
        let call = Call {
            framework_id: self.info.id.clone(),
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(subscribe),
            ..Call::default()
        };
        let Answer::Stream { stream, id } = cluster.call(call, None, None) else { panic!("no stream") };
        (self.stream, self.stream_id, self.closed) = (stream, id, false);
        self.events.clear();
        self.offers.clear();
        self.take(cluster);
    }

    /// Lets time pass and takes what came.
    pub fn wait(&mut self, cluster: &mut Cluster, ms: u64) {
        let now_ms = cluster.now_ms();
        cluster.advance(now_ms + ms);
        self.take(cluster);
    }

    pub fn take(&mut self, cluster: &mut Cluster) {
        for output in cluster.take_output() {
            match output {
                Output::Event { stream, event } if stream == self.stream => self.note(*event),
                Output::Close { stream } if stream == self.stream => self.closed = true,
                _ => {}
            }
        }
    }

    fn note(&mut self, event: Event) {
        if let Some(subscribed) = &event.subscribed {
            self.info.id = Some(subscribed.framework_id.clone());
        }
        for offer in event.offers.iter().flat_map(|offers| &offers.offers) {
            self.offers.insert(offer.id.value.clone(), offer.clone());
        }
        if let Some(rescind) = &event.rescind {
            self.offers.remove(&rescind.offer_id.value);
        }
        if let Some(update) = &event.update {
            self.updates.push(update.status.clone());
        }
        self.events.push(event);
    }

    pub fn count(&self, kind: event::Type) -> usize {
        self.events.iter().filter(|event| event.r#type == Some(kind as i32)).count()
    }

    pub fn call(&mut self, cluster: &mut Cluster, kind: call::Type, fill: impl FnOnce(&mut Call)) -> u16 {
        let mut call = Call { framework_id: self.info.id.clone(), r#type: Some(kind as i32), ..Call::default() };
        fill(&mut call);
        let Answer::Status(status, _) = cluster.call(call, Some(&self.stream_id), None) else { panic!("a stream") };
        self.take(cluster);
        status
    }

    /// Uses every offer of the agent that is held.
    pub fn accept(&mut self, cluster: &mut Cluster, agent: &str, operations: Vec<Operation>, refuse_s: f64) {
        let ids: Vec<OfferId> =
            self.offers.values().filter(|offer| offer.agent_id.value == agent).map(|offer| offer.id.clone()).collect();
        self.offers.retain(|_, offer| offer.agent_id.value != agent);
        self.accept_offers(cluster, ids, operations, refuse_s);
    }

    pub fn accept_offers(
        &mut self,
        cluster: &mut Cluster,
        offer_ids: Vec<OfferId>,
        operations: Vec<Operation>,
        refuse_s: f64,
    ) {
        let filters = Some(Filters { refuse_seconds: Some(refuse_s) });
        let accept = call::Accept { offer_ids, operations, filters };
        assert_eq!(self.call(cluster, call::Type::Accept, |call| call.accept = Some(accept)), 202);
    }

    pub fn decline_all(&mut self, cluster: &mut Cluster, refuse_s: f64) {
        let offer_ids = std::mem::take(&mut self.offers).into_values().map(|offer| offer.id).collect();
        let decline = call::Decline { offer_ids, filters: Some(Filters { refuse_seconds: Some(refuse_s) }) };
        self.call(cluster, call::Type::Decline, |call| call.decline = Some(decline));
    }

    pub fn acknowledge(&mut self, cluster: &mut Cluster, status: &TaskStatus) {
        let acknowledge = call::Acknowledge {
            agent_id: status.agent_id.clone().expect("an agent"),
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone().expect("a uuid"),
        };
        self.call(cluster, call::Type::Acknowledge, |call| call.acknowledge = Some(acknowledge));
    }

    /// Acknowledges everything until nothing new comes; forgets what it saw.
    pub fn acknowledge_all(&mut self, cluster: &mut Cluster) -> Vec<TaskStatus> {
        let mut seen = Vec::new();
        while !self.updates.is_empty() {
            for status in std::mem::take(&mut self.updates) {
                if status.uuid.is_some() {
                    self.acknowledge(cluster, &status);
                }
                seen.push(status);
            }
        }
        seen
    }

    pub fn kill(&mut self, cluster: &mut Cluster, task: &str, agent: Option<&str>) {
        let kill = call::Kill { task_id: task.into(), agent_id: agent.map(Into::into), kill_policy: None };
        self.call(cluster, call::Type::Kill, |call| call.kill = Some(kill));
    }

    pub fn reconcile(&mut self, cluster: &mut Cluster, tasks: &[(&str, Option<&str>)]) -> Vec<TaskStatus> {
        let task = |(task, agent): &(&str, Option<&str>)| call::reconcile::Task {
            task_id: (*task).into(),
            agent_id: agent.map(Into::into),
        };
        let reconcile = call::Reconcile { tasks: tasks.iter().map(task).collect() };
        self.updates.clear();
        self.call(cluster, call::Type::Reconcile, |call| call.reconcile = Some(reconcile));
        std::mem::take(&mut self.updates)
    }

    pub fn states(&self) -> Vec<TaskState> {
        self.updates.iter().map(state).collect()
    }
}

pub fn state(status: &TaskStatus) -> TaskState {
    TaskState::try_from(status.state).expect("a known state")
}

pub fn reason(status: &TaskStatus) -> Option<Reason> {
    status.reason.map(|reason| Reason::try_from(reason).expect("a known reason"))
}

pub fn uuid(status: &TaskStatus) -> Bytes {
    status.uuid.clone().expect("a uuid")
}
