//! A bus, a clock and a transcript that reads like a story.

#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "only tests use it")]
#![allow(dead_code, reason = "each test file uses its part of the kit")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]
#![allow(unused_macros, reason = "each test file uses its part of the kit")]

use std::time::Duration;

use bytes::Bytes;
use liminal_core::{
    Answer, Bus, BusNext, Call, Command, ConversationKey, CrashPolicy, Invocation, LinkId, Offer, OfferId,
    Rights, Settings, Subject, Ticket,
};
pub use liminal_laws::bus::says;
use liminal_proto::{
    CloseReason, ConversationId, Event, Exit, ExitReason, Expects, Instant, Notice, Outcome, Pid, StreamId,
    Wake,
};

/// What follows `step`, without its tickets' numbers being of interest.
macro_rules! follows {
    ($kit:ident, [$($line:expr),* $(,)?]) => {
        assert_eq!($kit.drain(), [$($line),*] as [&str; follows!(@count $($line),*)])
    };
    (@count $($line:expr),*) => { 0 $(+ { let _ = $line; 1 })* };
}

pub struct Kit {
    pub bus: Bus,
    pub now: Instant,
    /// The calls that were started, in their order.
    pub tickets: Vec<Ticket>,
    /// The conversations that they were in.
    pub keys: Vec<ConversationKey>,
    /// What was dealt with: in which conversation of which link, and how long it was. It stands in no story.
    pub consumed: Vec<(u64, u64, usize)>,
    /// Whether what is told to those who look on is written at once.
    pub drains: bool,
}

pub fn crash(text: &str) -> Answer {
    Answer::Exited(ExitReason::Crashed { text: text.into() })
}

pub fn reply(text: &'static str) -> Answer {
    Answer::Reply(text.into())
}

pub fn part(text: &'static str) -> Answer {
    Answer::Part(text.into())
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[track_caller]
pub fn follows(kit: &mut Kit, story: &[&str]) {
    assert_eq!(kit.drain(), story);
}

/// A bus on which this many serve "work", under this policy.
pub fn bus(count: usize, policy: CrashPolicy, settings: Settings) -> (Kit, Vec<OfferId>) {
    let mut kit = Kit::new(settings);
    let register = |_| kit.bus.register("work".into(), Offer::Participant).unwrap();
    let offers = (0..count).map(register).collect();
    kit.bus.on_crash("work".into(), policy).unwrap();
    (kit, offers)
}

impl Kit {
    /// A bus on which "echo" has a participant and "log" has none.
    pub fn new(settings: Settings) -> Self {
        let mut bus = Bus::new(settings);
        bus.register("echo".into(), Offer::Participant).unwrap();
        bus.register(Subject::from("log"), Offer::TraceOnly).unwrap();
        Self {
            bus,
            now: Instant::ORIGIN,
            tickets: Vec::new(),
            keys: Vec::new(),
            consumed: Vec::new(),
            drains: true,
        }
    }

    pub fn recording() -> Self {
        Self::new(Settings { recording: true, ..Settings::default() })
    }

    pub fn link(&mut self) -> LinkId {
        self.bus.connect(self.now)
    }

    /// A link with conversation 1, whose participant has joined.
    pub fn active() -> (Self, LinkId) {
        let mut kit = Self::new(Settings::default());
        let link = kit.link();
        kit.join(link, 1);
        (kit, link)
    }

    /// Opens a conversation and lets its participant join.
    pub fn join(&mut self, link: LinkId, id: u64) {
        self.open(link, id, "echo");
        self.drain();
        self.answer_last(Answer::Joined);
        self.drain();
    }

    /// A link that may monitor and watch.
    pub fn observer(&mut self) -> LinkId {
        let link = self.link();
        self.bus.grant(link, Rights::MONITOR);
        link
    }

    pub fn monitor(&mut self, link: LinkId, monitor: u32, pid: u64) {
        self.event(link, Event::Monitor { monitor: StreamId::new(monitor), pid: Pid::new(pid) });
    }

    pub fn watch(&mut self, link: LinkId, monitor: u32, subject: Option<&str>) {
        let (monitor, subject) = (StreamId::new(monitor), subject.map(Into::into));
        self.event(link, Event::Watch { monitor, subject });
    }

    pub fn unmonitor(&mut self, link: LinkId, monitor: u32) {
        self.event(link, Event::Unmonitor { monitor: StreamId::new(monitor) });
    }

    pub fn event(&mut self, link: LinkId, event: Event) {
        self.bus.event(self.now, link, event);
    }

    pub fn open(&mut self, link: LinkId, id: u64, subject: &str) {
        self.event(
            link,
            Event::Open {
                conversation: ConversationId::new(id),
                subject: subject.into(),
                terms: liminal_proto::Terms::default(),
            },
        );
    }

    pub fn message(&mut self, link: LinkId, id: u64, message: u64, expects: Expects, payload: &'static str) {
        self.event(link, says(id, message, expects, None, Bytes::from_static(payload.as_bytes())));
    }

    pub fn ask(&mut self, link: LinkId, id: u64, message: u64, payload: &'static str) {
        self.message(link, id, message, Expects::Reply, payload);
    }

    pub fn say(&mut self, link: LinkId, id: u64, message: u64, payload: &'static str) {
        self.message(link, id, message, Expects::Nothing, payload);
    }

    pub fn close(&mut self, link: LinkId, id: u64) {
        self.event(link, Event::Close { conversation: ConversationId::new(id) });
    }

    pub fn lose(&mut self, link: LinkId) {
        self.event(link, Event::Closed(CloseReason::PeerEof));
    }

    pub fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.bus.answer(self.now, ticket, answer);
    }

    pub fn answer_last(&mut self, answer: Answer) {
        let ticket = *self.tickets.last().unwrap();
        self.answer(ticket, answer);
    }

    /// The host says that a participant is no more, in a conversation in which somebody was called.
    pub fn exited(&mut self, conversation: u64, pid: u64, text: &str) {
        let key = *self.keys.iter().find(|key| key.get() == conversation).unwrap();
        self.bus.exited(self.now, key, Pid::new(pid), ExitReason::Crashed { text: text.into() });
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.bus.tick(self.now);
    }

    /// Everything that the bus wants done until it waits.
    pub fn drain(&mut self) -> Vec<String> {
        let mut story = Vec::new();
        while let Some(next) = self.poll() {
            story.push(tell(&next));
        }
        story
    }

    pub fn poll(&mut self) -> Option<BusNext> {
        let next = self.bus.poll();
        match &next {
            BusNext::Wait(wake) => {
                assert!(wake.at().is_none_or(|at| at > self.now), "a wake in the past: {wake:?}");
                assert_eq!(self.bus.load(), self.bus.recount(), "R2: the accounts equal a recount");
                return None;
            }
            BusNext::Command(link, command) if self.drains && command.is_looked_on() => {
                self.bus.link_drained(*link);
            }
            BusNext::Run(ticket, invocation) => {
                self.tickets.push(*ticket);
                self.keys.push(invocation.conversation);
            }
            BusNext::Command(link, Command::Consumed { conversation, len }) => {
                self.consumed.push((link.get(), conversation.get(), *len));
                return self.poll();
            }
            _ => {}
        }
        Some(next)
    }

    pub fn wake(&mut self) -> Wake {
        match self.bus.poll() {
            BusNext::Wait(wake) => wake,
            next => panic!("not waiting: {next:?}"),
        }
    }
}

fn text(payload: &Bytes) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

/// One step of a transcript. Conversations are c1, messages m1, records r1, participants p1, calls t1.
pub fn tell(next: &BusNext) -> String {
    match next {
        BusNext::Command(link, command) => format!("l{} {}", link.get(), tell_command(command)),
        BusNext::Run(ticket, invocation) => format!("t{} {}", ticket.get(), tell_call(invocation)),
        BusNext::Cancel(ticket) => format!("t{} cancel", ticket.get()),
        BusNext::Owned(key, link, id) => format!("log{} is c{id} of l{}", key.get(), link.get()),
        BusNext::Record(key, record) => format!("log{} r{} {:?}", key.get(), record.number, record.what),
        BusNext::Uncompensated(it) => it.to_string(),
        BusNext::Wait(wake) => format!("wait {wake:?}"),
    }
}

pub fn tell_command(command: &Command) -> String {
    match command {
        Command::Opened { conversation, pid: Some(pid) } => format!("c{conversation} opened by p{pid}"),
        Command::Opened { conversation, pid: None } => format!("c{conversation} opened"),
        Command::Refused { conversation, reason, text } => {
            format!("c{conversation} refused: {}{}", reason.meaning().unwrap(), suffix(text.as_ref()))
        }
        Command::Reply(it) => {
            let kind = if it.last { "reply" } else { "part" };
            let (conversation, answers, record) = (it.conversation, it.answers, it.record.unwrap());
            format!("c{conversation} m{answers} {kind} r{record} {:?}", text(&it.payload))
        }
        Command::Outcome { conversation, message, outcome } => {
            format!("c{conversation} m{message} {}", tell_outcome(outcome))
        }
        Command::Exited { conversation, exit } => {
            let then = if exit.goes_on { ", goes on" } else { "" };
            format!("c{conversation} p{} exited r{}: {}{then}", exit.pid, exit.record, exit.reason)
        }
        Command::Joined { conversation, pid } => format!("c{conversation} joined by p{pid}"),
        Command::Failed { conversation } => format!("c{conversation} failed"),
        Command::Ended { conversation } => format!("c{conversation} ended"),
        Command::Invite { conversation, pid, subject } => format!("g{conversation} invite p{pid} {subject}"),
        Command::Deliver(it) => {
            let mark = if it.expects == Expects::Reply { "?" } else { "" };
            let again = if it.redelivered > 0 { format!(" again {}", it.redelivered) } else { String::new() };
            format!("g{} m{} {:?}{mark}{again}", it.conversation, it.id, text(&it.payload))
        }
        Command::Close { conversation, cancel } => {
            format!("g{conversation} {}", if *cancel { "cancel" } else { "close" })
        }
        Command::Serving { offer } => format!("s{offer} serving"),
        Command::NotServing { offer, reason, text } => {
            format!("s{offer} not serving: {}{}", reason.meaning().unwrap(), suffix(text.as_ref()))
        }
        Command::Withdrawn { offer } => format!("s{offer} withdrawn"),
        Command::Disconnect => "disconnect".into(),
        Command::Monitoring { monitor } => format!("s{monitor} monitoring"),
        Command::NotMonitoring { monitor, reason, text } => {
            format!("s{monitor} not monitoring: {}{}", reason.meaning().unwrap(), suffix(text.as_ref()))
        }
        Command::Unmonitored { monitor } => format!("s{monitor} unmonitored"),
        Command::Notice { monitor, notice } => format!("s{monitor} {}", tell_notice(notice)),
        Command::Record { monitor, record } => {
            let of = record.subject.as_ref().map_or(String::new(), |subject| format!(" {subject}"));
            format!("s{monitor} log{}{of} r{} {:?}", record.log, record.number, record.what)
        }
        Command::Gap { monitor, gap } => {
            let of = gap.subject.as_ref().map_or(String::new(), |subject| format!(" {subject}"));
            format!("s{monitor} log{}{of} r{} to r{}: {}", gap.log, gap.from, gap.to, gap.why)
        }
        other => format!("{other:?}"),
    }
}

fn tell_notice(notice: &Notice) -> String {
    match notice {
        Notice::Exited(Exit { pid, record, reason, goes_on, unanswered }) => {
            let then = if *goes_on { ", goes on" } else { "" };
            let open: Vec<String> =
                unanswered.records().iter().map(|number| format!(", r{number} open")).collect();
            assert_eq!(unanswered.count() as usize, open.len());
            format!("p{pid} exited r{record}: {reason}{then}{}", open.concat())
        }
        Notice::Joined { pid } => format!("joined by p{pid}"),
        Notice::Failed => "failed".into(),
        Notice::Ended { cancelled } => if *cancelled { "cancelled" } else { "ended" }.into(),
        other => format!("{other:?}"),
    }
}

fn tell_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted { record } => format!("accepted r{}", record.unwrap()),
        Outcome::Refused { reason, text } => {
            format!("refused: {}{}", reason.meaning().unwrap(), suffix(text.as_ref()))
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

fn suffix(text: Option<&String>) -> String {
    text.map_or(String::new(), |text| format!(" ({text})"))
}

fn tell_call(invocation: &Invocation) -> String {
    let what = match &invocation.what {
        Call::Join { subject } => format!("join {subject}"),
        Call::Message { id, record, expects_reply, redelivered, payload, .. } => {
            let mark = if *expects_reply { "?" } else { "" };
            let again = if *redelivered > 0 { format!(" again {redelivered}") } else { String::new() };
            format!("m{id} r{record} {:?}{mark}{again}", text(payload))
        }
        Call::Wake { .. } => "wake".into(),
        Call::Leave { why } => format!("leave {why:?}"),
        other => format!("{other:?}"),
    };
    format!("p{} {what}", invocation.pid)
}
