//! Who serves which subject, as the command line says it.

use std::fmt;
use std::str::FromStr;

use liminal_core::Subject;
use liminal_core::participant::{Context, Received};
use thiserror::Error;

/// A participant that can be chosen by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Replies to each request with what it was sent.
    Echo,
    /// Nobody: messages are recorded, a request is refused.
    None,
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
    #[error("there is no kind {0:?}; choose echo (replies with what it is sent) or none (only records)")]
    UnknownKind(String),
}

impl Offer {
    /// Unless told otherwise, an echo serves every subject.
    pub(crate) const DEFAULT: Self = Self { subject: Subject::Any, kind: Kind::Echo };
}

impl FromStr for Offer {
    type Err = OfferError;

    /// The kind stands behind the last `=`, so a subject may have some.
    fn from_str(text: &str) -> Result<Self, OfferError> {
        let (subject, kind) = text.rsplit_once('=').ok_or(OfferError::NoKind)?;
        let subject = match subject {
            "" => return Err(OfferError::NoSubject),
            "*" => Subject::Any,
            subject => subject.into(),
        };
        let kind = match kind {
            "echo" => Kind::Echo,
            "none" => Kind::None,
            kind => return Err(OfferError::UnknownKind(kind.to_owned())),
        };
        Ok(Self { subject, kind })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Echo => "echo",
            Self::None => "none",
        })
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
}
