//! Credit: what the bus says is dealt with, conversations that nobody reads, and what waits for either.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed test says so"
)]

#[macro_use]
mod kit;

use bytes::Bytes;
use kit::{Kit, crash, reply, secs};
use liminal_core::{Answer, Command, CrashPolicy, LinkId, Outbox, Settings};
use liminal_proto::{
    Config, Connection, ConversationId, Event, Expects, Instant, Limits, Message, MessageId, Metadata, Next,
    Outcome, Pid, Reply, StreamId,
};

/// What was dealt with since this was last asked.
fn consumed(kit: &mut Kit) -> Vec<(u64, u64, usize)> {
    kit.drain();
    std::mem::take(&mut kit.consumed)
}

#[test]
fn a_message_is_dealt_with_when_its_participant_is_through_with_it() {
    let (mut kit, link) = Kit::active();
    kit.say(link, 1, 1, "hello");
    kit.say(link, 1, 2, "again!");
    assert_eq!(consumed(&mut kit), []);
    kit.answer_last(Answer::Done);
    assert_eq!(consumed(&mut kit), [(1, 1, 5)]);
    kit.answer_last(Answer::Done);
    assert_eq!(consumed(&mut kit), [(1, 1, 6)]);
}

#[test]
fn of_a_request_nothing_is_said_because_its_end_says_it() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "hello");
    kit.drain();
    kit.answer_last(reply("hi"));
    kit.answer_last(Answer::Done);
    assert_eq!(consumed(&mut kit), []);
}

#[test]
fn what_is_refused_or_only_recorded_is_dealt_with_at_once() {
    let settings = Settings { held_bytes_per_conversation_max: 600, ..Settings::default() };
    let mut kit = Kit::new(settings);
    let link = kit.link();
    kit.join(link, 1);
    kit.open(link, 2, "log");
    for message in [1, 3, 5] {
        kit.say(link, 1, message, "hello");
    }
    assert_eq!(consumed(&mut kit), [(1, 1, 5)], "two are held, and the third was busy");
    kit.say(link, 2, 1, "recorded");
    assert_eq!(consumed(&mut kit), [(1, 2, 8)]);
    kit.close(link, 1);
    kit.say(link, 1, 7, "too late");
    assert_eq!(consumed(&mut kit), [(1, 1, 8)]);
}

#[test]
fn what_is_given_up_between_two_participants_is_dealt_with() {
    let (mut kit, _) =
        kit::bus(1, CrashPolicy::RouteToNext, Settings { moves_max: 0, ..Settings::default() });
    let link = kit.link();
    kit.open(link, 1, "work");
    kit.drain();
    kit.answer_last(Answer::Joined);
    kit.say(link, 1, 1, "in hand");
    kit.say(link, 1, 3, "waits");
    kit.drain();
    kit.answer_last(crash("boom"));
    assert_eq!(consumed(&mut kit), [(1, 1, 7), (1, 1, 5)]);
}

#[test]
fn a_conversation_that_nobody_reads_is_not_called_and_others_of_its_link_are() {
    let (mut kit, link) = Kit::active();
    kit.join(link, 2);
    kit.bus.conversation_full(link, ConversationId::new(1));
    kit.ask(link, 1, 1, "unread");
    kit.ask(link, 2, 1, "read");
    follows!(kit, ["t3 p2 m1 r2 \"read\"?"]);
    kit.bus.conversation_ready(link, ConversationId::new(1));
    follows!(kit, ["t4 p1 m1 r2 \"unread\"?"]);
}

#[test]
fn q1_what_is_asked_where_nobody_reads_ends_at_its_deadline_all_the_same() {
    let (mut kit, link) = Kit::active();
    kit.bus.conversation_full(link, ConversationId::new(1));
    kit.ask(link, 1, 1, "unread");
    kit.pass(secs(5));
    follows!(kit, ["l1 c1 m1 deadline"]);
}

#[test]
fn a_participant_of_a_conversation_that_nobody_reads_leaves_when_its_owner_is_lost() {
    let (mut kit, link) = Kit::active();
    kit.bus.conversation_full(link, ConversationId::new(1));
    kit.lose(link);
    follows!(kit, ["t2 p1 leave OwnerLost"]);
}

#[test]
fn a_host_keeps_replies_to_a_conversation_that_nobody_reads_and_to_no_other() {
    let (mut kit, link) = Kit::active();
    kit.join(link, 2);
    kit.ask(link, 1, 1, "one");
    kit.ask(link, 2, 1, "two");
    kit.drain();
    let (one, two) = (kit.tickets[2], kit.tickets[3]);
    kit.bus.conversation_full(link, ConversationId::new(1));
    assert_eq!((kit.bus.has_room(one), kit.bus.has_room(two)), (false, true));
    kit.bus.conversation_ready(link, ConversationId::new(1));
    assert!(kit.bus.has_room(one));
}

#[test]
fn what_is_said_of_conversations_that_there_are_not_does_nothing() {
    let (mut kit, link) = Kit::active();
    for of in [LinkId::BUS, link] {
        kit.bus.conversation_full(of, ConversationId::new(9));
        kit.bus.conversation_ready(of, ConversationId::new(9));
    }
    follows!(kit, []);
}

// Participants on links.

/// A bus on which link 2 serves "work" for link 1, with conversation 1 and a request that the participant has.
fn asked_on_a_link() -> (Kit, LinkId, LinkId) {
    let mut kit = Kit::new(Settings::default());
    let (owner, link) = (kit.link(), kit.link());
    kit.event(link, Event::Serve { offer: StreamId::new(1), subject: Some("work".into()), capacity: 8 });
    kit.open(owner, 1, "work");
    kit.ask(owner, 1, 1, "question");
    kit.drain();
    kit.event(link, Event::Opened { conversation: ConversationId::new(2), pid: None });
    kit.drain();
    (kit, owner, link)
}

fn replies(kit: &mut Kit, link: LinkId, last: bool, text: &'static str) {
    let (conversation, answers) = (ConversationId::new(2), MessageId::new(1));
    let payload = Bytes::from_static(text.as_bytes());
    kit.event(
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

#[test]
fn what_a_participant_on_a_link_replies_is_dealt_with_when_its_asker_has_room() {
    let (mut kit, owner, link) = asked_on_a_link();
    replies(&mut kit, link, false, "a part");
    assert_eq!(consumed(&mut kit), [(2, 2, 6)]);
    kit.bus.link_full(owner);
    replies(&mut kit, link, false, "another");
    kit.bus.conversation_full(owner, ConversationId::new(1));
    replies(&mut kit, link, true, "the rest");
    assert_eq!(consumed(&mut kit), []);
    kit.bus.link_ready(owner);
    assert_eq!(consumed(&mut kit), [], "the conversation is still not read");
    kit.bus.conversation_ready(owner, ConversationId::new(1));
    assert_eq!(consumed(&mut kit), [(2, 2, 7), (2, 2, 8)]);
}

#[test]
fn what_was_withheld_for_a_full_link_is_given_back_when_that_has_room() {
    let (mut kit, owner, link) = asked_on_a_link();
    kit.bus.link_full(owner);
    replies(&mut kit, link, false, "one");
    replies(&mut kit, link, true, "three");
    assert_eq!(consumed(&mut kit), []);
    kit.bus.link_ready(owner);
    assert_eq!(consumed(&mut kit), [(2, 2, 3), (2, 2, 5)]);
}

#[test]
fn a_reply_that_nobody_awaits_is_dealt_with_at_once() {
    let (mut kit, _, link) = asked_on_a_link();
    kit.pass(secs(5));
    replies(&mut kit, link, true, "too late");
    assert_eq!(consumed(&mut kit), [(2, 2, 8)]);
}

#[test]
fn what_was_withheld_is_given_back_when_the_conversation_is_over_for_its_participant() {
    let (mut kit, owner, link) = asked_on_a_link();
    kit.bus.conversation_full(owner, ConversationId::new(1));
    replies(&mut kit, link, false, "unread");
    assert_eq!(consumed(&mut kit), []);
    kit.lose(owner);
    follows!(kit, ["l2 g2 cancel"]);
    assert_eq!(consumed(&mut kit), [(2, 2, 6)]);
}

#[test]
fn a_reply_to_a_conversation_that_is_over_is_dealt_with_at_once() {
    // Without credit the participant could not say the rest of it, and behind that the end.
    let (mut kit, owner, link) = asked_on_a_link();
    kit.lose(owner);
    follows!(kit, ["l2 g2 cancel"]);
    replies(&mut kit, link, true, "too late");
    assert_eq!(consumed(&mut kit), [(2, 2, 8)]);
}

// The outbox.

/// A server's connection with conversations 1 and 3 open, and the client's side of it, which reads when it is told.
struct Read {
    server: Connection,
    client: Connection,
    outbox: Outbox,
}

const NOW: Instant = Instant::ORIGIN;
const GUEST: ConversationId = ConversationId::new(2);

impl Read {
    fn new(limits: impl FnOnce(&mut Limits)) -> Self {
        let mut config = Config { credit: liminal_proto::CreditGiven::Consumed, ..Config::default() };
        limits(&mut config.limits);
        let (client, server) = (Connection::client(NOW, config.clone()), Connection::server(NOW, config));
        let mut this = Self { server, client, outbox: Outbox::new() };
        this.exchange();
        for id in [1, 3] {
            let conversation = this.client.open(NOW, "subject").unwrap();
            assert_eq!(conversation.get(), id);
            for _ in 0..9 {
                this.client.ask(NOW, conversation, None, Bytes::new()).unwrap();
            }
            this.exchange();
            this.server.opened(NOW, conversation, Some(Pid::new(id))).unwrap();
        }
        this.exchange();
        this
    }

    /// The client serves, and takes part in conversation 2.
    fn serve(&mut self) {
        let offer = self.client.serve(NOW, Some("work"), 1).unwrap();
        self.exchange();
        self.server.serving(NOW, offer).unwrap();
        self.server.invite(NOW, GUEST, Pid::new(2), "work").unwrap();
        self.exchange();
        self.client.opened(NOW, GUEST, None).unwrap();
        self.exchange();
    }

    fn delivers(&mut self, id: u64, len: usize) {
        let (conversation, id, payload) = (GUEST, MessageId::new(id), Bytes::from(vec![7; len]));
        let (expects, timeout, redelivered) = (Expects::Reply, None, 0);
        let metadata = Metadata::default();
        let message = Message { conversation, id, expects, timeout, redelivered, payload, metadata };
        self.outbox.push(Command::Deliver(message));
    }

    /// Everything that is said arrives.
    fn exchange(&mut self) -> Vec<Event> {
        let mut told = Vec::new();
        for _ in 0..3 {
            carry(&mut self.client, &mut self.server);
            while let Next::Event(event) = self.server.poll() {
                if let Event::Room { conversation } = event {
                    self.outbox.credited(conversation);
                }
            }
            carry(&mut self.server, &mut self.client);
            while let Next::Event(event) = self.client.poll() {
                told.push(event);
            }
        }
        told
    }

    fn replies(&mut self, conversation: u64, answers: u64, len: usize) {
        let (conversation, answers) = (ConversationId::new(conversation), MessageId::new(answers));
        let payload = Bytes::from(vec![7; len]);
        self.outbox.push(Command::Reply(Reply {
            conversation,
            answers,
            record: None,
            last: true,
            metadata: Metadata::default(),
            payload,
        }));
    }

    fn apply(&mut self) -> bool {
        let some = self.outbox.apply(NOW, &mut self.server);
        assert_eq!(self.outbox.bytes(), self.outbox.recount(), "R2");
        some
    }
}

fn carry(from: &mut Connection, to: &mut Connection) {
    loop {
        let bytes = from.take_write(usize::MAX);
        if bytes.is_empty() {
            return;
        }
        assert_eq!(to.receive(NOW, &bytes), bytes.len());
        from.wrote(bytes.len());
    }
}

fn change(conversation: u64, full: bool) -> (ConversationId, bool) {
    (ConversationId::new(conversation), full)
}

#[test]
fn what_waits_for_credit_holds_back_its_own_conversation_and_nothing_else() {
    let mut read = Read::new(|limits| limits.conversation_window = 4_000);
    read.replies(1, 1, 3_000);
    read.replies(1, 3, 3_000);
    read.replies(3, 1, 10);
    assert!(read.apply());
    assert!(!read.outbox.is_held(), "credit is no matter of the output");
    assert_eq!(read.outbox.take_changes(), [change(1, true)]);
    let (message, outcome) = (MessageId::new(5), Outcome::Deadline);
    read.outbox.push(Command::Outcome { conversation: ConversationId::new(1), message, outcome });
    assert!(!read.apply(), "nothing overtakes in its conversation");
    assert_eq!(read.outbox.take_changes(), [], "and that is known");
    let told = read.exchange();
    assert!(matches!(told[..], [Event::Reply(_), Event::Reply(_)]), "{told:?}");
    read.client.consumed(NOW, ConversationId::new(1), 3_000);
    read.exchange();
    assert!(read.apply());
    assert_eq!((read.outbox.take_changes(), read.outbox.bytes()), (vec![change(1, false)], 0));
    let told = read.exchange();
    assert!(matches!(told[..], [Event::Reply(_), Event::Outcome { .. }]), "{told:?}");
}

#[test]
fn credit_for_what_was_said_waits_for_nothing() {
    let mut read = Read::new(|limits| limits.conversation_window = 4_000);
    let conversation = ConversationId::new(1);
    read.client.message(NOW, conversation, Expects::Nothing, Bytes::from(vec![7; 1_000])).unwrap();
    read.exchange();
    let before = read.client.credit_left(conversation).unwrap().to_say;
    read.replies(1, 1, 3_000);
    read.replies(1, 3, 3_000);
    read.apply();
    read.outbox.push(Command::Consumed { conversation, len: 1_000 });
    assert!(read.apply(), "it is no part of what is said in the conversation");
    read.exchange();
    // The request that has its reply was dealt with, too.
    assert_eq!(read.client.credit_left(conversation).unwrap().to_say, before + 1_064 + 256);
}

#[test]
fn what_is_to_be_given_to_a_participant_that_was_let_go_is_not_waited_for() {
    // It may have exited, and then nothing makes room for it any more.
    let mut read = Read::new(|limits| limits.conversation_window = 4_000);
    read.serve();
    for id in 1..=3 {
        read.delivers(id, 3_000);
    }
    assert!(read.apply());
    assert_eq!(read.outbox.take_changes(), [change(2, true)]);
    read.outbox.push(Command::Close { conversation: GUEST, cancel: true });
    assert!(read.apply());
    assert_eq!((read.outbox.take_changes(), read.outbox.bytes()), (vec![change(2, false)], 0));
    let told = read.exchange();
    assert!(matches!(told[..], [Event::Message(_), Event::Cancel { conversation: GUEST }]), "{told:?}");
}

#[test]
fn what_waits_for_credit_of_all_conversations_waits_as_for_the_output() {
    let mut read = Read::new(|limits| limits.connection_window = 5_000);
    read.replies(1, 1, 2_900);
    read.replies(1, 3, 2_900);
    read.replies(3, 1, 2_900);
    for held in [true, true, false] {
        assert!(read.apply());
        assert_eq!(read.outbox.is_held(), held, "there is credit for one");
        assert_eq!(read.outbox.take_changes(), [], "of no conversation alone");
        assert!(!read.apply());
        // It comes when they are polled: that they are kept is between the two sides of their conversation.
        read.exchange();
        read.exchange();
    }
    assert_eq!(read.outbox.bytes(), 0);
}

#[test]
fn credit_that_comes_while_the_output_is_full_is_not_forgotten() {
    let mut read = Read::new(|limits| {
        limits.conversation_window = 4_000;
        limits.output_soft_max = 10_000;
    });
    read.replies(1, 1, 3_000);
    read.replies(1, 3, 3_000);
    read.apply();
    assert_eq!(read.outbox.take_changes(), [change(1, true)]);
    read.exchange();
    read.client.consumed(NOW, ConversationId::new(1), 3_000);
    carry(&mut read.client, &mut read.server);
    assert_eq!(read.server.poll(), Next::Event(Event::Room { conversation: Some(ConversationId::new(1)) }));
    assert!(read.outbox.credited(Some(ConversationId::new(1))));
    read.replies(3, 1, 9_000);
    read.replies(3, 3, 100);
    read.apply();
    assert!(read.outbox.is_held(), "there was room for one of two");
    read.exchange();
    read.apply();
    assert_eq!((read.outbox.take_changes(), read.outbox.bytes()), (vec![change(1, false)], 0));
}

#[test]
fn credit_that_nothing_waits_for_changes_nothing() {
    let mut outbox = Outbox::new();
    assert!(!outbox.credited(None) && !outbox.credited(Some(ConversationId::new(1))));
    assert!(outbox.take_changes().is_empty() && !outbox.is_held());
}
