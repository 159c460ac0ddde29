//! The same conversation on each transport: a server, a client, and loopback between them.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use liminal_blocking::{Participant, from_fn};
use liminal_driver::asynchronous::Handle;

use super::{LOOPBACK, PATIENCE, micros};
use crate::connect::{Clock, Target, Work};
use crate::error::Error;
use crate::program::Transport;
use crate::running::Running;

const SUBJECT: &str = "greeter";

/// One question and its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    question: &'static str,
    answer: &'static str,
    time: Duration,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (question, answer) = (format!("{:?}", self.question), format!("{:?}", self.answer));
        write!(f, "{question:14} is answered {answer:16} in {}", micros(self.time))
    }
}

/// Learns a name, and knows it from then on. Each conversation has one of its own.
fn greeter() -> impl Participant {
    let mut name = String::new();
    from_fn(move |context, message| {
        let said = String::from_utf8_lossy(&message.payload);
        match said.strip_prefix("I am ") {
            Some(told) => {
                name = told.to_owned();
                context.reply(format!("Hello, {name}"));
            }
            None => context.reply(name.clone()),
        }
    })
}

/// What is asked, and what must be answered.
type Questions = [(&'static str, &'static str); 2];

const fn questions(transport: Transport) -> Questions {
    match transport {
        Transport::Blocking => [("I am Ada.", "Hello, Ada."), ("Who am I?", "Ada.")],
        Transport::Smol => [("I am Grace.", "Hello, Grace."), ("Who am I?", "Grace.")],
        Transport::AsyncStd => [("I am Edsger.", "Hello, Edsger."), ("Who am I?", "Edsger.")],
    }
}

/// Holds a conversation on this transport, and says how it went.
pub(super) fn hold(transport: Transport) -> Result<Vec<Exchange>, Error> {
    let server = serve(transport)?;
    let target = Target::new(server.address.clone(), PATIENCE, transport);
    let exchanges = target.run(Conversing(questions(transport)));
    server.stop().and(exchanges)
}

fn serve(transport: Transport) -> Result<Running, Error> {
    match transport {
        Transport::Blocking => {
            let server = liminal_blocking::bind(LOOPBACK)?;
            server.register_inline(SUBJECT, greeter)?;
            Running::blocking(server)
        }
        Transport::Smol => {
            let server = smol::block_on(liminal_smol::bind(LOOPBACK))?;
            server.register_inline(SUBJECT, greeter)?;
            Running::asynchronous(server, |server| smol::block_on(server.run()))
        }
        Transport::AsyncStd => {
            let server = async_std::task::block_on(liminal_async_std::bind(LOOPBACK))?;
            server.register_inline(SUBJECT, greeter)?;
            Running::asynchronous(server, |server| async_std::task::block_on(server.run()))
        }
    }
}

struct Conversing(Questions);

impl Work for Conversing {
    type Outcome = Vec<Exchange>;

    fn block(self, handle: &liminal_blocking::Handle, clock: &Clock) -> Result<Self::Outcome, Error> {
        let conversation = handle.open(SUBJECT).map_err(Error::Open)?;
        let mut exchanges = Vec::new();
        for (question, expected) in self.0 {
            let asked = Instant::now();
            let answer = conversation.ask(question, clock.left()).map_err(Error::Ask)?;
            exchanges.push(check(question, &answer, expected, asked.elapsed())?);
        }
        conversation.close().map_err(Error::Close)?;
        Ok(exchanges)
    }

    async fn wait(self, handle: &Handle, clock: &Clock) -> Result<Self::Outcome, Error> {
        let conversation = handle.open(SUBJECT).await.map_err(Error::Open)?;
        let mut exchanges = Vec::new();
        for (question, expected) in self.0 {
            let asked = Instant::now();
            let answer = conversation.ask(question, clock.left()).await.map_err(Error::Ask)?;
            exchanges.push(check(question, &answer, expected, asked.elapsed())?);
        }
        conversation.close().await.map_err(Error::Close)?;
        Ok(exchanges)
    }
}

/// What was asked, if it was answered as it must be.
fn check(
    question: &'static str,
    answer: &Bytes,
    expected: &'static str,
    time: Duration,
) -> Result<Exchange, Error> {
    if answer == expected {
        Ok(Exchange { question, answer: expected, time })
    } else {
        Err(Error::Answer { question, answer: String::from_utf8_lossy(answer).into_owned() })
    }
}
