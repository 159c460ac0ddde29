//! A transport that no crate of this workspace is, against the suite: tokio.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]
#![allow(unreachable_pub, reason = "what is tested is a module here")]

#[path = "support/tokio.rs"]
mod support;

use support::Tokio;

liminal_conformance::conformance!(Tokio);

#[test]
fn the_example_holds_its_conversation() {
    support::transport::main().expect("the example succeeds");
}
