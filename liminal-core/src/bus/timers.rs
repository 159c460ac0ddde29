//! When conversations want time to be told.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use liminal_proto::{Instant, SmallMap, TimerReason};

use crate::ConversationKey;

/// When a conversation wants time to be told, and what for.
pub(super) type Timer = (Instant, TimerReason);

/// A timer, and whose it is. They are due in this order.
type Entry = (Instant, ConversationKey, TimerReason);

/// The timers of all conversations: of each at most one for what it has under way, and one for how long it may last,
/// which stays where it is while much is under way.
#[derive(Debug, Default)]
pub(super) struct Timers {
    work: Queue,
    life: Queue,
    /// How many conversations have any.
    conversations: usize,
}

/// The timers of one conversation.
#[derive(Debug)]
pub(super) struct Armed {
    work: Option<Place>,
    life: Option<Place>,
}

impl Armed {
    pub(super) const NONE: Self = Self { work: None, life: None };

    pub(super) const fn is_any(&self) -> bool {
        self.work.is_some() || self.life.is_some()
    }
}

impl Timers {
    /// Sets the timers of a conversation anew, or takes them back. Those that were [taken out](Self::take_due) must be
    /// taken back before they are set again.
    #[inline]
    pub(super) fn set(
        &mut self,
        key: ConversationKey,
        armed: &mut Armed,
        work: Option<Timer>,
        life: Option<Timer>,
    ) {
        let before = armed.is_any();
        self.work.set(key, &mut armed.work, work);
        self.life.set(key, &mut armed.life, life);
        self.conversations += usize::from(armed.is_any());
        self.conversations -= usize::from(before);
    }

    /// When the first is due, and what for.
    pub(super) fn first(&self) -> Option<Timer> {
        earlier(self.work.first(), self.life.first())
    }

    /// Whether one is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.work.is_due(now) || self.life.is_due(now)
    }

    /// The conversations whose timers are due, each once, the earliest first. Those timers are taken out.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<ConversationKey> {
        let mut due = Vec::new();
        self.work.take_due(now, &mut due);
        self.life.take_due(now, &mut due);
        due.sort_unstable();
        let mut told = BTreeSet::new();
        due.into_iter().map(|(_, key, _)| key).filter(|key| told.insert(*key)).collect()
    }

    /// How many conversations have a timer.
    pub(super) const fn conversations(&self) -> usize {
        self.conversations
    }
}

/// A timer that was set.
#[derive(Clone, Copy, Debug)]
struct Place {
    timer: Timer,
    /// Its number in the queue, if it stands there.
    number: Option<u64>,
}

/// Timers, at most one for each conversation.
///
/// Nearly all are set for later than every other, because nearly all run for the same time, and nearly all are taken
/// back before they are due. Those stand in a queue, where neither costs a search.
#[derive(Debug, Default)]
struct Queue {
    /// By ascending instant. One that was taken back between others is a hole; neither end is one.
    queue: VecDeque<Option<Entry>>,
    /// The number of the first in the queue. Those behind it are numbered on.
    first: u64,
    holes: usize,
    /// Those that were set for earlier than the last in the queue, or while there were too many holes in it.
    others: SmallMap<Entry, ()>,
}

/// Holes in the queue beyond as many as there are timers in it.
const HOLES_MAX: usize = 64;

/// For how many timers a queue keeps room when it is empty: what a busy moment needs, in 24 KiB, and no more.
const ROOM_KEPT: usize = 1024;

impl Queue {
    /// Sets the timer of a conversation anew, or takes it back. `place` is that of the one that was set last, whether or
    /// not it was taken out since then; if it was, it must be taken back first.
    #[inline]
    fn set(&mut self, key: ConversationKey, place: &mut Option<Place>, timer: Option<Timer>) {
        if place.map(|it| it.timer) != timer {
            self.change(key, place, timer);
        }
    }

    fn change(&mut self, key: ConversationKey, place: &mut Option<Place>, timer: Option<Timer>) {
        if let Some(Place { timer: (at, reason), number }) = place.take() {
            self.take_back((at, key, reason), number);
        }
        *place = timer.map(|timer| Place { timer, number: self.insert((timer.0, key, timer.1)) });
    }

    fn insert(&mut self, entry: Entry) -> Option<u64> {
        let is_last = self.queue.back().is_none_or(|last| last.is_none_or(|last| last.0 <= entry.0));
        if is_last && 2 * self.holes <= self.queue.len() + HOLES_MAX {
            self.queue.push_back(Some(entry));
            Some(self.first + (self.queue.len() as u64 - 1))
        } else {
            self.others.insert(entry, ());
            None
        }
    }

    fn take_back(&mut self, entry: Entry, number: Option<u64>) {
        let Some(number) = number else {
            self.others.remove(&entry);
            return;
        };
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| self.queue.get_mut(at))
            && *slot == Some(entry)
        {
            *slot = None;
            self.holes += 1;
            self.trim();
        }
    }

    /// Takes the holes at both ends out of the queue.
    fn trim(&mut self) {
        while let Some(None) = self.queue.front() {
            self.queue.pop_front();
            self.first += 1;
            self.holes -= 1;
        }
        while let Some(None) = self.queue.back() {
            self.queue.pop_back();
            self.holes -= 1;
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(ROOM_KEPT);
        }
    }

    /// The one that is due first.
    fn first(&self) -> Option<Timer> {
        let timer = |entry: &Entry| (entry.0, entry.2);
        let queued = self.queue.front().and_then(Option::as_ref).map(timer);
        earlier(queued, self.others.first().map(|(entry, ())| timer(entry)))
    }

    /// Whether one is due.
    fn is_due(&self, now: Instant) -> bool {
        let is_due = |entry: &Entry| entry.0 <= now;
        self.queue.front().is_some_and(|first| first.as_ref().is_some_and(is_due))
            || self.others.first().is_some_and(|(first, ())| is_due(first))
    }

    /// Takes out all that are due, in no certain order.
    fn take_due(&mut self, now: Instant, due: &mut Vec<Entry>) {
        while let Some(entry) = self.queue.front().copied().flatten().filter(|(at, ..)| *at <= now) {
            due.push(entry);
            self.queue.pop_front();
            self.first += 1;
            self.trim();
        }
        while self.others.first().is_some_and(|((at, ..), ())| *at <= now)
            && let Some((entry, ())) = self.others.pop_first()
        {
            due.push(entry);
        }
    }

    /// How many are set.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.queue.len() - self.holes + self.others.len()
    }
}

/// The earlier of two that there may be.
pub(super) fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use core::time::Duration;

    use liminal_proto::{Instant, TimerReason};
    use proptest::prelude::*;

    use super::{Armed, HOLES_MAX, Place, Queue, ROOM_KEPT, Timers};
    use crate::ConversationKey;

    fn at(time: u64) -> Instant {
        Instant::ORIGIN.after(Duration::from_millis(time))
    }

    proptest! {
        #[test]
        fn they_are_an_ordered_set(steps in prop::collection::vec((0_usize..8, 0_u64..20, 0_u8..8), 0..300)) {
            let (mut timers, mut model) = (Queue::default(), BTreeSet::new());
            let mut armed = [const { None::<Place> }; 8];
            let mut set = [None; 8];
            let mut now = 0;
            for (whose, time, what) in steps {
                let key = ConversationKey::new(whose as u64);
                let timer = (what != 0).then_some((at(now + time), TimerReason::Deadline));
                if let Some(old) = set[whose].take() {
                    model.remove(&old);
                }
                set[whose] = timer.map(|(at, reason)| (at, key, reason));
                model.extend(set[whose]);
                timers.set(key, &mut armed[whose], timer);
                if what == 1 {
                    now += time;
                    let mut due = Vec::new();
                    timers.take_due(at(now), &mut due);
                    due.sort_unstable();
                    for (_, key, _) in &due {
                        let whose = usize::try_from(key.get()).unwrap();
                        timers.set(*key, &mut armed[whose], None);
                        set[whose] = None;
                    }
                    let later = model.split_off(&(at(now + 1), ConversationKey::FIRST, TimerReason::Deadline));
                    prop_assert_eq!(due, model.into_iter().collect::<Vec<_>>());
                    model = later;
                }
                prop_assert_eq!((timers.first().map(|it| it.0), timers.len()), (model.first().map(|it| it.0), model.len()));
            }
        }
    }

    #[test]
    fn one_that_stays_does_not_let_those_that_come_and_go_behind_it_take_ever_more_room() {
        let mut timers = Queue::default();
        let mut armed = [const { None::<Place> }; 8];
        let mut most = 0;
        for time in 0..10_000_u64 {
            // The first has its turn once.
            let whose = if time == 0 { 0 } else { 1 + time as usize % 7 };
            let timer = Some((at(time), TimerReason::Deadline));
            timers.set(ConversationKey::new(whose as u64), &mut armed[whose], timer);
            // As many as there ever were, as many holes, and one more.
            assert!(timers.len() <= 8 && timers.queue.len() <= 2 * 8 + HOLES_MAX + 1);
            most = most.max(timers.holes);
        }
        assert!(most > HOLES_MAX);
        assert_eq!(timers.first().map(|it| it.0), Some(at(0)));
    }

    #[test]
    fn a_conversation_with_two_timers_is_counted_once_and_told_once() {
        let mut timers = Timers::default();
        let timer = |time| Some((at(time), TimerReason::Deadline));
        let [one, other] = [1, 2].map(ConversationKey::new);
        let (mut ones, mut others) = (Armed::NONE, Armed::NONE);
        timers.set(one, &mut ones, timer(3), timer(1));
        timers.set(other, &mut others, timer(2), None);
        assert_eq!((timers.conversations(), timers.first()), (2, timer(1)));
        assert!(!timers.is_due(at(0)) && timers.is_due(at(1)));
        assert_eq!(timers.take_due(at(9)), [one, other]);
        assert_eq!(timers.first(), None);
        timers.set(one, &mut ones, None, None);
        assert_eq!(timers.conversations(), 1);
        timers.set(other, &mut others, None, None);
        timers.set(other, &mut others, None, timer(5));
        assert_eq!((timers.conversations(), timers.first()), (1, timer(5)));
        timers.set(other, &mut others, None, None);
        assert_eq!((timers.conversations(), timers.first()), (0, None));
    }

    #[test]
    fn an_empty_queue_keeps_little_room() {
        let mut queue = Queue::default();
        let mut places = [const { None::<Place> }; 4 * ROOM_KEPT];
        for (key, place) in places.iter_mut().enumerate() {
            let timer = Some((at(key as u64), TimerReason::Deadline));
            queue.set(ConversationKey::new(key as u64), place, timer);
        }
        for (key, place) in places.iter_mut().enumerate() {
            queue.set(ConversationKey::new(key as u64), place, None);
        }
        assert!(queue.queue.capacity() <= 2 * ROOM_KEPT);
    }
}
