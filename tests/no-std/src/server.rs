//! The program at the other end: a whole bus with one link and one kind of participant.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use liminal_core::{
    Call, ConversationKey, Factory, Invocation, LinkId, Node, NodeNext, Offer, Participant, Settings, Ticket,
    invoke,
};
use liminal_proto::{Config, Wake};

use crate::{Line, Ticks, yield_now};

/// Serves one line until its client has gone.
pub async fn run(mut line: impl Line, ticks: &Ticks, subject: &str, factory: impl Factory) {
    let mut node = Node::new(Settings::default());
    if node.register(subject.into(), Offer::Participant).is_err() {
        return;
    }
    let link = node.accept(ticks.now(), Config::default());
    let mut participants = BTreeMap::new();
    loop {
        node.tick(ticks.now());
        let wake = turn(&mut node, ticks, &factory, &mut participants);
        if node.wants(link).is_none_or(|wants| wants.finished) {
            return;
        }
        let moved = carry(&mut line, &mut node, link, ticks);
        ticks.note(moved, wake.at());
        yield_now().await;
    }
}

type Participants = BTreeMap<ConversationKey, Box<dyn Participant>>;

fn turn(node: &mut Node, ticks: &Ticks, factory: &impl Factory, participants: &mut Participants) -> Wake {
    loop {
        match node.poll() {
            NodeNext::Run(ticket, call) => make(node, ticks, ticket, &call, factory, participants),
            NodeNext::Wait(wake) => return wake,
            // Calls here return before they could be cancelled, and the end of the link is seen in its wants.
            _ => {}
        }
    }
}

fn make(
    node: &mut Node,
    ticks: &Ticks,
    ticket: Ticket,
    call: &Invocation,
    factory: &impl Factory,
    participants: &mut Participants,
) {
    let participant = participants.entry(call.conversation).or_insert_with(|| factory.create());
    let mut answers = Vec::new();
    invoke(&mut **participant, ticks.now(), call, &mut answers);
    if matches!(call.what, Call::Leave { .. }) {
        participants.remove(&call.conversation);
    }
    for answer in answers {
        node.answer(ticks.now(), ticket, answer);
    }
}

fn carry(line: &mut impl Line, node: &mut Node, link: LinkId, ticks: &Ticks) -> bool {
    let mut segments = [&[][..]; 1];
    let queued = node.to_write(link, &mut segments);
    let [segment] = segments;
    let written = if queued > 0 { line.write(segment) } else { 0 };
    node.wrote(link, written);
    let mut buffer = [0; 64];
    let wants_more = node.wants(link).is_some_and(|wants| wants.read);
    let room = if wants_more { node.input_room(link).min(buffer.len()) } else { 0 };
    let space = buffer.get_mut(..room).unwrap_or_default();
    let read = line.read(space);
    node.receive(ticks.now(), link, space.get(..read).unwrap_or_default());
    written + read > 0
}
