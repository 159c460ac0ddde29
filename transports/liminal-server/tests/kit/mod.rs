//! A server as a process of its own, and a peer that says whatever it likes.

#![allow(dead_code, reason = "every test program uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use liminal_proto::wire::{Body, Dialect, FrameBuf, Version, decode, encode};
use liminal_proto::{ReasonCode, StreamId};

/// What never takes this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const TRANSPORTS: [&str; 3] = ["blocking", "smol", "async-std"];

/// A running server. It is killed when the test is over.
pub(crate) struct Server {
    child: Child,
    pub(crate) line: String,
    out: Receiver<String>,
    log: Receiver<String>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// What was still to be read of stdout and stderr.
    pub(crate) out: Vec<String>,
    pub(crate) log: Vec<String>,
}

impl Server {
    /// Starts a server and waits until it says that it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::started(spawn(arguments))
    }

    /// On a free port, with so many file descriptors.
    #[cfg(unix)]
    pub(crate) fn with_descriptors(descriptors: u32, transport: &str) -> Self {
        let limited = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_liminal-server")]);
        Self::started(piped(command.args(["--listen", "127.0.0.1:0", "--transport", transport])))
    }

    fn started(mut child: Child) -> Self {
        let (out, log) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        // From here on it is killed when the test fails.
        let mut this = Self { child, line: String::new(), out, log };
        this.line = this.out.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{:?}", rest(&this.log)));
        this
    }

    /// On a free port.
    pub(crate) fn on_tcp(transport: &str, more: &[&str]) -> Self {
        Self::start(&[&["--listen", "127.0.0.1:0", "--transport", transport], more].concat())
    }

    pub(crate) fn address(&self) -> &str {
        self.line.split(' ').nth(3).unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// The next line of the log that has this text.
    pub(crate) fn logs(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line has {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let (out, log) = (rest(&self.out), rest(&self.log));
        Ended { code: self.child.wait().unwrap().code(), out, log }
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::connect(self.address())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // One that was killed leaves its socket behind.
        if let Some(path) = self.line.split(' ').nth(3).and_then(|address| address.strip_prefix("unix:")) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Runs a server that must end by itself.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    let mut child = spawn(arguments);
    let (out, log) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
    let server = Server { child, line: String::new(), out, log };
    server.ended()
}

fn spawn(arguments: &[&str]) -> Child {
    piped(Command::new(env!("CARGO_BIN_EXE_liminal-server")).args(arguments))
}

fn piped(command: &mut Command) -> Child {
    command
        .env_remove("LIMINAL_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// All that comes until the end.
fn rest(of: &Receiver<String>) -> Vec<String> {
    let until = Instant::now() + DEADLINE;
    let mut rest = Vec::new();
    loop {
        match of.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => rest.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => return rest,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no end after {rest:?}"),
        }
    }
}

/// A path for a socket, for this test alone.
pub(crate) fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("liminal-server-{}-{name}", std::process::id()))
}

/// Somebody on a TCP connection who says whatever he likes.
pub(crate) struct Peer {
    stream: TcpStream,
    input: BytesMut,
}

impl Peer {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream, input: BytesMut::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn say(&mut self, stream: u32, flags: u8, body: Body<String, bytes::Bytes>) {
        self.send(&frame(stream, flags, body));
    }

    /// Shakes hands as a 1.0 client does.
    pub(crate) fn shake_hands(&mut self) {
        self.send(&connect_frame());
        assert!(matches!(self.hear().unwrap().body, Body::ConnectAck { .. }));
    }

    pub(crate) fn end(&mut self) {
        // The server may have closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next frame, or `None` at the end.
    pub(crate) fn hear(&mut self) -> Option<FrameBuf> {
        loop {
            if let Ok((frame, len)) = decode(Dialect::V2, u32::MAX, &self.input) {
                let frame = frame.to_buf();
                drop(self.input.split_to(len));
                return Some(frame);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).unwrap() {
                0 => {
                    assert!(self.input.is_empty(), "the stream ends inside a frame");
                    return None;
                }
                read => self.input.extend_from_slice(&chunk[..read]),
            }
        }
    }

    /// The code of the `ConnectError` that must come now, and nothing after it.
    pub(crate) fn refusal(&mut self) -> ReasonCode {
        let frame = self.hear().expect("a close without a word");
        assert_eq!(frame.stream, StreamId::CONTROL);
        let Body::ConnectError { reason_code, message } = frame.body else { panic!("{frame:?}") };
        assert!(message.is_some_and(|message| !message.is_empty()));
        assert_eq!(self.hear(), None);
        reason_code
    }
}

pub(crate) fn frame(stream: u32, flags: u8, body: Body<String, bytes::Bytes>) -> Vec<u8> {
    let frame = FrameBuf { flags, stream: StreamId::new(stream), body };
    let mut bytes = BytesMut::new();
    encode(Dialect::V2, &frame, &mut bytes).unwrap();
    bytes.to_vec()
}

pub(crate) fn connect_frame() -> Vec<u8> {
    let version = Version::V1_0;
    frame(0, 0, Body::Connect { min_version: version, max_version: version, auth_token: bytes::Bytes::new() })
}
