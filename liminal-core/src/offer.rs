//! Who serves which subject.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use liminal_proto::StreamId;
use thiserror::Error;

use crate::id::Sequence;
use crate::{CrashPolicy, LinkId, OfferId};

/// What participants are registered for. Several may be registered for the same.
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
    /// Somebody serves it already, and one of the two only records: that is not shared.
    #[error("{0} is registered already, and one that only records has its subject to itself")]
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

/// What is registered, and who of it has how much to do.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    exact: BTreeMap<Arc<str>, Group>,
    any: Group,
    subjects: BTreeMap<OfferId, Subject>,
    /// Those that links have made, until the last of their conversations is over.
    of_links: BTreeMap<OfferId, OfLink>,
    /// In how many conversations each takes part, where it does in any.
    engaged: BTreeMap<OfferId, usize>,
    policies: BTreeMap<String, CrashPolicy>,
    policy_of_any: CrashPolicy,
    ids: Sequence,
}

/// Everybody on one subject, in the order of their registration. One that only records is alone.
#[derive(Debug, Default)]
struct Group {
    offers: Vec<(OfferId, Offer)>,
    /// Whose turn it is where several are equal.
    turn: usize,
}

/// An offer that a link has made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfLink {
    pub(crate) link: LinkId,
    /// Its name on that link.
    pub(crate) stream: StreamId,
    /// How many conversations it takes at a time.
    capacity: usize,
    /// Whether the link has taken it back.
    pub(crate) withdrawn: Option<Withdrawal>,
}

/// How an offer was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// Its conversations come to their end first.
    Drain,
    /// It is no more, and neither are those who took part for it.
    AtOnce,
}

/// Whom a conversation on a subject gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) offer: OfferId,
    pub(crate) kind: Offer,
    /// Whether nobody else serves the subject.
    pub(crate) alone: bool,
}

impl Offers {
    pub(crate) fn register(&mut self, subject: Subject, offer: Offer) -> Result<OfferId, RegisterError> {
        let group = match &subject {
            Subject::Exact(name) => self.exact.entry(name.as_str().into()).or_default(),
            Subject::Any => &mut self.any,
        };
        if !group.takes(offer) {
            return Err(RegisterError::Taken(subject));
        }
        let id = OfferId::new(self.ids.next());
        group.offers.push((id, offer));
        self.subjects.insert(id, subject);
        Ok(id)
    }

    /// The same for an offer of a link.
    pub(crate) fn register_of_link(
        &mut self,
        subject: Subject,
        link: LinkId,
        stream: StreamId,
        capacity: u32,
    ) -> Result<OfferId, RegisterError> {
        let id = self.register(subject, Offer::Participant)?;
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        self.of_links.insert(id, OfLink { link, stream, capacity, withdrawn: None });
        Ok(id)
    }

    /// The link that has made an offer, if one has.
    pub(crate) fn of_link(&self, id: OfferId) -> Option<OfLink> {
        self.of_links.get(&id).copied()
    }

    /// A link takes its offer back: nobody gets it any more.
    pub(crate) fn withdraw(&mut self, id: OfferId, how: Withdrawal) {
        self.unregister(id);
        if let Some(it) = self.of_links.get_mut(&id) {
            it.withdrawn = Some(how);
        }
    }

    /// How many conversations all offers of links take part in.
    pub(crate) fn guests(&self) -> usize {
        self.of_links.keys().filter_map(|id| self.engaged.get(id)).sum()
    }

    /// An offer of a link that was taken back and whose last conversation is over. It is forgotten.
    pub(crate) fn take_withdrawn(&mut self, id: OfferId) -> Option<OfLink> {
        if self.engaged.contains_key(&id) || self.of_links.get(&id)?.withdrawn.is_none() {
            return None;
        }
        self.of_links.remove(&id)
    }

    /// A subject, in the place where it stands already if somebody serves it by name.
    pub(crate) fn name(&self, subject: &str) -> Arc<str> {
        self.exact.get_key_value(subject).map_or_else(|| subject.into(), |(name, _)| Arc::clone(name))
    }

    /// Whether anybody serves a subject, with or without room for one more.
    pub(crate) fn serves(&self, subject: &str) -> bool {
        !self.exact.get(subject).unwrap_or(&self.any).offers.is_empty()
    }

    pub(crate) fn unregister(&mut self, id: OfferId) -> Option<Subject> {
        let subject = self.subjects.remove(&id)?;
        match &subject {
            Subject::Exact(name) => {
                let group = self.exact.get_mut(&**name)?;
                group.remove(id);
                if group.offers.is_empty() {
                    self.exact.remove(&**name);
                }
            }
            Subject::Any => self.any.remove(id),
        }
        Some(subject)
    }

    pub(crate) fn is_registered(&self, id: OfferId) -> bool {
        self.subjects.contains_key(&id)
    }

    /// The one with the fewest conversations; among equals, whose turn it is. `passed` are out of the
    /// question, and so is who has no room for another; `last` come behind all others.
    pub(crate) fn pick(&mut self, subject: &str, passed: &[OfferId], last: &[OfferId]) -> Option<Pick> {
        let group = self.exact.get_mut(subject).unwrap_or(&mut self.any);
        let (engaged, of_links) = (&self.engaged, &self.of_links);
        group.pick(|id| {
            let load = engaged.get(&id).copied().unwrap_or(0);
            let full = of_links.get(&id).is_some_and(|it| load >= it.capacity);
            (!full && !passed.contains(&id)).then(|| (last.contains(&id), load))
        })
    }

    /// One conversation more that it takes part in.
    pub(crate) fn engage(&mut self, id: OfferId) {
        *self.engaged.entry(id).or_default() += 1;
    }

    /// One fewer.
    pub(crate) fn release(&mut self, id: OfferId) {
        if let Some(count) = self.engaged.get_mut(&id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.engaged.remove(&id);
            }
        }
    }

    pub(crate) fn set_policy(&mut self, subject: Subject, policy: CrashPolicy) {
        match subject {
            Subject::Exact(name) => {
                self.policies.insert(name, policy);
            }
            Subject::Any => self.policy_of_any = policy,
        }
    }

    /// The policy that was set for the subject by name, or else with those who serve it.
    pub(crate) fn policy(&self, subject: &str) -> CrashPolicy {
        match self.policies.get(subject) {
            Some(policy) => policy.clone(),
            None if self.exact.contains_key(subject) => CrashPolicy::Fail,
            None => self.policy_of_any.clone(),
        }
    }
}

impl Group {
    fn takes(&self, offer: Offer) -> bool {
        let alone = |offer: Offer| offer == Offer::TraceOnly;
        self.offers.is_empty() || !(alone(offer) || self.offers.iter().any(|(_, it)| alone(*it)))
    }

    fn remove(&mut self, id: OfferId) {
        self.offers.retain(|(it, _)| *it != id);
    }

    /// The first from the turn on with the smallest rank; who has none is passed over.
    fn pick(&mut self, rank: impl Fn(OfferId) -> Option<(bool, usize)>) -> Option<Pick> {
        let count = self.offers.len();
        let in_turn = (0..count).map(|at| (self.turn + at) % count);
        let ranked = in_turn.filter_map(|at| {
            let (id, kind) = *self.offers.get(at)?;
            Some((rank(id)?, at, id, kind))
        });
        let (_, at, offer, kind) = ranked.min_by_key(|(rank, ..)| *rank)?;
        self.turn = at + 1;
        Some(Pick { offer, kind, alone: count == 1 })
    }
}
