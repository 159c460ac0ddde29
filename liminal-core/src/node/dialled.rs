//! Links to other buses: this side is their client, and may serve there.

use liminal_proto::{Config, Connection, ConversationId, Event, Instant, Side};

use super::Node;
use crate::LinkId;

/// # A client of another bus
///
/// A link may be a connection that this side has dialled. Participants of this node then serve on the other bus:
/// what they are invited to there is a conversation of that link here, and each of them is called as in any other
/// conversation ([`NodeNext::Run`](super::NodeNext::Run)). The [settings](crate::Settings::for_client) of such a
/// bus leave it to the other one how long an answer may take. `examples/serving.rs` has two such programs.
///
/// ```
/// use liminal_core::{Answer, Call, Node, NodeNext, Offer, Settings};
/// use liminal_proto::{Config, Event, Instant};
///
/// let now = Instant::ORIGIN;
/// let mut server = Node::new(Settings::default());
/// let mut client = Node::new(Settings::for_client());
/// client.register("work".into(), Offer::Participant)?;
/// let (near, far) = (client.dial(now, Config::default()), server.accept(now, Config::default()));
/// // Somebody on the server, who asks as soon as somebody serves.
/// let opener = server.local(now);
///
/// let mut told = Vec::new();
/// let mut moved = true;
/// while moved {
///     loop {
///         match client.poll() {
///             NodeNext::Dialled(link, Event::Connected { .. }) => {
///                 client.client(link).expect("it was dialled").serve(now, Some("work"), 8)?;
///             }
///             NodeNext::Dialled(_, Event::Serving { .. }) => {
///                 let conversation = server.open(now, opener, "work")?;
///                 server.ask(now, opener, conversation, None, "hello")?;
///             }
///             NodeNext::Run(ticket, call) => {
///                 if let Call::Message { payload, .. } = call.what {
///                     client.answer(now, ticket, Answer::Reply(payload.into()));
///                 }
///                 client.answer(now, ticket, Answer::Done);
///             }
///             NodeNext::Wait(_) => break,
///             _ => {}
///         }
///     }
///     loop {
///         match server.poll() {
///             NodeNext::Local(_, command) => told.push(command), // opened, answered
///             NodeNext::Wait(_) => break,
///             _ => {}
///         }
///     }
///     // The transport: what one side writes arrives at the other.
///     let up = client.take_write(near, usize::MAX);
///     client.wrote(near, server.receive(now, far, &up));
///     let down = server.take_write(far, usize::MAX);
///     server.wrote(far, client.receive(now, near, &down));
///     moved = !(up.is_empty() && down.is_empty());
/// }
/// assert_eq!(told.len(), 2, "{told:?}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Node {
    /// A transport to another bus was connected, or is about to be: this is the client's side. What is registered
    /// here is not offered there by that: see [`client`](Self::client).
    pub fn dial(&mut self, now: Instant, config: Config) -> LinkId {
        self.see(now);
        self.link(Connection::client(self.now, Self::counting(config)))
    }

    /// The connection of a link that was [dialled](Self::dial), to be told what its client wants: to
    /// [serve](Connection::serve) and [withdraw](Connection::withdraw), to [open](Connection::open) conversations
    /// of its own and speak in them, to [disconnect](Connection::disconnect). `None`: there is no such link.
    ///
    /// What comes of it is told by [`poll`](Self::poll) ([`NodeNext::Dialled`](super::NodeNext::Dialled)). The
    /// node moves the bytes of the connection and polls it, and the bus answers for its participants: whoever does
    /// so here as well takes away from them what they are told. Of the replies in its own conversations the client
    /// says itself that it is [through](Connection::consumed) with them.
    pub fn client(&mut self, link: LinkId) -> Option<&mut Connection> {
        if !self.is_dialled(link) {
            return None;
        }
        // Whatever is done to it now, it has its turn afterwards.
        self.touch(link);
        self.remote_mut(link).map(|it| &mut it.connection)
    }

    /// Whether it concerns what the client has begun that the peer has given credit in this conversation.
    pub(super) fn is_told_of_room(&self, link: LinkId, conversation: Option<ConversationId>) -> bool {
        self.is_dialled(link) && conversation.is_none_or(is_of_client)
    }

    pub(super) fn is_dialled(&self, link: LinkId) -> bool {
        self.remote(link).is_some_and(|it| it.connection.side() == Side::Client)
    }
}

/// A client begins on odd streams, and its conversations have their number.
const fn is_of_client(conversation: ConversationId) -> bool {
    conversation.get() % 2 == 1
}

/// Whether a client's connection tells this of a conversation that its participants were invited to. All else is
/// about what the client has begun.
pub(super) const fn is_of_guest(event: &Event) -> bool {
    matches!(event, Event::Invite { .. } | Event::Message(_) | Event::Close { .. } | Event::Cancel { .. })
}
