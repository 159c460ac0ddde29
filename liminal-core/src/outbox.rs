//! What the bus has said to one link and its connection has not.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use liminal_proto::{Connection, ConversationId, Instant};

use crate::{Command, Held, Lacks};

/// What the bus has said to one link and its connection has not, in the order of the bus.
///
/// A command that finds no room in the output of the connection waits until some of that was written; one that
/// finds no credit in its conversation waits until the peer has given some. Either holds back what comes after it in
/// the same conversation, and nothing else. That something was [dealt with](Command::Consumed) is no part of what is
/// said there, and is told at once; and what was to be given to a participant is forgotten when the conversation is
/// [cancelled](Command::Close).
#[derive(Debug, Default)]
pub struct Outbox {
    /// Not tried yet.
    commands: VecDeque<Command>,
    /// What found no room, by conversation, each with what comes after it in the same one.
    held: BTreeMap<ConversationId, VecDeque<Command>>,
    /// The same for what found no credit.
    starved: BTreeMap<ConversationId, VecDeque<Command>>,
    /// Conversations of which somebody was told that they are full.
    full: BTreeSet<ConversationId>,
    /// What has become of conversations since that was last asked.
    changes: Vec<(ConversationId, bool)>,
    /// What those that found no room or no credit cost, and those behind them.
    waiting_bytes: usize,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bus says something more. Says whether it is the first since everything was last tried.
    pub fn push(&mut self, command: Command) -> bool {
        let first = self.commands.is_empty();
        self.commands.push_back(command);
        first
    }

    /// Whether something found no room in the output at the last try. What only waits for credit does not count.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// What everything in it is charged, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // It is asked once everything was tried.
        self.commands.iter().map(Command::charge).sum::<usize>() + self.waiting_bytes
    }

    /// The same, counted afresh. Always equals [`bytes`](Self::bytes); for tests.
    #[must_use]
    pub fn recount(&self) -> usize {
        let waiting = self.held.values().chain(self.starved.values()).flatten();
        self.commands.iter().chain(waiting).map(Command::charge).sum()
    }

    /// The peer has given credit: in this conversation, or for all of them together
    /// ([`Event::Room`](liminal_proto::Event::Room)). What waited for it is tried at the next
    /// [`apply`](Self::apply). Says whether anything did.
    pub fn credited(&mut self, conversation: Option<ConversationId>) -> bool {
        let Some(conversation) = conversation else { return self.is_held() };
        let starved = self.starved.remove(&conversation);
        let waited = starved.is_some();
        self.held.extend(starved.map(|commands| (conversation, commands)));
        waited
    }

    /// Has the connection say what it can, and says whether that was anything.
    pub fn apply(&mut self, now: Instant, connection: &mut Connection) -> bool {
        let mut some = self.is_held() && self.retry(now, connection);
        while let Some(command) = self.commands.pop_front() {
            some |= self.first_try(now, connection, command);
        }
        some
    }

    /// Whether [`take_changes`](Self::take_changes) has any.
    #[must_use]
    pub const fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Conversations that have become full, because something in them waits for credit, or are so no more.
    pub fn take_changes(&mut self) -> Vec<(ConversationId, bool)> {
        core::mem::take(&mut self.changes)
    }

    /// Tries again what found no room, until something finds none again.
    fn retry(&mut self, now: Instant, connection: &mut Connection) -> bool {
        let mut some = false;
        while let Some((conversation, mut commands)) = self.held.pop_first() {
            let lacks = self.say_all(now, connection, &mut commands, &mut some);
            match lacks {
                None => self.empties(conversation),
                Some(Lacks::Credit) => self.starves(conversation, commands),
                Some(Lacks::Output) => {
                    self.held.insert(conversation, commands);
                    break;
                }
            }
        }
        some
    }

    /// Says the commands of one conversation. Says what the first of those that are left lacks.
    fn say_all(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        commands: &mut VecDeque<Command>,
        some: &mut bool,
    ) -> Option<Lacks> {
        while let Some(command) = commands.pop_front() {
            self.waiting_bytes -= command.charge();
            if let Err(Held { command, lacks }) = command.apply(now, connection) {
                // It may be another: the refusal of a request whose reply cannot be said.
                self.waiting_bytes += command.charge();
                commands.push_front(command);
                return Some(lacks);
            }
            *some = true;
        }
        None
    }

    fn first_try(&mut self, now: Instant, connection: &mut Connection, command: Command) -> bool {
        if let Command::Close { conversation, cancel: true } = command {
            self.forget_deliveries(now, connection, conversation);
        }
        let is_ordered = !matches!(command, Command::Consumed { .. });
        if is_ordered
            && self.has_waiting()
            && let Some(before) = command.conversation().and_then(|id| self.waiting_in(id))
        {
            let charge = command.charge();
            before.push_back(command);
            self.waiting_bytes += charge;
            return false;
        }
        let Err(Held { command, lacks }) = command.apply(now, connection) else { return true };
        self.waiting_bytes += command.charge();
        // Only what a payload belongs to is held, and that has a conversation.
        let conversation = command.conversation().unwrap_or_default();
        let commands = VecDeque::from([command]);
        match lacks {
            Lacks::Credit => self.starves(conversation, commands),
            Lacks::Output => {
                self.held.insert(conversation, commands);
            }
        }
        false
    }

    /// Nobody wants any more what the participant of a conversation was still to be given: it may be gone, and then
    /// it never makes room for that.
    fn forget_deliveries(&mut self, now: Instant, connection: &mut Connection, conversation: ConversationId) {
        let Some(commands) = self.waiting_in(conversation) else { return };
        let is_delivery = |command: &Command| matches!(command, Command::Deliver(_));
        let forgotten = commands.iter().filter(|it| is_delivery(it)).map(Command::charge).sum::<usize>();
        commands.retain(|command| !is_delivery(command));
        self.waiting_bytes -= forgotten;
        let left = self.starved.remove(&conversation);
        self.held.extend(left.map(|commands| (conversation, commands)));
        self.retry(now, connection);
    }

    fn has_waiting(&self) -> bool {
        !self.held.is_empty() || !self.starved.is_empty()
    }

    fn waiting_in(&mut self, conversation: ConversationId) -> Option<&mut VecDeque<Command>> {
        self.held.get_mut(&conversation).or_else(|| self.starved.get_mut(&conversation))
    }

    fn starves(&mut self, conversation: ConversationId, commands: VecDeque<Command>) {
        self.starved.insert(conversation, commands);
        if self.full.insert(conversation) {
            self.changes.push((conversation, true));
        }
    }

    fn empties(&mut self, conversation: ConversationId) {
        if self.full.remove(&conversation) {
            self.changes.push((conversation, false));
        }
    }
}
