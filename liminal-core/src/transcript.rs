//! What happened in a run, as everybody saw it, in one order: what promises are checked on.

mod conversations;

use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use liminal_proto::{ConversationId, CreditLeft, Event, ExitReason, Instant, MessageId, Pid, StreamId};

use crate::id::identifiers;
use crate::{Answer, ConversationKey, Invocation, LinkId, Load, Record, Ticket, Uncompensated};

pub use self::conversations::{ConversationDigest, Owner};

identifiers! {
    pub,
    /// One bus. One that is started again after a crash is another.
    BusId, "bus-";
    /// One connection of a client: of somebody who opens conversations, or serves. A new connection is another.
    OpenerId, "opener-";
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// At which bus, or on the way to which.
    pub bus: BusId,
    /// What.
    pub what: Noted,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Noted {
    /// An opener has connected, and the bus knows it as this link.
    Dialled {
        /// Who.
        opener: OpenerId,
        /// The name of the connection at the bus.
        link: LinkId,
    },
    /// An opener is the client of a bus that serves with its own. That of the entry runs its participants, and knows
    /// as this link the connection that the opener has dialled.
    Serves {
        /// Who.
        opener: OpenerId,
        /// The name of the connection at the bus that serves.
        link: LinkId,
    },
    /// An opener says something that its connection has taken: `Open`, `Message` or `Close`, with the ids of
    /// its side, `Serve` or `Withdraw`, or `Closed` when it asks for the end of the connection.
    Said {
        /// Who.
        opener: OpenerId,
        /// What.
        event: Event,
    },
    /// The connection of an opener tells it something.
    Told {
        /// Whom.
        opener: OpenerId,
        /// What.
        event: Event,
    },
    /// An opener is gone without a word: nobody is there to be told anything.
    Gone {
        /// Who.
        opener: OpenerId,
    },
    /// The bus has been told that a connection is over. What it owned is cancelled.
    LinkClosed {
        /// Which.
        link: LinkId,
    },
    /// A conversation belongs to this link, under this id. Comes before its first call.
    Owned {
        /// Which.
        conversation: ConversationKey,
        /// Whose.
        link: LinkId,
        /// What its owner calls it.
        id: ConversationId,
    },
    /// A record of the log ([`Settings::recording`](crate::Settings::recording)).
    Recorded {
        /// Of which conversation.
        conversation: ConversationKey,
        /// The record.
        record: Record,
    },
    /// The bus has a participant called.
    Called {
        /// Under which ticket.
        ticket: Ticket,
        /// What.
        invocation: Invocation,
    },
    /// The bus has a participant called that is on a link: there is no ticket, and what the link says next of
    /// this conversation answers the call.
    CalledOn {
        /// On which link.
        link: LinkId,
        /// What the conversation is called there.
        id: ConversationId,
        /// For which of its offers, by the name that it gave it.
        offer: StreamId,
        /// What a message that it gives is called there.
        message: MessageId,
        /// What.
        invocation: Invocation,
    },
    /// The bus has told a link that a conversation is over there that a participant of its was invited to.
    LetGo {
        /// Which link.
        link: LinkId,
        /// What the conversation is called there.
        id: ConversationId,
        /// Whether nobody wants what the participant is still doing.
        cancel: bool,
    },
    /// The connection of a link is about to tell the bus this of what it serves: of its offers, or of
    /// conversations that its participants take part in.
    Heard {
        /// Which link.
        link: LinkId,
        /// What.
        event: Event,
    },
    /// The bus says that nobody wants the answer of a call any more.
    Cancelled {
        /// Which.
        ticket: Ticket,
    },
    /// A host is about to give this answer to the bus.
    Answered {
        /// Of which call.
        ticket: Ticket,
        /// What it answers.
        answer: Answer,
    },
    /// A host is about to tell the bus that a participant is no more.
    Died {
        /// In which conversation.
        conversation: ConversationKey,
        /// Who.
        pid: Pid,
        /// Why.
        reason: ExitReason,
    },
    /// A compensation has failed.
    Uncompensated(Uncompensated),
    /// The process of an opener, or of the bus when it is nobody's, stands still until then.
    Paused {
        /// Whose; `None`: the bus.
        opener: Option<OpenerId>,
        /// Until when.
        until: Instant,
    },
    /// An opener takes no replies until then: those that its connection tells it stay unread, and are not given
    /// credit for.
    Unread {
        /// Which.
        opener: OpenerId,
        /// Until when.
        until: Instant,
    },
    /// The bus is gone, and with it everything that it knew.
    BusLost,
    /// The bus was started in the place of one that is gone.
    BusStarted {
        /// Which.
        after: BusId,
    },
    /// The bus has nothing to do at this moment, and holds this.
    Measured {
        /// By its accounts.
        load: Load,
        /// Counted afresh.
        recount: Load,
    },
    /// At the same moment this is held for a link in one place: where most of what may be is.
    Held {
        /// Which.
        link: LinkId,
        /// Where.
        by: Holder,
        /// By the accounts.
        bytes: usize,
        /// Counted afresh.
        recount: usize,
        /// How much it may be.
        bytes_max: usize,
    },
    /// The longest that the connection of a link has waited for its turn so far when it had something to say;
    /// see [`Node::longest_wait`](crate::Node::longest_wait).
    Waited {
        /// Which.
        link: LinkId,
        /// In turns of others.
        turns: u64,
        /// How long it may be.
        turns_max: u64,
    },
    /// How credit stands at both sides of a connection on which nothing is under way (2.0).
    Credit {
        /// Which.
        link: LinkId,
        /// Whose credit.
        of: Credited,
        /// At the bus.
        here: CreditLeft,
        /// At the other side.
        there: CreditLeft,
    },
    /// Faults have stopped, inputs have ended, and all deadlines have passed: nothing may be outstanding.
    Calm,
    /// Every connection has been closed, too: nothing may be left.
    Over,
    /// Something that must never happen: a panic of the bus or of a connection, events after the last one,
    /// output after the end, a world that finds no rest.
    Broken {
        /// What.
        text: alloc::string::String,
    },
}

impl Noted {
    /// What a link is about to tell the bus, if that is of what it serves.
    #[must_use]
    pub fn heard(link: LinkId, event: &Event) -> Option<Self> {
        let is_of_service = matches!(
            event,
            Event::Serve { .. }
                | Event::Withdraw { .. }
                | Event::Opened { .. }
                | Event::Refused { .. }
                | Event::Reply(_)
                | Event::Outcome { .. }
                | Event::Exited { .. }
                | Event::Failed { .. }
                | Event::Ended { .. }
        );
        is_of_service.then(|| Self::Heard { link, event: event.clone() })
    }

    /// Whether this only says how things stand, and nothing was done.
    #[must_use]
    pub const fn is_measurement(&self) -> bool {
        matches!(self, Self::Measured { .. } | Self::Held { .. } | Self::Waited { .. } | Self::Credit { .. })
    }
}

/// Where something is held for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// By the bus: accepted messages.
    Bus,
    /// By its connection: input, output, and answers that wait for others.
    Connection,
    /// Between the two: replies that wait for room in the output.
    Outbox,
}

/// What there is credit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credited {
    /// What is said in this conversation, by the id that it has on the link.
    Conversation(ConversationId),
    /// Messages in all conversations.
    Messages,
    /// Replies in all conversations.
    Replies,
}

/// What happened in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    entries: Vec<Entry>,
}

impl Transcript {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds what has just happened.
    pub fn note(&mut self, at: Instant, bus: BusId, what: Noted) {
        self.entries.push(Entry { at, bus, what });
    }

    /// Everything, in its order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The same, to be changed: by whoever wants to see that a change is found.
    pub const fn entries_mut(&mut self) -> &mut Vec<Entry> {
        &mut self.entries
    }

    /// A number that differs, as good as certainly, between transcripts that differ. It is the same on every
    /// machine: FNV-1a, 64 bits, of what each entry prints. (Of payloads only the length is in it.)
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::new();
        for entry in &self.entries {
            // Writing to a number cannot fail.
            let _ = write!(digest, "{entry:?}");
        }
        digest.0
    }
}

/// FNV-1a, 64 bits.
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.byte(byte));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;

    use liminal_proto::Instant;

    use super::{BusId, Digest, Noted, Transcript};

    #[test]
    fn the_digest_is_that_of_its_standard() {
        let mut digest = Digest(0xCBF2_9CE4_8422_2325);
        digest.write_str("foobar").unwrap();
        assert_eq!(digest.0, 0x8594_4171_F739_67E8);
    }

    #[test]
    fn a_digest_tells_transcripts_apart_and_is_the_same_everywhere() {
        let mut transcript = Transcript::new();
        assert_eq!(transcript.digest(), 0xCBF2_9CE4_8422_2325);
        transcript.note(Instant::ORIGIN, BusId::new(1), Noted::Calm);
        let one = transcript.digest();
        transcript.note(Instant::ORIGIN, BusId::new(1), Noted::Calm);
        assert_ne!(one, transcript.digest());
        assert_eq!(transcript.entries().len(), 2);
        assert_eq!(one, Transcript { entries: transcript.entries[..1].to_vec() }.digest());
    }
}
