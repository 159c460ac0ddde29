//! What holds for the codec as a whole.

mod encoding;
mod faults;
mod layouts;
