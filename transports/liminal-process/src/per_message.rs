//! A process for each message: the payload is its stdin, and all of its stdout is the reply.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use futures_lite::FutureExt as _;
use liminal_core::{Answer, Call};
use liminal_driver::server::{Answers, Hosted};
use liminal_proto::{Content, ExitReason, Pid};
use smol::channel::Receiver;

use crate::attend::{
    DRAINED_BYTES_MAX, TURNS_MAX, can_be_told, host_closed, is_transient, refusal, return_calls, start,
};
use crate::child::{Child, Read};
use crate::dialogue::Fault;
use crate::environment::Environment;
use crate::host::{Called, Seat, Shared};
use crate::{Command, death};

/// Takes part with a process for each message, one after the other, until it leaves or one of them fails.
pub(crate) async fn attend(
    shared: Arc<Shared>,
    command: Arc<Command>,
    joining: Called,
    calls: Receiver<Called>,
) {
    let (invocation, mut answers) = joining;
    let Call::Join { subject } = invocation.what else { return };
    if let Err(refused) = can_be_told(&subject) {
        return answers.answer(refused);
    }
    let hosted = answers.participant();
    answers.answer(Answer::Joined);
    let errands = Errands { shared, command, subject, pid: invocation.pid };
    let last_call = errands.run(&hosted, &calls).await;
    let last_call = return_calls(&calls).or(last_call);
    if let Some(mut answers) = last_call {
        answers.answer(Answer::Done);
    }
}

/// One participant, which has a process while it has a message.
struct Errands {
    shared: Arc<Shared>,
    command: Arc<Command>,
    subject: String,
    pid: Pid,
}

impl Errands {
    /// Until the participant leaves or exits. Gives back the call to leave, if it has come.
    async fn run(&self, hosted: &Hosted, calls: &Receiver<Called>) -> Option<Answers> {
        let hurried = async {
            // Nothing is ever sent: it ends when there is no time left.
            let _ = self.shared.hurried.recv().await;
            None
        };
        let called = async || calls.recv().await.ok();
        let mut hurried = std::pin::pin!(hurried);
        loop {
            let Some((invocation, mut answers)) = called().or(&mut hurried).await else {
                hosted.exited(host_closed());
                return None;
            };
            match invocation.what {
                Call::Leave { .. } => return Some(answers),
                Call::Message { expects_reply, payload, metadata, .. } => {
                    let content = Content { payload, metadata };
                    let exited = self.on_message(hosted, answers, content, expects_reply).await;
                    if exited.is_err() {
                        return None;
                    }
                }
                _ => answers.answer(Answer::Done),
            }
        }
    }

    /// Has a process do what a message is for. The next has its turn when nothing is left of it.
    async fn on_message(
        &self,
        hosted: &Hosted,
        mut answers: Answers,
        Content { payload, metadata }: Content,
        expects_reply: bool,
    ) -> Result<(), Exited> {
        // It may have waited for the one before it.
        let is_needed = poll_fn(|cx| Poll::Ready(answers.poll_cancelled(cx).is_pending())).await;
        let Some(_seat) = Seat::take(&self.shared).filter(|_| is_needed) else {
            answers.answer(if is_needed { Answer::Busy } else { Answer::Done });
            return Ok(());
        };
        let environment = Environment::of_conversation(&self.subject, self.pid).with_trace_of(metadata);
        let child = match start(&self.command, environment).await {
            Ok(child) => child,
            Err(error) => {
                tracing::warn!("cannot start {}: {error}", self.command);
                answers.answer(if is_transient(&error) { Answer::Busy } else { refusal(&error) });
                return Ok(());
            }
        };
        let output = expects_reply.then(Vec::new);
        let mut errand = Errand { child, payload, output, limit: self.shared.options.output_bytes_max };
        let mut hurry = std::pin::pin!(self.shared.hurried.clone());
        let end = poll_fn(|cx| {
            use futures_lite::Stream as _;
            if hurry.as_mut().poll_next(cx).is_ready() {
                return Poll::Ready(End::Exited(host_closed()));
            }
            errand.poll(cx, &answers)
        });
        let exited = match end.await {
            End::Returned(output) => {
                output.into_iter().for_each(|reply| answers.answer(Answer::Reply(reply.into())));
                Ok(())
            }
            End::GivenUp => Ok(()),
            End::Exited(reason) => {
                hosted.exited(reason);
                Err(Exited)
            }
        };
        answers.answer(Answer::Done);
        errand.child.end(&self.shared.options, &self.shared.hurried).await;
        exited
    }
}

/// The participant is no more.
struct Exited;

/// One process, with its message.
struct Errand {
    child: Child,
    /// What it has not taken of it.
    payload: Bytes,
    /// What it has written. `None`: nobody wants it.
    output: Option<Vec<u8>>,
    limit: usize,
}

/// What came of it.
enum End {
    /// It has returned, with what it had to say.
    Returned(Option<Vec<u8>>),
    Exited(ExitReason),
    /// Nobody waits for it any more.
    GivenUp,
}

impl Errand {
    fn poll(&mut self, cx: &mut Context<'_>, answers: &Answers) -> Poll<End> {
        for _ in 0..TURNS_MAX {
            if answers.poll_cancelled(cx).is_ready() {
                return Poll::Ready(End::GivenUp);
            }
            let mut moved = self.write(cx);
            if let Poll::Ready(status) = self.child.poll_exit(cx) {
                let drained = self.drain(cx);
                return Poll::Ready(match (death::reason(status), drained) {
                    (ExitReason::Normal, Ok(())) => End::Returned(self.output.take()),
                    (ExitReason::Normal, Err(fault)) => End::Exited(fault.into()),
                    (reason, _) => End::Exited(reason),
                });
            }
            match self.read(cx) {
                Ok(read) => moved |= read > 0,
                Err(fault) => return Poll::Ready(End::Exited(fault.into())),
            }
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// It need not read what it is told, but for the end of it.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while !self.payload.is_empty() {
            match self.child.poll_write(cx, &self.payload) {
                Poll::Ready(Ok(n)) => {
                    self.payload.advance(n.min(self.payload.len()));
                    moved = true;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(_)) => self.payload.clear(),
                Poll::Pending => return moved,
            }
        }
        self.child.close_stdin();
        moved
    }

    /// Says how much there was.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<usize, Fault> {
        match self.child.poll_read(cx) {
            Poll::Ready(Read::Some(bytes)) => self.keep(&bytes).map(|()| bytes.len()),
            Poll::Ready(Read::End) => {
                self.child.close_stdout();
                Ok(0)
            }
            Poll::Pending => Ok(0),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Some(output) = &mut self.output else { return Ok(()) };
        if bytes.len() > self.limit.saturating_sub(output.len()) {
            return Err(Fault::OutputTooLong(self.limit));
        }
        output.extend_from_slice(bytes);
        Ok(())
    }

    /// Hears what it had written before it ended. Somebody else may go on writing.
    fn drain(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let mut drained = 0;
        while drained < DRAINED_BYTES_MAX {
            match self.read(cx)? {
                0 => break,
                read => drained += read,
            }
        }
        Ok(())
    }
}
