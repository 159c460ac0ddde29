//! The client's side: the conversations that it opened, and the requests that are outstanding.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::mem;
use core::time::Duration;

use bytes::Bytes;

use super::ConversationPhase as Phase;
use super::conversation::{Trigger, next};
use super::poll::position;
use super::sender::Sender;
use crate::wire::{Body, CausalContext, Dialect, Envelope, SchemaId, flag};
use crate::{
    CommandError, ConversationId, Event, Exit, Expects, Instant, Limits, MessageId, Outcome, Pid, ReasonCode,
    Rejected, Reply, SmallMap, StreamId,
};

/// The conversations of a client.
#[derive(Default)]
pub(super) struct Client {
    conversations: BTreeMap<ConversationId, Conversation>,
    /// The deadlines of all outstanding requests, the earliest first.
    deadlines: SmallMap<(Instant, ConversationId, MessageId), ()>,
    outstanding: usize,
    /// Numbers given out so far: in 1.0 to opens and messages, in 2.0 to opens.
    numbers: u64,
    pub(super) strays: u64,
}

struct Conversation {
    phase: Phase,
    /// Its open was answered.
    answered: bool,
    /// Its participant has exited, and none takes its place.
    exited: bool,
    /// The stream of the open; in 2.0 of everything.
    stream: StreamId,
    /// Messages sent so far (2.0). In 1.0 a message has no id on the wire: its stream stands for it.
    messages: u64,
    /// What a 1.0 server said of the exit of its participant.
    exit: Option<Box<str>>,
    /// Messages whose end is awaited, by ascending id.
    pending: VecDeque<Pending>,
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
    pub(super) payload: Bytes,
}

impl Client {
    pub(super) fn phase(&self, conversation: ConversationId) -> Option<Phase> {
        self.conversations.get(&conversation).map(|conversation| conversation.phase)
    }

    pub(super) fn exit_words(&self, conversation: ConversationId) -> Option<&str> {
        self.conversations.get(&conversation)?.exit.as_deref()
    }

    pub(super) const fn outstanding(&self) -> usize {
        self.outstanding
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&((deadline, ..), ())| deadline)
    }

    // ── commands ────────────────────────────────────────────────────────────────────────────────

    pub(super) fn open(
        &mut self,
        sender: &mut Sender,
        limits: &Limits,
        subject: &str,
    ) -> Result<ConversationId, CommandError> {
        if subject.len() > limits.name_max {
            return Err(CommandError::TooLarge { len: subject.len(), limit: limits.name_max });
        }
        if self.conversations.len() >= limits.conversations_max {
            let limit = limits.conversations_max as u64;
            return Err(CommandError::Limit { what: "open conversations", limit });
        }
        if sender.is_congested() {
            return Err(CommandError::Full);
        }
        let number = self.next_number(sender.dialect, true);
        if sender.dialect == Dialect::V2 && number > u64::from(u32::MAX) {
            let what = "conversations in the life of a connection";
            return Err(CommandError::Limit { what, limit: 1 << 31 });
        }
        let (stream, conversation_id) = (stream_of(number), ConversationId::new(number));
        sender.send(0, stream, Body::ConversationOpen { conversation_id, subject })?;
        self.numbers += 1;
        self.conversations.insert(conversation_id, Conversation::new(sender.dialect, stream));
        Ok(conversation_id)
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

    /// The last number whose stream this is; `None` for a stream that was never used.
    fn number_on(&self, stream: StreamId) -> Option<u64> {
        let last = 4 * self.numbers;
        let number = last & !u64::from(u32::MAX) | u64::from(stream.get());
        let number = if number > last { number.checked_sub(1 << 32)? } else { number };
        Some(number).filter(|number| number % 2 == 1)
    }

    pub(super) fn send(
        &mut self,
        now: Instant,
        sender: &mut Sender,
        limits: &Limits,
        message: Outgoing,
    ) -> Result<MessageId, Rejected<Bytes>> {
        let payload = message.payload.clone();
        self.try_send(now, sender, limits, message).map_err(|reason| Rejected { payload, reason })
    }

    fn try_send(
        &mut self,
        now: Instant,
        sender: &mut Sender,
        limits: &Limits,
        message: Outgoing,
    ) -> Result<MessageId, CommandError> {
        let Outgoing { conversation: key, expects, timeout, payload } = message;
        let awaited =
            expects == Expects::Reply || (expects == Expects::Acceptance && sender.dialect == Dialect::V2);
        if awaited && self.outstanding >= limits.requests_max {
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
                send_v1(sender, key, stream_of(number), expects, payload)?;
                self.numbers += 1;
                MessageId::new(number)
            }
            Dialect::V2 => conversation.send_v2(sender, expects, timeout, payload)?,
        };
        if awaited {
            let deadline = timeout.map(|timeout| now.after(timeout));
            conversation.pending.push_back(Pending { id, expects, deadline });
            if let Some(deadline) = deadline {
                self.deadlines.insert((deadline, key, id), ());
            }
            self.outstanding += 1;
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
        if dialect == Dialect::V1 && self.conversations.get(&key).is_some_and(over) {
            self.conversations.remove(&key);
            owed.push_back(Event::Ended { conversation: key });
        }
    }

    // ── 2.0 frames ──────────────────────────────────────────────────────────────────────────────

    pub(super) fn on_opened(&mut self, stream: StreamId, pid: Option<Pid>) -> Option<Event> {
        let conversation = of_stream(stream);
        self.step_once(conversation, Trigger::Opened, |conversation| &mut conversation.answered)?;
        Some(Event::Opened { conversation, pid })
    }

    pub(super) fn on_refused(
        &mut self,
        sender: &Sender,
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
        self.conversations.remove(&key);
        Some(Event::Refused { conversation: key, reason, text: sender.kept_text(text) })
    }

    pub(super) fn on_exited(
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

    pub(super) fn on_joined(&mut self, stream: StreamId, pid: Pid) -> Option<Event> {
        let conversation = of_stream(stream);
        self.step_while_served(conversation, Trigger::Joined)?;
        Some(Event::Joined { conversation, pid })
    }

    pub(super) fn on_failed(&mut self, owed: &mut VecDeque<Event>, stream: StreamId) -> Option<Event> {
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

    pub(super) fn on_closed(&mut self, owed: &mut VecDeque<Event>, key: ConversationId) -> Option<Event> {
        self.step(key, Trigger::Ended)?;
        let cancelled = Outcome::Refused { reason: ReasonCode::CANCELLED, text: None };
        self.end_requests(owed, key, &cancelled);
        self.conversations.remove(&key);
        owed.push_back(Event::Ended { conversation: key });
        None
    }

    pub(super) fn on_outcome(
        &mut self,
        stream: StreamId,
        message: MessageId,
        outcome: Outcome,
    ) -> Option<Event> {
        let conversation = of_stream(stream);
        let accepted = matches!(outcome, Outcome::Accepted { .. });
        let awaits_reply = self.pending(conversation, message).is_some_and(|it| it.expects == Expects::Reply);
        if accepted && awaits_reply {
            return None;
        }
        let was_pending = self.take_pending(conversation, message).is_some();
        let may_fail = |it: &Conversation| !accepted && it.may_fail_unawaited(message);
        if was_pending || self.conversations.get(&conversation).is_some_and(may_fail) {
            return Some(Event::Outcome { conversation, message, outcome });
        }
        self.strays += 1;
        None
    }

    pub(super) fn on_reply(&mut self, reply: Reply) -> Option<Event> {
        let pending = self.pending(reply.conversation, reply.answers);
        if pending.is_none_or(|pending| pending.expects != Expects::Reply) {
            self.strays += 1;
            return None;
        }
        if reply.last {
            self.take_pending(reply.conversation, reply.answers);
        }
        Some(Event::Reply(reply))
    }

    // ── 1.0 frames ──────────────────────────────────────────────────────────────────────────────

    /// A reply: it belongs to the request on its stream.
    pub(super) fn on_reply_v1(
        &mut self,
        owed: &mut VecDeque<Event>,
        key: ConversationId,
        stream: StreamId,
        payload: Bytes,
    ) -> Option<Event> {
        let answers = self.number_on(stream).map(MessageId::new);
        let Some(Pending { id: answers, .. }) = answers.and_then(|id| self.take_pending(key, id)) else {
            self.strays += 1;
            return None;
        };
        self.end_silent_close(Dialect::V1, owed, key);
        Some(Event::Reply(Reply { conversation: key, answers, record: None, last: true, payload }))
    }

    /// An error: of the message on its stream; on a stream where this conversation said nothing, of
    /// its open.
    pub(super) fn on_error_v1(
        &mut self,
        sender: &Sender,
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

    // ── ends ────────────────────────────────────────────────────────────────────────────────────

    /// Ends the requests whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant, owed: &mut VecDeque<Event>, dialect: Dialect) {
        while let Some(&((deadline, conversation, message), ())) = self.deadlines.first()
            && deadline <= now
        {
            self.take_pending(conversation, message);
            self.deadlines.remove(&(deadline, conversation, message));
            owed.push_back(Event::Outcome { conversation, message, outcome: Outcome::Deadline });
            self.end_silent_close(dialect, owed, conversation);
        }
    }

    /// The connection is over: what was outstanding has an unknown end.
    pub(super) fn end_all(&mut self, owed: &mut VecDeque<Event>) {
        for (conversation, ended) in mem::take(&mut self.conversations) {
            owed.extend(ended.pending.into_iter().map(|pending| Event::Outcome {
                conversation,
                message: pending.id,
                outcome: Outcome::Unknown,
            }));
        }
        self.deadlines = SmallMap::new();
        self.outstanding = 0;
    }

    fn end_requests(&mut self, owed: &mut VecDeque<Event>, key: ConversationId, outcome: &Outcome) {
        let Some(conversation) = self.conversations.get_mut(&key) else { return };
        for pending in mem::take(&mut conversation.pending) {
            self.outstanding -= 1;
            if let Some(deadline) = pending.deadline {
                self.deadlines.remove(&(deadline, key, pending.id));
            }
            let outcome = outcome.clone();
            owed.push_back(Event::Outcome { conversation: key, message: pending.id, outcome });
        }
    }

    fn pending(&self, key: ConversationId, id: MessageId) -> Option<&Pending> {
        let pending = &self.conversations.get(&key)?.pending;
        pending.get(position(pending, id, |pending| pending.id)?)
    }

    fn take_pending(&mut self, key: ConversationId, id: MessageId) -> Option<Pending> {
        let conversation = self.conversations.get_mut(&key)?;
        let at = position(&conversation.pending, id, |pending| pending.id)?;
        let pending = conversation.pending.remove(at)?;
        if let Some(deadline) = pending.deadline {
            self.deadlines.remove(&(deadline, key, id));
        }
        self.outstanding -= 1;
        Some(pending)
    }

    fn step(&mut self, key: ConversationId, trigger: Trigger) -> Option<()> {
        let moved = self.conversations.get_mut(&key).and_then(|conversation| {
            conversation.phase = next(conversation.phase, trigger)?;
            Some(())
        });
        if moved.is_none() {
            self.strays += 1;
        }
        moved
    }

    /// The same for what cannot be any more once the last participant has exited.
    fn step_while_served(&mut self, key: ConversationId, trigger: Trigger) -> Option<()> {
        if self.conversations.get(&key).is_some_and(|conversation| conversation.exited) {
            self.strays += 1;
            return None;
        }
        self.step(key, trigger)
    }

    /// The same for what a server may say only once, whatever phase it left the conversation in.
    fn step_once(
        &mut self,
        key: ConversationId,
        trigger: Trigger,
        said: impl Fn(&mut Conversation) -> &mut bool,
    ) -> Option<()> {
        if self.conversations.get_mut(&key).is_some_and(|conversation| *said(conversation)) {
            self.strays += 1;
            return None;
        }
        self.step(key, trigger)?;
        self.conversations.get_mut(&key).map(|conversation| *said(conversation) = true)
    }
}

impl Conversation {
    /// 1.0 is silent on success: there the conversation counts as open until an error comes.
    const fn new(dialect: Dialect, stream: StreamId) -> Self {
        let phase = match dialect {
            Dialect::V1 => Phase::Open,
            Dialect::V2 => Phase::Opening,
        };
        Self {
            phase,
            answered: false,
            exited: false,
            stream,
            messages: 0,
            exit: None,
            pending: VecDeque::new(),
        }
    }

    /// Whether this may be the id of a message whose end nobody awaits.
    fn may_fail_unawaited(&self, id: MessageId) -> bool {
        !is_awaited(id.get()) && (1..=2 * self.messages).contains(&id.get())
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
        expects: Expects,
        timeout: Option<Duration>,
        payload: Bytes,
    ) -> Result<MessageId, CommandError> {
        let timeout_ms = timeout.filter(|_| expects == Expects::Reply).map(whole_millis);
        let flags = match expects {
            Expects::Nothing => 0,
            Expects::Acceptance => flag::CONFIRM,
            Expects::Reply => flag::WANTS_REPLY,
        } | if timeout_ms.is_some() { flag::TIMEOUT } else { 0 };
        let message_id = MessageId::new(classed(self.messages, expects != Expects::Nothing));
        let body = Body::Message { message_id, answers: None, timeout_ms, payload };
        sender.send_payload(flags, self.stream, body)?;
        self.messages += 1;
        Ok(message_id)
    }
}

fn send_v1(
    sender: &mut Sender,
    conversation_id: ConversationId,
    stream: StreamId,
    expects: Expects,
    payload: Bytes,
) -> Result<(), CommandError> {
    let flags = if expects == Expects::Reply { flag::REPLY } else { 0 };
    let body = Body::ConversationMessage { conversation_id, envelope: bare(payload) };
    sender.send_payload(flags, stream, body)
}

/// The number of the next message, when there were `n` before it: odd when its end is awaited and
/// even when it is not. So a late or repeated end of the one is never taken for a failure of the
/// other, and nothing has to be remembered of what has ended.
const fn classed(n: u64, is_awaited: bool) -> u64 {
    if is_awaited { 2 * n + 1 } else { 2 * n + 2 }
}

const fn is_awaited(number: u64) -> bool {
    number % 2 == 1
}

/// The stream of a number: its lower half.
const fn stream_of(number: u64) -> StreamId {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the stream")]
    StreamId::new(number as u32)
}

/// An envelope that states no schema and no cause.
pub(super) const fn bare(payload: Bytes) -> Envelope<&'static str, Bytes> {
    let causal_context = CausalContext { parent_id: None, vector_clock_entry: None };
    Envelope { schema_id: SchemaId([0; 32]), causal_context, payload }
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
fn whole_millis(timeout: Duration) -> u32 {
    let rest = u64::from(timeout.subsec_nanos()).div_ceil(1_000_000);
    u32::try_from(timeout.as_secs().saturating_mul(1000).saturating_add(rest)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{Client, CommandError, Dialect, Limits, Sender, stream_of, whole_millis};

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
            let mut client = Client { numbers, ..Client::default() };
            let mut sender = Sender::new(&limits);
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
                let mut client = Client { numbers, ..Client::default() };
                let number = client.next_number(Dialect::V1, is_awaited);
                assert_eq!(number % 2, 1, "a client's streams are odd, and so never 0");
                client.numbers += 1;
                assert_eq!(client.number_on(stream_of(number)), Some(number));
            }
        }
        assert_eq!(Client::default().number_on(stream_of(1)), None);
    }
}
