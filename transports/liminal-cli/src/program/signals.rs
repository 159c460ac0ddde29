//! The signals that stop a program.

use std::{io, process, thread};

use async_signal::{Signal, Signals};
use smol::stream::StreamExt as _;

/// The exit code after a second signal.
pub const ENDED_AT_ONCE: u8 = 130;

/// What stops a program. A hangup does not, so that `nohup` does what it says.
const STOPPING: &[Signal] = if cfg!(unix) { &[Signal::Int, Signal::Term] } else { &[Signal::Int] };

/// Calls `stop` when SIGINT or SIGTERM comes; when another one comes, calls `end` and ends the process with exit
/// code 130.
///
/// # Errors
///
/// The operating system does not tell of signals, or no thread can be started.
pub fn stop_on_one(
    stop: impl FnOnce() + Send + 'static,
    end: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let mut signals = Signals::new(STOPPING)?;
    let watch = async move {
        signals.next().await;
        stop();
        signals.next().await;
        end();
        process::exit(ENDED_AT_ONCE.into());
    };
    thread::Builder::new().name("signals".into()).spawn(|| smol::block_on(watch))?;
    Ok(())
}
