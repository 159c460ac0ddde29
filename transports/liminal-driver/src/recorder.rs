//! Writes down what really happens: on a bus, and at the clients of the same program.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use liminal_core::transcript::{BusId, Entry, Noted, OpenerId};
use liminal_core::{Answer, Call, LinkId, Recorded, Transcript};
use liminal_proto::{Event, Instant};

use crate::Clock;

/// Writes the [`Transcript`] of what happens on a server, and at its clients as far as they are in the same
/// program: the same that simulations write, so that whatever is checked there can be checked here.
///
/// Give it to a server as [`ServerOptions::recorder`](crate::ServerOptions::recorder), and to its clients with
/// `connect_recorded` of their transport. Clones write the same transcript.
///
/// ```
/// use liminal_driver::{Recorder, ServerOptions};
///
/// let recorder = Recorder::new();
/// let options = ServerOptions { recorder: Some(recorder.clone()), ..ServerOptions::default() };
/// // … bind a server with the options, run it, stop it …
/// let transcript = recorder.transcript();
/// assert!(transcript.entries().is_empty() && !recorder.is_full());
/// ```
///
/// **Memory.** What nobody has [taken](Self::take) is held, payloads included, up to a bound in bytes:
/// [`BYTES_MAX`](Self::BYTES_MAX), or that of [`with_bytes_max`](Self::with_bytes_max). Then it
/// [is full](Self::is_full), and writes no more for good: what it has is the beginning of the story, which can be
/// checked; one with a hole in it cannot. A server that runs for long is recorded by taking what there is
/// again and again, or [waiting](Self::wait) for it.
///
/// A recorder may be given to several servers: each is a bus of its own in the transcript.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    bytes_max: usize,
    state: Mutex<State>,
    /// Something was written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    transcript: Transcript,
    /// What it costs.
    bytes: usize,
    full: bool,
    buses: u64,
    last_opener: u64,
    /// Openers that dial, and that no server has accepted yet.
    dialling: VecDeque<OpenerId>,
    /// At which bus the others are.
    openers: BTreeMap<OpenerId, BusId>,
}

impl Recorder {
    /// What a recorder holds unless told otherwise: 64 MiB, some 40,000 short requests with all that comes of
    /// them. A program that forgets to take it loses no more than that.
    pub const BYTES_MAX: usize = 64 << 20;

    /// One that has written nothing yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "its clock begins now, so it differs from any other")]
    pub fn new() -> Self {
        Self::with_bytes_max(Self::BYTES_MAX)
    }

    /// The same, with another bound on what it holds, in bytes.
    #[must_use]
    pub fn with_bytes_max(bytes_max: usize) -> Self {
        let (state, written) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { clock: Clock::new(), bytes_max, state, written }) }
    }

    /// The clock by which everything that it is given to is told the time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// What has happened since it was last taken: a copy.
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        self.lock().transcript.clone()
    }

    /// Takes out what has happened since the last time, which makes room for more.
    #[must_use]
    pub fn take(&self) -> Transcript {
        self.lock().take()
    }

    /// The same, but waits until there is something, `timeout` at most.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> Transcript {
        let is_empty = |state: &mut State| state.transcript.entries().is_empty();
        let waited = self.shared.written.wait_timeout_while(self.lock(), timeout, is_empty);
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }

    /// Whether it has stopped writing, because nobody took what it had in time.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lock().full
    }

    /// Another bus is recorded.
    pub(crate) fn bus(&self) -> BusId {
        let mut state = self.lock();
        state.buses += 1;
        BusId::new(state.buses)
    }

    /// Something has happened at a bus.
    pub(crate) fn note(&self, at: Instant, bus: BusId, what: Noted) {
        let mut state = self.lock();
        self.write(&mut state, at, bus, what);
    }

    /// A bus has accepted a link. If an opener dials, this is its.
    pub(crate) fn linked(&self, at: Instant, bus: BusId, link: LinkId) {
        let mut state = self.lock();
        if let Some(opener) = state.dialling.pop_front() {
            state.openers.insert(opener, bus);
            self.write(&mut state, at, bus, Noted::Dialled { opener, link });
        }
    }

    /// Somebody is about to dial. The next link that a bus accepts is its: so they must dial one after the
    /// other, and nobody else meanwhile.
    pub(crate) fn opener(&self) -> Opener {
        let mut state = self.lock();
        state.last_opener += 1;
        let id = OpenerId::new(state.last_opener);
        state.dialling.push_back(id);
        Opener { recorder: self.clone(), id }
    }

    fn write(&self, state: &mut State, at: Instant, bus: BusId, what: Noted) {
        if state.full {
            return;
        }
        state.bytes = state.bytes.saturating_add(cost(&what));
        if state.bytes > self.shared.bytes_max {
            state.full = true;
            return tracing::warn!("a recorder is full, and writes no more");
        }
        state.transcript.note(at, bus, what);
        self.shared.written.notify_all();
    }

    /// A panic under this lock could only be a fault of ours, and leaves a transcript that is true so far.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Transcript {
        self.bytes = 0;
        std::mem::take(&mut self.transcript)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Recorder")
            .field("entries", &state.transcript.entries().len())
            .field("bytes", &state.bytes)
            .field("full", &state.full)
            .finish_non_exhaustive()
    }
}

/// The client's side of a connection that is recorded.
///
/// It writes nothing until a bus of the same recorder has accepted the connection.
pub(crate) struct Opener {
    recorder: Recorder,
    id: OpenerId,
}

impl Opener {
    pub(crate) const fn id(&self) -> OpenerId {
        self.id
    }

    /// It says something.
    pub(crate) fn said(&self, at: Instant, event: Event) {
        self.note(at, Noted::Said { opener: self.id, event });
    }

    /// It is told something.
    pub(crate) fn told(&self, at: Instant, event: Event) {
        self.note(at, Noted::Told { opener: self.id, event });
    }

    /// It was told the time later than it had asked for: until now, it stood still.
    pub(crate) fn stood_still(&self, until: Instant) {
        self.note(until, Noted::Paused { opener: Some(self.id), until });
    }

    fn note(&self, at: Instant, what: Noted) {
        let mut state = self.recorder.lock();
        if let Some(&bus) = state.openers.get(&self.id) {
            self.recorder.write(&mut state, at, bus, what);
        }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        let mut state = self.recorder.lock();
        state.dialling.retain(|it| *it != self.id);
        state.openers.remove(&self.id);
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// What an entry costs: its place, twice, because the list of them grows by doubling, and what it holds beside it.
fn cost(what: &Noted) -> usize {
    let beside = match what {
        Noted::Said { event, .. } | Noted::Told { event, .. } | Noted::Heard { event, .. } => {
            cost_of_event(event)
        }
        Noted::Recorded { record, .. } => match &record.what {
            Recorded::Message { payload, metadata, .. }
            | Recorded::Request { payload, metadata, .. }
            | Recorded::Reply { payload, metadata, .. } => payload.len() + metadata.len(),
            Recorded::RequestEnded { .. } | Recorded::JoinRefused { .. } | Recorded::Exited { .. } => TEXT,
            _ => 0,
        },
        Noted::Called { invocation, .. } | Noted::CalledOn { invocation, .. } => match &invocation.what {
            Call::Join { subject } => subject.len(),
            Call::Message { payload, metadata, .. } => payload.len() + metadata.len(),
            _ => 0,
        },
        Noted::Answered { answer, .. } => match answer {
            Answer::Part(content) | Answer::Reply(content) => content.len(),
            Answer::Exited(_) | Answer::Refused { .. } => TEXT,
            _ => 0,
        },
        Noted::Died { .. } | Noted::Uncompensated(_) | Noted::Broken { .. } => TEXT,
        _ => 0,
    };
    (2 * size_of::<Entry>()).saturating_add(beside)
}

fn cost_of_event(event: &Event) -> usize {
    match event {
        Event::Open { subject, .. } => subject.len(),
        Event::Message(message) => message.len(),
        Event::Reply(reply) => reply.len(),
        Event::Refused { .. } | Event::Outcome { .. } | Event::Exited { .. } | Event::Closed(_) => TEXT,
        _ => 0,
    }
}

/// The longest text that stands beside an entry, in bytes: of a reason or a name.
const TEXT: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use liminal_core::{Bus, Settings};
    use liminal_proto::{CloseReason, ConversationId, Expects, Message, MessageId, Metadata};

    use super::*;

    fn message(len: usize) -> Noted {
        let (conversation, id) = (ConversationId::new(1), MessageId::new(1));
        let (expects, payload) = (Expects::Nothing, Bytes::from(vec![0; len]));
        let event = Event::Message(Message {
            conversation,
            id,
            expects,
            timeout: None,
            redelivered: 0,
            metadata: Metadata::default(),
            payload,
        });
        Noted::Said { opener: OpenerId::new(0), event }
    }

    #[test]
    fn a_full_recorder_has_the_beginning_and_writes_no_more_even_when_it_is_emptied() {
        let recorder = Recorder::with_bytes_max(10_000);
        let bus = recorder.bus();
        recorder.note(Instant::ORIGIN, bus, message(5_000));
        assert!(!recorder.is_full());
        recorder.note(Instant::ORIGIN, bus, message(5_000));
        assert!(recorder.is_full());
        recorder.note(Instant::ORIGIN, bus, Noted::Calm);
        assert_eq!(recorder.take().entries().len(), 1);
        recorder.note(Instant::ORIGIN, bus, Noted::Calm);
        assert!(recorder.take().entries().is_empty());
    }

    #[test]
    fn who_takes_in_time_records_without_an_end() {
        let recorder = Recorder::with_bytes_max(10_000);
        let bus = recorder.bus();
        for _ in 0..100 {
            recorder.note(Instant::ORIGIN, bus, message(5_000));
            assert_eq!(recorder.wait(Duration::MAX).entries().len(), 1);
        }
        assert!(!recorder.is_full());
    }

    #[test]
    fn an_opener_that_no_bus_of_the_recorder_has_accepted_is_not_recorded() {
        let recorder = Recorder::new();
        let event = || Event::Closed(CloseReason::Local);
        let elsewhere = recorder.opener();
        elsewhere.said(Instant::ORIGIN, event());
        drop(elsewhere);
        let opener = recorder.opener();
        let (id, mut bus) = (recorder.bus(), Bus::new(Settings::default()));
        let link = bus.connect(Instant::ORIGIN);
        recorder.linked(Instant::ORIGIN, id, link);
        recorder.linked(Instant::ORIGIN, id, bus.connect(Instant::ORIGIN));
        opener.told(Instant::ORIGIN, Event::Ended { conversation: ConversationId::new(1) });
        let transcript = recorder.transcript();
        let noted: Vec<_> = transcript.entries().iter().map(|entry| &entry.what).collect();
        let [Noted::Dialled { opener: who, link: to }, Noted::Told { .. }] = noted[..] else {
            panic!("unexpected: {noted:?}");
        };
        assert_eq!((*who, *to), (opener.id(), link));
    }
}
