//! R1: credit is conserved, whatever both sides say, deal with and end, and however their bytes travel.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use liminal_proto::{
    CommandError, Config, Connection, ConversationId, ConversationPhase, CreditGiven, CreditLeft, Event,
    Expects, MessageId, Metadata, Outcome, Pid, Reply,
};
use proptest::prelude::*;

use support::pair::{Pair, Sizes};
use support::*;

const CONVERSATION: u32 = 3_000;
const CONNECTION: u32 = 8_000;

#[derive(Clone, Debug)]
enum Step {
    Open,
    Say(usize, usize),
    Ask(usize, usize),
    Close(usize),
    /// The server replies to the oldest request of a conversation, or gives a part of a reply.
    Reply(usize, bool, usize),
    Fail(usize),
    Exit(usize),
    /// Each is through with the oldest thing that it has not dealt with.
    ClientDeals,
    ServerDeals,
    Turn,
}

fn step() -> impl Strategy<Value = Step> {
    let which = || 0_usize..5;
    let len = || prop_oneof![4 => 0_usize..100, 4 => 500_usize..1_500, 1 => Just(20_000_usize)];
    prop_oneof![
        2 => Just(Step::Open),
        6 => (which(), len()).prop_map(|(which, len)| Step::Say(which, len)),
        6 => (which(), len()).prop_map(|(which, len)| Step::Ask(which, len)),
        1 => which().prop_map(Step::Close),
        5 => (which(), prop::bool::weighted(0.7), len()).prop_map(|(which, last, len)| Step::Reply(which, last, len)),
        1 => which().prop_map(Step::Fail),
        1 => which().prop_map(Step::Exit),
        4 => Just(Step::ClientDeals),
        4 => Just(Step::ServerDeals),
        8 => Just(Step::Turn),
    ]
}

fn config() -> Config {
    let limits = limited(|limits| {
        (limits.conversation_window, limits.connection_window) = (CONVERSATION, CONNECTION);
        limits.output_soft_max = 6_000;
    });
    Config { credit: CreditGiven::Consumed, ..limits }
}

/// Both sides, and what their embedders have in hand.
struct World {
    pair: Pair,
    conversations: Vec<ConversationId>,
    /// Messages that want nothing and replies, each with its length, that were told and not dealt with.
    at_client: Vec<(ConversationId, usize)>,
    at_server: Vec<(ConversationId, usize)>,
    requests: BTreeMap<ConversationId, Vec<MessageId>>,
    /// Somebody was told to wait: of a conversation, or of the connection.
    waits: Vec<Option<ConversationId>>,
}

impl World {
    fn new(written: &[usize], read: &[usize]) -> Self {
        Self {
            pair: Pair::new(config(), config(), Sizes::of(written), Sizes::of(read)),
            conversations: Vec::new(),
            at_client: Vec::new(),
            at_server: Vec::new(),
            requests: BTreeMap::new(),
            waits: Vec::new(),
        }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Turn => self.turn(),
            Step::Open => self.conversations.extend(self.pair.client.open(START, "subject")),
            Step::ClientDeals if !self.at_client.is_empty() => {
                let (key, len) = self.at_client.remove(0);
                self.pair.client.consumed(START, key, len);
            }
            Step::ServerDeals if !self.at_server.is_empty() => {
                let (key, len) = self.at_server.remove(0);
                self.pair.server.consumed(START, key, len);
            }
            Step::ClientDeals | Step::ServerDeals => {}
            Step::Say(which, len) => self.say(which, len, false),
            Step::Ask(which, len) => self.say(which, len, true),
            Step::Close(which) => self.with(which, |client, _, key| drop(client.close(START, key, None))),
            Step::Fail(which) => self.end_request(which, |server, key, id| {
                server.outcome(START, key, id, &Outcome::Deadline).is_ok()
            }),
            Step::Reply(which, last, len) => self.end_request(which, |server, conversation, answers| {
                let payload = Bytes::from(vec![5; len]);
                let reply = Reply {
                    conversation,
                    answers,
                    record: None,
                    last,
                    metadata: Metadata::default(),
                    payload,
                };
                server.reply(START, reply).is_ok() && last
            }),
            Step::Exit(which) => {
                let exit = serving::exit(false);
                self.with(which, |_, server, key| drop(server.exited(START, key, &exit)));
            }
        }
    }

    fn with(&mut self, which: usize, act: impl FnOnce(&mut Connection, &mut Connection, ConversationId)) {
        if let Some(&key) = self.conversations.get(which) {
            act(&mut self.pair.client, &mut self.pair.server, key);
        }
    }

    fn say(&mut self, which: usize, len: usize, asks: bool) {
        let Some(&key) = self.conversations.get(which) else { return };
        let (client, payload) = (&mut self.pair.client, Bytes::from(vec![3; len]));
        let said = if asks {
            client.ask(START, key, None, payload)
        } else {
            client.message(START, key, Expects::Nothing, payload)
        };
        if let Err(CommandError::NoCredit(waits)) = said.map_err(|rejected| rejected.reason) {
            self.waits.push(waits);
        }
    }

    fn end_request(
        &mut self,
        which: usize,
        end: impl FnOnce(&mut Connection, ConversationId, MessageId) -> bool,
    ) {
        let Some(key) = self.conversations.get(which) else { return };
        let Some(requests) = self.requests.get_mut(key).filter(|requests| !requests.is_empty()) else {
            return;
        };
        if end(&mut self.pair.server, *key, requests[0]) {
            requests.remove(0);
        }
    }

    fn turn(&mut self) {
        let (to_client, to_server) = self.pair.turn();
        for event in to_client {
            match event {
                Event::Reply(reply) => self.at_client.push((reply.conversation, reply.payload.len())),
                Event::Room { conversation } => self.waits.retain(|waits| *waits != conversation),
                Event::Closed(reason) => panic!("the connection is over: {reason}"),
                _ => {}
            }
        }
        for event in to_server {
            match event {
                Event::Open { conversation, .. } => {
                    self.pair.server.opened(START, conversation, Some(Pid::new(1))).unwrap();
                }
                Event::Message(message) if message.expects == Expects::Reply => {
                    self.requests.entry(message.conversation).or_default().push(message.id);
                }
                Event::Message(message) => self.at_server.push((message.conversation, message.payload.len())),
                Event::Close { conversation } => self.pair.server.ended(START, conversation).unwrap(),
                Event::Closed(reason) => panic!("the connection is over: {reason}"),
                _ => {}
            }
        }
    }

    fn rest(&mut self) {
        (0..20_000)
            .take_while(|_| {
                self.turn();
                self.pair.in_flight() > 0
            })
            .for_each(drop);
        self.turn();
        self.turn();
    }

    /// What one side may say is what the other expects, everywhere.
    fn assert_agreed(&self) {
        let (client, server) = (&self.pair.client, &self.pair.server);
        let agree = |of: CreditLeft, with: CreditLeft, window: u32, lives: bool| {
            assert_eq!((of.to_say, of.to_hear), (with.to_hear, with.to_say), "{of:?} {with:?}");
            for side in [of, with] {
                assert_eq!(side.to_hear + side.open + side.owed, window, "{side:?}");
                assert!(!lives || side.owed < window / 4, "{side:?}");
            }
        };
        for (of, with) in client.connection_credit_left().into_iter().zip(server.connection_credit_left()) {
            agree(of, with, CONNECTION, true);
        }
        for key in &self.conversations {
            if let (Some(of), Some(with)) = (client.credit_left(*key), server.credit_left(*key)) {
                let failed = client.conversation_phase(*key) == Some(ConversationPhase::Failed);
                agree(of, with, CONVERSATION, !failed);
            }
        }
    }

    /// Everything is dealt with, and everybody who was told to wait may go on.
    fn deal_with_all(&mut self) {
        for _ in 0..200 {
            for (key, len) in std::mem::take(&mut self.at_client) {
                self.pair.client.consumed(START, key, len);
            }
            for (key, len) in std::mem::take(&mut self.at_server) {
                self.pair.server.consumed(START, key, len);
            }
            for which in 0..self.conversations.len() {
                self.play(Step::Fail(which));
            }
            self.rest();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn credit_is_conserved_and_nobody_waits_for_ever(
        steps in prop::collection::vec(step(), 1..150),
        written in prop::collection::vec(1_usize..5_000, 1..5),
        read in prop::collection::vec(1_usize..5_000, 1..5),
    ) {
        let mut world = World::new(&written, &read);
        world.rest();
        for step in steps {
            world.play(step);
        }
        world.rest();
        world.assert_agreed();
        world.deal_with_all();
        world.assert_agreed();
        let [messages, replies] = world.pair.server.connection_credit_left();
        prop_assert_eq!((messages.open, replies.open), (0, 0));
        let phase = |key: &ConversationId| world.pair.client.conversation_phase(*key);
        let open = |key: &ConversationId| matches!(phase(key), Some(ConversationPhase::Opening | ConversationPhase::Open));
        let waits: Vec<_> = world.waits.iter().filter(|waits| waits.as_ref().is_none_or(open)).collect();
        prop_assert!(waits.is_empty(), "{waits:?}");
    }
}
