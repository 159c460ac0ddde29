//! What happens when a participant exits, fails to answer, or answers what it should not.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use liminal_core::Received;
use liminal_core::participant::{AsyncContext, async_fn};
use liminal_driver::error::{
    AskError, AwaitCrashError, Crash, Exited, MessageError, OpenError, ReceiveError,
};
use liminal_proto::{ExitReason, ReasonCode};

use crate::WAIT;
use crate::puppet::{Fault, Host, NAP, PLANNED, say};
use crate::stage::{Setup, Stage, eventually};
use crate::transport::{Conversation, Role, Transport};

fn planned() -> ExitReason {
    ExitReason::Crashed { text: PLANNED.into() }
}

fn crash_of(asked: Result<bytes::Bytes, AskError>) -> Option<Crash> {
    exit_of(asked).crash().cloned()
}

fn exit_of(asked: Result<bytes::Bytes, AskError>) -> Exited {
    match asked {
        Err(AskError::Exited(exit)) => exit,
        other => panic!("the participant should have exited: {other:?}"),
    }
}

/// Who asks is told at once, and told who and why: in 1.0, which has no word for it, as a text.
pub fn the_asker_is_told_who_exited_and_why(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        for (said, reason) in [(say::PANIC, planned()), (say::EXIT, ExitReason::Normal)] {
            for host in Host::ALL {
                let conversation = handle.open(host.subject()).unwrap();
                let pids = conversation.participant_pids();
                let begun = Instant::now();
                let exit = exit_of(conversation.ask(said.into(), WAIT));
                assert!(begun.elapsed() < WAIT / 2, "{host:?} {setup:?}");
                match exit {
                    Exited::Crash(crash) => {
                        assert_eq!((vec![crash.pid], crash.reason), (pids.unwrap(), reason.clone()));
                    }
                    Exited::Words(words) => {
                        assert!(setup.is_v1());
                        let words = words.expect("the server is ours");
                        assert!(words.starts_with("participant ") && words.ends_with(&reason.to_string()));
                    }
                }
            }
        }
    }
}

/// Other conversations and other connections go on.
pub fn an_exit_takes_nothing_else_down(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let (handle, neighbour) = (world.connect(), world.connect());
        for host in Host::ALL {
            let (one, other) = (handle.open(host.subject()).unwrap(), handle.open(host.subject()).unwrap());
            let far = neighbour.open(host.subject()).unwrap();
            crash_of(one.ask(say::PANIC.into(), WAIT));
            assert_eq!(other.ask("go on".into(), WAIT).unwrap(), "go on");
            assert_eq!(far.ask("go on".into(), WAIT).unwrap(), "go on");
            let anew = handle.open(host.subject()).unwrap();
            assert_eq!(anew.ask("again".into(), WAIT).unwrap(), "again");
        }
        world.finish();
    }
}

/// After an exit messages and requests are refused, by an error that names the participant.
pub fn after_an_exit_messages_are_refused(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        for host in Host::ALL {
            let (_handle, conversation) = world.open(host.subject());
            let exit = exit_of(conversation.ask(say::PANIC.into(), WAIT));
            for _ in 0..2 {
                assert_eq!(conversation.message("hello?".into()), Err(MessageError::Exited(exit.clone())));
                assert_eq!(conversation.ask("hello?".into(), WAIT), Err(AskError::Exited(exit.clone())));
                let asked = conversation.request("hello?".into(), WAIT);
                assert_eq!(asked, Err(AskError::Exited(exit.clone())));
            }
        }
    }
}

/// A failed conversation is released by closing it, which is no error.
pub fn a_failed_conversation_can_be_closed(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        for host in Host::ALL {
            let conversation = handle.open(host.subject()).unwrap();
            crash_of(conversation.ask(say::PANIC.into(), WAIT));
            conversation.close().unwrap();
        }
        assert_eq!(handle.open("inline").unwrap().ask("go on".into(), WAIT).unwrap(), "go on");
    }
}

/// A crash that a message without a reply caused is seen by whoever looks, without waiting.
pub fn a_crash_can_be_seen_without_waiting(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V2Unix] {
        if !Setup::all(transport).contains(&setup) {
            continue;
        }
        let world = Stage::default().serve(transport, setup);
        for driven in [true, false] {
            for host in Host::ALL {
                let handle = world.client(driven);
                let conversation = handle.open(host.subject()).unwrap();
                assert!(!conversation.has_detected_crash());
                conversation.ask("alive".into(), WAIT).unwrap();
                assert!(!conversation.has_detected_crash());
                conversation.message(say::PANIC.into()).unwrap();
                eventually(|| conversation.has_detected_crash());
                assert!(conversation.has_detected_crash());
            }
        }
    }
}

/// Whether it is awaited before, during or after the exit: the answer is the same, and stays.
pub fn a_crash_is_awaited_before_during_and_after_it(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        for host in Host::ALL {
            let (_handle, conversation) = world.open(host.subject());
            if setup.is_v1() {
                let crash = conversation.await_crash(WAIT);
                assert_eq!(crash, Err(AwaitCrashError::NeedsVersion2));
                continue;
            }
            assert_eq!(conversation.await_crash(NAP), Err(AwaitCrashError::Timeout));
            let crashes = thread::scope(|scope| {
                let waiting = |conversation: &Arc<dyn Conversation>| {
                    let conversation = Arc::clone(conversation);
                    scope.spawn(move || conversation.await_crash(WAIT).unwrap())
                };
                let before = [waiting(&conversation), waiting(&conversation)];
                conversation.message(say::PANIC.into()).unwrap();
                let during = waiting(&conversation);
                let [first, second] = before.map(|waiting| waiting.join().unwrap());
                [first, second, during.join().unwrap(), conversation.await_crash(WAIT).unwrap()]
            });
            assert_eq!(crashes[0].reason, planned());
            assert!(crashes.iter().all(|crash| *crash == crashes[0]), "{crashes:?}");
            assert_eq!(crash_of(conversation.ask("hello?".into(), WAIT)), Some(crashes[0].clone()));
            assert_eq!(conversation.await_crash(Duration::ZERO), Ok(crashes[0].clone()));
        }
    }
}

/// A crash of a connection that has ended does not come.
pub fn no_crash_is_awaited_on_a_lost_connection(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let (handle, conversation) = world.open("async");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| conversation.await_crash(WAIT));
        handle.disconnect();
        assert!(matches!(waiting.join().unwrap(), Err(AwaitCrashError::Lost(_))));
    });
    assert!(!conversation.has_detected_crash());
}

/// All requests that are outstanding end with the participant, whether asked or to be received.
pub fn an_exit_ends_every_outstanding_request(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        for host in Host::ALL {
            let (_handle, conversation) = world.open(host.subject());
            let begun = Instant::now();
            conversation.request(say::NAP.into(), WAIT).unwrap();
            conversation.request(say::PANIC.into(), WAIT).unwrap();
            conversation.request("never".into(), WAIT).unwrap();
            assert_eq!(conversation.receive_reply(WAIT).unwrap().payload, say::NAP);
            for _ in 0..2 {
                let ended = conversation.receive_reply(WAIT);
                assert!(matches!(ended, Err(ReceiveError::Exited(_))), "{ended:?} {host:?} {setup:?}");
            }
            assert!(begun.elapsed() < WAIT / 2);
        }
    }
}

/// A participant that fails to join was there, and is no more.
pub fn a_crash_while_joining_is_an_exit(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        for host in Host::ALL {
            let world = Stage::empty().puppet(host, "faulty", Fault::Joining).serve(transport, setup);
            let handle = world.connect();
            match handle.open("faulty") {
                Ok(conversation) => {
                    let asked = conversation.ask("hello?".into(), WAIT);
                    assert!(matches!(asked, Err(AskError::Exited(_))), "{asked:?} {host:?} {setup:?}");
                }
                Err(error) => panic!("{error} {host:?} {setup:?}"),
            }
            assert!(handle.ping().is_ok());
        }
    }
}

/// A participant that panics while it leaves or is dropped takes nothing down.
pub fn a_crash_while_leaving_takes_nothing_down(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V1] {
        for host in Host::ALL {
            for fault in [Fault::Leaving, Fault::Dropping] {
                let world = Stage::default().puppet(host, "faulty", fault).serve(transport, setup);
                let (handle, conversation) = world.open("faulty");
                assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
                conversation.close().unwrap();
                world.await_left();
                let (second, conversation) = world.open("faulty");
                assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
                drop((second, conversation));
                world.await_left();
                let reply = handle.open(host.subject()).unwrap().ask("go on".into(), WAIT).unwrap();
                assert_eq!(reply, "go on");
                world.finish();
            }
        }
    }
}

/// A participant that panics when it is dropped because it panicked is one exit.
pub fn a_crash_that_crashes_again_is_one_exit(transport: &dyn Transport) {
    for host in Host::ALL {
        let world = Stage::default().puppet(host, "faulty", Fault::Dropping).serve(transport, Setup::V2);
        let (handle, conversation) = world.open("faulty");
        let crash = crash_of(conversation.ask(say::PANIC.into(), WAIT)).unwrap();
        assert_eq!(crash.reason, planned());
        let reply = handle.open(host.subject()).unwrap().ask("go on".into(), WAIT).unwrap();
        assert_eq!(reply, "go on");
        let conversation = handle.open("faulty").unwrap();
        let asked = conversation.ask(say::EXIT.into(), WAIT);
        assert!(matches!(asked, Err(AskError::Exited(Exited::Crash(_)))), "{asked:?}");
        world.finish();
    }
}

/// A participant that lives elsewhere may exit while nobody calls it. Who listens is told then, and who
/// does not when it says something next.
pub fn an_exit_between_two_calls_is_told_at_once(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let (_handle, conversation) = world.open(Host::Hosted.subject());
        assert_eq!(conversation.ask(say::EXIT_AFTERWARDS.into(), WAIT).unwrap(), say::EXIT_AFTERWARDS);
        let crash = if setup.is_v1() { None } else { Some(conversation.await_crash(WAIT).unwrap()) };
        // On a 1.0 link nothing tells of it before something is asked, so it may still be alive then.
        let exit =
            exit_of((0..).map(|_| conversation.ask("hello?".into(), WAIT)).find(Result::is_err).unwrap());
        assert!(exit.to_string().ends_with("killed by signal 9"), "{exit}");
        assert_eq!(exit.crash(), crash.as_ref());
        world.finish();
    }
}

/// One that exits during a call ends its requests then, whenever the call may return, and is silent from
/// then on.
pub fn an_exit_while_a_call_is_out_is_told_at_once(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let (_handle, conversation) = world.open(Host::Hosted.subject());
        let crash = crash_of(conversation.ask(say::EXIT_DURING.into(), WAIT));
        assert_eq!(crash.is_some(), !setup.is_v1());
        assert!(crash.is_none_or(|crash| crash.reason == ExitReason::Signal { signal: 9 }));
        assert!(matches!(conversation.ask("hello?".into(), WAIT), Err(AskError::Exited(_))));
        world.finish();
    }
}

/// A request that nobody answers ends at its deadline; the conversation goes on when the participant does.
pub fn a_request_that_is_not_answered_ends_at_its_deadline(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        for host in [Host::Inline, Host::Async] {
            let (_handle, conversation) = world.open(host.subject());
            let begun = Instant::now();
            assert_eq!(conversation.ask(say::HOLD.into(), NAP), Err(AskError::Timeout), "{host:?} {setup:?}");
            assert!(begun.elapsed() >= NAP && begun.elapsed() < WAIT / 2);
            let request = conversation.request(say::HOLD.into(), NAP);
            match conversation.receive_reply(WAIT) {
                Err(ReceiveError::Deadline(late)) => assert_eq!(Ok(late), request),
                other => panic!("{other:?}"),
            }
            if !setup.is_v1() {
                // In 1.0 the server does not know of the deadline of the asker, and the participant is
                // still at it.
                assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on");
            }
        }
    }
}

/// The server's own reply time ends a request of a client that would wait longer.
pub fn the_reply_time_of_the_server_ends_a_request(transport: &dyn Transport) {
    // Long enough for whoever answers at once, also on the way to a client and back.
    let time = if transport.is_relayed() { 10 * NAP } else { NAP };
    for &setup in Setup::all(transport) {
        let world = Stage::default().options(|options| options.bus.reply_time = time).serve(transport, setup);
        for host in Host::ALL {
            let (_handle, conversation) = world.open(host.subject());
            let begun = Instant::now();
            assert_eq!(
                conversation.ask(say::HOLD.into(), WAIT),
                Err(AskError::Timeout),
                "{host:?} {setup:?}"
            );
            assert!(begun.elapsed() < WAIT / 2);
            if ![Host::Blocking, Host::Hosted].contains(&host) {
                assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on");
            }
        }
        world.release();
    }
}

/// A second reply, a late one, and one to a message that asked for none concern nobody.
pub fn replies_that_nobody_asked_for_do_not_surface(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        // Long enough for replies that are in time, also where much else runs.
        let world = Stage::default()
            .options(|options| options.bus.reply_time = Duration::from_millis(500))
            .serve(transport, setup);
        for host in Host::ALL {
            let (_handle, conversation) = world.open(host.subject());
            assert_eq!(conversation.ask(say::TWICE.into(), WAIT).unwrap(), "first");
            conversation.message("unasked".into()).unwrap();
            assert_eq!(conversation.ask("one".into(), WAIT).unwrap(), "one", "{host:?} {setup:?}");
            assert_eq!(conversation.ask(say::LATE.into(), WAIT), Err(AskError::Timeout));
            eventually_asks(&*conversation, "two");
            conversation.request(say::TWICE.into(), WAIT).unwrap();
            conversation.message(say::PARTS.into()).unwrap();
            assert_eq!(conversation.receive_reply(WAIT).unwrap().payload, "first");
            let request = conversation.request("three".into(), WAIT).unwrap();
            let reply = conversation.receive_reply(WAIT).unwrap();
            assert_eq!((reply.answers, &reply.payload[..]), (request, &b"three"[..]));
            assert_eq!(conversation.receive_reply(NAP), Err(ReceiveError::Timeout));
        }
    }
}

/// Asks until the participant is through with what it was at.
fn eventually_asks(conversation: &dyn Conversation, said: &'static str) {
    let until = Instant::now() + WAIT;
    loop {
        match conversation.ask(said.into(), WAIT) {
            Ok(reply) => return assert_eq!(reply, said),
            Err(AskError::Timeout) => assert!(Instant::now() < until, "the participant never goes on"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// An async participant that panics before it makes its future, in its future, or when its future is
/// dropped because nobody waits any more: one exit each, and nothing else.
pub fn an_async_participant_may_panic_anywhere(transport: &dyn Transport) {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            assert!(thread::panicking(), "{PLANNED}");
        }
    }
    let factory = || {
        async_fn(|mut context: AsyncContext, message: Received| {
            assert!(message.payload != "at once", "{PLANNED}");
            async move {
                assert!(message.payload != "in the future", "{PLANNED}");
                if message.payload == "when dropped" {
                    let _guard = PanicsWhenDropped;
                    context.sleep(WAIT).await;
                }
                context.reply(message.payload);
            }
        })
    };
    let world = Stage::default().role("fragile", Role::Async(Arc::new(factory))).serve(transport, Setup::V2);
    let handle = world.connect();
    for said in ["at once", "in the future"] {
        let conversation = handle.open("fragile").unwrap();
        assert_eq!(conversation.ask("well?".into(), WAIT).unwrap(), "well?");
        assert_eq!(crash_of(conversation.ask(said.into(), WAIT)).unwrap().reason, planned());
    }
    let conversation = handle.open("fragile").unwrap();
    assert_eq!(conversation.ask("when dropped".into(), NAP), Err(AskError::Timeout));
    assert_eq!(conversation.await_crash(WAIT).unwrap().reason, planned());
    assert_eq!(handle.open("async").unwrap().ask("go on".into(), WAIT).unwrap(), "go on");
    world.finish();
}

/// A participant that returns without a reply has refused.
pub fn a_request_without_a_reply_is_refused(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        for host in Host::ALL {
            let (_handle, conversation) = world.open(host.subject());
            let refused = conversation.ask(say::NOTHING.into(), WAIT);
            let Err(AskError::Refused(refusal)) = refused else { panic!("{refused:?}") };
            assert_eq!(refusal.reason, ReasonCode::NO_REPLY);
            let request = conversation.request(say::NOTHING.into(), WAIT).unwrap();
            match conversation.receive_reply(WAIT) {
                Err(ReceiveError::Refused { request: named, refusal }) => {
                    assert_eq!((named, refusal.reason), (request, ReasonCode::NO_REPLY));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// When no seat is free, requests and opens are refused as busy, and messages wait.
pub fn a_full_pool_is_busy(transport: &dyn Transport) {
    if transport.is_relayed() {
        return; // The pool of a client has more seats.
    }
    let world =
        Stage::default().options(|options| options.stop.blocking_seats = 1).serve(transport, Setup::V2);
    let handle = world.connect();
    // A seat is free when its call has returned, which is after its reply was received.
    let open = || loop {
        match handle.open("blocking") {
            Ok(conversation) => break conversation,
            Err(OpenError::Refused(refusal)) => assert_eq!(refusal.reason, ReasonCode::BUSY),
            Err(error) => panic!("{error}"),
        }
    };
    let (held, other) = (open(), open());
    held.message(say::HOLD.into()).unwrap();
    world.await_said(say::HOLD);
    let refused = other.ask("hello?".into(), WAIT);
    let Err(AskError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.reason, ReasonCode::BUSY);
    let refused = handle.open("blocking").map(drop);
    let Err(OpenError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.reason, ReasonCode::BUSY);
    other.message("can wait".into()).unwrap();
    assert_eq!(handle.open("inline").unwrap().ask("go on".into(), WAIT).unwrap(), "go on");
    world.release();
    world.await_said("can wait");
    eventually_asks_while_busy(&*other, "free");
}

/// One conversation never competes with itself for a seat, however many of its requests wait.
pub fn a_backlog_is_worked_off_on_one_seat(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V1] {
        for subject in ["blocking", "async"] {
            let world =
                Stage::default().options(|options| options.stop.blocking_seats = 1).serve(transport, setup);
            let (_handle, conversation) = world.open(subject);
            for _ in 0..50 {
                conversation.request(say::COUNT.into(), WAIT).unwrap();
            }
            for number in 1..=50 {
                assert_eq!(conversation.receive_reply(WAIT).unwrap().payload, number.to_string());
            }
        }
    }
}

#[track_caller]
fn eventually_asks_while_busy(conversation: &dyn Conversation, said: &'static str) {
    eventually(|| match conversation.ask(said.into(), WAIT) {
        Ok(reply) => reply == said,
        Err(AskError::Refused(refusal)) if refusal.reason == ReasonCode::BUSY => false,
        Err(error) => panic!("{error}"),
    });
}
