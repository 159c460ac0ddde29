//! The host of the participants: makes their calls, and has them fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use liminal_core::{Answer, Call, ConversationKey, Invocation, OfferId, Participant, Ticket, invoke};
use liminal_proto::{ExitReason, Instant, Pid, ReasonCode};

use super::waiting::{Kept, Waiting};
use crate::plan::Kind;
use crate::swarm::{Fault, Swarm};
use crate::{Draws, Track};

/// The participants of one bus, and the calls that are out.
#[derive(Default)]
pub(super) struct Host {
    participants: Participants,
    /// In the order in which they were made.
    pub(super) calls: Vec<Running>,
}

#[derive(Default)]
struct Participants {
    kinds: BTreeMap<OfferId, Kind>,
    instances: BTreeMap<Who, Instance>,
    alive: BTreeSet<Who>,
}

/// A participant. Its pid alone does not tell: on the bus of a client that serves others have given it.
pub(super) type Who = (ConversationKey, Pid);

const fn who(invocation: &Invocation) -> Who {
    (invocation.conversation, invocation.pid)
}

enum Instance {
    Sync(Box<dyn Participant>),
    Async(Kept),
}

/// A call that is out.
pub(super) struct Running {
    pub(super) ticket: Ticket,
    invocation: Invocation,
    state: State,
}

impl Running {
    /// Whether the participant was not called yet.
    pub(super) const fn is_to_start(&self) -> bool {
        matches!(self.state, State::Starts(..))
    }
}

enum State {
    /// The host makes the call then.
    Starts(Instant, Mishap),
    /// An async participant waits.
    Waits(Waiting),
    /// These answers are on their way to the bus.
    Returns(Instant, VecDeque<Answer>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mishap {
    None,
    Panic,
    LatePanic,
    Hang,
    Twice,
    Busy,
    Refuse,
}

const MISHAPS: [(Fault, Mishap); 6] = [
    (Fault::Panic, Mishap::Panic),
    (Fault::LatePanic, Mishap::LatePanic),
    (Fault::Hang, Mishap::Hang),
    (Fault::Twice, Mishap::Twice),
    (Fault::Busy, Mishap::Busy),
    (Fault::Refuse, Mishap::Refuse),
];

impl Running {
    /// Whether it has something to do now.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        match &self.state {
            State::Starts(at, _) | State::Returns(at, _) => *at <= now,
            State::Waits(waiting) => waiting.is_ready(now),
        }
    }

    /// When it has something to do.
    pub(super) fn next_at(&self) -> Option<Instant> {
        match &self.state {
            State::Starts(at, _) | State::Returns(at, _) => Some(*at),
            State::Waits(waiting) => waiting.next_at(),
        }
    }
}

impl Host {
    pub(super) fn register(&mut self, offer: OfferId, kind: Kind) {
        self.participants.kinds.insert(offer, kind);
    }

    /// The bus wants this call made.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        ticket: Ticket,
        invocation: Invocation,
        draws: &mut Draws,
        swarm: &Swarm,
        faults_max: &mut usize,
    ) {
        let mut mishaps = MISHAPS.iter().take(if *faults_max > 0 { MISHAPS.len() } else { 0 });
        let mishap = mishaps.find(|(fault, _)| draws.chance(Track::Faults, swarm.weight(*fault)));
        let mishap = mishap.map_or(Mishap::None, |(_, mishap)| *mishap);
        let mishap =
            if mishap == Mishap::Refuse && !may_refuse(&invocation.what) { Mishap::None } else { mishap };
        *faults_max -= usize::from(mishap != Mishap::None);
        let at = now.after(work(draws, swarm));
        if matches!(invocation.what, Call::Join { .. }) {
            self.participants.alive.insert(who(&invocation));
        }
        self.calls.push(Running { ticket, invocation, state: State::Starts(at, mishap) });
    }

    /// Nobody wants the answers of this call. One that waits is ended; one that works cannot be.
    pub(super) fn cancel(&mut self, now: Instant, ticket: Ticket) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.ticket == ticket)
            && matches!(call.state, State::Waits(_))
        {
            call.state = State::Returns(now, VecDeque::from([Answer::Done]));
        }
    }

    /// Those that live, to be killed.
    pub(super) fn alive(&self) -> impl ExactSizeIterator<Item = Who> {
        self.participants.alive.iter().copied()
    }

    /// A participant is no more. A call of it that is out returns nevertheless.
    pub(super) fn kill(&mut self, now: Instant, dead: Who) {
        self.participants.forget(dead);
        for call in self.calls.iter_mut().filter(|call| who(&call.invocation) == dead) {
            if !matches!(call.state, State::Returns(..)) {
                call.state = State::Returns(now, VecDeque::from([Answer::Done]));
            }
        }
    }

    /// Lets a call go on. What it answers now, if it does.
    pub(super) fn go_on(
        &mut self,
        at: usize,
        now: Instant,
        draws: &mut Draws,
        swarm: &Swarm,
    ) -> Option<(Ticket, Answer)> {
        let call = self.calls.get_mut(at)?;
        let (invocation, participants) = (&call.invocation, &mut self.participants);
        let answer = match &mut call.state {
            State::Starts(_, mishap) => {
                call.state = participants.start(now, invocation, *mishap, draws);
                None
            }
            State::Waits(waiting) => {
                let answer = waiting.next_answer();
                if answer.is_none() {
                    waiting.poll(now);
                    if let Some(answers) = waiting.result() {
                        call.state = participants.returns(now, invocation, answers);
                    }
                }
                answer
            }
            State::Returns(at, answers) => {
                *at = now.after(work(draws, swarm));
                answers.pop_front()
            }
        }?;
        let ticket = call.ticket;
        if answer.returns() {
            self.calls.remove(at);
        }
        Some((ticket, answer))
    }
}

impl Participants {
    fn forget(&mut self, dead: Who) {
        self.alive.remove(&dead);
        if let Some(instance) = self.instances.remove(&dead) {
            // The destructor of a user may panic; what it was about is over.
            let _ = catch_unwind(AssertUnwindSafe(move || drop(instance)));
        }
    }

    fn start(&mut self, now: Instant, invocation: &Invocation, mishap: Mishap, draws: &mut Draws) -> State {
        let at = match mishap {
            Mishap::Hang => now.after(Duration::from_secs([4, 6, 11, 20][draws.below(Track::Faults, 4)])),
            _ => now,
        };
        let only = match mishap {
            Mishap::Panic => Some(Answer::Exited(ExitReason::Crashed { text: "planted panic".into() })),
            Mishap::Busy => Some(Answer::Busy),
            Mishap::Refuse => Some(Answer::Refused { reason: ReasonCode::NOT_ALLOWED, text: None }),
            _ => None,
        };
        if let Some(only) = only {
            return self.returns(now, invocation, vec![only]);
        }
        self.create(invocation);
        match self.instances.get_mut(&who(invocation)) {
            Some(Instance::Sync(participant)) => {
                let mut answers = call(now, &mut **participant, invocation);
                spoil(&mut answers, mishap);
                self.returns(at, invocation, answers)
            }
            Some(Instance::Async(kept)) => State::Waits(Waiting::new(now, at, invocation, kept)),
            // It was killed in the meantime.
            None => State::Returns(now, VecDeque::from([Answer::Done])),
        }
    }

    fn create(&mut self, invocation: &Invocation) {
        let is_join = matches!(invocation.what, Call::Join { .. });
        let kind = self.kinds.get(&invocation.offer).filter(|_| is_join);
        let instance = match kind {
            Some(Kind::Sync(factory)) => Instance::Sync(factory.create()),
            Some(Kind::Async(factory)) => Instance::Async(Kept::new(factory.create())),
            Some(Kind::TraceOnly) | None => return,
        };
        self.instances.insert(who(invocation), instance);
    }

    fn returns(&mut self, at: Instant, invocation: &Invocation, answers: Vec<Answer>) -> State {
        let is_join = matches!(invocation.what, Call::Join { .. });
        let is_gone = |answer: &Answer| match answer {
            Answer::Exited(_) => true,
            Answer::Refused { .. } | Answer::Busy => is_join,
            _ => matches!(invocation.what, Call::Leave { .. }) && answer.returns(),
        };
        if answers.iter().any(is_gone) {
            self.forget(who(invocation));
        }
        State::Returns(at, answers.into())
    }
}

/// Makes a call, and catches what it throws.
fn call(now: Instant, participant: &mut dyn Participant, invocation: &Invocation) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    let called = catch_unwind(AssertUnwindSafe(|| invoke(participant, now, invocation, &mut answers)));
    if let Err(panic) = called {
        answers.push(Answer::Exited(ExitReason::Crashed { text: super::words(&*panic) }));
    }
    answers
}

fn spoil(answers: &mut Vec<Answer>, mishap: Mishap) {
    match mishap {
        Mishap::LatePanic => {
            answers.pop();
            answers.push(Answer::Exited(ExitReason::Crashed { text: "planted late panic".into() }));
        }
        Mishap::Twice => {
            let replies = answers.iter().filter(|it| matches!(it, Answer::Reply(_))).cloned();
            let again: Vec<Answer> = replies.collect();
            answers.splice(0..0, again);
        }
        _ => {}
    }
}

/// An invitation and a request can be refused; other calls have nobody to tell.
const fn may_refuse(call: &Call) -> bool {
    matches!(call, Call::Join { .. } | Call::Message { expects_reply: true, .. })
}

/// How long a piece of work takes.
fn work(draws: &mut Draws, swarm: &Swarm) -> Duration {
    if !draws.chance(Track::Schedule, swarm.weight(Fault::Slow)) {
        return Duration::ZERO;
    }
    Duration::from_micros(draws.pick(Track::Schedule, &[100, 1_000, 20_000, 500_000, 3_000_000]))
}
