//! The laws of a connection, each as a property.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use liminal_proto::wire::Dialect;
use liminal_proto::{
    CloseReason, Config, Connection, ConversationId, Event, Exit, ExitReason, Expects, Instant, LinkError,
    MessageId, Misuse, Next, Outcome, Phase, Pid, ReasonCode, RecordNumber, Reply, Side, Violation, Wants,
};
use proptest::prelude::*;

use support::strategy::{anything, client_frame, server_frame, well_behaved};
use support::*;

/// So many cases, unless the environment asks for another number.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { default } else { ProptestConfig { cases, ..default } }
}

/// A connection that may be the beginning of anything: its side, its version, whether its handshake
/// is through.
fn beginning() -> impl Strategy<Value = (Side, Dialect, bool)> {
    let side = prop::sample::select(vec![Side::Client, Side::Server]);
    let dialect = prop::sample::select(vec![Dialect::V1, Dialect::V2]);
    (side, dialect, prop::bool::weighted(0.8))
}

fn begin((side, dialect, through): (Side, Dialect, bool), config: Config) -> Connection {
    let version = dialect.version().major;
    match (side, through) {
        (Side::Client, true) => client_of(version, config),
        (Side::Server, true) => server_of(version, config),
        (Side::Client, false) => Connection::client(START, config),
        (Side::Server, false) => Connection::server(START, config),
    }
}

// ── 1: any order of calls ───────────────────────────────────────────────────────────────────────────

#[derive(Clone, Debug)]
enum Call {
    Receive(Vec<u8>),
    Read(Vec<u8>),
    ReadDone(usize),
    Eof,
    LinkLost,
    Tick(u64),
    ToWrite,
    Wrote(usize),
    TakeWrite(usize),
    Poll(usize),
    Open(usize),
    Message(u64, u8, usize),
    Ask(u64, Option<u64>),
    Abandon(u64, u64),
    Close(u64),
    Ping,
    Disconnect,
    Opened(u64),
    Refuse(u64),
    Reply(u64, usize, bool, usize),
    Outcome(u64, usize, u16),
    Exited(u64, bool),
    Joined(u64),
    Failed(u64),
    Ended(u64),
}

fn call() -> BoxedStrategy<Call> {
    let key = || prop_oneof![12 => 0_u64..10, 1 => any::<u64>()];
    let size = || prop_oneof![6 => 0_usize..100, 1 => Just(3000_usize), 1 => Just(usize::MAX)];
    let bytes = || prop::collection::vec(anything(), 1..4).prop_map(|frames| frames.concat());
    prop_oneof![
        10 => bytes().prop_map(Call::Receive),
        4 => bytes().prop_map(Call::Read),
        1 => size().prop_map(Call::ReadDone),
        1 => Just(Call::Eof),
        1 => Just(Call::LinkLost),
        4 => prop_oneof![3 => 0_u64..100_000, 1 => any::<u64>()].prop_map(Call::Tick),
        2 => Just(Call::ToWrite),
        3 => size().prop_map(Call::Wrote),
        3 => size().prop_map(Call::TakeWrite),
        10 => (1_usize..5).prop_map(Call::Poll),
        4 => (0_usize..300).prop_map(Call::Open),
        4 => (key(), 0_u8..2, 0_usize..3000).prop_map(|(key, expects, len)| Call::Message(key, expects, len)),
        6 => (key(), prop::option::of(0_u64..1000)).prop_map(|(key, timeout)| Call::Ask(key, timeout)),
        1 => (key(), key()).prop_map(|(key, message)| Call::Abandon(key, message)),
        2 => key().prop_map(Call::Close),
        2 => Just(Call::Ping),
        1 => Just(Call::Disconnect),
        6 => key().prop_map(Call::Opened),
        2 => key().prop_map(Call::Refuse),
        6 => (key(), 0_usize..4, any::<bool>(), 0_usize..3000)
            .prop_map(|(key, message, last, len)| Call::Reply(key, message, last, len)),
        4 => (key(), 0_usize..4, 0_u16..5).prop_map(|(key, message, kind)| Call::Outcome(key, message, kind)),
        2 => (key(), any::<bool>()).prop_map(|(key, goes_on)| Call::Exited(key, goes_on)),
        1 => key().prop_map(Call::Joined),
        1 => key().prop_map(Call::Failed),
        2 => key().prop_map(Call::Ended),
    ]
    .boxed()
}

/// Plays calls on a connection and watches what no call may break.
struct Player {
    connection: Connection,
    latest: Instant,
    seen: Vec<MessageId>,
    closed: bool,
    output_max: usize,
}

impl Player {
    fn new(connection: Connection, config: &Config) -> Self {
        let limits = &config.limits;
        let frame = limits.frame_payload_max as usize;
        let hard = limits.output_hard_max.max(limits.output_soft_max + 2 * frame);
        let output_max = hard + frame + 2 * limits.text_max;
        Self { connection, latest: START, seen: Vec::new(), closed: false, output_max }
    }

    fn id(&self, nth: usize) -> MessageId {
        self.seen.get(nth).copied().unwrap_or(MessageId::new(nth as u64))
    }

    fn play(&mut self, call: Call) {
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
            Call::Wrote(n) => it.wrote(n),
            Call::TakeWrite(max) => assert!(it.take_write(max).len() <= max),
            Call::Poll(times) => (0..times).for_each(|_| self.poll()),
            command => self.command(command),
        }
        assert!(self.connection.output_len() <= self.output_max);
        if self.closed {
            assert_eq!(self.connection.phase(), Phase::Closed);
        }
    }

    fn command(&mut self, command: Call) {
        let now = self.latest;
        let before = self.connection.output_len();
        let was_closed = self.connection.phase() == Phase::Closed;
        let key = ConversationId::new;
        let nth = |this: &Self, nth| this.id(nth);
        let ok = match command {
            Call::Open(len) => self.connection.open(now, &"s".repeat(len)).is_ok(),
            Call::Message(at, expects, len) => {
                let expects = if expects == 0 { Expects::Nothing } else { Expects::Acceptance };
                let payload = Bytes::from(vec![3; len]);
                match self.connection.message(now, key(at), expects, payload.clone()) {
                    Ok(_) => true,
                    Err(rejected) => {
                        assert_eq!(rejected.payload, payload);
                        false
                    }
                }
            }
            Call::Ask(at, timeout) => {
                self.connection.ask(now, key(at), timeout.map(Duration::from_millis), Bytes::new()).is_ok()
            }
            Call::Abandon(at, message) => self.connection.abandon(key(at), MessageId::new(message)).is_ok(),
            Call::Close(at) => self.connection.close(now, key(at), None).is_ok(),
            Call::Ping => self.connection.ping(now).is_ok(),
            Call::Disconnect => {
                self.connection.disconnect(now);
                false
            }
            Call::Opened(at) => self.connection.opened(now, key(at), Some(Pid::new(at))).is_ok(),
            Call::Refuse(at) => {
                self.connection.refuse(now, key(at), ReasonCode::NO_PARTICIPANT, Some("no")).is_ok()
            }
            Call::Reply(at, message, last, len) => {
                let answers = nth(self, message);
                let payload = Bytes::from(vec![5; len]);
                let reply = Reply { conversation: key(at), answers, record: None, last, payload };
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
                    1 => refused(ReasonCode::new(0)),
                    2 => Outcome::Exited,
                    3 => Outcome::Deadline,
                    _ => Outcome::Unknown,
                };
                let message = nth(self, message);
                self.connection.outcome(now, key(at), message, &outcome).is_ok()
            }
            Call::Exited(at, goes_on) => {
                let reason = ExitReason::Crashed { text: "x".repeat(2000) };
                let exit = Exit { pid: Pid::new(1), record: RecordNumber::new(1), reason, goes_on };
                self.connection.exited(now, key(at), &exit).is_ok()
            }
            Call::Joined(at) => self.connection.joined(now, key(at), Pid::new(at)).is_ok(),
            Call::Failed(at) => self.connection.failed(now, key(at)).is_ok(),
            Call::Ended(at) => self.connection.ended(now, key(at)).is_ok(),
            other => panic!("{other:?} is no command"),
        };
        if was_closed {
            assert!(!ok, "a command was taken after the end");
            assert_eq!(self.connection.output_len(), before);
        }
    }

    fn poll(&mut self) {
        match self.connection.poll() {
            Next::Event(event) => {
                assert!(!self.closed, "{event:?} came after Closed");
                self.closed = matches!(event, Event::Closed(_));
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
            assert!(at > self.latest, "{wants:?} at {}", self.latest);
        }
        assert_eq!(wants.finished, self.closed && self.connection.output_len() == 0);
        if self.closed {
            assert!(!wants.read);
        }
    }
}

/// Small bounds, so that they are met.
fn small() -> Config {
    limited(|limits| {
        limits.frame_payload_max = 4096;
        limits.output_soft_max = 6000;
        limits.output_hard_max = 12_000;
        limits.input_max = 2000;
        limits.conversations_max = 6;
        limits.requests_max = 6;
    })
}

proptest! {
    #![proptest_config(cases(500))]

    /// Laws 1, 4 and 5.
    #[test]
    fn any_order_of_calls_is_legal_and_the_end_comes_once_and_last(
        beginning in beginning(),
        tiny in any::<bool>(),
        calls in prop::collection::vec(call(), 1..80),
    ) {
        let config = if tiny { small() } else { Config::default() };
        let mut player = Player::new(begin(beginning, config.clone()), &config);
        calls.into_iter().for_each(|call| player.play(call));
        player.connection.link_lost(player.latest, LinkError::Dropped);
        for _ in 0..40_000 {
            if !player.closed {
                player.poll();
            }
        }
        prop_assert!(player.closed);
        let (events, wants) = drain(&mut player.connection);
        prop_assert_eq!(events, []);
        prop_assert!(wants.finished && !wants.read && !wants.write);
        prop_assert_eq!(wants.wake.at(), None);
    }

    /// Law 1: being late loses nothing, and time never goes back.
    #[test]
    fn an_earlier_time_counts_as_the_latest_one(times in prop::collection::vec(0_u64..40, 1..20)) {
        let mut connection = server(2);
        let mut reference = server(2);
        let mut latest = 0;
        for time in times {
            latest = latest.max(time);
            connection.tick(seconds(time));
            reference.tick(seconds(latest));
            prop_assert_eq!(drain(&mut connection), drain(&mut reference));
            prop_assert_eq!(output(&mut connection), output(&mut reference));
        }
    }
}

#[test]
fn misuse_is_clamped_and_noted() {
    let mut client = client(1);
    client.ping(START).unwrap();
    client.wrote(11);
    assert_eq!(client.misuse(), Some(Misuse::WroteTooMuch { reported: 11, queued: 10 }));
    assert_eq!(client.output_len(), 0);
    client.ping(START).unwrap();
    assert_eq!(said(&mut client).len(), 1, "the connection stays sound");
}

// ── 2: chunking ─────────────────────────────────────────────────────────────────────────────────────

/// What a connection told and wrote when it was fed these pieces, with an embedder that always does
/// the same.
fn transcript(connection: &mut Connection, pieces: &[&[u8]]) -> (Vec<Event>, Vec<u8>) {
    let (mut told, mut wrote) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        loop {
            rest = &rest[connection.receive(START, rest)..];
            while let Next::Event(event) = connection.poll() {
                if connection.phase() != Phase::Closed {
                    serve_what_there_is(connection, &event);
                }
                told.push(event);
            }
            wrote.extend(output(connection));
            if rest.is_empty() {
                break;
            }
        }
    }
    connection.eof(START);
    told.extend(events(connection));
    wrote.extend(output(connection));
    (told, wrote)
}

fn serve_what_there_is(connection: &mut Connection, event: &Event) {
    if connection.side() == Side::Server {
        serve(connection, START, event);
    }
}

fn split<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.sort_unstable();
    at.push(bytes.len());
    let mut from = 0;
    at.into_iter()
        .map(|to| {
            let piece = &bytes[from..to];
            from = to;
            piece
        })
        .collect()
}

/// A client with a few conversations and requests in flight.
fn busy_client(dialect: Dialect) -> Connection {
    let mut client = client_of(dialect.version().major, Config::default());
    for _ in 0..3 {
        let key = client.open(START, "subject").unwrap();
        for _ in 0..2 {
            client.ask(START, key, None, Bytes::new()).unwrap();
            client.message(START, key, Expects::Acceptance, Bytes::new()).unwrap();
        }
    }
    output(&mut client);
    client
}

proptest! {
    #![proptest_config(cases(300))]

    /// Law 2. P-1.4
    #[test]
    fn any_split_of_the_same_bytes_gives_the_same_events_and_answers(
        beginning in beginning(),
        behaved in (well_behaved(1), well_behaved(2)),
        well_meaning in prop::collection::vec(prop_oneof![client_frame(), server_frame()], 0..20),
        hostile in prop::collection::vec(anything(), 0..10),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let (side, dialect, through) = beginning;
        let behaved = match (side, dialect) {
            (Side::Client, _) => Vec::new(),
            (Side::Server, Dialect::V1) => behaved.0,
            (Side::Server, Dialect::V2) => behaved.1,
        };
        let bytes = [behaved, well_meaning.concat(), hostile.concat()].concat();
        let make = || match (side, through) {
            (Side::Client, true) => busy_client(dialect),
            _ => begin(beginning, Config::default()),
        };
        let whole = transcript(&mut make(), &[&bytes]);
        prop_assert_eq!(&transcript(&mut make(), &split(&bytes, &cuts)), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&transcript(&mut make(), &single), &whole);
    }
}

// ── 3: the input buffer is the only queue ───────────────────────────────────────────────────────────

proptest! {
    #![proptest_config(cases(60))]

    /// Laws 3 and 7: whatever arrives, no more of it is kept than the limit and one frame.
    #[test]
    fn input_that_nobody_takes_is_bounded(
        beginning in beginning(),
        pieces in prop::collection::vec(prop::collection::vec(anything(), 1..40), 1..10),
    ) {
        let config = small();
        let limit = config.limits.input_max + config.limits.frame_payload_max as usize + 10;
        let mut connection = begin(beginning, config);
        let mut kept = 0;
        for piece in pieces {
            kept += connection.receive(START, &piece.concat());
            prop_assert!(connection.phase() == Phase::Closed || kept <= limit);
            prop_assert!(connection.read_space().is_none_or(|space| space.len() <= 4096));
        }
    }

    /// Law 3: state moves as events are returned.
    #[test]
    fn nothing_visible_runs_ahead_of_the_events(opens in 1_u32..20) {
        let mut server = server(2);
        let bytes: Vec<u8> = (1..=opens).flat_map(open).collect();
        server.receive(START, &bytes);
        for n in 1..=opens {
            prop_assert_eq!(server.conversation_phase(conversation(n.into())), None);
            let is_open = matches!(server.poll(), Next::Event(Event::Open { .. }));
            prop_assert!(is_open);
            prop_assert!(server.conversation_phase(conversation(n.into())).is_some());
        }
    }
}

// ── 4: idle work ────────────────────────────────────────────────────────────────────────────────────

#[test]
fn ten_thousand_idle_conversations_want_nothing_more_than_none() {
    for version in [1, 2] {
        let mut server = server(version);
        let before = wants(&mut server);
        for id in 1..=10_000 {
            feed(&mut server, START, &open(id));
            server.opened(START, conversation(id.into()), None).unwrap();
            output(&mut server);
        }
        assert_eq!(wants(&mut server), before);
    }
}

proptest! {
    #![proptest_config(cases(200))]

    /// Law 4: however far time jumps, all that is due is done in one go.
    #[test]
    fn after_a_tick_the_next_wake_is_later(
        dialect in prop::sample::select(vec![Dialect::V1, Dialect::V2]),
        jumps in prop::collection::vec(0_u64..30_000, 1..12),
        timeouts in prop::collection::vec(0_u64..30_000, 0..5),
        unread in any::<bool>(),
    ) {
        let (mut client, key) = client_with_conversation(dialect.version().major, Config::default());
        for timeout in timeouts {
            client.ask(START, key, Some(Duration::from_millis(timeout)), Bytes::new()).unwrap();
        }
        let mut now = START;
        for jump in jumps {
            if !unread {
                output(&mut client);
            }
            now = now.after(Duration::from_millis(jump));
            client.tick(now);
            let (_, wants) = drain(&mut client);
            prop_assert!(wants.wake.at().is_none_or(|at| at > now), "{:?} at {}", wants, now);
        }
    }
}

// ── 6: whose fault ──────────────────────────────────────────────────────────────────────────────────

proptest! {
    #![proptest_config(cases(200))]

    /// Law 6: input never becomes a misuse, commands never a violation, and a violation has one code.
    #[test]
    fn errors_say_whose_fault_it_is(
        beginning in beginning(),
        frames in prop::collection::vec(anything(), 0..20),
    ) {
        let mut connection = begin(beginning, Config::default());
        output(&mut connection);
        let told = feed(&mut connection, START, &frames.concat());
        prop_assert_eq!(connection.misuse(), None);
        if let Some(Event::Closed(CloseReason::Violation(violation))) = told.last() {
            let unread = matches!(violation, Violation::Unread { .. });
            if connection.side() == Side::Server && !unread {
                assert_connect_error(&mut connection, violation.code());
            }
        }
    }
}

// ── exactly one end for each request ────────────────────────────────────────────────────────────────

/// What became of everything that was sent, under a server that sends whatever it likes.
#[derive(Default)]
struct Ends {
    awaited: BTreeSet<(ConversationId, MessageId)>,
    requests: BTreeSet<(ConversationId, MessageId)>,
    sent: BTreeSet<(ConversationId, MessageId)>,
    ended: BTreeMap<(ConversationId, MessageId), u32>,
    /// Whose last participant is gone.
    failed: BTreeSet<ConversationId>,
    opened: BTreeSet<ConversationId>,
    gone: BTreeSet<ConversationId>,
}

impl Ends {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Reply(reply) => {
                let at = (reply.conversation, reply.answers);
                assert!(self.requests.contains(&at), "a reply to what was no request: {reply:?}");
                assert!(!self.ended.contains_key(&at), "a reply after the end: {reply:?}");
                if reply.last {
                    self.end(at);
                }
            }
            Event::Outcome { conversation, message, .. } => self.end((*conversation, *message)),
            Event::Exited { conversation, exit } if exit.goes_on => self.is_served(*conversation),
            Event::Joined { conversation, .. } => self.is_served(*conversation),
            Event::Exited { conversation, .. } | Event::Failed { conversation } => {
                assert!(self.failed.insert(*conversation));
            }
            Event::Opened { conversation, .. } => assert!(self.opened.insert(*conversation)),
            Event::Ended { conversation } | Event::Refused { conversation, .. } => {
                assert!(self.gone.insert(*conversation));
            }
            _ => {}
        }
    }

    fn is_served(&self, conversation: ConversationId) {
        assert!(!self.failed.contains(&conversation), "{conversation} goes on after its end");
    }

    fn end(&mut self, at: (ConversationId, MessageId)) {
        // Of a message that nobody awaits nothing is remembered, so a server may make up its failure.
        if self.awaited.contains(&at) {
            let times = self.ended.entry(at).or_default();
            *times += 1;
            assert_eq!(*times, 1, "a second end of {at:?}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Frame(Vec<u8>),
    Open,
    Ask(usize, Option<u64>),
    Tell(usize, bool),
    Abandon(usize),
    Close(usize),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => server_frame().prop_map(Step::Frame),
        2 => Just(Step::Open),
        6 => (0_usize..4, prop::option::of(1_u64..200)).prop_map(|(nth, timeout)| Step::Ask(nth, timeout)),
        3 => (0_usize..4, any::<bool>()).prop_map(|(nth, confirm)| Step::Tell(nth, confirm)),
        1 => (0_usize..10).prop_map(Step::Abandon),
        1 => (0_usize..4).prop_map(Step::Close),
        2 => (0_u64..100).prop_map(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(cases(400))]

    /// Promises Q1 and Q2, against a server that sends any valid frame at any time.
    #[test]
    fn every_request_has_exactly_one_end(
        dialect in prop::sample::select(vec![Dialect::V1, Dialect::V2]),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut client = client_of(dialect.version().major, Config::default());
        let mut keys = vec![client.open(START, "subject").unwrap()];
        let mut ends = Ends::default();
        let mut now = START;
        for step in steps {
            match step {
                Step::Frame(bytes) => prop_assert_eq!(client.receive(now, &bytes), bytes.len()),
                Step::Open => keys.extend(client.open(now, "subject").ok()),
                Step::Ask(nth, timeout) => {
                    let key = keys[nth % keys.len()];
                    let timeout = timeout.map(Duration::from_millis);
                    if let Ok(message) = client.ask(now, key, timeout, Bytes::new()) {
                        ends.awaited.insert((key, message));
                        ends.requests.insert((key, message));
                        prop_assert!(ends.sent.insert((key, message)));
                    }
                }
                Step::Tell(nth, confirm) => {
                    let key = keys[nth % keys.len()];
                    let expects = if confirm { Expects::Acceptance } else { Expects::Nothing };
                    if let Ok(message) = client.message(now, key, expects, Bytes::new()) {
                        if confirm && dialect == Dialect::V2 {
                            ends.awaited.insert((key, message));
                        }
                        prop_assert!(ends.sent.insert((key, message)));
                    }
                }
                Step::Abandon(nth) => {
                    if let Some(&(key, message)) = ends.awaited.iter().nth(nth)
                        && client.abandon(key, message).is_ok()
                    {
                        ends.end((key, message));
                    }
                }
                Step::Close(nth) => drop(client.close(now, keys[nth % keys.len()], None)),
                Step::Tick(by) => {
                    now = now.after(Duration::from_millis(by));
                    client.tick(now);
                }
            }
            output(&mut client);
            events(&mut client).iter().for_each(|event| ends.on_event(event));
        }
        client.link_lost(now, LinkError::Reset);
        events(&mut client).iter().for_each(|event| ends.on_event(event));
        for at in &ends.awaited {
            prop_assert_eq!(ends.ended.get(at), Some(&1), "{:?} has no end", at);
        }
    }
}

proptest! {
    #![proptest_config(cases(300))]

    /// A server's room for requests is given back by every way in which they can end.
    #[test]
    fn room_for_requests_is_never_lost(
        dialect in prop::sample::select(vec![Dialect::V1, Dialect::V2]),
        behaved in (well_behaved(1), well_behaved(2)),
        calls in prop::collection::vec(server_call(), 1..60),
    ) {
        let config = limited(|limits| limits.refusals.burst = 1_000_000);
        let mut player = Player::new(server_of(dialect.version().major, config.clone()), &config);
        player.play(Call::Receive(if dialect == Dialect::V1 { behaved.0 } else { behaved.1 }));
        for call in calls {
            player.play(call);
            player.poll();
            player.play(Call::TakeWrite(usize::MAX));
            player.play(Call::Wrote(player.connection.output_len()));
        }
        // What ends may have held up the opening of its id, and that of the next.
        for _ in 0..100 {
            (0..10).for_each(|_| player.poll());
            for key in (0..100).chain([u32::MAX.into(), u64::MAX]) {
                player.command(Call::Ended(key));
            }
        }
        player.connection.eof(player.latest);
        player.poll();
        prop_assert!(player.closed, "something is still owed");
    }
}

fn server_call() -> impl Strategy<Value = Call> {
    let key = || 0_u64..12;
    prop_oneof![
        12 => client_frame().prop_filter("ends the connection", |bytes| bytes[5] != 0).prop_map(Call::Receive),
        4 => key().prop_map(Call::Opened),
        1 => key().prop_map(Call::Refuse),
        4 => (key(), 0_usize..4, any::<bool>(), 0_usize..300)
            .prop_map(|(key, message, last, len)| Call::Reply(key, message, last, len)),
        3 => (key(), 0_usize..4, 0_u16..5).prop_map(|(key, message, kind)| Call::Outcome(key, message, kind)),
        1 => (key(), any::<bool>()).prop_map(|(key, goes_on)| Call::Exited(key, goes_on)),
        1 => key().prop_map(Call::Ended),
    ]
}
