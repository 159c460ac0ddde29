//! What the command `liminal` is made of, for programs that want a part of it: [`frame_json`] shows
//! frames to people, [`program`] is what the command and the server share.

mod ask;
mod command;
mod connect;
mod decode;
mod demo;
mod encode;
mod error;
mod fault;
pub mod frame_json;
mod ping;
pub mod program;
mod respond;
mod running;
mod sim;
mod watch;

pub use command::run;
