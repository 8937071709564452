//! Where references are looked up: tables of bound names, fields of structs, and chains of those (spec config-dsl 1.4).

use std::collections::BTreeMap;
use std::rc::Rc;

use super::fault::Fault;
use super::raw::Raw;
use super::reference::{Component, Reference};
use super::types::{Shape, TypeRef};
use super::value::{Data, Object};

/// What a reference stands for.
#[derive(Clone, Debug)]
pub enum Found {
    /// A bound text.
    Text(String),
    /// An object with the scopes it is to be resolved in.
    Object(Object),
}

/// A table of bound names.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    table: BTreeMap<Reference, Found>,
}

/// Something that may be bound to an address or at the root of a scope.
#[derive(Clone, Debug)]
pub enum Binding {
    /// A text or a number, already as text.
    Text(String),
    /// An object.
    Object(Object),
    /// A table, mounted below the address.
    Environment(Rc<Environment>),
}

impl Environment {
    /// Binds one address; a later binding of the same address replaces the earlier.
    pub fn bind(&mut self, address: &Reference, binding: Binding) {
        match binding {
            Binding::Text(text) => {
                self.table.insert(address.clone(), Found::Text(text));
            }
            Binding::Object(object) => {
                self.table.insert(address.clone(), Found::Object(object));
            }
            Binding::Environment(environment) => {
                for (inner, found) in &environment.table {
                    self.table.insert(address.join(inner), found.clone());
                }
            }
        }
    }

    /// Takes over all bindings of another table.
    pub fn absorb(&mut self, other: &Environment) {
        self.table.extend(other.table.iter().map(|(address, found)| (address.clone(), found.clone())));
    }

    /// The exact address, or else the longest mounted prefix whose object knows the rest.
    fn find(&self, path: &[Component]) -> Result<Option<Found>, Fault> {
        if self.table.is_empty() {
            return Ok(None);
        }
        for length in (1..=path.len()).rev() {
            let Some(found) = self.table.get(&Reference(path[..length].to_vec())) else { continue };
            if length == path.len() {
                return Ok(Some(found.clone()));
            }
            if let Found::Object(object) = found
                && let Some(inner) = object.find(&path[length..])?
            {
                return Ok(Some(inner));
            }
        }
        Ok(None)
    }

    /// The addresses bound, in their order.
    pub fn addresses(&self) -> impl Iterator<Item = &Reference> {
        self.table.keys()
    }
}

impl Binding {
    /// What a value is when bound: numbers become text, dictionaries become tables.
    pub fn from_raw(raw: Raw) -> Result<Self, Fault> {
        match raw {
            Raw::Text(_) | Raw::Boolean(_) | Raw::Integer(_) | Raw::Float(_) => Ok(Self::Text(raw.shown())),
            Raw::Object(object) => Ok(Self::Object(object)),
            Raw::Map(entries) => {
                let mut environment = Environment::default();
                for (key, value) in entries {
                    environment.bind_raw(&key, value)?;
                }
                Ok(Self::Environment(Rc::new(environment)))
            }
            other => Err(Fault::Value(format!(
                "a bound value must be a text, a number, a dictionary or a configuration object, not {} ({})",
                other.literal(),
                other.class()
            ))),
        }
    }
}

impl Environment {
    /// Binds a value to an address given as a value (which must be a text).
    pub fn bind_raw(&mut self, address: &Raw, value: Raw) -> Result<(), Fault> {
        let Raw::Text(address) = address else {
            return Err(Fault::Value(format!("the name of a binding must be a text, not {}", address.literal())));
        };
        self.bind(&Reference::parse(address)?, Binding::from_raw(value)?);
        Ok(())
    }
}

/// One place of a chain.
#[derive(Clone, Debug)]
enum Link {
    /// Bound names.
    Environment(Rc<Environment>),
    /// An object mounted at the root: its fields or elements are names.
    Object(Object),
    /// A struct's own fields, as `x` and as `self.x`. They are not resolved in the struct: the text that refers to
    /// them takes them up and resolves the result itself.
    Fields(TypeRef, Rc<[Option<Object>]>),
    /// The first chain, then the second.
    Join(Chain, Chain),
    /// The chain, reached through `super.`.
    Outer(Chain),
}

/// An ordered chain of scopes; the first match wins. Cloning and joining are cheap.
#[derive(Clone, Debug, Default)]
pub struct Chain(Option<Rc<Link>>);

impl Chain {
    fn one(link: Link) -> Self {
        Self(Some(Rc::new(link)))
    }

    /// A chain of one binding at the root. Text cannot be one.
    pub fn of(binding: Binding) -> Result<Self, Fault> {
        match binding {
            Binding::Environment(environment) => Ok(Self::one(Link::Environment(environment))),
            Binding::Object(object) => match object.kind().shape() {
                Shape::Struct(_) | Shape::List(_) | Shape::Map(..) => Ok(Self::one(Link::Object(object))),
                _ => Err(Fault::Value(format!(
                    "a {} has no names in it and cannot be bound without one; write bind(name=value)",
                    object.kind().name()
                ))),
            },
            Binding::Text(text) => Err(Fault::Value(format!(
                "the text {} cannot be bound without a name; write bind(name=value)",
                super::render::text_literal(&text)
            ))),
        }
    }

    /// This chain, then another.
    #[must_use]
    pub fn then(&self, next: &Chain) -> Self {
        match (&self.0, &next.0) {
            (_, None) => self.clone(),
            (None, _) => next.clone(),
            _ => Self::one(Link::Join(self.clone(), next.clone())),
        }
    }

    /// The chain for the fields of a struct with these fields in this chain.
    pub(super) fn inside(&self, kind: &TypeRef, fields: &Rc<[Option<Object>]>) -> Self {
        let own = Self::one(Link::Fields(kind.clone(), fields.clone()));
        if self.0.is_none() {
            return own;
        }
        own.then(self).then(&Self::one(Link::Outer(self.clone())))
    }

    /// The first thing that the path stands for.
    pub(super) fn find(&self, path: &[Component]) -> Result<Option<Found>, Fault> {
        let Some(link) = &self.0 else { return Ok(None) };
        match &**link {
            Link::Environment(environment) => environment.find(path),
            Link::Object(object) => object.find(path),
            Link::Fields(kind, fields) => find_field(kind, fields, path),
            Link::Join(first, second) => match first.find(path)? {
                Some(found) => Ok(Some(found)),
                None => second.find(path),
            },
            Link::Outer(chain) => match path {
                [Component::Name(name), rest @ ..] if name == "super" && !rest.is_empty() => chain.find(rest),
                _ => Ok(None),
            },
        }
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

fn find_field(kind: &TypeRef, fields: &[Option<Object>], path: &[Component]) -> Result<Option<Found>, Fault> {
    let Some((Component::Name(name), rest)) = path.split_first() else { return Ok(None) };
    if name == "self"
        && let Some((Component::Name(name), rest)) = rest.split_first()
        && let Some(found) = field_path(kind, fields, name, rest)?
    {
        return Ok(Some(found));
    }
    field_path(kind, fields, name, rest)
}

fn field_path(
    kind: &TypeRef,
    fields: &[Option<Object>],
    name: &str,
    rest: &[Component],
) -> Result<Option<Found>, Fault> {
    let Some(Some(value)) = kind.field_index(name).map(|index| &fields[index]) else { return Ok(None) };
    if rest.is_empty() { Ok(Some(Found::Object(value.clone()))) } else { value.find(rest) }
}

impl Object {
    /// What a path below this object stands for; `None` when there is no such thing.
    pub(super) fn find(&self, path: &[Component]) -> Result<Option<Found>, Fault> {
        let Some((first, rest)) = path.split_first() else { return Ok(None) };
        let scopes = self.inner_scopes(&self.scopes);
        let child = match (&self.data, first) {
            (Data::Struct(fields), Component::Name(name)) => {
                self.kind().field_index(name).and_then(|index| fields[index].as_ref())
            }
            (Data::List(items), Component::Index(index)) => index.parse::<i64>().ok().and_then(|index| {
                let index = if index < 0 { index + items.len() as i64 } else { index };
                usize::try_from(index).ok().and_then(|index| items.get(index))
            }),
            (Data::Map(entries), Component::Index(key)) => {
                let Shape::Map(key_kind, _) = self.kind().shape() else { unreachable!("a map has a map's type") };
                let wanted = Object::construct(key_kind, Raw::text(key))?;
                let mut child = None;
                for (key, value) in entries.iter() {
                    if key.same(&wanted)? {
                        child = Some(value);
                        break;
                    }
                }
                child
            }
            _ => None,
        };
        let Some(child) = child else { return Ok(None) };
        let child = child.in_chain(&scopes);
        if rest.is_empty() { Ok(Some(Found::Object(child))) } else { child.find(rest) }
    }
}
