//! Between the wire's types and the model's. Towards the model a value can be refused: the wire can say what the model cannot hold (a
//! negative instance, two amounts of memory). What is merely not allowed (no cpu, an unknown tier) passes and is judged at admission.

mod config;
mod status;
#[cfg(test)]
mod tests;
mod update;

/// Why a value of the wire has no counterpart in the model; a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConversionError(pub String);

type Result<T> = std::result::Result<T, ConversionError>;

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(ConversionError(message.into()))
}

/// The value, or the complaint that `what` is missing.
fn required<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| ConversionError(format!("{what} is missing.")))
}

/// An instance number; the wire has a sign, the model has none.
pub fn instance_from_wire(number: i32) -> Result<model::InstanceId> {
    u32::try_from(number)
        .map_err(|_| ConversionError(format!("Instance {number} does not exist: instances count from 0.")))
}

/// An instance number for the wire. Numbers beyond its range cannot arise: they came from it.
pub fn instance_to_wire(instance: model::InstanceId) -> i32 {
    i32::try_from(instance).unwrap_or(i32::MAX)
}
