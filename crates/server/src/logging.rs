//! The daemon's log: one line per event on stderr, as text or JSON, with a level that can be changed while it runs.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::options::LogFormat;

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Why a level is refused.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// Not a level.
    #[error("'{0}' is no log level: use error, warn, info, debug or trace, also per part as in 'info,scheduler=debug'")]
    Unknown(String),
    /// The log was never started.
    #[error("the log is not started")]
    NotStarted,
}

/// The levels there are.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn filter(directives: &str) -> Result<EnvFilter, LevelError> {
    // The parser takes an unknown word for the name of a part of the program, with everything of it logged.
    let level = |directive: &str| directive.rsplit('=').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !directives.split(',').all(|directive| LEVELS.contains(&level(directive).as_str())) {
        return Err(LevelError::Unknown(directives.into()));
    }
    EnvFilter::builder().parse(directives).map_err(|_| LevelError::Unknown(directives.into()))
}

/// Starts the log. A second call in one process changes nothing.
pub fn start(format: LogFormat, level: &str) -> Result<(), LevelError> {
    let (layer, handle) = reload::Layer::new(filter(level)?);
    let registry = tracing_subscriber::registry().with(layer);
    let started = match format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            registry
                .with(fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false).compact())
                .try_init()
        }
        LogFormat::Json => registry
            .with(fmt::layer().with_writer(std::io::stderr).json().flatten_event(true).with_current_span(false))
            .try_init(),
    };
    if started.is_ok() {
        // The first caller wins; there is one log per process.
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// Changes what is logged from now on.
pub fn set_level(level: &str) -> Result<(), LevelError> {
    let new = filter(level)?;
    FILTER.get().ok_or(LevelError::NotStarted)?.reload(new).map_err(|_| LevelError::NotStarted)
}

/// What is logged now.
pub fn level() -> Option<String> {
    FILTER.get()?.with_current(|filter| filter.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_levels_are_levels() {
        for good in ["info", "INFO", "warn,scheduler=debug", "off"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["", "loud", "info,scheduler=loud", "info,,debug"] {
            assert!(matches!(filter(bad), Err(LevelError::Unknown(_))), "{bad}");
        }
    }
}
