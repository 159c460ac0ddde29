//! The end of a process, as an event of the operating system.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::task::{Context, Poll, ready};

use async_signal::{Signal, Signals};
use futures_lite::Stream as _;
use liminal_proto::ExitReason;
#[cfg(target_os = "linux")]
use {
    rustix::process::{Pid, PidfdFlags, pidfd_open},
    smol::Async,
    std::os::fd::OwnedFd,
};

/// Tells when a process may have ended.
pub(crate) enum Death {
    /// A descriptor of the process itself.
    #[cfg(target_os = "linux")]
    Descriptor(Async<OwnedFd>),
    /// The signal that any child of ours has ended, where there is no such descriptor.
    Signals(Box<Signals>),
}

impl Death {
    pub(crate) fn of(process: &Child) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Ok(descriptor) = pidfd_open(Pid::from_child(process), PidfdFlags::empty()) {
            return Ok(Self::Descriptor(Async::new(descriptor)?));
        }
        let _ = process;
        Ok(Self::Signals(Box::new(Signals::new([Signal::Child])?)))
    }

    /// How the process ended, once it has. It is released then: its number may be used again.
    pub(crate) fn poll(&mut self, process: &mut Child, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        loop {
            if let Some(status) = process.try_wait()? {
                return Poll::Ready(Ok(status));
            }
            match self {
                #[cfg(target_os = "linux")]
                Self::Descriptor(descriptor) => ready!(descriptor.poll_readable(cx))?,
                Self::Signals(signals) => {
                    ready!(std::pin::Pin::new(&mut **signals).poll_next(cx)).transpose()?;
                }
            }
        }
    }
}

/// Why a participant exited that was this process.
pub(crate) fn reason(status: io::Result<ExitStatus>) -> ExitReason {
    let status = match status {
        Ok(status) => status,
        Err(error) => return ExitReason::Crashed { text: format!("how it ended is not known: {error}") },
    };
    let number = |number: i32| u8::try_from(number).ok();
    if status.success() {
        ExitReason::Normal
    } else if let Some(status) = status.code().and_then(number) {
        ExitReason::Status { status }
    } else if let Some(signal) = status.signal().and_then(number) {
        ExitReason::Signal { signal }
    } else {
        ExitReason::Crashed { text: status.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::process::Command;

    use super::*;

    #[test]
    fn an_end_is_an_event_with_and_without_a_descriptor() {
        let by_signal = || Death::Signals(Box::new(Signals::new([Signal::Child]).unwrap()));
        for by_descriptor in [true, false] {
            for script in ["exit 3", "sleep 0.1; exit 3"] {
                let signals = by_signal();
                let mut process = Command::new("sh").args(["-c", script]).spawn().unwrap();
                let mut death = if by_descriptor { Death::of(&process).unwrap() } else { signals };
                let status = smol::block_on(poll_fn(|cx| death.poll(&mut process, cx)));
                assert_eq!(reason(status), ExitReason::Status { status: 3 });
            }
        }
    }

    #[test]
    fn statuses_and_signals_are_reasons() {
        let reason_of = |wait_status| reason(Ok(ExitStatus::from_raw(wait_status)));
        assert_eq!(reason_of(0), ExitReason::Normal);
        assert_eq!(reason_of(3 << 8), ExitReason::Status { status: 3 });
        assert_eq!(reason_of(255 << 8), ExitReason::Status { status: 255 });
        assert_eq!(reason_of(9), ExitReason::Signal { signal: 9 });
        assert_eq!(reason_of(11 | 0x80), ExitReason::Signal { signal: 11 }, "with a core dump");
    }
}
