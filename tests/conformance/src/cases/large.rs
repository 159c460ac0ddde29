//! Much at once: in bytes, both ways.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use bytes::Bytes;
use liminal_driver::error::{AskError, ReceiveError};
use liminal_proto::{CommandError, ReasonCode};

use crate::WAIT;
use crate::puppet::Host;
use crate::stage::{Setup, Stage};
use crate::transport::{Conversation, Transport};

/// What an echo adds to a request must fit as well.
pub(super) const LARGEST: usize = (1 << 20) - 64;

/// Large, and of which a connection still queues several.
const LARGE: usize = 512 << 10;

/// Ten MiB go out and come back on one connection, in frames from small to large.
pub fn ten_mib_both_ways_on_one_connection(transport: &dyn Transport) {
    ten_mib(transport, LARGE);
}

/// The same with the largest frames there are.
pub fn ten_mib_both_ways_in_the_largest_frames(transport: &dyn Transport) {
    ten_mib(transport, LARGEST);
}

fn ten_mib(transport: &dyn Transport, large: usize) {
    for &setup in Setup::all(transport) {
        for driven in [true, false] {
            let world = Stage::default().serve(transport, setup);
            let handle = world.client(driven);
            thread::scope(|scope| {
                for (host, size) in Host::ALL.into_iter().zip([large, 256 << 10, 10_000]) {
                    let conversation = handle.open(host.subject()).unwrap();
                    scope.spawn(move || echo(&*conversation, size, (10 << 20) / 3));
                }
            });
        }
    }
}

pub(super) fn echo(conversation: &dyn Conversation, size: usize, total: usize) {
    let mut sent = 0;
    while sent < total {
        let payload = pattern(size, sent);
        match conversation.ask(payload.clone().into(), WAIT) {
            // Not with `assert_eq`, which would print it.
            Ok(reply) => assert!(reply == payload, "{size} bytes came back otherwise"),
            Err(AskError::Refused(refusal)) => panic!("{size} bytes: {refusal}"),
            Err(error) => panic!("{size} bytes: {error}"),
        }
        sent += size;
    }
}

fn pattern(len: usize, seed: usize) -> Bytes {
    (0..len).map(|i| ((i * 31 + seed) >> 3) as u8).collect()
}

/// Requests are sent ahead of their replies, as many as fit.
pub fn large_requests_are_pipelined(transport: &dyn Transport) {
    const SIZE: usize = 100_000;
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let (_handle, conversation) = world.open("inline");
        let receiver = Arc::clone(&conversation);
        // What is under way fits into the bounds of both sides, so that nothing is refused.
        let (sent, under_way) = sync_channel(8);
        thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..100 {
                    let reply = receiver.receive_reply(WAIT).unwrap();
                    assert!(reply.payload == pattern(SIZE, number), "request {number} {setup:?}");
                    under_way.recv().unwrap();
                }
            });
            for number in 0..100 {
                sent.send(()).unwrap();
                conversation.request(pattern(SIZE, number).into(), WAIT).unwrap();
            }
        });
    }
}

/// In 1.0, which has no credit, more than the bounds hold is refused request by request, or not taken; nothing else
/// suffers.
pub fn more_than_fits_is_refused_in_1_0_and_nothing_else_suffers(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V1);
    let (handle, conversation) = world.open("inline");
    let mut taken = 0;
    for _ in 0..60 {
        match conversation.request(vec![7; 100_000].into(), WAIT) {
            Ok(_) => taken += 1,
            Err(AskError::Rejected(CommandError::Limit { .. })) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(taken > 10);
    for _ in 0..taken {
        match conversation.receive_reply(WAIT) {
            Ok(reply) => assert_eq!(reply.payload.len(), 100_000),
            Err(ReceiveError::Refused { refusal, .. }) => assert_eq!(refusal.reason, ReasonCode::BUSY),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on");
    assert_eq!(handle.open("inline").unwrap().ask("go on".into(), WAIT).unwrap(), "go on");
}

/// Messages without replies go one way without bound.
pub fn many_messages_one_way(transport: &dyn Transport) {
    if transport.is_relayed() {
        return; // They are accepted faster than relayed, and what waits is bounded.
    }
    for setup in [Setup::V2, Setup::V1] {
        let world = Stage::default().serve(transport, setup);
        let (_handle, conversation) = world.open("inline");
        for number in 0..100 {
            conversation.message(pattern(100_000, number).into()).unwrap();
        }
        assert_eq!(conversation.ask(crate::puppet::say::COUNT.into(), WAIT).unwrap(), "101");
    }
}
