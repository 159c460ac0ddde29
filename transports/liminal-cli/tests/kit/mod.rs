//! The command as a process of its own.

#![allow(dead_code, reason = "every test program uses a part of it")]

use std::io::{Read, Write};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// What never takes this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const TRANSPORTS: [&str; 3] = ["blocking", "smol", "async-std"];

/// How the command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Ended {
    /// Stdout as lines of text.
    pub(crate) fn lines(&self) -> Vec<&str> {
        str::from_utf8(&self.out).unwrap().lines().collect()
    }

    /// Stdout as lines of JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// It failed with this code, and said why in one line that has this text.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, hint: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.starts_with("liminal: ") && self.err.contains(hint), "{self:?}, not {hint:?}");
    }

    /// It succeeded without a word on stderr.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> &[u8] {
        assert_eq!((self.code, &*self.err), (Some(0), ""));
        &self.out
    }
}

/// The command while it runs. It is killed when a test gives it up: one that reconnects would go on for ever.
pub(crate) struct Running(Option<Child>);

impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Self(Some(child))
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.0.as_ref().unwrap()
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // One that has ended is what this wants.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn start(arguments: &[&str]) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_liminal"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    child.unwrap().into()
}

/// Runs the command to its end.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Ended {
    finish(start(arguments), input.to_vec())
}

/// Gives it the rest of its input and waits for its end.
pub(crate) fn finish(running: impl Into<Running>, input: Vec<u8>) -> Ended {
    let mut child = running.into().0.take().unwrap();
    let stdin = child.stdin.take();
    let id = child.id().to_string();
    // It may end before it has read everything.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        sender.send(Ended { code: output.status.code(), out: output.stdout, err })
    });
    ended.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        Command::new("kill").args(["-KILL", &id]).status().unwrap();
        panic!("the command did not end");
    })
}

/// All the recorded vectors.
pub(crate) fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop/vectors/frames.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The recorded bytes of a vector.
pub(crate) fn bytes(vector: &Value) -> Vec<u8> {
    liminal_cli::frame_json::hex::decode(vector["hex"].as_str().unwrap()).unwrap()
}

/// Reads one line, without taking any of what follows.
pub(crate) fn read_line(from: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while from.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}
