//! What the log says of compensations. A process of its own, because it has one log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use liminal_blocking::{Context, CrashPolicy, Received, ServerOptions, bind_with};
use liminal_driver::StopOptions;

const DEADLINE: Duration = Duration::from_secs(30);

/// Sends each event of the log.
struct Lines(Sender<String>);

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // The test may be over.
        let _ = self.0.send(String::from_utf8_lossy(event).into_owned());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[track_caller]
fn logs(log: &Receiver<String>, text: &str) {
    while !log.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line has {text:?}")).contains(text) {}
}

fn crash(_: &mut Context<'_>, _: Received) {
    panic!("planned");
}

fn hang(_: &mut Context<'_>, _: Received) {
    thread::sleep(DEADLINE);
}

#[test]
fn what_is_not_compensated_is_a_warning() {
    let (sender, log) = channel();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || Lines(sender.clone())).init();
    let stop = StopOptions { time: Duration::from_millis(50), ..StopOptions::default() };
    let server = bind_with("127.0.0.1:0", ServerOptions { stop, ..ServerOptions::default() }).unwrap();
    server.register_inline("a", || crash).unwrap();
    server.register_inline("b", || crash).unwrap();
    server.register_blocking("hangs", || hang).unwrap();
    server.on_crash("a", CrashPolicy::Compensate("b".into())).unwrap();
    server.on_crash("b", CrashPolicy::Compensate("hangs".into())).unwrap();
    let (address, stopper) = (server.local_address().clone(), server.stopper());
    let running = thread::spawn(move || server.run());
    let (handle, _driver) = liminal_blocking::connect(&address).unwrap();

    assert!(handle.open("a").unwrap().ask("hello", DEADLINE).is_err());
    logs(&log, "WARN");
    logs(&log, "conversation-1 was not compensated on \"b\": the participant has exited");

    assert!(handle.open("b").unwrap().ask("hello", DEADLINE).is_err());
    stopper.stop();
    running.join().unwrap().unwrap();
    logs(&log, "stopped while compensations were under way: 1");
}
