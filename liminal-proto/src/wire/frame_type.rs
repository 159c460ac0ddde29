//! The frame types and what holds for each before its payload is read.

use super::Dialect;
use crate::StreamId;

/// On which streams a frame type may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRule {
    /// Only on stream 0.
    Control,
    /// Only on streams from 1 on.
    Application,
}

impl StreamRule {
    /// Whether the rule lets a frame stand on this stream.
    #[must_use]
    pub const fn allows(self, stream: StreamId) -> bool {
        match self {
            Self::Control => stream.get() == StreamId::CONTROL.get(),
            Self::Application => stream.get() != StreamId::CONTROL.get(),
        }
    }
}

macro_rules! frame_types {
    ($($name:ident = $id:literal, $dialect:ident, $rule:ident;)*) => {
        /// A known frame type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is described where its fields are: in `Body`")]
        pub enum FrameType { $($name),* }

        impl FrameType {
            /// Every known type, by ascending id.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The first byte of such a frame.
            #[must_use]
            pub const fn id(self) -> u8 {
                match self { $(Self::$name => $id),* }
            }

            /// The name in the specification.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// The first dialect that knows the type.
            #[must_use]
            pub const fn since(self) -> Dialect {
                match self { $(Self::$name => Dialect::$dialect),* }
            }

            /// The streams on which it may stand.
            #[must_use]
            pub const fn stream_rule(self) -> StreamRule {
                match self { $(Self::$name => StreamRule::$rule),* }
            }

            /// By the first byte: decoding looks here first, and a table has no branches.
            const BY_ID: &'static [Option<Self>; 256] = &{
                let mut by_id = [None; 256];
                $(by_id[$id] = Some(Self::$name);)*
                by_id
            };
        }
    };
}

frame_types! {
    Connect = 0x01, V1, Control;
    ConnectAck = 0x02, V1, Control;
    ConnectError = 0x03, V1, Control;
    Disconnect = 0x04, V1, Control;
    Subscribe = 0x05, V1, Application;
    SubscribeAck = 0x06, V1, Application;
    SubscribeError = 0x07, V1, Application;
    Unsubscribe = 0x08, V1, Application;
    Publish = 0x09, V1, Application;
    PublishAck = 0x0A, V1, Application;
    PublishError = 0x0B, V1, Application;
    ConversationOpen = 0x0C, V1, Application;
    ConversationMessage = 0x0D, V1, Application;
    ConversationClose = 0x0E, V1, Application;
    ConversationError = 0x0F, V1, Application;
    Accept = 0x10, V1, Application;
    Defer = 0x11, V1, Application;
    Reject = 0x12, V1, Application;
    Ping = 0x13, V1, Control;
    Pong = 0x14, V1, Control;
    Push = 0x15, V1, Application;
    PushReply = 0x16, V1, Application;
    WorkerRegister = 0x17, V1, Control;
    WorkerRegisterAck = 0x18, V1, Control;
    Deliver = 0x19, V1, Application;
    Opened = 0x80, V2, Application;
    Refused = 0x81, V2, Application;
    Message = 0x82, V2, Application;
    Exited = 0x83, V2, Application;
    Outcome = 0x84, V2, Application;
    Joined = 0x85, V2, Application;
    Failed = 0x86, V2, Application;
    Serve = 0x87, V2, Application;
    Serving = 0x88, V2, Application;
    Withdraw = 0x89, V2, Application;
    Withdrawn = 0x8A, V2, Application;
    Invite = 0x8B, V2, Application;
    Open = 0x8C, V2, Application;
    Windows = 0x8D, V2, Control;
    Monitor = 0x8E, V2, Application;
    Watch = 0x8F, V2, Application;
    Monitoring = 0x90, V2, Application;
    Unmonitor = 0x91, V2, Application;
    Unmonitored = 0x92, V2, Application;
    Record = 0x93, V2, Application;
    Gap = 0x94, V2, Application;
    Credit = 0x95, V2, Application;
    ConnectionCredit = 0x96, V2, Control;
}

impl FrameType {
    /// The type with this id, if the dialect knows it.
    #[inline]
    #[must_use]
    pub fn of(dialect: Dialect, id: u8) -> Option<Self> {
        Self::BY_ID.get(usize::from(id)).copied().flatten().filter(|frame_type| frame_type.since() <= dialect)
    }

    /// The type with this name in the specification.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|frame_type| frame_type.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialect, FrameType};

    #[test]
    fn every_type_is_found_by_its_name_and_by_its_id_from_its_dialect_on() {
        for &frame_type in FrameType::ALL {
            assert_eq!(FrameType::named(frame_type.name()), Some(frame_type));
            assert_eq!(FrameType::of(Dialect::V2, frame_type.id()), Some(frame_type));
            let in_v1 = Some(frame_type).filter(|it| it.since() == Dialect::V1);
            assert_eq!(FrameType::of(Dialect::V1, frame_type.id()), in_v1);
        }
        assert_eq!((FrameType::named("ping"), FrameType::of(Dialect::V2, 0x7F)), (None, None));
    }
}
