//! The transports of this workspace, as the suite sees them.

mod asynchronous;
mod blocking;

pub use asynchronous::{AsyncStd, Run, Smol, connected, serve};
pub use blocking::Blocking;
