//! Levels of service: what a policy says about ending a task now ([`policy`]), the coordinators that are asked where a policy names one
//! ([`coordinator`]), and the figures that are published of jobs and of the cluster ([`metrics`]).
//!
//! Here nothing ends a task: who wants to (the drain of a host, an update) asks, and acts in the same step, so that whatever else
//! happens to the job in between is seen by the next who asks.

pub mod coordinator;
pub mod metrics;
pub(crate) mod policy;
