//! Who serves which subject.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::ops::Bound::Excluded;

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
    /// What is registered, and what was taken back until the last of its conversations is over.
    known: BTreeMap<OfferId, Known>,
    policies: BTreeMap<String, CrashPolicy>,
    policy_of_any: CrashPolicy,
    ids: Sequence,
}

/// Below every offer.
const NOBODY: OfferId = OfferId::new(0);

/// Everybody on one subject. One that only records is alone.
#[derive(Debug)]
struct Group {
    members: usize,
    /// Those who have room for another conversation, by how many they have, and then by their registration.
    free: BTreeSet<(usize, OfferId)>,
    /// Who was picked last. Among equals those who registered after it come first.
    picked: OfferId,
}

impl Default for Group {
    fn default() -> Self {
        Self { members: 0, free: BTreeSet::new(), picked: NOBODY }
    }
}

impl Group {
    /// Whose turn it is among those with the fewest conversations of all that `may` get another.
    fn next(&self, may: impl Fn(OfferId) -> bool) -> Option<OfferId> {
        let (mut fewest, _) = *self.free.first()?;
        loop {
            let after = (Excluded((fewest, self.picked)), Excluded((fewest + 1, NOBODY)));
            let up_to = (fewest, NOBODY)..=(fewest, self.picked);
            let mut in_turn = self.free.range(after).chain(self.free.range(up_to)).map(|(_, id)| *id);
            if let Some(next) = in_turn.find(|id| may(*id)) {
                return Some(next);
            }
            (fewest, _) = *self.free.range((fewest + 1, NOBODY)..).next()?;
        }
    }
}

#[derive(Debug)]
struct Known {
    /// What for, unless it was taken back.
    subject: Option<Subject>,
    kind: Offer,
    of_link: Option<OfLink>,
    /// In how many conversations it takes part.
    engaged: usize,
}

impl Known {
    /// How many conversations it has where one can get it: if it is registered and has room for another.
    fn free(&self) -> Option<usize> {
        let is_full = self.of_link.is_some_and(|it| self.engaged >= it.capacity);
        (self.subject.is_some() && !is_full).then_some(self.engaged)
    }
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
        self.add(subject, offer, None)
    }

    /// The same for an offer of a link.
    pub(crate) fn register_of_link(
        &mut self,
        subject: Subject,
        link: LinkId,
        stream: StreamId,
        capacity: u32,
    ) -> Result<OfferId, RegisterError> {
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        let of_link = OfLink { link, stream, capacity, withdrawn: None };
        self.add(subject, Offer::Participant, Some(of_link))
    }

    fn add(
        &mut self,
        subject: Subject,
        kind: Offer,
        of_link: Option<OfLink>,
    ) -> Result<OfferId, RegisterError> {
        if !self.takes(&subject, kind) {
            return Err(RegisterError::Taken(subject));
        }
        let id = OfferId::new(self.ids.next());
        let group = match &subject {
            Subject::Exact(name) => self.exact.entry(name.as_str().into()).or_default(),
            Subject::Any => &mut self.any,
        };
        let known = Known { subject: Some(subject), kind, of_link, engaged: 0 };
        group.members += 1;
        group.free.extend(known.free().map(|engaged| (engaged, id)));
        self.known.insert(id, known);
        Ok(id)
    }

    /// One that only records shares its subject with nobody.
    fn takes(&self, subject: &Subject, kind: Offer) -> bool {
        let first = self.group(subject).and_then(|group| group.free.first());
        let only_records = |id| self.known.get(id).is_some_and(|it| it.kind == Offer::TraceOnly);
        let is_free = self.group(subject).is_none_or(|group| group.members == 0);
        is_free || (kind != Offer::TraceOnly && !first.is_some_and(|(_, id)| only_records(id)))
    }

    fn group(&self, subject: &Subject) -> Option<&Group> {
        match subject {
            Subject::Exact(name) => self.exact.get(&**name),
            Subject::Any => Some(&self.any),
        }
    }

    fn group_mut(&mut self, subject: &Subject) -> Option<&mut Group> {
        match subject {
            Subject::Exact(name) => self.exact.get_mut(&**name),
            Subject::Any => Some(&mut self.any),
        }
    }

    /// The link that has made an offer, if one has.
    pub(crate) fn of_link(&self, id: OfferId) -> Option<OfLink> {
        self.known.get(&id)?.of_link
    }

    /// A link takes its offer back: nobody gets it any more.
    pub(crate) fn withdraw(&mut self, id: OfferId, how: Withdrawal) {
        self.unregister(id);
        if let Some(it) = self.known.get_mut(&id).and_then(|known| known.of_link.as_mut()) {
            it.withdrawn = Some(how);
        }
    }

    /// How many conversations all offers of links take part in.
    pub(crate) fn guests(&self) -> usize {
        self.known.values().filter(|it| it.of_link.is_some()).map(|it| it.engaged).sum()
    }

    /// An offer of a link that was taken back and whose last conversation is over. It is forgotten.
    pub(crate) fn take_withdrawn(&mut self, id: OfferId) -> Option<OfLink> {
        let known = self.known.get(&id)?;
        let of_link = known.of_link.filter(|it| known.engaged == 0 && it.withdrawn.is_some())?;
        self.known.remove(&id);
        Some(of_link)
    }

    /// A subject, in the place where it stands already if somebody serves it by name.
    pub(crate) fn name(&self, subject: &str) -> Arc<str> {
        self.exact.get_key_value(subject).map_or_else(|| subject.into(), |(name, _)| Arc::clone(name))
    }

    /// Whether anybody serves a subject, with or without room for one more.
    pub(crate) fn serves(&self, subject: &str) -> bool {
        self.exact.get(subject).unwrap_or(&self.any).members > 0
    }

    pub(crate) fn unregister(&mut self, id: OfferId) -> Option<Subject> {
        let known = self.known.get_mut(&id)?;
        let free = known.free();
        let subject = known.subject.take()?;
        if known.of_link.is_none() && known.engaged == 0 {
            self.known.remove(&id);
        }
        let group = self.group_mut(&subject)?;
        group.members -= 1;
        if let Some(engaged) = free {
            group.free.remove(&(engaged, id));
        }
        if let (0, Subject::Exact(name)) = (group.members, &subject) {
            self.exact.remove(&**name);
        }
        Some(subject)
    }

    pub(crate) fn is_registered(&self, id: OfferId) -> bool {
        self.known.get(&id).is_some_and(|it| it.subject.is_some())
    }

    /// The one with the fewest conversations; among equals, whose turn it is. `passed` are out of the
    /// question, and so is who has no room for another; `last` come behind all others.
    pub(crate) fn pick(&mut self, subject: &str, passed: &[OfferId], last: &[OfferId]) -> Option<Pick> {
        let group = self.exact.get_mut(subject).unwrap_or(&mut self.any);
        let others = group.next(|id| !passed.contains(&id) && !last.contains(&id));
        let offer = others.or_else(|| group.next(|id| !passed.contains(&id)))?;
        group.picked = offer;
        let kind = self.known.get(&offer)?.kind;
        Some(Pick { offer, kind, alone: group.members == 1 })
    }

    /// One conversation more that it takes part in.
    pub(crate) fn engage(&mut self, id: OfferId) {
        self.change(id, |engaged| engaged.saturating_add(1));
    }

    /// One fewer.
    pub(crate) fn release(&mut self, id: OfferId) {
        self.change(id, |engaged| engaged.saturating_sub(1));
    }

    /// Changes in how many conversations an offer takes part. One that is not registered is forgotten with its last,
    /// unless its link must still be told.
    fn change(&mut self, id: OfferId, change: impl FnOnce(usize) -> usize) {
        let Some(known) = self.known.get_mut(&id) else { return };
        let before = known.free();
        known.engaged = change(known.engaged);
        let after = known.free();
        let group = match &known.subject {
            Some(Subject::Exact(name)) => self.exact.get_mut(&**name),
            Some(Subject::Any) => Some(&mut self.any),
            None => None,
        };
        if let Some(group) = group {
            if let Some(engaged) = before {
                group.free.remove(&(engaged, id));
            }
            group.free.extend(after.map(|engaged| (engaged, id)));
        } else if known.of_link.is_none() && known.engaged == 0 {
            self.known.remove(&id);
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Register { capacity: u32 },
        Unregister(usize),
        Engage(usize),
        Release(usize),
        Pick { passed: Vec<usize>, last: Vec<usize> },
    }

    fn step() -> impl Strategy<Value = Step> {
        let some = || proptest::collection::vec(0usize..8, 0..3);
        prop_oneof![
            2 => (0u32..4).prop_map(|capacity| Step::Register { capacity }),
            1 => (0usize..8).prop_map(Step::Unregister),
            3 => (0usize..8).prop_map(Step::Engage),
            3 => (0usize..8).prop_map(Step::Release),
            6 => (some(), some()).prop_map(|(passed, last)| Step::Pick { passed, last }),
        ]
    }

    /// One offer, in a model that looks at every one of them.
    #[derive(Debug)]
    struct Modelled {
        id: OfferId,
        capacity: usize,
        engaged: usize,
        registered: bool,
    }

    proptest! {
        /// Whatever happened before, it is the one that a look at all of them would find.
        #[test]
        fn the_one_with_the_fewest_is_picked_and_equals_take_turns(
            steps in proptest::collection::vec(step(), 0..80),
        ) {
            let (mut offers, mut model, mut turn) = (Offers::default(), Vec::<Modelled>::new(), NOBODY);
            for step in steps {
                let id = |at: usize, model: &[Modelled]| model.get(at).map(|it| it.id);
                match step {
                    Step::Register { capacity } => {
                        let stream = StreamId::new(1);
                        let id = offers.register_of_link("a".into(), LinkId::new(1), stream, capacity).unwrap();
                        let capacity = capacity as usize;
                        model.push(Modelled { id, capacity, engaged: 0, registered: true });
                    }
                    Step::Unregister(at) => if let Some(it) = model.get_mut(at) {
                        let was = core::mem::take(&mut it.registered);
                        prop_assert_eq!(offers.unregister(it.id), was.then(|| "a".into()));
                    },
                    Step::Engage(at) => if let Some(it) = model.get_mut(at) {
                        it.engaged += 1;
                        offers.engage(it.id);
                    },
                    Step::Release(at) => if let Some(it) = model.get_mut(at) {
                        it.engaged = it.engaged.saturating_sub(1);
                        offers.release(it.id);
                    },
                    Step::Pick { passed, last } => {
                        let [passed, last] =
                            [passed, last].map(|of| of.iter().filter_map(|at| id(*at, &model)).collect::<Vec<_>>());
                        let free = model.iter().filter(|it| {
                            it.registered && it.engaged < it.capacity && !passed.contains(&it.id)
                        });
                        let first = free.min_by_key(|it| (last.contains(&it.id), it.engaged, it.id <= turn, it.id));
                        let picked = offers.pick("a", &passed, &last).map(|pick| pick.offer);
                        prop_assert_eq!(picked, first.map(|it| it.id));
                        turn = picked.unwrap_or(turn);
                    }
                }
                prop_assert_eq!(offers.serves("a"), model.iter().any(|it| it.registered));
                prop_assert_eq!(offers.guests(), model.iter().map(|it| it.engaged).sum::<usize>());
            }
        }
    }
}
