//! One conversation: finding it a participant, where there may be another than the first.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use liminal_proto::{ExitReason, Instant, Notice, Outcome, Pid, ReasonCode, RecordNumber};

use super::call::Hand;
use super::common::Common;
use super::conversation::{Conversation, Queued};
use crate::phase::{Phase, Trigger};
use crate::{Command, CrashPolicy, LinkId, Offer, OfferId, Recorded};

/// What must be remembered to find a participant again.
#[derive(Debug)]
pub(super) struct Search {
    /// Who was the last to exit.
    pub(super) exited: Option<Pid>,
    /// Those who have exited in this conversation: they come last.
    crashed: Vec<OfferId>,
    /// Those who would not join this time.
    refused: Vec<OfferId>,
    /// Nobody can be found: by when somebody must be, for messages without a deadline of their own.
    nobody_by: Option<Instant>,
    /// When those who would not join are asked again.
    retry_at: Option<Instant>,
}

impl Search {
    const fn new() -> Self {
        Self { exited: None, crashed: Vec::new(), refused: Vec::new(), nobody_by: None, retry_at: None }
    }

    fn is_over(&mut self) {
        self.refused.clear();
        self.nobody_by = None;
        self.retry_at = None;
    }
}

impl Conversation {
    // Whom it gets.

    /// Has a participant of this offer join, under a pid of its own.
    pub(super) fn invite(&mut self, common: &mut Common, offer: OfferId, pid: Pid, subject: String) {
        self.offer = offer;
        self.pid = Some(pid);
        self.to_join = Some(subject);
        self.engaged = true;
        common.offers.engage(offer);
    }

    /// Its participant is no more, or never was: it counts no longer where the fewest are looked for.
    pub(super) fn disengage(&mut self, common: &mut Common) {
        if core::mem::take(&mut self.engaged) {
            common.release_offer(self.offer);
        }
    }

    /// Somebody has joined.
    pub(super) fn end_search(&mut self) {
        match &mut self.search {
            Some(_) if self.policy == CrashPolicy::Fail => self.search = None,
            Some(search) => search.is_over(),
            None => {}
        }
    }

    /// Somebody would not join. Says whether another may: always, unless the bus itself is refused what it asks
    /// for, and not only because somebody is busy.
    pub(super) fn pass_over(&mut self, common: &mut Common, reason: ReasonCode) -> bool {
        let for_now = matches!(reason, ReasonCode::BUSY | ReasonCode::LIMIT);
        let (is_own, waits) = (self.is_own(), self.opened || self.is_own());
        let Some(search) = self.search.as_mut().filter(|_| for_now || !is_own) else { return false };
        search.refused.push(self.offer);
        if waits {
            return true;
        }
        let pick = common.offers.pick(&self.subject, &search.refused, &[]);
        let Some(pick) = pick.filter(|pick| pick.kind == Offer::Participant) else { return false };
        let pid = self.pid.filter(|_| self.is_named).unwrap_or_else(|| common.next_pid());
        let subject = (&*self.subject).into();
        self.invite(common, pick.offer, pid, subject);
        true
    }

    /// Whether something waits for a participant, and none is there or on its way.
    pub(super) fn lacks_participant(&self) -> bool {
        !self.present
            && self.search.is_some()
            && self.to_join.is_none()
            && self.seat.is_idle()
            && !self.queue.is_empty()
            && matches!(self.phase(), Phase::Active | Phase::Completing)
    }

    /// Enters it among those that lack a participant, or takes it out.
    pub(super) fn list_lack(&mut self, common: &mut Common) {
        let lacks = self.lacks_participant();
        if lacks == self.lacks {
            return;
        }
        self.lacks = lacks;
        if lacks {
            common.lacking.insert(self.key());
        } else {
            common.lacking.remove(&self.key());
        }
    }

    /// Sees to it that what waits finds a participant, or fails when the time for that has passed. A search
    /// that nothing waits for any more is over: the next one has a time of its own.
    pub(super) fn keep_searching(&mut self, common: &mut Common) {
        if self.lacks_participant() {
            self.find_next(common);
            // Whoever was asked last would not join, and meanwhile the time has passed.
            if self.nobody_by().is_some_and(|by| by <= common.now) {
                self.fail_for_want(common);
            }
        } else if self.opened
            && self.queue.is_empty()
            && let Some(search) = &mut self.search
        {
            search.is_over();
        }
    }

    /// Looks for a participant. When all would not join they are asked again after a while; when there is
    /// nobody at all, a registration brings this about again.
    fn find_next(&mut self, common: &mut Common) {
        let now = common.now;
        let Some(search) = &mut self.search else { return };
        if search.retry_at.is_some_and(|at| at > now) {
            return;
        }
        search.retry_at = None;
        let pick = common.offers.pick(&self.subject, &search.refused, &search.crashed);
        if let Some(pick) = pick.filter(|pick| pick.kind == Offer::Participant) {
            let (pid, subject) = (common.next_pid(), (&*self.subject).into());
            return self.invite(common, pick.offer, pid, subject);
        }
        search.nobody_by.get_or_insert(now.after(common.settings.reply_time));
        // Those who are full may have room by then, too.
        if !search.refused.is_empty() || common.offers.serves(&self.subject) {
            search.refused.clear();
            search.retry_at = Some(now.after(common.settings.clamp(common.settings.busy_time)));
        }
    }

    /// Somebody new was registered: it need not wait for those who would not join.
    pub(super) fn search_again(&mut self) {
        if let Some(search) = &mut self.search {
            search.retry_at = None;
        }
    }

    /// When those who would not join are asked again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.search.as_ref()?.retry_at.filter(|_| self.lacks_participant())
    }

    /// Nobody can be found: when it fails for that. The bus's own ends with its only request.
    pub(super) fn nobody_by(&self) -> Option<Instant> {
        let by = self.search.as_ref()?.nobody_by.filter(|_| self.lacks_participant() && !self.is_own())?;
        let waits_without_deadline = self.queue.len() > self.deadlines.len();
        let deadline = self.deadlines.first().map(|((at, _), ())| *at);
        deadline.into_iter().chain(waits_without_deadline.then_some(by)).min()
    }

    // Its participant has exited.

    /// It goes on with another participant, as soon as there is something to say to it.
    pub(super) fn reroute(&mut self, common: &mut Common, pid: Pid, reason: ExitReason) {
        self.joined = false;
        self.seat.stop_waiting();
        let offer = self.offer;
        if let Some(search) = &mut self.search {
            search.exited = Some(pid);
            search.crashed.retain(|it| *it != offer && common.offers.is_registered(*it));
            search.crashed.push(offer);
        }
        self.tell_exit(common, (pid, reason), true, self.open_requests());
        self.take_back_hand(common);
        self.count_move(common);
    }

    /// The request in hand waits again, unless it has ended or a part of its reply was given.
    fn take_back_hand(&mut self, common: &mut Common) {
        let Some(hand) = self.hand.take() else { return };
        if let Hand { request: Some(deadline), content: Some(content), parted: false, .. } = hand {
            let Hand { record, id, moves, .. } = hand;
            self.queue.insert(record, Queued { id, deadline: Some(deadline), moves, content });
            return;
        }
        let (open, record) = (hand.request, hand.record);
        self.hand = Some(hand);
        if let Some(deadline) = open {
            self.end_request(common, deadline, record, Outcome::Exited);
        }
        self.drop_hand(common);
    }

    /// Everything that waits is moved. What was moved too often ends instead: each exit costs all that
    /// wait a move, so nothing can bring down one participant after the other for ever.
    fn count_move(&mut self, common: &mut Common) {
        let max = common.settings.moves_max;
        let mut spent = Vec::new();
        for (number, queued) in self.queue.iter_mut() {
            if queued.moves >= max {
                spent.push((*number, queued.deadline));
            } else {
                queued.moves += 1;
            }
        }
        for (number, deadline) in spent {
            self.give_up(common, number, deadline);
        }
        common.counters.moved += self.queue.len() as u64;
    }

    fn give_up(&mut self, common: &mut Common, number: RecordNumber, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.end_request(common, deadline, number, Outcome::Exited);
        }
        if let Some(queued) = self.queue.remove(&number) {
            common.counters.undelivered += 1;
            self.release(common, queued.charge());
            self.consumed(common, deadline.is_some(), queued.content.len());
        }
    }

    /// Nobody was found in time.
    pub(super) fn fail_for_want(&mut self, common: &mut Common) {
        let completing = self.phase() == Phase::Completing;
        self.step(Trigger::Exited);
        self.release_waiting(common);
        self.record(common, || Recorded::Failed);
        common.tell(self.link(), Command::Failed { conversation: self.id });
        self.notify(common, || Notice::Failed);
        if completing {
            self.end(common);
        }
    }

    /// Whether the bus itself opened it.
    pub(super) fn is_own(&self) -> bool {
        self.link() == LinkId::BUS
    }

    /// A search for where it may be needed: at the opening while several serve the subject, and after an
    /// exit. Policies besides [`CrashPolicy::Fail`] may need it later.
    pub(super) fn searches(mut self, alone: bool, policy: CrashPolicy) -> Self {
        if !alone || policy != CrashPolicy::Fail || self.is_own() {
            self.search = Some(Box::new(Search::new()));
        }
        self.policy = policy;
        self
    }
}
