//! A plan outside of the world: whoever has real servers and real connections plays it there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use liminal_core::participant::AsyncFactory;
use liminal_core::transcript::{BusId, Noted, OpenerId};
use liminal_core::{CrashPolicy, Factory, Settings, Subject, Transcript};
use liminal_proto::wire::Dialect;
use liminal_proto::{Config, Connection, Event, Instant};
use thiserror::Error;

use crate::opener::{Caller, Opener, Then};
use crate::plan::{BusPlan, Kind, OpenerPlan, Reach};
use crate::swarm::Swarm;
use crate::world::{REDIAL, Side, opener_id};
use crate::{Draws, Plan};

/// What a plan has on its stage, for servers and connections that are not those of the world.
///
/// Serve every bus with what it has, and let the [openers](Self::openers) act over connections to it. There are
/// no faults but those that happen, and time is what the [`Instant`]s are that it is told.
#[derive(Debug)]
pub struct Stage {
    /// The buses, in their order.
    pub buses: Vec<StagedBus>,
    /// Those who open conversations, in their order.
    pub openers: Vec<StagedOpener>,
    /// The bounds and times of every connection.
    pub config: Config,
    /// How long whatever was begun may take to end when openers are done.
    pub rest: Duration,
    /// What openers draw.
    pub draws: Draws,
}

/// What one bus has on the stage.
pub struct StagedBus {
    /// Who serves what.
    pub roles: Vec<(Subject, Role)>,
    /// What becomes of conversations when their participants exit.
    pub policies: Vec<(Subject, CrashPolicy)>,
    /// Its bounds and times.
    pub settings: Settings,
}

/// What serves a subject.
#[derive(Clone)]
pub enum Role {
    /// Participants that do not wait.
    Sync(Arc<dyn Factory>),
    /// Participants that wait.
    Async(Arc<dyn AsyncFactory>),
    /// Nobody: messages are recorded.
    TraceOnly,
}

/// Somebody who opens conversations.
pub struct StagedOpener {
    opener: Box<dyn Opener>,
    /// Which of the plan, of how many, and how often it has dialled.
    of: usize,
    all: usize,
    dials: u64,
    /// Which bus it dials.
    pub bus: usize,
    /// The newest version that it speaks.
    pub dialect: Dialect,
    acts: Acts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acts {
    At(Instant),
    WhenTold,
    Done,
}

/// Somebody of a plan is in the simulator alone, and so the run can be made there alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotStaged {
    /// An opener is in the program of its bus, and dials nobody.
    #[error("the opener with the number {0} is in the program of its bus, and so in the simulator alone")]
    LocalOpener(usize),
    /// Participants are those of a client that serves.
    #[error("a client that serves is in the simulator alone")]
    Client,
}

impl Stage {
    /// The same draws as in the world, in the same order: what kind of faults there are comes first.
    pub(crate) fn new(mut plan: Plan) -> Result<Self, NotStaged> {
        if !plan.clients.is_empty() {
            return Err(NotStaged::Client);
        }
        let _ = Swarm::draw(&mut plan.draws, |fault| plan.faults.contains(&fault));
        let all = plan.openers.len();
        let openers = plan.openers.into_iter().enumerate();
        let openers = openers.map(|(of, opener)| StagedOpener::new(opener, (of, all), &mut plan.draws));
        let openers = openers.collect::<Result<_, _>>()?;
        let buses = plan.buses.into_iter().map(StagedBus::new).collect();
        Ok(Self { buses, openers, config: plan.config, rest: plan.rest, draws: plan.draws })
    }
}

impl StagedBus {
    fn new(BusPlan { offers, policies, settings }: BusPlan) -> Self {
        let roles = offers.into_iter().map(|(subject, kind)| (subject, Role::of(kind))).collect();
        Self { roles, policies, settings }
    }
}

impl Role {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Sync(factory) => Self::Sync(factory),
            Kind::Async(factory) => Self::Async(factory),
            Kind::TraceOnly => Self::TraceOnly,
        }
    }
}

impl StagedOpener {
    fn new(
        OpenerPlan { opener, bus, reach }: OpenerPlan,
        (of, all): (usize, usize),
        draws: &mut Draws,
    ) -> Result<Self, NotStaged> {
        let dialect = match reach {
            Reach::Dials(speaks) => speaks.draw(draws),
            Reach::Local => return Err(NotStaged::LocalOpener(of + 1)),
        };
        Ok(Self { opener, of, all, dials: 0, bus, dialect, acts: Acts::At(Instant::ORIGIN) })
    }

    /// It is about to dial. Returns what it is called on that connection: the same as in the world, whoever dials
    /// first.
    pub const fn dials(&mut self) -> OpenerId {
        let opener = opener_id(self.of, self.all, self.dials);
        self.dials += 1;
        opener
    }

    /// Whether it has nothing left to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.acts == Acts::Done
    }

    /// When it acts next, for which it needs a connection; `None`: not before it is told something.
    #[must_use]
    pub const fn acts_at(&self) -> Option<Instant> {
        match self.acts {
            Acts::At(at) => Some(at),
            Acts::WhenTold | Acts::Done => None,
        }
    }

    /// Its connection has told it something.
    pub fn told(&mut self, now: Instant, event: &Event) {
        if matches!(event, Event::Connected { .. }) {
            self.opener.connected();
        }
        self.opener.told(event);
        if self.acts == Acts::WhenTold {
            self.acts = Acts::At(now);
        }
        if let (Event::Closed(_), Acts::At(due)) = (event, self.acts) {
            self.acts = Acts::At(due.max(now.after(REDIAL)));
        }
    }

    /// It does its next thing. Returns what it has said: what the connection has taken.
    pub fn act(
        &mut self,
        now: Instant,
        opener: OpenerId,
        connection: &mut Connection,
        draws: &mut Draws,
    ) -> Vec<Event> {
        let mut said = Transcript::new();
        let bus = BusId::new(0);
        let side = Side::Remote(connection);
        let caller = &mut Caller { side, transcript: &mut said, draws, now, bus, opener };
        self.acts = match self.opener.act(caller) {
            Then::After(time) => Acts::At(now.after(time)),
            Then::WhenTold => Acts::WhenTold,
            Then::Done => Acts::Done,
        };
        let said = std::mem::take(said.entries_mut()).into_iter();
        said.filter_map(|entry| if let Noted::Said { event, .. } = entry.what { Some(event) } else { None })
            .collect()
    }
}

impl fmt::Debug for StagedBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subjects: Vec<&Subject> = self.roles.iter().map(|(subject, _)| subject).collect();
        f.debug_struct("StagedBus")
            .field("roles", &subjects)
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sync(_) => "Sync",
            Self::Async(_) => "Async",
            Self::TraceOnly => "TraceOnly",
        })
    }
}

impl fmt::Debug for StagedOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedOpener")
            .field("bus", &self.bus)
            .field("dialect", &self.dialect)
            .field("acts", &self.acts)
            .finish_non_exhaustive()
    }
}
