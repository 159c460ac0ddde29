//! How a server stops, and what its clients learn of it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use liminal_core::participant::from_fn;
use liminal_core::{Received, Subject};
use liminal_driver::error::AskError;
use liminal_proto::wire::{Body, Dialect};

use crate::WAIT;
use crate::puppet::{Host, NAP, say};
use crate::stage::{Setup, Stage};
use crate::transport::{Role, Transport};

/// Idle clients answer, learn of it, and the server ends long before its time is over.
pub fn idle_clients_are_asked_to_go(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let mut world =
            Stage::default().options(|options| options.stop.time = 2 * WAIT).serve(transport, setup);
        let handle = world.connect();
        let (second, conversation) = world.open("async");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| handle.closed());
            world.stop();
            waiting.join().unwrap();
        });
        second.closed();
        assert!(matches!(conversation.ask("too late".into(), WAIT), Err(AskError::Lost(_))));
        assert!(world.ended() < WAIT);
    }
}

/// A request that is outstanding is still answered.
pub fn outstanding_requests_are_answered_first(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        for host in Host::ALL {
            let mut world =
                Stage::default().options(|options| options.stop.time = WAIT).serve(transport, setup);
            let (_handle, conversation) = world.open(host.subject());
            thread::scope(|scope| {
                let asking = scope.spawn(|| conversation.ask(say::NAP.into(), WAIT));
                world.await_said(say::NAP);
                world.stop();
                assert_eq!(asking.join().unwrap().unwrap(), say::NAP, "{host:?} {setup:?}");
            });
            assert!(world.ended() < WAIT / 2, "{host:?} {setup:?}");
        }
    }
}

/// A client that does not answer is given up when the time is over.
pub fn a_client_that_does_not_answer_is_given_up(transport: &dyn Transport) {
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut world = Stage::default()
            .options(|options| options.stop.time = Duration::from_millis(200))
            .serve(transport, Setup::V2);
        let mut raw = world.raw();
        raw.shake_hands(dialect);
        let mut silent = world.raw();
        world.stop();
        assert_eq!(raw.expect().body, Body::Disconnect);
        assert!(world.ended() < WAIT / 2);
        assert_eq!(raw.next_frame(), None);
        // One that never shook hands is told nothing that it could understand, but it is closed, too.
        while silent.next_frame().is_some() {}
    }
}

/// A client that answers is closed at once, and sees the end of the stream.
pub fn a_client_that_answers_sees_the_end(transport: &dyn Transport) {
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut world =
            Stage::default().options(|options| options.stop.time = 2 * WAIT).serve(transport, Setup::V2);
        let mut raw = world.raw();
        raw.shake_hands(dialect);
        world.stop();
        assert_eq!(raw.expect().body, Body::Disconnect);
        raw.send(0, 0, Body::Disconnect);
        raw.expect_end();
        assert!(world.ended() < WAIT / 2);
    }
}

/// A server that has ended holds nothing any more: not its participants, not its sockets, not its port.
pub fn a_server_that_has_ended_holds_nothing(transport: &dyn Transport) {
    let guard = Arc::new(());
    let held = Arc::clone(&guard);
    let factory = move || {
        let held = Arc::clone(&held);
        from_fn(move |context, message: Received| {
            let _ = &held;
            context.reply(message.payload);
        })
    };
    let mut world = Stage::default()
        .role(Subject::Any, Role::Inline(Arc::new(factory)))
        .options(|options| options.stop.time = NAP)
        .serve(transport, Setup::V2);
    let (_handle, conversation) = world.open("anything");
    conversation.ask("hello".into(), WAIT).unwrap();
    let mut raw = world.raw();
    raw.shake_hands(Dialect::V1);
    world.stop();
    world.ended();
    assert_eq!(raw.expect().body, Body::Disconnect);
    assert_eq!(raw.next_frame(), None);
    let until = std::time::Instant::now() + WAIT;
    while Arc::strong_count(&guard) > 1 {
        assert!(std::time::Instant::now() < until, "the server still holds its participants");
        thread::yield_now();
    }
    let liminal_driver::Address::Tcp(address) = world.address() else { panic!("this is TCP") };
    assert!(std::net::TcpStream::connect(address).is_err());
}

/// The file of a Unix socket goes with its server, and one left behind is no obstacle.
pub fn the_file_of_a_unix_socket_goes_with_its_server(transport: &dyn Transport) {
    if !Setup::all(transport).contains(&Setup::V2Unix) {
        return;
    }
    let mut world = Stage::default().serve(transport, Setup::V2Unix);
    let liminal_driver::Address::Unix(path) = world.address().clone() else {
        panic!("this is a Unix socket")
    };
    assert!(path.exists());
    world.stop();
    world.ended();
    assert!(!path.exists());
}

/// A server that is taken down without a word: its clients learn at once.
pub fn clients_learn_at_once_of_a_server_that_is_gone(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let mut world = Stage::default().options(|options| options.stop.time = NAP).serve(transport, setup);
        let handle = world.connect();
        let (undriven, conversation) = (world.client(false), handle.open("async").unwrap());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| handle.closed());
            let asking = scope.spawn(|| conversation.ask(say::HOLD.into(), 2 * WAIT));
            world.await_said(say::HOLD);
            let begun = std::time::Instant::now();
            if !world.abandon() {
                // Then it went gracefully, and this says nothing new.
                world.release();
            }
            waiting.join().unwrap();
            let asked = asking.join().unwrap();
            assert!(asked.is_err(), "{asked:?}");
            undriven.closed();
            assert!(begun.elapsed() < WAIT / 2);
        });
    }
}

/// A blocking participant that does not return keeps its thread, not the connections of its server.
pub fn a_participant_that_hangs_does_not_keep_the_connections(transport: &dyn Transport) {
    let mut world = Stage::default().options(|options| options.stop.time = NAP).serve(transport, Setup::V2);
    let (_handle, conversation) = world.open("blocking");
    conversation.message(say::HOLD.into()).unwrap();
    world.await_said(say::HOLD);
    let mut raw = world.raw();
    raw.shake_hands(Dialect::V1);
    world.stop();
    assert!(world.ended() < WAIT / 2);
    assert_eq!(raw.expect().body, Body::Disconnect);
    assert_eq!(raw.next_frame(), None);
    world.release();
}
