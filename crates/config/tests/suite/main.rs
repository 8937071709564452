//! Job files evaluated in their own process, from the text of the file to the scheduler's words.

mod beside;
mod common;
mod errors;
mod features;
mod files;
mod golden;
mod hooks;
mod limits;
mod loader;
mod migration;
mod objects;
mod patterns;
mod python2;
mod refusals;
mod submission;
mod tasks;
