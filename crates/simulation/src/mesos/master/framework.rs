//! Frameworks: subscription, absence, removal; what a framework may change (spec mesos 1.5, 1.8).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mesos::v1::framework_info::capability::Type as Capability;
use mesos::v1::scheduler::{Event, call, event};
use mesos::v1::{FrameworkId, FrameworkInfo, TaskState};

use super::super::messages::Format;
use super::super::protocol::{ToAgent, Uuid};
use super::super::resources::Resources;
use super::offers::{Constraints, Filter};
use super::{Effect, Master, Refusal, Timer, validate};

/// A task as the master knows it.
#[derive(Clone, Debug)]
pub(in super::super) struct Task {
    pub agent: Arc<str>,
    pub name: Arc<str>,
    pub executor: Option<Arc<str>>,
    pub role: Arc<str>,
    pub resources: Arc<Resources>,
    /// The newest state the agent has told of.
    pub state: TaskState,
    /// What the framework was told last.
    pub told: Option<TaskState>,
    /// The update that told it, if this master carried it.
    pub uuid: Option<Uuid>,
    pub healthy: Option<bool>,
    /// Its resources went back already.
    pub freed: bool,
    /// A kill that waits for its agent.
    pub kill_waits: bool,
}

/// One role of a framework.
#[derive(Clone, Debug, Default)]
pub(super) struct RoleState {
    pub suppressed: bool,
    /// Sums of cpus, mem, disk, gpus in thousandths, offered or used.
    pub allocated: [i64; 4],
}

/// A framework.
#[derive(Debug)]
pub(in super::super) struct Framework {
    pub id: Arc<str>,
    pub info: Arc<FrameworkInfo>,
    pub capabilities: BTreeSet<i32>,
    pub(super) roles: BTreeMap<Arc<str>, RoleState>,
    pub(super) constraints: Constraints,
    connection: Option<(u64, String)>,
    /// Since when it is away, if it is.
    pub(super) absent_since: Option<u64>,
    pub tasks: HashMap<Arc<str>, Task>,
    /// Tasks on unreachable agents, oldest first in `unreachable_order`.
    pub(super) unreachable: HashMap<Arc<str>, Task>,
    pub(super) unreachable_order: std::collections::VecDeque<Arc<str>>,
    /// Refused resources by role and agent.
    pub(super) filters: BTreeMap<(Arc<str>, Arc<str>), Vec<Filter>>,
    /// Agents whose inverse offer is not to be repeated before a time.
    pub(super) inverse_filters: BTreeMap<Arc<str>, u64>,
}

impl Framework {
    pub(super) fn new(info: FrameworkInfo) -> Self {
        let mut framework = Self {
            id: Arc::from(super::framework_id(&info)),
            info: Arc::new(FrameworkInfo::default()),
            capabilities: BTreeSet::new(),
            roles: BTreeMap::new(),
            constraints: Constraints::default(),
            connection: None,
            absent_since: None,
            tasks: HashMap::new(),
            unreachable: HashMap::new(),
            unreachable_order: std::collections::VecDeque::new(),
            filters: BTreeMap::new(),
            inverse_filters: BTreeMap::new(),
        };
        framework.set_info(info);
        framework
    }

    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&(capability as i32))
    }

    pub fn is_partition_aware(&self) -> bool {
        self.has(Capability::PartitionAware)
    }

    /// The state to report: the second for frameworks that do not know the first.
    pub fn or_lost(&self, state: TaskState) -> TaskState {
        if self.is_partition_aware() { state } else { TaskState::Lost }
    }

    pub fn stream(&self) -> Option<u64> {
        self.connection.as_ref().map(|(stream, _)| *stream)
    }

    pub(super) fn stream_uuid(&self) -> Option<&str> {
        self.connection.as_ref().map(|(_, uuid)| uuid.as_str())
    }

    pub(super) fn format(&self) -> Format {
        Format { refined: self.has(Capability::ReservationRefinement), multi_role: self.has(Capability::MultiRole) }
    }

    fn set_info(&mut self, info: FrameworkInfo) {
        self.capabilities = info.capabilities.iter().filter_map(|capability| capability.r#type).collect();
        let wanted = roles_of(&info);
        let mut old = std::mem::take(&mut self.roles);
        self.roles = wanted
            .into_iter()
            .map(|role| (old.remove(&role).unwrap_or_default(), role))
            .map(|(state, role)| (role, state))
            .collect();
        self.info = Arc::new(info);
    }

    fn suppress(&mut self, suppressed: &[String]) {
        for (role, state) in &mut self.roles {
            state.suppressed = suppressed.iter().any(|name| **name == **role);
        }
    }
}

/// Roles that a framework asks for: one unless it has MULTI_ROLE.
pub(super) fn roles_of(info: &FrameworkInfo) -> Vec<Arc<str>> {
    let multi = info.capabilities.iter().any(|capability| capability.r#type == Some(Capability::MultiRole as i32));
    if multi {
        return info.roles.iter().map(|role| Arc::from(role.as_str())).collect();
    }
    vec![Arc::from(info.role.as_deref().unwrap_or("*"))]
}

impl Master {
    /// A scheduler subscribes: always a stream; its first record says how it went (spec mesos 1.4 #12).
    pub fn subscribe(&mut self, stream: u64, uuid: String, subscribe: call::Subscribe, principal: Option<&str>) {
        self.counters.subscriptions += 1;
        let mut info = subscribe.framework_info;
        let outcome = self.check_subscription(&info, &subscribe.suppressed_roles, principal);
        let constraints = match outcome {
            Ok(()) => Constraints::read(subscribe.offer_constraints, &roles_of(&info)),
            Err(message) => Err(message),
        };
        let constraints = match constraints {
            Ok(constraints) => constraints,
            Err(message) => return self.refuse_subscription(stream, message),
        };
        if info.principal.is_none() {
            info.principal = principal.map(str::to_owned);
        }
        if super::framework_id(&info).is_empty() {
            info.id = Some(FrameworkId { value: format!("{}-{:04}", self.id, self.next_framework) });
            self.next_framework += 1;
        }
        let id: Arc<str> = Arc::from(super::framework_id(&info));
        match self.frameworks.get(&id) {
            Some(known) => {
                if known.info.principal != info.principal {
                    return self.refuse_subscription(stream, "Changing framework's principal is not allowed.");
                }
                let old = known.stream();
                info.user = known.info.user.clone();
                info.checkpoint = known.info.checkpoint;
                self.drop_offers_of(&id);
                if let Some(old) = old {
                    let error = Some(event::Error { message: "Framework failed over".into() });
                    let event = Event { r#type: Some(event::Type::Error as i32), error, ..Event::default() };
                    self.out.push(Effect::Event { stream: old, event: Box::new(event) });
                    self.close(old);
                }
                self.change_framework(&id, info);
            }
            None => {
                let framework = Framework::new(info);
                self.frameworks.insert(Arc::clone(&id), framework);
            }
        }
        let framework = self.frameworks.get_mut(&id).expect("it was put there");
        framework.connection = Some((stream, uuid));
        framework.absent_since = None;
        framework.suppress(&subscribe.suppressed_roles);
        framework.constraints = constraints;
        self.streams.insert(stream, Arc::clone(&id));
        let info = Arc::clone(&framework.info);
        let subscribed = Some(event::Subscribed {
            framework_id: FrameworkId { value: id.to_string() },
            heartbeat_interval_seconds: Some(self.settings.heartbeat_interval_ms as f64 / 1000.0),
            master_info: Some(self.info.clone()),
        });
        let event = Event { r#type: Some(event::Type::Subscribed as i32), subscribed, ..Event::default() };
        self.out.push(Effect::Event { stream, event: Box::new(event) });
        self.heartbeat(stream);
        self.send_every_agent(&ToAgent::UpdateFramework { framework: info });
        self.pending.all = true;
    }

    fn check_subscription(
        &self,
        info: &FrameworkInfo,
        suppressed: &[String],
        principal: Option<&str>,
    ) -> Result<(), String> {
        validate::framework(info, suppressed, &self.settings)?;
        let id = super::framework_id(info);
        if self.completed.iter().any(|removed| **removed == *id) {
            return Err("Framework has been removed".into());
        }
        match (principal, &info.principal) {
            (Some(authenticated), Some(said)) if authenticated != said => {
                Err(format!("Authenticated principal {authenticated} is not the framework's principal {said}"))
            }
            _ => Ok(()),
        }
    }

    fn refuse_subscription(&mut self, stream: u64, message: impl Into<String>) {
        let error = Some(event::Error { message: message.into() });
        let event = Event { r#type: Some(event::Type::Error as i32), error, ..Event::default() };
        self.out.push(Effect::Event { stream, event: Box::new(event) });
        self.out.push(Effect::Close { stream });
    }

    /// UPDATE_FRAMEWORK: synchronous.
    pub(super) fn update_framework(&mut self, id: &Arc<str>, update: call::UpdateFramework) -> Result<(), Refusal> {
        let mut info = update.framework_info;
        validate::framework(&info, &update.suppressed_roles, &self.settings).map_err(|text| Refusal::new(400, text))?;
        let constraints = Constraints::read(update.offer_constraints, &roles_of(&info));
        let constraints = constraints.map_err(|text| Refusal::new(400, text))?;
        let Some(known) = self.frameworks.get(id) else { return Err(Refusal::new(409, "Framework was removed")) };
        if info.principal.is_none() {
            info.principal.clone_from(&known.info.principal);
        }
        let fixed =
            |info: &FrameworkInfo| (info.principal.clone(), info.user.clone(), info.checkpoint.unwrap_or_default());
        if fixed(&info) != fixed(&known.info) {
            return Err(Refusal::new(400, "principal, user and checkpoint cannot be changed"));
        }
        let suppressed = known.roles.iter().filter(|(_, state)| state.suppressed).map(|(role, _)| Arc::clone(role));
        let suppressed: Vec<Arc<str>> = suppressed.collect();
        self.change_framework(id, info);
        let framework = self.frameworks.get_mut(id).expect("known above");
        framework.suppress(&update.suppressed_roles);
        framework.constraints = constraints;
        for role in suppressed {
            if framework.roles.get(&role).is_some_and(|state| !state.suppressed) {
                framework.filters.retain(|(filtered, _), _| *filtered != role);
                self.pending.all = true;
            }
        }
        let info = Arc::clone(&framework.info);
        self.send_every_agent(&ToAgent::UpdateFramework { framework: info });
        Ok(())
    }

    /// Applies what may change; offers for roles that are gone are rescinded.
    fn change_framework(&mut self, id: &Arc<str>, info: FrameworkInfo) {
        let framework = self.frameworks.get_mut(id).expect("callers look it up");
        let before: Vec<Arc<str>> = framework.roles.keys().cloned().collect();
        framework.set_info(info);
        let gone: Vec<Arc<str>> = before.into_iter().filter(|role| !framework.roles.contains_key(role)).collect();
        framework.filters.retain(|(role, _), _| !gone.contains(role));
        let offers = self.offers.iter().filter(|(_, offer)| offer.framework == *id && gone.contains(&offer.role));
        let mut offers: Vec<u64> = offers.map(|(number, _)| *number).collect();
        offers.sort_unstable();
        offers.into_iter().for_each(|offer| self.rescind(offer));
    }

    /// The master ends a subscription.
    pub(super) fn close(&mut self, stream: u64) {
        self.streams.remove(&stream);
        self.out.push(Effect::Close { stream });
    }

    /// A stream broke: offers and filters go, the timer starts (spec mesos 1.8).
    pub fn stream_broke(&mut self, stream: u64) {
        let Some(id) = self.streams.remove(&stream) else { return };
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        if framework.stream() != Some(stream) {
            return;
        }
        framework.connection = None;
        framework.absent_since = Some(self.now_ms);
        framework.filters.clear();
        framework.inverse_filters.clear();
        let timeout_ms = (framework.info.failover_timeout.unwrap_or_default() * 1000.0) as u64;
        let timer = Timer::FrameworkFailover { framework: Arc::clone(&id), since: self.now_ms };
        self.out.push(Effect::Timer { at_ms: self.now_ms.saturating_add(timeout_ms), timer });
        self.drop_offers_of(&id);
    }

    /// The framework goes for good, with everything that runs; nobody is told of its tasks.
    pub fn remove_framework(&mut self, id: &Arc<str>) {
        self.drop_offers_of(id);
        self.send_agents_of(id, &ToAgent::ShutdownFramework { framework: Arc::clone(id) });
        let Some(framework) = self.frameworks.remove(id) else { return };
        if let Some(stream) = framework.stream() {
            self.close(stream);
        }
        for (task_id, task) in &framework.tasks {
            let Some(agent) = self.agents.get_mut(&task.agent) else { continue };
            agent.tasks.remove(&(Arc::clone(id), Arc::clone(task_id)));
            if !task.freed {
                agent.free.add(&task.resources);
            }
        }
        for agent in self.agents.values_mut() {
            let AgentRecord { executors, free, .. } = agent;
            executors.retain(|(owner, _), executor| {
                if owner == id {
                    free.add(&executor.resources);
                }
                owner != id
            });
        }
        self.completed.push_back(Arc::clone(id));
        while self.completed.len() > self.settings.completed_frameworks {
            self.completed.pop_front();
        }
    }

    pub(super) fn is_completed(&self, id: &str) -> bool {
        self.completed.iter().any(|removed| **removed == *id)
    }
}

use super::AgentRecord;
