//! The codec against recorded bytes: a 1.0 peer and liminal must agree on every one of them.

use bytes::{Bytes, BytesMut};
use liminal_cli::frame_json;
use liminal_interop::{Refusal, Vectors};
use liminal_proto::wire::{
    Dialect, EncodeError, ErrorKind, FrameBuf, decode, decode_shared, encode, encode_head, encoded_len,
};
use serde_json::Value;

const LIMIT: u32 = u32::MAX;

fn encoded(frame: &FrameBuf) -> Result<BytesMut, EncodeError> {
    let mut out = BytesMut::new();
    encode(Dialect::V1, frame, &mut out).map(|()| out)
}

#[test]
fn recorded_frames_decode_to_their_fields() {
    let vectors = Vectors::load().unwrap();
    for (json, bytes) in vectors.frames().unwrap() {
        let (frame, used) = decode(Dialect::V1, LIMIT, &bytes).unwrap();
        assert_eq!(used, bytes.len(), "{json}");
        let shown = frame_json::write(&frame);
        for key in ["frame_type", "type_id", "flags", "stream_id", "fields"] {
            assert_eq!(shown[key], json[key], "{}", json["name"]);
        }
    }
}

#[test]
fn recorded_fields_encode_to_their_bytes() {
    let vectors = Vectors::load().unwrap();
    for (json, bytes) in vectors.frames().unwrap() {
        let frame = frame_json::read(json).unwrap();
        assert_eq!(encoded(&frame).unwrap(), bytes, "{}", json["name"]);
        assert_eq!(encoded_len(&frame), bytes.len(), "{}", json["name"]);
    }
}

#[test]
fn a_payload_held_back_completes_the_recorded_bytes() {
    let vectors = Vectors::load().unwrap();
    for (json, bytes) in vectors.frames().unwrap() {
        let frame = frame_json::read(json).unwrap();
        let mut out = BytesMut::new();
        let tail = encode_head(Dialect::V1, &frame, &mut out).unwrap();
        out.extend_from_slice(tail.map_or(&[], |tail| tail));
        assert_eq!(out, bytes, "{}", json["name"]);
    }
}

#[test]
fn every_form_of_a_recorded_frame_is_the_same_frame() {
    let vectors = Vectors::load().unwrap();
    for (json, bytes) in vectors.frames().unwrap() {
        let read = frame_json::read(json).unwrap();
        let (borrowed, _) = decode(Dialect::V1, LIMIT, &bytes).unwrap();
        let (shared, _) = decode_shared(Dialect::V1, LIMIT, &Bytes::from(bytes.clone())).unwrap();
        assert_eq!(borrowed.to_buf(), read);
        assert_eq!(shared, read);
        assert_eq!(shared.as_frame_ref(), borrowed);
    }
}

#[test]
fn recorded_types_are_all_those_of_version_1_and_unknown_ones() {
    let vectors = Vectors::load().unwrap();
    let frames = vectors.frames().unwrap();
    let mut names: Vec<&Value> = frames.iter().map(|(json, _)| &json["frame_type"]).collect();
    names.dedup();
    assert_eq!(names.len(), 26);
}

#[test]
fn recorded_streams_decode_alike_in_pieces_of_any_size() {
    for stream in Vectors::load().unwrap().streams().unwrap() {
        let sizes = (1..=64).chain([stream.chunk_size, stream.bytes.len()]);
        for size in sizes {
            let frames = decode_in_pieces(stream.bytes.chunks(size));
            assert_eq!(frames, stream.frames, "{} in pieces of {size}", stream.name);
        }
    }
}

/// Nothing may be left over.
fn decode_in_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<FrameBuf> {
    let mut input = BytesMut::new();
    let mut frames = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some((frame, used)) = next(&input) {
            frames.push(frame);
            drop(input.split_to(used));
        }
    }
    assert!(input.is_empty(), "{} bytes are left", input.len());
    frames
}

fn next(input: &[u8]) -> Option<(FrameBuf, usize)> {
    match decode(Dialect::V1, LIMIT, input) {
        Ok((frame, used)) => Some((frame.to_buf(), used)),
        Err(error) => {
            assert!(error.is_incomplete(), "{error}");
            None
        }
    }
}

#[test]
fn malformed_bytes_are_refused_as_1_0_peers_refuse_them() {
    for case in Vectors::load().unwrap().malformed().unwrap() {
        let error = decode(Dialect::V1, LIMIT, &case.what).unwrap_err();
        assert_eq!(refusal(error.kind()), case.refusal, "{}: {error}", case.name);
    }
}

fn refusal(kind: ErrorKind) -> Refusal<'static> {
    Refusal { kind: kind.name(), reason_code: kind.reason_code().get() }
}

#[test]
fn frames_that_must_not_be_encoded_are_refused_as_1_0_peers_refuse_them() {
    for case in Vectors::load().unwrap().encode_errors().unwrap() {
        let error = encoded(&case.what).unwrap_err();
        assert_eq!(refusal(error.kind()), case.refusal, "{}: {error}", case.name);
    }
}
