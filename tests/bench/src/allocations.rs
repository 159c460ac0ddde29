//! How often memory is asked for. The allocator counts, so nothing is timed here.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use liminal_proto::wire::{decode, decode_shared};
use liminal_proto::{Config, Connection, ConversationId, Event, Instant, Metadata, Next, Reply};

use crate::codec::{PAYLOAD_MAX, encoded, messages};
use crate::load::{REQUESTS, Rig};
use crate::report::{Report, Unit};
use crate::served::Kind;
use crate::{Counter, Failure};

const ROUNDS: usize = 100;
const PAYLOAD: usize = 64;
/// What one read of a driver may bring, and what one read of an embedder with a small buffer does.
const CHUNKS: [usize; 2] = [4 << 10, 64 << 10];

pub(crate) fn measure(report: &mut Report, counter: Counter) -> Result<(), Failure> {
    codec(report, counter)?;
    for chunk in CHUNKS {
        connection(report, counter, chunk)?;
    }
    for kind in Kind::ALL {
        requests(report, kind)?;
    }
    Ok(())
}

fn codec(report: &mut Report, counter: Counter) -> Result<(), Failure> {
    for (name, dialect, frame) in messages() {
        let encoded = encoded(dialect, &frame)?;
        let borrowed = average(counter, || {
            black_box(decode(dialect, PAYLOAD_MAX, black_box(&encoded)).is_ok());
        });
        let owned = average(counter, || {
            black_box(decode_shared(dialect, PAYLOAD_MAX, black_box(&encoded)).is_ok());
        });
        report.judge(format!("{name}: decoding a message, borrowed"), borrowed, Unit::Count, 0.0)?;
        report.tell(format!("{name}: decoding a message, owned"), owned, Unit::Count)?;
    }
    Ok(())
}

fn average(counter: Counter, mut work: impl FnMut()) -> f64 {
    let before = counter();
    (0..ROUNDS).for_each(|_| work());
    (counter() - before) as f64 / ROUNDS as f64
}

/// What a server's connection asks for when a chunk full of messages arrives.
fn connection(report: &mut Report, counter: Counter, chunk: usize) -> Result<(), Failure> {
    let mut pair = Pair::open()?;
    let frame = pair.ask(1)?.len();
    pair.serve(&mut Vec::new())?;
    let messages = chunk / frame;
    let mut events = Vec::with_capacity(messages);
    let mut total = 0;
    // The first chunk finds tables that have never been so full.
    for round in 0..=ROUNDS {
        let bytes = pair.ask(messages)?;
        let before = counter();
        pair.receive(&bytes, &mut events)?;
        total += if round == 0 { 0 } else { counter() - before };
        pair.serve(&mut events)?;
    }
    let each = total as f64 / ROUNDS as f64;
    let label = |what| format!("{} KiB of messages into a connection: for {what}", chunk >> 10);
    report.tell(label("all of them"), each, Unit::Count)?;
    report.judge(label("each of them"), each / messages as f64, Unit::Count, 0.5)
}

/// What a server asks for in a request and its reply, under load.
fn requests(report: &mut Report, kind: Kind) -> Result<(), Failure> {
    let mut rig = Rig::start(kind)?;
    let before = rig.served.allocations()?;
    rig.burst()?;
    let each = (rig.served.allocations()? - before) / REQUESTS as f64;
    report.tell(format!("{}: a request under load", kind.name()), each, Unit::Count)
}

/// Both sides of a connection, in memory.
struct Pair {
    client: Connection,
    server: Connection,
    conversation: ConversationId,
    payload: Bytes,
}

const NOW: Instant = Instant::ORIGIN;

impl Pair {
    fn open() -> Result<Self, Failure> {
        let mut client = Connection::client(NOW, Config::default());
        let mut server = Connection::server(NOW, Config::default());
        if !connects(&mut client, &mut server) {
            return Err("two connections in memory do not connect".into());
        }
        let conversation = client.open(NOW, "echo")?;
        let mut this = Self { client, server, conversation, payload: Bytes::from(vec![7; PAYLOAD]) };
        let open = this.client.take_write(usize::MAX);
        this.client.wrote(open.len());
        this.receive(&open, &mut Vec::new())?;
        this.server.opened(NOW, conversation, None)?;
        this.serve(&mut Vec::new())?;
        Ok(this)
    }

    /// The bytes of so many requests.
    fn ask(&mut self, messages: usize) -> Result<Bytes, Failure> {
        for _ in 0..messages {
            let payload = self.payload.clone();
            self.client
                .ask(NOW, self.conversation, Some(Duration::from_secs(1)), payload)
                .map_err(|rejected| rejected.reason)?;
        }
        let bytes = self.client.take_write(usize::MAX);
        self.client.wrote(bytes.len());
        Ok(bytes)
    }

    /// The server takes them and says what happened.
    fn receive(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
        if self.server.receive(NOW, bytes) < bytes.len() {
            return Err("the chunk is larger than what a connection takes at once".into());
        }
        while let Next::Event(event) = self.server.poll() {
            events.push(event);
        }
        Ok(())
    }

    /// The server replies to everything, and the client hears it.
    fn serve(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        while let Next::Event(event) = self.server.poll() {
            events.push(event);
        }
        for event in events.drain(..) {
            if let Event::Message(message) = event {
                let reply = Reply {
                    conversation: message.conversation,
                    answers: message.id,
                    record: None,
                    last: true,
                    metadata: Metadata::default(),
                    payload: Bytes::new(),
                };
                self.server.reply(NOW, reply).map_err(|rejected| rejected.reason)?;
            }
        }
        hand_over(&mut self.server, &mut self.client);
        while let Next::Event(_) = self.client.poll() {}
        // What it gives credit with is no part of the next chunk.
        hand_over(&mut self.client, &mut self.server);
        while let Next::Event(_) = self.server.poll() {}
        Ok(())
    }
}

fn connects(client: &mut Connection, server: &mut Connection) -> bool {
    hand_over(client, server);
    while let Next::Event(_) = server.poll() {}
    hand_over(server, client);
    matches!(client.poll(), Next::Event(Event::Connected { .. }))
}

/// Moves what one side has to say to the other.
fn hand_over(from: &mut Connection, to: &mut Connection) {
    let bytes = from.take_write(usize::MAX);
    from.wrote(bytes.len());
    to.receive(NOW, &bytes);
}
