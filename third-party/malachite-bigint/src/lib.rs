//! Big integers for the embedded interpreter, under the name it asks for.
//!
//! The interpreter depends on `malachite-bigint`, which is LGPL-3.0-only and would be linked statically. That crate offers
//! the interface of `num-bigint`, so this one passes on `num-bigint` (MIT OR Apache-2.0) instead.

pub use num_bigint::*;
