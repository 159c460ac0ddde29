//! Participants on clients: the server relays between those who ask and those who serve.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use liminal_core::participant::{async_fn, from_fn};
use liminal_core::{CrashPolicy, Leaving, Received, Subject};
use liminal_driver::error::{AskError, Crash, Exited, OpenError, ServeError, ServiceEnd};
use liminal_proto::{CloseReason, CommandError, Config, ExitReason, ReasonCode};

use crate::WAIT;
use crate::puppet::{Host, NAP, say};
use crate::stage::{Setup, Stage, World, eventually};
use crate::transport::{Conversation, Handle, Role, Service, Transport};
use crate::wire::Wire;

/// As many conversations as anybody wants.
const MANY: u32 = 1000;

/// Answers with its name.
fn named(name: &'static str) -> Role {
    let factory = move || from_fn(move |context, _: Received| context.reply(name));
    Role::Inline(Arc::new(factory))
}

/// Answers with how often the message was given to another before.
fn counting() -> Role {
    let factory = || from_fn(|context, message: Received| context.reply(message.redelivered.to_string()));
    Role::Inline(Arc::new(factory))
}

/// A client of 2.0, whatever others speak.
fn client(world: &World<'_>) -> Arc<dyn Handle> {
    world.try_connect(Config::default(), true).expect("the server is there")
}

/// A client that serves "work".
fn serving(world: &World<'_>, role: Role, capacity: u32) -> (Arc<dyn Handle>, Arc<dyn Service>) {
    let handle = client(world);
    let service = handle.serve("work".into(), role, capacity).expect("the server takes offers");
    (handle, service)
}

/// The same through a wire that can be cut.
fn serving_through(
    transport: &dyn Transport,
    world: &World<'_>,
    role: Role,
) -> (Wire, Arc<dyn Handle>, Arc<dyn Service>) {
    let wire = Wire::to(world.address(), 64 << 10);
    let handle = transport.connect(&wire.address(), Config::default(), true).expect("the wire is there");
    let service = handle.serve("work".into(), role, MANY).expect("the server takes offers");
    (wire, handle, service)
}

/// How opening a conversation on "work" is refused.
#[track_caller]
fn refusal(handle: &dyn Handle) -> ReasonCode {
    match handle.open("work") {
        Err(OpenError::Refused(refusal)) => refusal.reason,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the conversation is open"),
    }
}

/// The exit that a request ended with.
#[track_caller]
fn crash_of<T: std::fmt::Debug>(asked: Result<T, AskError>) -> Crash {
    match asked {
        Err(AskError::Exited(Exited::Crash(crash))) => crash,
        other => panic!("no exit but {other:?}"),
    }
}

/// Every kind of participant answers through the server, to askers of both versions.
pub fn a_client_serves_and_another_asks(transport: &dyn Transport) {
    for setup in Setup::all(transport).iter().filter(|setup| setup.server_speaks_v2()) {
        for host in Host::ALL {
            let world = Stage::empty().serve(transport, *setup);
            let (_responder, _service) = serving(&world, world.puppet(host), MANY);
            let (_handle, conversation) = world.open("work");
            assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello", "{host:?} {setup:?}");
            assert_eq!(conversation.ask(say::PARTS.into(), WAIT).unwrap(), say::JOINED);
            conversation.message("between".into()).unwrap();
            assert_eq!(conversation.ask(say::COUNT.into(), WAIT).unwrap(), "4");
            let asked = conversation.ask(say::NOTHING.into(), WAIT);
            assert!(matches!(&asked, Err(AskError::Refused(it)) if it.reason == ReasonCode::NO_REPLY));
            conversation.close().unwrap();
            assert_eq!(world.await_left(), Leaving::Closed);
        }
    }
}

/// What serves may ask as well, also what it serves itself.
pub fn a_client_asks_itself(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    for host in Host::ALL {
        let (handle, service) = serving(&world, world.puppet(host), MANY);
        let conversation = handle.open("work").unwrap();
        for number in 1..50 {
            assert_eq!(conversation.ask(say::COUNT.into(), WAIT).unwrap(), number.to_string(), "{host:?}");
        }
        conversation.close().unwrap();
        service.withdraw();
        assert_eq!(service.ended(), ServiceEnd::Withdrawn);
    }
}

/// The one with the fewest conversations has the next; equals take turns.
pub fn responders_share_a_subject(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    let _responders = ["a", "b"].map(|name| serving(&world, named(name), MANY));
    let handle = world.connect();
    let who = |it: &Arc<dyn Conversation>| it.ask("who?".into(), WAIT).unwrap();
    let conversations: Vec<_> = (0..4).map(|_| handle.open("work").unwrap()).collect();
    assert_eq!(conversations.iter().map(who).collect::<Vec<_>>(), ["a", "b", "a", "b"]);
    let (_of_a, of_b): (Vec<_>, Vec<_>) = conversations.into_iter().partition(|it| who(it) == "a");
    of_b.into_iter().for_each(|it| it.close().unwrap());
    // They count until the responder has said, too, that they are over.
    eventually(|| {
        let two = [(); 2].map(|()| handle.open("work").unwrap());
        two.iter().map(who).all(|name| name == "b")
    });
}

/// One registration serves what nobody serves by name.
pub fn a_client_serves_whatever_nobody_else_does(transport: &dyn Transport) {
    let world = Stage::empty().role("by name", named("server")).serve(transport, Setup::V2);
    let responder = client(&world);
    let _service = responder.serve(Subject::Any, named("client"), MANY).unwrap();
    let handle = world.connect();
    for (subject, name) in [("anything", "client"), ("by name", "server"), ("else", "client")] {
        assert_eq!(handle.open(subject).unwrap().ask("who?".into(), WAIT).unwrap(), name);
    }
}

/// Everybody who waits for a responder whose connection is gone is told who it was and that it lost its
/// connection; the responder is told, too, and its participants leave.
pub fn a_responder_that_is_gone_is_told_at_once(transport: &dyn Transport) {
    for host in Host::ALL {
        let world = Stage::empty().serve(transport, Setup::V2);
        let (wire, _responder, service) = serving_through(transport, &world, world.puppet(host));
        let handle = world.connect();
        let conversations: Vec<_> = (0..3).map(|_| handle.open("work").unwrap()).collect();
        thread::scope(|scope| {
            let asked = conversations.iter().map(|conversation| {
                let pids = conversation.participant_pids().unwrap();
                (scope.spawn(|| conversation.ask(say::HOLD.into(), WAIT)), pids)
            });
            let asked: Vec<_> = asked.collect();
            for _ in &conversations {
                world.await_said(say::HOLD);
            }
            wire.cut();
            for (asked, pids) in asked {
                let crash = crash_of(asked.join().unwrap());
                assert_eq!((crash.reason, crash.goes_on), (ExitReason::ConnectionLost, false));
                assert_eq!(vec![crash.pid], pids, "{host:?}");
            }
        });
        let crash = conversations[0].exited().unwrap();
        assert_eq!(conversations[0].await_crash(WAIT), Ok(crash));
        assert!(matches!(service.ended(), ServiceEnd::Lost(_)));
        world.release();
        for _ in &conversations {
            assert_eq!(world.await_left(), Leaving::OwnerLost, "{host:?}");
        }
    }
}

/// What a responder had not begun to answer when its connection was gone is answered by the next, which is told
/// that it is not the first.
pub fn requests_go_on_with_the_next_responder(transport: &dyn Transport) {
    let world = Stage::empty().on_crash("work", CrashPolicy::RouteToNext).serve(transport, Setup::V2);
    let (wire, _first, _service) = serving_through(transport, &world, world.puppet(Host::Async));
    let (handle, conversation) = world.open("work");
    let before = conversation.participant_pids().unwrap();
    let _second = serving(&world, counting(), MANY);
    conversation.request(say::HOLD.into(), WAIT).unwrap();
    conversation.request("behind it".into(), WAIT).unwrap();
    world.await_said(say::HOLD);
    // The server has heard all that was said before.
    handle.ping().unwrap();
    wire.cut();
    for _ in 0..2 {
        assert_eq!(conversation.receive_reply(WAIT).unwrap().payload, "1");
    }
    let crash = conversation.exited().unwrap();
    assert_eq!((vec![crash.pid], crash.goes_on), (before, true));
    assert_eq!(crash.reason, ExitReason::ConnectionLost);
    drop(handle);
}

/// An exit after which nobody is left is told while the request waits for somebody to come, once, and who comes then
/// answers.
pub fn an_exit_is_told_while_a_request_waits_for_the_next_responder(transport: &dyn Transport) {
    let world = Stage::empty().on_crash("work", CrashPolicy::RouteToNext).serve(transport, Setup::V2);
    let (wire, _first, _service) = serving_through(transport, &world, world.puppet(Host::Async));
    let (_handle, conversation) = world.open("work");
    let (exits, told) = channel();
    let tell = |crash: &Crash| exits.send(crash.clone()).unwrap();
    thread::scope(|scope| {
        let asked = scope.spawn(|| conversation.ask_through_exits(say::HOLD.into(), WAIT, &mut &tell));
        world.await_said(say::HOLD);
        wire.cut();
        let crash = told.recv_timeout(WAIT).unwrap();
        assert_eq!((&crash.reason, crash.goes_on), (&ExitReason::ConnectionLost, true));
        assert_eq!(conversation.exited(), Ok(crash));
        // Only now is there somebody else.
        let _second = serving(&world, counting(), MANY);
        assert_eq!(asked.join().unwrap().unwrap(), "1");
        assert_eq!(conversation.ask_through_exits("again".into(), WAIT, &mut &tell).unwrap(), "0");
    });
    assert!(told.try_recv().is_err(), "each is told once");
}

/// A participant that panics exits on its client as it would on the server.
pub fn an_exit_on_a_client_is_told_with_its_reason(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    for host in Host::ALL {
        let (_responder, service) = serving(&world, world.puppet(host), MANY);
        let (_handle, conversation) = world.open("work");
        let crash = crash_of(conversation.ask(say::PANIC.into(), WAIT));
        assert_eq!(crash.reason, ExitReason::Crashed { text: crate::puppet::PLANNED.into() }, "{host:?}");
        // It takes nothing else down.
        let (_handle, conversation) = world.open("work");
        assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
        drop(service);
        assert_eq!(crash_of(conversation.ask("hello?".into(), WAIT)).reason, ExitReason::Withdrawn);
    }
}

/// Withdrawn at once, a responder is gone for those who wait for it.
pub fn a_service_that_is_withdrawn_ends_at_once(transport: &dyn Transport) {
    for host in Host::ALL {
        let world = Stage::empty().serve(transport, Setup::V2);
        let (_responder, service) = serving(&world, world.puppet(host), MANY);
        let (handle, conversation) = world.open("work");
        conversation.request(say::BULK_LATER.into(), WAIT).unwrap();
        world.await_said(say::BULK_LATER);
        service.withdraw();
        assert_eq!(conversation.exited().unwrap().reason, ExitReason::Withdrawn, "{host:?}");
        assert_eq!(refusal(&*handle), ReasonCode::NO_PARTICIPANT);
        world.await_left();
        assert_eq!(service.ended(), ServiceEnd::Withdrawn);
        assert_eq!(service.ended(), ServiceEnd::Withdrawn, "asking again gives the same answer");
    }
}

/// While it drains it takes no new conversations, and those that there are go on.
pub fn a_service_that_drains_serves_what_it_has(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    for host in Host::ALL {
        let (_responder, service) = serving(&world, world.puppet(host), MANY);
        let (handle, conversation) = world.open("work");
        service.drain();
        eventually(|| handle.open("work").is_err());
        assert_eq!(conversation.ask("still there?".into(), WAIT).unwrap(), "still there?", "{host:?}");
        conversation.close().unwrap();
        assert_eq!(service.ended(), ServiceEnd::Withdrawn);
    }
}

/// A service that nobody holds is withdrawn.
pub fn a_dropped_service_is_withdrawn(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    let (_responder, service) = serving(&world, named("gone"), MANY);
    let (handle, conversation) = world.open("work");
    drop(service);
    assert_eq!(conversation.exited().unwrap().reason, ExitReason::Withdrawn);
    assert_eq!(refusal(&*handle), ReasonCode::NO_PARTICIPANT);
}

/// A responder has no more conversations than it takes.
pub fn a_full_responder_takes_no_more(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    let _responder = serving(&world, named("alone"), 1);
    let (_first, conversation) = world.open("work");
    let second = world.connect();
    assert_eq!(refusal(&*second), ReasonCode::BUSY);
    conversation.close().unwrap();
    let mut open = None;
    eventually(|| {
        open = second.open("work").ok();
        open.is_some()
    });
    assert_eq!(open.unwrap().ask("who?".into(), WAIT).unwrap(), "alone");
}

/// One that has no place is passed over; where there is no other, that is told.
pub fn a_responder_without_a_place_is_passed_over(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    let (_busy, _nobody) = serving(&world, Role::Refusing(ReasonCode::BUSY), MANY);
    let handle = world.connect();
    assert_eq!(refusal(&*handle), ReasonCode::BUSY);
    let (_responder, _service) = serving(&world, named("b"), MANY);
    for _ in 0..4 {
        assert_eq!(handle.open("work").unwrap().ask("who?".into(), WAIT).unwrap(), "b");
    }
}

/// One that has a reason to let nobody join says it to the opener.
pub fn a_responder_that_refuses_says_why(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    let (_responder, _service) = serving(&world, Role::Refusing(ReasonCode::NOT_ALLOWED), MANY);
    assert_eq!(refusal(&*world.connect()), ReasonCode::NOT_ALLOWED);
}

/// 1.0 has no words for it, whichever side speaks no more.
pub fn serving_needs_version_2(transport: &dyn Transport) {
    for &setup in Setup::all(transport).iter().filter(|setup| setup.is_v1()) {
        let world = Stage::empty().serve(transport, setup);
        let served = world.connect().serve("work".into(), named("nobody"), MANY);
        assert_eq!(served.err(), Some(ServeError::NeedsVersion2), "{setup:?}");
    }
}

/// What cannot be offered is refused here, and what the server does not take there.
pub fn offers_that_cannot_stand_are_refused(transport: &dyn Transport) {
    let world =
        Stage::empty().options(|options| options.bus.offers_per_link_max = 1).serve(transport, Setup::V2);
    let handle = client(&world);
    let serve = |subject: &str, role: Role, capacity| handle.serve(subject.into(), role, capacity);
    assert_eq!(serve("work", Role::TraceOnly, MANY).err(), Some(ServeError::TraceOnly));
    let long = serve(&"x".repeat(257), named("nobody"), MANY).err();
    assert_eq!(long, Some(ServeError::Rejected(CommandError::TooLarge { len: 257, limit: 256 })));
    assert!(matches!(serve("work", named("nobody"), 0).err(), Some(ServeError::Rejected(_))));
    let _service = serve("work", named("a"), MANY).unwrap();
    let second = serve("more work", named("nobody"), MANY).err();
    assert!(matches!(second, Some(ServeError::Refused(refusal)) if refusal.reason == ReasonCode::LIMIT));
    assert_eq!(world.connect().open("work").unwrap().ask("who?".into(), WAIT).unwrap(), "a");
}

/// One that takes its time over large messages keeps nobody else waiting who is served on the same connection.
pub fn a_slow_responder_with_large_messages_stops_nobody(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    let (responder, _service) = serving(&world, named("quick"), MANY);
    let gate = smol::lock::Semaphore::new(0);
    let gate = Arc::new(gate);
    let held = Arc::clone(&gate);
    let slow = move || {
        let held = Arc::clone(&held);
        async_fn(move |mut context, message: Received| {
            let held = Arc::clone(&held);
            async move {
                held.acquire().await.forget();
                context.reply(message.payload);
            }
        })
    };
    let _slow = responder.serve("slow".into(), Role::Async(Arc::new(slow)), MANY).unwrap();
    let handle = world.connect();
    let large = vec![7; 900 << 10];
    let slow = [(); 2].map(|()| handle.open("slow").unwrap());
    for slow in &slow {
        slow.request(large.clone().into(), WAIT).unwrap();
    }
    let quick = handle.open("work").unwrap();
    for _ in 0..100 {
        assert_eq!(quick.ask(vec![1; 1000].into(), WAIT).unwrap(), "quick");
    }
    gate.add_permits(2);
    for slow in &slow {
        assert_eq!(slow.receive_reply(WAIT).unwrap().payload, large);
    }
}

/// Large replies of many conversations cross large requests.
pub fn large_replies_of_a_responder_find_their_way(transport: &dyn Transport) {
    let world = Stage::empty().serve(transport, Setup::V2);
    for host in Host::ALL {
        let (_responder, _service) = serving(&world, world.puppet(host), MANY);
        let handle = world.connect();
        let conversations: Vec<_> = (0..8).map(|_| handle.open("work").unwrap()).collect();
        thread::scope(|scope| {
            for (number, conversation) in (0..).zip(&conversations) {
                scope.spawn(move || {
                    for round in 0..4u8 {
                        let said = vec![16 * number + round; 300 << 10];
                        assert_eq!(conversation.ask(said.clone().into(), WAIT).unwrap(), said);
                    }
                });
            }
        });
    }
}

/// Replies that find no room in the output of their client wait, and go on when there is some. Together they are
/// more than all sockets on their way hold.
pub fn replies_that_find_no_room_wait_for_it(transport: &dyn Transport) {
    const LARGE: usize = 900 << 10;
    let at_once = || from_fn(|context, _: Received| context.reply(vec![7; LARGE]));
    let later = || {
        async_fn(|mut context, _: Received| async move {
            context.sleep(NAP).await;
            context.reply(vec![7; LARGE]);
        })
    };
    for role in
        [Role::Inline(Arc::new(at_once)), Role::Blocking(Arc::new(at_once)), Role::Async(Arc::new(later))]
    {
        let world = Stage::empty().serve(transport, Setup::V2);
        let (_wire, _responder, _service) = serving_through(transport, &world, role);
        let handle = world.connect();
        let conversations: Vec<_> = (0..14).map(|_| handle.open("work").unwrap()).collect();
        for conversation in &conversations {
            conversation.request("much".into(), WAIT).unwrap();
        }
        for conversation in &conversations {
            assert_eq!(conversation.receive_reply(WAIT).unwrap().payload.len(), LARGE);
        }
    }
}

/// When the server stops, what its clients serve ends, and their participants leave.
pub fn a_server_that_stops_ends_services(transport: &dyn Transport) {
    for host in Host::ALL {
        let mut world = Stage::empty().serve(transport, Setup::V2);
        let (_responder, service) = serving(&world, world.puppet(host), MANY);
        let (_handle, conversation) = world.open("work");
        assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
        world.stop();
        assert_eq!(service.ended(), ServiceEnd::Lost(CloseReason::Peer), "{host:?}");
        world.await_left();
        world.ended();
    }
}
