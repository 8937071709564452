//! Job files that are data: the same jobs as the files in Python give, errors with their places, the published schema, conversions.

mod apart;
// Not all of the helpers are needed here.
#[allow(dead_code)]
#[path = "../suite/common.rs"]
mod common;
mod convert;
mod docs;
mod errors;
mod pairs;
mod read;
mod schema;
