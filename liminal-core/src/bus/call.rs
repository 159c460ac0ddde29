//! One conversation: the calls of its participant, and what they answer.

use alloc::string::String;
use core::time::Duration;

use bytes::Bytes;
use liminal_proto::{Exit, ExitReason, Instant, MessageId, Outcome, Pid, ReasonCode, RecordNumber, Reply};

use super::common::Common;
use super::conversation::{Conversation, Queued};
use crate::phase::{Phase, Trigger};
use crate::{Answer, Call, Command, Invocation, Recorded, Ticket};

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
            Self::Running { ticket, .. } | Self::Returning { ticket } => Some(*ticket),
            Self::Idle | Self::Waiting { .. } => None,
        }
    }

    pub(super) const fn wakes(&self) -> Option<Instant> {
        match self {
            Self::Waiting { until, .. } => Some(*until),
            Self::Idle | Self::Running { .. } | Self::Returning { .. } => None,
        }
    }

    /// Whether the participant was called to join and has not answered.
    const fn is_joining(&self) -> bool {
        matches!(self, Self::Running { call: CallKind::Join, .. })
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
    asked: bool,
    pub(super) charge: usize,
    /// What must be said again if the host had no seat. Only of messages that ask for nothing.
    again: Option<Bytes>,
}

impl Conversation {
    // Calls.

    /// Starts the call to make, if there still is one.
    pub(super) fn start(&mut self, common: &mut Common) -> Option<(Ticket, Invocation)> {
        self.scheduled = false;
        let call = self.next_call(common.now)?;
        let pid = self.pid?;
        let what = self.take_call(call)?;
        let ticket = common.issue_ticket(self.key());
        self.seat = Seat::Running { ticket, call, cancelled: false };
        Some((ticket, Invocation { pid, offer: self.offer, conversation: self.key(), what }))
    }

    fn take_call(&mut self, call: CallKind) -> Option<Call> {
        match call {
            CallKind::Join => Some(Call::Join { subject: self.to_join.take()? }),
            CallKind::Message => self.take_message(),
            CallKind::Wake => Some(Call::Wake { deadline: self.hand.as_ref().and_then(|hand| hand.request) }),
            CallKind::Leave => {
                self.present = false;
                Some(Call::Leave { why: self.why_left })
            }
        }
    }

    fn take_message(&mut self) -> Option<Call> {
        let (record, message) = self.queue.pop_first()?;
        let charge = message.charge();
        let Queued { id, deadline, payload } = message;
        let asked = deadline.is_some();
        let again = (!asked).then(|| payload.clone());
        self.hand = Some(Hand { record, id, request: deadline, asked, charge, again });
        Some(Call::Message { id, record, expects_reply: asked, deadline, payload })
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
        if let Seat::Returning { .. } = self.seat {
            common.counters.ignored_answers += 1;
            if answer.returns() {
                self.seat = Seat::Idle;
            }
        } else if answer.returns() {
            self.on_return(common, answer);
        } else if let Answer::Part(payload) = answer {
            self.on_reply(common, payload, false);
        } else if let Answer::Reply(payload) = answer {
            self.on_reply(common, payload, true);
        }
    }

    fn on_reply(&mut self, common: &mut Common, payload: Bytes, last: bool) {
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
        if last {
            hand.request = None;
            common.counters.replies += 1;
            self.close_request(common, deadline, request);
        }
        let number = self.record(common, || Recorded::Reply { request, last, payload: payload.clone() });
        let conversation = self.id;
        let reply = Reply { conversation, answers, record: Some(number), last, payload };
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
        match (call, answer) {
            (CallKind::Join, Answer::Joined | Answer::Done | Answer::WakeAfter(_)) => self.present = true,
            (_, Answer::Exited(_)) => self.present = false,
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
            Answer::Busy => self.on_busy(common, call),
            Answer::Joined | Answer::Done | Answer::Part(_) | Answer::Reply(_) => {
                self.end_hand(common, ReasonCode::NO_REPLY, None);
            }
        }
    }

    fn on_joined(&mut self, common: &mut Common) {
        let Some(pid) = self.pid else { return };
        self.step(Trigger::Joined);
        self.present = true;
        self.joined = true;
        self.record(common, || Recorded::Joined { pid });
        common.tell(self.link(), Command::Opened { conversation: self.id, pid: Some(pid) });
    }

    fn on_join_refused(&mut self, common: &mut Common, reason: ReasonCode, text: Option<String>) {
        let Some(pid) = self.pid else { return };
        let text = text.map(|text| cut(text, common.settings.text_max));
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
        if self.pid != Some(pid) || !(self.present || joins) {
            return false;
        }
        self.cancel_call(common);
        if let Some(ticket) = self.seat.ticket() {
            self.seat = Seat::Returning { ticket };
        }
        if self.phase() == Phase::Closed {
            // It has left already, or never joined: its life has its record.
            self.present = false;
            self.drop_hand(common);
            return true;
        }
        if joins {
            self.on_joined(common);
        }
        self.on_exited(common, reason);
        true
    }

    /// The participant is no more. What it held is released before anybody can read of it.
    fn on_exited(&mut self, common: &mut Common, reason: ExitReason) {
        let Some(pid) = self.pid else { return };
        self.present = false;
        self.release_waiting(common);
        self.drop_hand(common);
        common.counters.exits += 1;
        let completing = self.phase() == Phase::Completing;
        self.step(Trigger::Exited);
        let reason = cut_reason(reason, common.settings.text_max);
        let record = self.record(common, || Recorded::Exited { pid, reason: reason.clone() });
        let exit = Exit { pid, record, reason };
        common.tell(self.link(), Command::Exited { conversation: self.id, exit });
        if completing {
            self.end(common);
        }
    }

    /// The host called nobody. Who waits for an answer has one now; the rest is tried again.
    fn on_busy(&mut self, common: &mut Common, call: CallKind) {
        let again = match (call, &mut self.hand) {
            (CallKind::Message, Some(hand)) => {
                hand.again.take().map(|payload| (hand.record, hand.id, payload))
            }
            _ => return self.wait(common, common.settings.busy_time, call),
        };
        let Some((record, id, payload)) = again else {
            return self.end_hand(common, ReasonCode::BUSY, None);
        };
        // The message takes its charge back into the queue.
        self.hand = None;
        self.queue.insert(record, Queued { id, deadline: None, payload });
        self.wait(common, common.settings.busy_time, call);
    }

    fn wait(&mut self, common: &Common, time: Duration, call: CallKind) {
        let until = common.now.after(common.settings.clamp(time));
        self.seat = Seat::Waiting { until, call };
    }

    /// The participant is through with what it had in hand.
    fn end_hand(&mut self, common: &mut Common, reason: ReasonCode, text: Option<String>) {
        if let Some(hand) = &self.hand
            && let Some(deadline) = hand.request
        {
            self.end_request(common, deadline, hand.record, Outcome::Refused { reason, text });
        }
        self.drop_hand(common);
    }

    pub(super) fn drop_hand(&mut self, common: &mut Common) {
        if let Some(hand) = self.hand.take() {
            self.release(common, hand.charge);
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
fn cut(mut text: String, max: usize) -> String {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}
