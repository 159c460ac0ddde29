//! The bus as one would write it without a thought for cost: lists, searched from the front.

mod expected;
mod follows;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use liminal_core::{
    Answer, Call, Command, ConversationKey, Invocation, Leaving, LinkId, OfferId, Settings, Ticket,
    Uncompensated,
};
use liminal_proto::{
    ConversationId, Event, Exit, ExitReason, Expects, Instant, Message, MessageId, Outcome, Pid, ReasonCode,
    RecordNumber, Reply, Unanswered, Wake,
};

#[derive(Debug)]
pub(super) struct Reference {
    settings: Settings,
    now: Instant,
    links: BTreeMap<LinkId, Link>,
    /// All there ever were; the key of one is its place, counted from 1.
    conversations: Vec<Conversation>,
    pids: u64,
    /// What must still come out, for each conversation id of a link in its order.
    commands: BTreeMap<(LinkId, ConversationId), VecDeque<Command>>,
    cancels: Vec<Ticket>,
    /// Who is registered for what, in the order of their registration.
    offers: Vec<(OfferId, &'static str)>,
    /// After whom it is whose turn, by subject.
    turns: BTreeMap<&'static str, OfferId>,
    /// Compensations that must still be said to have failed.
    uncompensated: Vec<(u64, &'static str, Outcome)>,
    /// The last request that each exit has ended.
    asked_before_exit: BTreeMap<(LinkId, ConversationId), VecDeque<u64>>,
}

#[derive(Debug, Default)]
struct Link {
    lost: bool,
    full: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Created,
    Active,
    Completing,
    Failed,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    Fail,
    RouteToNext,
    Compensate(&'static str),
}

/// What is served: each subject, its policy, and how many serve it at first.
pub(super) const SUBJECTS: [(&str, usize); 6] =
    [("echo", 1), ("pair", 2), ("route", 2), ("undo", 1), ("lost", 1), ("fix", 1)];

fn policy(subject: &str) -> Policy {
    match subject {
        "route" => Policy::RouteToNext,
        "undo" => Policy::Compensate("fix"),
        "lost" => Policy::Compensate("nobody"),
        _ => Policy::Fail,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Join,
    Message,
    Wake,
    Leave,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seat {
    Idle,
    Running(Ticket, Kind),
    /// Of one that has exited.
    Returning(Ticket),
    Waiting(Instant, Kind),
}

#[derive(Clone, Debug)]
struct Said {
    id: MessageId,
    record: u64,
    asked: bool,
    /// Until it has ended.
    deadline: Option<Instant>,
    len: usize,
    moves: u8,
    /// A part of the reply was given.
    parted: bool,
}

/// What a notice must say.
#[derive(Debug)]
struct Notice {
    of: usize,
    pid: u64,
    record: u64,
    /// Record, id, whether it was asked, whether it was delivered, length.
    unanswered: Vec<(u64, u64, bool, bool, usize)>,
    /// Whether nobody has handled it yet.
    open: bool,
    /// Whether no other notice waited when it was written: all that wait share the room of one link.
    alone: bool,
}

#[derive(Debug)]
struct Conversation {
    link: LinkId,
    id: ConversationId,
    pid: Option<u64>,
    phase: Phase,
    to_join: bool,
    joined: bool,
    present: bool,
    known: bool,
    why: Leaving,
    seat: Seat,
    cancelled: bool,
    queue: Vec<Said>,
    hand: Option<Said>,
    close_by: Option<Instant>,
    records: u64,
    /// Its owner does not read it.
    unread: bool,
    subject: &'static str,
    policy: Policy,
    offer: Option<OfferId>,
    engaged: bool,
    opened: bool,
    /// Whether there may be another participant than the first.
    searches: bool,
    /// The last participant that exited.
    exited: Option<u64>,
    crashed: Vec<OfferId>,
    refused: Vec<OfferId>,
    nobody_by: Option<Instant>,
    retry_at: Option<Instant>,
    notice: Option<Notice>,
}

impl Conversation {
    fn is_over(&self) -> bool {
        !self.known && !self.present && self.seat == Seat::Idle
    }

    fn held(&self) -> usize {
        self.queue.iter().chain(&self.hand).map(|said| Settings::charge(said.len)).sum()
    }

    fn next_call(&self, now: Instant) -> Option<Kind> {
        match self.seat {
            Seat::Running(..) | Seat::Returning(_) => return None,
            Seat::Waiting(until, _) if until > now => return None,
            Seat::Waiting(_, Kind::Wake) => return Some(Kind::Wake),
            Seat::Waiting(..) | Seat::Idle => {}
        }
        match self.phase {
            Phase::Created | Phase::Active | Phase::Completing if self.to_join => Some(Kind::Join),
            Phase::Active | Phase::Completing if self.present && !self.queue.is_empty() => {
                Some(Kind::Message).filter(|_| !self.unread)
            }
            Phase::Closed if self.present => Some(Kind::Leave),
            _ => None,
        }
    }

    fn lacks(&self) -> bool {
        let open = matches!(self.phase, Phase::Active | Phase::Completing);
        let alone = !self.present && !self.to_join && self.seat == Seat::Idle;
        open && alone && self.searches && !self.queue.is_empty()
    }

    /// When it fails because nobody is found.
    fn nobody_by(&self) -> Option<Instant> {
        let by = self.nobody_by.filter(|_| self.lacks() && self.notice.is_none())?;
        self.queue.iter().map(|said| said.deadline.unwrap_or(by)).min()
    }

    fn timer(&self, now: Instant) -> Option<Instant> {
        let wake = match self.seat {
            Seat::Waiting(until, _) if until > now => Some(until),
            _ => None,
        };
        let requests = self.queue.iter().chain(&self.hand).filter_map(|said| said.deadline);
        let search = self.retry_at.filter(|_| self.lacks()).into_iter().chain(self.nobody_by());
        requests.chain(wake).chain(self.close_by).chain(search).min()
    }
}

// Inputs.

impl Reference {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Instant::ORIGIN,
            links: BTreeMap::from([(LinkId::BUS, Link::default())]),
            conversations: Vec::new(),
            offers: Vec::new(),
            turns: BTreeMap::new(),
            uncompensated: Vec::new(),
            pids: 0,
            commands: BTreeMap::new(),
            cancels: Vec::new(),
            asked_before_exit: BTreeMap::new(),
        }
    }

    pub(super) fn connect(&mut self, link: LinkId) {
        self.links.insert(link, Link::default());
    }

    pub(super) fn is_alive(&self, link: LinkId) -> bool {
        !self.links[&link].lost
    }

    pub(super) fn set_full(&mut self, link: LinkId, full: bool) {
        let link = self.links.get_mut(&link).unwrap();
        link.full = full && !link.lost;
    }

    pub(super) fn set_unread(&mut self, link: LinkId, id: ConversationId, unread: bool) {
        if let Some(at) = self.find(link, id).filter(|_| self.is_alive(link)) {
            self.conversations[at].unread = unread;
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.now = now;
        while let Some(at) = self.next_due() {
            if self.conversations[at].nobody_by().is_some_and(|by| by <= now) {
                self.fail_for_want(at);
            }
            while let Some(record) = self.first_due(at) {
                self.end(at, record, Outcome::Deadline);
                let waiting = self.conversations[at].queue.len();
                self.conversations[at].queue.retain(|said| said.record != record);
                if self.conversations[at].queue.len() == waiting {
                    self.cancel(at);
                    if let Seat::Waiting(until, _) = &mut self.conversations[at].seat {
                        *until = now;
                    }
                }
            }
            if self.conversations[at].close_by.is_some_and(|by| by <= now) {
                self.finish(at);
            }
            self.settle(at);
        }
    }

    pub(super) fn register(&mut self, offer: OfferId, subject: &'static str) {
        self.offers.push((offer, subject));
        for at in 0..self.conversations.len() {
            if self.conversations[at].lacks() {
                self.conversations[at].retry_at = None;
                self.settle(at);
            }
        }
    }

    pub(super) fn unregister(&mut self, offer: OfferId) {
        self.offers.retain(|(it, _)| *it != offer);
        // Where nobody is left, the turns begin anew.
        self.turns.retain(|subject, _| self.offers.iter().any(|(_, of)| of == subject));
    }

    /// Whether it is for one of several to answer this call, or whoever compensates.
    pub(super) fn is_one_of_many(&self, ticket: Ticket) -> bool {
        // When one that has exited returns, the next is chosen.
        let called = |it: &&Conversation| matches!(it.seat, Seat::Running(of, _) | Seat::Returning(of) if of == ticket);
        self.conversations.iter().find(called).is_some_and(|it| it.subject != "echo")
    }

    fn next_due(&self) -> Option<usize> {
        let timers = (0..self.conversations.len())
            .filter_map(|at| Some((self.conversations[at].timer(self.now)?, at)));
        timers.filter(|(due, _)| *due <= self.now).min().map(|(_, at)| at)
    }

    pub(super) fn event(&mut self, link: LinkId, event: Event) {
        if !self.is_alive(link) {
            return;
        }
        match event {
            Event::Open { conversation, subject, .. } => self.open(link, conversation, &subject),
            Event::Message(message) => self.message(link, message),
            Event::Close { conversation } => self.close(link, conversation),
            Event::Closed(_) => self.lose(link),
            other => panic!("not in this test: {other:?}"),
        }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let is_out = |it: &Conversation| match it.seat {
            Seat::Running(out, _) | Seat::Returning(out) => out == ticket,
            Seat::Idle | Seat::Waiting(..) => false,
        };
        let Some(at) = self.conversations.iter().position(is_out) else { return };
        match answer {
            answer if matches!(self.conversations[at].seat, Seat::Returning(_)) => {
                if answer.returns() {
                    let it = &mut self.conversations[at];
                    (it.seat, it.cancelled) = (Seat::Idle, false);
                }
            }
            Answer::Part(said) => self.reply(at, said.payload, false),
            Answer::Reply(said) => self.reply(at, said.payload, true),
            returned => self.returned(at, returned),
        }
        self.settle(at);
    }

    pub(super) fn is_about_to_leave(&self, key: ConversationKey, pid: Pid) -> bool {
        let it = &self.conversations[usize::try_from(key.get()).unwrap() - 1];
        it.pid == Some(pid.get()) && it.next_call(self.now) == Some(Kind::Leave)
    }

    /// Says whether there was anybody to exit.
    pub(super) fn exited(&mut self, key: ConversationKey, pid: Pid, reason: ExitReason) -> bool {
        let at = usize::try_from(key.get()).unwrap() - 1;
        let Some(it) = self.conversations.get(at) else { return false };
        let joins = matches!(it.seat, Seat::Running(_, Kind::Join));
        if it.pid != Some(pid.get()) || !(it.present || joins) {
            return false;
        }
        self.cancel(at);
        let it = &mut self.conversations[at];
        if let Seat::Running(ticket, _) = it.seat {
            it.seat = Seat::Returning(ticket);
        }
        if matches!(it.seat, Seat::Waiting(..)) {
            it.seat = Seat::Idle;
        }
        if it.phase == Phase::Closed {
            it.present = false;
            it.hand = None;
            return true;
        }
        if joins {
            self.join(at);
        }
        self.exit(at, reason);
        self.settle(at);
        true
    }

    fn open(&mut self, link: LinkId, id: ConversationId, subject: &str) {
        let live = self.find(link, id);
        if let Some(at) = live {
            if self.conversations[at].phase != Phase::Failed {
                return self.refuse_open(link, id, ReasonCode::ALREADY_OPEN, None);
            }
            self.conversations[at].known = false;
        }
        let of_link = self.conversations.iter().filter(|it| it.link == link && !it.is_over()).count();
        if of_link >= self.settings.conversations_per_link_max {
            return self.refuse_open(link, id, ReasonCode::LIMIT, None);
        }
        if subject == "nobody" {
            return self.refuse_open(link, id, ReasonCode::NO_PARTICIPANT, None);
        }
        if subject == "log" {
            let at = self.create(link, id, "log", Policy::Fail);
            self.conversations[at].phase = Phase::Active;
            return self.tell(link, id, Command::Opened { conversation: id, pid: None });
        }
        let served = SUBJECTS.iter().map(|(name, _)| *name).find(|name| *name == subject);
        let several = self.offers.iter().filter(|(_, name)| Some(*name) == served).count() > 1;
        let Some((subject, offer)) = served.and_then(|name| Some((name, self.pick(name, &[], &[])?))) else {
            return self.refuse_open(link, id, ReasonCode::NO_PARTICIPANT, None);
        };
        let policy = policy(subject);
        let at = self.create(link, id, subject, policy);
        self.conversations[at].searches = several || policy != Policy::Fail;
        self.invite(at, offer);
    }

    fn create(&mut self, link: LinkId, id: ConversationId, subject: &'static str, policy: Policy) -> usize {
        self.conversations.push(Conversation {
            link,
            id,
            pid: None,
            phase: Phase::Created,
            to_join: false,
            joined: false,
            present: false,
            known: true,
            why: Leaving::Closed,
            seat: Seat::Idle,
            cancelled: false,
            queue: Vec::new(),
            hand: None,
            close_by: None,
            records: 0,
            unread: false,
            subject,
            policy,
            offer: None,
            engaged: false,
            opened: false,
            searches: false,
            exited: None,
            crashed: Vec::new(),
            refused: Vec::new(),
            nobody_by: None,
            retry_at: None,
            notice: None,
        });
        self.conversations.len() - 1
    }

    fn invite(&mut self, at: usize, offer: OfferId) {
        self.pids += 1;
        let it = &mut self.conversations[at];
        it.pid = Some(self.pids);
        it.offer = Some(offer);
        it.to_join = true;
        it.engaged = true;
    }

    /// The one with the fewest conversations; among equals the first that was registered after the one that was picked
    /// last.
    fn pick(&mut self, subject: &'static str, passed: &[OfferId], last: &[OfferId]) -> Option<OfferId> {
        let picked = self.turns.get(subject).copied();
        let mut ranked = Vec::new();
        for (id, _) in self.offers.iter().filter(|(id, of)| *of == subject && !passed.contains(id)) {
            let engaged = |it: &&Conversation| it.engaged && !it.is_over() && it.offer == Some(*id);
            let load = self.conversations.iter().filter(engaged).count();
            let had_its_turn = picked.is_some_and(|picked| *id <= picked);
            ranked.push((last.contains(id), load, had_its_turn, *id));
        }
        let (.., id) = ranked.into_iter().min()?;
        self.turns.insert(subject, id);
        Some(id)
    }

    fn message(&mut self, link: LinkId, message: Message) {
        let Some(at) = self.find(link, message.conversation) else {
            return self.refuse_message(link, &message, ReasonCode::NOT_OPEN, None);
        };
        let held_by_link =
            self.conversations.iter().filter(|it| it.link == link).map(Conversation::held).sum::<usize>();
        let it = &self.conversations[at];
        let charge = Settings::charge(message.payload.len());
        let asks = message.expects == Expects::Reply;
        let (of_one, of_all) =
            (self.settings.held_bytes_per_conversation_max, self.settings.held_bytes_per_link_max);
        let refusal = match it.phase {
            Phase::Completing | Phase::Closed => Some(ReasonCode::CLOSING),
            Phase::Failed => Some(ReasonCode::EXITED),
            _ if it.pid.is_none() && asks => Some(ReasonCode::NO_PARTICIPANT),
            _ if it.pid.is_none() => None,
            _ if charge > of_one || charge > of_all => Some(ReasonCode::TOO_LARGE),
            _ if it.held() + charge > of_one || held_by_link + charge > of_all => Some(ReasonCode::BUSY),
            _ => None,
        };
        if let Some(reason) = refusal {
            let text = it.exited.or(it.pid).filter(|_| reason == ReasonCode::EXITED);
            let text = text.map(|pid| format!("participant {pid} has exited"));
            self.refuse_message(link, &message, reason, text);
            return self.consumed(at, asks, message.payload.len());
        }
        let record = self.record(at);
        if message.expects == Expects::Acceptance {
            let outcome = Outcome::Accepted { record: Some(RecordNumber::new(record)) };
            self.outcome(at, message.id, outcome);
        }
        let time = message.timeout.unwrap_or(Duration::MAX).min(self.settings.reply_time);
        let deadline = asks.then(|| self.now.after(time));
        if self.conversations[at].pid.is_some() {
            let len = message.payload.len();
            let said = Said { id: message.id, record, asked: asks, deadline, len, moves: 0, parted: false };
            self.conversations[at].queue.push(said);
            self.settle(at);
        } else {
            self.consumed(at, asks, message.payload.len());
        }
    }

    fn close(&mut self, link: LinkId, id: ConversationId) {
        let Some(at) = self.find(link, id) else {
            return self.tell(link, id, Command::Ended { conversation: id });
        };
        match self.conversations[at].phase {
            Phase::Created | Phase::Active => {
                self.conversations[at].phase = Phase::Completing;
                self.conversations[at].close_by = Some(self.now.after(self.settings.completing_time));
            }
            Phase::Failed => self.ended(at),
            Phase::Completing | Phase::Closed => {}
        }
        self.settle(at);
    }

    fn lose(&mut self, link: LinkId) {
        *self.links.get_mut(&link).unwrap() = Link { lost: true, full: false };
        self.commands.retain(|(of, _), _| *of != link);
        for at in 0..self.conversations.len() {
            if self.conversations[at].link == link && self.conversations[at].known {
                if self.conversations[at].phase != Phase::Failed {
                    self.leave(at, Leaving::OwnerLost);
                }
                self.conversations[at].known = false;
            }
        }
    }
}
