//! Names and numbers of ports: the announcer's map, and which ports must be asked for (spec executor 2.9, config-dsl 4.7).

use std::collections::{BTreeMap, BTreeSet};

use super::payload::Late;
use super::schema::Payload;

/// Why a port map makes no sense; the message is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Names that lead back to themselves.
    #[error("the portmap has a cycle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

/// Ports of a task, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedPorts {
    /// Those with a number.
    pub numbers: BTreeMap<String, u32>,
    /// Names of the map that lead to no number, each with the last name it leads to.
    pub unresolved: BTreeMap<String, String>,
}

/// Follows the names of `portmap` until a number comes; `assigned` ports hide entries of the same name.
pub fn resolve(
    portmap: &BTreeMap<String, String>,
    assigned: &BTreeMap<String, u32>,
) -> Result<ResolvedPorts, PortError> {
    let mut resolved = ResolvedPorts { numbers: assigned.clone(), unresolved: BTreeMap::new() };
    for name in portmap.keys() {
        let mut path = vec![name.as_str()];
        loop {
            let at = path[path.len() - 1];
            if let Some(number) = assigned.get(at).copied().or_else(|| number(at)) {
                resolved.numbers.insert(name.clone(), number);
                break;
            }
            let Some(next) = portmap.get(at) else {
                resolved.unresolved.insert(name.clone(), at.to_owned());
                break;
            };
            if let Some(begin) = path.iter().position(|seen| seen == next) {
                let cycle = path[begin..].iter().copied().chain([next.as_str()]);
                return Err(PortError::Cycle(cycle.map(str::to_owned).collect()));
            }
            path.push(next);
        }
    }
    Ok(resolved)
}

/// Names of the ports that the scheduler must assign: those referred to and those the announcer's map leads to, unless the map gives
/// them a number.
pub fn requested(payload: &Late<Payload>) -> Result<BTreeSet<String>, PortError> {
    let resolved = match &payload.shape().announce {
        Some(announce) => resolve(&announce.portmap, &BTreeMap::new())?,
        None => ResolvedPorts::default(),
    };
    let referred = payload.port_names().into_iter().filter(|name| !resolved.numbers.contains_key(name));
    let referred = referred.map(|name| resolved.unresolved.get(&name).cloned().unwrap_or(name));
    Ok(referred.chain(resolved.unresolved.values().cloned()).collect())
}

/// A port number written as a text.
fn number(text: &str) -> Option<u32> {
    text.trim().parse::<u16>().ok().map(u32::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn numbers(pairs: &[(&str, u32)]) -> BTreeMap<String, u32> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn aliases_follow_names_and_assigned_ports_win() {
        let portmap = map(&[("aurora", "http"), ("http", "web"), ("admin", "8081"), ("x", "nowhere")]);
        let resolved = resolve(&portmap, &numbers(&[("web", 31000), ("admin", 31001)])).unwrap();
        assert_eq!(resolved.numbers, numbers(&[("admin", 31001), ("aurora", 31000), ("http", 31000), ("web", 31000)]));
        assert_eq!(resolved.unresolved, map(&[("x", "nowhere")]));
    }

    #[test]
    fn cycles_are_named() {
        let cycle = resolve(&map(&[("a", "b"), ("b", "c"), ("c", "b")]), &BTreeMap::new()).unwrap_err();
        assert_eq!(cycle.to_string(), "the portmap has a cycle: b -> c -> b");
        assert!(resolve(&map(&[("a", "a")]), &BTreeMap::new()).is_err());
        assert!(resolve(&map(&[("a", "b"), ("b", "a")]), &numbers(&[("a", 1)])).is_ok(), "an assigned port breaks it");
    }

    #[test]
    fn the_ports_to_ask_for_are_those_of_the_reference() {
        let ask = |announce: &str, cmdline: &str| {
            let text = format!(
                r#"{{"announce": {announce}, "task": {{"processes": [{{"name": "a", "cmdline": "{cmdline}"}}]}}}}"#
            );
            requested(&Late::parse(&text).unwrap()).unwrap().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(ask(r#"{"portmap": {"aurora": "http"}}"#, ""), ["http"]);
        assert_eq!(
            ask(r#"{"portmap": {"http": 80, "aurora": "http"}}"#, "{{thermos.ports[http]}}"),
            Vec::<String>::new()
        );
        assert_eq!(ask("null", "{{thermos.ports[http]}} {{thermos.ports[admin]}}"), ["admin", "http"]);
        assert_eq!(ask("{}", ""), ["http"]);
        assert_eq!(ask(r#"{"primary_port": "main"}"#, "{{thermos.ports[aurora]}}"), ["main"]);
    }
}
