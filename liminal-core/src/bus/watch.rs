//! Watches: links that are told every record of the conversations on a subject.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;

use liminal_proto::{Gap, GapReason, LogId, ReasonCode, RecordNumber, StreamId};

use super::Bus;
use super::common::Common;
use super::conversation::Conversation;
use super::monitor::TOLD_PER_TURN;
use super::observer::{Observed, Observer};
use crate::{Backlog, Command, ConversationKey, LinkId, Overrun, Record, Watched};

/// The watches of a bus, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Watches(VecDeque<Watch>);

#[derive(Debug)]
struct Watch {
    link: LinkId,
    monitor: StreamId,
    /// `None`: conversations on every subject.
    subject: Option<Arc<str>>,
    backlog: Backlog,
    /// Where it is among the conversations that were there before it.
    walk: Option<Walk>,
}

/// The way through the conversations that were there before a watch. Of each the watch is told from when it has
/// come by.
#[derive(Clone, Copy, Debug)]
struct Walk {
    next: ConversationKey,
    last: ConversationKey,
}

impl Watch {
    fn is_for(&self, subject: &str) -> bool {
        self.subject.as_deref().is_none_or(|it| it == subject)
    }

    /// Whether the watch has not come by this conversation yet.
    fn is_before(&self, key: ConversationKey) -> bool {
        self.walk.is_some_and(|walk| (walk.next..=walk.last).contains(&key))
    }

    fn is_idle(&self) -> bool {
        self.backlog.is_empty() && self.walk.is_none()
    }
}

impl Watches {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What waits for them, counted afresh, in bytes with its charge.
    pub(super) fn recount(&self) -> usize {
        self.0.iter().map(|watch| watch.backlog.recount()).sum()
    }

    pub(super) fn has_something_for(&self, link: LinkId) -> bool {
        self.0.iter().any(|watch| watch.link == link && !watch.is_idle())
    }

    fn position(&self, link: LinkId, is_it: impl Fn(&Watch) -> bool) -> Option<usize> {
        self.0.iter().position(|watch| watch.link == link && is_it(watch))
    }
}

impl Bus {
    pub(super) fn on_watch(&mut self, link: LinkId, monitor: StreamId, subject: Option<String>) {
        match self.check_watch(link, subject.as_deref()) {
            Ok(()) => {
                let max = self.common.settings.watched_bytes_max;
                let subject = subject.map(|subject| self.common.offers.name(&subject));
                let (first, last) = (ConversationKey::FIRST, ConversationKey::new(self.keys.last()));
                let walk = (last > first).then_some(Walk { next: first, last });
                let backlog = Backlog::new(max);
                self.common.watches.0.push_back(Watch { link, monitor, subject, backlog, walk });
                self.common.take_monitor(link, monitor, Observed::Logs);
                self.common.observe(link);
            }
            Err(reason) => self.common.refuse_monitor(link, monitor, reason),
        }
    }

    fn check_watch(&self, link: LinkId, subject: Option<&str>) -> Result<(), ReasonCode> {
        let settings = &self.common.settings;
        self.may_monitor(link, Observer::watches, settings.watches_per_link_max)?;
        if self.common.watches.len() >= settings.watches_max {
            return Err(ReasonCode::LIMIT);
        }
        if subject.is_some_and(|subject| subject.len() > settings.name_max) {
            return Err(ReasonCode::INVALID_NAME);
        }
        Ok(())
    }

    /// Takes a watch of a link further through the conversations that were there before it, if there is room for
    /// what it finds.
    pub(super) fn walk(&mut self, link: LinkId) {
        let Self { common, conversations, .. } = self;
        let at = common.watches.position(link, |watch| watch.walk.is_some() && watch.backlog.is_low());
        let Some(watch) = at.and_then(|at| common.watches.0.get_mut(at)) else { return };
        let Some(Walk { next, last }) = watch.walk.take() else { return };
        let before = watch.backlog.bytes();
        let earlier = conversations.iter_from(next).take_while(|(key, _)| *key <= last);
        for (looked_at, (key, conversation)) in earlier.enumerate() {
            if looked_at == TOLD_PER_TURN || !watch.backlog.is_low() {
                watch.walk = Some(Walk { next: key, last });
                break;
            }
            if watch.is_for(&conversation.subject)
                && let Some(gap) = conversation.log_so_far()
            {
                // It has room, because it is low.
                let _ = watch.backlog.gap(gap);
            }
        }
        let after = watch.backlog.bytes();
        common.reweigh_waiting(link, before, after);
    }
}

impl Conversation {
    /// All records that there are, as a gap. `None`: there are none, or it is over.
    fn log_so_far(&self) -> Option<Gap> {
        let to = self.next_record().get().checked_sub(1).filter(|last| *last > 0 && !self.forgotten)?;
        let (from, to) = (RecordNumber::new(1), RecordNumber::new(to));
        let (log, subject) = (LogId::new(self.key().get()), Some((&*self.subject).into()));
        Some(Gap { log, from, to, subject, why: GapReason::Before })
    }
}

impl Common {
    /// Tells those who watch it a record of a conversation.
    pub(super) fn show(&mut self, key: ConversationKey, subject: &str, record: &Record) {
        let sees = |watch: &Watch| watch.is_for(subject) && !watch.is_before(key);
        self.tell_watches(sees, |backlog| backlog.record(Box::new(record.shown(key, subject))));
    }

    /// A conversation is over. Those who watch it and have not come by it are told that there was one, and how long its
    /// log was.
    pub(super) fn show_last(&mut self, conversation: &Conversation) {
        let key = conversation.key();
        let misses = |watch: &Watch| watch.is_for(&conversation.subject) && watch.is_before(key);
        self.tell_watches(misses, |backlog| conversation.log_so_far().map_or(Ok(()), |gap| backlog.gap(gap)));
    }

    /// Puts something into the backlogs of some watches. Those that have no room for it are given up.
    fn tell_watches(
        &mut self,
        wants: impl Fn(&Watch) -> bool,
        put: impl Fn(&mut Backlog) -> Result<(), Overrun>,
    ) {
        let mut at = 0;
        while let Some(watch) = self.watches.0.get_mut(at) {
            at += 1;
            if !wants(watch) {
                continue;
            }
            let (link, monitor, before) = (watch.link, watch.monitor, watch.backlog.bytes());
            let told = put(&mut watch.backlog);
            let after = watch.backlog.bytes();
            self.reweigh_waiting(link, before, after);
            if told.is_ok() {
                self.observe(link);
            } else {
                // The next one has its place then.
                at -= 1;
                self.end_watch(link, monitor);
                self.give_up(link, monitor);
            }
        }
    }

    /// Tells a link what waits for the next of its watches. False: nothing does.
    pub(super) fn tell_watch(&mut self, link: LinkId) -> bool {
        let at = self.watches.position(link, |watch| !watch.backlog.is_empty());
        // Its others have their turn before it comes round again.
        let Some(mut watch) = at.and_then(|at| self.watches.0.remove(at)) else { return false };
        let before = watch.backlog.bytes();
        let next = watch.backlog.take();
        let (monitor, after) = (watch.monitor, watch.backlog.bytes());
        self.watches.0.push_back(watch);
        self.reweigh_waiting(link, before, after);
        let Some(next) = next else { return false };
        if let Some(observer) = self.observer_mut(link) {
            observer.give(next.charge());
        }
        let command = match next {
            Watched::Record(record) => Command::Record { monitor, record },
            Watched::Gap(gap) => Command::Gap { monitor, gap },
        };
        self.tell(link, command);
        true
    }

    /// A watch is no more, nor what waits for it.
    pub(super) fn end_watch(&mut self, link: LinkId, monitor: StreamId) {
        let at = self.watches.position(link, |watch| watch.monitor == monitor);
        if let Some(watch) = at.and_then(|at| self.watches.0.remove(at)) {
            self.reweigh_waiting(link, watch.backlog.bytes(), 0);
        }
    }
}
