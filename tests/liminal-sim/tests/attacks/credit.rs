//! Credit that is exceeded, or given in ways that mean no good.

use std::time::Duration;

use liminal_proto::wire::{Body, Dialect};
use liminal_proto::{Config, Limits, ReasonCode};
use liminal_sim::Hostile;

use crate::frames::*;
use crate::kit::{Attack, kept, refused, replies};

const V2: Dialect = Dialect::V2;

fn narrow(config: &mut Config) {
    (config.limits.conversation_window, config.limits.connection_window) = (1_000, 2_000);
}

fn credit(stream: u32, bytes: u32) -> Vec<u8> {
    frame(V2, 0, stream, Body::Credit { bytes })
}

fn credit_in_all(messages: u32, replies: u32) -> Vec<u8> {
    frame(V2, 0, 0, Body::ConnectionCredit { messages, replies })
}

fn talk(parts: &[Vec<u8>]) -> Hostile {
    Hostile::new().write([&connect(V2)[..], &parts.concat()].concat()).wait(Duration::from_secs(1))
}

#[test]
fn one_byte_above_the_credit_ends_the_connection() {
    // 1,000 in one conversation: with their charge two of 400 bytes are 928, and one of 8 bytes is 264.
    let fits = [open(1, "late"), ask(V2, 1, 1, &[7; 400]), ask(V2, 1, 2, &[7; 400])];
    Attack::new(talk(&fits)).config(narrow).check(|encounter| _ = kept(encounter, V2));
    let beyond = [&fits[..], &[ask(V2, 1, 3, &[7; 8])]].concat();
    Attack::new(talk(&beyond)).config(narrow).check(|encounter| refused(encounter, ReasonCode::CREDIT));
    // 2,000 in all of them, also where nobody has opened any.
    let everywhere: Vec<_> =
        [1, 3, 5, 7, 9].map(|nth| [open(nth, "late"), ask(V2, nth, 1, &[7; 400])].concat()).into();
    Attack::new(talk(&everywhere)).config(narrow).check(|encounter| refused(encounter, ReasonCode::CREDIT));
}

#[test]
fn credit_that_nobody_can_count_ends_the_connection() {
    let beyond = [credit(1, Limits::CREDIT_MAX), credit_in_all(1, 0), credit_in_all(0, u32::MAX)];
    for given in beyond {
        let opened = [open(1, "echo"), given];
        Attack::new(talk(&opened)).check(|encounter| refused(encounter, ReasonCode::CREDIT));
    }
}

#[test]
fn credit_of_little_use_is_a_control_frame() {
    // Of one byte, of none, and where nothing is.
    for given in [credit(1, 0), credit_in_all(0, 0), credit(9, 1 << 20), credit(2, 1 << 20)] {
        let few = [open(1, "echo"), given.repeat(100), ask(V2, 1, 1, b"?")];
        Attack::new(talk(&few)).check(|encounter| assert_eq!(replies(&kept(encounter, V2)), 1));
        let flood = [open(1, "echo"), given.repeat(1_000)];
        Attack::new(talk(&flood)).check(|encounter| refused(encounter, ReasonCode::LIMIT));
    }
    let narrow_peer = [connect_narrow(100_000), open(1, "echo"), credit(1, 1).repeat(1_000)].concat();
    Attack::new(Hostile::new().write(narrow_peer)).check(|encounter| refused(encounter, ReasonCode::LIMIT));
}

#[test]
fn credit_on_the_dead_does_nothing() {
    let over = [open(1, "echo"), close(1), credit(1, 30_000)];
    let dead = [open(3, "panic"), ask(V2, 3, 1, b"?"), credit(3, 30_000)];
    let alive = [open(5, "echo"), ask(V2, 5, 1, b"?")];
    let talk = [connect_narrow(100_000), over.concat(), dead.concat(), alive.concat()].concat();
    let hostile = Hostile::new().write(talk).wait(Duration::from_secs(1));
    Attack::new(hostile).check(|encounter| assert_eq!(replies(&kept(encounter, V2)), 1));
}

#[test]
fn windows_of_nothing_and_windows_that_come_twice_or_never_are_refused() {
    let none = [0; 12];
    let cases = [
        (whole(0x8D, 0, &none), ReasonCode::INVALID_STATE),
        (windows(1_000), ReasonCode::INVALID_STATE),
        (whole(0x8D, 1, &none), ReasonCode::INVALID_STREAM),
    ];
    for (frame, code) in cases {
        let code =
            if frame[10..] == none && code == ReasonCode::INVALID_STATE { ReasonCode::CODEC } else { code };
        Attack::new(talk(&[frame])).check(|encounter| refused(encounter, code));
    }
    let greeting = windows(Limits::CREDIT_MAX).len();
    let bare = connect(V2);
    let bare = &bare[..bare.len() - greeting];
    let first = Hostile::new().write([bare, &open(1, "echo")].concat());
    Attack::new(first).check(|encounter| refused(encounter, ReasonCode::INVALID_STATE));
}

#[test]
fn who_gives_no_credit_holds_up_nobody_else_of_its_participants() {
    // It takes 300 bytes, and asks for much more, of a host and of a client that serves.
    for subject in ["echo", "bulk", "echo from afar"] {
        let asks = (1..=20).map(|number| ask(V2, 1, number, &[7; 200]));
        let talk: Vec<u8> =
            [connect_narrow(300), open(1, subject)].into_iter().chain(asks).flatten().collect();
        let hostile = Hostile::new().write(talk).wait(Duration::from_secs(30));
        Attack::new(hostile).served().check(|encounter| assert!(replies(&kept(encounter, V2)) <= 1));
    }
}
