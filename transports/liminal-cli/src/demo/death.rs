//! A child process that is killed while somebody waits for its answer.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use liminal_blocking::Conversation;
use liminal_driver::Address;
use liminal_driver::error::{AskError, Crash, Exited};
use liminal_process::{Command, Options, Processes, Protocol};
use liminal_proto::ExitReason;
use rustix::process::{Pid, Signal, kill_process};

use super::{LOOPBACK, PATIENCE, micros, text};
use crate::error::Error;
use crate::running::Running;

const SUBJECT: &str = "thinker";

/// Tells its process id, and thinks for ever about every other question.
const PROGRAM: &str = r#"sh -c 'while read -r line; do if [ "$line" = pid ]; then echo $$; fi; done'"#;

const QUESTION: &str = "Are you there?";

/// How long it may think before it is killed: by then it has read the question.
const PAUSE: Duration = Duration::from_millis(50);

/// How long it may take until nothing is left of the process, which is dead already.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Debug)]
pub(super) struct Death {
    process: Pid,
    crash: Crash,
    /// From the kill to the moment when the asker knew.
    time: Duration,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "   asked   {QUESTION:?}, with {PATIENCE:?} to answer")?;
        writeln!(f, "   killed  process {}, {PAUSE:?} later, with SIGKILL", self.process.as_raw_nonzero())?;
        write!(f, "   told    \"{}\", {} after the kill", self.crash, micros(self.time))
    }
}

/// Has a child process answer, kills it, and says what the asker was told.
pub(super) fn witness() -> Result<Death, Error> {
    let processes = Processes::start(Options::default()).map_err(Error::Thread)?;
    let command = Command::parse(Protocol::Lines, PROGRAM).map_err(Error::Command)?;
    command.check().map_err(Error::NotStartable)?;
    let server = liminal_blocking::bind(LOOPBACK)?;
    server.register_hosted(SUBJECT, processes.serve(command))?;
    let server = Running::blocking(server)?;
    let death = ask(&server.address);
    let stopped = server.stop();
    processes.close(Instant::now() + CLOSE_TIME);
    stopped.and(death)
}

fn ask(address: &Address) -> Result<Death, Error> {
    // Whoever waits moves the bytes; the driver would only serve the time between.
    let (handle, _driver) = liminal_blocking::connect(address).map_err(Error::Connect)?;
    let conversation = handle.open(SUBJECT).map_err(Error::Open)?;
    let answer = conversation.ask("pid", PATIENCE).map_err(Error::Ask)?;
    let process = str::from_utf8(&answer).ok().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    let process = process.ok_or_else(|| Error::Answer { question: "pid", answer: text(&answer) })?;
    ask_and_kill(&conversation, process)
}

fn ask_and_kill(conversation: &Conversation, process: Pid) -> Result<Death, Error> {
    thread::scope(|scope| {
        let killer = scope.spawn(|| {
            thread::sleep(PAUSE);
            let killed = Instant::now();
            kill_process(process, Signal::KILL).map(|()| killed)
        });
        let end = conversation.ask(QUESTION, PATIENCE);
        let told = Instant::now();
        let killed = killer.join().map_err(|_| Error::Inside)?.map_err(|error| Error::Kill(error.into()))?;
        match end {
            Err(AskError::Exited(Exited::Crash(crash))) if is_by_kill(&crash) => {
                Ok(Death { process, crash, time: told.saturating_duration_since(killed) })
            }
            Err(error) => Err(Error::Ask(error)),
            Ok(answer) => Err(Error::Answer { question: QUESTION, answer: text(&answer) }),
        }
    })
}

fn is_by_kill(crash: &Crash) -> bool {
    matches!(crash.reason, ExitReason::Signal { signal } if i32::from(signal) == Signal::KILL.as_raw())
}
