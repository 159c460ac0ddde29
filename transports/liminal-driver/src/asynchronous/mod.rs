//! Handles, driver and server over any asynchronous stream. The transports supply streams and timers.

mod connect;
mod crew;
mod driver;
mod handle;
mod link;
mod minding;
mod monitor;
mod server;
mod service;
mod sleep;
mod waiting;

pub use connect::{Halves, connect, connect_over, connect_recorded, halves, split};
pub use driver::Driver;
pub(crate) use handle::after;
pub use handle::{Conversation, Handle};
pub use link::{ReadHalf, WriteHalf};
pub use monitor::{Monitor, Watch};
pub use server::{Accept, Accepted, Accepting, Server, Stopper};
pub use service::Service;
pub use sleep::{Sleep, Sleeper};
