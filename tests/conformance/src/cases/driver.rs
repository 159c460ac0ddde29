//! What the driver of a connection does, and what works without it.

use std::thread;
use std::time::Duration;

use liminal_driver::error::{AskError, AwaitCrashError, ReceiveError};
use liminal_proto::wire::{Body, Dialect, Version};
use liminal_proto::{Config, Keepalive, Limits};

use crate::WAIT;
use crate::puppet::{Host, NAP, Seen, say};
use crate::raw::Raw;
use crate::stage::{Setup, Stage};
use crate::transport::Transport;

/// Without a driver everything works that somebody waits for.
pub fn without_a_driver_callers_do_it_all(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.client(false);
        for host in Host::ALL {
            let conversation = handle.open(host.subject()).unwrap();
            assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
            let large = vec![7; 900_000];
            assert!(conversation.ask(large.clone().into(), WAIT).unwrap() == large);
            let request = conversation.request(say::NAP.into(), WAIT).unwrap();
            handle.ping().unwrap();
            assert_eq!(conversation.receive_reply(WAIT).unwrap().answers, request);
            conversation.message(say::EXIT.into()).unwrap();
            if !setup.is_v1() {
                conversation.await_crash(WAIT).unwrap();
            }
            conversation.close().unwrap();
        }
        handle.disconnect();
    }
}

/// What comes while nobody waits is there when somebody looks.
pub fn an_exit_while_nobody_waits_is_seen_later(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for host in Host::ALL {
        let (_handle, conversation) = world.open(host.subject());
        conversation.ask("hello".into(), WAIT).unwrap();
        conversation.message(say::PANIC.into()).unwrap();
        world.await_seen(|seen| (seen == Seen::Dropped).then_some(()));
        let until = std::time::Instant::now() + WAIT;
        while !conversation.has_detected_crash() {
            assert!(std::time::Instant::now() < until);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(conversation.await_crash(Duration::ZERO), conversation.await_crash(WAIT));
    }
}

fn impatient(config: &mut Config) {
    config.keepalive = Some(Keepalive { silence: Duration::from_millis(50), unanswered_max: 3 });
}

/// The pings of a server are answered while the client is idle, and while it waits for something long.
pub fn an_idle_client_with_a_driver_stays(transport: &dyn Transport) {
    let world =
        Stage::default().options(|options| impatient(&mut options.connection)).serve(transport, Setup::V2);
    let (idle, conversation) = world.open("inline");
    let (_waiting, quiet) = world.open("async");
    let waits = quiet.await_crash(Duration::from_millis(700));
    assert_eq!(waits, Err(AwaitCrashError::Timeout));
    assert_eq!(conversation.ask("still here".into(), WAIT).unwrap(), "still here");
    assert_eq!(quiet.ask("still here".into(), WAIT).unwrap(), "still here");
    assert!(idle.ping().is_ok());
}

/// Without a driver nobody answers while nobody waits: the server gives the client up.
pub fn an_idle_client_without_a_driver_is_given_up(transport: &dyn Transport) {
    let world =
        Stage::default().options(|options| impatient(&mut options.connection)).serve(transport, Setup::V2);
    let handle = world.client(false);
    let conversation = handle.open("inline").unwrap();
    conversation.ask("hello".into(), WAIT).unwrap();
    world.await_left();
    handle.closed();
}

/// A client finds out by itself that its server is not there any more.
pub fn a_server_that_answers_no_ping_is_given_up(transport: &dyn Transport) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    let mut config = Config::default();
    impatient(&mut config);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut server = Raw::accept(&listener);
            server.accept_hands(Version::V2_0);
            server
        });
        let handle = transport.connect(&address, config, true).unwrap();
        let mut server = server.join().unwrap();
        handle.closed();
        assert_eq!(server.expect().body, Body::Ping);
        drop(server);
    });
}

/// Asking for less time than whoever reads already waits for.
pub fn a_short_deadline_is_kept_while_others_wait_long(transport: &dyn Transport) {
    for driven in [true, false] {
        for setup in [Setup::V2, Setup::V1] {
            let world = Stage::default().serve(transport, setup);
            let handle = world.client(driven);
            let (slow, quick) = (handle.open("async").unwrap(), handle.open("inline").unwrap());
            thread::scope(|scope| {
                let waiting = scope.spawn(|| slow.receive_reply(WAIT / 2));
                for _ in 0..3 {
                    let begun = std::time::Instant::now();
                    let asked = quick.ask(say::HOLD.into(), NAP);
                    assert_eq!(asked, Err(AskError::Timeout));
                    assert!(begun.elapsed() < WAIT / 4);
                    let request = quick.request(say::HOLD.into(), NAP).unwrap();
                    let ended = quick.receive_reply(WAIT);
                    assert_eq!(ended, Err(ReceiveError::Deadline(request)));
                    assert!(begun.elapsed() < WAIT / 4);
                }
                slow.request("enough".into(), WAIT).unwrap();
                waiting.join().unwrap().unwrap();
            });
        }
    }
}

/// A request that ran out of time while half of it was sent does not spoil the connection: the driver
/// finishes what was begun.
pub fn what_a_caller_began_to_send_is_finished(transport: &dyn Transport) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = socket2::SockRef::from(&listener);
    socket.set_recv_buffer_size(4096).unwrap();
    let address = listener.local_addr().unwrap().into();
    for dialect in [Dialect::V2, Dialect::V1] {
        let limits = Limits { write_stall_time: 2 * WAIT, ..Limits::default() };
        let config = Config { max_dialect: dialect, limits, ..Config::default() };
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let mut server = Raw::accept(&listener);
                server.accept_hands(dialect.version());
                server.dialect = dialect;
                let open = server.expect();
                if dialect == Dialect::V2 {
                    server.send(0, open.stream.get(), Body::Opened { pid: None });
                }
                server
            });
            let handle = transport.connect(&address, config, true).unwrap();
            let conversation = handle.open("anything").unwrap();
            let mut server = server.join().unwrap();
            // Until the sockets between are full, and then some that are cut off.
            for _ in 0..20 {
                let asked = conversation.ask(vec![7; 300_000].into(), Duration::from_millis(20));
                assert_eq!(asked, Err(AskError::Timeout));
            }
            let mut received = 0;
            while received < 10 {
                match server.expect().body {
                    Body::Message { payload, .. } => assert_eq!(payload.len(), 300_000),
                    Body::ConversationMessage { envelope, .. } => assert_eq!(envelope.payload.len(), 300_000),
                    _ => continue,
                }
                received += 1;
            }
        });
    }
}
