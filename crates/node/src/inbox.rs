//! The way into the loop: three bounded lanes, filled from any thread, emptied by one.
//!
//! A full lane is an answer, not a loss: [`Sender::try_send`] gives the input back, [`Sender::send`] waits. The lanes are
//! served by weight, so that a flood of commands cannot hold up statuses and kills, nor the other way round: by the work that inputs
//! make, not by their number, as deficit round robin does it (Shreedhar and Varghese, 1995). Nothing here
//! is async, and nothing here starts a thread: the bell that tells the loop's thread about work is handed in.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Which lane an input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What engines report.
    Engine,
    /// Kills and administration.
    Urgent,
    /// Every other command.
    Normal,
}

impl Lane {
    /// Every lane, in the order in which a round serves them.
    pub const ALL: [Lane; 3] = [Lane::Engine, Lane::Urgent, Lane::Normal];
}

/// How much a lane holds, and how much work of it one round takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// Inputs that wait at most.
    pub capacity: usize,
    /// Work taken in a round while other lanes have some too; at least 1. A larger input waits until its lane has saved enough.
    pub weight: usize,
}

/// The limits of all lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of [`Lane::Engine`].
    pub engine: LaneLimits,
    /// Of [`Lane::Urgent`].
    pub urgent: LaneLimits,
    /// Of [`Lane::Normal`].
    pub normal: LaneLimits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            engine: LaneLimits { capacity: 8192, weight: 8 },
            urgent: LaneLimits { capacity: 1024, weight: 4 },
            normal: LaneLimits { capacity: 1024, weight: 2 },
        }
    }
}

impl Limits {
    fn of(&self, lane: Lane) -> LaneLimits {
        match lane {
            Lane::Engine => self.engine,
            Lane::Urgent => self.urgent,
            Lane::Normal => self.normal,
        }
    }
}

/// Rung when the loop has something to do; called from the senders' threads.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// Why an input was not taken; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum NotTaken<I> {
    /// The lane is full: try again later.
    Full(I),
    /// The loop has ended.
    Closed(I),
}

struct Lanes<I> {
    queues: [VecDeque<I>; 3],
    /// The loop found nothing the last time it looked and wants the bell.
    idle: bool,
    closed: bool,
}

struct Shared<I> {
    lanes: Mutex<Lanes<I>>,
    room: Condvar,
    limits: Limits,
    bell: Bell,
}

impl<I> Shared<I> {
    fn lock(&self) -> MutexGuard<'_, Lanes<I>> {
        // Queues are consistent after any panic elsewhere: no code that can panic runs under the lock.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sending end. Cheap to clone, usable from every thread.
pub struct Sender<I>(Arc<Shared<I>>);

impl<I> Clone for Sender<I> {
    fn clone(&self) -> Self {
        Sender(Arc::clone(&self.0))
    }
}

/// The loop's end.
pub struct Inbox<I> {
    shared: Arc<Shared<I>>,
    /// How much work an input makes.
    work: fn(&I) -> usize,
    /// Work that each lane may still have done.
    credit: [usize; 3],
}

/// Makes an inbox.
pub fn inbox<I>(limits: Limits, bell: Bell) -> (Sender<I>, Inbox<I>) {
    let lanes = Lanes { queues: [VecDeque::new(), VecDeque::new(), VecDeque::new()], idle: true, closed: false };
    let shared = Arc::new(Shared { lanes: Mutex::new(lanes), room: Condvar::new(), limits, bell });
    (Sender(Arc::clone(&shared)), Inbox { shared, work: |_| 1, credit: [0; 3] })
}

impl<I> Sender<I> {
    /// Hands an input over without waiting.
    pub fn try_send(&self, lane: Lane, input: I) -> Result<(), NotTaken<I>> {
        let lanes = self.0.lock();
        if lanes.closed {
            return Err(NotTaken::Closed(input));
        }
        if lanes.queues[lane as usize].len() >= self.0.limits.of(lane).capacity {
            return Err(NotTaken::Full(input));
        }
        self.push(lanes, lane, input);
        Ok(())
    }

    /// Hands an input over, waiting for room if the lane is full. The input comes back if the loop has ended.
    pub fn send(&self, lane: Lane, input: I) -> Result<(), I> {
        let mut lanes = self.0.lock();
        while !lanes.closed && lanes.queues[lane as usize].len() >= self.0.limits.of(lane).capacity {
            lanes = self.0.room.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
        if lanes.closed {
            return Err(input);
        }
        self.push(lanes, lane, input);
        Ok(())
    }

    /// Hands several inputs over in order, so that a turn that comes meanwhile takes all for which there is room. Waits for room as
    /// [`Sender::send`] does. False if the loop has ended.
    pub fn send_all(&self, lane: Lane, inputs: impl IntoIterator<Item = I>) -> bool {
        let mut inputs = inputs.into_iter();
        let mut next = inputs.next();
        while next.is_some() {
            let mut lanes = self.0.lock();
            let capacity = self.0.limits.of(lane).capacity;
            while !lanes.closed && lanes.queues[lane as usize].len() >= capacity {
                lanes = self.0.room.wait(lanes).unwrap_or_else(PoisonError::into_inner);
            }
            if lanes.closed {
                return false;
            }
            while lanes.queues[lane as usize].len() < capacity
                && let Some(input) = next.take()
            {
                lanes.queues[lane as usize].push_back(input);
                next = inputs.next();
            }
            self.wake(lanes);
        }
        true
    }

    fn push(&self, mut lanes: MutexGuard<'_, Lanes<I>>, lane: Lane, input: I) {
        lanes.queues[lane as usize].push_back(input);
        self.wake(lanes);
    }

    /// Rings the bell if the loop wants it.
    fn wake(&self, mut lanes: MutexGuard<'_, Lanes<I>>) {
        let wake = std::mem::take(&mut lanes.idle);
        drop(lanes);
        if wake {
            (self.0.bell)();
        }
    }

    /// Rings the bell without an input: for those who know that the loop has something to do elsewhere.
    pub fn ring(&self) {
        (self.0.bell)();
    }
}

impl<I> Inbox<I> {
    /// The same, with a measure of the work that an input makes; without one, each makes as much as any other.
    pub fn weighing(mut self, work: fn(&I) -> usize) -> Self {
        self.work = work;
        self
    }

    /// Moves up to `most` inputs to the end of `into`, in rounds by weight. Whether more wait; if not, the next input rings
    /// the bell.
    pub fn take(&mut self, most: usize, into: &mut VecDeque<I>) -> bool {
        let limits = self.shared.limits;
        let mut lanes = self.shared.lock();
        let was_full = Lane::ALL.map(|lane| lanes.queues[lane as usize].len() >= limits.of(lane).capacity);
        let mut left = most;
        while left > 0 && lanes.queues.iter().any(|queue| !queue.is_empty()) {
            let next = Lane::ALL.map(|lane| lanes.queues[lane as usize].front().map(|input| (self.work)(input).max(1)));
            skip_rounds(next, &limits, &mut self.credit);
            for lane in Lane::ALL {
                let (queue, credit) = (&mut lanes.queues[lane as usize], &mut self.credit[lane as usize]);
                let mut next = queue.front().map(|input| (self.work)(input).max(1));
                // Nothing is saved beyond what the next input needs, nor by an empty lane: it would hold up the others later.
                match next {
                    Some(work) if *credit < work => *credit += limits.of(lane).weight.max(1),
                    Some(_) => {}
                    None => *credit = 0,
                }
                while left > 0
                    && let Some(work) = next.filter(|work| *work <= *credit)
                {
                    *credit -= work;
                    left -= 1;
                    into.extend(queue.pop_front());
                    next = queue.front().map(|input| (self.work)(input).max(1));
                }
            }
        }
        let more = lanes.queues.iter().any(|queue| !queue.is_empty());
        lanes.idle = !more;
        drop(lanes);
        if was_full.contains(&true) {
            self.shared.room.notify_all();
        }
        more
    }

    /// How many inputs wait in a lane.
    pub fn waiting(&self, lane: Lane) -> usize {
        self.shared.lock().queues[lane as usize].len()
    }
}

/// Saves at once what the lanes save in the rounds in which none has enough for its next input, whose work is `next`: somebody may have
/// asked for thousands of millions of tasks, and to refuse that must not take as many rounds.
fn skip_rounds(next: [Option<usize>; 3], limits: &Limits, credit: &mut [usize; 3]) {
    let weight = |lane: Lane| limits.of(lane).weight.max(1);
    let missing = |lane: Lane| Some(next[lane as usize]?.saturating_sub(credit[lane as usize]));
    let rounds = Lane::ALL.into_iter().filter_map(|lane| Some(missing(lane)?.div_ceil(weight(lane)))).min();
    // The last of them is an ordinary one.
    let skipped = rounds.unwrap_or(0).saturating_sub(1);
    for lane in Lane::ALL.into_iter().filter(|lane| next[*lane as usize].is_some()) {
        let credit = &mut credit[lane as usize];
        *credit = credit.saturating_add(skipped.saturating_mul(weight(lane)));
    }
}

impl<I> Drop for Inbox<I> {
    fn drop(&mut self) {
        let mut lanes = self.shared.lock();
        lanes.closed = true;
        // Inputs that were never looked at are dropped outside the lock: their drop may send again.
        let unread = std::mem::take(&mut lanes.queues);
        drop(lanes);
        self.shared.room.notify_all();
        drop(unread);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn limits(capacity: usize) -> Limits {
        Limits {
            engine: LaneLimits { capacity, weight: 4 },
            urgent: LaneLimits { capacity, weight: 2 },
            normal: LaneLimits { capacity, weight: 1 },
        }
    }

    fn counting_bell() -> (Bell, Arc<AtomicUsize>) {
        let rung = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&rung);
        let bell = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        (Arc::new(bell), rung)
    }

    #[test]
    fn lanes_are_served_by_weight_and_in_order_within_a_lane() {
        let (sender, mut inbox) = inbox(limits(100), Arc::new(|| {}));
        for number in 0..10 {
            for lane in Lane::ALL {
                sender.try_send(lane, (lane, number)).expect("room");
            }
        }
        let mut taken = VecDeque::new();
        assert!(inbox.take(14, &mut taken), "more wait");
        let of = |lane| taken.iter().filter(|(of, _)| *of == lane).map(|(_, number)| *number).collect::<Vec<_>>();
        assert_eq!(of(Lane::Engine), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(of(Lane::Urgent), [0, 1, 2, 3]);
        assert_eq!(of(Lane::Normal), [0, 1]);
        assert!(!inbox.take(100, &mut taken));
        assert_eq!(taken.len(), 30, "an empty lane leaves its turn to the others");
    }

    #[test]
    fn an_input_of_any_size_is_taken_at_once_where_nothing_else_waits() {
        let (sender, inbox) = inbox(limits(100), Arc::new(|| {}));
        let mut inbox = inbox.weighing(|work| *work);
        let mut taken = VecDeque::new();
        for monstrous in [usize::MAX >> 4, 1 << 31] {
            sender.try_send(Lane::Normal, monstrous).expect("room");
            sender.try_send(Lane::Urgent, 5).expect("room");
            assert!(!inbox.take(10, &mut taken));
            assert_eq!(taken.drain(..).collect::<Vec<_>>(), [5, monstrous]);
        }
    }

    #[test]
    fn a_large_input_waits_for_its_turn_and_gets_it() {
        let (sender, inbox) = inbox(limits(10_000), Arc::new(|| {}));
        let mut inbox = inbox.weighing(|work: &usize| *work);
        sender.try_send(Lane::Normal, 100).expect("room");
        for _ in 0..1_000 {
            sender.try_send(Lane::Engine, 1).expect("room");
        }
        let mut taken = VecDeque::new();
        inbox.take(300, &mut taken);
        assert!(!taken.contains(&100), "a hundred rounds of one are not over");
        inbox.take(300, &mut taken);
        let at = taken.iter().position(|work| *work == 100).expect("it is not held up for ever");
        assert_eq!(at, 400, "four engine inputs for each unit of its work");
        inbox.take(1_000, &mut taken);
        sender.try_send(Lane::Normal, 5_000).expect("room");
        taken.clear();
        assert!(!inbox.take(1, &mut taken), "alone it waits for nobody");
        assert_eq!(taken, [5_000]);
    }

    #[test]
    fn a_full_lane_refuses_and_leaves_the_others_open() {
        let (sender, mut inbox) = inbox(limits(2), Arc::new(|| {}));
        sender.try_send(Lane::Normal, 1).expect("room");
        sender.try_send(Lane::Normal, 2).expect("room");
        assert_eq!(sender.try_send(Lane::Normal, 3), Err(NotTaken::Full(3)));
        sender.try_send(Lane::Urgent, 4).expect("kills are let through");
        let mut taken = VecDeque::new();
        inbox.take(10, &mut taken);
        assert_eq!(taken, [4, 1, 2]);
        sender.try_send(Lane::Normal, 3).expect("room again");
    }

    #[test]
    fn a_blocked_sender_goes_on_when_there_is_room_and_nothing_is_lost() {
        let (sender, mut inbox) = inbox(limits(2), Arc::new(|| {}));
        let thread = std::thread::spawn(move || (0..500).try_for_each(|number| sender.send(Lane::Engine, number)));
        let mut taken = VecDeque::new();
        while taken.len() < 500 {
            inbox.take(3, &mut taken);
            std::thread::yield_now();
        }
        assert!(taken.iter().copied().eq(0..500));
        thread.join().expect("no panic").expect("all sent");
    }

    #[test]
    fn several_inputs_go_in_with_one_ring_and_wait_for_room_in_order() {
        let (bell, rung) = counting_bell();
        let (sender, mut inbox) = inbox(limits(4), bell);
        assert!(sender.send_all(Lane::Engine, 0..4));
        assert_eq!(rung.load(Ordering::SeqCst), 1);
        let thread = std::thread::spawn(move || (sender.send_all(Lane::Engine, 4..100), sender));
        let mut taken = VecDeque::new();
        while taken.len() < 100 {
            inbox.take(3, &mut taken);
            std::thread::yield_now();
        }
        assert!(taken.iter().copied().eq(0..100));
        let (sent, sender) = thread.join().expect("no panic");
        assert!(sent);
        drop(inbox);
        assert!(!sender.send_all(Lane::Engine, 0..1));
    }

    #[test]
    fn the_end_of_the_loop_frees_blocked_senders_and_refuses_later_ones() {
        let (sender, inbox) = inbox(limits(1), Arc::new(|| {}));
        sender.try_send(Lane::Engine, 1).expect("room");
        let blocked = sender.clone();
        let thread = std::thread::spawn(move || blocked.send(Lane::Engine, 2));
        drop(inbox);
        assert_eq!(thread.join().expect("no panic"), Err(2));
        assert_eq!(sender.try_send(Lane::Normal, 3), Err(NotTaken::Closed(3)));
    }

    #[test]
    fn the_bell_rings_once_for_the_first_input_after_an_idle_look() {
        let (bell, rung) = counting_bell();
        let (sender, mut inbox) = inbox(limits(9), bell);
        sender.try_send(Lane::Normal, 1).expect("room");
        sender.try_send(Lane::Engine, 2).expect("room");
        assert_eq!(rung.load(Ordering::SeqCst), 1);
        let mut taken = VecDeque::new();
        inbox.take(1, &mut taken);
        sender.try_send(Lane::Normal, 3).expect("room");
        assert_eq!(rung.load(Ordering::SeqCst), 1, "the loop knows that there is more");
        inbox.take(9, &mut taken);
        sender.try_send(Lane::Normal, 4).expect("room");
        assert_eq!(rung.load(Ordering::SeqCst), 2);
    }
}
