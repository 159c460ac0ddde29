//! One conversation: what its owner does to it, what time does to it, and its end.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use liminal_proto::{
    Content, ConversationId, Expects, Instant, Message, MessageId, Outcome, Pid, ReasonCode, RecordNumber,
    SmallMap, StreamId, TimerReason,
};

use super::call::{CallKind, Hand, Seat};
use super::common::Common;
use super::lifetime::Lifetime;
use super::reroute::Search;
use super::serving::GuestSeat;
use super::timers::{Armed, Timer, earlier};
use crate::phase::{Phase, Trigger};
use crate::{
    Command, ConversationKey, CrashPolicy, Leaving, LinkId, Load, OfferId, Record, Recorded, Settings,
};

#[derive(Debug)]
pub(super) struct Conversation {
    key: ConversationKey,
    link: LinkId,
    pub(super) id: ConversationId,
    pub(super) offer: OfferId,
    /// What it was opened on.
    pub(super) subject: Arc<str>,
    /// Who is told of its life, each link once, and under which name.
    pub(super) monitors: Vec<(LinkId, StreamId)>,
    /// `None`: nobody takes part, it only records.
    pub(super) pid: Option<Pid>,
    /// Whether another bus has said who it is that joins, whoever does. Such a pid may be that of a participant here,
    /// too, and nobody finds it by that.
    pub(super) is_named: bool,
    phase: Phase,
    /// What becomes of it when its participant exits.
    pub(super) policy: CrashPolicy,
    /// How to find a participant, where there may be another than the first.
    pub(super) search: Option<Box<Search>>,
    /// Whether it counts among the conversations of its offer.
    pub(super) engaged: bool,
    /// Whether its owner was told that it is open.
    pub(super) opened: bool,
    /// The subject, until the participant was called to join.
    pub(super) to_join: Option<String>,
    /// Whether the host holds the participant: from its joining to its exit or its last call.
    pub(super) present: bool,
    /// Whether the log says that it joined.
    pub(super) joined: bool,
    pub(super) why_left: Leaving,
    pub(super) seat: Seat,
    /// Where the participant is, when that is on a link.
    pub(super) guest: Option<GuestSeat>,
    /// Lengths of replies from that link whose credit it is not given back until the owner has room for them.
    pub(super) withheld: Vec<usize>,
    /// Whether the owner does not read it: something that was said to it waits for credit.
    pub(super) unread: bool,
    /// The message that the participant is at.
    pub(super) hand: Option<Hand>,
    /// Messages that were accepted and wait for the participant, by their place in the log.
    pub(super) queue: SmallMap<RecordNumber, Queued>,
    pub(super) held_bytes: usize,
    /// Requests that have not ended, by deadline. Each is in the queue or in hand.
    pub(super) deadlines: SmallMap<(Instant, RecordNumber), ()>,
    /// How long it may last, where that is limited.
    pub(super) lifetime: Option<Box<Lifetime>>,
    /// When completing is over at the latest.
    pub(super) close_by: Option<Instant>,
    last_record: u64,
    /// What stands for it among the timers of the bus.
    pub(super) armed: Armed,
    /// Whether it stands among those that lack a participant.
    pub(super) lacks: bool,
    /// Whether it stands in the queue of its link.
    pub(super) scheduled: bool,
    /// Its owner knows it no more; it remains until its last call returned.
    pub(super) forgotten: bool,
}

/// A message that was accepted and waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) id: MessageId,
    /// Of a request: when it ends at the latest.
    pub(super) deadline: Option<Instant>,
    /// How often it was moved from a participant that exited to the next.
    pub(super) moves: u8,
    pub(super) content: Content,
}

impl Queued {
    pub(super) fn charge(&self) -> usize {
        Settings::charge(self.content.len())
    }
}

impl Conversation {
    /// One with a participant is [invited](Self::invite) one; this one only records.
    pub(super) const fn new(
        key: ConversationKey,
        link: LinkId,
        id: ConversationId,
        offer: OfferId,
        subject: Arc<str>,
    ) -> Self {
        Self {
            key,
            link,
            id,
            offer,
            subject,
            monitors: Vec::new(),
            pid: None,
            is_named: false,
            policy: CrashPolicy::Fail,
            search: None,
            engaged: false,
            opened: false,
            phase: Phase::Created,
            to_join: None,
            present: false,
            joined: false,
            why_left: Leaving::Closed,
            seat: Seat::Idle,
            guest: None,
            withheld: Vec::new(),
            unread: false,
            hand: None,
            queue: SmallMap::new(),
            held_bytes: 0,
            deadlines: SmallMap::new(),
            lifetime: None,
            close_by: None,
            last_record: 0,
            armed: Armed::NONE,
            lacks: false,
            scheduled: false,
            forgotten: false,
        }
    }

    pub(super) const fn key(&self) -> ConversationKey {
        self.key
    }

    pub(super) const fn link(&self) -> LinkId {
        self.link
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Adds what it holds.
    pub(super) fn count(&self, load: &mut Load) {
        let queued = self.queue.values().map(Queued::charge).sum::<usize>();
        let open = self.queue.values().filter(|it| it.deadline.is_some()).count();
        load.conversations += 1;
        load.held_bytes += queued + self.hand.as_ref().map_or(0, Hand::charge);
        load.requests += open + usize::from(self.hand.as_ref().is_some_and(|hand| hand.request.is_some()));
        load.running += usize::from(self.seat.ticket().is_some());
        load.timers += usize::from(self.armed.is_any());
        load.monitors += self.monitors.len();
        load.participants += usize::from(self.participant().is_some());
    }

    // What its owner does.

    /// One without a participant is open at once.
    pub(super) fn on_created(&mut self, common: &mut Common) {
        if self.pid.is_none() {
            self.step(Trigger::Joined);
            common.tell(self.link, Command::Opened { conversation: self.id, pid: None });
        }
    }

    pub(super) fn on_message(&mut self, common: &mut Common, message: Message) {
        if let Err(reason) = self.admit(common, &message) {
            common.counters.messages_refused += 1;
            let exited = self.search.as_ref().and_then(|search| search.exited).or(self.pid);
            let text = exited.filter(|_| reason == ReasonCode::EXITED);
            let text = text.map(|pid| format!("participant {pid} has exited"));
            self.tell_outcome(common, message.id, Outcome::Refused { reason, text });
            return self.consumed(common, message.expects == Expects::Reply, message.len());
        }
        common.counters.messages += 1;
        let deadline = deadline_of(common, &message);
        let number = self.record(common, || recorded(&message, deadline));
        if message.expects == Expects::Acceptance {
            self.tell_outcome(common, message.id, Outcome::Accepted { record: Some(number) });
        }
        if self.pid.is_some() {
            let Message { id, redelivered: moves, payload, metadata, .. } = message;
            let queued = Queued { id, deadline, moves, content: Content { payload, metadata } };
            self.enqueue(common, number, queued);
        } else {
            self.consumed(common, false, message.len());
        }
    }

    /// A message of this length is dealt with: its sender may say as much again. A request is when it has ended, and
    /// of a conversation that is over everything is.
    pub(super) fn consumed(&self, common: &mut Common, asked: bool, len: usize) {
        if !asked && matches!(self.phase, Phase::Created | Phase::Active | Phase::Completing) {
            common.tell(self.link, Command::Consumed { conversation: self.id, len });
        }
    }

    pub(super) fn on_close(&mut self, common: &mut Common) {
        match self.phase {
            Phase::Created | Phase::Active => {
                self.step(Trigger::Close);
                self.close_by = Some(common.now.after(common.settings.completing_time));
            }
            Phase::Failed => {
                self.step(Trigger::Close);
                self.end(common);
            }
            Phase::Completing | Phase::Closed => {}
        }
    }

    /// Its owner is gone: nothing is told to anybody but the participant.
    pub(super) fn on_owner_lost(&mut self, common: &mut Common) {
        if !self.forgotten {
            self.abandon(common);
            self.forget(common);
        }
    }

    /// Its owner is there, and does not want it any more.
    pub(super) fn on_cancelled(&mut self, common: &mut Common) {
        self.abandon(common);
        self.end(common);
    }

    fn abandon(&mut self, common: &mut Common) {
        if self.step(Trigger::OwnerLost) {
            self.release_waiting(common);
            self.cancel_call(common);
            self.leave(common, Leaving::OwnerLost);
        }
    }

    /// Whether a message is accepted. What is to be held of it is charged then.
    fn admit(&mut self, common: &mut Common, message: &Message) -> Result<(), ReasonCode> {
        match self.phase {
            Phase::Created | Phase::Active => {}
            Phase::Completing | Phase::Closed => return Err(ReasonCode::CLOSING),
            Phase::Failed => return Err(ReasonCode::EXITED),
        }
        if self.pid.is_some() {
            let charge = Settings::charge(message.len());
            common.admit(self.link, self.held_bytes, charge)?;
            self.held_bytes = self.held_bytes.saturating_add(charge);
            return Ok(());
        }
        if message.expects == Expects::Reply {
            return Err(ReasonCode::NO_PARTICIPANT);
        }
        Ok(())
    }

    /// Has a message that was charged wait for the participant.
    pub(super) fn enqueue(&mut self, common: &mut Common, number: RecordNumber, message: Queued) {
        if let Some(deadline) = message.deadline {
            self.deadlines.insert((deadline, number), ());
            common.requests += 1;
        }
        self.queue.insert(number, message);
    }

    // What follows from every change.

    /// Ends it if it is drained, sets its timer, and notes the call to make. Says whether it is over.
    pub(super) fn settle(&mut self, common: &mut Common) -> bool {
        if self.is_drained() {
            self.finish(common);
        }
        if self.search.is_some() || self.lacks {
            self.keep_searching(common);
            self.list_lack(common);
        }
        let (work, life) = (self.next_timer(common.now), self.lifetime_timer());
        common.timers.set(self.key, &mut self.armed, work, life);
        if !self.scheduled && self.next_call(common.now).is_some() {
            self.scheduled = true;
            common.schedule(self.link, self.key);
        }
        self.forgotten && !self.present && self.seat.is_idle()
    }

    fn is_drained(&self) -> bool {
        self.phase == Phase::Completing
            && self.to_join.is_none()
            && self.seat.is_idle()
            && self.queue.is_empty()
    }

    fn next_timer(&self, now: Instant) -> Option<Timer> {
        let request = self.deadlines.first().map(|((at, _), ())| *at);
        let wake = self.seat.wakes().filter(|at| *at > now);
        let close = self.close_by.map(|at| (at, TimerReason::Close));
        let search = earlier(self.retry_at(), self.nobody_by());
        let work = earlier(earlier(request, wake), search).map(|at| (at, TimerReason::Deadline));
        earlier(work, close)
    }

    /// The call to make now, if there is one.
    pub(super) fn next_call(&self, now: Instant) -> Option<CallKind> {
        match &self.seat {
            Seat::Running { .. } | Seat::Returning { .. } | Seat::Elsewhere { .. } => None,
            Seat::Waiting { until, .. } if *until > now => None,
            Seat::Waiting { call: CallKind::Wake, .. } => Some(CallKind::Wake),
            Seat::Waiting { .. } | Seat::Idle => match self.phase {
                Phase::Created | Phase::Active | Phase::Completing if self.to_join.is_some() => {
                    Some(CallKind::Join)
                }
                Phase::Active | Phase::Completing
                    if self.present && !self.queue.is_empty() && !self.unread =>
                {
                    Some(CallKind::Message)
                }
                Phase::Closed if self.present => Some(CallKind::Leave),
                Phase::Created | Phase::Active | Phase::Completing | Phase::Closed | Phase::Failed => None,
            },
        }
    }

    // Small parts.

    /// Moves on by the table. False: the trigger does nothing in this phase.
    pub(super) fn step(&mut self, trigger: Trigger) -> bool {
        let next = self.phase.next(trigger);
        self.phase = next.unwrap_or(self.phase);
        next.is_some()
    }

    /// The number of the record that comes next.
    pub(super) const fn next_record(&self) -> RecordNumber {
        RecordNumber::new(self.last_record.saturating_add(1))
    }

    pub(super) fn record(&mut self, common: &mut Common, what: impl FnOnce() -> Recorded) -> RecordNumber {
        let number = self.next_record();
        self.last_record = number.get();
        self.note_activity(common.now);
        if common.settings.recording || !common.watches.is_empty() {
            let record = Record { number, at: common.now, what: what() };
            common.show(self.key, &self.subject, &record);
            if common.settings.recording {
                common.record(self.key, record);
            }
        }
        number
    }

    pub(super) fn tell_outcome(&self, common: &mut Common, message: MessageId, outcome: Outcome) {
        common.tell(self.link, Command::Outcome { conversation: self.id, message, outcome });
    }

    pub(super) fn charge(&mut self, common: &mut Common, charge: usize) {
        self.held_bytes = self.held_bytes.saturating_add(charge);
        common.charge(self.link, charge);
    }

    pub(super) fn release(&mut self, common: &mut Common, charge: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(charge);
        common.release(self.link, charge);
    }
}

fn deadline_of(common: &Common, message: &Message) -> Option<Instant> {
    if message.expects != Expects::Reply {
        return None;
    }
    let named = message.timeout.map(|timeout| common.settings.clamp(timeout));
    let time = named.map_or(common.settings.reply_time, |named| named.min(common.settings.reply_time));
    Some(common.now.after(time))
}

fn recorded(message: &Message, deadline: Option<Instant>) -> Recorded {
    let (id, payload, metadata) = (message.id, message.payload.clone(), message.metadata.clone());
    match deadline {
        Some(deadline) => Recorded::Request { id, deadline, payload, metadata },
        None => Recorded::Message { id, payload, metadata },
    }
}
