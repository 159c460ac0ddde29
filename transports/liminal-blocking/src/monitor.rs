//! What applications hold of conversations of others: a monitor, and a watch.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use liminal_core::Watched;
use liminal_driver::client::{Client, Topic};
use liminal_driver::error::MonitorEnd;
use liminal_proto::{Notice, StreamId};

use crate::handle::{Owner, forever, within};
use crate::link::{Link, Patience};

/// A conversation of others whose life is told: how its participants exit, who takes their place, and that it is
/// over. Dropping it ends that, and concerns nobody but who holds it.
///
/// Notices are never left out, and each comes exactly once, in the order of the log. Of those that nobody takes
/// [`NOTICES_MAX`](liminal_driver::client::NOTICES_MAX) are kept; then the monitor ends as
/// [too slow](MonitorEnd::TooSlow). It ends with its connection, also where the handle
/// [reconnects](crate::Handle::reconnect): what happened meanwhile nobody could tell.
pub struct Monitor {
    monitored: Monitored,
}

impl Monitor {
    pub(crate) const fn new(monitored: Monitored) -> Self {
        Self { monitored }
    }

    /// Waits for the next notice. After [`Notice::Ended`] there is none.
    ///
    /// # Errors
    ///
    /// No more will come, and why.
    pub fn next(&self) -> Result<Notice, MonitorEnd> {
        forever(self.monitored.next(Patience::forever(), Client::next_notice), MonitorEnd::Lost)
    }

    /// The same, waiting no longer than `timeout`. `Ok(None)`: nothing has happened in that time.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next).
    pub fn next_within(&self, timeout: Duration) -> Result<Option<Notice>, MonitorEnd> {
        self.monitored.next(within(timeout), Client::next_notice).transpose()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("id", &self.monitored.id).finish_non_exhaustive()
    }
}

/// The logs of conversations of others, record by record. Dropping it ends that, and concerns nobody but who holds it.
///
/// Records of a conversation come in the order of its log, each exactly once, and where some are left out a
/// [`Gap`](Watched::Gap) stands in their place. That is so where more is said than whoever watches takes: its
/// conversations wait for nobody who watches. What is told and not taken is kept up to
/// [`WATCHED_BYTES_MAX`](liminal_driver::client::WATCHED_BYTES_MAX). It ends with its connection, also where the
/// handle [reconnects](crate::Handle::reconnect).
pub struct Watch {
    monitored: Monitored,
}

impl Watch {
    pub(crate) const fn new(monitored: Monitored) -> Self {
        Self { monitored }
    }

    /// Waits for the next record, or gap.
    ///
    /// # Errors
    ///
    /// No more will come, and why.
    pub fn next(&self) -> Result<Watched, MonitorEnd> {
        forever(self.monitored.next(Patience::forever(), Client::next_watched), MonitorEnd::Lost)
    }

    /// The same, waiting no longer than `timeout`. `Ok(None)`: nothing was recorded in that time.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next).
    pub fn next_within(&self, timeout: Duration) -> Result<Option<Watched>, MonitorEnd> {
        self.monitored.next(within(timeout), Client::next_watched).transpose()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("id", &self.monitored.id).finish_non_exhaustive()
    }
}

/// What both of them are: something that the server tells on a connection, until it is dropped.
pub(crate) struct Monitored {
    pub(crate) link: Arc<Link>,
    pub(crate) id: StreamId,
    /// The connection is there while somebody holds one.
    pub(crate) _owner: Arc<Owner>,
}

impl Monitored {
    /// What was told next. `None`: nothing was in time.
    fn next<T>(
        &self,
        patience: Patience,
        mut next: impl FnMut(&mut Client, StreamId) -> Option<Result<T, MonitorEnd>>,
    ) -> Option<Result<T, MonitorEnd>> {
        self.link.wait(Topic::Monitor(self.id), patience, |client, _| next(client, self.id))
    }
}

impl Drop for Monitored {
    fn drop(&mut self) {
        self.link.act_at_once(|client| client.release_monitor(self.id));
    }
}
