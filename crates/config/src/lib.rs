//! Evaluation of job files into the model. No network.

mod interpreter;
mod object;
mod schema;
mod suggest;
#[doc(hidden)]
pub fn probe(path: &str) { println!("{:?}", interpreter::run(path, &[])); }
