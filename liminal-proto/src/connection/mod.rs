//! One side of one connection.

mod acceptor;
mod conversation;
mod credit;
mod input;
mod messages;
mod monitors;
mod offers;
mod opener;
mod output;
mod phase;
mod poll;
mod rate;
mod resemblance;
mod routes;
mod sender;
mod timers;
mod verbs;

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use core::fmt;

use bytes::Bytes;

pub use conversation::{ConversationPhase, Trigger as ConversationTrigger};
pub use credit::CreditLeft;
pub use monitors::{MonitorPhase, Trigger as MonitorTrigger};
pub use offers::{OfferPhase, Trigger as OfferTrigger};
pub use phase::Phase;

use acceptor::Acceptor;
use credit::Said;
use input::Input;
use monitors::Monitors;
use offers::Offers;
use opener::Opener;
use rate::Bucket;
use sender::Sender;
use timers::Timers;

use crate::wire::{Body, Dialect};
use crate::{
    CloseReason, Config, ConversationId, Event, Instant, LinkError, Misuse, Side, StreamId, Version,
};

/// One side of one connection: bytes in, events out; commands in, bytes out.
///
/// It performs no I/O and knows no clock. The embedder tells it what arrived ([`receive`](Self::receive)),
/// what was written ([`wrote`](Self::wrote)) and what time it is, asks it what happened
/// ([`poll`](Self::poll)), and writes what it wants written ([`to_write`](Self::to_write)). The crate's
/// front page shows the loop.
///
/// # Laws
///
/// 1. **Any order of calls is legal**, and being late loses nothing. Commands may come between any two
///    polls. A `now` earlier than one before counts as the latest one; a count beyond what there was is
///    clamped and kept as a [`Misuse`].
/// 2. **Chunking never matters**: however the input is split, the events and the answers are the same.
/// 3. **The input buffer is the only queue of undelivered input.** State moves as events are returned,
///    and reading pauses instead of memory growing.
/// 4. **After `tick(t)`, the next wake is later than t**, and a tick costs the same with ten thousand
///    open conversations as with one.
/// 5. **[`Event::Closed`] comes exactly once and last.** Farewell bytes stay writable after it; later
///    input does nothing, later commands are errors.
/// 6. **Errors say whose fault it is**: [`Misuse`] is our caller's, [`Violation`](crate::Violation)
///    the peer's, [`LinkError`] the transport's.
/// 7. **Memory is bounded by the configuration.** The declared length of a frame allocates nothing.
pub struct Connection {
    config: Config,
    /// The latest time that anybody told.
    now: Instant,
    phase: Phase,
    /// The handshake has been through; the phase forgets it in the end.
    negotiated: bool,
    side: Side,
    /// What this side opened.
    opener: Opener,
    /// What the other side opened.
    acceptor: Acceptor,
    /// What the client has offered to serve.
    offers: Offers,
    /// What the client has asked to be told of conversations.
    monitors: Monitors,
    input: Input,
    sender: Sender,
    timers: Timers,
    control: Bucket,
    handshake_control: u32,
    refusals: Bucket,
    /// Pings of the embedder that are not yet answered.
    pings: u32,
    /// Events that follow from one already returned: the ends of the requests that ended with it.
    /// At most one for each outstanding request.
    owed: VecDeque<Event>,
    /// A frame that opens a 1.0 conversation whose id is still that of one that is closing. What comes after
    /// it waits in the input until that one has ended.
    early_open: Option<(ConversationId, Bytes)>,
    /// The end of the input, which takes effect after what is buffered.
    input_end: Option<InputEnd>,
    /// Why the connection is over, until the embedder has been told.
    untold: Option<CloseReason>,
    misuse: Option<Misuse>,
}

#[derive(Clone, Copy)]
enum InputEnd {
    Eof,
    Lost(LinkError),
}

impl Connection {
    /// The client's side. Its Connect is ready to be written at once.
    #[must_use]
    pub fn client(now: Instant, config: Config) -> Self {
        let mut this = Self::new(now, config, Side::Client);
        this.begin_handshake();
        this
    }

    /// The server's side. It waits for Connect.
    #[must_use]
    pub fn server(now: Instant, config: Config) -> Self {
        Self::new(now, config, Side::Server)
    }

    fn new(now: Instant, config: Config, side: Side) -> Self {
        Self {
            now,
            phase: Phase::Connecting,
            negotiated: false,
            side,
            opener: Opener::default(),
            acceptor: Acceptor::default(),
            offers: Offers::default(),
            monitors: Monitors::default(),
            input: Input::default(),
            sender: Sender::new(&config),
            timers: Timers::new(now),
            control: Bucket::new(config.limits.control_frames, now),
            handshake_control: 0,
            refusals: Bucket::new(config.limits.refusals, now),
            pings: 0,
            owed: VecDeque::new(),
            early_open: None,
            input_end: None,
            untold: None,
            misuse: None,
            config,
        }
    }

    fn begin_handshake(&mut self) {
        let connect = Body::Connect {
            min_version: self.config.min_dialect.version(),
            max_version: self.config.max_dialect.version(),
            auth_token: self.config.token.clone(),
        };
        match self.sender.send(0, StreamId::CONTROL, connect) {
            Ok(()) => self.phase = Phase::Authenticating,
            // A token that fits no frame: nothing can be sent, so there will be no link.
            Err(_) => self.end(CloseReason::Link(LinkError::Failed)),
        }
    }

    // ── the world tells us ──────────────────────────────────────────────────────────────────────

    /// These bytes arrived. They are copied; the answer is how many were taken, and fewer than all
    /// means: poll, then offer the rest again. After the end of the connection all are taken and
    /// discarded.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> usize {
        self.advance_clock(now);
        if self.input_is_over() {
            return bytes.len();
        }
        let taken = self.input.append(bytes, self.config.limits.input_max);
        if taken > 0 {
            self.timers.heard(self.now, &self.config);
        }
        taken
    }

    /// Space to read input into directly: for the rest of a large frame, or for an embedder without a
    /// buffer of its own. `None`: reading is paused, or over. Report what was read with
    /// [`read_done`](Self::read_done).
    pub fn read_space(&mut self) -> Option<&mut [u8]> {
        if self.input_is_over() || self.is_paused() {
            return None;
        }
        Some(self.input.space(self.config.limits.input_max)).filter(|space| !space.is_empty())
    }

    /// `n` bytes were read into the space. More than the space is clamped and noted as a [`Misuse`].
    /// Polls may come in between; a [`receive`](Self::receive) takes the space back.
    pub fn read_done(&mut self, now: Instant, n: usize) {
        self.advance_clock(now);
        if self.phase == Phase::Closed {
            return;
        }
        let space = self.input.fill(n);
        if n > space {
            self.misuse.get_or_insert(Misuse::ReadTooMuch { reported: n, space });
        }
        if n > 0 {
            self.timers.heard(self.now, &self.config);
        }
    }

    /// The peer has closed its half. Takes effect after the input that is already buffered; a server
    /// still gives the answers that it owes.
    pub fn eof(&mut self, now: Instant) {
        self.advance_clock(now);
        self.input_end.get_or_insert(InputEnd::Eof);
    }

    /// The transport is gone. Takes effect after the input that is already buffered; nothing more can
    /// be written.
    pub fn link_lost(&mut self, now: Instant, why: LinkError) {
        self.advance_clock(now);
        self.input_end = Some(InputEnd::Lost(why));
        self.sender.output.shut();
    }

    /// Time has passed. Spurious ticks are free; what is due is found by the next poll.
    pub fn tick(&mut self, now: Instant) {
        self.advance_clock(now);
    }

    // ── we tell the world ───────────────────────────────────────────────────────────────────────

    /// The next output segments, for one vectored write: fills `into` and returns how many it filled.
    /// They stay until [`wrote`](Self::wrote) reports them.
    pub fn to_write<'a>(&'a self, into: &mut [&'a [u8]]) -> usize {
        self.sender.output.segments(into)
    }

    /// The first `n` bytes of the output were written. Partial writes are normal; more than there was
    /// is clamped and noted as a [`Misuse`].
    pub fn wrote(&mut self, n: usize) {
        let queued = self.sender.output.wrote(n);
        if n > queued {
            self.misuse.get_or_insert(Misuse::WroteTooMuch { reported: n, queued });
        }
        if queued > 0 {
            self.timers.wrote();
            if self.phase != Phase::Closed {
                self.pay_owed();
            }
        }
    }

    /// Up to `max` bytes of output as an owned buffer, to be written elsewhere: on another thread, by
    /// `io_uring`. Empty when there is none. They count as queued until [`wrote`](Self::wrote).
    pub fn take_write(&mut self, max: usize) -> Bytes {
        self.sender.output.take(max)
    }

    // ── questions ───────────────────────────────────────────────────────────────────────────────

    /// Which side this is.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// What time it is, as far as it was told.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Where the connection is in its life.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The version that was negotiated; `None` before that.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        if self.negotiated { Some(self.sender.dialect.version()) } else { None }
    }

    /// Where a conversation is in its life; `None` when there is none with this id.
    #[must_use]
    pub fn conversation_phase(&self, conversation: ConversationId) -> Option<ConversationPhase> {
        if self.is_own(conversation) {
            self.opener.phase(conversation)
        } else {
            self.acceptor.phase(conversation)
        }
    }

    /// Where an offer is in its life; `None` when there is none on this stream.
    #[must_use]
    pub fn offer_phase(&self, offer: StreamId) -> Option<OfferPhase> {
        self.offers.phase(offer)
    }

    /// How the credit of a conversation stands (2.0); `None` when there is none with this id.
    #[must_use]
    pub fn credit_left(&self, conversation: ConversationId) -> Option<CreditLeft> {
        let flow = if self.is_own(conversation) {
            self.opener.flow(conversation)
        } else {
            self.acceptor.flow(conversation)
        };
        flow.map(|flow| self.sender.credit.left(flow))
    }

    /// How the credit of all conversations together stands (2.0): of messages, and of replies.
    #[must_use]
    pub const fn connection_credit_left(&self) -> [CreditLeft; 2] {
        let credit = &self.sender.credit;
        [credit.left_in_all(Said::Message), credit.left_in_all(Said::Reply)]
    }

    /// Where a monitor, or a watch, is in its life; `None` when there is none on this stream.
    #[must_use]
    pub fn monitor_phase(&self, monitor: StreamId) -> Option<MonitorPhase> {
        self.monitors.phase(monitor)
    }

    /// Whether a [`poll`](Self::poll) would tell of something that commands have brought about: the end of a
    /// request, or of the connection.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.owed.is_empty() || self.untold.is_some()
    }

    /// Why the connection is over, from its end until [`Event::Closed`] tells it. In between come the ends of what was
    /// outstanding, and commands that are refused.
    #[must_use]
    pub const fn close_reason(&self) -> Option<&CloseReason> {
        self.untold.as_ref()
    }

    /// How many more bytes of input there is room for: what [`receive`](Self::receive) would take now.
    #[must_use]
    pub fn input_room(&self) -> usize {
        if self.input_is_over() { 0 } else { self.input.room(self.config.limits.input_max) }
    }

    /// Bytes of input that were taken and not yet delivered.
    #[must_use]
    pub const fn input_len(&self) -> usize {
        self.input.len()
    }

    /// What a 1.0 server said when it told a client that the participant of a conversation has exited: for
    /// people, as the server sent it, cut to the limit of texts. `None` where nothing was said, and on a 2.0
    /// link, which has [`Event::Exited`].
    #[must_use]
    pub fn exit_words(&self, conversation: ConversationId) -> Option<&str> {
        self.opener.exit_words(conversation)
    }

    /// Bytes that this side holds: input that was not delivered yet, output that was not written yet, and
    /// answers that wait for those before them. Never more than [`Limits::held_bytes_max`](crate::Limits).
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.input.len() + self.early_open_len() + self.output_len() + self.acceptor.held_bytes()
    }

    /// The same, counted afresh from every queue. Always equals [`held_bytes`](Self::held_bytes); for tests.
    #[must_use]
    pub fn recount_held(&self) -> usize {
        let answers = self.acceptor.recount_held();
        self.input.recount() + self.early_open_len() + self.sender.output.recount() + answers
    }

    const fn early_open_len(&self) -> usize {
        match &self.early_open {
            Some((_, frame)) => frame.len(),
            None => 0,
        }
    }

    /// Bytes of output that are not yet written.
    #[must_use]
    pub const fn output_len(&self) -> usize {
        self.sender.output.len()
    }

    /// Whether so little output is left to be written that a payload of any length would be taken. Who has
    /// much to tell that can wait, such as the records of a watch, waits for this, and so stands in nobody's way.
    #[must_use]
    pub fn is_output_low(&self) -> bool {
        self.sender.has_room(usize::MAX)
    }

    /// Frames that were valid and concerned nothing: replies to nobody's request, frames of a
    /// conversation long gone, frames in the wrong direction.
    #[must_use]
    pub const fn strays(&self) -> u64 {
        self.opener.strays + self.acceptor.strays
    }

    /// The first mistake that the embedder made, if it made one.
    #[must_use]
    pub const fn misuse(&self) -> Option<Misuse> {
        self.misuse
    }

    // ── shared by the parts ─────────────────────────────────────────────────────────────────────

    fn advance_clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Whether a conversation is one that this side opened. In 2.0 its id, the number of its stream, tells: a
    /// client's are odd and a server's even. In 1.0 only clients open conversations.
    const fn is_own(&self, conversation: ConversationId) -> bool {
        let clients = match self.sender.dialect {
            Dialect::V1 => true,
            Dialect::V2 => conversation.get() % 2 == 1,
        };
        clients == matches!(self.side, Side::Client)
    }

    fn input_is_over(&self) -> bool {
        self.phase == Phase::Closed || self.input_end.is_some()
    }

    /// A 1.0 client that does not read its output is not read from; 2.0 input goes on: what is said in it is bounded
    /// by credit, and what is opened is refused as busy. A client's side never pauses: what it reads makes it write nothing,
    /// and two sides that both pause would wait for each other.
    fn is_paused(&self) -> bool {
        let waits =
            |(id, _): &(ConversationId, Bytes)| self.acceptor.phase(*id) == Some(ConversationPhase::Closing);
        self.side == Side::Server
            && self.sender.dialect == Dialect::V1
            && (self.sender.is_congested() || self.early_open.as_ref().is_some_and(waits))
    }

    /// Ends the connection. Outstanding requests end as unknown, and the reason comes after them.
    fn end(&mut self, reason: CloseReason) {
        if let Some(phase) = phase::next(self.phase, phase::Trigger::Ended) {
            self.phase = phase;
            self.input = Input::default();
            self.early_open = None;
            self.opener.end_all(&mut self.owed);
            self.untold = Some(reason);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side())
            .field("phase", &self.phase)
            .field("version", &self.version())
            .field("now", &self.now)
            .field("input", &format_args!("{} bytes", self.input.len()))
            .field("output", &format_args!("{} bytes", self.output_len()))
            .finish_non_exhaustive()
    }
}
