//! Who does not read is told no more, and nobody else notices.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use liminal_proto::wire::{Body, Dialect};
use liminal_proto::{Config, Limits, ReasonCode};

use super::hostile::beside_a_neighbour;
use crate::WAIT;
use crate::puppet::{Host, say};
use crate::raw::Raw;
use crate::stage::{Setup, Stage};
use crate::transport::Transport;

/// One conversation of a thousand on the same connection is never read while all others ask: they lose nothing.
/// When it is read at last, everything that was asked there is answered, in its order.
pub fn one_unread_conversation_of_a_thousand_holds_up_no_other(transport: &dyn Transport) {
    const ASKED: usize = 100;
    const SIZE: usize = 20_000;
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let handle = world.connect();
        let unread = handle.open(host.subject()).unwrap();
        let others: Vec<_> = (0..999).map(|_| handle.open("inline").unwrap()).collect();
        let asked = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..ASKED {
                    unread.request(vec![number as u8; SIZE].into(), 4 * WAIT).unwrap();
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
            for round in 0..3 {
                for (number, other) in others.iter().enumerate() {
                    let said = format!("{round}: {number}");
                    assert_eq!(other.ask(said.clone().into(), WAIT).unwrap(), said, "{host:?}");
                }
            }
            // Two windows of what is under way, at both ends of both ways, are less than half of it.
            assert!(asked.load(Ordering::Relaxed) < ASKED / 2, "{host:?}");
            for number in 0..ASKED {
                let reply = unread.receive_reply(WAIT).unwrap();
                assert!(reply.payload == vec![number as u8; SIZE], "{number} {host:?}");
            }
        });
        assert_eq!(unread.ask("go on".into(), WAIT).unwrap(), "go on");
    }
}

/// The same where the participants are on a client, whose own connection goes on as well.
pub fn an_asker_that_does_not_read_holds_up_nobody_else_of_its_responder(transport: &dyn Transport) {
    const ASKED: usize = 60;
    const SIZE: usize = 20_000;
    let world = Stage::empty().serve(transport, Setup::V2);
    for host in Host::ALL {
        let responder = world.client(true);
        let _service = responder.serve("work".into(), world.puppet(host), 8).unwrap();
        let lazy = world.connect();
        let unread = lazy.open("work").unwrap();
        let handle = world.connect();
        let other = handle.open("work").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..ASKED {
                    unread.request(vec![number as u8; SIZE].into(), 4 * WAIT).unwrap();
                }
            });
            for number in 0..200 {
                let said = vec![number as u8; 1000];
                assert_eq!(other.ask(said.clone().into(), WAIT).unwrap(), said, "{host:?}");
            }
            for number in 0..ASKED {
                let reply = unread.receive_reply(WAIT).unwrap();
                assert!(reply.payload == vec![number as u8; SIZE], "{number} {host:?}");
            }
        });
    }
}

/// A message whose participant takes its time over others waits for credit, and for no more than its deadline.
pub fn a_message_that_finds_no_credit_is_sent_when_there_is_some(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| options.connection.limits.conversation_window = 3000)
        .serve(transport, Setup::V2);
    for host in Host::ALL {
        let (handle, conversation) = world.open(host.subject());
        conversation.request(say::NAP.into(), WAIT).unwrap();
        for _ in 0..4 {
            conversation.message(vec![1; 2000].into()).unwrap();
        }
        assert_eq!(handle.open("inline").unwrap().ask("hello".into(), WAIT).unwrap(), "hello");
        conversation.receive_reply(WAIT).unwrap();
        assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on", "{host:?}");
    }
}

/// A conversation that is dropped or closed with replies in it that nobody has read ends, and its server has room for
/// another.
pub fn what_nobody_will_read_keeps_no_conversation_from_its_end(transport: &dyn Transport) {
    if transport.is_relayed() {
        return; // Its connection has no room for the participants of all.
    }
    const ASKED: usize = 4;
    let world = Stage::default()
        .options(|options| options.connection.limits.conversations_max = 1)
        .serve(transport, Setup::V2);
    let limits = Limits { conversation_window: 3000, ..Limits::default() };
    for closes in [false, true] {
        let handle = world.try_connect(Config { limits: limits.clone(), ..Config::default() }, true).unwrap();
        let conversation = handle.open("inline").unwrap();
        for _ in 0..ASKED {
            conversation.request(vec![1; 2000].into(), WAIT).unwrap();
        }
        // The first reply is here, and there is credit for no other.
        handle.ping().unwrap();
        if closes {
            conversation.close().unwrap();
        } else {
            drop(conversation);
        }
        // Each of the others needs its credit to come, and so does the end.
        (0..=ASKED).for_each(|_| _ = handle.ping().unwrap());
        let next = handle.open("inline").unwrap();
        assert_eq!(next.ask("hello".into(), WAIT).unwrap(), "hello", "{closes}");
    }
}

/// Exceeds some credit.
type Exceed<'a> = &'a dyn Fn(&mut Raw);

/// Who says more than it has credit for is told so, and closed, and so is who gives more than can be counted.
pub fn credit_that_is_exceeded_ends_the_connection(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| {
            options.connection.limits.conversation_window = 4000;
            options.connection.limits.connection_window = 8000;
        })
        .serve(transport, Setup::V2);
    let in_one = |raw: &mut Raw| (2..=3).for_each(|number| raw.ask(1, number, &[7; 2000]));
    let in_all = |raw: &mut Raw| {
        for stream in [3, 5] {
            raw.open(stream, stream.into(), "async");
            assert!(matches!(raw.expect().body, Body::Opened { .. }));
            raw.ask(stream, 1, say::HOLD.as_bytes());
        }
        [1, 3, 5].into_iter().for_each(|stream| raw.ask(stream, 2, &[7; 2900]));
    };
    let given_in_one = |raw: &mut Raw| raw.send(0, 1, Body::Credit { bytes: u32::MAX });
    let given_in_all = |raw: &mut Raw| {
        raw.send(0, 0, Body::ConnectionCredit { messages: 0, replies: u32::MAX });
    };
    let cases: [(&str, Exceed); 4] = [
        ("too much is said in a conversation", &in_one),
        ("too much is said in all of them", &in_all),
        ("too much is given in a conversation", &given_in_one),
        ("too much is given for all of them", &given_in_all),
    ];
    beside_a_neighbour(&world, || {
        for (what, exceed) in cases {
            let mut raw = world.raw();
            raw.shake_hands(Dialect::V2);
            raw.open(1, 1, "async");
            assert!(matches!(raw.expect().body, Body::Opened { .. }));
            // What is behind it is not dealt with.
            raw.ask(1, 1, say::HOLD.as_bytes());
            exceed(&mut raw);
            raw.expect_refusal_of(ReasonCode::CREDIT, what);
        }
    });
}
