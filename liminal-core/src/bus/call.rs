//! One conversation: the calls of its participant, and what they answer.

use alloc::string::String;
use core::time::Duration;

use liminal_proto::{
    Content, Exit, ExitReason, Instant, MessageId, Notice, Outcome, Pid, ReasonCode, RecordNumber, Reply,
    Unanswered,
};

use super::common::Common;
use super::conversation::{Conversation, Queued};
use crate::phase::{Phase, Trigger};
use crate::{Answer, Call, Command, CrashPolicy, Invocation, Recorded, Settings, Ticket};

/// Whether the participant is at work. At most one call is out at any time.
#[derive(Debug)]
pub(super) enum Seat {
    Idle,
    /// From the start of the call until it really returned.
    Running {
        ticket: Ticket,
        call: CallKind,
        cancelled: bool,
    },
    /// The participant exited while this call was out: nothing is awaited but that it returns.
    Returning {
        ticket: Ticket,
        /// Whether it was about a message that nobody else was given.
        last_chance: bool,
    },
    /// The participant is on a link: it is to answer this call, until then at the latest.
    Elsewhere {
        call: CallKind,
        /// What it was given, if that was a message.
        message: MessageId,
        until: Instant,
    },
    /// Until then no call is made; then this one.
    Waiting {
        until: Instant,
        call: CallKind,
    },
}

impl Seat {
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    pub(super) const fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Running { ticket, .. } | Self::Returning { ticket, .. } => Some(*ticket),
            Self::Idle | Self::Waiting { .. } | Self::Elsewhere { .. } => None,
        }
    }

    pub(super) const fn wakes(&self) -> Option<Instant> {
        match self {
            Self::Waiting { until, .. } | Self::Elsewhere { until, .. } => Some(*until),
            Self::Idle | Self::Running { .. } | Self::Returning { .. } => None,
        }
    }

    /// Whether the participant was called to join and has not answered.
    pub(super) const fn is_joining(&self) -> bool {
        matches!(
            self,
            Self::Running { call: CallKind::Join, .. } | Self::Elsewhere { call: CallKind::Join, .. }
        )
    }

    /// Whether a participant on a link was given this message and has not answered.
    pub(super) fn is_at(&self, id: MessageId) -> bool {
        matches!(self, Self::Elsewhere { call: CallKind::Message, message, .. } if *message == id)
    }

    /// Whether a message is on its way to the participant, or has reached it.
    const fn gives_message(&self) -> bool {
        matches!(self, Self::Running { call: CallKind::Message, .. })
    }

    /// Ends a wait early.
    pub(super) const fn wake_at(&mut self, now: Instant) {
        if let Self::Waiting { until, .. } = self {
            *until = now;
        }
    }

    /// Gives up a wait. Says whether there was one.
    pub(super) const fn stop_waiting(&mut self) -> bool {
        let waits = matches!(self, Self::Waiting { .. });
        if waits {
            *self = Self::Idle;
        }
        waits
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    Join,
    Message,
    Wake,
    Leave,
}

/// A message that the participant was given and is not through with.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) record: RecordNumber,
    pub(super) id: MessageId,
    /// The deadline of a request that has not ended.
    pub(super) request: Option<Instant>,
    /// Whether it was a request at all.
    pub(super) asked: bool,
    /// Whether a part of the reply was given.
    pub(super) parted: bool,
    /// How often it was moved from a participant that exited to the next.
    pub(super) moves: u8,
    /// How long it is, in bytes.
    pub(super) len: usize,
    /// What it says, where it may have to be said again: to the same participant if its host had no seat,
    /// to the next one, or in a notice.
    pub(super) content: Option<Content>,
}

impl Hand {
    pub(super) fn charge(&self) -> usize {
        Settings::charge(self.len)
    }

    /// The call that gives it to the participant.
    pub(super) fn call(&self, content: Content) -> Call {
        let Self { record, id, request: deadline, asked: expects_reply, moves: redelivered, .. } = *self;
        let Content { payload, metadata } = content;
        Call::Message { id, record, expects_reply, redelivered, deadline, payload, metadata }
    }
}

impl Conversation {
    // Calls.

    /// Starts the call to make, if there still is one. One on a link, where it may have `waited` for room, needs
    /// no host.
    pub(super) fn start(&mut self, common: &mut Common, waited: bool) -> Option<(Ticket, Invocation)> {
        self.scheduled = false;
        let call = self.next_call(common.now)?;
        let pid = self.pid?;
        if let Some(link) = self.called_on(common, call) {
            self.call_guest(common, link, call, waited);
            return None;
        }
        let what = self.take_call(call)?;
        let ticket = common.issue_ticket(self.key());
        self.seat = Seat::Running { ticket, call, cancelled: false };
        Some((ticket, Invocation { pid, offer: self.offer, conversation: self.key(), what }))
    }

    fn take_call(&mut self, call: CallKind) -> Option<Call> {
        match call {
            CallKind::Join => Some(Call::Join { subject: self.to_join.take()? }),
            CallKind::Message => {
                let content = self.take_message()?;
                self.hand.as_ref().map(|hand| hand.call(content))
            }
            CallKind::Wake => Some(Call::Wake { deadline: self.hand.as_ref().and_then(|hand| hand.request) }),
            CallKind::Leave => {
                self.present = false;
                Some(Call::Leave { why: self.why_left })
            }
        }
    }

    /// Takes the next message in hand, and gives what it says.
    pub(super) fn take_message(&mut self) -> Option<Content> {
        let (record, message) = self.queue.pop_first()?;
        let Queued { id, deadline, moves, content } = message;
        let (asked, len) = (deadline.is_some(), content.len());
        let again = !asked || self.policy != CrashPolicy::Fail || self.is_own();
        let kept = again.then(|| content.clone());
        self.hand =
            Some(Hand { record, id, request: deadline, asked, parted: false, moves, len, content: kept });
        Some(content)
    }

    /// Tells a running call, once, that nobody wants its replies any more.
    pub(super) fn cancel_call(&mut self, common: &mut Common) {
        if let Seat::Running { ticket, cancelled, .. } = &mut self.seat
            && !*cancelled
        {
            *cancelled = true;
            common.cancel(*ticket);
        }
    }

    // Answers.

    pub(super) fn on_answer(&mut self, common: &mut Common, answer: Answer) {
        if let Seat::Returning { last_chance, .. } = self.seat {
            common.counters.ignored_answers += 1;
            common.counters.undelivered += u64::from(last_chance && answer == Answer::Busy);
            if answer.returns() {
                self.seat = Seat::Idle;
            }
        } else if answer.returns() {
            self.on_return(common, answer);
        } else if let Answer::Part(content) = answer {
            self.on_reply(common, content, false);
        } else if let Answer::Reply(content) = answer {
            self.on_reply(common, content, true);
        }
    }

    pub(super) fn on_reply(&mut self, common: &mut Common, content: Content, last: bool) {
        let Some(hand) = &mut self.hand else {
            common.counters.unasked_replies += 1;
            return;
        };
        let Some(deadline) = hand.request else {
            let counter = if hand.asked {
                &mut common.counters.late_replies
            } else {
                &mut common.counters.unasked_replies
            };
            *counter += 1;
            return;
        };
        let (request, answers) = (hand.record, hand.id);
        hand.parted = true;
        if last {
            hand.request = None;
            common.counters.replies += 1;
            self.close_request(common, deadline, request);
        }
        let number = self.record(common, || {
            let Content { payload, metadata } = content.clone();
            Recorded::Reply { request, last, payload, metadata }
        });
        let Content { payload, metadata } = content;
        let conversation = self.id;
        let reply = Reply { conversation, answers, record: Some(number), last, payload, metadata };
        common.tell(self.link(), Command::Reply(reply));
    }

    fn on_return(&mut self, common: &mut Common, answer: Answer) {
        let Seat::Running { call, .. } = core::mem::replace(&mut self.seat, Seat::Idle) else { return };
        if self.phase() == Phase::Closed {
            return self.on_late_return(common, call, &answer);
        }
        match call {
            CallKind::Join => self.on_join_return(common, answer),
            CallKind::Message | CallKind::Wake => self.on_work_return(common, call, answer),
            CallKind::Leave => {}
        }
    }

    /// A call returned after the end of the conversation. What matters is whom the host still holds.
    fn on_late_return(&mut self, common: &mut Common, call: CallKind, answer: &Answer) {
        self.drop_hand(common);
        common.counters.undelivered += u64::from((call, answer) == (CallKind::Message, &Answer::Busy));
        match (call, answer) {
            (CallKind::Join, Answer::Joined | Answer::Done | Answer::WakeAfter(_)) => self.present = true,
            (_, Answer::Exited(_)) => self.present = false,
            // Nobody was told: the host holds it until it has been.
            (CallKind::Leave, Answer::Busy) => {
                self.present = true;
                self.wait(common, common.settings.busy_time, CallKind::Leave);
            }
            _ => {}
        }
    }

    fn on_join_return(&mut self, common: &mut Common, answer: Answer) {
        match answer {
            Answer::WakeAfter(time) => {
                self.on_joined(common);
                self.wait(common, time, CallKind::Wake);
            }
            Answer::Exited(reason) => {
                self.on_joined(common);
                self.on_exited(common, reason);
            }
            Answer::Refused { reason, text } => self.on_join_refused(common, reason, text),
            Answer::Busy => self.on_join_refused(common, ReasonCode::BUSY, None),
            Answer::Joined | Answer::Done | Answer::Part(_) | Answer::Reply(_) => self.on_joined(common),
        }
    }

    fn on_work_return(&mut self, common: &mut Common, call: CallKind, answer: Answer) {
        match answer {
            Answer::WakeAfter(time) => self.wait(common, time, CallKind::Wake),
            Answer::Exited(reason) => self.on_exited(common, reason),
            Answer::Refused { reason, text } => {
                let text = text.map(|text| cut(text, common.settings.text_max));
                self.end_hand(common, reason, text);
            }
            Answer::Busy => self.on_busy(common, call, common.settings.busy_time),
            Answer::Joined | Answer::Done | Answer::Part(_) | Answer::Reply(_) => {
                self.end_hand(common, ReasonCode::NO_REPLY, None);
            }
        }
    }

    pub(super) fn on_joined(&mut self, common: &mut Common) {
        let Some(pid) = self.pid else { return };
        self.step(Trigger::Joined);
        self.present = true;
        self.joined = true;
        self.end_search();
        self.record(common, || Recorded::Joined { pid });
        if !self.is_named {
            common.participants.insert(pid, self.key());
        }
        let conversation = self.id;
        if core::mem::replace(&mut self.opened, true) {
            common.tell(self.link(), Command::Joined { conversation, pid });
            self.notify(common, || Notice::Joined { pid });
        } else {
            common.tell(self.link(), Command::Opened { conversation, pid: Some(pid) });
        }
    }

    pub(super) fn on_join_refused(&mut self, common: &mut Common, reason: ReasonCode, text: Option<String>) {
        let Some(pid) = self.pid else { return };
        let text = text.map(|text| cut(text, common.settings.text_max));
        self.disengage(common);
        if self.pass_over(common, reason) {
            self.record(common, || Recorded::JoinRefused { pid, text });
            return;
        }
        self.end_requests(common, &Outcome::Refused { reason, text: text.clone() });
        self.release_waiting(common);
        self.step(Trigger::JoinRefused);
        self.record(common, || Recorded::JoinRefused { pid, text: text.clone() });
        self.forget(common);
        common.counters.opens_refused += 1;
        common.tell(self.link(), Command::Refused { conversation: self.id, reason, text });
    }

    /// Its host says that the participant is no more, at work or not. False: that is not the participant
    /// of this conversation, or nobody's any more.
    pub(super) fn on_death(&mut self, common: &mut Common, pid: Pid, reason: ExitReason) -> bool {
        let joins = self.seat.is_joining();
        if self.pid != Some(pid) || self.guest.is_some() || !(self.present || joins) {
            return false;
        }
        self.cancel_call(common);
        let given = self.hand.as_ref().filter(|_| self.seat.gives_message()).map(|hand| hand.record);
        let ticket = self.seat.ticket();
        if self.phase() == Phase::Closed {
            // It has left already, or never joined: its life has its record.
            self.present = false;
            self.seat.stop_waiting();
            self.drop_hand(common);
        } else {
            if joins {
                self.on_joined(common);
            }
            self.on_exited(common, reason);
        }
        if let Some(ticket) = ticket {
            let last_chance = given.is_some_and(|record| self.queue.get(&record).is_none());
            self.seat = Seat::Returning { ticket, last_chance };
        }
        true
    }

    /// The participant is no more. What it held is released before anybody can read of it.
    pub(super) fn on_exited(&mut self, common: &mut Common, reason: ExitReason) {
        // Who is not there any more has exited before.
        let Some(pid) = self.pid.filter(|_| self.present) else { return };
        self.present = false;
        self.is_gone(common, pid);
        self.disengage(common);
        common.counters.exits += 1;
        let reason = cut_reason(reason, common.settings.text_max);
        if self.policy == CrashPolicy::RouteToNext {
            return self.reroute(common, pid, reason);
        }
        let unanswered = self.open_requests();
        let compensation = self.compensation(common, pid, &reason, self.next_record());
        self.release_waiting(common);
        self.drop_hand(common);
        let completing = self.phase() == Phase::Completing;
        self.step(Trigger::Exited);
        self.tell_exit(common, (pid, reason), false, unanswered);
        if completing {
            self.end(common);
        }
        common.compensations.extend(compensation);
    }

    pub(super) fn tell_exit(
        &mut self,
        common: &mut Common,
        (pid, reason): (Pid, ExitReason),
        goes_on: bool,
        unanswered: Unanswered,
    ) {
        let record = self.record(common, || Recorded::Exited { pid, reason: reason.clone(), goes_on });
        let exit = Exit { pid, record, reason, goes_on, unanswered };
        self.notify(common, || Notice::Exited(exit.clone()));
        common.tell(self.link(), Command::Exited { conversation: self.id, exit });
    }

    /// The requests that have no complete reply. What is in hand stands before what waits.
    pub(super) fn open_requests(&self) -> Unanswered {
        if self.deadlines.is_empty() {
            return Unanswered::default();
        }
        let in_hand = self.hand.as_ref().filter(|hand| hand.request.is_some()).map(|hand| hand.record);
        let waiting = self.queue.iter().filter(|(_, queued)| queued.deadline.is_some());
        let records = in_hand.into_iter().chain(waiting.map(|(number, _)| *number));
        let count = u32::try_from(self.deadlines.len()).unwrap_or(u32::MAX);
        Unanswered::new(count, records)
    }

    /// The host called nobody. Who waits for an answer has one now; the rest is tried again after that time, and
    /// so is the bus's own request.
    pub(super) fn on_busy(&mut self, common: &mut Common, call: CallKind, after: Duration) {
        if call == CallKind::Message {
            let is_own = self.is_own();
            let again = |hand: &mut Hand| !hand.asked || (is_own && hand.request.is_some());
            let Some(hand) = self.hand.take_if(again) else {
                return self.end_hand(common, ReasonCode::BUSY, None);
            };
            // The message takes its charge back into the queue.
            let Hand { record, id, request: deadline, moves, content, .. } = hand;
            let content = content.unwrap_or_default();
            self.queue.insert(record, Queued { id, deadline, moves, content });
        }
        self.wait(common, after, call);
    }

    fn wait(&mut self, common: &Common, time: Duration, call: CallKind) {
        let until = common.now.after(common.settings.clamp(time));
        self.seat = Seat::Waiting { until, call };
    }

    /// The participant is through with what it had in hand.
    pub(super) fn end_hand(&mut self, common: &mut Common, reason: ReasonCode, text: Option<String>) {
        if let Some(hand) = &self.hand
            && let Some(deadline) = hand.request
        {
            self.end_request(common, deadline, hand.record, Outcome::Refused { reason, text });
        }
        self.drop_hand(common);
    }

    pub(super) fn drop_hand(&mut self, common: &mut Common) {
        if let Some(hand) = self.hand.take() {
            self.release(common, hand.charge());
            self.consumed(common, hand.asked, hand.len);
        }
    }
}

fn cut_reason(reason: ExitReason, max: usize) -> ExitReason {
    match reason {
        ExitReason::Crashed { text } => ExitReason::Crashed { text: cut(text, max) },
        ExitReason::Violated { text } => ExitReason::Violated { text: cut(text, max) },
        ExitReason::Other { cause, text } => ExitReason::Other { cause, text: cut(text, max) },
        reason @ (ExitReason::Normal | _) => reason,
    }
}

/// At most `max` bytes of a text, at the border of a character.
pub(super) fn cut(mut text: String, max: usize) -> String {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}
