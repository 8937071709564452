//! What must hold for any bytes whatever. Each function takes an input of a fuzz target and panics when something does not hold; the
//! targets only pass their input on, so that a finding can be replayed in a debugger or kept as a test of the crate it belongs to.

pub mod stored;
pub mod stream;
pub mod text;
pub mod wire;
pub mod world;
