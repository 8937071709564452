//! The durable schema: what a step writes and a restart reads. Absolute keyed puts and deletes, no deltas, so that replay is
//! idempotent, a snapshot may be fuzzy, and the journal can compact by key without knowing meaning.

/// One put or delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which table; see [`crate::record`]'s constants.
    pub table: u32,
    /// Key within the table.
    pub key: Vec<u8>,
    /// The new value, field-numbered protobuf; `None` deletes.
    pub value: Option<Vec<u8>>,
}
