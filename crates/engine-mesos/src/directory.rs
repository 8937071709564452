//! What readers of sandboxes need to know of a cluster: where an agent listens, and the names its directories go by.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use engine::AgentId;
use mesos::v1;
use model::executor::Executor;
use model::{TaskConfig, TaskId};

/// Agents remembered at most; the cluster's own size in practice.
const AGENTS_MAX: usize = 200_000;

/// Where an agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentAddress {
    /// Its host name, as offers show it.
    pub hostname: String,
    /// Its IP address, where offers tell it.
    pub ip: Option<String>,
    /// Its port.
    pub port: u16,
    /// Whether it speaks TLS there.
    pub tls: bool,
}

/// Agents that made offers, and the names of executors. Read from any thread.
#[derive(Debug, Default)]
pub struct Directory {
    framework_id: RwLock<Option<String>>,
    leader: RwLock<Option<String>>,
    agents: RwLock<BTreeMap<AgentId, AgentAddress>>,
    prefixes: BTreeMap<String, String>,
}

impl Directory {
    pub(crate) fn new(executors: &[Executor]) -> Self {
        let prefixes = executors.iter().map(|executor| (executor.name.clone(), executor.task_prefix.clone()));
        Self { prefixes: prefixes.collect(), ..Self::default() }
    }

    /// The id of the framework, once it has one.
    pub fn framework_id(&self) -> Option<String> {
        self.framework_id.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Address of the master that was subscribed to last, for people.
    pub fn leader(&self) -> Option<String> {
        self.leader.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where an agent listens, if it made an offer since this scheduler started.
    pub fn agent(&self, id: &str) -> Option<AgentAddress> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The id of the executor that runs a task. A task without one (a Docker container alone) has that of its command executor: its own.
    pub fn executor_id(&self, config: &TaskConfig, task_id: &TaskId) -> Option<String> {
        match &config.executor_config {
            Some(executor) => self.prefixes.get(&executor.name).map(|prefix| format!("{prefix}{task_id}")),
            None => Some(task_id.to_string()),
        }
    }

    /// The path of a task's sandbox for an agent's files endpoints (spec mesos 5).
    pub fn sandbox_path(&self, config: &TaskConfig, task_id: &TaskId) -> Option<String> {
        let framework_id = self.framework_id()?;
        let executor_id = self.executor_id(config, task_id)?;
        Some(format!("/frameworks/{framework_id}/executors/{executor_id}/runs/latest"))
    }

    pub(crate) fn set_leader(&self, address: String) {
        *self.leader.write().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    pub(crate) fn set_framework_id(&self, id: &str) {
        *self.framework_id.write().unwrap_or_else(PoisonError::into_inner) = Some(id.to_owned());
    }

    pub(crate) fn learn(&self, offers: &[v1::Offer]) {
        let is_known = {
            let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
            offers.iter().all(|offer| match (agents.get(&offer.agent_id.value), address(offer)) {
                (Some(known), Some(address)) => *known == address,
                (_, None) => true,
                (None, Some(_)) => false,
            })
        };
        if is_known {
            return;
        }
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        if agents.len() >= AGENTS_MAX {
            agents.clear();
        }
        let found = offers.iter().filter_map(|offer| Some((offer.agent_id.value.clone(), address(offer)?)));
        agents.extend(found);
    }
}

fn address(offer: &v1::Offer) -> Option<AgentAddress> {
    let url = offer.url.as_ref()?;
    let port = u16::try_from(url.address.port).ok()?;
    let tls = url.scheme.eq_ignore_ascii_case("https");
    Some(AgentAddress { hostname: offer.hostname.clone(), ip: url.address.ip.clone(), port, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_learned_from_offers() {
        let directory = Directory::default();
        let offer = |agent: &str, ip: &str| v1::Offer {
            agent_id: agent.into(),
            hostname: "h1".into(),
            url: Some(v1::Url {
                scheme: "http".into(),
                address: v1::Address { hostname: Some("h1".into()), ip: Some(ip.into()), port: 5051 },
                ..Default::default()
            }),
            ..Default::default()
        };
        directory.learn(&[offer("S1", "10.0.0.1"), v1::Offer { agent_id: "S2".into(), ..Default::default() }]);
        let expected = AgentAddress { hostname: "h1".into(), ip: Some("10.0.0.1".into()), port: 5051, tls: false };
        assert_eq!(directory.agent("S1"), Some(expected));
        assert_eq!(directory.agent("S2"), None);
        directory.learn(&[offer("S1", "10.0.0.2")]);
        assert_eq!(directory.agent("S1").unwrap().ip.as_deref(), Some("10.0.0.2"), "an agent may move");
    }

    #[test]
    fn sandboxes_have_a_path_once_there_is_a_framework() {
        let executors = model::executor::parse_custom(r#"[{"executor": {"name": "x"}, "task_prefix": "x-"}]"#).unwrap();
        let directory = Directory::new(&executors);
        let mut config = TaskConfig::new(model::JobKey::new("r", "e", "n"), 1.0, 1, 1, "");
        let task_id = TaskId("t".into());
        config.executor_config.as_mut().unwrap().name = "x".into();
        assert_eq!(directory.sandbox_path(&config, &task_id), None);
        directory.set_framework_id("f-1");
        let path = directory.sandbox_path(&config, &task_id);
        assert_eq!(path.as_deref(), Some("/frameworks/f-1/executors/x-t/runs/latest"));
        config.executor_config = None;
        assert_eq!(directory.executor_id(&config, &task_id).as_deref(), Some("t"));
    }
}
