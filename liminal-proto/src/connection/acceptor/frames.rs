//! Frames that ask for something, and how they are refused where that does not need the embedder.

use alloc::boxed::Box;

use super::super::ConversationPhase as Phase;
use super::super::conversation::{Trigger, next};
use super::super::credit::Said;
use super::super::opener::of_stream;
use super::super::sender::Sender;
use super::{
    Acceptor, Account, Conversation, Incoming, Taken, check_id, conversation_error, refuse_message,
    refuse_open,
};
use crate::wire::Dialect;
use crate::{
    CommandError, ConversationId, Event, Expects, Limits, Message, MessageId, Pid, ReasonCode, StreamId,
    Terms, Violation,
};

impl Acceptor {
    pub(in crate::connection) fn on_open(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        stream: StreamId,
        key: ConversationId,
        (subject, terms): (&str, Terms),
    ) -> Result<Taken, Violation> {
        if sender.dialect == Dialect::V2 {
            check_id(stream, key)?;
            self.ascend(stream)?;
        }
        let known = self.phase(key);
        if sender.dialect == Dialect::V1 && known == Some(Phase::Closing) {
            return Ok(Taken::Early);
        }
        let full = known.is_none() && self.conversations.len() >= limits.conversations_max;
        let reason = match known {
            Some(Phase::Opening | Phase::Open | Phase::Closing) => Some(ReasonCode::ALREADY_OPEN),
            _ if subject.len() > limits.name_max => Some(ReasonCode::INVALID_NAME),
            _ if full => Some(ReasonCode::LIMIT),
            _ if sender.refuses_work() => Some(ReasonCode::BUSY),
            _ => None,
        };
        if let Some(reason) = reason {
            refuse_open(sender, key, stream, reason, None);
            return Ok(if reason == ReasonCode::BUSY { Taken::Nothing } else { Taken::Refused });
        }
        self.remove(sender, key);
        self.insert(sender, key, stream);
        Ok(Taken::Event(Event::Open { conversation: key, subject: subject.into(), terms }))
    }

    /// An invitation: a conversation that a server opens with a participant of a client, whose offers take so
    /// many at a time. One that waited for room may come after a later one.
    pub(in crate::connection) fn on_invite(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        capacity: u64,
        (stream, pid, subject): (StreamId, Pid, &str),
    ) -> Result<Taken, Violation> {
        let key = of_stream(stream);
        if self.conversations.contains_key(&key) {
            return Err(Violation::NotAscending { what: "stream", got: key.get(), last: key.get() });
        }
        self.last_stream = self.last_stream.max(stream);
        let reason = match () {
            () if capacity == 0 => ReasonCode::NO_PARTICIPANT,
            () if self.account.served as u64 >= capacity => ReasonCode::LIMIT,
            () if subject.len() > limits.name_max => ReasonCode::INVALID_NAME,
            () if self.conversations.len() >= limits.conversations_max => ReasonCode::LIMIT,
            () if sender.refuses_work() => ReasonCode::BUSY,
            () => {
                self.insert(sender, key, stream);
                return Ok(Taken::Event(Event::Invite { conversation: key, pid, subject: subject.into() }));
            }
        };
        refuse_open(sender, key, stream, reason, None);
        // Whoever opened the conversation may have brought about the others.
        Ok(if capacity == 0 { Taken::Refused } else { Taken::Nothing })
    }

    fn insert(&mut self, sender: &Sender, key: ConversationId, stream: StreamId) {
        let conversation = Conversation::new(stream, sender.credit.flow());
        self.account.replace(Account::default(), conversation.account(sender.dialect));
        self.conversations.insert(key, Box::new(conversation));
    }

    /// Whether anything has begun on a stream of the other side (2.0), or may have.
    pub(in crate::connection) fn has_begun(&self, stream: StreamId) -> bool {
        stream <= self.last_stream
    }

    /// Whatever begins on a stream (2.0) begins above all that began before.
    pub(in crate::connection) fn ascend(&mut self, stream: StreamId) -> Result<(), Violation> {
        if stream <= self.last_stream {
            let (got, last) = (stream.get().into(), self.last_stream.get().into());
            return Err(Violation::NotAscending { what: "stream", got, last });
        }
        self.last_stream = stream;
        Ok(())
    }

    pub(in crate::connection) fn on_message(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        incoming: Incoming,
    ) -> Result<Taken, Violation> {
        let Incoming { conversation: key, stream, id, expects, timeout, redelivered, content } = incoming;
        let id = match sender.dialect {
            Dialect::V1 => self.number(stream, expects == Expects::Reply),
            Dialect::V2 => id,
        };
        let mut conversation = self.conversations.get_mut(&key);
        if sender.dialect == Dialect::V2 {
            let flow = conversation.as_mut().map(|conversation| &mut conversation.flow);
            sender.credit.receive(Said::Message, flow, content.len())?;
        }
        let Some(conversation) = conversation else {
            sender.pay_connection();
            return Ok(self.on_message_to_nobody(sender, key, stream, id));
        };
        let full = expects == Expects::Reply && self.account.outstanding >= limits.requests_max;
        let refusal = conversation.refusal(sender, full);
        if sender.dialect == Dialect::V2 {
            conversation.check_message(id)?;
            if refusal.is_some() || sender.credit.is_given_when_polled() {
                sender.give_back(Said::Message, stream, &mut conversation.flow, content.len());
            }
        }
        if let Some(reason) = refusal {
            match (sender.dialect, &conversation.exit) {
                (Dialect::V1, Some(words)) if reason == ReasonCode::EXITED => {
                    conversation_error(sender, key, stream, reason, Some(words));
                }
                _ => refuse_message(sender, key, stream, id, reason),
            }
            return Ok(Taken::Nothing);
        }
        if expects == Expects::Reply {
            let is_open = sender.dialect == Dialect::V2 && !sender.credit.is_given_when_polled();
            conversation.requests.add(id, is_open.then_some(content.len()));
            self.account.outstanding += 1;
        }
        Ok(Taken::Event(Event::Message(Message {
            conversation: key,
            id,
            expects,
            timeout,
            redelivered,
            payload: content.payload,
            metadata: content.metadata,
        })))
    }

    /// A 2.0 conversation that is gone has ended every message behind it with the frame that said so;
    /// what was on its way then is no fault, and needs no answer.
    fn on_message_to_nobody(
        &mut self,
        sender: &mut Sender,
        key: ConversationId,
        stream: StreamId,
        id: MessageId,
    ) -> Taken {
        if sender.dialect == Dialect::V2 && stream <= self.last_stream {
            self.strays += 1;
            return Taken::Nothing;
        }
        refuse_message(sender, key, stream, id, ReasonCode::NOT_OPEN);
        Taken::Refused
    }

    /// An id for a message that has none: a running number, odd for a request, with its stream in the lower half. So
    /// an error finds the way back, and a request that has had its end is known, without anything being stored.
    fn number(&mut self, stream: StreamId, is_request: bool) -> MessageId {
        self.messages = self.messages.wrapping_add(1);
        let number = self.messages << 1 | u64::from(is_request);
        MessageId::new(number << 32 | u64::from(stream.get()))
    }

    pub(in crate::connection) fn on_close(
        &mut self,
        dialect: Dialect,
        stream: StreamId,
        key: ConversationId,
        cancels: bool,
    ) -> Taken {
        let foreign = dialect == Dialect::V2 && of_stream(stream) != key;
        let closing = self.with(dialect, key, |conversation| {
            let phase = next(conversation.phase, Trigger::Close).filter(|_| !foreign);
            conversation.phase = phase.ok_or(CommandError::Closing(key))?;
            let conversation = key;
            Ok(if cancels { Event::Cancel { conversation } } else { Event::Close { conversation } })
        });
        match closing {
            Ok(event) => Taken::Event(event),
            Err(_) => {
                self.strays += 1;
                Taken::Nothing
            }
        }
    }
}

impl Conversation {
    /// Why no message is taken, if none is. `full`: there are as many requests as there may be.
    fn refusal(&self, sender: &Sender, full: bool) -> Option<ReasonCode> {
        match self.phase {
            Phase::Failed => Some(ReasonCode::EXITED),
            Phase::Closing | Phase::Closed => Some(ReasonCode::CLOSING),
            Phase::Opening | Phase::Open => {
                // In 2.0 a client that does not read has no credit for more.
                let unread = sender.dialect == Dialect::V1 && sender.refuses_work();
                (full || unread).then_some(ReasonCode::BUSY)
            }
        }
    }
}
