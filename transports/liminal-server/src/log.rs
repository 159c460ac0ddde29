//! The log: a line on stderr for each event.

use std::io::{self, Write};

use liminal_cli::program::Line;
use tracing::level_filters::LevelFilter;

/// Writes events of this level and above to stderr from now on.
pub(crate) fn start(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(|| Lines)
        .init();
}

/// Takes one event at a time and keeps it in one line: whatever a peer made part of it, no terminal
/// misreads it and no line of the log can be forged.
struct Lines;

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        // A server whose stderr is closed goes on serving.
        let _ = writeln!(io::stderr().lock(), "{}", Line(text.trim_end_matches('\n')));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
