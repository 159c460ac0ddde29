//! How a command ends that could not do what it was asked to.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use liminal_blocking::RegisterError;
use liminal_driver::Address;
use liminal_driver::error::{
    AskError, BindError, CloseError, ConnectError, Lost, MonitorEnd, MonitorError, OpenError, ReconnectError,
    Refusal, ServeError, ServiceEnd,
};
use liminal_proto::{CommandError, ReasonCode};
use liminal_sim::{NotAScenario, NotStaged, worlds};
use thiserror::Error;

use crate::frame_json::JsonError;
use crate::program;

/// How a command ends that could not do what it was asked to.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// Whoever read our output has gone away: nothing is left to do, and nobody to tell.
    #[error("nobody reads the output")]
    OutputClosed,
    /// What is wrong stands on stdout already, as the last line.
    #[error("the fault stands in the last line of the output")]
    Fault,
    /// Whoever sent a second signal knows.
    #[error("ended by a second signal")]
    EndedAtOnce,
    #[error("cannot read the input: {0}")]
    Input(io::Error),
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    #[error("the input has more than {limit} bytes, which is the limit of a payload")]
    PayloadTooLong { limit: u32 },
    #[error("byte {offset} of the input is {}, which is no hexadecimal digit", character(*.byte))]
    NoDigit { offset: u64, byte: u8 },
    #[error("the last hexadecimal digit of the input stands alone; each byte needs two")]
    OddDigit,
    #[error("line {line}: no JSON: {error}")]
    NoJson { line: u64, error: serde_json::Error },
    #[error("line {line}: no frame: {error}")]
    NoFrame { line: u64, error: JsonError },
    #[error("{0}{hint}", hint = connect_hint(.0))]
    Connect(ConnectError),
    #[error("no connection to {address} within {timeout:?}")]
    ConnectTimeout { address: Address, timeout: Duration },
    #[error("no reply within {0:?}")]
    Timeout(Duration),
    #[error("the server gave the participant no more time to reply; see --reply-time of liminal-server")]
    ServerTimeout,
    #[error("{option} needs protocol 2.0; leave out --protocol 1.0")]
    NeedsVersion2 { option: &'static str },
    #[error("not opened: {0}{hint}", hint = open_hint(.0))]
    Open(OpenError),
    #[error("{0}{hint}", hint = ask_hint(.0))]
    Ask(AskError),
    #[error("the conversation was not closed: {0}")]
    Close(CloseError),
    #[error("{0}")]
    Lost(Lost),
    #[error("{0}")]
    Bind(#[from] BindError),
    #[error("{0}")]
    Register(#[from] RegisterError),
    #[error("the server failed: {0}")]
    Serve(io::Error),
    #[error("not served: {0}{hint}", hint = serve_hint(.0))]
    Serving(ServeError),
    #[error("served no more: {0}")]
    Served(ServiceEnd),
    #[error("not watched: {0}{hint}", hint = watch_hint(.0))]
    Watching(MonitorError),
    #[error("watched no more: {0}")]
    Watched(MonitorEnd),
    #[error("{0}")]
    Reconnect(ReconnectError),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[cfg(unix)]
    #[error("{0}")]
    Command(liminal_process::CommandError),
    #[cfg(unix)]
    #[error("{0}")]
    NotStartable(liminal_process::NotStartable),
    #[cfg(unix)]
    #[error("cannot kill the process: {0}")]
    Kill(io::Error),
    #[cfg(unix)]
    #[error("cannot start this program once more: {0}")]
    Child(io::Error),
    #[error("{question:?} was answered {answer:?}: this is a fault of liminal")]
    Answer { question: &'static str, answer: String },
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("cannot read the scenario {path:?}: {source}")]
    ScenarioUnreadable { path: PathBuf, source: io::Error },
    #[error("{path:?} is no scenario: {source}")]
    NoScenario { path: PathBuf, source: NotAScenario },
    #[error("the scenario is of the simulation {0:?}, which this command does not know{hint}", hint = sims_hint())]
    UnknownSimulation(String),
    #[error("bytes are changed on their way in this scenario, which no socket does: leave out --over")]
    ByzantineOverSockets,
    #[error("{0}: leave out --over")]
    NotOverSockets(#[from] NotStaged),
    #[error("{place}: {text}")]
    Broken { place: String, text: String },
    #[error("it comes to something else {0} than in the simulator, though no race was found")]
    Differs(String),
    #[error("the command failed inside: this is a fault of liminal")]
    Inside,
}

impl Error {
    /// The exit code. The help of the command explains them.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Connect(_)
            | Self::Reconnect(_)
            | Self::Serving(ServeError::Lost(_))
            | Self::Watching(MonitorError::Lost(_))
            | Self::Watched(MonitorEnd::Lost(_))
            | Self::Served(ServiceEnd::Lost(_) | ServiceEnd::NotServed(ServeError::Lost(_))) => 2,
            Self::Ask(AskError::Exited(_)) => 3,
            Self::ConnectTimeout { .. }
            | Self::Timeout(_)
            | Self::ServerTimeout
            | Self::Ask(AskError::Timeout) => 4,
            Self::Open(OpenError::Refused(_))
            | Self::Ask(AskError::Refused(_))
            | Self::Serving(ServeError::Refused(_))
            | Self::Watching(MonitorError::Refused(_))
            | Self::Watched(MonitorEnd::Refused(_) | MonitorEnd::Dismissed)
            | Self::Served(ServiceEnd::Dismissed | ServiceEnd::NotServed(ServeError::Refused(_))) => 5,
            Self::Broken { .. } => 6,
            Self::Differs(_) => 7,
            Self::EndedAtOnce => program::ENDED_AT_ONCE,
            Self::Fault
            | Self::Input(_)
            | Self::Output(_)
            | Self::PayloadTooLong { .. }
            | Self::NoDigit { .. }
            | Self::OddDigit
            | Self::NeedsVersion2 { .. }
            | Self::NoJson { .. }
            | Self::NoFrame { .. }
            | Self::Open(_)
            | Self::Ask(_)
            | Self::Close(_)
            | Self::Lost(_)
            | Self::Bind(_)
            | Self::Register(_)
            | Self::Serve(_)
            | Self::Serving(_)
            | Self::Served(_)
            | Self::Watching(_)
            | Self::Watched(_)
            | Self::Signals(_)
            | Self::Answer { .. }
            | Self::Thread(_)
            | Self::ScenarioUnreadable { .. }
            | Self::NoScenario { .. }
            | Self::UnknownSimulation(_)
            | Self::ByzantineOverSockets
            | Self::NotOverSockets(_)
            | Self::Inside => 1,
            #[cfg(unix)]
            Self::Command(_) | Self::NotStartable(_) | Self::Kill(_) | Self::Child(_) => 1,
        }
    }

    /// Whether there is something to say on stderr.
    pub(crate) const fn is_silent(&self) -> bool {
        matches!(self, Self::OutputClosed | Self::Fault | Self::EndedAtOnce)
    }

    /// What a failure to write means.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::OutputClosed } else { Self::Output(error) }
    }
}

fn character(byte: u8) -> String {
    if byte.is_ascii_graphic() { format!("{:?}", char::from(byte)) } else { format!("0x{byte:02x}") }
}

fn sims_hint() -> String {
    let known = worlds::NAMES.map(|name| format!("{name:?}")).join(", ");
    format!(": it knows {known}, and others are replayed by the tests that saved them")
}

fn connect_hint(error: &ConnectError) -> &'static str {
    let ConnectError::Unreachable { source, .. } = error else { return "; is this a liminal server?" };
    if matches!(source.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) {
        "; is a server running there? The command liminal-server starts one"
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        "; the socket belongs to another user"
    } else {
        "; check the address"
    }
}

fn open_hint(error: &OpenError) -> &'static str {
    match error {
        OpenError::Refused(refusal) => refusal_hint(refusal),
        OpenError::NeedsVersion2 => "; leave out --on-exit",
        _ => "",
    }
}

fn ask_hint(error: &AskError) -> &'static str {
    match error {
        AskError::Refused(refusal) => refusal_hint(refusal),
        AskError::Rejected(CommandError::NeedsVersion2) => "; leave out --header",
        AskError::Rejected(CommandError::TooLarge { .. }) => {
            "; beside the payload its headers and what the frame says of it count, too"
        }
        AskError::Lost(_) => "; whether it was dealt with is not known",
        _ => "",
    }
}

fn serve_hint(error: &ServeError) -> &'static str {
    match error {
        ServeError::Refused(refusal) if refusal.reason == ReasonCode::NOT_ALLOWED => {
            "; this server lets no client serve that"
        }
        ServeError::Refused(_) => "; try again later",
        _ => "",
    }
}

fn watch_hint(error: &MonitorError) -> &'static str {
    let MonitorError::Refused(refusal) = error else { return "" };
    match refusal.reason {
        ReasonCode::NOT_ALLOWED => {
            "; the server lets only those watch who are on its machine, or nobody: see --monitoring of liminal-server"
        }
        ReasonCode::LIMIT => "; as many watch already as the server lets: end another one",
        _ => "; try again later",
    }
}

fn refusal_hint(refusal: &Refusal) -> &'static str {
    match refusal.reason {
        ReasonCode::NO_PARTICIPANT => "; check the subject, or serve it with liminal respond",
        ReasonCode::TOO_LARGE => "; neither the payload nor its reply may be longer than a frame takes",
        ReasonCode::BUSY | ReasonCode::STOPPING => "; try again later",
        _ => "",
    }
}
