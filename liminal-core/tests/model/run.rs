//! The bus and its reference side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use liminal_core::{
    Answer, Bus, BusNext, Command, ConversationKey, LinkId, Load, Offer, Record, Recorded, Settings, Ticket,
};
use liminal_proto::{
    CloseReason, ConversationId, Event, ExitReason, Expects, Instant, Outcome, Pid, ReasonCode,
};

use crate::kit::says;
use crate::reference::Reference;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Connect,
    Open { link: u8, id: u8, subject: u8 },
    Say { link: u8, id: u8, expects: u8, timeout: u8, len: u8 },
    Close { link: u8, id: u8 },
    Lose { link: u8 },
    Answer { ticket: u8, kind: u8 },
    AnswerAnew { ticket: u8, kind: u8 },
    Exit { call: u8, pid: u8 },
    Tick { time: u8 },
    Full { link: u8 },
    Ready { link: u8 },
    Poll { times: u8 },
}

pub(crate) struct World {
    bus: Bus,
    reference: Reference,
    now: Instant,
    links: Vec<LinkId>,
    messages: u64,
    /// Calls that are out, and all there ever were.
    running: Vec<Ticket>,
    tickets: Vec<Ticket>,
    /// Whom there ever was a call for, and where.
    called: Vec<(ConversationKey, Pid)>,
    logs: BTreeMap<ConversationKey, Log>,
    /// Q1: what was asked and has not ended.
    open: BTreeSet<(LinkId, ConversationId, u64)>,
    pub(crate) trace: Vec<String>,
}

/// What a log has shown so far.
#[derive(Default)]
struct Log {
    last: u64,
    joined: bool,
    over: bool,
    /// Requests by their records.
    open: BTreeSet<u64>,
}

pub(crate) fn settings() -> Settings {
    Settings {
        recording: true,
        completing_time: Duration::from_millis(900),
        conversations_per_link_max: 3,
        held_bytes_per_conversation_max: 1100,
        held_bytes_per_link_max: 1500,
        ..Settings::default()
    }
}

fn answer(kind: u8) -> Answer {
    match kind {
        0 => Answer::Part(Bytes::from_static(b"part")),
        1..=3 => Answer::Reply(Bytes::from_static(b"reply")),
        4 => Answer::Joined,
        5 => Answer::WakeAfter(Duration::from_secs(3)),
        6 => Answer::Exited(ExitReason::Crashed { text: "boom".into() }),
        7 => Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: None },
        8 => Answer::Busy,
        _ => Answer::Done,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let mut bus = Bus::new(settings());
        bus.register("echo".into(), Offer::Participant).unwrap();
        bus.register("log".into(), Offer::TraceOnly).unwrap();
        Self {
            bus,
            reference: Reference::new(settings()),
            now: Instant::ORIGIN,
            links: Vec::new(),
            messages: 0,
            running: Vec::new(),
            tickets: Vec::new(),
            called: Vec::new(),
            logs: BTreeMap::new(),
            open: BTreeSet::new(),
            trace: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        match *op {
            Op::Connect => {
                let link = self.bus.connect(self.now);
                self.links.push(link);
                self.reference.connect(link);
            }
            Op::Tick { time } => {
                self.now = self.now.after(Duration::from_millis(u64::from(time).pow(2) * 2));
                self.bus.tick(self.now);
                self.reference.tick(self.now);
            }
            Op::Poll { times } => {
                let _ = (0..times).all(|_| self.poll());
            }
            Op::Answer { ticket, kind } => self.answer(pick(&self.running, ticket), kind),
            Op::Exit { call, pid } => self.exit(call, pid),
            Op::AnswerAnew { ticket, kind } => self.answer(pick(&self.tickets, ticket), kind),
            Op::Open { link, .. }
            | Op::Say { link, .. }
            | Op::Close { link, .. }
            | Op::Lose { link }
            | Op::Full { link }
            | Op::Ready { link } => {
                if let Some(link) = pick(&self.links, link) {
                    self.apply_to(link, op);
                }
            }
        }
        assert_eq!(self.bus.load(), self.bus.recount(), "R2");
    }

    fn apply_to(&mut self, link: LinkId, op: &Op) {
        match *op {
            Op::Open { id, subject, .. } => {
                let subject = ["echo", "echo", "log", "nobody"][usize::from(subject)].into();
                self.event(link, Event::Open { conversation: ConversationId::new(id.into()), subject });
            }
            Op::Say { id, expects, timeout, len, .. } => {
                self.messages += 1;
                let expects = [Expects::Reply, Expects::Nothing, Expects::Acceptance][usize::from(expects)];
                if expects == Expects::Reply && self.reference.is_alive(link) {
                    self.open.insert((link, ConversationId::new(id.into()), self.messages));
                }
                let timeout = (timeout > 0).then(|| Duration::from_millis(u64::from(timeout) * 300));
                let payload = Bytes::from(vec![0; usize::from(len) * 5]);
                self.event(link, says(id.into(), self.messages, expects, timeout, payload));
            }
            Op::Close { id, .. } => {
                self.event(link, Event::Close { conversation: ConversationId::new(id.into()) });
            }
            Op::Lose { .. } => {
                self.open.retain(|(of, ..)| *of != link);
                self.event(link, Event::Closed(CloseReason::PeerEof));
            }
            Op::Full { .. } => {
                self.bus.link_full(link);
                self.reference.set_full(link, true);
            }
            Op::Ready { .. } => {
                self.bus.link_ready(link);
                self.reference.set_full(link, false);
            }
            _ => {}
        }
    }

    fn event(&mut self, link: LinkId, event: Event) {
        self.bus.event(self.now, link, event.clone());
        self.reference.event(link, event);
    }

    fn answer(&mut self, ticket: Option<Ticket>, kind: u8) {
        let Some(ticket) = ticket else { return };
        let answer = answer(kind);
        if answer.returns() {
            self.running.retain(|it| *it != ticket);
        }
        self.bus.answer(self.now, ticket, answer.clone());
        self.reference.answer(ticket, answer);
    }

    /// Mostly of the one that was called there, and now and then of another.
    fn exit(&mut self, call: u8, pid: u8) {
        let Some((conversation, called)) = pick(&self.called, call) else { return };
        let other = pick(&self.called, pid).filter(|_| pid < 16).map_or(called, |(_, pid)| pid);
        let reason = ExitReason::Crashed { text: "killed".into() };
        let ignored = self.bus.counters().ignored_exits;
        self.bus.exited(self.now, conversation, other, reason.clone());
        let ignored = self.bus.counters().ignored_exits > ignored;
        if ignored && self.reference.is_about_to_leave(conversation, other) {
            // Its last call stands behind the record of that in the output of the bus.
            return;
        }
        assert_eq!(ignored, !self.reference.exited(conversation, other, reason));
    }

    /// One poll, checked. False: it waits.
    fn poll(&mut self) -> bool {
        let next = self.bus.poll();
        self.trace.push(format!("{next:?}"));
        match next {
            BusNext::Command(link, command) => {
                self.settle_question(link, &command);
                self.reference.expect_command(link, &command);
            }
            BusNext::Run(ticket, invocation) => {
                assert!(self.tickets.iter().all(|old| *old < ticket), "a ticket is never used again");
                self.running.push(ticket);
                self.tickets.push(ticket);
                self.called.push((invocation.conversation, invocation.pid));
                self.reference.expect_run(ticket, &invocation);
            }
            BusNext::Cancel(ticket) => self.reference.expect_cancel(ticket),
            BusNext::Record(conversation, record) => {
                self.logs.entry(conversation).or_default().append(&record);
            }
            BusNext::Wait(wake) => {
                self.reference.expect_wait(wake);
                return false;
            }
        }
        true
    }

    /// Q1: an end needs something open, and there is one end for each.
    fn settle_question(&mut self, link: LinkId, command: &Command) {
        let ended = match command {
            Command::Reply(reply) => {
                let key = (link, reply.conversation, reply.answers.get());
                assert!(self.open.contains(&key), "Q2: a reply to what is not open: {reply:?}");
                reply.last.then_some(key)
            }
            Command::Outcome { outcome: Outcome::Accepted { .. }, .. } => None,
            Command::Outcome { conversation, message, .. } => Some((link, *conversation, message.get())),
            Command::Exited { conversation, .. } => {
                // What is asked of the dead is refused by its own outcome, so only those before it end.
                let last = self.reference.last_asked_before_exit(link, *conversation);
                self.open.retain(|(of, id, asked)| (of, id) != (&link, conversation) || *asked > last);
                None
            }
            _ => None,
        };
        if let Some(key) = ended {
            self.open.remove(&key);
        }
    }

    /// P1: inputs end, every call returns, time passes: nothing is left.
    pub(crate) fn finish(&mut self) {
        let links = self.links.clone();
        for link in &links {
            self.apply_to(*link, &Op::Ready { link: 0 });
        }
        self.idle();
        assert!(self.open.is_empty(), "Q1: never ended: {:?}", self.open);
        let load = self.bus.load();
        assert_eq!((load.requests, load.running, load.held_bytes, load.timers), (0, 0, 0, 0), "P1");
        for link in &links {
            self.apply_to(*link, &Op::Lose { link: 0 });
        }
        self.idle();
        assert_eq!(self.bus.load(), Load::default(), "P1");
        assert!(self.logs.values().all(|log| log.over || !log.joined), "L1: a life without an end");
    }

    fn idle(&mut self) {
        for _ in 0..20 {
            while self.poll() || !self.running.is_empty() {
                self.answer(self.running.first().copied(), 11);
            }
            self.apply(&Op::Tick { time: 100 });
        }
    }
}

impl Log {
    fn append(&mut self, record: &Record) {
        assert_eq!(record.number.get(), self.last + 1, "O2: a hole in the log");
        assert!(!self.over, "L2: after the end: {record:?}");
        self.last += 1;
        match &record.what {
            Recorded::Joined { .. } => {
                assert!(!self.joined, "O3");
                self.joined = true;
            }
            Recorded::Request { .. } => {
                self.open.insert(self.last);
            }
            Recorded::Reply { request, last, .. } => {
                assert!(self.joined && self.open.contains(&request.get()), "Q2, Q3: {record:?}");
                if *last {
                    self.open.remove(&request.get());
                }
            }
            Recorded::RequestEnded { request, .. } => {
                assert!(self.open.remove(&request.get()), "Q1: {record:?}");
            }
            Recorded::Left { .. } | Recorded::Exited { .. } => {
                assert!(self.joined, "L1: {record:?}");
                self.over = true;
            }
            Recorded::JoinRefused { .. } => self.over = true,
            _ => {}
        }
    }
}

fn pick<T: Copy>(all: &[T], which: u8) -> Option<T> {
    all.get(usize::from(which).checked_rem(all.len())?).copied()
}
