//! The bus and its reference side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use liminal_core::{
    Answer, Bus, BusNext, Call, Command, ConversationKey, CrashPolicy, Invocation, LinkId, Load, Offer,
    OfferId, Record, Recorded, Rights, Settings, Ticket,
};
use liminal_proto::{
    CloseReason, ConversationId, Event, ExitReason, Expects, Instant, Outcome, Pid, ReasonCode,
};

use super::onlookers::Onlookers;
use super::reference::{Reference, SUBJECTS};
use super::{Op, SUBJECTS_OPENED, says};

/// A bus and its reference, held against each other after each operation: O1 to O6, L1 to L7, Q1 to Q4, P1,
/// R2.
#[derive(Debug)]
pub struct World {
    bus: Bus,
    reference: Reference,
    now: Instant,
    links: Vec<LinkId>,
    messages: u64,
    /// A link was lost, and its conversations may not all have been cleaned up.
    unclean: bool,
    /// Calls that are out, and all there ever were.
    running: Vec<Ticket>,
    tickets: Vec<Ticket>,
    /// Whom there ever was a call for, and where.
    called: Vec<(ConversationKey, Pid)>,
    /// Who serves the subject on which conversations go on.
    routed: Vec<OfferId>,
    logs: BTreeMap<ConversationKey, Log>,
    deliveries: BTreeMap<ConversationKey, Deliveries>,
    onlookers: Onlookers,
    /// Q1: what was asked and has not ended.
    open: BTreeSet<(LinkId, ConversationId, u64)>,
    /// All that the bus said.
    pub trace: Vec<String>,
}

/// What a log has shown so far.
#[derive(Debug, Default)]
struct Log {
    last: u64,
    joined: bool,
    over: bool,
    /// Requests by their records.
    open: BTreeSet<u64>,
    /// All that was accepted and wants no reply: of what does, Q1 says that its end is told.
    said: BTreeSet<u64>,
}

/// What the participants of a conversation were given.
#[derive(Debug, Default)]
struct Deliveries {
    last: BTreeMap<Pid, u64>,
    given: BTreeSet<u64>,
    /// The last call, and whether it gave what nobody had been given before.
    latest: Option<(Ticket, Pid, u64, bool)>,
}

impl Deliveries {
    /// O3, O5: in order, none twice to the same participant, and none to a second one unmarked.
    fn append(&mut self, ticket: Ticket, call: &Invocation) {
        let Call::Message { record, redelivered, .. } = &call.what else { return };
        let last = self.last.insert(call.pid, record.get());
        assert!(last.is_none_or(|last| last < record.get()), "O5: {call:?}");
        let fresh = self.given.insert(record.get());
        assert!(fresh || *redelivered > 0, "O3: given again unmarked: {call:?}");
        self.latest = Some((ticket, call.pid, record.get(), fresh));
    }

    /// The host called nobody.
    fn retract(&mut self, ticket: Ticket) {
        if let Some((latest, pid, record, fresh)) = self.latest
            && latest == ticket
        {
            self.last.insert(pid, record - 1);
            if fresh {
                self.given.remove(&record);
            }
        }
    }
}

fn settings() -> Settings {
    Settings {
        recording: true,
        completing_time: Duration::from_millis(900),
        conversations_per_link_max: 3,
        held_bytes_per_conversation_max: 1100,
        held_bytes_per_link_max: 1500,
        notice_bytes_max: 900,
        delivered_bytes_per_link_max: 600,
        monitors_per_link_max: 4,
        monitors_per_conversation_max: 2,
        notice_bytes_per_link_max: 1200,
        watches_per_link_max: 2,
        watched_bytes_max: 1000,
        ..Settings::default()
    }
}

fn answer(kind: u8) -> Answer {
    match kind {
        0 => Answer::Part("part".into()),
        1..=3 => Answer::Reply("reply".into()),
        4 => Answer::Joined,
        5 => Answer::WakeAfter(Duration::from_secs(3)),
        6 => Answer::Exited(ExitReason::Crashed { text: "boom".into() }),
        7 => Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: None },
        8 => Answer::Busy,
        _ => Answer::Done,
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A bus with every kind of subject and no link.
    #[must_use]
    pub fn new() -> Self {
        let mut bus = Bus::new(settings());
        let mut reference = Reference::new(settings());
        let mut routed = Vec::new();
        for (subject, count) in SUBJECTS {
            for _ in 0..count {
                let offer = bus.register(subject.into(), Offer::Participant).unwrap();
                reference.register(offer, subject);
                routed.extend((subject == "route").then_some(offer));
            }
        }
        bus.register("log".into(), Offer::TraceOnly).unwrap();
        bus.on_crash("route".into(), CrashPolicy::RouteToNext).unwrap();
        bus.on_crash("undo".into(), CrashPolicy::Compensate("fix".into())).unwrap();
        bus.on_crash("lost".into(), CrashPolicy::Compensate("nobody".into())).unwrap();
        Self {
            bus,
            reference,
            routed,
            deliveries: BTreeMap::new(),
            now: Instant::ORIGIN,
            links: Vec::new(),
            messages: 0,
            unclean: false,
            running: Vec::new(),
            tickets: Vec::new(),
            called: Vec::new(),
            logs: BTreeMap::new(),
            onlookers: Onlookers::default(),
            open: BTreeSet::new(),
            trace: Vec::new(),
        }
    }

    /// Applies one operation.
    pub fn apply(&mut self, op: &Op) {
        if self.unclean && self.chooses(op) {
            while self.poll() {}
        }
        match *op {
            Op::Connect => {
                let link = self.bus.connect(self.now);
                self.bus.grant(link, Rights::MONITOR);
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
            Op::Register => {
                let offer = self.bus.register("route".into(), Offer::Participant).unwrap();
                self.routed.push(offer);
                self.reference.register(offer, "route");
            }
            Op::Unregister { offer } => {
                if let Some(offer) = pick(&self.routed, offer) {
                    self.routed.retain(|it| *it != offer);
                    self.bus.unregister(offer).unwrap();
                    self.reference.unregister(offer);
                }
            }
            Op::Answer { ticket, kind } => self.answer(pick(&self.running, ticket), kind),
            Op::Exit { call, pid } => self.exit(call, pid),
            Op::AnswerAnew { ticket, kind } => self.answer(pick(&self.tickets, ticket), kind),
            Op::Unmonitor { which } => {
                if let Some((link, monitor)) = self.onlookers.nth(which) {
                    self.bus.event(self.now, link, Event::Unmonitor { monitor });
                }
            }
            Op::Monitor { link, .. }
            | Op::Watch { link, .. }
            | Op::Drained { link }
            | Op::Open { link, .. }
            | Op::Say { link, .. }
            | Op::Close { link, .. }
            | Op::Lose { link }
            | Op::Full { link }
            | Op::Ready { link }
            | Op::Unread { link, .. }
            | Op::Read { link, .. } => {
                if let Some(link) = pick(&self.links, link) {
                    self.apply_to(link, op);
                }
            }
        }
        assert_eq!(self.bus.load(), self.bus.recount(), "R2");
    }

    /// Whether somebody may be chosen among several. Conversations of a lost link count until they are
    /// cleaned up, and when that is, is the bus's affair.
    fn chooses(&self, op: &Op) -> bool {
        match *op {
            Op::Open { subject, .. } => !["echo", "log"].contains(&SUBJECTS_OPENED[usize::from(subject)]),
            Op::Say { .. } | Op::Tick { .. } | Op::Register | Op::Exit { .. } | Op::Monitor { .. } => true,
            Op::Answer { ticket, .. } => {
                pick(&self.running, ticket).is_some_and(|it| self.reference.is_one_of_many(it))
            }
            Op::AnswerAnew { ticket, .. } => {
                pick(&self.tickets, ticket).is_some_and(|it| self.reference.is_one_of_many(it))
            }
            _ => false,
        }
    }

    fn apply_to(&mut self, link: LinkId, op: &Op) {
        match *op {
            Op::Open { id, subject, .. } => {
                let subject = SUBJECTS_OPENED[usize::from(subject)].into();
                self.event(
                    link,
                    Event::Open {
                        conversation: ConversationId::new(id.into()),
                        subject,
                        terms: liminal_proto::Terms::default(),
                    },
                );
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
                self.unclean = true;
                self.onlookers.lose(link);
                self.event(link, Event::Closed(CloseReason::PeerEof));
            }
            Op::Drained { .. } => self.bus.link_drained(link),
            Op::Monitor { call, .. } if self.reference.is_alive(link) => {
                let pid = pick(&self.called, call).map_or(Pid::new(99), |(_, pid)| pid);
                let monitor = self.onlookers.monitors(link, pid);
                self.bus.event(self.now, link, Event::Monitor { monitor, pid });
            }
            Op::Watch { subject, .. } if self.reference.is_alive(link) => {
                let subject = SUBJECTS_OPENED.get(usize::from(subject)).copied();
                let monitor = self.onlookers.watches(link, subject);
                self.bus.event(self.now, link, Event::Watch { monitor, subject: subject.map(Into::into) });
            }
            Op::Full { .. } => {
                self.bus.link_full(link);
                self.reference.set_full(link, true);
            }
            Op::Ready { .. } => {
                self.bus.link_ready(link);
                self.reference.set_full(link, false);
            }
            Op::Unread { id, .. } => {
                let id = ConversationId::new(id.into());
                self.bus.conversation_full(link, id);
                self.reference.set_unread(link, id, true);
            }
            Op::Read { id, .. } => {
                let id = ConversationId::new(id.into());
                self.bus.conversation_ready(link, id);
                self.reference.set_unread(link, id, false);
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
        if answer == Answer::Busy && self.running.contains(&ticket) {
            self.deliveries.values_mut().for_each(|it| it.retract(ticket));
        }
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
                if !self.onlookers.expect(link, &command) {
                    self.settle_question(link, &command);
                    self.onlookers.on_told(&command);
                    self.reference.expect_command(link, &command);
                }
            }
            BusNext::Run(ticket, invocation) => {
                assert!(self.tickets.iter().all(|old| *old < ticket), "a ticket is never used again");
                self.running.push(ticket);
                self.tickets.push(ticket);
                self.called.push((invocation.conversation, invocation.pid));
                self.deliveries.entry(invocation.conversation).or_default().append(ticket, &invocation);
                self.reference.expect_run(ticket, &invocation);
            }
            BusNext::Cancel(ticket) => self.reference.expect_cancel(ticket),
            BusNext::Owned(..) => {}
            BusNext::Record(conversation, record) => {
                self.logs.entry(conversation).or_default().append(&record);
                self.onlookers.on_record(conversation, &record);
            }
            BusNext::Uncompensated(it) => self.reference.expect_uncompensated(&it),
            BusNext::Wait(wake) => {
                self.reference.expect_wait(wake);
                self.unclean = false;
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
            Command::Outcome { outcome: Outcome::Accepted { .. }, .. } | Command::Consumed { .. } => None,
            Command::Outcome { conversation, message, .. } => Some((link, *conversation, message.get())),
            Command::Exited { exit, .. } if exit.goes_on => None,
            Command::Exited { conversation, .. } | Command::Failed { conversation } => {
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
    pub fn finish(&mut self) {
        let links = self.links.clone();
        for link in &links {
            self.apply_to(*link, &Op::Ready { link: 0 });
            for id in 0..4 {
                self.apply_to(*link, &Op::Read { link: 0, id });
            }
        }
        self.idle();
        self.drain_all();
        self.onlookers.assert_complete();
        assert!(self.open.is_empty(), "Q1: never ended: {:?}", self.open);
        let load = self.bus.load();
        assert_eq!((load.requests, load.running, load.held_bytes, load.timers), (0, 0, 0, 0), "P1");
        for link in &links {
            self.apply_to(*link, &Op::Lose { link: 0 });
        }
        self.idle();
        assert_eq!(self.bus.load(), Load::default(), "P1");
        assert!(self.logs.values().all(|log| log.over || !log.joined), "L1: a life without an end");
        let untold = |(key, given): (&ConversationKey, &Deliveries)| {
            self.logs.get(key).map_or(0, |log| log.said.difference(&given.given).count())
        };
        let untold: usize = self.deliveries.iter().map(untold).sum();
        assert!(untold as u64 <= self.bus.counters().undelivered, "accepted and lost without being counted");
        let counters = self.bus.counters();
        assert!(counters.compensations_failed <= counters.compensations);
    }

    /// Everything that waits for those who look on is told, and what a watch has not come by yet: a link that was told
    /// as much as it takes is told more only when that is written.
    fn drain_all(&mut self) {
        let mut is_told = true;
        while is_told {
            for link in self.links.clone() {
                self.bus.link_drained(link);
            }
            is_told = self.poll();
            while self.poll() {}
        }
    }

    fn idle(&mut self) {
        for _ in 0..20 {
            while self.poll() || !self.running.is_empty() {
                self.apply(&Op::Answer { ticket: 0, kind: 11 });
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
            Recorded::Message { .. } => {
                self.said.insert(self.last);
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
            Recorded::Exited { goes_on: true, .. } => {
                assert!(self.joined, "L1: {record:?}");
                self.joined = false;
            }
            Recorded::Left { .. } | Recorded::Exited { .. } => {
                assert!(self.joined, "L1: {record:?}");
                self.over = true;
            }
            Recorded::Failed => {
                assert!(!self.joined, "{record:?} while somebody is there");
                self.over = true;
            }
            Recorded::JoinRefused { .. } => assert!(!self.joined, "L1: {record:?}"),
            _ => {}
        }
    }
}

fn pick<T: Copy>(all: &[T], which: u8) -> Option<T> {
    all.get(usize::from(which).checked_rem(all.len())?).copied()
}
