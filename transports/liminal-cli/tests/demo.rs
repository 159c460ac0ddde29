//! `liminal demo`: it shows what it says, or fails.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::process::{Command, Stdio};

use kit::{TRANSPORTS, run};

#[test]
fn it_shows_every_transport_and_a_death_and_exits_with_0() {
    let ended = run(&["demo"], b"");
    let text = str::from_utf8(ended.succeeds()).unwrap();
    for transport in TRANSPORTS {
        let line = text.lines().position(|line| line.trim_start().starts_with(transport)).expect(transport);
        let shown: Vec<_> = text.lines().skip(line).take(2).collect();
        assert!(shown[0].contains("\"I am ") && shown[0].contains("\"Hello, "), "{text}");
        assert!(shown[1].contains("\"Who am I?\""), "{text}");
        assert!(shown.iter().all(|line| line.contains("is answered") && line.ends_with(" µs")), "{text}");
    }
    for (begins, has) in
        [("told", "killed by signal 9"), ("fail", "lost its connection"), ("next", "\"Yes, I am.\"")]
    {
        let line = text.lines().find(|line| line.trim_start().starts_with(begins)).expect(begins);
        assert!(line.contains(has) && line.ends_with(" µs after the kill"), "{text}");
    }
}

#[test]
fn what_did_not_happen_is_not_shown_and_fails() {
    let ended = Command::new(env!("CARGO_BIN_EXE_liminal"))
        .arg("demo")
        .env("PATH", "/nowhere")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert_eq!(ended.status.code(), Some(1), "{out}{err}");
    assert!(err.lines().count() == 1 && err.contains("\"sh\""), "{err}");
    assert!(!out.contains("told"), "{out}");
}
