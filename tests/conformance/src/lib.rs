//! One suite of behaviour that every transport passes, for both sides and both versions.
//!
//! A transport is seen through a blocking façade, [`Transport`]; the suite asks nothing else of it, so one
//! that somebody else writes, for another runtime or another kind of stream, is held against the same cases.
//!
//! # Running it on a transport of your own
//!
//! Depend on this crate for tests, by path or by git; it is not on crates.io, because it changes with the
//! protocol. Then write one file, `tests/conformance.rs`:
//!
//! ```ignore
//! use liminal_conformance::adapters::{connected, serve};
//!
//! struct Mine;
//!
//! impl liminal_conformance::Transport for Mine {
//!     fn serve(&self, at: Address, options: ServerOptions, cast: Cast) -> Result<Box<dyn Server>, BindError> {
//!         let server = RUNTIME.block_on(my_transport::bind(at, options))?;
//!         Ok(serve(server, cast, |running| RUNTIME.block_on(running)))
//!     }
//!
//!     fn connect(&self, to: &Address, config: Config, driven: bool) -> Result<Arc<dyn Handle>, ConnectError> {
//!         let (handle, driver) = RUNTIME.block_on(my_transport::connect(to.clone(), config))?;
//!         Ok(connected(handle, driver, driven, |driver| drop(RUNTIME.spawn(driver.run()))))
//!     }
//! }
//!
//! liminal_conformance::conformance!(Mine);
//! ```
//!
//! and `cargo test` runs every case as a test. This one is complete, as `tests/tokio.rs` and
//! `tests/support/tokio.rs` beside this crate: tokio, on the transport that the example `tokio` of
//! `liminal-driver` is. Whatever runs on the pump of `liminal_driver::asynchronous` needs no more than that;
//! a transport that is built otherwise implements the traits of [`transport`] by hand, as
//! `src/adapters/blocking.rs` does it.
//!
//! What the suite takes for granted:
//!
//! * TCP on 127.0.0.1, because hostile peers speak bytes there; Unix sockets only where
//!   [`Transport::has_unix_sockets`] says so;
//! * that a server takes its limits from the `ServerOptions` that it is given, and asks the admission of its
//!   hub about every connection.
//!
//! A case fails by panicking, and cannot hang: each has [`CASE_TIME`]. What concerns a whole process, such as
//! wake-ups and threads, is in [`process`], for a test program of its own: see `tests/idle.rs`. What
//! only futures can do, such as being dropped at any await, is in [`mod@futures`]: see `tests/futures.rs`.

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
pub mod futures;
#[cfg(target_os = "linux")]
pub mod process;
pub mod puppet;
pub mod raw;
pub mod stage;
pub mod threads;
pub mod transport;
pub mod wire;

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
    in_time(move || case(transport));
}

/// The same for anything.
///
/// # Panics
///
/// See [`run`].
pub fn in_time(case: impl FnOnce() + Send + 'static) {
    be_silent_about_planned_panics();
    let (report, ended) = channel();
    thread::spawn(move || {
        let result = panic::catch_unwind(AssertUnwindSafe(case));
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
            #[allow(unused_imports, reason = "where the transport is named by a path")]
            use super::*;

            $(#[test]
            fn $case() {
                $crate::run(&$transport, $crate::cases::$file::$case);
            })*
        })*
    };
}
