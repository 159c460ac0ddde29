//! What 2.0 peers see on the wire where it is not what 1.0 peers see.

use liminal_core::Leaving;
use liminal_proto::wire::{Body, Dialect};
use liminal_proto::{ConversationId, ReasonCode};

use crate::puppet::{Host, NAP, PLANNED, say};
use crate::raw::Raw;
use crate::stage::{Setup, Stage, World};
use crate::transport::Transport;

fn client(world: &World<'_>) -> Raw {
    let mut raw = world.raw();
    raw.shake_hands(Dialect::V2);
    raw
}

/// A client that has ended its half still hears of its open, its requests and its close, then the end.
pub fn a_half_closed_client_gets_what_it_asked_for(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = client(&world);
        raw.open(1, 1, host.subject());
        raw.ask(1, 1, b"at once");
        raw.ask(1, 2, say::NAP.as_bytes());
        let conversation_id = ConversationId::new(1);
        raw.send(0, 1, Body::ConversationClose { conversation_id, reason_code: None, message: None });
        raw.end();
        assert!(matches!(raw.expect().body, Body::Opened { .. }), "{host:?}");
        assert_eq!(raw.expect_answer(), (1, "at once".into()), "{host:?}");
        assert_eq!(raw.expect_answer(), (1, say::NAP.into()), "{host:?}");
        assert!(matches!(raw.expect().body, Body::ConversationClose { .. }), "{host:?}");
        raw.expect_end();
        assert_eq!(world.await_left(), Leaving::Closed, "{host:?}");
    }
}

/// What it is owed may also be that there is no reply.
pub fn a_half_closed_client_is_told_of_the_deadline(transport: &dyn Transport) {
    // Long enough for whoever joins at once, also on the way to a client and back.
    let time = if transport.is_relayed() { 10 * NAP } else { NAP };
    let world = Stage::default().options(|options| options.bus.reply_time = time).serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = client(&world);
        raw.open(1, 1, host.subject());
        raw.ask(1, 1, say::HOLD.as_bytes());
        raw.end();
        assert!(matches!(raw.expect().body, Body::Opened { .. }));
        let Body::Outcome { reason_code, .. } = raw.expect().body else { panic!("no outcome") };
        assert_eq!(reason_code, ReasonCode::DEADLINE, "{host:?}");
        raw.expect_end();
    }
    world.release();
}

/// Or that there is nobody any more who could give one.
pub fn a_half_closed_client_is_told_of_the_exit(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let mut raw = client(&world);
        raw.open(1, 1, host.subject());
        raw.ask(1, 1, say::PANIC.as_bytes());
        raw.end();
        assert!(matches!(raw.expect().body, Body::Opened { .. }));
        let Body::Exited { message, .. } = raw.expect().body else { panic!("no exit") };
        assert_eq!(message.as_deref(), Some(PLANNED), "{host:?}");
        raw.expect_end();
    }
}

/// A client that just ends its half is closed, and its participants are told.
pub fn a_client_that_ends_is_closed(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let mut raw = client(&world);
    for (stream, host) in (1..).step_by(2).zip(Host::ALL) {
        raw.open(stream, stream.into(), host.subject());
        raw.ask(stream, 1, b"hello");
        assert_eq!(raw.expect_answer(), (stream, "hello".into()));
    }
    raw.end();
    raw.expect_end();
    for _ in Host::ALL {
        world.await_orphaned();
    }
}
