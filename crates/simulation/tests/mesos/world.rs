//! A simulated Mesos behind HTTP, a state directory, and the present life of the scheduler on it; and the judge of what they came to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engine_mesos::Options;
use model::TaskConfig;
use simulation::mesos::history::Moment;
use simulation::mesos::server::{AgentSpec, Simulation};
use simulation::mesos::{Cluster, Settings};

use crate::daybreak::{Daybreak, LoopClock, options};

pub const SOON: Duration = Duration::from_secs(20);
/// How long anything may take for which simulated time has to pass.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Mesos, a state directory, and the present life of the scheduler.
pub struct World {
    pub simulation: Simulation,
    directory: tempfile::TempDir,
    daybreak: Option<Daybreak>,
    change: fn(&mut Options),
    settings: scheduler::Settings,
}

impl World {
    /// Simulated time passes ten times as fast as real time.
    pub fn new(agents: usize, settings: Settings) -> Self {
        Self::with(agents, settings, scheduler::Settings::default(), |_| {})
    }

    pub fn with(agents: usize, settings: Settings, scheduler: scheduler::Settings, change: fn(&mut Options)) -> Self {
        let simulation = Simulation::start(settings, 10.0, None).unwrap();
        simulation.add_agents((0..agents).map(|index| {
            AgentSpec::new(format!("a{index}"), "cpus:8;mem:8192;disk:8192;ports:[31000-31999]")
                .attributes(format!("host:a{index}"))
        }));
        let directory = tempfile::tempdir().unwrap();
        let mut world = Self { simulation, directory, daybreak: None, change, settings: scheduler };
        world.start();
        world
    }

    pub fn start(&mut self) {
        let mut options = options(&self.simulation.master_list());
        (self.change)(&mut options);
        let epoch_ms = self.simulation.with(|cluster| cluster.settings().epoch_ms);
        let clock = LoopClock::Simulated(self.simulation.time(), epoch_ms);
        let daybreak = Daybreak::start(self.directory.path(), options, self.settings.clone(), clock, true);
        self.daybreak = Some(daybreak);
    }

    /// The scheduler dies and is started again on the same state.
    pub fn restart(&mut self) {
        self.daybreak.take().unwrap().crash();
        self.start();
    }

    pub fn daybreak(&self) -> &Daybreak {
        self.daybreak.as_ref().unwrap()
    }

    pub fn skip(&self, ms: u64) {
        self.simulation.skip(ms);
        self.daybreak().ring();
    }

    /// Simulated time passes in steps, so that both sides act in between.
    pub fn pass(&self, ms: u64) {
        let time = self.simulation.time();
        let end_ms = time.now_ms() + ms;
        loop {
            let left_ms = end_ms.saturating_sub(time.now_ms());
            if left_ms == 0 {
                return;
            }
            self.skip(left_ms.min(5_000));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Simulated time passes in steps until something holds. How many that takes depends on how fast this machine is at the moment, so
    /// the bound is one of real time.
    #[track_caller]
    pub fn pass_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "not in time: {what}; {:?}", self.daybreak().view().count_by_status());
            self.skip(5_000);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub fn until(&self, what: &str, holds: impl FnMut(&mut Cluster) -> bool) {
        assert!(
            self.simulation.wait_until(SOON, holds),
            "not in time: {what}; {:?}",
            self.daybreak().view().count_by_status()
        );
    }

    pub fn live(&self) -> usize {
        self.simulation.with(|cluster| cluster.live_tasks().len())
    }

    /// Live instances of a job at the agents: name of the task to agents.
    pub fn job(&self, config: &TaskConfig, instances: i32) {
        self.daybreak().create(config.clone(), instances);
    }

    /// What must be true of every run once all is repaired: each launch happened once, both sides agree about every task, and nothing
    /// waits to be acknowledged.
    #[track_caller]
    pub fn judge(&self) {
        let view = self.daybreak().view();
        let running: Vec<String> =
            view.tasks.values().filter(|task| task.status.is_assigned()).map(|task| task.id.to_string()).collect();
        let settled = self.simulation.wait_until(SOON, |cluster| {
            let mut known: Vec<String> = cluster.known_tasks().into_iter().map(|(id, ..)| id).collect();
            known.sort();
            let mut live: Vec<String> = cluster.live_tasks().into_iter().map(|(id, ..)| id.to_string()).collect();
            live.sort();
            known == live
        });
        let differ = self.simulation.with(|cluster| {
            let live: Vec<String> = cluster.live_tasks().into_iter().map(|(id, ..)| id.to_string()).collect();
            let known = cluster.known_tasks();
            let dead: Vec<_> = known.iter().filter(|(id, ..)| !live.contains(id)).cloned().collect();
            let unknown: Vec<_> = live.into_iter().filter(|id| known.iter().all(|(other, ..)| other != id)).collect();
            (dead, unknown)
        });
        assert!(settled, "ends wait to be acknowledged, or the master does not know what runs: {differ:?}");
        self.simulation.with(|cluster| {
            let mut live: Vec<String> = cluster.live_tasks().into_iter().map(|(id, ..)| id.to_string()).collect();
            live.sort();
            let mut expected = running;
            expected.sort();
            let missing: Vec<_> = expected.iter().filter(|id| !live.contains(id)).collect();
            let surplus: Vec<_> = live.iter().filter(|id| !expected.contains(id)).collect();
            let none: Vec<&String> = Vec::new();
            assert_eq!((missing, surplus), (none.clone(), none), "missing at the agents, unknown to the scheduler");
            let mut launches = BTreeMap::new();
            for (_, moment) in cluster.history.moments() {
                if let Moment::Launched { task, .. } = moment {
                    *launches.entry(task.clone()).or_insert(0) += 1;
                }
            }
            launches.retain(|_, count| *count > 1);
            assert!(launches.is_empty(), "launched twice: {launches:?}");
        });
    }
}
