//! The host: a thread that attends to all children, whatever the transport of the server.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::FutureExt as _;
use liminal_core::{Answer, Call, ConversationKey, Invocation};
use liminal_driver::server::{Answers, Host};
use liminal_proto::{Pid, ReasonCode};
use smol::Executor;
use smol::channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use crate::attend::attend;
use crate::{Command, Options, dialogue, per_message};

/// How long [`Processes::close`] waits for the ends of processes that were killed. Only one that the
/// operating system itself holds up takes longer.
const KILLED_TIME: Duration = Duration::from_secs(1);

/// A call, and where its answers go.
pub(crate) type Called = (Invocation, Answers);

/// Child processes as participants: one for each conversation, or one for each message, for any number of subjects and
/// servers.
///
/// One thread attends to all of them. It ends with the last of this and of what it
/// [serves](Self::serve) with.
#[derive(Clone)]
pub struct Processes {
    shared: Arc<Shared>,
    executor: Arc<Executor<'static>>,
    /// While this is there, the thread is.
    _running: Sender<()>,
}

/// What all children share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    /// How many there are, those included that are being ended.
    processes: Mutex<usize>,
    changed: Condvar,
    /// Closed when there is no time left for anybody to end by itself.
    hurry: Sender<()>,
    pub(crate) hurried: Receiver<()>,
}

impl Processes {
    /// Starts the thread that attends to children, and none of them yet.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(options: Options) -> io::Result<Self> {
        let executor = Arc::new(Executor::new());
        let (running, ended) = bounded::<()>(1);
        let runner = Arc::clone(&executor);
        thread::Builder::new().name("liminal-processes".into()).spawn(move || {
            // It says nothing, it only ends.
            let _ = smol::block_on(runner.run(ended.recv()));
        })?;
        let (hurry, hurried) = bounded(1);
        let shared = Shared { options, processes: Mutex::new(0), changed: Condvar::new(), hurry, hurried };
        Ok(Self { shared: Arc::new(shared), executor, _running: running })
    }

    /// What serves a subject of one server with processes of this command: see `register_hosted` of the
    /// servers.
    #[must_use]
    pub fn serve(&self, command: Command) -> Participants {
        Participants { processes: self.clone(), command: Arc::new(command), living: Arc::default() }
    }

    /// Waits until every process has ended. Those that are there at `deadline` are killed, and whatever is
    /// started later, too. Says whether none is left, which only the operating system itself can delay.
    ///
    /// A process begins to end with its conversation, so the servers are stopped first.
    pub fn close(&self, deadline: Instant) -> bool {
        if !self.wait_until(deadline) {
            self.shared.hurry.close();
        }
        let all = self.wait_until(Instant::now() + KILLED_TIME);
        self.shared.hurry.close();
        all
    }

    fn wait_until(&self, deadline: Instant) -> bool {
        let time = deadline.saturating_duration_since(Instant::now());
        let processes = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(processes, time, |processes| *processes > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a subject with child processes of one command.
pub struct Participants {
    processes: Processes,
    command: Arc<Command>,
    living: Arc<Living>,
}

/// Where the calls of each participant go.
type Living = Mutex<BTreeMap<Whom, Sender<Called>>>;

/// One participant. Servers count pids alike, and a client may serve at one after the other.
type Whom = (ConversationKey, Pid);

impl Participants {
    fn begin(&self, whom: Whom, joining: Called) {
        let shared = &self.processes.shared;
        let dialogue = dialogue::begin(self.command.protocol(), &shared.options);
        // One that has a process for each message has none yet.
        let seat = dialogue.as_ref().and_then(|_| Seat::take(shared));
        if dialogue.is_some() && seat.is_none() {
            let (_, mut answers) = joining;
            let text = format!("all {} processes of this server are taken", shared.options.processes_max);
            return answers.answer(Answer::Refused { reason: ReasonCode::BUSY, text: Some(text) });
        }
        let (calls, called) = unbounded();
        lock(&self.living).insert(whom, calls);
        let place = Place { living: Arc::clone(&self.living), whom };
        let (shared, command) = (Arc::clone(shared), Arc::clone(&self.command));
        let attended = async move {
            match dialogue {
                Some(dialogue) => attend(shared, command, dialogue, joining, called).await,
                None => per_message::attend(shared, command, joining, called).await,
            }
        };
        let task = async move {
            // What panics in here is a fault of ours; it takes no other child down.
            let _ = AssertUnwindSafe(attended).catch_unwind().await;
            drop((place, seat));
        };
        self.processes.executor.spawn(task).detach();
    }
}

impl Host for Participants {
    fn call(&self, invocation: Invocation, answers: Answers) {
        let whom = (invocation.conversation, invocation.pid);
        if let Call::Join { .. } = invocation.what {
            return self.begin(whom, (invocation, answers));
        }
        let calls = lock(&self.living).get(&whom).cloned();
        let refused = match calls {
            Some(calls) => calls.try_send((invocation, answers)).map_err(TrySendError::into_inner),
            None => Err((invocation, answers)),
        };
        if let Err((_, mut answers)) = refused {
            // It is gone, and the bus knows: there is nobody to call.
            answers.answer(Answer::Done);
        }
    }
}

/// That a participant is called. Dropped, it is not any more.
struct Place {
    living: Arc<Living>,
    whom: Whom,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.living).remove(&self.whom);
    }
}

/// A process that is there, or about to be.
pub(crate) struct Seat {
    shared: Arc<Shared>,
}

impl Seat {
    /// `None`: there are as many as there may be.
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let mut processes = shared.lock();
        if *processes >= shared.options.processes_max {
            return None;
        }
        *processes += 1;
        Some(Self { shared: Arc::clone(shared) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *self.shared.lock() -= 1;
        self.shared.changed.notify_all();
    }
}

fn lock(living: &Living) -> MutexGuard<'_, BTreeMap<Whom, Sender<Called>>> {
    living.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processes = *self.shared.lock();
        f.debug_struct("Processes").field("processes", &processes).finish_non_exhaustive()
    }
}

impl fmt::Debug for Participants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participants").field("command", &self.command).finish_non_exhaustive()
    }
}
