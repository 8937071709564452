//! The objects of a job file: typed values with templates inside that resolve late, in the scopes around them.
//!
//! An [`Object`] is a value of a [`Type`] plus the bindings given to it. Objects never change: binding a name or setting a field
//! gives a new one. Nothing is resolved when an object is made; [`Object::interpolate`] and [`Object::check`] do that on demand.
//! The rules are those of spec config-dsl part 1. Nothing here knows Python: the interpreter's classes are thin covers of these
//! types, and job files in JSON use them without an interpreter.

mod coerce;
pub(crate) mod dictionary;
mod fault;
mod interpolate;
mod raw;
mod reference;
mod render;
mod scope;
mod template;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use interpolate::FailedCheck;
pub use raw::Raw;
pub use reference::{Component, Reference};
pub use render::{float_text, text_literal};
pub use scope::{Binding, Chain, Environment};
pub(crate) use template::within_bytes;
pub use template::{Piece, resolve, split};
pub use types::{Field, Shape, Type, TypeRef};
pub use value::{Object, Origin};
