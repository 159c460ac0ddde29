//! What the bus tells the owner of a conversation.

use alloc::boxed::Box;
use alloc::string::String;

use liminal_proto::{
    CommandError, Connection, ConversationId, Exit, Gap, GapReason, Instant, LogRecord, Message, MessageId,
    Notice, Outcome, Pid, ReasonCode, Rejected, Reply, StreamId,
};

use crate::Settings;

/// What the connection of a link must do, or what a local opener is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// The conversation is open.
    Opened {
        /// Which.
        conversation: ConversationId,
        /// Its participant; `None` when it has none and only records.
        pid: Option<Pid>,
    },
    /// The conversation was not opened. (One that is open under the same id stays as it is.)
    Refused {
        /// Which.
        conversation: ConversationId,
        /// Why.
        reason: ReasonCode,
        /// Why, for people.
        text: Option<String>,
    },
    /// A reply, or a part of one.
    Reply(Reply),
    /// A message was accepted, refused, or ended without a reply.
    Outcome {
        /// In which conversation.
        conversation: ConversationId,
        /// Which message.
        message: MessageId,
        /// How.
        outcome: Outcome,
    },
    /// The participant has exited. Unless the conversation [goes on](Exit::goes_on), this ends every open
    /// request: there is no [`Outcome`](Self::Outcome) for each.
    Exited {
        /// Whose participant.
        conversation: ConversationId,
        /// Who, why, and where in the log.
        exit: Exit,
    },
    /// Another participant has taken the place of one that exited.
    Joined {
        /// In which conversation.
        conversation: ConversationId,
        /// Who.
        pid: Pid,
    },
    /// Nobody was found to take the place of the participant that exited. This ends every open request.
    Failed {
        /// Which.
        conversation: ConversationId,
    },
    /// The conversation is closed; its id is free.
    Ended {
        /// Which.
        conversation: ConversationId,
    },
    /// A participant of this link is to join a conversation.
    Invite {
        /// The id that the conversation has on this link.
        conversation: ConversationId,
        /// Who the participant is.
        pid: Pid,
        /// What the conversation was opened on.
        subject: String,
    },
    /// A message for a participant of this link.
    Deliver(Message),
    /// A conversation that a participant of this link takes part in is over.
    Close {
        /// Which, by the id that it has on this link.
        conversation: ConversationId,
        /// Whether nobody wants what it is still doing: whoever opened it is gone, or has another participant.
        cancel: bool,
    },
    /// Something that the peer has said in a conversation, that had this length, is dealt with: a
    /// message that wanted no reply, or the reply of a participant of this link. The peer may say as much again.
    Consumed {
        /// In which.
        conversation: ConversationId,
        /// Its length, in bytes.
        len: usize,
    },
    /// The offer stands.
    Serving {
        /// Which.
        offer: StreamId,
    },
    /// The offer is not taken.
    NotServing {
        /// Which.
        offer: StreamId,
        /// Why.
        reason: ReasonCode,
        /// Why, for people.
        text: Option<String>,
    },
    /// The offer is no more, and neither are its conversations.
    Withdrawn {
        /// Which.
        offer: StreamId,
    },
    /// The monitor, or watch, stands.
    Monitoring {
        /// Which.
        monitor: StreamId,
    },
    /// The monitor is not taken, or stands no more.
    NotMonitoring {
        /// Which.
        monitor: StreamId,
        /// Why.
        reason: ReasonCode,
        /// Why, for people.
        text: Option<String>,
    },
    /// Something has happened in the life of a conversation that is monitored.
    Notice {
        /// The monitor.
        monitor: StreamId,
        /// What.
        notice: Notice,
    },
    /// A record of a conversation that is watched.
    Record {
        /// The watch.
        monitor: StreamId,
        /// The record.
        record: Box<LogRecord>,
    },
    /// Records that a watch is not told.
    Gap {
        /// The watch.
        monitor: StreamId,
        /// Which.
        gap: Gap,
    },
    /// The monitor is no more: nothing is told to it afterwards.
    Unmonitored {
        /// Which.
        monitor: StreamId,
    },
    /// The bus is stopping: close gracefully.
    Disconnect,
}

/// A command that its connection cannot say now.
///
/// It must be applied again when there is what it lacks, and before any later command of its
/// [`conversation`](Command::conversation). Commands of other conversations need not wait for it, so an
/// exit never stands behind somebody else's reply. [`Outbox`](crate::Outbox) minds all that.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// It.
    pub command: Command,
    /// What is wanting.
    pub lacks: Lacks,
}

/// What a command lacks that a connection cannot say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lacks {
    /// Room in the output, or credit for all conversations together: nothing with a payload can be said. There is
    /// some when output was written, or the peer has [given credit](liminal_proto::Event::Room).
    Output,
    /// Credit in its conversation, which its peer does not read. There is some when the peer has given it.
    Credit,
}

impl Lacks {
    /// What the reason for which a command was not taken says; `None`: waiting does not help.
    const fn of(reason: &CommandError) -> Option<Self> {
        if matches!(reason, CommandError::Full | CommandError::NoCredit(None)) {
            Some(Self::Output)
        } else if matches!(reason, CommandError::NoCredit(Some(_))) {
            Some(Self::Credit)
        } else {
            None
        }
    }
}

impl Command {
    /// The conversation that it is about; of one about a monitor, that which has the number of its stream, on which
    /// there is no other. Commands of one conversation must keep their order; those of others need not wait for them.
    #[must_use]
    pub const fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::Monitoring { monitor }
            | Self::NotMonitoring { monitor, .. }
            | Self::Notice { monitor, .. }
            | Self::Record { monitor, .. }
            | Self::Gap { monitor, .. }
            | Self::Unmonitored { monitor } => Some(ConversationId::new(monitor.get() as u64)),
            Self::Reply(reply) => Some(reply.conversation),
            Self::Deliver(message) => Some(message.conversation),
            Self::Opened { conversation, .. }
            | Self::Refused { conversation, .. }
            | Self::Outcome { conversation, .. }
            | Self::Exited { conversation, .. }
            | Self::Joined { conversation, .. }
            | Self::Failed { conversation }
            | Self::Invite { conversation, .. }
            | Self::Close { conversation, .. }
            | Self::Consumed { conversation, .. }
            | Self::Ended { conversation } => Some(*conversation),
            Self::Serving { .. } | Self::NotServing { .. } | Self::Withdrawn { .. } | Self::Disconnect => {
                None
            }
        }
    }

    /// Whether it is told to those who look on: these wait for the link to be [drained](crate::Bus::link_drained).
    #[must_use]
    pub const fn is_looked_on(&self) -> bool {
        matches!(self, Self::Notice { .. } | Self::Record { .. } | Self::Gap { .. })
    }

    /// What it is charged while it waits for room, in bytes: those of its payload and metadata, and a fixed overhead.
    #[must_use]
    pub fn charge(&self) -> usize {
        match self {
            Self::Record { record, .. } => {
                Settings::charge(record.what.content().map_or(0, liminal_proto::Content::len))
            }
            Self::Reply(reply) => Settings::charge(reply.len()),
            Self::Deliver(message) => Settings::charge(message.len()),
            Self::Opened { .. }
            | Self::Refused { .. }
            | Self::Outcome { .. }
            | Self::Exited { .. }
            | Self::Joined { .. }
            | Self::Failed { .. }
            | Self::Ended { .. }
            | Self::Invite { .. }
            | Self::Close { .. }
            | Self::Consumed { .. }
            | Self::Serving { .. }
            | Self::NotServing { .. }
            | Self::Withdrawn { .. }
            | Self::Monitoring { .. }
            | Self::NotMonitoring { .. }
            | Self::Notice { .. }
            | Self::Gap { .. }
            | Self::Unmonitored { .. }
            | Self::Disconnect => Settings::charge(0),
        }
    }

    /// Has a server's connection do it.
    ///
    /// What the connection cannot say any more (the conversation or the connection is gone) is
    /// dropped by design. A reply that it can never say, because it is too large or the peer's version
    /// has no words for it, becomes the refusal of its request, so that no asker waits in vain.
    ///
    /// # Errors
    ///
    /// [`Held`] gives the command back when there is no room for it, or no credit.
    pub fn apply(self, now: Instant, connection: &mut Connection) -> Result<(), Held> {
        if let Self::Reply(reply) = self {
            return apply_reply(now, connection, reply);
        }
        if let Self::Deliver(message) = self {
            return deliver(now, connection, message);
        }
        match self.tell(now, connection).map_err(|reason| Lacks::of(&reason)) {
            Err(Some(lacks)) => Err(Held { command: self, lacks }),
            _ => Ok(()),
        }
    }

    fn tell(&self, now: Instant, connection: &mut Connection) -> Result<(), CommandError> {
        match self {
            Self::Opened { conversation, pid } => connection.opened(now, *conversation, *pid),
            Self::Refused { conversation, reason, text } => {
                connection.refuse(now, *conversation, *reason, text.as_deref())
            }
            Self::Outcome { conversation, message, outcome } => {
                connection.outcome(now, *conversation, *message, outcome)
            }
            Self::Exited { conversation, exit } => connection.exited(now, *conversation, exit),
            Self::Joined { conversation, pid } => connection.joined(now, *conversation, *pid),
            Self::Failed { conversation } => connection.failed(now, *conversation),
            Self::Ended { conversation } => connection.ended(now, *conversation),
            Self::Invite { conversation, pid, subject } => {
                connection.invite(now, *conversation, *pid, subject)
            }
            Self::Close { conversation, cancel } => {
                let reason = cancel.then_some(ReasonCode::CANCELLED);
                connection.close(now, *conversation, reason)
            }
            Self::Consumed { conversation, len } => {
                connection.consumed(now, *conversation, *len);
                Ok(())
            }
            Self::Serving { offer } => connection.serving(now, *offer),
            Self::NotServing { offer, reason, text } => {
                connection.refuse_offer(now, *offer, *reason, text.as_deref())
            }
            Self::Withdrawn { offer } => connection.withdrawn(now, *offer),
            Self::Monitoring { monitor } => connection.monitoring(now, *monitor),
            Self::NotMonitoring { monitor, reason, text } => {
                connection.refuse_monitor(now, *monitor, *reason, text.as_deref())
            }
            Self::Notice { monitor, notice } => connection.notice(now, *monitor, notice),
            Self::Record { monitor, record } => tell_record(now, connection, *monitor, record),
            Self::Gap { monitor, gap } => connection.gap(now, *monitor, gap),
            Self::Unmonitored { monitor } => connection.unmonitored(now, *monitor),
            Self::Disconnect => {
                connection.disconnect(now);
                Ok(())
            }
            Self::Deliver(message) => {
                connection.deliver(now, message.clone()).map_err(|rejected| rejected.reason)
            }
            Self::Reply(reply) => connection.reply(now, reply.clone()).map_err(|rejected| rejected.reason),
        }
    }
}

/// In the place of a record that the connection can never carry stands a gap.
fn tell_record(
    now: Instant,
    connection: &mut Connection,
    monitor: StreamId,
    record: &LogRecord,
) -> Result<(), CommandError> {
    match connection.record(now, monitor, record) {
        Err(CommandError::TooLarge { .. } | CommandError::Unencodable(_)) => {
            let LogRecord { log, number, subject, .. } = record;
            let (subject, why) = (subject.clone(), GapReason::TooLarge);
            connection.gap(now, monitor, &Gap { log: *log, from: *number, to: *number, subject, why })
        }
        told => told,
    }
}

fn apply_reply(now: Instant, connection: &mut Connection, reply: Reply) -> Result<(), Held> {
    let Err(Rejected { payload: reply, reason }) = connection.reply(now, reply) else {
        return Ok(());
    };
    if let Some(lacks) = Lacks::of(&reason) {
        return Err(Held { command: Command::Reply(reply), lacks });
    }
    let Some(refusal) = unspeakable(reason) else { return Ok(()) };
    Command::Outcome {
        conversation: reply.conversation,
        message: reply.answers,
        outcome: Outcome::Refused { reason: refusal, text: None },
    }
    .apply(now, connection)
}

/// What the connection can never carry it says itself, as the refusal of the message.
fn deliver(now: Instant, connection: &mut Connection, message: Message) -> Result<(), Held> {
    let Err(Rejected { payload: message, reason }) = connection.deliver(now, message) else { return Ok(()) };
    let held = Lacks::of(&reason).map(|lacks| Held { command: Command::Deliver(message), lacks });
    held.map_or(Ok(()), Err)
}

/// What an asker is told of a reply that its connection can never carry.
fn unspeakable(reason: CommandError) -> Option<ReasonCode> {
    match reason {
        CommandError::TooLarge { .. } | CommandError::Unencodable(_) => Some(ReasonCode::TOO_LARGE),
        CommandError::Limit { .. } => Some(ReasonCode::BUSY),
        CommandError::NeedsVersion2 => Some(ReasonCode::NOT_ALLOWED),
        CommandError::NotConnected
        | CommandError::ConnectionClosed
        | CommandError::WrongSide(_)
        | CommandError::NotOpen(_)
        | CommandError::Exited(_)
        | CommandError::Closing(_)
        | CommandError::Full
        | CommandError::NoCredit(_)
        | CommandError::NotOutstanding
        | _ => None,
    }
}
