//! One connection, played.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use liminal_proto::wire::Dialect;
use liminal_proto::{
    Config, Connection, ConversationId, Event, Exit, ExitReason, Expects, Gap, GapReason, Instant, LinkError,
    LogId, LogRecord, Logged, Message, MessageId, Metadata, Next, Notice, Outcome, Phase, Pid, ReasonCode,
    RecordNumber, Reply, StreamId, Unanswered, Wake, Wants,
};

use super::monitors::Monitors;
use super::offers::Offers;
use super::written::Written;
use super::{Call, Ends};
use crate::sides::{START, drain, millis};

/// Plays calls on a connection and watches what no call may break.
#[derive(Debug)]
pub struct Player {
    connection: Connection,
    latest: Instant,
    /// Messages that were received, the latest first.
    seen: Vec<MessageId>,
    ends: Ends,
    offers: Offers,
    monitors: Monitors,
    /// Conversations that were invited to: an id is used once.
    invited: BTreeSet<u64>,
    written: Written,
    closed: bool,
    output_max: usize,
    given: usize,
}

impl Player {
    /// A player of this connection, which was made with this configuration.
    #[must_use]
    pub fn new(connection: Connection, config: &Config) -> Self {
        let limits = &config.limits;
        let frame = limits.frame_payload_max as usize;
        let hard = limits.output_hard_max.max(limits.output_soft_max + 2 * frame);
        let output_max = hard + frame + 2 * limits.text_max;
        Self {
            connection,
            latest: START,
            seen: Vec::new(),
            ends: Ends::default(),
            offers: Offers::default(),
            monitors: Monitors::default(),
            invited: BTreeSet::new(),
            written: Written::default(),
            closed: false,
            output_max,
            given: 0,
        }
    }

    /// The connection.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether the embedder was told of the end.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes of input and payloads that the connection was given so far, whether it took them or not.
    #[must_use]
    pub const fn given(&self) -> usize {
        self.given
    }

    /// Makes one call.
    pub fn play(&mut self, call: Call) {
        self.given += call.len();
        let was_closed = self.connection.phase() == Phase::Closed;
        let before = self.connection.output_len();
        self.call(call);
        assert!(self.connection.output_len() <= self.output_max, "law 7");
        if was_closed {
            assert_eq!(self.connection.phase(), Phase::Closed, "law 5");
            assert!(self.connection.output_len() <= before, "law 5: it writes after the end");
        }
    }

    /// Takes out all there is to write, for somebody to read.
    pub fn output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        loop {
            let bytes = self.connection.take_write(usize::MAX);
            if bytes.is_empty() {
                return output;
            }
            self.written.taken(&bytes);
            self.written.reported(&self.connection, bytes.len());
            self.connection.wrote(bytes.len());
            output.extend_from_slice(&bytes);
        }
    }

    /// The transport is gone: everything ends, once.
    pub fn finish(&mut self) {
        self.connection.link_lost(self.latest, LinkError::Dropped);
        for _ in 0..40_000 {
            if !self.closed {
                self.poll();
            }
        }
        assert!(self.closed, "law 5: the end never came");
        let (events, wants) = drain(&mut self.connection);
        assert_eq!(events, [], "law 5");
        assert!(wants.finished && !wants.read && !wants.write, "law 5: {wants:?}");
        assert_eq!(wants.wake, Wake::Never);
        self.ends.assert_complete();
    }

    fn call(&mut self, call: Call) {
        let now = self.latest;
        let it = &mut self.connection;
        match call {
            Call::Receive(bytes) => assert!(it.receive(now, &bytes) <= bytes.len()),
            Call::Read(bytes) => {
                let n = it.read_space().map_or(0, |space| {
                    let n = space.len().min(bytes.len());
                    space[..n].copy_from_slice(&bytes[..n]);
                    n
                });
                it.read_done(now, n);
            }
            Call::ReadDone(n) => it.read_done(now, n),
            Call::Eof => it.eof(now),
            Call::LinkLost => it.link_lost(now, LinkError::Reset),
            Call::Tick(at) => {
                let at = millis(at);
                self.latest = self.latest.max(at);
                it.tick(at);
            }
            Call::ToWrite => {
                let mut slots = [&[][..]; 2];
                let n = it.to_write(&mut slots);
                let len = slots[..n].iter().map(|slot| slot.len()).sum::<usize>();
                assert!(len <= it.output_len());
            }
            Call::Wrote(n) => {
                self.written.reported(it, n.min(it.output_len()));
                it.wrote(n);
            }
            Call::TakeWrite(max) => {
                let bytes = it.take_write(max);
                assert!(bytes.len() <= max);
                self.written.taken(&bytes);
            }
            Call::Poll(times) => (0..times).for_each(|_| self.poll()),
            command => self.command(command),
        }
    }

    fn command(&mut self, command: Call) {
        let was_closed = self.connection.phase() == Phase::Closed;
        let taken = match command {
            Call::Ping => self.connection.ping(self.latest).is_ok(),
            Call::Consumed(at, len) => {
                self.connection.consumed(self.latest, ConversationId::new(at), len);
                false
            }
            Call::Disconnect => {
                self.connection.disconnect(self.latest);
                false
            }
            of_client @ (Call::Open(_)
            | Call::Message(..)
            | Call::Ask(..)
            | Call::Abandon(..)
            | Call::Close(_)) => self.command_client(of_client),
            of_offers @ (Call::Serve(..)
            | Call::Withdraw(..)
            | Call::Serving(_)
            | Call::RefuseOffer(_)
            | Call::Withdrawn(_)) => self.command_offers(of_offers),
            of_monitors @ (Call::Monitor(_)
            | Call::Watch(_)
            | Call::Unmonitor(_)
            | Call::Monitoring(_)
            | Call::RefuseMonitor(_)
            | Call::Unmonitored(_)
            | Call::Notice(..)
            | Call::Record(..)
            | Call::Gap(_)) => self.command_monitors(of_monitors),
            of_inviter @ (Call::Invite(_) | Call::Deliver(..)) => self.command_inviter(of_inviter),
            of_server => self.command_server(of_server),
        };
        assert!(!(was_closed && taken), "law 5: a command was taken after the end");
    }

    fn command_client(&mut self, command: Call) -> bool {
        let (now, key) = (self.latest, ConversationId::new);
        match command {
            Call::Open(len) => self.connection.open(now, &"s".repeat(len)).is_ok(),
            Call::Message(at, expects, len) => {
                let expects = if expects == 0 { Expects::Nothing } else { Expects::Acceptance };
                let payload = Bytes::from(vec![3; len]);
                match self.connection.message(now, key(at), expects, payload.clone()) {
                    Ok(message) => {
                        let confirmed = self.connection.version() == Some(Dialect::V2.version());
                        if expects == Expects::Acceptance && confirmed {
                            self.ends.awaits(key(at), message);
                        }
                        true
                    }
                    Err(rejected) => {
                        assert_eq!(rejected.payload.payload, payload);
                        false
                    }
                }
            }
            Call::Ask(at, timeout) => {
                let timeout = timeout.map(Duration::from_millis);
                let asked = self.connection.ask(now, key(at), timeout, Bytes::new());
                asked.map(|message| self.ends.asks(key(at), message)).is_ok()
            }
            Call::Abandon(at, message) => {
                let (at, message) = (key(at), MessageId::new(message));
                let abandoned = self.connection.abandon(at, message).is_ok();
                if abandoned {
                    self.ends.ends(at, message);
                }
                abandoned
            }
            Call::Close(at) => self.connection.close(now, key(at), None).is_ok(),
            other => panic!("{other:?} is no command of a client"),
        }
    }

    fn command_server(&mut self, command: Call) -> bool {
        let (now, key) = (self.latest, ConversationId::new);
        match command {
            Call::Opened(at) => self.connection.opened(now, key(at), Some(Pid::new(at))).is_ok(),
            Call::Refuse(at) => {
                self.connection.refuse(now, key(at), ReasonCode::NO_PARTICIPANT, Some("no")).is_ok()
            }
            Call::Reply(at, message, last, len) => {
                let (answers, payload) = (self.id(message), Bytes::from(vec![5; len]));
                let reply = Reply {
                    conversation: key(at),
                    answers,
                    record: None,
                    last,
                    metadata: Metadata::default(),
                    payload,
                };
                match self.connection.reply(now, reply.clone()) {
                    Ok(()) => true,
                    Err(rejected) => {
                        assert_eq!(rejected.payload, reply);
                        false
                    }
                }
            }
            Call::Outcome(at, message, kind) => {
                let outcome = match kind {
                    0 => Outcome::Accepted { record: Some(RecordNumber::new(1)) },
                    1 => Outcome::Refused { reason: ReasonCode::new(0), text: None },
                    2 => Outcome::Exited,
                    3 => Outcome::Deadline,
                    _ => Outcome::Unknown,
                };
                let message = self.id(message);
                self.connection.outcome(now, key(at), message, &outcome).is_ok()
            }
            Call::Exited(at, goes_on) => {
                let reason = ExitReason::Crashed { text: "x".repeat(2000) };
                let exit = Exit {
                    pid: Pid::new(1),
                    record: RecordNumber::new(1),
                    reason,
                    goes_on,
                    unanswered: Unanswered::default(),
                };
                self.connection.exited(now, key(at), &exit).is_ok()
            }
            Call::Joined(at) => self.connection.joined(now, key(at), Pid::new(at)).is_ok(),
            Call::Failed(at) => self.connection.failed(now, key(at)).is_ok(),
            Call::Ended(at) => self.connection.ended(now, key(at)).is_ok(),
            other => panic!("{other:?} is no command of a server"),
        }
    }

    fn command_offers(&mut self, command: Call) -> bool {
        let (now, on) = (self.latest, StreamId::new);
        match command {
            Call::Serve(len, capacity) => {
                let subject = (len > 0).then(|| "s".repeat(len));
                let served = self.connection.serve(now, subject.as_deref(), capacity);
                served.map(|offer| self.offers.makes(offer)).is_ok()
            }
            Call::Withdraw(at, drain) => self.connection.withdraw(now, on(at), drain).is_ok(),
            Call::Serving(at) => self.connection.serving(now, on(at)).is_ok(),
            Call::RefuseOffer(at) => {
                let refused = self.connection.refuse_offer(now, on(at), ReasonCode::NOT_ALLOWED, Some("no"));
                refused.map(|()| self.offers.ends(on(at))).is_ok()
            }
            Call::Withdrawn(at) => {
                self.connection.withdrawn(now, on(at)).map(|()| self.offers.ends(on(at))).is_ok()
            }
            other => panic!("{other:?} is no command about offers"),
        }
    }

    fn command_monitors(&mut self, command: Call) -> bool {
        let (now, on) = (self.latest, StreamId::new);
        match command {
            Call::Monitor(pid) => {
                let monitor = self.connection.monitor(now, Pid::new(pid));
                monitor.map(|monitor| self.monitors.makes(monitor, false)).is_ok()
            }
            Call::Watch(len) => {
                let subject = (len > 0).then(|| "s".repeat(len));
                let monitor = self.connection.watch(now, subject.as_deref());
                monitor.map(|monitor| self.monitors.makes(monitor, true)).is_ok()
            }
            Call::Unmonitor(at) => self.connection.unmonitor(now, on(at)).is_ok(),
            Call::Monitoring(at) => {
                self.connection.monitoring(now, on(at)).map(|()| self.monitors.stands(on(at))).is_ok()
            }
            Call::RefuseMonitor(at) => {
                let refused =
                    self.connection.refuse_monitor(now, on(at), ReasonCode::NOT_ALLOWED, Some("no"));
                refused.map(|()| self.monitors.ends(on(at))).is_ok()
            }
            Call::Unmonitored(at) => {
                self.connection.unmonitored(now, on(at)).map(|()| self.monitors.ends(on(at))).is_ok()
            }
            told => self.tell_monitors(told),
        }
    }

    fn tell_monitors(&mut self, told: Call) -> bool {
        let (now, on, number) = (self.latest, StreamId::new, RecordNumber::new(1));
        let (log, subject) = (LogId::new(1), Some("subject".to_owned()));
        match told {
            Call::Notice(at, kind) => {
                let reason = ExitReason::Crashed { text: "x".repeat(2000) };
                let unanswered = Unanswered::new(3, [number]);
                let exit = Exit { pid: Pid::new(1), record: number, reason, goes_on: true, unanswered };
                let joined = Notice::Joined { pid: Pid::new(2) };
                let last = Notice::Ended { cancelled: true };
                let notice = [Notice::Exited(exit), joined, Notice::Failed, last][usize::from(kind)].clone();
                let told = self.connection.notice(now, on(at), &notice).is_ok();
                if told {
                    self.monitors.tells(on(at), false);
                }
                if told && matches!(notice, Notice::Ended { .. }) {
                    self.monitors.ends(on(at));
                }
                told
            }
            Call::Record(at, len) => {
                let (id, payload) = (MessageId::new(1), Bytes::from(vec![6; len]));
                let record =
                    LogRecord { log, number, subject, what: Logged::Message { id, content: payload.into() } };
                let told = self.connection.record(now, on(at), &record);
                told.map(|()| self.monitors.tells(on(at), true)).is_ok()
            }
            Call::Gap(at) => {
                let gap = Gap { log, from: number, to: number, subject, why: GapReason::TooSlow };
                let told = self.connection.gap(now, on(at), &gap);
                told.map(|()| self.monitors.tells(on(at), true)).is_ok()
            }
            other => panic!("{other:?} is told to no monitor"),
        }
    }

    fn command_inviter(&mut self, command: Call) -> bool {
        let (now, key) = (self.latest, ConversationId::new);
        match command {
            Call::Invite(at) => {
                let invited = !self.invited.contains(&at)
                    && self.connection.invite(now, key(at), Pid::new(at), "subject").is_ok();
                if invited {
                    self.invited.insert(at);
                }
                invited
            }
            Call::Deliver(at, message, expects, len) => {
                let expects = [Expects::Nothing, Expects::Acceptance, Expects::Reply][usize::from(expects)];
                let (conversation, id, payload) =
                    (key(at), MessageId::new(message), Bytes::from(vec![9; len]));
                let message = Message {
                    conversation,
                    id,
                    expects,
                    timeout: None,
                    redelivered: 1,
                    metadata: Metadata::default(),
                    payload,
                };
                match self.connection.deliver(now, message.clone()) {
                    Ok(()) => {
                        match expects {
                            Expects::Nothing => {}
                            Expects::Acceptance => self.ends.awaits(conversation, id),
                            Expects::Reply => self.ends.asks(conversation, id),
                        }
                        true
                    }
                    Err(rejected) => {
                        assert_eq!(rejected.payload, message);
                        false
                    }
                }
            }
            other => panic!("{other:?} is no command of whoever invites"),
        }
    }

    /// The nth last message that was received, or any id.
    fn id(&self, nth: usize) -> MessageId {
        self.seen.get(nth).copied().unwrap_or(MessageId::new(nth as u64))
    }

    fn poll(&mut self) {
        match self.connection.poll() {
            Next::Event(event) => {
                assert!(!self.closed, "law 5: {event:?} came after Closed");
                self.closed = matches!(event, Event::Closed(_));
                self.ends.on_event(&event);
                self.offers.on_event(&self.connection, &event);
                self.monitors.on_event(&self.connection, &event);
                if let Event::Message(message) = event {
                    self.seen.insert(0, message.id);
                }
            }
            Next::Wait(wants) => self.check(wants),
        }
    }

    fn check(&self, wants: Wants) {
        let last = Instant::from_nanos(u64::MAX);
        if self.latest < last
            && let Some(at) = wants.wake.at()
        {
            assert!(at > self.latest, "law 4: {wants:?} at {}", self.latest);
        }
        assert_eq!(wants.finished, self.closed && self.connection.output_len() == 0);
        assert!(!(self.closed && wants.read), "law 5: it reads after the end");
    }
}
