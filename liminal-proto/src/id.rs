//! Identifiers. Each is a newtype, so one kind is never passed where another is meant.

use core::fmt;

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the number that stands on the wire.
            #[must_use]
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The number that stands on the wire.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

identifiers! {
    /// A stream of one connection. Stream 0 carries control frames, every other one an exchange.
    StreamId(u32);
    /// A conversation, chosen by the client and scoped to its connection. In 2.0 it equals the
    /// number of the stream that carries the conversation.
    ConversationId(u64);
    /// A message of one conversation, numbered by its sender.
    MessageId(u64);
    /// A participant of one conversation. The bus never reuses one.
    Pid(u64);
    /// The place of a record in the log of its conversation: 1, 2, 3, …
    RecordNumber(u64);
    /// The log of a conversation, across all connections of its server. (A [`ConversationId`] is scoped to one.)
    LogId(u64);
}

impl StreamId {
    /// The stream of control frames.
    pub const CONTROL: Self = Self(0);
}
