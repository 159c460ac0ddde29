//! What is printed and saved when something does not hold.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Tape;
use crate::scenario::Scenario;
use crate::sim::REPLAY;

/// Something does not hold. Its text is the whole story.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Failure {
    /// Of which simulation.
    pub sim: String,
    /// What does not hold.
    pub broken: String,
    /// The smallest tape that was found.
    pub tape: Tape,
    /// Which faults its run has.
    pub swarm: String,
    /// The run, as a sequence diagram.
    pub diagram: String,
    /// Where it was saved.
    pub saved: Option<PathBuf>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.sim, self.broken)?;
        if self.diagram.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nfaults of this run: {}\n\n{}", self.swarm, self.diagram)?;
        if let Some(saved) = &self.saved {
            writeln!(f, "saved as {}", saved.display())?;
        }
        write!(f, "replay: {REPLAY}='{}={}' cargo test", self.sim, self.tape)
    }
}

impl Failure {
    /// Saves it as a scenario in a folder, under a name that follows from what it is.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, folder: &Path) -> io::Result<PathBuf> {
        let scenario =
            Scenario { sim: self.sim.clone(), broken: self.broken.clone(), tape: self.tape.clone() };
        let path = folder.join(scenario.file_name());
        std::fs::create_dir_all(folder)?;
        std::fs::write(&path, format!("{scenario}\n# {}\n#\n{}", self.swarm, commented(&self.diagram)))?;
        Ok(path)
    }
}

fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
}
