//! Through little: small socket buffers, small reads and small writes, both ways at once.

use std::thread;

use liminal_proto::wire::Dialect;
use liminal_proto::{Config, Limits};

use super::large::{LARGEST, echo};
use crate::WAIT;
use crate::puppet::{Host, say};
use crate::stage::{Setup, Stage};
use crate::transport::Transport;
use crate::wire::Wire;

fn config(dialect: Dialect) -> Config {
    Config { max_dialect: dialect, ..Config::default() }
}

/// Ten MiB go out and come back at once, in the largest frames and in small ones, through sockets that hold
/// a few KiB, with and without a driver, in both versions.
pub fn ten_mib_both_ways_through_small_buffers(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let wire = Wire::to(world.address(), 8000);
    for dialect in [Dialect::V2, Dialect::V1] {
        for driven in [true, false] {
            let handle = transport.connect(&wire.address(), config(dialect), driven).unwrap();
            thread::scope(|scope| {
                for (host, size) in Host::ALL.into_iter().zip([LARGEST, 100_000, 3000]) {
                    let conversation = handle.open(host.subject()).unwrap();
                    scope.spawn(move || echo(&*conversation, size, (10 << 20) / 3));
                }
            });
        }
    }
}

/// Every read finds one byte, on both sides: all of it works, from the handshake to the close.
pub fn a_byte_at_a_time_carries_everything(transport: &dyn Transport) {
    let slow = |limits: &mut Limits| {
        (limits.unfinished_frame_time, limits.handshake_unfinished_frame_time) = (WAIT, WAIT);
        (limits.unfinished_frame_rate_min, limits.handshake_time) = (1, WAIT);
    };
    let world =
        Stage::default().options(|options| slow(&mut options.connection.limits)).serve(transport, Setup::V2);
    let wire = Wire::to(world.address(), 1);
    for dialect in [Dialect::V2, Dialect::V1] {
        for driven in [true, false] {
            let mut config = config(dialect);
            slow(&mut config.limits);
            let handle = transport.connect(&wire.address(), config, driven).unwrap();
            handle.ping().unwrap();
            for host in Host::ALL {
                let conversation = handle.open(host.subject()).unwrap();
                let some = vec![7; 2000];
                assert_eq!(conversation.ask(some.clone().into(), WAIT).unwrap(), some);
                let requests: Vec<_> =
                    (0..20u8).map(|n| conversation.request(vec![n].into(), WAIT).unwrap()).collect();
                for (number, request) in (0..).zip(requests) {
                    let reply = conversation.receive_reply(WAIT).unwrap();
                    assert_eq!((reply.answers, &reply.payload[..]), (request, &[number][..]));
                }
                assert!(conversation.ask(say::PANIC.into(), WAIT).is_err());
                if dialect == Dialect::V2 {
                    conversation.await_crash(WAIT).unwrap();
                }
                conversation.close().unwrap();
            }
            handle.disconnect();
        }
    }
}
