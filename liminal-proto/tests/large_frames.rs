//! Large frames, slow writers, tiny reads.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::Bytes;
use liminal_proto::wire::Dialect;
use liminal_proto::wire::{HEADER_LEN, flag};
use liminal_proto::{CommandError, Config, Connection, ConversationId, Event, Misuse, Next, Reply};

use support::pair::{Pair, Sizes};
use support::*;

const MIB: usize = 1 << 20;

fn large() -> (Vec<u8>, Vec<u8>) {
    let payload: Vec<u8> = (0..MIB - 100).map(|i| (i % 251) as u8).collect();
    let bytes = message_v2(flag::WANTS_REPLY, 1, 1, &payload);
    (payload, bytes)
}

#[test]
fn a_frame_of_a_mebibyte_arrives_through_receive_in_pieces_of_any_size() {
    let (payload, bytes) = large();
    for size in [1, 7, 4096, 65536, usize::MAX] {
        let mut server = server_with_conversation(2, Config::default());
        let mut events = Vec::new();
        for chunk in bytes.chunks(size.min(bytes.len())) {
            events.extend(feed(&mut server, START, chunk));
        }
        assert_eq!(message_of(&events[0]).payload, payload, "pieces of {size}");
    }
}

#[test]
fn a_frame_of_a_mebibyte_arrives_through_read_space_in_pieces_of_any_size() {
    let (payload, bytes) = large();
    for size in [1, 13, 5000, usize::MAX] {
        let mut server = server_with_conversation(2, Config::default());
        let mut rest = &bytes[..];
        let mut event = None;
        while event.is_none() {
            let arrived = bytes.len() - rest.len();
            let space = server.read_space().unwrap();
            assert!(space.len() <= arrived.max(4096), "{} after {arrived}", space.len());
            let n = space.len().min(rest.len()).min(size);
            space[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            server.read_done(START, n);
            if let Next::Event(it) = server.poll() {
                event = Some(it);
            }
        }
        assert!(rest.is_empty(), "{} bytes are left", rest.len());
        assert_eq!(message_of(&event.unwrap()).payload, payload, "pieces of {size}");
        assert_eq!(server.misuse(), None);
    }
}

#[test]
fn what_was_read_into_the_space_may_be_reported_after_a_poll() {
    let mut server = server_with_conversation(2, Config::default());
    let (first, second) = (message_v2(0, 1, 1, b"first"), message_v2(0, 1, 2, b"second"));
    server.receive(START, &first);
    server.read_space().unwrap()[..second.len()].copy_from_slice(&second);
    assert_eq!(events(&mut server).len(), 1);
    server.read_done(START, second.len());
    assert_eq!(server.misuse(), None);
    assert_eq!(message_of(&events(&mut server)[0]).payload, b"second"[..]);
}

#[test]
fn reading_without_space_is_a_misuse_and_adds_nothing() {
    let mut server = server_with_conversation(2, Config::default());
    let space = server.read_space().unwrap().len();
    server.read_done(START, 1);
    server.read_done(START, 3);
    assert_eq!(server.misuse(), Some(Misuse::ReadTooMuch { reported: 3, space: 0 }));
    let mut other = server_with_conversation(2, Config::default());
    let again = other.read_space().unwrap().len();
    assert_eq!(space, again);
    other.read_done(START, again + 1);
    assert_eq!(other.misuse(), Some(Misuse::ReadTooMuch { reported: again + 1, space: again }));
}

#[test]
fn what_is_received_takes_the_space_back() {
    let mut server = server_with_conversation(2, Config::default());
    server.read_space().unwrap().fill(0xFF);
    server.receive(START, &message_v2(0, 1, 1, b"first"));
    server.read_done(START, 5);
    assert_eq!(server.misuse(), Some(Misuse::ReadTooMuch { reported: 5, space: 0 }));
    let [event] = &events(&mut server)[..] else { panic!("one message") };
    assert_eq!(message_of(event).payload, b"first"[..]);
}

#[test]
fn space_that_was_lent_when_the_connection_ended_is_no_misuse() {
    let mut server = server(1);
    server.receive(START, &disconnect());
    assert!(server.read_space().is_some());
    assert_eq!(events(&mut server).len(), 1);
    server.read_done(START, 5);
    assert_eq!(server.misuse(), None);
}

/// Replies that found no room wait here, in order.
#[derive(Default)]
struct Host {
    waiting: std::collections::VecDeque<Reply>,
}

impl Host {
    fn on_event(&mut self, server: &mut Connection, event: Event) {
        if let Event::Message(message) = event {
            self.waiting.push_back(reply(message.conversation, message.id, &message.payload));
        } else {
            serve(server, START, &event);
        }
    }

    fn retry(&mut self, server: &mut Connection) {
        while let Some(reply) = self.waiting.pop_front() {
            if let Err(rejected) = server.reply(START, reply) {
                assert!(matches!(rejected.reason, CommandError::Full | CommandError::NoCredit(_)));
                self.waiting.push_front(rejected.payload);
                return;
            }
        }
    }
}

fn ten_mebibytes_both_ways(version: u16, written: &[usize], read: &[usize]) {
    let dialect = if version == 1 { Dialect::V1 } else { Dialect::V2 };
    let config = Config { max_dialect: dialect, ..Config::default() };
    let (written, read) = (Sizes::of(written), Sizes::of(read));
    let mut pair = Pair::new(config.clone(), config, written, read);
    let payload = Bytes::from((0..200_000_u32).map(|i| (i % 253) as u8).collect::<Vec<u8>>());
    let total = 10 * MIB / payload.len();
    let mut host = Host::default();
    let (mut key, mut asked, mut answered): (Option<ConversationId>, _, _) = (None, 0, 0);
    while answered < total {
        let (from_server, from_client) = pair.turn();
        for event in from_client {
            host.on_event(&mut pair.server, event);
        }
        host.retry(&mut pair.server);
        for event in from_server {
            match event {
                Event::Connected { .. } => key = Some(pair.client.open(START, "echo").unwrap()),
                Event::Reply(reply) => {
                    assert!(reply.payload == payload && reply.last);
                    answered += 1;
                }
                Event::Opened { .. } | Event::Room { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        while let Some(key) = key.filter(|_| asked < total) {
            match pair.client.ask(START, key, None, payload.clone()) {
                Ok(_) => asked += 1,
                Err(rejected) => {
                    assert!(matches!(rejected.reason, CommandError::Full | CommandError::NoCredit(Some(_))));
                    break;
                }
            }
        }
        assert!(pair.client.output_len() <= 2 * MIB && pair.server.output_len() <= 2 * MIB);
        host.retry(&mut pair.server);
    }
    assert_eq!(answered, total);
}

#[test]
fn ten_mebibytes_go_both_ways_through_a_writer_that_takes_little_1_0() {
    ten_mebibytes_both_ways(1, &[1 << 14, 3, 50_000, 0], &[9000, 1, 40_000]);
}

#[test]
fn ten_mebibytes_go_both_ways_through_a_writer_that_takes_little_2_0() {
    ten_mebibytes_both_ways(2, &[1 << 14, 3, 50_000, 0], &[9000, 1, 40_000]);
}

#[test]
fn a_whole_exchange_goes_through_one_byte_at_a_time() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let config = Config { max_dialect: dialect, ..Config::default() };
        let mut pair = Pair::new(config.clone(), config, Sizes::of(&[1]), Sizes::of(&[1]));
        pair.run(|_, _| {}, |_, _| {});
        let key = pair.client.open(START, "echo").unwrap();
        let asked = pair.client.ask(START, key, None, Bytes::from_static(b"hello")).unwrap();
        let mut replies = Vec::new();
        pair.run(
            |_, event| {
                if let Event::Reply(reply) = event {
                    replies.push((reply.answers, reply.payload));
                }
            },
            |server, event| serve(server, START, &event),
        );
        assert_eq!(replies, [(asked, Bytes::from_static(b"hello"))]);
    }
}

/// P-1.1
#[test]
fn a_header_has_ten_bytes() {
    assert_eq!(HEADER_LEN, ping().len());
}
