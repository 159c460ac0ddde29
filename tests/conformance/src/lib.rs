//! One suite of behaviour that every transport passes.
//!
//! A transport is seen through a blocking façade, [`Transport`]; the suite asks nothing else of it, so a
//! transport that somebody else writes for another runtime can be held against the same cases:
//!
//! ```ignore
//! liminal_conformance::conformance!(MyTransport);
//! ```
//!
//! makes a test of every case. A case fails by panicking, and cannot hang: each has [`CASE_TIME`].

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::wildcard_enum_match_arm,
    reason = "all of this is tests, in a library because transports elsewhere run them too"
)]

pub mod adapters;
pub mod cases;
pub mod puppet;
pub mod raw;
pub mod stage;
pub mod threads;
pub mod transport;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

pub use transport::Transport;

/// How long anything that should happen may take: generous, so that a loaded machine fails nothing.
pub const WAIT: Duration = Duration::from_secs(20);

/// How long a case may take in all.
pub const CASE_TIME: Duration = Duration::from_secs(40);

/// Runs one case, and fails it when it hangs.
///
/// # Panics
///
/// With the case, or when it has not ended within [`CASE_TIME`].
pub fn run(transport: &'static dyn Transport, case: fn(&dyn Transport)) {
    be_silent_about_planned_panics();
    let (report, ended) = channel();
    thread::spawn(move || {
        let result = panic::catch_unwind(AssertUnwindSafe(|| case(transport)));
        // Nobody listens any more when it took too long.
        let _ = report.send(result);
    });
    match ended.recv_timeout(CASE_TIME) {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => panic::resume_unwind(panic),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!("the case hangs"),
    }
}

fn be_silent_about_planned_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let said = payload.downcast_ref::<&str>().copied();
            let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            if said != Some(puppet::PLANNED) {
                others(info);
            }
        }));
    });
}

/// Makes a test of every case, for one transport.
#[macro_export]
macro_rules! conformance {
    ($transport:expr) => {
        $crate::for_every_case!($transport);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($transport:expr; $($file:ident { $($case:ident)* })*) => {
        $(mod $file {
            $(#[test]
            fn $case() {
                $crate::run(&$transport, $crate::cases::$file::$case);
            })*
        })*
    };
}
