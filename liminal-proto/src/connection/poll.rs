//! What happens next: frames, then the end of the input, then the clock.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a type of frame that a place does not name means nothing there"
)]

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::credit::{Window, Windows};
use super::opener::of_stream;
use super::phase::{self, Trigger};
use super::routes::{is_server_only, name};
use super::timers::{Due, Situation};
use super::{Connection, InputEnd, Phase, resemblance};
use crate::wire::{Body, Dialect, FrameRef, Version, decode};
use crate::{
    CloseReason, Event, Keepalive, Limits, MessageId, Next, Side, StreamId, TimerReason, Violation, Wake,
    Wants,
};

impl Connection {
    /// What happened next, or what the connection waits for. At most one frame that means something
    /// to the embedder is decoded by one call.
    pub fn poll(&mut self) -> Next {
        let mut wake = Wake::Never;
        match self.next_event(&mut wake) {
            Some(event) => Next::Event(event),
            None => Next::Wait(self.wants(wake)),
        }
    }

    /// `None`: nothing happens before `wake`.
    fn next_event(&mut self, wake: &mut Wake) -> Option<Event> {
        if self.phase != Phase::Closed {
            self.pay_owed();
        }
        if self.owed.is_empty() && self.phase != Phase::Closed {
            match self.advance(wake) {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(violation) => self.fail(violation),
            }
        }
        if let Some(event) = self.next_owed() {
            return Some(event);
        }
        if self.phase == Phase::Closed {
            *wake = self.expire_farewell();
            return self.untold.take().map(Event::Closed);
        }
        None
    }

    /// What is owed to the other side is said as soon as there is room.
    #[inline]
    pub(super) fn pay_owed(&mut self) {
        if self.sender.is_owing() {
            self.pay();
        }
    }

    fn pay(&mut self) {
        self.sender.pay_pongs();
        self.sender.pay_connection();
        while !self.sender.is_congested()
            && let Some((stream, ())) = self.sender.credit.due.pop_first()
        {
            let key = of_stream(stream);
            let flow = if self.is_own(key) { self.opener.flow_mut(key) } else { self.acceptor.flow_mut(key) };
            if let Some((_, flow)) = flow {
                self.sender.pay_conversation(stream, flow);
            }
        }
    }

    /// The next end that follows from an event already returned. An idle connection holds no buffer for them.
    fn next_owed(&mut self) -> Option<Event> {
        let event = self.owed.pop_front()?;
        if self.owed.is_empty() {
            self.owed = VecDeque::new();
        }
        Some(event)
    }

    /// Moves on by one event. `None` with nothing owed and the connection open means: wait.
    fn advance(&mut self, wake: &mut Wake) -> Result<Option<Event>, Violation> {
        while !self.is_paused() {
            // An echo that is due by now does not depend on how much more has arrived already.
            self.finish_close();
            if self.phase == Phase::Closed {
                return Ok(None);
            }
            let Some(frame) = self.next_frame()? else { break };
            let event = self.on_frame(frame)?;
            self.input.release_if_drained();
            if self.sender.is_overrun() {
                return Err(Violation::Unread { queued: self.sender.output.len() });
            }
            if event.is_some() || !self.owed.is_empty() || self.phase == Phase::Closed {
                return Ok(event);
            }
        }
        self.on_input_end()?;
        self.finish_close();
        if self.phase != Phase::Closed {
            *wake = self.expire()?;
            self.finish_close();
        }
        Ok(None)
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>, Violation> {
        if let Some((_, open)) = self.early_open.take() {
            return Ok(Some(open));
        }
        let limits = &self.config.limits;
        let payload_max = limits.frame_payload_max.min(Limits::FRAME_HARD_MAX);
        let payload_max =
            if self.negotiated { payload_max } else { payload_max.min(limits.handshake_frame_payload_max) };
        let frame = self.input.next_frame(payload_max).map_err(|error| Violation::Undecodable {
            error,
            resembles: self.resembles(self.input.peek()),
        })?;
        if frame.is_some() {
            self.timers.frame_finished();
        }
        Ok(frame)
    }

    fn resembles(&self, bytes: &[u8]) -> Option<crate::Resemblance> {
        if self.phase == Phase::Connecting { resemblance::of(bytes) } else { None }
    }

    fn on_frame(&mut self, bytes: Bytes) -> Result<Option<Event>, Violation> {
        let (frame, _) = decode(self.sender.dialect, u32::MAX, &bytes)
            .map_err(|error| Violation::Undecodable { error, resembles: self.resembles(&bytes) })?;
        if let Some(limit) = self.control_limit(&frame) {
            self.count_control(limit)?;
        }
        if let Some(said) = self.said_by(&bytes, &frame) {
            return self.on_said(bytes, said);
        }
        match &frame.body {
            Body::Ping => {
                self.sender.owe_pong();
                Ok(None)
            }
            Body::Unknown { .. } => Ok(None),
            Body::Pong if self.is_established() => Ok(self.on_pong()),
            Body::Disconnect if self.is_established() => {
                self.on_disconnect();
                Ok(None)
            }
            _ => self.on_frame_of_role(&bytes, &frame),
        }
    }

    fn on_frame_of_role(&mut self, bytes: &Bytes, frame: &FrameRef<'_>) -> Result<Option<Event>, Violation> {
        match (self.side, self.phase) {
            (Side::Server, Phase::Connecting) => self.on_first_frame(frame),
            (Side::Client, Phase::Authenticating) => self.on_handshake_answer(frame),
            _ => self.on_routed_frame(bytes, frame),
        }
    }

    const fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::ClosingLocal | Phase::ClosingPeer)
    }

    // ── handshake ───────────────────────────────────────────────────────────────────────────────

    /// A server before Connect: `PROTOCOL.md` §6.
    fn on_first_frame(&mut self, frame: &FrameRef<'_>) -> Result<Option<Event>, Violation> {
        match frame.body {
            Body::Connect { min_version, max_version, auth_token } => {
                self.on_connect(min_version, max_version, auth_token).map(Some)
            }
            ref body if is_server_only(body) => Ok(None),
            ref body => Err(Violation::WrongState { frame: name(body), state: "before Connect" }),
        }
    }

    fn on_connect(&mut self, min: Version, max: Version, token: &[u8]) -> Result<Event, Violation> {
        self.step(Trigger::Connect);
        if token.len() > self.config.limits.token_max || !self.token_matches(token) {
            return Err(Violation::BadToken);
        }
        let offered = min..=max;
        let dialect = [Dialect::V2, Dialect::V1]
            .into_iter()
            .filter(|dialect| (self.config.min_dialect..=self.config.max_dialect).contains(dialect))
            .find(|dialect| offered.contains(&dialect.version()))
            .ok_or(Violation::NoCommonVersion { min, max })?;
        let ack = Body::ConnectAck { selected_version: dialect.version(), capabilities: 0 };
        // Two fields of fixed size: there is nothing in them that could be refused.
        let _ = self.sender.send(0, StreamId::CONTROL, ack);
        self.sender.dialect = dialect;
        if dialect == Dialect::V2 {
            self.sender.send_windows();
        }
        Ok(self.establish())
    }

    /// Compares every byte whatever the first difference is, so that timing tells nothing of the token.
    fn token_matches(&self, token: &[u8]) -> bool {
        let expected = &self.config.token;
        if expected.is_empty() {
            return true;
        }
        let differing = (0..token.len().max(expected.len())).fold(0u8, |differing, i| {
            let pair = (token.get(i), expected.get(i));
            differing | if let (Some(a), Some(b)) = pair { a ^ b } else { 1 }
        });
        core::hint::black_box(differing) == 0
    }

    /// A client whose Connect is not yet answered.
    fn on_handshake_answer(&mut self, frame: &FrameRef<'_>) -> Result<Option<Event>, Violation> {
        match frame.body {
            Body::ConnectAck { selected_version, .. } if self.sender.dialect == Dialect::V1 => {
                Ok(self.on_selected(selected_version))
            }
            Body::Windows { payload_max, conversation, connection } => {
                self.on_windows(payload_max, conversation, connection);
                Ok(Some(self.establish()))
            }
            Body::ConnectError { reason_code, message } => {
                let text = self.sender.kept_text(message);
                self.end(CloseReason::Refused { reason: reason_code, text });
                Ok(None)
            }
            ref body => {
                let selected = self.sender.dialect == Dialect::V2;
                let state = if selected { "before Windows" } else { "before ConnectAck" };
                Err(Violation::WrongState { frame: name(body), state })
            }
        }
    }

    /// What the other side takes: known before anything is said to it.
    pub(super) fn on_windows(&mut self, payload_max: u32, conversation: u32, connection: u32) {
        let [conversation, connection] = [conversation, connection].map(Window::new);
        self.sender.credit.meet(Windows { payload_max, conversation, connection });
    }

    fn on_selected(&mut self, selected: Version) -> Option<Event> {
        let spoken = [Dialect::V1, Dialect::V2]
            .into_iter()
            .filter(|dialect| (self.config.min_dialect..=self.config.max_dialect).contains(dialect))
            .find(|dialect| dialect.version() == selected);
        match spoken {
            Some(Dialect::V1) => Some(self.establish()),
            Some(Dialect::V2) => {
                self.sender.dialect = Dialect::V2;
                self.sender.send_windows();
                None
            }
            None => {
                self.end(CloseReason::UnspokenVersion { selected });
                None
            }
        }
    }

    fn establish(&mut self) -> Event {
        self.step(Trigger::ConnectAck);
        self.negotiated = true;
        Event::Connected { version: self.sender.dialect.version() }
    }

    // ── control ─────────────────────────────────────────────────────────────────────────────────

    /// Frames that cost something and bring the sender nothing are counted: name them, or `None`.
    fn control_limit(&self, frame: &FrameRef<'_>) -> Option<&'static str> {
        match &frame.body {
            Body::Ping => Some("pings"),
            Body::Pong if self.pings == 0 => Some("pongs"),
            Body::WorkerRegister { .. } => Some("registrations"),
            Body::Unknown { .. } => Some("frames of unknown type"),
            Body::Watch { .. } => Some("watches"),
            Body::Credit { bytes } if !self.is_useful_credit(frame.stream, *bytes) => {
                Some("credits of little or no use")
            }
            Body::ConnectionCredit { messages, replies }
                if !self.sender.credit.is_useful_in_all(*messages, *replies) =>
            {
                Some("credits of little or no use")
            }
            _ if self.is_misdirected(frame) => Some("frames that only the other side sends"),
            _ => None,
        }
    }

    fn count_control(&mut self, what: &'static str) -> Result<(), Violation> {
        let allowed = if self.is_established() {
            self.control.take(self.now)
        } else {
            self.handshake_control = self.handshake_control.saturating_add(1);
            self.handshake_control <= self.config.limits.handshake_control_frames_max
        };
        if allowed { Ok(()) } else { Err(Violation::Flood { what }) }
    }

    fn on_pong(&mut self) -> Option<Event> {
        self.pings = self.pings.checked_sub(1)?;
        Some(Event::Pong)
    }

    fn on_disconnect(&mut self) {
        if self.phase == Phase::ClosingLocal {
            self.end(CloseReason::Local);
        } else {
            self.step(Trigger::DisconnectReceived);
            self.timers.closing(self.now);
            self.finish_close();
        }
    }

    /// The echo of the peer's Disconnect: a server's at once, a client's when its requests have ended, and those
    /// that its participants have in hand.
    fn finish_close(&mut self) {
        if self.phase != Phase::ClosingPeer {
            return;
        }
        let waits = self.opener.outstanding() > 0 || self.acceptor.owes_answers();
        let drained = self.side == Side::Server || !waits;
        if drained {
            // A Disconnect has no fields: there is nothing in it that could be refused.
            let _ = self.sender.send(0, StreamId::CONTROL, Body::Disconnect);
            self.end(CloseReason::Peer);
        }
    }

    fn step(&mut self, trigger: Trigger) {
        if let Some(phase) = phase::next(self.phase, trigger) {
            self.phase = phase;
        }
    }

    // ── ends ────────────────────────────────────────────────────────────────────────────────────

    fn on_input_end(&mut self) -> Result<(), Violation> {
        match self.input_end {
            None => {}
            Some(InputEnd::Lost(why)) => self.end(CloseReason::Link(why)),
            Some(InputEnd::Eof) if self.is_paused() => {}
            Some(InputEnd::Eof) if self.input.len() > 0 => {
                return Err(Violation::EndInsideFrame { have: self.input.len() });
            }
            Some(InputEnd::Eof) => {
                // Who serves and cannot be heard any more serves no more, and those who wait for it must know.
                let serves = !self.offers.is_empty() || !self.opener.is_empty();
                let owes = self.side == Side::Server && self.acceptor.owes_answers();
                if serves || !owes {
                    self.end(self.reason_without_an_answer());
                }
            }
        }
        Ok(())
    }

    /// Who ended a connection whose last word was never spoken.
    const fn reason_without_an_answer(&self) -> CloseReason {
        match self.phase {
            Phase::ClosingLocal => CloseReason::Local,
            Phase::ClosingPeer => CloseReason::Peer,
            Phase::Connecting | Phase::Authenticating | Phase::Active | Phase::Closed => CloseReason::PeerEof,
        }
    }

    /// The peer broke a rule. A server says so; a peer that does not read cannot be told.
    pub(super) fn fail(&mut self, violation: Violation) {
        if self.phase == Phase::Closed {
            return;
        }
        let unread = matches!(
            violation,
            Violation::Unread { .. } | Violation::TooSlow { what: TimerReason::WriteStall, .. }
        );
        if unread {
            self.sender.output.shut();
        } else if self.side == Side::Server {
            let text = alloc::string::ToString::to_string(&violation);
            self.sender.connect_error(violation.code(), &text);
        }
        self.end(CloseReason::Violation(violation));
    }

    // ── time ────────────────────────────────────────────────────────────────────────────────────

    /// Bytes of the unfinished frame; none while nothing is read, because then it cannot grow.
    fn unfinished(&self) -> usize {
        if self.is_paused() || self.input_is_over() { 0 } else { self.input.len() }
    }

    /// What the clock has brought about, and when it does so next.
    fn expire(&mut self) -> Result<Wake, Violation> {
        self.opener.expire(self.now, &mut self.owed, self.sender.dialect);
        let deadline =
            self.opener.next_deadline().map_or(Wake::Never, |at| Wake::At(at, TimerReason::Deadline));
        // Whatever is due is done before anybody waits, so that the next wake is later than now.
        loop {
            match self.timers_due() {
                Due::Later(wake) => return Ok(deadline.or_earlier(wake)),
                Due::Ping => {
                    // A Ping has no fields: there is nothing in it that could be refused.
                    let _ = self.sender.send(0, StreamId::CONTROL, Body::Ping);
                }
                Due::Close => {
                    self.sender.output.shut();
                    self.end(self.reason_without_an_answer());
                    return Ok(Wake::Never);
                }
                Due::Late(violation) => return Err(violation),
            }
        }
    }

    fn timers_due(&mut self) -> Due {
        let situation = Situation {
            config: &self.config,
            negotiated: self.negotiated,
            keepalive: keepalive(self),
            unfinished: self.unfinished(),
            has_output: !self.sender.output.is_empty(),
        };
        self.timers.observe(self.now, &situation);
        self.timers.due(self.now, &situation)
    }

    /// A farewell that nobody reads is dropped after the time of a write stall: when is that?
    fn expire_farewell(&mut self) -> Wake {
        self.timers.observe_farewell(self.now, !self.sender.output.is_empty());
        match self.timers.stall_due(&self.config, self.negotiated) {
            Some(due) if due <= self.now => {
                self.sender.output.shut();
                self.timers.observe_farewell(self.now, false);
                Wake::Never
            }
            due => due.map_or(Wake::Never, |at| Wake::At(at, TimerReason::WriteStall)),
        }
    }

    fn wants(&self, wake: Wake) -> Wants {
        let closed = self.phase == Phase::Closed;
        let room = self.input.room(self.config.limits.input_max) > 0;
        Wants {
            read: !self.input_is_over() && !self.is_paused() && room,
            write: self.sender.output.has_queued(),
            wake,
            finished: closed && self.sender.output.is_empty(),
        }
    }
}

/// When the silence of the peer matters: only 2.0 peers are pinged, and nobody who is on the way out.
fn keepalive(connection: &Connection) -> Option<Keepalive> {
    let pings = connection.phase == Phase::Active && connection.sender.dialect == Dialect::V2;
    connection.config.keepalive.filter(|_| pings)
}

/// Where the element with this id is in a list of ascending ids: most often in front. Ids ascend from
/// the first one on and may wrap around on their way.
pub(super) fn position<T>(
    list: &VecDeque<T>,
    id: MessageId,
    id_of: impl Fn(&T) -> MessageId,
) -> Option<usize> {
    let first = id_of(list.front()?).get();
    match id.get().wrapping_sub(first) {
        0 => Some(0),
        distance => list.binary_search_by_key(&distance, |it| id_of(it).get().wrapping_sub(first)).ok(),
    }
}
