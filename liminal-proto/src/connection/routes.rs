//! Which part of the connection a frame concerns, once the handshake is through.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a type of frame that a place does not name means nothing there"
)]

use core::time::Duration;

use bytes::Bytes;

use super::client::{Client, of_stream, outcome_of};
use super::server::{ACCEPTED, Incoming, Taken};
use super::{Connection, Phase, Role};
use crate::wire::{Body, FrameRef, WorkerVerdict, flag};
use crate::{
    CloseReason, ConversationId, Event, Exit, ExitReason, Expects, MessageId, Outcome, ReasonCode, Reply,
    StreamId, Violation,
};

impl Connection {
    // ── from a client ───────────────────────────────────────────────────────────────────────────

    pub(super) fn on_client_frame(
        &mut self,
        bytes: &Bytes,
        frame: &FrameRef<'_>,
    ) -> Result<Option<Event>, Violation> {
        let stream = frame.stream;
        let Role::Server(server) = &mut self.role else { return Ok(None) };
        let taken = match frame.body {
            Body::Connect { .. } => {
                return Err(Violation::WrongState { frame: "Connect", state: "a second time" });
            }
            Body::ConversationOpen { conversation_id, subject } => {
                server.on_open(&mut self.sender, &self.config.limits, stream, conversation_id, subject)?
            }
            Body::ConversationMessage { .. } | Body::Message { .. } => {
                let Some(incoming) = self.incoming(bytes, frame) else { return Ok(None) };
                let Role::Server(server) = &mut self.role else { return Ok(None) };
                server.on_message(&mut self.sender, &self.config.limits, incoming)?
            }
            Body::ConversationClose { conversation_id, .. } => {
                server.on_close(self.sender.dialect, stream, conversation_id)
            }
            Body::Publish { .. } | Body::Subscribe { .. } => {
                refuse_channel(self, frame);
                Taken::Refused
            }
            Body::WorkerRegister { .. } => {
                let body = Body::WorkerRegisterAck { verdict: WorkerVerdict::Accepted };
                // A verdict without a text: there is nothing in it that could be refused.
                let _ = self.sender.send(0, StreamId::CONTROL, body);
                Taken::Nothing
            }
            _ => {
                server.strays += 1;
                Taken::Nothing
            }
        };
        match taken {
            Taken::Event(event) => Ok(Some(event)),
            Taken::Nothing => Ok(None),
            Taken::Refused => self.count_refusal().map(|()| None),
            Taken::Early => {
                self.early_open = opened_by(&frame.body).map(|id| (id, bytes.clone()));
                Ok(None)
            }
        }
    }

    /// Refusals that the client brought upon itself; a client that makes them its business is closed.
    pub(super) fn count_refusal(&mut self) -> Result<(), Violation> {
        if self.refusals.take(self.now) {
            Ok(())
        } else {
            Err(Violation::Flood { what: "refused operations" })
        }
    }

    /// A message in either version; `None` where it is the other version's.
    fn incoming(&mut self, bytes: &Bytes, frame: &FrameRef<'_>) -> Option<Incoming> {
        let limits = &self.config.limits;
        // Not `clamp`, which panics where the bounds contradict each other.
        let clamp = |ms| Duration::from_millis(u64::from(ms)).min(limits.timeout_max).max(limits.timeout_min);
        let version_2 = self.sender.dialect == crate::wire::Dialect::V2;
        match frame.body {
            Body::ConversationMessage { conversation_id, envelope } if !version_2 => Some(Incoming {
                conversation: conversation_id,
                stream: frame.stream,
                id: MessageId::default(),
                expects: if frame.flags & flag::REPLY == 0 { Expects::Nothing } else { Expects::Reply },
                timeout: None,
                payload: self.input.keep(bytes, envelope.payload),
            }),
            Body::Message { message_id, answers: None, timeout_ms, payload } => Some(Incoming {
                conversation: of_stream(frame.stream),
                stream: frame.stream,
                id: message_id,
                expects: expects(frame.flags),
                timeout: timeout_ms.map(clamp),
                payload: self.input.keep(bytes, payload),
            }),
            _ => {
                if let Role::Server(server) = &mut self.role {
                    server.strays += 1;
                }
                None
            }
        }
    }

    // ── from a server ───────────────────────────────────────────────────────────────────────────

    pub(super) fn on_server_frame(
        &mut self,
        bytes: &Bytes,
        frame: &FrameRef<'_>,
    ) -> Result<Option<Event>, Violation> {
        let stream = frame.stream;
        let Role::Client(client) = &mut self.role else { return Ok(None) };
        let (sender, owed) = (&self.sender, &mut self.owed);
        let version_2 = sender.dialect == crate::wire::Dialect::V2;
        Ok(match frame.body {
            Body::ConnectAck { .. } => {
                return Err(Violation::WrongState { frame: "ConnectAck", state: "a second time" });
            }
            Body::ConnectError { reason_code, message } => {
                let text = sender.kept_text(message);
                self.end(CloseReason::Refused { reason: reason_code, text });
                None
            }
            Body::Opened { pid } => client.on_opened(stream, pid),
            Body::Refused { reason_code, message } => {
                client.on_refused(sender, owed, of_stream(stream), reason_code, message)
            }
            Body::Exited { pid, record, cause, message } => {
                let reason = ExitReason::from_wire(cause, sender.kept_text(message));
                let goes_on = frame.flags & flag::GOES_ON != 0;
                client.on_exited(owed, stream, Exit { pid, record, reason, goes_on })
            }
            Body::Joined { pid } => client.on_joined(stream, pid),
            Body::Failed => client.on_failed(owed, stream),
            Body::Outcome { message_id, reason_code, record, message } => {
                let outcome = if reason_code == ACCEPTED {
                    Outcome::Accepted { record }
                } else {
                    outcome_of(reason_code, sender.kept_text(message))
                };
                client.on_outcome(stream, message_id, outcome)
            }
            Body::Message { message_id, answers: Some(answers), payload, .. } => client.on_reply(Reply {
                conversation: of_stream(stream),
                answers,
                record: Some(message_id.get()).filter(|&record| record > 0).map(crate::RecordNumber::new),
                last: frame.flags & flag::MORE == 0,
                payload: self.input.keep(bytes, payload),
            }),
            Body::ConversationClose { conversation_id, .. }
                if version_2 && conversation_id == of_stream(stream) =>
            {
                client.on_closed(owed, conversation_id)
            }
            Body::ConversationMessage { conversation_id, envelope } if !version_2 => {
                if frame.flags & flag::REPLY == 0 {
                    client.strays += 1;
                    return Ok(None);
                }
                let payload = self.input.keep(bytes, envelope.payload);
                client.on_reply_v1(owed, conversation_id, stream, payload)
            }
            Body::ConversationError { conversation_id, reason_code, message } if !version_2 => {
                client.on_error_v1(sender, owed, conversation_id, stream, (reason_code, message))
            }
            _ => stray(client),
        })
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

/// The conversation that a frame opens.
const fn opened_by(body: &Body<&str, &[u8]>) -> Option<ConversationId> {
    match body {
        Body::ConversationOpen { conversation_id, .. } => Some(*conversation_id),
        _ => None,
    }
}

fn stray(client: &mut Client) -> Option<Event> {
    client.strays += 1;
    None
}

const fn expects(flags: u8) -> Expects {
    if flags & flag::WANTS_REPLY != 0 {
        Expects::Reply
    } else if flags & flag::CONFIRM != 0 {
        Expects::Acceptance
    } else {
        Expects::Nothing
    }
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

/// Frames that only a server sends; from a client they are ignored.
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
    )
}

/// Frames that only a client sends; from a server they are ignored.
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
