//! Idleness costs nothing, and those who stop reading a bounded amount. A process of its own, because other
//! tests would count.

#![cfg(target_os = "linux")]
#![expect(clippy::expect_used, reason = "tests fail by panicking")]
#![allow(unreachable_pub, dead_code, reason = "what is tested is a module here")]

#[path = "support/tokio.rs"]
mod support;

use liminal_conformance::Transport;
use liminal_conformance::adapters::{AsyncStd, Blocking, Smol};
use liminal_conformance::process::{
    idle_connections_wake_nobody, no_thread_stays_behind, readers_that_stop_cost_a_bounded_amount,
};
use support::Tokio;

const ALL: [&dyn Transport; 4] = [&Blocking, &Smol, &AsyncStd, &Tokio];

/// Two threads for each connection: the server's, and that of the driver which this suite starts.
#[test]
fn blocking_idles() {
    idle_connections_wake_nobody(&Blocking, 2);
}

#[test]
fn smol_idles() {
    idle_connections_wake_nobody(&Smol, 0);
}

#[test]
fn async_std_idles() {
    idle_connections_wake_nobody(&AsyncStd, 0);
}

#[test]
fn tokio_idles() {
    idle_connections_wake_nobody(&Tokio, 0);
}

#[test]
fn no_thread_of_any_transport_stays_behind() {
    ALL.into_iter().for_each(no_thread_stays_behind);
}

#[test]
fn a_reader_that_stops_costs_a_bounded_amount_on_any_transport() {
    ALL.into_iter().for_each(readers_that_stop_cost_a_bounded_amount);
}
