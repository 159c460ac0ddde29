//! What both programs share: how they take addresses and durations, and how they speak of mistakes.

mod address;
mod duration;
mod line;
mod signals;
mod transport;

pub use address::{AddressError, address};
pub use duration::{DurationError, duration};
pub use line::{Line, answer, complain};
pub use signals::{ENDED_AT_ONCE, stop_on_one};
pub use transport::Transport;
