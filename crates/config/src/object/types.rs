//! Types of job-file objects. Two types are the same when their names and all that is in them are the same.

use std::fmt;
use std::rc::Rc;

use super::fault::Fault;
use super::raw::Raw;
use super::value::Object;

/// A shared type.
pub type TypeRef = Rc<Type>;

/// The type of an object.
pub struct Type {
    name: String,
    shape: Shape,
    fingerprint: String,
}

/// What a type is made of.
#[derive(Debug)]
pub enum Shape {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A floating point number.
    Float,
    /// True or false.
    Boolean,
    /// One of the listed texts.
    Enum(Vec<String>),
    /// A list of one type.
    List(TypeRef),
    /// A map from one type to another.
    Map(TypeRef, TypeRef),
    /// A value of one of several types; the first that fits is taken.
    Choice(Vec<TypeRef>),
    /// Named fields.
    Struct(Vec<Field>),
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: TypeRef,
    /// Must it be set for the check to pass?
    pub required: bool,
    /// Its value when none is given.
    pub default: Option<Object>,
}

impl Field {
    /// A field; the default, if any, is put into the field's type at once.
    pub fn new(name: &str, kind: &TypeRef, required: bool, default: Option<Raw>) -> Result<Self, Fault> {
        let default = default.map(|raw| Object::fit(kind, raw)).transpose()?;
        Ok(Self { name: name.to_owned(), kind: kind.clone(), required, default })
    }
}

impl Type {
    fn new(name: String, shape: Shape, fingerprint: String) -> TypeRef {
        Rc::new(Self { name, shape, fingerprint })
    }

    /// The type of texts.
    pub fn string() -> TypeRef {
        Self::new("String".to_owned(), Shape::String, "String".to_owned())
    }

    /// The type of whole numbers.
    pub fn integer() -> TypeRef {
        Self::new("Integer".to_owned(), Shape::Integer, "Integer".to_owned())
    }

    /// The type of floating point numbers.
    pub fn float() -> TypeRef {
        Self::new("Float".to_owned(), Shape::Float, "Float".to_owned())
    }

    /// The type of truth values.
    pub fn boolean() -> TypeRef {
        Self::new("Boolean".to_owned(), Shape::Boolean, "Boolean".to_owned())
    }

    /// A type of listed texts.
    pub fn enumeration(name: &str, values: Vec<String>) -> TypeRef {
        let fingerprint = format!("Enum {name}{values:?}");
        Self::new(name.to_owned(), Shape::Enum(values), fingerprint)
    }

    /// The type of lists of `item`.
    pub fn list(item: &TypeRef) -> TypeRef {
        let fingerprint = format!("List({})", item.fingerprint);
        Self::new(format!("{}List", item.name), Shape::List(item.clone()), fingerprint)
    }

    /// The type of maps from `key` to `value`.
    pub fn map(key: &TypeRef, value: &TypeRef) -> TypeRef {
        let fingerprint = format!("Map({},{})", key.fingerprint, value.fingerprint);
        Self::new(format!("{}{}Map", key.name, value.name), Shape::Map(key.clone(), value.clone()), fingerprint)
    }

    /// The type of values of one of `alternatives`. Without a name it is named after them.
    pub fn choice(name: Option<&str>, alternatives: Vec<TypeRef>) -> TypeRef {
        let names: Vec<_> = alternatives.iter().map(|kind| kind.name.as_str()).collect();
        let name = name.map_or_else(|| format!("Choice_{}", names.join("_")), str::to_owned);
        let inner: Vec<_> = alternatives.iter().map(|kind| kind.fingerprint.as_str()).collect();
        let fingerprint = format!("Choice {name}({})", inner.join(","));
        Self::new(name, Shape::Choice(alternatives), fingerprint)
    }

    /// A struct.
    pub fn structure(name: &str, fields: Vec<Field>) -> TypeRef {
        let fingerprint = struct_fingerprint(name, &fields);
        Self::new(name.to_owned(), Shape::Struct(fields), fingerprint)
    }

    /// A struct with the fields of another, but a type of its own: what a class derived from a struct class is.
    /// `serial` tells such types apart.
    pub fn derived(name: &str, base: &TypeRef, serial: usize) -> Result<TypeRef, Fault> {
        let Shape::Struct(fields) = &base.shape else {
            return Err(Fault::Type(format!("{} is no struct and cannot be derived from", base.name)));
        };
        let fields = fields
            .iter()
            .map(|field| Field {
                name: field.name.clone(),
                kind: field.kind.clone(),
                required: field.required,
                default: field.default.clone(),
            })
            .collect();
        let fingerprint = format!("derived {serial} {name} from {}", base.fingerprint);
        Ok(Self::new(name.to_owned(), Shape::Struct(fields), fingerprint))
    }

    /// Its name, as messages show it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is made of.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// A text that is equal for equal types only.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The fields of a struct; nothing for other types.
    pub fn fields(&self) -> &[Field] {
        match &self.shape {
            Shape::Struct(fields) => fields,
            _ => &[],
        }
    }

    /// Have two types of structs the same fields, whatever they are called? Then their objects may be equal.
    pub fn has_fields_of(&self, other: &Type) -> bool {
        match (&self.shape, &other.shape) {
            (Shape::Struct(fields), Shape::Struct(others)) => {
                self == other || struct_fingerprint("", fields) == struct_fingerprint("", others)
            }
            _ => self == other,
        }
    }

    /// The place of a struct's field.
    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.fields().iter().position(|field| field.name == name)
    }

    /// The failure for a field this struct does not have; names the nearest one it has.
    pub fn unknown_field(&self, name: &str) -> Fault {
        let nearest = crate::suggest::nearest(name, self.fields().iter().map(|field| field.name.as_str()));
        let hint = match nearest {
            Some(nearest) => format!("; did you mean '{nearest}'?"),
            None => {
                let names: Vec<_> = self.fields().iter().map(|field| field.name.as_str()).collect();
                format!("; it has: {}", names.join(", "))
            }
        };
        Fault::UnknownField(format!("{} has no field '{name}'{hint}", self.name))
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.fingerprint == other.fingerprint
    }
}

impl Eq for Type {}

impl fmt::Debug for Type {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

fn struct_fingerprint(name: &str, fields: &[Field]) -> String {
    let mut parts: Vec<String> = fields
        .iter()
        .map(|field| {
            let default = field.default.as_ref().map(Object::raw_literal).unwrap_or_default();
            // Long fingerprints of nested structs are kept whole: they are compared, not stored.
            format!("{}{}={default}:{}", field.name, if field.required { "!" } else { "" }, field.kind.fingerprint)
        })
        .collect();
    parts.sort();
    format!("Struct {name}{{{}}}", parts.join(";"))
}
