//! The laws of the codec, as properties.

#![allow(clippy::unwrap_used, reason = "a failed test says so")]

use bytes::{Bytes, BytesMut};
use liminal_proto::StreamId;
use liminal_proto::wire::{
    Body, DecodeError, Dialect, FrameBuf, HEADER_LEN, Header, decode, decode_shared, encode, encode_head,
    encoded_len,
};
use liminal_sim::AnyFrame;
use liminal_sim::strategy::{any_frame, dialect, frame};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const LIMIT: u32 = u32::MAX;

fn encoded(dialect: Dialect, frame: &FrameBuf) -> Bytes {
    let mut out = BytesMut::new();
    encode(dialect, frame, &mut out).unwrap();
    out.freeze()
}

/// A frame of any type with any flags, on any stream: the encoder may refuse it.
fn careless_frame() -> impl Strategy<Value = FrameBuf> {
    let stream = prop_oneof![Just(0), any::<u32>()].prop_map(StreamId::new);
    (frame(Dialect::V2), any::<u8>(), stream, any::<u8>()).prop_map(|(mut frame, flags, stream, other)| {
        match &mut frame.body {
            Body::Subscribe { max_in_flight, .. } => *max_in_flight = u32::from(other % 2),
            Body::Unknown { type_id, .. } => *type_id = other,
            _ => {}
        }
        FrameBuf { flags, stream, ..frame }
    })
}

/// Bytes that get past the header: a type id, flags, a stream, and some payload of the right length.
fn plausible_bytes() -> impl Strategy<Value = Vec<u8>> {
    let type_id = prop_oneof![0x00_u8..0x1C, 0x7E_u8..0x89, any::<u8>()];
    // Small numbers make lengths, counts and tags that fit.
    let payload = vec(prop_oneof![3 => Just(0_u8), 3 => 0_u8..8, 1 => any::<u8>()], 0..80);
    (type_id, any::<u8>(), prop_oneof![Just(0_u32), 0_u32..3], payload).prop_map(
        |(type_id, flags, stream, payload)| {
            let len = u32::try_from(payload.len()).unwrap();
            let mut bytes = vec![type_id, flags];
            bytes.extend(stream.to_be_bytes());
            bytes.extend(len.to_be_bytes());
            bytes.extend(payload);
            bytes
        },
    )
}

/// What decodes, encodes to the same bytes in every form, and what does not is a plain error.
fn is_canonical(dialect: Dialect, bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok((frame, used)) = decode(dialect, LIMIT, bytes) {
        prop_assert_eq!(used, encoded_len(&frame));
        prop_assert_eq!(&encoded(dialect, &frame.to_buf())[..], &bytes[..used]);
        let mut out = BytesMut::new();
        prop_assert_eq!(encode(dialect, &frame, &mut out), Ok(()));
        prop_assert_eq!(&out[..], &bytes[..used]);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_frame_survives_the_wire_in_every_form(AnyFrame { dialect, frame } in any_frame()) {
        let bytes = encoded(dialect, &frame);
        let (borrowed, used) = decode(dialect, LIMIT, &bytes)?;
        prop_assert_eq!(used, bytes.len());
        prop_assert_eq!(&borrowed, &frame.as_frame_ref());
        prop_assert_eq!(&borrowed.to_buf(), &frame);
        prop_assert_eq!(&borrowed.share(&bytes), &frame);
        prop_assert_eq!(decode_shared(dialect, LIMIT, &bytes)?, (frame, used));
    }

    #[test]
    fn a_borrowed_frame_encodes_like_the_owned_one(AnyFrame { dialect, frame } in any_frame()) {
        let mut out = BytesMut::new();
        encode(dialect, &frame.as_frame_ref(), &mut out)?;
        prop_assert_eq!(out, encoded(dialect, &frame));
    }

    #[test]
    fn a_head_and_its_payload_are_the_whole_frame(AnyFrame { dialect, frame } in any_frame()) {
        let whole = encoded(dialect, &frame);
        let mut out = BytesMut::new();
        let tail = encode_head(dialect, &frame, &mut out)?;
        out.extend_from_slice(tail.map_or(&[], |tail| tail));
        prop_assert_eq!(encoded_len(&frame), whole.len());
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn bytes_behind_a_frame_are_left_alone(AnyFrame { dialect, frame } in any_frame(), more in any::<[u8; 12]>()) {
        let mut bytes = encoded(dialect, &frame).to_vec();
        let len = bytes.len();
        bytes.extend(more);
        let (decoded, used) = decode(dialect, LIMIT, &bytes)?;
        prop_assert_eq!(used, len);
        prop_assert_eq!(decoded, frame.as_frame_ref());
    }

    #[test]
    fn every_strict_prefix_is_incomplete(AnyFrame { dialect, frame } in any_frame()) {
        let bytes = encoded(dialect, &frame);
        for have in 0..bytes.len() {
            let error = decode(dialect, LIMIT, &bytes[..have]).unwrap_err();
            let expected = if have < HEADER_LEN {
                DecodeError::IncompleteHeader { have }
            } else {
                DecodeError::TruncatedPayload { have, need: bytes.len() }
            };
            prop_assert_eq!(error, expected);
        }
    }

    #[test]
    fn what_the_encoder_takes_decodes_and_what_it_refuses_leaves_no_trace(
        dialect in dialect(),
        frame in careless_frame(),
    ) {
        let mut out = BytesMut::from("before");
        match encode(dialect, &frame, &mut out) {
            Ok(()) => prop_assert_eq!(decode(dialect, LIMIT, &out[6..])?.0, frame.as_frame_ref()),
            Err(_) => {
                prop_assert_eq!(&out[..], b"before");
                prop_assert!(encode_head(dialect, &frame, &mut out).is_err());
                prop_assert_eq!(&out[..], b"before");
            }
        }
    }

    #[test]
    fn a_limit_is_judged_by_the_header_alone(AnyFrame { dialect, frame } in any_frame(), limit in 0_u32..100) {
        let bytes = encoded(dialect, &frame);
        let len = Header::decode(&bytes)?.payload_len;
        let too_large = Err(DecodeError::TooLarge { len, limit });
        prop_assert_eq!(decode(dialect, limit, &bytes) == too_large, len > limit);
        prop_assert_eq!(decode(dialect, limit, &bytes[..HEADER_LEN]) == too_large, len > limit);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn accepted_bytes_are_canonical(dialect in dialect(), bytes in plausible_bytes()) {
        is_canonical(dialect, &bytes)?;
    }

    #[test]
    fn a_frame_with_a_byte_changed_is_canonical_or_refused(
        AnyFrame { dialect, frame } in any_frame(),
        place in any::<Index>(),
        byte in prop_oneof![0_u8..4, any::<u8>()],
    ) {
        let mut bytes = encoded(dialect, &frame).to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        is_canonical(dialect, &bytes)?;
    }

    #[test]
    fn a_frame_with_bytes_cut_out_is_canonical_or_refused(
        AnyFrame { dialect, frame } in any_frame(),
        (from, to) in any::<(Index, Index)>(),
    ) {
        let bytes = encoded(dialect, &frame);
        let payload = &bytes[HEADER_LEN..];
        let (from, to) = (from.index(payload.len() + 1), to.index(payload.len() + 1));
        let kept = [&payload[..from.min(to)], &payload[from.max(to)..]].concat();
        let mut header = Header::decode(&bytes)?;
        header.payload_len = u32::try_from(kept.len()).unwrap();
        is_canonical(dialect, &[&header.encode()[..], &kept].concat())?;
    }

    #[test]
    fn no_bytes_and_no_limit_panic(
        dialect in dialect(),
        limit in any::<u32>(),
        bytes in vec(any::<u8>(), 0..64),
    ) {
        let shared = Bytes::from(bytes);
        let result = decode_shared(dialect, limit, &shared);
        prop_assert_eq!(result.is_ok(), decode(dialect, limit, &shared).is_ok());
        let _ = format!("{result:?}");
        is_canonical(dialect, &shared)?;
    }
}
