//! Participants, and the calls that hosts make of them.

mod kit;

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use kit::{Kit, crash};
use liminal_core::participant::{
    AsyncContext, AsyncFactory, AsyncHost, Pending, async_fn, from_fn, invoke_async,
};
use liminal_core::{
    Answer, BusNext, Context, Factory, Invocation, Leaving, Participant, Received, Settings, invoke,
};
use liminal_proto::{Content, ExitReason, Instant};

/// The calls of one conversation: to join, a request, a leave.
fn calls() -> Vec<Invocation> {
    let mut kit = Kit::new(Settings::default());
    let link = kit.link();
    kit.open(link, 1, "echo");
    kit.ask(link, 1, 1, "hello");
    kit.close(link, 1);
    let mut calls = Vec::new();
    while let Some(next) = kit.poll() {
        if let BusNext::Run(ticket, invocation) = next {
            calls.push(invocation);
            kit.answer(ticket, Answer::Done);
        }
    }
    calls
}

fn run(participant: &mut dyn Participant, invocation: &Invocation) -> Vec<Answer> {
    let mut answers = Vec::new();
    invoke(participant, Instant::from_nanos(7), invocation, &mut answers);
    answers
}

#[test]
fn a_closure_is_a_participant() {
    let factory = || from_fn(|context, message| context.reply(message.payload));
    let mut echo = factory.create();
    let answers: Vec<_> = calls().iter().map(|call| run(&mut *echo, call)).collect();
    let hello = Answer::Reply("hello".into());
    assert_eq!(answers, [vec![Answer::Joined], vec![hello, Answer::Done], vec![Answer::Done]]);
}

/// Does one of everything.
#[derive(Default)]
struct Busy {
    seen: Vec<String>,
}

impl Participant for Busy {
    fn joined(&mut self, context: &mut Context<'_>) {
        self.seen.push(format!(
            "joined {:?} as {} in {}",
            context.subject(),
            context.pid(),
            context.conversation()
        ));
        let shown = format!("{context:?}");
        assert!(shown.starts_with("Context {") && shown.contains("pid: Pid(1)"), "{shown}");
        context.wake_after(Duration::from_secs(1));
    }

    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        self.seen.push(format!("{message:?} at {} until {:?}", context.now(), context.deadline()));
        context.reply_part("a part");
        context.exit(ExitReason::Normal);
        context.exit(ExitReason::Crashed { text: "the second reason".into() });
        context.wake_after(Duration::ZERO);
        context.reply("before it is over");
    }

    fn left(&mut self, context: &mut Context<'_>, why: Leaving) {
        self.seen.push(format!("left {why:?} {:?}", context.deadline()));
    }
}

#[test]
fn a_context_collects_what_the_call_did_and_the_end_comes_last() {
    let mut busy = Busy::default();
    let answers: Vec<_> = calls().iter().map(|call| run(&mut busy, call)).collect();
    assert_eq!(
        answers,
        [
            vec![Answer::WakeAfter(Duration::from_secs(1))],
            vec![
                Answer::Part("a part".into()),
                Answer::Reply("before it is over".into()),
                Answer::Exited(ExitReason::Normal),
            ],
            vec![Answer::Done],
        ]
    );
    assert_eq!(
        busy.seen,
        [
            "joined Some(\"echo\") as 1 in conversation-1",
            "Received { id: MessageId(1), record: RecordNumber(1), expects_reply: true, redelivered: 0, \
             payload: 5 bytes, metadata: 0 bytes } at 7ns until Some(Instant(5000000000))",
            "left Closed None",
        ]
    );
}

/// Replies when it is woken.
struct Late;

impl Participant for Late {
    fn message(&mut self, context: &mut Context<'_>, _: Received) {
        context.wake_after(Duration::from_secs(1));
    }

    fn woken(&mut self, context: &mut Context<'_>) {
        assert!(context.deadline().is_some(), "the request is still in hand");
        context.reply("late");
    }
}

#[test]
fn a_participant_is_woken_when_it_wanted_to_be() {
    let (mut kit, link) = Kit::active();
    kit.ask(link, 1, 1, "hello");
    let mut answers = Vec::new();
    for _ in 0..2 {
        while let Some(next) = kit.poll() {
            if let BusNext::Run(ticket, invocation) = next {
                answers.push(run(&mut Late, &invocation));
                kit.answer(ticket, answers.last().unwrap()[0].clone());
            }
        }
        kit.pass(Duration::from_secs(1));
    }
    let wakes = Answer::WakeAfter(Duration::from_secs(1));
    assert_eq!(answers, [vec![wakes], vec![kit::reply("late"), Answer::Done]]);
}

#[derive(Clone)]
struct Recorder(Sender<Answer>);

impl Recorder {
    fn push(&self, answer: Answer) {
        let _ = self.0.send(answer);
    }
}

impl AsyncHost for Recorder {
    fn part(&mut self, content: Content) {
        self.push(Answer::Part(content));
    }

    fn reply(&mut self, content: Content) {
        self.push(Answer::Reply(content));
    }

    fn exit(&mut self, reason: ExitReason) {
        self.push(Answer::Exited(reason));
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(7)
    }

    fn sleep(&self, _: Duration) -> Pending<'static> {
        Box::pin(std::future::ready(()))
    }
}

fn finish(future: impl Future<Output = ()>) {
    let mut context = TaskContext::from_waker(Waker::noop());
    assert_eq!(pin!(future).poll(&mut context), Poll::Ready(()));
}

#[test]
fn an_async_function_is_a_participant() {
    async fn echo(mut context: AsyncContext, message: Received) {
        let deadline = Some(Instant::ORIGIN.after(Duration::from_secs(5)));
        assert_eq!((context.pid().get(), context.conversation().get()), (1, 1));
        assert_eq!((context.deadline(), context.now()), (deadline, Instant::from_nanos(7)));
        let shown = "AsyncContext { pid: Pid(1), conversation: ConversationKey(1), deadline: Some(";
        assert!(format!("{context:?}").starts_with(shown), "{context:?}");
        context.reply_part("wait");
        context.sleep(Duration::from_secs(1)).await;
        context.reply(message.payload);
        context.exit(ExitReason::Crashed { text: "tired".into() });
    }
    let factory = || async_fn(echo);
    assert_eq!(format!("{:?}", factory()), "AsyncFn");
    let mut participant = factory.create();
    let (sender, answers) = channel();
    let recorder = Recorder(sender);
    for call in calls() {
        finish(invoke_async(&mut *participant, &call, Box::new(recorder.clone())));
    }
    drop(recorder);
    let answers: Vec<_> = answers.iter().collect();
    assert_eq!(answers, [kit::part("wait"), kit::reply("hello"), crash("tired")]);
}
