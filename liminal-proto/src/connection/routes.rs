//! Which part of the connection a frame concerns, once the handshake is through.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a type of frame that a place does not name means nothing there"
)]

use core::time::Duration;

use bytes::Bytes;

use super::acceptor::{ACCEPTED, Incoming, Taken};
use super::credit::Flow;
use super::monitors::{self, Kind};
use super::opener::{Opener, of_stream, outcome_of};
use super::{Connection, Phase};
use crate::wire::{Body, Dialect, Envelope, FrameRef, SchemaId, WorkerVerdict, flag};
use crate::{
    CloseReason, Content, ConversationId, Event, Expects, MessageId, Metadata, Notice, Outcome, ReasonCode,
    Side, StreamId, Terms, Violation,
};

impl Connection {
    /// A frame goes to the half of this side that its stream belongs to.
    pub(super) fn on_routed_frame(
        &mut self,
        bytes: &Bytes,
        frame: &FrameRef<'_>,
    ) -> Result<Option<Event>, Violation> {
        let greets = matches!(frame.body, Body::Windows { .. });
        if self.sender.dialect == Dialect::V2 && greets == self.sender.credit.knows_peer() {
            let state = if greets { "a second time" } else { "before Windows" };
            return Err(Violation::WrongState { frame: name(&frame.body), state });
        }
        if frame.stream == StreamId::CONTROL {
            self.on_control_frame(frame)
        } else if let Body::Credit { bytes } = frame.body {
            self.on_credit(frame.stream, bytes)
        } else if self.is_own(of_stream(frame.stream)) {
            self.on_answer(bytes, frame)
        } else {
            self.on_asked(bytes, frame)
        }
    }

    fn on_control_frame(&mut self, frame: &FrameRef<'_>) -> Result<Option<Event>, Violation> {
        match (self.side, &frame.body) {
            (Side::Server, Body::Connect { .. }) | (Side::Client, Body::ConnectAck { .. }) => {
                Err(Violation::WrongState { frame: name(&frame.body), state: "a second time" })
            }
            (Side::Client, Body::ConnectError { reason_code, message }) => {
                let text = self.sender.kept_text(*message);
                self.end(CloseReason::Refused { reason: *reason_code, text });
                Ok(None)
            }
            (_, Body::Windows { payload_max, conversation, connection }) => {
                self.on_windows(*payload_max, *conversation, *connection);
                Ok(None)
            }
            (_, Body::ConnectionCredit { messages, replies }) => {
                let waits = self.sender.credit.add(*messages, *replies)?;
                Ok(waits.then_some(Event::Room { conversation: None }))
            }
            (Side::Server, Body::WorkerRegister { .. }) => {
                let body = Body::WorkerRegisterAck { verdict: WorkerVerdict::Accepted };
                // A verdict without a text: there is nothing in it that could be refused.
                let _ = self.sender.send(0, StreamId::CONTROL, body);
                Ok(None)
            }
            _ => {
                self.acceptor.strays += 1;
                Ok(None)
            }
        }
    }

    /// In a conversation more may be said, whoever opened it.
    fn on_credit(&mut self, stream: StreamId, bytes: u32) -> Result<Option<Event>, Violation> {
        let key = of_stream(stream);
        let Some(flow) = self.flow_mut(key) else {
            self.acceptor.strays += 1;
            return Ok(None);
        };
        Ok(flow.add(bytes)?.then_some(Event::Room { conversation: Some(key) }))
    }

    /// Whether a credit lets somebody say notably more.
    pub(super) fn is_useful_credit(&self, stream: StreamId, bytes: u32) -> bool {
        self.sender.credit.is_useful(bytes) && self.conversation_phase(of_stream(stream)).is_some()
    }

    fn flow_mut(&mut self, key: ConversationId) -> Option<&mut Flow> {
        let flow = if self.is_own(key) { self.opener.flow_mut(key) } else { self.acceptor.flow_mut(key) };
        flow.map(|(_, flow)| flow)
    }

    // ── on the streams of the other side ────────────────────────────────────────────────────────

    fn on_asked(&mut self, bytes: &Bytes, frame: &FrameRef<'_>) -> Result<Option<Event>, Violation> {
        let taken = match frame.body {
            Body::ConversationMessage { conversation_id, envelope } => {
                self.on_message_v1(bytes, (frame.flags, frame.stream), conversation_id, &envelope)?
            }
            Body::ConversationClose { conversation_id, reason_code, .. } => {
                let cancels = self.side == Side::Client && reason_code == Some(ReasonCode::CANCELLED);
                self.acceptor.on_close(self.sender.dialect, frame.stream, conversation_id, cancels)
            }
            _ => match self.side {
                Side::Server => self.on_asked_of_server(frame)?,
                Side::Client => self.on_asked_of_client(frame)?,
            },
        };
        if matches!(taken, Taken::Early) {
            self.early_open = opened_by(&frame.body).map(|id| (id, bytes.clone()));
        }
        self.on_taken(taken)
    }

    pub(super) fn on_taken(&mut self, taken: Taken) -> Result<Option<Event>, Violation> {
        match taken {
            Taken::Event(event) => Ok(Some(event)),
            Taken::Nothing | Taken::Early => Ok(None),
            Taken::Refused => self.count_refusal().map(|()| None),
        }
    }

    fn on_asked_of_server(&mut self, frame: &FrameRef<'_>) -> Result<Taken, Violation> {
        let (stream, sender, limits) = (frame.stream, &mut self.sender, &self.config.limits);
        match frame.body {
            Body::ConversationOpen { conversation_id, subject } => {
                let wanted = (subject, Terms::default());
                self.acceptor.on_open(sender, limits, stream, conversation_id, wanted)
            }
            Body::Open { on_exit, total_ms, idle_ms, subject } => {
                let time = |ms: Option<u32>| ms.map(|ms| Duration::from_millis(u64::from(ms.max(1))));
                let terms = Terms { on_exit, total: time(total_ms), idle: time(idle_ms) };
                self.acceptor.on_open(sender, limits, stream, of_stream(stream), (subject, terms))
            }
            Body::Serve { capacity, subject } => {
                self.acceptor.ascend(stream)?;
                Ok(self.offers.on_serve(sender, limits, stream, subject, capacity))
            }
            Body::Withdraw => Ok(self
                .offers
                .on_withdraw(stream, frame.flags & flag::DRAIN != 0)
                .unwrap_or_else(|| self.stray())),
            Body::Monitor { pid } => {
                self.acceptor.ascend(stream)?;
                Ok(self.monitors.on_monitor(sender, limits, stream, pid))
            }
            Body::Watch { subject } => {
                self.acceptor.ascend(stream)?;
                Ok(self.monitors.on_watch(sender, limits, stream, subject))
            }
            Body::Unmonitor => Ok(self.monitors.on_unmonitor(stream).unwrap_or_else(|| self.stray())),
            Body::Publish { .. } | Body::Subscribe { .. } => {
                refuse_channel(self, frame);
                Ok(Taken::Refused)
            }
            _ => Ok(self.stray()),
        }
    }

    fn on_asked_of_client(&mut self, frame: &FrameRef<'_>) -> Result<Taken, Violation> {
        match frame.body {
            Body::Invite { pid, subject } => {
                let (sender, limits, capacity) =
                    (&mut self.sender, &self.config.limits, self.offers.capacity());
                self.acceptor.on_invite(sender, limits, capacity, (frame.stream, pid, subject))
            }
            _ => Ok(self.stray()),
        }
    }

    const fn stray(&mut self) -> Taken {
        self.acceptor.strays += 1;
        Taken::Nothing
    }

    /// Refusals that the peer brought upon itself; one that makes them its business is closed.
    pub(super) fn count_refusal(&mut self) -> Result<(), Violation> {
        if self.refusals.take(self.now) {
            Ok(())
        } else {
            Err(Violation::Flood { what: "refused operations" })
        }
    }

    /// A message of 1.0. (Those of 2.0 have their own way.)
    fn on_message_v1(
        &mut self,
        bytes: &Bytes,
        (flags, stream): (u8, StreamId),
        conversation: ConversationId,
        envelope: &Envelope<&str, &[u8]>,
    ) -> Result<Taken, Violation> {
        if self.sender.dialect == Dialect::V2 {
            return Ok(self.stray());
        }
        let incoming = Incoming {
            conversation,
            stream,
            id: MessageId::default(),
            expects: if flags & flag::REPLY == 0 { Expects::Nothing } else { Expects::Reply },
            timeout: None,
            redelivered: 0,
            content: self.content_v1(bytes, envelope),
        };
        self.acceptor.on_message(&mut self.sender, &self.config.limits, incoming)
    }

    /// What a message of 1.0 says: a schema of zeros is none.
    fn content_v1(&mut self, bytes: &Bytes, envelope: &Envelope<&str, &[u8]>) -> Content {
        let Envelope { schema_id, causal_context, payload } = envelope;
        let schema_id = Some(*schema_id).filter(|id| *id != SchemaId::default());
        Content {
            payload: self.input.keep(bytes, payload),
            metadata: Metadata::of_cause(schema_id, causal_context),
        }
    }

    // ── on the streams of this side ─────────────────────────────────────────────────────────────

    fn on_answer(&mut self, bytes: &Bytes, frame: &FrameRef<'_>) -> Result<Option<Event>, Violation> {
        if self.sender.dialect == Dialect::V1 {
            return Ok(self.on_answer_v1(bytes, frame));
        }
        let stream = frame.stream;
        if self.monitors.has(stream) && !begins(self.side.other(), &frame.body) {
            return Ok(self.on_monitor_answer(bytes, frame).or_else(|| stray(&mut self.opener)));
        }
        let (opener, sender, owed) = (&mut self.opener, &mut self.sender, &mut self.owed);
        Ok(match frame.body {
            Body::Opened { pid } => opener.on_opened(stream, pid),
            Body::Refused { reason_code, message } => {
                let refused = self.offers.on_refused(sender, stream, reason_code, message);
                refused.or_else(|| opener.on_refused(sender, owed, of_stream(stream), reason_code, message))
            }
            Body::Serving => self.offers.on_serving(stream).or_else(|| stray(opener)),
            Body::Withdrawn => self.offers.on_withdrawn(stream).or_else(|| stray(opener)),
            Body::Exited { .. } => {
                // A participant of a client has none of its kind to go on with: that is the server's to say.
                let goes_on = self.side == Side::Client && frame.flags & flag::GOES_ON != 0;
                let exit = monitors::exit_of(sender, &frame.body, goes_on);
                exit.and_then(|exit| opener.on_exited(owed, stream, exit))
            }
            Body::Joined { pid } if self.side == Side::Client => opener.on_joined(stream, pid),
            Body::Failed if self.side == Side::Client => opener.on_failed(owed, stream),
            Body::Outcome { message_id, reason_code, record, message } => {
                let outcome = if reason_code == ACCEPTED {
                    Outcome::Accepted { record }
                } else {
                    outcome_of(reason_code, sender.kept_text(message))
                };
                opener.on_outcome(stream, message_id, outcome)
            }
            Body::ConversationClose { conversation_id, .. } if conversation_id == of_stream(stream) => {
                opener.on_closed(sender, owed, conversation_id)
            }
            // A conversation or an offer begins on a stream of the side that asks for it.
            ref body if begins(self.side.other(), body) => {
                return Err(Violation::ForeignStream { frame: name(body), stream });
            }
            _ => stray(opener),
        })
    }

    /// The same on the stream of a monitor.
    fn on_monitor_answer(&mut self, bytes: &Bytes, frame: &FrameRef<'_>) -> Option<Event> {
        let (monitor, monitors, sender) = (frame.stream, &mut self.monitors, &self.sender);
        match frame.body {
            Body::Monitoring => monitors.on_monitoring(monitor),
            Body::Unmonitored => monitors.on_unmonitored(monitor),
            Body::Refused { reason_code, message } => {
                monitors.on_refused(sender, monitor, reason_code, message)
            }
            Body::Exited { .. } => {
                let exit = monitors::exit_of(sender, &frame.body, frame.flags & flag::GOES_ON != 0)?;
                monitors.on_notice(monitor, Notice::Exited(exit))
            }
            Body::Joined { pid } => monitors.on_notice(monitor, Notice::Joined { pid }),
            Body::Failed => monitors.on_notice(monitor, Notice::Failed),
            Body::ConversationClose { conversation_id, reason_code, .. }
                if conversation_id == of_stream(monitor) =>
            {
                let cancelled = reason_code == Some(ReasonCode::CANCELLED);
                monitors.on_notice(monitor, Notice::Ended { cancelled })
            }
            Body::Record { metadata, payload, .. } => {
                monitors.check_told(monitor, Kind::Log)?;
                let content = Content {
                    payload: self.input.keep(bytes, payload),
                    metadata: metadata.map(|it| self.kept_metadata(bytes, &it)).unwrap_or_default(),
                };
                let record = monitors::record_of(&self.sender, frame.flags, &frame.body, content)?;
                Some(Event::Record { monitor, record: record.into() })
            }
            Body::Gap { .. } => {
                monitors.check_told(monitor, Kind::Log)?;
                monitors::gap_of(&self.sender, &frame.body).map(|gap| Event::Gap { monitor, gap })
            }
            _ => None,
        }
    }

    fn on_answer_v1(&mut self, bytes: &Bytes, frame: &FrameRef<'_>) -> Option<Event> {
        let (opener, sender, owed) = (&mut self.opener, &mut self.sender, &mut self.owed);
        match frame.body {
            Body::ConversationMessage { conversation_id, envelope } if frame.flags & flag::REPLY != 0 => {
                let content = self.content_v1(bytes, &envelope);
                self.opener.on_reply_v1(&mut self.owed, conversation_id, frame.stream, content)
            }
            Body::ConversationError { conversation_id, reason_code, message } => {
                opener.on_error_v1(sender, owed, conversation_id, frame.stream, (reason_code, message))
            }
            _ => stray(opener),
        }
    }

    /// Whether a frame stands on a stream on which only the other side of its exchange would send it, or is a
    /// word that nothing here listens to.
    pub(super) fn is_misdirected(&self, frame: &FrameRef<'_>) -> bool {
        let body = &frame.body;
        if frame.stream == StreamId::CONTROL || self.sender.dialect == Dialect::V1 {
            return match self.side {
                Side::Server => is_server_only(body) || is_application_word(body),
                Side::Client => is_client_only(body),
            };
        }
        if self.is_own(of_stream(frame.stream)) {
            !(answers(self.side, body) && self.opener.has_begun(frame.stream))
        } else {
            let of_nothing = matches!(body, Body::Unmonitor) && !self.acceptor.has_begun(frame.stream);
            of_nothing || !asks(self.side, body)
        }
    }

    /// Whether this side still takes new work.
    pub(super) const fn takes_commands(&self) -> Result<(), crate::CommandError> {
        match self.phase {
            Phase::Connecting | Phase::Authenticating => Err(crate::CommandError::NotConnected),
            Phase::Active | Phase::ClosingPeer | Phase::ClosingLocal => Ok(()),
            Phase::Closed => Err(crate::CommandError::ConnectionClosed),
        }
    }
}

/// Whether this side begins something with such a frame.
const fn begins<S, B>(side: Side, body: &Body<S, B>) -> bool {
    match side {
        Side::Client => {
            matches!(
                body,
                Body::ConversationOpen { .. }
                    | Body::Open { .. }
                    | Body::Serve { .. }
                    | Body::Monitor { .. }
                    | Body::Watch { .. }
            )
        }
        Side::Server => matches!(body, Body::Invite { .. }),
    }
}

/// Whether such a frame, on a stream of its sender (2.0), means something to this side.
const fn asks<S, B>(side: Side, body: &Body<S, B>) -> bool {
    match body {
        Body::Message { .. } | Body::ConversationClose { .. } | Body::Credit { .. } => true,
        Body::Withdraw | Body::Unmonitor | Body::Publish { .. } | Body::Subscribe { .. } => {
            matches!(side, Side::Server)
        }
        body => begins(side.other(), body),
    }
}

/// Whether such a frame, on a stream of this side (2.0), means something to it.
const fn answers<S, B>(side: Side, body: &Body<S, B>) -> bool {
    match body {
        Body::Opened { .. }
        | Body::Refused { .. }
        | Body::Message { .. }
        | Body::Exited { .. }
        | Body::Outcome { .. }
        | Body::Credit { .. }
        | Body::ConversationClose { .. } => true,
        Body::Joined { .. }
        | Body::Failed
        | Body::Serving
        | Body::Withdrawn
        | Body::Monitoring
        | Body::Unmonitored
        | Body::Record { .. }
        | Body::Gap { .. } => matches!(side, Side::Client),
        _ => false,
    }
}

/// The conversation that a frame opens.
const fn opened_by(body: &Body<&str, &[u8]>) -> Option<ConversationId> {
    match body {
        Body::ConversationOpen { conversation_id, .. } => Some(*conversation_id),
        _ => None,
    }
}

const fn stray(opener: &mut Opener) -> Option<Event> {
    opener.strays += 1;
    None
}

/// There are no channels: a plain refusal, on the stream of the request.
fn refuse_channel(connection: &mut Connection, frame: &FrameRef<'_>) {
    let reason_code = ReasonCode::UNKNOWN_CHANNEL;
    let message = Some("this server has no channels");
    let body = match frame.body {
        Body::Publish { .. } => Body::PublishError { reason_code, message },
        _ => Body::SubscribeError { reason_code, message },
    };
    // A short text of our own: there is nothing in it that could be refused.
    let _ = connection.sender.send(0, frame.stream, body);
}

pub(super) fn name(body: &Body<&str, &[u8]>) -> &'static str {
    body.frame_type().map_or("a frame of unknown type", |frame_type| frame_type.name())
}

/// Frames that answer. In 1.0, and on stream 0, only a server sends them; from a client they are ignored.
pub(super) const fn is_server_only<S, B>(body: &Body<S, B>) -> bool {
    matches!(
        body,
        Body::ConnectAck { .. }
            | Body::ConnectError { .. }
            | Body::SubscribeAck { .. }
            | Body::SubscribeError { .. }
            | Body::PublishAck { .. }
            | Body::PublishError { .. }
            | Body::ConversationError { .. }
            | Body::Push { .. }
            | Body::WorkerRegisterAck { .. }
            | Body::Deliver { .. }
            | Body::Opened { .. }
            | Body::Refused { .. }
            | Body::Exited { .. }
            | Body::Outcome { .. }
            | Body::Joined { .. }
            | Body::Failed
            | Body::Serving
            | Body::Withdrawn
            | Body::Monitoring
            | Body::Unmonitored
            | Body::Record { .. }
            | Body::Gap { .. }
    )
}

/// Frames that ask for something that only a client asks for; from a server they are ignored.
pub(super) const fn is_client_only<S, B>(body: &Body<S, B>) -> bool {
    matches!(
        body,
        Body::Connect { .. }
            | Body::Subscribe { .. }
            | Body::Unsubscribe { .. }
            | Body::Publish { .. }
            | Body::ConversationOpen { .. }
            | Body::PushReply { .. }
            | Body::WorkerRegister { .. }
            | Body::Open { .. }
            | Body::Serve { .. }
            | Body::Withdraw
            | Body::Monitor { .. }
            | Body::Watch { .. }
            | Body::Unmonitor
    )
}

/// Words of a consumer or a worker that nothing here listens to; they are ignored.
pub(super) const fn is_application_word<S, B>(body: &Body<S, B>) -> bool {
    matches!(
        body,
        Body::Accept { .. }
            | Body::Defer { .. }
            | Body::Reject { .. }
            | Body::Unsubscribe { .. }
            | Body::PushReply { .. }
    )
}
