//! The engine's thread: takes commands at all times, and beside that subscribes, serves, and subscribes again, for ever.

use std::time::Duration;

use engine::Call;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::address::Master;
use crate::core::{Core, Standing, Work};
use crate::masters::Masters;
use crate::session::{End, Wire};
use crate::statistics::Statistics;

/// A subscription that stood this long was a good one: the next attempt comes soon.
const LASTING: Duration = Duration::from_secs(10);

/// What the engine is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Subscribe, with this id if there is one.
    Begin(Option<String>),
    /// Calls of a scheduler's term.
    Calls(u64, Vec<Call>),
    /// End the framework.
    Teardown(oneshot::Sender<bool>),
    /// End the thread; tasks go on.
    Stop,
}

/// How many tasks a call starts.
pub(crate) fn launches_of(call: &Call) -> usize {
    match call {
        Call::Accept { launches, .. } => launches.len(),
        _ => 0,
    }
}

/// Runs until it is told to stop or nobody listens any more.
pub(crate) async fn run(core: Core, wire: Wire, masters: Masters, commands: UnboundedReceiver<Command>) {
    let (begin, begun) = oneshot::channel();
    tokio::select! {
        () = intake(&core, commands, begin) => {}
        () = follow(&core, &wire, masters, begun) => {}
    }
    // Whoever waits for an answer gets one.
    core.apart();
}

/// Takes commands until the engine is to stop.
async fn intake(core: &Core, mut commands: UnboundedReceiver<Command>, begin: oneshot::Sender<Option<String>>) {
    let mut begin = Some(begin);
    let mut epoch = 0;
    while let Some(command) = commands.recv().await {
        match command {
            Command::Begin(framework_id) => {
                if let Some(begin) = begin.take() {
                    let _ = begin.send(framework_id);
                }
            }
            Command::Calls(of, calls) if of >= epoch => {
                epoch = of;
                calls.into_iter().for_each(|call| core.put(Work::Call(call)));
            }
            Command::Calls(_, calls) => {
                core.settled(calls.iter().map(launches_of).sum());
                Statistics::add(&core.statistics.mesos_calls_dropped, calls.len());
            }
            Command::Teardown(answer) => core.put(Work::Teardown(answer)),
            Command::Stop => return,
        }
        if core.is_deserted.get() {
            return;
        }
    }
}

/// Subscribes again and again. Returns only when nobody listens any more.
async fn follow(core: &Core, wire: &Wire, mut masters: Masters, begun: oneshot::Receiver<Option<String>>) {
    let Ok(framework_id) = begun.await else { return };
    if let Some(id) = &framework_id {
        core.directory.set_framework_id(id);
    }
    core.framework_id.replace(framework_id);
    loop {
        let master = masters.next().await;
        let mut stood_since = None;
        let end = tokio::select! {
            end = attempt(core, wire, &master, &mut stood_since) => end,
            () = masters.replaced(&master) => End::Replaced,
        };
        core.apart();
        if core.is_deserted.get() {
            return;
        }
        match stood_since {
            Some(since) => {
                masters.succeeded(&master);
                if since.elapsed() >= LASTING {
                    masters.lasted();
                }
            }
            None => Statistics::add(&core.statistics.mesos_subscription_failures, 1),
        }
        if !go_on(core, &mut masters, &master, end).await {
            // Commands are still taken, and answered.
            return std::future::pending().await;
        }
    }
}

/// One subscription, from the attempt to its end.
async fn attempt(core: &Core, wire: &Wire, master: &Master, stood_since: &mut Option<Instant>) -> End {
    let session = match core.subscribe(wire, master).await {
        Ok(session) => session,
        Err(end) => return end,
    };
    *stood_since = Some(Instant::now());
    tracing::info!(%master, framework = session.framework_id, "subscribed at the Mesos master");
    core.directory.set_leader(master.to_string());
    core.subscribed(session.framework_id.clone(), session.master_id.clone());
    core.serve(wire, master, session).await
}

/// What to do after an end: true to try again, after a wait where one is due.
async fn go_on(core: &Core, masters: &mut Masters, master: &Master, end: End) -> bool {
    match end {
        End::Redirect(location) => {
            Statistics::add(&core.statistics.mesos_redirects, 1);
            tracing::debug!(%master, location, "the master redirects to the leader");
            if masters.redirected(master, &location) {
                return true;
            }
        }
        End::Replaced => {
            tracing::info!(%master, "another Mesos master leads now");
            return true;
        }
        End::NotLeading(why) => tracing::info!(%master, why, "this Mesos master does not lead"),
        End::Broken(why) => tracing::warn!(%master, why, "the Mesos master cannot be used"),
        End::Silent => {
            Statistics::add(&core.statistics.mesos_missed_heartbeats, 1);
            tracing::warn!(%master, "the Mesos master was not heard for too long");
        }
        End::Refused(why) => tracing::error!(%master, why, "the Mesos master refuses this framework"),
        End::Deposed(what) => {
            core.over(format!(
                "the Mesos master {master} says '{what}': another scheduler subscribed with the id of this framework and is in charge \
                 now. If that was not meant, stop the other one and start this one again."
            ));
            return false;
        }
        End::Removed(what) => {
            let id = core.framework_id.borrow().clone().unwrap_or_default();
            core.over(format!(
                "the Mesos master {master} says '{what}': framework {id} was torn down, or its failover timeout passed while no \
                 scheduler was subscribed, and Mesos killed all its tasks. Daybreak does not register as a new framework by itself, \
                 because tasks of the old one might still run unseen. Make sure that none does, then start with --forget-framework {id}: \
                 what ran counts as lost and is started again."
            ));
            return false;
        }
        End::TornDown => {
            core.standing.set(Standing::Over);
            return false;
        }
    }
    masters.failed().await;
    true
}
