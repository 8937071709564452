//! What the operator sets about levels of service: tiers from a file, SLA figures, drains.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Tiers;

use crate::sla_figures::SlaFigureOptions;

/// Settings about levels of service.
#[derive(Clone, Debug)]
pub struct ServiceLevelOptions {
    /// The tiers that jobs may name; the built-in ones when unset.
    pub tier_config: Option<PathBuf>,
    /// Figures among the statistics.
    pub figures: SlaFigureOptions,
    /// How long a coordinator may take to answer.
    pub sla_coordinator_timeout: Duration,
    /// Coordinators asked at the same time.
    pub max_parallel_coordinated_maintenance: usize,
    /// How often hosts that are being drained are looked at.
    pub host_maintenance_polling_interval: Duration,
}

impl Default for ServiceLevelOptions {
    fn default() -> Self {
        let settings = scheduler::Settings::default();
        Self {
            tier_config: None,
            figures: SlaFigureOptions::default(),
            sla_coordinator_timeout: settings.sla_coordinator_timeout,
            max_parallel_coordinated_maintenance: settings.max_parallel_coordinated_maintenance,
            host_maintenance_polling_interval: settings.host_maintenance_polling_interval,
        }
    }
}

/// Why a tier file is refused.
#[derive(Debug, thiserror::Error)]
pub enum TierConfigError {
    /// It cannot be read.
    #[error("--tier-config {0} cannot be read: {1}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// It does not say what it should.
    #[error(
        "--tier-config {0}: {1}. Write {{\"default\": \"NAME\", \"tiers\": {{\"NAME\": {{\"preemptible\": true, \"revocable\": false}}}}}}"
    )]
    Malformed(PathBuf, String),
}

impl ServiceLevelOptions {
    /// Puts the settings into those of the scheduler.
    pub fn apply(&self, settings: &mut scheduler::Settings) -> Result<(), TierConfigError> {
        if let Some(path) = &self.tier_config {
            settings.admission.tiers = read_tiers(path)?;
        }
        settings.sla_coordinator_timeout = self.sla_coordinator_timeout;
        settings.max_parallel_coordinated_maintenance = self.max_parallel_coordinated_maintenance;
        settings.host_maintenance_polling_interval = self.host_maintenance_polling_interval;
        Ok(())
    }
}

/// The tiers of a file (spec scheduler 2.7).
fn read_tiers(path: &Path) -> Result<Tiers, TierConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| TierConfigError::Unreadable(path.into(), error))?;
    tiers_of(&text).map_err(|why| TierConfigError::Malformed(path.into(), why))
}

fn tiers_of(text: &str) -> Result<Tiers, String> {
    let tiers: Tiers = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if tiers.tiers.is_empty() {
        return Err("it defines no tier".into());
    }
    if let Some(name) = tiers.tiers.keys().find(|name| !model::key::is_identifier(name)) {
        return Err(format!("'{name}' cannot be a tier's name: use letters, digits, '_', '-' and '.'"));
    }
    if tiers.get(&tiers.default).is_none() {
        return Err(format!("the default tier '{}' is not among the tiers", tiers.default));
    }
    Ok(tiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_come_from_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tiers.json");
        std::fs::write(
            &path,
            r#"{"default": "gold", "tiers": {"gold": {"preemptible": false, "revocable": false},
                "lead": {"preemptible": true, "revocable": true}}}"#,
        )
        .unwrap();
        let options = ServiceLevelOptions { tier_config: Some(path), ..ServiceLevelOptions::default() };
        let mut settings = scheduler::Settings::default();
        options.apply(&mut settings).unwrap();
        let tiers = settings.admission.tiers;
        assert_eq!(tiers.default, "gold");
        assert!(tiers.get("gold").unwrap().is_production() && tiers.get("lead").unwrap().revocable);
        assert!(tiers.get("preferred").is_none());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (text, expected) in [
            ("", "EOF"),
            ("{}", "default"),
            (r#"{"default": "a", "tiers": {}}"#, "no tier"),
            (r#"{"default": "a", "tiers": {"b": {"preemptible": true, "revocable": true}}}"#, "'a' is not among"),
            (r#"{"default": "a b", "tiers": {"a b": {"preemptible": true, "revocable": true}}}"#, "'a b' cannot"),
            (r#"{"default": "a", "tiers": {"a": {"preemptible": "yes", "revocable": true}}}"#, "boolean"),
        ] {
            let why = tiers_of(text).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
        let missing = ServiceLevelOptions { tier_config: Some("/nowhere/tiers".into()), ..Default::default() };
        let error = missing.apply(&mut scheduler::Settings::default()).unwrap_err().to_string();
        assert!(error.contains("/nowhere/tiers cannot be read"), "{error}");
    }
}
