#![doc = include_str!("../README.md")]
//!
//! # In a program
//!
//! ```
//! # #[cfg(unix)] {
//! use std::time::{Duration, Instant};
//!
//! use liminal_process::{Command, Options, Processes, Protocol};
//!
//! let processes = Processes::start(Options::default())?;
//! let server = liminal_blocking::bind("127.0.0.1:0")?;
//! server.register_hosted("echo", processes.serve(Command::parse(Protocol::Lines, "cat")?))?;
//! let (address, stopper) = (server.local_address().clone(), server.stopper());
//! let running = std::thread::spawn(|| server.run());
//!
//! let conversation = liminal_blocking::connect_and_spawn(&address)?.open("echo")?;
//! assert_eq!(&conversation.ask("hello", Duration::from_secs(5))?[..], b"hello");
//! conversation.close()?;
//!
//! stopper.stop();
//! running.join().expect("the server does not panic")?;
//! processes.close(Instant::now() + Duration::from_secs(3));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// There are no process groups and no signals elsewhere: on other systems this crate is empty.
#![cfg(unix)]

mod attend;
mod child;
mod command;
mod death;
mod dialogue;
mod environment;
mod frames;
mod host;
mod lines;
mod options;
mod per_message;

pub use command::{Command, CommandError, NotStartable, Protocol};
pub use host::{Participants, Processes};
pub use options::Options;
