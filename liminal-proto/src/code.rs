//! The reason codes of error frames.

use core::fmt;

/// Why a peer refuses something, as it stands in an error frame.
///
/// Codes up to 0x00FF are those of 1.0; from 0x0100 on they are assigned in `PROTOCOL.md`. A peer may
/// send any number, so this is a number with names rather than an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonCode(u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        impl ReasonCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// Every assigned code, in ascending order.
            pub const ASSIGNED: &'static [Self] = &[$(Self::$name),*];

            /// What an assigned code means, in a few words; `None` for one nobody assigned.
            #[must_use]
            pub const fn meaning(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Fewer than the ten bytes of a header.
    INCOMPLETE_HEADER = 0x0001, "incomplete header";
    /// Fewer payload bytes than the header announces.
    TRUNCATED_PAYLOAD = 0x0002, "truncated payload";
    /// A frame type nobody knows. Never sent: unknown types are ignored.
    UNKNOWN_FRAME_TYPE = 0x0003, "unknown frame type";
    /// A frame on a stream where its type must not stand.
    INVALID_STREAM = 0x0004, "invalid stream";
    /// A frame that the state of the connection does not allow.
    INVALID_STATE = 0x0005, "invalid state transition";
    /// The token is not the right one.
    AUTHENTICATION = 0x0006, "authentication failed";
    /// No protocol version in common.
    VERSION_MISMATCH = 0x0007, "no protocol version in common";
    /// The schema is not accepted.
    SCHEMA_INCOMPATIBLE = 0x0008, "schema incompatible";
    /// A payload that does not follow the layout of its type.
    CODEC = 0x0009, "codec error";
    /// Nobody serves the subject.
    NO_PARTICIPANT = 0x0100, "nobody serves the subject";
    /// The participant has exited.
    EXITED = 0x0101, "the participant has exited";
    /// No answer before the deadline.
    DEADLINE = 0x0102, "deadline passed";
    /// No room now; later there may be.
    BUSY = 0x0103, "busy";
    /// A frame or payload above its limit.
    TOO_LARGE = 0x0104, "too large";
    /// No such conversation on this connection.
    NOT_OPEN = 0x0105, "conversation is not open";
    /// The conversation id is in use on this connection.
    ALREADY_OPEN = 0x0106, "conversation is already open";
    /// No such channel.
    UNKNOWN_CHANNEL = 0x0107, "unknown channel";
    /// The payload is not what the receiver takes.
    INVALID_PAYLOAD = 0x0108, "invalid payload";
    /// This peer may not do that.
    NOT_ALLOWED = 0x0109, "not allowed";
    /// A limit on numbers or rates is reached.
    LIMIT = 0x010A, "limit reached";
    /// The server is stopping.
    STOPPING = 0x010B, "server is stopping";
    /// A subject or channel name above its limit.
    INVALID_NAME = 0x010C, "invalid name";
    /// The participant finished with the request and gave no reply.
    NO_REPLY = 0x010D, "no reply was given";
    /// The operation was cancelled.
    CANCELLED = 0x010E, "cancelled";
    /// The conversation is closing and takes no new messages.
    CLOSING = 0x010F, "conversation is closing";
    /// The peer took too long: handshake, unfinished frame or unread output.
    TOO_SLOW = 0x0110, "too slow";
    /// The participant has exited before it had answered this, and the conversation goes on with another.
    REPLACED = 0x0111, "the participant has exited and is being replaced";
    /// More was said than credit was given for, or more credit was given than anybody can count.
    CREDIT = 0x0112, "credit exceeded";
    /// What 1.0 servers send for everything.
    OTHER = 0xFFFF, "unspecified failure";
}

impl ReasonCode {
    /// The code with this number, assigned or not.
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.meaning() {
            Some(meaning) => write!(f, "{meaning} (0x{:04x})", self.0),
            None => write!(f, "code 0x{:04x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::ReasonCode;

    #[test]
    fn a_code_is_shown_with_its_meaning_where_it_has_one() {
        assert_eq!(ReasonCode::BUSY.to_string(), "busy (0x0103)");
        assert_eq!(ReasonCode::new(0x4242).to_string(), "code 0x4242");
    }
}
