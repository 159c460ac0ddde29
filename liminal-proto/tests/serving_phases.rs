//! Every frame and command of an invited conversation in every phase.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use liminal_proto::wire::{Body, flag};
use liminal_proto::{
    CommandError, Config, Connection, ConversationPhase, Event, Expects, Outcome, Pid, ReasonCode, Violation,
};

use support::serving::*;
use support::*;

/// A server and its invitation in each phase; `None`: it is gone.
fn servers() -> Vec<(Option<ConversationPhase>, Connection)> {
    let made = |act: &dyn Fn(&mut Connection)| {
        let mut server = inviting_server(Config::default());
        server.deliver(START, ask(3)).unwrap();
        act(&mut server);
        output(&mut server);
        server
    };
    let mut opening = offered_server(Config::default());
    opening.invite(START, conversation(2), PID, "work").unwrap();
    opening.deliver(START, ask(3)).unwrap();
    output(&mut opening);
    use ConversationPhase::*;
    vec![
        (Some(Opening), opening),
        (Some(Open), made(&|_| ())),
        (Some(Closing), made(&|server| server.close(START, conversation(2), None).unwrap())),
        (Some(Failed), made(&|server| drop(feed(server, START, &exited(0, 2))))),
        (None, made(&|server| drop(feed(server, START, &close(2))))),
    ]
}

/// P-7.53, P-7.55, P-7.56, P-7.59
#[test]
fn what_a_participant_says_surfaces_while_it_means_something_and_never_twice() {
    use ConversationPhase::*;
    let (pid, key) = (Pid::new(9), conversation(2));
    let accepted = frame(
        0,
        2,
        Body::Outcome { message_id: id(3), reason_code: ReasonCode::new(0), record: None, message: None },
    );
    // With each frame the phases in which it means something, and how many events it comes to.
    let cases: [(&str, Vec<u8>, &[ConversationPhase], usize); 11] = [
        ("opened", opened(2), &[Opening], 1),
        ("refused", refusal(2, ReasonCode::BUSY), &[Opening, Open, Closing], 2),
        ("the reply", answer(key, 3), &[Opening, Open, Closing], 1),
        ("its outcome", outcome_v2(2, 3, ReasonCode::NO_REPLY), &[Opening, Open, Closing], 1),
        ("a reply to nothing", answer(key, 4), &[], 0),
        ("an outcome of nothing", outcome_v2(2, 4, ReasonCode::BUSY), &[], 0),
        ("an exit", exited(0, 2), &[Opening, Open, Closing], 2),
        ("an exit that says it goes on", exited(flag::GOES_ON, 2), &[Opening, Open, Closing], 2),
        ("another that joins", frame(0, 2, Body::Joined { pid }), &[], 0),
        ("a failure", frame(0, 2, Body::Failed), &[], 0),
        ("an invitation", frame(0, 2, Body::Invite { pid, subject: "s" }), &[], 0),
    ];
    for (what, bytes, phases, count) in cases {
        for (phase, mut server) in servers() {
            let strays = server.strays();
            let told = feed(&mut server, START, &bytes);
            // A conversation that failed may still be refused, which releases it.
            let released = (what, phase) == ("refused", Some(Failed));
            let expected = match phase {
                Some(phase) if phases.contains(&phase) => count,
                _ => usize::from(released),
            };
            assert_eq!(told.len(), expected, "{what} while {phase:?}: {told:?}");
            assert_eq!(server.strays() - strays, u64::from(expected == 0), "{what} while {phase:?}");
            assert!(!told.iter().any(|it| matches!(it, Event::Exited { exit, .. } if exit.goes_on)));
            let again = feed(&mut server, START, &bytes);
            assert_eq!(again, [], "{what} again, after {phase:?}");
            assert_eq!(server.output_len(), 0, "{what} while {phase:?}");
        }
    }
    for (phase, mut server) in servers() {
        let told = feed(&mut server, START, &accepted);
        assert_eq!(told, [], "an acceptance is no end of a request, while {phase:?}");
    }
    for (phase, mut server) in servers() {
        let told = feed(&mut server, START, &close(2));
        assert_eq!(told.last(), phase.map(|_| Event::Ended { conversation: key }).as_ref(), "{phase:?}");
        assert_eq!(feed(&mut server, START, &close(2)), []);
    }
}

/// P-7.55
#[test]
fn what_nobody_awaits_of_a_delivery_is_ignored_whatever_its_number() {
    let mut server = inviting_server(Config::default());
    for record in 1..=8 {
        server.deliver(START, message(2, record, Expects::Nothing)).unwrap();
    }
    for record in [10, 11] {
        server.deliver(START, ask(record)).unwrap();
        assert_eq!(feed(&mut server, START, &answer(conversation(2), record)).len(), 1);
    }
    let outcomes: Vec<u8> = (0..=12).flat_map(|record| outcome_v2(2, record, ReasonCode::BUSY)).collect();
    assert_eq!(feed(&mut server, START, &outcomes), [], "nor is there a second end of a request");
    assert_eq!(server.strays(), 13);
}

/// A client and the conversation that it was invited to in each phase; `None`: it is gone.
fn clients() -> Vec<(Option<ConversationPhase>, Connection)> {
    let asked = |client: &mut Connection| {
        feed(client, START, &message_v2(flag::WANTS_REPLY, 2, 3, b"?"));
    };
    let made = |act: &dyn Fn(&mut Connection)| {
        let mut client = invited_client(Config::default());
        asked(&mut client);
        act(&mut client);
        output(&mut client);
        client
    };
    let mut opening = serving_client(8, Config::default());
    feed(&mut opening, START, &invite(2));
    asked(&mut opening);
    use ConversationPhase::*;
    vec![
        (Some(Opening), opening),
        (Some(Open), made(&|_| ())),
        (Some(Closing), made(&|client| drop(feed(client, START, &close(2))))),
        (Some(Failed), made(&|client| client.exited(START, conversation(2), &exit(false)).unwrap())),
        (None, made(&|client| client.ended(START, conversation(2)).unwrap())),
    ]
}

/// P-7.53, P-7.59
#[test]
fn what_a_server_says_in_an_invited_conversation_is_taken_by_its_phase() {
    use ConversationPhase::*;
    let key = conversation(2);
    for (phase, mut client) in clients() {
        let told = feed(&mut client, START, &message_v2(flag::WANTS_REPLY, 2, 5, b"?"));
        let (taken, answer) = match phase {
            Some(Opening | Open) => (true, vec![]),
            Some(Closing) => (false, outcome_v2(2, 5, ReasonCode::CLOSING)),
            Some(Failed) => (false, outcome_v2(2, 5, ReasonCode::EXITED)),
            _ => (false, vec![]),
        };
        assert_eq!((!told.is_empty(), output(&mut client)), (taken, answer), "{phase:?}");
    }
    for (phase, mut client) in clients() {
        let told = feed(&mut client, START, &close(2));
        let may = matches!(phase, Some(Opening | Open | Failed));
        assert_eq!(told == [Event::Close { conversation: key }], may, "{phase:?}");
        assert_eq!((told.len(), output(&mut client)), (usize::from(may), vec![]));
    }
    for (phase, mut client) in clients() {
        let told = feed(&mut client, START, &invite(2));
        match phase {
            Some(_) => assert!(matches!(violation(&told), Violation::NotAscending { .. }), "{phase:?}"),
            None => assert!(matches!(told[..], [Event::Invite { .. }])),
        }
    }
}

/// P-7.53
#[test]
fn what_a_participant_may_say_depends_on_its_phase() {
    type Command = fn(&mut Connection) -> Result<(), CommandError>;
    use ConversationPhase::*;
    let commands: [(&str, Command, &[ConversationPhase]); 6] = [
        ("opened", |it| it.opened(START, conversation(2), None), &[Opening]),
        ("refuse", |it| it.refuse(START, conversation(2), ReasonCode::BUSY, None), &[Opening]),
        (
            "reply",
            |it| it.reply(START, reply(conversation(2), id(3), b"")).map_err(|it| it.reason),
            &[Opening, Open, Closing],
        ),
        (
            "outcome",
            |it| it.outcome(START, conversation(2), id(3), &Outcome::Deadline),
            &[Opening, Open, Closing, Failed],
        ),
        ("exited", |it| it.exited(START, conversation(2), &exit(false)), &[Opening, Open, Closing]),
        ("ended", |it| it.ended(START, conversation(2)), &[Opening, Open, Closing, Failed]),
    ];
    for (what, command, phases) in commands {
        for (phase, mut client) in clients() {
            let may = phase.is_some_and(|phase| phases.contains(&phase));
            assert_eq!(command(&mut client).is_ok(), may, "{what} while {phase:?}");
            assert_eq!(written(&mut client).len(), usize::from(may), "{what} while {phase:?}");
        }
    }
}

/// P-7.36
#[test]
fn a_message_on_a_stream_that_no_invitation_has_reached_is_refused() {
    let mut client = invited_client(Config::default());
    assert_eq!(feed(&mut client, START, &message_v2(0, 4, 1, b"")), []);
    assert_eq!(output(&mut client), outcome_v2(4, 1, ReasonCode::NOT_OPEN));
}
