//! The bus as one would write it without a thought for cost: lists, searched from the front.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use liminal_core::{
    Answer, Call, Command, ConversationKey, Invocation, Leaving, LinkId, OfferId, Settings, Ticket,
    Uncompensated,
};
use liminal_proto::{
    ConversationId, Event, Exit, ExitReason, Expects, Instant, Message, MessageId, Outcome, Pid, ReasonCode,
    RecordNumber, Reply, Wake,
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
    /// Whose turn it is, by subject.
    turns: BTreeMap<&'static str, usize>,
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
                Some(Kind::Message)
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
        let called = |it: &&Conversation| matches!(it.seat, Seat::Running(of, _) if of == ticket);
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
            Event::Open { conversation, subject } => self.open(link, conversation, &subject),
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
            Answer::Part(payload) => self.reply(at, payload, false),
            Answer::Reply(payload) => self.reply(at, payload, true),
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

    /// The one with the fewest conversations; among equals the first from the turn on.
    fn pick(&mut self, subject: &'static str, passed: &[OfferId], last: &[OfferId]) -> Option<OfferId> {
        let all: Vec<_> = self.offers.iter().filter(|(_, of)| *of == subject).map(|(id, _)| *id).collect();
        let turn = self.turns.get(subject).copied().unwrap_or(0);
        let mut ranked = Vec::new();
        for (at, id) in all.iter().enumerate().filter(|(_, id)| !passed.contains(id)) {
            let engaged = |it: &&Conversation| it.engaged && !it.is_over() && it.offer == Some(*id);
            let load = self.conversations.iter().filter(engaged).count();
            let wait = (at + all.len() - turn % all.len()) % all.len();
            ranked.push((last.contains(id), load, wait, at));
        }
        let (.., at) = ranked.into_iter().min()?;
        self.turns.insert(subject, at + 1);
        Some(all[at])
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
            return self.refuse_message(link, &message, reason, text);
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

// What follows from them.

impl Reference {
    fn first_due(&self, at: usize) -> Option<u64> {
        let it = &self.conversations[at];
        let open = it.queue.iter().chain(&it.hand).filter_map(|said| Some((said.deadline?, said.record)));
        open.filter(|(deadline, _)| *deadline <= self.now).min().map(|(_, record)| record)
    }

    /// Ends an open request without a reply.
    fn end(&mut self, at: usize, record: u64, how: Outcome) {
        let it = &mut self.conversations[at];
        let said = it.queue.iter_mut().chain(&mut it.hand).find(|said| said.record == record).unwrap();
        said.deadline = None;
        let id = said.id;
        self.record(at);
        self.outcome(at, id, how);
    }

    fn end_all(&mut self, at: usize, how: &Outcome) {
        let it = &self.conversations[at];
        let open = it.queue.iter().chain(&it.hand).filter_map(|said| Some((said.deadline?, said.record)));
        let mut open: Vec<_> = open.collect();
        open.sort();
        for (_, record) in open {
            self.end(at, record, how.clone());
        }
    }

    fn reply(&mut self, at: usize, payload: bytes::Bytes, last: bool) {
        let Some(said) = self.conversations[at].hand.clone().filter(|said| said.deadline.is_some()) else {
            return;
        };
        let record = self.record(at);
        let it = &mut self.conversations[at];
        if let Some(hand) = &mut it.hand {
            hand.parted = true;
            if last {
                hand.deadline = None;
            }
        }
        let (link, conversation) = (it.link, it.id);
        let record = Some(RecordNumber::new(record));
        let reply = Reply { conversation, answers: said.id, record, last, payload };
        self.tell(link, conversation, Command::Reply(reply));
    }

    fn returned(&mut self, at: usize, answer: Answer) {
        let it = &mut self.conversations[at];
        let Seat::Running(_, kind) = it.seat else { panic!("nothing runs") };
        it.seat = Seat::Idle;
        it.cancelled = false;
        let joins = !matches!(answer, Answer::Refused { .. } | Answer::Busy);
        let exits = matches!(answer, Answer::Exited(_));
        if it.phase == Phase::Closed {
            it.hand = None;
            it.present = (it.present || (kind == Kind::Join && joins)) && !exits;
            if (kind, &answer) == (Kind::Leave, &Answer::Busy) {
                it.present = true;
                self.wait(at, self.settings.busy_time, kind);
            }
            return;
        }
        if kind == Kind::Join && joins {
            self.join(at);
        }
        match (kind, answer) {
            (_, Answer::Exited(reason)) => self.exit(at, reason),
            (_, Answer::WakeAfter(time)) => self.wait(at, time, Kind::Wake),
            (Kind::Join, Answer::Refused { reason, text }) => self.refuse_join(at, reason, text),
            (Kind::Join, Answer::Busy) => self.refuse_join(at, ReasonCode::BUSY, None),
            (Kind::Join, _) => {}
            (Kind::Wake, Answer::Busy) => self.wait(at, self.settings.busy_time, Kind::Wake),
            (_, Answer::Busy) => match self.conversations[at].hand.clone() {
                Some(said)
                    if !said.asked
                        || (said.deadline.is_some() && self.conversations[at].notice.is_some()) =>
                {
                    self.conversations[at].hand = None;
                    self.conversations[at].queue.insert(0, said);
                    self.wait(at, self.settings.busy_time, Kind::Message);
                }
                _ => self.through(at, ReasonCode::BUSY, None),
            },
            (_, Answer::Refused { reason, text }) => self.through(at, reason, text),
            _ => self.through(at, ReasonCode::NO_REPLY, None),
        }
    }

    fn through(&mut self, at: usize, reason: ReasonCode, text: Option<String>) {
        if let Some(said) = self.conversations[at].hand.clone().filter(|said| said.deadline.is_some()) {
            self.end(at, said.record, Outcome::Refused { reason, text });
        }
        self.conversations[at].hand = None;
    }

    fn wait(&mut self, at: usize, time: Duration, kind: Kind) {
        self.conversations[at].seat = Seat::Waiting(self.now.after(time), kind);
    }

    fn join(&mut self, at: usize) {
        self.record(at);
        let it = &mut self.conversations[at];
        it.present = true;
        it.joined = true;
        it.refused.clear();
        (it.nobody_by, it.retry_at) = (None, None);
        let opens = !std::mem::replace(&mut it.opened, true);
        it.searches &= it.policy != Policy::Fail;
        if it.phase == Phase::Created {
            it.phase = Phase::Active;
        }
        let (link, conversation, pid) = (it.link, it.id, Pid::new(it.pid.unwrap()));
        let opened = Command::Opened { conversation, pid: Some(pid) };
        self.tell(link, conversation, if opens { opened } else { Command::Joined { conversation, pid } });
    }

    fn refuse_join(&mut self, at: usize, reason: ReasonCode, text: Option<String>) {
        let it = &mut self.conversations[at];
        it.engaged = false;
        let busy = reason == ReasonCode::BUSY;
        if it.searches && (it.opened || busy) {
            it.refused.extend(it.offer);
            let next = if it.opened || it.notice.is_some() {
                None
            } else {
                let (subject, refused) = (it.subject, it.refused.clone());
                self.pick(subject, &refused, &[])
            };
            let it = &self.conversations[at];
            if it.opened || it.notice.is_some() || next.is_some() {
                self.record(at);
                next.into_iter().for_each(|offer| self.invite(at, offer));
                return;
            }
        }
        self.end_all(at, &Outcome::Refused { reason, text: text.clone() });
        self.record(at);
        let it = &mut self.conversations[at];
        it.queue.clear();
        it.close_by = None;
        it.phase = Phase::Failed;
        it.known = false;
        let (link, id) = (it.link, it.id);
        self.refuse_open(link, id, reason, text);
    }

    fn exit(&mut self, at: usize, reason: ExitReason) {
        self.conversations[at].engaged = false;
        if self.conversations[at].policy == Policy::RouteToNext {
            return self.reroute(at, reason);
        }
        let record = RecordNumber::new(self.record(at));
        let unanswered = self.unanswered(at);
        let it = &mut self.conversations[at];
        let pid = it.pid.unwrap();
        let asked = it.queue.iter().chain(&it.hand).map(|said| said.id.get()).max().unwrap_or(0);
        let completing = it.phase == Phase::Completing;
        it.queue.clear();
        it.hand = None;
        it.close_by = None;
        it.present = false;
        it.phase = Phase::Failed;
        let (link, conversation) = (it.link, it.id);
        let policy = it.policy;
        let exit = Exit { pid: Pid::new(pid), record, reason, goes_on: false };
        self.asked_before_exit.entry((link, conversation)).or_default().push_back(asked);
        self.tell(link, conversation, Command::Exited { conversation, exit });
        if completing {
            self.ended(at);
        }
        if let Policy::Compensate(subject) = policy {
            let alone = self.conversations.iter().all(|it| it.link != LinkId::BUS || it.held() == 0);
            let notice = Notice { of: at, pid, record: record.get(), unanswered, open: true, alone };
            self.compensate(subject, notice);
        }
    }

    fn unanswered(&self, at: usize) -> Vec<(u64, u64, bool, bool, usize)> {
        let it = &self.conversations[at];
        let unended = it.hand.iter().filter(|said| said.deadline.is_some() || !said.asked);
        let entry = |said: &Said, delivered| (said.record, said.id.get(), said.asked, delivered, said.len);
        let waiting = it.queue.iter().map(|said| entry(said, false));
        unended.map(|said| entry(said, true)).chain(waiting).collect()
    }

    /// The bus's own conversations are over when their link has no seat for them any more.
    fn compensate(&mut self, subject: &'static str, notice: Notice) {
        let own = self.conversations.iter().filter(|it| it.link == LinkId::BUS && !it.is_over()).count();
        let of = notice.of as u64 + 1;
        let refused = |reason| Outcome::Refused { reason, text: None };
        if own >= self.settings.conversations_per_link_max {
            return self.uncompensated.push((of, subject, refused(ReasonCode::LIMIT)));
        }
        let Some(offer) = self.pick(subject, &[], &[]) else {
            return self.uncompensated.push((of, subject, refused(ReasonCode::NO_PARTICIPANT)));
        };
        let at = self.create(LinkId::BUS, ConversationId::new(of), subject, Policy::Fail);
        self.invite(at, offer);
        let by = self.now.after(self.settings.compensation_time);
        let record = self.record(at);
        let it = &mut self.conversations[at];
        let (id, deadline) = (MessageId::new(1), Some(by));
        it.queue.push(Said { id, record, asked: true, deadline, len: 0, moves: 0, parted: false });
        it.searches = true;
        it.notice = Some(notice);
        it.phase = Phase::Completing;
        it.close_by = Some(by);
    }

    /// What the bus is told as an owner.
    fn on_own(&mut self, at: usize, command: &Command) {
        let why = match command {
            Command::Reply(reply) if reply.last => None,
            Command::Outcome { outcome, .. } => Some(outcome.clone()),
            Command::Exited { .. } => Some(Outcome::Exited),
            _ => return,
        };
        let subject = self.conversations[at].subject;
        let notice = self.conversations[at].notice.as_mut().unwrap();
        if std::mem::take(&mut notice.open)
            && let Some(why) = why
        {
            self.uncompensated.push((notice.of as u64 + 1, subject, why));
        }
    }

    fn reroute(&mut self, at: usize, reason: ExitReason) {
        let record = RecordNumber::new(self.record(at));
        let it = &mut self.conversations[at];
        let (link, conversation, pid) = (it.link, it.id, it.pid.unwrap());
        let exit = Exit { pid: Pid::new(pid), record, reason, goes_on: true };
        (it.present, it.joined, it.exited) = (false, false, Some(pid));
        it.crashed.extend(it.offer);
        self.tell(link, conversation, Command::Exited { conversation, exit });
        let it = &mut self.conversations[at];
        match it.hand.clone() {
            Some(hand) if hand.deadline.is_some() && hand.parted => {
                self.end(at, hand.record, Outcome::Exited);
            }
            Some(hand) if hand.deadline.is_some() => it.queue.insert(0, hand),
            _ => {}
        }
        self.conversations[at].hand = None;
        for mut said in std::mem::take(&mut self.conversations[at].queue) {
            let spent = said.moves == self.settings.moves_max;
            said.moves += 1;
            let (number, open) = (said.record, said.deadline.is_some());
            self.conversations[at].queue.push(said);
            if spent {
                if open {
                    self.end(at, number, Outcome::Exited);
                }
                self.conversations[at].queue.pop();
            }
        }
    }

    fn fail_for_want(&mut self, at: usize) {
        self.record(at);
        let it = &mut self.conversations[at];
        let asked = it.queue.iter().map(|said| said.id.get()).max().unwrap_or(0);
        let completing = it.phase == Phase::Completing;
        it.queue.clear();
        it.close_by = None;
        it.phase = Phase::Failed;
        let (link, conversation) = (it.link, it.id);
        self.asked_before_exit.entry((link, conversation)).or_default().push_back(asked);
        self.tell(link, conversation, Command::Failed { conversation });
        if completing {
            self.ended(at);
        }
    }

    fn find_next(&mut self, at: usize) {
        let it = &mut self.conversations[at];
        if it.retry_at.is_some_and(|retry| retry > self.now) {
            return;
        }
        it.retry_at = None;
        let (subject, refused, crashed) = (it.subject, it.refused.clone(), it.crashed.clone());
        if let Some(offer) = self.pick(subject, &refused, &crashed) {
            return self.invite(at, offer);
        }
        let it = &mut self.conversations[at];
        it.nobody_by = it.nobody_by.or(Some(self.now.after(self.settings.reply_time)));
        if !std::mem::take(&mut it.refused).is_empty() {
            it.retry_at = Some(self.now.after(self.settings.busy_time));
        }
    }

    fn settle(&mut self, at: usize) {
        let it = &self.conversations[at];
        let drained = it.phase == Phase::Completing && !it.to_join && it.queue.is_empty();
        if drained && it.seat == Seat::Idle {
            self.finish(at);
        }
        if self.conversations[at].lacks() {
            self.find_next(at);
            if self.conversations[at].nobody_by().is_some_and(|by| by <= self.now) {
                self.fail_for_want(at);
            }
        } else if self.conversations[at].opened && self.conversations[at].queue.is_empty() {
            let it = &mut self.conversations[at];
            (it.nobody_by, it.retry_at) = (None, None);
            it.refused.clear();
        }
    }

    fn finish(&mut self, at: usize) {
        self.end_all(at, &Outcome::Deadline);
        self.leave(at, Leaving::Closed);
        self.ended(at);
    }

    fn leave(&mut self, at: usize, why: Leaving) {
        self.cancel(at);
        if self.conversations[at].joined {
            self.record(at);
        }
        let it = &mut self.conversations[at];
        it.phase = Phase::Closed;
        it.why = why;
        it.queue.clear();
        it.close_by = None;
        if let Some(hand) = &mut it.hand {
            hand.deadline = None;
        }
        if matches!(it.seat, Seat::Waiting(..)) {
            it.seat = Seat::Idle;
            it.hand = None;
        }
    }

    fn ended(&mut self, at: usize) {
        self.conversations[at].known = false;
        let (link, conversation) = (self.conversations[at].link, self.conversations[at].id);
        self.tell(link, conversation, Command::Ended { conversation });
    }

    fn cancel(&mut self, at: usize) {
        let it = &mut self.conversations[at];
        if let Seat::Running(ticket, _) = it.seat
            && !it.cancelled
        {
            it.cancelled = true;
            self.cancels.push(ticket);
        }
    }

    fn find(&self, link: LinkId, id: ConversationId) -> Option<usize> {
        self.conversations.iter().position(|it| it.link == link && it.id == id && it.known)
    }

    fn record(&mut self, at: usize) -> u64 {
        self.conversations[at].records += 1;
        self.conversations[at].records
    }

    fn outcome(&mut self, at: usize, message: MessageId, outcome: Outcome) {
        let (link, conversation) = (self.conversations[at].link, self.conversations[at].id);
        self.tell(link, conversation, Command::Outcome { conversation, message, outcome });
    }

    fn refuse_open(&mut self, link: LinkId, id: ConversationId, reason: ReasonCode, text: Option<String>) {
        self.tell(link, id, Command::Refused { conversation: id, reason, text });
    }

    fn refuse_message(&mut self, link: LinkId, message: &Message, reason: ReasonCode, text: Option<String>) {
        let (conversation, message) = (message.conversation, message.id);
        let outcome = Outcome::Refused { reason, text };
        self.tell(link, conversation, Command::Outcome { conversation, message, outcome });
    }

    fn tell(&mut self, link: LinkId, id: ConversationId, command: Command) {
        if link == LinkId::BUS {
            let at = self.conversations.iter().rposition(|it| it.link == link && it.id == id);
            return self.on_own(at.unwrap(), &command);
        }
        if self.is_alive(link) {
            self.commands.entry((link, id)).or_default().push_back(command);
        }
    }
}

// What the bus must do.

impl Reference {
    pub(super) fn expect_command(&mut self, link: LinkId, command: &Command) {
        let key = (link, command.conversation().unwrap());
        let expected = self.commands.get_mut(&key).and_then(VecDeque::pop_front);
        assert_eq!(Some(command), expected.as_ref(), "on {link}");
    }

    pub(super) fn last_asked_before_exit(&mut self, link: LinkId, id: ConversationId) -> u64 {
        self.asked_before_exit.get_mut(&(link, id)).and_then(VecDeque::pop_front).unwrap()
    }

    pub(super) fn expect_uncompensated(&mut self, it: &Uncompensated) {
        let same = |(of, subject, why): &(u64, &str, Outcome)| {
            (*of, *subject, why) == (it.conversation.get(), &it.subject[..], &it.why)
        };
        let place = self.uncompensated.iter().position(same);
        self.uncompensated.remove(place.unwrap_or_else(|| panic!("{it} without a reason")));
    }

    pub(super) fn expect_cancel(&mut self, ticket: Ticket) {
        let place = self.cancels.iter().position(|it| *it == ticket);
        self.cancels.remove(place.expect("cancelled without a reason"));
    }

    pub(super) fn expect_run(&mut self, ticket: Ticket, invocation: &Invocation) {
        let place = usize::try_from(invocation.conversation.get()).unwrap() - 1;
        let it = &mut self.conversations[place];
        let link = &self.links[&it.link];
        assert_eq!((Some(invocation.pid.get()), Some(invocation.offer)), (it.pid, it.offer));
        let kind = it.next_call(self.now).expect("no call to make");
        assert!(!link.full || link.lost, "a call for a full link");
        it.seat = Seat::Running(ticket, kind);
        match (&invocation.what, kind) {
            (Call::Join { .. }, Kind::Join) => it.to_join = false,
            (Call::Message { id, record, expects_reply, redelivered, deadline, payload }, Kind::Message) => {
                let said = it.queue.remove(0);
                assert_eq!((said.id, said.record, said.moves), (*id, record.get(), *redelivered), "O4, O5");
                match &it.notice {
                    Some(notice) => notice.assert_said(payload, self.settings.notice_bytes_max),
                    None => assert_eq!(said.len, payload.len(), "O4"),
                }
                assert_eq!((said.asked, said.deadline), (*expects_reply, *deadline));
                assert!(deadline.is_none_or(|deadline| deadline > self.now), "Q4");
                it.hand = Some(said);
            }
            (Call::Wake { deadline }, Kind::Wake) => {
                assert_eq!(*deadline, it.hand.as_ref().and_then(|said| said.deadline));
            }
            (Call::Leave { why }, Kind::Leave) => {
                assert_eq!(*why, it.why);
                it.present = false;
            }
            (call, kind) => panic!("{call:?} instead of {kind:?}"),
        }
    }

    pub(super) fn expect_wait(&self, wake: Wake) {
        for it in &self.conversations {
            let stopped = self.links[&it.link].full;
            assert!(stopped || it.next_call(self.now).is_none(), "a call is not made");
        }
        assert!(self.uncompensated.is_empty(), "not said: {:?}", self.uncompensated);
        assert!(self.cancels.is_empty(), "not cancelled: {:?}", self.cancels);
        let untold: Vec<_> = self.commands.values().flatten().collect();
        assert!(untold.is_empty(), "not told: {untold:?}");
        let first = self.conversations.iter().filter_map(|it| it.timer(self.now)).min();
        assert_eq!(wake.at(), first, "the wake");
        assert!(first.is_none_or(|at| at > self.now));
    }
}

impl Notice {
    /// The line says what it must, and lists as many messages as there is room for.
    fn assert_said(&self, line: &[u8], max: usize) {
        assert!(line.len() <= max && !line.contains(&b'\n'), "{} bytes", line.len());
        let said: serde_json::Value = serde_json::from_slice(line).unwrap();
        let numbers = (said["conversation"].as_u64(), said["pid"].as_u64(), said["record"].as_u64());
        assert_eq!(numbers, (Some(self.of as u64 + 1), Some(self.pid), Some(self.record)));
        let listed: Vec<_> = said["unanswered"].as_array().unwrap().iter().map(entry).collect();
        assert!(self.unanswered.starts_with(&listed), "{said} instead of {:?}", self.unanswered);
        let left_out = self.unanswered.len() - listed.len();
        assert_eq!(said["left_out"].as_u64(), Some(left_out as u64));
        if let Some((.., len)) = self.unanswered.get(listed.len()).filter(|_| self.alone) {
            assert!(line.len() + len.div_ceil(3) * 4 + 200 > max, "there was room for more: {said}");
        }
    }
}

fn entry(said: &serde_json::Value) -> (u64, u64, bool, bool, usize) {
    let payload = said["payload"].as_str().unwrap();
    let len = payload.len() / 4 * 3 - payload.matches('=').count();
    let id = said["id"].as_str().unwrap().parse().unwrap();
    let (asked, delivered) = (said["asked"].as_bool().unwrap(), said["delivered"].as_bool().unwrap());
    (said["record"].as_u64().unwrap(), id, asked, delivered, len)
}
