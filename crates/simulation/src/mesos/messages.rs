//! Between the wire's messages and what the simulation counts with: resources in both reservation formats, attributes, statuses.

use std::sync::Arc;

use mesos::v1::resource::reservation_info::Type as ReservationType;
use mesos::v1::resource::{AllocationInfo, ReservationInfo, RevocableInfo};
use mesos::v1::value::{self, Type as ValueType};
use mesos::v1::{Attribute, Label, Labels, Resource};

use super::resources::{Kind, Name, Quantity, Reservation, Resources, coalesced};

/// How a framework wants to see reservations (spec mesos 3.3), and whether it is told for which role an offer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub refined: bool,
    pub multi_role: bool,
}

fn labels_of(labels: Option<&Labels>) -> Vec<(String, Option<String>)> {
    let labels = labels.map_or(&[][..], |labels| &labels.labels);
    labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect()
}

/// Labels of the wire, none for none.
pub(super) fn to_labels(labels: &[(String, Option<String>)]) -> Option<Labels> {
    if labels.is_empty() {
        return None;
    }
    let labels = labels.iter().map(|(key, value)| Label { key: key.clone(), value: value.clone() }).collect();
    Some(Labels { labels })
}

/// Reads one quantity.
fn quantity(resource: &Resource) -> Result<Quantity, String> {
    let name = &resource.name;
    match ValueType::try_from(resource.r#type) {
        Ok(ValueType::Scalar) => {
            let value = resource.scalar.as_ref().ok_or_else(|| format!("resource {name} has no scalar"))?.value;
            if !(value == 0.0 || value.is_normal()) || value < 0.0 {
                return Err(format!("invalid scalar {value} of resource {name}"));
            }
            let milli = (value * 1000.0).round() as i64;
            if milli == 0 && value != 0.0 {
                return Err(format!("scalar {value} of resource {name} is below 0.001"));
            }
            Ok(Quantity::Scalar(milli))
        }
        Ok(ValueType::Ranges) => {
            let ranges = resource.ranges.as_ref().ok_or_else(|| format!("resource {name} has no ranges"))?;
            let mut ranges: Vec<(u64, u64)> = ranges.range.iter().map(|range| (range.begin, range.end)).collect();
            ranges.sort_unstable();
            let backwards = ranges.iter().any(|(begin, end)| begin > end);
            if backwards || ranges.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
                return Err(format!("ranges of resource {name} overlap or are backwards"));
            }
            Ok(Quantity::Ranges(coalesced(ranges)))
        }
        Ok(ValueType::Set) => {
            let items = resource.set.as_ref().ok_or_else(|| format!("resource {name} has no set"))?;
            let set: std::collections::BTreeSet<String> = items.item.iter().cloned().collect();
            if set.len() != items.item.len() {
                return Err(format!("set of resource {name} has duplicates"));
            }
            Ok(Quantity::Set(set))
        }
        _ => Err(format!("resource {name} has an unsupported type")),
    }
}

/// Reads the stack of reservations in either format.
fn reservations(resource: &Resource) -> Result<Option<Arc<[Reservation]>>, String> {
    let role = resource.role.as_deref().filter(|role| *role != "*");
    let old = match (role, &resource.reservation) {
        (None, None) => None,
        (None, Some(_)) => return Err("a resource of role * may not be reserved dynamically".into()),
        (Some(role), reservation) => Some(Reservation {
            role: role.to_owned(),
            dynamic: reservation.is_some(),
            principal: reservation.as_ref().and_then(|reservation| reservation.principal.clone()),
            labels: labels_of(reservation.as_ref().and_then(|reservation| reservation.labels.as_ref())),
        }),
    };
    let mut stack = Vec::with_capacity(resource.reservations.len());
    for entry in &resource.reservations {
        let dynamic = entry.r#type == Some(ReservationType::Dynamic as i32);
        let Some(role) = entry.role.clone().filter(|role| role != "*") else {
            return Err("a reservation needs a role other than *".into());
        };
        let below = |above: &Reservation| role.strip_prefix(&above.role).is_some_and(|rest| rest.starts_with('/'));
        if !stack.last().is_none_or(below) {
            return Err(format!("a reservation for {role} does not refine the one before it"));
        }
        let labels = labels_of(entry.labels.as_ref());
        stack.push(Reservation { role, dynamic, principal: entry.principal.clone(), labels });
    }
    match (old, stack.len()) {
        (None, 0) => Ok(None),
        (Some(old), 0) => Ok(Some(Arc::from([old]))),
        (None, _) => Ok(Some(stack.into())),
        (Some(old), 1) if stack[0] == old => Ok(Some(stack.into())),
        (Some(_), _) => Err("role or reservation contradict reservations".into()),
    }
}

/// Reads resources of a call. Each may name the role it was offered for, which must be `allocated`; errors are worth a TASK_ERROR.
pub(super) fn from_wire(resources: &[Resource], allocated: &str) -> Result<Resources, String> {
    let mut sum = Resources::default();
    for resource in resources {
        let role = resource.allocation_info.as_ref().and_then(|info| info.role.as_deref());
        if role.is_some_and(|role| role != allocated) {
            return Err(format!("resource {} is allocated to another role than {allocated}", resource.name));
        }
        if resource.disk.is_some() || resource.shared.is_some() || resource.provider_id.is_some() {
            return Err(format!(
                "resource {} is a volume, shared or from a provider: this simulation has none",
                resource.name
            ));
        }
        let kind = Kind {
            name: Name::new(&resource.name),
            reservations: reservations(resource)?,
            revocable: resource.revocable.is_some(),
        };
        let quantity = quantity(resource)?;
        let same = sum.iter().find(|(known, _)| **known == kind);
        let overlaps = match (same, &quantity) {
            (Some((_, Quantity::Ranges(have))), Quantity::Ranges(more)) => {
                more.iter().any(|(begin, end)| have.iter().any(|(first, last)| begin <= last && first <= end))
            }
            _ => false,
        };
        if overlaps {
            return Err(format!("ranges of resource {} overlap", resource.name));
        }
        sum.insert(kind, &quantity);
    }
    Ok(sum)
}

/// Writes resources, allocated to a role if there is one. Refined ones that the format cannot show are left out.
pub(super) fn to_wire(resources: &Resources, format: Format, allocated: Option<&str>) -> Vec<Resource> {
    let mut wire = Vec::new();
    for (kind, quantity) in resources.iter() {
        let stack = kind.reservations.as_deref().unwrap_or_default();
        if stack.len() > 1 && !format.refined {
            continue;
        }
        let mut resource = Resource {
            name: kind.name.as_str().to_owned(),
            revocable: kind.revocable.then_some(RevocableInfo {}),
            ..Resource::default()
        };
        if format.multi_role
            && let Some(role) = allocated
        {
            resource.allocation_info = Some(AllocationInfo { role: Some(role.to_owned()) });
        }
        reserve(&mut resource, stack, format);
        match quantity {
            Quantity::Scalar(milli) => {
                resource.r#type = ValueType::Scalar as i32;
                resource.scalar = Some(value::Scalar { value: *milli as f64 / 1000.0 });
            }
            Quantity::Ranges(ranges) => {
                resource.r#type = ValueType::Ranges as i32;
                let range = ranges.iter().map(|(begin, end)| value::Range { begin: *begin, end: *end }).collect();
                resource.ranges = Some(value::Ranges { range });
            }
            Quantity::Set(items) => {
                resource.r#type = ValueType::Set as i32;
                resource.set = Some(value::Set { item: items.iter().cloned().collect() });
            }
        }
        wire.push(resource);
    }
    wire
}

fn reserve(resource: &mut Resource, stack: &[Reservation], format: Format) {
    if format.refined {
        let entry = |reservation: &Reservation| ReservationInfo {
            principal: reservation.principal.clone(),
            labels: to_labels(&reservation.labels),
            role: Some(reservation.role.clone()),
            r#type: Some(if reservation.dynamic { ReservationType::Dynamic } else { ReservationType::Static } as i32),
        };
        resource.reservations = stack.iter().map(entry).collect();
        return;
    }
    let Some(reservation) = stack.first() else {
        resource.role = Some("*".into());
        return;
    };
    resource.role = Some(reservation.role.clone());
    if reservation.dynamic {
        resource.reservation = Some(ReservationInfo {
            principal: reservation.principal.clone(),
            labels: to_labels(&reservation.labels),
            ..ReservationInfo::default()
        });
    }
}

/// Attributes from an agent's flag, as in `rack:r1;host:a1;zone:2`; the text decides the type (spec mesos 3.3).
pub fn attributes(text: &str) -> Vec<Attribute> {
    let entries = text.split(';').filter_map(|entry| entry.split_once(':'));
    entries.map(|(name, value)| attribute(name.trim(), value.trim())).collect()
}

fn attribute(name: &str, text: &str) -> Attribute {
    let mut attribute = Attribute { name: name.to_owned(), ..Attribute::default() };
    if let Some(ranges) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let range = ranges.split(',').filter_map(|range| {
            let (begin, end) = range.split_once('-')?;
            Some(value::Range { begin: begin.trim().parse().ok()?, end: end.trim().parse().ok()? })
        });
        attribute.r#type = ValueType::Ranges as i32;
        attribute.ranges = Some(value::Ranges { range: range.collect() });
    } else if let Some(items) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        attribute.r#type = ValueType::Set as i32;
        attribute.set = Some(value::Set { item: items.split(',').map(|item| item.trim().to_owned()).collect() });
    } else if let Ok(number) = text.parse::<f64>() {
        attribute.r#type = ValueType::Scalar as i32;
        attribute.scalar = Some(value::Scalar { value: number });
    } else {
        attribute.r#type = ValueType::Text as i32;
        attribute.text = Some(value::Text { value: text.to_owned() });
    }
    attribute
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Format = Format { refined: false, multi_role: false };
    const NEW: Format = Format { refined: true, multi_role: true };

    #[test]
    fn both_reservation_formats_come_back_as_they_went() {
        let agent = Resources::parse("cpus:2.5;cpus(web):4;cpus{revocable}:8;mem:100;ports:[1-5,7-9]");
        for format in [OLD, NEW] {
            let wire = to_wire(&agent, format, Some("web"));
            assert_eq!(from_wire(&wire, "web").unwrap(), agent);
            assert_eq!(wire[0].allocation_info.is_some(), format.multi_role);
        }
        assert!(from_wire(&to_wire(&agent, NEW, Some("web")), "other").is_err());
    }

    #[test]
    fn scalars_are_counted_in_thousandths_and_bad_ones_refused() {
        let scalar = |value: f64| {
            let scalar = Some(value::Scalar { value });
            [Resource { name: "cpus".into(), r#type: ValueType::Scalar as i32, scalar, ..Resource::default() }]
        };
        assert_eq!(from_wire(&scalar(1.0004), "*").unwrap(), Resources::parse("cpus:1"));
        assert!(from_wire(&scalar(0.0), "*").unwrap().is_empty());
        for bad in [-1.0, 0.0004, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE / 2.0] {
            assert!(from_wire(&scalar(bad), "*").is_err(), "{bad}");
        }
    }

    #[test]
    fn the_text_of_an_attribute_decides_its_type() {
        let types: Vec<i32> =
            attributes("rack:2;host:r2;p:[1-5];s:{a,b}").iter().map(|attribute| attribute.r#type).collect();
        let expected = [ValueType::Scalar, ValueType::Text, ValueType::Ranges, ValueType::Set];
        assert_eq!(types, expected.map(|kind| kind as i32));
    }
}
