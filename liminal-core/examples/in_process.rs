//! The bus in one program, without a socket: an opener asks, and sees the participant crash.

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use liminal_core::{
    Answer, Call, Command, Context, ConversationKey, Factory, Invocation, Node, NodeNext, Offer, Participant,
    Received, Settings, Ticket, invoke,
};
use liminal_proto::{ExitReason, Instant};

/// Says everything back, and cannot bear one word.
struct Echo;

impl Participant for Echo {
    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        assert!(message.payload != "boom", "somebody said boom");
        context.reply(message.payload);
    }
}

/// Holds the participants of one offer, and makes the calls that the bus wants made.
struct Host<F> {
    factory: F,
    participants: BTreeMap<ConversationKey, Box<dyn Participant>>,
}

impl<F: Factory> Host<F> {
    fn run(&mut self, node: &mut Node, now: Instant, ticket: Ticket, call: &Invocation) {
        let factory = &self.factory;
        let participant = self.participants.entry(call.conversation).or_insert_with(|| factory.create());
        let mut answers = Vec::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| invoke(&mut **participant, now, call, &mut answers)));
        if let Err(panic) = panicked {
            let text = panic.downcast_ref::<&str>().copied().unwrap_or("panicked").into();
            answers.push(Answer::Exited(ExitReason::Crashed { text }));
        }
        let exited = matches!(answers.last(), Some(Answer::Exited(_)));
        if exited || matches!(call.what, Call::Leave { .. }) {
            self.participants.remove(&call.conversation);
        }
        for answer in answers {
            node.answer(now, ticket, answer);
        }
    }

    /// Lets everything happen that can happen, and returns what the opener was told.
    fn run_all(&mut self, node: &mut Node, now: Instant) -> Vec<Command> {
        let mut told = Vec::new();
        loop {
            match node.poll() {
                NodeNext::Run(ticket, call) => self.run(node, now, ticket, &call),
                NodeNext::Local(_, command) => told.push(command),
                NodeNext::Wait(_) => return told,
                // Calls here return before anybody could cancel them, and there are no connections.
                NodeNext::Cancel(_)
                | NodeNext::Owned(..)
                | NodeNext::Record(..)
                | NodeNext::Served(_)
                | NodeNext::Dialled(..)
                | NodeNext::Uncompensated(_)
                | NodeNext::LinkClosed(..) => {}
            }
        }
    }
}

/// What the opener was told, step by step.
///
/// # Errors
///
/// None in practice: the subject is free and the link is a local one.
pub fn talk() -> Result<Vec<Command>, Box<dyn Error>> {
    let now = Instant::ORIGIN;
    let mut node = Node::new(Settings::default());
    node.register("echo".into(), Offer::Participant)?;
    let mut host = Host { factory: || Echo, participants: BTreeMap::new() };

    let link = node.local(now);
    let conversation = node.open(now, link, "echo")?;
    node.ask(now, link, conversation, None, "hello")?;
    node.ask(now, link, conversation, None, "boom")?;
    node.ask(now, link, conversation, None, "never answered")?;
    let mut told = host.run_all(&mut node, now);

    node.ask(now, link, conversation, None, "anybody there?")?;
    node.close(now, link, conversation)?;
    told.extend(host.run_all(&mut node, now));
    Ok(told)
}

/// Prints what the opener was told.
///
/// # Errors
///
/// Those of [`talk`].
#[allow(clippy::print_stdout, reason = "an example talks")]
pub fn main() -> Result<(), Box<dyn Error>> {
    for command in talk()? {
        println!("{command:?}");
    }
    Ok(())
}
