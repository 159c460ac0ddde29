//! The child processes of a server.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

#[cfg(unix)]
use {
    crate::error::Error,
    liminal_core::Subject,
    liminal_process::{Command, Participants, Processes},
};

use crate::options::Options;

/// The child processes of a server, if there are any.
#[derive(Clone, Debug)]
pub(crate) struct Children {
    /// `None`: nobody is served by any.
    #[cfg(unix)]
    processes: Option<Processes>,
    #[cfg(unix)]
    options: liminal_process::Options,
    stop_time: Duration,
    /// By when the server must have stopped.
    deadline: Arc<OnceLock<Instant>>,
}

impl Children {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            #[cfg(unix)]
            processes: None,
            #[cfg(unix)]
            options: options.processes(),
            stop_time: options.stop_time,
            deadline: Arc::default(),
        }
    }

    /// What serves a subject with processes of this command, if it can be started. None is started yet.
    #[cfg(unix)]
    pub(crate) fn serve(&mut self, subject: &Subject, command: &Command) -> Result<Participants, Error> {
        let program = |source| Error::Program { subject: subject.clone(), source };
        command.check().map_err(program)?;
        let processes = match self.processes.take() {
            Some(processes) => processes,
            None => Processes::start(self.options).map_err(Error::Processes)?,
        };
        Ok(self.processes.insert(processes).serve(command.clone()))
    }

    /// The server begins to stop. Says by when it must have stopped.
    pub(crate) fn stopping(&self) -> Instant {
        *self.deadline.get_or_init(|| Instant::now() + self.stop_time)
    }

    /// The server has stopped: waits for the processes, and kills those that take too long.
    pub(crate) fn close(&self) {
        self.close_by(self.stopping());
    }

    /// There is no time left.
    pub(crate) fn kill(&self) {
        self.close_by(Instant::now());
    }

    #[cfg(unix)]
    fn close_by(&self, deadline: Instant) {
        if let Some(processes) = &self.processes
            && !processes.close(deadline)
        {
            tracing::warn!("a child process has not ended, although it was killed");
        }
    }

    #[cfg(not(unix))]
    fn close_by(&self, _: Instant) {}
}
