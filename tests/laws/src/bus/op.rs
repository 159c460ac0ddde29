//! What may be done with a bus.

use crate::Tape;

/// What conversations are opened on, those more often of which there is more to be seen.
pub const SUBJECTS_OPENED: [&str; 10] =
    ["echo", "echo", "log", "nobody", "pair", "route", "route", "route", "undo", "lost"];

/// One operation. Whom it concerns is chosen among those there are; where there is none it does nothing.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are small numbers that choose what their names say")]
pub enum Op {
    /// A link comes up.
    Connect,
    /// A client opens a conversation.
    Open { link: u8, id: u8, subject: u8 },
    /// A client says something, with a timeout in units of 300 ms and five bytes for each of `len`.
    Say { link: u8, id: u8, expects: u8, timeout: u8, len: u8 },
    /// A client closes a conversation.
    Close { link: u8, id: u8 },
    /// A link is lost.
    Lose { link: u8 },
    /// A participant that is running does something.
    Answer { ticket: u8, kind: u8 },
    /// A call of any time is answered, be it for the second time.
    AnswerAnew { ticket: u8, kind: u8 },
    /// The host says that a participant has exited.
    Exit { call: u8, pid: u8 },
    /// Time passes: twice the square in milliseconds.
    Tick { time: u8 },
    /// A link has no room for replies.
    Full { link: u8 },
    /// It has room again.
    Ready { link: u8 },
    /// A client does not read one of its conversations.
    Unread { link: u8, id: u8 },
    /// It does again.
    Read { link: u8, id: u8 },
    /// Polls, so many times at most.
    Poll { times: u8 },
    /// One more participant serves the subject on which conversations go on.
    Register,
    /// One of them does no more.
    Unregister { offer: u8 },
    /// A link wants to be told of the life of the conversation of a participant that was called.
    Monitor { link: u8, call: u8 },
    /// A link wants to be told the records of conversations on a subject; beyond the subjects there are, of all.
    Watch { link: u8, subject: u8 },
    /// A link does not want to be told any more what it has asked for.
    Unmonitor { which: u8 },
    /// What a link was told has been written.
    Drained { link: u8 },
}

impl Op {
    /// The operation that comes next on a tape.
    pub fn read(tape: &mut Tape<'_>) -> Self {
        match tape.below(52) {
            0..=9 => Self::Poll { times: 1 + tape.below(19) },
            10 | 11 => Self::Connect,
            12..=15 => {
                let (link, id) = (tape.byte(), tape.below(4));
                Self::Open { link, id, subject: tape.below(SUBJECTS_OPENED.len() as u8) }
            }
            16..=23 => {
                let (link, id, expects, timeout) = (tape.byte(), tape.below(4), tape.below(3), tape.below(4));
                Self::Say { link, id, expects, timeout, len: tape.byte() }
            }
            24 | 25 => Self::Close { link: tape.byte(), id: tape.below(4) },
            26 => Self::Lose { link: tape.byte() },
            27..=37 => Self::Answer { ticket: tape.byte(), kind: tape.below(12) },
            38 => Self::AnswerAnew { ticket: tape.byte(), kind: tape.below(12) },
            39 | 40 => Self::Exit { call: tape.byte(), pid: tape.byte() },
            41 | 42 => Self::Tick { time: tape.byte() },
            43 => Self::Full { link: tape.byte() },
            44 => Self::Ready { link: tape.byte() },
            45 => Self::Register,
            46 => Self::Unread { link: tape.byte(), id: tape.below(4) },
            47 => Self::Read { link: tape.byte(), id: tape.below(4) },
            48 => Self::Unregister { offer: tape.byte() },
            _ => Self::looking_on(tape),
        }
    }

    fn looking_on(tape: &mut Tape<'_>) -> Self {
        match tape.below(8) {
            0..=3 => Self::Monitor { link: tape.byte(), call: tape.byte() },
            4 => Self::Watch { link: tape.byte(), subject: tape.below(SUBJECTS_OPENED.len() as u8 + 1) },
            5 => Self::Unmonitor { which: tape.byte() },
            _ => Self::Drained { link: tape.byte() },
        }
    }
}
