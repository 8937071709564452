//! Resolving objects in their scopes, checking and comparing them (spec config-dsl 1.4, 1.7 to 1.9).

use std::cell::Cell;
use std::rc::Rc;

use super::coerce::coerce;
use super::fault::Fault;
use super::raw::Raw;
use super::reference::Reference;
use super::scope::Chain;
use super::template;
use super::types::{Field, Shape, TypeRef};
use super::value::{Data, Object, Origin};

/// How deep objects may be resolved within each other. Files written by people stay below twenty.
const DEPTH_MAX: usize = 200;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Counts the levels of resolving; a reference that leads through itself ends here instead of at the end of the stack.
struct Level;

impl Level {
    fn enter(kind: &TypeRef) -> Result<Self, Fault> {
        DEPTH.with(|depth| {
            if depth.get() >= DEPTH_MAX {
                return Err(Fault::Endless(format!(
                    "resolving a {} leads through itself again and again: maximum replacements reached",
                    kind.name()
                )));
            }
            depth.set(depth.get() + 1);
            Ok(Self)
        })
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

/// A check that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCheck {
    /// Why, from the outermost struct inwards.
    pub why: String,
    /// Where the innermost struct on that way was made.
    pub origin: Option<Origin>,
    /// Of a choice whose value has the type of an alternative, why the value itself is wrong.
    pub inner: Option<String>,
}

impl FailedCheck {
    fn new(why: String) -> Self {
        Self { why, origin: None, inner: None }
    }

    fn within(self, place: &str) -> Self {
        Self { why: format!("{place}: {}", self.why), ..self }
    }
}

impl Object {
    /// This object with as much resolved as its scopes allow, without scopes, and the references left, each once.
    /// A choice becomes the alternative it holds.
    pub fn interpolate(&self) -> Result<(Object, Vec<Reference>), Fault> {
        let mut unbound = Vec::new();
        let object = self.resolve_in(&self.scopes, &mut unbound)?;
        Ok((object, unbound))
    }

    /// A field of a struct, resolved in the struct's scopes; `None` when unset.
    pub fn field(&self, name: &str) -> Result<Option<Object>, Fault> {
        let Some(index) = self.kind.field_index(name) else { return Err(self.kind.unknown_field(name)) };
        let Some(value) = self.raw_field(name) else { return Ok(None) };
        let scopes = value.scopes.then(&self.inner_scopes(&self.scopes));
        let resolved = value.resolve_in(&scopes, &mut Vec::new())?;
        Object::fit(&self.kind.fields()[index].kind, resolved.into()).map(Some)
    }

    /// A field of a struct with the struct's scopes around it, unresolved; `None` when unset.
    pub fn field_in_place(&self, name: &str) -> Option<Object> {
        self.raw_field(name).map(|value| value.in_chain(&self.inner_scopes(&self.scopes)))
    }

    /// The scopes around the parts of an object that itself stands in `outer`.
    pub(super) fn inner_scopes(&self, outer: &Chain) -> Chain {
        match &self.data {
            Data::Struct(fields) => outer.inside(&self.kind, fields),
            _ => outer.clone(),
        }
    }

    /// Resolves in `scopes`, which already hold this object's own bindings.
    fn resolve_in(&self, scopes: &Chain, unbound: &mut Vec<Reference>) -> Result<Object, Fault> {
        let _level = Level::enter(&self.kind)?;
        let inner = self.inner_scopes(scopes);
        let mut part = |part: &Object, kind: &TypeRef| {
            let resolved = part.resolve_in(&part.scopes.then(&inner), unbound)?;
            Object::fit(kind, resolved.into())
        };
        let data = match (&self.data, self.kind.shape()) {
            (Data::Plain(raw), Shape::Choice(alternatives)) => {
                return self
                    .alternative(raw, alternatives, |candidate| {
                        let mut left = Vec::new();
                        let resolved = candidate.resolve_in(&candidate.scopes.then(scopes), &mut left)?;
                        Ok(Some((resolved, left)))
                    })?
                    .map(|(resolved, left)| {
                        add_references(unbound, left);
                        resolved
                    })
                    .ok_or_else(|| {
                        Fault::Coercion(format!("Cannot coerce '{}' to {}", raw.shown(), self.kind.name()))
                    });
            }
            (Data::Plain(raw), _) => Data::Plain(Rc::new(self.resolve_plain(raw, scopes, unbound)?)),
            (Data::Struct(fields), Shape::Struct(signature)) => {
                let fields = fields
                    .iter()
                    .zip(signature)
                    .map(|(value, field)| value.as_ref().map(|value| part(value, &field.kind)).transpose());
                Data::Struct(fields.collect::<Result<_, _>>()?)
            }
            (Data::List(items), Shape::List(item_kind)) => {
                Data::List(items.iter().map(|item| part(item, item_kind)).collect::<Result<_, _>>()?)
            }
            (Data::Map(entries), Shape::Map(key_kind, value_kind)) => {
                let entries = entries.iter().map(|(key, value)| Ok((part(key, key_kind)?, part(value, value_kind)?)));
                Data::Map(entries.collect::<Result<_, Fault>>()?)
            }
            _ => unreachable!("the data of an object fits its type"),
        };
        Ok(Object::with_data(&self.kind, data).made_as(self))
    }

    fn resolve_plain(&self, raw: &Raw, scopes: &Chain, unbound: &mut Vec<Reference>) -> Result<Raw, Fault> {
        let Raw::Text(text) = raw else { return coerce(&self.kind, raw) };
        let (text, left) = template::resolve(text, scopes)?;
        if left.is_empty() {
            return coerce(&self.kind, &Raw::Text(text));
        }
        add_references(unbound, left);
        Ok(Raw::Text(text))
    }

    /// The first alternative of a choice for which `attempt` gives something. A value of an alternative's type counts
    /// as that alternative; others are tried by constructing. A dictionary that does not have the fields of one struct
    /// is tried on the next; only when none fits is the first complaint about a field reported.
    fn alternative<T>(
        &self,
        raw: &Raw,
        alternatives: &[TypeRef],
        attempt: impl Fn(&Object) -> Result<Option<T>, Fault>,
    ) -> Result<Option<T>, Fault> {
        let mut complaint = None;
        for kind in alternatives {
            if let Raw::Object(object) = raw
                && object.kind == *kind
            {
                return attempt(object);
            }
            match Object::construct(kind, raw.clone()).and_then(|candidate| attempt(&candidate)) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) | Err(Fault::Coercion(_) | Fault::Value(_)) => {}
                Err(fault @ Fault::UnknownField(_)) => complaint = complaint.or(Some(fault)),
                Err(other) => return Err(other),
            }
        }
        complaint.map_or(Ok(None), Err)
    }

    /// Checks types and required fields. `Ok(None)` is a pass; a text that is no reference is an error of its own.
    pub fn check(&self) -> Result<Option<FailedCheck>, Fault> {
        self.check_in(&self.scopes)
    }

    fn check_in(&self, scopes: &Chain) -> Result<Option<FailedCheck>, Fault> {
        let _level = Level::enter(&self.kind)?;
        let inner = self.inner_scopes(scopes);
        let failed = match (&self.data, self.kind.shape()) {
            (Data::Plain(raw), Shape::Choice(alternatives)) => self.check_choice(raw, alternatives, scopes)?,
            (Data::Plain(raw), _) => match self.resolve_plain(raw, scopes, &mut Vec::new()) {
                Ok(resolved) => wrong_plain(&self.kind, &resolved).map(FailedCheck::new),
                Err(fault @ (Fault::Coercion(_) | Fault::Endless(_))) => {
                    Some(FailedCheck::new(format!("Unable to interpolate: {fault}")))
                }
                Err(other) => return Err(other),
            },
            (Data::Struct(fields), Shape::Struct(signature)) => self.check_fields(fields, signature, &inner)?,
            (Data::List(items), _) => self.check_items(items, &inner)?,
            (Data::Map(entries), _) => self.check_entries(entries, &inner)?,
            _ => unreachable!("the data of an object fits its type"),
        };
        // The innermost place that is known is the best one.
        Ok(failed.map(|failed| FailedCheck { origin: failed.origin.or_else(|| self.origin().cloned()), ..failed }))
    }

    fn check_part(&self, inner: &Chain) -> Result<Option<FailedCheck>, Fault> {
        self.check_in(&self.scopes.then(inner))
    }

    fn check_choice(&self, raw: &Raw, alternatives: &[TypeRef], scopes: &Chain) -> Result<Option<FailedCheck>, Fault> {
        let passed =
            self.alternative(raw, alternatives, |candidate| Ok(candidate.check_part(scopes)?.is_none().then_some(())))?;
        let value = raw.shown();
        let why =
            || format!("{} typecheck failed: value {value} did not match any of its alternatives", self.kind.name());
        if passed.is_some() {
            return Ok(None);
        }
        let failed = FailedCheck::new(why());
        match raw {
            Raw::Object(object) if alternatives.contains(&object.kind) => {
                let inner = object.check_part(scopes)?;
                let origin = inner.as_ref().and_then(|inner| inner.origin.clone());
                let inner = inner.map(|inner| inner.inner.unwrap_or(inner.why));
                Ok(Some(FailedCheck { origin: origin.or_else(|| object.origin().cloned()), inner, ..failed }))
            }
            Raw::Object(object) => Ok(Some(FailedCheck { origin: object.origin().cloned(), ..failed })),
            _ => Ok(Some(failed)),
        }
    }

    fn check_fields(
        &self,
        fields: &[Option<Object>],
        signature: &[Field],
        inner: &Chain,
    ) -> Result<Option<FailedCheck>, Fault> {
        let name = self.kind.name();
        for (value, field) in fields.iter().zip(signature) {
            match value {
                None if field.required => {
                    return Ok(Some(FailedCheck::new(format!("{name}[{}] is required.", field.name))));
                }
                None => {}
                Some(value) => {
                    if let Some(failed) = value.check_part(inner)? {
                        return Ok(Some(failed.within(&format!("{name}[{}] failed", field.name))));
                    }
                }
            }
        }
        Ok(None)
    }

    fn check_items(&self, items: &[Object], inner: &Chain) -> Result<Option<FailedCheck>, Fault> {
        for item in items {
            if let Some(failed) = item.check_part(inner)? {
                return Ok(Some(failed.within(&format!("Element in {} failed check", self.kind.name()))));
            }
        }
        Ok(None)
    }

    fn check_entries(&self, entries: &[(Object, Object)], inner: &Chain) -> Result<Option<FailedCheck>, Fault> {
        let name = self.kind.name();
        for (key, value) in entries {
            if let Some(failed) = key.check_part(inner)? {
                return Ok(Some(failed.within(&format!("{name} key {} failed check", key.shown()))));
            }
            if let Some(failed) = value.check_part(inner)? {
                let place = format!("{name}[{}] value {} failed check", key.shown(), value.shown());
                return Ok(Some(failed.within(&place)));
            }
        }
        Ok(None)
    }

    /// Equality of what two objects resolve to. Objects of different types are never equal, but structs of the same fields may be.
    pub fn same(&self, other: &Object) -> Result<bool, Fault> {
        if !self.kind.has_fields_of(&other.kind) {
            return Ok(false);
        }
        Ok(same_resolved(&self.interpolate()?.0, &other.interpolate()?.0))
    }

    /// What the object resolves to, as text.
    pub fn text(&self) -> Result<String, Fault> {
        Ok(self.interpolate()?.0.shown())
    }
}

fn wrong_plain(kind: &TypeRef, resolved: &Raw) -> Option<String> {
    let (fits, what) = match kind.shape() {
        Shape::String => (matches!(resolved, Raw::Text(_)), "a string"),
        Shape::Integer => (matches!(resolved, Raw::Integer(_)), "an integer"),
        Shape::Float => (matches!(resolved, Raw::Integer(_) | Raw::Float(_)), "a float"),
        Shape::Boolean => (matches!(resolved, Raw::Boolean(_)), "a boolean"),
        Shape::Enum(values) => {
            let fits = matches!(resolved, Raw::Text(text) if values.contains(text));
            return (!fits).then(|| format!("{} not in the enumeration ({})", resolved.literal(), values.join(", ")));
        }
        _ => unreachable!("only basic types hold plain values"),
    };
    (!fits).then(|| format!("{} not {what}", resolved.literal()))
}

fn same_resolved(a: &Object, b: &Object) -> bool {
    if !a.kind.has_fields_of(&b.kind) {
        return false;
    }
    match (&a.data, &b.data) {
        (Data::Plain(a), Data::Plain(b)) => a.same(b),
        (Data::Struct(fields), Data::Struct(_)) => {
            fields.iter().zip(a.kind.fields()).all(|(value, field)| match (value, b.raw_field(&field.name)) {
                (None, None) => true,
                (Some(a), Some(b)) => same_resolved(a, b),
                _ => false,
            })
        }
        (Data::List(a), Data::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same_resolved(a, b))
        }
        (Data::Map(a), Data::Map(b)) => {
            a.len() == b.len()
                && a.iter().zip(b.iter()).all(|(a, b)| same_resolved(&a.0, &b.0) && same_resolved(&a.1, &b.1))
        }
        _ => false,
    }
}

fn add_references(all: &mut Vec<Reference>, more: Vec<Reference>) {
    for reference in more {
        if !all.contains(&reference) {
            all.push(reference);
        }
    }
}
