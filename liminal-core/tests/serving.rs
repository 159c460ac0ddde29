//! Participants that are on links: what the bus tells their links, what those say, and what becomes of
//! conversations when such a link or its offer is gone. One story each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test says so"
)]

#[macro_use]
mod kit;

use std::time::Duration;

use bytes::Bytes;
use kit::{Kit, says, secs};
use liminal_core::{Answer, CrashPolicy, LinkId, Offer, Settings, Subject};
use liminal_proto::{
    CloseReason, ConversationId, Event, Exit, ExitReason, Expects, LinkError, MessageId, Metadata, Outcome,
    Pid, ReasonCode, RecordNumber, Reply, StreamId, TimerReason, Unanswered, Violation,
};

/// What a link that serves says.
impl Kit {
    fn serve(&mut self, link: LinkId, offer: u32, subject: Option<&str>, capacity: u32) {
        let (offer, subject) = (StreamId::new(offer), subject.map(Into::into));
        self.event(link, Event::Serve { offer, subject, capacity });
    }

    fn withdraw(&mut self, link: LinkId, offer: u32, drain: bool) {
        self.event(link, Event::Withdraw { offer: StreamId::new(offer), drain });
    }

    fn opened(&mut self, link: LinkId, guest: u64) {
        self.event(link, Event::Opened { conversation: ConversationId::new(guest), pid: None });
    }

    fn refused(&mut self, link: LinkId, guest: u64, reason: ReasonCode) {
        let conversation = ConversationId::new(guest);
        self.event(link, Event::Refused { conversation, reason, text: None });
    }

    fn replies(&mut self, link: LinkId, guest: u64, answers: u64, last: bool, text: &'static str) {
        let (conversation, answers) = (ConversationId::new(guest), MessageId::new(answers));
        let payload = Bytes::from_static(text.as_bytes());
        self.event(
            link,
            Event::Reply(Reply {
                conversation,
                answers,
                record: None,
                last,
                metadata: Metadata::default(),
                payload,
            }),
        );
    }

    fn outcome(&mut self, link: LinkId, guest: u64, message: u64, outcome: Outcome) {
        let (conversation, message) = (ConversationId::new(guest), MessageId::new(message));
        self.event(link, Event::Outcome { conversation, message, outcome });
    }

    fn exits(&mut self, link: LinkId, guest: u64, reason: ExitReason) {
        let (pid, record) = (Pid::new(99), RecordNumber::new(9));
        let exit = Exit { pid, record, reason, goes_on: false, unanswered: Unanswered::default() };
        self.event(link, Event::Exited { conversation: ConversationId::new(guest), exit });
    }

    fn ended(&mut self, link: LinkId, guest: u64) {
        self.event(link, Event::Ended { conversation: ConversationId::new(guest) });
    }
}

const OWNER: &str = "l1";

/// A bus on which link 2 (and 3, …) serves "work" for link 1, with that many conversations each.
fn serving(links: u64, capacity: u32, policy: CrashPolicy) -> (Kit, LinkId, Vec<LinkId>) {
    serving_with(links, capacity, policy, Settings::default())
}

fn serving_with(
    links: u64,
    capacity: u32,
    policy: CrashPolicy,
    settings: Settings,
) -> (Kit, LinkId, Vec<LinkId>) {
    let mut kit = Kit::new(settings);
    kit.bus.on_crash("work".into(), policy).unwrap();
    let owner = kit.link();
    let serving: Vec<LinkId> = (0..links).map(|_| kit.link()).collect();
    serving.iter().for_each(|link| kit.serve(*link, 1, Some("work"), capacity));
    kit.drain();
    (kit, owner, serving)
}

/// The same with conversation 1, whose participant, on link 2, has joined.
fn joined(links: u64, policy: CrashPolicy) -> (Kit, LinkId, Vec<LinkId>) {
    let (mut kit, owner, serving) = serving(links, 8, policy);
    kit.open(owner, 1, "work");
    kit.drain();
    kit.opened(serving[0], 2);
    follows!(kit, ["l1 c1 opened by p1"]);
    (kit, owner, serving)
}

#[test]
fn a_participant_on_a_link_is_invited_asked_answers_and_is_told_to_close() {
    let mut kit = Kit::new(Settings::default());
    let (owner, link) = (kit.link(), kit.link());
    kit.serve(link, 1, Some("work"), 2);
    follows!(kit, ["l2 s1 serving"]);
    kit.open(owner, 1, "work");
    kit.ask(owner, 1, 7, "question");
    follows!(kit, ["l2 g2 invite p1 work"]);
    kit.opened(link, 2);
    follows!(kit, ["l1 c1 opened by p1", "l2 g2 m1 \"question\"?"]);
    kit.replies(link, 2, 1, false, "a part");
    kit.replies(link, 2, 1, true, "the rest");
    follows!(kit, ["l1 c1 m7 part r3 \"a part\"", "l1 c1 m7 reply r4 \"the rest\""]);
    kit.close(owner, 1);
    follows!(kit, ["l1 c1 ended", "l2 g2 close"]);
    kit.ended(link, 2);
    follows!(kit, []);
    assert_eq!((kit.bus.load().conversations, kit.bus.load().requests), (0, 0));
}

#[test]
fn it_is_given_one_message_at_a_time_and_the_next_when_it_has_taken_or_answered_that() {
    let (mut kit, owner, links) = joined(1, CrashPolicy::Fail);
    kit.say(owner, 1, 1, "one");
    kit.ask(owner, 1, 2, "two");
    kit.ask(owner, 1, 3, "three");
    follows!(kit, ["l2 g2 m1 \"one\""]);
    kit.outcome(links[0], 2, 1, Outcome::Accepted { record: None });
    follows!(kit, ["l2 g2 m2 \"two\"?"]);
    kit.outcome(
        links[0],
        2,
        2,
        Outcome::Refused { reason: ReasonCode::NO_REPLY, text: Some("no idea".into()) },
    );
    follows!(kit, ["l1 c1 m2 refused: no reply was given (no idea)", "l2 g2 m3 \"three\"?"]);
    kit.replies(links[0], 2, 3, true, "three");
    follows!(kit, ["l1 c1 m3 reply r6 \"three\""]);
    assert_eq!(kit.bus.load().held_bytes, 0);
}

#[test]
fn the_loss_of_its_link_is_the_exit_of_every_participant_there() {
    let lost = |reason: CloseReason| {
        let (mut kit, owner, links) = joined(1, CrashPolicy::Fail);
        kit.ask(owner, 1, 1, "question");
        kit.drain();
        kit.event(links[0], Event::Closed(reason));
        let told = kit.drain();
        assert_eq!(kit.bus.load().links, 1, "nothing is left of the link");
        kit.ask(owner, 1, 2, "still there?");
        let refused = "l1 c1 m2 refused: the participant has exited (participant 1 has exited)";
        assert_eq!(kit.drain(), [refused]);
        told
    };
    let slow = |what| Violation::TooSlow { what, limit: secs(10) };
    let cases = [
        (CloseReason::PeerEof, "lost its connection"),
        (CloseReason::Link(LinkError::Reset), "lost its connection"),
        (CloseReason::Violation(slow(TimerReason::Keepalive)), "lost its connection"),
        (CloseReason::Violation(slow(TimerReason::WriteStall)), "was too slow"),
        (CloseReason::Violation(Violation::Unread { queued: 9 }), "was too slow"),
        (CloseReason::Violation(Violation::BadToken), "broke the rules: the token is wrong"),
        (CloseReason::Peer, "was withdrawn"),
        (CloseReason::Local, "ended with its server"),
    ];
    for (reason, words) in cases {
        assert_eq!(lost(reason), [format!("{OWNER} c1 p1 exited r3: {words}")]);
    }
}

#[test]
fn a_participant_that_exits_is_dead_for_its_conversation_alone_and_its_place_is_free_when_the_link_says_so() {
    let (mut kit, owner, links) = serving(1, 2, CrashPolicy::Fail);
    for id in 1..=3 {
        kit.open(owner, id, "work");
    }
    follows!(kit, ["l1 c3 refused: busy", "l2 g2 invite p1 work", "l2 g4 invite p2 work"]);
    kit.opened(links[0], 2);
    kit.opened(links[0], 4);
    kit.drain();
    kit.exits(links[0], 2, ExitReason::Signal { signal: 9 });
    follows!(kit, ["l2 g2 cancel", "l1 c1 p1 exited r2: killed by signal 9"]);
    kit.open(owner, 4, "work");
    follows!(kit, ["l1 c4 refused: busy"]);
    assert_eq!(kit.bus.load().guests, 2, "the place of the dead is taken");
    kit.ended(links[0], 2);
    assert_eq!(kit.bus.load().guests, 1);
    kit.open(owner, 5, "work");
    assert_eq!(kit.bus.load().guests, 2, "also of one that is yet to be invited");
    kit.ask(owner, 2, 1, "and you?");
    follows!(kit, ["l2 g6 invite p3 work", "l2 g4 m1 \"and you?\"?"]);
}

#[test]
fn what_a_participant_says_after_its_end_reaches_nobody() {
    let (mut kit, owner, links) = joined(1, CrashPolicy::Fail);
    kit.ask(owner, 1, 1, "question");
    kit.drain();
    kit.exits(links[0], 2, ExitReason::Normal);
    kit.drain();
    kit.replies(links[0], 2, 1, true, "too late");
    kit.outcome(links[0], 2, 1, Outcome::Deadline);
    kit.exits(links[0], 2, ExitReason::Normal);
    kit.opened(links[0], 2);
    kit.refused(links[0], 2, ReasonCode::BUSY);
    kit.ended(links[0], 2);
    kit.ended(links[0], 2);
    follows!(kit, []);
    assert!(kit.bus.counters().ignored_answers >= 5, "{:?}", kit.bus.counters());
}

#[test]
fn a_reply_to_what_was_never_asked_reaches_nobody() {
    let (mut kit, owner, links) = joined(1, CrashPolicy::Fail);
    kit.replies(links[0], 2, 1, true, "unasked");
    kit.ask(owner, 1, 1, "question");
    kit.drain();
    kit.replies(links[0], 2, 9, true, "to another");
    kit.replies(links[0], 4, 1, true, "elsewhere");
    follows!(kit, []);
    kit.replies(links[0], 2, 1, true, "this");
    follows!(kit, ["l1 c1 m1 reply r3 \"this\""]);
}

#[test]
fn unanswered_requests_move_from_a_lost_link_to_the_next_and_are_marked() {
    let (mut kit, owner, links) = joined(2, CrashPolicy::RouteToNext);
    kit.ask(owner, 1, 1, "first");
    kit.ask(owner, 1, 2, "second");
    follows!(kit, ["l2 g2 m1 \"first\"?"]);
    kit.lose(links[0]);
    follows!(kit, ["l1 c1 p1 exited r4: lost its connection, goes on", "l3 g2 invite p2 work"]);
    kit.opened(links[1], 2);
    follows!(kit, ["l1 c1 joined by p2", "l3 g2 m2 \"first\"? again 1"]);
    kit.replies(links[1], 2, 2, true, "done");
    follows!(kit, ["l1 c1 m1 reply r6 \"done\"", "l3 g2 m3 \"second\"? again 1"]);
}

#[test]
fn a_conversation_moves_from_a_link_to_a_host_and_back() {
    let (mut kit, owner, links) = joined(1, CrashPolicy::RouteToNext);
    kit.bus.register("work".into(), Offer::Participant).unwrap();
    kit.ask(owner, 1, 1, "question");
    kit.drain();
    kit.exits(links[0], 2, ExitReason::Normal);
    let told = ["l2 g2 cancel", "l1 c1 p1 exited r3: ended normally, goes on", "t1 p2 join work"];
    assert_eq!(kit.drain(), told);
    kit.answer_last(Answer::Joined);
    follows!(kit, ["l1 c1 joined by p2", "t2 p2 m1 r2 \"question\"? again 1"]);
    kit.ended(links[0], 2);
    kit.answer_last(kit::crash("boom"));
    follows!(kit, ["l1 c1 p2 exited r5: crashed: boom, goes on", "l2 g4 invite p3 work"]);
}

#[test]
fn who_would_not_join_or_has_no_room_is_passed_over() {
    let (mut kit, owner, links) = serving(3, 1, CrashPolicy::Fail);
    kit.open(owner, 1, "work");
    follows!(kit, ["l2 g2 invite p1 work"]);
    kit.refused(links[0], 2, ReasonCode::BUSY);
    follows!(kit, ["l3 g2 invite p2 work"]);
    kit.opened(links[1], 2);
    follows!(kit, ["l1 c1 opened by p2"]);
    kit.open(owner, 2, "work");
    kit.open(owner, 3, "work");
    kit.open(owner, 4, "work");
    let told = kit.drain();
    assert!(told.contains(&"l1 c4 refused: busy".to_owned()), "{told:?}");
    assert!(told.iter().all(|it| !it.starts_with("l3")), "link 3 is full: {told:?}");
}

#[test]
fn a_link_that_is_lost_while_it_is_to_join_is_passed_over_and_that_is_no_exit() {
    let (mut kit, owner, links) = serving(2, 1, CrashPolicy::Fail);
    kit.open(owner, 1, "work");
    follows!(kit, ["l2 g2 invite p1 work"]);
    kit.lose(links[0]);
    follows!(kit, ["l3 g2 invite p2 work"]);
    kit.lose(links[1]);
    follows!(kit, ["l1 c1 refused: busy"]);
    kit.open(owner, 2, "work");
    follows!(kit, ["l1 c2 refused: nobody serves the subject"]);
}

#[test]
fn who_does_not_join_in_the_time_of_a_reply_is_passed_over_and_told_to_close() {
    let (mut kit, owner, links) = serving(2, 1, CrashPolicy::Fail);
    kit.open(owner, 1, "work");
    kit.drain();
    kit.pass(secs(5));
    follows!(kit, ["l2 g2 cancel", "l3 g2 invite p2 work"]);
    kit.opened(links[0], 2);
    follows!(kit, []);
    kit.opened(links[1], 2);
    follows!(kit, ["l1 c1 opened by p2"]);
}

#[test]
fn a_request_ends_at_its_deadline_and_who_is_silent_long_after_it_has_hung() {
    let (mut kit, owner, links) = joined(1, CrashPolicy::Fail);
    kit.event(owner, says(1, 1, Expects::Reply, Some(secs(1)), Bytes::from_static(b"question")));
    kit.drain();
    kit.pass(secs(1));
    follows!(kit, ["l1 c1 m1 deadline"]);
    kit.ask(owner, 1, 2, "next");
    follows!(kit, []);
    kit.outcome(links[0], 2, 1, Outcome::Deadline);
    follows!(kit, ["l2 g2 m2 \"next\"?"]);
    kit.pass(secs(5));
    follows!(kit, ["l1 c1 m2 deadline"]);
    kit.pass(secs(5) - Duration::from_nanos(1));
    follows!(kit, []);
    kit.pass(Duration::from_nanos(1));
    follows!(kit, ["l2 g2 cancel", "l1 c1 p1 exited r6: hung"]);
}

#[test]
fn an_offer_that_is_withdrawn_at_once_takes_its_participants_along() {
    let (mut kit, owner, links) = joined(1, CrashPolicy::Fail);
    kit.open(owner, 2, "work");
    kit.ask(owner, 1, 1, "question");
    kit.drain();
    kit.withdraw(links[0], 1, false);
    follows!(
        kit,
        ["l2 g2 cancel", "l1 c1 p1 exited r3: was withdrawn", "l2 g4 cancel", "l1 c2 refused: busy",]
    );
    kit.open(owner, 3, "work");
    follows!(kit, ["l1 c3 refused: nobody serves the subject"]);
    kit.ended(links[0], 2);
    follows!(kit, []);
    kit.ended(links[0], 4);
    follows!(kit, ["l2 s1 withdrawn"]);
}

#[test]
fn an_offer_that_drains_gets_nobody_new_and_is_withdrawn_after_its_last() {
    let (mut kit, owner, links) = joined(1, CrashPolicy::Fail);
    kit.withdraw(links[0], 1, true);
    kit.open(owner, 2, "work");
    kit.ask(owner, 1, 1, "question");
    follows!(kit, ["l1 c2 refused: nobody serves the subject", "l2 g2 m1 \"question\"?"]);
    kit.replies(links[0], 2, 1, true, "answer");
    kit.close(owner, 1);
    follows!(kit, ["l1 c1 m1 reply r3 \"answer\"", "l1 c1 ended", "l2 g2 close"]);
    kit.ended(links[0], 2);
    follows!(kit, ["l2 s1 withdrawn"]);
    kit.serve(links[0], 3, Some("work"), 1);
    kit.withdraw(links[0], 3, true);
    follows!(kit, ["l2 s3 serving", "l2 s3 withdrawn"]);
}

#[test]
fn one_that_drains_can_still_be_withdrawn_at_once() {
    let (mut kit, _, links) = joined(1, CrashPolicy::Fail);
    kit.withdraw(links[0], 1, true);
    follows!(kit, []);
    kit.withdraw(links[0], 1, false);
    follows!(kit, ["l2 g2 cancel", "l1 c1 p1 exited r2: was withdrawn"]);
}

#[test]
fn offers_have_bounds_and_reasons() {
    let settings = Settings { offers_per_link_max: 1, name_max: 8, ..Settings::default() };
    let mut kit = Kit::new(settings);
    let link = kit.link();
    kit.serve(link, 1, Some("far too long"), 1);
    kit.serve(link, 3, Some("log"), 1);
    kit.serve(link, 5, None, 1);
    kit.serve(link, 7, Some("work"), 1);
    follows!(
        kit,
        [
            "l1 s1 not serving: invalid name",
            "l1 s3 not serving: not allowed (the subject \"log\" is registered already, and one that only records has \
         its subject to itself)",
            "l1 s5 serving",
            "l1 s7 not serving: limit reached",
        ]
    );
    kit.bus.stop(kit.now);
    kit.drain();
    kit.serve(link, 9, Some("work"), 1);
    follows!(kit, ["l1 s9 not serving: server is stopping"]);

    let mut kit = Kit::new(Settings { offers_per_link_max: 0, ..Settings::default() });
    let link = kit.link();
    kit.serve(link, 1, Some("work"), 1);
    follows!(kit, ["l1 s1 not serving: not allowed"]);
}

#[test]
fn every_subject_that_nobody_serves_by_name_can_be_served() {
    let mut kit = Kit::new(Settings::default());
    let (owner, link) = (kit.link(), kit.link());
    kit.serve(link, 1, None, 4);
    kit.open(owner, 1, "anything");
    kit.open(owner, 2, "echo");
    follows!(kit, ["l2 s1 serving", "l2 g2 invite p1 anything", "t1 p2 join echo"]);
    assert_eq!(kit.bus.register(Subject::Any, Offer::Participant).map(|it| it.get()), Ok(4));
}

#[test]
fn the_loss_of_the_owner_tells_the_participant_at_once_whatever_it_is_doing() {
    let (mut kit, owner, links) = joined(1, CrashPolicy::Fail);
    kit.open(owner, 2, "work");
    kit.ask(owner, 1, 1, "question");
    kit.drain();
    kit.lose(owner);
    follows!(kit, ["l2 g2 cancel", "l2 g4 cancel"]);
    kit.opened(links[0], 4);
    kit.replies(links[0], 2, 1, true, "too late");
    follows!(kit, []);
    assert_eq!((kit.bus.load().links, kit.bus.load().conversations), (1, 0));
    kit.lose(links[0]);
    kit.drain();
    assert_eq!(kit.bus.load().links, 0);
}

#[test]
fn a_link_is_given_no_more_than_a_bound_until_it_says_that_it_has_room() {
    let settings = Settings { delivered_bytes_per_link_max: 600, ..Settings::default() };
    let (mut kit, owner, links) = serving_with(1, 8, CrashPolicy::Fail, settings);
    for id in 1..=4 {
        kit.open(owner, id, "work");
    }
    kit.drain();
    (1..=4).for_each(|id| kit.opened(links[0], 2 * id));
    kit.drain();
    // Each is charged 256.
    assert_eq!(kit.bus.poll_crowded(), None);
    (1..=4).for_each(|id| kit.ask(owner, id, 1, "question"));
    follows!(kit, ["l2 g2 m1 \"question\"?", "l2 g4 m2 \"question\"?"]);
    assert_eq!((kit.bus.poll_crowded(), kit.bus.poll_crowded()), (Some(links[0]), None));
    kit.replies(links[0], 4, 2, true, "answer");
    follows!(kit, ["l1 c2 m1 reply r3 \"answer\""]);
    kit.bus.link_ready(links[0]);
    follows!(kit, ["l2 g6 m3 \"question\"?", "l2 g8 m4 \"question\"?"]);
    kit.close(owner, 4);
    kit.lose(owner);
    let mut told = kit.drain();
    told.sort();
    assert_eq!(told, ["l2 g2 cancel", "l2 g4 cancel", "l2 g6 cancel", "l2 g8 cancel"]);
    let owner = kit.link();
    kit.open(owner, 1, "work");
    follows!(kit, ["l2 g10 invite p5 work"]);
}

#[test]
fn a_message_beyond_what_a_link_may_hold_is_given_alone() {
    let settings = Settings { delivered_bytes_per_link_max: 10, ..Settings::default() };
    let (mut kit, owner, links) = serving_with(1, 8, CrashPolicy::Fail, settings);
    (1..=2).for_each(|id| kit.open(owner, id, "work"));
    kit.drain();
    (1..=2).for_each(|id| kit.opened(links[0], 2 * id));
    kit.drain();
    (1..=2).for_each(|id| kit.ask(owner, id, 1, "question"));
    follows!(kit, ["l2 g2 m1 \"question\"?"]);
    kit.exits(links[0], 2, ExitReason::Normal);
    kit.bus.link_ready(links[0]);
    let told = ["l2 g2 cancel", "l1 c1 p1 exited r3: ended normally", "l2 g4 m2 \"question\"?"];
    assert_eq!(kit.drain(), told);
}

#[test]
fn while_the_output_of_a_link_is_full_nothing_more_is_given_to_it_and_others_go_on() {
    let (mut kit, owner, links) = serving(2, 8, CrashPolicy::Fail);
    (1..=2).for_each(|id| kit.open(owner, id, "work"));
    kit.drain();
    links.iter().for_each(|link| kit.opened(*link, 2));
    kit.drain();
    kit.bus.link_full(links[0]);
    (1..=2).for_each(|id| kit.ask(owner, id, 1, "question"));
    follows!(kit, ["l3 g2 m1 \"question\"?"]);
    kit.bus.link_ready(links[0]);
    follows!(kit, ["l2 g2 m2 \"question\"?"]);
}

#[test]
fn a_message_that_a_busy_participant_did_not_take_is_given_again_under_a_new_number() {
    let (mut kit, owner, links) = joined(1, CrashPolicy::Fail);
    kit.say(owner, 1, 1, "news");
    kit.drain();
    let busy = Outcome::Refused { reason: ReasonCode::BUSY, text: None };
    kit.outcome(links[0], 2, 1, busy);
    follows!(kit, []);
    kit.pass(Duration::from_millis(20));
    follows!(kit, ["l2 g2 m2 \"news\""]);
}

#[test]
fn who_is_busy_again_and_again_is_given_it_again_after_longer_and_longer() {
    let (mut kit, owner, links) = joined(1, CrashPolicy::Fail);
    kit.say(owner, 1, 1, "news");
    kit.drain();
    let busy = || Outcome::Refused { reason: ReasonCode::BUSY, text: None };
    let waits = |kit: &mut Kit, message: u64| {
        let began = kit.now;
        kit.outcome(links[0], 2, message, busy());
        follows!(kit, []);
        let wake = kit.wake();
        kit.pass(wake.time_from(began).unwrap());
        assert_eq!(kit.drain(), [format!("l2 g2 m{} \"news\"", message + 1)]);
        u64::try_from(kit.now.since(began).as_millis()).unwrap()
    };
    let longer: Vec<u64> = (1..=8).map(|message| waits(&mut kit, message)).collect();
    assert_eq!(longer, [20, 40, 80, 160, 320, 640, 640, 640]);
    kit.outcome(links[0], 2, 9, Outcome::Accepted { record: None });
    kit.say(owner, 1, 2, "more");
    follows!(kit, ["l2 g2 m10 \"more\""]);
    kit.outcome(links[0], 2, 10, busy());
    kit.pass(Duration::from_millis(20));
    follows!(kit, ["l2 g2 m11 \"more\""]);
}

#[test]
fn a_link_that_ends_a_conversation_by_itself_has_left_it() {
    let (mut kit, _, links) = joined(1, CrashPolicy::Fail);
    kit.ended(links[0], 2);
    follows!(kit, ["l1 c1 p1 exited r2: ended normally"]);
}

#[test]
fn ten_thousand_conversations_of_a_lost_link_end_in_batches_between_the_work_of_others() {
    let settings = Settings { conversations_per_link_max: 20_000, ..Settings::default() };
    let (mut kit, owner, links) = serving_with(1, 20_000, CrashPolicy::Fail, settings);
    for id in 1..=10_000 {
        kit.open(owner, id, "work");
    }
    kit.drain();
    for id in 1..=10_000 {
        kit.opened(links[0], 2 * id);
    }
    kit.drain();
    let other = kit.link();
    kit.open(other, 1, "echo");
    kit.drain();
    kit.lose(links[0]);
    let mut told = 0;
    let mut since = 0;
    while let Some(next) = kit.poll() {
        since += 1;
        if kit::tell(&next).contains("exited") {
            told += 1;
            if told == 1 {
                kit.answer_last(Answer::Joined);
                since = 0;
            }
        } else {
            assert!(since <= 2 * liminal_core::CANCELLED_PER_POLL, "{since} turns");
        }
    }
    assert_eq!(told, 10_000);
}

#[test]
fn a_pid_that_another_bus_gave_is_the_pid_here() {
    let mut kit = Kit::new(Settings::default());
    let link = kit.link();
    let (conversation, pid) = (ConversationId::new(2), Pid::new(77));
    kit.event(link, Event::Invite { conversation, pid, subject: "echo".into() });
    follows!(kit, ["t1 p77 join echo"]);
    kit.answer_last(Answer::Joined);
    follows!(kit, ["l1 c2 opened by p77"]);
}

#[test]
fn the_pid_that_another_bus_gave_goes_to_whoever_takes_the_invitation() {
    let mut kit = Kit::new(Settings::default());
    kit.bus.register("echo".into(), Offer::Participant).unwrap();
    let link = kit.link();
    let (conversation, pid) = (ConversationId::new(2), Pid::new(7));
    kit.event(link, Event::Invite { conversation, pid, subject: "echo".into() });
    follows!(kit, ["t1 p7 join echo"]);
    kit.answer_last(Answer::Busy);
    follows!(kit, ["t2 p7 join echo"]);
    kit.answer_last(Answer::Joined);
    follows!(kit, ["l1 c2 opened by p7"]);
}

#[test]
fn what_becomes_of_a_conversation_is_for_the_bus_that_has_invited_to_it_to_decide() {
    for policy in [CrashPolicy::RouteToNext, CrashPolicy::Compensate("echo".into())] {
        let mut kit = Kit::new(Settings::default());
        kit.bus.register("echo".into(), Offer::Participant).unwrap();
        kit.bus.on_crash("echo".into(), policy).unwrap();
        let link = kit.link();
        let (conversation, pid) = (ConversationId::new(2), Pid::new(7));
        kit.event(link, Event::Invite { conversation, pid, subject: "echo".into() });
        kit.ask(link, 2, 1, "question");
        kit.drain();
        kit.answer_last(Answer::Joined);
        kit.drain();
        kit.answer_last(kit::crash("boom"));
        follows!(kit, ["l1 c2 p7 exited r3: crashed: boom"]);
        kit.close(link, 2);
        follows!(kit, ["l1 c2 ended"]);
    }
}

#[test]
fn whose_a_conversation_is_stands_in_front_of_its_records_also_when_it_is_over_before_anybody_was_called() {
    let settings = Settings { recording: true, delivered_bytes_per_link_max: 10, ..Settings::default() };
    let (mut kit, owner, links) = serving_with(1, 8, CrashPolicy::Fail, settings);
    kit.open(owner, 1, "work");
    kit.drain();
    kit.opened(links[0], 2);
    kit.ask(owner, 1, 1, "question");
    kit.drain();
    // There is no room for it until the link says so, and the link never does.
    kit.open(owner, 2, "work");
    kit.lose(links[0]);
    let told = kit.drain();
    let of_second: Vec<&String> = told.iter().filter(|line| line.contains("log2")).collect();
    assert_eq!(of_second, ["log2 is c2 of l1", "log2 r1 JoinRefused(2, None)"]);
}

#[test]
fn those_who_lack_a_participant_look_again_in_batches_however_often_somebody_offers_one() {
    const MANY: u64 = 3 * liminal_core::CANCELLED_PER_POLL as u64;
    let (mut kit, owner, links) = serving(1, 1_000, CrashPolicy::RouteToNext);
    (1..=MANY).for_each(|id| kit.open(owner, id, "work"));
    kit.drain();
    (1..=MANY).for_each(|id| kit.opened(links[0], 2 * id));
    kit.drain();
    (1..=MANY).for_each(|id| kit.ask(owner, id, 1, "question"));
    kit.drain();
    kit.lose(links[0]);
    kit.drain();
    let next = kit.link();
    kit.serve(next, 1, Some("work"), 1_000);
    let told = kit.drain();
    assert_eq!(told.len() as u64, 1 + MANY, "one answer, and an invitation for each");
    kit.serve(next, 3, Some("other"), 1);
    follows!(kit, ["l3 s3 serving"]);
}

#[test]
fn whoever_is_cancelled_on_another_bus_is_told_at_once_and_owes_nobody_an_answer() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "question");
    follows!(kit, ["t2 p1 m1 r2 \"question\"?"]);
    kit.event(link, Event::Cancel { conversation: ConversationId::new(1) });
    follows!(kit, ["t2 cancel", "l1 c1 ended"]);
    kit.answer_last(Answer::Done);
    follows!(kit, ["t3 p1 leave OwnerLost"]);
    kit.event(link, Event::Cancel { conversation: ConversationId::new(1) });
    follows!(kit, ["l1 c1 ended"]);
}
