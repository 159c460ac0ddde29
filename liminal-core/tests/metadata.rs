//! What is said about a payload goes with it: to whoever is given it, also again, into the log, and back with a reply.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test says so"
)]

use liminal_core::participant::{from_fn, invoke};
use liminal_core::{
    Answer, Bus, BusNext, Call, Command, CrashPolicy, LinkId, Offer, Received, Recorded, Settings,
};
use liminal_proto::{
    CloseReason, Content, ConversationId, Event, Expects, Instant, Message, MessageId, Metadata, Reply,
    StreamId, Terms,
};

const NOW: Instant = Instant::ORIGIN;
const CONVERSATION: ConversationId = ConversationId::new(1);
/// The id that a conversation has on a link that serves.
const THERE: ConversationId = ConversationId::new(2);

fn trace(id: &str) -> Metadata {
    Metadata::builder().header("traceparent", id).unwrap().build()
}

/// A bus that records, on which a conversation was opened and asked something that has metadata.
fn asked(policy: CrashPolicy, serving: impl FnOnce(&mut Bus)) -> (Bus, LinkId) {
    let mut bus = Bus::new(Settings { recording: true, ..Settings::default() });
    bus.on_crash("work".into(), policy).unwrap();
    let owner = bus.connect(NOW);
    serving(&mut bus);
    let (subject, terms) = ("work".into(), Terms::default());
    bus.event(NOW, owner, Event::Open { conversation: CONVERSATION, subject, terms });
    let question = Message {
        conversation: CONVERSATION,
        id: MessageId::new(1),
        expects: Expects::Reply,
        timeout: None,
        redelivered: 0,
        payload: "question".into(),
        metadata: trace("asked"),
    };
    bus.event(NOW, owner, Event::Message(question));
    (bus, owner)
}

fn serve(bus: &mut Bus) -> LinkId {
    let link = bus.connect(NOW);
    bus.event(NOW, link, Event::Serve { offer: StreamId::new(1), subject: Some("work".into()), capacity: 1 });
    link
}

/// What was told and recorded, until the bus waits; hosts join at once.
fn drain(bus: &mut Bus) -> Vec<BusNext> {
    let mut all = Vec::new();
    loop {
        match bus.poll() {
            BusNext::Wait(_) => return all,
            BusNext::Run(ticket, call) if matches!(call.what, Call::Join { .. }) => {
                bus.answer(NOW, ticket, Answer::Joined);
            }
            next => all.push(next),
        }
    }
}

fn delivered(all: &[BusNext]) -> Option<&Message> {
    all.iter().find_map(|next| match next {
        BusNext::Command(_, Command::Deliver(message)) => Some(message),
        _ => None,
    })
}

fn recorded(all: &[BusNext]) -> Vec<Metadata> {
    let of = |next: &BusNext| match next {
        BusNext::Record(_, record) => match &record.what {
            Recorded::Request { metadata, .. } | Recorded::Reply { metadata, .. } => Some(metadata.clone()),
            _ => None,
        },
        _ => None,
    };
    all.iter().filter_map(of).collect()
}

#[test]
fn it_reaches_a_participant_here_which_says_something_about_its_reply() {
    let (mut bus, _) = asked(CrashPolicy::Fail, |bus| {
        bus.register("work".into(), Offer::Participant).unwrap();
    });
    let mut all = drain(&mut bus);
    let call = all.iter().find_map(|next| match next {
        BusNext::Run(ticket, call) => Some((*ticket, call.clone())),
        _ => None,
    });
    let (ticket, call) = call.unwrap();
    let mut echo = from_fn(|context, message: Received| {
        assert_eq!(message.metadata.header("traceparent"), Some("asked"));
        context.reply(Content::new(message.payload, trace("answered")));
    });
    let mut answers = Vec::new();
    invoke(&mut echo, NOW, &call, &mut answers);
    answers.into_iter().for_each(|answer| bus.answer(NOW, ticket, answer));
    all.extend(drain(&mut bus));
    let replied = all.iter().find_map(|next| match next {
        BusNext::Command(_, Command::Reply(reply)) => Some(&reply.metadata),
        _ => None,
    });
    assert_eq!(replied, Some(&trace("answered")));
    assert_eq!(recorded(&all), [trace("asked"), trace("answered")]);
}

#[test]
fn it_reaches_participants_on_links_and_the_next_one_when_one_is_lost() {
    let mut first = None;
    let (mut bus, _) = asked(CrashPolicy::RouteToNext, |bus| first = Some(serve(bus)));
    let second = serve(&mut bus);
    drain(&mut bus);
    bus.event(NOW, first.unwrap(), Event::Opened { conversation: THERE, pid: None });
    assert_eq!(delivered(&drain(&mut bus)).unwrap().metadata, trace("asked"));
    bus.event(NOW, first.unwrap(), Event::Closed(CloseReason::PeerEof));
    drain(&mut bus);
    bus.event(NOW, second, Event::Opened { conversation: THERE, pid: None });
    let all = drain(&mut bus);
    let again = delivered(&all).unwrap();
    assert_eq!((again.redelivered, &again.metadata), (1, &trace("asked")));
    bus.event(
        NOW,
        second,
        Event::Reply(Reply {
            conversation: THERE,
            answers: again.id,
            record: None,
            last: true,
            payload: "answer".into(),
            metadata: trace("answered"),
        }),
    );
    assert_eq!(recorded(&drain(&mut bus)), [trace("answered")]);
}

#[test]
fn it_counts_among_what_is_held_for_a_conversation() {
    let held = |metadata: &Metadata| {
        let (mut bus, owner) = asked(CrashPolicy::Fail, |bus| {
            bus.register("work".into(), Offer::Participant).unwrap();
        });
        bus.event(
            NOW,
            owner,
            Event::Message(Message {
                conversation: CONVERSATION,
                id: MessageId::new(2),
                expects: Expects::Nothing,
                timeout: None,
                redelivered: 0,
                payload: vec![0; 100].into(),
                metadata: metadata.clone(),
            }),
        );
        assert_eq!(bus.load(), bus.recount());
        bus.load().held_bytes
    };
    let metadata = trace("asked");
    assert_eq!(held(&metadata), held(&Metadata::default()) + metadata.len());
}
