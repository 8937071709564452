//! Which master to try next: a list in turn, or the leader ZooKeeper names (spec mesos 4.1, 4.2).

use std::time::Duration;

use discovery::{Leader, LeaderWatch, ZookeeperUrl};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::StartError;
use crate::address::Master;
use crate::backoff::Backoff;
use crate::options::Options;

/// How often it is said that there is no leader.
const NO_LEADER: Duration = Duration::from_secs(15);
/// Redirects that are followed one after the other.
const REDIRECTS_MAX: u32 = 5;

/// Finds masters.
#[derive(Debug)]
pub(crate) struct Masters {
    source: Source,
    /// Where a master said the leader is.
    hint: Option<Master>,
    redirects: u32,
    backoff: Backoff,
}

#[derive(Debug)]
enum Source {
    List { masters: Vec<Master>, next: usize },
    Watch { leader: watch::Receiver<Option<Leader>>, tls: bool, watch: LeaderWatch },
}

impl Masters {
    /// Reads the setting, and with ZooKeeper begins to watch.
    pub(crate) fn start(options: &Options) -> Result<Self, StartError> {
        let tls = options.tls.enabled;
        let source = if ZookeeperUrl::is_one(&options.masters) {
            let url = ZookeeperUrl::load(&options.masters)?;
            let path = url.path.clone();
            let mut settings = discovery::Settings::new(url.ensemble);
            settings.session_timeout = options.timing.zookeeper_session_timeout;
            settings.credentials.extend(url.credential);
            let watch = LeaderWatch::start(settings, &path).map_err(StartError::Thread)?;
            Source::Watch { leader: watch.leader(), tls, watch }
        } else {
            let mut masters = Master::parse_list(&options.masters)?;
            let plain = options.masters.split(',').map(|part| part.trim().starts_with("http://"));
            for (master, plain) in masters.iter_mut().zip(plain) {
                master.tls |= tls && !plain;
            }
            Source::List { masters, next: 0 }
        };
        let backoff = Backoff::new(options.timing.backoff_min, options.timing.backoff_max);
        Ok(Self { source, hint: None, redirects: 0, backoff })
    }

    /// Whether some master is spoken to with TLS.
    pub(crate) fn use_tls(&self) -> bool {
        match &self.source {
            Source::List { masters, .. } => masters.iter().any(|master| master.tls),
            Source::Watch { tls, .. } => *tls,
        }
    }

    /// The master to try now; waits for one to lead where ZooKeeper names none.
    pub(crate) async fn next(&mut self) -> Master {
        if let Some(hint) = self.hint.take() {
            return hint;
        }
        match &mut self.source {
            Source::List { masters, next } => masters[*next % masters.len()].clone(),
            Source::Watch { leader, tls, watch } => loop {
                match timeout(NO_LEADER, leader.wait_for(Option::is_some)).await.as_ref().map(Result::as_deref) {
                    Ok(Ok(Some(leader))) => return Master { tls: *tls, host: leader.host.clone(), port: leader.port },
                    // The watch lives as long as this; its thread ended only if the process ends.
                    Ok(_) => std::future::pending::<()>().await,
                    Err(_) => {
                        let problem =
                            watch.detection().problem.unwrap_or_else(|| "no master has registered".to_owned());
                        tracing::warn!(problem, "ZooKeeper names no leading Mesos master");
                    }
                }
            },
        }
    }

    /// The attempt led nowhere: the next master of the list, and a wait once all of them were tried.
    pub(crate) async fn failed(&mut self) {
        self.redirects = 0;
        match &mut self.source {
            Source::List { masters, next } => {
                *next = (*next + 1) % masters.len();
                if *next == 0 {
                    tokio::time::sleep(self.backoff.wait()).await;
                }
            }
            Source::Watch { leader, .. } => {
                leader.mark_unchanged();
                // A new leader ends the wait.
                tokio::select! {
                    () = tokio::time::sleep(self.backoff.wait()) => {}
                    Ok(()) = leader.changed() => {}
                }
            }
        }
    }

    /// A master said where the leader is; false when that was said too often in a row, or is unintelligible.
    pub(crate) fn redirected(&mut self, from: &Master, location: &str) -> bool {
        self.redirects += 1;
        let target = from.redirected(location).filter(|target| target != from && self.redirects <= REDIRECTS_MAX);
        self.hint = target;
        self.hint.is_some()
    }

    /// The subscription stands: begin with short waits when it breaks, and with this master.
    pub(crate) fn succeeded(&mut self, master: &Master) {
        self.redirects = 0;
        if let Source::List { masters, next } = &mut self.source
            && let Some(at) = masters.iter().position(|known| known == master)
        {
            *next = at;
        }
    }

    /// A subscription that had lasted broke.
    pub(crate) fn lasted(&mut self) {
        self.backoff.reset();
    }

    /// Waits until somebody else than `master` is known to lead. For ever where nobody says so.
    pub(crate) async fn replaced(&mut self, master: &Master) {
        let Source::Watch { leader, .. } = &mut self.source else { return std::future::pending().await };
        let is_other = |leader: &Option<Leader>| {
            leader.as_ref().is_some_and(|leader| leader.host != master.host || leader.port != master.port)
        };
        if leader.wait_for(is_other).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masters(text: &str) -> Masters {
        let mut options = Options { masters: text.into(), ..Options::default() };
        options.timing.backoff_min = Duration::from_millis(1);
        Masters::start(&options).unwrap()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_list_is_tried_in_turn_and_redirects_come_first() {
        run(async {
            let mut masters = masters("m1,m2");
            let m1 = masters.next().await;
            assert_eq!(m1.host, "m1");
            masters.failed().await;
            assert_eq!(masters.next().await.host, "m2");
            masters.failed().await;
            assert_eq!(masters.next().await.host, "m1");
            assert!(masters.redirected(&m1, "//m9:5050/x"));
            assert_eq!(masters.next().await.host, "m9");
            // It does not resolve: the list goes on.
            masters.failed().await;
            let m2 = masters.next().await;
            assert_eq!(m2.host, "m2");
            masters.succeeded(&m1);
            assert_eq!(masters.next().await.host, "m1");
        });
    }

    #[test]
    fn masters_that_point_at_each_other_are_not_followed_for_ever() {
        let mut masters = masters("m1");
        let from = Master::parse("m1").unwrap();
        for _ in 0..REDIRECTS_MAX {
            assert!(masters.redirected(&from, "//m2:5050"));
        }
        assert!(!masters.redirected(&from, "//m2:5050"));
        run(masters.failed());
        assert!(!masters.redirected(&from, "//m1:5050"), "a master that points at itself does not lead");
        assert!(!masters.redirected(&from, "/api/v1/scheduler"));
    }

    #[test]
    fn tls_is_what_the_address_says_else_what_the_setting_says() {
        let options = Options {
            masters: "m1, http://m2,https://m3".into(),
            tls: crate::Tls { enabled: true, ..Default::default() },
            ..Options::default()
        };
        let Source::List { masters, .. } = Masters::start(&options).unwrap().source else { panic!("a list") };
        assert_eq!(masters.iter().map(|master| master.tls).collect::<Vec<_>>(), [true, false, true]);
    }
}
