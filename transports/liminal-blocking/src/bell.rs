//! What wakes the driver of a connection while it waits for its socket.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

#[cfg(unix)]
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};

/// Rung by whoever has something for the driver. At most one ring is under way, so ringing never waits.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: AtomicBool,
    #[cfg(unix)]
    pipe: (PipeReader, PipeWriter),
}

impl Bell {
    /// A bell that nobody has rung.
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { rung: AtomicBool::new(false), pipe: io::pipe()? })
    }

    /// A bell that nobody has rung.
    #[cfg(not(unix))]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { rung: AtomicBool::new(false) })
    }

    /// Wakes the driver, now or when it next waits.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            #[cfg(unix)]
            // The driver holds the other end, or is gone.
            let _ = (&self.pipe.1).write(&[0]);
        }
    }

    /// The driver is awake because of it.
    #[cfg(unix)]
    pub(crate) fn heard(&self) {
        // The byte is there, or this would not have been called.
        let _ = (&self.pipe.0).read(&mut [0]);
        self.rung.store(false, Ordering::Release);
    }

    /// What is readable when it was rung.
    #[cfg(unix)]
    pub(crate) const fn pipe(&self) -> &PipeReader {
        &self.pipe.0
    }

    /// Whether it was rung since the last time.
    #[cfg(not(unix))]
    pub(crate) fn take(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
