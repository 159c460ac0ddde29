//! What a conversation does when all is well, in both versions and over both kinds of sockets.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use liminal_core::participant::{AsyncContext, async_fn, from_fn};
use liminal_core::{Context, Leaving, Participant, Received, Subject};
use liminal_driver::error::{AskError, MessageError, NeedsVersion2, OpenError, ReceiveError};
use liminal_proto::{CommandError, Config, ReasonCode, Version};

use crate::WAIT;
use crate::puppet::{Fault, Host, NAP, Seen, say};
use crate::stage::{Setup, Stage};
use crate::transport::{Handle, Role, Transport};

/// Every kind of participant answers.
pub fn a_request_is_answered_by_every_kind_of_participant(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        let version = if setup.is_v1() { Version::V1_0 } else { Version::V2_0 };
        assert_eq!(handle.version(), version);
        for host in Host::ALL {
            let conversation = handle.open(host.subject()).unwrap();
            for said in ["hello", "", say::NAP, "again"] {
                let reply = conversation.ask(said.into(), WAIT).unwrap();
                assert_eq!(reply, said, "{host:?} {setup:?}");
            }
            conversation.close().unwrap();
        }
        world.finish();
    }
}

/// Functions, closures and objects take part; so do async functions that sleep.
pub fn functions_closures_and_objects_take_part(transport: &dyn Transport) {
    fn shout(context: &mut Context<'_>, message: Received) {
        context.reply(message.payload.to_ascii_uppercase());
    }
    async fn wait_and_shout(mut context: AsyncContext, message: Received) {
        context.sleep(NAP).await;
        context.reply(message.payload.to_ascii_uppercase());
    }
    struct Shouter;
    impl Participant for Shouter {
        fn message(&mut self, context: &mut Context<'_>, message: Received) {
            shout(context, message);
        }
    }
    let closure =
        || from_fn(|context, message: Received| context.reply(message.payload.to_ascii_uppercase()));
    let world = Stage::empty()
        .role("function", Role::Inline(Arc::new(|| shout)))
        .role("closure", Role::Blocking(Arc::new(closure)))
        .role("object", Role::Inline(Arc::new(|| Shouter)))
        .role("async function", Role::Async(Arc::new(|| async_fn(wait_and_shout))))
        .serve(transport, Setup::V2);
    let handle = world.connect();
    for subject in ["function", "closure", "object", "async function"] {
        let reply = handle.open(subject).unwrap().ask("hey".into(), WAIT).unwrap();
        assert_eq!(reply, "HEY", "{subject}");
    }
}

/// A message without a reply is taken, and comes to its participant before what is said later.
pub fn a_message_is_accepted_and_comes_in_order(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        for host in Host::ALL {
            let conversation = handle.open(host.subject()).unwrap();
            conversation.message("one".into()).unwrap();
            conversation.message("two".into()).unwrap();
            assert_eq!(conversation.ask(say::COUNT.into(), WAIT).unwrap(), "3");
            let said = world.seen();
            let said: Vec<_> = said.iter().filter(|seen| matches!(seen, Seen::Said(_))).collect();
            let expected = ["one", "two", say::COUNT].map(|said| Seen::Said(said.into()));
            assert_eq!(said, expected.iter().collect::<Vec<_>>());
        }
    }
}

/// Several requests are outstanding; each reply names its own.
pub fn replies_name_their_requests_and_come_in_order(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        for host in Host::ALL {
            let conversation = handle.open(host.subject()).unwrap();
            let requests: Vec<_> = (0..10u8)
                .map(|number| conversation.request(Bytes::copy_from_slice(&[number]).into(), WAIT).unwrap())
                .collect();
            for (number, request) in (0..10u8).zip(requests) {
                let reply = conversation.receive_reply(WAIT).unwrap();
                assert_eq!((reply.answers, &reply.payload[..], reply.last), (request, &[number][..], true));
                assert_eq!(reply.record.is_some(), !setup.is_v1());
            }
            let none = conversation.receive_reply(NAP);
            assert_eq!(none, Err(ReceiveError::Timeout));
        }
    }
}

/// A reply to an `ask` is not received by anybody else.
pub fn asking_and_receiving_do_not_mix(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V1] {
        let world = Stage::default().serve(transport, setup);
        let (_handle, conversation) = world.open("async");
        let request = conversation.request(say::NAP.into(), WAIT).unwrap();
        assert_eq!(conversation.ask("asked".into(), WAIT).unwrap(), "asked");
        assert_eq!(conversation.receive_reply(WAIT).unwrap().answers, request);
        assert_eq!(conversation.receive_reply(NAP), Err(ReceiveError::Timeout));
    }
}

/// Asking joins the parts of a reply; receiving gives them as they come, where the version has parts.
pub fn parts_of_a_reply_are_joined(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        for host in Host::ALL {
            let conversation = handle.open(host.subject()).unwrap();
            assert_eq!(conversation.ask(say::PARTS.into(), WAIT).unwrap(), say::JOINED);
            let request = conversation.request(say::PARTS.into(), WAIT).unwrap();
            let (mut received, mut parts) = (Vec::new(), 0);
            loop {
                let reply = conversation.receive_reply(WAIT).unwrap();
                assert_eq!(reply.answers, request);
                received.extend_from_slice(&reply.payload);
                parts += 1;
                if reply.last {
                    break;
                }
            }
            assert_eq!((&received[..], parts), (say::JOINED.as_bytes(), if setup.is_v1() { 1 } else { 3 }));
        }
    }
}

/// A conversation has one participant, whose pid is its own; 1.0 has no words for it.
pub fn the_participant_is_listed(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().role("trace", Role::TraceOnly).serve(transport, setup);
        let handle = world.connect();
        let (one, other) = (handle.open("inline").unwrap(), handle.open("async").unwrap());
        let trace = handle.open("trace").unwrap();
        if setup.is_v1() {
            assert_eq!(one.participant_pids(), Err(NeedsVersion2));
            assert_eq!(trace.participant_pids(), Err(NeedsVersion2));
            continue;
        }
        let (first, second) = (one.participant_pids().unwrap(), other.participant_pids().unwrap());
        assert_eq!((first.len(), second.len()), (1, 1));
        assert_ne!(first, second);
        assert_eq!(trace.participant_pids(), Ok(Vec::new()));
        let joined = |seen| if let Seen::Joined(pid) = seen { Some(pid) } else { None };
        assert_eq!(world.await_seen(joined), first[0]);
        assert_eq!(world.await_seen(joined), second[0]);
        one.ask(say::EXIT.into(), WAIT).unwrap_err();
        assert_eq!(one.participant_pids(), Ok(Vec::new()));
    }
}

/// Every conversation has a participant of its own.
pub fn state_belongs_to_one_conversation(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let handle = world.connect();
    for host in Host::ALL {
        let (one, other) = (handle.open(host.subject()).unwrap(), handle.open(host.subject()).unwrap());
        assert_eq!(one.ask(say::COUNT.into(), WAIT).unwrap(), "1");
        assert_eq!(one.ask(say::COUNT.into(), WAIT).unwrap(), "2");
        assert_eq!(other.ask(say::COUNT.into(), WAIT).unwrap(), "1");
    }
}

/// One conversation waits; the others on the same connection go on.
pub fn conversations_do_not_wait_for_each_other(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V1] {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        for host in Host::ALL {
            let held = handle.open(host.subject()).unwrap();
            held.request(say::HOLD.into(), WAIT).unwrap();
            world.await_said(say::HOLD);
            for other in Host::ALL {
                let reply = handle.open(other.subject()).unwrap().ask("go on".into(), WAIT).unwrap();
                assert_eq!(reply, "go on");
            }
        }
        world.release();
    }
}

/// Closing tells the participant, and it is dropped.
pub fn closing_tells_the_participant(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        for host in Host::ALL {
            handle.open(host.subject()).unwrap().close().unwrap();
            assert_eq!(world.await_left(), Leaving::Closed, "{host:?} {setup:?}");
            world.await_seen(|seen| (seen == Seen::Dropped).then_some(()));
        }
    }
}

/// Closing waits for what is outstanding.
pub fn closing_lets_outstanding_requests_end(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V1] {
        for host in Host::ALL {
            let world = Stage::default().serve(transport, setup);
            let (_handle, conversation) = world.open(host.subject());
            conversation.request(say::NAP.into(), WAIT).unwrap();
            conversation.close().unwrap();
            assert_eq!(world.await_left(), Leaving::Closed);
        }
    }
}

/// Dropping a conversation closes it.
pub fn a_dropped_conversation_is_closed(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        for host in Host::ALL {
            drop(handle.open(host.subject()).unwrap());
            assert_eq!(world.await_left(), Leaving::Closed);
            world.await_seen(|seen| (seen == Seen::Dropped).then_some(()));
        }
        assert_eq!(handle.open("inline").unwrap().ask("still here".into(), WAIT).unwrap(), "still here");
    }
}

/// The connection ends with the last handle and the last conversation, and tells every participant.
pub fn the_connection_ends_with_the_last_handle(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let (handle, conversation) = world.open("inline");
        let others = [handle.open("blocking").unwrap(), handle.open("async").unwrap()];
        drop(handle);
        assert_eq!(conversation.ask("still here".into(), WAIT).unwrap(), "still here");
        drop(others);
        drop(conversation);
        let (mut left, mut dropped) = (0, 0);
        while (left, dropped) != (3, 3) {
            world.await_seen(|seen| {
                left += u32::from(matches!(seen, Seen::Left(..)));
                dropped += u32::from(seen == Seen::Dropped);
                Some(())
            });
        }
        world.finish();
    }
}

/// A graceful disconnect while conversations are open tells their participants that the owner is gone.
pub fn disconnecting_ends_open_conversations(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let (handle, conversation) = world.open("async");
        conversation.request(say::HOLD.into(), WAIT).unwrap();
        world.await_said(say::HOLD);
        handle.disconnect();
        world.await_orphaned();
        assert!(matches!(conversation.ask("too late".into(), WAIT), Err(AskError::Lost(_))));
        assert!(matches!(conversation.message("too late".into()), Err(MessageError::Lost(_))));
        assert!(matches!(handle.open("inline"), Err(OpenError::Lost(_))));
        assert!(handle.ping().is_err());
        assert_eq!(handle.closed(), handle.closed());
    }
}

/// A subject that nobody serves is refused: at once, or in 1.0, where nobody waits for it, perhaps on the next
/// call.
pub fn a_subject_that_nobody_serves_is_refused(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        let refused = match handle.open("nobody") {
            Err(OpenError::Refused(refusal)) => refusal,
            Ok(conversation) if setup.is_v1() => match conversation.ask("anybody?".into(), WAIT) {
                Err(AskError::Refused(refusal)) => {
                    let again = conversation.ask("anybody?".into(), WAIT);
                    assert!(matches!(again, Err(AskError::Refused(_))), "{again:?}");
                    refusal
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{:?}", other.map(drop)),
        };
        assert_eq!(refused.reason, ReasonCode::NO_PARTICIPANT);
        assert_eq!(handle.open("inline").unwrap().ask("go on".into(), WAIT).unwrap(), "go on");
    }
}

/// A conversation that only records takes messages and refuses requests.
pub fn trace_only_takes_messages_and_refuses_requests(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::empty().role("trace", Role::TraceOnly).serve(transport, setup);
        let (_handle, conversation) = world.open("trace");
        for _ in 0..3 {
            conversation.message("for the record".into()).unwrap();
            let refused = conversation.ask("anybody?".into(), WAIT);
            let Err(AskError::Refused(refusal)) = refused else { panic!("{refused:?}") };
            assert_eq!(refusal.reason, ReasonCode::NO_PARTICIPANT);
        }
        conversation.close().unwrap();
    }
}

/// A subject that is served by itself does not go to whoever serves every other one.
pub fn the_exact_subject_wins(transport: &dyn Transport) {
    let answer = |text: &'static str| {
        Role::Inline(Arc::new(move || from_fn(move |context, _: Received| context.reply(text))))
    };
    for setup in [Setup::V2, Setup::V1] {
        let world = Stage::empty()
            .role(Subject::Any, answer("any"))
            .role("exact", answer("exact"))
            .serve(transport, setup);
        let handle = world.connect();
        for (subject, expected) in [("exact", "exact"), ("exactly", "any"), ("", "any")] {
            let reply = handle.open(subject).unwrap().ask("who?".into(), WAIT).unwrap();
            assert_eq!(reply, expected, "{subject:?}");
        }
    }
}

/// A subject above its limit costs the operation, not the connection, whichever side has the limit.
pub fn a_subject_that_is_too_long_is_refused(transport: &dyn Transport) {
    let long = "x".repeat(257);
    for setup in [Setup::V2, Setup::V1] {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        let refused = handle.open(&long).map(drop);
        let expected = CommandError::TooLarge { len: 257, limit: 256 };
        assert_eq!(refused, Err(OpenError::Rejected(expected)));
        assert_eq!(handle.open("inline").unwrap().ask("go on".into(), WAIT).unwrap(), "go on");
    }
    let world = Stage::default().config(|config| config.limits.name_max = 1000).serve(transport, Setup::V2);
    let handle = world.connect();
    let refused = handle.open(&long).map(drop);
    let Err(OpenError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.reason, ReasonCode::INVALID_NAME);
    assert_eq!(handle.open("inline").unwrap().ask("go on".into(), WAIT).unwrap(), "go on");
}

/// A ping is answered, and does not mix with what else is said.
pub fn a_ping_is_answered(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        let world = Stage::default().serve(transport, setup);
        let (handle, conversation) = world.open("async");
        let request = conversation.request(say::NAP.into(), WAIT).unwrap();
        for _ in 0..3 {
            assert!(handle.ping().unwrap() < WAIT);
        }
        assert_eq!(conversation.receive_reply(WAIT).unwrap().answers, request);
    }
}

/// A payload above the limit of a frame costs the operation, and gives the payload's size back.
pub fn a_payload_that_is_too_large_is_refused(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V1] {
        let world = Stage::default().serve(transport, setup);
        let (_handle, conversation) = world.open("inline");
        let large = Bytes::from(vec![7; (1 << 20) + 1]);
        let refused = conversation.ask(large.clone().into(), WAIT);
        assert!(matches!(refused, Err(AskError::Rejected(CommandError::TooLarge { .. }))), "{refused:?}");
        let refused = conversation.message(large.into());
        assert!(matches!(refused, Err(MessageError::Rejected(CommandError::TooLarge { .. }))), "{refused:?}");
        assert_eq!(conversation.ask("go on".into(), WAIT).unwrap(), "go on");
    }
}

/// A wrong token is refused, the right one is not.
pub fn a_wrong_token_is_refused(transport: &dyn Transport) {
    let world = Stage::default()
        .options(|options| options.connection.token = "secret".into())
        .serve(transport, Setup::V2);
    for (token, is_right) in [("secret", true), ("secreT", false), ("", false)] {
        let config = Config { token: token.into(), ..Config::default() };
        let connected = world.try_connect(config, true);
        assert_eq!(connected.is_ok(), is_right, "{token:?}: {:?}", connected.err());
    }
}

/// Participants in all kinds of hosts are called in the order of what was said, by one at a time.
pub fn a_burst_of_messages_keeps_its_order(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V1] {
        let world = Stage::default().serve(transport, setup);
        let handle: Arc<dyn Handle> = world.connect();
        thread::scope(|scope| {
            for host in Host::ALL {
                let conversation = handle.open(host.subject()).unwrap();
                scope.spawn(move || {
                    for number in 0..200u32 {
                        conversation.request(number.to_string().into(), WAIT).unwrap();
                    }
                    for number in 0..200u32 {
                        let reply = conversation.receive_reply(WAIT).unwrap();
                        assert_eq!(reply.payload, number.to_string(), "{host:?}");
                    }
                });
            }
        });
    }
}

/// A puppet that serves every subject sees each of them; an exit on one leaves the others.
pub fn one_registration_serves_many_subjects(transport: &dyn Transport) {
    let world = Stage::empty().puppet(Host::Async, Subject::Any, Fault::None).serve(transport, Setup::V2);
    let handle = world.connect();
    let conversations: Vec<_> =
        (0..50).map(|number| handle.open(&format!("subject {number}")).unwrap()).collect();
    conversations[0].ask(say::PANIC.into(), WAIT).unwrap_err();
    for conversation in &conversations[1..] {
        assert_eq!(conversation.ask(say::COUNT.into(), WAIT).unwrap(), "1");
    }
}
