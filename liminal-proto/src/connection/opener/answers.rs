//! Frames that answer what this side began.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::super::conversation::{Trigger, next};
use super::super::credit::Said;
use super::super::sender::Sender;
use super::{Conversation, Opener, Pending, is_awaited, of_stream, outcome_of};
use crate::wire::Dialect;
use crate::{
    Content, ConversationId, Event, Exit, MessageId, Outcome, Pid, ReasonCode, Reply, StreamId, Violation,
};

impl Opener {
    // ── 2.0 frames ──────────────────────────────────────────────────────────────────────────────

    pub(in crate::connection) fn on_opened(&mut self, stream: StreamId, pid: Option<Pid>) -> Option<Event> {
        let conversation = of_stream(stream);
        self.step_once(conversation, Trigger::Opened, |conversation| &mut conversation.answered)?;
        Some(Event::Opened { conversation, pid })
    }

    pub(in crate::connection) fn on_refused(
        &mut self,
        sender: &mut Sender,
        owed: &mut VecDeque<Event>,
        key: ConversationId,
        reason: ReasonCode,
        text: Option<&str>,
    ) -> Option<Event> {
        if !self.conversations.contains_key(&key) {
            self.strays += 1;
            return None;
        }
        // The text is told once, not again for each of the requests.
        self.end_requests(owed, key, &Outcome::Refused { reason, text: None });
        self.forget(sender, key);
        Some(Event::Refused { conversation: key, reason, text: sender.kept_text(text) })
    }

    pub(in crate::connection) fn on_exited(
        &mut self,
        owed: &mut VecDeque<Event>,
        stream: StreamId,
        exit: Exit,
    ) -> Option<Event> {
        let conversation = of_stream(stream);
        if exit.goes_on {
            self.step_while_served(conversation, Trigger::Rerouted)?;
        } else {
            self.fail(owed, conversation)?;
        }
        Some(Event::Exited { conversation, exit })
    }

    pub(in crate::connection) fn on_joined(&mut self, stream: StreamId, pid: Pid) -> Option<Event> {
        let conversation = of_stream(stream);
        self.step_while_served(conversation, Trigger::Joined)?;
        Some(Event::Joined { conversation, pid })
    }

    pub(in crate::connection) fn on_failed(
        &mut self,
        owed: &mut VecDeque<Event>,
        stream: StreamId,
    ) -> Option<Event> {
        let conversation = of_stream(stream);
        self.fail(owed, conversation)?;
        Some(Event::Failed { conversation })
    }

    /// There is no participant any more, and there will be none: said once, and the end of every request.
    fn fail(&mut self, owed: &mut VecDeque<Event>, key: ConversationId) -> Option<()> {
        self.step_once(key, Trigger::Exited, |conversation| &mut conversation.exited)?;
        self.end_requests(owed, key, &Outcome::Exited);
        Some(())
    }

    pub(in crate::connection) fn on_closed(
        &mut self,
        sender: &mut Sender,
        owed: &mut VecDeque<Event>,
        key: ConversationId,
    ) -> Option<Event> {
        self.step(key, Trigger::Ended)?;
        let cancelled = Outcome::Refused { reason: ReasonCode::CANCELLED, text: None };
        self.end_requests(owed, key, &cancelled);
        self.forget(sender, key);
        owed.push_back(Event::Ended { conversation: key });
        None
    }

    pub(in crate::connection) fn on_outcome(
        &mut self,
        stream: StreamId,
        message: MessageId,
        outcome: Outcome,
    ) -> Option<Event> {
        let conversation = of_stream(stream);
        let accepted = matches!(outcome, Outcome::Accepted { .. });
        let known = self.conversations.get(&conversation);
        if accepted && known.is_some_and(|known| known.awaits_reply(message).is_some()) {
            return None;
        }
        let was_pending = self.take_pending(conversation, message).is_some();
        let may_fail = |it: &Conversation| !accepted && it.may_fail_unawaited(conversation, message);
        if was_pending || self.conversations.get(&conversation).is_some_and(|it| may_fail(it)) {
            return Some(Event::Outcome { conversation, message, outcome });
        }
        self.strays += 1;
        None
    }

    pub(in crate::connection) fn on_reply(
        &mut self,
        sender: &mut Sender,
        reply: Reply,
    ) -> Result<Option<Event>, Violation> {
        let (key, len) = (reply.conversation, reply.len());
        let Some(conversation) = self.conversations.get_mut(&key) else {
            sender.credit.receive(Said::Reply, None, len)?;
            sender.pay_connection();
            self.strays += 1;
            return Ok(None);
        };
        let awaited = conversation.awaits_reply(reply.answers);
        let flow = &mut conversation.flow;
        sender.credit.receive(Said::Reply, Some(flow), len)?;
        if awaited.is_none() || sender.credit.is_given_when_polled() {
            sender.give_back(Said::Reply, conversation.stream, flow, len);
        } else {
            // Replies of one conversation that somebody keeps must not hold up those of others: whoever opens
            // conversations bounds what it keeps by their number.
            sender.credit.give_back_in_all(Said::Reply, flow, len);
            sender.pay_connection();
        }
        let Some(at) = awaited else {
            self.strays += 1;
            return Ok(None);
        };
        if reply.last
            && let Some(ended) = conversation.pending.remove(at)
        {
            self.outstanding.end(key, &ended);
        }
        Ok(Some(Event::Reply(reply)))
    }

    // ── 1.0 frames ──────────────────────────────────────────────────────────────────────────────

    /// A reply: it belongs to the request on its stream.
    pub(in crate::connection) fn on_reply_v1(
        &mut self,
        owed: &mut VecDeque<Event>,
        key: ConversationId,
        stream: StreamId,
        content: Content,
    ) -> Option<Event> {
        let answers = self.number_on(stream).map(MessageId::new);
        let Some(Pending { id: answers, .. }) = answers.and_then(|id| self.take_pending(key, id)) else {
            self.strays += 1;
            return None;
        };
        self.end_silent_close(Dialect::V1, owed, key);
        let Content { payload, metadata } = content;
        Some(Event::Reply(Reply { conversation: key, answers, record: None, last: true, payload, metadata }))
    }

    /// An error: of the message on its stream; on a stream where this conversation said nothing, of
    /// its open.
    pub(in crate::connection) fn on_error_v1(
        &mut self,
        sender: &mut Sender,
        owed: &mut VecDeque<Event>,
        key: ConversationId,
        stream: StreamId,
        error: (ReasonCode, Option<&str>),
    ) -> Option<Event> {
        let (reason, text) = error;
        let of_message = self.number_on(stream).filter(|&number| number > key.get());
        let Some(number) = of_message.filter(|_| self.conversations.contains_key(&key)) else {
            return self.on_refused(sender, owed, key, reason, text);
        };
        let message = MessageId::new(number);
        if self.take_pending(key, message).is_none() && is_awaited(number.div_ceil(2)) {
            self.strays += 1;
            return None;
        }
        if reason == ReasonCode::EXITED {
            self.note_exit(key, sender.text(text));
        }
        self.end_silent_close(Dialect::V1, owed, key);
        let outcome = outcome_of(reason, sender.kept_text(text));
        Some(Event::Outcome { conversation: key, message, outcome })
    }

    /// 1.0 tells of an exit only where it ends a message; from then on the next one is refused here.
    fn note_exit(&mut self, key: ConversationId, text: Option<&str>) {
        if let Some(conversation) = self.conversations.get_mut(&key)
            && let Some(phase) = next(conversation.phase, Trigger::Exited)
        {
            conversation.phase = phase;
            // What the code means anyway is no news.
            let words = text.filter(|text| Some(*text) != ReasonCode::EXITED.meaning());
            conversation.exit = conversation.exit.take().or(words.map(Box::from));
        }
    }
}
