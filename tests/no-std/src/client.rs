//! The program at one end: it opens a conversation, asks, and says goodbye.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use liminal_proto::{CloseReason, Config, Connection, ConversationId, Event, Outcome};

use crate::line::{carry, next};
use crate::{Line, Ticks, yield_now};

/// What the client was told.
#[derive(Debug, Default)]
pub struct Told {
    /// Each reply, in order.
    pub replies: Vec<Bytes>,
    /// How each request ended that got none.
    pub ends: Vec<Outcome>,
    /// How the connection ended.
    pub closed: Option<CloseReason>,
}

/// Asks each of these in one conversation on a subject, and ends when all have been answered or refused.
pub async fn run(mut line: impl Line, ticks: &Ticks, subject: &str, questions: &[&str], told: &mut Told) {
    let mut connection = Connection::client(ticks.now(), Config::default());
    loop {
        connection.tick(ticks.now());
        let wants = loop {
            match next(&mut connection) {
                Ok(event) => on_event(&mut connection, ticks, event, (subject, questions), told),
                Err(wants) => break wants,
            }
        };
        if wants.finished {
            return;
        }
        let moved = carry(&mut line, &mut connection, ticks.now(), wants);
        ticks.note(moved, wants.wake.at());
        yield_now().await;
    }
}

fn on_event(
    connection: &mut Connection,
    ticks: &Ticks,
    event: Event,
    (subject, questions): (&str, &[&str]),
    told: &mut Told,
) {
    match event {
        Event::Connected { .. } => {
            let asked = connection
                .open(ticks.now(), subject)
                .map(|conversation| ask(connection, ticks, conversation, questions));
            if asked.is_err() {
                connection.disconnect(ticks.now());
            }
        }
        Event::Reply(reply) => told.replies.push(reply.payload),
        Event::Outcome { outcome, .. } => told.ends.push(outcome),
        Event::Closed(reason) => told.closed = Some(reason),
        _ => {}
    }
    if told.replies.len() + told.ends.len() == questions.len() {
        connection.disconnect(ticks.now());
    }
}

fn ask(connection: &mut Connection, ticks: &Ticks, conversation: ConversationId, questions: &[&str]) {
    for question in questions {
        // There is room for a few questions; one that has none would come back here with the reason.
        let _ = connection.ask(ticks.now(), conversation, None, String::from(*question));
    }
}
