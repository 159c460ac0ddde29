//! A client that asks and a client that serves, with the bytes between them and a node: the one that serves
//! runs a bus of its own for its participants.

#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "only tests use it")]

use std::time::Duration;

use bytes::Bytes;
use liminal_core::{
    Answer, Bus, BusNext, Call, ConversationKey, CrashPolicy, LinkId, Node, NodeNext, Offer, Settings,
};
use liminal_proto::{
    Config, Connection, ConversationId, Event, ExitReason, Instant, LinkError, Next, Outcome, Pid, Wake,
};

/// A client with participants: what its connection says of invited conversations goes to its bus, and what
/// that wants goes back.
struct Responder {
    connection: Connection,
    link: LinkId,
    bus: Bus,
    opener: LinkId,
    /// Whether it answers what it is asked.
    works: bool,
    /// The conversation of its last call.
    called: Option<ConversationKey>,
    told: Vec<Event>,
}

impl Responder {
    fn new(now: Instant, link: LinkId) -> Self {
        let mut bus = Bus::new(Settings { reply_time: Duration::from_secs(3600), ..Settings::default() });
        bus.register("work".into(), Offer::Participant).unwrap();
        let opener = bus.connect(now);
        let connection = Connection::client(now, Config::default());
        Self { connection, link, bus, opener, works: true, called: None, told: Vec::new() }
    }

    fn turn(&mut self, now: Instant) {
        while let Next::Event(event) = self.connection.poll() {
            match event {
                Event::Invite { .. } | Event::Message(_) | Event::Close { .. } | Event::Cancel { .. } => {
                    self.bus.event(now, self.opener, event);
                }
                event => self.told.push(event),
            }
        }
        loop {
            match self.bus.poll() {
                BusNext::Command(_, command) => command.apply(now, &mut self.connection).unwrap(),
                BusNext::Run(ticket, invocation) => {
                    self.called = Some(invocation.conversation);
                    let answers = self.answers(&invocation.what);
                    self.bus.answers(now, ticket, answers);
                }
                BusNext::Cancel(ticket) => self.bus.answer(now, ticket, Answer::Done),
                BusNext::Wait(_) => return,
                _ => {}
            }
        }
    }

    fn answers(&self, call: &Call) -> Vec<Answer> {
        match call {
            Call::Join { .. } => vec![Answer::Joined],
            Call::Message { .. } if !self.works => Vec::new(),
            Call::Message { redelivered, payload, .. } => {
                let reply = [&payload[..], &[b'0' + redelivered]].concat();
                vec![Answer::Reply(reply.into()), Answer::Done]
            }
            _ => vec![Answer::Done],
        }
    }
}

/// A node, a client that asks, and clients that serve.
struct Relay {
    node: Node,
    now: Instant,
    asker: Connection,
    asks_on: LinkId,
    responders: Vec<Responder>,
    told: Vec<Event>,
}

impl Relay {
    fn new(responders: usize, policy: CrashPolicy) -> Self {
        let now = Instant::ORIGIN;
        let mut node = Node::new(Settings::default());
        node.on_crash("work".into(), policy).unwrap();
        let asks_on = node.accept(now, Config::default());
        let asker = Connection::client(now, Config::default());
        let responders =
            (0..responders).map(|_| Responder::new(now, node.accept(now, Config::default()))).collect();
        let mut this = Self { node, now, asker, asks_on, responders, told: Vec::new() };
        this.run();
        for responder in &mut this.responders {
            responder.connection.serve(now, Some("work"), 8).unwrap();
        }
        this.run();
        this.told.clear();
        this
    }

    /// Everything moves until nothing does.
    fn run(&mut self) {
        loop {
            let mut moved = carry(self.now, &mut self.node, self.asks_on, &mut self.asker);
            while let Next::Event(event) = self.asker.poll() {
                self.told.push(event);
            }
            for responder in &mut self.responders {
                responder.turn(self.now);
                moved += carry(self.now, &mut self.node, responder.link, &mut responder.connection);
            }
            loop {
                match self.node.poll() {
                    NodeNext::Wait(_) => break,
                    NodeNext::Run(..) => panic!("nobody here"),
                    _ => moved += 1,
                }
            }
            if moved == 0 {
                return;
            }
        }
    }

    fn ask(&mut self, conversation: ConversationId, payload: &'static str) {
        let payload = Bytes::from_static(payload.as_bytes());
        self.asker.ask(self.now, conversation, Some(Duration::from_secs(5)), payload).unwrap();
    }

    fn told(&mut self) -> Vec<Event> {
        self.run();
        std::mem::take(&mut self.told)
    }

    /// The connection of a client that serves is no more.
    fn kill(&mut self, responder: usize) {
        let dead = self.responders.remove(responder);
        self.node.link_lost(self.now, dead.link, LinkError::Reset);
        self.run();
        self.node.remove(self.now, dead.link);
    }
}

/// Moves what one side wants written to the other; says how many bytes.
fn carry(now: Instant, node: &mut Node, link: LinkId, client: &mut Connection) -> usize {
    let up = client.take_write(usize::MAX);
    assert_eq!(node.receive(now, link, &up), up.len());
    client.wrote(up.len());
    let down = node.take_write(link, usize::MAX);
    assert_eq!(client.receive(now, &down), down.len());
    node.wrote(link, down.len());
    up.len() + down.len()
}

#[test]
fn a_client_asks_and_another_answers() {
    let mut relay = Relay::new(1, CrashPolicy::Fail);
    let conversation = relay.asker.open(relay.now, "work").unwrap();
    relay.ask(conversation, "a");
    relay.ask(conversation, "b");
    let told = relay.told();
    let replies: Vec<&Bytes> = told
        .iter()
        .filter_map(|event| if let Event::Reply(reply) = event { Some(&reply.payload) } else { None })
        .collect();
    assert_eq!(replies, ["a0", "b0"]);
    assert_eq!(told[0], Event::Opened { conversation, pid: Some(Pid::new(1)) });
    relay.asker.close(relay.now, conversation, None).unwrap();
    assert_eq!(relay.told(), [Event::Ended { conversation }]);
    let load = relay.node.bus().load();
    assert_eq!((load.conversations, load.held_bytes, load.requests), (0, 0, 0));
    assert_eq!(relay.responders[0].bus.load().conversations, 0);
    assert!(matches!(relay.node.poll(), NodeNext::Wait(Wake::At(..))), "keepalive alone");
}

#[test]
fn the_death_of_a_connection_is_told_to_those_who_wait_for_its_participants() {
    let mut relay = Relay::new(1, CrashPolicy::Fail);
    relay.responders[0].works = false;
    let conversation = relay.asker.open(relay.now, "work").unwrap();
    relay.ask(conversation, "a");
    relay.told();
    relay.kill(0);
    let told = relay.told();
    let Event::Exited { exit, .. } = &told[0] else { panic!("{told:?}") };
    assert_eq!((exit.pid, &exit.reason), (Pid::new(1), &ExitReason::ConnectionLost));
    assert!(matches!(told[1], Event::Outcome { outcome: Outcome::Exited, .. }), "{told:?}");
}

#[test]
fn what_a_dead_connection_left_unanswered_is_answered_by_the_next() {
    let mut relay = Relay::new(2, CrashPolicy::RouteToNext);
    relay.responders[0].works = false;
    let conversation = relay.asker.open(relay.now, "work").unwrap();
    relay.ask(conversation, "a");
    relay.told();
    relay.kill(0);
    let told = relay.told();
    assert!(matches!(&told[0], Event::Exited { exit, .. } if exit.goes_on), "{told:?}");
    assert!(matches!(&told[1], Event::Joined { pid, .. } if pid.get() == 2), "{told:?}");
    assert!(matches!(&told[2], Event::Reply(reply) if reply.payload == "a1"), "{told:?}");
}

#[test]
fn a_crash_of_a_participant_is_told_with_what_it_said() {
    let mut relay = Relay::new(1, CrashPolicy::Fail);
    relay.responders[0].works = false;
    let conversation = relay.asker.open(relay.now, "work").unwrap();
    relay.ask(conversation, "a");
    relay.told();
    let responder = &mut relay.responders[0];
    let (key, crash) = (responder.called.unwrap(), ExitReason::Crashed { text: "boom".into() });
    responder.bus.exited(relay.now, key, Pid::new(1), crash.clone());
    let told = relay.told();
    assert!(matches!(&told[0], Event::Exited { exit, .. } if exit.reason == crash), "{told:?}");
    assert_eq!(relay.responders[0].bus.load().conversations, 0, "its place is free again");
}

#[test]
fn a_client_that_drains_ends_what_goes_on_and_is_withdrawn() {
    let mut relay = Relay::new(1, CrashPolicy::Fail);
    let conversation = relay.asker.open(relay.now, "work").unwrap();
    relay.told();
    let responder = &mut relay.responders[0];
    let Some(Event::Serving { offer }) = responder.told.pop() else { panic!("{:?}", responder.told) };
    responder.connection.withdraw(relay.now, offer, true).unwrap();
    relay.ask(conversation, "a");
    assert!(matches!(&relay.told()[0], Event::Reply(reply) if reply.payload == "a0"));
    relay.responders[0].told.clear();
    relay.asker.close(relay.now, conversation, None).unwrap();
    relay.told();
    assert_eq!(relay.responders[0].told, [Event::Withdrawn { offer }]);
}

#[test]
fn a_message_that_its_connection_can_never_carry_is_refused() {
    let mut relay = Relay::new(1, CrashPolicy::Fail);
    let conversation = relay.asker.open(relay.now, "work").unwrap();
    relay.told();
    // As long as it may be without a time: that of the delivery is four bytes more.
    let payload = Bytes::from(vec![7; (1 << 20) - 8]);
    relay.asker.ask(relay.now, conversation, None, payload).unwrap();
    let told = relay.told();
    let [Event::Outcome { outcome: Outcome::Refused { reason, .. }, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(*reason, liminal_proto::ReasonCode::TOO_LARGE);
}
