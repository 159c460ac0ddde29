//! What may be done with a connection.

use super::piece::piece;
use crate::Tape;

/// One call of an embedder. What does not apply is an error of that call and nothing else.
#[derive(Clone, Debug)]
pub enum Call {
    /// These bytes arrive.
    Receive(Vec<u8>),
    /// These bytes are read into the connection's own space, as far as there is any.
    Read(Vec<u8>),
    /// So many bytes are said to have been read.
    ReadDone(usize),
    /// The peer's half is closed.
    Eof,
    /// The transport is gone.
    LinkLost,
    /// It is so many milliseconds after the start, or was before.
    Tick(u64),
    /// Somebody looks at the output.
    ToWrite,
    /// So many bytes are said to have been written.
    Wrote(usize),
    /// At most so many bytes are taken out.
    TakeWrite(usize),
    /// Polls, so many times.
    Poll(usize),
    /// A client opens a conversation on a subject of this length.
    Open(usize),
    /// A message in a conversation that wants nothing (0) or its acceptance, and its length.
    Message(u64, u8, usize),
    /// A request in a conversation, and its timeout in milliseconds.
    Ask(u64, Option<u64>),
    /// Gives up waiting, in a conversation, for a message.
    Abandon(u64, u64),
    /// Closes a conversation.
    Close(u64),
    /// Asks for a sign of life.
    Ping,
    /// Closes the connection gracefully.
    Disconnect,
    /// A server says that a conversation is open.
    Opened(u64),
    /// A server does not open a conversation.
    Refuse(u64),
    /// A reply in a conversation to the nth last message, whether it is the last, and its length.
    Reply(u64, usize, bool, usize),
    /// An outcome, of this kind, in a conversation for the nth last message.
    Outcome(u64, usize, u16),
    /// A participant has exited, and whether its conversation goes on.
    Exited(u64, bool),
    /// Another participant has joined.
    Joined(u64),
    /// No other participant will.
    Failed(u64),
    /// A conversation is over.
    Ended(u64),
    /// A client offers participants for a subject of this length, for so many conversations.
    Serve(usize, u32),
    /// A client takes the offer on a stream back, and whether it drains it.
    Withdraw(u32, bool),
    /// The offer on a stream stands.
    Serving(u32),
    /// It does not.
    RefuseOffer(u32),
    /// It is no more.
    Withdrawn(u32),
    /// A server opens a conversation with a participant of the client.
    Invite(u64),
    /// A server says something in a conversation as the message with this number, what it wants to hear of it
    /// (nothing, its acceptance, a reply), and its length.
    Deliver(u64, u64, u8, usize),
    /// It is through with something of this length in a conversation.
    Consumed(u64, usize),
    /// A client monitors a participant.
    Monitor(u64),
    /// A client watches a subject of this length.
    Watch(usize),
    /// A client takes the monitor on a stream back.
    Unmonitor(u32),
    /// The monitor on a stream stands.
    Monitoring(u32),
    /// It does not.
    RefuseMonitor(u32),
    /// It is no more.
    Unmonitored(u32),
    /// The monitor on a stream is told this.
    Notice(u32, u8),
    /// The watch on a stream is told a record with a payload of this length.
    Record(u32, usize),
    /// The watch on a stream is told that records are left out.
    Gap(u32),
}

impl Call {
    /// How many bytes it hands over.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Receive(bytes) | Self::Read(bytes) => bytes.len(),
            Self::Open(len)
            | Self::Message(_, _, len)
            | Self::Reply(_, _, _, len)
            | Self::Serve(len, _)
            | Self::Watch(len)
            | Self::Record(_, len)
            | Self::Deliver(_, _, _, len) => *len,
            _ => 0,
        }
    }
}

/// The calls that a tape stands for.
pub(super) struct Calls<'a> {
    tape: Tape<'a>,
    /// What the peer has sent and the link has not yet brought.
    on_the_way: Vec<u8>,
}

impl<'a> Calls<'a> {
    pub(super) const fn new(tape: Tape<'a>) -> Self {
        Self { tape, on_the_way: Vec::new() }
    }

    /// The peer sends something, and the link brings some of what is on the way.
    fn arrive(&mut self) -> Vec<u8> {
        self.on_the_way.extend(piece(&mut self.tape));
        let brought = match self.tape.byte() {
            some @ 192.. => usize::from(some - 192),
            _ => usize::MAX,
        };
        self.on_the_way.drain(..brought.min(self.on_the_way.len())).collect()
    }

    fn size(&mut self) -> usize {
        match self.tape.byte() {
            small @ 0..=199 => small.into(),
            200..=229 => self.tape.short().into(),
            _ => usize::MAX,
        }
    }

    /// The length of a payload: some are above the bound from which they are shared, and some above
    /// that of a frame.
    fn length(&mut self) -> usize {
        match self.tape.byte() {
            small @ 0..=199 => small.into(),
            large => usize::from(large - 199) * 100,
        }
    }

    /// One that was seen lately.
    fn nth(&mut self) -> usize {
        self.tape.below(4).into()
    }

    fn time(&mut self) -> u64 {
        match self.tape.byte() {
            250.. => self.tape.number(),
            short => u64::from(short).pow(2) * 2,
        }
    }
}

impl Iterator for Calls<'_> {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        if self.tape.is_over() {
            return None;
        }
        Some(match self.tape.byte() {
            serving @ 240.. => self.serving(serving - 240),
            looking_on @ 228..=239 => self.looking_on(looking_on - 228),
            other => self.asking(other % 40),
        })
    }
}

impl Calls<'_> {
    fn asking(&mut self, choice: u8) -> Call {
        match choice {
            0..=3 => Call::Poll(1 + self.nth()),
            4..=11 => Call::Receive(self.arrive()),
            12 | 13 => Call::Read(self.arrive()),
            14 => Call::ReadDone(self.size()),
            15 => Call::Eof,
            16 => Call::LinkLost,
            17 | 18 => Call::Tick(self.time()),
            19 => Call::ToWrite,
            20 => Call::Wrote(self.size()),
            21 => Call::TakeWrite(self.size()),
            22 => Call::Open(self.length()),
            23 => Call::Message(self.tape.number(), self.tape.below(2), self.length()),
            24 => Call::Ask(self.tape.number(), None),
            25 => Call::Ask(self.tape.number(), Some(self.time())),
            26 => Call::Abandon(self.tape.number(), self.tape.number()),
            27 => Call::Close(self.tape.number()),
            28 => Call::Ping,
            29 => Call::Disconnect,
            30 | 31 => Call::Opened(self.tape.number()),
            32 => Call::Refuse(self.tape.number()),
            33 => Call::Reply(self.tape.number(), self.nth(), true, self.length()),
            34 => Call::Reply(self.tape.number(), self.nth(), false, self.length()),
            35 => Call::Outcome(self.tape.number(), self.nth(), self.tape.below(5).into()),
            36 => Call::Exited(self.tape.number(), self.tape.one_in(2)),
            37 => Call::Joined(self.tape.number()),
            38 => Call::Failed(self.tape.number()),
            _ => Call::Ended(self.tape.number()),
        }
    }

    fn serving(&mut self, choice: u8) -> Call {
        match choice {
            0 | 1 => Call::Serve(self.length(), self.tape.below(4).into()),
            2 => Call::Withdraw(self.stream(), true),
            3 => Call::Withdraw(self.stream(), false),
            4 | 5 => Call::Serving(self.stream()),
            6 => Call::RefuseOffer(self.stream()),
            7 => Call::Withdrawn(self.stream()),
            8..=10 => Call::Invite(self.tape.number()),
            14 | 15 => Call::Consumed(self.tape.number(), self.length()),
            _ => {
                let (at, message, expects) = (self.tape.number(), self.tape.number(), self.tape.below(3));
                Call::Deliver(at, message, expects, self.length())
            }
        }
    }

    fn looking_on(&mut self, choice: u8) -> Call {
        match choice {
            0 | 1 => Call::Monitor(self.tape.number()),
            2 => Call::Watch(self.length()),
            3 => Call::Unmonitor(self.stream()),
            4 | 5 => Call::Monitoring(self.stream()),
            6 => Call::RefuseMonitor(self.stream()),
            7 => Call::Unmonitored(self.stream()),
            8 | 9 => Call::Notice(self.stream(), self.tape.below(4)),
            10 => Call::Record(self.stream(), self.length()),
            _ => Call::Gap(self.stream()),
        }
    }

    fn stream(&mut self) -> u32 {
        self.tape.below(12).into()
    }
}
