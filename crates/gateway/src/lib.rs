//! The only door to the loop: [`Gateway::submit`], [`Gateway::view`], [`Gateway::follow`].
//!
//! Adapters (Thrift, pages, REST) hold a [`Gateway`] and nothing else of the core. Every command passes its [`Authorizer`] and
//! [`policy::authorise`] first. No wire formats, no threads, no decisions about jobs live here.

pub mod permission;
pub mod policy;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use scheduler::{Command, Idempotency, Input, Principal, Reply, ReplyCode, RequestId, Transition, View};
use tokio::sync::{broadcast, oneshot};

pub use permission::{Authorizer, Everyone, Permission};
pub use policy::Policy;

/// Which of the inbox's bounded lanes an input takes (architecture, "Pressure").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Kills and administration: always let through.
    Urgent,
    /// Everything else users ask for.
    Normal,
}

/// The way into the loop; implemented where the loop's inbox is known.
pub trait Door: Send + Sync {
    /// Hands over an input without blocking; false when the lane is full.
    fn enter(&self, lane: Lane, input: Input) -> bool;
}

/// How many transitions a slow follower may lag behind before it misses some.
const FOLLOW_BUFFER: usize = 4096;

/// The door, the latest published view and the waiting askers.
pub struct Gateway {
    door: Box<dyn Door>,
    policy: Policy,
    authorizer: Arc<dyn Authorizer>,
    view: ArcSwap<View>,
    next_request: AtomicU64,
    waiting: Mutex<BTreeMap<RequestId, oneshot::Sender<Reply>>>,
    transitions: broadcast::Sender<Arc<Transition>>,
}

impl Gateway {
    /// A gateway in front of `door`.
    pub fn new(door: Box<dyn Door>, policy: Policy) -> Self {
        Self {
            door,
            policy,
            authorizer: Arc::new(Everyone),
            view: ArcSwap::from_pointee(View::default()),
            next_request: AtomicU64::new(1),
            waiting: Mutex::new(BTreeMap::new()),
            transitions: broadcast::channel(FOLLOW_BUFFER).0,
        }
    }

    /// The same, where not everyone may do everything.
    pub fn with_authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = authorizer;
        self
    }

    /// Whether callers must say who they are before they change anything.
    pub fn requires_login(&self) -> bool {
        self.authorizer.requires_login()
    }

    /// Refuses what the principal may not do: for what is no command, and for adapters that refuse before they look at arguments.
    pub fn authorise(&self, principal: &Principal, permission: &Permission) -> Result<(), Reply> {
        if self.authorizer.permits(principal, permission) {
            return Ok(());
        }
        let message = format!("{} may not do this: no role of his permits {permission}.", principal.name);
        Err(Reply::refused(ReplyCode::AuthFailed, message))
    }

    /// Why a change would not even enter: what nobody may do here and, where it is known who asks, what he may not.
    pub fn objection(&self, principal: Option<&Principal>, command: &Command) -> Option<Reply> {
        let by_permission = principal.map_or(Ok(()), |it| self.authorise(it, &permission::demanded(command)));
        by_permission.and_then(|()| policy::authorise(&self.policy, command)).err()
    }

    /// Asks for a change and waits until the answer is durable.
    ///
    /// A refusal changes nothing. If the process ends meanwhile the outcome is unknown: ERROR_TRANSIENT.
    pub async fn submit(&self, principal: Principal, command: Command) -> Reply {
        self.submit_once(principal, command, None).await
    }

    /// As [`Self::submit`], and if the request was carried out before under the same key, that answer is given again and nothing else
    /// happens. Where the outcome is unknown, whoever gave a key may ask again.
    pub async fn submit_once(&self, principal: Principal, command: Command, idempotency: Option<Idempotency>) -> Reply {
        let allowed = self
            .authorise(&principal, &permission::demanded(&command))
            .and_then(|()| policy::authorise(&self.policy, &command));
        if let Err(reply) = allowed {
            return reply;
        }
        let request = RequestId(self.next_request.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        self.lock_waiting().insert(request, sender);
        let lane = match command {
            Command::KillTasks { .. } | Command::Admin(_) | Command::Maintenance(_) => Lane::Urgent,
            _ => Lane::Normal,
        };
        if !self.door.enter(lane, Input::Command { request, principal, command, idempotency }) {
            self.lock_waiting().remove(&request);
            return Reply::refused(ReplyCode::ErrorTransient, "The scheduler is busy; nothing was changed. Try again.");
        }
        receiver.await.unwrap_or_else(|_| {
            Reply::refused(
                ReplyCode::ErrorTransient,
                "The scheduler stopped before it answered; whether the request was carried out is unknown.",
            )
        })
    }

    /// The latest durable state.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Changes of task states from now on. A receiver that lags too far gets `Lagged` and should read the view again.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Transition>> {
        self.transitions.subscribe()
    }

    /// Called by the loop's host: a newer durable state.
    pub fn publish(&self, view: Arc<View>) {
        self.view.store(view);
    }

    /// Called by the loop's host: the answer to a command.
    pub fn deliver(&self, request: RequestId, reply: Reply) {
        if let Some(sender) = self.lock_waiting().remove(&request) {
            // The asker may have gone away; the change stands.
            let _ = sender.send(reply);
        }
    }

    /// Called by the loop's host: a transition.
    pub fn announce(&self, transition: Arc<Transition>) {
        // No followers is no error.
        let _ = self.transitions.send(transition);
    }

    /// Called by the loop's host when the loop ended: everyone still waiting hears that the outcome is unknown.
    pub fn close(&self) {
        self.lock_waiting().clear();
    }

    fn lock_waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<RequestId, oneshot::Sender<Reply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::JobKey;

    use super::*;

    /// Keeps what entered, up to a bound.
    #[derive(Clone, Default)]
    struct Inbox(Arc<Mutex<Vec<(Lane, Input)>>>, usize);

    impl Door for Inbox {
        fn enter(&self, lane: Lane, input: Input) -> bool {
            let mut inputs = self.0.lock().unwrap();
            if inputs.len() >= self.1 {
                return false;
            }
            inputs.push((lane, input));
            true
        }
    }

    fn kill() -> Command {
        Command::KillTasks { job: JobKey::new("r", "devel", "j"), instances: BTreeSet::new(), message: None }
    }

    #[tokio::test]
    async fn an_answer_reaches_its_asker_and_a_full_lane_refuses() {
        let inbox = Inbox(Arc::default(), 1);
        let gateway = Arc::new(Gateway::new(Box::new(inbox.clone()), Policy::default()));
        let asking = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.submit(Principal::unsecure(), kill()).await }
        });
        let request = loop {
            tokio::task::yield_now().await;
            if let Some((Lane::Urgent, Input::Command { request, .. })) = inbox.0.lock().unwrap().first() {
                break *request;
            }
        };
        let refused = gateway.submit(Principal::unsecure(), kill()).await;
        assert_eq!(refused.code, ReplyCode::ErrorTransient);
        assert_eq!(gateway.lock_waiting().len(), 1, "nobody waits for what did not enter");
        gateway.deliver(request, Reply::ok());
        assert_eq!(asking.await.unwrap(), Reply::ok());
    }

    #[test]
    fn whoever_follows_and_never_looks_holds_up_nobody() {
        let gateway = Arc::new(Gateway::new(Box::new(Inbox(Arc::default(), 1)), Policy::default()));
        let mut sleeper = gateway.follow();
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let transition = Arc::new(Transition {
                job: JobKey::new("r", "devel", "j"),
                instance: 0,
                task_id: "t".into(),
                from: None,
                to: None,
                reason: None,
                timestamp_ms: 0,
            });
            (0..FOLLOW_BUFFER + 10).for_each(|_| gateway.announce(Arc::clone(&transition)));
            done.send(()).unwrap();
        });
        is_done.recv_timeout(std::time::Duration::from_secs(60)).expect("the loop waits for a follower");
        assert_eq!(sleeper.try_recv(), Err(broadcast::error::TryRecvError::Lagged(10)));
    }

    #[tokio::test]
    async fn a_closed_gateway_says_that_the_outcome_is_unknown() {
        let gateway = Arc::new(Gateway::new(Box::new(Inbox(Arc::default(), 9)), Policy::default()));
        let asking = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.submit(Principal::unsecure(), kill()).await }
        });
        while gateway.lock_waiting().is_empty() {
            tokio::task::yield_now().await;
        }
        gateway.close();
        let reply = asking.await.unwrap();
        assert_eq!(reply.code, ReplyCode::ErrorTransient);
        assert!(reply.messages[0].contains("unknown"));
    }

    /// Permits one name.
    struct Only(&'static str);

    impl Authorizer for Only {
        fn requires_login(&self) -> bool {
            true
        }

        fn permits(&self, principal: &Principal, permission: &Permission) -> bool {
            principal.name == self.0 && permission.to_string() == "thrift.AuroraSchedulerManager:killTasks:r:devel:j"
        }
    }

    #[tokio::test]
    async fn every_command_is_authorised_before_it_enters() {
        let inbox = Inbox(Arc::default(), 9);
        let gateway =
            Arc::new(Gateway::new(Box::new(inbox.clone()), Policy::default()).with_authorizer(Arc::new(Only("alice"))));
        let quota = Command::SetQuota { role: "r".into(), quota: model::Resources::ZERO };
        for (name, command) in [("bob", kill()), ("UNSECURE", kill()), ("alice", quota)] {
            let refused = gateway.submit(Principal { name: name.into() }, command).await;
            assert_eq!(refused.code, ReplyCode::AuthFailed);
            assert!(refused.messages[0].starts_with(name), "{:?}", refused.messages);
        }
        assert!(inbox.0.lock().unwrap().is_empty());
        let asking = tokio::spawn(async move { gateway.submit(Principal { name: "alice".into() }, kill()).await });
        while inbox.0.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        asking.abort();
    }
}
