//! What clients of 1.0 servers were recorded to say and hear, once more with this server: each session
//! on every transport, with a server of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use kit::Server;
use liminal_interop::{Session, sessions};

/// The time that the recorded server was given to stop.
const STOP_TIME: [&str; 2] = ["--stop-time", "1500ms"];

fn replay(transport: &str, session: &Session) -> Result<(), String> {
    let server = Server::on_tcp(transport, &STOP_TIME);
    session.replay(server.address(), || server.signal("-TERM"))?;
    if session.stops() {
        assert_eq!(server.ended().code, Some(0), "{transport}: {}", session.name);
    }
    Ok(())
}

fn replay_all(transport: &str) {
    let sessions = sessions().unwrap();
    let wrong: Vec<String> = sessions.iter().filter_map(|session| replay(transport, session).err()).collect();
    assert!(wrong.is_empty(), "{transport}:\n{}", wrong.join("\n"));
}

#[test]
fn recorded_sessions_go_as_recorded_on_blocking() {
    replay_all("blocking");
}

#[test]
fn recorded_sessions_go_as_recorded_on_smol() {
    replay_all("smol");
}

#[test]
fn recorded_sessions_go_as_recorded_on_async_std() {
    replay_all("async-std");
}
