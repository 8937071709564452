//! What a task's state machine must do, typed from the reference (spec scheduler 1.1 to 1.4) and not taken from the program.

use std::fmt;

use engine::TaskState;
use model::TaskStatus;

/// A cell: the status a task is in and the one that is asked for; `None` is "not stored".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// In which status the task is.
    pub from: Option<TaskStatus>,
    /// Which one is asked for.
    pub to: Option<TaskStatus>,
}

impl Cell {
    /// The cell of two stored statuses.
    pub fn new(from: TaskStatus, to: TaskStatus) -> Self {
        Self { from: Some(from), to: Some(to) }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |status: Option<TaskStatus>| status.map_or("DELETED", TaskStatus::name);
        write!(out, "{} to {}", name(self.from), name(self.to))
    }
}

/// Whether a replacement of the task is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// No.
    Never,
    /// Yes.
    Always,
    /// If it is a service.
    Service,
    /// By the rule for failures; the failure is counted.
    Failure,
    /// Unless KILLING is anywhere in its history.
    UnlessKilling,
}

/// What must happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is there already: nothing.
    Noop,
    /// Not allowed: nothing.
    Illegal,
    /// Not allowed, and the task is killed.
    Corrective,
    /// Allowed.
    Legal {
        /// Whether a replacement follows.
        replaced: Replaced,
        /// The engine is asked to kill it.
        killed: bool,
        /// It goes on to LOST at once.
        lost: bool,
        /// It is no longer stored.
        deleted: bool,
    },
}

/// Rows: the present status. Columns: what is asked for.
///
/// `=` nothing, `-` illegal, `X` corrective kill. Allowed: `s` stored, and with it `R` replaced, `V` replaced if a service, `F`
/// failure counted and replaced by the rule, `U` replaced unless ever KILLING, `K` killed, `L` on to LOST, `D` deleted instead of
/// stored.
const TABLE: &str = "
              PENDING THROTTLED ASSIGNED STARTING RUNNING FINISHED FAILED KILLED LOST PARTITIONED KILLING RESTARTING PREEMPTING DRAINING DELETED
  INIT        s       s         -        -        -       -        -      -      -    -           -       -          -          -        -
  PENDING     =       -         s        -        -       -        -      -      -    -           D       -          -          -        -
  THROTTLED   s       =         -        -        -       -        -      -      -    -           D       -          -          -        -
  ASSIGNED    -       -         =        s        s       sV       sF     sR     sRK  -           sK      sK         sK         sK       -
  STARTING    -       -         -        =        s       sV       sF     sR     sR   s           sK      sK         sK         sK       -
  RUNNING     -       -         -        -        =       sV       sF     sR     sR   s           sK      sK         sK         sK       -
  KILLING     -       -         X        X        X       s        s      s      s    sL          =       -          -          -        D
  RESTARTING  -       -         X        X        X       sR       sR     sR     sRK  sL          s       =          -          -        -
  PREEMPTING  -       -         X        X        X       sR       sR     sR     sRK  sL          s       -          =          -        -
  DRAINING    -       -         X        X        X       sR       sR     sR     sRK  sL          s       -          -          =        -
  PARTITIONED -       -         s        s        s       sV       sF     -      sUK  =           sL      sL         sL         sL       -
  FINISHED    -       -         X        X        X       =        -      -      -    -           -       -          -          -        D
  FAILED      -       -         X        X        X       -        =      -      -    -           -       -          -          -        D
  KILLED      -       -         X        X        X       -        -      =      -    -           -       -          -          -        D
  LOST        -       -         X        X        X       -        -      -      =    -           -       -          -          -        D
  DELETED     -       -         X        X        X       -        -      -      -    -           -       -          -          -        =
";

/// The table, read once.
#[derive(Clone, Debug)]
pub struct Table {
    cells: Vec<(Cell, Verdict)>,
    verdicts: [[Verdict; 16]; 16],
}

fn index(status: Option<TaskStatus>) -> usize {
    status.map_or(15, |status| TaskStatus::ALL.iter().position(|known| *known == status).unwrap_or(15))
}

impl Default for Table {
    fn default() -> Self {
        let mut lines = TABLE.lines().filter(|line| !line.trim().is_empty());
        let status = |name: &str| if name == "DELETED" { None } else { Some(TaskStatus::from_name(name).expect(name)) };
        let targets: Vec<_> = lines.next().expect("a head").split_whitespace().map(status).collect();
        let mut cells = Vec::new();
        let mut verdicts = [[Verdict::Illegal; 16]; 16];
        for line in lines {
            let mut words = line.split_whitespace();
            let from = status(words.next().expect("a row has a name"));
            for (to, word) in targets.iter().zip(words) {
                let verdict = verdict(word);
                cells.push((Cell { from, to: *to }, verdict));
                verdicts[index(from)][index(*to)] = verdict;
            }
        }
        assert_eq!(cells.len(), 16 * 15, "the table has a hole");
        Self { cells, verdicts }
    }
}

fn verdict(word: &str) -> Verdict {
    let has = |letter: char| word.contains(letter);
    match word {
        "=" => Verdict::Noop,
        "-" => Verdict::Illegal,
        "X" => Verdict::Corrective,
        _ => Verdict::Legal {
            replaced: match word {
                _ if has('R') => Replaced::Always,
                _ if has('V') => Replaced::Service,
                _ if has('F') => Replaced::Failure,
                _ if has('U') => Replaced::UnlessKilling,
                _ => Replaced::Never,
            },
            killed: has('K'),
            lost: has('L'),
            deleted: has('D'),
        },
    }
}

impl Table {
    /// What must happen in a cell.
    pub fn verdict(&self, cell: Cell) -> Verdict {
        self.verdicts[index(cell.from)][index(cell.to)]
    }

    /// Whether a stored status may follow another, or a task vanish from one.
    pub fn allows(&self, cell: Cell) -> bool {
        matches!(self.verdict(cell), Verdict::Legal { .. })
    }

    /// Every cell, row by row.
    pub fn cells(&self) -> impl Iterator<Item = (Cell, Verdict)> + '_ {
        self.cells.iter().copied()
    }

    /// Why nobody in this version can ask for a cell; `None` when the simulation must meet it.
    ///
    /// Engines report what [`reported`] gives, of any task. Users ask for KILLING and RESTARTING of active tasks only.
    pub fn unasked(cell: Cell) -> Option<&'static str> {
        use TaskStatus::{
            Assigned, Draining, Failed, Finished, Init, Killed, Killing, Lost, Partitioned, Pending, Preempting,
            Restarting, Running, Starting, Throttled,
        };
        let active = cell.from.is_some_and(TaskStatus::is_active);
        match (cell.from, cell.to) {
            (Some(Init), Some(Pending | Throttled)) => None,
            (Some(Init), _) => Some("a task leaves INIT within the step that creates it"),
            (_, Some(Starting | Running | Finished | Failed | Killed | Lost | Partitioned)) => None,
            (_, Some(Killing | Restarting)) if active => None,
            (_, Some(Killing | Restarting)) => Some("users reach active tasks only"),
            (Some(Pending), Some(Assigned)) | (Some(Throttled), Some(Pending)) => None,
            (_, Some(Assigned)) => Some("only placement assigns, and only pending tasks"),
            (_, Some(Pending | Throttled | Init)) => Some("only a new task or the end of a penalty leads there"),
            (Some(Running), Some(Preempting)) => None,
            (_, Some(Preempting)) => {
                Some("the preemptor takes running tasks; others only by a race that is not driven here")
            }
            (Some(Assigned | Starting | Running | Partitioned), Some(Draining)) => None,
            (_, Some(Draining)) => Some("maintenance moves tasks that nobody has ended yet"),
            (Some(Finished | Failed | Killed | Lost), None) => None,
            (_, None) => Some("only ended tasks are pruned; nothing forces a deletion"),
        }
    }
}

/// The status that an engine's report asks for.
pub fn reported(state: TaskState) -> TaskStatus {
    match state {
        TaskState::Starting => TaskStatus::Starting,
        TaskState::Running => TaskStatus::Running,
        TaskState::Finished => TaskStatus::Finished,
        TaskState::Failed => TaskStatus::Failed,
        TaskState::Killed => TaskStatus::Killed,
        TaskState::Lost => TaskStatus::Lost,
        TaskState::Unreachable => TaskStatus::Partitioned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_most_of_it_must_be_met() {
        let table = Table::default();
        let required = table.cells().filter(|(cell, _)| Table::unasked(*cell).is_none()).count();
        assert_eq!(required, 15 * 7 + 2 * 10 + 2 + 2 + 2 + 3 + 4);
        assert!(table.allows(Cell::new(TaskStatus::Running, TaskStatus::Killing)));
        assert!(!table.allows(Cell::new(TaskStatus::Running, TaskStatus::Starting)));
        let stray = Cell { from: None, to: Some(TaskStatus::Running) };
        assert_eq!(table.verdict(stray), Verdict::Corrective);
    }
}
