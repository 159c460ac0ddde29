//! Whoever reads the output.

use std::{io, thread};

use rustix::event::{PollFd, PollFlags, poll};

/// Calls `gone` when what is written to stdout can be read by nobody any more, also while there is nothing to write:
/// when the other end of a pipe was closed. Of a file that is never so.
///
/// # Errors
///
/// No thread can be started.
pub(super) fn when_gone(gone: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let wait = || {
        let out = io::stdout();
        // Errors and the end are told without asking for them.
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&out, PollFlags::empty())], None))
    };
    // Where it cannot be known, the next line finds out.
    let watch = move || {
        if wait().is_ok() {
            gone()
        }
    };
    thread::Builder::new().name("reader".into()).spawn(watch).map(drop)
}
