//! `liminal respond`: what it serves, what it prints, and how it ends, on every transport.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use kit::{Ended, Running, TRANSPORTS, finish, read_line, run, start};
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
        Self::on("127.0.0.1:0", options)
    }

    fn on(address: &str, options: ServerOptions) -> Self {
        let server = smol::block_on(liminal_smol::bind_with(address, options)).unwrap();
        let (address, stopper) = (server.local_address().to_string(), server.stopper());
        let thread = Some(thread::spawn(move || smol::block_on(server.run()).unwrap()));
        Self { address, stopper, thread }
    }

    /// Somebody who serves already.
    fn respond(&self, arguments: &[&str]) -> (Running, String) {
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
fn a_responder_does_not_outlive_a_test_that_panics() {
    let bus = Bus::start(ServerOptions::default());
    let (child, _) = bus.respond(&["say"]);
    let id = child.id().to_string();
    let test = std::panic::AssertUnwindSafe(|| {
        let _child = child;
        panic!("planned");
    });
    std::panic::catch_unwind(test).unwrap_err();
    let is_there = Command::new("kill").args(["-0", &id]).stderr(std::process::Stdio::null()).status();
    assert!(!is_there.unwrap().success());
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

/// Where one server may be after the other: a Unix socket, whose path nobody else takes meanwhile.
fn place(name: &str) -> String {
    let path: PathBuf =
        std::env::temp_dir().join(format!("liminal-responding-{}-{name}", std::process::id()));
    format!("unix:{}", path.display())
}

/// What a responder says on stderr, a line at a time.
fn says(child: &mut Child, hint: &str) {
    let line = read_line(child.stderr.as_mut().unwrap());
    assert!(line.starts_with("liminal: ") && line.contains(hint), "{line:?}, not {hint:?}");
}

/// A command that says when it was asked, and never answers. It ends when whoever started it has.
const HANGS: [&str; 4] = ["--", "sh", "-c", "read line; echo asked >&2; read more"];

/// A responder whose command hangs, and somebody who has asked it.
fn asked(bus: &Bus, transport: &str, options: &[&str]) -> (Running, Running) {
    let hangs = [&["work", "--transport", transport], &HANGS[..]].concat();
    let (mut responder, _) = bus.respond(&hangs);
    let ask = ["ask", "--server", &bus.address, "--timeout", "20s", "work", "hello"];
    let asking = start(&[&ask, options].concat());
    assert_eq!(read_line(responder.stderr.as_mut().unwrap()), "asked");
    (responder, asking)
}

/// Whether whoever started the tests has them ignore a signal, as `nohup` does, and so has whatever they start.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[test]
fn any_signal_that_kills_a_responder_is_an_exit_for_the_asker() {
    let bus = Bus::start(ServerOptions::default());
    use rustix::process::Signal;
    let signals = [
        Signal::KILL,
        Signal::SEGV,
        Signal::ABORT,
        Signal::BUS,
        Signal::ILL,
        Signal::FPE,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::ALARM,
    ];
    let signals = signals.map(Signal::as_raw).into_iter().filter(|signal| !is_ignored(*signal));
    for (signal, transport) in signals.zip(TRANSPORTS.iter().cycle()) {
        let signal = format!("-{signal}");
        for policy in [&[][..], &["--on-exit", "fail"]] {
            let (mut responder, asking) = asked(&bus, transport, policy);
            // A first SIGSEGV or SIGBUS that no memory has caused the runtime of the language lets pass, and two that
            // come at once are one.
            while responder.try_wait().unwrap().is_none() {
                self::signal(&responder, &signal);
                thread::sleep(Duration::from_millis(1));
            }
            finish(asking, Vec::new()).fails(3, "lost its connection");
            assert_eq!(finish(responder, Vec::new()).code, None, "{signal}");
        }
    }
}

#[test]
fn who_wants_the_next_is_told_of_the_exit_when_nobody_else_serves() {
    let bus = Bus::start(ServerOptions::default());
    let (responder, mut asking) = asked(&bus, "blocking", &["--on-exit", "next"]);
    signal(&responder, "-KILL");
    // The server looks for another one for a while.
    says(&mut asking, "lost its connection; waiting for another one to answer");
    finish(asking, Vec::new()).fails(3, "lost its connection");
    finish(responder, Vec::new());
}

#[test]
fn who_wants_the_next_is_told_at_once_of_an_exit_and_answered_by_one_that_comes_later() {
    let bus = Bus::start(ServerOptions::default());
    for transport in TRANSPORTS {
        let (first, mut asking) = asked(&bus, transport, &["--on-exit", "next", "--transport", transport]);
        signal(&first, "-KILL");
        says(&mut asking, "lost its connection; waiting for another one to answer");
        // Only now: what is said does not wait for it.
        let (second, _) = bus.respond(&["work", "--transport", transport, "--", "sed", "-u", "y/elo/310/"]);
        assert_eq!(finish(asking, Vec::new()).succeeds(), b"h3110\n", "{transport}");
        finish(first, Vec::new());
        drop(second);
        while bus.ask("work", "hello").code != Some(5) {}
    }
}

#[test]
fn a_second_signal_is_an_exit_for_the_asker_too() {
    let bus = Bus::start(ServerOptions::default());
    for transport in TRANSPORTS {
        let (responder, asking) = asked(&bus, transport, &[]);
        // It serves what it has to its end, and takes no more.
        signal(&responder, "-INT");
        let more = ["ask", "--server", &bus.address, "--timeout", "100ms", "work", "hello"];
        while run(&more, b"").code != Some(5) {}
        signal(&responder, "-TERM");
        finish(asking, Vec::new()).fails(3, "participant ");
        assert_eq!(finish(responder, Vec::new()).code, Some(130));
    }
}

#[test]
fn another_responder_answers_where_the_asker_wants_the_next() {
    let bus = Bus::start(ServerOptions::default());
    for transport in TRANSPORTS {
        let (first, mut asking) = asked(&bus, transport, &["--on-exit", "next", "--transport", transport]);
        let (second, _) = bus.respond(&["work", "--transport", transport, "--", "sed", "-u", "y/elo/310/"]);
        signal(&first, "-KILL");
        says(&mut asking, "lost its connection; waiting for another one to answer");
        assert_eq!(finish(asking, Vec::new()).succeeds(), b"h3110\n", "{transport}");
        finish(first, Vec::new());
        signal(&second, "-KILL");
        finish(second, Vec::new());
        while bus.ask("work", "hello").code != Some(5) {}
    }
}

#[test]
fn another_responder_does_not_answer_where_the_asker_wants_to_be_told() {
    let bus = Bus::start(ServerOptions::default());
    let (first, asking) = asked(&bus, "smol", &["--on-exit", "fail"]);
    let (second, _) = bus.respond(&["work"]);
    signal(&first, "-KILL");
    finish(asking, Vec::new()).fails(3, "lost its connection");
    assert_eq!(bus.ask("work", "hello").succeeds(), b"hello\n", "it would have");
    finish(first, Vec::new());
    signal(&second, "-TERM");
    finish(second, Vec::new()).succeeds();
}

#[test]
fn a_server_that_is_started_anew_is_served_again() {
    for transport in TRANSPORTS {
        let place = place(&format!("anew-{transport}"));
        let mut bus = Bus::on(&place, ServerOptions::default());
        let (mut child, line) =
            bus.respond(&["say", "--transport", transport, "--", "sed", "-u", "y/elo/310/"]);
        for _ in 0..2 {
            assert_eq!(bus.ask("say", "hello").succeeds(), b"h3110\n");
            drop(bus);
            says(&mut child, "connection lost: closed by the peer; trying again");
            bus = Bus::on(&place, ServerOptions::default());
            says(&mut child, &format!("{} again", line.strip_prefix("liminal ").unwrap()));
        }
        assert_eq!(bus.ask("say", "hello").succeeds(), b"h3110\n");
        signal(&child, "-TERM");
        finish(child, Vec::new()).succeeds();
    }
}

#[test]
fn a_responder_without_a_server_ends_with_a_signal() {
    for transport in TRANSPORTS {
        let bus = Bus::on(&place(&format!("gone-{transport}")), ServerOptions::default());
        let (mut child, _) = bus.respond(&["say", "--transport", transport]);
        drop(bus);
        says(&mut child, "connection lost: closed by the peer; trying again");
        signal(&child, "-INT");
        finish(child, Vec::new()).succeeds();
    }
}

#[test]
fn a_responder_that_may_not_serve_again_ends() {
    for transport in TRANSPORTS {
        let place = place(&format!("refused-{transport}"));
        let bus = Bus::on(&place, ServerOptions::default());
        let (mut child, _) = bus.respond(&["say", "--transport", transport]);
        drop(bus);
        says(&mut child, "connection lost");
        let mut options = ServerOptions::default();
        options.bus.offers_per_link_max = 0;
        let _bus = Bus::on(&place, options);
        finish(child, Vec::new()).fails(5, "served no more: not served again: refused: not allowed");
    }
}

#[test]
fn a_command_may_be_started_for_each_message() {
    let bus = Bus::start(ServerOptions::default());
    for transport in TRANSPORTS {
        let (child, _) = bus.respond(&["sh", "--transport", transport, "--per-message", "--", "sh"]);
        assert_eq!(bus.ask("sh", "printf 'two\nlines'").succeeds(), b"two\nlines\n");
        bus.ask("sh", "exit 3").fails(3, "exited with status 3");
        bus.ask("sh", "kill -9 $$").fails(3, "killed by signal 9");
        bus.ask("sh", "yes").fails(3, "it wrote more than 1048576 bytes");
        assert_eq!(bus.ask("sh", "echo on").succeeds(), b"on\n\n");
        signal(&child, "-TERM");
        finish(child, Vec::new()).succeeds();
    }
}

#[test]
fn a_responder_that_does_not_reconnect_ends_with_its_server_and_says_so() {
    for transport in TRANSPORTS {
        let bus = Bus::start(ServerOptions::default());
        let (child, _) = bus.respond(&["*", "--transport", transport, "--no-reconnect"]);
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
    run(&["respond", "x", "--per-message"], b"").fails(1, "COMMAND");
    run(&["respond", "x", "--per-message", "--frames", "--", "cat"], b"").fails(1, "--per-message");
}
