//! The transports to choose from.

use std::fmt;

use clap::ValueEnum;

/// What moves the bytes. All of them do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Threads and the sockets of the standard library.
    Blocking,
    /// smol.
    Smol,
    /// async-std, which is discontinued.
    AsyncStd,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocking => "blocking",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
        })
    }
}
