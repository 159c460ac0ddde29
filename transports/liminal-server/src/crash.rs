//! What becomes of conversations whose participant exits, as the command line says it.

use std::str::FromStr;

use liminal_core::{CrashPolicy, Subject};
use thiserror::Error;

use crate::offer::{Kind, Offer};

/// The policy of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnCrash {
    pub(crate) subject: Subject,
    pub(crate) policy: CrashPolicy,
}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum OnCrashError {
    #[error("there is no '='; write SUBJECT=POLICY, such as orders=route")]
    NoPolicy,
    #[error("the subject is missing; write SUBJECT=POLICY, or '*=POLICY' for any subject")]
    NoSubject,
    #[error("there is no policy {0:?}; choose fail, route or compensate:SUBJECT")]
    UnknownPolicy(String),
    #[error("compensate needs one subject to send the notice to; write compensate:SUBJECT")]
    NoCompensator,
}

/// Why policies do not fit the participants.
#[derive(Debug, Error)]
pub(crate) enum Misfit {
    #[error("--on-crash names {0} twice; give each subject one policy")]
    Twice(Subject),
    #[error("--on-crash names {0}, but no participant serves it; add --participant '{name}=KIND'", name = name(.0))]
    Unserved(Subject),
    #[error(
        "--on-crash compensates {of} on {on:?}, but no participant serves that; add --participant '{on}=KIND'"
    )]
    Uncompensated { of: Subject, on: String },
}

const COMPENSATE: &str = "compensate:";

impl FromStr for OnCrash {
    type Err = OnCrashError;

    /// The policy stands behind the last `=`, so a subject may have some; so may the one to compensate on.
    fn from_str(text: &str) -> Result<Self, OnCrashError> {
        let at = text.find(&format!("={COMPENSATE}")).or_else(|| text.rfind('='));
        let (subject, policy) =
            at.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))).ok_or(OnCrashError::NoPolicy)?;
        let subject = match subject {
            "" => return Err(OnCrashError::NoSubject),
            "*" => Subject::Any,
            subject => subject.into(),
        };
        let policy = match (policy, policy.strip_prefix(COMPENSATE)) {
            ("fail", _) => CrashPolicy::Fail,
            ("route", _) => CrashPolicy::RouteToNext,
            (_, Some("" | "*")) | ("compensate", _) => return Err(OnCrashError::NoCompensator),
            (_, Some(on)) => CrashPolicy::Compensate(on.to_owned()),
            (policy, None) => return Err(OnCrashError::UnknownPolicy(policy.to_owned())),
        };
        Ok(Self { subject, policy })
    }
}

/// Whether every policy is for a subject that is served, and every subject to compensate on is, too.
pub(crate) fn check(policies: &[OnCrash], offers: &[Offer]) -> Result<(), Misfit> {
    for (nth, OnCrash { subject, policy }) in policies.iter().enumerate() {
        if policies.iter().take(nth).any(|earlier| earlier.subject == *subject) {
            return Err(Misfit::Twice(subject.clone()));
        }
        if !is_served(offers, subject) {
            return Err(Misfit::Unserved(subject.clone()));
        }
        if let CrashPolicy::Compensate(on) = policy
            && !is_served(offers, &Subject::Exact(on.clone()))
        {
            return Err(Misfit::Uncompensated { of: subject.clone(), on: on.clone() });
        }
    }
    Ok(())
}

/// Whether a participant serves it, by name or with all that have no name.
fn is_served(offers: &[Offer], subject: &Subject) -> bool {
    let of = |subject: &Subject| offers.iter().find(|offer| offer.subject == *subject);
    of(subject).or_else(|| of(&Subject::Any)).is_some_and(|offer| offer.kind != Kind::None)
}

fn name(subject: &Subject) -> &str {
    match subject {
        Subject::Exact(name) => name,
        Subject::Any => "*",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_and_policies_are_told_apart() {
        let on = |subject: Subject, policy| Ok(OnCrash { subject, policy });
        let compensate = |on: &str| CrashPolicy::Compensate(on.into());
        for (text, expected) in [
            ("a=fail", on("a".into(), CrashPolicy::Fail)),
            ("*=route", on(Subject::Any, CrashPolicy::RouteToNext)),
            ("a=b=route", on("a=b".into(), CrashPolicy::RouteToNext)),
            ("a=compensate:b", on("a".into(), compensate("b"))),
            ("a=b=compensate:c=d:e", on("a=b".into(), compensate("c=d:e"))),
            ("a", Err(OnCrashError::NoPolicy)),
            ("=route", Err(OnCrashError::NoSubject)),
            ("a=", Err(OnCrashError::UnknownPolicy(String::new()))),
            ("a=Route", Err(OnCrashError::UnknownPolicy("Route".into()))),
            ("a=compensate", Err(OnCrashError::NoCompensator)),
            ("a=compensate:", Err(OnCrashError::NoCompensator)),
            ("a=compensate:*", Err(OnCrashError::NoCompensator)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn policies_need_participants() {
        let offers = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Offer>>();
        let policies =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<OnCrash>>();
        let fits = |on: &[&str], served: &[&str]| check(&policies(on), &offers(served)).is_ok();
        assert!(fits(&["a=route", "*=route"], &["a=echo", "*=echo"]));
        assert!(fits(&["a=route"], &["*=echo"]));
        assert!(fits(&["a=compensate:b"], &["a=echo", "b=echo"]));
        assert!(fits(&["a=compensate:a"], &["a=echo"]));
        assert!(!fits(&["*=route"], &["a=echo"]));
        assert!(!fits(&["a=route"], &["a=none", "*=echo"]));
        assert!(!fits(&["a=compensate:b"], &["a=echo", "b=none", "*=echo"]));
        assert!(!fits(&["a=compensate:b"], &["a=echo"]));
        assert!(!fits(&["a=route", "a=fail"], &["a=echo"]));
    }
}
