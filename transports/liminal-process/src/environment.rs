//! What a process is told in its environment, beside what it has of the server's.

use std::process::Command;

use liminal_proto::{Metadata, Pid};

/// The W3C trace context, by the names of its headers and by those that it has in an environment.
const TRACE: [(&str, &str); 2] = [("traceparent", "TRACEPARENT"), ("tracestate", "TRACESTATE")];

/// What the specification lets a trace state be, several times over. An environment has a bound, too, and a process
/// cannot be started beyond it.
const TRACE_MAX: usize = 8 << 10;

#[derive(Clone)]
pub(crate) struct Environment {
    subject: String,
    pid: Pid,
    /// Of the message that the process is for, where it is for one.
    metadata: Option<Metadata>,
}

impl Environment {
    pub(crate) fn of_conversation(subject: &str, pid: Pid) -> Self {
        Self { subject: subject.to_owned(), pid, metadata: None }
    }

    /// One for a message: its trace is the message's, and of none if that has none.
    pub(crate) fn with_trace_of(self, metadata: Metadata) -> Self {
        Self { metadata: Some(metadata), ..self }
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        command.env("LIMINAL_SUBJECT", &self.subject).env("LIMINAL_PID", self.pid.get().to_string());
        let Some(metadata) = &self.metadata else { return };
        for (header, variable) in TRACE {
            match metadata.header(header).filter(|value| is_trace(value)) {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
    }
}

/// What no environment holds, and no trace has, is left out.
fn is_trace(value: &str) -> bool {
    value.len() <= TRACE_MAX && !value.contains('\0')
}
