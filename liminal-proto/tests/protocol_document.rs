//! PROTOCOL.md, held against the code and the tests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test says so")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use liminal_proto::wire::{Dialect, FrameType, StreamRule, decode};
use liminal_proto::{
    Config, Connection, Content, Event, Exit, ExitReason, Expects, Gap, GapReason, Limits, LogId, LogRecord,
    Logged, Message, Metadata, Notice, Pid, ReasonCode, RecordNumber, Reply, Side, StreamId, Unanswered,
};

use support::*;

const DOCUMENT: &str = include_str!("../PROTOCOL.md");

/// The ids in a text: `P-`, a section, a dot, a number.
fn ids(text: &str) -> impl Iterator<Item = String> {
    text.split("P-").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let id = rest[..end].trim_end_matches('.');
        id.contains('.').then(|| id.to_owned())
    })
}

/// The text of every test under `folder`: all files of a folder of tests, or named so.
fn test_sources(folder: &Path, all: bool, sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = all || path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() {
            test_sources(&path, is_test, sources);
        } else if is_test {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// What stands between two headings of the second level.
fn section(number: u32) -> &'static str {
    let heading = format!("\n## {number}. ");
    let from = DOCUMENT.find(&heading).unwrap() + heading.len();
    let rest = &DOCUMENT[from..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// The cells of the tables in a text, without their headings.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let row = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
    text.lines().filter(|line| line.starts_with("| ")).map(row).collect()
}

#[test]
fn every_rule_is_cited_by_a_test_and_every_citation_is_a_rule() {
    let rules: BTreeSet<String> = ids(DOCUMENT).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    test_sources(&root.join("tests"), true, &mut sources);
    test_sources(&root.join("src"), false, &mut sources);
    let cited: BTreeSet<String> = ids(&sources).collect();
    let uncited: Vec<_> = rules.difference(&cited).collect();
    let unknown: Vec<_> = cited.difference(&rules).collect();
    assert!(uncited.is_empty() && unknown.is_empty(), "uncited: {uncited:?}, unknown: {unknown:?}");
}

#[test]
fn every_rule_is_defined_with_a_word_that_obliges() {
    for (number, text) in (1..=9).map(|number| (number, section(number))) {
        for id in ids(text) {
            assert!(id.starts_with(&format!("{number}.")), "{id} stands in section {number}");
        }
    }
    let rules = DOCUMENT.split("\n- ").filter(|item| item.starts_with("[P-"));
    for rule in rules {
        let rule = &rule[..rule.find("\n\n").unwrap_or(rule.len())];
        let obliges = ["MUST", "MAY", "SHOULD", "reserved"].iter().any(|word| rule.contains(word));
        assert!(obliges, "{rule}");
    }
}

#[test]
fn the_table_of_reason_codes_is_that_of_the_code() {
    let written: Vec<String> =
        rows(section(9)).into_iter().skip(1).map(|row| format!("{} {}", row[0], row[1])).collect();
    let assigned: Vec<String> = ReasonCode::ASSIGNED
        .iter()
        .map(|code| format!("0x{:04X} {}", code.get(), code.meaning().unwrap()))
        .collect();
    assert_eq!(written, assigned);
}

/// P-4.1
#[test]
fn the_tables_of_frames_are_those_of_the_code() {
    let written: Vec<String> = rows(section(4))
        .into_iter()
        .filter(|row| row.len() == 5 && row[0] != "id")
        .map(|row| format!("{} {} {}", row[0], row[1], row[3]))
        .collect();
    let known = |dialect| FrameType::ALL.iter().filter(move |it| it.since() == dialect);
    let expected: Vec<String> = known(Dialect::V1)
        .map(|it| {
            let stream = if it.stream_rule() == StreamRule::Control { "ctl" } else { "app" };
            format!("0x{:02X} {} {stream}", it.id(), it.name())
        })
        .collect();
    assert_eq!(written, expected);
    for it in known(Dialect::V2) {
        let heading = format!("\n0x{:02X} {}", it.id(), it.name());
        assert!(section(5).contains(&heading), "{}", it.name());
    }
}

#[test]
fn the_table_of_limits_names_each_of_them() {
    let limits = format!("{:?}", Limits::default());
    let names: BTreeSet<&str> = limits
        .split(['{', ','])
        .filter_map(|part| part.trim().split_once(": "))
        .map(|(name, _)| name)
        .filter(|name| !["per_second", "burst"].contains(name))
        .collect();
    let written: Vec<Vec<&str>> = rows(section(8));
    let written: BTreeSet<&str> = written.iter().skip(1).map(|row| row[0]).collect();
    assert_eq!(written, names);
}

// ── the worked example ──────────────────────────────────────────────────────────────────────────────

struct Line {
    from_client: bool,
    bytes: Vec<u8>,
    what: &'static str,
}

fn example(name: &str) -> Vec<Line> {
    let fence = format!("```{name}\n");
    let from = DOCUMENT.find(&fence).unwrap() + fence.len();
    let block = &DOCUMENT[from..];
    block[..block.find("```").unwrap()].lines().map(line).collect()
}

fn line(line: &'static str) -> Line {
    let (bytes, what) = line.split_once('#').unwrap();
    let (side, hex) = bytes.split_at(1);
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    let bytes = digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect();
    Line { from_client: side == ">", bytes, what: what.trim() }
}

#[test]
fn the_worked_example_decodes_frame_by_frame_to_what_it_says() {
    for name in ["v1", "v2", "v2-credit", "v2-metadata", "v2-serving", "v2-monitoring"] {
        let dialect = if name == "v1" { Dialect::V1 } else { Dialect::V2 };
        for Line { bytes, what, .. } in example(name) {
            let (frame, used) = decode(dialect, 1000, &bytes).unwrap();
            assert_eq!(used, bytes.len(), "{what}");
            let frame_type = frame.body.frame_type().unwrap().name();
            assert_eq!(what.split([' ', ',']).next(), Some(frame_type));
        }
    }
}

/// P-5.2, P-6.2
#[test]
fn the_worked_example_is_what_two_connections_really_say() {
    let usual = Limits::default().connection_window;
    let examples: [(_, _, _, Converse); 6] = [
        ("v1", Dialect::V1, usual, ask),
        ("v2", Dialect::V2, usual, ask),
        ("v2-credit", Dialect::V2, 1000, say),
        ("v2-metadata", Dialect::V2, usual, ask_traced),
        ("v2-serving", Dialect::V2, usual, serve_one),
        ("v2-monitoring", Dialect::V2, usual, look_on),
    ];
    for (name, dialect, window, act) in examples {
        let config = Config { max_dialect: dialect, ..Config::default() };
        let mut client = Connection::client(START, config.clone());
        let windows = |limits: &mut Limits| {
            limits.conversation_window = limits.conversation_window.min(window);
            limits.connection_window = window;
        };
        let mut server = Connection::server(START, Config { limits: limited(windows).limits, ..config });
        let lines = example(name);
        let expected = |from_client| {
            let of_side = lines.iter().filter(move |line| line.from_client == from_client);
            of_side.flat_map(|line| line.bytes.clone()).collect::<Vec<u8>>()
        };
        let (from_client, from_server) = converse(&mut client, &mut server, act);
        assert_eq!(from_client, expected(true), "{name}, client");
        assert_eq!(from_server, expected(false), "{name}, server");
    }
}

/// What the two sides do of their own accord in each step.
type Converse = fn(u32, &mut Connection, &mut Connection);

fn ask(step: u32, client: &mut Connection, _: &mut Connection) {
    match step {
        0 => {
            let key = client.open(START, "greeter").unwrap();
            client.ask(START, key, None, Bytes::from_static(b"hello")).unwrap();
        }
        1 => client.close(START, conversation(1), None).unwrap(),
        2 => client.disconnect(START),
        _ => {}
    }
}

fn say(step: u32, client: &mut Connection, server: &mut Connection) {
    if step > 0 {
        return ask(step, client, server);
    }
    let key = client.open(START, "greeter").unwrap();
    client.message(START, key, Expects::Nothing, Bytes::from_static(b"hello")).unwrap();
}

fn ask_traced(step: u32, client: &mut Connection, server: &mut Connection) {
    if step > 0 {
        return ask(step, client, server);
    }
    let key = client.open(START, "greeter").unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let metadata = Metadata::builder().header("traceparent", trace).unwrap().build();
    client.ask(START, key, None, Content::new("hello", metadata)).unwrap();
}

fn serve_one(step: u32, client: &mut Connection, server: &mut Connection) {
    match step {
        0 => assert_eq!(client.serve(START, Some("greeter"), 8).unwrap().get(), 1),
        1 => {
            server.invite(START, conversation(2), Pid::new(7), "greeter").unwrap();
            let (expects, payload) = (Expects::Reply, Bytes::from_static(b"hello"));
            let (conversation, id) = (conversation(2), id(3));
            let hello = Message {
                conversation,
                id,
                expects,
                timeout: None,
                redelivered: 0,
                metadata: Metadata::default(),
                payload,
            };
            server.deliver(START, hello).unwrap();
        }
        2 => server.close(START, conversation(2), None).unwrap(),
        3 => client.withdraw(START, StreamId::new(1), true).unwrap(),
        4 => client.disconnect(START),
        _ => {}
    }
}

fn look_on(step: u32, client: &mut Connection, server: &mut Connection) {
    let (monitor, watch, pid) = (StreamId::new(1), StreamId::new(3), Pid::new(7));
    let numbered = RecordNumber::new;
    let reason = ExitReason::Crashed { text: "boom".to_owned() };
    match step {
        0 => {
            assert_eq!(client.monitor(START, pid).unwrap(), monitor);
            assert_eq!(client.watch(START, Some("greeter")).unwrap(), watch);
        }
        1 => {
            let (log, subject, why) = (LogId::new(9), Some("greeter".to_owned()), GapReason::Before);
            let before = Gap { log, from: numbered(1), to: numbered(2), subject, why };
            server.gap(START, watch, &before).unwrap();
            let (id, timeout, content) = (id(2), Duration::from_secs(5), Content::from("hello"));
            let asked = Logged::Request { id, timeout, content };
            let died = Logged::Exited { pid, reason: reason.clone(), goes_on: false };
            for (number, what) in [(3, asked), (4, died)] {
                let record = LogRecord { log, number: numbered(number), subject: None, what };
                server.record(START, watch, &record).unwrap();
            }
            let unanswered = Unanswered::new(1, [numbered(3)]);
            let exit = Exit { pid, record: numbered(4), reason, goes_on: false, unanswered };
            server.notice(START, monitor, &Notice::Exited(exit)).unwrap();
            server.notice(START, monitor, &Notice::Ended { cancelled: false }).unwrap();
        }
        2 => client.unmonitor(START, watch).unwrap(),
        3 => client.disconnect(START),
        _ => {}
    }
}

fn converse(client: &mut Connection, server: &mut Connection, act: Converse) -> (Vec<u8>, Vec<u8>) {
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    for step in 0..8 {
        let bytes = output(client);
        from_client.extend_from_slice(&bytes);
        for event in feed(server, START, &bytes) {
            greet(server, &event);
        }
        let bytes = output(server);
        from_server.extend_from_slice(&bytes);
        for event in feed(client, START, &bytes) {
            greet(client, &event);
        }
        act(step, client, server);
    }
    (from_client, from_server)
}

/// Whoever is asked, on either side.
fn greet(asked: &mut Connection, event: &Event) {
    match event {
        Event::Open { conversation, .. } | Event::Invite { conversation, .. } => {
            asked.opened(START, *conversation, Some(Pid::new(7))).unwrap();
        }
        Event::Message(message) if message.expects == Expects::Reply => {
            let record = (asked.side() == Side::Server).then_some(RecordNumber::new(3));
            let echo = Reply { record, ..reply(message.conversation, message.id, &message.payload) };
            asked.reply(START, echo).unwrap();
        }
        Event::Close { conversation } => asked.ended(START, *conversation).unwrap(),
        Event::Serve { offer, .. } => asked.serving(START, *offer).unwrap(),
        Event::Withdraw { offer, .. } => asked.withdrawn(START, *offer).unwrap(),
        Event::Monitor { monitor, .. } | Event::Watch { monitor, .. } => {
            asked.monitoring(START, *monitor).unwrap();
        }
        Event::Unmonitor { monitor } => asked.unmonitored(START, *monitor).unwrap(),
        _ => {}
    }
}
