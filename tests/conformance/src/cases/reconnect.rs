//! Clients whose connection is lost, and that come back.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use liminal_core::participant::from_fn;
use liminal_core::{Leaving, Received};
use liminal_driver::client::{Backoff, Connectivity, Reconnect, Standing};
use liminal_driver::error::{
    AskError, AwaitCrashError, CloseError, Lost, MessageError, OpenError, ReceiveError, ReconnectError,
    ServeError, ServiceEnd,
};
use liminal_proto::wire::Version;
use liminal_proto::{CloseReason, Config, ExitReason, ReasonCode};

use crate::WAIT;
use crate::puppet::{Host, NAP, say};
use crate::raw::Raw;
use crate::stage::{Setup, Stage, World, eventually};
use crate::transport::{Handle, Role, Service, Transport};
use crate::wire::Wire;

/// Comes back soon.
pub const SOON: Reconnect = Reconnect {
    backoff: Backoff { initial: Duration::from_millis(1), factor: 2, max: Duration::from_millis(20) },
    wait_time: WAIT,
};

/// Pauses for longer than any case takes, most likely.
pub const LATER: Reconnect = Reconnect {
    backoff: Backoff {
        initial: Duration::from_secs(24 * 3600),
        factor: 1,
        max: Duration::from_secs(24 * 3600),
    },
    wait_time: NAP,
};

/// As many conversations as anybody wants.
const MANY: u32 = 1000;

const FIRST: Connectivity = Connectivity::Connected { connection: 1 };

fn wire_to(world: &World<'_>) -> Wire {
    Wire::to(world.address(), 64 << 10)
}

/// A client on a wire, that comes back.
fn coming_back(transport: &dyn Transport, wire: &Wire, how: Reconnect) -> Arc<dyn Handle> {
    let handle = transport.connect(&wire.address(), Config::default(), true).expect("the wire is there");
    handle.reconnect(how).unwrap();
    handle
}

/// Waits until this is how it stands.
#[track_caller]
fn await_connection(handle: &dyn Handle, number: u64) {
    let wanted = Connectivity::Connected { connection: number };
    let mut connectivity = handle.connectivity();
    while connectivity != wanted {
        assert!(!matches!(connectivity, Connectivity::Closed(_)), "{connectivity:?}");
        connectivity = handle.connectivity_changed(&connectivity);
    }
}

/// Waits until it is served on this connection.
#[track_caller]
fn await_serving(service: &dyn Service, connection: u64) {
    let wanted = Standing::Serving { connection };
    let mut standing = service.standing();
    while standing != wanted {
        assert!(!matches!(standing, Standing::Ended(_)), "{standing:?}");
        standing = service.standing_changed(&standing);
    }
}

fn echo() -> Role {
    Role::Inline(Arc::new(|| from_fn(|context, message: Received| context.reply(message.payload))))
}

/// How a conversation on "work" ends that is opened now, whoever serves it.
fn ask(handle: &dyn Handle) -> Result<bytes::Bytes, ReasonCode> {
    match handle.open("work") {
        Ok(conversation) => Ok(conversation.ask("hello".into(), WAIT).unwrap()),
        Err(OpenError::Refused(refusal)) => Err(refusal.reason),
        Err(error) => panic!("{error}"),
    }
}

/// Again and again, in both versions; it says how it stands, and what it asks then is answered.
pub fn a_client_comes_back_when_its_connection_is_lost(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V1Server] {
        let world = Stage::default().serve(transport, setup);
        let wire = wire_to(&world);
        let handle = coming_back(transport, &wire, SOON);
        assert_eq!(handle.connectivity(), FIRST);
        for number in 1..5 {
            let before = handle.connectivity();
            assert_eq!(before, Connectivity::Connected { connection: number });
            assert_eq!(handle.version(), setup.dialect().version());
            let conversation = handle.open("inline").unwrap();
            assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
            thread::scope(|scope| {
                let changed = scope.spawn(|| handle.connectivity_changed(&before));
                wire.cut();
                assert_ne!(changed.join().unwrap(), before);
            });
            // Nobody has to wait for the connection first.
            handle.ping().unwrap();
            await_connection(&*handle, number + 1);
        }
    }
}

/// Whoever waits in one is told that it is lost, and so is whoever speaks in it later. Its participant is told, too.
pub fn conversations_end_with_their_connection_and_never_resume(transport: &dyn Transport) {
    for host in Host::ALL {
        let world = Stage::default().serve(transport, Setup::V2);
        let wire = wire_to(&world);
        let handle = coming_back(transport, &wire, SOON);
        let conversation = handle.open(host.subject()).unwrap();
        // A server keeps what is asked over half a connection until it is answered, which only these do soon.
        let holds = matches!(host, Host::Blocking | Host::Hosted);
        thread::scope(|scope| {
            let waits = scope.spawn(|| conversation.exited());
            let asks = holds.then(|| scope.spawn(|| conversation.ask(say::HOLD.into(), WAIT)));
            if holds {
                world.await_said(say::HOLD);
            }
            wire.cut();
            assert!(matches!(waits.join().unwrap(), Err(AwaitCrashError::Lost(_))), "{host:?}");
            let asked = asks.map(|asks| asks.join().unwrap());
            assert!(matches!(asked, None | Some(Err(AskError::Lost(_)))), "{host:?}");
        });
        world.release();
        world.await_orphaned();
        await_connection(&*handle, 2);
        let other = handle.open(host.subject()).unwrap();
        assert_eq!(other.ask(say::COUNT.into(), WAIT).unwrap(), "1", "{host:?}");
        assert!(matches!(conversation.ask("again".into(), WAIT), Err(AskError::Lost(_))), "{host:?}");
        assert!(matches!(conversation.message("again".into()), Err(MessageError::Lost(_))));
        assert!(matches!(conversation.receive_reply(WAIT), Err(ReceiveError::Lost(_))));
        assert!(matches!(conversation.await_crash(WAIT), Err(AwaitCrashError::Lost(_))));
        assert!(matches!(conversation.close(), Err(CloseError::Lost(_))));
        assert_eq!(other.ask(say::COUNT.into(), WAIT).unwrap(), "2", "nothing that was lost came through");
    }
}

/// Opening, serving and pinging wait for a connection while there is none, and fail as lost when that takes too long.
pub fn calls_wait_for_a_connection_and_no_longer_than_told(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let wire = wire_to(&world);
    let handle = coming_back(transport, &wire, Reconnect { wait_time: NAP, ..SOON });
    wire.lead_to(None);
    wire.cut();
    handle.connectivity_changed(&FIRST);
    let Connectivity::Reconnecting(outage) = handle.connectivity() else { panic!("there is nobody") };
    assert_eq!(handle.open("inline").err(), Some(OpenError::Lost(outage.lost.clone())));
    assert_eq!(handle.ping(), Err(Lost(outage.lost.clone())));
    let served = handle.serve("work".into(), echo(), MANY);
    assert_eq!(served.err(), Some(ServeError::Lost(outage.lost)));
    // It is said why there is none.
    let mut connectivity = handle.connectivity();
    while !matches!(&connectivity, Connectivity::Reconnecting(outage) if outage.error.is_some()) {
        connectivity = handle.connectivity_changed(&connectivity);
    }
    handle.reconnect(SOON).unwrap();
    thread::scope(|scope| {
        let opened = scope.spawn(|| handle.open("inline").unwrap().ask("hello".into(), WAIT));
        let served = scope.spawn(|| handle.serve("work".into(), echo(), MANY));
        let pinged = scope.spawn(|| handle.ping());
        thread::sleep(NAP);
        wire.lead_to(Some(world.address()));
        assert_eq!(opened.join().unwrap().unwrap(), "hello");
        pinged.join().unwrap().unwrap();
        let service = served.join().unwrap().unwrap();
        assert_eq!(service.standing(), Standing::Serving { connection: 2 });
        assert_eq!(ask(&*world.connect()).unwrap(), "hello");
    });
}

/// With the same participants, whatever their kind, again and again; until it is withdrawn.
pub fn what_is_served_is_served_again(transport: &dyn Transport) {
    for host in Host::ALL {
        let world = Stage::empty().serve(transport, Setup::V2);
        let wire = wire_to(&world);
        let responder = coming_back(transport, &wire, SOON);
        let service = responder.serve("work".into(), world.puppet(host), MANY).unwrap();
        let asker = world.connect();
        for connection in 1..4 {
            await_serving(&*service, connection);
            let conversation = asker.open("work").unwrap();
            assert_eq!(conversation.ask(say::COUNT.into(), WAIT).unwrap(), "1", "{host:?}");
            let held = conversation.request(say::HOLD.into(), WAIT).unwrap();
            world.await_said(say::HOLD);
            wire.cut();
            let exit = conversation.exited().unwrap();
            assert_eq!((exit.reason, exit.goes_on), (ExitReason::ConnectionLost, false), "{host:?}");
            assert!(held.get() > 0);
            world.release();
            assert_eq!(world.await_left(), Leaving::OwnerLost);
        }
        await_serving(&*service, 4);
        service.withdraw();
        assert_eq!(service.ended(), ServiceEnd::Withdrawn);
        assert_eq!(ask(&*asker), Err(ReasonCode::NO_PARTICIPANT), "{host:?}");
    }
}

/// A server that says goodbye is one that may be back.
pub fn a_server_that_is_started_anew_is_served_again(transport: &dyn Transport) {
    let mut world = Stage::empty().serve(transport, Setup::V2);
    let wire = wire_to(&world);
    let responder = coming_back(transport, &wire, SOON);
    let services =
        ["work", "more work"].map(|subject| responder.serve(subject.into(), echo(), MANY).unwrap());
    for connection in 2..5 {
        let next = Stage::empty().serve(transport, Setup::V2);
        wire.lead_to(Some(next.address()));
        let serving = services[0].standing();
        thread::scope(|scope| {
            let interrupted = scope.spawn(|| services[0].standing_changed(&serving));
            std::mem::replace(&mut world, next).finish();
            let lost = Standing::Interrupted { lost: CloseReason::Peer };
            let interrupted = interrupted.join().unwrap();
            assert!(
                interrupted == lost || interrupted == Standing::Serving { connection },
                "{interrupted:?}"
            );
        });
        services.iter().for_each(|service| await_serving(&**service, connection));
        assert_eq!(ask(&*world.connect()).unwrap(), "hello");
    }
}

/// A server that was started anew counts its participants from the beginning, and one of the last may still be about
/// to leave.
pub fn a_participant_that_still_leaves_is_not_another_with_its_pid(transport: &dyn Transport) {
    for host in Host::ALL {
        let [world, anew] = [(); 2].map(|()| Stage::empty().serve(transport, Setup::V2));
        let wire = wire_to(&world);
        let responder = coming_back(transport, &wire, SOON);
        let service = responder.serve("work".into(), world.puppet(host), MANY).unwrap();
        let (_asker, conversation) = world.open("work");
        let pids = conversation.participant_pids().unwrap();
        conversation.request(say::HOLD.into(), WAIT).unwrap();
        world.await_said(say::HOLD);
        wire.lead_to(Some(anew.address()));
        wire.cut();
        await_serving(&*service, 2);
        let (_asker, conversation) = anew.open("work");
        assert_eq!(conversation.participant_pids().unwrap(), pids, "{host:?}");
        assert_eq!(conversation.ask(say::COUNT.into(), WAIT).unwrap(), "1", "{host:?}");
        world.release();
        assert_eq!(world.await_left(), Leaving::OwnerLost, "{host:?}");
        assert_eq!(conversation.ask(say::COUNT.into(), WAIT).unwrap(), "2", "{host:?}");
        conversation.close().unwrap();
        assert_eq!(world.await_left(), Leaving::Closed, "{host:?}");
    }
}

/// Neither what was withdrawn before the connection was lost, nor what was while there was none.
pub fn what_was_withdrawn_is_not_offered_again(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    let wire = wire_to(&world);
    let responder = coming_back(transport, &wire, SOON);
    let serve = |subject: &str| responder.serve(subject.into(), echo(), MANY).unwrap();
    let subjects = ["withdrawn", "drained", "dropped", "withdrawn later", "drained later", "dropped later"];
    let [withdrawn, drained, dropped, withdrawn_later, drained_later, dropped_later] = subjects.map(serve);
    let stays = serve("work");
    // One that drains is still there, because it has a conversation.
    let asker = world.connect();
    let conversation = asker.open("drained").unwrap();
    withdrawn.withdraw();
    drained.drain();
    drop(dropped);
    assert_eq!(withdrawn.ended(), ServiceEnd::Withdrawn);
    wire.lead_to(None);
    wire.cut();
    assert!(matches!(
        stays.standing_changed(&Standing::Serving { connection: 1 }),
        Standing::Interrupted { .. }
    ));
    assert!(matches!(drained.ended(), ServiceEnd::Lost(_)));
    assert_eq!(conversation.exited().unwrap().reason, ExitReason::ConnectionLost);
    withdrawn_later.withdraw();
    drained_later.drain();
    drop(dropped_later);
    assert_eq!(withdrawn_later.ended(), ServiceEnd::Withdrawn);
    assert_eq!(drained_later.ended(), ServiceEnd::Withdrawn);
    wire.lead_to(Some(world.address()));
    await_serving(&*stays, 2);
    assert_eq!(ask(&*asker).unwrap(), "hello");
    for subject in subjects {
        assert!(matches!(asker.open(subject), Err(OpenError::Refused(_))), "{subject}");
    }
}

/// One that wants another token will want it the next time, too.
pub fn a_server_that_refuses_for_good_ends_it(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let strict = Stage::default()
        .options(|options| options.connection.token = "secret".into())
        .serve(transport, Setup::V2);
    let wire = wire_to(&world);
    let handle = coming_back(transport, &wire, SOON);
    let service = handle.serve("work".into(), echo(), MANY).unwrap();
    wire.lead_to(Some(strict.address()));
    wire.cut();
    let Lost(end) = handle.closed();
    let is_refusal =
        matches!(&end, CloseReason::Refused { reason, .. } if *reason == ReasonCode::AUTHENTICATION);
    assert!(is_refusal, "{end:?}");
    assert_eq!(handle.connectivity(), Connectivity::Closed(end.clone()));
    assert_eq!(service.ended(), ServiceEnd::Lost(end.clone()));
    assert_eq!(handle.open("inline").err(), Some(OpenError::Lost(end.clone())));
    assert_eq!(handle.reconnect(SOON), Err(ReconnectError::Lost(end)));
}

/// Where nobody may serve, or the server knows only 1.0, the handle may go on asking.
pub fn a_server_that_lets_nobody_serve_ends_the_service_alone(transport: &dyn Transport) {
    for (setup, refuses) in [(Setup::V2, true), (Setup::V1Server, false)] {
        // Where the server's part is played by a client of it, that may not serve either.
        if transport.is_relayed() && refuses {
            continue;
        }
        let world = Stage::default().serve(transport, Setup::V2);
        let other = Stage::default()
            .options(|options| {
                if refuses {
                    options.bus.offers_per_link_max = 0
                }
            })
            .serve(transport, setup);
        let wire = wire_to(&world);
        let handle = coming_back(transport, &wire, SOON);
        let service = handle.serve("work".into(), echo(), MANY).unwrap();
        wire.lead_to(Some(other.address()));
        wire.cut();
        match service.ended() {
            ServiceEnd::NotServed(ServeError::Refused(refusal)) => {
                assert!(refuses && refusal.reason == ReasonCode::NOT_ALLOWED, "{refusal}");
            }
            end => assert_eq!((refuses, end), (false, ServiceEnd::NotServed(ServeError::NeedsVersion2))),
        }
        assert_eq!(handle.open("inline").unwrap().ask("hello".into(), WAIT).unwrap(), "hello");
        assert_eq!(handle.version(), setup.dialect().version());
        // Not even by the server that it had before.
        wire.lead_to(Some(world.address()));
        wire.cut();
        await_connection(&*handle, 3);
        assert!(matches!(service.ended(), ServiceEnd::NotServed(_)));
        assert_eq!(ask(&*handle), Err(ReasonCode::NO_PARTICIPANT));
    }
}

/// Neither does what shakes hands and is gone, nor what speaks something else.
pub fn a_connection_that_never_lasts_is_tried_again_and_again(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let wire = wire_to(&world);
    let handle = coming_back(transport, &wire, SOON);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    wire.lead_to(Some(&listener.local_addr().unwrap().into()));
    wire.cut();
    for _ in 0..5 {
        let mut gone = Raw::accept(&listener);
        gone.accept_hands(Version::V2_0);
        drop(gone);
        let mut stranger = Raw::accept(&listener);
        stranger.send_bytes(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
        drop(stranger);
    }
    wire.lead_to(Some(world.address()));
    drop(listener);
    eventually(|| {
        let opened = handle.open("inline");
        opened.is_ok_and(|conversation| conversation.ask("hello".into(), WAIT).is_ok())
    });
    // Each that shook hands was one.
    assert!(matches!(handle.connectivity(), Connectivity::Connected { connection: 7.. }));
}

/// By this side, while there is a connection or while there is none.
pub fn whoever_is_closed_does_not_come_back(transport: &dyn Transport) {
    for away in [false, true] {
        let world = Stage::default().serve(transport, Setup::V2);
        let wire = wire_to(&world);
        let handle = coming_back(transport, &wire, LATER);
        let service = handle.serve("work".into(), echo(), MANY).unwrap();
        if away {
            wire.cut();
            let lost = service.standing_changed(&Standing::Serving { connection: 1 });
            assert!(matches!(lost, Standing::Interrupted { .. }), "{lost:?}");
        }
        thread::scope(|scope| {
            let closed = scope.spawn(|| handle.closed());
            let opened = scope.spawn(|| {
                handle.reconnect(Reconnect { wait_time: WAIT, ..LATER }).unwrap();
                let opened = handle.open("async");
                opened.and_then(|it| it.exited().map_err(|_| OpenError::Lost(CloseReason::Local)))
            });
            thread::sleep(NAP);
            handle.disconnect();
            assert_eq!(closed.join().unwrap(), Lost(CloseReason::Local));
            assert_eq!(opened.join().unwrap().err(), Some(OpenError::Lost(CloseReason::Local)));
        });
        assert_eq!(handle.connectivity(), Connectivity::Closed(CloseReason::Local), "away: {away}");
        assert_eq!(service.ended(), ServiceEnd::Lost(CloseReason::Local));
    }
}

/// Nobody waits for a server that does not shake hands, where the handle is closed meanwhile.
pub fn whoever_is_closed_while_it_dials_dials_no_more(transport: &dyn Transport) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    let mut config = Config::default();
    config.limits.handshake_time = Duration::from_secs(24 * 3600);
    for dropped in [false, true] {
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let mut server = Raw::accept(&listener);
                server.accept_hands(Version::V2_0);
                server
            });
            let handle = transport.connect(&address, config.clone(), true).unwrap();
            handle.reconnect(SOON).unwrap();
            drop(server.join().unwrap());
            let mut again = Raw::accept(&listener);
            again.expect();
            if !dropped {
                handle.disconnect();
                assert_eq!(handle.closed(), Lost(CloseReason::Local));
            }
            drop(handle);
            again.expect_end();
        });
    }
}

/// Callers read and write without one, and that is all.
pub fn without_a_driver_nobody_dials(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let wire = wire_to(&world);
    let handle = transport.connect(&wire.address(), Config::default(), false).unwrap();
    handle.reconnect(Reconnect { wait_time: NAP, ..SOON }).unwrap();
    let conversation = handle.open("inline").unwrap();
    assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
    wire.cut();
    assert!(matches!(conversation.receive_reply(WAIT), Err(ReceiveError::Lost(_))));
    assert!(matches!(handle.open("inline"), Err(OpenError::Lost(_))));
    let connectivity = handle.connectivity();
    assert!(matches!(connectivity, Connectivity::Reconnecting(_)), "{connectivity:?}");
    assert_eq!(handle.connectivity(), connectivity, "asking again gives the same answer");
}

/// What is lost stays lost then.
pub fn who_is_not_told_to_reconnect_does_not(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let wire = wire_to(&world);
    let handle = transport.connect(&wire.address(), Config::default(), true).unwrap();
    let service = handle.serve("work".into(), echo(), MANY).unwrap();
    wire.cut();
    let Lost(end) = handle.closed();
    assert_eq!(handle.connectivity(), Connectivity::Closed(end.clone()));
    assert_eq!(service.ended(), ServiceEnd::Lost(end.clone()));
    assert_eq!(handle.open("inline").err(), Some(OpenError::Lost(end)));
}
