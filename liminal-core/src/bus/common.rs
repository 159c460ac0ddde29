//! What the conversations of a bus share: links, timers, output, totals.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use liminal_proto::{ConversationId, IdMap, Instant, Pid, ReasonCode, SmallMap, Wake};

use super::compensate::{Compensation, Uncompensated};
use super::link::Link;
use super::timers::Timers;
use super::watch::Watches;
use super::{BusNext, Command};
use crate::id::Sequence;
use crate::offer::Offers;
use crate::{ConversationKey, Counters, LinkId, OfferId, Record, Settings, Ticket};

/// What the bus wants done, until it is asked for. Nearly all are commands: what is longer than they are would make each
/// of them longer to move.
#[derive(Debug)]
pub(super) enum Output {
    Command(LinkId, Command),
    Other(Box<BusNext>),
}

impl From<Output> for BusNext {
    #[inline]
    fn from(output: Output) -> Self {
        match output {
            Output::Command(link, command) => Self::Command(link, command),
            Output::Other(next) => *next,
        }
    }
}

#[derive(Debug)]
pub(super) struct Common {
    pub(super) settings: Settings,
    /// The latest moment seen.
    pub(super) now: Instant,
    pub(super) links: IdMap<LinkId, Box<Link>>,
    /// Lost links whose conversations are not all cancelled yet.
    pub(super) dying: VecDeque<LinkId>,
    /// Offers that links took back at once, whose participants are not all gone yet; and from which on they are
    /// not.
    pub(super) withdrawing: VecDeque<(LinkId, OfferId, ConversationId)>,
    pub(super) counters: Counters,
    /// Which conversation each call that is out belongs to.
    pub(super) tickets: SmallMap<Ticket, ConversationKey>,
    /// Requests that have not ended.
    pub(super) requests: usize,
    pub(super) offers: Offers,
    /// Who takes part where.
    pub(super) participants: SmallMap<Pid, ConversationKey>,
    pub(super) watches: Watches,
    /// Links that something waits for, and that take it.
    pub(super) observing: VecDeque<LinkId>,
    /// What exits have asked for, until the step that they happened in is through.
    pub(super) compensations: Vec<Compensation>,
    /// Notices of compensations that nobody has handled yet, by the bus's own conversations.
    pub(super) notices: BTreeMap<ConversationId, Uncompensated>,
    /// Conversations in which something waits for a participant, and none is there or on its way.
    pub(super) lacking: BTreeSet<ConversationKey>,
    pub(super) own_ids: Sequence,
    pids: Sequence,
    ticket_ids: Sequence,
    outbox: VecDeque<Output>,
    /// Links that hold notably more or less than the embedder was told.
    reweighed: BTreeSet<LinkId>,
    /// Links that a call has found no room on, and the embedder was not told.
    pub(super) crowded: BTreeSet<LinkId>,
    /// Links with a call to make; each has one call per turn.
    pub(super) turns: VecDeque<LinkId>,
    /// Links that may have room for a call that waits for it.
    pub(super) openings: VecDeque<LinkId>,
    /// Numbers the messages that participants on links are given.
    pub(super) deliveries: Sequence,
    pub(super) timers: Timers,
}

impl Common {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Instant::ORIGIN,
            links: IdMap::new(),
            dying: VecDeque::new(),
            withdrawing: VecDeque::new(),
            counters: Counters::default(),
            tickets: SmallMap::new(),
            requests: 0,
            offers: Offers::default(),
            participants: SmallMap::new(),
            watches: Watches::default(),
            observing: VecDeque::new(),
            compensations: Vec::new(),
            notices: BTreeMap::new(),
            lacking: BTreeSet::new(),
            own_ids: Sequence::default(),
            pids: Sequence::default(),
            ticket_ids: Sequence::default(),
            outbox: VecDeque::new(),
            reweighed: BTreeSet::new(),
            crowded: BTreeSet::new(),
            turns: VecDeque::new(),
            openings: VecDeque::new(),
            deliveries: Sequence::default(),
            timers: Timers::default(),
        }
    }

    pub(super) fn is_alive(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|link| link.alive)
    }

    /// Whether conversations may have lost their owner or their participant with a link, or with its offer, and not
    /// know it.
    pub(super) fn has_losses(&self) -> bool {
        !self.dying.is_empty() || !self.withdrawing.is_empty()
    }

    // Output.

    pub(super) fn tell(&mut self, link: LinkId, command: Command) {
        if link == LinkId::BUS {
            self.on_own(&command);
        } else if self.is_alive(link) {
            self.outbox.push_back(Output::Command(link, command));
        }
    }

    pub(super) fn push(&mut self, next: BusNext) {
        self.outbox.push_back(Output::Other(Box::new(next)));
    }

    /// What comes next when `last` comes behind all other output.
    pub(super) fn behind_output(&mut self, last: BusNext) -> BusNext {
        let Some(first) = self.outbox.pop_front() else { return last };
        self.push(last);
        first.into()
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) {
        self.push(BusNext::Cancel(ticket));
    }

    pub(super) fn record(&mut self, conversation: ConversationKey, record: Record) {
        self.push(BusNext::Record(conversation, record));
    }

    /// The next output. What was meant for a link that has died since goes nowhere: such a link is not cleaned up behind
    /// before all output is out.
    #[inline]
    pub(super) fn next_output(&mut self) -> Option<Output> {
        if !self.dying.is_empty() {
            self.drop_output_for_nobody();
        }
        self.outbox.pop_front()
    }

    /// Sees to it that the next output is not for a link that has died.
    #[cold]
    fn drop_output_for_nobody(&mut self) {
        while let Some(Output::Command(link, _)) = self.outbox.front()
            && !self.is_alive(*link)
        {
            self.outbox.pop_front();
        }
    }

    /// The same, up to a call that is to be made.
    pub(super) fn next_output_but_a_call(&mut self) -> Option<Output> {
        let is_call =
            |output: &Output| matches!(output, Output::Other(next) if matches!(**next, BusNext::Run(..)));
        if self.outbox.front().is_some_and(is_call) { None } else { self.next_output() }
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    // Calls.

    pub(super) fn issue_ticket(&mut self, conversation: ConversationKey) -> Ticket {
        let ticket = Ticket::new(self.ticket_ids.next());
        self.tickets.insert(ticket, conversation);
        ticket
    }

    /// Notes that a conversation has a call to make.
    pub(super) fn schedule(&mut self, link: LinkId, conversation: ConversationKey) {
        if let Some(entry) = self.links.get_mut(&link) {
            entry.ready.push_back(conversation);
            entry.enter_turn(link, &mut self.turns);
        }
    }

    /// Lets a link take part in the turns, if it has a call to make and may.
    pub(super) fn enter_turn(&mut self, link: LinkId) {
        if let Some(entry) = self.links.get_mut(&link) {
            entry.enter_turn(link, &mut self.turns);
        }
    }

    /// The conversation whose turn it is to have its call made.
    pub(super) fn next_turn(&mut self) -> Option<ConversationKey> {
        while let Some(id) = self.turns.pop_front() {
            let Some(link) = self.links.get_mut(&id) else { continue };
            link.in_turn = false;
            if link.full {
                continue;
            }
            let Some(conversation) = link.ready.pop_front() else { continue };
            link.enter_turn(id, &mut self.turns);
            return Some(conversation);
        }
        None
    }

    // Time.

    pub(super) fn wake(&self) -> Wake {
        self.timers.first().map_or(Wake::Never, |(at, reason)| Wake::At(at, reason))
    }

    // Bounds.

    /// Charges a link for a message, for a conversation that holds `held` already, if it may be held.
    pub(super) fn admit(&mut self, link: LinkId, held: usize, charge: usize) -> Result<(), ReasonCode> {
        let conversation_max = self.settings.held_bytes_per_conversation_max;
        let link_max = self.settings.held_bytes_per_link_max;
        if charge > conversation_max.min(link_max) {
            return Err(ReasonCode::TOO_LARGE);
        }
        if held.saturating_add(charge) > conversation_max {
            return Err(ReasonCode::BUSY);
        }
        let charged = self.reweigh_by(link, |link| {
            let by_link = link.held_bytes.saturating_add(charge);
            let has_room = by_link <= link_max;
            if has_room {
                link.held_bytes = by_link;
            }
            has_room
        });
        if charged == Some(true) { Ok(()) } else { Err(ReasonCode::BUSY) }
    }

    pub(super) fn charge(&mut self, link: LinkId, charge: usize) {
        self.reweigh(link, |held| held.saturating_add(charge));
    }

    pub(super) fn release(&mut self, link: LinkId, charge: usize) {
        self.reweigh(link, |held| held.saturating_sub(charge));
    }

    fn reweigh(&mut self, id: LinkId, change: impl FnOnce(usize) -> usize) {
        self.reweigh_by(id, |link| link.held_bytes = change(link.held_bytes));
    }

    /// What waits for the monitors and watches of a link takes so much more, or less.
    pub(super) fn reweigh_waiting(&mut self, id: LinkId, before: usize, after: usize) {
        if before != after {
            self.reweigh_by(id, |link| {
                link.waiting_bytes = link.waiting_bytes.saturating_add(after).saturating_sub(before);
            });
        }
    }

    fn reweigh_by<R>(&mut self, id: LinkId, change: impl FnOnce(&mut Link) -> R) -> Option<R> {
        let link = self.links.get_mut(&id)?;
        let result = change(link);
        if link.is_worth_telling() {
            self.reweighed.insert(id);
        }
        Some(result)
    }

    /// A link that holds notably more or less than was told last, and how much.
    pub(super) fn next_reweighed(&mut self) -> Option<(LinkId, usize)> {
        while let Some(id) = self.reweighed.pop_first() {
            if let Some(link) = self.links.get_mut(&id)
                && link.is_worth_telling()
            {
                link.told_bytes = link.weight();
                return Some((id, link.told_bytes));
            }
        }
        None
    }

    // Names.

    pub(super) const fn next_pid(&mut self) -> Pid {
        Pid::new(self.pids.next())
    }

    /// Frees the id of a conversation.
    pub(super) fn forget_id(&mut self, link: LinkId, id: ConversationId, key: ConversationKey) {
        if let Some(link) = self.links.get_mut(&link)
            && link.ids.get(&id) == Some(&key)
        {
            link.ids.remove(&id);
        }
    }

    /// Gives up the seat of a conversation that is over, and its link if that was all that was left.
    pub(super) fn vacate(&mut self, link: LinkId) {
        if let Some(entry) = self.links.get_mut(&link) {
            entry.seats = entry.seats.saturating_sub(1);
        }
        self.drop_if_over(link);
    }

    pub(super) fn drop_if_over(&mut self, link: LinkId) {
        let is_over = |entry: &Link| entry.is_over() || (link == LinkId::BUS && entry.seats == 0);
        if self.links.get(&link).is_some_and(|entry| is_over(entry)) {
            self.links.remove(&link);
            self.reweighed.remove(&link);
            self.crowded.remove(&link);
        }
    }
}
