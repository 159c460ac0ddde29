//! The notice of a compensation: one line of JSON, written by hand. `COMPENSATION.md` describes it.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use bytes::Bytes;
use liminal_proto::{Content, ExitReason, MessageId, Pid, RecordNumber};

use crate::ConversationKey;

/// What a participant left behind when it exited.
#[derive(Debug)]
pub(crate) struct Notice<'a> {
    pub(crate) conversation: ConversationKey,
    pub(crate) subject: &'a str,
    pub(crate) pid: Pid,
    pub(crate) reason: &'a ExitReason,
    /// The record of the exit.
    pub(crate) record: RecordNumber,
}

/// A message that it was not through with.
#[derive(Debug)]
pub(crate) struct Unanswered<'a> {
    pub(crate) record: RecordNumber,
    pub(crate) id: MessageId,
    /// Whether a reply to it was wanted.
    pub(crate) asked: bool,
    /// Whether it had been given it.
    pub(crate) delivered: bool,
    pub(crate) content: &'a Content,
}

impl Notice<'_> {
    /// The line. Messages are listed from the first on, as far as the line stays within `max` bytes; it
    /// says how many were left out. The rest of the line is bounded by the limits on names and texts.
    pub(crate) fn line<'a>(&self, unanswered: impl Iterator<Item = Unanswered<'a>>, max: usize) -> Bytes {
        let mut line = self.head();
        let mut left_out = 0_u64;
        for (nth, message) in unanswered.enumerate() {
            // The first that finds no room is the last: what is listed has no holes.
            if left_out > 0 || line.len().saturating_add(message.len_max()) > max {
                left_out += 1;
            } else {
                line.push_str(if nth > 0 { "," } else { "" });
                message.write(&mut line);
            }
        }
        line.push_str(&format!("],\"left_out\":{left_out}}}"));
        line.into()
    }

    fn head(&self) -> String {
        let Self { conversation, subject, pid, reason, record } = self;
        let mut head = format!("{{\"conversation\":{},\"subject\":", conversation.get());
        write_text(&mut head, subject);
        head.push_str(&format!(
            ",\"pid\":{pid},\"record\":{record},\"reason\":{{\"cause\":{},\"text\":",
            reason.cause()
        ));
        write_text(&mut head, reason.text().unwrap_or_default());
        head.push_str("},\"unanswered\":[");
        head
    }
}

impl Unanswered<'_> {
    /// The entry takes no more than this, with the end of the line behind it.
    fn len_max(&self) -> usize {
        const REST: usize = 192;
        /// Each character of a text takes at most so much: an escape.
        const CHARACTER: usize = 6;
        let payload = self.content.payload.len().div_ceil(3).saturating_mul(4);
        let header = |(name, value): (&str, &str)| {
            let quotes = "[\"\",\"\"],".len();
            (name.len() + value.len()).saturating_mul(CHARACTER).saturating_add(quotes)
        };
        let headers = self.content.metadata.headers().map(header).fold(0, usize::saturating_add);
        payload.saturating_add(headers).saturating_add(REST)
    }

    fn write(&self, line: &mut String) {
        let Self { record, id, asked, delivered, content } = self;
        line.push_str(&format!(
            "{{\"record\":{record},\"id\":\"{id}\",\"asked\":{asked},\"delivered\":{delivered},\"payload\":\""
        ));
        write_base64(line, &content.payload);
        line.push('"');
        for (nth, (name, value)) in content.metadata.headers().enumerate() {
            line.push_str(if nth > 0 { ",[" } else { ",\"headers\":[[" });
            write_text(line, name);
            line.push(',');
            write_text(line, value);
            line.push(']');
        }
        line.push_str(if content.metadata.headers().next().is_some() { "]}" } else { "}" });
    }
}

/// A JSON string. Control characters are escaped, so the line stays one.
fn write_text(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            // Some readers of lines end one at these, too.
            character if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                // Writing to a string cannot fail.
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            character => line.push(character),
        }
    }
    line.push('"');
}

/// Base64 with the usual alphabet and padding.
fn write_base64(line: &mut String, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 0x3F;
            let letter = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            line.push(char::from(if digit <= chunk.len() { letter } else { b'=' }));
        }
    }
}

#[cfg(test)]
mod tests {
    use liminal_proto::Metadata;

    use super::*;

    fn base64(bytes: &[u8]) -> String {
        let mut line = String::new();
        write_base64(&mut line, bytes);
        line
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{ff}", "w78="),
        ];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xFB, 0xFF, 0xFE]), "+//+");
    }

    #[test]
    fn texts_are_escaped_and_stay_in_one_line() {
        let mut line = String::new();
        write_text(&mut line, "a\"b\\c\n\r\0\u{7f}\u{85}\u{2028}é😀");
        assert_eq!(line, "\"a\\\"b\\\\c\\u000a\\u000d\\u0000\\u007f\\u0085\\u2028é😀\"");
    }

    #[test]
    fn a_message_is_listed_when_its_entry_just_fits_and_then_the_rest_is_left_out() {
        let (conversation, reason) = (ConversationKey::new(1), ExitReason::Normal);
        let (pid, record) = (Pid::new(1), RecordNumber::new(9));
        let notice = Notice { conversation, subject: "work", pid, reason: &reason, record };
        let content = Content::from("abc");
        let message = |nth| Unanswered {
            record: RecordNumber::new(nth),
            id: MessageId::new(nth),
            asked: true,
            delivered: false,
            content: &content,
        };
        let fits = notice.head().len() + message(1).len_max();
        let line = |max| String::from_utf8(notice.line([1, 2].map(message).into_iter(), max).into()).unwrap();
        assert!(line(fits).ends_with("\"payload\":\"YWJj\"}],\"left_out\":1}"), "{}", line(fits));
        assert!(line(fits - 1).ends_with("\"unanswered\":[],\"left_out\":2}"), "{}", line(fits - 1));
    }

    #[test]
    fn headers_stand_in_an_entry_where_there_are_some() {
        let metadata =
            Metadata::builder().header("a", "1").and_then(|it| it.header("b", "\"")).unwrap().build();
        let content = Content::new("abc", metadata);
        let (record, id) = (RecordNumber::new(7), MessageId::new(3));
        let mut line = String::new();
        Unanswered { record, id, asked: true, delivered: true, content: &content }.write(&mut line);
        let end = r#","payload":"YWJj","headers":[["a","1"],["b","\""]]}"#;
        assert!(line.ends_with(end), "{line}");
    }

    #[test]
    fn an_entry_is_never_longer_than_was_reckoned() {
        for len in 0..10 {
            let metadata = (0..len).try_fold(Metadata::builder(), |it, _| it.header("x", "\0é"));
            let content = Content::new(alloc::vec![0; len], metadata.unwrap().build());
            let (record, id) = (RecordNumber::new(u64::MAX), MessageId::new(u64::MAX));
            let message = Unanswered { record, id, asked: false, delivered: false, content: &content };
            let mut line = String::new();
            message.write(&mut line);
            line.push_str(&format!(",],\"left_out\":{}}}", u64::MAX));
            assert!(line.len() <= message.len_max(), "{}", line.len());
        }
    }
}
