//! Counts of what the engine did, for the scheduler's statistics page. Names in the manner of spec scheduler 7.6.

use std::sync::atomic::{AtomicI64, Ordering};

macro_rules! statistics {
    ($($(#[doc = $text:literal])* $name:ident),* $(,)?) => {
        /// Counters and gauges; read at any time from any thread.
        #[derive(Debug, Default)]
        pub struct Statistics {
            $($(#[doc = $text])* pub $name: AtomicI64),*
        }

        impl Statistics {
            /// All of them with their names, sorted by name.
            pub fn snapshot(&self) -> Vec<(&'static str, i64)> {
                let mut all = vec![$((stringify!($name), self.$name.load(Ordering::Relaxed))),*];
                all.sort_unstable();
                all
            }
        }
    };
}

statistics! {
    /// 1 while subscribed.
    mesos_registered,
    /// Subscriptions that succeeded.
    mesos_subscriptions,
    /// Attempts to subscribe that failed.
    mesos_subscription_failures,
    /// Subscriptions that ended.
    mesos_disconnects,
    /// Ends because nothing was heard for too long.
    mesos_missed_heartbeats,
    /// Redirects followed.
    mesos_redirects,
    /// Records read from the stream.
    mesos_events,
    /// Bytes read from the stream.
    mesos_event_bytes,
    /// Events or states this program does not know.
    mesos_unknown_events,
    /// Offers received.
    mesos_offers,
    /// Offers taken back by the master.
    mesos_offers_rescinded,
    /// Offers held now, by the scheduler or on their way to it.
    mesos_offers_outstanding,
    /// Status updates received.
    mesos_status_updates,
    /// Of those, the ones that the scheduler had before it already and has not yet answered.
    mesos_status_updates_repeated,
    /// Inverse offers received.
    mesos_inverse_offers,
    /// Agents the master gave up.
    mesos_agents_lost,
    /// Executors that ended with another status than 0.
    mesos_executors_failed,
    /// Calls sent.
    mesos_calls,
    /// Calls the master refused.
    mesos_calls_refused,
    /// Calls that came while nobody could take them.
    mesos_calls_dropped,
    /// Tasks sent to the master.
    mesos_tasks_launched,
    /// Tasks that wait to be sent, or for the master to take them.
    mesos_launches_waiting,
    /// Tasks not sent because their offer was void.
    mesos_launches_void,
}

impl Statistics {
    pub(crate) fn add(counter: &AtomicI64, amount: usize) {
        counter.fetch_add(amount as i64, Ordering::Relaxed);
    }

    pub(crate) fn subtract(gauge: &AtomicI64, amount: usize) {
        gauge.fetch_sub(amount as i64, Ordering::Relaxed);
    }

    pub(crate) fn set(gauge: &AtomicI64, value: usize) {
        gauge.store(value as i64, Ordering::Relaxed);
    }
}
