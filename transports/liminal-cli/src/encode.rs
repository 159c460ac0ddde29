//! `liminal encode`: one JSON object for each frame → bytes.

use std::io::{BufRead, BufReader, Read, Write};

use bytes::BytesMut;
use clap::Args;
use liminal_proto::wire::{self, Dialect};

use crate::command::Protocol;
use crate::error::Error;
use crate::fault::fault;
use crate::frame_json::{self, hex};

/// Turn JSON objects, one per line as decode prints them, into the bytes of frames
#[derive(Debug, Args)]
pub(crate) struct Encode {
    /// Write lower-case hexadecimal digits, one line per frame
    #[arg(long)]
    hex: bool,
    /// Which frame types may be written by their names
    #[arg(long, value_enum, default_value_t = Protocol::V1)]
    protocol: Protocol,
}

impl Encode {
    pub(crate) fn run(self, input: impl Read, out: &mut impl Write) -> Result<(), Error> {
        let mut input = BufReader::new(input);
        let mut encoder = Encoder { dialect: self.protocol.dialect(), hex: self.hex, offset: 0 };
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            if input.buffer().is_empty() {
                out.flush().map_err(Error::output)?;
            }
            line.clear();
            number += 1;
            if input.read_until(b'\n', &mut line).map_err(Error::Input)? == 0 {
                return Ok(());
            }
            if !line.trim_ascii().is_empty() {
                encoder.write(number, &line, out)?;
            }
        }
    }
}

struct Encoder {
    dialect: Dialect,
    hex: bool,
    /// How many bytes of frames were written.
    offset: u64,
}

impl Encoder {
    fn write(&mut self, line: u64, json: &[u8], out: &mut impl Write) -> Result<(), Error> {
        let json = serde_json::from_slice(json).map_err(|error| Error::NoJson { line, error })?;
        let frame = frame_json::read(&json).map_err(|error| Error::NoFrame { line, error })?;
        let mut bytes = BytesMut::new();
        if let Err(error) = wire::encode(self.dialect, &frame, &mut bytes) {
            if !self.hex && self.offset > 0 {
                out.write_all(b"\n").map_err(Error::output)?;
            }
            return fault(out, error.kind(), self.offset, error);
        }
        self.offset += bytes.len() as u64;
        if self.hex { writeln!(out, "{}", hex::encode(&bytes)) } else { out.write_all(&bytes) }
            .map_err(Error::output)
    }
}
