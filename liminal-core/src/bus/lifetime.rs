//! One conversation: how long it may last, and how long nothing may be said in it.

use alloc::boxed::Box;
use core::time::Duration;

use liminal_proto::{Instant, Terms, TimerReason};

use super::common::Common;
use super::conversation::Conversation;
use super::timers::{Timer, earlier};
use crate::phase::Phase;

/// How long a conversation may last.
#[derive(Debug)]
pub(super) struct Lifetime {
    /// When it is over at the latest.
    ends_by: Option<Instant>,
    /// How long nothing may be said in it.
    idle: Option<Duration>,
    /// When something was said last, or something was under way when that was looked for.
    active_at: Instant,
    /// When it is looked next whether nothing was said for so long. Not moved by what is said: a timer that
    /// moved with each message would cost more than one that finds that it is too early.
    look_at: Option<Instant>,
}

impl Conversation {
    /// Sets the limits that its owner named, within those of the bus.
    pub(super) fn limit(&mut self, common: &Common, terms: Terms) {
        let settings = &common.settings;
        let within = |named: Option<Duration>, max: Option<Duration>| match (named, max) {
            (Some(named), Some(max)) => Some(named.min(max)),
            (named, max) => named.or(max),
        };
        let total = within(terms.total, settings.conversation_time_max);
        let idle = within(terms.idle, settings.conversation_idle_time_max);
        if total.is_none() && idle.is_none() {
            return;
        }
        let now = common.now;
        let after = |time: Duration| now.after(time.max(settings.time_min));
        let (ends_by, look_at) = (total.map(after), idle.map(after));
        self.lifetime = Some(Box::new(Lifetime { ends_by, idle, active_at: now, look_at }));
    }

    /// Something was said.
    pub(super) fn note_activity(&mut self, now: Instant) {
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.active_at = now;
        }
    }

    /// When its limits are looked at next.
    pub(super) fn lifetime_timer(&self) -> Option<Timer> {
        let lifetime = self.lifetime.as_ref().filter(|_| self.may_be_ended())?;
        earlier(lifetime.ends_by, lifetime.look_at).map(|at| (at, TimerReason::Close))
    }

    /// Ends it if its time is over.
    pub(super) fn on_lifetime(&mut self, common: &mut Common) {
        if self.may_be_ended() && self.is_outlived(common.now) {
            self.on_close(common);
            // At once: there was time enough. A failed one is over already.
            self.finish(common);
        }
    }

    fn is_outlived(&mut self, now: Instant) -> bool {
        let busy = !self.queue.is_empty() || self.hand.is_some();
        let Some(lifetime) = &mut self.lifetime else { return false };
        if lifetime.ends_by.is_some_and(|at| at <= now) {
            return true;
        }
        let (Some(idle), Some(look_at)) = (lifetime.idle, lifetime.look_at) else { return false };
        if look_at > now {
            return false;
        }
        if busy {
            lifetime.active_at = now;
        }
        let idle_at = lifetime.active_at.after(idle);
        lifetime.look_at = Some(idle_at);
        idle_at <= now
    }

    /// Whether its end is still to be brought about by somebody.
    const fn may_be_ended(&self) -> bool {
        !self.forgotten && matches!(self.phase(), Phase::Created | Phase::Active | Phase::Failed)
    }
}
