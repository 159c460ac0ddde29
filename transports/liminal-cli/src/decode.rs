//! `liminal decode`: bytes → one JSON object for each frame.

use std::io::{self, Read, Write};

use bytes::{Buf, BytesMut};
use clap::Args;
use liminal_proto::wire::{self, DecodeError, Dialect};

use crate::command::Protocol;
use crate::error::Error;
use crate::fault::fault;
use crate::frame_json::{self, hex};

/// What is read at once.
const CHUNK: usize = 64 * 1024;

/// Turn the bytes of frames into JSON, one object per line
#[derive(Debug, Args)]
pub(crate) struct Decode {
    /// The input is hexadecimal digits, in either case; white space is ignored
    #[arg(long)]
    hex: bool,
    /// Which frame types are known; any other is shown as Unknown
    #[arg(long, value_enum, default_value_t = Protocol::V1)]
    protocol: Protocol,
}

impl Decode {
    pub(crate) fn run(self, mut input: impl Read, out: &mut impl Write) -> Result<(), Error> {
        let mut decoder = Decoder { dialect: self.protocol.dialect(), buffer: BytesMut::new(), offset: 0 };
        let mut digits = self.hex.then(Digits::default);
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = match input.read(&mut chunk) {
                Ok(read) => chunk.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Input(error)),
            };
            if read.is_empty() {
                break;
            }
            let clean = match &mut digits {
                Some(digits) => digits.bytes(read, &mut decoder.buffer),
                None => {
                    decoder.buffer.extend_from_slice(read);
                    Ok(())
                }
            };
            decoder.print(out)?;
            clean?;
            // Whoever types, or watches a connection, sees each frame when it is complete.
            out.flush().map_err(Error::output)?;
        }
        digits.map_or(Ok(()), |digits| digits.finish())?;
        decoder.finish(out)
    }
}

/// Holds what has come of the next frame.
struct Decoder {
    dialect: Dialect,
    buffer: BytesMut,
    /// Where in the input the buffer begins.
    offset: u64,
}

impl Decoder {
    /// Prints the frames that are complete.
    fn print(&mut self, out: &mut impl Write) -> Result<(), Error> {
        while !self.buffer.is_empty() {
            match wire::decode(self.dialect, u32::MAX, &self.buffer) {
                Ok((frame, len)) => {
                    writeln!(out, "{}", frame_json::write(&frame)).map_err(Error::output)?;
                    self.buffer.advance(len);
                    self.offset += len as u64;
                }
                Err(error) if error.is_incomplete() => break,
                Err(error) => return self.fault(out, &error),
            }
        }
        Ok(())
    }

    /// Nothing may be left at the end.
    fn finish(&self, out: &mut impl Write) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        match wire::decode(self.dialect, u32::MAX, &self.buffer) {
            Ok(_) => Ok(()),
            Err(error) => self.fault(out, &error),
        }
    }

    fn fault(&self, out: &mut impl Write, error: &DecodeError) -> Result<(), Error> {
        fault(out, error.kind(), self.offset, error)
    }
}

/// Pairs of digits, wherever the input was cut.
#[derive(Default)]
struct Digits {
    /// The first digit of a pair whose second has not come yet.
    high: Option<u8>,
    /// How many bytes of input have been read.
    offset: u64,
}

impl Digits {
    /// Appends the bytes that the digits stand for, up to the first character that is none.
    fn bytes(&mut self, input: &[u8], into: &mut BytesMut) -> Result<(), Error> {
        for &byte in input {
            match hex::digit(byte) {
                Some(digit) => match self.high.take() {
                    Some(high) => into.extend_from_slice(&[high << 4 | digit]),
                    None => self.high = Some(digit),
                },
                None if byte.is_ascii_whitespace() || byte == b'\x0B' => {}
                None => return Err(Error::NoDigit { offset: self.offset, byte }),
            }
            self.offset += 1;
        }
        Ok(())
    }

    const fn finish(&self) -> Result<(), Error> {
        match self.high {
            None => Ok(()),
            Some(_) => Err(Error::OddDigit),
        }
    }
}
