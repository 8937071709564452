//! The loop's promises, shown with a core of a few lines: a register that counts what it is told.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use node::inbox::{Lane, LaneLimits, Limits, NotTaken, Sender, inbox};
use node::storage::{
    Epoch, Group, Position, Progress, Record, Recovered, Restore, RestoreError, SnapshotRecords, Space, Storage,
    StorageError,
};
use node::{Clock, Core, Entropy, Node, Now, Outlet, Parts, Settings, Step, Turn};

#[derive(Clone, Debug, PartialEq)]
enum Input {
    Start(Epoch),
    Tick,
    Resume,
    SpaceLow(bool),
    /// Stores a value and answers with the request's number.
    Set(u64, u64),
    /// Answers with what is known, without a record.
    Get(u64),
    /// Stores this many values, three to a step.
    Bulk(u64),
}

#[derive(Clone, Debug, PartialEq)]
enum Effect {
    Started(Epoch),
    Answer(u64, Option<u64>),
    Told(Input),
}

#[derive(Default)]
struct Register {
    values: BTreeMap<u64, u64>,
    wake_ms: Option<u64>,
    bulk_left: u64,
}

fn record(key: u64, value: u64) -> Record {
    Record { table: 1, key: key.to_be_bytes().to_vec(), value: Some(value.to_be_bytes().to_vec()) }
}

impl Core for Register {
    type Input = Input;
    type Effect = Effect;
    type View = (Position, BTreeMap<u64, u64>);

    fn apply(&mut self, record: Record) -> Result<(), RestoreError> {
        let number = |bytes: &[u8]| {
            let bytes = bytes.try_into().map_err(|_| RestoreError { table: 1, reason: "not a number".to_owned() });
            bytes.map(u64::from_be_bytes)
        };
        self.values.insert(number(&record.key)?, number(&record.value.unwrap_or_default())?);
        Ok(())
    }

    fn step(&mut self, now: Now, input: Input) -> Step<Effect> {
        let mut step = Step { records: Vec::new(), effects: Vec::new(), more: false };
        match input {
            Input::Start(epoch) => step.effects.push(Effect::Started(epoch)),
            Input::Set(key, value) => {
                self.values.insert(key, value);
                step.records.push(record(key, value));
                step.effects.push(Effect::Answer(key, Some(value)));
            }
            Input::Get(key) => step.effects.push(Effect::Answer(key, self.values.get(&key).copied())),
            Input::Tick => {
                self.wake_ms = Some(now.monotonic_ms + 100);
                step.effects.push(Effect::Told(Input::Tick));
            }
            Input::SpaceLow(_) => step.effects.push(Effect::Told(input)),
            Input::Bulk(count) => self.bulk_left = count,
            Input::Resume => {}
        }
        let in_this_step = if step.records.is_empty() { self.bulk_left.min(3) } else { 0 };
        for _ in 0..in_this_step {
            self.bulk_left -= 1;
            self.values.insert(1000 + self.bulk_left, 1);
            step.records.push(record(1000 + self.bulk_left, 1));
        }
        step.more = self.bulk_left > 0;
        step
    }

    fn next_wake(&self) -> Option<u64> {
        self.wake_ms
    }

    fn freeze(&mut self, position: Position, _: Now) -> Self::View {
        (position, self.values.clone())
    }

    fn records_of(view: &Arc<Self::View>) -> SnapshotRecords {
        let view = Arc::clone(view);
        let records: Vec<Record> = view.1.iter().map(|(key, value)| record(*key, *value)).collect();
        Box::new(records.into_iter())
    }

    fn start(_: [u8; 32], epoch: Epoch) -> Input {
        Input::Start(epoch)
    }
    fn tick() -> Input {
        Input::Tick
    }
    fn resume() -> Input {
        Input::Resume
    }
    fn space_low(low: bool) -> Input {
        Input::SpaceLow(low)
    }
}

/// A storage whose disk moves only when the test says so.
#[derive(Default)]
struct Scripted {
    groups: Vec<Group>,
    progress: Progress,
    failure: Option<StorageError>,
    snapshots: Vec<(Position, Epoch, Vec<Record>)>,
}

#[derive(Clone, Default)]
struct Disk(Rc<RefCell<Scripted>>);

impl Disk {
    fn sync(&self) {
        let mut disk = self.0.borrow_mut();
        disk.progress.durable = Position(disk.groups.len() as u64);
    }

    fn sync_to(&self, position: u64) {
        self.0.borrow_mut().progress.durable = Position(position);
    }

    fn appended(&self) -> usize {
        self.0.borrow().groups.len()
    }
}

impl Storage for Disk {
    fn recover(&mut self, restore: &mut dyn Restore) -> Result<Recovered, StorageError> {
        let mut disk = self.0.borrow_mut();
        let durable = disk.progress.durable;
        disk.groups.truncate(durable.0 as usize);
        let mut recovered = Recovered { position: durable, ..Recovered::default() };
        for group in disk.groups.clone() {
            recovered.epoch = group.epoch;
            for record in group.records {
                restore.restore(record).map_err(StorageError::failed)?;
                recovered.records += 1;
            }
        }
        Ok(recovered)
    }

    fn append(&mut self, group: Group) -> Result<(), StorageError> {
        let mut disk = self.0.borrow_mut();
        assert_eq!(group.position.0, disk.groups.len() as u64 + 1, "positions are consecutive");
        disk.progress.bytes_since_snapshot +=
            group.records.iter().map(|record| record.size_bytes() as u64).sum::<u64>();
        disk.groups.push(group);
        Ok(())
    }

    fn progress(&mut self) -> Result<Progress, StorageError> {
        let disk = self.0.borrow();
        disk.failure.clone().map_or_else(|| Ok(disk.progress.clone()), Err)
    }

    fn start_snapshot(
        &mut self,
        position: Position,
        epoch: Epoch,
        records: SnapshotRecords,
    ) -> Result<(), StorageError> {
        let mut disk = self.0.borrow_mut();
        disk.progress.bytes_since_snapshot = 0;
        disk.snapshots.push((position, epoch, records.collect()));
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Hands(Rc<RefCell<u64>>);

impl Clock for Hands {
    fn now(&mut self) -> Now {
        Now { wall_ms: *self.0.borrow() as i64, monotonic_ms: *self.0.borrow() }
    }
}

struct Fixed;

impl Entropy for Fixed {
    fn seed(&mut self) -> [u8; 32] {
        [7; 32]
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    View(Position),
    Effect(Effect),
}

#[derive(Clone, Default)]
struct Witness(Rc<RefCell<VecDeque<Seen>>>, Rc<Cell<bool>>);

impl Outlet<Register> for Witness {
    fn publish(&mut self, view: Arc<(Position, BTreeMap<u64, u64>)>) {
        self.0.borrow_mut().push_back(Seen::View(view.0));
    }

    fn release(&mut self, _: Epoch, effects: Vec<Effect>) {
        self.0.borrow_mut().extend(effects.into_iter().map(Seen::Effect));
    }

    fn is_congested(&self) -> bool {
        self.1.get()
    }
}

impl Witness {
    fn take(&self) -> Vec<Seen> {
        self.0.borrow_mut().drain(..).collect()
    }

    fn effects(&self) -> Vec<Effect> {
        self.take()
            .into_iter()
            .filter_map(|seen| if let Seen::Effect(effect) = seen { Some(effect) } else { None })
            .collect()
    }
}

struct Stage {
    node: Node<Register, Disk, Hands, Witness>,
    sender: Sender<Input>,
    disk: Disk,
    hands: Hands,
    witness: Witness,
    recovered: Recovered,
}

fn limits(capacity: usize) -> Limits {
    let lane = |weight| LaneLimits { capacity, weight };
    Limits { engine: lane(8), urgent: lane(4), normal: lane(2) }
}

fn stage_on(disk: Disk, settings: Settings) -> Stage {
    let (sender, inbox) = inbox(limits(64), Arc::new(|| {}));
    let (hands, witness) = (Hands::default(), Witness::default());
    let parts = Parts {
        core: Register::default(),
        storage: disk.clone(),
        clock: hands.clone(),
        outlet: witness.clone(),
        inbox,
        settings,
    };
    let (node, recovered) = Node::recover(parts, &mut Fixed).expect("recovers");
    Stage { node, sender, disk, hands, witness, recovered }
}

/// A node that has begun its reign, with nothing in flight and nothing yet seen.
fn running(settings: Settings) -> Stage {
    let mut stage = stage_on(Disk::default(), settings);
    stage.disk.sync();
    stage.turn();
    stage.witness.take();
    stage
}

impl Stage {
    fn turn(&mut self) -> Turn {
        self.node.turn().expect("the storage works")
    }

    fn send(&self, input: Input) {
        self.sender.try_send(Lane::Normal, input).expect("room");
    }
}

#[test]
fn nothing_is_stepped_before_the_reign_is_durable() {
    let mut stage = stage_on(Disk::default(), Settings::default());
    stage.send(Input::Get(1));
    assert_eq!(stage.turn(), Turn::WaitUntil(None));
    assert_eq!(stage.witness.take(), [Seen::View(Position::NONE)], "the recovered state can be read");
    stage.disk.sync();
    stage.turn();
    assert_eq!(stage.witness.effects(), [Effect::Started(Epoch(1)), Effect::Answer(1, None)]);
}

#[test]
fn effects_wait_for_their_group_and_the_view_goes_first() {
    let mut stage = running(Settings::default());
    stage.send(Input::Set(1, 10));
    stage.turn();
    stage.send(Input::Set(2, 20));
    stage.turn();
    assert_eq!(stage.disk.appended(), 3, "the second group was computed while the first waits");
    assert_eq!(stage.witness.take(), []);
    stage.disk.sync_to(2);
    stage.turn();
    assert_eq!(stage.witness.take(), [Seen::View(Position(2)), Seen::Effect(Effect::Answer(1, Some(10)))]);
    stage.disk.sync();
    stage.turn();
    assert_eq!(stage.witness.take(), [Seen::View(Position(3)), Seen::Effect(Effect::Answer(2, Some(20)))]);
}

#[test]
fn an_answer_without_records_does_not_overtake_what_it_may_have_seen() {
    let mut stage = running(Settings::default());
    stage.send(Input::Set(1, 10));
    stage.turn();
    stage.send(Input::Get(1));
    stage.turn();
    assert_eq!(stage.witness.take(), [], "the value that was read is not durable yet");
    stage.disk.sync();
    stage.turn();
    assert_eq!(stage.witness.effects(), [Effect::Answer(1, Some(10)), Effect::Answer(1, Some(10))]);
    stage.send(Input::Get(1));
    stage.turn();
    assert_eq!(
        stage.witness.effects(),
        [Effect::Answer(1, Some(10))],
        "with nothing in flight it leaves in its own turn"
    );
}

#[test]
fn one_group_serves_every_input_of_a_turn() {
    let mut stage = running(Settings::default());
    let before = stage.disk.appended();
    (0..20).for_each(|key| stage.send(Input::Set(key, key)));
    stage.turn();
    assert_eq!(stage.disk.appended(), before + 1);
}

#[test]
fn a_failed_storage_ends_the_node_and_nothing_more_is_released() {
    let mut stage = running(Settings::default());
    stage.send(Input::Set(1, 10));
    stage.turn();
    stage.send(Input::Set(2, 20));
    stage.turn();
    stage.disk.sync_to(2);
    stage.disk.0.borrow_mut().failure = Some(StorageError::failed(std::io::Error::from_raw_os_error(5)));
    let first = stage.node.turn().expect_err("fatal").to_string();
    stage.disk.0.borrow_mut().failure = None;
    stage.disk.sync();
    assert_eq!(stage.node.turn().expect_err("still fatal").to_string(), first);
    assert_eq!(stage.witness.take(), []);
    assert_eq!(stage.node.held_turns(), 0);
}

#[test]
fn the_next_start_replays_what_is_durable_and_reigns_above() {
    let mut stage = running(Settings::default());
    stage.send(Input::Set(1, 10));
    stage.turn();
    stage.disk.sync();
    stage.send(Input::Set(2, 20));
    stage.turn();
    let mut next = stage_on(stage.disk.clone(), Settings::default());
    assert_eq!(next.recovered.position, Position(2));
    assert_eq!(next.node.epoch(), Epoch(2));
    next.send(Input::Get(1));
    next.send(Input::Get(2));
    next.disk.sync();
    next.turn();
    let expected = [Effect::Started(Epoch(2)), Effect::Answer(1, Some(10)), Effect::Answer(2, None)];
    assert_eq!(next.witness.effects(), expected);
}

#[test]
fn a_slow_disk_stops_the_intake_and_not_the_senders_answers() {
    let mut stage = running(Settings { held_turns: 3, ..Settings::default() });
    for key in 0..3 {
        stage.send(Input::Set(key, 1));
        stage.turn();
    }
    for key in 0..64 {
        stage.send(Input::Set(key, 2));
    }
    assert_eq!(stage.turn(), Turn::WaitUntil(None));
    assert_eq!(stage.disk.appended(), 4, "no fourth group");
    assert!(matches!(stage.sender.try_send(Lane::Normal, Input::Get(1)), Err(NotTaken::Full(_))));
    stage.disk.sync();
    stage.turn();
    stage.disk.sync();
    stage.turn();
    assert_eq!(stage.witness.effects().len(), 3 + 64);
}

#[test]
fn a_turn_is_bounded_and_asks_for_the_next_at_once() {
    let mut stage = running(Settings { inputs_per_turn: 4, ..Settings::default() });
    (0..9).for_each(|key| stage.send(Input::Set(key, 1)));
    let turns: Vec<Turn> = (0..3).map(|_| stage.turn()).collect();
    assert_eq!(turns, [Turn::Again, Turn::Again, Turn::WaitUntil(None)]);
    let sizes: Vec<usize> = stage.disk.0.borrow().groups[1..].iter().map(|group| group.records.len()).collect();
    assert_eq!(sizes, [4, 4, 1]);
}

#[test]
fn a_group_stays_near_its_size_and_no_step_is_split() {
    let mut stage = running(Settings { group_bytes: 100, ..Settings::default() });
    (0..12).for_each(|key| stage.send(Input::Set(key, 1)));
    while stage.turn() == Turn::Again {}
    let sizes: Vec<usize> = stage.disk.0.borrow().groups[1..].iter().map(|group| group.records.len()).collect();
    assert_eq!(sizes, [4, 4, 4], "28 bytes each, ended by the one that reaches 100");
}

#[test]
fn long_work_alternates_with_other_inputs() {
    let mut stage = running(Settings { inputs_per_turn: 2, ..Settings::default() });
    stage.send(Input::Bulk(9));
    stage.turn();
    stage.send(Input::Set(1, 1));
    assert_eq!(stage.turn(), Turn::Again);
    let second = stage.disk.0.borrow().groups[2].records.clone();
    assert_eq!((second.len(), &second[0]), (4, &record(1, 1)), "the other input was stepped before the work went on");
    while stage.turn() == Turn::Again {}
    let total: usize = stage.disk.0.borrow().groups.iter().map(|group| group.records.len()).sum();
    assert_eq!(total, 10);
}

#[test]
fn while_inputs_wait_long_work_goes_on_after_a_number_of_them_only() {
    let mut stage = running(Settings { inputs_per_turn: 4, inputs_per_resume: 10, ..Settings::default() });
    stage.send(Input::Bulk(9));
    stage.turn();
    // Sizes of groups beyond that of the first three of the bulk; a reading input makes the core take a share of the bulk itself.
    (0..30).for_each(|key| stage.send(Input::Set(key, 1)));
    let sizes = |stage: &Stage| -> Vec<usize> {
        stage.disk.0.borrow().groups[2..].iter().map(|group| group.records.len()).collect()
    };
    for _ in 0..6 {
        stage.turn();
    }
    assert_eq!(sizes(&stage), [4, 4, 4 + 3, 4, 4, 4 + 3], "the bulk goes on after ten inputs");
    for _ in 0..3 {
        stage.turn();
    }
    assert_eq!(sizes(&stage)[6..], [4, 2]);
}

#[test]
fn long_work_waits_while_what_was_released_is_not_sent_on() {
    let mut stage = running(Settings::default());
    stage.witness.1.set(true);
    stage.send(Input::Bulk(9));
    assert_eq!(stage.turn(), Turn::WaitUntil(Some(2)), "and looks again soon");
    stage.send(Input::Set(1, 1));
    assert_eq!(stage.turn(), Turn::WaitUntil(Some(2)));
    let lengths: Vec<usize> = stage.disk.0.borrow().groups[1..].iter().map(|group| group.records.len()).collect();
    assert_eq!(lengths, [3, 1], "inputs are taken all the same");
    stage.witness.1.set(false);
    while stage.turn() == Turn::Again {}
    let total: usize = stage.disk.0.borrow().groups.iter().map(|group| group.records.len()).sum();
    assert_eq!(total, 10);
}

#[test]
fn timers_are_asked_for_and_sent_when_their_time_has_come() {
    let mut stage = running(Settings::default());
    stage.send(Input::Tick);
    assert_eq!(stage.turn(), Turn::WaitUntil(Some(100)));
    stage.witness.take();
    *stage.hands.0.borrow_mut() = 99;
    assert_eq!(stage.turn(), Turn::WaitUntil(Some(100)));
    assert_eq!(stage.witness.take(), []);
    *stage.hands.0.borrow_mut() = 100;
    assert_eq!(stage.turn(), Turn::WaitUntil(Some(200)));
    assert_eq!(stage.witness.effects(), [Effect::Told(Input::Tick)]);
}

#[test]
fn lack_of_space_is_told_once_and_its_end_too() {
    let mut stage = running(Settings::default());
    let set = |stage: &Stage, space| stage.disk.0.borrow_mut().progress.space = space;
    set(&stage, Space::Low { reason: "full".to_owned() });
    stage.turn();
    stage.turn();
    set(&stage, Space::Enough);
    stage.turn();
    let told = [Effect::Told(Input::SpaceLow(true)), Effect::Told(Input::SpaceLow(false))];
    assert_eq!(stage.witness.effects(), told);
}

#[test]
fn lack_of_space_is_told_before_the_start_which_would_go_on_with_growing_work() {
    let mut stage = stage_on(Disk::default(), Settings::default());
    stage.disk.0.borrow_mut().progress.space = Space::Low { reason: "full".to_owned() };
    stage.turn();
    stage.disk.sync();
    stage.turn();
    assert_eq!(stage.witness.effects(), [Effect::Told(Input::SpaceLow(true)), Effect::Started(Epoch(1))]);
}

#[test]
fn snapshots_are_taken_by_size_and_by_time_and_hold_durable_state_only() {
    let mut stage = running(Settings {
        snapshot_bytes: 60,
        snapshot_interval_ms: 1000,
        snapshot_retry_ms: 50,
        ..Settings::default()
    });
    (0..3).for_each(|key| stage.send(Input::Set(key, 1)));
    stage.turn();
    assert!(stage.disk.0.borrow().snapshots.is_empty(), "large enough, but not durable");
    stage.disk.sync();
    stage.send(Input::Set(9, 9));
    stage.turn();
    stage.turn();
    {
        let disk = stage.disk.0.borrow();
        let (position, epoch, records) = &disk.snapshots[0];
        assert_eq!((*position, *epoch, records.len(), disk.snapshots.len()), (Position(2), Epoch(1), 3, 1));
    }
    stage.disk.sync();
    stage.send(Input::Set(4, 4));
    *stage.hands.0.borrow_mut() = 999;
    stage.turn();
    assert_eq!(stage.disk.0.borrow().snapshots.len(), 1);
    *stage.hands.0.borrow_mut() = 1000;
    stage.turn();
    assert_eq!(stage.disk.0.borrow().snapshots.len(), 2, "by time");
}

#[test]
fn the_log_to_be_replayed_is_bounded_however_large_the_state_is() {
    let settings = Settings { snapshot_bytes: 10, snapshot_bytes_max: 100, ..Settings::default() };
    let mut stage = running(settings);
    stage.disk.0.borrow_mut().progress.snapshot_bytes = 1 << 30;
    let mut snapshots = Vec::new();
    for key in 0..10 {
        stage.send(Input::Set(key, 1));
        stage.turn();
        stage.disk.sync();
        stage.turn();
        snapshots.push(stage.disk.0.borrow().snapshots.len());
    }
    assert_eq!(snapshots, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2], "28 bytes a group: due at 100, not at the snapshot's size");
}

#[test]
fn a_snapshot_that_is_asked_for_holds_what_was_durable_and_is_answered_when_it_is_done() {
    let mut stage = running(Settings::default());
    stage.send(Input::Set(1, 10));
    stage.turn();
    stage.disk.sync();
    stage.turn();
    stage.node.ask_for_snapshot();
    stage.disk.0.borrow_mut().progress.snapshot_running = true;
    stage.turn();
    assert!(stage.disk.0.borrow().snapshots.is_empty(), "one is under way, and may hold less");
    stage.disk.0.borrow_mut().progress.snapshot_running = false;
    stage.turn();
    assert_eq!(stage.disk.0.borrow().snapshots.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [Position(2)]);
    stage.disk.0.borrow_mut().progress.snapshot_running = true;
    stage.turn();
    assert_eq!(stage.node.take_snapshot_outcome(), None);
    stage.disk.0.borrow_mut().progress.snapshot_running = false;
    stage.turn();
    assert_eq!(stage.node.take_snapshot_outcome(), Some(Ok(Position(2))));
    assert_eq!(stage.node.take_snapshot_outcome(), None);
    stage.node.ask_for_snapshot();
    stage.turn();
    stage.disk.0.borrow_mut().progress.snapshot_failure = Some("no room".into());
    stage.turn();
    assert_eq!(stage.node.take_snapshot_outcome(), Some(Err("no room".into())));
}

#[test]
fn the_end_of_the_epoch_ends_the_node() {
    let mut stage = running(Settings::default());
    stage.send(Input::Set(1, 10));
    stage.turn();
    let ended = StorageError::EpochEnded { epoch: Epoch(1), committed: Position(1) };
    stage.disk.0.borrow_mut().failure = Some(ended);
    assert!(matches!(stage.node.turn(), Err(StorageError::EpochEnded { committed: Position(1), .. })));
    assert_eq!(stage.witness.take(), []);
}
