//! The laws of the codec, as properties.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{
    DecodeError, Dialect, FrameBuf, HEADER_LEN, Header, decode, decode_shared, encode, encode_head,
    encoded_len,
};
use super::strategy::{any_frame, careless_frame, dialect, plausible_bytes};

const LIMIT: u32 = u32::MAX;

fn encoded(dialect: Dialect, frame: &FrameBuf) -> Bytes {
    let mut out = BytesMut::new();
    encode(dialect, frame, &mut out).unwrap();
    out.freeze()
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
    fn a_frame_survives_the_wire_in_every_form((dialect, frame) in any_frame()) {
        let bytes = encoded(dialect, &frame);
        let (borrowed, used) = decode(dialect, LIMIT, &bytes)?;
        prop_assert_eq!(used, bytes.len());
        prop_assert_eq!(&borrowed, &frame.as_frame_ref());
        prop_assert_eq!(&borrowed.to_buf(), &frame);
        prop_assert_eq!(&borrowed.share(&bytes), &frame);
        prop_assert_eq!(decode_shared(dialect, LIMIT, &bytes)?, (frame, used));
    }

    #[test]
    fn a_borrowed_frame_encodes_like_the_owned_one((dialect, frame) in any_frame()) {
        let mut out = BytesMut::new();
        encode(dialect, &frame.as_frame_ref(), &mut out)?;
        prop_assert_eq!(out, encoded(dialect, &frame));
    }

    #[test]
    fn a_head_and_its_payload_are_the_whole_frame((dialect, frame) in any_frame()) {
        let whole = encoded(dialect, &frame);
        let mut out = BytesMut::new();
        let tail = encode_head(dialect, &frame, &mut out)?;
        out.extend_from_slice(tail.map_or(&[], |tail| tail));
        prop_assert_eq!(encoded_len(&frame), whole.len());
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn bytes_behind_a_frame_are_left_alone((dialect, frame) in any_frame(), more in any::<[u8; 12]>()) {
        let mut bytes = encoded(dialect, &frame).to_vec();
        let len = bytes.len();
        bytes.extend(more);
        let (decoded, used) = decode(dialect, LIMIT, &bytes)?;
        prop_assert_eq!(used, len);
        prop_assert_eq!(decoded, frame.as_frame_ref());
    }

    #[test]
    fn every_strict_prefix_is_incomplete((dialect, frame) in any_frame()) {
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
    fn a_limit_is_judged_by_the_header_alone((dialect, frame) in any_frame(), limit in 0_u32..100) {
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
        (dialect, frame) in any_frame(),
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
        (dialect, frame) in any_frame(),
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
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let shared = Bytes::from(bytes);
        let result = decode_shared(dialect, limit, &shared);
        prop_assert_eq!(result.is_ok(), decode(dialect, limit, &shared).is_ok());
        let _: Vec<u8> = alloc::format!("{result:?}").into();
        is_canonical(dialect, &shared)?;
    }
}
