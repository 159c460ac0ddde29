//! Where a server of ours answers otherwise than the recorded one, and why.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Heard;
use crate::keys::{list, text, texts};

const LISTED: &str = include_str!("../differences.toml");

/// The listed differences, by session and step. Each can be taken once, so that what is left over
/// belongs to no step.
#[derive(Debug)]
pub(crate) struct Differences(BTreeMap<(String, String), Difference>);

#[derive(Debug)]
struct Difference {
    recorded: Heard,
    ours: Heard,
}

impl Differences {
    pub(crate) fn load() -> Result<Self, String> {
        Self::read(LISTED)
    }

    fn read(toml: &str) -> Result<Self, String> {
        let listed: Value = toml::from_str(toml).map_err(|error| error.to_string())?;
        let mut differences = Self(BTreeMap::new());
        for rule in list(&listed, "rule")? {
            if text(rule, "reason")?.trim().is_empty() {
                return Err(format!("{rule} has no reason"));
            }
            list(rule, "difference")?.iter().try_for_each(|difference| differences.add(difference))?;
        }
        Ok(differences)
    }

    fn add(&mut self, listed: &Value) -> Result<(), String> {
        let (session, step) = (text(listed, "session")?, text(listed, "step")?);
        let recorded = Heard::of_lines(texts(listed, "recorded")?);
        let ours = Heard::of_lines(texts(listed, "ours")?);
        if recorded == ours {
            return Err(format!("{session}: {step}: nothing differs"));
        }
        match self.0.insert((session.into(), step.into()), Difference { recorded, ours }) {
            Some(_) => Err(format!("{session}: {step}: listed twice")),
            None => Ok(()),
        }
    }

    /// What a server of ours lets a client hear where the recorded one was heard to say `recorded`.
    pub(crate) fn take(&mut self, session: &str, step: &str, recorded: &Heard) -> Result<Heard, String> {
        match self.0.remove(&(session.to_owned(), step.to_owned())) {
            None => Ok(recorded.clone()),
            Some(difference) if difference.recorded == *recorded => Ok(difference.ours),
            Some(difference) => {
                Err(format!("{session}: {step}: the recording says {recorded}, not {}", difference.recorded))
            }
        }
    }

    /// All steps that have been listed must have been taken.
    pub(crate) fn finish(self) -> Result<(), String> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some((session, step)) => Err(format!("{session}: {step}: the recording has no such step")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"
        [[rule]]
        reason = "why"
        [[rule.difference]]
        session = "s"
        step = "t"
        recorded = ["x"]
        ours = ["closed"]
    "#;

    fn x() -> Heard {
        Heard::of_lines(vec!["x".into()])
    }

    #[test]
    fn what_is_listed_replaces_what_was_recorded() {
        let mut differences = Differences::read(ONE).unwrap();
        assert_eq!(differences.take("s", "other", &x()), Ok(x()));
        assert_eq!(differences.take("s", "t", &x()), Ok(Heard::END));
        assert_eq!(differences.take("s", "t", &x()), Ok(x()));
        assert_eq!(differences.finish(), Ok(()));
    }

    #[test]
    fn a_list_that_does_not_fit_the_recording_is_wrong() {
        let mut differences = Differences::read(ONE).unwrap();
        assert!(differences.take("s", "t", &Heard::END).unwrap_err().contains("the recording says"));
        let differences = Differences::read(ONE).unwrap();
        assert!(differences.finish().unwrap_err().contains("no such step"));
    }

    #[test]
    fn a_list_that_says_nothing_is_wrong() {
        for (toml, error) in [
            (ONE.replace("why", " "), "no reason"),
            (ONE.replace("closed", "x"), "nothing differs"),
            (
                format!("{ONE}{}", ONE.trim_start().trim_start_matches("[[rule]]\n        reason = \"why\"")),
                "twice",
            ),
            (ONE.replace("ours", "mine"), "ours is missing"),
        ] {
            let said = Differences::read(&toml).unwrap_err();
            assert!(said.contains(error), "{said}");
        }
    }
}
