//! Decoding and encoding a message of 64 bytes, against copying the same bytes.

use std::hint::black_box;
use std::io::Write;

use bytes::{Bytes, BytesMut};
use liminal_proto::wire::{
    Body, CausalContext, Dialect, Envelope, Frame, SchemaId, decode, decode_shared, encode,
};
use liminal_proto::{ConversationId, MessageId, StreamId};

use crate::stats::nanos;

const PAYLOAD_MAX: u32 = 1 << 20;

type Message = Frame<&'static str, Bytes>;

pub(crate) fn run(out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    writeln!(out, "## Codec, a message with a payload of 64 bytes, ns (ratio to copying its bytes)\n")?;
    writeln!(out, "| frame | bytes | copy | decode, borrowed | decode, owned | encode |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for (name, dialect, frame) in [("1.0", Dialect::V1, message_1_0()), ("2.0", Dialect::V2, message_2_0())] {
        row(out, name, dialect, &frame)?;
    }
    Ok(())
}

fn row(
    out: &mut impl Write,
    name: &str,
    dialect: Dialect,
    frame: &Message,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut encoded = BytesMut::new();
    encode(dialect, frame, &mut encoded)?;
    let encoded = encoded.freeze();

    let mut target = vec![0; encoded.len()];
    let copy = nanos(|| black_box(&mut target).copy_from_slice(black_box(&encoded)));
    let borrowed = nanos(|| {
        decode(dialect, PAYLOAD_MAX, black_box(&encoded)).is_ok_and(|(it, _)| black_box(&it).flags == 0)
    });
    let owned = nanos(|| decode_shared(dialect, PAYLOAD_MAX, black_box(&encoded)).is_ok());
    let mut tail = BytesMut::with_capacity(encoded.len());
    let encoding = nanos(|| {
        tail.clear();
        encode(dialect, black_box(frame), &mut tail).is_ok()
    });

    let ratio = |time: f64| format!("{time:.1} ({:.1} ×)", time / copy);
    let len = encoded.len();
    writeln!(
        out,
        "| {name} | {len} | {copy:.1} | {} | {} | {} |",
        ratio(borrowed),
        ratio(owned),
        ratio(encoding)
    )?;
    Ok(())
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
    let body =
        Body::Message { message_id: MessageId::new(42), answers: None, timeout_ms: None, payload: payload() };
    Frame { flags: 0, stream: StreamId::new(1), body }
}
