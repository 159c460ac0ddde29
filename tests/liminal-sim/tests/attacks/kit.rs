//! What is the same for every attack: the neighbours, the tapes, and the budgets.

use std::collections::BTreeMap;
use std::time::Duration;

use liminal_core::participant::from_fn;
use liminal_core::transcript::{Noted, OpenerId};
use liminal_core::{Context, Participant, Received, Settings};
use liminal_proto::wire::{Body, Dialect, FrameBuf};
use liminal_proto::{
    CloseReason, Config, ConversationId, Event, ExitReason, Expects, Instant, MessageId, ReasonCode,
    TimerReason, Violation,
};
use liminal_sim::{Encounter, Fault, Hostile, Plan, Ran, Script, Sim, Speaks, Tape};

use crate::frames::{DIALECTS, heard};

/// What may be held for a peer that has not shaken hands.
pub(crate) const BEFORE: usize = 16 << 10;
/// What may be held for one that has, at worst.
pub(crate) const AFTER: usize = 5 << 20;
/// How long a bulky reply is.
pub(crate) const BULK: usize = 60_000;
/// How long neighbours wait for a reply when they are alone.
const ALONE: Duration = Duration::from_millis(1);
/// Turns of the bus that a peer may cost whatever it says: each byte of it may cost one more, and each piece in
/// which it arrives a few.
const TURNS: usize = 200;
const TURNS_PER_PIECE: usize = 5;
/// The same for somebody who has to do with it.
const TURNS_PER_VICTIM: usize = 400;
/// Tapes beside the benign one: pieces down to one byte, narrow buffers, and any order of what can happen.
const SEEDS: std::ops::Range<u64> = 0..4;

/// A peer, and what it may cost.
pub(crate) struct Attack {
    hostile: Vec<Hostile>,
    config: Config,
    settings: Settings,
    held_bytes_max: usize,
    /// Whether there is a client that serves, with a neighbour of its own.
    is_served: bool,
    /// Those who have to do with the peer, and come with it.
    victims: Vec<Script>,
}

impl Attack {
    pub(crate) fn new(hostile: Hostile) -> Self {
        Self::of_many(vec![hostile])
    }

    pub(crate) fn of_many(hostile: Vec<Hostile>) -> Self {
        let (config, settings) = (Config::default(), Settings::default());
        let (is_served, victims) = (false, Vec::new());
        Self { hostile, config, settings, held_bytes_max: AFTER, is_served, victims }
    }

    /// No more than this may be held for any of them.
    pub(crate) fn holding(mut self, bytes: usize) -> Self {
        self.held_bytes_max = bytes;
        self
    }

    pub(crate) fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Beside a client that serves "served" and "echo from afar", and a neighbour who asks it.
    pub(crate) fn served(mut self) -> Self {
        self.is_served = true;
        self
    }

    /// Somebody has to do with the peer.
    pub(crate) fn victim(mut self, script: Script) -> Self {
        self.victims.push(script);
        self
    }

    /// Has it happen under every tape, and sees what came of it each time, for each of the peers.
    #[track_caller]
    pub(crate) fn check(self, came: impl Fn(&Encounter)) {
        self.check_run(|ran| ran.encounters.iter().for_each(&came));
    }

    /// The same for the whole run.
    #[track_caller]
    pub(crate) fn check_run(self, came: impl Fn(&Ran)) {
        for seed in std::iter::once(None).chain(SEEDS.map(Some)) {
            let tape = seed.map_or_else(Tape::default, Tape::from_seed);
            let alone = self.run(&[], &[], &tape);
            let beside = self.run(&self.hostile, &self.victims, &tape);
            self.check_budgets(&alone, &beside, seed);
            came(&beside);
        }
    }

    fn run(&self, hostile: &[Hostile], victims: &[Script], tape: &Tape) -> Ran {
        let (hostile, config, settings) = (hostile.to_vec(), self.config.clone(), self.settings.clone());
        let (is_served, victims) = (self.is_served, victims.to_vec());
        let sim = Sim::new("attack", move |plan| {
            plan.config(config.clone()).settings(settings.clone());
            stage(plan);
            if is_served {
                plan.client(8).serve("served", || Work).serve("echo from afar", || {
                    from_fn(|context, message: Received| context.reply(message.payload))
                });
                plan.opener_speaking(
                    Speaks::Only(Dialect::V2),
                    busy(Script::new().wait(Duration::from_millis(50)).open("served")),
                );
            }
            for victim in &victims {
                plan.opener_speaking(Speaks::Only(Dialect::V2), victim.clone());
            }
            for hostile in &hostile {
                plan.hostile(hostile.clone());
            }
        });
        let ran = sim.run(tape);
        if let Some(broken) = &ran.broken {
            let story: Vec<String> =
                ran.transcript.entries().iter().rev().take(12).map(|it| format!("{:?}", it.what)).collect();
            panic!("{broken}\n{story:#?}");
        }
        ran
    }

    #[track_caller]
    fn check_budgets(&self, alone: &Ran, beside: &Ran, seed: Option<u64>) {
        for encounter in &beside.encounters {
            let held = encounter.held_bytes_max;
            assert!(held <= self.held_bytes_max, "{held} bytes are held, seed {seed:?}");
        }
        let cost = |it: &Encounter| TURNS + it.wrote + TURNS_PER_PIECE * it.pieces;
        let of_victims = TURNS_PER_VICTIM * self.victims.len();
        let turns_max = (beside.encounters.iter().map(cost).sum::<usize>() + of_victims) as u64;
        let turns = beside.turns.saturating_sub(alone.turns);
        assert!(turns <= turns_max, "{turns} turns instead of {turns_max}, seed {seed:?}");
        let neighbours = DIALECTS.len() as u64 + u64::from(self.is_served);
        let (waits, slower) = (waits(alone, neighbours), waits(beside, neighbours));
        assert!(!waits.is_empty() && waits.len() == slower.len(), "every neighbour has its replies");
        assert!(waits.iter().all(|wait| *wait <= ALONE), "alone: {waits:?}");
        let slowest = slower.iter().max();
        assert!(slowest <= Some(&(2 * ALONE)), "a neighbour waits for {slowest:?}, seed {seed:?}");
    }
}

/// How long each request of the neighbours took, which dial first, and every one had a reply.
fn waits(ran: &Ran, neighbours: u64) -> Vec<Duration> {
    let mut asked: BTreeMap<(OpenerId, ConversationId, MessageId), Instant> = BTreeMap::new();
    let mut waits = Vec::new();
    for entry in ran.transcript.entries() {
        match &entry.what {
            Noted::Said { opener, event: Event::Message(it) }
                if it.expects == Expects::Reply && opener.get() <= neighbours =>
            {
                asked.insert((*opener, it.conversation, it.id), entry.at);
            }
            Noted::Told { opener, event: Event::Reply(it) } if it.last && opener.get() <= neighbours => {
                let began = asked.remove(&(*opener, it.conversation, it.answers)).expect("it was asked");
                waits.push(entry.at.since(began));
            }
            _ => {}
        }
    }
    assert!(asked.is_empty(), "requests of neighbours have no reply");
    waits
}

/// A neighbour of each version, and participants for everybody.
fn stage(plan: &mut Plan) {
    plan.serve("work", || Work)
        .serve("echo", || from_fn(|context, message: Received| context.reply(message.payload)))
        .serve("bulk", || from_fn(|context, _| context.reply(vec![7; BULK])))
        .serve("hold", || from_fn(|_, _| {}))
        .serve("panic", || from_fn(|_, _| std::panic::resume_unwind(Box::new("planned"))))
        .serve("twice", || {
            from_fn(|context, message: Received| {
                context.reply(message.payload.clone());
                context.reply(message.payload);
            })
        })
        .serve("late", || Late)
        .serve("rude", || from_fn(|context, _| context.exit(ExitReason::Crashed { text: rude_words() })));
    plan.trace_only("log");
    plan.only_faults(&[Fault::Chunks, Fault::NarrowBuffers]);
    for dialect in DIALECTS {
        plan.opener_speaking(Speaks::Only(dialect), busy(Script::new().open("work")));
    }
}

fn busy(opens: Script) -> Script {
    let ask = |script: Script| script.ask("hello").wait_for_replies().wait(Duration::from_millis(20));
    (0..25).fold(opens, |script, _| ask(script)).close()
}

pub(crate) fn rude_words() -> String {
    "\u{1b}[2J\r\nWARN forged \u{202e}line\u{0}".repeat(5000)
}

/// Answers after a while.
struct Work;

impl Participant for Work {
    fn message(&mut self, context: &mut Context<'_>, _: Received) {
        context.wake_after(ALONE);
    }

    fn woken(&mut self, context: &mut Context<'_>) {
        context.reply("done");
    }
}

/// Answers when nobody waits any more.
struct Late;

impl Participant for Late {
    fn message(&mut self, context: &mut Context<'_>, _: Received) {
        context.wake_after(Duration::from_secs(6));
    }

    fn woken(&mut self, context: &mut Context<'_>) {
        context.reply("too late");
    }
}

/// It was told this code as the last thing that it was told, and its connection was closed then.
#[track_caller]
pub(crate) fn refused(encounter: &Encounter, code: ReasonCode) {
    let told = heard(Dialect::V2, &encounter.heard);
    let last = told.last().map(|frame| (frame.stream.get(), &frame.body));
    let Some((0, Body::ConnectError { reason_code, .. })) = last else {
        panic!("no ConnectError but {last:?}, {:?}", encounter.reason)
    };
    assert_eq!(*reason_code, code, "{:?}", encounter.reason);
    assert!(encounter.ended.is_some(), "the connection is kept");
}

/// Its connection was kept until it gave up itself, or the run was over, or it had been silent for too long:
/// what it was told.
#[track_caller]
pub(crate) fn kept(encounter: &Encounter, dialect: Dialect) -> Vec<FrameBuf> {
    let mut told = heard(dialect, &encounter.heard);
    let violation = match &encounter.reason {
        Some(CloseReason::Violation(violation)) => Some(violation),
        _ => None,
    };
    if let Some(Violation::TooSlow { what: TimerReason::Keepalive, .. }) = violation {
        told.pop();
    } else {
        assert_eq!(violation, None);
    }
    // A peer that is silent is asked for a sign of life.
    told.retain(|frame| frame.body != Body::Ping);
    told
}

/// How often each code was told for an operation: a conversation, or one message in it.
pub(crate) fn refusals(told: &[FrameBuf]) -> Vec<ReasonCode> {
    let code = |frame: &FrameBuf| match &frame.body {
        Body::ConversationError { reason_code, .. }
        | Body::Refused { reason_code, .. }
        | Body::Outcome { reason_code, .. }
        | Body::SubscribeError { reason_code, .. } => Some(*reason_code),
        _ => None,
    };
    told.iter().filter_map(code).collect()
}

/// How many replies there are among these.
pub(crate) fn replies(told: &[FrameBuf]) -> usize {
    let is_reply =
        |frame: &&FrameBuf| matches!(frame.body, Body::Message { .. } | Body::ConversationMessage { .. });
    told.iter().filter(is_reply).count()
}
