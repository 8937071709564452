//! Offers on both sides: what the scheduler is told of one, and the original entries, kept to cut tasks out of them.

use std::collections::{BTreeMap, HashMap};

use engine::{AgentId, OfferId};
use mesos::v1::{self, Attribute, Resource, value};
use model::{Host, Role};

use crate::cut::{Pool, is_reserved};

/// An offer that may be accepted.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) agent_id: AgentId,
    pub(crate) host: Host,
    pub(crate) role: Option<Role>,
    pub(crate) resources: Vec<Resource>,
}

/// All offers that may be accepted. No order of it leaves this crate.
#[derive(Debug, Default)]
pub(crate) struct Book {
    offers: HashMap<OfferId, Held>,
}

impl Book {
    /// Keeps an offer and says what the scheduler is told.
    pub(crate) fn add(&mut self, offer: v1::Offer) -> engine::Offer {
        let (resources, revocable_cpu, port_ranges) = Pool::new(&offer.resources).total();
        let unreserved = Pool::new(offer.resources.iter().filter(|resource| !is_reserved(resource))).total().0;
        let role = offer.allocation_info.and_then(|info| info.role);
        let told = engine::Offer {
            id: offer.id.value,
            role,
            agent_id: offer.agent_id.value,
            host: offer.hostname,
            resources,
            unreserved,
            revocable_cpu,
            port_ranges,
            attributes: attributes(&offer.attributes),
            unavailable_from_ms: offer.unavailability.map(|it| start_ms(&it)),
        };
        let held = Held {
            agent_id: told.agent_id.clone(),
            host: told.host.clone(),
            role: told.role.clone(),
            resources: offer.resources,
        };
        self.offers.insert(told.id.clone(), held);
        told
    }

    /// Takes an offer out, to use it or because it is void.
    pub(crate) fn take(&mut self, id: &str) -> Option<Held> {
        self.offers.remove(id)
    }

    /// The agent is gone and its offers with it.
    pub(crate) fn lose_agent(&mut self, agent_id: &str) {
        self.offers.retain(|_, held| held.agent_id != agent_id);
    }

    /// The subscription is over and every offer with it.
    pub(crate) fn clear(&mut self) {
        self.offers = HashMap::new();
    }

    pub(crate) fn len(&self) -> usize {
        self.offers.len()
    }
}

/// When an absence begins, in ms since the epoch.
pub(crate) fn start_ms(unavailability: &v1::Unavailability) -> i64 {
    unavailability.start.nanoseconds.div_euclid(1_000_000)
}

/// Attributes as text: text as it is, numbers as Java writes them, anything else dropped; equal names gathered (spec scheduler 2.2).
fn attributes(attributes: &[Attribute]) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for attribute in attributes {
        let text = match (value::Type::try_from(attribute.r#type), &attribute.text, &attribute.scalar) {
            (Ok(value::Type::Text), Some(text), _) => text.value.clone(),
            (Ok(value::Type::Scalar), _, Some(scalar)) => java_double(scalar.value),
            _ => continue,
        };
        told.entry(attribute.name.clone()).or_default().push(text);
    }
    told
}

/// A number as `Double.toString` writes it, because operators' constraints compare with that text.
fn java_double(number: f64) -> String {
    let magnitude = number.abs();
    if number == 0.0 || (1e-3..1e7).contains(&magnitude) || !number.is_finite() {
        return match format!("{number:?}").as_str() {
            "inf" => "Infinity".into(),
            "-inf" => "-Infinity".into(),
            plain => plain.into(),
        };
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str, kind: value::Type) -> Attribute {
        Attribute { name: name.into(), r#type: kind as i32, ..Default::default() }
    }

    fn text(name: &str, text: &str) -> Attribute {
        Attribute { text: Some(value::Text { value: text.into() }), ..attribute(name, value::Type::Text) }
    }

    #[test]
    fn numbers_are_written_as_java_does() {
        for (number, text) in [
            (2.0, "2.0"),
            (0.5, "0.5"),
            (-1.25, "-1.25"),
            (0.0, "0.0"),
            (1234567.0, "1234567.0"),
            (1e7, "1.0E7"),
            (1.25e-4, "1.25E-4"),
            (f64::INFINITY, "Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(java_double(number), text);
        }
    }

    #[test]
    fn an_offer_is_told_in_the_schedulers_words() {
        let scalar = Attribute { scalar: Some(value::Scalar { value: 2.0 }), ..attribute("rack", value::Type::Scalar) };
        let ranges = attribute("p", value::Type::Ranges);
        let offer = v1::Offer {
            id: "O1".into(),
            agent_id: "S1".into(),
            hostname: "h1".into(),
            attributes: vec![text("host", "h1"), text("zone", "b"), text("zone", "a"), scalar, ranges],
            unavailability: Some(v1::Unavailability {
                start: v1::TimeInfo { nanoseconds: 1_500_000_000_123_456_789 },
                duration: None,
            }),
            allocation_info: Some(v1::resource::AllocationInfo { role: Some("web".into()) }),
            ..Default::default()
        };
        let mut book = Book::default();
        let told = book.add(offer);
        assert_eq!((told.id.as_str(), told.agent_id.as_str(), told.role.as_deref()), ("O1", "S1", Some("web")));
        assert_eq!(told.unavailable_from_ms, Some(1_500_000_000_123));
        let expected = [("host", vec!["h1"]), ("rack", vec!["2.0"]), ("zone", vec!["b", "a"])];
        let told: Vec<(&str, Vec<&str>)> = told
            .attributes
            .iter()
            .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(told, expected);
        assert_eq!(book.take("O1").unwrap().host, "h1");
        assert!(book.take("O1").is_none(), "an offer is used once");
    }

    #[test]
    fn offers_go_with_their_agent() {
        let mut book = Book::default();
        for (id, agent) in [("O1", "S1"), ("O2", "S2"), ("O3", "S1")] {
            book.add(v1::Offer { id: id.into(), agent_id: agent.into(), ..Default::default() });
        }
        book.lose_agent("S1");
        assert_eq!(book.len(), 1);
        assert!(book.take("O2").is_some());
    }
}
