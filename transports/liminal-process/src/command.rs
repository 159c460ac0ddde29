//! What to start, and how to talk to it.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use thiserror::Error;

/// How a child and its host talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A line for each message, in lockstep.
    Lines,
    /// Frames with a length.
    Frames,
    /// A process for each message: its payload is stdin, and all of stdout is the reply.
    PerMessage,
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    protocol: Protocol,
    program: String,
    arguments: Vec<String>,
}

/// Why a text is no command.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A quote is not closed.
    #[error("a quote in {0:?} is not closed; close it, or put a backslash before it")]
    Quote(String),
    /// There is no program.
    #[error("the command is missing; write PROGRAM ARGUMENTS")]
    Empty,
}

/// Why a program cannot be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotStartable {
    /// It is nowhere.
    #[error("there is no program {0:?} in PATH; write its path, or install it")]
    NotInPath(String),
    /// It is not there, or may not be executed.
    #[error("{path:?} cannot be executed: {source}")]
    NotExecutable {
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Command {
    /// Splits a text into a program and its arguments as a shell would. No shell is run, so nothing is
    /// expanded: `sh -c '...'` is there for who wants one.
    ///
    /// ```
    /// use liminal_process::{Command, CommandError, Protocol};
    ///
    /// let command = Command::parse(Protocol::Lines, "grep --line-buffered 'two words'")?;
    /// assert_eq!(command.to_string(), "grep --line-buffered 'two words'");
    /// assert_eq!(Command::parse(Protocol::Lines, "  "), Err(CommandError::Empty));
    /// # Ok::<(), CommandError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A quote is not closed, or there is no program.
    pub fn parse(protocol: Protocol, text: &str) -> Result<Self, CommandError> {
        let words = shell_words::split(text).map_err(|_| CommandError::Quote(text.to_owned()))?;
        Self::of_words(protocol, words)
    }

    /// A program and its arguments, each as it is.
    ///
    /// # Errors
    ///
    /// There is no program.
    pub fn of_words(
        protocol: Protocol,
        words: impl IntoIterator<Item = String>,
    ) -> Result<Self, CommandError> {
        let mut words = words.into_iter();
        match words.next().filter(|program| !program.is_empty()) {
            Some(program) => Ok(Self { protocol, program, arguments: words.collect() }),
            None => Err(CommandError::Empty),
        }
    }

    /// Whether it could be started now.
    ///
    /// # Errors
    ///
    /// There is no such program, or it may not be executed.
    pub fn check(&self) -> Result<(), NotStartable> {
        if self.program.contains('/') {
            let path = PathBuf::from(&self.program);
            return executable(&path).map_err(|source| NotStartable::NotExecutable { path, source });
        }
        let path = env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
        let mut places = env::split_paths(&path).map(|directory| directory.join(&self.program));
        if places.any(|place| executable(&place).is_ok()) {
            Ok(())
        } else {
            Err(NotStartable::NotInPath(self.program.clone()))
        }
    }

    /// How to talk to it.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }
}

fn executable(path: &Path) -> io::Result<()> {
    if path.metadata()?.is_file() {
        Ok(access(path, Access::EXEC_OK)?)
    } else {
        Err(io::Error::other("it is no file"))
    }
}

/// The command line, as one would type it.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        f.write_str(&shell_words::join(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let command = Command::parse(Protocol::Lines, text).unwrap();
        std::iter::once(command.program).chain(command.arguments).collect()
    }

    #[test]
    fn a_text_is_split_as_a_shell_would() {
        for (text, split) in [
            ("cat", &["cat"][..]),
            ("  a  b ", &["a", "b"]),
            ("a 'b c' \"d e\" f\\ g", &["a", "b c", "d e", "f g"]),
            ("a '' b=c", &["a", "", "b=c"]),
            ("sh -c 'echo $HOME | tr a b'", &["sh", "-c", "echo $HOME | tr a b"]),
        ] {
            assert_eq!(words(text), split, "{text}");
        }
        for text in ["", " ", "''", "'' x"] {
            assert_eq!(Command::parse(Protocol::Lines, text), Err(CommandError::Empty), "{text:?}");
        }
        for text in ["a 'b", "a \"b"] {
            let error = Command::parse(Protocol::Frames, text);
            assert_eq!(error, Err(CommandError::Quote(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn what_could_not_be_started_is_said_beforehand() {
        let check = |text| Command::parse(Protocol::Lines, text).unwrap().check();
        assert!(check("sh").is_ok());
        assert!(check("/bin/sh -c true").is_ok());
        assert!(matches!(check("no-such-program"), Err(NotStartable::NotInPath(_))));
        for path in ["/no/such/program", "/etc/passwd", "/etc", "./no-such-program"] {
            assert!(matches!(check(path), Err(NotStartable::NotExecutable { .. })), "{path}");
        }
    }
}
