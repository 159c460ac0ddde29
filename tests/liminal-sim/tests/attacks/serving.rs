//! Clients that serve and mean no good, and those who ask them.

use std::time::Duration;

use bytes::Bytes;
use liminal_core::Recorded;
use liminal_core::transcript::{Noted, OpenerId};
use liminal_proto::wire::{Body, Dialect, RecordNumbers, flag};
use liminal_proto::{Config, Event, ExitReason, MessageId, Pid, ReasonCode, RecordNumber};
use liminal_sim::{Hostile, Ran, Script};

use crate::frames::*;
use crate::kit::{Attack, kept, refused, replies};

const V2: Dialect = Dialect::V2;
/// What the first conversation is called to which a client is invited, and its first message.
const GUEST: u32 = 2;
const FIRST: u64 = 1;
/// The neighbours are the first two.
const VICTIM: OpenerId = OpenerId::new(3);

fn serve(stream: u32, capacity: u32, subject: &str) -> Vec<u8> {
    frame(V2, 0, stream, Body::Serve { capacity, subject: Some(subject) })
}

fn opened() -> Vec<u8> {
    frame(V2, 0, GUEST, Body::Opened { pid: Some(Pid::new(1)) })
}

fn reply(stream: u32, answers: u64, payload: &[u8]) -> Vec<u8> {
    let (message_id, answers) = (MessageId::new(0), Some(MessageId::new(answers)));
    let body =
        Body::Message { message_id, answers, timeout_ms: None, redelivered: None, metadata: None, payload };
    frame(V2, flag::ANSWERS, stream, body)
}

fn exited() -> Vec<u8> {
    let (pid, record, cause, message) = (Pid::new(77), RecordNumber::new(77), 1, Some("had enough"));
    frame(
        V2,
        0,
        GUEST,
        Body::Exited { pid, record, cause, message, unanswered: 0, records: RecordNumbers::default() },
    )
}

/// Serves "mine", takes part in the conversation of the victim, and says all this.
fn responder(parts: &[Vec<u8>]) -> Attack {
    let hostile = Hostile::new()
        .write([connect(V2), serve(1, 8, "mine")].concat())
        .wait(Duration::from_millis(500))
        .write([&opened()[..], &parts.concat()].concat())
        .wait(Duration::from_secs(1));
    let victim = Script::new().wait(Duration::from_millis(100)).open("mine").ask("?").wait_for_replies();
    Attack::new(hostile).victim(victim.wait(Duration::from_secs(1)).close())
}

/// What the victim was told of its request.
fn told(ran: &Ran) -> Vec<&Event> {
    let told = ran.transcript.entries().iter().filter_map(|entry| match &entry.what {
        Noted::Told { opener, event } if *opener == VICTIM => Some(event),
        _ => None,
    });
    told.filter(|event| matches!(event, Event::Reply(_) | Event::Exited { .. } | Event::Outcome { .. }))
        .collect()
}

/// What the logs have of replies that are not those of the neighbours.
fn replies_recorded(ran: &Ran) -> Vec<Bytes> {
    let reply = |what: &'_ Noted| match what {
        Noted::Recorded { record, .. } => match &record.what {
            Recorded::Reply { payload, .. } if *payload != "done" => Some(payload.clone()),
            _ => None,
        },
        _ => None,
    };
    ran.transcript.entries().iter().filter_map(|entry| reply(&entry.what)).collect()
}

#[test]
fn replies_to_what_was_never_asked_reach_nobody() {
    let forged = [
        reply(GUEST, 99, b"forged"),
        reply(GUEST, 0, b"forged"),
        reply(4, FIRST, b"forged"),
        reply(GUEST, FIRST, b"mine"),
        reply(GUEST, FIRST, b"again"),
    ];
    responder(&forged).check_run(|ran| {
        kept(&ran.encounters[0], V2);
        assert_eq!(replies_recorded(ran), ["mine"]);
        assert!(matches!(told(ran)[..], [Event::Reply(_)]), "{:?}", told(ran));
    });
}

#[test]
fn what_the_dead_say_changes_nothing() {
    let late = [exited(), reply(GUEST, FIRST, b"from beyond"), opened(), exited()];
    responder(&late).check_run(|ran| {
        kept(&ran.encounters[0], V2);
        assert!(replies_recorded(ran).is_empty());
        assert!(matches!(told(ran)[..], [Event::Exited { .. }, Event::Outcome { .. }]), "{:?}", told(ran));
    });
    // What was taken back at once is dead, too.
    let withdrawn = [frame(V2, 0, 1, Body::Withdraw), reply(GUEST, FIRST, b"from beyond")];
    responder(&withdrawn).check_run(|ran| {
        kept(&ran.encounters[0], V2);
        assert!(replies_recorded(ran).is_empty());
        let Some(Event::Exited { exit, .. }) = told(ran).first().copied() else { panic!("{:?}", told(ran)) };
        assert_eq!(exit.reason, ExitReason::Withdrawn);
    });
}

#[test]
fn frames_of_serving_out_of_place_are_ignored() {
    let useless = [
        opened(),
        frame(V2, 0, 6, Body::Opened { pid: None }),
        frame(V2, 0, GUEST, Body::Joined { pid: Pid::new(5) }),
        frame(V2, 0, GUEST, Body::Failed),
        frame(V2, 0, 3, Body::Withdraw),
        frame(V2, 0, 1, Body::Withdrawn),
        frame(V2, 0, 1, Body::Serving),
        frame(V2, 0, 5, Body::Invite { pid: Pid::new(9), subject: "work" }),
        reply(GUEST, FIRST, b"mine"),
    ];
    responder(&useless).check_run(|ran| {
        kept(&ran.encounters[0], V2);
        assert_eq!(replies_recorded(ran), ["mine"]);
        assert!(matches!(told(ran)[..], [Event::Reply(_)]), "{:?}", told(ran));
    });
}

#[test]
fn malformed_frames_of_serving_are_refused_with_their_code_and_are_the_exit_of_who_serves() {
    let subject = [&[0, 0, 0, 8, 1, 0, 0, 0, 4][..], b"more"].concat();
    let cases = [
        (whole(0x87, 3, &[0, 0, 0, 0, 0]), ReasonCode::CODEC),
        (whole(0x87, 3, &subject[..subject.len() - 1]), ReasonCode::CODEC),
        (whole(0x87, 3, &[&subject[..], &[0]].concat()), ReasonCode::CODEC),
        (whole(0x87, 3, &[0, 0, 0, 8, 2]), ReasonCode::CODEC),
        (whole(0x87, 0, &subject), ReasonCode::INVALID_STREAM),
        (whole(0x87, 8, &subject), ReasonCode::INVALID_STREAM),
        (serve(1, 8, "again"), ReasonCode::INVALID_STREAM),
        (whole(0x89, 1, &[1]), ReasonCode::CODEC),
        (whole(0x89, 0, &[]), ReasonCode::INVALID_STREAM),
        (whole(0x80, GUEST, &[7]), ReasonCode::CODEC),
        (whole(0x83, GUEST, &[0; 3]), ReasonCode::CODEC),
        (whole(0x82, GUEST, &[0; 3]), ReasonCode::CODEC),
        (open(4, "echo"), ReasonCode::INVALID_STREAM),
    ];
    for (frame, code) in cases {
        responder(std::slice::from_ref(&frame)).check_run(|ran| {
            refused(&ran.encounters[0], code);
            assert!(replies_recorded(ran).is_empty());
            let Some(Event::Exited { exit, .. }) = told(ran).first().copied() else {
                panic!("{frame:x?}: {:?}", told(ran))
            };
            assert!(matches!(exit.reason, ExitReason::Violated { .. }), "{frame:x?}: {:?}", exit.reason);
        });
    }
}

#[test]
fn offers_without_end_are_refused() {
    let offers = |count: u32| {
        (0..count).flat_map(|nth| serve(1 + 2 * nth, 1, &format!("s{nth}"))).collect::<Vec<u8>>()
    };
    let few = Hostile::new().write([connect(V2), offers(300)].concat()).wait(Duration::from_secs(1));
    Attack::new(few).check(|encounter| {
        let told = kept(encounter, V2);
        let serving = told.iter().filter(|it| matches!(it.body, Body::Serving)).count();
        assert_eq!((serving, crate::kit::refusals(&told)), (256, vec![ReasonCode::LIMIT; 44]));
    });
    let flood = Hostile::new().write([connect(V2), offers(2_000)].concat()).wait(Duration::from_secs(1));
    Attack::new(flood).check(|encounter| refused(encounter, ReasonCode::LIMIT));
}

#[test]
fn replies_above_their_credit_are_the_end_of_who_serves() {
    let narrow = |config: &mut Config| {
        (config.limits.conversation_window, config.limits.connection_window) = (1_000, 2_000);
    };
    // Parts of 464 with their charge, and none of them is dealt with before it is said: its asker has no more credit.
    let mut part = reply(GUEST, FIRST, &[7; 400]);
    part[1] |= flag::MORE;
    let serves = Hostile::new()
        .write([connect(V2), serve(1, 8, "mine")].concat())
        .wait(Duration::from_millis(500))
        .write([opened(), part.repeat(5)].concat())
        .wait(Duration::from_secs(1));
    let asks = [connect_narrow(300), open(1, "mine"), ask(V2, 1, 1, b"?")].concat();
    let asks = Hostile::new().wait(Duration::from_millis(100)).write(asks).wait(Duration::from_secs(1));
    Attack::of_many(vec![serves, asks]).config(narrow).check_run(|ran| {
        refused(&ran.encounters[0], ReasonCode::CREDIT);
        // Its asker, which has not read what came before, is not told of it yet.
        assert_eq!(replies(&kept(&ran.encounters[1], V2)), 1);
        let broke_a_rule = |what: &Noted| match what {
            Noted::Recorded { record, .. } => {
                matches!(&record.what, Recorded::Exited { reason: ExitReason::Violated { .. }, .. })
            }
            _ => false,
        };
        assert!(ran.transcript.entries().iter().any(|entry| broke_a_rule(&entry.what)));
    });
}

#[test]
fn who_serves_and_does_not_read_holds_up_nobody_else() {
    let victims = |nth: u64| {
        let script = Script::new().wait(Duration::from_millis(100 + nth)).open("mine");
        (0..20).fold(script, |script, _| script.ask(vec![7; 20_000])).wait_for_replies().close()
    };
    let hostile = || {
        Hostile::new()
            .write([connect(V2), serve(1, 8, "mine")].concat())
            .wait(Duration::from_millis(50))
            .stop_reading()
            .wait(Duration::from_secs(60))
    };
    let attack = (0..8).fold(Attack::new(hostile()), |attack, nth| attack.victim(victims(nth)));
    attack.served().check(|encounter| assert!(encounter.lasted().is_some()));
}
