//! Frames of every type, made up: by proptest and by a fuzzer, from one table.

mod field;

use bytes::{Bytes, BytesMut};
use liminal_proto::StreamId;
use liminal_proto::wire::{Body, Dialect, Frame, FrameBuf, FrameType, StreamRule, encode, flag};

use self::field::Field;

/// A frame and the version that it is of. The encoder takes it: its stream is one that its type may stand on,
/// and its flags announce the fields that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyFrame {
    /// The version in which it means what it says.
    pub dialect: Dialect,
    /// The frame.
    pub frame: FrameBuf,
}

impl AnyFrame {
    /// Its bytes.
    #[must_use]
    pub fn encoded(&self) -> Bytes {
        let mut out = BytesMut::new();
        let encoded = encode(self.dialect, &self.frame, &mut out);
        debug_assert_eq!(encoded, Ok(()), "{self:?} is a valid frame");
        out.freeze()
    }

    /// A frame of these parts. What would make the encoder refuse it is put right.
    fn new(dialect: Dialect, flags: u8, stream: u32, mut body: Body<String, Bytes>) -> Self {
        not_zero(&mut body);
        let stream = match body.frame_type().map(FrameType::stream_rule) {
            Some(StreamRule::Control) => 0,
            Some(StreamRule::Application) => stream.max(1),
            None => stream,
        };
        let frame = Frame { flags: agreeing(flags, &body), stream: StreamId::new(stream), body };
        Self { dialect, frame }
    }
}

/// Raises the numbers that must not be 0.
fn not_zero(body: &mut Body<String, Bytes>) {
    let raise = |number: &mut u32| *number = (*number).max(1);
    match body {
        Body::Subscribe { max_in_flight: number, .. } | Body::Serve { capacity: number, .. } => raise(number),
        Body::Windows { payload_max, conversation, connection } => {
            [payload_max, conversation, connection].into_iter().for_each(raise);
        }
        _ => {}
    }
}

/// The flags, with the bits that announce fields set as the body has those fields.
fn agreeing(flags: u8, body: &Body<String, Bytes>) -> u8 {
    let with = |flags: u8, flag: u8, set: bool| if set { flags | flag } else { flags & !flag };
    if let Body::Publish { idempotency_key, .. } = body {
        return with(flags, flag::KEY, idempotency_key.is_some());
    }
    if let Body::Record { metadata, .. } = body {
        return with(flags, flag::METADATA, metadata.is_some());
    }
    if let Body::Message { answers, timeout_ms, redelivered, metadata, .. } = body {
        let flags = with(flags, flag::ANSWERS, answers.is_some());
        let flags = with(flags, flag::TIMEOUT, timeout_ms.is_some());
        let flags = with(flags, flag::REDELIVERED, redelivered.is_some());
        return with(flags, flag::METADATA, metadata.is_some());
    }
    flags
}

/// The types that a version knows; `None` stands for all others.
fn types(dialect: Dialect) -> Vec<Option<FrameType>> {
    let known = FrameType::ALL.iter().filter(|it| it.since() <= dialect);
    known.copied().map(Some).chain([None]).collect()
}

/// The ids of the types that a version does not know.
fn unknown_ids(dialect: Dialect) -> Vec<u8> {
    (0..=u8::MAX).filter(|id| FrameType::of(dialect, *id).is_none()).collect()
}

/// Hands the names of the fields of every frame type to the macro `$then`. What a field may hold follows from
/// its type: see [`Field`].
macro_rules! with_fields {
    ($then:ident) => {
        $then! {
            Connect { min_version, max_version, auth_token }
            ConnectAck { selected_version, capabilities }
            ConnectError { reason_code, message }
            Disconnect {}
            Subscribe { channel, accepted_schemas, max_in_flight }
            SubscribeAck { subscription_id, selected_schema }
            SubscribeError { reason_code, message }
            Unsubscribe { subscription_id }
            Publish { channel, envelope, idempotency_key }
            PublishAck { message_id }
            PublishError { reason_code, message }
            ConversationOpen { conversation_id, subject }
            ConversationMessage { conversation_id, envelope }
            ConversationClose { conversation_id, reason_code, message }
            ConversationError { conversation_id, reason_code, message }
            Accept { referenced_message_id }
            Defer { referenced_message_id, reason }
            Reject { referenced_message_id, reason }
            Ping {}
            Pong {}
            Push { correlation_id, payload }
            PushReply { correlation_id, payload }
            WorkerRegister { namespaces, task_queue, node, activity_types, identity }
            WorkerRegisterAck { verdict }
            Deliver { delivery_seq, envelope }
            Opened { pid }
            Refused { reason_code, message }
            Message { message_id, answers, timeout_ms, redelivered, metadata, payload }
            Exited { pid, record, cause, message, unanswered, records }
            Outcome { message_id, reason_code, record, message }
            Joined { pid }
            Failed {}
            Serve { capacity, subject }
            Serving {}
            Withdraw {}
            Withdrawn {}
            Invite { pid, subject }
            Open { on_exit, total_ms, idle_ms, subject }
            Windows { payload_max, conversation, connection }
            Monitor { pid }
            Watch { subject }
            Monitoring {}
            Unmonitor {}
            Unmonitored {}
            Record { log, record, what, of, cause, timeout_ms, subject, message, metadata, payload }
            Gap { log, from, to, why, subject }
            Credit { bytes }
            ConnectionCredit { messages, replies }
        }
    };
}

#[cfg(feature = "proptest")]
mod of_proptest {
    use liminal_proto::wire::FrameType;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::{AnyFrame, Body, Bytes, Dialect, Field, types, unknown_ids};

    type Bodies = BoxedStrategy<Body<String, Bytes>>;

    impl AnyFrame {
        /// Frames of this type, or of those that the version does not know.
        pub(crate) fn of(dialect: Dialect, frame_type: Option<FrameType>) -> impl Strategy<Value = Self> {
            let body = frame_type.map_or_else(|| unknown(dialect), body);
            // Few of the streams, so that frames meet on one.
            let stream = prop_oneof![8 => 0_u32..12, 1 => any::<u32>(), 1 => Just(u32::MAX)];
            (any::<u8>(), stream, body)
                .prop_map(move |(flags, stream, body)| Self::new(dialect, flags, stream, body))
        }

        /// Frames of all types, each as often as any other.
        pub(crate) fn of_any_type(dialect: Dialect) -> impl Strategy<Value = Self> {
            select(types(dialect)).prop_flat_map(move |it| Self::of(dialect, it))
        }
    }

    fn unknown(dialect: Dialect) -> Bodies {
        (select(unknown_ids(dialect)), Bytes::strategy())
            .prop_map(|(type_id, payload)| Body::Unknown { type_id, payload })
            .boxed()
    }

    macro_rules! bodies {
        ($($name:ident { $($field:ident),* })*) => {
            fn body(frame_type: FrameType) -> Bodies {
                match frame_type {
                    $(FrameType::$name => {
                        $(let $field = Field::strategy();)*
                        (Just(()), $($field,)*).prop_map(|((), $($field,)*)| Body::$name { $($field),* }).boxed()
                    })*
                }
            }
        };
    }
    with_fields!(bodies);
}

#[cfg(feature = "arbitrary")]
mod of_fuzzers {
    use arbitrary::{Arbitrary, Result, Unstructured};
    use liminal_proto::wire::FrameType;

    use super::{AnyFrame, Body, Bytes, Dialect, Field, types, unknown_ids};

    impl<'a> Arbitrary<'a> for AnyFrame {
        fn arbitrary(from: &mut Unstructured<'a>) -> Result<Self> {
            let dialect = *from.choose(&[Dialect::V2, Dialect::V1])?;
            let (flags, stream) = (from.arbitrary()?, from.arbitrary()?);
            let body = match from.choose(&types(dialect))? {
                Some(frame_type) => body(*frame_type, from)?,
                None => {
                    let type_id = *from.choose(&unknown_ids(dialect))?;
                    Body::Unknown { type_id, payload: Field::arbitrary(from)? }
                }
            };
            Ok(Self::new(dialect, flags, stream, body))
        }
    }

    macro_rules! bodies {
        ($($name:ident { $($field:ident),* })*) => {
            fn body(frame_type: FrameType, from: &mut Unstructured<'_>) -> Result<Body<String, Bytes>> {
                Ok(match frame_type {
                    $(FrameType::$name => Body::$name { $($field: Field::arbitrary(from)?),* },)*
                })
            }
        };
    }
    with_fields!(bodies);
}
