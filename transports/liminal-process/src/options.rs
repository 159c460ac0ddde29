//! The bounds and times of child processes.

use std::time::Duration;

/// The bounds and times of child processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Processes at once, those included that are being ended. Beyond it an open is refused as busy.
    /// Default: 256, because each holds three of our descriptors, and 768 leave a quarter of the usual 1,024
    /// to connections.
    pub processes_max: usize,
    /// A line that a child writes, in bytes without its newline. One that writes a longer line has broken
    /// the rules. Default: 1 MiB, as much as the frame that is to carry it to the asker may hold.
    pub line_bytes_max: usize,
    /// The payload of a frame that a child writes, in bytes. Default: 1 MiB, for the same reason.
    pub frame_bytes_max: usize,
    /// What a process that was started for one message writes, in bytes, where that is the reply. Default: 1 MiB, for
    /// the same reason.
    pub output_bytes_max: usize,
    /// How long a child has to end by itself, once its stdin is closed, before it is sent SIGTERM. As long
    /// may one live that has closed its stdin or stdout, and counts as exited then. Default: 1 s.
    pub terminate_after: Duration,
    /// How long it has before it is sent SIGKILL. Default: 2 s.
    pub kill_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            processes_max: 256,
            line_bytes_max: 1 << 20,
            frame_bytes_max: 1 << 20,
            output_bytes_max: 1 << 20,
            terminate_after: Duration::from_secs(1),
            kill_after: Duration::from_secs(2),
        }
    }
}
