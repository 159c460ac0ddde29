//! Configuration of one connection: every limit, its default, and the reason for it.

use core::time::Duration;

use bytes::Bytes;

use crate::wire::{Dialect, HEADER_LEN};

/// What one connection is told at its birth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The lowest version to speak. Default: 1.0.
    pub min_dialect: Dialect,
    /// The highest version to speak. Default: 2.0.
    pub max_dialect: Dialect,
    /// A client sends this token; a server with a token that is not empty demands it. Default: empty.
    pub token: Bytes,
    /// Whether and when to ask a silent peer for a sign of life (2.0 only). Default: every 15 s.
    ///
    /// It catches half-open links and nothing else: a crash never waits for it.
    pub keepalive: Option<Keepalive>,
    /// When the peer has credit again for what it has said (2.0 only). Default: when it was polled.
    pub credit: CreditGiven,
    /// The bounds.
    pub limits: Limits,
}

/// When a peer is given new credit for a message or a reply: what it says before that is bounded by the windows
/// ([`Limits::conversation_window`], [`Limits::connection_window`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreditGiven {
    /// When its event was polled: for an embedder that deals with it at once.
    #[default]
    Polled,
    /// When a request has ended, and for all else when the embedder says so with
    /// [`consumed`](crate::Connection::consumed): for an embedder that queues what it polls, so that what it queues is
    /// bounded, too. Replies are bounded by conversation: of those for all conversations together the credit is given
    /// when they are polled, so that replies that are kept never hold up those of other conversations.
    Consumed,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            min_dialect: Dialect::V1,
            max_dialect: Dialect::V2,
            token: Bytes::new(),
            keepalive: Some(Keepalive::default()),
            credit: CreditGiven::default(),
            limits: Limits::default(),
        }
    }
}

/// When a silent peer is asked for a sign of life, and when it counts as gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence after which a ping goes out. Default: 15 s, a quarter of the minute after which
    /// common middleboxes forget an idle connection.
    pub silence: Duration,
    /// Pings that may stay unanswered, one each `silence`. Default: 3, so that one lost packet and
    /// its retransmissions never look like a death.
    pub unanswered_max: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { silence: Duration::from_secs(15), unanswered_max: 3 }
    }
}

/// The bounds of one connection. Each keeps a hostile or broken peer from costing more than it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Payload of one frame, in bytes. Default: 1 MiB, as NATS; at most [`Limits::FRAME_HARD_MAX`].
    /// A longer frame is refused at its tenth byte.
    pub frame_payload_max: u32,
    /// The same before the handshake is through. Default: 8 KiB: a Connect with the largest token fits.
    pub handshake_frame_payload_max: u32,
    /// Conversations open at once, of those that each side opened. Default: 16,384; each costs about 200 bytes.
    pub conversations_max: usize,
    /// Offers that one client makes at a time. Default: 256; each costs about 100 bytes, and a program that
    /// serves more subjects offers every subject instead.
    pub offers_max: usize,
    /// Monitors and watches of one client at a time. Default: 16,384, as many as conversations; each costs about
    /// 100 bytes here.
    pub monitors_max: usize,
    /// Requests outstanding at once, in each direction. Default: 16,384; each costs about 100 bytes.
    pub requests_max: usize,
    /// How much of one conversation the peer may say before this side is through with it, in bytes with their
    /// [charge](Self::charge) (2.0). Default: 256 KiB, so that a conversation that nobody reads takes an eighth of what
    /// there is for all of them. 0 counts as 1.
    pub conversation_window: u32,
    /// The same for all conversations together, once for messages and once for replies. Default: 2 MiB: what a
    /// server holds at worst for a connection beside its output.
    pub connection_window: u32,
    /// Queued output, in bytes, above which no reply is taken and, on a 1.0 link, no input is
    /// decoded. Default: 1 MiB. (A single reply may be larger; it then waits for an almost empty queue.)
    pub output_soft_max: usize,
    /// Queued output above which the peer counts as one that does not read. The room between the
    /// two is for control frames and exits. Default: 2 MiB; never taken as less than `output_soft_max`
    /// and two of the largest frames.
    pub output_hard_max: usize,
    /// Unread input kept, in bytes, apart from one large frame. Default: 64 KiB.
    pub input_max: usize,
    /// A subject or channel name, in bytes. Default: 256.
    pub name_max: usize,
    /// A reason text, in bytes; longer ones are cut. Default: 1 KiB.
    pub text_max: usize,
    /// A token, in bytes. Default: 4 KiB.
    pub token_max: usize,
    /// The whole handshake. Default: 5 s (RabbitMQ: 10 s).
    pub handshake_time: Duration,
    /// From the first byte of a frame to its last. Default: 10 s.
    pub unfinished_frame_time: Duration,
    /// The same before the handshake is through. Default: 2 s.
    pub handshake_unfinished_frame_time: Duration,
    /// What an unfinished frame must grow by, in bytes per second, after its first second.
    /// Default: 1 KiB/s, which ends an attack of one byte per interval after a second.
    pub unfinished_frame_rate_min: u32,
    /// How long queued output may stand without one byte being taken. Default: 10 s.
    pub write_stall_time: Duration,
    /// The same before the handshake is through. Default: 2 s.
    pub handshake_write_stall_time: Duration,
    /// How long a graceful close may take before the connection is dropped. Default: 5 s.
    pub close_time: Duration,
    /// Control frames per second: pings, watches, strays and unknown types. Default: 100/s, burst 200.
    pub control_frames: Rate,
    /// Control frames before the handshake is through, in all. Default: 4.
    pub handshake_control_frames_max: u32,
    /// Operations refused per second. Default: 10/s, burst 100: a client in error is told, a client
    /// that makes refusals its business is closed.
    pub refusals: Rate,
    /// Bounds on a timeout that a peer names. Default: 1 ms to 24 h.
    pub timeout_min: Duration,
    /// See [`timeout_min`](Self::timeout_min).
    pub timeout_max: Duration,
}

impl Limits {
    /// No configuration raises the payload of a frame above this: 64 MiB.
    pub const FRAME_HARD_MAX: u32 = 64 << 20;
    /// What one side of a connection holds at worst, in bytes: as much input as it keeps, or one whole frame; an
    /// open that waits for its id; the hard bound of the output and the frame that went beyond it; and on a
    /// server's side the answers that wait for those before them.
    #[must_use]
    pub fn held_bytes_max(&self) -> usize {
        let frame = self.frame_payload_max.min(Self::FRAME_HARD_MAX) as usize + HEADER_LEN;
        let input = self.input_max.max(frame);
        let output = self.output_hard_max.max(self.output_soft_max.saturating_add(2 * frame));
        let answers = self.output_soft_max.max(frame);
        input.saturating_add(frame).saturating_add(output).saturating_add(frame).saturating_add(answers)
    }

    /// What a message kept in a queue is charged on top of its bytes, so that many small ones are
    /// no way around a bound in bytes.
    pub const FRAME_CHARGE: usize = 64;
    /// The same for one under 64 bytes.
    pub const SMALL_FRAME_CHARGE: usize = 256;
    /// As much credit as anybody may have, in bytes: more cannot be meant.
    pub const CREDIT_MAX: u32 = i32::MAX as u32;

    /// What a message or a reply of this length is charged.
    #[must_use]
    pub const fn charge(len: usize) -> usize {
        let overhead = if len < 64 { Self::SMALL_FRAME_CHARGE } else { Self::FRAME_CHARGE };
        len.saturating_add(overhead)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_payload_max: 1 << 20,
            handshake_frame_payload_max: 8 << 10,
            conversations_max: 16_384,
            offers_max: 256,
            monitors_max: 16_384,
            requests_max: 16_384,
            conversation_window: 256 << 10,
            connection_window: 2 << 20,
            output_soft_max: 1 << 20,
            output_hard_max: 2 << 20,
            input_max: 64 << 10,
            name_max: 256,
            text_max: 1 << 10,
            token_max: 4 << 10,
            handshake_time: Duration::from_secs(5),
            unfinished_frame_time: Duration::from_secs(10),
            handshake_unfinished_frame_time: Duration::from_secs(2),
            unfinished_frame_rate_min: 1 << 10,
            write_stall_time: Duration::from_secs(10),
            handshake_write_stall_time: Duration::from_secs(2),
            close_time: Duration::from_secs(5),
            control_frames: Rate { per_second: 100, burst: 200 },
            handshake_control_frames_max: 4,
            refusals: Rate { per_second: 10, burst: 100 },
            timeout_min: Duration::from_millis(1),
            timeout_max: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once, after a time of silence.
    pub burst: u32,
}
