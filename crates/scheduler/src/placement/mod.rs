//! Placement: pending tasks of one configuration form a group, and a group is matched against an indexed book of offers. It
//! knows agents, offers and configurations; what a task is and what becomes of it is decided by `tasks`.

pub(crate) mod affinity;
pub(crate) mod assign;
pub(crate) mod filter;
pub(crate) mod groups;
pub(crate) mod index;
pub(crate) mod joining;
pub(crate) mod offers;
pub(crate) mod preemption;
pub(crate) mod reasons;
