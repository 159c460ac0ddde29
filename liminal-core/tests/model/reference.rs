//! The bus as one would write it without a thought for cost: lists, searched from the front.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use liminal_core::{Answer, Call, Command, ConversationKey, Invocation, Leaving, LinkId, Settings, Ticket};
use liminal_proto::{
    ConversationId, Event, Exit, ExitReason, Expects, Instant, Message, MessageId, Outcome, Pid, ReasonCode,
    RecordNumber, Reply, Wake,
};

pub(crate) struct Reference {
    settings: Settings,
    now: Instant,
    links: BTreeMap<LinkId, Link>,
    /// All there ever were; the key of one is its place, counted from 1.
    conversations: Vec<Conversation>,
    pids: u64,
    /// What must still come out, for each conversation id of a link in its order.
    commands: BTreeMap<(LinkId, ConversationId), VecDeque<Command>>,
    cancels: Vec<Ticket>,
    /// The last request that each exit has ended.
    asked_before_exit: BTreeMap<(LinkId, ConversationId), VecDeque<u64>>,
}

#[derive(Default)]
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
enum Kind {
    Join,
    Message,
    Wake,
    Leave,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    Idle,
    Running(Ticket, Kind),
    /// Of one that has exited.
    Returning(Ticket),
    Waiting(Instant, Kind),
}

#[derive(Clone)]
struct Said {
    id: MessageId,
    record: u64,
    asked: bool,
    /// Until it has ended.
    deadline: Option<Instant>,
    len: usize,
}

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
            Phase::Active | Phase::Completing if !self.queue.is_empty() => Some(Kind::Message),
            Phase::Closed if self.present => Some(Kind::Leave),
            _ => None,
        }
    }

    fn timer(&self, now: Instant) -> Option<Instant> {
        let wake = match self.seat {
            Seat::Waiting(until, _) if until > now => Some(until),
            _ => None,
        };
        let requests = self.queue.iter().chain(&self.hand).filter_map(|said| said.deadline);
        requests.chain(wake).chain(self.close_by).min()
    }
}

// Inputs.

impl Reference {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Instant::ORIGIN,
            links: BTreeMap::new(),
            conversations: Vec::new(),
            pids: 0,
            commands: BTreeMap::new(),
            cancels: Vec::new(),
            asked_before_exit: BTreeMap::new(),
        }
    }

    pub(crate) fn connect(&mut self, link: LinkId) {
        self.links.insert(link, Link::default());
    }

    pub(crate) fn is_alive(&self, link: LinkId) -> bool {
        !self.links[&link].lost
    }

    pub(crate) fn set_full(&mut self, link: LinkId, full: bool) {
        let link = self.links.get_mut(&link).unwrap();
        link.full = full && !link.lost;
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.now = now;
        for at in 0..self.conversations.len() {
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

    pub(crate) fn event(&mut self, link: LinkId, event: Event) {
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

    pub(crate) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let is_out = |it: &Conversation| match it.seat {
            Seat::Running(out, _) | Seat::Returning(out) => out == ticket,
            Seat::Idle | Seat::Waiting(..) => false,
        };
        let Some(at) = self.conversations.iter().position(is_out) else { return };
        match answer {
            answer if matches!(self.conversations[at].seat, Seat::Returning(_)) => {
                if answer.returns() {
                    self.conversations[at].seat = Seat::Idle;
                }
            }
            Answer::Part(payload) => self.reply(at, payload, false),
            Answer::Reply(payload) => self.reply(at, payload, true),
            returned => self.returned(at, returned),
        }
        self.settle(at);
    }

    pub(crate) fn is_about_to_leave(&self, key: ConversationKey, pid: Pid) -> bool {
        let it = &self.conversations[usize::try_from(key.get()).unwrap() - 1];
        it.pid == Some(pid.get()) && it.next_call(self.now) == Some(Kind::Leave)
    }

    /// Says whether there was anybody to exit.
    pub(crate) fn exited(&mut self, key: ConversationKey, pid: Pid, reason: ExitReason) -> bool {
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
        let takes_part = subject == "echo";
        self.pids += u64::from(takes_part);
        self.conversations.push(Conversation {
            link,
            id,
            pid: takes_part.then_some(self.pids),
            phase: if takes_part { Phase::Created } else { Phase::Active },
            to_join: takes_part,
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
        });
        if !takes_part {
            self.tell(link, id, Command::Opened { conversation: id, pid: None });
        }
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
            let text = it.pid.filter(|_| reason == ReasonCode::EXITED);
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
            let said = Said { id: message.id, record, asked: asks, deadline, len: message.payload.len() };
            self.conversations[at].queue.push(said);
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
        if let Some(hand) = &mut it.hand
            && last
        {
            hand.deadline = None;
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
                Some(said) if !said.asked => {
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
        if it.phase == Phase::Created {
            it.phase = Phase::Active;
        }
        let (link, conversation, pid) = (it.link, it.id, it.pid.map(Pid::new));
        self.tell(link, conversation, Command::Opened { conversation, pid });
    }

    fn refuse_join(&mut self, at: usize, reason: ReasonCode, text: Option<String>) {
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
        let record = RecordNumber::new(self.record(at));
        let it = &mut self.conversations[at];
        let asked = it.queue.iter().chain(&it.hand).map(|said| said.id.get()).max().unwrap_or(0);
        let completing = it.phase == Phase::Completing;
        it.queue.clear();
        it.hand = None;
        it.close_by = None;
        it.present = false;
        it.phase = Phase::Failed;
        let (link, conversation) = (it.link, it.id);
        let exit = Exit { pid: Pid::new(it.pid.unwrap()), record, reason };
        self.asked_before_exit.entry((link, conversation)).or_default().push_back(asked);
        self.tell(link, conversation, Command::Exited { conversation, exit });
        if completing {
            self.ended(at);
        }
    }

    fn settle(&mut self, at: usize) {
        let it = &self.conversations[at];
        let drained = it.phase == Phase::Completing && !it.to_join && it.queue.is_empty();
        if drained && it.seat == Seat::Idle {
            self.finish(at);
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
        if self.is_alive(link) {
            self.commands.entry((link, id)).or_default().push_back(command);
        }
    }
}

// What the bus must do.

impl Reference {
    pub(crate) fn expect_command(&mut self, link: LinkId, command: &Command) {
        let key = (link, command.conversation().unwrap());
        let expected = self.commands.get_mut(&key).and_then(VecDeque::pop_front);
        assert_eq!(Some(command), expected.as_ref(), "on {link}");
    }

    pub(crate) fn last_asked_before_exit(&mut self, link: LinkId, id: ConversationId) -> u64 {
        self.asked_before_exit.get_mut(&(link, id)).and_then(VecDeque::pop_front).unwrap()
    }

    pub(crate) fn expect_cancel(&mut self, ticket: Ticket) {
        let place = self.cancels.iter().position(|it| *it == ticket);
        self.cancels.remove(place.expect("cancelled without a reason"));
    }

    pub(crate) fn expect_run(&mut self, ticket: Ticket, invocation: &Invocation) {
        let place = usize::try_from(invocation.conversation.get()).unwrap() - 1;
        let it = &mut self.conversations[place];
        let link = &self.links[&it.link];
        assert_eq!(Some(invocation.pid.get()), it.pid);
        let kind = it.next_call(self.now).expect("no call to make");
        assert!(!link.full || link.lost, "a call for a full link");
        it.seat = Seat::Running(ticket, kind);
        match (&invocation.what, kind) {
            (Call::Join { .. }, Kind::Join) => it.to_join = false,
            (Call::Message { id, record, expects_reply, deadline, payload }, Kind::Message) => {
                let said = it.queue.remove(0);
                assert_eq!((said.id, said.record, said.len), (*id, record.get(), payload.len()), "O4, O5");
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

    pub(crate) fn expect_wait(&self, wake: Wake) {
        for it in &self.conversations {
            let stopped = self.links[&it.link].full;
            assert!(stopped || it.next_call(self.now).is_none(), "a call is not made");
        }
        assert!(self.cancels.is_empty(), "not cancelled: {:?}", self.cancels);
        let untold: Vec<_> = self.commands.values().flatten().collect();
        assert!(untold.is_empty(), "not told: {untold:?}");
        let first = self.conversations.iter().filter_map(|it| it.timer(self.now)).min();
        assert_eq!(wake.at(), first, "the wake");
        assert!(first.is_none_or(|at| at > self.now));
    }
}
