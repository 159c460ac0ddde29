//! Peers that do not shake hands, or not as they should.

use std::time::Duration;

use liminal_proto::wire::{Body, Dialect, Version};
use liminal_proto::{Limits, ReasonCode};
use liminal_sim::{Encounter, Hostile};

use crate::frames::*;
use crate::kit::{Attack, BEFORE, refused};

#[track_caller]
fn refuse(bytes: impl Into<Vec<u8>>, code: ReasonCode) {
    Attack::new(Hostile::new().write(bytes.into())).holding(BEFORE).check(|encounter| {
        refused(encounter, code);
        assert_eq!(encounter.lasted(), Some(Duration::ZERO));
        says_little(encounter);
    });
}

/// Whoever has not shown who it is cannot have more said than one answer and its reason.
#[track_caller]
fn says_little(encounter: &Encounter) {
    let most = encounter.wrote + Limits::default().text_max;
    assert!(encounter.heard.len() <= most, "{} bytes", encounter.heard.len());
}

#[test]
fn nothing_comes_before_connect() {
    let state = ReasonCode::INVALID_STATE;
    refuse(open(1, "echo"), state);
    refuse(say(Dialect::V1, 1, 1, b"hello"), state);
    refuse(whole(0x04, 0, &[]), state);
}

#[test]
fn a_second_connect_is_out_of_place() {
    for dialect in DIALECTS {
        refuse(connect(dialect).repeat(2), ReasonCode::INVALID_STATE);
        let later = Hostile::new().write(connect(dialect)).wait(Duration::from_secs(1));
        let again = later.write(connect(dialect));
        Attack::new(again).check(|encounter| refused(encounter, ReasonCode::INVALID_STATE));
    }
}

#[test]
fn a_hundred_who_say_nothing_are_given_up_when_their_time_is_over() {
    for dialect in [None, Some(Dialect::V1)] {
        // Half of them begin to say something.
        let begun = dialect.map_or_else(Vec::new, |dialect| connect(dialect)[..9].to_vec());
        let seconds = if begun.is_empty() { 5 } else { 1 };
        let silent = Hostile::new().write(begun);
        Attack::of_many(vec![silent; 100]).holding(BEFORE).check(|encounter| {
            refused(encounter, ReasonCode::TOO_SLOW);
            assert_eq!(encounter.lasted().map(|it| it.as_secs()), Some(seconds));
        });
    }
}

#[test]
fn who_was_refused_and_keeps_its_socket_holds_nothing() {
    let stays = Hostile::new().write(whole(0x04, 0, &[])).wait(Duration::from_secs(600));
    Attack::new(stays).holding(BEFORE).check(|encounter| refused(encounter, ReasonCode::INVALID_STATE));
    // And who does not even read why is given up with what it was to be told.
    let deaf = Hostile::new().stop_reading().write(whole(0x04, 0, &[])).wait(Duration::from_secs(600));
    Attack::new(deaf).holding(BEFORE).check(|encounter| {
        assert!(encounter.lasted().unwrap() <= Limits::default().handshake_write_stall_time);
    });
}

#[test]
fn a_wrong_token_has_one_answer_whatever_is_wrong_with_it() {
    let wrong: [&[u8]; 5] = [b"", b"s", b"secreT", b"secret1", &[7; 5000]];
    let mut answers = Vec::new();
    for dialect in DIALECTS {
        for token in wrong {
            let attack = Attack::new(Hostile::new().write(connect_with(dialect, token))).holding(BEFORE);
            // The neighbours know it.
            let attack = attack.config(|config| config.token = "secret".into());
            let answer = std::cell::RefCell::new(Vec::new());
            attack.check(|encounter| {
                refused(encounter, ReasonCode::AUTHENTICATION);
                says_little(encounter);
                answer.replace(encounter.heard.clone());
            });
            answers.push(answer.into_inner());
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn a_token_of_4_gib_is_refused_before_it_comes() {
    let token = [&[0, 1, 0, 0, 0, 1, 0, 0][..], &u32::MAX.to_be_bytes()].concat();
    refuse(whole(CONNECT, 0, &token), ReasonCode::CODEC);
    refuse(begun(CONNECT, 0, u32::MAX, &token), ReasonCode::TOO_LARGE);
}

#[test]
fn no_version_in_common_is_told() {
    let (min_version, max_version) = (Version { major: 7, minor: 0 }, Version { major: 9, minor: 0 });
    let body = Body::Connect { min_version, max_version, auth_token: &b""[..] };
    refuse(frame(Dialect::V1, 0, 0, body), ReasonCode::VERSION_MISMATCH);
}

#[test]
fn pings_before_connect_are_few() {
    let hostile = Hostile::new().write(ping().repeat(5000));
    Attack::new(hostile).holding(BEFORE).check(|encounter| {
        refused(encounter, ReasonCode::LIMIT);
        says_little(encounter);
        let told = heard(Dialect::V1, &encounter.heard);
        let pongs = told.iter().filter(|frame| frame.body == Body::Pong).count();
        assert_eq!(pongs, Limits::default().handshake_control_frames_max as usize);
    });
}
