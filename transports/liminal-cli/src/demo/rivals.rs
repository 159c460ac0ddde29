//! Two responders for one subject, processes of their own, of which one is killed while it is asked.

use std::env;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use liminal_blocking::{Conversation, Handle, OnExit, Terms};
use liminal_driver::Address;
use liminal_driver::error::{AskError, Crash, Exited};
use liminal_proto::ExitReason;

use super::{LOOPBACK, PATIENCE, micros, text};
use crate::error::Error;
use crate::running::Running;

const SUBJECT: &str = "oracle";

/// Reads every question, and answers none.
const THINKS: &str = "while read -r line; do :; done";
/// Answers every question in the same way.
const KNOWS: &str = "while read -r line; do echo 'Yes, I am.'; done";

const QUESTION: &str = "Are you there?";
const ANSWER: &str = "Yes, I am.";

/// How long it may think before it is killed: by then it has read the questions.
const PAUSE: Duration = Duration::from_millis(50);

/// What happened.
#[derive(Debug)]
pub(super) struct Rivalry {
    process: u32,
    other: u32,
    crash: Crash,
    /// From the kill to the moment when who wanted to be told of it knew, and to the answer of the other.
    told: Duration,
    answered: Duration,
}

impl fmt::Display for Rivalry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, other, crash, told, answered } = self;
        writeln!(f, "   asked   process {process}, {QUESTION:?}, in two conversations")?;
        writeln!(f, "   killed  process {process}, {PAUSE:?} later, with SIGKILL")?;
        writeln!(f, "   fail    told \"{crash}\", {} after the kill", micros(*told))?;
        write!(f, "   next    answered {ANSWER:?} by process {other}, {} after the kill", micros(*answered))
    }
}

/// Has two processes serve a subject, kills the one that is asked, and says what became of the conversations.
pub(super) fn witness() -> Result<Rivalry, Error> {
    let server = Running::blocking(liminal_blocking::bind(LOOPBACK)?)?;
    let seen = watch(&server.address);
    server.stop().and(seen)
}

fn watch(address: &Address) -> Result<Rivalry, Error> {
    let first = Responder::start(address, THINKS)?;
    // Whoever waits moves the bytes; the driver would only serve the time between.
    let (handle, _driver) = liminal_blocking::connect(address).map_err(Error::Connect)?;
    // The first has both: it is alone now.
    let (fail, next) = (open(&handle, OnExit::Fail)?, open(&handle, OnExit::Next)?);
    let second = Responder::start(address, KNOWS)?;
    let (process, other) = (first.0.id(), second.0.id());
    let Ends { killed, told, answered } = ask_and_kill(first, &fail, &next)?;
    let since = |at: Instant| at.saturating_duration_since(killed);
    Ok(Rivalry { process, other, crash: told.0, told: since(told.1), answered: since(answered) })
}

fn open(handle: &Handle, on_exit: OnExit) -> Result<Conversation, Error> {
    handle.open_on(SUBJECT, Terms { on_exit, ..Terms::default() }).map_err(Error::Open)
}

/// What became of both conversations, and when.
struct Ends {
    killed: Instant,
    told: (Crash, Instant),
    answered: Instant,
}

fn ask_and_kill(responder: Responder, fail: &Conversation, next: &Conversation) -> Result<Ends, Error> {
    thread::scope(|scope| {
        let killer = scope.spawn(move || {
            thread::sleep(PAUSE);
            let killed = Instant::now();
            responder.kill().map(|()| killed)
        });
        let telling = scope.spawn(|| (fail.ask(QUESTION, PATIENCE), Instant::now()));
        let (answer, answered) = (next.ask(QUESTION, PATIENCE), Instant::now());
        let (told, told_at) = telling.join().map_err(|_| Error::Inside)?;
        let killed = killer.join().map_err(|_| Error::Inside)??;
        let (answer, crash) = (answer.map_err(Error::Ask)?, crash(told)?);
        if answer == ANSWER {
            Ok(Ends { killed, told: (crash, told_at), answered })
        } else {
            Err(Error::Answer { question: QUESTION, answer: text(&answer) })
        }
    })
}

fn crash(told: Result<Bytes, AskError>) -> Result<Crash, Error> {
    match told {
        Err(AskError::Exited(Exited::Crash(crash))) if crash.reason == ExitReason::ConnectionLost => {
            Ok(crash)
        }
        Err(error) => Err(Error::Ask(error)),
        Ok(answer) => Err(Error::Answer { question: QUESTION, answer: text(&answer) }),
    }
}

/// A process of this same program that serves the subject. Dropped, it is killed.
struct Responder(Child);

impl Responder {
    /// Starts it, and waits until it says that it serves.
    fn start(address: &Address, script: &str) -> Result<Self, Error> {
        let program = env::current_exe().map_err(Error::Child)?;
        let mut child = Command::new(program)
            .args(["respond", SUBJECT, "--server", &address.to_string(), "--no-reconnect"])
            .args(["--", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::Child)?;
        let out = child.stdout.take();
        let this = Self(child);
        let mut line = String::new();
        let said = out.map(|out| BufReader::new(out).read_line(&mut line));
        match said {
            Some(Ok(1..)) => Ok(this),
            Some(Err(error)) => Err(Error::Child(error)),
            // It has said why on stderr.
            Some(Ok(0)) | None => Err(Error::Fault),
        }
    }

    fn kill(mut self) -> Result<(), Error> {
        self.0.kill().map_err(Error::Kill)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
