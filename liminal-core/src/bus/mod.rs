//! The bus: routes between links and participants, and runs neither.

mod batch;
mod call;
mod common;
mod compensate;
mod conversation;
mod end;
mod guest;
mod lifetime;
mod link;
mod monitor;
mod observer;
mod open;
mod reroute;
mod serve;
mod serving;
mod timers;
mod watch;
mod work;

use alloc::boxed::Box;
use alloc::vec::Vec;

use liminal_proto::{
    ConversationId, Event, ExitReason, IdMap, Instant, Message, Outcome, Pid, ReasonCode, Terms, Wake,
};

pub use self::batch::CANCELLED_PER_POLL;
use self::common::Common;
pub use self::compensate::Uncompensated;
use self::conversation::Conversation;
use self::link::Link;
use self::observer::{Observed, Observer};
use self::open::Wanted;
use crate::id::Sequence;
use crate::{
    Answer, Command, ConversationKey, Counters, CrashPolicy, Invocation, LinkId, Load, Offer, OfferId,
    Record, RegisterError, Settings, Subject, Ticket,
};

/// Routes what links say to participants, and back. Keeps for each conversation what its open
/// promises need, and no history.
///
/// It never runs code of its user: [`poll`](Self::poll) says what to do, and the host answers.
#[derive(Debug)]
pub struct Bus {
    common: Common,
    conversations: IdMap<ConversationKey, Box<Conversation>>,
    /// From which on conversations that lack a participant look again, because somebody was registered.
    searching: Option<ConversationKey>,
    /// What is done in batches had the last turn: calls come first.
    batched: bool,
    stopping: bool,
    link_ids: Sequence,
    keys: Sequence,
}

/// What the bus wants done.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusNext {
    /// The connection of this link must do this; see [`Command::apply`].
    Command(LinkId, Command),
    /// Make this call, and [`answer`](Bus::answer) with its ticket.
    Run(Ticket, Invocation),
    /// What this call may still reply is of no use to anybody. It must return nevertheless, and say so.
    Cancel(Ticket),
    /// A conversation belongs to this link, under this id. In front of all that comes of it. Only with
    /// [`Settings::recording`].
    Owned(ConversationKey, LinkId, ConversationId),
    /// A record of the log. Only with [`Settings::recording`].
    Record(ConversationKey, Record),
    /// A compensation has failed: a person should know.
    Uncompensated(Uncompensated),
    /// Nothing until the world moves; [`tick`](Bus::tick) is due then.
    Wait(Wake),
}

impl Bus {
    /// An empty bus.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            common: Common::new(settings),
            conversations: IdMap::new(),
            searching: None,
            batched: false,
            stopping: false,
            link_ids: Sequence::default(),
            keys: Sequence::default(),
        }
    }

    /// Registers what conversations on a subject get. Where several are registered for one, a new
    /// conversation gets the one with the fewest; equals take turns, and one that is busy when it should
    /// join, or refuses to, is passed over; the last refusal is told where nobody is left.
    ///
    /// # Errors
    ///
    /// When the subject is longer than any opening could name, or is registered already and one of the
    /// two is [`Offer::TraceOnly`].
    pub fn register(&mut self, subject: Subject, offer: Offer) -> Result<OfferId, RegisterError> {
        self.check_name(&subject)?;
        let offer = self.common.offers.register(subject, offer)?;
        self.search_again();
        Ok(offer)
    }

    /// Sets what becomes of a conversation on a subject when its participant exits, for those that are
    /// opened from now on; without it they fail. The policy of [`Subject::Any`] is for every subject that
    /// has no policy of its own and that nobody is registered for by name.
    ///
    /// # Errors
    ///
    /// When the subject, or the one to compensate on, is longer than any opening could name.
    pub fn on_crash(&mut self, subject: Subject, policy: CrashPolicy) -> Result<(), RegisterError> {
        self.check_name(&subject)?;
        if let CrashPolicy::Compensate(subject) = &policy {
            self.check_name(&Subject::Exact(subject.clone()))?;
        }
        self.common.offers.set_policy(subject, policy);
        Ok(())
    }

    /// Takes back a registration and says what it was for. Conversations that are open go on.
    pub fn unregister(&mut self, offer: OfferId) -> Option<Subject> {
        self.common.offers.unregister(offer)
    }

    /// A new link: a connection, or a local opener in the same program.
    pub fn connect(&mut self, now: Instant) -> LinkId {
        self.advance(now);
        let id = LinkId::new(self.link_ids.next());
        self.common.links.insert(id, Box::new(Link::new()));
        if self.stopping {
            self.common.tell(id, Command::Disconnect);
        }
        id
    }

    /// What the connection of a link says: of conversations that were opened with this side (`Open` or `Invite`,
    /// `Message`, `Close`, `Cancel`), of offers (`Serve`, `Withdraw`), of what it wants to be told of others
    /// (`Monitor`, `Watch`, `Unmonitor`), of conversations that its participants were
    /// [invited](Command::Invite) to (`Opened`, `Refused`, `Reply`, `Outcome`, `Exited`, `Ended`), and that it is
    /// `Closed`. The others, and those of a link that is gone, do nothing.
    pub fn event(&mut self, now: Instant, link: LinkId, event: Event) {
        self.advance(now);
        let Some(entry) = self.common.links.get(&link).filter(|entry| entry.alive) else { return };
        match event {
            Event::Open { conversation, subject, terms } => {
                self.on_open(link, conversation, subject, Wanted { terms, pid: None });
            }
            Event::Invite { conversation, pid, subject } => {
                self.on_open(link, conversation, subject, Wanted { terms: Terms::default(), pid: Some(pid) });
            }
            Event::Message(message) => {
                let key = entry.ids.get(&message.conversation).copied();
                self.on_message(link, key, message);
            }
            Event::Reply(reply) => {
                let key = entry.invited_to(reply.conversation);
                self.on_guest_reply(link, key, reply);
            }
            Event::Close { conversation } => self.on_close(link, conversation),
            Event::Cancel { conversation } => self.on_cancel(link, conversation),
            Event::Serve { offer, subject, capacity } => self.on_serve(link, offer, subject, capacity),
            Event::Withdraw { offer, drain } => self.on_withdraw(link, offer, drain),
            Event::Monitor { monitor, pid } => self.on_monitor(link, monitor, pid),
            Event::Watch { monitor, subject } => self.on_watch(link, monitor, subject),
            Event::Unmonitor { monitor } => self.on_unmonitor(link, monitor),
            Event::Closed(reason) => self.on_link_lost(link, &reason),
            Event::Connected { .. }
            | Event::Pong
            | Event::Room { .. }
            | Event::Serving { .. }
            | Event::NotServing { .. }
            | Event::Withdrawn { .. }
            | Event::Monitoring { .. }
            | Event::NotMonitoring { .. }
            | Event::Notice { .. }
            | Event::Record { .. }
            | Event::Gap { .. }
            | Event::Unmonitored { .. } => {}
            event @ (Event::Opened { .. }
            | Event::Refused { .. }
            | Event::Outcome { .. }
            | Event::Exited { .. }
            | Event::Joined { .. }
            | Event::Failed { .. }
            | Event::Ended { .. }
            | _) => self.on_guest_event(link, event),
        }
    }

    /// What a host says of a call. An answer with a ticket that is not out is counted and ignored.
    pub fn answer(&mut self, now: Instant, ticket: Ticket, answer: Answer) {
        self.answers(now, ticket, [answer]);
    }

    /// The same for all that it says at once.
    pub fn answers(&mut self, now: Instant, ticket: Ticket, answers: impl IntoIterator<Item = Answer>) {
        self.advance(now);
        let mut answers = answers.into_iter();
        if let Some(&key) = self.common.tickets.get(&ticket) {
            self.with(key, |conversation, common| {
                let mut is_out = true;
                while is_out && let Some(answer) = answers.next() {
                    is_out = !answer.returns();
                    conversation.on_answer(common, answer);
                }
                if !is_out {
                    common.tickets.remove(&ticket);
                }
            });
        }
        self.common.counters.ignored_answers += answers.count() as u64;
    }

    /// A host says that a participant is no more, whenever it learns of it: between two calls or while
    /// one is out. It is dead at once for everyone. A call that is out is cancelled: it must return
    /// nevertheless, and whatever it still answers is counted and ignored.
    ///
    /// A call that [`poll`](Self::poll) has not given out yet may still come, and must be answered, too.
    ///
    /// What does not name the participant that is active in that conversation is counted and ignored.
    pub fn exited(&mut self, now: Instant, conversation: ConversationKey, pid: Pid, reason: ExitReason) {
        self.advance(now);
        let died = self.with(conversation, |it, common| it.on_death(common, pid, reason));
        if died != Some(true) {
            self.common.counters.ignored_exits += 1;
        }
    }

    /// Time has passed. A tick too many costs nothing; an earlier `now` counts as the latest one seen.
    pub fn tick(&mut self, now: Instant) {
        self.advance(now);
    }

    /// Stops gracefully: every link is told to disconnect, and new conversations are refused.
    pub fn stop(&mut self, now: Instant) {
        self.advance(now);
        if self.stopping {
            return;
        }
        self.stopping = true;
        let links: Vec<LinkId> = self.common.links.keys().collect();
        for link in links {
            self.common.tell(link, Command::Disconnect);
        }
    }

    /// The output of a link is full: none of its conversations is called until
    /// [`link_ready`](Self::link_ready). Calls that are out go on; their hosts keep replies back.
    pub fn link_full(&mut self, link: LinkId) {
        if let Some(link) = self.common.links.get_mut(&link) {
            link.full = link.alive;
        }
    }

    /// The output of a link has room, whether or not it was full: what was told to it has been written, or its
    /// connection holds it. Participants of that link are given only so much more
    /// ([`delivered_bytes_per_link_max`](Settings::delivered_bytes_per_link_max)) until this is said again, so
    /// what many say to those of one link never piles up in front of it.
    pub fn link_ready(&mut self, link: LinkId) {
        self.common.make_room(link);
        while let Some(key) = self.common.next_withheld(link) {
            self.with(key, Conversation::give_credit);
        }
    }

    /// The owner of a conversation does not read it: something that was said to it there waits for credit. Its
    /// participant is not called until [`conversation_ready`](Self::conversation_ready); other conversations of the
    /// link go on.
    pub fn conversation_full(&mut self, link: LinkId, conversation: ConversationId) {
        if let Some(key) = self.find(link, conversation) {
            self.with(key, |it, _| it.unread = true);
        }
    }

    /// Nothing that was said to the owner of a conversation waits for credit any more.
    pub fn conversation_ready(&mut self, link: LinkId, conversation: ConversationId) {
        if let Some(key) = self.find(link, conversation) {
            self.with(key, |it, common| {
                it.unread = false;
                it.give_credit(common);
            });
        }
    }

    /// Whether a reply to this call would find room. While it would not, a host that can wait keeps
    /// its replies; a ticket that is not out has all the room there is, for they are dropped.
    #[must_use]
    pub fn has_room(&self, ticket: Ticket) -> bool {
        let conversation = self.common.tickets.get(&ticket).and_then(|key| self.conversations.get(key));
        !conversation.is_some_and(|it| it.unread || self.common.is_full(it.link()))
    }

    /// What to do next.
    pub fn poll(&mut self) -> BusNext {
        match self.common.next_output() {
            Some(output) => output.into(),
            None => self.work(),
        }
    }

    /// What [`poll`](Self::poll) would say next, as long as that began nothing: no call, and no cancellation of
    /// what a lost link owned. For an embedder that hands in several things at once and records: taken out after
    /// each of them, records come in front of whatever comes of the next.
    pub fn poll_output(&mut self) -> Option<BusNext> {
        self.common.next_output_but_a_call().map(BusNext::from)
    }

    /// A link whose accepted messages, and what waits for its monitors and watches, take notably more or less memory
    /// than when this told it last, by [`Settings::HELD_STEP`] at least, and how many bytes they take now, with their
    /// charge. For an
    /// embedder that keeps one account for many links; others need not ask. What a link is charged that
    /// is over is not told any more.
    pub fn poll_held(&mut self) -> Option<(LinkId, usize)> {
        self.common.next_reweighed()
    }

    /// A link that a call waits for room on since [`link_ready`](Self::link_ready) was last said of it. For an
    /// embedder that says so only of those that something waits for, and not each time when one has taken what was
    /// told to it; others need not ask.
    pub fn poll_crowded(&mut self) -> Option<LinkId> {
        self.common.crowded.pop_first()
    }

    /// When [`tick`](Self::tick) is due, as things are now.
    #[must_use]
    pub fn wake(&self) -> Wake {
        self.common.wake()
    }

    /// Whether it [records](Settings::recording).
    #[must_use]
    pub const fn is_recording(&self) -> bool {
        self.common.settings.recording
    }

    /// What was counted since the birth of the bus.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.common.counters
    }

    /// What is held at the moment, from the accounts.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            links: self.common.links.len(),
            conversations: self.common.links.values().map(|link| link.seats).sum(),
            participants: self.common.participants.len(),
            requests: self.common.requests,
            running: self.common.tickets.len(),
            held_bytes: self.common.links.values().map(|link| link.held_bytes).sum(),
            timers: self.common.timers.conversations(),
            guests: self.common.offers.guests(),
            monitors: self.observers().map(|observer| observer.monitors.len()).sum(),
            waiting_bytes: self.common.links.values().map(|link| link.waiting_bytes).sum(),
        }
    }

    /// Bytes of accepted messages of one link that participants are not through with, with their charge: at most
    /// [`Settings::held_bytes_per_link_max`].
    #[must_use]
    pub fn held_bytes(&self, link: LinkId) -> usize {
        self.common.links.get(&link).map_or(0, |link| link.held_bytes)
    }

    /// What is held at the moment, counted afresh from every conversation. Always equals
    /// [`load`](Self::load); for tests.
    #[must_use]
    pub fn recount(&self) -> Load {
        let serving = self.common.links.values().filter_map(|link| link.serving.as_ref());
        let guests = serving.map(|serving| serving.guests.len()).sum();
        let over = |observer: &Observer| {
            observer.monitors.values().filter(|observed| **observed == Observed::Over).count()
        };
        let mut load = Load {
            links: self.common.links.len(),
            guests,
            monitors: self.common.watches.len() + self.observers().map(over).sum::<usize>(),
            waiting_bytes: self.common.watches.recount()
                + self.observers().map(Observer::recount).sum::<usize>(),
            ..Load::default()
        };
        for conversation in self.conversations.values() {
            conversation.count(&mut load);
            let is_coming = conversation.engaged && self.common.offers.of_link(conversation.offer).is_some();
            load.guests += usize::from(is_coming);
        }
        load
    }

    fn observers(&self) -> impl Iterator<Item = &Observer> {
        self.common.links.values().filter_map(|link| link.observer.as_deref())
    }

    fn on_message(&mut self, link: LinkId, key: Option<ConversationKey>, message: Message) {
        let Some(key) = key else {
            self.common.counters.messages_refused += 1;
            let outcome = Outcome::Refused { reason: ReasonCode::NOT_OPEN, text: None };
            let (conversation, message) = (message.conversation, message.id);
            return self.common.tell(link, Command::Outcome { conversation, message, outcome });
        };
        self.with(key, |conversation, common| conversation.on_message(common, message));
    }

    fn check_name(&self, subject: &Subject) -> Result<(), RegisterError> {
        let limit = self.common.settings.name_max;
        match subject {
            Subject::Exact(name) if name.len() > limit => {
                Err(RegisterError::TooLong { len: name.len(), limit })
            }
            Subject::Exact(_) | Subject::Any => Ok(()),
        }
    }

    /// Somebody was registered: conversations that look for a participant may find one.
    fn search_again(&mut self) {
        self.searching = Some(ConversationKey::FIRST);
        while let Some(key) = self.next_searching() {
            self.with(key, |conversation, _| conversation.search_again());
        }
    }

    /// The same for what a link has offered, which it may do as often as it likes: they look in batches.
    const fn search_later(&mut self) {
        self.searching = Some(ConversationKey::FIRST);
    }

    fn next_searching(&mut self) -> Option<ConversationKey> {
        let next = self.common.lacking.range(self.searching?..).next().copied();
        self.searching = next.map(ConversationKey::next);
        next
    }
}
