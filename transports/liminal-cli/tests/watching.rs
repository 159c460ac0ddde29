//! `liminal watch`: what it prints, and how it ends, on every transport.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use kit::{Running, TRANSPORTS, finish, read_line, run, start};
use liminal_proto::{Content, Metadata};
use liminal_smol::{Context, Handle, Kind, Monitoring, Received, ServerOptions, Stopper};
use serde_json::{Value, json};

/// A server on which "echo" is served, "dies" ends its participants, and that ends with its test.
struct Bus {
    address: String,
    stopper: Stopper,
    thread: Option<thread::JoinHandle<()>>,
}

impl Bus {
    fn start(options: ServerOptions) -> Self {
        let server = smol::block_on(liminal_smol::bind_with("127.0.0.1:0", options)).unwrap();
        let echo = || |context: &mut Context<'_>, message: Received| context.reply(message.payload);
        server.register_inline("echo", echo).unwrap();
        let dies = || |context: &mut Context<'_>, _: Received| context.exit(exit_reason());
        server.register_inline("dies", dies).unwrap();
        server.register("log", Kind::TraceOnly).unwrap();
        let (address, stopper) = (server.local_address().to_string(), server.stopper());
        let thread = Some(thread::spawn(move || smol::block_on(server.run()).unwrap()));
        Self { address, stopper, thread }
    }

    /// Somebody who watches already, and the line that said so.
    fn watch(&self, arguments: &[&str]) -> (Running, String) {
        let mut child = start(&[&["watch", "--server", &self.address], arguments].concat());
        let line = line(&mut child);
        (child, line)
    }

    fn ask(&self, subject: &str, payload: &str) -> kit::Ended {
        run(&["ask", "--server", &self.address, subject, payload], b"")
    }

    /// Speaks with the bus for as long as `speak` takes.
    fn speak<T>(&self, speak: impl AsyncFnOnce(Handle) -> T) -> T {
        smol::block_on(async {
            let (handle, driver) = liminal_smol::connect(&*self.address).await.unwrap();
            let driving = smol::spawn(driver.run());
            let spoken = speak(handle).await;
            driving.await;
            spoken
        })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn exit_reason() -> liminal_proto::ExitReason {
    liminal_proto::ExitReason::Crashed { text: "boom".into() }
}

fn line(child: &mut Child) -> String {
    read_line(child.stdout.as_mut().unwrap())
}

fn lines(child: &mut Child, count: usize) -> Vec<String> {
    (0..count).map(|_| line(child)).collect()
}

fn signal(child: &Child, signal: &str) {
    let killed = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn each_record_is_a_line_until_a_signal_comes() {
    let bus = Bus::start(ServerOptions::default());
    for (log, transport) in (1..).zip(TRANSPORTS) {
        let (mut child, said) = bus.watch(&["echo", "--transport", transport]);
        assert_eq!(said, format!("liminal watching the subject \"echo\" at {} ({transport})", bus.address));
        assert_eq!(bus.ask("echo", "two\nlines").succeeds(), b"two\nlines\n");
        let told = lines(&mut child, 4);
        assert_eq!(told[0], format!("{log}:1 participant {log} joined; opened on \"echo\""));
        assert!(told[1].starts_with(&format!("{log}:2 request, within ")), "{told:?}");
        assert!(told[1].ends_with(", 9 bytes: \"two\\nlines\""), "{told:?}");
        assert_eq!(told[2], format!("{log}:3 reply to {log}:2, 9 bytes: \"two\\nlines\""));
        assert!(told[3].starts_with(&format!("{log}:4 c")), "{told:?}");
        signal(&child, if log == 2 { "-TERM" } else { "-INT" });
        assert_eq!(finish(child, Vec::new()).succeeds(), b"");
    }
}

#[test]
fn an_exit_is_told_with_what_it_leaves_unanswered() {
    let bus = Bus::start(ServerOptions::default());
    for transport in TRANSPORTS {
        let (mut text, _) = bus.watch(&["dies", "--transport", transport]);
        let (mut json, _) = bus.watch(&["*", "--json", "--transport", transport]);
        bus.ask("dies", "now").fails(3, "boom");
        let told = lines(&mut text, 3);
        let (log, _) = told[2].split_once(':').unwrap();
        assert!(told[2].contains(" crashed: boom; unanswered: "), "{told:?}");
        assert!(told[2].ends_with(&format!("; unanswered: {log}:2")), "{told:?}");
        let told: Vec<Value> =
            lines(&mut json, 3).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |index: usize, keys: [&str; 3]| keys.map(|key| told[index][key].clone());
        assert_eq!(of(0, ["record", "what", "subject"]), [json!(1), json!("joined"), json!("dies")]);
        assert_eq!(of(1, ["record", "what", "payload_hex"]), [json!(2), json!("request"), json!("6e6f77")]);
        assert_eq!(of(2, ["record", "what", "unanswered"]), [json!(3), json!("exited"), json!([2])]);
        assert_eq!(
            of(2, ["goes_on", "reason", "subject"]),
            [json!(false), json!("crashed: boom"), Value::Null]
        );
        for child in [text, json] {
            signal(&child, "-INT");
            finish(child, Vec::new()).succeeds();
        }
    }
}

#[test]
fn what_was_open_before_is_left_out_and_the_next_line_says_what_comes_behind_it() {
    let bus = Bus::start(ServerOptions::default());
    let mut child = bus.speak(async |handle| {
        let conversation = handle.open("log").await.unwrap();
        conversation.message("before").await.unwrap();
        let (mut child, line) = bus.watch(&["*", "--json"]);
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line, json!({ "what": "watching", "subject": null, "server": bus.address }));
        let metadata = Metadata::builder().header("traceparent", "00-01").unwrap().build();
        conversation.message(Content::new("after", metadata)).await.unwrap();
        let told = lines(&mut child, 2);
        let told: Vec<Value> = told.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let why = "before the watch began";
        let gap = json!({ "log": 1, "record": 1, "to": 1, "what": "gap", "subject": "log", "why": why });
        assert_eq!(told[0], gap);
        let said = told[1]["payload_hex"].as_str().unwrap();
        assert_eq!((&told[1]["record"], said), (&json!(2), "6166746572"));
        assert_eq!(told[1]["metadata"]["headers"], json!([["traceparent", "00-01"]]));
        child
    });
    signal(&child, "-INT");
    child.stdout = None;
    finish(child, Vec::new());
}

#[test]
fn it_ends_with_whoever_reads_its_output() {
    let bus = Bus::start(ServerOptions::default());
    for transport in TRANSPORTS {
        // It need not have anything to print.
        for is_silent in [true, false] {
            let (mut child, _) = bus.watch(&["echo", "--transport", transport]);
            child.stdout = None;
            if !is_silent {
                bus.ask("echo", "hello").succeeds();
            }
            finish(child, Vec::new()).succeeds();
        }
    }
}

#[test]
fn it_says_when_there_is_nobody_to_ask_any_more() {
    for transport in TRANSPORTS {
        let bus = Bus::start(ServerOptions::default());
        let (child, _) = bus.watch(&["echo", "--transport", transport]);
        drop(bus);
        finish(child, Vec::new()).fails(2, "watched no more: connection lost");
        run(&["watch", "x", "--server", "127.0.0.1:1", "--transport", transport], b"")
            .fails(2, "is a server running there?");
    }
}

#[test]
fn who_may_not_watch_is_told_what_to_do() {
    let bus = Bus::start(ServerOptions { monitoring: Monitoring::Nobody, ..ServerOptions::default() });
    for transport in TRANSPORTS {
        let ended = run(&["watch", "echo", "--server", &bus.address, "--transport", transport], b"");
        ended.fails(5, "see --monitoring of liminal-server");
    }
    let mut options = ServerOptions::default();
    options.bus.watches_max = 0;
    let bus = Bus::start(options);
    run(&["watch", "echo", "--server", &bus.address], b"").fails(5, "end another one");
    let mut options = ServerOptions::default();
    options.connection.max_dialect = liminal_proto::wire::Dialect::V1;
    let bus = Bus::start(options);
    run(&["watch", "echo", "--server", &bus.address], b"").fails(1, "needs protocol version 2.0");
    run(&["watch"], b"").fails(1, "SUBJECT");
}

#[test]
fn nobody_who_converses_waits_for_one_that_is_stopped() {
    let mut options = ServerOptions::default();
    options.bus.watched_bytes_max = 64 << 10;
    options.connection.limits.write_stall_time = 4 * kit::DEADLINE;
    let bus = Bus::start(options);
    let (mut child, _) = bus.watch(&["echo"]);
    signal(&child, "-STOP");
    bus.speak(async |handle| {
        let conversation = handle.open("echo").await.unwrap();
        for _ in 0..200 {
            let said = vec![b'x'; 100_000];
            conversation.ask(said, Duration::from_secs(20)).await.unwrap();
        }
        conversation.close().await.unwrap();
    });
    signal(&child, "-CONT");
    let mut next = 1;
    let mut gaps = 0;
    // One joins and leaves; the last records may be left out as well.
    while next <= 2 + 2 * 200 {
        let line = line(&mut child);
        let (records, what) = line.strip_prefix("1:").and_then(|line| line.split_once(' ')).unwrap();
        let (from, to) = records.split_once('-').unwrap_or((records, records));
        assert_eq!(from.parse::<u64>().unwrap(), next, "{line}");
        next = to.parse::<u64>().unwrap() + 1;
        if what.starts_with("left out: the watcher did not keep up") {
            gaps += 1;
        }
    }
    assert!(gaps > 0 && next == 403, "{gaps} gaps, up to {next}");
    signal(&child, "-INT");
    finish(child, Vec::new()).succeeds();
}

#[test]
fn one_whose_output_nobody_reads_keeps_its_connection_and_tells_what_it_left_out() {
    for transport in TRANSPORTS {
        let mut options = ServerOptions::default();
        options.bus.watched_bytes_max = 64 << 10;
        options.connection.limits.write_stall_time = Duration::from_millis(500);
        let bus = Bus::start(options);
        let (mut child, _) = bus.watch(&["echo", "--json", "--transport", transport]);
        let said = vec![b'x'; 100_000];
        let speak = async |handle: &Handle| {
            let conversation = handle.open("echo").await.unwrap();
            for _ in 0..100 {
                conversation.ask(said.clone(), kit::DEADLINE).await.unwrap();
            }
            // Longer than a client may leave what it is sent unread.
            smol::Timer::after(Duration::from_secs(1)).await;
            conversation.close().await.unwrap();
        };
        bus.speak(async |handle| speak(&handle).await);
        bus.speak(async |handle| speak(&handle).await);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains(r#""what":"gap""#)), "{transport}");
        assert!(lines.any(|line| line.starts_with(r#"{"log":2"#)), "{transport}");
        signal(&child, "-INT");
        drop(lines);
        finish(child, Vec::new());
    }
}
