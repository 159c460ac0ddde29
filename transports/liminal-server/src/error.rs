//! Why the server does not serve.

use std::io;

use liminal_core::{RegisterError, Subject};
use liminal_driver::error::BindError;
use thiserror::Error;

/// Why the server does not serve.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("{0}{hint}", hint = bind_hint(.0))]
    Bind(#[from] BindError),
    #[error("--participant names {0} twice; name each subject once")]
    Twice(Subject),
    #[error("--participant: {0}")]
    Register(#[from] RegisterError),
    #[cfg(unix)]
    #[error("--participant for {subject}: {source}")]
    Program { subject: Subject, source: liminal_process::NotStartable },
    #[cfg(unix)]
    #[error("cannot start the thread of the child processes: {0}")]
    Processes(io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("{0}")]
    Run(io::Error),
}

impl Error {
    /// The exit code. The help explains them.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Bind(_) => 2,
            #[cfg(unix)]
            Self::Program { .. } => 3,
            #[cfg(unix)]
            Self::Processes(_) => 1,
            Self::Twice(_) | Self::Register(_) | Self::Signals(_) | Self::Run(_) => 1,
        }
    }
}

/// What to do, where the error does not say so itself.
fn bind_hint(error: &BindError) -> &'static str {
    let told = [
        io::ErrorKind::AddrInUse,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::AddrNotAvailable,
        io::ErrorKind::NotFound,
    ];
    if told.contains(&error.source.kind()) { "" } else { "; give --listen another address" }
}
