//! What stands on the stage of a run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use liminal_core::participant::AsyncFactory;
use liminal_core::{CrashPolicy, Factory, Settings, Subject};
use liminal_proto::Config;
use liminal_proto::wire::Dialect;

use crate::swarm::{Fault, Network};
use crate::{Draws, Hostile, Opener, Track};

/// Who serves, who opens conversations, and what may go wrong: made afresh for each run.
///
/// There is one bus to begin with, and [`another_bus`](Self::another_bus) for each call of that. What is said
/// of a bus (who serves on it, who dials it, what its bounds are) is said of the one that came last:
///
/// ```
/// use liminal_core::participant::from_fn;
/// use liminal_sim::{Script, Sim};
///
/// let ask = || Script::new().open("echo").ask("hello").wait_for_replies().close();
/// Sim::new("two buses", move |plan| {
///     let echo = || from_fn(|context, message| context.reply(message.payload));
///     plan.serve("echo", echo).opener(ask());
///     plan.another_bus().serve("echo", echo).opener(ask()).local_opener(ask());
/// })
/// .seeds(0..20)
/// .check();
/// ```
///
/// A bus may have [clients that serve](Self::client): what is served from there on is served by the client.
pub struct Plan {
    /// There is always one.
    pub(crate) buses: Vec<BusPlan>,
    pub(crate) clients: Vec<ClientPlan>,
    /// Whether what is served is served by the client that came last.
    is_at_client: bool,
    pub(crate) openers: Vec<OpenerPlan>,
    /// Each with the bus of the plan that it connects to.
    pub(crate) hostile: Vec<(Hostile, usize)>,
    pub(crate) config: Config,
    pub(crate) network: Network,
    pub(crate) faults: Vec<Fault>,
    pub(crate) faults_max: usize,
    pub(crate) rest: Duration,
    pub(crate) draws: Draws,
}

/// One bus, and who takes part in its conversations.
#[derive(Default)]
pub(crate) struct BusPlan {
    pub(crate) offers: Vec<(Subject, Kind)>,
    pub(crate) policies: Vec<(Subject, CrashPolicy)>,
    pub(crate) settings: Settings,
}

/// A client that serves on a bus.
#[derive(Debug)]
pub(crate) struct ClientPlan {
    /// Which of the plan.
    pub(crate) serves_on: usize,
    /// For how many conversations at a time, of each of its offers.
    pub(crate) capacity: u32,
    /// Its own bus, which runs its participants.
    pub(crate) bus: BusPlan,
}

/// Somebody who opens conversations.
pub(crate) struct OpenerPlan {
    pub(crate) opener: Box<dyn Opener>,
    /// On which bus of the plan.
    pub(crate) bus: usize,
    pub(crate) reach: Reach,
}

/// How an opener reaches its bus.
pub(crate) enum Reach {
    /// By connections.
    Dials(Speaks),
    /// It is in the same program.
    Local,
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

impl Speaks {
    /// The newest version that is spoken.
    pub(crate) fn draw(self, draws: &mut Draws) -> Dialect {
        match self {
            Self::Only(dialect) => dialect,
            Self::Either => draws.pick(Track::Workload, &[Dialect::V2, Dialect::V1]),
        }
    }
}

impl fmt::Debug for BusPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subjects: Vec<&Subject> = self.offers.iter().map(|(subject, _)| subject).collect();
        f.debug_struct("BusPlan")
            .field("offers", &subjects)
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("buses", &self.buses)
            .field("clients", &self.clients)
            .field("openers", &self.openers.len())
            .field("network", &self.network)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Long enough for every deadline that the defaults of the bus know, one after the other.
    const REST: Duration = Duration::from_secs(70);

    pub(crate) fn new(draws: Draws) -> Self {
        Self {
            buses: vec![BusPlan::default()],
            clients: Vec::new(),
            is_at_client: false,
            openers: Vec::new(),
            hostile: Vec::new(),
            config: Config::default(),
            network: Network::Faithful,
            faults: Fault::ALL.to_vec(),
            faults_max: usize::MAX,
            rest: Self::REST,
            draws,
        }
    }

    /// Begins another bus, with nobody on it: what is said of a bus from here on is said of this one.
    pub fn another_bus(&mut self) -> &mut Self {
        self.buses.push(BusPlan::default());
        self.is_at_client = false;
        self
    }

    /// Begins a client of the bus that came last, which dials it and serves there: what is
    /// [served](Self::serve) from here on is offered by this client, each for so many conversations at a time, 1 at
    /// least. Its participants are those that would serve on a bus. Its [settings](Self::settings) are those of
    /// the bus in its own program, by which it runs them; all else that is said of a bus is said of the one that it
    /// dials.
    ///
    /// Its process and its connection suffer what those of an opener do ([`Fault::OpenerCrash`] and its like,
    /// [`Fault::Reset`]), its participants what those of a bus do. It takes offers back, at once or when their
    /// conversations have come to their end, and makes them again ([`Fault::Withdraw`]). Whenever it has lost
    /// its connection it dials again.
    ///
    /// ```
    /// use liminal_core::participant::from_fn;
    /// use liminal_sim::{Script, Sim};
    ///
    /// Sim::new("served from elsewhere", |plan| {
    ///     for _ in 0..2 {
    ///         plan.client(8).serve("echo", || from_fn(|context, message| context.reply(message.payload)));
    ///     }
    ///     plan.opener(Script::new().open("echo").ask("hello").wait_for_replies().close());
    /// })
    /// .seeds(0..20)
    /// .check();
    /// ```
    pub fn client(&mut self, capacity: u32) -> &mut Self {
        let bus = BusPlan { settings: Settings::for_client(), ..BusPlan::default() };
        let (serves_on, capacity) = (self.buses.len() - 1, capacity.max(1));
        self.clients.push(ClientPlan { serves_on, capacity, bus });
        self.is_at_client = true;
        self
    }

    fn bus(&mut self) -> &mut BusPlan {
        // There is always one.
        let last = self.buses.len() - 1;
        &mut self.buses[last]
    }

    /// Where participants are that are served: at the client that came last, or at the bus.
    fn host(&mut self) -> &mut BusPlan {
        let last = self.buses.len() - 1;
        match self.clients.last_mut() {
            Some(client) if self.is_at_client => &mut client.bus,
            _ => &mut self.buses[last],
        }
    }

    /// One of `n`, from the tape's track of [`Workload`](Track::Workload); 0 is the benign one. For plans of
    /// which the stage itself is a matter of chance.
    pub fn draw(&mut self, n: usize) -> usize {
        self.draws.below(Track::Workload, n)
    }

    /// Has a participant serve a subject. Several may serve one.
    pub fn serve(&mut self, subject: impl Into<Subject>, factory: impl Factory + 'static) -> &mut Self {
        self.host().offers.push((subject.into(), Kind::Sync(Arc::new(factory))));
        self
    }

    /// Has an async participant serve a subject. It has no time but that of its context.
    pub fn serve_async(
        &mut self,
        subject: impl Into<Subject>,
        factory: impl AsyncFactory + 'static,
    ) -> &mut Self {
        self.host().offers.push((subject.into(), Kind::Async(Arc::new(factory))));
        self
    }

    /// Has a subject that is only recorded.
    pub fn trace_only(&mut self, subject: impl Into<Subject>) -> &mut Self {
        self.bus().offers.push((subject.into(), Kind::TraceOnly));
        self
    }

    /// Sets what becomes of a conversation on a subject when its participant exits.
    pub fn on_crash(&mut self, subject: impl Into<Subject>, policy: CrashPolicy) -> &mut Self {
        self.bus().policies.push((subject.into(), policy));
        self
    }

    /// Adds somebody who dials the bus and opens conversations, in either version.
    pub fn opener(&mut self, opener: impl Opener + 'static) -> &mut Self {
        self.opener_speaking(Speaks::Either, opener)
    }

    /// Adds somebody who dials the bus and opens conversations.
    pub fn opener_speaking(&mut self, speaks: Speaks, opener: impl Opener + 'static) -> &mut Self {
        self.add_opener(Box::new(opener), Reach::Dials(speaks))
    }

    /// Adds somebody who opens conversations from within the program of the bus, without a connection. It
    /// stands still and dies with the bus, and begins anew when that is started again. It is told what the
    /// connection of an opener that speaks 2.0 would tell it.
    pub fn local_opener(&mut self, opener: impl Opener + 'static) -> &mut Self {
        self.add_opener(Box::new(opener), Reach::Local)
    }

    fn add_opener(&mut self, opener: Box<dyn Opener>, reach: Reach) -> &mut Self {
        let bus = self.buses.len() - 1;
        self.openers.push(OpenerPlan { opener, bus, reach });
        self
    }

    /// Adds a peer of the bus that means no good, beside those who open conversations.
    pub fn hostile(&mut self, hostile: Hostile) -> &mut Self {
        self.hostile.push((hostile, self.buses.len() - 1));
        self
    }

    /// The bounds and times of the bus, or of that of the [client](Self::client) that came last. It always records.
    pub fn settings(&mut self, settings: Settings) -> &mut Self {
        self.host().settings = settings;
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
