//! One client: its connection, and what has arrived for its conversations. No I/O: the transports move
//! the bytes, and whoever waits leaves a [`Waker`].

mod failure;
mod line;
mod mailbox;
mod monitors;
#[cfg(test)]
mod pair;
mod participants;
mod reconnect;
mod recording;
mod services;
mod standing;

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use liminal_core::transcript::OpenerId;
use liminal_proto::wire::Dialect;
use liminal_proto::{
    CloseReason, CommandError, Config, Connection, Content, ConversationId, ConversationPhase, CreditGiven,
    Event, Expects, Instant, LinkError, Message, MessageId, Next, Phase, Pid, RecordNumber, Rejected, Reply,
    StreamId, Terms, Version, Wake, Wants,
};

use self::failure::Failed;
pub use self::line::{Line, LineWatch, Look, OfferOn, ServiceId, ToOffer};
use self::mailbox::{Awaited, Mailbox, Opening};
use self::monitors::Monitors;
pub use self::monitors::{NOTICES_MAX, WATCHED_BYTES_MAX};
pub use self::participants::{Linked, Participants, Registration, SharedClient};
pub use self::reconnect::{Backoff, Reconnect};
use self::recording::Recording;
pub use self::services::Offered;
use self::services::Services;
pub use self::standing::{Connectivity, Outage, Standing};
use crate::error::{
    AskError, AwaitCrashError, CloseError, Crash, Exited, Lost, MessageError, NeedsVersion2, OpenError,
    ReceiveError, Refusal,
};
use crate::{Clock, Recorder};

/// Replies kept for one conversation until they are received, in bytes. Beyond it no further request is
/// sent, so a caller that never receives costs at most this and what was under way.
pub const UNCLAIMED_BYTES_MAX: usize = 2 << 20;

/// One client: its connection, and what has arrived for its conversations.
///
/// Everything a handle waits for is a question here that answers `None` while there is nothing to say.
/// A transport asks, waits for its [`Waker`], and asks again.
#[derive(Debug)]
pub struct Client {
    /// The connection. A transport moves its bytes; events are taken with [`Client::take_events`].
    pub connection: Connection,
    clock: Clock,
    version: Option<Version>,
    mailboxes: BTreeMap<ConversationId, Mailbox>,
    waiters: BTreeMap<Waiter, Waker>,
    next_waiter: u64,
    pings: u64,
    pongs: u64,
    end: Option<CloseReason>,
    recording: Option<Recording>,
    /// What the last command that could not be said waits for.
    wanting: Topic,
    /// What it serves, since it first did.
    services: Option<Box<Services>>,
    /// What it has asked to be told of conversations of others.
    monitors: Monitors,
}

/// What somebody waits for. The end of the connection wakes everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Something of the connection as a whole: its handshake, a pong.
    Connection,
    /// Room in the output, or credit for all conversations together.
    Room,
    /// Credit in one conversation.
    Credit(ConversationId),
    /// Anything of one conversation.
    Conversation(ConversationId),
    /// The end of one message.
    Message(ConversationId, MessageId),
    /// An offer of this side.
    Offer(StreamId),
    /// A monitor, or a watch, of this side.
    Monitor(StreamId),
}

/// Somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiter {
    topic: Topic,
    number: u64,
}

impl Client {
    /// A client that is about to shake hands.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_clock(config, Clock::new())
    }

    /// The same; what it says and is told is written down, once a server of the same recorder has accepted its
    /// connection. The next that one accepts must be this.
    #[must_use]
    pub fn recorded(config: Config, recorder: &Recorder) -> Self {
        let mut this = Self::with_clock(config, *recorder.clock());
        this.recording = Some(Recording::new(recorder));
        this
    }

    /// The same, told the time by this clock: the one of the client whose connection was lost.
    #[must_use]
    pub fn with_clock(config: Config, clock: Clock) -> Self {
        Self {
            connection: Connection::client(clock.now(), Config { credit: CreditGiven::Consumed, ..config }),
            clock,
            version: None,
            mailboxes: BTreeMap::new(),
            waiters: BTreeMap::new(),
            next_waiter: 0,
            pings: 0,
            pongs: 0,
            end: None,
            recording: None,
            wanting: Topic::Room,
            services: None,
            monitors: Monitors::default(),
        }
    }

    /// Who it is in the transcript, if it is recorded.
    #[must_use]
    pub fn opener(&self) -> Option<OpenerId> {
        self.recording.as_ref().map(Recording::opener)
    }

    /// Notes something that was said on the connection itself, without this. To be called before it is written.
    pub fn said(&mut self, event: Event) {
        if let Some(recording) = &mut self.recording {
            recording.said(self.connection.now(), event);
        }
    }

    /// The clock that the connection is told the time by.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    // ── what a transport does ───────────────────────────────────────────────────────────────────

    /// Tells the connection the time, [delivers](Self::deliver) what has happened, and says what the
    /// connection waits for.
    pub fn take_events(&mut self) -> Wants {
        let now = self.clock.now();
        self.connection.tick(now);
        self.deliver()
    }

    /// Delivers what has happened to the mailboxes, wakes those who wait for it, and says what the
    /// connection waits for: as of the time that it was told last.
    pub fn deliver(&mut self) -> Wants {
        loop {
            match self.connection.poll() {
                Next::Event(event) => {
                    if let Some(event) = self.on_service_event(event) {
                        self.on_event(event);
                    }
                }
                Next::Wait(wants) => {
                    if let Some(recording) = &mut self.recording {
                        recording.waits(self.connection.now());
                    }
                    return wants;
                }
            }
        }
    }

    /// These bytes were read.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Wants {
        let now = self.clock.now();
        loop {
            let taken = self.connection.receive(now, bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
            let wants = self.deliver();
            if bytes.is_empty() || taken == 0 {
                return wants;
            }
        }
    }

    /// The stream has ended.
    pub fn eof(&mut self) -> Wants {
        self.connection.eof(self.clock.now());
        self.take_events()
    }

    /// The transport failed.
    pub fn link_lost(&mut self, error: &std::io::Error) -> Wants {
        self.connection.link_lost(self.clock.now(), link_error(error));
        self.take_events()
    }

    /// Notes that somebody waits for something.
    pub fn wait(&mut self, waiter: Option<Waiter>, topic: Topic, waker: &Waker) -> Waiter {
        let waiter = waiter.filter(|waiter| waiter.topic == topic).unwrap_or_else(|| {
            self.next_waiter += 1;
            Waiter { topic, number: self.next_waiter }
        });
        self.waiters.entry(waiter).or_insert_with(|| waker.clone()).clone_from(waker);
        waiter
    }

    /// Somebody does not wait any more.
    pub fn stop_waiting(&mut self, waiter: Waiter) {
        self.waiters.remove(&waiter);
    }

    /// Wakes one of those who wait: the turn to read is free. Says whether there is one.
    pub fn pass_turn(&self) -> bool {
        let next = self.waiters.values().next();
        if let Some(waker) = next {
            waker.wake_by_ref();
        }
        next.is_some()
    }

    /// Wakes those who wait for this.
    pub fn wake(&self, topic: Topic) {
        if self.waiters.is_empty() {
            return;
        }
        let first = Waiter { topic, number: 0 };
        let last = Waiter { topic, number: u64::MAX };
        self.waiters.range(first..=last).for_each(|(_, waker)| waker.wake_by_ref());
    }

    fn wake_all(&self) {
        self.waiters.values().for_each(Waker::wake_by_ref);
    }

    fn on_event(&mut self, event: Event) {
        if let Some(recording) = &mut self.recording {
            recording.told(self.connection.now(), &event);
        }
        match event {
            Event::Connected { version } => self.version = Some(version),
            Event::Pong => self.pongs += 1,
            Event::Closed(reason) => {
                self.end = Some(reason.clone());
                self.on_arrival(Event::Closed(reason));
            }
            Event::Room { conversation } => return self.on_room(conversation),
            event => return self.on_conversation_event(event),
        }
        self.wake_all();
    }

    /// The peer has given credit.
    fn on_room(&mut self, conversation: Option<ConversationId>) {
        match conversation {
            Some(conversation) if self.mailboxes.contains_key(&conversation) => {
                self.wake(Topic::Credit(conversation));
            }
            Some(_) => self.on_arrival(Event::Room { conversation }),
            None => {
                self.wake(Topic::Room);
                self.on_arrival(Event::Room { conversation });
            }
        }
    }

    fn on_conversation_event(&mut self, event: Event) {
        match event {
            Event::Opened { conversation, pid } => {
                self.with(conversation, |mailbox| mailbox.opening = Opening::Open(pid));
            }
            Event::Refused { conversation, reason, text } => {
                let refusal = Refusal { reason, text };
                self.with(conversation, |mailbox| mailbox.opening = Opening::Refused(refusal));
            }
            Event::Reply(reply) => {
                let (conversation, len) = (reply.conversation, reply.len());
                self.wake(Topic::Message(conversation, reply.answers));
                let mut kept = false;
                self.with(conversation, |mailbox| kept = mailbox.on_reply(reply, UNCLAIMED_BYTES_MAX));
                if !kept {
                    self.connection.consumed(self.connection.now(), conversation, len);
                }
            }
            Event::Outcome { conversation, message, outcome } => {
                self.wake(Topic::Message(conversation, message));
                let phase = self.connection.conversation_phase(conversation);
                let failed = phase == Some(ConversationPhase::Failed);
                let words = self.connection.exit_words(conversation).map(String::from);
                self.with(conversation, |mailbox| {
                    mailbox.exit_words = mailbox.exit_words.take().or(words);
                    mailbox.on_outcome(message, outcome, failed);
                });
            }
            Event::Exited { conversation, exit } => {
                let observed = std::time::Instant::now();
                self.with(conversation, |mailbox| mailbox.on_exited(Crash::of(exit, observed)));
            }
            Event::Joined { conversation, pid } => {
                self.with(conversation, |mailbox| mailbox.on_served_by(Some(pid)));
            }
            Event::Failed { conversation } => self.with(conversation, |mailbox| mailbox.exited = true),
            Event::Ended { conversation } => self.with(conversation, |mailbox| mailbox.ended = true),
            event => self.on_monitor_event(event),
        }
    }

    fn with(&mut self, conversation: ConversationId, change: impl FnOnce(&mut Mailbox)) {
        if let Some(mailbox) = self.mailboxes.get_mut(&conversation) {
            change(mailbox);
            self.wake(Topic::Conversation(conversation));
            if !self.waiters.is_empty() && self.standing(conversation).is_err() {
                self.wake(Topic::Credit(conversation));
            }
        }
    }

    // ── what a handle asks ──────────────────────────────────────────────────────────────────────

    /// How the handshake ended.
    #[must_use]
    pub fn connected(&self) -> Option<Result<Version, CloseReason>> {
        let failed = || self.end.clone().map(Err);
        self.version.map(Ok).or_else(failed)
    }

    /// Whether the server should be dialled again with an offer of 1.0 alone.
    #[must_use]
    pub fn suggests_redial(&self, offered: &Config) -> bool {
        let speaks_v1 = offered.min_dialect == Dialect::V1;
        let suggests = |end: &CloseReason| end.suggests_redial(offered.max_dialect);
        speaks_v1 && self.version.is_none() && self.end.as_ref().is_some_and(suggests)
    }

    /// How the connection ended.
    #[must_use]
    pub fn ended(&self) -> Option<CloseReason> {
        self.end.clone()
    }

    /// Sends a ping and says which pong to wait for. `Ok(None)`: there is no room now.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub fn ping(&mut self) -> Result<Option<u64>, Lost> {
        let now = self.clock.now();
        match self.connection.ping(now) {
            Ok(()) => {
                self.pings += 1;
                Ok(Some(self.pings))
            }
            Err(reason) if waits(&reason) => Ok(self.wants(&reason)),
            Err(_) => Err(Lost(self.lost().unwrap_or(CloseReason::Local))),
        }
    }

    /// Whether this many pings were answered.
    #[must_use]
    pub fn pong(&self, number: u64) -> Option<Result<(), Lost>> {
        if self.pongs >= number {
            return Some(Ok(()));
        }
        self.end.clone().map(|end| Err(Lost(end)))
    }

    /// Opens a conversation. `Ok(None)`: there is no room now.
    ///
    /// # Errors
    ///
    /// The connection does not take the command.
    pub fn open(&mut self, subject: &str) -> Result<Option<ConversationId>, OpenError> {
        let opened = self.connection.open(self.clock.now(), subject);
        self.on_open(opened, subject, Terms::default())
    }

    /// Opens a conversation on terms of one's own. `Ok(None)`: there is no room now.
    ///
    /// # Errors
    ///
    /// The peer speaks 1.0, or the connection does not take the command.
    pub fn open_on(&mut self, subject: &str, terms: Terms) -> Result<Option<ConversationId>, OpenError> {
        let opened = self.connection.open_on(self.clock.now(), subject, terms);
        self.on_open(opened, subject, terms)
    }

    fn on_open(
        &mut self,
        opened: Result<ConversationId, CommandError>,
        subject: &str,
        terms: Terms,
    ) -> Result<Option<ConversationId>, OpenError> {
        let lost = self.lost_by(&opened);
        let conversation = match (opened, lost) {
            (Ok(conversation), _) => conversation,
            (Err(reason), None) if waits(&reason) => return Ok(self.wants(&reason)),
            (Err(_), Some(end)) => return Err(OpenError::Lost(end)),
            (Err(CommandError::NeedsVersion2), None) => return Err(OpenError::NeedsVersion2),
            (Err(error), None) => return Err(OpenError::Rejected(error)),
        };
        let silent = self.version == Some(Version::V1_0);
        let opening = if silent { Opening::Open(None) } else { Opening::Asked };
        self.mailboxes.insert(conversation, Mailbox::new(opening));
        if self.recording.is_some() {
            self.said(Event::Open { conversation, subject: subject.to_owned(), terms });
        }
        Ok(Some(conversation))
    }

    /// How the opening ended. A conversation whose time was over before that was open, and is closed.
    #[must_use]
    pub fn opened(&self, conversation: ConversationId) -> Option<Result<(), OpenError>> {
        let mailbox = self.mailboxes.get(&conversation);
        match mailbox.map(|mailbox| (&mailbox.opening, mailbox.ended)) {
            Some((Opening::Open(_), _) | (Opening::Asked, true)) => Some(Ok(())),
            Some((Opening::Refused(refusal), _)) => Some(Err(OpenError::Refused(refusal.clone()))),
            Some((Opening::Asked, false)) | None => self.end.clone().map(|end| Err(OpenError::Lost(end))),
        }
    }

    /// Sends a message that wants no reply. `Ok(None)`: there is no room or no credit now. On a 2.0 link its
    /// acceptance is told by [`accepted`](Self::accepted); on a 1.0 link nobody tells it.
    ///
    /// # Errors
    ///
    /// The conversation takes no messages.
    pub fn message(
        &mut self,
        conversation: ConversationId,
        content: &Content,
    ) -> Result<Option<MessageId>, MessageError> {
        self.check(conversation).map_err(|failed| failed.of_message())?;
        let (now, expects) = (self.clock.now(), Expects::Acceptance);
        match self.connection.message(now, conversation, expects, content.clone()) {
            Ok(message) => {
                self.said_message(conversation, message, expects, None, content);
                if self.version != Some(Version::V1_0) {
                    self.with(conversation, |mailbox| mailbox.expect(message, Awaited::Alone));
                }
                Ok(Some(message))
            }
            Err(Rejected { reason, .. }) if waits(&reason) => Ok(self.wants(&reason)),
            Err(rejected) => Err(self.failure(conversation, rejected.reason).of_message()),
        }
    }

    /// Whether a message was accepted.
    pub fn accepted(
        &mut self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Option<Result<(), MessageError>> {
        if self.version == Some(Version::V1_0) {
            return Some(Ok(()));
        }
        let ended = self.claim(conversation, message)?;
        Some(ended.map(drop).map_err(|failed| failed.of_message()))
    }

    /// Sends a request whose reply one caller waits for, or `receiver`s receive. Its time begins `now`.
    /// `Ok(None)`: there is no room or no credit now.
    ///
    /// # Errors
    ///
    /// The conversation takes no messages.
    pub fn ask(
        &mut self,
        now: std::time::Instant,
        conversation: ConversationId,
        content: &Content,
        timeout: Option<Duration>,
        to_receive: bool,
    ) -> Result<Option<MessageId>, AskError> {
        self.check(conversation).map_err(|failed| failed.of_ask())?;
        let full = |mailbox: &Mailbox| mailbox.is_full(UNCLAIMED_BYTES_MAX);
        if to_receive && self.mailboxes.get(&conversation).is_some_and(full) {
            let limit = UNCLAIMED_BYTES_MAX as u64;
            return Err(AskError::Rejected(CommandError::Limit {
                what: "bytes of unclaimed replies",
                limit,
            }));
        }
        let now = self.clock.at(now);
        match self.connection.ask(now, conversation, timeout, content.clone()) {
            Ok(message) => {
                self.said_message(conversation, message, Expects::Reply, timeout, content);
                let awaited = if to_receive { Awaited::Received } else { Awaited::Alone };
                self.with(conversation, |mailbox| mailbox.expect(message, awaited));
                Ok(Some(message))
            }
            Err(Rejected { reason, .. }) if waits(&reason) => Ok(self.wants(&reason)),
            Err(rejected) => Err(self.failure(conversation, rejected.reason).of_ask()),
        }
    }

    /// The reply to one request.
    pub fn reply(
        &mut self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Option<Result<Bytes, AskError>> {
        let ended = self.claim(conversation, message)?;
        Some(ended.map_err(|failed| failed.of_ask()))
    }

    /// The next reply to any request whose reply nobody awaits alone. Something may be to be written afterwards:
    /// that the peer may say more.
    pub fn receive_reply(&mut self, conversation: ConversationId) -> Option<Result<Reply, ReceiveError>> {
        let Some(mailbox) = self.mailboxes.get_mut(&conversation) else {
            return Some(Err(ReceiveError::Closed));
        };
        if let Some((next, len)) = mailbox.receive() {
            if let Some(len) = len {
                // What had no room for it on the other side may come now.
                self.connection.consumed(self.clock.now(), conversation, len);
            }
            return Some(next);
        }
        match self.standing(conversation) {
            Ok(()) => None,
            Err(Failed::Exited(exit)) => Some(Err(ReceiveError::Exited(exit))),
            Err(Failed::Lost(end)) => Some(Err(ReceiveError::Lost(end))),
            Err(_) => Some(Err(ReceiveError::Closed)),
        }
    }

    /// The caller gives up on one message.
    pub fn forget(&mut self, conversation: ConversationId, message: MessageId) {
        self.with(conversation, |mailbox| mailbox.forget(message));
        // Not outstanding any more is what this wants to bring about.
        let abandoned = self.connection.abandon(conversation, message);
        if let (Ok(()), Some(recording)) = (abandoned, &mut self.recording) {
            recording.gave_up(self.connection.now(), conversation, message);
        }
    }

    /// The crash of the participant, the last one of those that are known.
    #[must_use]
    pub fn crash(&self, conversation: ConversationId) -> Option<Crash> {
        self.mailboxes.get(&conversation)?.crash.clone()
    }

    /// The last exit that is known, if it is not this one and the conversation was to go on.
    #[must_use]
    pub fn outlived_exit(&self, conversation: ConversationId, known: Option<RecordNumber>) -> Option<Crash> {
        let last = self.mailboxes.get(&conversation)?.crash.as_ref();
        last.filter(|crash| crash.goes_on && Some(crash.record) != known).cloned()
    }

    /// What is known of the exit of the participant.
    fn exit(&self, conversation: ConversationId) -> Exited {
        self.mailboxes.get(&conversation).map_or(Exited::Words(None), Mailbox::exit)
    }

    /// The crash, or that none will come.
    #[must_use]
    pub fn await_crash(&self, conversation: ConversationId) -> Option<Result<Crash, AwaitCrashError>> {
        if self.version == Some(Version::V1_0) {
            return Some(Err(AwaitCrashError::NeedsVersion2));
        }
        let mailbox = self.mailboxes.get(&conversation);
        if let Some(crash) = mailbox.and_then(|mailbox| mailbox.crash.clone()) {
            return Some(Ok(crash));
        }
        match (&self.end, mailbox) {
            (Some(end), _) => Some(Err(AwaitCrashError::Lost(end.clone()))),
            (None, None) => Some(Err(AwaitCrashError::Closed)),
            (None, Some(mailbox)) => mailbox.ended.then_some(Err(AwaitCrashError::Closed)),
        }
    }

    /// The participants of the conversation: one, or none when it only records or nobody has taken the
    /// place of one that exited.
    ///
    /// # Errors
    ///
    /// The peer speaks 1.0.
    pub fn participant_pids(&self, conversation: ConversationId) -> Result<Vec<Pid>, NeedsVersion2> {
        if self.version == Some(Version::V1_0) {
            return Err(NeedsVersion2);
        }
        let alive = self.mailboxes.get(&conversation).filter(|mailbox| !mailbox.ended);
        Ok(match alive.map(|mailbox| &mailbox.opening) {
            Some(Opening::Open(pid)) => pid.iter().copied().collect(),
            Some(Opening::Asked | Opening::Refused(_)) | None => Vec::new(),
        })
    }

    /// Closes a conversation.
    ///
    /// # Errors
    ///
    /// The connection does not take the command.
    pub fn close(&mut self, conversation: ConversationId) -> Result<(), CloseError> {
        let now = self.clock.now();
        let closed = self.connection.close(now, conversation, None);
        let lost = self.lost_by(&closed);
        match closed {
            Ok(()) => {
                self.give_credit(now, conversation);
                self.said(Event::Close { conversation });
                Ok(())
            }
            // It is over already, or on its way there.
            Err(CommandError::NotOpen(_) | CommandError::Closing(_)) => Ok(()),
            Err(error) => Err(lost.map_or(CloseError::Rejected(error), CloseError::Lost)),
        }
    }

    /// Whether the conversation is over.
    #[must_use]
    pub fn closed(&self, conversation: ConversationId) -> Option<Result<(), CloseError>> {
        let over = match self.mailboxes.get(&conversation) {
            None => true,
            Some(mailbox) => mailbox.ended || matches!(mailbox.opening, Opening::Refused(_)),
        };
        if over {
            return Some(Ok(()));
        }
        self.end.clone().map(|end| Err(CloseError::Lost(end)))
    }

    /// What nobody reads must not keep a conversation from its end.
    fn give_credit(&mut self, now: Instant, conversation: ConversationId) {
        let unread = self.mailboxes.get_mut(&conversation).map(Mailbox::give_credit);
        for len in unread.into_iter().flatten() {
            self.connection.consumed(now, conversation, len);
        }
    }

    /// Nobody holds the conversation any more: it is closed, and what arrives for it concerns nobody.
    pub fn release(&mut self, conversation: ConversationId) {
        // Over already is what this wants to bring about.
        let _ = self.close(conversation);
        self.give_credit(self.clock.now(), conversation);
        self.mailboxes.remove(&conversation);
    }

    /// Closes the connection gracefully.
    pub fn disconnect(&mut self) {
        if !matches!(self.connection.phase(), Phase::ClosingLocal | Phase::Closed) {
            self.said(Event::Closed(CloseReason::Local));
        }
        self.connection.disconnect(self.clock.now());
    }

    /// What the last command that could not be said waits for.
    #[must_use]
    pub const fn wanting(&self) -> Topic {
        self.wanting
    }

    /// A command cannot be said now, for this reason. There is nothing to say of it but that.
    const fn wants<T>(&mut self, reason: &CommandError) -> Option<T> {
        self.wanting = match reason {
            CommandError::NoCredit(Some(conversation)) => Topic::Credit(*conversation),
            _ => Topic::Room,
        };
        None
    }

    fn said_message(
        &mut self,
        conversation: ConversationId,
        id: MessageId,
        expects: Expects,
        timeout: Option<Duration>,
        content: &Content,
    ) {
        if self.recording.is_some() {
            let Content { payload, metadata } = content.clone();
            self.said(Event::Message(Message {
                conversation,
                id,
                expects,
                timeout,
                redelivered: 0,
                payload,
                metadata,
            }));
        }
    }

    fn claim(&mut self, conversation: ConversationId, message: MessageId) -> Option<Result<Bytes, Failed>> {
        let Some(mailbox) = self.mailboxes.get_mut(&conversation) else {
            return Some(Err(Failed::Closed));
        };
        let ended = mailbox.claim(message)?;
        Some(ended.map_err(|ended| self.failed(conversation, ended)))
    }
}

/// Whether a command that was not taken for this reason may be taken later.
const fn waits(reason: &CommandError) -> bool {
    matches!(reason, CommandError::Full | CommandError::NoCredit(_))
}

/// What the protocol calls an error of the operating system.
#[must_use]
pub fn link_error(error: &std::io::Error) -> LinkError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => LinkError::Reset,
        ErrorKind::TimedOut => LinkError::TimedOut,
        _ => LinkError::Failed,
    }
}

/// When the connection wants to be told the time.
#[must_use]
pub fn wake_at(wants: &Wants, clock: &Clock) -> Option<std::time::Instant> {
    match wants.wake {
        Wake::Never => None,
        Wake::At(at, _) => clock.std(at),
    }
}
