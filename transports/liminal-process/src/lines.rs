//! A line for each message, in lockstep: whatever becomes of a message, the child owes one line for it, and
//! the next message is written when that has come.

use bytes::{Buf as _, BytesMut};

use crate::dialogue::{Dialogue, Fault, Given, Newline, Said};

pub(crate) struct Lines {
    line_bytes_max: usize,
    /// The line that the child has begun.
    line: Vec<u8>,
    /// What the child has not taken of the last message.
    out: BytesMut,
    /// Whether it has taken none of it.
    untouched: bool,
    /// What becomes of the line that the child owes.
    owed: Option<Owed>,
    /// The message in hand, while the line to the one before it is owed.
    waiting: Option<Given>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    /// It is the reply.
    Reply,
    /// It is discarded, and the message that wanted no reply is through.
    Through,
    /// It is discarded: the message was given up.
    Discarded,
}

impl Lines {
    pub(crate) fn new(line_bytes_max: usize) -> Self {
        Self {
            line_bytes_max,
            line: Vec::new(),
            out: BytesMut::new(),
            untouched: false,
            owed: None,
            waiting: None,
        }
    }

    /// Writes the message that waits, if nothing stands before it any more.
    fn go_on(&mut self) {
        if self.owed.is_some() || !self.out.is_empty() {
            return;
        }
        let Some(message) = self.waiting.take() else { return };
        self.out = BytesMut::with_capacity(message.payload.len().saturating_add(1));
        self.out.extend_from_slice(&message.payload);
        self.out.extend_from_slice(b"\n");
        self.untouched = true;
        self.owed = Some(if message.expects_reply { Owed::Reply } else { Owed::Through });
    }

    fn on_line(&mut self, said: &mut Vec<Said>) {
        let line = std::mem::take(&mut self.line);
        match self.owed.take() {
            Some(Owed::Reply) => said.push(Said::Reply(line.into())),
            Some(Owed::Through) => said.push(Said::Through),
            Some(Owed::Discarded) | None => {}
        }
        self.go_on();
    }
}

impl Dialogue for Lines {
    fn message(&mut self, message: Given) -> Result<(), Newline> {
        if message.payload.contains(&b'\n') {
            return Err(Newline);
        }
        self.waiting = Some(message);
        self.go_on();
        Ok(())
    }

    fn give_up(&mut self) {
        if self.waiting.take().is_some() {
            return;
        }
        if self.untouched {
            self.out = BytesMut::new();
            self.owed = None;
        } else {
            self.owed = self.owed.map(|_| Owed::Discarded);
        }
    }

    fn to_write(&self) -> &[u8] {
        &self.out
    }

    fn wrote(&mut self, n: usize) -> Option<Said> {
        self.out.advance(n.min(self.out.len()));
        self.untouched &= n == 0;
        if self.out.is_empty() {
            self.out = BytesMut::new();
            self.go_on();
        }
        None
    }

    fn receive(&mut self, bytes: &[u8], said: &mut Vec<Said>) -> Result<(), Fault> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.owed.is_none() || self.untouched {
                return Err(Fault::Unasked);
            }
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            if text.len() > self.line_bytes_max.saturating_sub(self.line.len()) {
                return Err(Fault::LineTooLong(self.line_bytes_max));
            }
            self.line.extend_from_slice(text);
            if ends {
                self.on_line(said);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(payload: &'static str, expects_reply: bool) -> Given {
        Given { record: 1, expects_reply, payload: payload.into() }
    }

    fn write_all(lines: &mut Lines) -> String {
        let text = String::from_utf8(lines.to_write().to_vec()).unwrap();
        assert_eq!(lines.wrote(text.len()), None);
        text
    }

    fn hear(lines: &mut Lines, text: &str) -> Result<Vec<Said>, Fault> {
        let mut said = Vec::new();
        lines.receive(text.as_bytes(), &mut said).map(|()| said)
    }

    fn reply(text: &'static str) -> Said {
        Said::Reply(text.into())
    }

    fn asked(payload: &'static str) -> Lines {
        let mut lines = Lines::new(8);
        lines.message(given(payload, true)).unwrap();
        assert_eq!(write_all(&mut lines), format!("{payload}\n"));
        lines
    }

    #[test]
    fn a_line_is_the_reply_whatever_it_is_cut_into() {
        for pieces in [&["one\n"][..], &["o", "ne", "\n"], &["on", "e\n"]] {
            let mut lines = asked("x");
            let said: Vec<Said> = pieces.iter().flat_map(|piece| hear(&mut lines, piece).unwrap()).collect();
            assert_eq!(said, [reply("one")]);
        }
        assert_eq!(hear(&mut asked("x"), "\n"), Ok(vec![reply("")]));
        assert_eq!(hear(&mut asked("x"), "one\r\n"), Ok(vec![reply("one\r")]), "it is part of the reply");
    }

    #[test]
    fn the_line_for_a_message_that_wants_none_is_discarded() {
        let mut lines = Lines::new(8);
        lines.message(given("x", false)).unwrap();
        assert_eq!(write_all(&mut lines), "x\n");
        assert_eq!(hear(&mut lines, "ignored\n"), Ok(vec![Said::Through]));
    }

    #[test]
    fn a_payload_with_a_newline_is_refused_and_changes_nothing() {
        let mut lines = Lines::new(8);
        for payload in ["a\nb", "\n", "a\n"] {
            assert_eq!(lines.message(given(payload, true)), Err(Newline));
            assert_eq!(lines.to_write(), b"");
        }
        lines.message(given("x", true)).unwrap();
        assert_eq!(write_all(&mut lines), "x\n");
    }

    #[test]
    fn a_late_line_is_discarded_and_the_next_message_is_written_when_it_came() {
        let mut lines = asked("slow");
        assert_eq!(hear(&mut lines, "la"), Ok(vec![]));
        lines.give_up();
        lines.message(given("next", true)).unwrap();
        assert_eq!(lines.to_write(), b"");
        assert_eq!(hear(&mut lines, "te\n"), Ok(vec![]));
        assert_eq!(write_all(&mut lines), "next\n");
        assert_eq!(hear(&mut lines, "now\n"), Ok(vec![reply("now")]));
    }

    #[test]
    fn what_is_given_up_before_it_was_written_never_is() {
        let mut lines = asked("slow");
        lines.give_up();
        lines.message(given("dropped", true)).unwrap();
        lines.give_up();
        assert_eq!(hear(&mut lines, "late\n"), Ok(vec![]));
        assert_eq!(lines.to_write(), b"");

        lines.message(given("dropped, too", true)).unwrap();
        lines.give_up();
        lines.message(given("x", true)).unwrap();
        assert_eq!(write_all(&mut lines), "x\n");
        assert_eq!(hear(&mut lines, "y\n"), Ok(vec![reply("y")]));
    }

    #[test]
    fn what_is_given_up_when_it_was_half_written_is_finished() {
        let mut lines = Lines::new(8);
        lines.message(given("half", true)).unwrap();
        lines.wrote(2);
        lines.give_up();
        lines.message(given("next", true)).unwrap();
        assert_eq!(write_all(&mut lines), "lf\n");
        assert_eq!(hear(&mut lines, "late\n"), Ok(vec![]));
        assert_eq!(write_all(&mut lines), "next\n");
    }

    #[test]
    fn an_answer_may_come_before_the_message_was_read_to_its_end() {
        let mut lines = Lines::new(8);
        lines.message(given("long", true)).unwrap();
        lines.wrote(2);
        assert_eq!(hear(&mut lines, "early\n"), Ok(vec![reply("early")]));
        lines.message(given("next", true)).unwrap();
        assert_eq!(write_all(&mut lines), "ng\n");
        assert_eq!(write_all(&mut lines), "next\n");
    }

    #[test]
    fn a_line_that_nobody_asked_for_is_a_fault() {
        assert_eq!(hear(&mut Lines::new(8), "hello"), Err(Fault::Unasked));
        let mut said = Vec::new();
        assert_eq!(asked("x").receive(b"one\ntwo\n", &mut said), Err(Fault::Unasked));
        assert_eq!(said, [reply("one")], "what came before it stands");

        let mut lines = asked("slow");
        lines.give_up();
        lines.message(given("next", true)).unwrap();
        assert_eq!(hear(&mut lines, "late\ntoo early\n"), Err(Fault::Unasked));
    }

    #[test]
    fn the_length_of_a_line_is_bounded() {
        assert_eq!(hear(&mut asked("x"), "12345678\n"), Ok(vec![reply("12345678")]));
        assert_eq!(hear(&mut asked("x"), "123456789"), Err(Fault::LineTooLong(8)));
        let mut lines = asked("x");
        assert_eq!(hear(&mut lines, "1234"), Ok(vec![]));
        assert_eq!(hear(&mut lines, "56789\n"), Err(Fault::LineTooLong(8)));
    }
}
