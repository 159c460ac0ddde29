//! The half of a side that others open conversations with, and the answers that they are owed. On a server
//! they are its clients' conversations; on a client those that its participants were invited to.

mod frames;
mod requests;

use alloc::boxed::Box;
use core::time::Duration;

use bytes::Bytes;

use requests::Requests;

use super::ConversationPhase as Phase;
use super::conversation::{Trigger, next};
use super::credit::{Flow, Said};
use super::opener::{of_stream, said_about};
use super::sender::{Sender, cut};
use crate::wire::{Body, Dialect, Frame, flag};
use crate::{
    CommandError, Content, ConversationId, Event, Exit, Expects, IdMap, MessageId, Outcome, Pid, ReasonCode,
    RecordNumber, Reply, StreamId, Violation,
};

/// The conversations that the other side opened.
#[derive(Default)]
pub(super) struct Acceptor {
    conversations: IdMap<ConversationId, Box<Conversation>>,
    /// The sum of the accounts of all conversations.
    account: Account,
    /// The stream of the last open (2.0), below which no new one may come.
    last_stream: StreamId,
    /// Messages received so far on a 1.0 link, where they have no ids of their own.
    messages: u64,
    pub(super) strays: u64,
}

struct Conversation {
    phase: Phase,
    /// The stream of the open; in 2.0 of everything.
    stream: StreamId,
    /// Its open was answered.
    answered: bool,
    /// Its participant has exited, and none takes its place.
    exited: bool,
    /// Who exited last and why, in 1.0, where it can only be told with the end of a message.
    exit: Option<Box<str>>,
    /// The id of the last message (2.0), below which no new one may come.
    last_message: MessageId,
    requests: Requests,
    /// What may be said in it (2.0).
    flow: Flow,
}

/// What is owed to the other side, and what is kept for it.
#[derive(Clone, Copy, Default)]
struct Account {
    /// Requests that are not yet answered.
    outstanding: usize,
    /// Opens and closes that are not yet answered.
    unanswered: usize,
    /// Bytes of answers that are held back.
    held: usize,
    /// Conversations with a participant, or with one that is asked to join.
    served: usize,
}

/// What a frame from the client comes to.
pub(super) enum Taken {
    Event(Event),
    /// It was refused, and the client told so, by its own fault.
    Refused,
    /// It was refused for want of room, or concerned nothing.
    Nothing,
    /// It opens a conversation whose id is free when the one that is closing has ended, and not before.
    Early,
}

/// A message as it came in, in either version.
pub(super) struct Incoming {
    pub(super) conversation: ConversationId,
    pub(super) stream: StreamId,
    /// Its id in 2.0.
    pub(super) id: MessageId,
    pub(super) expects: Expects,
    pub(super) timeout: Option<Duration>,
    pub(super) redelivered: u8,
    pub(super) content: Content,
}

impl Acceptor {
    pub(super) fn phase(&self, conversation: ConversationId) -> Option<Phase> {
        self.conversations.get(&conversation).map(|conversation| conversation.phase)
    }

    /// Whether the client still waits for an answer to anything.
    pub(super) const fn owes_answers(&self) -> bool {
        self.account.outstanding > 0 || self.account.unanswered > 0
    }

    /// Bytes of answers that are held back.
    pub(super) const fn held_bytes(&self) -> usize {
        self.account.held
    }

    /// The same, counted afresh.
    pub(super) fn recount_held(&self) -> usize {
        self.conversations.values().map(|conversation| conversation.requests.recount()).sum()
    }

    /// Does something to a conversation and keeps the sum of the accounts right.
    fn with<T>(
        &mut self,
        dialect: Dialect,
        key: ConversationId,
        act: impl FnOnce(&mut Conversation) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let conversation = self.conversations.get_mut(&key).ok_or(CommandError::NotOpen(key))?;
        let before = conversation.account(dialect);
        let result = act(conversation);
        self.account.replace(before, conversation.account(dialect));
        result
    }

    fn remove(&mut self, sender: &mut Sender, key: ConversationId) {
        if let Some(mut conversation) = self.conversations.remove(&key) {
            self.account.replace(conversation.account(sender.dialect), Account::default());
            sender.give_all_back(Said::Message, &mut conversation.flow);
        }
    }

    pub(super) fn flow(&self, key: ConversationId) -> Option<&Flow> {
        self.conversations.get(&key).map(|conversation| &conversation.flow)
    }

    /// What may be said in a conversation, and on which stream.
    pub(super) fn flow_mut(&mut self, key: ConversationId) -> Option<(StreamId, &mut Flow)> {
        self.conversations.get_mut(&key).map(|conversation| (conversation.stream, &mut conversation.flow))
    }

    pub(super) fn opened(
        &mut self,
        sender: &mut Sender,
        key: ConversationId,
        pid: Option<Pid>,
    ) -> Result<(), CommandError> {
        self.with(sender.dialect, key, |conversation| {
            let phase = next(conversation.phase, Trigger::Opened).filter(|_| !conversation.answered);
            let phase = phase.ok_or(CommandError::NotOpen(key))?;
            if sender.dialect == Dialect::V2 {
                sender.send(0, conversation.stream, Body::Opened { pid })?;
            }
            conversation.phase = phase;
            conversation.answered = true;
            Ok(())
        })
    }

    pub(super) fn refuse(
        &mut self,
        sender: &mut Sender,
        key: ConversationId,
        reason: ReasonCode,
        text: Option<&str>,
    ) -> Result<(), CommandError> {
        self.with(sender.dialect, key, |conversation| {
            let phase = next(conversation.phase, Trigger::Refused).filter(|_| !conversation.answered);
            phase.ok_or(CommandError::NotOpen(key))?;
            refuse_open(sender, key, conversation.stream, reason, text);
            conversation.requests.end(sender, key, reason, None);
            Ok(())
        })?;
        self.remove(sender, key);
        Ok(())
    }

    pub(super) fn reply(&mut self, sender: &mut Sender, reply: &Reply) -> Result<(), CommandError> {
        let key = reply.conversation;
        let held_room = sender.held_max().saturating_sub(self.account.held);
        let replied = self.with(sender.dialect, key, |conversation| match sender.dialect {
            Dialect::V1 => conversation.requests.reply_v1(sender, held_room, reply),
            Dialect::V2 => conversation.reply_v2(sender, reply),
        });
        match &replied {
            Ok(()) => sender.hold_back_none(),
            Err(CommandError::Full) => sender.hold_back(reply.len()),
            Err(_) => {}
        }
        replied
    }

    pub(super) fn outcome(
        &mut self,
        sender: &mut Sender,
        key: ConversationId,
        id: MessageId,
        outcome: &Outcome,
    ) -> Result<(), CommandError> {
        let (reason, text) = match outcome {
            Outcome::Accepted { record } => return self.accepted(sender, key, id, *record),
            // Zero on the wire says that it was accepted, which is not what was meant.
            Outcome::Refused { reason: ACCEPTED, text } => (ReasonCode::OTHER, text.as_deref()),
            Outcome::Refused { reason, text } => (*reason, text.as_deref()),
            // An exit that ends the conversation has ended all its requests with it.
            Outcome::Exited => (ReasonCode::REPLACED, None),
            Outcome::Deadline => (ReasonCode::DEADLINE, None),
            Outcome::Unknown => (ReasonCode::OTHER, None),
        };
        self.with(sender.dialect, key, |conversation| match sender.dialect {
            Dialect::V1 => conversation.requests.fail_v1(sender, key, id, (reason, text)),
            Dialect::V2 => {
                let message = sender.text(text);
                let body = Body::Outcome { message_id: id, reason_code: reason, record: None, message };
                sender.send(0, conversation.stream, body)?;
                conversation.end_request(sender, id);
                Ok(())
            }
        })
    }

    /// In 1.0 there is no word for it, and silence means it.
    fn accepted(
        &self,
        sender: &mut Sender,
        key: ConversationId,
        message_id: MessageId,
        record: Option<RecordNumber>,
    ) -> Result<(), CommandError> {
        let conversation = self.conversations.get(&key).ok_or(CommandError::NotOpen(key))?;
        match sender.dialect {
            Dialect::V1 => Ok(()),
            Dialect::V2 => {
                let body = Body::Outcome { message_id, reason_code: ACCEPTED, record, message: None };
                sender.send(0, conversation.stream, body)
            }
        }
    }

    pub(super) fn exited(
        &mut self,
        sender: &mut Sender,
        key: ConversationId,
        exit: &Exit,
    ) -> Result<(), CommandError> {
        self.with(sender.dialect, key, |conversation| {
            let trigger = if exit.goes_on { Trigger::Rerouted } else { Trigger::Exited };
            let phase = conversation.while_served(key, trigger)?;
            if sender.dialect == Dialect::V2 {
                let (flags, body) = super::monitors::exited(sender, exit);
                sender.send(flags, conversation.stream, body)?;
            }
            conversation.phase = phase;
            let words = (sender.dialect == Dialect::V1).then(|| exit.words());
            conversation.exit = words.as_deref().map(|words| cut(words, KEPT_WORDS_MAX).into());
            if !exit.goes_on {
                conversation.fail(sender, key, words.as_deref());
            }
            Ok(())
        })
    }

    pub(super) fn joined(
        &mut self,
        sender: &mut Sender,
        key: ConversationId,
        pid: Pid,
    ) -> Result<(), CommandError> {
        self.with(sender.dialect, key, |conversation| {
            let phase = conversation.while_served(key, Trigger::Joined)?;
            conversation.tell_v2(sender, Body::Joined { pid })?;
            conversation.phase = phase;
            conversation.exit = None;
            Ok(())
        })
    }

    pub(super) fn failed(&mut self, sender: &mut Sender, key: ConversationId) -> Result<(), CommandError> {
        self.with(sender.dialect, key, |conversation| {
            let phase = conversation.while_served(key, Trigger::Exited)?;
            conversation.tell_v2(sender, Body::Failed)?;
            conversation.phase = phase;
            let words = conversation.exit.clone();
            conversation.fail(sender, key, words.as_deref());
            Ok(())
        })
    }

    pub(super) fn ended(&mut self, sender: &mut Sender, key: ConversationId) -> Result<(), CommandError> {
        self.with(sender.dialect, key, |conversation| {
            next(conversation.phase, Trigger::Ended).ok_or(CommandError::NotOpen(key))?;
            if sender.dialect == Dialect::V2 {
                let body = Body::ConversationClose { conversation_id: key, reason_code: None, message: None };
                sender.send(0, conversation.stream, body)?;
            }
            conversation.requests.end(sender, key, ReasonCode::CANCELLED, None);
            Ok(())
        })?;
        self.remove(sender, key);
        Ok(())
    }
}

impl Account {
    const fn replace(&mut self, before: Self, after: Self) {
        self.outstanding = self.outstanding - before.outstanding + after.outstanding;
        self.unanswered = self.unanswered - before.unanswered + after.unanswered;
        self.held = self.held - before.held + after.held;
        self.served = self.served - before.served + after.served;
    }
}

impl Conversation {
    fn new(stream: StreamId, flow: Flow) -> Self {
        Self {
            phase: Phase::Opening,
            stream,
            answered: false,
            exited: false,
            exit: None,
            last_message: MessageId::default(),
            requests: Requests::default(),
            flow,
        }
    }

    fn reply_v2(&mut self, sender: &mut Sender, reply: &Reply) -> Result<(), CommandError> {
        self.requests.check(reply.answers)?;
        let more = if reply.last { 0 } else { flag::MORE };
        let message_id = MessageId::new(reply.record.map_or(0, |record| record.get()));
        let (metadata_flag, metadata) = said_about(&reply.metadata);
        let body = Body::Message {
            message_id,
            answers: Some(reply.answers),
            timeout_ms: None,
            redelivered: None,
            metadata,
            payload: &reply.payload,
        };
        let flags = flag::ANSWERS | more | metadata_flag;
        let frame = Frame { flags, stream: self.stream, body };
        let of = (reply.conversation, &mut self.flow);
        sender.send_on_credit(Said::Reply, of, &frame, reply.len())?;
        if reply.last {
            self.end_request(sender, reply.answers);
        }
        Ok(())
    }

    /// A request of 2.0 has ended, and whoever asked may ask as much again.
    fn end_request(&mut self, sender: &mut Sender, id: MessageId) {
        if let Some(len) = self.requests.take(id) {
            sender.give_back(Said::Message, self.stream, &mut self.flow, len);
        }
    }

    /// The phase after what can only be as long as there is a participant, or one to come.
    fn while_served(&self, key: ConversationId, trigger: Trigger) -> Result<Phase, CommandError> {
        next(self.phase, trigger).filter(|_| !self.exited).ok_or(CommandError::Exited(key))
    }

    /// Says what 1.0 has no words for.
    fn tell_v2(&self, sender: &mut Sender, body: Body<&str, Bytes>) -> Result<(), CommandError> {
        match sender.dialect {
            Dialect::V1 => Ok(()),
            Dialect::V2 => sender.send(0, self.stream, body),
        }
    }

    /// There will be no participant any more.
    fn fail(&mut self, sender: &mut Sender, key: ConversationId, words: Option<&str>) {
        self.exited = true;
        self.requests.end(sender, key, ReasonCode::EXITED, words);
        sender.give_all_back(Said::Message, &mut self.flow);
    }

    /// An open is owed its answer until the participant is there or gone; a close has one in 2.0 only.
    fn account(&self, dialect: Dialect) -> Account {
        let unanswered = match self.phase {
            Phase::Opening => true,
            Phase::Closing => dialect == Dialect::V2 || !(self.answered || self.exited),
            Phase::Open | Phase::Failed | Phase::Closed => false,
        };
        Account {
            outstanding: self.requests.len(),
            unanswered: usize::from(unanswered),
            held: self.requests.held(),
            served: usize::from(matches!(self.phase, Phase::Opening | Phase::Open)),
        }
    }

    fn check_message(&mut self, id: MessageId) -> Result<(), Violation> {
        if id <= self.last_message {
            let (got, last) = (id.get(), self.last_message.get());
            return Err(Violation::NotAscending { what: "message id", got, last });
        }
        self.last_message = id;
        Ok(())
    }
}

fn check_id(stream: StreamId, conversation: ConversationId) -> Result<(), Violation> {
    if of_stream(stream) == conversation {
        Ok(())
    } else {
        Err(Violation::ForeignId { conversation, stream })
    }
}

/// Words about an exit that are kept for the messages after it, in bytes: enough for a status, a signal, and
/// the beginning of what it said, and far less than a text may have, because every conversation may keep them.
const KEPT_WORDS_MAX: usize = 128;

/// The code of an Outcome that says: accepted.
pub(super) const ACCEPTED: ReasonCode = ReasonCode::new(0);

/// Whether a message of 1.0 asked for a reply.
const fn is_request(id: MessageId) -> bool {
    id.get() >> 32 & 1 == 1
}

const fn stream_of(id: MessageId) -> StreamId {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the stream")]
    StreamId::new(id.get() as u32)
}

fn refuse_open(
    sender: &mut Sender,
    key: ConversationId,
    stream: StreamId,
    reason_code: ReasonCode,
    text: Option<&str>,
) {
    match sender.dialect {
        Dialect::V1 => conversation_error(sender, key, stream, reason_code, text),
        Dialect::V2 => {
            let message = sender.text(text);
            // The text was cut to its limit, which leaves nothing to refuse.
            let _ = sender.send(0, stream, Body::Refused { reason_code, message });
        }
    }
}

fn refuse_message(
    sender: &mut Sender,
    key: ConversationId,
    stream: StreamId,
    message_id: MessageId,
    reason_code: ReasonCode,
) {
    match sender.dialect {
        Dialect::V1 => conversation_error(sender, key, stream, reason_code, None),
        Dialect::V2 => {
            let body = Body::Outcome { message_id, reason_code, record: None, message: None };
            // Fields of fixed size: there is nothing in them that could be refused.
            let _ = sender.send(0, stream, body);
        }
    }
}

/// The error of one operation on a 1.0 link. Without a text of its own it says what the code means.
fn conversation_error(
    sender: &mut Sender,
    conversation_id: ConversationId,
    stream: StreamId,
    reason_code: ReasonCode,
    text: Option<&str>,
) {
    let message = sender.text(text.or(reason_code.meaning()));
    // The text was cut to its limit, which leaves nothing to refuse.
    let _ = sender.send(0, stream, Body::ConversationError { conversation_id, reason_code, message });
}
