//! A node and the clients of its connections, wired in memory.

#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "only tests use it")]

mod kit;

use std::time::Duration;

use bytes::Bytes;
use kit::{secs, tell_command};
use liminal_core::{
    Answer, Call, ConversationKey, CrashPolicy, LinkId, Load, Node, NodeNext, NotLocal, Offer, Settings,
    Ticket,
};
use liminal_proto::wire::Dialect;
use liminal_proto::{
    CloseReason, CommandError, Config, Connection, ConversationId, Event, ExitReason, Expects, Instant,
    Limits, LinkError, Next, Outcome, Pid, ReasonCode, Wake,
};

struct Wire {
    node: Node,
    now: Instant,
    client: Connection,
    link: LinkId,
    /// Calls that wait for their answer.
    calls: Vec<(Ticket, Call)>,
    /// Who was called last, and where.
    called: Option<(ConversationKey, Pid)>,
    closed: Option<CloseReason>,
}

impl Wire {
    fn new(dialect: Dialect) -> Self {
        Self::with(Settings::default(), Config { max_dialect: dialect, ..Config::default() })
    }

    fn with(settings: Settings, config: Config) -> Self {
        let now = Instant::ORIGIN;
        let mut node = Node::new(settings);
        node.register("echo".into(), Offer::Participant).unwrap();
        let link = node.accept(now, config.clone());
        let client = Connection::client(now, config);
        let mut wire = Self { node, now, client, link, calls: Vec::new(), called: None, closed: None };
        assert!(matches!(wire.turn()[..], [Event::Connected { .. }]));
        wire
    }

    /// Everything moves until nothing does. What the client was told.
    fn turn(&mut self) -> Vec<Event> {
        let mut told = Vec::new();
        loop {
            let moved = self.upload() + self.run() + self.download();
            let before = told.len();
            while let Next::Event(event) = self.client.poll() {
                told.push(event);
            }
            if moved == 0 && told.len() == before {
                return told;
            }
        }
    }

    fn upload(&mut self) -> usize {
        let bytes = self.client.take_write(usize::MAX);
        assert_eq!(self.node.receive(self.now, self.link, &bytes), bytes.len());
        self.client.wrote(bytes.len());
        bytes.len()
    }

    fn download(&mut self) -> usize {
        let bytes = self.node.take_write(self.link, usize::MAX);
        if bytes.is_empty() {
            return 0;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let taken = self.client.receive(self.now, rest);
            rest = &rest[taken..];
            assert!(taken > 0, "the client takes nothing");
        }
        self.node.wrote(self.link, bytes.len());
        bytes.len()
    }

    fn run(&mut self) -> usize {
        for steps in 0.. {
            match self.node.poll() {
                NodeNext::Run(ticket, call) => {
                    self.called = Some((call.conversation, call.pid));
                    self.calls.push((ticket, call.what));
                }
                NodeNext::LinkClosed(link, reason) => {
                    assert_eq!(link, self.link);
                    assert!(self.closed.replace(reason).is_none(), "closed twice");
                }
                NodeNext::Wait(_) => return steps,
                _ => {}
            }
        }
        0
    }

    fn answer(&mut self, answers: impl IntoIterator<Item = Answer>) -> Vec<Event> {
        let (ticket, _) = self.calls.remove(0);
        for answer in answers {
            self.node.answer(self.now, ticket, answer);
        }
        self.turn()
    }

    /// Everybody who is asked to joins.
    fn join_all(&mut self) {
        for (ticket, call) in std::mem::take(&mut self.calls) {
            assert!(matches!(call, Call::Join { .. }));
            self.node.answer(self.now, ticket, Answer::Joined);
        }
        self.turn();
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.node.tick(self.now);
        self.client.tick(self.now);
    }
}

fn reply(len: usize) -> Answer {
    Answer::Reply(Bytes::from(vec![7; len]).into())
}

#[test]
fn a_question_goes_through_and_an_exit_comes_back() {
    let mut wire = Wire::new(Dialect::V2);
    let conversation = wire.client.open(wire.now, "echo").unwrap();
    wire.client.ask(wire.now, conversation, None, "hello").unwrap();
    assert_eq!(wire.turn(), []);
    let [Event::Opened { pid: Some(pid), .. }] = wire.answer([Answer::Joined])[..] else { panic!() };
    let told = wire.answer([reply(3), Answer::Done]);
    assert!(matches!(&told[..], [Event::Reply(reply)] if reply.last && reply.payload.len() == 3), "{told:?}");
    wire.client.ask(wire.now, conversation, None, "again").unwrap();
    wire.turn();
    let told = wire.answer([kit::crash("boom")]);
    let [Event::Exited { exit, .. }, Event::Outcome { outcome: Outcome::Exited, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((exit.pid, exit.record.get()), (pid, 5));
    wire.client.close(wire.now, conversation, None).unwrap();
    assert!(matches!(wire.turn()[..], [Event::Ended { .. }]));
    assert_eq!(wire.node.bus().load(), Load { links: 1, ..Load::default() });
}

#[test]
fn the_same_on_a_1_0_link() {
    let mut wire = Wire::new(Dialect::V1);
    let conversation = wire.client.open(wire.now, "echo").unwrap();
    wire.client.ask(wire.now, conversation, None, "hello").unwrap();
    wire.turn();
    wire.answer([Answer::Joined]);
    let told = wire.answer([reply(3), Answer::Done]);
    assert!(matches!(&told[..], [Event::Reply(reply)] if reply.payload.len() == 3), "{told:?}");
    wire.client.ask(wire.now, conversation, None, "again").unwrap();
    wire.turn();
    let told = wire.answer([kit::crash("boom")]);
    assert!(!told.is_empty(), "the crash surfaces");
}

fn routed(dialect: Dialect) -> (Wire, ConversationId) {
    let mut wire = Wire::new(dialect);
    wire.node.on_crash("echo".into(), CrashPolicy::RouteToNext).unwrap();
    let conversation = wire.client.open(wire.now, "echo").unwrap();
    wire.client.ask(wire.now, conversation, None, "hello").unwrap();
    wire.turn();
    wire.answer([Answer::Joined]);
    (wire, conversation)
}

#[test]
fn a_conversation_goes_on_in_both_versions() {
    for dialect in [Dialect::V2, Dialect::V1] {
        let (mut wire, _) = routed(dialect);
        let told = wire.answer([kit::crash("boom")]);
        match (dialect, &told[..]) {
            (Dialect::V2, [Event::Exited { exit, .. }]) => assert!(exit.goes_on),
            (Dialect::V1, []) => {}
            _ => panic!("{told:?}"),
        }
        let told = wire.answer([Answer::Joined]);
        assert_eq!(matches!(told[..], [Event::Joined { .. }]), dialect == Dialect::V2, "{told:?}");
        assert!(matches!(wire.calls[..], [(_, Call::Message { redelivered: 1, .. })]));
        let told = wire.answer([reply(3), Answer::Done]);
        assert!(matches!(&told[..], [Event::Reply(reply)] if reply.payload.len() == 3), "{told:?}");
    }
}

#[test]
fn a_conversation_fails_in_both_versions_when_nobody_joins_in_time() {
    for dialect in [Dialect::V2, Dialect::V1] {
        let (mut wire, conversation) = routed(dialect);
        wire.answer([kit::crash("boom")]);
        let told = wire.answer([Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: None }]);
        assert_eq!(told, [], "{dialect:?}");
        // Nobody told the time meanwhile; the deadline comes before another try.
        wire.now = wire.now.after(secs(5));
        wire.node.tick(wire.now);
        let told = wire.turn();
        let [.., Event::Outcome { outcome: Outcome::Exited, .. }] = &told[..] else { panic!("{told:?}") };
        assert_eq!(matches!(told[0], Event::Failed { .. }), dialect == Dialect::V2, "{told:?}");
        let rejected = wire.client.ask(wire.now, conversation, None, "again").unwrap_err();
        assert_eq!(rejected.reason, CommandError::Exited(conversation));
        assert_eq!(wire.node.bus().load(), Load { links: 1, conversations: 1, ..Load::default() });
    }
}

#[test]
fn a_reply_that_its_connection_can_never_carry_is_refused_to_the_asker() {
    let mut wire = Wire::new(Dialect::V2);
    let conversation = wire.client.open(wire.now, "echo").unwrap();
    wire.client.ask(wire.now, conversation, None, "hello").unwrap();
    wire.turn();
    wire.answer([Answer::Joined]);
    let told = wire.answer([reply(2 << 20), Answer::Done]);
    let [Event::Outcome { outcome: Outcome::Refused { reason, .. }, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(*reason, ReasonCode::TOO_LARGE);
}

#[test]
fn replies_without_room_wait_in_order_and_no_call_is_started_meanwhile() {
    let limits = Limits { output_soft_max: 4096, output_hard_max: 1 << 20, ..Limits::default() };
    let mut wire = Wire::with(Settings::default(), Config { limits, ..Config::default() });
    let slow = wire.client.open(wire.now, "echo").unwrap();
    let other = wire.client.open(wire.now, "echo").unwrap();
    wire.turn();
    wire.answer([Answer::Joined]);
    wire.answer([Answer::Joined]);
    for conversation in [slow, slow, other] {
        wire.client.ask(wire.now, conversation, None, "x").unwrap();
    }
    wire.turn();
    assert_eq!(wire.calls.len(), 2);
    // Nobody reads: the first parts fill the output, the rest waits.
    let (ticket, _) = wire.calls.remove(0);
    for _ in 0..3 {
        wire.node.answer(wire.now, ticket, Answer::Part(Bytes::from(vec![1; 3000]).into()));
    }
    wire.node.answer(wire.now, ticket, reply(3000));
    wire.node.answer(wire.now, ticket, Answer::Done);
    let before = wire.calls.len();
    wire.run();
    assert_eq!(wire.calls.len(), before, "the second request waits");
    assert!(!wire.node.bus().has_room(wire.calls[0].0));
    // An exit in another conversation is not behind them.
    let (ticket, _) = wire.calls.remove(0);
    wire.node.answer(wire.now, ticket, kit::crash("boom"));
    wire.run();
    let told = wire.turn();
    let kinds: Vec<_> = told
        .iter()
        .map(|event| match event {
            Event::Reply(reply) => (reply.conversation, if reply.last { "reply" } else { "part" }),
            Event::Exited { conversation, .. } => (*conversation, "exited"),
            Event::Outcome { conversation, .. } => (*conversation, "outcome"),
            other => panic!("{other:?}"),
        })
        .collect();
    let of_slow: Vec<_> = kinds.iter().filter(|(id, _)| *id == slow).map(|(_, kind)| *kind).collect();
    assert_eq!(of_slow, ["part", "part", "part", "reply"]);
    let exit = kinds.iter().position(|it| *it == (other, "exited")).unwrap();
    let end = kinds.iter().position(|it| *it == (slow, "reply")).unwrap();
    assert!(exit < end, "{kinds:?}");
    assert_eq!(wire.calls.len(), 1, "and now the second request was delivered");
}

#[test]
fn what_waits_for_room_is_never_overtaken_by_what_would_find_some() {
    let limits = Limits { output_soft_max: 4096, ..Limits::default() };
    let mut wire = Wire::with(Settings::default(), Config { limits, ..Config::default() });
    let conversation = wire.client.open(wire.now, "echo").unwrap();
    wire.client.ask(wire.now, conversation, None, "x").unwrap();
    wire.turn();
    wire.answer([Answer::Joined]);
    let (ticket, _) = wire.calls.remove(0);
    let part = |len| Answer::Part(Bytes::from(vec![1; len]).into());
    for _ in 0..3 {
        wire.node.answer(wire.now, ticket, part(3000));
    }
    wire.run();
    wire.download();
    // Now the second has gone out, and there is room for a small one but not for the third.
    wire.node.answer(wire.now, ticket, part(10));
    wire.run();
    wire.node.answer(wire.now, ticket, reply(20));
    let told = wire.turn();
    let lens = told.iter().map(|event| match event {
        Event::Reply(reply) => reply.payload.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(lens.collect::<Vec<_>>(), [3000, 3000, 3000, 10, 20]);
    wire.node.answer(wire.now, ticket, Answer::Done);
    wire.client.ask(wire.now, conversation, None, "y").unwrap();
    wire.turn();
    assert_eq!(wire.answer([reply(30)]).len(), 1, "and nothing waits when there is room again");
}

#[test]
fn one_write_that_makes_room_is_enough_for_the_calls_that_waited() {
    let limits = Limits { output_soft_max: 4096, ..Limits::default() };
    let mut wire = Wire::with(Settings::default(), Config { limits, ..Config::default() });
    let conversation = wire.client.open(wire.now, "echo").unwrap();
    for _ in 0..2 {
        wire.client.ask(wire.now, conversation, None, "x").unwrap();
    }
    wire.turn();
    wire.answer([Answer::Joined]);
    let (ticket, _) = wire.calls.remove(0);
    for answer in [Answer::Part(Bytes::from(vec![1; 3000]).into()), reply(3000), Answer::Done] {
        wire.node.answer(wire.now, ticket, answer);
    }
    wire.run();
    assert!(wire.calls.is_empty(), "the second request waits");
    wire.node.wrote(wire.link, 0);
    wire.run();
    assert!(wire.calls.is_empty(), "and a write that makes no room changes nothing");
    wire.download();
    wire.run();
    assert_eq!(wire.calls.len(), 1);
}

#[test]
fn whoever_tells_the_time_lets_it_pass_for_all() {
    type Tell = fn(&mut Wire, Instant, (Ticket, LinkId));
    let tells: [(&str, Tell); 14] = [
        ("accept", |wire, at, _| _ = wire.node.accept(at, Config::default())),
        ("local", |wire, at, _| _ = wire.node.local(at)),
        ("receive", |wire, at, _| {
            let bytes = wire.client.take_write(usize::MAX);
            assert_eq!(wire.node.receive(at, wire.link, &bytes), bytes.len());
        }),
        ("read_done", |wire, at, _| {
            let bytes = wire.client.take_write(usize::MAX);
            wire.node.read_space(wire.link).unwrap()[..bytes.len()].copy_from_slice(&bytes);
            wire.node.read_done(at, wire.link, bytes.len());
        }),
        ("eof", |wire, at, _| wire.node.eof(at, wire.link)),
        ("link_lost", |wire, at, _| wire.node.link_lost(at, wire.link, LinkError::Reset)),
        ("remove", |wire, at, _| wire.node.remove(at, wire.link)),
        ("answer", |wire, at, (ticket, _)| wire.node.answer(at, ticket, reply(1))),
        ("exited", |wire, at, _| {
            let (key, _) = wire.called.unwrap();
            wire.node.exited(at, key, Pid::new(99), ExitReason::Normal);
        }),
        ("tick", |wire, at, _| wire.node.tick(at)),
        ("stop", |wire, at, _| wire.node.stop(at)),
        ("open", |wire, at, (_, opener)| _ = wire.node.open(at, opener, "echo").unwrap()),
        ("ask", |wire, at, (_, opener)| {
            wire.node.ask(at, opener, ConversationId::new(1), None, "y").unwrap();
        }),
        ("close", |wire, at, (_, opener)| {
            wire.node.close(at, opener, ConversationId::new(1)).unwrap();
        }),
    ];
    for (what, tell) in tells {
        let mut wire = Wire::new(Dialect::V2);
        let opener = wire.node.local(wire.now);
        let conversation = wire.node.open(wire.now, opener, "echo").unwrap();
        wire.node.ask(wire.now, opener, conversation, None, "x").unwrap();
        wire.turn();
        wire.answer([Answer::Joined]);
        let (ticket, _) = wire.calls.remove(0);
        wire.client.open(wire.now, "echo").unwrap();
        tell(&mut wire, Instant::ORIGIN.after(secs(5)), (ticket, opener));
        let mut told = Vec::new();
        loop {
            match wire.node.poll() {
                NodeNext::Local(_, command) => told.push(tell_command(&command)),
                NodeNext::Wait(_) => break,
                _ => {}
            }
        }
        assert!(told.iter().any(|it| it == "c1 m1 deadline"), "{what}: {told:?}");
    }
}

#[test]
fn bytes_may_be_read_into_the_space_of_a_connection_itself() {
    let mut wire = Wire::new(Dialect::V2);
    wire.client.open(wire.now, "echo").unwrap();
    let bytes = wire.client.take_write(usize::MAX);
    let room = wire.node.input_room(wire.link);
    let space = wire.node.read_space(wire.link).unwrap();
    assert!(space.len() >= bytes.len());
    space[..bytes.len()].copy_from_slice(&bytes);
    wire.node.read_done(wire.now, wire.link, bytes.len());
    assert_eq!(wire.node.input_room(wire.link), room - bytes.len());
    wire.run();
    assert!(matches!(wire.calls[..], [(_, Call::Join { .. })]), "{:?}", wire.calls);
    assert_eq!(wire.node.input_room(wire.link), room);
    wire.node.remove(wire.now, wire.link);
    assert_eq!((wire.node.input_room(wire.link), wire.node.read_space(wire.link)), (0, None));
}

#[test]
fn an_exit_that_no_call_told_of_comes_back() {
    let mut wire = Wire::new(Dialect::V2);
    let conversation = wire.client.open(wire.now, "echo").unwrap();
    wire.turn();
    wire.answer([Answer::Joined]);
    let (key, pid) = wire.called.unwrap();
    wire.node.exited(wire.now, key, pid, ExitReason::Signal { signal: 9 });
    let [Event::Exited { conversation: of, exit }] = &wire.turn()[..] else { panic!("no exit") };
    assert_eq!((*of, &exit.reason), (conversation, &ExitReason::Signal { signal: 9 }));
}

#[test]
fn a_lost_transport_ends_its_conversations_and_a_lost_node_is_seen() {
    let mut wire = Wire::new(Dialect::V2);
    wire.client.open(wire.now, "echo").unwrap();
    wire.turn();
    wire.answer([Answer::Joined]);
    wire.node.link_lost(wire.now, wire.link, LinkError::Reset);
    wire.turn();
    assert_eq!(wire.closed, Some(CloseReason::Link(LinkError::Reset)));
    assert!(matches!(wire.calls[0].1, Call::Leave { .. }));
    wire.answer([Answer::Done]);
    assert!(wire.node.wants(wire.link).unwrap().finished);
    wire.node.remove(wire.now, wire.link);
    assert_eq!(wire.node.wants(wire.link), None);
    assert_eq!(wire.node.bus().load(), Load::default());
    assert_eq!(wire.node.poll(), NodeNext::Wait(Wake::Never));
}

#[test]
fn a_link_that_is_removed_is_gone_at_once() {
    let mut wire = Wire::new(Dialect::V2);
    wire.client.open(wire.now, "echo").unwrap();
    wire.turn();
    wire.answer([Answer::Joined]);
    wire.node.remove(wire.now, wire.link);
    wire.run();
    wire.answer([Answer::Done]);
    assert_eq!(wire.node.bus().load(), Load::default());
    assert_eq!(wire.node.poll(), NodeNext::Wait(Wake::Never));
}

#[test]
fn what_was_registered_with_a_node_can_be_taken_back() {
    let mut wire = Wire::new(Dialect::V2);
    let offer = wire.node.register("brief".into(), Offer::Participant).unwrap();
    assert_eq!(wire.node.unregister(offer), Some("brief".into()));
    assert_eq!(wire.node.unregister(offer), None);
    wire.client.open(wire.now, "brief").unwrap();
    assert!(matches!(wire.turn()[..], [Event::Refused { reason: ReasonCode::NO_PARTICIPANT, .. }]));
}

#[test]
fn a_stop_says_goodbye_to_all() {
    let mut wire = Wire::new(Dialect::V2);
    wire.node.stop(wire.now);
    let told = wire.turn();
    assert!(matches!(told[..], [Event::Closed(_)]), "{told:?}");
    assert!(wire.closed.is_some());
    assert!(wire.node.wants(wire.link).unwrap().finished);
}

#[test]
fn a_wake_is_always_later_than_the_tick_before_it() {
    let mut wire = Wire::new(Dialect::V2);
    let conversation = wire.client.open(wire.now, "echo").unwrap();
    wire.client.ask(wire.now, conversation, None, "x").unwrap();
    wire.turn();
    let mut wakes = 0;
    loop {
        let next = wire.node.poll();
        let NodeNext::Wait(wake) = next else { continue };
        let Some(at) = wake.at() else { break };
        assert!(at > wire.now, "{wake:?} at {}", wire.now);
        wakes += 1;
        wire.pass(at.since(wire.now));
        if wire.closed.is_some() || wakes > 50 {
            break;
        }
        wire.run();
    }
    assert!(wire.closed.is_some(), "a client that says nothing is given up, after {wakes} wakes");
}

#[test]
fn an_opener_in_the_same_program() {
    let mut node = Node::new(Settings::default());
    let now = Instant::ORIGIN;
    node.register("log".into(), Offer::TraceOnly).unwrap();
    let link = node.local(now);
    let conversation = node.open(now, link, "log").unwrap();
    node.message(now, link, conversation, Expects::Acceptance, "a").unwrap();
    node.ask(now, link, conversation, Some(secs(1)), "b").unwrap();
    node.close(now, link, conversation).unwrap();
    let mut told = Vec::new();
    while let NodeNext::Local(of, command) = node.poll() {
        assert_eq!(of, link);
        told.push(tell_command(&command));
    }
    assert_eq!(
        told,
        ["c1 opened", "c1 m1 accepted r1", "c1 m2 refused: nobody serves the subject", "c1 ended"]
    );
    node.remove(now, link);
    assert_eq!(node.open(now, link, "log"), Err(NotLocal(link)));
    assert_eq!(node.ask(now, link, conversation, None, "c"), Err(NotLocal(link)));
    assert_eq!(node.close(now, link, conversation), Err(NotLocal(link)));
    assert_eq!(node.bus().load().links, 1, "until the next poll");
    assert_eq!(node.poll(), NodeNext::Wait(Wake::Never));
    assert_eq!(node.bus().load(), Load::default());
}

#[test]
fn ten_thousand_ticks_without_traffic_wake_nobody() {
    let config = Config { keepalive: None, ..Config::default() };
    let mut wire = Wire::with(Settings::default(), config);
    for _ in 0..100 {
        wire.client.open(wire.now, "echo").unwrap();
    }
    wire.turn();
    let load = wire.node.bus().load();
    assert_eq!(load.conversations, 100);
    for minute in 1..=10_000 {
        wire.node.tick(Instant::ORIGIN.after(secs(60 * minute)));
        assert_eq!(wire.node.poll(), NodeNext::Wait(Wake::Never));
        assert!(!wire.node.wants(wire.link).unwrap().write);
    }
    assert_eq!(wire.node.bus().load(), load);
}

#[test]
fn the_end_of_a_thousand_conversations_delays_nobody() {
    let mut wire = Wire::new(Dialect::V2);
    for _ in 0..1000 {
        wire.client.open(wire.now, "echo").unwrap();
    }
    wire.turn();
    wire.join_all();
    let lost = wire.link;
    wire.link = wire.node.accept(wire.now, Config::default());
    wire.client = Connection::client(wire.now, Config::default());
    assert!(matches!(wire.turn()[..], [Event::Connected { .. }]));
    wire.client.open(wire.now, "echo").unwrap();
    wire.run();
    wire.node.link_lost(wire.now, lost, LinkError::Reset);
    wire.upload();
    let mut left = 0;
    loop {
        match wire.node.poll() {
            NodeNext::Run(_, invocation) if matches!(invocation.what, Call::Leave { .. }) => left += 1,
            NodeNext::Run(..) => break,
            NodeNext::Wait(_) => panic!("the neighbour is not served"),
            _ => {}
        }
    }
    assert!(left <= 100, "it waits for {left} of a thousand to leave");
    let waited = wire.node.longest_wait(wire.link).unwrap();
    assert!(waited <= 100, "{waited} turns");
}

#[test]
fn replies_that_find_no_room_are_bounded() {
    const BYTES_MAX: usize = 1 << 20;
    let mut wire = Wire::new(Dialect::V2);
    wire.node = std::mem::replace(&mut wire.node, Node::new(Settings::default()))
        .with_held_reply_bytes_max(BYTES_MAX);
    let conversations: Vec<_> = (0..200).map(|_| wire.client.open(wire.now, "echo").unwrap()).collect();
    wire.turn();
    wire.join_all();
    for conversation in conversations {
        wire.client.ask(wire.now, conversation, None, "much").unwrap();
    }
    wire.upload();
    wire.run();
    // All of them were called before the first of them replies, and the client reads nothing.
    let calls = std::mem::take(&mut wire.calls);
    assert_eq!(calls.len(), 200);
    for (ticket, _) in calls {
        wire.node.answer(wire.now, ticket, Answer::Reply(vec![7; 60_000].into()));
        wire.node.answer(wire.now, ticket, Answer::Done);
        wire.run();
        let held = wire.node.held_reply_bytes(wire.link);
        assert!(held <= BYTES_MAX, "{held} bytes of replies wait");
    }
    assert_eq!(wire.closed, Some(CloseReason::Link(LinkError::TimedOut)));
    assert_eq!(wire.node.connection(wire.link).unwrap().output_len(), 0);
}

#[test]
fn what_a_connection_wants_is_told_when_it_is_something_else_and_once() {
    let now = Instant::ORIGIN;
    let mut node = Node::new(Settings::default());
    let [one, other] = [node.accept(now, Config::default()), node.accept(now, Config::default())];
    let mut client = Connection::client(now, Config::default());
    settle(&mut node);
    // Both are new: everything is news.
    assert_eq!(changed(&mut node), [(one, false), (other, false)]);

    let hello = client.take_write(usize::MAX);
    node.receive(now, one, &hello);
    settle(&mut node);
    // Nobody has asked for some time, and of all that one connection wanted meanwhile the last counts.
    assert_eq!(changed(&mut node), [(one, true)]);
    settle(&mut node);
    assert_eq!(changed(&mut node), []);

    let len = node.take_write(one, usize::MAX).len();
    node.wrote(one, len);
    node.link_lost(now, other, LinkError::Reset);
    settle(&mut node);
    assert_eq!(node.wants(other).map(|wants| wants.finished), Some(true));
    assert_eq!(changed(&mut node), [(one, false), (other, false)]);

    node.receive(now, one, &[0xff]);
    node.link_lost(now, one, LinkError::Reset);
    settle(&mut node);
    node.remove(now, one);
    // Nothing is told of what is no more.
    assert_eq!(changed(&mut node), []);
}

fn settle(node: &mut Node) {
    while !matches!(node.poll(), NodeNext::Wait(_)) {}
}

/// Each connection that wants something else than it was told to, and whether it wants to write.
fn changed(node: &mut Node) -> Vec<(LinkId, bool)> {
    std::iter::from_fn(|| node.poll_wants()).map(|(link, wants)| (link, wants.write)).collect()
}

#[test]
fn a_client_of_a_node_is_told_that_there_is_credit_for_what_it_has_begun() {
    let now = Instant::ORIGIN;
    let limits = Limits { conversation_window: 300, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let (mut server, mut node) = (Node::new(Settings::default()), Node::new(Settings::for_client()));
    server.register("echo".into(), Offer::Participant).unwrap();
    let (near, far) = (node.dial(now, config.clone()), server.accept(now, config));
    exchange(&mut node, near, &mut server, far);

    let client = node.client(near).unwrap();
    let conversation = client.open(now, "echo").unwrap();
    client.message(now, conversation, Expects::Nothing, "one").unwrap();
    let rejected = client.message(now, conversation, Expects::Nothing, "another").unwrap_err();
    assert_eq!(rejected.reason, CommandError::NoCredit(Some(conversation)));

    let told = exchange(&mut node, near, &mut server, far);
    assert!(told.contains(&Event::Room { conversation: Some(conversation) }), "{told:?}");
    node.client(near).unwrap().message(now, conversation, Expects::Nothing, "another").unwrap();
}

/// Everything moves until nothing does, and participants do nothing with what they are given. What the client is
/// told.
fn exchange(node: &mut Node, near: LinkId, server: &mut Node, far: LinkId) -> Vec<Event> {
    let now = Instant::ORIGIN;
    let mut told = Vec::new();
    loop {
        loop {
            match server.poll() {
                NodeNext::Run(ticket, _) => server.answer(now, ticket, Answer::Done),
                NodeNext::Wait(_) => break,
                _ => {}
            }
        }
        loop {
            match node.poll() {
                NodeNext::Dialled(link, event) => {
                    assert_eq!(link, near);
                    told.push(event);
                }
                NodeNext::Wait(_) => break,
                _ => {}
            }
        }
        let (up, down) = (node.take_write(near, usize::MAX), server.take_write(far, usize::MAX));
        if up.is_empty() && down.is_empty() {
            return told;
        }
        node.wrote(near, server.receive(now, far, &up));
        server.wrote(far, node.receive(now, near, &down));
    }
}
