//! Going through a session finds whatever a server does otherwise.

#![allow(clippy::unwrap_used, reason = "a failed test says so")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::thread;

use liminal_interop::{Heard, Session, Step};

const PING: [u8; 10] = [0x13, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const PONG: [u8; 10] = [0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const DISCONNECT: [u8; 10] = [0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A server for one client. It says the first answer to the first ten bytes, and so on, and the last one
/// when the client says no more or, if it `hangs_up`, without being asked. Then it closes.
fn server(answers: &[&[&[u8]]], hangs_up: bool) -> SocketAddr {
    let mut answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.concat()).collect();
    let last = answers.pop().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for answer in answers {
            stream.read_exact(&mut [0; 10]).unwrap();
            stream.write_all(&answer).unwrap();
        }
        if !hangs_up {
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
        stream.write_all(&last).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // A close with something unread could overtake the answer.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    address
}

/// A client pings, and hears a Pong and perhaps the end.
fn session(closed: bool) -> Session {
    let hears = Heard { frames: vec!["Pong, stream 0".into()], closed };
    let step = Step { client: "a".into(), name: "ping".into(), stops: false, says: PING.to_vec(), hears };
    Session { name: "s".into(), steps: vec![step] }
}

#[test]
fn a_server_that_does_the_same_passes() {
    session(false).replay(server(&[&[&PONG], &[&PONG], &[]], false), || {}).unwrap();
    session(true).replay(server(&[&[&PONG], &[]], true), || {}).unwrap();
}

#[test]
fn a_server_that_does_anything_else_fails() {
    let pong: &[&[u8]] = &[&PONG];
    for (closed, answers, hangs_up, error) in [
        // One frame too many: before the probe, with the answer to it, behind it, and at the end.
        (false, &[&[&PONG[..], &DISCONNECT][..], pong, &[]][..], false, "s, a, ping: heard"),
        (false, &[pong, &[&DISCONNECT, &PONG], &[]], false, "s, a, ping: heard"),
        (false, &[pong, &[&PONG, &DISCONNECT], &[]], false, "s, a, the end: heard"),
        (false, &[pong, pong, &[&DISCONNECT]], false, "s, a, the end: heard"),
        // Another frame.
        (false, &[&[&DISCONNECT], pong, &[]], false, "s, a, ping: heard"),
        // The end comes, does not come, comes too early.
        (false, &[pong, &[]], true, "s, a, ping: heard"),
        (true, &[&[&PONG, &DISCONNECT], &[]], true, "s, a, ping: heard"),
        (false, &[&[]], true, "s, a, ping: heard"),
        (false, &[&[&PONG[..9]], &[]], true, "inside a frame"),
    ] {
        let said = session(closed).replay(server(answers, hangs_up), || {}).unwrap_err();
        assert!(said.contains(error), "{answers:?}: {said}");
    }
}
