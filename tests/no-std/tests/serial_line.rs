//! The two programs, run on a simulated line in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use liminal_core::participant::from_fn;
use liminal_core::{Context, Received};
use liminal_no_std::client::Told;
use liminal_no_std::{Executor, Line, Ticks, client, server};
use liminal_proto::{CloseReason, ExitReason, Instant, Outcome};

type Bytes = Rc<RefCell<VecDeque<u8>>>;

/// One end of a line that carries a few bytes at a time, or none.
struct End {
    incoming: Bytes,
    outgoing: Bytes,
    at_a_time: usize,
}

fn line(at_a_time: usize) -> (End, End) {
    let (one, other) = (Bytes::default(), Bytes::default());
    let back = End { incoming: Rc::clone(&other), outgoing: Rc::clone(&one), at_a_time };
    (End { incoming: one, outgoing: other, at_a_time }, back)
}

impl Line for End {
    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut incoming = self.incoming.borrow_mut();
        let n = into.len().min(self.at_a_time).min(incoming.len());
        into.iter_mut().zip(incoming.drain(..n)).for_each(|(to, from)| *to = from);
        n
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        // The device has a buffer, too.
        let room = 16_usize.saturating_sub(self.outgoing.borrow().len());
        let n = bytes.len().min(self.at_a_time).min(room);
        self.outgoing.borrow_mut().extend(&bytes[..n]);
        n
    }
}

fn calculator(context: &mut Context<'_>, message: Received) {
    match &message.payload[..] {
        b"6 * 7" => context.reply("42"),
        b"nothing" => {}
        _ => context.exit(ExitReason::Crashed { text: "no such sum".into() }),
    }
}

/// Runs until all programs have ended; when nothing moves, the device sleeps until it is due.
fn run(mut executor: Executor<'_>, ticks: &Ticks) {
    for _ in 0..1_000_000 {
        if !executor.round(ticks) {
            return;
        }
        if !ticks.moved() {
            let due = ticks.wake_at().expect("nothing moves, and nobody waits for a moment");
            ticks.set(due.max(ticks.now()));
        }
    }
    panic!("the programs never end");
}

#[test]
fn a_client_converses_with_a_bus_over_a_line_of_a_few_bytes() {
    for at_a_time in [1, 3, 16] {
        let (one, other) = line(at_a_time);
        let (ticks, mut told) = (Ticks::default(), Told::default());
        let mut executor = Executor::new();
        let questions = ["6 * 7", "nothing", "6 * 7", "1 / 0", "too late"];
        executor.spawn(client::run(one, &ticks, "sums", &questions, &mut told));
        executor.spawn(server::run(other, &ticks, "sums", || from_fn(calculator)));
        run(executor, &ticks);
        assert_eq!(told.replies, ["42", "42"]);
        let [Outcome::Refused { .. }, Outcome::Exited, Outcome::Exited] = &told.ends[..] else {
            panic!("{told:?}")
        };
        assert_eq!(told.closed, Some(CloseReason::Local));
    }
}

#[test]
fn time_passes_only_when_nothing_moves_and_ends_a_handshake_with_nobody() {
    let (one, _nobody) = line(16);
    let (ticks, mut told) = (Ticks::default(), Told::default());
    let mut executor = Executor::new();
    executor.spawn(client::run(one, &ticks, "sums", &["6 * 7"], &mut told));
    run(executor, &ticks);
    assert!(matches!(told.closed, Some(CloseReason::Violation(_))), "{told:?}");
    assert!(ticks.now() >= Instant::ORIGIN.after(Duration::from_secs(2)), "{}", ticks.now());
}

/// Nothing that this crate is built from has a feature `std`, and none of it is another crate than these.
#[test]
fn there_is_no_std_in_the_dependency_tree() {
    let tree = |format: &[&str]| {
        let edges = ["tree", "-p", "liminal-no-std", "--offline", "--locked", "--prefix", "none"];
        let output = Command::new(env!("CARGO")).args(edges).args(format).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let features = tree(&["-e", "normal,features,no-proc-macro"]);
    assert!(features.contains("liminal-core"), "{features}");
    assert!(!features.contains("\"std\""), "{features}");
    let crates = tree(&["-e", "normal,no-proc-macro", "-f", "{p}"]);
    let known = ["liminal-no-std", "liminal-core", "liminal-proto", "bytes", "thiserror"];
    for line in crates.lines().filter(|line| !line.is_empty()) {
        let name = line.split(' ').next().unwrap();
        assert!(known.contains(&name), "{line}");
    }
}
