//! `liminal respond`: what it serves, what it prints, and how it ends, on every transport.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::process::{Child, Command};
use std::thread;

use kit::{Ended, TRANSPORTS, finish, read_line, run, start};
use liminal_proto::wire::Dialect;
use liminal_smol::{ServerOptions, Stopper};

/// A server that nobody serves on, and that ends with its test.
struct Bus {
    address: String,
    stopper: Stopper,
    thread: Option<thread::JoinHandle<()>>,
}

impl Bus {
    fn start(options: ServerOptions) -> Self {
        let server = smol::block_on(liminal_smol::bind_with("127.0.0.1:0", options)).unwrap();
        let (address, stopper) = (server.local_address().to_string(), server.stopper());
        let thread = Some(thread::spawn(move || smol::block_on(server.run()).unwrap()));
        Self { address, stopper, thread }
    }

    /// Somebody who serves already.
    fn respond(&self, arguments: &[&str]) -> (Child, String) {
        let mut child = start(&[&["respond", "--server", &self.address], arguments].concat());
        let line = read_line(child.stdout.as_mut().unwrap());
        (child, line)
    }

    fn ask(&self, subject: &str, payload: &str) -> Ended {
        run(&["ask", "--server", &self.address, subject, payload], b"")
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn signal(child: &Child, signal: &str) {
    let killed = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn an_echo_is_served_until_a_signal_comes() {
    let bus = Bus::start(ServerOptions::default());
    for transport in TRANSPORTS {
        let (child, line) = bus.respond(&["say", "--transport", transport]);
        assert_eq!(line, format!("liminal serving the subject \"say\" at {} ({transport})", bus.address));
        assert_eq!(bus.ask("say", "hello").succeeds(), b"hello\n");
        signal(&child, "-TERM");
        finish(child, Vec::new()).succeeds();
        bus.ask("say", "hello").fails(5, "check the subject");
    }
}

#[test]
fn a_command_is_started_for_each_conversation() {
    let bus = Bus::start(ServerOptions::default());
    for transport in TRANSPORTS {
        let (child, _) = bus.respond(&["leet", "--transport", transport, "--", "sed", "-u", "y/elo/310/"]);
        for _ in 0..2 {
            assert_eq!(bus.ask("leet", "hello").succeeds(), b"h3110\n");
        }
        signal(&child, "-INT");
        finish(child, Vec::new()).succeeds();
    }
}

#[test]
fn whoever_asks_is_told_of_the_death_of_a_command_and_of_a_responder() {
    let bus = Bus::start(ServerOptions::default());
    let (dying, _) = bus.respond(&["dies", "--", "sh", "-c", "read line; kill -9 $$"]);
    bus.ask("dies", "now").fails(3, "killed by signal 9");
    for transport in TRANSPORTS {
        // It says when it was asked, and ends when whoever started it has.
        let command = "read line; echo asked >&2; read more";
        let hangs = ["hangs", "--transport", transport, "--", "sh", "-c", command];
        let (mut responder, _) = bus.respond(&hangs);
        let asking = start(&["ask", "--server", &bus.address, "--timeout", "20s", "hangs", "hello"]);
        assert_eq!(read_line(responder.stderr.as_mut().unwrap()), "asked");
        signal(&responder, "-KILL");
        finish(asking, Vec::new()).fails(3, "lost its connection");
        finish(responder, Vec::new());
    }
    signal(&dying, "-TERM");
    finish(dying, Vec::new()).succeeds();
}

#[test]
fn a_responder_ends_with_its_server_and_says_so() {
    for transport in TRANSPORTS {
        let bus = Bus::start(ServerOptions::default());
        let (child, _) = bus.respond(&["*", "--transport", transport]);
        assert_eq!(bus.ask("anything", "hello").succeeds(), b"hello\n");
        drop(bus);
        finish(child, Vec::new()).fails(2, "served no more");
    }
}

#[test]
fn what_cannot_be_served_is_said_in_one_line() {
    let nobody = run(&["respond", "say", "--server", "127.0.0.1:1"], b"");
    nobody.fails(2, "is a server running there?");
    let mut options = ServerOptions::default();
    options.bus.offers_per_link_max = 0;
    let bus = Bus::start(options);
    let mut options = ServerOptions::default();
    options.connection.max_dialect = Dialect::V1;
    let old = Bus::start(options);
    for transport in TRANSPORTS {
        let respond =
            |bus: &Bus| run(&["respond", "x", "--server", &bus.address, "--transport", transport], b"");
        respond(&bus).fails(5, "lets no client serve");
        respond(&old).fails(1, "protocol version 2.0");
    }
    run(&["respond", "x", "--", "no-such-program"], b"").fails(1, "no-such-program");
    run(&["respond", "x", "--capacity", "0"], b"").fails(1, "--capacity");
    run(&["respond", "x", "--frames"], b"").fails(1, "COMMAND");
}
