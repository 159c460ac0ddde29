//! `liminal ask`: one question, one reply.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use liminal_driver::asynchronous::Handle;
use liminal_driver::error::{AskError, Crash};
use liminal_proto::{Content, Limits, Metadata, MetadataBuilder, Terms};

use crate::command::{NAME, Protocol};
use crate::connect::{Clock, Target, Work};
use crate::error::Error;
use crate::program;

/// Ask a subject, and print the reply
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// What to talk about: it selects the participant
    subject: String,
    /// What to say; without it, all of stdin, less one newline at its end. The time begins when it is known
    #[arg(allow_negative_numbers = true)]
    payload: Option<OsString>,
    #[command(flatten)]
    target: Target,
    /// What becomes of the conversation when its participant exits; without it, what the server has set for
    /// SUBJECT
    #[arg(long, value_name = "POLICY", value_enum)]
    on_exit: Option<OnExit>,
    /// Something to say about the payload, such as a trace context; may be given more than once. Needs protocol 2.0
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<Metadata>,
    /// Print the bytes of the reply and nothing else, no newline either
    #[arg(long)]
    raw: bool,
}

/// What becomes of a conversation whose participant exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnExit {
    /// It fails: the exit is told, with exit code 3.
    Fail,
    /// The next that serves SUBJECT answers; it may come while there is time to reply. The exit is told at once, and with
    /// exit code 3 if none comes.
    Next,
}

impl OnExit {
    fn terms(self) -> Terms {
        let on_exit = match self {
            Self::Fail => liminal_proto::OnExit::Fail,
            Self::Next => liminal_proto::OnExit::Next,
        };
        Terms { on_exit, ..Terms::default() }
    }
}

impl Ask {
    pub(crate) fn run(self, input: impl Read, out: &mut impl Write) -> Result<(), Error> {
        if self.on_exit.is_some() && self.target.protocol == Protocol::V1 {
            return Err(Error::NeedsVersion2 { option: "--on-exit" });
        }
        if !self.headers.is_empty() && self.target.protocol == Protocol::V1 {
            return Err(Error::NeedsVersion2 { option: "--header" });
        }
        let metadata = metadata(&self.headers);
        let payload = match self.payload {
            Some(payload) => payload.into_encoded_bytes(),
            None => read_payload(input)?,
        };
        let terms = self.on_exit.map(OnExit::terms);
        let content = Content::new(payload, metadata);
        let question = Question { subject: self.subject, terms, content };
        let reply = self.target.run(question)?;
        out.write_all(&reply).map_err(Error::output)?;
        if !self.raw {
            out.write_all(b"\n").map_err(Error::output)?;
        }
        Ok(())
    }
}

/// One header: what is said of it alone.
fn header(argument: &str) -> Result<Metadata, String> {
    let (name, value) = argument.split_once('=').ok_or("there is no '=' between a name and a value")?;
    let builder = Metadata::builder().header(name, value).map_err(|error| error.to_string())?;
    Ok(builder.build())
}

fn metadata(headers: &[Metadata]) -> Metadata {
    let mut all = headers.iter().flat_map(Metadata::headers);
    // Each was taken before.
    let add = |builder: MetadataBuilder, (name, value): (&str, &str)| builder.header(name, value);
    all.try_fold(Metadata::builder(), add).unwrap_or_default().build()
}

/// All of the input, less one newline at its end. No more is read than could be sent.
fn read_payload(input: impl Read) -> Result<Vec<u8>, Error> {
    let limit = Limits::default().frame_payload_max;
    let mut payload = Vec::new();
    // One more for the newline, and one to see that there is more.
    input.take(u64::from(limit) + 2).read_to_end(&mut payload).map_err(Error::Input)?;
    if payload.last() == Some(&b'\n') {
        payload.pop();
    }
    if u32::try_from(payload.len()).is_ok_and(|len| len <= limit) {
        Ok(payload)
    } else {
        Err(Error::PayloadTooLong { limit })
    }
}

struct Question {
    subject: String,
    /// `None`: those of the server, which 1.0 can say, too.
    terms: Option<Terms>,
    content: Content,
}

impl Work for Question {
    type Outcome = Bytes;

    fn block(self, handle: &liminal_blocking::Handle, clock: &Clock) -> Result<Bytes, Error> {
        let conversation = match self.terms {
            Some(terms) => handle.open_on(&self.subject, terms),
            None => handle.open(&self.subject),
        };
        let conversation = conversation.map_err(Error::Open)?;
        let reply = conversation.ask_through_exits(self.content, clock.left(), |exit| waits(exit, clock));
        reply.map_err(|error| why(error, clock))
    }

    async fn wait(self, handle: &Handle, clock: &Clock) -> Result<Bytes, Error> {
        let conversation = match self.terms {
            Some(terms) => handle.open_on(&self.subject, terms).await,
            None => handle.open(&self.subject).await,
        };
        let conversation = conversation.map_err(Error::Open)?;
        let reply = conversation.ask_through_exits(self.content, clock.left(), |exit| waits(exit, clock));
        reply.await.map_err(|error| why(error, clock))
    }
}

/// Says that the conversation goes on after an exit, and how long somebody may take to come and answer.
fn waits(exit: &Crash, clock: &Clock) {
    let left = Duration::from_millis(u64::try_from(clock.left().as_millis()).unwrap_or(u64::MAX));
    program::complain(NAME, format_args!("{exit}; waiting for another one to answer, {left:?} at most"));
}

fn why(error: AskError, clock: &Clock) -> Error {
    if error != AskError::Timeout {
        Error::Ask(error)
    } else if clock.left().is_zero() {
        clock.timeout()
    } else {
        Error::ServerTimeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_at_the_end_is_dropped_and_nothing_else() {
        for (input, payload) in
            [("", ""), ("\n", ""), ("a\n", "a"), ("a\n\n", "a\n"), ("\na", "\na"), ("a\r\n", "a\r")]
        {
            assert_eq!(read_payload(input.as_bytes()).unwrap(), payload.as_bytes(), "{input:?}");
        }
    }

    #[test]
    fn no_more_is_read_than_could_be_sent() {
        let limit = Limits::default().frame_payload_max;
        let full = vec![b'x'; limit as usize];
        assert_eq!(read_payload(full.chain(&b"\n"[..])).unwrap().len(), full.len());
        assert!(matches!(
            read_payload(std::io::repeat(b'x')),
            Err(Error::PayloadTooLong { limit: told }) if told == limit
        ));
        assert!(read_payload(full.chain(&b"xy"[..])).is_err());
    }
}
