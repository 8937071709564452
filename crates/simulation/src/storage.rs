//! A log kept by several replicas, as an agreement protocol would keep it, without the protocol: the test decides which
//! proposal comes next in the common order, which is lost, and how far each replica has read.
//!
//! What the real thing must guarantee, and what this one therefore does:
//!
//! - There is one order of proposals, the same for every replica; a replica may be behind but never differs.
//! - A proposal names the epoch and the group before it. Read by a replica, it is applied if it follows the applied head
//!   and its epoch is the head's or a new reign's; otherwise it is a no-op, on every replica alike.
//! - A proposer whose proposal was a no-op, or who reads a group that another sent, has lost its reign:
//!   [`StorageError::EpochEnded`].
//! - A group is durable for its proposer once the replica beside it has applied it.
//!
//! No disk is modelled here: what is in the order is kept. Crashes of a scheduler are new [`Member`]s on the same replica.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use node::group::{self, Link};
use node::storage::{Epoch, Group, Position, Progress, Recovered, Restore, SnapshotRecords, Storage, StorageError};

use crate::clock::Dice;

/// A group on its way, with what it hangs on.
#[derive(Clone, Debug, PartialEq)]
struct Proposal {
    /// Which reign of which member sent it.
    session: u64,
    group: Group,
    previous: u32,
}

/// The newest applied group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    epoch: Epoch,
    position: Position,
    checksum: u32,
}

impl Head {
    /// The rule that every replica applies to every proposal.
    fn admits(self, proposal: &Proposal) -> bool {
        let group = &proposal.group;
        let follows = group.position == self.position.next() && proposal.previous == self.checksum;
        // A reign opens with an empty group above every earlier epoch, and goes on with its own.
        let opens = group.epoch > self.epoch && group.records.is_empty();
        follows && (group.epoch == self.epoch || opens)
    }
}

fn checksum(group: &Group, previous: u32) -> u32 {
    let mut bytes = Vec::new();
    group::encode(group, Link { previous, durable_before: Position::NONE }, &mut bytes);
    group::checksum(&bytes)
}

#[derive(Debug, Default)]
struct Replica {
    /// How much of the order it has read.
    read: usize,
    head: Head,
    applied: Vec<Group>,
    /// The session that sent each applied group.
    senders: Vec<u64>,
    /// Sessions one of whose proposals was a no-op here.
    refused: Vec<u64>,
}

#[derive(Debug, Default)]
struct State {
    order: Vec<Proposal>,
    replicas: Vec<Replica>,
    /// Proposals that are sent and neither ordered nor lost, per replica.
    in_flight: Vec<VecDeque<Proposal>>,
    sessions: u64,
}

/// All replicas of one log.
#[derive(Clone, Debug)]
pub struct Replicas(Rc<RefCell<State>>);

impl Replicas {
    /// An empty log with this many replicas.
    pub fn new(count: usize) -> Replicas {
        let replicas = (0..count).map(|_| Replica::default()).collect();
        let in_flight = vec![VecDeque::new(); count];
        Replicas(Rc::new(RefCell::new(State { replicas, in_flight, ..State::default() })))
    }

    /// The storage of a scheduler that runs beside a replica.
    pub fn member(&self, replica: usize) -> Member {
        let mut state = self.0.borrow_mut();
        state.sessions += 1;
        Member {
            state: Rc::clone(&self.0),
            replica,
            session: state.sessions,
            recovered: 0,
            tail: Head::default(),
            epoch: Epoch(0),
        }
    }

    /// Does one thing that chance picks: orders a proposal, lets a replica read on, or loses a proposal. False if nothing
    /// is left to be done.
    pub fn stir(&self, dice: &mut Dice) -> bool {
        let replica = dice.below(self.0.borrow().replicas.len() as u64) as usize;
        match dice.below(20) {
            0 => self.lose(replica),
            1..=9 => self.order(replica, dice.once_in(10)),
            _ => self.read(replica),
        }
        self.is_busy()
    }

    /// Whether anything is in flight or unread.
    pub fn is_busy(&self) -> bool {
        let state = self.0.borrow();
        let unread = state.replicas.iter().any(|replica| replica.read < state.order.len());
        unread || state.in_flight.iter().any(|proposals| !proposals.is_empty())
    }

    /// Gives a proposal sent from beside this replica the next place in the order: the oldest, or, if the network reorders,
    /// the newest.
    pub fn order(&self, replica: usize, reordered: bool) {
        let mut state = self.0.borrow_mut();
        let proposals = &mut state.in_flight[replica];
        let next = if reordered { proposals.pop_back() } else { proposals.pop_front() };
        state.order.extend(next);
    }

    /// Loses the oldest proposal sent from beside this replica.
    pub fn lose(&self, replica: usize) {
        self.0.borrow_mut().in_flight[replica].pop_front();
    }

    /// Lets a replica read one more proposal of the order.
    pub fn read(&self, replica: usize) {
        let mut state = self.0.borrow_mut();
        let State { order, replicas, .. } = &mut *state;
        let replica = &mut replicas[replica];
        let Some(proposal) = order.get(replica.read) else { return };
        replica.read += 1;
        if replica.head.admits(proposal) {
            let Group { epoch, position, .. } = proposal.group;
            replica.head = Head { epoch, position, checksum: checksum(&proposal.group, proposal.previous) };
            replica.applied.push(proposal.group.clone());
            replica.senders.push(proposal.session);
        } else {
            replica.refused.push(proposal.session);
        }
    }

    /// Lets a replica read everything that is ordered.
    pub fn read_all(&self, replica: usize) {
        while self.0.borrow().replicas[replica].read < self.0.borrow().order.len() {
            self.read(replica);
        }
    }

    /// The groups that a replica has applied.
    pub fn applied(&self, replica: usize) -> Vec<Group> {
        self.0.borrow().replicas[replica].applied.clone()
    }

    /// How many proposals of the order a replica has read as no-ops.
    pub fn refused_count(&self, replica: usize) -> usize {
        self.0.borrow().replicas[replica].refused.len()
    }
}

/// The storage of one scheduler's life.
#[derive(Debug)]
pub struct Member {
    state: Rc<RefCell<State>>,
    replica: usize,
    session: u64,
    /// How many groups were applied when this life began.
    recovered: usize,
    /// The newest group of ours, applied or not.
    tail: Head,
    epoch: Epoch,
}

impl Storage for Member {
    fn recover(&mut self, restore: &mut dyn Restore) -> Result<Recovered, StorageError> {
        let state = self.state.borrow();
        let replica = &state.replicas[self.replica];
        self.tail = replica.head;
        self.recovered = replica.applied.len();
        let (position, epoch) = (replica.head.position, replica.head.epoch);
        let mut recovered = Recovered { position, epoch, ..Recovered::default() };
        for record in replica.applied.iter().flat_map(|group| group.records.clone()) {
            restore.restore(record).map_err(StorageError::failed)?;
            recovered.records += 1;
        }
        Ok(recovered)
    }

    fn append(&mut self, group: Group) -> Result<(), StorageError> {
        let previous = self.tail.checksum;
        let (epoch, position) = (group.epoch, group.position);
        self.tail = Head { epoch, position, checksum: checksum(&group, previous) };
        self.epoch = epoch;
        let proposal = Proposal { session: self.session, group, previous };
        self.state.borrow_mut().in_flight[self.replica].push_back(proposal);
        Ok(())
    }

    fn progress(&mut self) -> Result<Progress, StorageError> {
        let state = self.state.borrow();
        let replica = &state.replicas[self.replica];
        // Positions and epochs do not tell whose a group is: two who begin at the same moment choose the same ones.
        let ours = replica.senders[self.recovered..].iter().take_while(|sender| **sender == self.session).count();
        let durable = Position((self.recovered + ours) as u64);
        if self.recovered + ours < replica.senders.len() || replica.refused.contains(&self.session) {
            return Err(StorageError::EpochEnded { epoch: self.epoch, committed: durable });
        }
        Ok(Progress { durable, ..Progress::default() })
    }

    fn start_snapshot(&mut self, _: Position, _: Epoch, _: SnapshotRecords) -> Result<(), StorageError> {
        // The whole order is kept, so there is nothing that a snapshot could replace.
        Ok(())
    }
}
