//! Who the agents of this machine are: names, attributes and sizes of their own, where the operator names them. Pure.
//!
//! Agents without words of their own share the machine evenly and are numbered.

use std::collections::BTreeMap;
use std::str::FromStr;

use model::Ports;

use crate::machine::{self, Capacity, SettingError};

/// One agent as the operator describes it: `hostname=NAME attributes=zone:west;rack:a resources=cpus:4;mem:2048`, each part optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its host name. Several agents may have the same one.
    pub hostname: Option<String>,
    /// Its attributes (see [`machine::parse_attributes`]), besides those that all agents have.
    pub attributes: Option<String>,
    /// What it offers instead of its share of the machine (see [`machine::parse_resources`]).
    pub resources: Option<String>,
}

impl FromStr for Identity {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let mut identity = Self::default();
        for word in text.split_ascii_whitespace() {
            let (name, value) =
                word.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or_else(|| wrong(word))?;
            let place = match name {
                "hostname" => &mut identity.hostname,
                "attributes" => &mut identity.attributes,
                "resources" => &mut identity.resources,
                _ => return Err(wrong(word)),
            };
            if place.replace(value.to_owned()).is_some() {
                return Err(wrong(word));
            }
        }
        // What cannot be read is refused here and not at the start of an engine.
        machine::parse_attributes(identity.attributes.as_deref().unwrap_or_default())?;
        machine::parse_resources(identity.resources.as_deref().unwrap_or_default(), Capacity::default())?;
        Ok(identity)
    }
}

fn wrong(word: &str) -> SettingError {
    SettingError::Identity(word.to_owned())
}

/// One agent as it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) hostname: String,
    pub(crate) attributes: BTreeMap<String, Vec<String>>,
    pub(crate) capacity: Capacity,
}

/// What all agents of this machine have in common.
pub(crate) struct Machine<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) attributes: &'a BTreeMap<String, Vec<String>>,
    pub(crate) capacity: &'a Capacity,
    /// Ports that others listen on: nobody may offer them.
    pub(crate) taken: &'a [u16],
}

/// The agents: one per identity, or `count` alike ones.
pub(crate) fn describe(
    machine: &Machine<'_>,
    identities: &[Identity],
    count: u32,
) -> Result<Vec<Described>, SettingError> {
    if identities.is_empty() {
        let agents = (0..count.max(1)).map(|index| plain(machine, index, count.max(1)));
        return Ok(agents.collect());
    }
    let count = u32::try_from(identities.len()).unwrap_or(u32::MAX);
    let mut agents: Vec<Described> = Vec::new();
    for (index, identity) in (0..count).zip(identities) {
        let mut agent = plain(machine, index, count);
        if let Some(hostname) = &identity.hostname {
            agent.hostname.clone_from(hostname);
            agent.attributes.insert("host".to_owned(), vec![hostname.clone()]);
        }
        let own = machine::parse_attributes(identity.attributes.as_deref().unwrap_or_default())?;
        agent.attributes.extend(own);
        agent.capacity = machine::parse_resources(identity.resources.as_deref().unwrap_or_default(), agent.capacity)?;
        without(&mut agent.capacity, machine.taken);
        let shared = agents.iter().find_map(|other| common_port(&other.capacity.ports, &agent.capacity.ports));
        if let Some(port) = shared {
            return Err(SettingError::SharedPort(port));
        }
        agents.push(agent);
    }
    Ok(agents)
}

fn plain(machine: &Machine<'_>, index: u32, count: u32) -> Described {
    let hostname = if count == 1 { machine.hostname.to_owned() } else { format!("{}-{}", machine.hostname, index + 1) };
    let mut attributes = machine.attributes.clone();
    attributes.insert("host".to_owned(), vec![hostname.clone()]);
    Described { hostname, attributes, capacity: machine::share(machine.capacity, index, count) }
}

fn without(capacity: &mut Capacity, taken: &[u16]) {
    for port in taken {
        capacity.ports.remove(*port);
    }
    capacity.resources.ports = capacity.ports.count();
}

fn common_port(one: &Ports, other: &Ports) -> Option<u16> {
    let pairs = one.ranges().iter().flat_map(|a| other.ranges().iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| a.0.max(b.0) <= a.1.min(b.1)).map(|(a, b)| a.0.max(b.0)).next()
}

#[cfg(test)]
mod tests {
    use model::{CpuMillis, Resources};

    use super::*;

    fn described(identities: &[&str], count: u32) -> Result<Vec<Described>, SettingError> {
        let ports = Ports::from_ranges([(100, 109)]);
        let resources = Resources { cpu: CpuMillis(4000), ram_mb: 800, disk_mb: 80, ports: 10, gpus: 0 };
        let attributes = [("site".to_owned(), vec!["a".to_owned()])].into();
        let capacity = Capacity { resources, ports };
        let machine = Machine { hostname: "here", attributes: &attributes, capacity: &capacity, taken: &[201] };
        let identities: Vec<Identity> = identities.iter().map(|text| text.parse().unwrap()).collect();
        describe(&machine, &identities, count)
    }

    #[test]
    fn agents_without_words_share_the_machine_and_are_numbered() {
        let agents = described(&[], 2).unwrap();
        assert_eq!((agents[0].hostname.as_str(), agents[1].hostname.as_str()), ("here-1", "here-2"));
        assert_eq!(agents[1].capacity.resources.cpu, CpuMillis(2000));
        assert_eq!(described(&[], 1).unwrap()[0].hostname, "here");
    }

    #[test]
    fn identities_have_names_attributes_and_sizes_of_their_own() {
        let agents = described(
            &[
                "hostname=localhost attributes=zone:west;site:b resources=cpus:16;ports:[200-202]",
                "hostname=localhost attributes=zone:east",
            ],
            1,
        )
        .unwrap();
        let [west, east] = &agents[..] else { panic!("two agents: {agents:?}") };
        assert_eq!((west.hostname.as_str(), east.hostname.as_str()), ("localhost", "localhost"));
        assert_eq!(
            (&west.attributes["zone"][0], &east.attributes["zone"][0]),
            (&"west".to_owned(), &"east".to_owned())
        );
        assert_eq!((&west.attributes["site"][0], &east.attributes["site"][0]), (&"b".to_owned(), &"a".to_owned()));
        assert_eq!(west.attributes["host"], ["localhost"]);
        // Own sizes replace the share; what is not named stays half of the machine. A port that others use is nobody's.
        assert_eq!((west.capacity.resources.cpu, west.capacity.resources.ram_mb), (CpuMillis(16_000), 400));
        assert_eq!(west.capacity.ports.ranges(), &[(200, 200), (202, 202)]);
        assert_eq!(east.capacity.resources.cpu, CpuMillis(2000));
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, part) in [
            ("localhost", "hostname=NAME"),
            ("hostname=", "hostname=NAME"),
            ("name=x", "hostname=NAME"),
            ("hostname=a hostname=b", "hostname=NAME"),
            ("attributes=west", "should be a name"),
            ("resources=cpus:x", "not an amount"),
        ] {
            let error = text.parse::<Identity>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let error = described(&["resources=ports:[1-5]", "resources=ports:[5-9]"], 1).unwrap_err().to_string();
        assert!(error.contains("port 5"), "{error}");
    }
}
