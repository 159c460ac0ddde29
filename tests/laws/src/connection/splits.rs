//! Law 2: chunking never matters.

use bytes::Bytes;
use liminal_proto::wire::Dialect;
use liminal_proto::{
    Config, Connection, ConversationId, Event, Expects, LogId, LogRecord, Logged, Message, MessageId,
    Metadata, Next, Notice, Phase, Pid, RecordNumber, Side,
};

use super::Beginning;
use super::piece::piece;
use crate::Tape;
use crate::frames::conversation;
use crate::sides::{START, client_of, events, output, serve};

/// Fuzz target: any input, cut in two anywhere, and into single bytes.
pub fn split(data: &[u8]) {
    let mut tape = Tape::new(data);
    let beginning = Beginning::read(&mut tape);
    let cuts: Vec<usize> = (0..tape.below(6)).map(|_| tape.short().into()).collect();
    let mut bytes = Vec::new();
    while !tape.is_over() {
        bytes.extend(piece(&mut tape));
    }
    assert_splits_are_equal(beginning, &bytes, &cuts);
}

/// Whole, cut at these places (beyond the end they start over) and in single bytes, the same input gives
/// the same events and the same answers. A client is in the midst of requests.
pub fn assert_splits_are_equal(beginning: Beginning, bytes: &[u8], cuts: &[usize]) {
    let make = || match (beginning.side, beginning.through) {
        (Side::Client, true) => busy_client(beginning.dialect),
        _ => beginning.begin(Config::default()),
    };
    let whole = transcript(&mut make(), &[bytes]);
    assert_eq!(transcript(&mut make(), &pieces(bytes, cuts)), whole);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(transcript(&mut make(), &single), whole);
}

/// A client with a few conversations and requests in flight, an offer, a monitor and a watch.
#[must_use]
pub fn busy_client(dialect: Dialect) -> Connection {
    let mut client = client_of(dialect.version().major, Config::default());
    for _ in 0..3 {
        let key = client.open(START, "subject").unwrap();
        for _ in 0..2 {
            client.ask(START, key, None, Bytes::new()).unwrap();
            client.message(START, key, Expects::Acceptance, Bytes::new()).unwrap();
        }
    }
    if dialect == Dialect::V2 {
        client.serve(START, Some("subject"), 2).unwrap();
        client.monitor(START, Pid::new(7)).unwrap();
        client.watch(START, None).unwrap();
    }
    output(&mut client);
    client
}

/// What a connection told and wrote when it was fed these pieces, with an embedder that always does
/// the same.
fn transcript(connection: &mut Connection, pieces: &[&[u8]]) -> (Vec<Event>, Vec<u8>) {
    let (mut told, mut wrote) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        loop {
            rest = &rest[connection.receive(START, rest)..];
            while let Next::Event(event) = connection.poll() {
                if connection.phase() != Phase::Closed {
                    serve_and_invite(connection, &event);
                    tell(connection, &event);
                }
                told.push(event);
            }
            wrote.extend(output(connection));
            if rest.is_empty() {
                break;
            }
        }
    }
    connection.eof(START);
    told.extend(events(connection));
    wrote.extend(output(connection));
    (told, wrote)
}

/// Whoever offers something is invited at once, on a stream that its own makes, and asked twice.
fn serve_and_invite(connection: &mut Connection, event: &Event) {
    serve(connection, START, event);
    if let Event::Serve { offer, .. } = event {
        let key = conversation(2 * u64::from(offer.get()));
        let _ = connection.invite(START, key, Pid::new(7), "subject");
        for message in [1, 2] {
            let _ = connection.deliver(START, request(key, message));
        }
    }
}

/// Whoever looks on is told something at once.
fn tell(connection: &mut Connection, event: &Event) {
    match event {
        Event::Monitor { monitor, .. } => {
            let _ = connection.notice(START, *monitor, &Notice::Joined { pid: Pid::new(8) });
        }
        Event::Watch { monitor, .. } => {
            let (log, number, subject) = (LogId::new(1), RecordNumber::new(2), None);
            let _ =
                connection.record(START, *monitor, &LogRecord { log, number, subject, what: Logged::Failed });
        }
        _ => {}
    }
}

fn request(conversation: ConversationId, message: u64) -> Message {
    let (id, expects, payload) = (MessageId::new(message), Expects::Reply, Bytes::new());
    Message {
        conversation,
        id,
        expects,
        timeout: None,
        redelivered: 0,
        metadata: Metadata::default(),
        payload,
    }
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    at.sort_unstable();
    at.push(bytes.len());
    let mut from = 0;
    at.into_iter()
        .map(|to| {
            let piece = &bytes[from..to];
            from = to;
            piece
        })
        .collect()
}
