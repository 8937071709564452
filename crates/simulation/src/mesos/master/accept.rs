//! ACCEPT and DECLINE: offers are checked, operations applied in order to what remains, the rest is refused for a while (spec mesos 3.1,
//! 3.4).

use std::collections::BTreeSet;
use std::sync::Arc;

use mesos::v1::offer::Operation;
use mesos::v1::offer::operation::{self, Type as Kind};
use mesos::v1::scheduler::{Event, call, event};
use mesos::v1::{AgentId, task_status::Reason};
use mesos::v1::{ExecutorInfo, FrameworkId, OfferId, OperationState, OperationStatus, TaskInfo, TaskState};

use super::super::messages::from_wire;
use super::super::protocol::{LaunchedTask, ToAgent};
use super::super::resources::{Name, Resources};
use super::framework::Task;
use super::{ExecutorRecord, Master, Offer, validate};

/// What the listed offers hold together, on its way through the operations.
struct Remainder {
    framework: Arc<str>,
    role: Arc<str>,
    agent: Arc<str>,
    resources: Resources,
    /// Freshly reserved or unreserved: given back, not filtered.
    converted: Resources,
}

impl Master {
    pub(super) fn decline(&mut self, framework: &Arc<str>, decline: &call::Decline) {
        self.counters.declines += 1;
        for number in self.offer_numbers(&decline.offer_ids) {
            if self.offer(number).is_some_and(|offer| offer.framework == *framework)
                && let Some(offer) = self.take_offer(number)
            {
                self.counters.declined += 1;
                self.give_back(&offer.agent, &offer.resources);
                self.refuse(&offer, offer.resources.clone(), decline.filters.as_ref());
            }
        }
    }

    pub(super) fn accept(&mut self, framework: &Arc<str>, accept: call::Accept) {
        self.counters.accepts += 1;
        let numbers = match self.check_offers(framework, &accept.offer_ids) {
            Ok(numbers) => numbers,
            Err(message) => return self.drop_accept(framework, accept, &message),
        };
        let mut first: Option<Offer> = None;
        let mut resources = Resources::default();
        for number in numbers {
            let Some(offer) = self.take_offer(number) else { continue };
            resources.add(&offer.resources);
            first.get_or_insert(offer);
        }
        let Some(offer) = first else { return };
        let mut remainder = Remainder {
            framework: Arc::clone(framework),
            role: Arc::clone(&offer.role),
            agent: Arc::clone(&offer.agent),
            resources,
            converted: Resources::default(),
        };
        for operation in accept.operations {
            self.apply(&mut remainder, operation);
        }
        let mut refused = remainder.resources.clone();
        refused.subtract(&remainder.converted);
        self.give_back(&offer.agent, &remainder.resources);
        self.refuse(&offer, refused.filtered(|_| true), accept.filters.as_ref());
    }

    fn check_offers(&self, framework: &Arc<str>, ids: &[OfferId]) -> Result<Vec<u64>, String> {
        if ids.is_empty() {
            return Err("No offers specified".into());
        }
        let mut numbers = Vec::with_capacity(ids.len());
        let mut seen = BTreeSet::new();
        let mut of: Option<(&Arc<str>, &Arc<str>)> = None;
        for id in ids {
            if !seen.insert(id.value.as_str()) {
                return Err(format!("Duplicate offer {} in offer list", id.value));
            }
            let number = self.offer_number(id).ok_or_else(|| format!("Offer {} is no longer valid", id.value))?;
            let offer = self.offer(number).ok_or_else(|| format!("Offer {} is no longer valid", id.value))?;
            if offer.framework != *framework {
                return Err(format!("Offer {} belongs to another framework", id.value));
            }
            let (agent, role) = *of.get_or_insert((&offer.agent, &offer.role));
            if *agent != offer.agent {
                return Err("Aggregated offers must belong to one single agent".into());
            }
            if *role != offer.role {
                return Err("Aggregated offers must be allocated to the same role".into());
            }
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// One bad offer: all valid ones go back without a filter, and nothing of the call happens.
    fn drop_accept(&mut self, framework: &Arc<str>, accept: call::Accept, message: &str) {
        for number in self.offer_numbers(&accept.offer_ids) {
            if self.offer(number).is_some_and(|offer| offer.framework == *framework)
                && let Some(offer) = self.take_offer(number)
            {
                self.give_back(&offer.agent, &offer.resources);
            }
        }
        let message = format!("Task launched with invalid offers: {message}");
        let state = self.frameworks[framework].or_lost(TaskState::Dropped);
        for operation in accept.operations {
            self.drop_operation(framework, operation, state, Reason::InvalidOffers, &message);
        }
    }

    fn drop_operation(
        &mut self,
        framework: &Arc<str>,
        operation: Operation,
        state: TaskState,
        reason: Reason,
        message: &str,
    ) {
        for task in tasks_of(&operation) {
            self.counters.refused += 1;
            let agent = Some(task.agent_id.value.as_str());
            let status = self.own_status(&task.task_id.value, agent, state, reason, message);
            self.tell_update(framework, status);
        }
        if tasks_of(&operation).next().is_none() {
            self.refuse_operation(framework, &operation, message);
        }
    }

    /// OPERATION_ERROR, for operations with an id; the others fail silently.
    fn refuse_operation(&mut self, framework: &str, operation: &Operation, message: &str) {
        let Some(id) = operation.id.clone() else { return };
        let status = OperationStatus {
            operation_id: Some(id),
            state: OperationState::Error as i32,
            message: Some(message.to_owned()),
            ..OperationStatus::default()
        };
        let update_operation_status = Some(event::UpdateOperationStatus { status });
        let kind = Some(event::Type::UpdateOperationStatus as i32);
        self.tell(framework, Event { r#type: kind, update_operation_status, ..Event::default() });
    }

    fn apply(&mut self, remainder: &mut Remainder, mut operation: Operation) {
        let kind = operation.r#type.map_or(Ok(Kind::Unknown), Kind::try_from).unwrap_or(Kind::Unknown);
        let launches = matches!(kind, Kind::Launch | Kind::LaunchGroup);
        if launches && operation.id.is_some() {
            let framework = Arc::clone(&remainder.framework);
            let message = "operation.id is not allowed on LAUNCH and LAUNCH_GROUP";
            operation.id = None;
            return self.drop_operation(&framework, operation, TaskState::Error, Reason::TaskInvalid, message);
        }
        match (kind, operation.launch.take(), operation.launch_group.take()) {
            (Kind::Launch, Some(launch), _) => {
                for task in launch.task_infos {
                    self.launch(remainder, task);
                }
            }
            (Kind::LaunchGroup, _, Some(group)) => self.launch_group(remainder, group),
            (Kind::Reserve, ..) => self.reserve(remainder, &operation),
            (Kind::Unreserve, ..) => self.unreserve(remainder, &operation),
            _ => {
                let framework = Arc::clone(&remainder.framework);
                self.refuse_operation(&framework, &operation, "this simulated master does not do this operation");
            }
        }
    }

    fn launch(&mut self, remainder: &mut Remainder, mut task: TaskInfo) {
        if let Some(executor) = &mut task.executor
            && executor.framework_id.is_none()
        {
            executor.framework_id = Some(FrameworkId::from(&*remainder.framework));
        }
        let executor = task.executor.clone().map(Arc::new);
        let checked = validate::task(&task, &remainder.framework, &remainder.agent, false)
            .and_then(|()| self.check_unused(remainder, &task.task_id.value))
            .and_then(|()| self.needs(remainder, &[&task], executor.as_deref()));
        match checked {
            Ok((tasks, of_executor)) => self.start(remainder, vec![task], tasks, executor, of_executor),
            Err(message) => self.refuse_task(remainder, &task.task_id.value, Reason::TaskInvalid, &message),
        }
    }

    /// All or nothing.
    fn launch_group(&mut self, remainder: &mut Remainder, group: operation::LaunchGroup) {
        let executor = Arc::new(group.executor);
        let tasks = group.task_group.tasks;
        let mut checked = validate::executor(&executor, &remainder.framework, true);
        for task in &tasks {
            checked = checked
                .and_then(|()| validate::task(task, &remainder.framework, &remainder.agent, true))
                .and_then(|()| self.check_unused(remainder, &task.task_id.value));
        }
        let all: Vec<&TaskInfo> = tasks.iter().collect();
        let checked = checked.and_then(|()| self.needs(remainder, &all, Some(&executor))).and_then(|needs| {
            let (cpus, mem, disk) = (Name::Cpus, Name::Mem, Name::Disk);
            let enough = needs.1.as_ref().is_none_or(|executor| {
                executor.total_milli(&cpus) >= 10 && executor.total_milli(&mem) >= 32_000 && executor.has(&disk)
            });
            if enough { Ok(needs) } else { Err("the executor of a group needs 0.01 cpus, 32 MB and some disk".into()) }
        });
        match checked {
            Ok((needs, of_executor)) => self.start(remainder, tasks, needs, Some(executor), of_executor),
            Err(message) => {
                for task in tasks {
                    self.refuse_task(remainder, &task.task_id.value, Reason::TaskGroupInvalid, &message);
                }
            }
        }
    }

    fn refuse_task(&mut self, remainder: &Remainder, task: &str, reason: Reason, message: &str) {
        self.counters.refused += 1;
        let status = self.own_status(task, Some(&remainder.agent), TaskState::Error, reason, message);
        self.tell_update(&remainder.framework, status);
    }

    fn check_unused(&self, remainder: &Remainder, task: &str) -> Result<(), String> {
        let framework = &self.frameworks[&remainder.framework];
        if framework.tasks.contains_key(task) {
            return Err(format!("Task has duplicate ID: {task}"));
        }
        if framework.unreachable.contains_key(task) {
            return Err(format!("Task reuses the ID of an unreachable task: {task}"));
        }
        Ok(())
    }

    /// What tasks and executor take from the remainder; an executor that runs already takes nothing, and must be the same.
    fn needs(
        &self,
        remainder: &Remainder,
        tasks: &[&TaskInfo],
        executor: Option<&ExecutorInfo>,
    ) -> Result<(Vec<Resources>, Option<Resources>), String> {
        let mut sum = Resources::default();
        let mut each = Vec::with_capacity(tasks.len());
        for task in tasks {
            let resources = from_wire(&task.resources, &remainder.role)?;
            if resources.is_empty() {
                return Err("Task uses no resources".into());
            }
            limits(task, &resources)?;
            sum.add(&resources);
            each.push(resources);
        }
        let of_executor = match executor {
            None => None,
            Some(executor) => self.executor_needs(remainder, executor, &sum)?,
        };
        if let Some(of_executor) = &of_executor {
            sum.add(of_executor);
        }
        let framework = &self.frameworks[&remainder.framework];
        let principal = framework.info.principal.as_deref();
        let foreign = sum.iter().flat_map(|(kind, _)| kind.reservations.iter().flat_map(|stack| stack.iter()));
        let mut foreign = foreign.filter(|one| one.principal.is_some() && principal.is_some());
        if foreign.any(|one| one.principal.as_deref() != principal) {
            return Err("a reservation was made by another principal".into());
        }
        if !remainder.resources.contains(&sum) {
            return Err(format!("Task uses more resources {sum} than available {}", remainder.resources));
        }
        Ok((each, of_executor))
    }

    fn executor_needs(
        &self,
        remainder: &Remainder,
        executor: &ExecutorInfo,
        tasks: &Resources,
    ) -> Result<Option<Resources>, String> {
        let id = executor.executor_id.value.as_str();
        let key = (Arc::clone(&remainder.framework), Arc::from(id));
        if let Some(known) = self.agents[&remainder.agent].executors.get(&key) {
            if *known.info != *executor {
                return Err(format!(
                    "ExecutorInfo is not compatible with the existing ExecutorInfo with the same id {id}"
                ));
            }
            return Ok(None);
        }
        let resources = from_wire(&executor.resources, &remainder.role)?;
        if resources.shares_ports_with(tasks) {
            return Err("Task and executor use the same ports".into());
        }
        for (kind, _) in resources.iter() {
            if tasks.iter().any(|(other, _)| other.name == kind.name && other.revocable != kind.revocable) {
                return Err(format!("{} is revocable in one of task and executor only", kind.name.as_str()));
            }
        }
        Ok(Some(resources))
    }

    /// Books what was checked, and tells the agent.
    fn start(
        &mut self,
        remainder: &mut Remainder,
        infos: Vec<TaskInfo>,
        needs: Vec<Resources>,
        executor: Option<Arc<ExecutorInfo>>,
        of_executor: Option<Resources>,
    ) {
        let (framework_id, agent_id, role) = (&remainder.framework, &remainder.agent, &remainder.role);
        let executor_id: Option<Arc<str>> = executor.as_ref().map(|info| Arc::from(info.executor_id.value.as_str()));
        if let (Some(resources), Some(info), Some(id)) = (of_executor, &executor, &executor_id) {
            remainder.resources.subtract(&resources);
            self.allocated(framework_id, role, &resources, 1);
            let record = ExecutorRecord { info: Arc::clone(info), resources, role: Arc::clone(role) };
            let agent = self.agents.get_mut(agent_id).expect("its offer was valid");
            agent.executors.insert((Arc::clone(framework_id), Arc::clone(id)), record);
        }
        let mut launched = Vec::with_capacity(infos.len());
        for (info, resources) in infos.into_iter().zip(needs) {
            remainder.resources.subtract(&resources);
            self.allocated(framework_id, role, &resources, 1);
            self.counters.launched += 1;
            let id: Arc<str> = Arc::from(info.task_id.value.as_str());
            let resources = Arc::new(resources);
            let agent = self.agents.get_mut(agent_id).expect("its offer was valid");
            agent.tasks.insert((Arc::clone(framework_id), Arc::clone(&id)));
            let task = Task {
                agent: Arc::clone(agent_id),
                name: Arc::from(info.name.as_str()),
                executor: executor_id.clone(),
                role: Arc::clone(role),
                resources: Arc::clone(&resources),
                state: TaskState::Staging,
                told: None,
                uuid: None,
                healthy: None,
                freed: false,
                kill_waits: false,
            };
            let framework = self.frameworks.get_mut(framework_id).expect("it called");
            framework.tasks.insert(Arc::clone(&id), task);
            launched.push(LaunchedTask { info: Arc::new(info), id, resources });
        }
        let framework = Arc::clone(&self.frameworks[framework_id].info);
        let agent_id = Arc::clone(agent_id);
        self.send_agent(&agent_id, ToAgent::Launch { framework, executor, tasks: launched });
    }

    fn reserve(&mut self, remainder: &mut Remainder, operation: &Operation) {
        let Some(reserve) = &operation.reserve else { return };
        let framework = Arc::clone(&remainder.framework);
        let principal = self.frameworks[&framework].info.principal.clone();
        let checked = from_wire(&reserve.resources, &remainder.role).and_then(|wanted| {
            let (stripped, ok) = without_last_reservation(&wanted, &remainder.role, principal.as_deref());
            let ok = ok && reserve.source.is_empty() && remainder.resources.contains(&stripped);
            if ok { Ok((wanted, stripped)) } else { Err("RESERVE does not fit the offer".into()) }
        });
        self.convert(remainder, operation, checked.map(|(wanted, stripped)| (stripped, wanted)));
    }

    fn unreserve(&mut self, remainder: &mut Remainder, operation: &Operation) {
        let Some(unreserve) = &operation.unreserve else { return };
        let framework = Arc::clone(&remainder.framework);
        let principal = self.frameworks[&framework].info.principal.clone();
        let checked = from_wire(&unreserve.resources, &remainder.role).and_then(|reserved| {
            let (stripped, ok) = without_last_reservation(&reserved, &remainder.role, principal.as_deref());
            let ok = ok && remainder.resources.contains(&reserved);
            if ok { Ok((reserved, stripped)) } else { Err("UNRESERVE does not fit the offer".into()) }
        });
        self.convert(remainder, operation, checked);
    }

    fn convert(
        &mut self,
        remainder: &mut Remainder,
        operation: &Operation,
        checked: Result<(Resources, Resources), String>,
    ) {
        match checked {
            Ok((from, to)) => {
                remainder.resources.subtract(&from);
                remainder.resources.add(&to);
                remainder.converted.add(&to);
            }
            Err(message) => {
                let framework = Arc::clone(&remainder.framework);
                self.refuse_operation(&framework, operation, &message);
            }
        }
    }

    /// Answers RECONCILE_OPERATIONS: nothing here outlives its call, so nothing is known.
    pub(super) fn reconcile_operations(&mut self, framework: &str, reconcile: call::ReconcileOperations) {
        for operation in reconcile.operations {
            let status = OperationStatus {
                operation_id: Some(operation.operation_id),
                state: OperationState::Unknown as i32,
                agent_id: operation.agent_id.map(|agent| AgentId { value: agent.value }),
                resource_provider_id: operation.resource_provider_id,
                ..OperationStatus::default()
            };
            let update_operation_status = Some(event::UpdateOperationStatus { status });
            let kind = Some(event::Type::UpdateOperationStatus as i32);
            self.tell(framework, Event { r#type: kind, update_operation_status, ..Event::default() });
        }
    }
}

/// The resources as they were before their innermost reservation, and whether that one is dynamic, for the role, by the principal.
fn without_last_reservation(reserved: &Resources, role: &str, principal: Option<&str>) -> (Resources, bool) {
    let mut stripped = Resources::default();
    let mut ok = !reserved.is_empty();
    for (kind, quantity) in reserved.iter() {
        let mut kind = kind.clone();
        let mut stack = kind.reservations.as_deref().unwrap_or_default().to_vec();
        let last = stack.pop();
        ok &= last.is_some_and(|last| {
            let by = last.principal.is_none() || principal.is_none() || last.principal.as_deref() == principal;
            last.dynamic && last.role == role && by
        });
        kind.reservations = if stack.is_empty() { None } else { Some(stack.into()) };
        stripped.insert(kind, quantity);
    }
    (stripped, ok)
}

fn limits(task: &TaskInfo, resources: &Resources) -> Result<(), String> {
    for (name, limit) in &task.limits {
        if name != "cpus" && name != "mem" {
            return Err(format!("a limit of {name} is not possible"));
        }
        if limit.value * 1000.0 + 0.5 < resources.total_milli(&Name::new(name)) as f64 {
            return Err(format!("the limit of {name} is below the request"));
        }
    }
    Ok(())
}

fn tasks_of(operation: &Operation) -> impl Iterator<Item = &TaskInfo> {
    let launched = operation.launch.iter().flat_map(|launch| &launch.task_infos);
    launched.chain(operation.launch_group.iter().flat_map(|group| &group.task_group.tasks))
}
