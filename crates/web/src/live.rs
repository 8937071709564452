//! Live pages: one event stream per visible tab says "something in your scope changed"; the page then fetches itself again.
//!
//! Transitions are announced by the gateway and reach the page at once. What changes without one (an update's end, room on
//! agents, reasons of pending tasks, the processes of a running task) is looked for once a second, and only while someone looks:
//! the script closes the stream of a hidden tab.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use engine::files::TaskInfo;
use futures::stream;
use model::{JobKey, TaskId, UpdateKey};
use scheduler::{Transition, View};
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::link;
use crate::state::WebState;

/// Transitions that come together are told once.
const SETTLE: Duration = Duration::from_millis(60);
/// Least time between two refreshes of a tab; longer where the page counts all tasks.
const GAP: Duration = Duration::from_millis(500);
const GAP_OF_ALL: Duration = Duration::from_millis(1500);
/// How often what has no transition is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Every how many looks the processes of a live task are read.
const LOOKS_PER_READ: u32 = 2;

/// What a page shows. Empty parts widen it: no role is everything.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Scope {
    #[serde(default)]
    role: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    job: String,
    #[serde(default)]
    task: String,
    /// Position of the view the page was drawn from.
    #[serde(default)]
    since: u64,
    /// Fingerprint of the processes the page shows.
    #[serde(default)]
    seen: u64,
}

impl Scope {
    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// A role, or one of its environments.
    pub fn role(role: &str, environment: Option<&str>) -> Self {
        Self { role: role.into(), environment: environment.unwrap_or_default().into(), ..Self::default() }
    }

    /// A job.
    pub fn job(key: &JobKey) -> Self {
        Self { job: key.name.clone(), ..Self::role(&key.role, Some(&key.environment)) }
    }

    /// A task and its processes, shown as `info` says.
    pub fn task(key: &JobKey, id: &TaskId, info: Option<&TaskInfo>) -> Self {
        Self { task: id.as_str().into(), seen: processes_fingerprint(info), ..Self::job(key) }
    }

    /// Address of the stream for a page drawn from `view`.
    pub fn address(&self, view: &View) -> String {
        let mut address = format!("/live?since={}", view.position);
        if self.seen != 0 {
            address.push_str(&format!("&seen={}", self.seen));
        }
        for (name, value) in
            [("role", &self.role), ("environment", &self.environment), ("job", &self.job), ("task", &self.task)]
        {
            if !value.is_empty() {
                address.push_str(&format!("&{name}={}", link::part(value)));
            }
        }
        address
    }

    fn covers(&self, key: &JobKey) -> bool {
        let fits = |wanted: &str, given: &str| wanted.is_empty() || wanted == given;
        fits(&self.role, &key.role) && fits(&self.environment, &key.environment) && fits(&self.job, &key.name)
    }

    fn job_key(&self) -> Option<JobKey> {
        (!self.job.is_empty()).then(|| JobKey::new(&self.role, &self.environment, &self.job))
    }

    /// Sum of what changes without a transition.
    fn fingerprint(&self, view: &View) -> u64 {
        let mut hasher = DefaultHasher::new();
        // Every page says when the engine is away.
        view.disconnected_since_ms.hash(&mut hasher);
        let first = UpdateKey { job: JobKey::new(&self.role, &self.environment, &self.job), id: String::new() };
        let in_scope = view.updates.range(first..).take_while(|(key, _)| self.covers(&key.job));
        for (key, update) in in_scope {
            (key, update.events.len(), update.instance_events.len()).hash(&mut hasher);
        }
        let first = JobKey::new(&self.role, &self.environment, &self.job);
        for (key, job) in view.cron_jobs.range(first..).take_while(|(key, _)| self.covers(key)) {
            let last = job.runs.last().map(|run| (run.number, run.outcome.name()));
            (key, last, job.next_run_ms, job.scheduled_ms).hash(&mut hasher);
        }
        match self.job_key() {
            Some(key) => {
                for id in view.tasks_by_job.get(&key).into_iter().flatten() {
                    if let Some(reason) = view.pending_reasons.get(id) {
                        (id, &reason.sentence, &reason.vetoes).hash(&mut hasher);
                    }
                    view.throttled_until_ms.get(id).hash(&mut hasher);
                }
            }
            None if self.role.is_empty() => {
                for (id, agent) in &view.agents {
                    (id, &agent.host, agent.free, agent.total).hash(&mut hasher);
                }
            }
            None => {}
        }
        hasher.finish()
    }
}

fn processes_fingerprint(info: Option<&TaskInfo>) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{info:?}").hash(&mut hasher);
    hasher.finish()
}

struct Follower {
    state: WebState,
    scope: Scope,
    transitions: Receiver<Arc<Transition>>,
    looks: Interval,
    look_count: u32,
    view: Arc<View>,
    fingerprint: u64,
    processes: u64,
    last_sent: Option<Instant>,
    is_first: bool,
}

impl Follower {
    /// Waits for the next change in scope; `None` when the server goes away.
    async fn next_change(&mut self) -> Option<()> {
        if std::mem::take(&mut self.is_first) && self.view.position != self.scope.since {
            return Some(());
        }
        loop {
            tokio::select! {
                heard = self.transitions.recv() => match heard {
                    Ok(transition) if self.concerns(&transition) => return Some(()),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Some(()),
                    Err(RecvError::Closed) => return None,
                },
                _ = self.looks.tick() => if self.look().await { return Some(()) },
            }
        }
    }

    fn concerns(&self, transition: &Transition) -> bool {
        self.scope.covers(&transition.job)
    }

    async fn look(&mut self) -> bool {
        let view = (self.state.view)();
        let mut is_changed = false;
        if !Arc::ptr_eq(&view, &self.view) {
            let fingerprint = self.scope.fingerprint(&view);
            is_changed = fingerprint != self.fingerprint;
            self.fingerprint = fingerprint;
            self.view = view;
        }
        self.look_count = self.look_count.wrapping_add(1);
        if !self.scope.task.is_empty() && self.look_count.is_multiple_of(LOOKS_PER_READ) {
            let id = TaskId(self.scope.task.as_str().into());
            if self.view.task(&id).is_some_and(|task| task.status.is_assigned()) {
                let info = self.state.read_files(move |files| files.task(&id)).await.ok();
                let processes = processes_fingerprint(info.as_ref());
                is_changed |= processes != self.processes;
                self.processes = processes;
            }
        }
        is_changed
    }

    /// The next refresh, no sooner than a decent time after the one before.
    async fn next_event(&mut self) -> Option<Event> {
        self.next_change().await?;
        let now = Instant::now();
        let gap = if self.scope.role.is_empty() { GAP_OF_ALL } else { GAP };
        let due = self.last_sent.map_or(now + SETTLE, |last| (last + gap).max(now + SETTLE));
        sleep_until(due).await;
        while self.transitions.try_recv().is_ok() {}
        self.last_sent = Some(Instant::now());
        self.view = (self.state.view)();
        self.fingerprint = self.scope.fingerprint(&self.view);
        Some(Event::default().event("refresh").data(self.view.position.to_string()))
    }
}

/// `/live`: the stream of refreshes of a scope.
///
/// A browser that comes back after a lost connection asks with the position its page was first drawn from, and is refreshed.
pub async fn stream(State(state): State<WebState>, Query(scope): Query<Scope>) -> Response {
    let transitions = (state.follow)();
    let view = (state.view)();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let follower = Follower {
        fingerprint: scope.fingerprint(&view),
        processes: scope.seen,
        state,
        scope,
        transitions,
        looks,
        look_count: 0,
        view,
        last_sent: None,
        is_first: true,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next_event().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    // The first comment opens the stream at once, so that the page can show that it is live.
    let opened = stream::once(async { Ok(Event::default().comment("open")) });
    Sse::new(futures::StreamExt::chain(opened, events)).keep_alive(KeepAlive::default()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_what_is_beneath_it() {
        let key = JobKey::new("www-data", "devel", "hello");
        assert!(Scope::all().covers(&key));
        assert!(Scope::role("www-data", None).covers(&key));
        assert!(Scope::role("www-data", Some("devel")).covers(&key));
        assert!(Scope::job(&key).covers(&key));
        assert!(!Scope::role("www", None).covers(&key));
        assert!(!Scope::role("www-data", Some("prod")).covers(&key));
        assert!(!Scope::job(&JobKey::new("www-data", "devel", "hell")).covers(&key));
    }

    #[test]
    fn the_address_carries_the_scope() {
        let view = View { position: 7, ..View::default() };
        let key = JobKey::new("a", "b", "c&d");
        assert_eq!(Scope::job(&key).address(&view), "/live?since=7&role=a&environment=b&job=c%26d");
        let address = Scope::task(&key, &TaskId("t".into()), None).address(&view);
        assert!(address.starts_with("/live?since=7&seen=") && address.ends_with("&task=t"), "{address}");
    }
}
