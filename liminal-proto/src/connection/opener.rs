//! The half of a side that opens conversations, and the requests that are outstanding. On a client they are
//! its own; on a server those with participants that a client serves with.

mod answers;
mod ends;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use bytes::Bytes;

use super::ConversationPhase as Phase;
use super::conversation::{Trigger, next};
use super::credit::{Flow, Said};
use super::poll::position;
use super::sender::Sender;
use crate::wire::{Body, CausalContext, Dialect, Envelope, Frame, flag};
use crate::{
    CommandError, Content, ConversationId, Event, Expects, IdMap, Instant, Limits, MessageId, Metadata,
    Outcome, Pid, ReasonCode, Rejected, SmallMap, StreamId, Terms,
};

/// The conversations that this side opened.
#[derive(Default)]
pub(super) struct Opener {
    conversations: IdMap<ConversationId, Box<Conversation>>,
    outstanding: Outstanding,
    /// Numbers given out so far: in 1.0 to opens and messages, in 2.0 to opens and offers. On a server, which is
    /// told its numbers, as many as there are up to the highest.
    numbers: u64,
    pub(super) strays: u64,
}

/// Messages whose end is awaited, in all conversations together.
#[derive(Default)]
struct Outstanding {
    count: usize,
    /// The deadlines of those that have one, the earliest first.
    deadlines: SmallMap<(Instant, ConversationId, MessageId), ()>,
}

struct Conversation {
    phase: Phase,
    /// Its open was answered.
    answered: bool,
    /// Its participant has exited, and none takes its place.
    exited: bool,
    /// The stream of the open; in 2.0 of everything.
    stream: StreamId,
    /// The last message (2.0). In 1.0 a message has no id on the wire: its stream stands for it.
    last_message: MessageId,
    /// What a 1.0 server said of the exit of its participant.
    exit: Option<Box<str>>,
    /// Messages whose end is awaited, by ascending id.
    pending: VecDeque<Pending>,
    /// What may be said in it (2.0).
    flow: Flow,
}

struct Pending {
    id: MessageId,
    expects: Expects,
    deadline: Option<Instant>,
}

/// One message that is to be sent.
pub(super) struct Outgoing {
    pub(super) conversation: ConversationId,
    pub(super) expects: Expects,
    pub(super) timeout: Option<Duration>,
    pub(super) content: Content,
    /// Where its sender numbers it and minds its deadline: as which, and how often it was given to others.
    pub(super) delivery: Option<(MessageId, u8)>,
}

impl Opener {
    /// Whether there are no conversations.
    pub(super) fn is_empty(&self) -> bool {
        self.conversations.is_empty()
    }

    pub(super) fn phase(&self, conversation: ConversationId) -> Option<Phase> {
        self.conversations.get(&conversation).map(|conversation| conversation.phase)
    }

    pub(super) fn exit_words(&self, conversation: ConversationId) -> Option<&str> {
        self.conversations.get(&conversation)?.exit.as_deref()
    }

    /// What may be said in a conversation, and on which stream.
    pub(super) fn flow_mut(&mut self, key: ConversationId) -> Option<(StreamId, &mut Flow)> {
        self.conversations.get_mut(&key).map(|conversation| (conversation.stream, &mut conversation.flow))
    }

    pub(super) fn flow(&self, key: ConversationId) -> Option<&Flow> {
        self.conversations.get(&key).map(|conversation| &conversation.flow)
    }

    /// Forgets a conversation that is over.
    fn forget(&mut self, sender: &mut Sender, key: ConversationId) {
        if let Some(mut conversation) = self.conversations.remove(&key) {
            sender.give_all_back(Said::Reply, &mut conversation.flow);
        }
    }

    pub(super) const fn outstanding(&self) -> usize {
        self.outstanding.count
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.outstanding.deadlines.first().map(|&((deadline, ..), ())| deadline)
    }

    // ── commands ────────────────────────────────────────────────────────────────────────────────

    pub(super) fn open(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        subject: &str,
    ) -> Result<ConversationId, CommandError> {
        check_subject(limits, subject)?;
        self.begin(sender, limits, |conversation_id| Body::ConversationOpen { conversation_id, subject })
    }

    /// The same on terms of one's own (2.0).
    pub(super) fn open_on(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        subject: &str,
        terms: Terms,
    ) -> Result<ConversationId, CommandError> {
        check_subject(limits, subject)?;
        let millis = |time: Option<Duration>| time.map(|time| whole_millis(time).max(1));
        let (on_exit, total_ms, idle_ms) = (terms.on_exit, millis(terms.total), millis(terms.idle));
        self.begin(sender, limits, |_| Body::Open { on_exit, total_ms, idle_ms, subject })
    }

    fn begin<'a>(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        body: impl FnOnce(ConversationId) -> Body<&'a str, Bytes>,
    ) -> Result<ConversationId, CommandError> {
        self.check_room(limits)?;
        let number = self.check_number(sender)?;
        let (stream, conversation) = (stream_of(number), ConversationId::new(number));
        sender.send(0, stream, body(conversation))?;
        self.numbers += 1;
        self.conversations.insert(conversation, Box::new(Conversation::new(sender, stream)));
        Ok(conversation)
    }

    /// Opens a conversation with a participant of a client (2.0), under an id that whoever calls this has
    /// chosen.
    pub(super) fn invite(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        key: ConversationId,
        pid: Pid,
        subject: &str,
    ) -> Result<(), CommandError> {
        if self.conversations.contains_key(&key) {
            return Err(CommandError::AlreadyOpen(key));
        }
        check_subject(limits, subject)?;
        self.check_room(limits)?;
        if sender.is_congested() {
            return Err(CommandError::Full);
        }
        let stream = stream_of(key.get());
        sender.send(0, stream, Body::Invite { pid, subject })?;
        self.numbers = self.numbers.max(key.get() / 2);
        self.conversations.insert(key, Box::new(Conversation::new(sender, stream)));
        Ok(())
    }

    fn check_room(&self, limits: &Limits) -> Result<(), CommandError> {
        if self.conversations.len() < limits.conversations_max {
            return Ok(());
        }
        Err(CommandError::Limit { what: "open conversations", limit: limits.conversations_max as u64 })
    }

    /// Sends what has a stream to itself and is no conversation (2.0).
    pub(super) fn take_stream(
        &mut self,
        sender: &mut Sender,
        body: Body<&str, Bytes>,
    ) -> Result<StreamId, CommandError> {
        let stream = stream_of(self.check_number(sender)?);
        sender.send(0, stream, body)?;
        self.numbers += 1;
        Ok(stream)
    }

    /// The number of what begins now, if there is room for it.
    fn check_number(&self, sender: &Sender) -> Result<u64, CommandError> {
        if sender.is_congested() {
            return Err(CommandError::Full);
        }
        let number = self.next_number(sender.dialect, true);
        if sender.dialect == Dialect::V2 && number > u64::from(u32::MAX) {
            let what = "conversations in the life of a connection";
            return Err(CommandError::Limit { what, limit: 1 << 31 });
        }
        Ok(number)
    }

    /// The number of the next open or 1.0 message; its stream is the lower half. It is odd, as a
    /// client's streams are. 2.0 never uses a stream twice; 1.0 peers do not mind, so there the
    /// streams start over while the numbers go on.
    const fn next_number(&self, dialect: Dialect, is_awaited: bool) -> u64 {
        match dialect {
            Dialect::V1 => 2 * classed(self.numbers, is_awaited) - 1,
            Dialect::V2 => 2 * self.numbers + 1,
        }
    }

    /// Whether this side has begun anything on a stream of its own (2.0), or may have.
    pub(super) const fn has_begun(&self, stream: StreamId) -> bool {
        stream.get() as u64 <= 2 * self.numbers
    }

    /// The last number whose stream this is; `None` for a stream that was never used.
    fn number_on(&self, stream: StreamId) -> Option<u64> {
        let last = 4 * self.numbers;
        let number = last & !u64::from(u32::MAX) | u64::from(stream.get());
        let number = if number > last { number.checked_sub(1 << 32)? } else { number };
        Some(number).filter(|number| number % 2 == 1)
    }

    /// A message that was answered without being sent has had its number.
    pub(super) fn skip(&mut self, key: ConversationId, id: MessageId) {
        if let Some(conversation) = self.conversations.get_mut(&key) {
            conversation.last_message = conversation.last_message.max(id);
        }
    }

    pub(super) fn send(
        &mut self,
        now: Instant,
        sender: &mut Sender,
        limits: &Limits,
        message: Outgoing,
    ) -> Result<MessageId, Rejected<Content>> {
        self.try_send(now, sender, limits, &message)
            .map_err(|reason| Rejected { payload: message.content, reason })
    }

    fn try_send(
        &mut self,
        now: Instant,
        sender: &mut Sender,
        limits: &Limits,
        message: &Outgoing,
    ) -> Result<MessageId, CommandError> {
        let Outgoing { conversation: key, expects, timeout, ref content, delivery } = *message;
        let awaited =
            expects == Expects::Reply || (expects == Expects::Acceptance && sender.dialect == Dialect::V2);
        if awaited && self.outstanding.count >= limits.requests_max {
            return Err(CommandError::Limit {
                what: "outstanding requests",
                limit: limits.requests_max as u64,
            });
        }
        let number = self.next_number(sender.dialect, awaited);
        let conversation = self.conversations.get_mut(&key).ok_or(CommandError::NotOpen(key))?;
        conversation.accepts_messages(key)?;
        let id = match sender.dialect {
            Dialect::V1 => {
                send_v1(sender, key, stream_of(number), expects, content)?;
                self.numbers += 1;
                MessageId::new(number)
            }
            Dialect::V2 => conversation.send_v2(sender, key, expects, (timeout, content, delivery))?,
        };
        if awaited {
            let deadline = timeout.filter(|_| delivery.is_none()).map(|timeout| now.after(timeout));
            let pending = Pending { id, expects, deadline };
            self.outstanding.begin(key, &pending);
            conversation.pending.push_back(pending);
        }
        Ok(id)
    }

    pub(super) fn close(
        &mut self,
        sender: &mut Sender,
        owed: &mut VecDeque<Event>,
        key: ConversationId,
        reason_code: Option<ReasonCode>,
    ) -> Result<(), CommandError> {
        let conversation = self.conversations.get_mut(&key).ok_or(CommandError::NotOpen(key))?;
        let phase = next(conversation.phase, Trigger::Close).ok_or(CommandError::Closing(key))?;
        let body = Body::ConversationClose { conversation_id: key, reason_code, message: None };
        sender.send(0, conversation.stream, body)?;
        conversation.phase = phase;
        self.end_silent_close(sender.dialect, owed, key);
        Ok(())
    }

    /// The asker is not interested any more: its reply, should it come, concerns nobody.
    pub(super) fn abandon(
        &mut self,
        dialect: Dialect,
        owed: &mut VecDeque<Event>,
        key: ConversationId,
        id: MessageId,
    ) -> Result<(), CommandError> {
        self.take_pending(key, id).ok_or(CommandError::NotOutstanding)?;
        self.end_silent_close(dialect, owed, key);
        Ok(())
    }

    /// In 1.0 a close is not answered: the conversation ends with its last request.
    fn end_silent_close(&mut self, dialect: Dialect, owed: &mut VecDeque<Event>, key: ConversationId) {
        let over = |conversation: &Conversation| {
            conversation.phase == Phase::Closing && conversation.pending.is_empty()
        };
        if dialect == Dialect::V1 && self.conversations.get(&key).is_some_and(|it| over(it)) {
            self.conversations.remove(&key);
            owed.push_back(Event::Ended { conversation: key });
        }
    }
}

impl Outstanding {
    fn begin(&mut self, key: ConversationId, pending: &Pending) {
        self.count += 1;
        if let Some(deadline) = pending.deadline {
            self.deadlines.insert((deadline, key, pending.id), ());
        }
    }

    fn end(&mut self, key: ConversationId, pending: &Pending) {
        self.count -= 1;
        if let Some(deadline) = pending.deadline {
            self.deadlines.remove(&(deadline, key, pending.id));
        }
    }
}

impl Conversation {
    /// 1.0 is silent on success: there the conversation counts as open until an error comes.
    fn new(sender: &Sender, stream: StreamId) -> Self {
        let phase = match sender.dialect {
            Dialect::V1 => Phase::Open,
            Dialect::V2 => Phase::Opening,
        };
        Self {
            phase,
            answered: false,
            exited: false,
            stream,
            last_message: MessageId::new(0),
            exit: None,
            pending: VecDeque::new(),
            flow: sender.credit.flow(),
        }
    }

    /// Whether this may be the id of a message whose end nobody awaits: of those that are numbered here. What
    /// is delivered has its number from elsewhere, which does not tell.
    fn may_fail_unawaited(&self, key: ConversationId, id: MessageId) -> bool {
        let said = 1..=self.last_message.get().div_ceil(2);
        is_awaited(key.get()) && !is_awaited(id.get()) && said.contains(&id.get().div_ceil(2))
    }

    /// Where a message whose end is awaited stands among those of its conversation.
    fn position(&self, id: MessageId) -> Option<usize> {
        position(&self.pending, id, |pending| pending.id)
    }

    /// The same of a request.
    fn awaits_reply(&self, id: MessageId) -> Option<usize> {
        let at = self.position(id)?;
        self.pending.get(at).filter(|pending| pending.expects == Expects::Reply).map(|_| at)
    }

    const fn accepts_messages(&self, key: ConversationId) -> Result<(), CommandError> {
        match self.phase {
            Phase::Opening | Phase::Open => Ok(()),
            Phase::Closing | Phase::Closed => Err(CommandError::Closing(key)),
            Phase::Failed => Err(CommandError::Exited(key)),
        }
    }

    fn send_v2(
        &mut self,
        sender: &mut Sender,
        key: ConversationId,
        expects: Expects,
        (timeout, content, delivery): (Option<Duration>, &Content, Option<(MessageId, u8)>),
    ) -> Result<MessageId, CommandError> {
        let timeout_ms = timeout.filter(|_| expects == Expects::Reply).map(whole_millis);
        let flags = match expects {
            Expects::Nothing => 0,
            Expects::Acceptance => flag::CONFIRM,
            Expects::Reply => flag::WANTS_REPLY,
        } | if timeout_ms.is_some() { flag::TIMEOUT } else { 0 };
        let redelivered = delivery.map(|(_, redelivered)| redelivered).filter(|&times| times > 0);
        let flags = flags | if redelivered.is_some() { flag::REDELIVERED } else { 0 };
        let own =
            || MessageId::new(classed(self.last_message.get().div_ceil(2), expects != Expects::Nothing));
        let message_id = delivery.map_or_else(own, |(id, _)| id);
        if message_id <= self.last_message {
            return Err(CommandError::NotAscending { message: message_id, last: self.last_message });
        }
        let len = content.len();
        let (metadata_flag, metadata) = said_about(&content.metadata);
        let flags = flags | metadata_flag;
        let payload = &content.payload;
        let body = Body::Message { message_id, answers: None, timeout_ms, redelivered, metadata, payload };
        let frame = Frame { flags, stream: self.stream, body };
        sender.send_on_credit(Said::Message, (key, &mut self.flow), &frame, len)?;
        self.last_message = message_id;
        Ok(message_id)
    }
}

fn check_subject(limits: &Limits, subject: &str) -> Result<(), CommandError> {
    let (len, limit) = (subject.len(), limits.name_max);
    if len > limit { Err(CommandError::TooLarge { len, limit }) } else { Ok(()) }
}

fn send_v1(
    sender: &mut Sender,
    conversation_id: ConversationId,
    stream: StreamId,
    expects: Expects,
    content: &Content,
) -> Result<(), CommandError> {
    if content.metadata.headers().next().is_some() {
        return Err(CommandError::NeedsVersion2);
    }
    let flags = if expects == Expects::Reply { flag::REPLY } else { 0 };
    let envelope = envelope(&content.metadata, &content.payload);
    let body = Body::ConversationMessage { conversation_id, envelope };
    sender.send_payload(flags, stream, body)
}

/// The number of the next message, when there were `n` before it: odd when its end is awaited and
/// even when it is not. So a late or repeated end of the one is never taken for a failure of the
/// other, and nothing has to be remembered of what has ended.
const fn classed(n: u64, is_awaited: bool) -> u64 {
    n.saturating_mul(2).saturating_add(if is_awaited { 1 } else { 2 })
}

const fn is_awaited(number: u64) -> bool {
    number % 2 == 1
}

/// The stream of a number: its lower half.
const fn stream_of(number: u64) -> StreamId {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the stream")]
    StreamId::new(number as u32)
}

/// What is said about a payload, as it stands in a frame of 2.0, with its flag.
pub(super) fn said_about(metadata: &Metadata) -> (u8, Option<Metadata<&Bytes>>) {
    if metadata.is_empty() { (0, None) } else { (flag::METADATA, Some(metadata.convert(|block| block))) }
}

/// A payload in the envelope of 1.0, which has no room for headers.
pub(super) fn envelope<B>(metadata: &Metadata, payload: B) -> Envelope<&str, B> {
    let schema_id = metadata.schema_id().unwrap_or_default();
    Envelope { schema_id, causal_context: metadata.causal_context(), payload }
}

/// What the cause of a message takes in that envelope, if it has one.
pub(super) fn cause_len(metadata: &Metadata) -> usize {
    let CausalContext { parent_id, vector_clock_entry } = metadata.causal_context();
    parent_id.map_or(0, |id| size_of::<u32>() + id.len()) + vector_clock_entry.map_or(0, |_| size_of::<u64>())
}

/// In 2.0 a conversation has the number of its stream.
pub(super) const fn of_stream(stream: StreamId) -> ConversationId {
    ConversationId::new(stream.get() as u64)
}

/// How a request ended that the server says has failed.
pub(super) fn outcome_of(reason: ReasonCode, text: Option<alloc::string::String>) -> Outcome {
    match reason {
        ReasonCode::EXITED | ReasonCode::REPLACED => Outcome::Exited,
        ReasonCode::DEADLINE => Outcome::Deadline,
        reason => Outcome::Refused { reason, text },
    }
}

/// A timeout as it stands on the wire: rounded up, so that it is never shorter than was said.
pub(super) fn whole_millis(timeout: Duration) -> u32 {
    let rest = u64::from(timeout.subsec_nanos()).div_ceil(1_000_000);
    u32::try_from(timeout.as_secs().saturating_mul(1000).saturating_add(rest)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{CommandError, Dialect, Limits, Opener, Sender, stream_of, whole_millis};
    use crate::Config;

    #[test]
    fn a_timeout_is_never_shorter_on_the_wire_than_was_said() {
        let cases = [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(5), 5),
            (Duration::from_nanos(5_000_001), 6),
            (Duration::from_nanos(1_999_000_001), 2000),
            (Duration::MAX, u32::MAX),
        ];
        for (timeout, millis) in cases {
            assert_eq!(whole_millis(timeout), millis, "{timeout:?}");
        }
    }

    #[test]
    fn streams_of_2_0_are_used_up_and_those_of_1_0_start_over() {
        let limits = Limits::default();
        for (numbers, dialect, opens) in
            [((1 << 31) - 1, Dialect::V2, true), (1 << 31, Dialect::V2, false), (1 << 31, Dialect::V1, true)]
        {
            let mut client = Opener { numbers, ..Opener::default() };
            let mut sender = Sender::new(&Config::default());
            sender.dialect = dialect;
            let opened = client.open(&mut sender, &limits, "subject");
            assert_eq!(opened.is_ok(), opens, "{numbers} before it: {opened:?}");
            if let Err(error) = opened {
                assert!(matches!(error, CommandError::Limit { limit: 0x8000_0000, .. }), "{error}");
            }
        }
    }

    #[test]
    fn a_stream_names_its_last_number_also_after_the_streams_have_started_over() {
        for numbers in [0, 1, (1 << 30) - 1, 1 << 30, (1 << 30) + 1, 1 << 40] {
            for is_awaited in [true, false] {
                let mut client = Opener { numbers, ..Opener::default() };
                let number = client.next_number(Dialect::V1, is_awaited);
                assert_eq!(number % 2, 1, "a client's streams are odd, and so never 0");
                client.numbers += 1;
                assert_eq!(client.number_on(stream_of(number)), Some(number));
            }
        }
        assert_eq!(Opener::default().number_on(stream_of(1)), None);
    }
}
