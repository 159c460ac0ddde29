//! What every transport shares, and no runtime in it.
//!
//! Applications use a transport crate; those who build one for another runtime build it on this:
//!
//! * [`asynchronous`]: handles, the driver and the server over any `futures-io` stream. A transport
//!   supplies streams ([`asynchronous::halves`], [`asynchronous::Accept`]) and timers
//!   ([`asynchronous::Sleeper`]), and is done.
//! * [`Client`] and [`server`]: the same without any I/O, for transports with threads.
//!
//! **Turns, not hand-offs.** Whoever has something to send writes it, and whoever waits for a reply reads
//! it; the driver of a connection only does what nobody else is there to do. A request never wakes
//! another thread on its way.

pub mod asynchronous;
pub mod client;
pub mod error;
pub mod server;

mod address;
mod backlog;
mod clock;
mod recorder;
mod scratch;
#[cfg(unix)]
pub mod unix_socket;
mod unsent;

pub use address::{Address, DEFAULT_PORT};
pub use backlog::{BACKLOG, widen_backlog};
pub use client::Client;
pub use clock::Clock;
pub use recorder::Recorder;
pub use scratch::with_scratch;
pub use server::{AdmissionOptions, Monitoring, ServerOptions, StopOptions};
pub use unsent::Unsent;
