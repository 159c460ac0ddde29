//! A peer that speaks bytes: one side of a connection with no library of ours behind it but the codec.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use liminal_driver::Address;
use liminal_proto::wire::{
    Body, CausalContext, Dialect, Envelope, Frame, FrameBuf, FrameRef, SchemaId, Version, decode_shared,
    encode,
};
use liminal_proto::{ConversationId, Limits, MessageId, ReasonCode, StreamId};

use crate::WAIT;

/// A connection of bytes.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    input: BytesMut,
    /// Which frames it knows.
    pub dialect: Dialect,
}

impl Raw {
    /// Connects to a TCP address.
    #[must_use]
    pub fn connect(address: &Address) -> Self {
        let Address::Tcp(address) = address else { panic!("raw peers speak TCP, not {address}") };
        Self::over(TcpStream::connect(address).expect("somebody listens"))
    }

    /// Connects with as little room for input as the system allows.
    #[must_use]
    pub fn connect_narrow(address: &Address) -> Self {
        Self::connect_with_room(address, 4096)
    }

    /// Connects with room for so many bytes of input.
    #[must_use]
    pub fn connect_with_room(address: &Address, bytes: usize) -> Self {
        let Address::Tcp(address) = address else { panic!("raw peers speak TCP, not {address}") };
        let address: std::net::SocketAddr = address.parse().expect("a server says where it listens");
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
            .expect("there are sockets");
        socket.set_recv_buffer_size(bytes).expect("a buffer may be small");
        socket.connect(&address.into()).expect("somebody listens");
        Self::over(socket.into())
    }

    /// Takes the next connection.
    #[must_use]
    pub fn accept(listener: &TcpListener) -> Self {
        Self::over(listener.accept().expect("somebody connects").0)
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(WAIT)).expect("a time limit can be set");
        stream.set_write_timeout(Some(WAIT)).expect("a time limit can be set");
        stream.set_nodelay(true).expect("an option can be set");
        Self { stream, input: BytesMut::new(), dialect: Dialect::V1 }
    }

    /// Sends bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the peer is there");
    }

    /// Sends bytes, as far as the peer goes on taking them. False: it does not, any more.
    #[must_use]
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a time limit can be set");
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends bytes, as far as the peer takes them without a long pause, and says how many it took.
    pub fn send_some(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a time limit can be set");
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.stream.set_write_timeout(Some(WAIT)).expect("a time limit can be set");
        sent
    }

    /// Sends a frame.
    pub fn send(&mut self, flags: u8, stream: u32, body: Body<&str, &[u8]>) {
        let bytes = self.bytes_of(flags, stream, body);
        self.send_bytes(&bytes);
    }

    /// A frame, in bytes.
    #[must_use]
    pub fn bytes_of(&self, flags: u8, stream: u32, body: Body<&str, &[u8]>) -> Bytes {
        let mut bytes = BytesMut::new();
        let frame: FrameRef<'_> = Frame { flags, stream: StreamId::new(stream), body };
        encode(self.dialect, &frame, &mut bytes).expect("the frame is valid");
        bytes.freeze()
    }

    /// The next frame. `None`: the peer has ended the stream.
    pub fn next_frame(&mut self) -> Option<FrameBuf> {
        loop {
            let whole = Bytes::copy_from_slice(&self.input);
            match decode_shared(self.dialect, u32::MAX, &whole) {
                Ok((frame, used)) => {
                    drop(self.input.split_to(used));
                    return Some(frame);
                }
                Err(error) => assert!(error.is_incomplete(), "the peer sends nonsense: {error}"),
            }
            // Frames here are small, or few.
            let mut chunk = vec![0; 256 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.input.is_empty(), "the stream ends inside a frame");
                    return None;
                }
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// The next frame, which is there.
    pub fn expect(&mut self) -> FrameBuf {
        self.next_frame().expect("the peer should have sent a frame")
    }

    /// The stream ends here.
    pub fn expect_end(&mut self) {
        let next = self.next_frame();
        assert_eq!(next, None, "the stream should have ended");
    }

    /// The next frame, which must come, that does not only give credit.
    #[track_caller]
    pub fn expect_beside_credit(&mut self) -> FrameBuf {
        loop {
            let frame = self.expect();
            if !matches!(frame.body, Body::Credit { .. } | Body::ConnectionCredit { .. }) {
                return frame;
            }
        }
    }

    /// The server refuses the connection with this code, and closes it.
    #[track_caller]
    pub fn expect_refusal(&mut self, code: ReasonCode) {
        self.expect_refusal_of(code, "");
    }

    /// The same, for a table: `what` was refused.
    #[track_caller]
    pub fn expect_refusal_of(&mut self, code: ReasonCode, what: &str) {
        let FrameBuf { stream, body, .. } =
            self.next_frame().unwrap_or_else(|| panic!("closed without a word: {what}"));
        let Body::ConnectError { reason_code, .. } = body else {
            panic!("no ConnectError but {body:?}: {what}")
        };
        assert_eq!((reason_code, stream), (code, StreamId::CONTROL), "{what}");
        assert_eq!(self.next_frame(), None, "the stream should have ended: {what}");
    }

    /// Whether there is something to be heard, or the end.
    #[must_use]
    pub fn has_input(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a mode can be set");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a mode can be set");
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Shakes hands as a client of this version.
    pub fn shake_hands(&mut self, dialect: Dialect) {
        let version = dialect.version();
        self.send(0, 0, Body::Connect { min_version: version, max_version: version, auth_token: b"" });
        let answer = self.expect().body;
        assert!(
            matches!(&answer, Body::ConnectAck { selected_version, .. } if *selected_version == version),
            "no ConnectAck but {answer:?}"
        );
        self.dialect = dialect;
        self.exchange_windows();
    }

    /// In 2.0 both sides say what they take, this one as much as there is.
    fn exchange_windows(&mut self) {
        if self.dialect == Dialect::V2 {
            self.send(0, 0, Self::WINDOWS);
            let answer = self.expect().body;
            assert!(matches!(answer, Body::Windows { .. }), "no Windows but {answer:?}");
        }
    }

    /// What takes as much as there is (2.0).
    pub const WINDOWS: Body<&'static str, &'static [u8]> = Body::Windows {
        payload_max: Limits::FRAME_HARD_MAX,
        conversation: Limits::CREDIT_MAX,
        connection: Limits::CREDIT_MAX,
    };

    /// Shakes hands as a server that selects this version.
    pub fn accept_hands(&mut self, selected: Version) -> (Version, Version) {
        let Body::Connect { min_version, max_version, .. } = self.expect().body else { panic!("no Connect") };
        self.send(0, 0, Body::ConnectAck { selected_version: selected, capabilities: 0 });
        self.dialect = if selected == Version::V2_0 { Dialect::V2 } else { Dialect::V1 };
        self.exchange_windows();
        (min_version, max_version)
    }

    /// Opens a conversation.
    pub fn open(&mut self, stream: u32, conversation: u64, subject: &str) {
        let bytes = self.open_bytes(stream, conversation, subject);
        self.send_bytes(&bytes);
    }

    /// What opens a conversation.
    #[must_use]
    pub fn open_bytes(&self, stream: u32, conversation: u64, subject: &str) -> Bytes {
        let conversation_id = ConversationId::new(conversation);
        self.bytes_of(0, stream, Body::ConversationOpen { conversation_id, subject })
    }

    /// Asks for a reply in the conversation that has the number of its stream, in the words of its version.
    pub fn ask(&mut self, stream: u32, number: u64, payload: &[u8]) {
        let bytes = self.ask_bytes(stream, number, payload);
        self.send_bytes(&bytes);
    }

    /// What asks for a reply. In 1.0 it has no number.
    #[must_use]
    pub fn ask_bytes(&self, stream: u32, number: u64, payload: &[u8]) -> Bytes {
        match self.dialect {
            Dialect::V1 => self.bytes_of(1, stream, message(stream.into(), payload)),
            Dialect::V2 => {
                let (message_id, answers, timeout_ms) = (MessageId::new(number), None, None);
                self.bytes_of(
                    1,
                    stream,
                    Body::Message {
                        message_id,
                        answers,
                        timeout_ms,
                        redelivered: None,
                        metadata: None,
                        payload,
                    },
                )
            }
        }
    }

    /// The next frame but Opened is a reply: its stream, and what it says.
    #[track_caller]
    pub fn expect_answer(&mut self) -> (u32, Bytes) {
        loop {
            match self.expect() {
                FrameBuf { body: Body::Opened { .. }, .. } => {}
                FrameBuf { body: Body::Message { payload, .. }, stream, .. } => {
                    return (stream.get(), payload);
                }
                FrameBuf { body: Body::ConversationMessage { envelope, .. }, stream, .. } => {
                    return (stream.get(), envelope.payload);
                }
                FrameBuf { body, .. } => panic!("no reply but {body:?}"),
            }
        }
    }

    /// Says something in a 1.0 conversation.
    pub fn say(&mut self, flags: u8, stream: u32, conversation: u64, payload: &[u8]) {
        self.send(flags, stream, message(conversation, payload));
    }

    /// The next frame is a reply in 1.0: its stream, and what it says.
    pub fn expect_reply(&mut self) -> (u32, Bytes) {
        let FrameBuf { flags, stream, body } = self.expect();
        let Body::ConversationMessage { envelope, .. } = body else { panic!("no reply but {body:?}") };
        assert_eq!(flags & 1, 1, "a reply has flag 0x01");
        (stream.get(), envelope.payload)
    }

    /// The next frame is an error in 1.0: its stream, conversation and code.
    pub fn expect_error(&mut self) -> (u32, u64, ReasonCode) {
        let FrameBuf { stream, body, .. } = self.expect();
        let Body::ConversationError { conversation_id, reason_code, .. } = body else {
            panic!("no error but {body:?}")
        };
        (stream.get(), conversation_id.get(), reason_code)
    }

    /// Ends its half of the stream.
    pub fn end(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is there");
    }

    /// Ends both halves at once, as the death of a process does that has unread input.
    pub fn kill(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("an option can be set");
    }

    /// Reads to the end, whatever comes.
    pub fn drain(&mut self) {
        let mut chunk = [0; 4096];
        while matches!(self.stream.read(&mut chunk), Ok(n) if n > 0) {}
    }
}

/// A message of a 1.0 conversation.
#[must_use]
pub fn message(conversation: u64, payload: &[u8]) -> Body<&'static str, &[u8]> {
    let causal_context = CausalContext { parent_id: None, vector_clock_entry: None };
    let envelope = Envelope { schema_id: SchemaId([0; 32]), causal_context, payload };
    Body::ConversationMessage { conversation_id: ConversationId::new(conversation), envelope }
}
