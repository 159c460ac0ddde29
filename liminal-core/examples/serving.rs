//! A client that serves, and a bus that others ask: two programs, with nothing but bytes between them. In the
//! end the client is gone without a word, and who has asked is told.

use std::collections::BTreeMap;
use std::error::Error;

use liminal_core::{
    Answer, Call, Command, Context, ConversationKey, Invocation, LinkId, Node, NodeNext, Offer, Participant,
    Received, Settings, Ticket, invoke,
};
use liminal_proto::{Config, Event, Instant, LinkError};

const NOW: Instant = Instant::ORIGIN;

/// Counts what it is asked, and does not answer what it does not like.
#[derive(Default)]
struct Counter(u32);

impl Participant for Counter {
    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        self.0 += 1;
        if message.payload == "hang" {
            return context.wake_after(std::time::Duration::from_secs(60));
        }
        context.reply(format!("{}: {}", self.0, String::from_utf8_lossy(&message.payload)));
    }
}

/// The program that serves.
struct Client {
    node: Node,
    link: LinkId,
    participants: BTreeMap<ConversationKey, Counter>,
}

impl Client {
    fn dial() -> Result<Self, Box<dyn Error>> {
        let mut node = Node::new(Settings::for_client());
        node.register("count".into(), Offer::Participant)?;
        let link = node.dial(NOW, Config::default());
        Ok(Self { node, link, participants: BTreeMap::new() })
    }

    /// Lets everything happen that can happen. As soon as it is connected it offers what it has.
    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            match self.node.poll() {
                NodeNext::Dialled(link, Event::Connected { .. }) => {
                    let client = self.node.client(link).ok_or("it was dialled")?;
                    client.serve(NOW, Some("count"), 8)?;
                }
                NodeNext::Run(ticket, call) => self.run(ticket, &call),
                NodeNext::Wait(_) => return Ok(()),
                _ => {}
            }
        }
    }

    fn run(&mut self, ticket: Ticket, call: &Invocation) {
        let participant = self.participants.entry(call.conversation).or_default();
        let mut answers: Vec<Answer> = Vec::new();
        invoke(participant, NOW, call, &mut answers);
        if matches!(call.what, Call::Leave { .. }) {
            self.participants.remove(&call.conversation);
        }
        for answer in answers {
            self.node.answer(NOW, ticket, answer);
        }
    }
}

/// The program that has the bus, with an opener in it.
struct Server {
    node: Node,
    link: LinkId,
    opener: LinkId,
    told: Vec<Command>,
}

impl Server {
    fn new() -> Self {
        let mut node = Node::new(Settings::default());
        let (link, opener) = (node.accept(NOW, Config::default()), node.local(NOW));
        Self { node, link, opener, told: Vec::new() }
    }

    fn turn(&mut self) {
        loop {
            match self.node.poll() {
                NodeNext::Local(_, command) => self.told.push(command),
                NodeNext::Wait(_) => return,
                _ => {}
            }
        }
    }
}

/// Both have their turns, and what one writes arrives at the other, until nothing moves any more.
fn settle(client: &mut Client, server: &mut Server) -> Result<(), Box<dyn Error>> {
    loop {
        client.turn()?;
        server.turn();
        let up = client.node.take_write(client.link, usize::MAX);
        client.node.wrote(client.link, server.node.receive(NOW, server.link, &up));
        let down = server.node.take_write(server.link, usize::MAX);
        server.node.wrote(server.link, client.node.receive(NOW, client.link, &down));
        if up.is_empty() && down.is_empty() {
            return Ok(());
        }
    }
}

/// What the opener was told, step by step.
///
/// # Errors
///
/// None in practice: what is asked for is there.
pub fn talk() -> Result<Vec<Command>, Box<dyn Error>> {
    let (mut client, mut server) = (Client::dial()?, Server::new());
    settle(&mut client, &mut server)?;
    let conversation = server.node.open(NOW, server.opener, "count")?;
    for question in ["sheep", "stars", "hang"] {
        server.node.ask(NOW, server.opener, conversation, None, question)?;
    }
    settle(&mut client, &mut server)?;
    server.node.link_lost(NOW, server.link, LinkError::Reset);
    server.turn();
    Ok(server.told)
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
