//! What applications hold of conversations of others: a monitor, and a watch.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use liminal_core::Watched;
use liminal_proto::{Notice, StreamId};

use super::handle::{Owner, within};
use super::link::Link;
use super::waiting::Waiting;
use crate::client::Topic;
use crate::error::MonitorEnd;

/// A conversation of others whose life is told: how its participants exit, who takes their place, and that it is
/// over. Dropping it ends that, and concerns nobody but who holds it.
///
/// Notices are never left out, and each comes exactly once, in the order of the log. Of those that nobody takes
/// [`NOTICES_MAX`](crate::client::NOTICES_MAX) are kept; then the monitor ends as
/// [too slow](MonitorEnd::TooSlow). It ends with its connection, also where the handle
/// [reconnects](super::Handle::reconnect): what happened meanwhile nobody could tell.
pub struct Monitor {
    monitored: Monitored,
}

impl Monitor {
    pub(super) const fn new(monitored: Monitored) -> Self {
        Self { monitored }
    }

    /// Waits for the next notice. After [`Notice::Ended`] there is none.
    ///
    /// # Errors
    ///
    /// No more will come, and why.
    pub async fn next(&self) -> Result<Notice, MonitorEnd> {
        let Monitored { link, id, .. } = &self.monitored;
        Waiting::new(link, Topic::Monitor(*id), |client| client.next_notice(*id)).await
    }

    /// The same, waiting no longer than `timeout`. `Ok(None)`: nothing has happened in that time.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next).
    pub async fn next_within(&self, timeout: Duration) -> Result<Option<Notice>, MonitorEnd> {
        within(&self.monitored.link, timeout, self.next()).await.transpose()
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
/// [`WATCHED_BYTES_MAX`](crate::client::WATCHED_BYTES_MAX). It ends with its connection, also where the handle
/// [reconnects](super::Handle::reconnect).
pub struct Watch {
    monitored: Monitored,
}

impl Watch {
    pub(super) const fn new(monitored: Monitored) -> Self {
        Self { monitored }
    }

    /// Waits for the next record, or gap.
    ///
    /// # Errors
    ///
    /// No more will come, and why.
    pub async fn next(&self) -> Result<Watched, MonitorEnd> {
        let Monitored { link, id, .. } = &self.monitored;
        Waiting::new(link, Topic::Monitor(*id), |client| client.next_watched(*id)).await
    }

    /// The same, waiting no longer than `timeout`. `Ok(None)`: nothing was recorded in that time.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next).
    pub async fn next_within(&self, timeout: Duration) -> Result<Option<Watched>, MonitorEnd> {
        within(&self.monitored.link, timeout, self.next()).await.transpose()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("id", &self.monitored.id).finish_non_exhaustive()
    }
}

/// What both of them are: something that the server tells on a connection, until it is dropped.
pub(super) struct Monitored {
    pub(super) link: Arc<Link>,
    pub(super) id: StreamId,
    /// The connection is there while somebody holds one.
    pub(super) _owner: Arc<Owner>,
}

impl Drop for Monitored {
    fn drop(&mut self) {
        self.link.act(None, |client| client.release_monitor(self.id));
    }
}
