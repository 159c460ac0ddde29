//! Scenario files: a run that failed once, and is made again by every test run since.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use thiserror::Error;

use crate::tape::from_hex;
use crate::{Tape, Track};

/// A run of a simulation, in a file that people can read.
///
/// ```text
/// sim: ticket desk
/// broken: always no seat is sold twice: does not hold at 5ms.
/// network:
/// schedule: 00 02
/// faults: 01
/// workload:
/// ```
///
/// Lines that begin with `#` are for people: failures draw the run there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scenario {
    /// The simulation that it is a run of.
    pub sim: String,
    /// What did not hold when it was saved.
    pub broken: String,
    /// What happens in it.
    pub tape: Tape,
}

/// A file is no scenario.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the scenario is not understood: {text:?}")]
pub struct NotAScenario {
    /// Which line, from 1 on.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

impl Scenario {
    /// The name of its file: of the simulation, what did not hold, and a number that follows from the tape.
    #[must_use]
    pub fn file_name(&self) -> String {
        let what = self.broken.split(':').next().unwrap_or_default();
        let number = self.tape.to_string().bytes().fold(0xCBF2_9CE4_8422_2325_u64, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        format!("{}-{}-{:08x}.scenario", plain(&self.sim), plain(what), number >> 32)
    }
}

fn plain(text: &str) -> String {
    text.chars().map(|it| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' }).collect()
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sim: {}", self.sim)?;
        writeln!(f, "broken: {}", self.broken.replace('\n', " "))?;
        for track in Track::ALL {
            write!(f, "{}:", track.name())?;
            for byte in self.tape.track(track) {
                write!(f, " {byte:02x}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl FromStr for Scenario {
    type Err = NotAScenario;

    fn from_str(text: &str) -> Result<Self, NotAScenario> {
        let mut this = Self::default();
        for (nth, line) in text.lines().enumerate() {
            let not = || NotAScenario { line: nth + 1, text: line.to_owned() };
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or_else(not)?;
            let value = value.trim();
            match (key.trim(), Track::ALL.iter().find(|track| track.name() == key.trim())) {
                ("sim", _) => this.sim = value.into(),
                ("broken", _) => this.broken = value.into(),
                (_, Some(track)) => *this.tape.track_mut(*track) = from_hex(value).ok_or_else(not)?,
                _ => return Err(not()),
            }
        }
        Ok(this)
    }
}

/// The scenarios that lie in a folder, by the names of their files. No folder is an empty one.
///
/// # Panics
///
/// When a file that ends in `.scenario` cannot be read or is none: a regression test that silently does
/// nothing would be worse than none.
#[must_use]
#[expect(clippy::panic, reason = "this is for tests, and a test fails by a panic")]
pub fn scenarios_in(folder: &Path) -> Vec<Scenario> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "scenario"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_as_it_was_written() {
        let scenario =
            Scenario { sim: "a desk".into(), broken: "L1: a life".into(), tape: Tape::from_seed(3) };
        assert_eq!(scenario.to_string().parse(), Ok(scenario.clone()));
        assert!(scenario.file_name().starts_with("a-desk-l1-"));
    }

    #[test]
    fn what_is_not_understood_is_named_by_its_line() {
        let not = |line, text: &str| Err(NotAScenario { line, text: text.into() });
        assert_eq!("sim: a\nweather: 00".parse::<Scenario>(), not(2, "weather: 00"));
        assert_eq!("network: 0".parse::<Scenario>(), not(1, "network: 0"));
        assert_eq!("# only words\n\nnonsense".parse::<Scenario>(), not(3, "nonsense"));
    }
}
