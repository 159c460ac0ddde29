//! The conversations of a bus. Its transcript does not say when it hears a close, and not every transition
//! has a record: so each conversation has a set of stories that what is seen allows, and what all of them
//! have in common has happened.

use std::collections::{BTreeMap, BTreeSet};

use liminal_core::transcript::{BusId, Entry, Noted, OpenerId};
use liminal_core::{Call, ConversationKey, Leaving, LinkId, Phase, Recorded, Trigger};
use liminal_proto::{ConversationId, Event, Message, MessageId};

use super::Transition;

type Key = (BusId, ConversationKey);

#[derive(Default)]
pub(super) struct AtBus {
    links: BTreeMap<(BusId, LinkId), OpenerId>,
    /// Those of clients that serve to the bus that they have dialled, which closes what it has invited to.
    serving: BTreeSet<(BusId, LinkId)>,
    openers: BTreeMap<OpenerId, Said>,
    lives: BTreeMap<Key, Life>,
    keys: BTreeMap<(OpenerId, ConversationId), Key>,
}

/// What an opener has said, in its order: what the bus has heard of it, it has heard from the first on.
#[derive(Default)]
struct Said {
    count: usize,
    is_v2: bool,
    opens: BTreeMap<ConversationId, usize>,
    messages: BTreeMap<(ConversationId, MessageId), usize>,
    /// Those that the bus has not certainly heard.
    closes: BTreeMap<ConversationId, usize>,
    /// Those that end by themselves when their time is over.
    timed: BTreeSet<ConversationId>,
}

/// One conversation.
struct Life {
    link: (BusId, LinkId),
    owner: Option<(OpenerId, ConversationId)>,
    /// Another bus has invited to it.
    is_invited: bool,
    /// Somebody has joined, and neither left nor exited.
    joined: bool,
    stories: Vec<Story>,
}

/// What may have happened in it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Story {
    phase: Phase,
    /// Nobody takes part.
    traced: bool,
    /// The bus has heard its close.
    closed: bool,
    /// The transitions, a bit for each.
    reached: u32,
}

const fn bit(phase: Phase, trigger: Trigger) -> u32 {
    1 << (phase as usize * Trigger::ALL.len() + trigger as usize)
}

impl Story {
    const fn new(traced: bool) -> Self {
        let this = Self { phase: Phase::Created, traced, closed: false, reached: 0 };
        if traced { this.after(Trigger::Joined) } else { this }
    }

    /// Moves on by the table.
    const fn after(mut self, trigger: Trigger) -> Self {
        if let Some(next) = self.phase.next(trigger) {
            self.reached |= bit(self.phase, trigger);
            self.phase = next;
        }
        self
    }

    const fn closes(self) -> Self {
        Self { closed: true, ..self.after(Trigger::Close) }
    }

    const fn is_over(self) -> bool {
        matches!(self.phase, Phase::Closed | Phase::Failed)
    }

    /// What this record makes of it; nothing, where the record cannot be in this story.
    fn recorded(self, what: &Recorded) -> [Option<Self>; 2] {
        let goes_on = Some(self).filter(|it| !it.is_over());
        match what {
            Recorded::Message { .. } | Recorded::Request { .. } => {
                [goes_on.filter(|it| it.phase != Phase::Completing), None]
            }
            Recorded::Joined { .. } => [goes_on.map(|it| it.after(Trigger::Joined)), None],
            // Another may be asked, or not.
            Recorded::JoinRefused { .. } => {
                let refused = goes_on.map(|it| it.after(Trigger::JoinRefused));
                [goes_on, refused.filter(|it| it.is_over())]
            }
            Recorded::Exited { goes_on: true, .. } => [goes_on, None],
            Recorded::Exited { .. } | Recorded::Failed => [goes_on.map(|it| it.after(Trigger::Exited)), None],
            Recorded::Left { why: Leaving::OwnerLost, .. } => {
                [goes_on.map(|it| it.after(Trigger::OwnerLost)), None]
            }
            Recorded::Left { .. } => {
                let completing = Some(self).filter(|it| it.phase == Phase::Completing);
                [completing.map(|it| it.after(Trigger::Drained)), None]
            }
            _ => [Some(self), None],
        }
    }
}

impl Life {
    fn new(link: (BusId, LinkId), owner: Option<(OpenerId, ConversationId)>, is_invited: bool) -> Self {
        let traced: &[bool] = if link.1 == LinkId::BUS { &[false] } else { &[false, true] };
        let stories = traced.iter().map(|traced| Story::new(*traced)).collect();
        Self { link, owner, is_invited, joined: false, stories }
    }

    fn is_own(&self) -> bool {
        self.link.1 == LinkId::BUS
    }

    /// What can happen without being seen: its close may be heard now, and who is alone ends in silence.
    fn branch(&mut self, may_close: bool) {
        let closing = self.stories.iter().filter(|it| may_close && !it.closed && it.phase != Phase::Closed);
        let closing: Vec<Story> = closing.map(|it| it.closes()).collect();
        self.stories.extend(closing);
        let alone = self.stories.iter().filter(|it| it.phase == Phase::Completing && !self.joined);
        let alone: Vec<Story> = alone.map(|it| it.after(Trigger::Drained)).collect();
        self.stories.extend(alone);
        self.forget_doubles();
    }

    fn forget_doubles(&mut self) {
        let mut seen: Vec<Story> = Vec::new();
        for story in std::mem::take(&mut self.stories) {
            if !seen.contains(&story) {
                seen.push(story);
            }
        }
        self.stories = seen;
    }

    fn on_record(&mut self, what: &Recorded) {
        let stories = std::mem::take(&mut self.stories);
        self.stories = stories.into_iter().flat_map(|it| it.recorded(what)).flatten().collect();
        match what {
            // The bus closes its own behind the one thing that it says.
            Recorded::Request { .. } if self.is_own() => {
                self.stories.iter_mut().for_each(|it| *it = it.closes());
            }
            Recorded::Joined { .. } => self.joined = true,
            Recorded::Left { .. } | Recorded::Exited { .. } => self.joined = false,
            _ => {}
        }
    }

    /// Keeps the stories of which this is true, if there are any.
    fn prefer(&mut self, is_true: impl Fn(&Story) -> bool) {
        if self.stories.iter().any(&is_true) {
            self.stories.retain(is_true);
        }
    }

    fn on_link_closed(&mut self) {
        if !self.joined {
            for story in &mut self.stories {
                *story = story.after(Trigger::OwnerLost);
            }
        }
        self.owner = None;
    }

    /// What has happened in every story.
    fn reached(&self) -> u32 {
        self.stories.iter().map(|it| it.reached).reduce(|one, other| one & other).unwrap_or(0)
    }
}

impl AtBus {
    pub(super) fn reached(&self) -> Vec<Transition> {
        let bits = self.lives.values().fold(0, |bits, life| bits | life.reached());
        let every = super::every_at_bus();
        let is_reached = |it: &Transition| matches!(it, Transition::AtBus(phase, trigger) if bits & bit(*phase, *trigger) != 0);
        if bits == 0 { Vec::new() } else { every.filter(is_reached).collect() }
    }

    /// Conversations of which no story is left: the tables and what was seen contradict each other.
    #[cfg(test)]
    pub(super) fn contradictions(&self) -> Vec<ConversationKey> {
        self.lives.iter().filter(|(_, life)| life.stories.is_empty()).map(|((_, key), _)| *key).collect()
    }

    pub(super) fn on_entry(&mut self, entry: &Entry) {
        let bus = entry.bus;
        match &entry.what {
            Noted::Dialled { opener, link } => {
                self.links.insert((bus, *link), *opener);
            }
            Noted::Serves { link, .. } => {
                self.serving.insert((bus, *link));
            }
            Noted::Said { opener, event } => self.on_said(*opener, event),
            Noted::Told { opener, event } => self.on_told(*opener, event),
            Noted::Owned { conversation, link, id } => {
                self.on_owned((bus, *conversation), (bus, *link), *id);
            }
            Noted::Called { invocation, .. } | Noted::CalledOn { invocation, .. }
                if matches!(invocation.what, Call::Join { .. }) =>
            {
                self.with((bus, invocation.conversation), |life| {
                    life.prefer(|it| !it.traced && !it.is_over());
                });
            }
            Noted::Recorded { conversation, record } => self.on_recorded((bus, *conversation), &record.what),
            Noted::LinkClosed { link } => self.on_link_closed((bus, *link)),
            Noted::Over => self.on_over(),
            _ => {}
        }
    }

    fn on_said(&mut self, opener: OpenerId, event: &Event) {
        let said = self.openers.entry(opener).or_default();
        said.count += 1;
        match event {
            Event::Open { conversation, terms, .. } => {
                said.opens.insert(*conversation, said.count);
                if terms.total.is_some() || terms.idle.is_some() {
                    said.timed.insert(*conversation);
                }
            }
            Event::Message(Message { conversation, id, .. }) if said.is_v2 => {
                said.messages.insert((*conversation, *id), said.count);
            }
            Event::Close { conversation } => {
                said.closes.insert(*conversation, said.count);
            }
            _ => {}
        }
    }

    fn on_told(&mut self, opener: OpenerId, event: &Event) {
        match event {
            Event::Connected { version } => {
                self.openers.entry(opener).or_default().is_v2 = version.major == 2;
            }
            Event::Opened { conversation, pid: None } => {
                self.with_owned(opener, *conversation, |life| life.prefer(|it| it.traced));
            }
            Event::Refused { conversation, .. } => {
                self.with_owned(opener, *conversation, |life| life.prefer(|it| it.phase == Phase::Failed));
            }
            Event::Ended { conversation } => self.on_ended(opener, *conversation),
            _ => {}
        }
    }

    /// Of 1.0 the connection says that by itself.
    fn on_ended(&mut self, opener: OpenerId, conversation: ConversationId) {
        let Some(said) = self.openers.get(&opener).filter(|said| said.is_v2) else { return };
        if said.timed.contains(&conversation) {
            self.with_owned(opener, conversation, |life| life.prefer(|it| it.is_over()));
        } else if let Some(close) = said.closes.get(&conversation).copied() {
            self.is_heard(opener, close);
            self.with_owned(opener, conversation, |life| life.prefer(|it| it.is_over()));
        }
    }

    fn on_owned(&mut self, key: Key, link: (BusId, LinkId), id: ConversationId) {
        if self.lives.contains_key(&key) {
            return;
        }
        let owner = self.links.get(&link).map(|opener| (*opener, id));
        self.lives.insert(key, Life::new(link, owner, self.serving.contains(&link)));
        if let Some((opener, id)) = owner {
            self.keys.insert((opener, id), key);
            let open = self.openers.get(&opener).and_then(|said| said.opens.get(&id)).copied();
            self.is_heard(opener, open.unwrap_or(0));
        }
    }

    fn on_recorded(&mut self, key: Key, what: &Recorded) {
        if let Recorded::Message { id, .. } | Recorded::Request { id, .. } = what
            && let Some((opener, conversation)) = self.lives.get(&key).and_then(|life| life.owner)
        {
            let said = self.openers.get(&opener).and_then(|said| said.messages.get(&(conversation, *id)));
            self.is_heard(opener, said.copied().unwrap_or(0));
        }
        self.with(key, |life| life.on_record(what));
    }

    /// The bus has heard this from an opener, and with it all that it had said before.
    fn is_heard(&mut self, opener: OpenerId, nth: usize) {
        let Some(said) = self.openers.get(&opener) else { return };
        let heard: Vec<ConversationId> =
            said.closes.iter().filter(|(_, close)| **close <= nth).map(|(id, _)| *id).collect();
        for conversation in heard {
            self.with_owned(opener, conversation, |life| {
                life.prefer(|it| it.closed || it.phase == Phase::Closed);
            });
            self.openers.entry(opener).or_default().closes.remove(&conversation);
        }
    }

    fn on_link_closed(&mut self, link: (BusId, LinkId)) {
        let owned = self.lives.iter().filter(|(_, life)| life.link == link);
        let owned: Vec<Key> = owned.map(|(key, _)| *key).collect();
        for key in owned {
            self.with(key, Life::on_link_closed);
        }
    }

    /// Whoever would have been asked in the place of one that would not join was asked by now.
    fn on_over(&mut self) {
        for life in self.lives.values_mut().filter(|life| life.is_own()) {
            life.prefer(|it| it.is_over());
        }
    }

    fn with_owned(&mut self, opener: OpenerId, id: ConversationId, change: impl FnOnce(&mut Life)) {
        if let Some(key) = self.keys.get(&(opener, id)).copied() {
            self.with(key, change);
        }
    }

    fn with(&mut self, key: Key, change: impl FnOnce(&mut Life)) {
        let Some(life) = self.lives.get_mut(&key) else { return };
        let closes = |(opener, id): (OpenerId, ConversationId)| {
            let said = self.openers.get(&opener);
            said.is_some_and(|said| said.closes.contains_key(&id) || said.timed.contains(&id))
        };
        let may_close = life.is_invited || life.owner.is_some_and(closes);
        life.branch(may_close);
        change(life);
    }
}
