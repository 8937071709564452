//! Objects: making them, copying them with other fields or bindings.

use std::rc::Rc;

use super::fault::Fault;
use super::raw::Raw;
use super::scope::{Binding, Chain};
use super::template;
use super::types::{Shape, Type, TypeRef};

/// A value of a type with the bindings given to it. Never changes; copies are cheap.
#[derive(Clone, Debug)]
pub struct Object {
    pub(super) kind: TypeRef,
    pub(super) data: Data,
    pub(super) scopes: Chain,
    origin: Option<Origin>,
    from_dictionary: bool,
}

/// The file and the line, from 1, that made an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it was named.
    pub file: Rc<str>,
    /// The line.
    pub line: usize,
    /// The expression on it, where that is known: its column, the line of its end and the column behind that, from 1 and in bytes.
    pub columns: Option<(usize, usize, usize)>,
}

/// What an object holds, by the shape of its type.
#[derive(Clone, Debug)]
pub(super) enum Data {
    /// Of basic types, enumerations and choices: the value as given.
    Plain(Rc<Raw>),
    /// The fields in the order of the type; unset ones are `None`.
    Struct(Rc<[Option<Object>]>),
    /// Elements.
    List(Rc<[Object]>),
    /// Entries in their order.
    Map(Rc<[(Object, Object)]>),
}

impl Object {
    pub(super) fn with_data(kind: &TypeRef, data: Data) -> Self {
        Self { kind: kind.clone(), data, scopes: Chain::default(), origin: None, from_dictionary: false }
    }

    pub(super) fn plain(kind: &TypeRef, raw: Raw) -> Self {
        Self::with_data(kind, Data::Plain(Rc::new(raw)))
    }

    /// An object of type `kind` from one value. Basic types take anything and complain when resolved; structs want a
    /// dictionary, lists a list, maps a dictionary, enumerations one of their texts or a text with a reference.
    pub fn construct(kind: &TypeRef, raw: Raw) -> Result<Self, Fault> {
        match kind.shape() {
            Shape::String | Shape::Integer | Shape::Float | Shape::Boolean | Shape::Choice(_) => {
                Ok(Self::plain(kind, raw))
            }
            Shape::Enum(values) => {
                let allowed = match &raw {
                    Raw::Text(text) => {
                        values.contains(text) || !template::resolve(text, &Chain::default())?.1.is_empty()
                    }
                    _ => false,
                };
                if allowed {
                    return Ok(Self::plain(kind, raw));
                }
                Err(Fault::Value(format!(
                    "{} only accepts the following values: {} (not {})",
                    kind.name(),
                    values.join(", "),
                    raw.literal()
                )))
            }
            Shape::Struct(_) => {
                let object = Self::construct_struct(kind, vec![raw], Vec::new())?;
                Ok(Self { from_dictionary: true, ..object })
            }
            Shape::List(item) => match raw {
                Raw::List(items) => {
                    let items = items.into_iter().enumerate().map(|(index, raw)| {
                        Self::fit(item, raw).map_err(|fault| fault.within(&format!("element {index}")))
                    });
                    Ok(Self::with_data(kind, Data::List(items.collect::<Result<_, _>>()?)))
                }
                other => Err(Fault::Value(format!(
                    "{} expects an iterable (a list or a tuple), not {} ({})",
                    kind.name(),
                    other.literal(),
                    other.class()
                ))),
            },
            Shape::Map(..) => match raw {
                Raw::Map(entries) => Self::construct_map(kind, entries),
                other => Err(Fault::Value(format!(
                    "{} expects a dictionary, not {} ({})",
                    kind.name(),
                    other.literal(),
                    other.class()
                ))),
            },
        }
    }

    /// A map from its entries.
    pub fn construct_map(kind: &TypeRef, entries: Vec<(Raw, Raw)>) -> Result<Self, Fault> {
        let Shape::Map(key_kind, value_kind) = kind.shape() else {
            return Err(Fault::Type(format!("{} is no map", kind.name())));
        };
        let entries = entries.into_iter().map(|(key, value)| {
            let place = key.literal();
            let value = Self::fit(value_kind, value).map_err(|fault| fault.within(&place))?;
            Ok((Self::fit(key_kind, key)?, value))
        });
        Ok(Self::with_data(kind, Data::Map(entries.collect::<Result<_, Fault>>()?)))
    }

    /// A struct from dictionaries, applied in their order, and then keywords.
    pub fn construct_struct(
        kind: &TypeRef,
        dictionaries: Vec<Raw>,
        keywords: Vec<(String, Raw)>,
    ) -> Result<Self, Fault> {
        let mut fields: Vec<Option<Object>> = kind.fields().iter().map(|field| field.default.clone()).collect();
        for dictionary in dictionaries {
            let Raw::Map(entries) = dictionary else {
                return Err(Fault::Value(format!(
                    "{} expected a dictionary or another {0}, not {} ({})",
                    kind.name(),
                    dictionary.literal(),
                    dictionary.class()
                )));
            };
            for (key, value) in entries {
                let Raw::Text(key) = &key else {
                    return Err(Fault::Type(format!(
                        "field names of {} are texts, not {}",
                        kind.name(),
                        key.literal()
                    )));
                };
                set_field(kind, &mut fields, key, value)?;
            }
        }
        for (key, value) in keywords {
            set_field(kind, &mut fields, &key, value)?;
        }
        Ok(Self::with_data(kind, Data::Struct(fields.into())))
    }

    /// A value put where `kind` is wanted: objects of the type are kept with their bindings, other values constructed.
    pub fn fit(kind: &TypeRef, raw: Raw) -> Result<Self, Fault> {
        match raw {
            Raw::Object(object) if object.kind == *kind => Ok(object),
            other => Self::construct(kind, other),
        }
    }

    /// A copy of a struct with some fields replaced; bindings stay. [`Raw::Foreign`] of class `Empty` unsets a field.
    pub fn with_fields(&self, keywords: Vec<(String, Raw)>) -> Result<Self, Fault> {
        let Data::Struct(fields) = &self.data else {
            return Err(Fault::Type(format!("a {} has no fields to set", self.kind.name())));
        };
        let mut fields = fields.to_vec();
        for (key, value) in keywords {
            set_field(&self.kind, &mut fields, &key, value)?;
        }
        Ok(Self { data: Data::Struct(fields.into()), ..self.clone() })
    }

    /// A copy with the bindings before those it has: later calls and later arguments win.
    pub fn bind(&self, bindings: Vec<Binding>) -> Result<Self, Fault> {
        let mut scopes = self.scopes.clone();
        for binding in bindings {
            scopes = Chain::of(binding)?.then(&scopes);
        }
        Ok(Self { scopes, ..self.clone() })
    }

    /// A copy with the bindings after those it has.
    pub fn in_scope(&self, bindings: Vec<Binding>) -> Result<Self, Fault> {
        let mut scopes = self.scopes.clone();
        for binding in bindings {
            scopes = scopes.then(&Chain::of(binding)?);
        }
        Ok(Self { scopes, ..self.clone() })
    }

    pub(super) fn in_chain(&self, chain: &Chain) -> Self {
        Self { scopes: self.scopes.then(chain), ..self.clone() }
    }

    /// A copy that is of another struct type with the same fields.
    pub fn as_kind(&self, kind: &TypeRef) -> Self {
        debug_assert_eq!(kind.fields().len(), self.kind.fields().len());
        Self { kind: kind.clone(), ..self.clone() }
    }

    /// The same, made at `origin`. Without one, what was known stays.
    #[must_use]
    pub fn made_at(mut self, origin: Option<Origin>) -> Self {
        self.origin = origin.or(self.origin);
        self
    }

    /// The same, made from a dictionary if `model` was.
    pub(super) fn made_as(mut self, model: &Object) -> Self {
        self.from_dictionary = model.from_dictionary;
        self
    }

    /// Whether it was made where its struct was wanted and a dictionary given, rather than by a call of the class.
    pub fn is_from_dictionary(&self) -> bool {
        self.from_dictionary
    }

    /// Where it was made, if that is known.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Where the innermost struct was made that holds `text` in one of its fields as they were written.
    pub fn origin_of_text(&self, text: &str) -> Option<&Origin> {
        let holds = |part: &Object| matches!(&part.data, Data::Plain(raw) if matches!(&**raw, Raw::Text(t) if t.contains(text)));
        let inner = match &self.data {
            Data::Plain(raw) => match &**raw {
                Raw::Object(object) => object.origin_of_text(text),
                _ => None,
            },
            Data::Struct(fields) => {
                let inner = fields.iter().flatten().find_map(|field| field.origin_of_text(text));
                inner.or_else(|| fields.iter().flatten().any(holds).then_some(self.origin.as_ref()).flatten())
            }
            Data::List(items) => items.iter().find_map(|item| item.origin_of_text(text)),
            Data::Map(_) => None,
        };
        let own_entry = |(key, value): &(Object, Object)| holds(key) || holds(value);
        match &self.data {
            Data::List(items) if inner.is_none() && items.iter().any(holds) => self.origin.as_ref(),
            Data::Map(entries) if entries.iter().any(own_entry) => self.origin.as_ref(),
            _ => inner,
        }
    }

    /// Its type.
    pub fn kind(&self) -> &TypeRef {
        &self.kind
    }

    /// Is it of this type?
    pub fn is(&self, kind: &Type) -> bool {
        *self.kind == *kind
    }

    /// A field of a struct as it was set, unresolved; `None` when unset or when there is no such field.
    pub fn raw_field(&self, name: &str) -> Option<&Object> {
        match &self.data {
            Data::Struct(fields) => self.kind.field_index(name).and_then(|index| fields[index].as_ref()),
            _ => None,
        }
    }

    /// The elements of a list as they were set; nothing for other types.
    pub fn raw_items(&self) -> &[Object] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    /// The entries of a map as they were set; nothing for other types.
    pub fn raw_entries(&self) -> &[(Object, Object)] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a basic object as it is, unresolved.
    pub fn plain_value(&self) -> Option<&Raw> {
        match &self.data {
            Data::Plain(raw) => Some(raw),
            _ => None,
        }
    }
}

fn set_field(kind: &TypeRef, fields: &mut [Option<Object>], name: &str, value: Raw) -> Result<(), Fault> {
    let Some(index) = kind.field_index(name) else { return Err(kind.unknown_field(name)) };
    fields[index] = match value {
        Raw::Foreign { class, .. } if class == EMPTY_CLASS => None,
        value => {
            let field = &kind.fields()[index];
            Some(Object::fit(&field.kind, value).map_err(|fault| fault.within(&format!("{}.{name}", kind.name())))?)
        }
    };
    Ok(())
}

/// The class name under which the mark for "unset" travels as a [`Raw::Foreign`].
pub(crate) const EMPTY_CLASS: &str = "<Empty>";

impl Raw {
    /// The mark that unsets a field.
    pub fn empty() -> Self {
        Self::Foreign { class: EMPTY_CLASS.to_owned(), shown: "Empty".to_owned() }
    }
}
