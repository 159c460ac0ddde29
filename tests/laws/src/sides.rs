//! One side of a connection by itself, driven by hand.

use core::time::Duration;

use bytes::Bytes;
use liminal_proto::wire::{Body, Dialect, FrameBuf};
use liminal_proto::{
    Config, Connection, ConversationId, Event, Expects, Instant, Limits, Message, MessageId, Metadata, Next,
    Outcome, Pid, Reply, Wants,
};

use crate::frames::{connect, connect_ack, frames, greeting, windows};

/// When everything begins.
pub const START: Instant = Instant::ORIGIN;

/// So many milliseconds after the start.
pub fn millis(millis: u64) -> Instant {
    START.after(Duration::from_millis(millis))
}

/// So many seconds after the start.
pub fn seconds(seconds: u64) -> Instant {
    START.after(Duration::from_secs(seconds))
}

/// Polls until there is nothing more to tell.
pub fn drain(connection: &mut Connection) -> (Vec<Event>, Wants) {
    let mut events = Vec::new();
    loop {
        match connection.poll() {
            Next::Event(event) => events.push(event),
            Next::Wait(wants) => return (events, wants),
        }
    }
}

/// All events there are.
pub fn events(connection: &mut Connection) -> Vec<Event> {
    drain(connection).0
}

/// What it waits for, when there is nothing to tell.
pub fn wants(connection: &mut Connection) -> Wants {
    let (events, wants) = drain(connection);
    assert_eq!(events, []);
    wants
}

/// Hands in all of `bytes`, polling whenever the connection takes no more of them.
pub fn feed(connection: &mut Connection, now: Instant, mut bytes: &[u8]) -> Vec<Event> {
    let mut seen = Vec::new();
    loop {
        let taken = connection.receive(now, bytes);
        bytes = &bytes[taken..];
        let (events, wants) = drain(connection);
        seen.extend(events);
        if bytes.is_empty() {
            return seen;
        }
        assert!(wants.read || taken > 0, "the connection is paused with {} bytes to go", bytes.len());
    }
}

/// Takes out all there is to write.
pub fn output(connection: &mut Connection) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let bytes = connection.take_write(usize::MAX);
        if bytes.is_empty() {
            return out;
        }
        connection.wrote(bytes.len());
        out.extend_from_slice(&bytes);
    }
}

/// The frames that are to be written, taken out.
pub fn written(connection: &mut Connection) -> Vec<FrameBuf> {
    frames(Dialect::V2, &output(connection))
}

/// The bodies of the frames that are to be written, taken out.
pub fn said(connection: &mut Connection) -> Vec<Body<String, Bytes>> {
    written(connection).into_iter().map(|frame| frame.body).collect()
}

/// A server whose client has connected with this major version.
pub fn server_of(version: u16, config: Config) -> Connection {
    let own = if version == 2 { windows(&config.limits) } else { Vec::new() };
    let mut server = Connection::server(START, config);
    let hello = [connect((version, 0), (version, 0), b""), greeting(version)].concat();
    let events = feed(&mut server, START, &hello);
    assert!(matches!(events[..], [Event::Connected { .. }]), "{events:?}");
    assert_eq!(output(&mut server), [connect_ack(version), own].concat());
    server
}

/// A client whose server has chosen this major version.
pub fn client_of(version: u16, config: Config) -> Connection {
    let own = if version == 2 { windows(&config.limits) } else { Vec::new() };
    let mut client = Connection::client(START, config);
    output(&mut client);
    let events = feed(&mut client, START, &[connect_ack(version), greeting(version)].concat());
    assert!(matches!(events[..], [Event::Connected { .. }]), "{events:?}");
    assert_eq!(output(&mut client), own);
    client
}

/// The same with the defaults.
pub fn server(version: u16) -> Connection {
    server_of(version, Config::default())
}

/// The same with the defaults.
pub fn client(version: u16) -> Connection {
    client_of(version, Config::default())
}

/// The defaults but for some limits.
pub fn limited(set: impl FnOnce(&mut Limits)) -> Config {
    let mut config = Config::default();
    set(&mut config.limits);
    config
}

/// The simplest embedder of whoever is asked for anything: opens everything, echoes every request, closes at
/// once, takes every offer and every monitor.
pub fn serve(server: &mut Connection, now: Instant, event: &Event) {
    match event {
        Event::Open { conversation, .. } | Event::Invite { conversation, .. } => {
            server.opened(now, *conversation, Some(Pid::new(7))).unwrap();
        }
        Event::Serve { offer, .. } => server.serving(now, *offer).unwrap(),
        Event::Withdraw { offer, .. } => server.withdrawn(now, *offer).unwrap(),
        Event::Monitor { monitor, .. } | Event::Watch { monitor, .. } => {
            server.monitoring(now, *monitor).unwrap();
        }
        Event::Unmonitor { monitor } => server.unmonitored(now, *monitor).unwrap(),
        Event::Message(message) => answer(server, now, message),
        Event::Close { conversation } => server.ended(now, *conversation).unwrap(),
        _ => {}
    }
}

fn answer(server: &mut Connection, now: Instant, message: &Message) {
    match message.expects {
        Expects::Nothing => {}
        Expects::Acceptance => {
            let accepted = Outcome::Accepted { record: None };
            let _ = server.outcome(now, message.conversation, message.id, &accepted);
        }
        Expects::Reply => {
            let _ = server.reply(now, reply(message.conversation, message.id, &message.payload));
        }
    }
}

/// A reply that is the last one to its request.
pub fn reply(conversation: ConversationId, answers: MessageId, payload: &[u8]) -> Reply {
    Reply {
        conversation,
        answers,
        record: None,
        last: true,
        metadata: Metadata::default(),
        payload: Bytes::copy_from_slice(payload),
    }
}
