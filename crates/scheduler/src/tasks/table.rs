//! The task state machine as one table: which status may follow which, and what else happens then (spec scheduler 1.2 to 1.4).
//! Data only; `tasks::transition` carries it out.

use model::TaskStatus;

/// Where a task is: in the store with a status, or not there (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Stored with that status.
    Stored(TaskStatus),
    /// Not stored: unknown, or deleted.
    Deleted,
}

/// Whether a replacement follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// Never.
    Never,
    /// Always, batch tasks included.
    Always,
    /// When the task is a service.
    IfService,
    /// When it is a service or has failed runs left (spec scheduler 1.4).
    IfFailuresAllow,
    /// Unless the task was ever being killed for good.
    UnlessKilling,
}

/// What a legal transition does, carried out in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The failure is counted.
    pub count_failure: bool,
    /// Status and event are stored.
    pub save: bool,
    /// A copy of the task is created.
    pub replacement: Replacement,
    /// The task goes on to LOST at once.
    pub then_lost: bool,
    /// The engine is asked to kill the task.
    pub kill: bool,
    /// The task is removed from the store.
    pub delete: bool,
}

/// What the table says of a pair of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// The task is there already.
    Noop,
    /// Allowed.
    Legal(Effects),
    /// Refused, nothing happens.
    Illegal,
    /// Refused, and the task is killed, because it should not be running.
    Corrective,
}

const SAVE: Effects = Effects {
    count_failure: false,
    save: true,
    replacement: Replacement::Never,
    then_lost: false,
    kill: false,
    delete: false,
};
const KILL: Effects = Effects { kill: true, ..SAVE };
const REPLACE: Effects = Effects { replacement: Replacement::Always, ..SAVE };
const REPLACE_AND_KILL: Effects = Effects { kill: true, ..REPLACE };
const REPLACE_SERVICE: Effects = Effects { replacement: Replacement::IfService, ..SAVE };
const FAIL: Effects = Effects { count_failure: true, replacement: Replacement::IfFailuresAllow, ..SAVE };
const LOSE: Effects = Effects { then_lost: true, ..SAVE };
const DELETE: Effects = Effects { save: false, delete: true, ..SAVE };
const LOST_OUT_OF_REACH: Effects = Effects { replacement: Replacement::UnlessKilling, kill: true, ..SAVE };

/// What happens when a task in `from` is asked to go to `to`.
pub fn cell(from: State, to: State) -> Cell {
    use Cell::{Corrective, Illegal, Legal, Noop};
    use State::{Deleted, Stored};
    use TaskStatus::*;

    if from == to {
        return Noop;
    }
    let (from, to) = match (from, to) {
        // An unknown task that runs is a stray; what else is said of it does not matter.
        (Deleted, Stored(Assigned | Starting | Running)) => return Corrective,
        (Deleted, _) => return Illegal,
        (Stored(Killing | Finished | Failed | Killed | Lost), Deleted) => return Legal(DELETE),
        (Stored(_), Deleted) => return Illegal,
        (Stored(from), Stored(to)) => (from, to),
    };
    match (from, to) {
        (Init, Pending | Throttled) | (Throttled, Pending) | (Pending, Assigned) => Legal(SAVE),
        (Throttled | Pending, Killing) => Legal(DELETE),

        (Assigned, Starting | Running) | (Starting, Running) => Legal(SAVE),
        (Starting | Running, Partitioned) => Legal(SAVE),
        (Assigned | Starting | Running, Finished) => Legal(REPLACE_SERVICE),
        (Assigned | Starting | Running, Failed) => Legal(FAIL),
        (Assigned | Starting | Running, Killed) => Legal(REPLACE),
        (Assigned, Lost) => Legal(REPLACE_AND_KILL),
        (Starting | Running, Lost) => Legal(REPLACE),
        (Assigned | Starting | Running, Preempting | Restarting | Draining | Killing) => Legal(KILL),

        (Preempting | Restarting | Draining, Finished | Failed | Killed) => Legal(REPLACE),
        (Preempting | Restarting | Draining, Lost) => Legal(REPLACE_AND_KILL),
        (Preempting | Restarting | Draining, Partitioned) => Legal(LOSE),
        (Preempting | Restarting | Draining, Killing) => Legal(SAVE),
        (Preempting | Restarting | Draining, Assigned | Starting | Running) => Corrective,

        (Killing, Finished | Failed | Killed | Lost) => Legal(SAVE),
        (Killing, Partitioned) => Legal(LOSE),
        (Killing, Assigned | Starting | Running) => Corrective,

        (Partitioned, Assigned | Starting | Running) => Legal(SAVE),
        // Aurora forgets to replace a service here (spec scheduler 1.3, Q-FIX).
        (Partitioned, Finished) => Legal(REPLACE_SERVICE),
        (Partitioned, Failed) => Legal(FAIL),
        (Partitioned, Lost) => Legal(LOST_OUT_OF_REACH),
        (Partitioned, Killing | Restarting | Draining | Preempting) => Legal(LOSE),

        (Finished | Failed | Killed | Lost, Assigned | Starting | Running) => Corrective,
        _ => Illegal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as typed from the reference, one line per state a task is in, one column per state asked for. `=` nothing to
    /// do, `.` illegal, `!` corrective kill; else legal, with the letters of the effects: s save, r replace always, v replace
    /// a service, f count the failure and replace while failures allow, u replace unless ever KILLING, l on to LOST, k kill,
    /// d delete.
    const EXPECTED: &str = "
                 THROTTLED PENDING ASSIGNED STARTING RUNNING PREEMPTING RESTARTING DRAINING KILLING PARTITIONED FINISHED FAILED KILLED LOST DELETED
    INIT         s         s       .        .        .       .          .          .        .       .           .        .      .      .    .
    THROTTLED    =         s       .        .        .       .          .          .        d       .           .        .      .      .    .
    PENDING      .         =       s        .        .       .          .          .        d       .           .        .      .      .    .
    ASSIGNED     .         .       =        s        s       sk         sk         sk       sk      .           sv       sf     sr     srk  .
    STARTING     .         .       .        =        s       sk         sk         sk       sk      s           sv       sf     sr     sr   .
    RUNNING      .         .       .        .        =       sk         sk         sk       sk      s           sv       sf     sr     sr   .
    PREEMPTING   .         .       !        !        !       =          .          .        s       sl          sr       sr     sr     srk  .
    RESTARTING   .         .       !        !        !       .          =          .        s       sl          sr       sr     sr     srk  .
    DRAINING     .         .       !        !        !       .          .          =        s       sl          sr       sr     sr     srk  .
    KILLING      .         .       !        !        !       .          .          .        =       sl          s        s      s      s    d
    PARTITIONED  .         .       s        s        s       sl         sl         sl       sl      =           sv       sf     .      suk  .
    FINISHED     .         .       !        !        !       .          .          .        .       .           =        .      .      .    d
    FAILED       .         .       !        !        !       .          .          .        .       .           .        =      .      .    d
    KILLED       .         .       !        !        !       .          .          .        .       .           .        .      =      .    d
    LOST         .         .       !        !        !       .          .          .        .       .           .        .      .      =    d
    DELETED      .         .       !        !        !       .          .          .        .       .           .        .      .      .    =
    ";

    fn state(name: &str) -> State {
        if name == "DELETED" { State::Deleted } else { State::Stored(TaskStatus::from_name(name).unwrap()) }
    }

    fn shown(cell: Cell) -> String {
        let effects = match cell {
            Cell::Noop => return "=".into(),
            Cell::Illegal => return ".".into(),
            Cell::Corrective => return "!".into(),
            Cell::Legal(effects) => effects,
        };
        let mut text = String::new();
        if effects.save {
            text.push('s');
        }
        match (effects.count_failure, effects.replacement) {
            (true, Replacement::IfFailuresAllow) => text.push('f'),
            (false, Replacement::Always) => text.push('r'),
            (false, Replacement::IfService) => text.push('v'),
            (false, Replacement::UnlessKilling) => text.push('u'),
            (false, Replacement::Never) => {}
            other => panic!("no letters for {other:?}"),
        }
        for (set, letter) in [(effects.then_lost, 'l'), (effects.kill, 'k'), (effects.delete, 'd')] {
            if set {
                text.push(letter);
            }
        }
        text
    }

    #[test]
    fn every_cell_is_that_of_the_reference() {
        let mut lines = EXPECTED.lines().filter(|line| !line.trim().is_empty());
        let targets: Vec<State> = lines.next().unwrap().split_whitespace().map(state).collect();
        assert_eq!(targets.len(), 15);
        let mut cells = 0;
        for line in lines {
            let mut words = line.split_whitespace();
            let from = words.next().unwrap();
            for to in &targets {
                assert_eq!(shown(cell(state(from), *to)), words.next().unwrap(), "{from} to {to:?}");
                cells += 1;
            }
        }
        assert_eq!(cells, 16 * 15);
    }

    #[test]
    fn nothing_ever_goes_back_to_init() {
        for from in TaskStatus::ALL.into_iter().filter(|status| *status != TaskStatus::Init) {
            assert_eq!(cell(State::Stored(from), State::Stored(TaskStatus::Init)), Cell::Illegal);
        }
        assert_eq!(cell(State::Deleted, State::Stored(TaskStatus::Init)), Cell::Illegal);
    }
}
