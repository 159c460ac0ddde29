//! What the bus has said to one link and its connection has not.

use std::collections::{BTreeMap, VecDeque};

use liminal_core::{Command, Held};
use liminal_proto::ConversationId;

/// What the bus has said to one link and its connection has not, in the order of the bus.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Not tried yet.
    commands: VecDeque<Command>,
    /// What found no room, by conversation, each with what comes after it in the same one.
    held: BTreeMap<ConversationId, VecDeque<Command>>,
    /// What both cost.
    bytes: usize,
}

impl Outbox {
    /// Something more. Says whether it is the first since everything was last tried.
    pub(crate) fn push(&mut self, command: Command) -> bool {
        let first = self.commands.is_empty();
        self.bytes += command.charge();
        self.commands.push_back(command);
        first
    }

    /// Whether something found no room at the last try.
    pub(crate) fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// What everything in it costs, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Has `tell` say what finds room, and says whether anything did. What finds none holds back what comes
    /// after it in the same conversation, and nothing else.
    pub(crate) fn apply(&mut self, mut tell: impl FnMut(Command) -> Result<(), Held>) -> bool {
        let mut some = false;
        while let Some(mut first) = self.held.first_entry() {
            let Some(command) = first.get_mut().pop_front() else {
                first.remove();
                continue;
            };
            let bytes = command.charge();
            if let Err(Held(command)) = tell(command) {
                first.get_mut().push_front(command);
                break;
            }
            self.bytes -= bytes;
            some = true;
        }
        while let Some(command) = self.commands.pop_front() {
            let bytes = command.charge();
            let behind = command.conversation().and_then(|conversation| self.held.get_mut(&conversation));
            if let Some(behind) = behind {
                behind.push_back(command);
            } else if let Err(Held(command)) = tell(command) {
                // Only what a payload belongs to is held, and that has a conversation.
                let conversation = command.conversation().unwrap_or_default();
                self.held.entry(conversation).or_default().push_back(command);
            } else {
                self.bytes -= bytes;
                some = true;
            }
        }
        some
    }
}
