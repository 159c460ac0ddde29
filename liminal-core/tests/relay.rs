//! A client that asks and a client that serves, with the bytes between them and a node: the one that serves
//! is a node of its own, which has dialled.

#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "only tests use it")]

use std::time::Duration;

use bytes::Bytes;
use liminal_core::{
    Answer, Call, ConversationKey, CrashPolicy, LinkId, Load, Node, NodeNext, Offer, Settings,
};
use liminal_proto::{
    CloseReason, Config, Connection, ConversationId, Event, ExitReason, Instant, LinkError, Next, Outcome,
    Pid, ReasonCode, StreamId, Wake,
};

/// A client with participants.
struct Responder {
    node: Node,
    /// Its connection, as it knows it, and as the other side does.
    near: LinkId,
    far: LinkId,
    /// Whether it answers what it is asked.
    works: bool,
    /// The conversation of its last call.
    called: Option<ConversationKey>,
    told: Vec<Event>,
    closed: Option<CloseReason>,
}

impl Responder {
    fn new(now: Instant, far: LinkId) -> Self {
        let mut node = Node::new(Settings::for_client());
        node.register("work".into(), Offer::Participant).unwrap();
        let near = node.dial(now, Config::default());
        Self { node, near, far, works: true, called: None, told: Vec::new(), closed: None }
    }

    fn client(&mut self) -> &mut Connection {
        self.node.client(self.near).unwrap()
    }

    fn turn(&mut self, now: Instant) {
        loop {
            match self.node.poll() {
                NodeNext::Run(ticket, invocation) => {
                    self.called = Some(invocation.conversation);
                    for answer in self.answers(&invocation.what) {
                        self.node.answer(now, ticket, answer);
                    }
                }
                NodeNext::Cancel(ticket) => self.node.answer(now, ticket, Answer::Done),
                NodeNext::Dialled(link, event) => {
                    assert_eq!(link, self.near);
                    self.told.push(event);
                }
                NodeNext::LinkClosed(_, reason) => self.closed = Some(reason),
                NodeNext::Wait(_) => return,
                other => panic!("{other:?}"),
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
            responder.client().serve(now, Some("work"), 8).unwrap();
        }
        this.run();
        this.told.clear();
        this
    }

    /// Everything moves until nothing does.
    fn run(&mut self) {
        loop {
            self.responders.iter_mut().for_each(|responder| responder.turn(self.now));
            let mut moved = self.carry();
            while let Next::Event(event) = self.asker.poll() {
                self.told.push(event);
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
        self.node.link_lost(self.now, dead.far, LinkError::Reset);
        self.run();
        self.node.remove(self.now, dead.far);
    }

    /// Moves what the clients want written to the node, and back; says how many bytes.
    fn carry(&mut self) -> usize {
        let (now, node) = (self.now, &mut self.node);
        let up = self.asker.take_write(usize::MAX);
        self.asker.wrote(node.receive(now, self.asks_on, &up));
        let down = node.take_write(self.asks_on, usize::MAX);
        node.wrote(self.asks_on, self.asker.receive(now, &down));
        let mut moved = up.len() + down.len();
        for Responder { node: client, near, far, .. } in &mut self.responders {
            let up = client.take_write(*near, usize::MAX);
            client.wrote(*near, node.receive(now, *far, &up));
            let down = node.take_write(*far, usize::MAX);
            node.wrote(*far, client.receive(now, *near, &down));
            moved += up.len() + down.len();
        }
        moved
    }
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
    assert_eq!(relay.responders[0].node.bus().load().conversations, 0);
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
    responder.node.exited(relay.now, key, Pid::new(1), crash.clone());
    let told = relay.told();
    assert!(matches!(&told[0], Event::Exited { exit, .. } if exit.reason == crash), "{told:?}");
    assert_eq!(relay.responders[0].node.bus().load().conversations, 0, "its place is free again");
}

#[test]
fn a_client_that_drains_ends_what_goes_on_and_is_withdrawn() {
    let mut relay = Relay::new(1, CrashPolicy::Fail);
    let conversation = relay.asker.open(relay.now, "work").unwrap();
    relay.told();
    let responder = &mut relay.responders[0];
    let Some(Event::Serving { offer }) = responder.told.pop() else { panic!("{:?}", responder.told) };
    responder.client().withdraw(relay.now, offer, true).unwrap();
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
    assert_eq!(*reason, ReasonCode::TOO_LARGE);
}

#[test]
fn what_the_client_has_begun_is_told_to_it_and_not_to_its_bus() {
    let mut relay = Relay::new(1, CrashPolicy::Fail);
    let offer = StreamId::new(1);
    let connected = |told: &[Event]| matches!(told[0], Event::Connected { .. });
    let responder = &mut relay.responders[0];
    assert!(connected(&responder.told) && responder.told[1..] == [Event::Serving { offer }]);
    responder.told.clear();
    // It asks on the connection on which it serves, and it is itself that answers.
    let now = relay.now;
    let conversation = responder.client().open(now, "work").unwrap();
    let message = responder.client().ask(now, conversation, None, Bytes::from_static(b"a")).unwrap();
    responder.client().ping(now).unwrap();
    relay.run();
    let told = std::mem::take(&mut relay.responders[0].told);
    let [Event::Pong, Event::Opened { pid: Some(pid), .. }, Event::Reply(reply)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((pid.get(), reply.answers, &reply.payload[..]), (1, message, &b"a0"[..]));
    assert_eq!(relay.responders[0].node.bus().counters().ignored_answers, 0);
}

#[test]
fn when_its_connection_is_lost_a_client_is_told_and_its_participants_leave() {
    let mut relay = Relay::new(1, CrashPolicy::Fail);
    let conversation = relay.asker.open(relay.now, "work").unwrap();
    relay.ask(conversation, "a");
    relay.told();
    let mut client = relay.responders.remove(0);
    client.node.link_lost(relay.now, client.near, LinkError::Reset);
    client.turn(relay.now);
    assert_eq!(client.closed, Some(CloseReason::Link(LinkError::Reset)));
    assert!(client.node.wants(client.near).is_some_and(|wants| wants.finished));
    client.node.remove(relay.now, client.near);
    assert_eq!(client.node.bus().load(), Load::default(), "its participant has left");
    assert!(client.node.client(client.near).is_none());
    // It dials again, and serves on another link.
    client.far = relay.node.accept(relay.now, Config::default());
    client.near = client.node.dial(relay.now, Config::default());
    relay.responders.push(client);
    relay.run();
    let now = relay.now;
    let offer = relay.responders[0].client().serve(now, Some("work"), 1).unwrap();
    relay.run();
    assert_eq!(relay.responders[0].told.last(), Some(&Event::Serving { offer }));
}

#[test]
fn a_link_that_was_accepted_has_no_client_on_this_side() {
    let mut relay = Relay::new(0, CrashPolicy::Fail);
    let local = relay.node.local(relay.now);
    assert!(relay.node.client(relay.asks_on).is_none() && relay.node.client(local).is_none());
}

#[test]
fn a_client_that_stops_says_goodbye_and_its_participants_were_withdrawn() {
    let mut relay = Relay::new(1, CrashPolicy::Fail);
    let conversation = relay.asker.open(relay.now, "work").unwrap();
    relay.told();
    let now = relay.now;
    relay.responders[0].node.stop(now);
    let told = relay.told();
    let [Event::Exited { conversation: of, exit }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((*of, &exit.reason), (conversation, &ExitReason::Withdrawn));
    assert_eq!(relay.responders[0].closed, Some(CloseReason::Local));
}
