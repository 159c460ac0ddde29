//! What a link has asked to be told of conversations, and what of it waits to be told.

use alloc::collections::{BTreeMap, VecDeque};

use liminal_proto::{Notice, ReasonCode, StreamId};

use crate::backlog::notice_charge;
use crate::{Command, ConversationKey, Settings};

/// What a link has asked to be told of conversations, and what of it waits to be told.
#[derive(Debug, Default)]
pub(super) struct Observer {
    /// By the names that it gave them, until their last word is told.
    pub(super) monitors: BTreeMap<StreamId, Observed>,
    /// What is to be told to monitors, in the order of the bus. (What waits for watches waits with those.)
    notices: VecDeque<(StreamId, Word)>,
    notice_bytes: usize,
    /// What it was told since it was drained last, in bytes with their charge.
    given_bytes: usize,
    /// Whether it stands in the queue of links that something waits for.
    pub(super) in_turn: bool,
}

/// What a monitor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// The life of this conversation.
    Life(ConversationKey),
    /// The life of one that is over: what waits is the last.
    Over,
    /// The logs of those that a watch is for.
    Logs,
}

/// What is to be told to a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Notice(Notice),
    /// It is not taken, because of another one that has not been told everything yet.
    Refused(ReasonCode),
}

impl Word {
    fn charge(&self) -> usize {
        match self {
            Self::Notice(notice) => notice_charge(notice),
            Self::Refused(_) => Settings::charge(0),
        }
    }
}

impl Observer {
    pub(super) fn watches(&self) -> usize {
        self.monitors.values().filter(|it| **it == Observed::Logs).count()
    }

    /// What its monitors wait for, in bytes with its charge.
    pub(super) const fn notice_bytes(&self) -> usize {
        self.notice_bytes
    }

    /// The same, counted afresh.
    pub(super) fn recount(&self) -> usize {
        self.notices.iter().map(|(_, word)| word.charge()).sum()
    }

    /// Something is to be told. False: there is no room for it.
    pub(super) fn put(&mut self, monitor: StreamId, word: Word, bytes_max: usize) -> bool {
        let bytes = self.notice_bytes.saturating_add(word.charge());
        let has_room = bytes <= bytes_max;
        if has_room {
            self.notice_bytes = bytes;
            self.notices.push_back((monitor, word));
        }
        has_room
    }

    /// The next thing to be told to a monitor, which is given with that. What is for one that was taken back is not
    /// told, and so never said to be written: it takes none of the room.
    pub(super) fn take(&mut self) -> Option<Command> {
        while let Some((monitor, word)) = self.notices.pop_front() {
            let charge = word.charge();
            self.notice_bytes -= charge;
            if let Some(command) = self.say(monitor, word) {
                self.give(charge);
                return Some(command);
            }
        }
        // An idle link holds no buffer.
        self.notices = VecDeque::new();
        None
    }

    /// `None`: the monitor was taken back.
    fn say(&mut self, monitor: StreamId, word: Word) -> Option<Command> {
        match word {
            Word::Refused(reason) => Some(Command::NotMonitoring { monitor, reason, text: None }),
            Word::Notice(notice @ Notice::Ended { .. }) => {
                self.monitors.remove(&monitor).map(|_| Command::Notice { monitor, notice })
            }
            Word::Notice(notice) => {
                self.monitors.contains_key(&monitor).then_some(Command::Notice { monitor, notice })
            }
        }
    }

    pub(super) fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// The link is gone: nothing is told any more.
    pub(super) fn hush(&mut self) {
        self.notices = VecDeque::new();
        self.notice_bytes = 0;
    }

    /// Whether it may be told more.
    pub(super) const fn has_room(&self, max: usize) -> bool {
        self.given_bytes < max
    }

    pub(super) const fn give(&mut self, charge: usize) {
        self.given_bytes = self.given_bytes.saturating_add(charge);
    }

    /// What it was told was written.
    pub(super) const fn drain(&mut self) {
        self.given_bytes = 0;
    }
}
