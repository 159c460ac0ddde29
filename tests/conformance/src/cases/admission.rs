//! How many connections a server takes, and what those learn for whom there is no room.

use std::net::{SocketAddr, UdpSocket};

use liminal_driver::Address;
use liminal_driver::error::ConnectError;
use liminal_proto::wire::{Body, Dialect};
use liminal_proto::{CloseReason, Config, ReasonCode};

use super::hostile::beside_a_neighbour;
use crate::WAIT;
use crate::raw::Raw;
use crate::stage::{Setup, Stage, World, eventually};
use crate::transport::Transport;

fn is_for_want_of_room(error: &ConnectError) -> bool {
    let ConnectError::Handshake { reason: CloseReason::Refused { reason, .. }, .. } = error else {
        return false;
    };
    *reason == ReasonCode::LIMIT
}

fn has_room(world: &World<'_>) -> bool {
    match world.try_connect(Config::default(), true) {
        Ok(handle) => handle.ping().is_ok(),
        Err(error) => {
            assert!(is_for_want_of_room(&error), "{error}");
            false
        }
    }
}

/// Beyond `connections_max` a client is told so, and when another has gone there is room again.
pub fn a_client_too_many_is_told_so(transport: &dyn Transport) {
    if transport.is_relayed() {
        return; // Whoever serves is a client too many.
    }
    for &setup in Setup::all(transport) {
        let world =
            Stage::default().options(|options| options.admission.connections_max = 2).serve(transport, setup);
        let (first, conversation) = world.open("inline");
        let second = world.connect();
        for _ in 0..20 {
            assert!(!has_room(&world), "{setup:?}");
        }
        assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
        second.disconnect();
        eventually(|| has_room(&world));
        assert!(first.ping().is_ok());
    }
}

/// What a peer hears for which there is no room, whether or not it speaks first: the reason, and the end.
pub fn a_peer_too_many_hears_the_reason_and_the_end(transport: &dyn Transport) {
    if transport.is_relayed() {
        return; // Whoever serves is a client too many.
    }
    let world =
        Stage::default().options(|options| options.admission.connections_max = 1).serve(transport, Setup::V2);
    let _only = world.connect();
    for says_nothing in [true, false] {
        let mut raw = world.raw();
        if !says_nothing {
            // It may be turned away before it says this.
            let _ = raw.try_send(&raw.bytes_of(0, 0, Body::Ping));
        }
        raw.expect_refusal(ReasonCode::LIMIT);
        // It keeps its socket for as long as it likes, and what it says is nobody's business any more.
        let _ = raw.try_send(&[0xA5; 1000]);
    }
}

/// An address of this machine that is not loopback, if it has one. Nothing is sent.
fn own_address() -> Option<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().filter(|address| !address.ip().is_loopback())
}

/// One address has so many connections; others, and this machine, are not concerned.
pub fn an_address_has_its_share(transport: &dyn Transport) {
    let world = Stage::default()
        .on("0.0.0.0")
        .options(|options| options.admission.connections_per_address_max = 3)
        .serve(transport, Setup::V2);
    let Address::Tcp(listening) = world.address() else { panic!("this is TCP") };
    let port = listening.parse::<SocketAddr>().unwrap().port();
    let Some(mut own) = own_address() else { return };
    own.set_port(port);
    let local = Address::from(SocketAddr::from(([127, 0, 0, 1], port)));
    let connect = |to: &Address| transport.connect(to, Config::default(), true);
    let _from_here: Vec<_> = (0..6).map(|_| connect(&local).unwrap()).collect();
    let mut from_there: Vec<_> = (0..3).map(|_| connect(&own.into()).unwrap()).collect();
    let refused = connect(&own.into()).map(drop).unwrap_err();
    assert!(is_for_want_of_room(&refused), "{refused}");
    assert!(connect(&local).is_ok());
    from_there.pop().unwrap().disconnect();
    eventually(|| connect(&own.into()).is_ok());
}

/// Strangers who connect and say nothing make room for those who say who they are, long before their time
/// is over, and whoever is connected does not notice.
pub fn those_who_say_nothing_make_room(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| {
            options.admission.connections_max = 160;
            options.connection.limits.handshake_time = 4 * WAIT;
        })
        .serve(transport, Setup::V2);
    beside_a_neighbour(&world, || {
        let mut silent: Vec<Raw> = (0..64).map(|_| world.raw()).collect();
        for dialect in [Dialect::V2, Dialect::V1] {
            let config = Config { max_dialect: dialect, ..Config::default() };
            world.try_connect(config, true).unwrap().ping().unwrap();
        }
        // Those that were accepted last may stay until their time is over: nobody needs their room.
        silent.truncate(40);
        assert!(silent.iter_mut().all(|raw| raw.next_frame().is_none()));
    });
}
