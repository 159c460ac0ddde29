//! A participant that does what its messages say, the same in every kind of host.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use liminal_core::participant::{AsyncContext, AsyncParticipant, Pending};
use liminal_core::{Context, Leaving, Participant, Received};
use liminal_proto::{ExitReason, Pid};

use crate::WAIT;
use crate::transport::Role;

/// What every planned panic says; the panic hook of the suite is silent about it.
pub const PLANNED: &str = "planned";

/// How long a nap takes.
pub const NAP: Duration = Duration::from_millis(30);

/// What messages may say. Anything else is answered with itself.
pub mod say {
    /// Answers with the number of messages so far.
    pub const COUNT: &str = "count";
    /// Panics.
    pub const PANIC: &str = "panic";
    /// Exits of its own will.
    pub const EXIT: &str = "exit";
    /// Replies; the hosted one is killed by signal 9 between this call and the next.
    pub const EXIT_AFTERWARDS: &str = "exit afterwards";
    /// Replies, but the hosted one has been killed by signal 9 before, while it was called.
    pub const EXIT_DURING: &str = "exit during";
    /// Returns without a reply.
    pub const NOTHING: &str = "nothing";
    /// Replies twice.
    pub const TWICE: &str = "twice";
    /// Replies in three parts, which are [`JOINED`] together.
    pub const PARTS: &str = "parts";
    /// See [`PARTS`].
    pub const JOINED: &str = "one two three";
    /// Answers after a while.
    pub const NAP: &str = "nap";
    /// Answers with [`BULK`] bytes, after two naps.
    pub const BULK_LATER: &str = "bulk later";
    /// See [`BULK_LATER`].
    pub const BULK: usize = 60_000;
    /// Panics, after four naps.
    pub const PANIC_LATER: &str = "panic later";
    /// Never answers.
    pub const HOLD: &str = "hold";
    /// Answers after its deadline.
    pub const LATE: &str = "late";
}

/// What a puppet has lived through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It joined.
    Joined(Pid),
    /// It was told this.
    Said(Bytes),
    /// It left.
    Left(Pid, Leaving),
    /// It was dropped.
    Dropped,
}

/// Where a puppet panics on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nowhere.
    None,
    /// When it joins.
    Joining,
    /// When it leaves.
    Leaving,
    /// When it is dropped.
    Dropping,
}

/// Which kind of host a puppet is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Where its messages are decoded.
    Inline,
    /// On a pool of threads.
    Blocking,
    /// As a task.
    Async,
    /// Elsewhere: with a host of its own.
    Hosted,
}

impl Host {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Inline, Self::Blocking, Self::Async, Self::Hosted];

    /// The subject of the puppet in this kind of host.
    #[must_use]
    pub const fn subject(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Blocking => "blocking",
            Self::Async => "async",
            Self::Hosted => "hosted",
        }
    }
}

/// Holds puppets that block until a case is over.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody through.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    fn pass(&self, time: Duration) {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_timeout_while(open, time, |open| !*open));
    }
}

/// A participant that does what its messages say.
#[derive(Debug)]
pub struct Puppet {
    pub(crate) seen: Sender<Seen>,
    pub(crate) gate: Gate,
    pub(crate) fault: Fault,
    count: u32,
    /// What an inline puppet is to say when it is woken.
    owed: Option<Bytes>,
}

impl Puppet {
    pub(crate) fn role(host: Host, fault: Fault, seen: &Sender<Seen>, gate: &Gate) -> Role {
        let (seen, gate) = (seen.clone(), gate.clone());
        let create = move || Self { seen: seen.clone(), gate: gate.clone(), fault, count: 0, owed: None };
        match host {
            Host::Inline => Role::Inline(Arc::new(create)),
            Host::Blocking => Role::Blocking(Arc::new(move || Blocking(create()))),
            Host::Async => Role::Async(Arc::new(create)),
            Host::Hosted => Role::Hosted(Arc::new(move || Blocking(create()))),
        }
    }

    fn see(&self, seen: Seen) {
        // The case may be over.
        let _ = self.seen.send(seen);
    }

    fn on_joined(&self, pid: Pid) {
        self.see(Seen::Joined(pid));
        assert!(self.fault != Fault::Joining, "{PLANNED}");
    }

    fn on_left(&self, pid: Pid, why: Leaving) {
        self.see(Seen::Left(pid, why));
        assert!(self.fault != Fault::Leaving, "{PLANNED}");
    }

    /// What is the same everywhere; the rest is for the kind of host.
    fn on_message(&mut self, stage: &mut dyn Stage, message: Received) -> Option<Word> {
        self.count += 1;
        self.see(Seen::Said(message.payload.clone()));
        match &message.payload[..] {
            b"count" => stage.reply(self.count.to_string().into()),
            b"panic" => panic!("{PLANNED}"),
            b"exit" => stage.exit(),
            b"nothing" => {}
            b"twice" => {
                stage.reply("first".into());
                stage.reply("second".into());
            }
            b"parts" => {
                stage.part("one ".into());
                stage.part("two ".into());
                stage.reply("three".into());
            }
            b"nap" => return Some(Word::Nap),
            b"bulk later" => return Some(Word::BulkLater),
            b"panic later" => return Some(Word::PanicLater),
            b"hold" => return Some(Word::Hold),
            b"late" => return Some(Word::Late),
            _ => stage.reply(message.payload),
        }
        None
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.see(Seen::Dropped);
        assert!(self.fault != Fault::Dropping, "{PLANNED}");
    }
}

/// What takes time.
enum Word {
    Nap,
    BulkLater,
    PanicLater,
    Hold,
    Late,
}

/// What the two contexts have in common.
trait Stage {
    fn part(&mut self, payload: Bytes);
    fn reply(&mut self, payload: Bytes);
    fn exit(&mut self);
}

impl Stage for Context<'_> {
    fn part(&mut self, payload: Bytes) {
        self.reply_part(payload);
    }

    fn reply(&mut self, payload: Bytes) {
        Context::reply(self, payload);
    }

    fn exit(&mut self) {
        Context::exit(self, ExitReason::Normal);
    }
}

impl Stage for AsyncContext {
    fn part(&mut self, payload: Bytes) {
        self.reply_part(payload);
    }

    fn reply(&mut self, payload: Bytes) {
        AsyncContext::reply(self, payload);
    }

    fn exit(&mut self) {
        AsyncContext::exit(self, ExitReason::Normal);
    }
}

/// Inline: it asks for time.
impl Participant for Puppet {
    fn joined(&mut self, context: &mut Context<'_>) {
        self.on_joined(context.pid());
    }

    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        match self.on_message(context, message) {
            None => {}
            Some(Word::Nap) => {
                self.owed = Some(say::NAP.into());
                context.wake_after(NAP);
            }
            Some(Word::BulkLater) => {
                self.owed = Some(vec![7; say::BULK].into());
                context.wake_after(2 * NAP);
            }
            Some(Word::PanicLater) => context.wake_after(4 * NAP),
            Some(Word::Hold) => context.wake_after(WAIT),
            Some(Word::Late) => {
                // Woken at its deadline, which is too late.
                self.owed = Some(say::LATE.into());
                context.wake_after(WAIT);
            }
        }
    }

    fn woken(&mut self, context: &mut Context<'_>) {
        if let Some(owed) = self.owed.take() {
            context.reply(owed);
        }
    }

    fn left(&mut self, context: &mut Context<'_>, why: Leaving) {
        self.on_left(context.pid(), why);
    }
}

/// Blocking: it takes time.
#[derive(Debug)]
struct Blocking(Puppet);

impl Participant for Blocking {
    fn joined(&mut self, context: &mut Context<'_>) {
        self.0.on_joined(context.pid());
    }

    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        match self.0.on_message(context, message) {
            None => {}
            Some(Word::Nap) => {
                std::thread::sleep(NAP);
                context.reply(say::NAP);
            }
            Some(Word::BulkLater) => {
                std::thread::sleep(2 * NAP);
                context.reply(vec![7; say::BULK]);
            }
            Some(Word::PanicLater) => {
                std::thread::sleep(4 * NAP);
                panic!("{PLANNED}");
            }
            Some(Word::Hold) => self.0.gate.pass(WAIT),
            Some(Word::Late) => {
                let deadline = context.deadline().map_or(NAP, |deadline| deadline.since(context.now()));
                std::thread::sleep(deadline + NAP);
                context.reply(say::LATE);
            }
        }
    }

    fn left(&mut self, context: &mut Context<'_>, why: Leaving) {
        self.0.on_left(context.pid(), why);
    }
}

/// Async: it waits.
impl AsyncParticipant for Puppet {
    fn joined<'a>(&'a mut self, context: AsyncContext) -> Pending<'a> {
        Box::pin(async move { self.on_joined(context.pid()) })
    }

    fn message<'a>(&'a mut self, mut context: AsyncContext, message: Received) -> Pending<'a> {
        Box::pin(async move {
            match self.on_message(&mut context, message) {
                None => {}
                Some(Word::Nap) => {
                    context.sleep(NAP).await;
                    context.reply(say::NAP);
                }
                Some(Word::BulkLater) => {
                    context.sleep(2 * NAP).await;
                    context.reply(vec![7; say::BULK]);
                }
                Some(Word::PanicLater) => {
                    context.sleep(4 * NAP).await;
                    panic!("{PLANNED}");
                }
                Some(Word::Hold) => context.sleep(WAIT).await,
                Some(Word::Late) => {
                    let deadline = context.deadline().map_or(NAP, |deadline| deadline.since(context.now()));
                    context.sleep(deadline + NAP).await;
                    context.reply(say::LATE);
                }
            }
        })
    }

    fn left<'a>(&'a mut self, context: AsyncContext, why: Leaving) -> Pending<'a> {
        Box::pin(async move { self.on_left(context.pid(), why) })
    }
}
