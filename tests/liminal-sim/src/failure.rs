//! What is printed and saved when something does not hold.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use liminal_core::Transcript;
use thiserror::Error;

use crate::Tape;
use crate::coverage::Coverage;
use crate::diagram::Format;
use crate::scenario::Scenario;
use crate::sim::{FORMAT, REPLAY};

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
    /// What has happened in its run; empty where it is about no run, or about all of them.
    pub transcript: Transcript,
    /// The entry at which it shows, where it is one.
    pub entry: Option<usize>,
    /// Which transitions in the lives of conversations all runs up to this one have reached.
    pub coverage: Coverage,
    /// How its text writes the run down.
    pub format: Format,
    /// Where it was saved.
    pub saved: Option<PathBuf>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.sim, self.broken)?;
        if self.transcript.entries().is_empty() {
            return Ok(());
        }
        writeln!(f, "\n\nfaults of this run: {}\n\n{}", self.swarm, self.run(self.format))?;
        writeln!(f, "{}", self.coverage)?;
        if let Some(saved) = &self.saved {
            writeln!(f, "saved as {}", saved.display())?;
        }
        if self.format == Format::Text {
            writeln!(f, "for a drawing: {FORMAT}=mermaid; for a program: {FORMAT}=json")?;
        }
        write!(f, "replay: {REPLAY}='{}={}' cargo test", self.sim, self.tape)
    }
}

impl Failure {
    /// One that is about no run.
    pub(crate) fn new(sim: &str, broken: String, coverage: Coverage) -> Self {
        let (swarm, transcript, format) = (String::new(), Transcript::new(), Format::default());
        let (tape, sim) = (Tape::default(), sim.into());
        Self { sim, broken, tape, swarm, transcript, entry: None, coverage, format, saved: None }
    }

    /// The run, written down.
    #[must_use]
    pub fn run(&self, format: Format) -> String {
        format.write(&self.transcript, self.entry)
    }

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
        let drawn = commented(&self.run(Format::Text));
        std::fs::write(&path, format!("{scenario}\n# {}\n#\n{drawn}", self.swarm))?;
        Ok(path)
    }
}

fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
}
