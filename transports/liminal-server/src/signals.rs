//! The signals that stop a server.

use std::{io, process, thread};

use async_signal::{Signal, Signals};
use smol::stream::StreamExt as _;

/// The exit code after a second signal.
const ENDED: i32 = 130;

/// What stops a server. A hangup does not, so that `nohup` does what it says.
const STOPPING: &[Signal] = if cfg!(unix) { &[Signal::Int, Signal::Term] } else { &[Signal::Int] };

/// Calls `stop` when a signal comes; when another one comes, calls `end` and ends the process.
pub(crate) fn stop_on_one(
    stop: impl FnOnce() + Send + 'static,
    end: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let mut signals = Signals::new(STOPPING)?;
    let watch = async move {
        signals.next().await;
        tracing::info!("stopping: clients are told to go");
        stop();
        signals.next().await;
        tracing::warn!("ended by a second signal");
        end();
        process::exit(ENDED);
    };
    thread::Builder::new().name("signals".into()).spawn(|| smol::block_on(watch))?;
    Ok(())
}
