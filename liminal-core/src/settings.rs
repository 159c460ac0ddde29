//! What a bus is told at its birth, and what it says of itself.

use core::time::Duration;

use liminal_proto::Limits;

/// The bounds and times of a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a participant has for an answer, unless the asker waits less. Default: 5 s, as 1.0
    /// servers have it.
    pub reply_time: Duration,
    /// How long a conversation that was closed may go on with what it had accepted. Default: 5 s.
    pub completing_time: Duration,
    /// How long a conversation may last at most, whatever its opener says. Default: no limit: it is over with its
    /// connection.
    pub conversation_time_max: Option<Duration>,
    /// How long nothing may be said in a conversation at most. Default: no limit.
    pub conversation_idle_time_max: Option<Duration>,
    /// After how long a message that found no free seat at its host is tried again. Default: 20 ms. (A client that
    /// serves is left alone for longer each time, up to 32 times as long: the whole message is sent again.)
    pub busy_time: Duration,
    /// Conversations of one link, those included whose last call has not returned yet: a slot is
    /// free only when the work has really stopped. Default: 16,384.
    pub conversations_per_link_max: usize,
    /// Offers of one link at a time: subjects that its participants serve. 0: links may not serve. Default: 256.
    pub offers_per_link_max: usize,
    /// What participants of one link are given before the link has said that it took it (see
    /// [`Bus::link_ready`](crate::Bus::link_ready)), in bytes with their charge; a message that is longer is
    /// given alone. So much, too, its monitors and watches are told before the link has said that it was written
    /// (see [`Bus::link_drained`](crate::Bus::link_drained)). Default: 256 KiB: more than one write takes, and little of the output that a connection
    /// may queue.
    pub delivered_bytes_per_link_max: usize,
    /// Monitors of one link at a time, watches among them. Default: 16,384, as many as it may have conversations: for
    /// one that looks after many. Each costs about 100 bytes.
    pub monitors_per_link_max: usize,
    /// Monitors of one conversation at a time. Default: 64. Each is told of every exit, in the step in which that
    /// happens.
    pub monitors_per_conversation_max: usize,
    /// What may wait for the monitors of one link, in bytes with its charge. Beyond it a monitor is given up as too
    /// slow, because notices are not left out. Default: 16 MiB: the exits of ten thousand participants at once with
    /// the longest texts.
    pub notice_bytes_per_link_max: usize,
    /// Watches of one link at a time. Default: 8.
    pub watches_per_link_max: usize,
    /// Watches of all links at a time. Default: 64. Each record is held against each of them.
    pub watches_max: usize,
    /// What may wait for one watch, in bytes with its charge; beyond it records are left out. As much again is for
    /// saying which. Default: 1 MiB, as much as a connection queues.
    pub watched_bytes_max: usize,
    /// What one conversation holds of accepted messages, in bytes with their charge, until the
    /// participant is through with them. Beyond it messages are refused as busy. Default: 2 MiB.
    pub held_bytes_per_conversation_max: usize,
    /// The same for all conversations of one link. Default: 3 MiB: with the 2 MiB of output that a
    /// connection may queue, a link costs 5 MiB at worst.
    pub held_bytes_per_link_max: usize,
    /// How often a message is moved from a participant that exited to the next one of its subject.
    /// Default: 3. Once is enough for a fault that has nothing to do with the message; one that brings
    /// down four in a row would bring down the fifth.
    pub moves_max: u8,
    /// How long a compensation may take, from the exit to the reply to its notice. Default: 30 s: nobody
    /// waits for it, and undoing takes longer than an answer; but one that hangs must become known.
    pub compensation_time: Duration,
    /// The notice of a compensation, in bytes: payloads of unanswered messages stand in it as long as it
    /// is not longer. Default: 64 KiB, because programs read it as a line. (All that wait at a time
    /// share `held_bytes_per_link_max`; beyond it payloads are left out, too. Without any, a notice has
    /// 8 KiB at most.)
    pub notice_bytes_max: usize,
    /// A subject, in bytes. Default: 256.
    pub name_max: usize,
    /// What a participant says of its exit or refusal, in bytes; longer texts are cut. Default: 1 KiB.
    pub text_max: usize,
    /// Bounds on a duration that an asker or a participant names. Default: 1 ms to 24 h.
    pub time_min: Duration,
    /// See [`time_min`](Self::time_min).
    pub time_max: Duration,
    /// Whether [`Bus::poll`](crate::Bus::poll) gives every record. Default: no.
    pub recording: bool,
}

impl Settings {
    /// By how many bytes what a link holds must change before [`Bus::poll_held`](crate::Bus::poll_held)
    /// tells it again: 64 KiB, so that links with small messages never concern whoever keeps an account.
    pub const HELD_STEP: usize = 64 << 10;

    /// What a held message of this length is charged: a fixed overhead on top of its bytes, so that
    /// many small messages are no way around a bound in bytes.
    #[must_use]
    pub const fn charge(len: usize) -> usize {
        Limits::charge(len)
    }

    /// Those of a bus whose participants [serve on others](crate::Node::dial). How long an answer may take the
    /// other bus minds, and each message tells it; what a link holds is shared by many who ask: 16 MiB, sixteen of
    /// the largest messages, beyond which the other bus keeps what it has and tries again; and of a subject that
    /// was too long for its connection nobody hears.
    #[must_use]
    pub fn for_client() -> Self {
        let this = Self::default();
        let (reply_time, held_bytes_per_link_max) = (this.time_max, 16 << 20);
        Self { reply_time, held_bytes_per_link_max, name_max: usize::MAX, ..this }
    }

    /// A duration that somebody named, within the bounds.
    pub(crate) fn clamp(&self, named: Duration) -> Duration {
        named.min(self.time_max).max(self.time_min)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reply_time: Duration::from_secs(5),
            completing_time: Duration::from_secs(5),
            conversation_time_max: None,
            conversation_idle_time_max: None,
            busy_time: Duration::from_millis(20),
            conversations_per_link_max: 16_384,
            offers_per_link_max: 256,
            delivered_bytes_per_link_max: 256 << 10,
            monitors_per_link_max: 16_384,
            monitors_per_conversation_max: 64,
            notice_bytes_per_link_max: 16 << 20,
            watches_per_link_max: 8,
            watches_max: 64,
            watched_bytes_max: 1 << 20,
            held_bytes_per_conversation_max: 2 << 20,
            held_bytes_per_link_max: 3 << 20,
            moves_max: 3,
            compensation_time: Duration::from_secs(30),
            notice_bytes_max: 64 << 10,
            name_max: 256,
            text_max: 1 << 10,
            time_min: Duration::from_millis(1),
            time_max: Duration::from_secs(24 * 60 * 60),
            recording: false,
        }
    }
}

/// What a bus holds at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Links that are connected, or have conversations that are not over yet.
    pub links: usize,
    /// Conversations, failed and leaving ones included.
    pub conversations: usize,
    /// Participants that take part in them, but for those that another bus has named.
    pub participants: usize,
    /// Requests that have not ended.
    pub requests: usize,
    /// Calls that have not returned.
    pub running: usize,
    /// Bytes of accepted messages that participants are not through with, with their charge.
    pub held_bytes: usize,
    /// Conversations that have a timer.
    pub timers: usize,
    /// Places that participants on links have taken, of as many as their links have offered: each from the moment
    /// at which it is to be invited until its link has said that the conversation is over there.
    pub guests: usize,
    /// Monitors and watches, those included whose last notice is not told yet.
    pub monitors: usize,
    /// Bytes of notices and records that wait for links, with their charge.
    pub waiting_bytes: usize,
}

/// What a link may do besides opening conversations and serving subjects. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rights {
    /// Whether it may monitor and watch the conversations of others.
    pub monitor: bool,
}

impl Rights {
    /// It may monitor and watch the conversations of others.
    pub const MONITOR: Self = Self { monitor: true };
}

/// What a bus has counted since its birth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Conversations that were opened or refused.
    pub opens: u64,
    /// Those that were refused.
    pub opens_refused: u64,
    /// Messages and requests that were accepted.
    pub messages: u64,
    /// Those that were refused.
    pub messages_refused: u64,
    /// Replies that ended a request.
    pub replies: u64,
    /// Replies and parts that came after their request had ended. Dropped.
    pub late_replies: u64,
    /// Replies and parts to what asked for none. Dropped.
    pub unasked_replies: u64,
    /// Answers with a ticket that is not out, or of a participant that has exited. Dropped.
    pub ignored_answers: u64,
    /// Exits of who was not the active participant of the conversation. Dropped.
    pub ignored_exits: u64,
    /// Requests that ended at their deadline.
    pub deadlines: u64,
    /// Participants that exited.
    pub exits: u64,
    /// Moves of messages from a participant that exited to the next.
    pub moved: u64,
    /// Compensations that were begun.
    pub compensations: u64,
    /// Those that failed: nobody has handled the notice.
    pub compensations_failed: u64,
    /// Monitors and watches that were taken.
    pub monitors: u64,
    /// Those that were not.
    pub monitors_refused: u64,
    /// Those that were given up because too much waited for them.
    pub monitors_given_up: u64,
    /// Messages that were accepted and never reached a participant, because it exited, their deadline
    /// passed, they were moved too often, or the conversation or its owner ended first.
    pub undelivered: u64,
}
