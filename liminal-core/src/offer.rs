//! Who serves which subject.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use thiserror::Error;

use crate::OfferId;
use crate::id::Sequence;

/// What a participant is registered for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// This subject alone. Wins over [`Subject::Any`].
    Exact(String),
    /// Every subject that is not registered by itself.
    Any,
}

impl From<&str> for Subject {
    fn from(name: &str) -> Self {
        Self::Exact(name.into())
    }
}

impl From<String> for Subject {
    fn from(name: String) -> Self {
        Self::Exact(name)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "the subject {name:?}"),
            Self::Any => f.write_str("every other subject"),
        }
    }
}

/// What a conversation on a subject gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Offer {
    /// A participant, which the host creates.
    Participant,
    /// Nobody: opening succeeds at once, messages are recorded, a request is refused.
    TraceOnly,
}

/// Why something could not be registered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Somebody serves it already.
    #[error("{0} is registered already")]
    Taken(Subject),
    /// No opening could name it.
    #[error("a subject of {len} bytes is above the limit of {limit}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
}

/// What is registered.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    exact: BTreeMap<String, (OfferId, Offer)>,
    any: Option<(OfferId, Offer)>,
    subjects: BTreeMap<OfferId, Subject>,
    ids: Sequence,
}

impl Offers {
    pub(crate) fn register(&mut self, subject: Subject, offer: Offer) -> Result<OfferId, RegisterError> {
        if self.is_taken(&subject) {
            return Err(RegisterError::Taken(subject));
        }
        let id = OfferId::new(self.ids.next());
        match &subject {
            Subject::Exact(name) => {
                self.exact.insert(name.clone(), (id, offer));
            }
            Subject::Any => self.any = Some((id, offer)),
        }
        self.subjects.insert(id, subject);
        Ok(id)
    }

    pub(crate) fn unregister(&mut self, id: OfferId) -> Option<Subject> {
        let subject = self.subjects.remove(&id)?;
        match &subject {
            Subject::Exact(name) => {
                self.exact.remove(name);
            }
            Subject::Any => self.any = None,
        }
        Some(subject)
    }

    pub(crate) fn find(&self, subject: &str) -> Option<(OfferId, Offer)> {
        self.exact.get(subject).copied().or(self.any)
    }

    fn is_taken(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Exact(name) => self.exact.contains_key(name),
            Subject::Any => self.any.is_some(),
        }
    }
}
