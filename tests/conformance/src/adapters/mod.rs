//! The transports of this workspace, as the suite sees them.

mod asynchronous;
mod blocking;

pub use asynchronous::{AsyncStd, Smol};
pub use blocking::Blocking;
