//! A recorded session once more, with another server.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::BytesMut;
use liminal_proto::StreamId;
use liminal_proto::wire::{Body, Dialect, FrameBuf, decode, encode};

use crate::heard::line;
use crate::{Heard, Session, Step};

/// What never takes this long has failed.
const DEADLINE: Duration = Duration::from_secs(30);

impl Session {
    /// Goes through the session with the server there, which nobody else may talk to. `stop` tells it to stop.
    ///
    /// Silence is not waited for: a client that heard what it should asks with a Ping whether there is more.
    /// What comes later than that is heard in its next step, or when it closes its half in the end.
    ///
    /// # Errors
    ///
    /// Says what was heard first that should not have been, or what failed.
    pub fn replay(&self, server: impl ToSocketAddrs, mut stop: impl FnMut()) -> Result<(), String> {
        let mut clients = BTreeMap::new();
        let mut stopping = false;
        for step in &self.steps {
            let client = match clients.remove(&step.client) {
                Some(client) => client,
                None => Client::connect(&server).map_err(|error| self.wrong(step, &error))?,
            };
            if step.stops {
                stop();
                stopping = true;
            }
            let client = client.go(step, stopping).map_err(|error| self.wrong(step, &error))?;
            clients.insert(&step.client, client);
        }
        for (name, client) in clients {
            client.finish(stopping).map_err(|error| format!("{}, {name}, the end: {error}", self.name))?;
        }
        Ok(())
    }

    fn wrong(&self, step: &Step, error: &str) -> String {
        format!("{}, {}, {}: {error}", self.name, step.client, step.name)
    }
}

struct Client {
    stream: TcpStream,
    input: BytesMut,
    closed: bool,
}

impl Client {
    fn connect(server: impl ToSocketAddrs) -> Result<Self, String> {
        let connect = || {
            let stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            Ok(stream)
        };
        let stream = connect().map_err(|error: std::io::Error| error.to_string())?;
        Ok(Self { stream, input: BytesMut::new(), closed: false })
    }

    /// Takes the step, up to the first thing that should not be heard.
    fn go(mut self, step: &Step, stopping: bool) -> Result<Self, String> {
        let should = &step.hears;
        self.say(&step.says);
        let mut heard = Heard::default();
        while should.frames.starts_with(&heard.frames)
            && (should.closed || heard.frames.len() < should.frames.len())
        {
            let Some(frame) = self.hear(&heard)? else { break };
            heard.frames.push(line(&frame));
        }
        // A server that stops closes when it likes: it may not be there to be asked.
        if should.frames == heard.frames && !stopping {
            self.ask_for_more(&mut heard)?;
        }
        heard.closed = self.closed;
        compare(should, &heard)?;
        Ok(self)
    }

    /// Whatever comes before the Pong was on its way already.
    fn ask_for_more(&mut self, heard: &mut Heard) -> Result<(), String> {
        self.say(&ping()?);
        while let Some(frame) = self.hear(heard)?.filter(|frame| frame.body != Body::Pong) {
            heard.frames.push(line(&frame));
        }
        Ok(())
    }

    /// Says no more, and hears whatever the server still has to say.
    fn finish(mut self, stopping: bool) -> Result<(), String> {
        if !stopping {
            // The server may have closed already.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        let mut heard = Heard::END;
        while let Some(frame) = self.hear(&heard)? {
            heard.frames.push(line(&frame));
        }
        compare(&Heard::END, &heard)
    }

    fn say(&mut self, bytes: &[u8]) {
        if !self.closed {
            // That it has closed is heard next.
            let _ = self.stream.write_all(bytes);
        }
    }

    /// The next frame, or `None` at the end.
    fn hear(&mut self, heard: &Heard) -> Result<Option<FrameBuf>, String> {
        let mut chunk = [0; 4096];
        while !self.closed {
            match decode(Dialect::V1, u32::MAX, &self.input) {
                Ok((frame, len)) => {
                    let frame = frame.to_buf();
                    drop(self.input.split_to(len));
                    return Ok(Some(frame));
                }
                Err(error) if error.is_incomplete() => {}
                Err(error) => return Err(format!("{error} after {heard}")),
            }
            let read = match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                read => read.map_err(|error| format!("{error} after {heard}"))?,
            };
            self.input.extend_from_slice(chunk.get(..read).unwrap_or_default());
            self.closed = read == 0;
        }
        if self.input.is_empty() { Ok(None) } else { Err(format!("the end inside a frame after {heard}")) }
    }
}

fn compare(should: &Heard, heard: &Heard) -> Result<(), String> {
    if should == heard { Ok(()) } else { Err(format!("heard {heard}, not {should}")) }
}

fn ping() -> Result<BytesMut, String> {
    let frame: FrameBuf = FrameBuf { flags: 0, stream: StreamId::CONTROL, body: Body::Ping };
    let mut bytes = BytesMut::new();
    encode(Dialect::V1, &frame, &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
