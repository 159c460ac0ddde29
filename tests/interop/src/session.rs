//! The recorded sessions, as values.

use serde_json::Value;

use crate::Heard;
use crate::differences::Differences;
use crate::keys::{bytes, list, text};

const SESSIONS: &str = include_str!("../vectors/sessions.json");

/// How the recording begins the name of a step before which the server was told to stop.
const STOPPED: &str = "after SIGTERM";

/// What some clients said to a server of their own, and what they heard.
#[derive(Debug)]
pub struct Session {
    /// What the recording calls it.
    pub name: String,
    /// One after the other.
    pub steps: Vec<Step>,
}

/// One step of one client.
#[derive(Debug)]
pub struct Step {
    /// Which of the clients. Its first step begins with a new connection.
    pub client: String,
    /// What the recording calls it.
    pub name: String,
    /// The server is told to stop before it.
    pub stops: bool,
    /// What the client says.
    pub says: Vec<u8>,
    /// What it hears from a server of ours.
    pub hears: Heard,
}

/// Every recorded session, as it goes with a server of ours.
///
/// # Errors
///
/// Says what in the recording is not as it should be, or which listed difference does not fit it.
pub fn sessions() -> Result<Vec<Session>, String> {
    let recording: Value = serde_json::from_str(SESSIONS).map_err(|error| error.to_string())?;
    let mut differences = Differences::load()?;
    let sessions = list(&recording, "sessions")?.iter().map(|it| session(it, &mut differences));
    let sessions = sessions.collect::<Result<_, _>>()?;
    differences.finish()?;
    Ok(sessions)
}

impl Session {
    /// Whether the server is told to stop in it.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.steps.iter().any(|step| step.stops)
    }
}

fn session(recorded: &Value, differences: &mut Differences) -> Result<Session, String> {
    let name = text(recorded, "name")?;
    let steps = list(recorded, "steps")?.iter().map(|recorded| step(name, recorded, differences));
    Ok(Session { name: name.to_owned(), steps: steps.collect::<Result<_, _>>()? })
}

fn step(session: &str, recorded: &Value, differences: &mut Differences) -> Result<Step, String> {
    let name = text(recorded, "step")?;
    let says = if recorded.get("send").is_some() { bytes(recorded, "send")? } else { Vec::new() };
    let closed = recorded.get("server_closed").is_some();
    let heard = Heard::recorded(&bytes(recorded, "recv")?, closed)?;
    Ok(Step {
        client: text(recorded, "conn")?.to_owned(),
        name: name.to_owned(),
        stops: name.starts_with(STOPPED),
        says,
        hears: differences.take(session, name, &heard)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recording tells each answer twice: as bytes, and what they mean.
    #[test]
    fn recorded_answers_are_read_as_the_recording_means_them() {
        let recording: Value = serde_json::from_str(SESSIONS).unwrap();
        let mut frames = 0;
        for step in list(&recording, "sessions").unwrap().iter().flat_map(|it| list(it, "steps").unwrap()) {
            let heard = Heard::recorded(&bytes(step, "recv").unwrap(), false).unwrap().frames;
            let meant = list(step, "recv_frames").unwrap();
            assert_eq!(heard.len(), meant.len(), "{step}");
            for (heard, meant) in heard.iter().zip(meant) {
                let start = format!("{}, stream {}", text(meant, "type").unwrap(), meant["stream_id"]);
                assert!(heard.starts_with(&start), "{heard}: {meant}");
                let code = meant["reason_code"].as_u64().map(|code| format!("reason {code:#06x}"));
                assert!(code.is_none_or(|code| heard.contains(&code)), "{heard}: {meant}");
            }
            frames += heard.len();
        }
        assert!(frames > 50, "{frames}");
    }

    #[test]
    fn the_server_is_stopped_in_one_session() {
        let sessions = sessions().unwrap();
        let stopped = sessions.iter().filter(|session| session.stops());
        assert_eq!(stopped.count(), 1);
    }
}
