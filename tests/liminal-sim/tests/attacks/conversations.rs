//! Conversations that mean no good.

use std::time::Duration;

use liminal_core::transcript::Noted;
use liminal_core::{Leaving, Recorded};
use liminal_proto::wire::{Body, Dialect};
use liminal_proto::{Limits, ReasonCode};
use liminal_sim::{Hostile, Ran};

use crate::frames::*;
use crate::kit::{Attack, kept, refusals, refused, replies, rude_words};

#[test]
fn new_names_without_end_are_kept_by_nobody() {
    for dialect in DIALECTS {
        // Below the rate at which refusals are a business: each is told, and nothing stays.
        let mut hostile = Hostile::new().write(connect(dialect));
        for nth in 0..90 {
            hostile =
                hostile.write(open(1 + 2 * nth, &format!("{nth:0>250}"))).wait(Duration::from_millis(120));
        }
        Attack::new(hostile).holding(64 << 10).check(|encounter| {
            assert_eq!(refusals(&kept(encounter, dialect)), [ReasonCode::NO_PARTICIPANT; 90]);
        });
        let long = "x".repeat(300);
        let hostile = Hostile::new().write([connect(dialect), open(1, &long)].concat());
        Attack::new(hostile.wait(Duration::from_secs(1))).check(|encounter| {
            assert_eq!(refusals(&kept(encounter, dialect)), [ReasonCode::INVALID_NAME]);
        });
    }
}

#[test]
fn what_another_has_open_is_out_of_reach() {
    for dialect in DIALECTS {
        // The neighbours have conversation 1.
        let talk = [connect(dialect), ask(dialect, 1, 1, b"mine?"), close(1)].concat();
        Attack::new(Hostile::new().write(talk).wait(Duration::from_secs(1))).check(|encounter| {
            assert_eq!(refusals(&kept(encounter, dialect)), [ReasonCode::NOT_OPEN]);
        });
    }
}

#[test]
fn replies_that_a_client_forges_reach_nobody() {
    for dialect in DIALECTS {
        let body = Body::Message {
            message_id: liminal_proto::MessageId::new(9),
            answers: Some(liminal_proto::MessageId::new(1)),
            timeout_ms: None,
            redelivered: None,
            metadata: None,
            payload: &b"forged"[..],
        };
        let forged = match dialect {
            Dialect::V1 => whole(0x16, 1, &[0; 12]),
            Dialect::V2 => frame(dialect, 2, 1, body),
        };
        let talk = [connect(dialect), open(1, "echo"), ask(dialect, 1, 1, b"?"), forged].concat();
        Attack::new(Hostile::new().write(talk).wait(Duration::from_secs(1))).check_run(|ran| {
            assert!(!format!("{:?}", ran.transcript).contains("forged"));
        });
    }
}

#[test]
fn opening_and_closing_without_end_leaves_nothing_and_delays_nobody() {
    for dialect in DIALECTS {
        let cycle = |nth: u32| [open(1 + 2 * nth, "echo"), close(1 + 2 * nth)].concat();
        let flapping: Vec<u8> = (0..500).flat_map(cycle).collect();
        let hostile =
            Hostile::new().write([connect(dialect), flapping].concat()).wait(Duration::from_secs(1));
        Attack::new(hostile).check(|encounter| assert!(refusals(&kept(encounter, dialect)).is_empty()));
    }
}

/// How many participants have left in this way.
fn left(ran: &Ran, how: Leaving) -> usize {
    let is_it = |what: &Noted| {
        matches!(what, Noted::Recorded { record, .. }
            if matches!(record.what, Recorded::Left { why, .. } if why == how))
    };
    ran.transcript.entries().iter().filter(|entry| is_it(&entry.what)).count()
}

#[test]
fn the_end_of_six_hundred_participants_at_once_costs_as_much_as_each_of_them() {
    for dialect in DIALECTS {
        let opens: Vec<u8> = (0..600).flat_map(|nth| open(1 + 2 * nth, "echo")).collect();
        let hostile = Hostile::new().write([connect(dialect), opens].concat());
        let hostile = hostile.wait(Duration::from_millis(100)).reset();
        Attack::new(hostile).check_run(|ran| assert_eq!(left(ran, Leaving::OwnerLost), 600));
    }
}

#[test]
fn a_close_that_came_before_the_loss_is_a_close() {
    for dialect in DIALECTS {
        let talk = [connect(dialect), open(1, "echo"), ask(dialect, 1, 1, b"?")].concat();
        let hostile = Hostile::new().write(talk).wait(Duration::from_secs(1));
        // The loss comes right behind it.
        let hostile = hostile.write(close(1)).reset();
        // Those of the neighbours are closed, too.
        Attack::new(hostile).check_run(|ran| {
            assert_eq!((left(ran, Leaving::Closed), left(ran, Leaving::OwnerLost)), (3, 0));
        });
    }
}

#[test]
fn hostile_last_words_are_cut() {
    for dialect in DIALECTS {
        let talk = [connect(dialect), open(1, "rude"), ask(dialect, 1, 1, b"?")].concat();
        Attack::new(Hostile::new().write(talk).wait(Duration::from_secs(1))).check_run(|ran| {
            let told = kept(&ran.encounters[0], dialect);
            let words = told.iter().find_map(|frame| match &frame.body {
                Body::Exited { message, .. } | Body::ConversationError { message, .. } => message.clone(),
                _ => None,
            });
            let words = words.expect("its exit is told");
            assert!(words.len() <= Limits::default().text_max && words.len() < rude_words().len());
            assert!(words.contains("forged"), "{words:?}");
        });
    }
}

#[test]
fn ids_near_their_maximum_are_as_good_as_any() {
    let v1 = [connect(Dialect::V1), open(u32::MAX, "echo"), ask(Dialect::V1, u32::MAX, 0, b"?")].concat();
    Attack::new(Hostile::new().write(v1).wait(Duration::from_secs(1)))
        .check(|encounter| assert_eq!(replies(&kept(encounter, Dialect::V1)), 1));
    let request = ask(Dialect::V2, u32::MAX, u64::MAX, b"?");
    let v2 = [connect(Dialect::V2), open(u32::MAX, "echo"), request.clone()].concat();
    // Ids ascend, and there is none above it.
    let hostile = Hostile::new().write(v2).wait(Duration::from_secs(1)).write(request);
    Attack::new(hostile).check(|encounter| refused(encounter, ReasonCode::INVALID_STREAM));
}
