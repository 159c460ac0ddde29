//! One conversation: what time does to it, the end of its requests, and its own.

use liminal_proto::{Instant, Outcome, RecordNumber, SmallMap};

use super::call::Hand;
use super::common::Common;
use super::conversation::Conversation;
use crate::phase::Trigger;
use crate::{Command, Leaving, Recorded};

impl Conversation {
    // What time does.

    pub(super) fn on_time(&mut self, common: &mut Common) {
        // One that was due was taken out. The next ones are set once all of this has happened.
        common.timers.set(self.key(), &mut self.armed, None, None);
        if self.nobody_by().is_some_and(|at| at <= common.now) {
            self.fail_for_want(common);
        }
        while self.deadlines.first().is_some_and(|((at, _), ())| *at <= common.now)
            && let Some(number) = self.pop_request(common)
        {
            self.on_deadline(common, number);
        }
        self.on_overdue(common);
        self.on_lifetime(common);
        if self.close_by.is_some_and(|at| at <= common.now) {
            self.finish(common);
        }
    }

    /// A request that waits never reaches the participant; the one in hand stays there unanswered.
    fn on_deadline(&mut self, common: &mut Common, number: RecordNumber) {
        common.counters.deadlines += 1;
        self.tell_end(common, number, Outcome::Deadline);
        if let Some(queued) = self.queue.remove(&number) {
            common.counters.undelivered += 1;
            self.release(common, queued.charge());
            return;
        }
        self.cancel_call(common);
        self.seat.wake_at(common.now);
    }

    /// Ends an open request without a reply, wherever it is; it stays there.
    pub(super) fn end_request(
        &mut self,
        common: &mut Common,
        deadline: Instant,
        number: RecordNumber,
        how: Outcome,
    ) {
        self.close_request(common, deadline, number);
        self.tell_end(common, number, how);
    }

    /// Says how a request ended that is in no account any more.
    fn tell_end(&mut self, common: &mut Common, number: RecordNumber, how: Outcome) {
        let id = match (&mut self.hand, self.queue.get_mut(&number)) {
            (_, Some(queued)) => {
                queued.deadline = None;
                queued.id
            }
            (Some(hand), None) => {
                hand.request = None;
                hand.id
            }
            (None, None) => return,
        };
        self.record(common, || Recorded::RequestEnded { request: number, how: how.clone() });
        self.tell_outcome(common, id, how);
    }

    /// Takes an open request out of the accounts.
    pub(super) fn close_request(&mut self, common: &mut Common, deadline: Instant, number: RecordNumber) {
        if self.deadlines.remove(&(deadline, number)).is_some() {
            common.requests = common.requests.saturating_sub(1);
        }
    }

    /// Takes the open request that is due first out of the accounts.
    fn pop_request(&mut self, common: &mut Common) -> Option<RecordNumber> {
        let ((_, number), ()) = self.deadlines.pop_first()?;
        common.requests = common.requests.saturating_sub(1);
        Some(number)
    }

    /// Ends all open requests, each told. The number is bounded by what may be held.
    pub(super) fn end_requests(&mut self, common: &mut Common, how: &Outcome) {
        while let Some(number) = self.pop_request(common) {
            self.tell_end(common, number, how.clone());
        }
    }

    // Its end.

    /// Completing is over: nothing is open any more, or the time for it has passed.
    pub(super) fn finish(&mut self, common: &mut Common) {
        if !self.step(Trigger::Drained) {
            return;
        }
        common.counters.deadlines += self.deadlines.len() as u64;
        self.end_requests(common, &Outcome::Deadline);
        self.release_waiting(common);
        self.cancel_call(common);
        self.leave(common, Leaving::Closed);
        self.end(common);
    }

    pub(super) fn leave(&mut self, common: &mut Common, why: Leaving) {
        self.why_left = why;
        self.recall_guest(common);
        if let Some(pid) = self.pid
            && self.joined
        {
            self.is_gone(common, pid);
            self.record(common, || Recorded::Left { pid, why });
        }
    }

    /// Lets go of everything but what a running call has in hand. No request is open afterwards.
    pub(super) fn release_waiting(&mut self, common: &mut Common) {
        common.counters.undelivered += self.queue.len() as u64;
        common.requests = common.requests.saturating_sub(self.deadlines.len());
        self.deadlines = SmallMap::new();
        self.queue = SmallMap::new();
        self.close_by = None;
        if let Some(hand) = &mut self.hand {
            hand.request = None;
        }
        let in_hand = self.hand.as_ref().map_or(0, Hand::charge);
        self.release(common, self.held_bytes.saturating_sub(in_hand));
        if self.seat.stop_waiting() {
            self.drop_hand(common);
        }
    }

    /// The owner's last word on it.
    pub(super) fn end(&mut self, common: &mut Common) {
        self.forget(common);
        common.tell(self.link(), Command::Ended { conversation: self.id });
    }

    /// Frees its id.
    pub(super) fn forget(&mut self, common: &mut Common) {
        common.show_last(self);
        self.forgotten = true;
        common.forget_id(self.link(), self.id, self.key());
        self.end_monitors(common);
    }
}
