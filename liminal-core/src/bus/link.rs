//! One link, as the bus sees it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use liminal_proto::ConversationId;

use super::observer::Observer;
use super::serving::Serving;
use crate::{ConversationKey, LinkId, Rights, Settings};

/// Who opens conversations.
#[derive(Debug)]
pub(super) struct Link {
    /// From the moment of its loss on nothing is told to it, however long the cleaning up takes.
    pub(super) alive: bool,
    /// Its output is full: none of its conversations is called.
    pub(super) full: bool,
    /// Its conversations by the ids that it gave them.
    pub(super) ids: BTreeMap<ConversationId, ConversationKey>,
    /// Its conversations that are not over, those without an id included.
    pub(super) seats: usize,
    /// What it is charged for held messages.
    pub(super) held_bytes: usize,
    /// What waits to be told to its monitors and watches.
    pub(super) waiting_bytes: usize,
    /// What the embedder was last told of both.
    pub(super) told_bytes: usize,
    /// Its conversations with a call to make, in the order in which they came by it.
    pub(super) ready: VecDeque<ConversationKey>,
    /// Whether it stands in the queue of links with a call to make.
    pub(super) in_turn: bool,
    /// Its conversations that owe credit to their participants until its output has room.
    pub(super) withholding: BTreeSet<ConversationKey>,
    /// What it serves, where it serves anything.
    pub(super) serving: Option<Box<Serving>>,
    /// What it may do.
    pub(super) rights: Rights,
    /// What it has asked to be told of conversations, where it has asked for anything.
    pub(super) observer: Option<Box<Observer>>,
}

impl Link {
    pub(super) const fn new() -> Self {
        Self {
            alive: true,
            full: false,
            ids: BTreeMap::new(),
            seats: 0,
            held_bytes: 0,
            waiting_bytes: 0,
            told_bytes: 0,
            ready: VecDeque::new(),
            in_turn: false,
            withholding: BTreeSet::new(),
            serving: None,
            rights: Rights { monitor: false },
            observer: None,
        }
    }

    /// Enters the queue of links with a call to make, if it has one, may make it and does not stand there. `own` is its
    /// id.
    pub(super) fn enter_turn(&mut self, own: LinkId, turns: &mut VecDeque<LinkId>) {
        if !self.full && !self.in_turn && !self.ready.is_empty() {
            self.in_turn = true;
            turns.push_back(own);
        }
    }

    /// The conversation that a participant of its takes part in under this id.
    pub(super) fn invited_to(&self, id: ConversationId) -> Option<ConversationKey> {
        self.serving.as_deref()?.guests.get(&id)?.conversation
    }

    /// What it holds in all.
    pub(super) const fn weight(&self) -> usize {
        self.held_bytes.saturating_add(self.waiting_bytes)
    }

    /// Whether what it holds has changed enough to be worth telling.
    pub(super) const fn is_worth_telling(&self) -> bool {
        self.weight().abs_diff(self.told_bytes) >= Settings::HELD_STEP
    }

    /// Whether nothing is left of it.
    pub(super) fn is_over(&self) -> bool {
        let serves = self.serving.as_ref().is_some_and(|serving| !serving.is_over());
        let monitors = self.observer.as_ref().is_some_and(|observer| !observer.monitors.is_empty());
        !self.alive && self.seats == 0 && self.ids.is_empty() && !serves && !monitors
    }
}
