//! Decoding and encoding a message of 64 bytes, against copying the same bytes.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use liminal_proto::wire::{
    Body, CausalContext, Dialect, Envelope, Frame, SchemaId, decode, decode_shared, encode,
};
use liminal_proto::{ConversationId, MessageId, StreamId};

use crate::Failure;
use crate::report::{Report, Unit};
use crate::stats::nanos;

pub(crate) const PAYLOAD_MAX: u32 = 1 << 20;

type Message = Frame<&'static str, Bytes>;

/// The messages that are measured.
pub(crate) fn messages() -> [(&'static str, Dialect, Message); 2] {
    [("1.0", Dialect::V1, message_1_0()), ("2.0", Dialect::V2, message_2_0())]
}

pub(crate) fn encoded(dialect: Dialect, frame: &Message) -> Result<Bytes, Failure> {
    let mut encoded = BytesMut::new();
    encode(dialect, frame, &mut encoded)?;
    Ok(encoded.freeze())
}

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    for (name, dialect, frame) in messages() {
        rows(report, name, dialect, &frame)?;
    }
    Ok(())
}

fn rows(report: &mut Report, name: &str, dialect: Dialect, frame: &Message) -> Result<(), Failure> {
    let encoded = encoded(dialect, frame)?;
    let mut target = vec![0; encoded.len()];
    let copy = nanos(|| black_box(&mut target).copy_from_slice(black_box(&encoded)));
    let owned_copy = nanos(|| Bytes::copy_from_slice(black_box(&encoded)));
    let mut buffer = Vec::with_capacity(encoded.len());
    let appended = nanos(|| {
        buffer.clear();
        black_box(&mut buffer).extend_from_slice(black_box(&encoded));
    });
    // By reference, or moving the frame out of the result would be measured as well.
    let borrowed = nanos(|| {
        black_box(&decode(dialect, PAYLOAD_MAX, black_box(&encoded)));
    });
    let owned = nanos(|| {
        black_box(&decode_shared(dialect, PAYLOAD_MAX, black_box(&encoded)));
    });
    let mut tail = BytesMut::with_capacity(encoded.len());
    let encoding = nanos(|| {
        tail.clear();
        encode(dialect, black_box(frame), &mut tail).is_ok()
    });

    let label = |what: &str| format!("{name}, {} bytes: {what}", encoded.len());
    report.tell(label("copied into memory that is there"), copy, Unit::Nanos)?;
    report.tell(label("appended to a buffer"), appended, Unit::Nanos)?;
    report.tell(label("copied into memory of their own"), owned_copy, Unit::Nanos)?;
    report.tell(label("decoded, borrowed"), borrowed, Unit::Nanos)?;
    report.judge(label("decoded, borrowed, against copied"), borrowed / copy, Unit::Ratio, 3.0)?;
    report.tell(label("decoded, owned"), owned, Unit::Nanos)?;
    report.tell(label("decoded, owned, against copied"), owned / copy, Unit::Ratio)?;
    report.tell(label("encoded"), encoding, Unit::Nanos)?;
    report.tell(label("encoded, against copied"), encoding / copy, Unit::Ratio)
}

fn payload() -> Bytes {
    Bytes::from(vec![0x2a; 64])
}

fn message_1_0() -> Message {
    let causal_context = CausalContext { parent_id: None, vector_clock_entry: None };
    let envelope = Envelope { schema_id: SchemaId([7; 32]), causal_context, payload: payload() };
    let body = Body::ConversationMessage { conversation_id: ConversationId::new(42), envelope };
    Frame { flags: 0, stream: StreamId::new(1), body }
}

fn message_2_0() -> Message {
    let body = Body::Message {
        message_id: MessageId::new(42),
        answers: None,
        timeout_ms: None,
        redelivered: None,
        metadata: None,
        payload: payload(),
    };
    Frame { flags: 0, stream: StreamId::new(1), body }
}
