//! What a page says of a machine's maintenance: its mode, what that means, and what ends it. Nothing for machines in use.

use model::MaintenanceMode;
use model::task::SlaPolicy;
use scheduler::view::MaintenanceRequest;
use scheduler::{Task, View};

use crate::state::WebState;
use crate::words::{self, Markup};

/// A machine's maintenance.
pub struct MaintenanceBox {
    /// The mode.
    pub badge: Markup,
    /// What it means.
    pub sentences: Vec<String>,
    /// When what is left is moved whatever policies say.
    pub forced: Option<Markup>,
    /// Puts the machine back into use.
    pub command: String,
}

/// The box of a machine, if it is in maintenance. `tasks` are those that are on it.
pub fn of_host(
    state: &WebState,
    view: &View,
    host: &str,
    tasks: &[&std::sync::Arc<Task>],
    now_ms: i64,
) -> Option<MaintenanceBox> {
    let mode = view.hosts.get(host)?.mode;
    let request = view.maintenance.get(host).filter(|_| mode == MaintenanceMode::Draining);
    let sentences = match mode {
        MaintenanceMode::None => return None,
        MaintenanceMode::Scheduled => {
            vec!["Maintenance is announced: tasks come here only where no other machine will do.".into()]
        }
        MaintenanceMode::Draining => draining(request.map(|request| &**request), tasks, now_ms),
        MaintenanceMode::Drained => vec!["No task is left, and none comes here.".into()],
    };
    let is_timed =
        |request: &&std::sync::Arc<MaintenanceRequest>| request.forced_from_ms() > now_ms && !moves_at_once(request);
    Some(MaintenanceBox {
        badge: words::mode_look(mode).badge(),
        sentences,
        forced: request.filter(is_timed).map(|request| words::left(request.forced_from_ms(), now_ms)),
        command: format!("{} {} --hosts {}", admin(state), state.cluster, words::shell(host)),
    })
}

fn admin(state: &WebState) -> String {
    format!("{} admin host_activate", words::shell(&state.executable.display().to_string()))
}

/// A plain drain: policies hold nobody up.
fn moves_at_once(request: &MaintenanceRequest) -> bool {
    request.timeout_secs <= 0
}

fn draining(request: Option<&MaintenanceRequest>, tasks: &[&std::sync::Arc<Task>], now_ms: i64) -> Vec<String> {
    let waiting = tasks.iter().filter(|task| task.status == model::TaskStatus::Running).count() as u64;
    let mut sentences = Vec::new();
    match request {
        None => sentences.push("It is to be drained, and nobody said by which rules: its tasks stay.".into()),
        Some(request) if moves_at_once(request) || request.forced_from_ms() <= now_ms => {
            sentences.push("All its tasks are being moved to other machines.".into());
        }
        Some(request) => {
            sentences.push("Its tasks move to other machines as the SLA policies of their jobs allow.".into());
            sentences.push(format!("For jobs without one: {}.", policy(&request.default_policy)));
            if waiting > 0 {
                sentences.push(format!("{} here for now.", words::plural(waiting, "task stays", "tasks stay")));
            }
        }
    }
    sentences
}

/// An SLA policy in words.
pub fn policy(policy: &SlaPolicy) -> String {
    let up_for = |seconds: i64| match seconds {
        ..=0 => "up".to_owned(),
        seconds => format!("up for {}", words::exact(seconds.saturating_mul(1000))),
    };
    match policy {
        SlaPolicy::Percentage { percentage_bits, duration_secs } => {
            let percentage = f64::from_bits(*percentage_bits);
            format!("at least {percentage} % of the other instances must be {}", up_for(*duration_secs))
        }
        SlaPolicy::Count { count, duration_secs } => {
            format!("at least {count} other instances must be {}", up_for(*duration_secs))
        }
        SlaPolicy::Coordinator { coordinator_url, .. } => format!("{coordinator_url} is asked about each"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_put_into_words() {
        let percentage = SlaPolicy::Percentage { percentage_bits: 95.5_f64.to_bits(), duration_secs: 1800 };
        assert_eq!(policy(&percentage), "at least 95.5 % of the other instances must be up for 30 min");
        let count = SlaPolicy::Count { count: 3, duration_secs: 0 };
        assert_eq!(policy(&count), "at least 3 other instances must be up");
        let coordinator = SlaPolicy::Coordinator { coordinator_url: "http://c/".into(), status_key: "drain".into() };
        assert_eq!(policy(&coordinator), "http://c/ is asked about each");
    }
}
