//! The recorded vectors, as values.

use liminal_cli::frame_json;
use liminal_proto::wire::FrameBuf;
use serde_json::Value;

use crate::keys::{bytes, list, number, text};

const FRAMES: &str = include_str!("../vectors/frames.json");

/// All that `vectors/frames.json` holds.
#[derive(Debug)]
pub struct Vectors(Value);

/// A recorded stream: frames one after the other.
#[derive(Debug)]
pub struct Stream<'a> {
    /// What the recording calls it.
    pub name: &'a str,
    /// The size of the pieces in which a 1.0 peer was given the bytes.
    pub chunk_size: usize,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The frames that they are.
    pub frames: Vec<FrameBuf>,
}

/// A byte string that a 1.0 peer refuses to decode, or a frame that it refuses to encode.
#[derive(Debug)]
pub struct Refused<'a, T> {
    /// What the recording calls it.
    pub name: &'a str,
    /// What is refused.
    pub what: T,
    /// How.
    pub refusal: Refusal<'a>,
}

/// How a 1.0 peer refuses.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The name of the class of error.
    pub kind: &'a str,
    /// The code of that class.
    pub reason_code: u16,
}

impl Vectors {
    /// Reads the recording.
    ///
    /// # Errors
    ///
    /// Says what in the recording is not as it should be.
    pub fn load() -> Result<Self, String> {
        serde_json::from_str(FRAMES).map(Self).map_err(|error| error.to_string())
    }

    /// Every recorded frame: its JSON and its bytes.
    ///
    /// # Errors
    ///
    /// Says what in the recording is not as it should be.
    pub fn frames(&self) -> Result<Vec<(&Value, Vec<u8>)>, String> {
        list(&self.0, "frames")?.iter().map(|frame| Ok((frame, bytes(frame, "hex")?))).collect()
    }

    /// Every recorded stream.
    ///
    /// # Errors
    ///
    /// Says what in the recording is not as it should be.
    pub fn streams(&self) -> Result<Vec<Stream<'_>>, String> {
        list(&self.0, "streams")?.iter().map(|stream| self.stream(stream)).collect()
    }

    /// Every byte string that a 1.0 peer refuses.
    ///
    /// # Errors
    ///
    /// Says what in the recording is not as it should be.
    pub fn malformed(&self) -> Result<Vec<Refused<'_, Vec<u8>>>, String> {
        list(&self.0, "malformed")?.iter().map(|case| refused(case, |case| bytes(case, "hex"))).collect()
    }

    /// Every frame that a 1.0 peer refuses to encode.
    ///
    /// # Errors
    ///
    /// Says what in the recording is not as it should be.
    pub fn encode_errors(&self) -> Result<Vec<Refused<'_, FrameBuf>>, String> {
        list(&self.0, "encode_errors")?.iter().map(|case| refused(case, frame)).collect()
    }

    fn stream<'a>(&'a self, stream: &'a Value) -> Result<Stream<'a>, String> {
        let named = list(stream, "frames")?.iter().map(|name| self.frame(name));
        Ok(Stream {
            name: text(stream, "name")?,
            chunk_size: number(stream, "chunk_size")?,
            bytes: bytes(stream, "hex")?,
            frames: named.collect::<Result<_, _>>()?,
        })
    }

    fn frame(&self, name: &Value) -> Result<FrameBuf, String> {
        let mut frames = list(&self.0, "frames")?.iter();
        let found = frames.find(|frame| frame.get("name") == Some(name));
        frame(found.ok_or_else(|| format!("no frame is called {name}"))?)
    }
}

fn frame(value: &Value) -> Result<FrameBuf, String> {
    frame_json::read(value).map_err(|error| error.to_string())
}

fn refused<T>(case: &Value, read: fn(&Value) -> Result<T, String>) -> Result<Refused<'_, T>, String> {
    let refusal = Refusal { kind: text(case, "error_kind")?, reason_code: number(case, "reason_code")? };
    Ok(Refused { name: text(case, "name")?, what: read(case)?, refusal })
}
