//! The product's job updates against a second, independent implementation ([`model`]): random sequences of what users, the
//! engine, the clock and crashes do are played to both, and answers, events and tasks must be equal after every step.
//!
//! `UPDATE_MODEL_SEQUENCES=1000000` tries more of them; `UPDATE_MODEL_SEED=7` plays one and prints its steps.

mod model;
mod real;

use std::collections::BTreeSet;

use ::model::update::UpdateStatus;
use model::{Action, Answer, Model, Planted, Settings, Strategy, TaskState};
use real::Real;

/// Sequences that the test command plays: about a minute of one core with optimisation.
const SEQUENCES: u64 = if cfg!(debug_assertions) { 1_000 } else { 100_000 };
/// Steps of a sequence, at most.
const STEPS: u64 = 60;

/// A small generator of the tests' own.
pub struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.roll(from.len() as u64) as usize].clone()) }
    }
}

fn random_settings(dice: &mut Dice) -> Settings {
    let size = |dice: &mut Dice| if dice.roll(60) == 0 { 0 } else { 1 + dice.roll(3) as i32 };
    let pauses = dice.roll(2) == 0;
    let strategy = match dice.roll(3) {
        0 => Strategy::Queue(size(dice)),
        1 => Strategy::Batch(size(dice), pauses),
        _ => {
            let sizes = (0..1 + dice.roll(3)).map(|_| size(dice)).collect();
            Strategy::Variable(sizes, pauses)
        }
    };
    let first = dice.roll(5) as u32;
    Settings {
        strategy,
        max_per_instance_failures: dice.roll(3) as i32,
        max_failed_instances: dice.roll(3) as i32,
        min_wait: [0, 1_000, 5_000][dice.roll(3) as usize],
        rollback_on_failure: dice.roll(3) > 0,
        scope: (dice.roll(4) == 0).then(|| (first, first + dice.roll(3) as u32)),
        pulse: if dice.roll(4) == 0 { [2_000, 20_000][dice.roll(2) as usize] } else { 0 },
        sla_aware: dice.roll(4) == 0,
    }
}

/// What happens next, to both.
#[derive(Clone, Debug)]
enum Step {
    Start {
        version: i32,
        count: u32,
        settings: Box<Settings>,
    },
    Control(usize, Action),
    Pulse(usize),
    Kill(Option<u32>),
    Offers,
    /// The engine says of an instance's task that it came to a state; if it ended, how.
    Engine(u32, TaskState, Ending),
    Pass(i64),
    Restart(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Finished,
    Failed,
    Killed,
    Lost,
}

impl Ending {
    /// Whether a batch task that ended so is replaced.
    fn is_always_replaced(self) -> bool {
        matches!(self, Self::Killed | Self::Lost)
    }
}

fn random_step(dice: &mut Dice, model: &Model) -> Step {
    let active: Vec<(u32, TaskState)> = model.active().into_iter().map(|(id, (_, state))| (id, state)).collect();
    let updating = model.active_update();
    match dice.roll(100) {
        roll if roll < 6 || (updating.is_none() && roll < 30) => Step::Start {
            version: dice.roll(4) as i32,
            count: if dice.roll(30) == 0 { 0 } else { 1 + dice.roll(5) as u32 },
            settings: Box::new(random_settings(dice)),
        },
        30..36 => {
            // Of an ended one now and then.
            let at = updating.filter(|_| dice.roll(10) > 0).or_else(|| model.updates.len().checked_sub(1));
            let actions =
                [Action::Pause, Action::Pause, Action::Resume, Action::Resume, Action::Abort, Action::Rollback];
            match (at, dice.pick(&actions)) {
                (Some(at), Some(action)) => Step::Control(at, action),
                _ => Step::Offers,
            }
        }
        36..42 => match updating {
            Some(at) if model.updates[at].settings.pulse > 0 => Step::Pulse(at),
            Some(at)
                if !matches!(model.updates[at].status(), UpdateStatus::RollingForward | UpdateStatus::RollingBack) =>
            {
                Step::Control(at, Action::Resume)
            }
            _ => Step::Offers,
        },
        42..44 => Step::Kill((dice.roll(2) == 0).then(|| dice.roll(5) as u32)),
        44..50 => Step::Restart([10, 900, 3_000][dice.roll(3) as usize]),
        50..58 => Step::Pass([1, 999, 1_000, 4_000, 5_000, 30_000][dice.roll(6) as usize]),
        58..68 => Step::Offers,
        _ => match dice.pick(&active) {
            Some((instance, state)) => engine_step(dice, instance, state),
            None => Step::Offers,
        },
    }
}

fn engine_step(dice: &mut Dice, instance: u32, state: TaskState) -> Step {
    use Ending::*;
    let ended = |dice: &mut Dice, how: &[Ending]| {
        Step::Engine(instance, TaskState::Ended, dice.pick(how).expect("at least one"))
    };
    match state {
        TaskState::Pending => Step::Offers,
        TaskState::Assigned if dice.roll(6) > 0 => Step::Engine(instance, TaskState::Running, Finished),
        TaskState::Running if dice.roll(4) == 0 => Step::Engine(instance, TaskState::Partitioned, Finished),
        // Mostly left in peace: an update must have a chance.
        TaskState::Running if dice.roll(3) > 0 => Step::Pass(1_000),
        TaskState::Assigned | TaskState::Running | TaskState::Killing => ended(dice, &[Finished, Failed, Killed, Lost]),
        TaskState::Partitioned if dice.roll(3) > 0 => Step::Engine(instance, TaskState::Running, Finished),
        TaskState::Partitioned => ended(dice, &[Finished, Failed, Lost]),
        TaskState::Ended | TaskState::Deleted => Step::Offers,
    }
}

/// What was seen over many sequences.
#[derive(Default)]
struct Coverage {
    transitions: BTreeSet<(UpdateStatus, UpdateStatus)>,
    restarts_with_failures: u64,
}

/// Plays a sequence to both and says where they differ.
fn play(seed: u64, planted: Planted, coverage: &mut Coverage, tell: bool) -> Result<(), String> {
    let mut dice = Dice(seed);
    let first_is_batch = dice.roll(4) == 0;
    let mut real = Real::new(first_is_batch);
    let mut model = Model::new(real.now(), first_is_batch, planted);
    let count = dice.roll(5) as u32;
    if count > 0 {
        real.create_job(0, count);
        model.create_job(0, count);
    }
    for number in 0..10 + dice.roll(STEPS - 10) {
        let step = random_step(&mut dice, &model);
        if tell {
            println!("{number}: {step:?}");
        }
        let at = |what: String| format!("step {number}, {step:?}: {what}");
        take(&step, &mut real, &mut model, coverage).map_err(at)?;
        real.compare(&model).map_err(at)?;
    }
    for update in &model.updates {
        coverage.transitions.extend(update.events.windows(2).map(|pair| (pair[0].0, pair[1].0)));
    }
    Ok(())
}

fn take(step: &Step, real: &mut Real, model: &mut Model, coverage: &mut Coverage) -> Result<(), String> {
    let same = |real: Answer, model: Answer| {
        if real == model { Ok(()) } else { Err(format!("answered {real:?}, expected {model:?}")) }
    };
    match step {
        Step::Start { version, count, settings } => {
            let before = model.active_update();
            let (expected, stands) = model.start(*version, *count, (**settings).clone());
            let (answer, key) = real.start(*version, *count, settings);
            same(answer, expected)?;
            match (key, stands, before) {
                (Some(key), true, _) => real.updates.push(key),
                // The one in the way is named.
                (Some(key), false, Some(at)) if real.updates[at] == key => {}
                (None, false, _) => {}
                other => return Err(format!("a new update in the answer: {other:?}")),
            }
        }
        Step::Control(at, action) => same(real.control(*at, *action), model.control(*at, *action))?,
        Step::Pulse(at) => {
            if real.pulse(*at) != model.pulse(*at) {
                return Err("the pulse was answered otherwise".into());
            }
        }
        Step::Kill(instance) => same(real.kill_tasks(*instance), model.kill_tasks(*instance))?,
        Step::Offers => {
            real.offers();
            model.offers();
        }
        Step::Engine(instance, state, how) => {
            real.engine_says(*instance, *state, *how);
            model.engine_says(*instance, *state, how.is_always_replaced());
        }
        Step::Pass(ms) => {
            real.pass(*ms);
            model.pass(*ms);
        }
        Step::Restart(down_ms) => {
            coverage.restarts_with_failures += u64::from(real.counts_failures());
            real.restart(*down_ms);
            model.restart(*down_ms);
        }
    }
    Ok(())
}

fn wanted(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[test]
fn updates_go_as_an_independent_model_of_them_says() {
    let one = wanted("UPDATE_MODEL_SEED");
    let seeds = one.map_or(0..wanted("UPDATE_MODEL_SEQUENCES").unwrap_or(SEQUENCES), |seed| seed..seed + 1);
    let mut coverage = Coverage::default();
    for seed in seeds {
        if let Err(difference) = play(seed, Planted::Nothing, &mut coverage, one.is_some()) {
            panic!(
                "seed {seed}: {difference}\nreplay: UPDATE_MODEL_SEED={seed} cargo test -p scheduler --test update_model \
                 updates_go_as -- --nocapture"
            );
        }
    }
    if one.is_some() {
        return;
    }
    use UpdateStatus::*;
    let expected = [
        (
            RollingForward,
            &[RollingBack, RollForwardPaused, RollForwardAwaitingPulse, RolledForward, Aborted, Failed][..],
        ),
        (RollingBack, &[RollBackPaused, RollBackAwaitingPulse, RolledBack, Aborted, Failed]),
        (RollForwardPaused, &[RollingForward, RollForwardAwaitingPulse, RollingBack, Aborted]),
        (RollBackPaused, &[RollingBack, RollBackAwaitingPulse, Aborted]),
        (RollForwardAwaitingPulse, &[RollingForward, RollForwardPaused, RollingBack, Aborted]),
        (RollBackAwaitingPulse, &[RollingBack, RollBackPaused, Aborted]),
    ];
    let expected: BTreeSet<_> = expected.iter().flat_map(|(from, all)| all.iter().map(|to| (*from, *to))).collect();
    assert_eq!(coverage.transitions, expected, "every transition but that to ERROR is met");
    assert!(coverage.restarts_with_failures > 0, "some restarts found failures counted");
}

#[test]
fn a_wrong_rule_is_found() {
    for wrong in Planted::ALL.iter().copied() {
        let found = (0..SEQUENCES).find(|seed| play(*seed, wrong, &mut Coverage::default(), false).is_err());
        assert!(found.is_some(), "{wrong:?} was not found in {SEQUENCES} sequences");
    }
}
