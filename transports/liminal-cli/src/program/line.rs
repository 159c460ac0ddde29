//! What is wrong, in one line.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::ErrorKind;

/// Shows something in one line that no terminal misreads: control characters stand escaped.
///
/// ```
/// use liminal_cli::program::Line;
///
/// assert_eq!(Line("two\nlines\u{1b}[1m").to_string(), r"two\nlines\u{1b}[1m");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Line<T>(pub T);

impl<T: fmt::Display> fmt::Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

        impl fmt::Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|character| match character {
                    _ if character.is_control() => write!(self.0, "{}", character.escape_default()),
                    _ => self.0.write_char(character),
                })
            }
        }

        use fmt::Write as _;
        write!(Escaping(f), "{}", self.0)
    }
}

/// Says on stderr, in one line, what is wrong, or is not any more.
pub fn complain(program: &str, what: impl fmt::Display) {
    // When stderr is closed, nobody wants to know.
    let _ = writeln!(io::stderr().lock(), "{program}: {}", Line(what));
}

/// Answers arguments that could not be taken as they are: help and the version go to stdout, what is
/// wrong becomes one line on stderr and exit code 1.
#[must_use]
pub fn answer(program: &str, error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        complain(program, "it is not said what to do; see --help");
        return ExitCode::FAILURE;
    }
    if error.use_stderr() {
        complain(program, one_sentence(&text));
        return ExitCode::FAILURE;
    }
    // When stdout is closed, nobody wants to know.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// What clap says in several paragraphs.
fn one_sentence(text: &str) -> String {
    let hint = |paragraph: &&str| !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more");
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.trim_start_matches("error: ").trim();
    let paragraphs: Vec<_> = text.split("\n\n").filter(hint).map(words).collect();
    format!("{}; see --help", paragraphs.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_lines_become_one_sentence() {
        let text = "error: unexpected argument '--listn' found\n\n  tip: a similar argument exists: \
                    '--listen'\n\nUsage: x [OPTIONS]\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_sentence(text),
            "unexpected argument '--listn' found; tip: a similar argument exists: '--listen'; see --help"
        );
    }
}
