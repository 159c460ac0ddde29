//! The laws of the codec, for any bytes.

use bytes::{Bytes, BytesMut};
use liminal_proto::wire::{
    DecodeError, Dialect, Frame, HEADER_LEN, Header, decode, decode_shared, encode, encode_head, encoded_len,
};

use crate::Tape;

/// Fuzz target: the first byte chooses the limit, and the rest is decoded in both versions.
pub fn hold(data: &[u8]) {
    let mut tape = Tape::new(data);
    let limit = if tape.one_in(8) { tape.short().into() } else { u32::MAX };
    let bytes = Bytes::copy_from_slice(tape.rest());
    for dialect in [Dialect::V1, Dialect::V2] {
        hold_in(dialect, limit, &bytes);
    }
}

/// Fuzz target: decoding allocates nothing, and an owned frame no more than the bytes that are there,
/// whatever lengths they declare. `allocated` says how many bytes were asked for since the start.
pub fn allocate_little(data: &[u8], allocated: &dyn Fn() -> usize) {
    let bytes = Bytes::copy_from_slice(data);
    for dialect in [Dialect::V1, Dialect::V2] {
        let before = allocated();
        let decoded = decode(dialect, u32::MAX, &bytes);
        assert_eq!(allocated(), before, "{decoded:?}");
        let before = allocated();
        let shared = decode_shared(dialect, u32::MAX, &bytes);
        let copied = allocated() - before;
        assert!(copied <= data.len() + OWNED_FRAME, "{copied} bytes for {shared:?}");
    }
}

/// What sharing the bytes of a frame costs beside the texts that are copied: the count of the holders.
const OWNED_FRAME: usize = 64;

/// What decodes, encodes to the same bytes in every form; what does not is one plain error, whatever
/// follows.
fn hold_in(dialect: Dialect, limit: u32, bytes: &Bytes) {
    let decoded = decode(dialect, limit, bytes);
    let shared = decode_shared(dialect, limit, bytes);
    assert_eq!(shared.as_ref().map(|(_, used)| *used), decoded.as_ref().map(|(_, used)| *used));
    match (decoded, shared) {
        (Ok((frame, used)), Ok((shared, _))) => {
            assert!(used <= bytes.len());
            assert_eq!(frame.to_buf(), shared);
            assert_eq!(frame.share(bytes), shared);
            assert_eq!(shared.as_frame_ref(), frame);
            encodes_to(dialect, &frame, &bytes[..used]);
            encodes_to(dialect, &shared, &bytes[..used]);
            needs_all(dialect, limit, &bytes[..used]);
            let _ = format!("{frame:?}");
        }
        (Err(error), _) => is_plain(&error, limit, bytes),
        (Ok(_), Err(_)) => unreachable!("both were compared"),
    }
}

fn encodes_to<S: AsRef<str>, B: AsRef<[u8]>>(dialect: Dialect, frame: &Frame<S, B>, bytes: &[u8]) {
    let mut whole = BytesMut::new();
    encode(dialect, frame, &mut whole).expect("what was decoded encodes");
    assert_eq!(whole, bytes);
    let mut head = BytesMut::new();
    let tail = encode_head(dialect, frame, &mut head).expect("what was decoded encodes");
    head.extend_from_slice(tail.map_or(&[], AsRef::as_ref));
    assert_eq!(head, bytes);
    assert_eq!(encoded_len(frame), bytes.len());
}

/// A prefix of a frame is incomplete. (Some, by their ends: each would make the cost quadratic.)
fn needs_all(dialect: Dialect, limit: u32, frame: &[u8]) {
    for have in [0, HEADER_LEN - 1, HEADER_LEN, frame.len() / 2, frame.len() - 1] {
        if have < frame.len() {
            let error = decode(dialect, limit, &frame[..have]).expect_err("a part is no frame");
            assert!(error.is_incomplete(), "{error}");
        }
    }
}

/// The error says what is true, and is judged by the header alone where it can be.
fn is_plain(error: &DecodeError, limit: u32, bytes: &[u8]) {
    let _ = (error.to_string(), format!("{error:?}"));
    let declared = Header::decode(bytes).map(|header| header.payload_len);
    assert_eq!(declared.is_err(), bytes.len() < HEADER_LEN);
    match *error {
        DecodeError::IncompleteHeader { have } => assert!(have == bytes.len() && have < HEADER_LEN),
        DecodeError::TooLarge { len, limit: above } => {
            assert!(declared == Ok(len) && above == limit && len > limit);
        }
        DecodeError::TruncatedPayload { have, need } => assert!(have == bytes.len() && need > have),
        _ => assert!(!error.is_incomplete(), "{error}"),
    }
}
