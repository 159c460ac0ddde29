//! A simulation as the target of a fuzzer.
//!
//! A fuzzer that is guided by coverage finds what seeds do not, given time. This is a whole target for
//! `cargo fuzz`, `fuzz_targets/desk.rs` say, in which `my_crate::simulation` returns the [`Sim`] that the tests
//! check:
//!
//! ```ignore
//! #![no_main]
//!
//! use libfuzzer_sys::fuzz_target;
//!
//! fuzz_target!(|bytes: &[u8]| my_crate::simulation().fuzz(bytes));
//! ```
//!
//! There is nothing in a simulation that a sanitizer would look at, so it runs with `-s none` on a stable
//! toolchain: `cargo fuzz run -s none desk -- -max_len=4096`.
//!
//! Of what the fuzzer has found, keep the inputs in a folder and replay them with a plain test, or keep the
//! failures with [`Sim::scenarios`]. A target that needs more than the run takes its parts from the input with
//! the feature `arbitrary`: [`Tape`] and `AnyFrame`, a frame of any type, implement its trait, and
//! [`Sim::check_tape`] makes the run.
//!
#![cfg_attr(feature = "arbitrary", doc = "```")]
#![cfg_attr(not(feature = "arbitrary"), doc = "```ignore")]
//! use arbitrary::Unstructured;
//! use liminal_core::participant::from_fn;
//! use liminal_sim::{Script, Sim, Tape};
//!
//! /// The target: what is asked, and how the run goes.
//! fn target((question, tape): (String, Tape)) {
//!     let sim = Sim::new("echo", move |plan| {
//!         plan.serve("echo", || from_fn(|context, message| context.reply(message.payload)));
//!         plan.opener(Script::new().open("echo").ask(question.clone()).wait_for_replies().close());
//!     });
//!     if let Err(failure) = sim.check_tape(&tape) {
//!         panic!("{failure}");
//!     }
//! }
//!
//! // `fuzz_target!(|input: (String, Tape)| target(input))` does this:
//! target(Unstructured::new(b"what the fuzzer has written").arbitrary()?);
//! # Ok::<(), arbitrary::Error>(())
//! ```

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::world::words;
use crate::{Sim, Tape};

impl<S> Sim<S> {
    /// Makes the run that a fuzzer's input stands for: the body of a fuzz target.
    ///
    /// A participant that panics has exited, as ever: panics that the simulation catches do not reach the
    /// fuzzer, which would take them for findings.
    ///
    /// # Panics
    ///
    /// With the whole story, when something does not hold.
    #[expect(clippy::panic, reason = "this is what a fuzzer calls, and a finding is a panic")]
    pub fn fuzz(&self, bytes: &[u8]) {
        if let Err(failure) = quietly(|| self.check_tape(&Tape::from_bytes(bytes))) {
            panic!("{failure}");
        }
    }
}

thread_local! {
    /// Whether this thread is in a simulation, which catches its panics.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Calls `run` without the panic hook, which in a fuzzer ends the process. A panic of `run` itself, which is
/// one of the user's plan, goes on as another that the hook hears of.
#[expect(clippy::panic, reason = "it has panicked")]
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                before(info);
            }
        }));
    });
    IS_QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    IS_QUIET.set(false);
    result.unwrap_or_else(|panic| panic!("{}", words(&*panic)))
}

/// Its bytes belong to the tracks in turn, as with [`Tape::from_bytes`].
#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Tape {
    fn arbitrary(from: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let len = from.arbitrary_len::<u8>()?;
        Ok(Self::from_bytes(from.bytes(len)?))
    }

    fn arbitrary_take_rest(from: arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self::from_bytes(from.take_rest()))
    }
}
