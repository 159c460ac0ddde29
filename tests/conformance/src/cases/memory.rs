//! What all connections hold together.

use std::thread;

use liminal_proto::wire::{Body, Dialect};

use super::hostile::beside_a_neighbour;
use crate::WAIT;
use crate::puppet::Host;
use crate::raw::Raw;
use crate::stage::{Setup, Stage};
use crate::transport::Transport;

/// Together they may have far more outstanding than all connections may hold, and each far less than it alone
/// may hold.
const CONNECTIONS: usize = 9;
const REQUESTS: u64 = 200;
static PAYLOAD: [u8; 100_000] = [7; 100_000];

/// When memory is short those who hold much of it are not read from, in 2.0 too, and everybody else is served.
/// When they read what they asked for they go on, and nothing was lost.
pub fn those_who_hold_much_wait_while_memory_is_short(transport: &dyn Transport) {
    for dialect in [Dialect::V1, Dialect::V2] {
        let world = Stage::default()
            .options(|options| {
                // The least that a server with frames of this size takes: 16 MiB.
                options.memory_bytes_max = 0;
                options.bus.reply_time = 4 * WAIT;
                options.connection.limits.write_stall_time = 4 * WAIT;
                options.connection.limits.unfinished_frame_time = 4 * WAIT;
                // More than that: with credit, who does not read is told too little to make memory short.
                options.connection.limits.conversation_window = 32 << 20;
                options.connection.limits.connection_window = 32 << 20;
                options.connection.keepalive = None;
            })
            .serve(transport, Setup::V2);
        beside_a_neighbour(&world, || {
            let hosts = Host::ALL.into_iter().cycle();
            let mut greedy: Vec<_> =
                hosts.take(CONNECTIONS).map(|host| Greedy::connect(world.address(), dialect, host)).collect();
            // All at once, and none reads before the last of them waits.
            thread::scope(|scope| {
                for greedy in &mut greedy {
                    scope.spawn(|| greedy.ask_until_it_waits());
                }
            });
            thread::scope(|scope| {
                for greedy in greedy {
                    scope.spawn(|| greedy.read_and_go_on());
                }
            });
        });
    }
}

/// Somebody who asks for more than it reads.
struct Greedy {
    raw: Raw,
    /// Requests of which all bytes were sent.
    asked: u64,
    /// The rest of one that was begun.
    rest: Vec<u8>,
}

impl Greedy {
    fn connect(address: &liminal_driver::Address, dialect: Dialect, host: Host) -> Self {
        let mut raw = Raw::connect_with_room(address, 64 << 10);
        raw.shake_hands(dialect);
        raw.open(1, 1, host.subject());
        Self { raw, asked: 0, rest: Vec::new() }
    }

    fn ask_until_it_waits(&mut self) {
        while self.rest.is_empty() {
            assert!(self.asked < REQUESTS, "{REQUESTS} large requests are read from who reads nothing");
            let bytes = self.raw.ask_bytes(1, self.asked + 1, &PAYLOAD);
            let sent = self.raw.send_some(&bytes);
            self.rest = bytes.get(sent..).unwrap_or_default().to_vec();
            self.asked += u64::from(self.rest.is_empty());
        }
    }

    fn read_and_go_on(mut self) {
        (0..self.asked).for_each(|_| drop(self.end_of_request()));
        self.raw.send_bytes(&self.rest);
        self.end_of_request();
        self.raw.ask(1, self.asked + 2, b"hello");
        assert_eq!(self.end_of_request(), Some("hello".into()));
    }

    /// The reply to a request, or `None`: it was refused.
    fn end_of_request(&mut self) -> Option<bytes::Bytes> {
        loop {
            match self.raw.expect_beside_credit().body {
                Body::Opened { .. } => {}
                Body::Message { payload, .. } => return Some(payload),
                Body::ConversationMessage { envelope, .. } => return Some(envelope.payload),
                Body::Outcome { .. } | Body::ConversationError { .. } => return None,
                body => panic!("no end of a request but {body:?}"),
            }
        }
    }
}
