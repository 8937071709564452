//! `get_scheduler` and `get_cluster_config`.

use serde_json::{Value, json};

use super::arguments::{ClusterConfigArguments, ShownClusterArguments};
use crate::aurora::Context;
use crate::exit::Outcome;

/// `get_scheduler CLUSTER`.
pub fn scheduler(arguments: &ShownClusterArguments, context: &mut Context<'_>) -> Outcome {
    let scheduler = context.scheduler(&arguments.cluster)?;
    if context.console.is_json() {
        context.console.out_json(&json!({ "cluster": arguments.cluster, "url": scheduler.cluster.url }));
        return Ok(());
    }
    context.console.out(format!("Found leading scheduler at: {}", scheduler.cluster.url));
    Ok(())
}

/// `get_cluster_config CLUSTER`.
pub fn configuration(arguments: &ClusterConfigArguments, context: &mut Context<'_>) -> Outcome {
    let definition = context.clusters.definition(&arguments.cluster)?;
    if context.console.is_json() || (!arguments.sh && !arguments.export) {
        context.console.out(serde_json::to_string_pretty(&definition).unwrap_or_default());
        return Ok(());
    }
    let export = if arguments.export { "export " } else { "" };
    for (key, value) in &definition {
        let key: String = key
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' })
            .collect();
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        context.console.out(format!("{export}AURORA_CLUSTER_{key}={}", quoted(&value)));
    }
    Ok(())
}

/// As one word of a shell.
pub fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./:,@%+=".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
