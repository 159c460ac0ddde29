//! Conversations that a server invites a participant of a client to, from end to end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use core::time::Duration;

use bytes::Bytes;
use liminal_proto::wire::{Body, flag};
use liminal_proto::{CommandError, Config, Event, Expects, Message, Outcome, ReasonCode, Reply, StreamId};

use support::pair::{Pair, Sizes};
use support::serving::*;
use support::*;

/// A server whose clients' conversations are served by a client.
struct Served {
    pair: Pair,
    /// All that either side was told since the last time that somebody looked.
    client: Vec<Event>,
    server: Vec<Event>,
}

impl Served {
    fn new(sizes: &[usize]) -> Self {
        let (written, read) = (Sizes::of(sizes), Sizes::of(sizes));
        let pair = Pair::new(Config::default(), Config::default(), written, read);
        let mut this = Self { pair, client: Vec::new(), server: Vec::new() };
        this.run();
        let offer = this.pair.client.serve(START, Some("work"), 8).unwrap();
        let subject = Some("work".to_owned());
        assert_eq!(this.run().1[..], [Event::Serve { offer, subject, capacity: 8 }]);
        this.pair.server.serving(START, offer).unwrap();
        assert_eq!(this.run().0[..], [Event::Serving { offer }]);
        this
    }

    /// What the client and the server are told until nothing moves any more.
    fn run(&mut self) -> (Vec<Event>, Vec<Event>) {
        let (client, server) = (&mut self.client, &mut self.server);
        self.pair.run(|_, event| client.push(event), |_, event| server.push(event));
        (std::mem::take(client), std::mem::take(server))
    }

    /// A participant joins conversation 2.
    fn join(&mut self) -> &mut Self {
        self.pair.server.invite(START, conversation(2), PID, "work").unwrap();
        let invited = Event::Invite { conversation: conversation(2), pid: PID, subject: "work".to_owned() };
        assert_eq!(self.run().0, [invited]);
        self.pair.client.opened(START, conversation(2), Some(PID)).unwrap();
        assert_eq!(self.run().1, [Event::Opened { conversation: conversation(2), pid: Some(PID) }]);
        self
    }

    fn deliver(&mut self, message: Message) {
        self.pair.server.deliver(START, message.clone()).unwrap();
        assert_eq!(self.run(), (vec![Event::Message(message)], vec![]));
    }
}

/// However the bytes move.
fn in_each_size(act: impl Fn(Served)) {
    for sizes in [&[usize::MAX][..], &[1], &[7, 1, 30]] {
        act(Served::new(sizes));
    }
}

/// P-7.52, P-7.53, P-7.54
#[test]
fn a_participant_joins_and_answers_in_parts_and_by_outcomes() {
    in_each_size(|mut served| {
        served.join();
        let timeout = Some(Duration::from_secs(3));
        served.deliver(Message { timeout, redelivered: 2, ..ask(3) });
        let part = |last| Reply { last, ..reply(conversation(2), id(3), b"part") };
        served.pair.client.reply(START, part(false)).unwrap();
        served.pair.client.reply(START, part(true)).unwrap();
        assert_eq!(served.run().1, [Event::Reply(part(false)), Event::Reply(part(true))]);

        served.deliver(message(2, 5, Expects::Acceptance));
        served.deliver(message(2, 6, Expects::Nothing));
        served.deliver(ask(9));
        let outcomes = [(5, Outcome::Accepted { record: None }), (9, refused(ReasonCode::NO_REPLY))];
        for (message, outcome) in outcomes.clone() {
            served.pair.client.outcome(START, conversation(2), id(message), &outcome).unwrap();
        }
        let told = outcomes.map(|(message, outcome)| ended(conversation(2), message, outcome));
        assert_eq!(served.run().1, told);
        assert_eq!((served.pair.client.strays(), served.pair.server.strays()), (0, 0));
    });
}

/// P-7.53, P-7.58
#[test]
fn a_server_closes_a_conversation_that_ends_when_the_participant_has_left() {
    in_each_size(|mut served| {
        let key = conversation(2);
        served.join().deliver(ask(3));
        served.pair.server.close(START, key, None).unwrap();
        assert_eq!(served.run().0, [Event::Close { conversation: key }]);
        assert_eq!(served.pair.server.deliver(START, ask(4)).unwrap_err().reason, CommandError::Closing(key));
        served.pair.client.reply(START, reply(key, id(3), b"last")).unwrap();
        served.pair.client.ended(START, key).unwrap();
        let replied = Event::Reply(reply(key, id(3), b"last"));
        assert_eq!(served.run().1, [replied, Event::Ended { conversation: key }]);
        let offer = StreamId::new(1);
        served.pair.client.withdraw(START, offer, true).unwrap();
        assert_eq!(served.run().1, [Event::Withdraw { offer, drain: true }]);
        served.pair.server.withdrawn(START, offer).unwrap();
        assert_eq!(served.run().0, [Event::Withdrawn { offer }]);
        let phases = [&served.pair.client, &served.pair.server].map(|it| it.conversation_phase(key));
        assert_eq!(phases, [None, None]);
    });
}

/// P-7.53
#[test]
fn a_participant_that_does_not_join_is_a_refusal_that_ends_what_was_said_behind_the_invitation() {
    in_each_size(|mut served| {
        let key = conversation(2);
        served.pair.server.invite(START, key, PID, "work").unwrap();
        served.pair.server.deliver(START, ask(1)).unwrap();
        assert!(matches!(served.run().0[..], [Event::Invite { .. }, Event::Message(_)]));
        served.pair.client.refuse(START, key, ReasonCode::BUSY, Some("full")).unwrap();
        let reason = ReasonCode::BUSY;
        let refused_open = Event::Refused { conversation: key, reason, text: Some("full".to_owned()) };
        assert_eq!(served.run().1, [refused_open, ended(key, 1, refused(reason))]);
        let late = served.pair.client.reply(START, reply(key, id(1), b"late")).unwrap_err();
        assert_eq!(late.reason, CommandError::NotOpen(key));
    });
}

/// P-7.20, P-7.53
#[test]
fn a_participant_that_exits_ends_its_requests_and_is_released_by_the_close() {
    in_each_size(|mut served| {
        let key = conversation(2);
        served.join().deliver(ask(3));
        served.pair.client.exited(START, key, &exit(false)).unwrap();
        let told = Event::Exited { conversation: key, exit: exit(false) };
        assert_eq!(served.run().1, [told, ended(key, 3, Outcome::Exited)]);
        assert_eq!(served.pair.server.deliver(START, ask(4)).unwrap_err().reason, CommandError::Exited(key));
        served.pair.server.close(START, key, None).unwrap();
        served.run();
        served.pair.client.ended(START, key).unwrap();
        assert_eq!(served.run().1, [Event::Ended { conversation: key }]);
    });
}

#[test]
fn a_delivery_that_is_given_up_makes_room_and_its_reply_is_a_stray() {
    let mut server = inviting_server(limited(|limits| limits.requests_max = 1));
    server.deliver(START, ask(3)).unwrap();
    let full = server.deliver(START, ask(4)).unwrap_err();
    assert_eq!(full.reason, CommandError::Limit { what: "outstanding requests", limit: 1 });
    assert_eq!(full.payload, ask(4));
    server.abandon(conversation(2), id(3)).unwrap();
    assert_eq!(server.abandon(conversation(2), id(3)), Err(CommandError::NotOutstanding));
    server.deliver(START, ask(4)).unwrap();
    assert_eq!(feed(&mut server, START, &answer(conversation(2), 3)), []);
    assert_eq!(server.strays(), 1);
    assert_eq!(feed(&mut server, START, &answer(conversation(2), 4)).len(), 1);
}

#[test]
fn one_link_carries_conversations_in_both_directions_at_once() {
    in_each_size(|mut served| {
        served.join();
        let own = served.pair.client.open(START, "elsewhere").unwrap();
        let asked = served.pair.client.ask(START, own, None, Bytes::from_static(b"out")).unwrap();
        served.pair.server.deliver(START, ask(3)).unwrap();
        let (to_client, to_server) = served.run();
        assert_eq!(to_client, [Event::Message(ask(3))]);
        assert!(matches!(to_server[..], [Event::Open { .. }, Event::Message(_)]));
        let (client, server) = (&mut served.pair.client, &mut served.pair.server);
        server.opened(START, own, None).unwrap();
        server.reply(START, reply(own, asked, b"in")).unwrap();
        client.reply(START, reply(conversation(2), id(3), b"back")).unwrap();
        client.close(START, own, None).unwrap();
        server.close(START, conversation(2), None).unwrap();
        let (to_client, to_server) = served.run();
        let closed = Event::Close { conversation: conversation(2) };
        let replied = Event::Reply(reply(own, asked, b"in"));
        assert_eq!(to_client, [Event::Opened { conversation: own, pid: None }, replied, closed]);
        let replied = Event::Reply(reply(conversation(2), id(3), b"back"));
        assert_eq!(to_server, [replied, Event::Close { conversation: own }]);
    });
}

/// P-7.43
#[test]
fn the_time_of_a_delivery_is_told_and_not_minded_here() {
    let mut server = inviting_server(Config::default());
    let timeout = Some(Duration::from_micros(1500));
    server.deliver(START, Message { timeout, ..ask(3) }).unwrap();
    assert!(matches!(said(&mut server)[..], [Body::Message { timeout_ms: Some(2), .. }]));
    server.tick(seconds(10));
    assert_eq!(events(&mut server), []);
    assert_eq!(feed(&mut server, seconds(10), &answer(conversation(2), 3)).len(), 1);
    let mut client = invited_client(Config::default());
    let late = frame(
        flag::TIMEOUT,
        2,
        Body::Message {
            message_id: id(1),
            answers: None,
            timeout_ms: Some(u32::MAX),
            redelivered: None,
            metadata: None,
            payload: Bytes::new(),
        },
    );
    let told = feed(&mut client, START, &late);
    assert_eq!(message_of(&told[0]).timeout, Some(Config::default().limits.timeout_max));
}
