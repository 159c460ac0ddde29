//! What stands on the stage of a run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use liminal_core::participant::AsyncFactory;
use liminal_core::{CrashPolicy, Factory, Settings, Subject};
use liminal_proto::Config;
use liminal_proto::wire::Dialect;

use crate::swarm::{Fault, Network};
use crate::{Hostile, Opener};

/// Who serves, who opens conversations, and what may go wrong: made afresh for each run.
pub struct Plan {
    pub(crate) offers: Vec<(Subject, Kind)>,
    pub(crate) policies: Vec<(Subject, CrashPolicy)>,
    pub(crate) openers: Vec<(Box<dyn Opener>, Speaks)>,
    pub(crate) hostile: Vec<Hostile>,
    pub(crate) settings: Settings,
    pub(crate) config: Config,
    pub(crate) network: Network,
    pub(crate) faults: Vec<Fault>,
    pub(crate) faults_max: usize,
    pub(crate) rest: Duration,
}

/// What serves a subject.
#[derive(Clone)]
pub(crate) enum Kind {
    Sync(Arc<dyn Factory>),
    Async(Arc<dyn AsyncFactory>),
    TraceOnly,
}

/// Which version an opener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// One of the two, as the tape says; 2.0 is the benign one.
    #[default]
    Either,
    /// This one.
    Only(Dialect),
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subjects: Vec<&Subject> = self.offers.iter().map(|(subject, _)| subject).collect();
        f.debug_struct("Plan")
            .field("offers", &subjects)
            .field("policies", &self.policies)
            .field("openers", &self.openers.len())
            .field("network", &self.network)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Long enough for every deadline that the defaults of the bus know, one after the other.
    const REST: Duration = Duration::from_secs(70);

    pub(crate) fn new() -> Self {
        Self {
            offers: Vec::new(),
            policies: Vec::new(),
            openers: Vec::new(),
            hostile: Vec::new(),
            settings: Settings::default(),
            config: Config::default(),
            network: Network::Faithful,
            faults: Fault::ALL.to_vec(),
            faults_max: usize::MAX,
            rest: Self::REST,
        }
    }

    /// Has a participant serve a subject. Several may serve one.
    pub fn serve(&mut self, subject: impl Into<Subject>, factory: impl Factory + 'static) -> &mut Self {
        self.offers.push((subject.into(), Kind::Sync(Arc::new(factory))));
        self
    }

    /// Has an async participant serve a subject. It has no time but that of its context.
    pub fn serve_async(
        &mut self,
        subject: impl Into<Subject>,
        factory: impl AsyncFactory + 'static,
    ) -> &mut Self {
        self.offers.push((subject.into(), Kind::Async(Arc::new(factory))));
        self
    }

    /// Has a subject that is only recorded.
    pub fn trace_only(&mut self, subject: impl Into<Subject>) -> &mut Self {
        self.offers.push((subject.into(), Kind::TraceOnly));
        self
    }

    /// Sets what becomes of a conversation on a subject when its participant exits.
    pub fn on_crash(&mut self, subject: impl Into<Subject>, policy: CrashPolicy) -> &mut Self {
        self.policies.push((subject.into(), policy));
        self
    }

    /// Adds somebody who opens conversations, in either version.
    pub fn opener(&mut self, opener: impl Opener + 'static) -> &mut Self {
        self.opener_speaking(Speaks::Either, opener)
    }

    /// Adds somebody who opens conversations.
    pub fn opener_speaking(&mut self, speaks: Speaks, opener: impl Opener + 'static) -> &mut Self {
        self.openers.push((Box::new(opener), speaks));
        self
    }

    /// Adds a peer that means no good, beside those who open conversations.
    pub fn hostile(&mut self, hostile: Hostile) -> &mut Self {
        self.hostile.push(hostile);
        self
    }

    /// The bounds and times of the bus. It always records.
    pub fn settings(&mut self, settings: Settings) -> &mut Self {
        self.settings = settings;
        self
    }

    /// The bounds and times of every connection.
    pub fn config(&mut self, config: Config) -> &mut Self {
        self.config = config;
        self
    }

    /// How bytes travel.
    pub fn network(&mut self, network: Network) -> &mut Self {
        self.network = network;
        self
    }

    /// Nothing else goes wrong. The default is that everything may.
    pub fn only_faults(&mut self, faults: &[Fault]) -> &mut Self {
        self.faults = faults.to_vec();
        self
    }

    /// At most this many faults of processes, connections and participants in a run. (Pieces and latency do not
    /// count.) The default is that their number is not bounded.
    pub fn faults_max(&mut self, count: usize) -> &mut Self {
        self.faults_max = count;
        self
    }

    /// How long the world goes on when faults have stopped and inputs have ended. Afterwards nothing may be
    /// outstanding: longer than any participant works, and than any deadline. Default: 70 s.
    pub fn rest(&mut self, time: Duration) -> &mut Self {
        self.rest = time;
        self
    }
}
