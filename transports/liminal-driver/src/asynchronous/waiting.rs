//! A caller that waits for something of its connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::link::{Found, Link, READS_MAX};
use crate::client::{Client, Topic, Waiter};

/// Waits until `check` has an answer, reading while the turn to read is free.
pub(crate) struct Waiting<'a, F> {
    link: &'a Link,
    topic: Topic,
    check: F,
    waiter: Option<Waiter>,
    /// Its number among those who have had the turn to read; 0 before that.
    number: u64,
}

impl<'a, F> Waiting<'a, F> {
    pub(crate) const fn new<T>(link: &'a Link, topic: Topic, check: F) -> Self
    where
        F: FnMut(&mut Client) -> Option<T>,
    {
        Self { link, topic, check, waiter: None, number: 0 }
    }
}

impl<T, F: FnMut(&mut Client) -> Option<T> + Unpin> Future for Waiting<'_, F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let mut state = this.link.lock();
        if let Some(waiter) = this.waiter.take() {
            state.client.stop_waiting(waiter);
        }
        for _ in 0..READS_MAX {
            if let Some(answer) = (this.check)(&mut state.client) {
                return Poll::Ready(answer);
            }
            let Some(mut reader) = state.read_as_caller(&mut this.number, cx.waker()) else {
                this.waiter = Some(state.client.wait(None, this.topic, cx.waker()));
                return Poll::Pending;
            };
            drop(state);
            let found = this.link.read(&mut reader, cx);
            state = this.link.lock();
            state.put_back(reader);
            if !matches!(found, Found::Moved) {
                // Only now, because who reads would wake itself with everything that it reads, and its
                // executor would poll it again for nothing.
                let answer = (this.check)(&mut state.client);
                if answer.is_none() {
                    this.waiter = Some(state.client.wait(None, this.topic, cx.waker()));
                }
                return answer.map_or(Poll::Pending, Poll::Ready);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<F> Drop for Waiting<'_, F> {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        if let Some(waiter) = self.waiter.take() {
            state.client.stop_waiting(waiter);
        }
        state.leave(self.number);
    }
}
