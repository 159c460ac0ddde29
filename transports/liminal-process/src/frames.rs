//! Frames with a length and the number of a message, so that a child answers when it likes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::dialogue::{Dialogue, Fault, Given, Newline, Said};

/// A type, the number of a message, and the length of the payload.
const HEADER_LEN: usize = 1 + 8 + 4;

/// To the child: a message that wants no answer.
const MESSAGE: u8 = b'm';
/// To the child: a message that wants one.
const REQUEST: u8 = b'r';
/// To the child: nobody waits for the answer to this request any more.
const CANCELLED: u8 = b'c';
/// From the child: a part of the answer.
const PART: u8 = b'p';
/// From the child: the answer, or its last part.
const ANSWER: u8 = b'a';
/// From the child: there is no answer, and this is why.
const NONE: u8 = b'n';

pub(crate) struct Frames {
    frame_bytes_max: usize,
    /// What the child wrote and is no whole frame yet.
    input: BytesMut,
    /// What the child has not taken.
    out: BytesMut,
    /// Whether it has taken none of the message in hand.
    untouched: bool,
    /// The message in hand, when it is in the output or behind it.
    current: Option<Current>,
    /// The message in hand, while the child has not taken what stands before it.
    waiting: Option<Given>,
    /// The highest number that the child was given.
    last: u64,
}

struct Current {
    number: u64,
    expects_reply: bool,
}

impl Frames {
    pub(crate) fn new(frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max,
            input: BytesMut::new(),
            out: BytesMut::new(),
            untouched: false,
            current: None,
            waiting: None,
            last: 0,
        }
    }

    fn go_on(&mut self) {
        if !self.out.is_empty() {
            return;
        }
        let Some(message) = self.waiting.take() else { return };
        let kind = if message.expects_reply { REQUEST } else { MESSAGE };
        self.put(kind, message.record, &message.payload);
        self.untouched = true;
        self.last = message.record;
        self.current = Some(Current { number: message.record, expects_reply: message.expects_reply });
    }

    fn put(&mut self, kind: u8, number: u64, payload: &[u8]) {
        self.out.reserve(HEADER_LEN.saturating_add(payload.len()));
        self.out.put_u8(kind);
        self.out.put_u64(number);
        // No payload comes near: a message arrived in a frame of the wire.
        self.out.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        self.out.extend_from_slice(payload);
    }

    /// The next whole frame: its type, the number of a message, its payload.
    fn next_frame(&mut self) -> Result<Option<(u8, u64, Bytes)>, Fault> {
        let Some((mut header, rest)) = self.input.split_at_checked(HEADER_LEN) else { return Ok(None) };
        let (kind, number, len) = (header.get_u8(), header.get_u64(), header.get_u32());
        let (len, limit) = (usize::try_from(len).unwrap_or(usize::MAX), self.frame_bytes_max);
        if ![PART, ANSWER, NONE].contains(&kind) {
            return Err(Fault::UnknownType(kind));
        }
        if len > limit {
            return Err(Fault::FrameTooLong { len, limit });
        }
        // A copy: what is kept of it must not keep everything that was read with it.
        let Some(payload) = rest.get(..len).map(Bytes::copy_from_slice) else { return Ok(None) };
        self.input.advance(HEADER_LEN.saturating_add(len));
        Ok(Some((kind, number, payload)))
    }

    /// An answer to what was given up, or wanted none, is dropped.
    fn on_frame(&mut self, kind: u8, number: u64, payload: Bytes) -> Result<Option<Said>, Fault> {
        if number == 0 || number > self.last {
            return Err(Fault::UnknownMessage(number));
        }
        if !self.current.as_ref().is_some_and(|it| it.number == number && it.expects_reply) {
            return Ok(None);
        }
        if kind == PART {
            return Ok(Some(Said::Part(payload)));
        }
        self.current = None;
        Ok(Some(match kind {
            NONE => Said::Refusal(String::from_utf8_lossy(&payload).into_owned()),
            _ => Said::Reply(payload),
        }))
    }
}

impl Dialogue for Frames {
    fn message(&mut self, message: Given) -> Result<(), Newline> {
        self.waiting = Some(message);
        self.go_on();
        Ok(())
    }

    fn give_up(&mut self) {
        if self.waiting.take().is_some() {
            return;
        }
        let Some(current) = self.current.take() else { return };
        if self.untouched {
            self.out = BytesMut::new();
        } else if current.expects_reply {
            self.put(CANCELLED, current.number, &[]);
        }
    }

    fn to_write(&self) -> &[u8] {
        &self.out
    }

    fn wrote(&mut self, n: usize) -> Option<Said> {
        self.out.advance(n.min(self.out.len()));
        self.untouched &= n == 0;
        if !self.out.is_empty() {
            return None;
        }
        self.out = BytesMut::new();
        let through = self.current.take_if(|current| !current.expects_reply).map(|_| Said::Through);
        self.go_on();
        through
    }

    fn receive(&mut self, bytes: &[u8], said: &mut Vec<Said>) -> Result<(), Fault> {
        self.input.extend_from_slice(bytes);
        while let Some((kind, number, payload)) = self.next_frame()? {
            said.extend(self.on_frame(kind, number, payload)?);
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, number: u64, payload: &str) -> Vec<u8> {
        let mut frames = Frames::new(0);
        frames.put(kind, number, payload.as_bytes());
        frames.out.to_vec()
    }

    fn given(record: u64, payload: &'static str, expects_reply: bool) -> Given {
        Given { record, expects_reply, payload: payload.into() }
    }

    fn write_all(frames: &mut Frames) -> (Vec<u8>, Option<Said>) {
        let bytes = frames.to_write().to_vec();
        let said = frames.wrote(bytes.len());
        (bytes, said)
    }

    fn hear(frames: &mut Frames, bytes: &[u8]) -> Result<Vec<Said>, Fault> {
        let mut said = Vec::new();
        frames.receive(bytes, &mut said).map(|()| said)
    }

    fn asked(record: u64) -> Frames {
        let mut frames = Frames::new(8);
        ask(&mut frames, record);
        frames
    }

    fn ask(frames: &mut Frames, record: u64) {
        frames.message(given(record, "x", true)).unwrap();
        assert_eq!(write_all(frames), (frame(REQUEST, record, "x"), None));
    }

    #[test]
    fn a_frame_is_a_type_a_number_a_length_and_a_payload() {
        assert_eq!(frame(REQUEST, 258, "ab"), b"r\0\0\0\0\0\0\x01\x02\0\0\0\x02ab");
    }

    #[test]
    fn parts_and_an_answer_come_however_they_are_cut() {
        let bytes = [frame(PART, 3, "on"), frame(PART, 3, ""), frame(ANSWER, 3, "e\n")].concat();
        let whole = vec![Said::Part("on".into()), Said::Part("".into()), Said::Reply("e\n".into())];
        assert_eq!(hear(&mut asked(3), &bytes), Ok(whole));
        let mut frames = asked(3);
        let said: Vec<Said> = bytes.iter().flat_map(|byte| hear(&mut frames, &[*byte]).unwrap()).collect();
        assert_eq!(said.len(), 3);
        let refusal = frame(NONE, 3, "no idea");
        assert_eq!(hear(&mut asked(3), &refusal), Ok(vec![Said::Refusal("no idea".into())]));
    }

    #[test]
    fn a_message_that_wants_no_answer_is_through_when_it_was_written() {
        let mut frames = Frames::new(8);
        frames.message(given(1, "x", false)).unwrap();
        assert_eq!(frames.wrote(3), None);
        assert_eq!(write_all(&mut frames).1, Some(Said::Through));
        assert_eq!(hear(&mut frames, &frame(ANSWER, 1, "unasked")), Ok(vec![]), "is dropped");
    }

    #[test]
    fn a_late_answer_is_dropped_and_does_not_hold_up_the_next_message() {
        let mut frames = asked(3);
        frames.give_up();
        assert_eq!(write_all(&mut frames).0, frame(CANCELLED, 3, ""));
        ask(&mut frames, 5);
        assert_eq!(hear(&mut frames, &frame(ANSWER, 3, "late")), Ok(vec![]));
        assert_eq!(hear(&mut frames, &frame(ANSWER, 5, "now")), Ok(vec![Said::Reply("now".into())]));
        assert_eq!(hear(&mut frames, &frame(ANSWER, 5, "again")), Ok(vec![]));
    }

    #[test]
    fn what_is_given_up_before_it_was_written_never_is() {
        let mut frames = Frames::new(8);
        frames.message(given(1, "half", true)).unwrap();
        frames.wrote(2);
        frames.give_up();
        frames.message(given(2, "dropped", true)).unwrap();
        frames.give_up();
        frames.message(given(3, "next", false)).unwrap();
        let rest = [&frame(REQUEST, 1, "half")[2..], &frame(CANCELLED, 1, "")].concat();
        assert_eq!(write_all(&mut frames), (rest, None));
        assert_eq!(write_all(&mut frames), (frame(MESSAGE, 3, "next"), Some(Said::Through)));
    }

    #[test]
    fn faults_are_named() {
        let asked_3 = || asked(3);
        assert_eq!(hear(&mut asked_3(), &frame(b'x', 3, "")), Err(Fault::UnknownType(b'x')));
        assert_eq!(hear(&mut asked_3(), &frame(ANSWER, 4, "")), Err(Fault::UnknownMessage(4)));
        assert_eq!(hear(&mut asked_3(), &frame(ANSWER, 0, "")), Err(Fault::UnknownMessage(0)));
        assert_eq!(hear(&mut asked_3(), &frame(ANSWER, 3, "12345678")).map(|said| said.len()), Ok(1));
        let fault = Fault::FrameTooLong { len: 9, limit: 8 };
        let header = frame(ANSWER, 3, "123456789");
        assert_eq!(hear(&mut asked_3(), &header[..HEADER_LEN]), Err(fault), "before any of it has come");
    }
}
