//! Credit: what may be said, what is given back, and what becomes of those who do not keep to it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use bytes::Bytes;
use liminal_proto::wire::{Body, Dialect, flag};
use liminal_proto::{
    CommandError, Config, Connection, CreditGiven, Event, Exit, ExitReason, Expects, Limits, Outcome, Phase,
    Pid, ReasonCode, RecordNumber, Reply, Unanswered, Violation,
};

use support::serving::{PID, inviting_server, message};
use support::*;

const CONVERSATION: u32 = 4_000;
const CONNECTION: u32 = 10_000;
/// What an empty message is charged.
const EMPTY: u32 = 256;

/// Windows that are soon used up, of a side that says itself when it is through.
fn narrow() -> Config {
    let limits = |limits: &mut Limits| {
        (limits.conversation_window, limits.connection_window) = (CONVERSATION, CONNECTION);
    };
    Config { credit: CreditGiven::Consumed, ..limited(limits) }
}

/// The windows of a peer.
fn windows_of(config: &Config) -> Vec<u8> {
    windows(&config.limits)
}

/// A client that is connected to a server with narrow windows, with so many conversations open.
fn client_of_narrow(conversations: u32) -> Connection {
    let mut client = Connection::client(START, narrow());
    feed(&mut client, START, &[connect_ack(2), windows_of(&narrow())].concat());
    for _ in 0..conversations {
        client.open(START, "subject").unwrap();
    }
    output(&mut client);
    client
}

fn credit(stream: u32, bytes: u32) -> Vec<u8> {
    frame(0, stream, Body::Credit { bytes })
}

fn connection_credit(messages: u32, replies: u32) -> Vec<u8> {
    frame(0, 0, Body::ConnectionCredit { messages, replies })
}

/// What was said of credit: conversations by their stream, and the connection as 0 with messages and replies.
fn credits(connection: &mut Connection) -> Vec<(u32, u32, u32)> {
    let of = |frame: liminal_proto::wire::FrameBuf| match frame.body {
        Body::Credit { bytes } => Some((frame.stream.get(), bytes, 0)),
        Body::ConnectionCredit { messages, replies } => Some((0, messages, replies)),
        _ => None,
    };
    written(connection).into_iter().filter_map(of).collect()
}

/// Says something of this length that wants nothing.
fn say(client: &mut Connection, key: u64, len: usize) -> Result<(), CommandError> {
    let said = client.message(START, conversation(key), Expects::Nothing, Bytes::from(vec![7; len]));
    said.map(drop).map_err(|rejected| rejected.reason)
}

/// P-7.70, P-7.71
#[test]
fn as_much_may_be_said_as_the_windows_allow_and_not_a_byte_more() {
    // 3 × 1,064 bytes leave 808 of the conversation.
    let cases = [(744, Ok(())), (745, Err(CommandError::NoCredit(Some(conversation(1)))))];
    for (last, may) in cases {
        let mut client = client_of_narrow(2);
        (0..3).for_each(|_| say(&mut client, 1, 1_000).unwrap());
        assert_eq!(client.credit_left(conversation(1)).unwrap().to_say, 808);
        assert_eq!(say(&mut client, 1, last), may);
        assert_eq!(say(&mut client, 3, 1_000), Ok(()), "another conversation has credit of its own");
    }
}

/// P-7.70, P-7.71
#[test]
fn all_conversations_together_have_the_window_of_the_connection() {
    let mut client = client_of_narrow(5);
    for key in [1, 3, 5] {
        (0..3).for_each(|_| say(&mut client, key, 1_000).unwrap());
    }
    assert_eq!(client.connection_credit_left()[0].to_say, 424);
    assert_eq!(say(&mut client, 7, 361), Err(CommandError::NoCredit(None)));
    assert_eq!(say(&mut client, 7, 360), Ok(()));
}

/// P-7.70
#[test]
fn whatever_is_longer_than_three_quarters_of_a_window_is_charged_three_quarters() {
    let mut client = client_of_narrow(1);
    say(&mut client, 1, 100_000).unwrap();
    let left = |client: &Connection| {
        let in_all = client.connection_credit_left()[0].to_say;
        (client.credit_left(conversation(1)).unwrap().to_say, in_all)
    };
    assert_eq!(left(&client), (1_000, 2_500));
    assert_eq!(say(&mut client, 1, 3_000), Err(CommandError::NoCredit(Some(conversation(1)))));
    assert_eq!(left(&client), (1_000, 2_500), "what was not taken costs nothing");
}

/// P-7.77
#[test]
fn nothing_is_said_that_the_other_side_would_not_take() {
    let mut client = Connection::client(START, Config::default());
    let small = limited(|limits| limits.frame_payload_max = 100);
    feed(&mut client, START, &[connect_ack(2), windows_of(&small)].concat());
    client.open(START, "subject").unwrap();
    let too_large = CommandError::TooLarge { len: 101, limit: 100 };
    assert_eq!((say(&mut client, 1, 92), say(&mut client, 1, 93)), (Ok(()), Err(too_large)));
}

/// P-7.72
#[test]
fn a_request_is_dealt_with_when_it_has_ended_however_it_ends() {
    type End = fn(&mut Connection);
    let replies: End = |server| server.reply(START, reply(conversation(1), id(1), b"")).unwrap();
    let fails: End = |server| server.outcome(START, conversation(1), id(1), &Outcome::Deadline).unwrap();
    let exits: End = |server| {
        let (pid, record, reason) = (Pid::new(1), RecordNumber::new(9), ExitReason::Normal);
        let exit = Exit { pid, record, reason, goes_on: false, unanswered: Unanswered::default() };
        server.exited(START, conversation(1), &exit).unwrap();
    };
    for end in [replies, fails, exits] {
        let mut server = server_with_conversation(2, narrow());
        feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 1, &[7; 3_000]));
        assert_eq!(credits(&mut server), []);
        let [messages, _] = server.connection_credit_left();
        assert_eq!((messages.open, messages.owed), (3_064, 0));
        end(&mut server);
        let given = credits(&mut server);
        assert_eq!(given.last(), Some(&(0, 3_064, 0)), "{given:?}");
    }
}

/// P-7.72
#[test]
fn parts_of_a_reply_end_no_request() {
    let mut server = server_with_conversation(2, narrow());
    feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 1, &[7; 3_000]));
    let part = Reply { last: false, ..reply(conversation(1), id(1), b"") };
    server.reply(START, part).unwrap();
    assert_eq!(credits(&mut server), []);
}

/// P-7.72
#[test]
fn of_a_message_and_of_a_reply_the_embedder_says_when_it_is_dealt_with() {
    let mut server = server_with_conversation(2, narrow());
    feed(&mut server, START, &message_v2(0, 1, 2, &[7; 936]));
    assert_eq!(credits(&mut server), []);
    server.consumed(START, conversation(1), 936);
    assert_eq!(credits(&mut server), [(1, 1_000, 0)], "a quarter of one window, and not of the other");

    let mut client = client_of_narrow(1);
    let asked = client.ask(START, conversation(1), None, Bytes::new()).unwrap();
    feed(&mut client, START, &reply_v2(1, asked.get(), true, &[7; 2_936]));
    assert_eq!(credits(&mut client), [(0, 0, 3_000)], "what it keeps holds up no other conversation");
    client.consumed(START, conversation(1), 2_936);
    assert_eq!(credits(&mut client), [(1, 3_000, 0)]);
}

/// P-6.17
#[test]
fn who_is_through_with_something_after_the_end_says_nothing_of_it() {
    let mut server = server_with_conversation(2, narrow());
    feed(&mut server, START, &message_v2(0, 1, 2, &[7; 936]));
    feed(&mut server, START, &frame(0, 0, Body::Disconnect));
    output(&mut server);
    assert_eq!(server.phase(), Phase::Closed);
    server.consumed(START, conversation(1), 936);
    assert_eq!(server.output_len(), 0);
}

/// P-7.72
#[test]
fn who_deals_with_what_it_polls_gives_it_back_at_once() {
    let config = Config { credit: CreditGiven::Polled, ..narrow() };
    let mut server = server_with_conversation(2, config.clone());
    for flags in [0, flag::WANTS_REPLY] {
        feed(&mut server, START, &message_v2(flags, 1, 2 - u64::from(flags), &[7; 2_936]));
        assert_eq!(credits(&mut server), [(1, 3_000, 0), (0, 3_000, 0)]);
        server = server_with_conversation(2, config.clone());
    }
    let asked = feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, 1, &[7; 2_936]));
    credits(&mut server);
    server.reply(START, reply(conversation(1), message_of(&asked[0]).id, b"")).unwrap();
    server.consumed(START, conversation(1), 2_936);
    assert_eq!(credits(&mut server), [], "and never twice");
}

/// P-7.72
#[test]
fn what_is_refused_or_concerns_nothing_is_dealt_with_at_once() {
    let mut failed = server_with_conversation(2, narrow());
    feed(&mut failed, START, &close(1));
    output(&mut failed);
    feed(&mut failed, START, &message_v2(0, 1, 2, &[7; 2_936]));
    assert_eq!(credits(&mut failed), [(1, 3_000, 0), (0, 3_000, 0)], "it is closing");
    failed.ended(START, conversation(1)).unwrap();
    feed(&mut failed, START, &message_v2(0, 1, 4, &[7; 2_936]));
    assert_eq!(credits(&mut failed), [(0, 3_000, 0)], "it is gone");
    let mut client = client_of_narrow(1);
    feed(&mut client, START, &reply_v2(1, 5, true, &[7; 2_936]));
    assert_eq!(credits(&mut client), [(1, 3_000, 0), (0, 0, 3_000)], "nobody has asked");
}

/// P-7.73
#[test]
fn a_conversation_that_is_over_keeps_nothing_of_the_window_of_the_connection() {
    type End = fn(&mut Connection);
    let ends: End = |server| {
        feed(server, START, &close(1));
        server.ended(START, conversation(1)).unwrap();
    };
    let refuses: End = |server| server.refuse(START, conversation(1), ReasonCode::BUSY, None).unwrap();
    for (is_open, end) in [(true, ends), (false, ends), (false, refuses)] {
        let mut server = server_of(2, narrow());
        feed(&mut server, START, &open(1));
        if is_open {
            server.opened(START, conversation(1), Some(PID)).unwrap();
        }
        feed(&mut server, START, &message_v2(0, 1, 2, &[7; 2_936]));
        end(&mut server);
        assert_eq!(credits(&mut server).last(), Some(&(0, 3_000, 0)));
        server.consumed(START, conversation(1), 2_936);
        assert_eq!(server.connection_credit_left()[0].to_hear, CONNECTION, "and gives it back once");
    }
    for end in [close(1), frame(0, 1, Body::Refused { reason_code: ReasonCode::BUSY, message: None })] {
        let mut client = client_of_narrow(1);
        let asked = client.ask(START, conversation(1), None, Bytes::new()).unwrap();
        feed(&mut client, START, &[reply_v2(1, asked.get(), true, &[7; 2_936]), end].concat());
        assert_eq!(credits(&mut client), [(0, 0, 3_000)]);
    }
}

/// P-7.74, P-8.18
#[test]
fn a_byte_beyond_the_credit_breaks_the_connection_and_is_told_to_nobody() {
    // 3 × 1,064 bytes leave 808 of the conversation.
    let said = |last: usize| {
        let lengths = [1_000, 1_000, 1_000, last].into_iter();
        let said = (1..).zip(lengths).map(|(at, len)| message_v2(0, 1, 2 * at, &vec![7; len]));
        said.collect::<Vec<_>>().concat()
    };
    let mut server = server_with_conversation(2, narrow());
    assert_eq!(feed(&mut server, START, &said(744)).len(), 4);
    let mut server = server_with_conversation(2, narrow());
    let events = feed(&mut server, START, &said(745));
    assert_eq!(events.len(), 4, "three messages and the end: {events:?}");
    assert_eq!(violation(&events), &Violation::BeyondCredit { bytes: 809, left: 808 });
    assert_connect_error(&mut server, ReasonCode::CREDIT);
}

/// P-7.74, P-8.18
#[test]
fn a_byte_beyond_the_credit_of_the_connection_breaks_it_too() {
    let mut server = server_of(2, narrow());
    let full: Vec<u8> =
        [1, 3, 5].iter().flat_map(|&key| [open(key), message_v2(0, key, 2, &[7; 2_936])].concat()).collect();
    feed(&mut server, START, &full);
    let last = [open(7), message_v2(0, 7, 2, &[7; 937])].concat();
    let events = feed(&mut server, START, &last);
    assert_eq!(violation(&events), &Violation::BeyondCredit { bytes: 1_001, left: 1_000 });
}

/// P-7.74
#[test]
fn who_replies_beyond_its_credit_breaks_the_connection_too() {
    let mut client = client_of_narrow(1);
    let asked = client.ask(START, conversation(1), None, Bytes::new()).unwrap();
    let part = reply_v2(1, asked.get(), false, &[7; 2_936]);
    let events = feed(&mut client, START, &[part.clone(), part].concat());
    assert!(matches!(events[..], [Event::Reply(_), Event::Closed(_)]), "{events:?}");
    assert_eq!(violation(&events), &Violation::BeyondCredit { bytes: 3_000, left: 1_000 });
}

#[test]
fn what_is_asked_never_keeps_what_is_answered_from_being_said() {
    let mut client = Connection::client(START, narrow());
    feed(&mut client, START, &[connect_ack(2), windows_of(&narrow())].concat());
    client.serve(START, Some("work"), 9).unwrap();
    let invited = [frame(0, 1, Body::Serving), serving::invite(2), message_v2(flag::WANTS_REPLY, 2, 1, b"")];
    feed(&mut client, START, &invited.concat());
    client.opened(START, conversation(2), Some(PID)).unwrap();
    for _ in 0..3 {
        let own = client.open(START, "subject").unwrap();
        say(&mut client, own.get(), 100_000).ok();
    }
    assert_eq!(say(&mut client, 7, 3_000), Err(CommandError::NoCredit(None)));
    assert_eq!(client.reply(START, reply(conversation(2), id(1), &[7; 3_000])), Ok(()));
}

#[test]
fn a_delivery_waits_for_credit_and_comes_back_with_the_reason() {
    let mut server = inviting_server(narrow());
    let large =
        liminal_proto::Message { payload: Bytes::from(vec![7; 250_000]), ..message(2, 1, Expects::Reply) };
    server.deliver(START, large.clone()).unwrap();
    let again = liminal_proto::Message { id: id(2), ..large };
    let rejected = server.deliver(START, again.clone()).unwrap_err();
    assert_eq!((rejected.reason, rejected.payload), (CommandError::NoCredit(Some(conversation(2))), again));
}

/// P-7.72, P-7.76
#[test]
fn credit_that_somebody_waits_for_is_told_once() {
    let mut client = client_of_narrow(1);
    let quarter = credit(1, CONVERSATION / 4);
    assert_eq!(feed(&mut client, START, &quarter), [], "nobody waits");
    say(&mut client, 1, 3_000).unwrap();
    assert!(say(&mut client, 1, 3_000).is_err());
    assert_eq!(feed(&mut client, START, &quarter), [Event::Room { conversation: Some(conversation(1)) }]);
    assert_eq!(feed(&mut client, START, &quarter), []);
    assert_eq!(say(&mut client, 1, 3_000), Ok(()));

    let mut client = client_of_narrow(5);
    [1, 3, 5].into_iter().for_each(|key| say(&mut client, key, 2_936).unwrap());
    assert_eq!(say(&mut client, 7, 2_936), Err(CommandError::NoCredit(None)));
    let room = feed(&mut client, START, &connection_credit(CONNECTION / 4, 0));
    assert_eq!(room, [Event::Room { conversation: None }]);
    assert_eq!(say(&mut client, 7, 2_936), Ok(()));
}

/// P-7.75
#[test]
fn more_credit_than_can_be_counted_breaks_the_connection() {
    let max = Limits::CREDIT_MAX;
    let cases = [
        (credit(1, max - CONVERSATION), credit(1, CONVERSATION)),
        (connection_credit(max - CONNECTION, 0), connection_credit(CONNECTION, 0)),
        (connection_credit(0, max - CONNECTION), connection_credit(0, CONNECTION)),
    ];
    for (most, more) in cases {
        let mut client = client_of_narrow(1);
        assert_eq!(feed(&mut client, START, &most), []);
        let events = feed(&mut client, START, &more);
        assert!(
            matches!(violation(&events), Violation::TooMuchCredit { left, .. } if *left == max),
            "{events:?}"
        );
    }
}

/// P-7.76
#[test]
fn useful_credit_is_not_counted_and_other_credit_is() {
    let useful = [
        credit(1, CONVERSATION / 4),
        connection_credit(CONNECTION / 4, 0),
        connection_credit(0, CONNECTION / 4),
    ];
    let useless = [
        credit(1, CONVERSATION / 4 - 1),
        credit(1, 0),
        credit(3, CONVERSATION),
        connection_credit(CONNECTION / 4 - 1, CONNECTION / 4 - 1),
        connection_credit(0, 0),
    ];
    for (counts, frames) in [(false, &useful[..]), (true, &useless[..])] {
        for frame in frames {
            let mut client = client_of_narrow(1);
            let events = feed(&mut client, START, &frame.repeat(300));
            assert_eq!(client.phase() == Phase::Closed, counts, "{frame:?}");
            assert!(events.is_empty() || matches!(violation(&events), Violation::Flood { .. }));
        }
    }
}

/// P-8.5
#[test]
fn credit_is_withheld_while_output_is_not_read_and_told_when_it_is() {
    let mut config = narrow();
    config.limits.output_soft_max = 2_000;
    let mut server = server_with_conversation(2, config);
    for at in 1..=2 {
        feed(&mut server, START, &message_v2(flag::WANTS_REPLY, 1, at, &[7; 1_436]));
    }
    server.reply(START, reply(conversation(1), id(1), &[7; 3_000])).unwrap();
    assert_eq!(
        server.reply(START, reply(conversation(1), id(2), b"")).unwrap_err().reason,
        CommandError::Full
    );
    let mut slots = [&[][..]; 2];
    assert_eq!(server.to_write(&mut slots), 1);
    assert_eq!(frames(Dialect::V2, slots[0]).len(), 1, "nothing but the reply");
    assert_eq!(credits(&mut server), [(1, 1_500, 0)]);
    server.reply(START, reply(conversation(1), id(2), b"")).unwrap();
    assert_eq!(credits(&mut server), [(1, 1_500, 0), (0, 3_000, 0)]);
}

#[test]
fn a_server_of_1_0_knows_no_credit() {
    let mut server = server_with_conversation(1, narrow());
    let said: Vec<u8> = (0..100).flat_map(|_| message_v1(0, 1, 1, &[7; 1_000])).collect();
    assert_eq!(feed(&mut server, START, &said).len(), 100);
    server.consumed(START, conversation(1), 1_000);
    assert_eq!(output(&mut server), b"");
}

#[test]
fn what_an_empty_message_is_charged_keeps_their_number_bounded() {
    let mut client = client_of_narrow(1);
    let taken = (0..).take_while(|_| say(&mut client, 1, 0).is_ok()).count();
    assert_eq!(taken, (CONVERSATION / EMPTY) as usize);
}

/// P-7.72
#[test]
fn replies_that_are_kept_hold_up_no_reply_of_another_conversation() {
    let mut client = client_of_narrow(20);
    let mut given = CONNECTION;
    for stream in (1..40).step_by(2) {
        let key = conversation(stream.into());
        let asked = client.ask(START, key, None, Bytes::new()).unwrap();
        given = given.checked_sub(3_000).expect("there is credit for a reply in every conversation");
        let told = feed(&mut client, START, &reply_v2(stream, asked.get(), true, &[7; 2_936]));
        assert!(matches!(told[..], [Event::Reply(_)]), "{told:?}");
        given += credits(&mut client).iter().map(|(_, _, replies)| replies).sum::<u32>();
        let left = client.credit_left(key).unwrap();
        assert_eq!(left.to_hear, CONVERSATION - 3_000, "each is bounded by its own conversation");
    }
}
