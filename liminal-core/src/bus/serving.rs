//! What a link serves: its offers, and the participants that it takes part with.

use alloc::collections::{BTreeMap, VecDeque};

use liminal_proto::{ConversationId, ExitReason, IdMap, StreamId};

use crate::id::Sequence;
use crate::{ConversationKey, LinkId, OfferId};

/// What a link serves.
#[derive(Debug)]
pub(super) struct Serving {
    /// Its offers, by the names that it gave them.
    pub(super) offers: BTreeMap<StreamId, OfferId>,
    /// Its participants, by the ids that their conversations have on this link.
    pub(super) guests: IdMap<ConversationId, Guest>,
    guest_ids: Sequence,
    /// What they were given since the link said last that it takes more, in bytes with their charge.
    delivered_bytes: usize,
    /// Conversations with a call to make for which there was no room, in their order.
    pub(super) parked: VecDeque<ConversationKey>,
    /// Whether the link stands in the queue of those that may have room for a call that is parked.
    pub(super) in_turn: bool,
    /// How its participants have exited, when the link is lost.
    pub(super) lost: ExitReason,
}

/// A participant on a link, from its invitation until the link says that the conversation has ended there.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) offer: OfferId,
    /// Its conversation, as long as that has not let go of it.
    pub(super) conversation: Option<ConversationKey>,
}

/// Where the participant of a conversation is, when that is on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GuestSeat {
    pub(super) link: LinkId,
    /// The id that the conversation has on that link.
    pub(super) id: ConversationId,
    /// Whether the conversation was over while it was at something.
    pub(super) cancel: bool,
    /// How often in a row it was too busy for what it was given, up to where that makes no difference any more.
    pub(super) busy: u8,
}

impl Serving {
    pub(super) fn new() -> Self {
        Self {
            offers: BTreeMap::new(),
            guests: IdMap::new(),
            guest_ids: Sequence::default(),
            delivered_bytes: 0,
            parked: VecDeque::new(),
            in_turn: false,
            lost: ExitReason::ConnectionLost,
        }
    }

    /// Whether nothing is left that a conversation could still concern.
    pub(super) fn is_over(&self) -> bool {
        self.guests.is_empty() && self.parked.is_empty()
    }

    /// A new participant. `None`: the link has used up the streams of its life.
    pub(super) fn seat(&mut self, offer: OfferId, conversation: ConversationKey) -> Option<ConversationId> {
        let id = self.guest_ids.next().checked_mul(2).filter(|id| *id <= u64::from(u32::MAX))?;
        let id = ConversationId::new(id);
        self.guests.insert(id, Guest { offer, conversation: Some(conversation) });
        Some(id)
    }

    /// Whether a message with this charge may be given now. One that is too long for the bound is given alone.
    pub(super) const fn has_room(&self, charge: usize, max: usize) -> bool {
        self.delivered_bytes == 0 || self.delivered_bytes.saturating_add(charge) <= max
    }

    /// Gives it a message with this charge. False: there is no room for that.
    pub(super) const fn give(&mut self, charge: usize, max: usize) -> bool {
        let has_room = self.has_room(charge, max);
        if has_room {
            self.delivered_bytes = self.delivered_bytes.saturating_add(charge);
        }
        has_room
    }

    pub(super) const fn make_room(&mut self) {
        self.delivered_bytes = 0;
    }

    /// Enters the queue of links with room, if something waits for it and the link does not stand there. `own` is its id.
    pub(super) fn enter_turn(&mut self, own: LinkId, openings: &mut VecDeque<LinkId>) {
        if !self.in_turn && !self.parked.is_empty() {
            self.in_turn = true;
            openings.push_back(own);
        }
    }
}
