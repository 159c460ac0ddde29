//! Who serves which subject, as the command line says it.

use std::fmt;
use std::str::FromStr;

use liminal_core::Subject;
use liminal_core::participant::{Context, Received};
#[cfg(unix)]
use liminal_process::{Command, CommandError, Protocol};
use thiserror::Error;

/// A participant that can be chosen by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Replies to each request with what it was sent.
    Echo,
    /// Nobody: messages are recorded, a request is refused.
    None,
    /// A process of this command for each conversation, or for each message.
    #[cfg(unix)]
    Process(Command),
}

/// Who serves a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) subject: Subject,
    pub(crate) kind: Kind,
}

/// Why a text is no offer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum OfferError {
    #[error("there is no '='; write SUBJECT=KIND, such as greeter=echo or '*=none'")]
    NoKind,
    #[error("the subject is missing; write SUBJECT=KIND, or '*=KIND' for any subject")]
    NoSubject,
    #[error(
        "there is no kind {0:?}; choose echo (replies with what it is sent), none (only records), \
             exec:COMMAND, exec-frames:COMMAND or exec-per-message:COMMAND (a child process)"
    )]
    UnknownKind(String),
    #[cfg(unix)]
    #[error("{0}")]
    Command(#[from] CommandError),
    #[cfg(not(unix))]
    #[error("this system has no child processes that could take part: that needs Unix")]
    NoProcesses,
}

impl Offer {
    /// Unless told otherwise, an echo serves every subject.
    pub(crate) const DEFAULT: Self = Self { subject: Subject::Any, kind: Kind::Echo };
}

impl FromStr for Offer {
    type Err = OfferError;

    /// A command stands behind the first `=` that begins one, so it may have some; any other kind stands
    /// behind the last, so a subject may have some.
    fn from_str(text: &str) -> Result<Self, OfferError> {
        let commands = PROCESSES.iter().filter_map(|prefix| text.find(&format!("={prefix}")));
        let at = commands.min().or_else(|| text.rfind('=')).ok_or(OfferError::NoKind)?;
        let (subject, kind) = (&text[..at], &text[at + 1..]);
        let subject = match subject {
            "" => return Err(OfferError::NoSubject),
            "*" => Subject::Any,
            subject => subject.into(),
        };
        let kind = match kind {
            "echo" => Kind::Echo,
            "none" => Kind::None,
            kind => process(kind)?,
        };
        Ok(Self { subject, kind })
    }
}

/// What a kind begins with that is a command.
const PROCESSES: [&str; 3] = ["exec:", "exec-frames:", "exec-per-message:"];

#[cfg(unix)]
fn process(kind: &str) -> Result<Kind, OfferError> {
    let protocols = [Protocol::Lines, Protocol::Frames, Protocol::PerMessage];
    let mut commands = PROCESSES.iter().zip(protocols);
    let command = commands.find_map(|(prefix, protocol)| Some((protocol, kind.strip_prefix(prefix)?)));
    let Some((protocol, command)) = command else { return Err(OfferError::UnknownKind(kind.to_owned())) };
    Ok(Kind::Process(Command::parse(protocol, command)?))
}

#[cfg(not(unix))]
fn process(kind: &str) -> Result<Kind, OfferError> {
    if PROCESSES.iter().any(|prefix| kind.starts_with(prefix)) {
        return Err(OfferError::NoProcesses);
    }
    Err(OfferError::UnknownKind(kind.to_owned()))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo => f.write_str("echo"),
            Self::None => f.write_str("none"),
            #[cfg(unix)]
            Self::Process(command) => write!(f, "the command {command}"),
        }
    }
}

/// The participant of [`Kind::Echo`].
pub(crate) fn echo(context: &mut Context<'_>, message: Received) {
    if message.expects_reply {
        context.reply(message.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_and_kinds_are_told_apart() {
        let offer = |subject: Subject, kind| Ok(Offer { subject, kind });
        for (text, expected) in [
            ("*=echo", offer(Subject::Any, Kind::Echo)),
            ("a=none", offer("a".into(), Kind::None)),
            ("a=b=echo", offer("a=b".into(), Kind::Echo)),
            ("**=echo", offer("**".into(), Kind::Echo)),
            ("echo", Err(OfferError::NoKind)),
            ("=echo", Err(OfferError::NoSubject)),
            ("a=", Err(OfferError::UnknownKind(String::new()))),
            ("a=Echo", Err(OfferError::UnknownKind("Echo".into()))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_command_may_have_equals_signs_and_so_may_its_subject() {
        let offer = |subject: Subject, protocol, command| {
            let kind = Kind::Process(Command::parse(protocol, command).unwrap());
            Ok(Offer { subject, kind })
        };
        for (text, expected) in [
            ("a=exec:cat", offer("a".into(), Protocol::Lines, "cat")),
            ("*=exec:env A=b c", offer(Subject::Any, Protocol::Lines, "env A=b c")),
            ("a=b=exec-frames:x y=z", offer("a=b".into(), Protocol::Frames, "x y=z")),
            ("a=exec-per-message:wc -c", offer("a".into(), Protocol::PerMessage, "wc -c")),
            ("a=exec:sh -c 'b=exec-frames:c'", offer("a".into(), Protocol::Lines, "sh -c b=exec-frames:c")),
            ("a=exec:x=echo", offer("a".into(), Protocol::Lines, "x=echo")),
            ("a=exec:", Err(OfferError::Command(CommandError::Empty))),
            ("=exec:x", Err(OfferError::NoSubject)),
            ("a=exec", Err(OfferError::UnknownKind("exec".into()))),
            ("a=exec:'x", Err(OfferError::Command(CommandError::Quote("'x".into())))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }
}
