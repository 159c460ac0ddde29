//! `liminal decode` and `liminal encode`, held against recorded bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

use kit::{bytes, finish, read_line, run, start, vectors};
use serde_json::{Value, json};

const KEYS: [&str; 5] = ["frame_type", "type_id", "flags", "stream_id", "fields"];

/// All recorded frames in a row: their JSON and their bytes.
fn recorded() -> (Vec<Value>, Vec<u8>) {
    let vectors = vectors();
    let frames = vectors["frames"].as_array().unwrap();
    (frames.clone(), frames.iter().flat_map(bytes).collect())
}

/// An object without the words for people.
fn fault(line: &Value) -> Value {
    assert!(line["message"].is_string(), "{line}");
    json!([line["error_kind"], line["reason_code"], line["offset"]])
}

#[test]
fn recorded_frames_decode_to_their_fields_and_encode_to_their_bytes() {
    let (frames, bytes) = recorded();
    let decoded = run(&["decode"], &bytes);
    decoded.succeeds();
    let lines = decoded.json();
    assert_eq!(lines.len(), frames.len());
    for (line, frame) in lines.iter().zip(&frames) {
        assert!(line.as_object().unwrap().keys().eq(KEYS), "{line}");
        assert!(KEYS.iter().all(|key| line[key] == frame[key]), "{line} {frame}");
    }
    assert_eq!(run(&["encode"], &decoded.out).succeeds(), bytes);

    let hex = run(&["encode", "--hex"], &decoded.out);
    hex.succeeds();
    for (line, frame) in hex.lines().iter().zip(&frames) {
        assert_eq!(*line, frame["hex"]);
    }
    assert_eq!(run(&["decode", "--hex"], &hex.out).out, decoded.out);
}

#[test]
fn digits_may_have_either_case_and_stand_apart() {
    let (_, bytes) = recorded();
    let plain = run(&["decode"], &bytes);
    let digits = liminal_cli::frame_json::hex::encode(&bytes).to_uppercase();
    let apart: String = digits.chars().flat_map(|digit| [digit, ' ', '\r', '\n', '\t']).collect();
    assert_eq!(run(&["decode", "--hex"], apart.as_bytes()).succeeds(), plain.out);
}

#[test]
fn nothing_is_nothing() {
    for arguments in [["decode"].as_slice(), &["decode", "--hex"], &["encode"], &["encode", "--hex"]] {
        assert_eq!(run(arguments, b"").succeeds(), b"");
        if arguments != ["decode"] {
            assert_eq!(run(arguments, b" \n\n").succeeds(), b"");
        }
    }
}

#[test]
fn malformed_bytes_end_with_what_is_wrong_and_where() {
    let ping = [0x13, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for case in vectors()["malformed"].as_array().unwrap() {
        let malformed = bytes(case);
        if malformed.is_empty() {
            continue;
        }
        for (before, offset) in [(0, 0), (2, 20)] {
            let ended = run(&["decode"], &[&ping.repeat(before), &malformed[..]].concat());
            assert_eq!((ended.code, &*ended.err), (Some(1), ""), "{}", case["name"]);
            let lines = ended.json();
            assert_eq!(lines.len(), before + 1);
            let expected = json!([case["error_kind"], case["reason_code"], offset]);
            assert_eq!(fault(lines.last().unwrap()), expected, "{}", case["name"]);
        }
    }
}

#[test]
fn every_prefix_of_a_frame_is_unfinished() {
    let (frames, _) = recorded();
    let longest = frames.iter().map(bytes).filter(|bytes| bytes.len() < 40).max_by_key(Vec::len).unwrap();
    for len in 1..longest.len() {
        let ended = run(&["decode"], &longest[..len]);
        let kind = if len < 10 { "IncompleteHeader" } else { "TruncatedPayload" };
        assert_eq!((ended.code, &ended.json()[0]["error_kind"]), (Some(1), &json!(kind)));
    }
}

#[test]
fn what_is_no_digit_is_named() {
    let one = b"13 00 00000000 00000000 ";
    for (input, hint) in [
        (&b"0x13"[..], "byte 1 of the input is 'x'"),
        (&b"13\xC3\xA9"[..], "byte 2 of the input is 0xc3"),
        (&b"130"[..], "stands alone"),
    ] {
        let ended = run(&["decode", "--hex"], &[&one[..], input].concat());
        ended.fails(1, &hint.replace("byte 1 ", "byte 25 ").replace("byte 2 ", "byte 26 "));
        assert_eq!(ended.json().len(), 1, "the frame before it is shown");
    }
}

#[test]
fn frames_that_could_not_be_decoded_are_refused() {
    for case in vectors()["encode_errors"].as_array().unwrap() {
        for arguments in [["encode"].as_slice(), &["encode", "--hex"]] {
            let ended = run(arguments, format!("{case}\n").as_bytes());
            assert_eq!((ended.code, &*ended.err), (Some(1), ""), "{}", case["name"]);
            let expected = json!([case["error_kind"], case["reason_code"], 0]);
            assert_eq!(fault(&ended.json()[0]), expected, "{}", case["name"]);
        }
    }
}

#[test]
fn what_stands_before_a_refused_frame_is_written() {
    let lines = b"{\"frame_type\":\"Ping\",\"stream_id\":0}\n{\"frame_type\":\"Ping\",\"stream_id\":3}";
    let hex = run(&["encode", "--hex"], lines);
    assert_eq!((hex.code, hex.lines()[0]), (Some(1), "13000000000000000000"));
    let object: Value = serde_json::from_str(hex.lines()[1]).unwrap();
    assert_eq!(fault(&object), json!(["InvalidStream", 4, 10]));

    let raw = run(&["encode"], lines);
    assert_eq!(raw.out[..11], [0x13, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'\n']);
    assert_eq!(serde_json::from_slice::<Value>(&raw.out[11..]).unwrap(), object);
}

#[test]
fn what_is_no_frame_is_named_with_its_line_and_key() {
    let good = "{\"frame_type\":\"Ping\",\"stream_id\":0}\n";
    for (line, hint) in [
        ("not json", "line 3: no JSON: "),
        ("[1]", "line 3: no frame: a frame must be a JSON object"),
        ("{\"stream_id\":0}", "line 3: no frame: frame_type: missing"),
        ("{\"frame_type\":\"Pong\"}", "line 3: no frame: stream_id: missing"),
        ("{\"frame_type\":\"Bong\",\"stream_id\":0}", "there is no type \"Bong\""),
        ("{\"frame_type\":\"Ping\",\"stream_id\":-1}", "stream_id: expected an integer from 0 to 2^32 - 1"),
        ("{\"frame_type\":\"PublishAck\",\"stream_id\":1}", "message_id: missing"),
        (&"[".repeat(100_000), "line 3: no JSON: "),
        ("{\"error_kind\":\"CodecError\",\"reason_code\":9,\"offset\":0}", "frame_type: missing"),
    ] {
        let ended = run(&["encode", "--hex"], format!("{good}\n{line}\n{good}").as_bytes());
        ended.fails(1, hint);
        assert_eq!(ended.lines(), ["13000000000000000000"], "{line}");
    }
    run(&["encode"], b"\"\xFF\"").fails(1, "line 1: no JSON: ");
}

#[test]
fn the_types_of_2_0_are_known_when_asked_for() {
    let opened = "80 00 00000003 00000009 01 0000000000000007";
    let unknown = run(&["decode", "--hex"], opened.as_bytes());
    assert_eq!(unknown.json()[0]["frame_type"], "Unknown");
    assert_eq!(unknown.json()[0]["type_id"], 0x80);
    let digits = opened.replace(' ', "");
    assert_eq!(run(&["encode", "--hex"], &unknown.out).lines(), [&digits]);

    let known = run(&["decode", "--hex", "--protocol", "2.0"], opened.as_bytes());
    assert_eq!(known.json()[0]["frame_type"], "Opened");
    assert_eq!(run(&["encode", "--hex", "--protocol", "2.0"], &known.out).lines(), [&digits]);
    let refused = run(&["encode", "--hex", "--protocol", "1.0"], &known.out);
    assert_eq!((refused.code, fault(&refused.json()[0])), (Some(1), json!(["UnknownFrameType", 3, 0])));
}

#[test]
fn a_frame_is_shown_as_soon_as_it_is_complete() {
    let mut child = start(&["decode", "--hex"]);
    let mut out = child.stdout.take().unwrap();
    for id in ["13", "14"] {
        let stdin = child.stdin.as_mut().unwrap();
        writeln!(stdin, "{id} 00 00000000 00000000").unwrap();
        let line: Value = serde_json::from_str(&read_line(&mut out)).unwrap();
        assert_eq!(line["frame_type"], if id == "13" { "Ping" } else { "Pong" });
    }
    child.stdout = Some(out);
    assert_eq!(finish(child, vec![]).succeeds(), b"");

    let mut child = start(&["encode", "--hex"]);
    let mut out = child.stdout.take().unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{{\"frame_type\":\"Ping\",\"stream_id\":0}}").unwrap();
    assert_eq!(read_line(&mut out), "13000000000000000000");
    finish(child, vec![]).succeeds();
}

#[cfg(target_os = "linux")]
#[test]
fn an_announced_length_costs_nothing_and_a_long_input_no_more_than_one_frame() {
    let limited = |arguments: &str| {
        Command::new("sh")
            .args(["-c", &format!("ulimit -v 24000; exec {} {arguments}", env!("CARGO_BIN_EXE_liminal"))])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let ended = finish(limited("decode"), b"\xEE\x00\x00\x00\x00\x01\xFF\xFF\xFF\xFFshort".to_vec());
    assert_eq!((ended.code, fault(&ended.json()[0])), (Some(1), json!(["TruncatedPayload", 2, 0])));

    // Frames of 64 KiB, 12 MiB in all, which become 24 MiB of digits: more than it may have beside itself.
    let mut frame = b"\xEE\x00\x00\x00\x00\x01\x00\x01\x00\x00".to_vec();
    frame.resize(10 + (1 << 16), b'x');
    let mut child = limited("decode");
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()).unwrap());
    finish(child, frame.repeat(192)).succeeds();
    assert!(reader.join().unwrap() > (2 * 12) << 20);
}

#[test]
fn a_closed_stdout_ends_it_quietly() {
    let many = [0x13, 0, 0, 0, 0, 0, 0, 0, 0, 0].repeat(100_000);
    let mut child = start(&["decode"]);
    let mut out = child.stdout.take().unwrap();
    child.stdin.as_mut().unwrap().write_all(&many[..10]).unwrap();
    assert!(read_line(&mut out).contains("Ping"));
    drop(out);
    let ended = finish(child, many);
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    for arguments in [["decode", "--hex"], ["encode", "--hex"]] {
        let input: &[u8] = match arguments[0] {
            "decode" => b"13 00 00000000 00000000",
            _ => b"{\"frame_type\":\"Ping\",\"stream_id\":0}",
        };
        let child = Command::new(env!("CARGO_BIN_EXE_liminal"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(File::options().write(true).open("/dev/full").unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        finish(child, input.to_vec()).fails(1, "cannot write the output");
    }
}
