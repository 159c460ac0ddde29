//! What becomes of conversations whose participant exits, where they do not just fail.

use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use liminal_core::participant::{async_fn, from_fn};
use liminal_core::{CrashPolicy, Received};
use liminal_driver::error::{AskError, AwaitCrashError, Exited, MessageError, ReceiveError};
use liminal_proto::wire::{Body, RecordNumbers, Version, flag};
use liminal_proto::{Config, ExitReason, MessageId, Pid, ReasonCode, RecordNumber};

use crate::WAIT;
use crate::puppet::{Fault, Host, NAP, PLANNED, Seen, say};
use crate::raw::Raw;
use crate::stage::{Setup, Stage, World};
use crate::transport::{Conversation, Role, Transport};

/// Two puppets on "work", and who exits is followed by the next.
fn routed(transport: &dyn Transport, host: Host, setup: Setup) -> World<'_> {
    Stage::empty()
        .puppet(host, "work", Fault::None)
        .puppet(host, "work", Fault::None)
        .on_crash("work", CrashPolicy::RouteToNext)
        .serve(transport, setup)
}

/// For every kind of host, over everything.
fn everywhere(transport: &dyn Transport, case: impl Fn(Host, Setup)) {
    for &setup in Setup::all(transport) {
        for host in Host::ALL {
            case(host, setup);
        }
    }
}

/// Several on one subject have the conversations in turn.
pub fn several_participants_share_a_subject(transport: &dyn Transport) {
    let stage = ["a", "b"].into_iter().fold(Stage::empty(), |stage, name| {
        let factory = move || from_fn(move |context, _: Received| context.reply(name));
        stage.role("work", Role::Inline(Arc::new(factory)))
    });
    let world = stage.serve(transport, Setup::V2);
    let handle = world.connect();
    let conversations: Vec<_> = (0..4).map(|_| handle.open("work").unwrap()).collect();
    let replies = conversations.iter().map(|it| it.ask("who?".into(), WAIT).unwrap());
    assert_eq!(replies.collect::<Vec<_>>(), ["a", "b", "a", "b"]);
}

/// The one who asked has its reply from the next, which was told that it is not the first.
pub fn a_request_is_answered_by_the_next_participant(transport: &dyn Transport) {
    everywhere(transport, |host, setup| {
        let world = routed(transport, host, setup);
        let (_handle, conversation) = world.open("work");
        let before = conversation.participant_pids();
        assert_eq!(conversation.ask(say::REROUTED.into(), WAIT).unwrap(), "1", "{host:?} {setup:?}");
        assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on");
        conversation.message("and on".into()).unwrap();
        world.await_said("and on");
        let Ok(before) = before else { return };
        let after = conversation.participant_pids().unwrap();
        assert!(before.len() == 1 && after.len() == 1 && before != after, "{before:?} {after:?}");
        assert!(conversation.has_detected_crash());
        let crash = conversation.await_crash(WAIT).unwrap();
        assert_eq!((vec![crash.pid], crash.goes_on), (before, true));
        assert_eq!(crash.reason, ExitReason::Crashed { text: PLANNED.into() });
        assert_eq!(conversation.await_crash(WAIT), Ok(crash));
    });
}

/// What was pipelined comes in its order.
pub fn what_waits_behind_a_crash_keeps_its_order(transport: &dyn Transport) {
    everywhere(transport, |host, setup| {
        let world = routed(transport, host, setup);
        let (_handle, conversation) = world.open("work");
        for said in ["one", say::REROUTED, "two", "three"] {
            conversation.request(said.into(), WAIT).unwrap();
        }
        for reply in ["one", "1", "two", "three"] {
            assert_eq!(conversation.receive_reply(WAIT).unwrap().payload, reply, "{host:?} {setup:?}");
        }
    });
}

/// Nobody can go on with a reply that another has begun.
pub fn a_request_that_was_begun_ends_with_its_participant_alone(transport: &dyn Transport) {
    everywhere(transport, |host, setup| {
        let world = routed(transport, host, setup);
        let (_handle, conversation) = world.open("work");
        let Err(AskError::Exited(exit)) = conversation.ask(say::BEGIN.into(), WAIT) else {
            panic!("the participant should have exited")
        };
        assert_eq!(exit.crash().is_some_and(|crash| crash.goes_on), !setup.is_v1());
        let begun = conversation.request(say::BEGIN.into(), WAIT).unwrap();
        conversation.request("go on".into(), WAIT).unwrap();
        if !setup.is_v1() {
            assert!(!conversation.receive_reply(WAIT).unwrap().last);
        }
        match conversation.receive_reply(WAIT) {
            Err(ReceiveError::Unanswered { request, crash }) => {
                assert_eq!((request, crash.is_some()), (begun, !setup.is_v1()));
            }
            other => panic!("{other:?} {host:?} {setup:?}"),
        }
        assert_eq!(conversation.receive_reply(WAIT).unwrap().payload, "go on");
        assert_eq!(conversation.ask("and on".into(), WAIT).unwrap(), "and on");
    });
}

/// The first and three more are brought down; then it ends, and the conversation goes on.
pub fn a_request_that_brings_down_four_ends_as_exited(transport: &dyn Transport) {
    everywhere(transport, |host, setup| {
        let world = routed(transport, host, setup);
        let (_handle, conversation) = world.open("work");
        let asked = conversation.ask(say::PANIC.into(), WAIT);
        assert!(matches!(asked, Err(AskError::Exited(_))), "{asked:?} {host:?} {setup:?}");
        assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on");
        let joined = world.seen().into_iter().filter(|seen| matches!(seen, Seen::Joined(_))).count();
        assert_eq!(joined, 5);
    });
}

/// The owner closes while the next participant is at it: what was accepted is answered first.
pub fn a_moved_request_is_answered_before_the_close(transport: &dyn Transport) {
    for host in Host::ALL {
        let world = routed(transport, host, Setup::V2);
        let (_handle, conversation) = world.open("work");
        conversation.request(say::REROUTED.into(), WAIT).unwrap();
        conversation.close().unwrap();
        let said = Seen::Said(say::REROUTED.into());
        assert_eq!(world.seen().iter().filter(|seen| **seen == said).count(), 2, "{host:?}");
    }
}

/// When nobody takes the place of the one that exited, what is outstanding ends, and the next is refused.
pub fn a_conversation_for_which_nobody_is_found_has_failed(transport: &dyn Transport) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = Raw::accept(&listener);
            server.accept_hands(Version::V2_0);
            server.expect();
            server.send(0, 1, Body::Opened { pid: Some(Pid::new(1)) });
            server.expect();
            let exit = |pid| Body::Exited {
                pid: Pid::new(pid),
                record: RecordNumber::new(pid + 2),
                cause: 1,
                message: Some("boom"),
                unanswered: 1,
                records: RecordNumbers::default(),
            };
            server.send(flag::GOES_ON, 1, exit(1));
            server.send(0, 1, Body::Joined { pid: Pid::new(2) });
            server.send(flag::GOES_ON, 1, exit(2));
            server.send(0, 1, Body::Failed);
            server.drain();
        });
        let handle = transport.connect(&address, Config::default(), true).unwrap();
        let conversation = handle.open("work").unwrap();
        let Err(AskError::Exited(Exited::Crash(crash))) = conversation.ask("hello?".into(), WAIT) else {
            panic!("nobody was left")
        };
        assert_eq!((crash.pid, crash.goes_on, crash.unanswered.count()), (Pid::new(2), true, 1));
        let exited = Exited::Crash(crash.clone());
        assert_eq!(conversation.message("hello?".into()), Err(MessageError::Exited(exited.clone())));
        assert_eq!(conversation.receive_reply(WAIT), Err(ReceiveError::Exited(exited)));
        assert_eq!(conversation.await_crash(WAIT), Ok(crash));
        assert_eq!(conversation.participant_pids(), Ok(vec![]));
        handle.disconnect();
    });
}

/// On a 1.0 link one request ends, or all do: the code says which.
pub fn in_1_0_the_code_says_whether_the_conversation_goes_on(transport: &dyn Transport) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    let config = Config { max_dialect: liminal_proto::wire::Dialect::V1, ..Config::default() };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = Raw::accept(&listener);
            server.accept_hands(Version::V1_0);
            server.expect();
            for reason_code in [ReasonCode::REPLACED, ReasonCode::EXITED] {
                let stream = server.expect().stream.get();
                let conversation_id = liminal_proto::ConversationId::new(1);
                let body = Body::ConversationError { conversation_id, reason_code, message: None };
                server.send(0, stream, body);
            }
            server.drain();
        });
        let handle = transport.connect(&address, config, true).unwrap();
        let conversation = handle.open("work").unwrap();
        for _ in 0..3 {
            assert_eq!(conversation.ask("hello?".into(), WAIT), Err(AskError::Exited(Exited::Words(None))));
        }
        assert_eq!(conversation.message("hello?".into()), Err(MessageError::Exited(Exited::Words(None))));
        assert_eq!(conversation.await_crash(WAIT), Err(AwaitCrashError::NeedsVersion2));
        handle.disconnect();
    });
}

/// Who compensates, and the notices that it was sent.
fn compensator(host: Host) -> (Role, Receiver<Bytes>) {
    let (sender, notices) = channel();
    let sender = Arc::new(Mutex::new(sender));
    let note = move |notice: &Bytes| {
        // The case may be over.
        let _ = sender.lock().unwrap().send(notice.clone());
    };
    let synchronous = {
        let note = note.clone();
        move || {
            let note = note.clone();
            from_fn(move |context, message: Received| {
                thread::sleep(NAP);
                note(&message.payload);
                context.reply("undone");
            })
        }
    };
    let role = match host {
        Host::Inline => Role::Inline(Arc::new(synchronous)),
        Host::Blocking => Role::Blocking(Arc::new(synchronous)),
        Host::Hosted => Role::Hosted(Arc::new(synchronous)),
        Host::Async => Role::Async(Arc::new(move || {
            let note = note.clone();
            async_fn(move |mut context, message| {
                let note = note.clone();
                async move {
                    context.sleep(NAP).await;
                    note(&message.payload);
                    context.reply("undone");
                }
            })
        })),
    };
    (role, notices)
}

fn compensated(host: Host, role: Role) -> Stage {
    Stage::empty()
        .puppet(host, "work", Fault::None)
        .role("undo", role)
        .on_crash("work", CrashPolicy::Compensate("undo".into()))
}

fn fails(conversation: &dyn Conversation) {
    for said in [say::PANIC, "hello?"] {
        let asked = conversation.ask(said.into(), WAIT);
        assert!(matches!(asked, Err(AskError::Exited(_))), "{asked:?}");
    }
}

/// The conversation has failed, and somebody is told what was left undone.
pub fn a_crash_is_compensated(transport: &dyn Transport) {
    everywhere(transport, |host, setup| {
        let (role, notices) = compensator(host);
        let world = compensated(host, role).serve(transport, setup);
        let (_handle, conversation) = world.open("work");
        assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on");
        fails(&*conversation);
        let notice = notices.recv_timeout(WAIT).unwrap();
        let notice = std::str::from_utf8(&notice).unwrap();
        let expected = [
            r#"{"conversation":1,"subject":"work","pid":1,"#,
            r#""reason":{"cause":1,"text":"planned"}"#,
            r#""asked":true,"delivered":true,"payload":"cGFuaWM="}],"left_out":0}"#,
        ];
        assert!(expected.iter().all(|part| notice.contains(part)), "{notice}");
        world.finish();
    });
}

/// A graceful stop waits for a compensation that is under way, although every client has gone.
pub fn a_stop_waits_for_compensations(transport: &dyn Transport) {
    if transport.is_relayed() {
        return; // Whoever serves is asked to go with the others.
    }
    for host in Host::ALL {
        let (role, notices) = compensator(host);
        let stage = compensated(Host::Inline, role).options(|options| options.stop.time = 2 * WAIT);
        let mut world = stage.serve(transport, Setup::V2);
        let (handle, conversation) = world.open("work");
        fails(&*conversation);
        drop((conversation, handle));
        world.stop();
        assert!(world.ended() < WAIT, "{host:?}");
        assert!(notices.try_recv().is_ok(), "{host:?}");
    }
}

/// But not longer than for anything else.
pub fn a_compensation_that_hangs_keeps_no_server(transport: &dyn Transport) {
    for host in [Host::Blocking, Host::Async] {
        let role = match host {
            Host::Async => {
                Role::Async(Arc::new(|| async_fn(|context, _| async move { context.sleep(4 * WAIT).await })))
            }
            _ => Role::Blocking(Arc::new(|| from_fn(|_, _: Received| thread::sleep(WAIT)))),
        };
        let stage = compensated(Host::Inline, role).options(|options| options.stop.time = NAP);
        let mut world = stage.serve(transport, Setup::V2);
        let (_handle, conversation) = world.open("work");
        fails(&*conversation);
        let begun = Instant::now();
        world.stop();
        world.ended();
        assert!(begun.elapsed() < WAIT / 2, "{host:?}");
    }
}

/// A notice that nobody takes hangs nothing.
pub fn a_crash_that_nobody_compensates_fails_all_the_same(transport: &dyn Transport) {
    for subject in ["nobody", "log"] {
        let world = Stage::empty()
            .puppet(Host::Inline, "work", Fault::None)
            .role("log", Role::TraceOnly)
            .on_crash("work", CrashPolicy::Compensate(subject.into()))
            .serve(transport, Setup::V2);
        let (handle, conversation) = world.open("work");
        fails(&*conversation);
        let anew = handle.open("work").unwrap();
        assert_eq!(anew.ask("go on".into(), WAIT).unwrap(), "go on");
        world.finish();
    }
}

/// Without a policy an exit ends it, also where others serve the subject.
pub fn without_a_policy_an_exit_ends_it(transport: &dyn Transport) {
    everywhere(transport, |host, setup| {
        let stage = Stage::empty().puppet(host, "work", Fault::None).puppet(host, "work", Fault::None);
        let world = stage.serve(transport, setup);
        let (_handle, conversation) = world.open("work");
        let request: Result<MessageId, _> = conversation.request(say::REROUTED.into(), WAIT);
        request.unwrap();
        let received = conversation.receive_reply(WAIT);
        assert!(matches!(received, Err(ReceiveError::Exited(_))), "{received:?} {host:?} {setup:?}");
        fails(&*conversation);
    });
}
