//! Conversations on terms of whoever opens them.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use liminal_core::participant::{AsyncContext, AsyncParticipant, Pending};
use liminal_core::{CrashPolicy, Leaving, Received};
use liminal_driver::error::{AskError, AwaitCrashError, Exited, OpenError, ReceiveError};
use liminal_proto::{OnExit, ReasonCode, Terms};

use crate::WAIT;
use crate::puppet::{Fault, Host, NAP, say};
use crate::stage::{Setup, Stage, eventually};
use crate::transport::{Role, Transport};

const fn on_exit(on_exit: OnExit) -> Terms {
    Terms { on_exit, total: None, idle: None }
}

/// What the opener wants of an exit stands above what the server has set for the subject.
pub fn the_opener_says_what_an_exit_is(transport: &dyn Transport) {
    for policy in [CrashPolicy::Fail, CrashPolicy::RouteToNext] {
        for host in Host::ALL {
            let stage = Stage::empty().puppet(host, "work", Fault::None).on_crash("work", policy.clone());
            let world = stage.serve(transport, Setup::V2);
            let handle = world.connect();
            let ask = |terms| handle.open_on("work", terms).unwrap().ask(say::REROUTED.into(), WAIT);
            let fails = |asked| match asked {
                Err(AskError::Exited(Exited::Crash(crash))) => !crash.goes_on,
                Ok(reply) => {
                    assert_eq!(reply, "1", "{host:?} {policy:?}");
                    false
                }
                other => panic!("{host:?} {policy:?}: {other:?}"),
            };
            assert!(fails(ask(on_exit(OnExit::Fail))), "{host:?} {policy:?}");
            assert!(!fails(ask(on_exit(OnExit::Next))), "{host:?} {policy:?}");
            assert_eq!(fails(ask(Terms::default())), policy == CrashPolicy::Fail, "{host:?}");
        }
    }
}

/// A conversation that may last only so long ends by itself, also while nothing is said in it.
pub fn a_conversation_ends_when_its_time_is_over(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let handle = world.connect();
    for terms in [
        Terms { total: Some(NAP), ..Terms::default() },
        Terms { idle: Some(NAP), ..Terms::default() },
        Terms { total: Some(Duration::ZERO), idle: Some(WAIT), ..Terms::default() },
    ] {
        for host in Host::ALL {
            let conversation = handle.open_on(host.subject(), terms).unwrap();
            // Whoever was in time to say something was told so by a participant, which leaves.
            let was_in_time = conversation.ask("in time?".into(), WAIT).is_ok();
            assert_eq!(conversation.receive_reply(WAIT), Err(ReceiveError::Closed), "{host:?} {terms:?}");
            assert_eq!(conversation.ask("too late".into(), WAIT), Err(AskError::Closed));
            if was_in_time {
                let left = world.await_left();
                // On its way through a server one may join that nobody waits for any more.
                assert!(left == Leaving::Closed || transport.is_relayed(), "{left:?} {host:?} {terms:?}");
            }
        }
    }
}

/// A server bounds how long nothing is said, also in conversations of which the opener said nothing about that, and
/// in those of 1.0, which cannot say it.
pub fn the_server_says_how_long_nothing_may_be_said(transport: &dyn Transport) {
    for setup in Setup::all(transport) {
        let stage = Stage::default().options(|options| options.bus.conversation_idle_time_max = Some(NAP));
        let world = stage.serve(transport, *setup);
        let (_handle, conversation) = world.open(Host::ALL[0].subject());
        eventually(|| {
            // What is said keeps it open: it must be left alone for that long.
            std::thread::sleep(4 * NAP);
            match conversation.ask("still there?".into(), WAIT) {
                Ok(_) => false,
                Err(AskError::Closed) => true,
                Err(AskError::Refused(refusal)) => refusal.reason == ReasonCode::NOT_OPEN,
                Err(error) => panic!("{setup:?}: {error}"),
            }
        });
    }
}

/// Takes for ever to join.
struct Hesitant;

impl AsyncParticipant for Hesitant {
    fn joined<'a>(&'a mut self, _: AsyncContext) -> Pending<'a> {
        Box::pin(pending())
    }

    fn message<'a>(&'a mut self, _: AsyncContext, _: Received) -> Pending<'a> {
        Box::pin(pending())
    }
}

/// The time of a conversation begins when it is opened, and may be over before its participant has joined.
pub fn a_conversation_may_be_over_before_it_has_begun(transport: &dyn Transport) {
    let role = Role::Async(Arc::new(|| Hesitant));
    let world = Stage::empty().role("work", role).serve(transport, Setup::V2);
    let terms = Terms { total: Some(NAP), ..Terms::default() };
    let conversation = world.connect().open_on("work", terms).unwrap();
    assert_eq!(conversation.ask("hello".into(), WAIT), Err(AskError::Closed));
    assert_eq!(conversation.await_crash(WAIT), Err(AwaitCrashError::Closed));
    conversation.close().unwrap();
}

/// While a request is outstanding a conversation is not idle, however long that takes.
pub fn who_waits_for_a_reply_is_not_idle(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let handle = world.connect();
    for host in Host::ALL {
        // The reply takes two naps. Who is slow to ask has been idle for one before.
        let terms = Terms { idle: Some(NAP), ..Terms::default() };
        eventually(|| {
            let conversation = handle.open_on(host.subject(), terms).unwrap();
            conversation.ask(say::BULK_LATER.into(), WAIT).is_ok_and(|reply| reply.len() == say::BULK)
        });
    }
}

/// 1.0 has no words for terms, whichever side speaks no more.
pub fn terms_need_version_2(transport: &dyn Transport) {
    for &setup in Setup::all(transport).iter().filter(|setup| setup.is_v1()) {
        let world = Stage::default().serve(transport, setup);
        let handle = world.connect();
        for terms in [on_exit(OnExit::Next), Terms::default()] {
            let opened = handle.open_on("inline", terms);
            assert_eq!(opened.err(), Some(OpenError::NeedsVersion2), "{setup:?}");
        }
        assert_eq!(handle.open("inline").unwrap().ask("hello".into(), WAIT).unwrap(), "hello");
    }
}
