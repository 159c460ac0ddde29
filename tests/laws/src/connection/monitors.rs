//! What a side is told of monitors and watches: each word at most once, and none before it stands or after its end.

use std::collections::{BTreeMap, BTreeSet};

use liminal_proto::{Connection, Event, Notice, Side, StreamId};

/// The monitors of one connection, as its embedder knows them.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    /// Whether it is a watch.
    made: BTreeMap<StreamId, bool>,
    standing: BTreeSet<StreamId>,
    revoked: BTreeSet<StreamId>,
    gone: BTreeSet<StreamId>,
}

impl Monitors {
    /// The client has asked for it.
    pub(super) fn makes(&mut self, monitor: StreamId, watches: bool) {
        assert!(self.made.insert(monitor, watches).is_none(), "{monitor} was used before");
    }

    /// The server has taken it.
    pub(super) fn stands(&mut self, monitor: StreamId) {
        assert!(self.is_there(monitor), "{monitor} stands and is not there");
        assert!(self.standing.insert(monitor), "{monitor} stands twice");
    }

    /// The server has seen to its end.
    pub(super) fn ends(&mut self, monitor: StreamId) {
        assert!(self.is_there(monitor), "{monitor} ends and is not there");
        self.gone.insert(monitor);
    }

    /// The server has told it something.
    pub(super) fn tells(&mut self, monitor: StreamId, watches: bool) {
        self.hears(monitor, watches);
        assert!(!self.revoked.contains(&monitor), "{monitor} was told something behind its end");
    }

    /// This side was told something.
    pub(super) fn on_event(&mut self, connection: &Connection, event: &Event) {
        let side = connection.side();
        match event {
            Event::Monitor { monitor, .. } => self.on_asked(side, *monitor, false),
            Event::Watch { monitor, .. } => self.on_asked(side, *monitor, true),
            Event::Unmonitor { monitor } => {
                assert!(side == Side::Server && self.is_there(*monitor));
                assert!(self.revoked.insert(*monitor), "{monitor} is taken back twice");
            }
            Event::Monitoring { monitor } => {
                assert_eq!(side, Side::Client);
                self.stands(*monitor);
            }
            Event::NotMonitoring { monitor, .. } | Event::Unmonitored { monitor } => {
                assert_eq!(side, Side::Client);
                self.ends(*monitor);
            }
            Event::Notice { monitor, notice } => {
                assert_eq!(side, Side::Client);
                self.hears(*monitor, false);
                if let Notice::Ended { .. } = notice {
                    self.ends(*monitor);
                }
            }
            Event::Record { monitor, record } => {
                assert!(side == Side::Client && record.number.get() > 0);
                self.hears(*monitor, true);
            }
            Event::Gap { monitor, gap } => {
                assert!(side == Side::Client && gap.from.get() > 0 && gap.from <= gap.to);
                self.hears(*monitor, true);
            }
            _ => {}
        }
        for monitor in self.made.keys() {
            let is_known = connection.monitor_phase(*monitor).is_some();
            assert_eq!(is_known, self.is_there(*monitor), "{monitor}");
        }
    }

    fn on_asked(&mut self, side: Side, monitor: StreamId, watches: bool) {
        assert_eq!(side, Side::Server);
        self.makes(monitor, watches);
    }

    fn hears(&self, monitor: StreamId, watches: bool) {
        assert!(self.standing.contains(&monitor) && self.is_there(monitor), "{monitor} does not stand");
        assert_eq!(self.made.get(&monitor), Some(&watches), "what is not for it");
    }

    fn is_there(&self, monitor: StreamId) -> bool {
        self.made.contains_key(&monitor) && !self.gone.contains(&monitor)
    }
}
