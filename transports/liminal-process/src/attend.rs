//! The life of one child as a participant, from its start until nothing is left of it.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::Stream as _;
use liminal_core::{Answer, Call};
use liminal_driver::server::{Answers, Hosted};
use liminal_proto::{ExitReason, ReasonCode};
use rustix::io::Errno;
use smol::Timer;
use smol::channel::Receiver;

use crate::child::{Child, Read};
use crate::dialogue::{self, Dialogue, Fault, Given};
use crate::environment::Environment;
use crate::host::{Called, Shared};
use crate::{Command, death};

/// Reads of one child before the others get their turn.
pub(crate) const TURNS_MAX: usize = 8;

/// What is read of a child that has exited, in bytes: what it had written is in its pipe, and no pipe holds
/// more. Somebody else who holds the pipe may go on writing for ever.
pub(crate) const DRAINED_BYTES_MAX: usize = 1 << 20;

/// How the life of a participant ended.
enum End {
    /// It was called to leave.
    Left(Answers),
    Exited(ExitReason),
}

/// Starts a child, answers for it what it is called for, and ends it.
pub(crate) async fn attend(
    shared: Arc<Shared>,
    command: Arc<Command>,
    dialogue: Box<dyn Dialogue>,
    joining: Called,
    calls: Receiver<Called>,
) {
    let (invocation, mut answers) = joining;
    let Call::Join { subject } = &invocation.what else { return };
    if let Err(refused) = can_be_told(subject) {
        return answers.answer(refused);
    }
    let hosted = answers.participant();
    let child = match start(&command, Environment::of_conversation(subject, invocation.pid)).await {
        Ok(child) => child,
        Err(error) => {
            tracing::warn!("cannot start {command}: {error}");
            return answers.answer(refusal(&error));
        }
    };
    answers.answer(Answer::Joined);
    let (calls, hurry) = (Box::pin(calls), Box::pin(shared.hurried.clone()));
    let shared_too = Arc::clone(&shared);
    let attending = Attending {
        shared: shared_too,
        child,
        dialogue,
        calls,
        hurry,
        current: None,
        in_parts: false,
        mute: None,
    };
    let (child, last_call) = attending.run(&hosted).await;
    child.end(&shared.options, &shared.hurried).await;
    if let Some(mut answers) = last_call {
        answers.answer(Answer::Done);
    }
}

pub(crate) async fn start(command: &Arc<Command>, environment: Environment) -> io::Result<Child> {
    let command = Arc::clone(command);
    smol::unblock(move || Child::start(&command, &environment)).await
}

/// Whether a process can be told on what its conversation was opened.
pub(crate) fn can_be_told(subject: &str) -> Result<(), Answer> {
    if subject.contains('\0') {
        let text = Some("no environment holds a subject with a NUL".to_owned());
        return Err(Answer::Refused { reason: ReasonCode::INVALID_NAME, text });
    }
    Ok(())
}

/// Whether the operating system has no room for a process now.
pub(crate) fn is_transient(error: &io::Error) -> bool {
    let transient = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    Errno::from_io_error(error).is_some_and(|errno| transient.contains(&errno))
}

/// The reason of those that were there when their host was closed.
pub(crate) fn host_closed() -> ExitReason {
    ExitReason::Crashed { text: "its host was closed".into() }
}

/// Nobody is called any more: calls that are on their way return, but for the one to leave, which is given back.
pub(crate) fn return_calls(calls: &Receiver<Called>) -> Option<Answers> {
    calls.close();
    let mut last_call = None;
    while let Ok((invocation, mut answers)) = calls.try_recv() {
        if let Call::Leave { .. } = invocation.what {
            last_call = Some(answers);
        } else {
            answers.answer(Answer::Done);
        }
    }
    last_call
}

/// What whoever needs a process is told when it cannot be started.
pub(crate) fn refusal(error: &io::Error) -> Answer {
    let reason = if is_transient(error) { ReasonCode::BUSY } else { ReasonCode::NO_PARTICIPANT };
    Answer::Refused { reason, text: Some(format!("its program cannot be started: {error}")) }
}

/// A child that is alive, and takes part.
struct Attending {
    shared: Arc<Shared>,
    child: Child,
    dialogue: Box<dyn Dialogue>,
    calls: Pin<Box<Receiver<Called>>>,
    /// Ends when there is no time left.
    hurry: Pin<Box<Receiver<()>>>,
    /// The call that is out.
    current: Option<Answers>,
    /// Whether it was answered in part. Then there may be any number of parts, and the child is read from
    /// only while there is room for them.
    in_parts: bool,
    /// What it closed, and when it counts as exited unless it exits. Closing is mostly how an exit begins,
    /// so its true reason is waited for.
    mute: Option<(Fault, Timer)>,
}

impl Attending {
    /// Until the participant leaves or exits. Then every call has returned, but the last one, which is given
    /// back.
    async fn run(mut self, hosted: &Hosted) -> (Child, Option<Answers>) {
        let mut last_call = match poll_fn(|cx| self.poll(cx)).await {
            End::Left(answers) => Some(answers),
            End::Exited(reason) => {
                hosted.exited(reason);
                self.child.close_stdout();
                None
            }
        };
        if let Some(mut current) = self.current.take() {
            current.answer(Answer::Done);
        }
        last_call = return_calls(&self.calls).or(last_call);
        (self.child, last_call)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..TURNS_MAX {
            if let Some(answers) = self.take_calls(cx) {
                return Poll::Ready(End::Left(answers));
            }
            let mut moved = self.mind_cancellation(cx);
            moved |= self.write(cx);
            if let Some(end) = self.look_for_end(cx) {
                return Poll::Ready(End::Exited(end));
            }
            match self.read(cx) {
                Ok(read) => moved |= read,
                Err(fault) => return Poll::Ready(End::Exited(self.exit_or(cx, fault))),
            }
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes the next call, if none is out. Gives back the one to leave.
    fn take_calls(&mut self, cx: &mut Context<'_>) -> Option<Answers> {
        while self.current.is_none()
            && let Poll::Ready(Some((invocation, mut answers))) = self.calls.as_mut().poll_next(cx)
        {
            match invocation.what {
                Call::Leave { .. } => return Some(answers),
                Call::Message { record, expects_reply, payload, .. } => {
                    let message = Given { record: record.get(), expects_reply, payload };
                    match self.dialogue.message(message) {
                        Ok(()) => self.current = Some(answers),
                        Err(newline) => answers.answer(newline.into()),
                    }
                }
                _ => answers.answer(Answer::Done),
            }
        }
        None
    }

    /// A call that nobody needs any more returns at once; what the child owes for it stays owed.
    fn mind_cancellation(&mut self, cx: &Context<'_>) -> bool {
        let cancelled = self.current.take_if(|current| current.poll_cancelled(cx).is_ready());
        let Some(mut cancelled) = cancelled else { return false };
        self.dialogue.give_up();
        cancelled.answer(Answer::Done);
        true
    }

    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while !self.dialogue.to_write().is_empty() {
            match self.child.poll_write(cx, self.dialogue.to_write()) {
                Poll::Ready(Ok(n)) => {
                    let said = self.dialogue.wrote(n);
                    self.say(said);
                    moved = true;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(_)) => {
                    self.child.close_stdin();
                    self.go_mute("stdin");
                    return true;
                }
                Poll::Pending => break,
            }
        }
        moved
    }

    /// Says whether there was anything.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        if self.in_parts && self.current.as_ref().is_some_and(|current| current.poll_room(cx).is_pending()) {
            return Ok(false);
        }
        match self.child.poll_read(cx) {
            Poll::Ready(Read::Some(bytes)) => {
                let mut said = Vec::new();
                let received = self.dialogue.receive(&bytes, &mut said);
                self.say(said);
                received.map(|()| true)
            }
            Poll::Ready(Read::End) => {
                self.child.close_stdout();
                self.go_mute("stdout");
                Ok(true)
            }
            Poll::Pending => Ok(false),
        }
    }

    fn say(&mut self, said: impl IntoIterator<Item = dialogue::Said>) {
        for answer in said.into_iter().flat_map(dialogue::Said::answers) {
            let Some(current) = &mut self.current else { return };
            let ends = answer.returns();
            self.in_parts = matches!(answer, Answer::Part(_));
            current.answer(answer);
            if ends {
                self.current = None;
            }
        }
    }

    fn go_mute(&mut self, closed: &'static str) {
        let time = self.shared.options.terminate_after;
        self.mute.get_or_insert_with(|| (Fault::Closed(closed), Timer::after(time)));
    }

    fn look_for_end(&mut self, cx: &mut Context<'_>) -> Option<ExitReason> {
        if let Poll::Ready(status) = self.child.poll_exit(cx) {
            self.drain(cx);
            return Some(death::reason(status));
        }
        if let Some((fault, timer)) = &mut self.mute
            && Pin::new(timer).poll(cx).is_ready()
        {
            return Some((*fault).into());
        }
        self.hurry.as_mut().poll_next(cx).is_ready().then(host_closed)
    }

    /// One that breaks the rules on its way out has its true reason.
    fn exit_or(&mut self, cx: &mut Context<'_>, fault: Fault) -> ExitReason {
        match self.child.poll_exit(cx) {
            Poll::Ready(status) => death::reason(status),
            Poll::Pending => fault.into(),
        }
    }

    /// Hears what the dead had written before. A fault in it is of no interest any more.
    fn drain(&mut self, cx: &mut Context<'_>) {
        let mut drained = 0;
        while drained < DRAINED_BYTES_MAX
            && let Poll::Ready(Read::Some(bytes)) = self.child.poll_read(cx)
        {
            drained += bytes.len();
            let mut said = Vec::new();
            let received = self.dialogue.receive(&bytes, &mut said);
            self.say(said);
            if received.is_err() {
                return;
            }
        }
    }
}
