//! Who opens conversations.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use liminal_core::Transcript;
use liminal_core::transcript::{BusId, Noted, OpenerId};
use liminal_proto::{
    CloseReason, ConversationId, Event, Expects, Instant, Message, MessageId, Metadata, OnExit, Outcome,
    Terms,
};

use crate::world::Side;
use crate::{Draws, Track};

/// Somebody who opens conversations. The world dials for it whenever it has something left to do and no
/// connection, and calls it when the connection is up.
pub trait Opener {
    /// A new connection is up: conversations of an earlier one are no more.
    fn connected(&mut self) {}

    /// Its connection says this.
    fn told(&mut self, event: &Event) {
        let _ = event;
    }

    /// Does the next thing, and says when it wants to do another. What does not apply must do nothing.
    fn act(&mut self, caller: &mut Caller<'_>) -> Then;
}

/// When an opener acts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// When this time has passed.
    After(Duration),
    /// When its connection has told it something. The world waits with it, for a day at most.
    WhenTold,
    /// Never. The connection stays until the end of the world.
    Done,
}

/// What an opener can do.
pub struct Caller<'a> {
    pub(crate) side: Side<'a>,
    pub(crate) transcript: &'a mut Transcript,
    pub(crate) draws: &'a mut Draws,
    pub(crate) now: Instant,
    pub(crate) bus: BusId,
    pub(crate) opener: OpenerId,
}

impl fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("opener", &self.opener).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Caller<'_> {
    /// Opens a conversation. `None`: the connection does not take that now.
    pub fn open(&mut self, subject: &str) -> Option<ConversationId> {
        self.open_on(subject, Terms::default())
    }

    /// Opens a conversation on terms of one's own. `None`: the connection does not take that now, or speaks 1.0,
    /// which has no words for other terms than the default.
    pub fn open_on(&mut self, subject: &str, terms: Terms) -> Option<ConversationId> {
        let conversation = self.side.open(self.now, subject, terms)?;
        self.note(Event::Open { conversation, subject: subject.into(), terms });
        Some(conversation)
    }

    /// Says something. `None`: the connection does not take that now.
    pub fn say(
        &mut self,
        conversation: ConversationId,
        expects: Expects,
        payload: impl Into<Bytes>,
    ) -> Option<MessageId> {
        self.send(conversation, (expects, None), payload.into())
    }

    /// Asks something, and waits for as long as `timeout` says. `None`: the connection does not take that now.
    pub fn ask(
        &mut self,
        conversation: ConversationId,
        timeout: Option<Duration>,
        payload: impl Into<Bytes>,
    ) -> Option<MessageId> {
        self.send(conversation, (Expects::Reply, timeout), payload.into())
    }

    fn send(
        &mut self,
        conversation: ConversationId,
        (expects, timeout): (Expects, Option<Duration>),
        payload: Bytes,
    ) -> Option<MessageId> {
        let id = self.side.say(self.now, conversation, (expects, timeout), payload.clone())?;
        self.note(Event::Message(Message {
            conversation,
            id,
            expects,
            timeout,
            redelivered: 0,
            metadata: Metadata::default(),
            payload,
        }));
        Some(id)
    }

    /// Closes a conversation. Says whether the connection took that.
    pub fn close(&mut self, conversation: ConversationId) -> bool {
        let closed = self.side.close(self.now, conversation);
        if closed {
            self.note(Event::Close { conversation });
        }
        closed
    }

    /// Ends the connection gracefully.
    pub fn disconnect(&mut self) {
        self.note(Event::Closed(CloseReason::Local));
        self.side.disconnect(self.now);
    }

    /// One of `n`, from the tape; 0 is the benign one.
    pub fn draw(&mut self, n: usize) -> usize {
        self.draws.below(Track::Workload, n)
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    fn note(&mut self, event: Event) {
        self.transcript.note(self.now, self.bus, Noted::Said { opener: self.opener, event });
    }
}

/// An opener that does one thing after the other in one conversation.
///
/// When it loses its connection it goes on with its next step on another, on which no conversation is open: it
/// opens one if that step says so, and what it would say in the lost one is not said.
///
/// ```
/// use std::time::Duration;
/// use liminal_sim::Script;
///
/// let buyer = Script::new().open("desk").ask("two seats").wait_for_replies().wait(Duration::from_secs(1)).close();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<Step>,
    at: usize,
    conversation: Option<ConversationId>,
    outstanding: BTreeSet<MessageId>,
}

#[derive(Clone, Debug)]
enum Step {
    Open(String, Terms),
    Say(Expects, Bytes),
    Ask(Option<Duration>, Bytes),
    WaitForReplies,
    Wait(Duration),
    Close,
    Disconnect,
}

impl Script {
    /// One that does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a conversation. What follows is said in it.
    #[must_use]
    pub fn open(self, subject: &str) -> Self {
        self.open_on(subject, Terms::default())
    }

    /// Opens a conversation on terms of one's own, which only 2.0 has words for. What follows is said in it.
    #[must_use]
    pub fn open_on(self, subject: &str, terms: Terms) -> Self {
        self.then(Step::Open(subject.into(), terms))
    }

    /// Says something that wants no reply.
    #[must_use]
    pub fn say(self, payload: impl Into<Bytes>) -> Self {
        self.then(Step::Say(Expects::Nothing, payload.into()))
    }

    /// Says something, and wants to be told that it was accepted.
    #[must_use]
    pub fn confirm(self, payload: impl Into<Bytes>) -> Self {
        self.then(Step::Say(Expects::Acceptance, payload.into()))
    }

    /// Asks something, without waiting for the reply.
    #[must_use]
    pub fn ask(self, payload: impl Into<Bytes>) -> Self {
        self.then(Step::Ask(None, payload.into()))
    }

    /// Asks something that is of use for this long.
    #[must_use]
    pub fn ask_within(self, timeout: Duration, payload: impl Into<Bytes>) -> Self {
        self.then(Step::Ask(Some(timeout), payload.into()))
    }

    /// Goes on when everything that was asked has ended.
    #[must_use]
    pub fn wait_for_replies(self) -> Self {
        self.then(Step::WaitForReplies)
    }

    /// Goes on after a while.
    #[must_use]
    pub fn wait(self, time: Duration) -> Self {
        self.then(Step::Wait(time))
    }

    /// Closes the conversation.
    #[must_use]
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Ends the connection.
    #[must_use]
    pub fn disconnect(self) -> Self {
        self.then(Step::Disconnect)
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn take(&mut self, caller: &mut Caller<'_>, step: &Step) {
        match (step, self.conversation) {
            (Step::Open(subject, terms), _) => self.conversation = caller.open_on(subject, *terms),
            (Step::Say(expects, payload), Some(conversation)) => {
                caller.say(conversation, *expects, payload.clone());
            }
            (Step::Ask(timeout, payload), Some(conversation)) => {
                self.outstanding.extend(caller.ask(conversation, *timeout, payload.clone()));
            }
            (Step::Close, Some(conversation)) => {
                caller.close(conversation);
            }
            (Step::Disconnect, _) => caller.disconnect(),
            _ => {}
        }
    }
}

impl Opener for Script {
    fn connected(&mut self) {
        self.conversation = None;
        self.outstanding.clear();
    }

    fn told(&mut self, event: &Event) {
        match event {
            Event::Reply(reply) if reply.last => {
                self.outstanding.remove(&reply.answers);
            }
            Event::Outcome { outcome: Outcome::Accepted { .. }, .. } => {}
            Event::Outcome { message, .. } => {
                self.outstanding.remove(message);
            }
            _ => {}
        }
    }

    fn act(&mut self, caller: &mut Caller<'_>) -> Then {
        let Some(step) = self.steps.get(self.at).cloned() else { return Then::Done };
        if matches!(step, Step::WaitForReplies) && !self.outstanding.is_empty() {
            return Then::WhenTold;
        }
        self.at += 1;
        self.take(caller, &step);
        Then::After(if let Step::Wait(time) = step { time } else { Duration::ZERO })
    }
}

/// An opener that does whatever the tape says: opens conversations on these subjects, at times on terms of its own,
/// talks in several at a time, asks with and without a deadline, closes, comes back. It is done when its part of the
/// tape is.
#[derive(Clone, Debug)]
pub struct Workload {
    subjects: Vec<String>,
    open: Vec<ConversationId>,
    said: u64,
}

impl Workload {
    /// Conversations on these subjects.
    #[must_use]
    pub fn on(subjects: &[&str]) -> Self {
        Self { subjects: subjects.iter().map(|it| (*it).into()).collect(), open: Vec::new(), said: 0 }
    }

    /// What nobody has said before, long or short.
    fn payload(&mut self, caller: &mut Caller<'_>) -> Bytes {
        self.said += 1;
        let len: usize = [0, 0, 0, 70, 1500, 5000][caller.draw(6)];
        let (from, number) = (format!("{}/", caller.opener.get()), self.said.to_string());
        let mut payload = from.into_bytes();
        payload.resize(payload.len() + len.saturating_sub(number.len()), b' ');
        payload.extend_from_slice(number.as_bytes());
        payload.into()
    }

    fn open(&mut self, caller: &mut Caller<'_>) {
        let which = caller.draw(self.subjects.len());
        let terms = terms(caller);
        let opened = self.subjects.get(which).and_then(|subject| caller.open_on(subject, terms));
        self.open.extend(opened);
    }

    fn talk(&mut self, caller: &mut Caller<'_>, action: usize) {
        let Some(conversation) = self.open.get(caller.draw(self.open.len())).copied() else {
            return self.open(caller);
        };
        match action {
            2 | 3 => {
                let payload = self.payload(caller);
                caller.ask(conversation, None, payload);
            }
            4 => {
                let timeout = Duration::from_millis([1_000, 1, 20, 4_999, 60_000][caller.draw(5)]);
                let payload = self.payload(caller);
                caller.ask(conversation, Some(timeout), payload);
            }
            5 | 6 => {
                let expects = [Expects::Nothing, Expects::Acceptance][action - 5];
                let payload = self.payload(caller);
                caller.say(conversation, expects, payload);
            }
            _ => {
                caller.close(conversation);
            }
        }
    }
}

/// Mostly those of the bus.
fn terms(caller: &mut Caller<'_>) -> Terms {
    let time =
        |caller: &mut Caller<'_>| Some(Duration::from_millis([2_000, 1, 50, 10_000, 90_000][caller.draw(5)]));
    let on_exit = |caller: &mut Caller<'_>| [OnExit::Next, OnExit::Fail, OnExit::AsServed][caller.draw(3)];
    match caller.draw(16) {
        12 => Terms { on_exit: on_exit(caller), ..Terms::default() },
        13 => Terms { total: time(caller), on_exit: on_exit(caller), idle: None },
        14 => Terms { idle: time(caller), on_exit: on_exit(caller), total: None },
        15 => Terms { total: time(caller), idle: time(caller), on_exit: OnExit::AsServed },
        _ => Terms::default(),
    }
}

impl Opener for Workload {
    fn connected(&mut self) {
        self.open.clear();
    }

    fn told(&mut self, event: &Event) {
        if let Event::Ended { conversation } | Event::Refused { conversation, .. } = event {
            self.open.retain(|it| it != conversation);
        }
    }

    fn act(&mut self, caller: &mut Caller<'_>) -> Then {
        match caller.draw(10) {
            0 => return Then::Done,
            1 => self.open(caller),
            8 => return Then::After(Duration::from_millis([1, 5, 30, 900, 5_000][caller.draw(5)])),
            9 if caller.draw(4) == 3 => caller.disconnect(),
            action => self.talk(caller, action),
        }
        Then::After(Duration::from_micros([0, 0, 100, 2_000][caller.draw(4)]))
    }
}
