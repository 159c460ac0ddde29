//! What a client heard in one step of a session.

use std::fmt;

use liminal_cli::frame_json;
use liminal_proto::wire::{Dialect, FrameBuf, decode};
use serde_json::Value;

/// The line that stands for the end of the connection.
const CLOSED: &str = "closed";

/// Fields that tell a client nothing which it could rely on: texts are for people, and the id of a
/// schema is whatever a server derives from its configuration.
const IRRELEVANT: [&str; 2] = ["message", "selected_schema_hex"];

/// What a client heard in one step of a session: frames, and perhaps the end.
///
/// A frame is a line of text with all that matters of it. What is absent is left out, and so are flags of 0
/// and a schema id of zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The frames, in order.
    pub frames: Vec<String>,
    /// The connection is over.
    pub closed: bool,
}

impl Heard {
    /// Nothing but the end.
    pub(crate) const END: Self = Self { frames: Vec::new(), closed: true };

    pub(crate) fn recorded(mut bytes: &[u8], closed: bool) -> Result<Self, String> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (frame, len) = decode(Dialect::V1, u32::MAX, bytes).map_err(|error| error.to_string())?;
            frames.push(line(&frame.to_buf()));
            bytes = bytes.get(len..).unwrap_or_default();
        }
        Ok(Self { frames, closed })
    }

    pub(crate) fn of_lines(mut lines: Vec<String>) -> Self {
        let closed = lines.last().is_some_and(|line| line == CLOSED);
        if closed {
            lines.pop();
        }
        Self { frames: lines, closed }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.closed.then_some(CLOSED);
        let lines: Vec<&str> = self.frames.iter().map(String::as_str).chain(end).collect();
        write!(f, "{lines:?}")
    }
}

/// All that matters of a frame.
pub(crate) fn line(frame: &FrameBuf) -> String {
    let json = frame_json::write(frame);
    let mut line = format!("{}, stream {}", plain(&json["frame_type"]), frame.stream.get());
    if frame.flags != 0 {
        line += &format!(", flags {:#04x}", frame.flags);
    }
    add_fields(&mut line, &json["fields"]);
    line
}

fn add_fields(line: &mut String, fields: &Value) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        match value {
            _ if IRRELEVANT.contains(&name.as_str()) => {}
            Value::Null => {}
            Value::Object(_) => add_fields(line, value),
            _ if name == "schema_id_hex" && is_zero(value) => {}
            _ if name == "reason_code" => {
                *line += &format!(", reason {:#06x}", value.as_u64().unwrap_or_default());
            }
            _ => *line += &format!(", {name} {}", plain(value)),
        }
    }
}

fn is_zero(digits: &Value) -> bool {
    digits.as_str().is_some_and(|digits| digits.bytes().all(|digit| digit == b'0'))
}

/// A text without quotation marks.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use liminal_cli::frame_json;
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_left_out_and_everything_else_is_told() {
        let envelope = |schema: &str| {
            json!({
                "schema_id_hex": schema.repeat(32),
                "causal_context": { "parent_id": "p", "vector_clock_entry": 9 },
                "payload_hex": "",
            })
        };
        for (frame_type, flags, fields, told) in [
            ("Pong", 0x5A, json!({}), "Pong, stream 3, flags 0x5a"),
            (
                "ConnectError",
                0,
                json!({ "reason_code": 260, "message": "no" }),
                "ConnectError, stream 3, reason 0x0104",
            ),
            (
                "SubscribeAck",
                0,
                json!({ "subscription_id": 7, "selected_schema_hex": "8c".repeat(32) }),
                "SubscribeAck, stream 3, subscription_id 7",
            ),
            (
                "ConversationMessage",
                1,
                json!({ "conversation_id": 4, "envelope": envelope("00") }),
                "ConversationMessage, stream 3, flags 0x01, conversation_id 4, parent_id p, \
                 vector_clock_entry 9, payload_hex ",
            ),
        ] {
            let json = json!({ "frame_type": frame_type, "flags": flags, "stream_id": 3, "fields": fields });
            assert_eq!(line(&frame_json::read(&json).unwrap()), told);
        }
        let json = json!({ "conversation_id": 4, "envelope": envelope("11") });
        let json = json!({ "frame_type": "ConversationMessage", "stream_id": 3, "fields": json });
        assert!(line(&frame_json::read(&json).unwrap()).contains("schema_id_hex 1111"));
    }

    #[test]
    fn the_end_is_the_last_line() {
        let lines = |lines: &[&str]| Heard::of_lines(lines.iter().map(|line| (*line).to_owned()).collect());
        assert_eq!(lines(&[]), Heard::default());
        assert_eq!(lines(&["closed"]), Heard::END);
        assert_eq!(lines(&["x", "closed"]).to_string(), r#"["x", "closed"]"#);
        assert_eq!(lines(&["x", "closed"]).frames, ["x"]);
    }
}
