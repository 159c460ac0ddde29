//! The bus and a naive reference of it, under any operations.

mod onlookers;
mod op;
mod reference;
mod world;

pub use op::{Op, SUBJECTS_OPENED};
pub use world::World;

use core::time::Duration;

use bytes::Bytes;
use liminal_proto::{ConversationId, Event, Expects, Message, MessageId, Metadata};

use crate::Tape;

/// Fuzz target: any operations, and then everything must come to its end.
pub fn compare(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut world = World::new();
    while !tape.is_over() {
        world.apply(&Op::read(&mut tape));
    }
    world.finish();
}

/// A client says something in a conversation.
#[must_use]
pub fn says(id: u64, message: u64, expects: Expects, timeout: Option<Duration>, payload: Bytes) -> Event {
    let (conversation, id) = (ConversationId::new(id), MessageId::new(message));
    Event::Message(Message {
        conversation,
        id,
        expects,
        timeout,
        redelivered: 0,
        metadata: Metadata::default(),
        payload,
    })
}
