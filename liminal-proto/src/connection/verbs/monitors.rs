//! Commands about monitors and watches.

use bytes::Bytes;

use super::super::Connection;
use super::super::monitors::{Kind, Trigger};
use super::super::sender::cut;
use crate::wire::Body;
use crate::{CommandError, Gap, Instant, LogRecord, Notice, Pid, ReasonCode, Side, StreamId};

/// # Commands about monitors
impl Connection {
    /// Asks to be told of the life of the conversation that a participant takes part in. The monitor is named
    /// by the stream that it has to itself.
    ///
    /// # Errors
    ///
    /// Not connected, a 1.0 link, a server's side, too many monitors, or no room.
    pub fn monitor(&mut self, now: Instant, pid: Pid) -> Result<StreamId, CommandError> {
        self.begin_monitor(now, Kind::Life, Body::Monitor { pid })
    }

    /// Asks to be told every record of the conversations on a subject, or with `None` of all. A watch is a
    /// monitor, too.
    ///
    /// # Errors
    ///
    /// Those of [`monitor`](Self::monitor), or the subject is above its limit.
    pub fn watch(&mut self, now: Instant, subject: Option<&str>) -> Result<StreamId, CommandError> {
        let (len, limit) = (subject.map_or(0, str::len), self.config.limits.name_max);
        if len > limit {
            return Err(CommandError::TooLarge { len, limit });
        }
        self.begin_monitor(now, Kind::Log, Body::Watch { subject })
    }

    /// Takes a monitor back. What is under way may still come; nothing does after
    /// [`Event::Unmonitored`](crate::Event::Unmonitored).
    ///
    /// # Errors
    ///
    /// There is no such monitor, it was taken back before, or this is a server's side.
    pub fn unmonitor(&mut self, now: Instant, monitor: StreamId) -> Result<(), CommandError> {
        self.monitor_command(now, Side::Client, monitor, Trigger::Unmonitor, Body::Unmonitor)
    }

    /// A monitor of the client stands.
    ///
    /// # Errors
    ///
    /// There is no such monitor that waits for this, or this is a client's side.
    pub fn monitoring(&mut self, now: Instant, monitor: StreamId) -> Result<(), CommandError> {
        self.monitor_command(now, Side::Server, monitor, Trigger::Taken, Body::Monitoring)
    }

    /// A monitor of the client is not taken, or stands no more.
    ///
    /// # Errors
    ///
    /// There is no such monitor, or this is a client's side.
    pub fn refuse_monitor(
        &mut self,
        now: Instant,
        monitor: StreamId,
        reason_code: ReasonCode,
        text: Option<&str>,
    ) -> Result<(), CommandError> {
        let body =
            Body::Refused { reason_code, message: text.map(|text| cut(text, self.config.limits.text_max)) };
        self.monitor_command(now, Side::Server, monitor, Trigger::Refused, body)?;
        // Who asks for the dead could not know, and who was given up for being slow is told so once.
        if !matches!(reason_code, ReasonCode::EXITED | ReasonCode::TOO_SLOW) {
            self.count_refusal_of_client(reason_code);
        }
        Ok(())
    }

    /// A monitor of the client is no more.
    ///
    /// # Errors
    ///
    /// There is no such monitor, or none that was taken, or this is a client's side.
    pub fn unmonitored(&mut self, now: Instant, monitor: StreamId) -> Result<(), CommandError> {
        self.monitor_command(now, Side::Server, monitor, Trigger::Ended, Body::Unmonitored)
    }

    /// Tells a monitor what has happened in the life of its conversation. [`Notice::Ended`] is the last, and ends
    /// the monitor.
    ///
    /// # Errors
    ///
    /// There is no such monitor that stands, there is no room, or this is a client's side.
    pub fn notice(&mut self, now: Instant, monitor: StreamId, notice: &Notice) -> Result<(), CommandError> {
        self.may_tell(now)?;
        self.monitors.notice(&mut self.sender, monitor, notice)
    }

    /// Tells a watch a record.
    ///
    /// # Errors
    ///
    /// There is no such watch that stands, there is no room, the record is too long for a frame, or this is a
    /// client's side.
    pub fn record(
        &mut self,
        now: Instant,
        monitor: StreamId,
        record: &LogRecord,
    ) -> Result<(), CommandError> {
        self.may_tell(now)?;
        self.monitors.record(&mut self.sender, monitor, record)
    }

    /// Tells a watch which records it is not told.
    ///
    /// # Errors
    ///
    /// There is no such watch that stands, there is no room, or this is a client's side.
    pub fn gap(&mut self, now: Instant, monitor: StreamId, gap: &Gap) -> Result<(), CommandError> {
        self.may_tell(now)?;
        self.monitors.gap(&mut self.sender, monitor, gap)
    }

    fn begin_monitor(
        &mut self,
        now: Instant,
        kind: Kind,
        body: Body<&str, Bytes>,
    ) -> Result<StreamId, CommandError> {
        self.advance_clock(now);
        self.takes_new_work()?;
        self.must_be(Side::Client)?;
        self.needs_version_2()?;
        self.monitors.check_room(&self.config.limits)?;
        let monitor = self.opener.take_stream(&mut self.sender, body)?;
        self.monitors.insert(monitor, kind);
        Ok(monitor)
    }

    fn monitor_command(
        &mut self,
        now: Instant,
        side: Side,
        monitor: StreamId,
        trigger: Trigger,
        body: Body<&str, Bytes>,
    ) -> Result<(), CommandError> {
        self.advance_clock(now);
        self.takes_commands()?;
        self.must_be(side)?;
        self.monitors.tell(&mut self.sender, monitor, trigger, body)?;
        self.end_if_unread();
        Ok(())
    }

    fn may_tell(&mut self, now: Instant) -> Result<(), CommandError> {
        self.advance_clock(now);
        self.takes_commands()?;
        self.must_be(Side::Server)
    }
}
