//! A bounded pool of threads for what blocks.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a thread without work stays.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// A piece of work. It has its seat until it drops it.
pub type Job = Box<dyn FnOnce(PoolSeat) + Send>;

/// A bounded pool of threads. A seat is taken from the moment a job is accepted until what it was taken
/// for has really returned, so what hangs keeps its seat and full means full.
pub struct Pool {
    state: Mutex<State>,
    work: Condvar,
    seats: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    taken: usize,
    idle: usize,
    closed: bool,
}

/// A seat that is taken, until this is dropped.
#[derive(Debug)]
pub struct PoolSeat(Arc<Pool>);

impl Drop for PoolSeat {
    fn drop(&mut self) {
        self.0.lock().taken -= 1;
    }
}

impl Pool {
    /// A pool that starts its threads when they are needed.
    #[must_use]
    pub fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), work: Condvar::new(), seats })
    }

    /// Runs a job on a thread of the pool.
    ///
    /// # Errors
    ///
    /// The job itself, when no seat is free or no thread can be started.
    pub fn run(self: &Arc<Self>, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.taken >= self.seats || state.closed {
            return Err(job);
        }
        if state.idle <= state.jobs.len() {
            let pool = Arc::clone(self);
            let started = thread::Builder::new().name("liminal-blocking".into()).spawn(move || pool.work());
            if started.is_err() && state.taken == 0 {
                return Err(job);
            }
        }
        state.taken += 1;
        state.jobs.push_back(job);
        self.work.notify_one();
        Ok(())
    }

    /// Takes no more jobs; idle threads end.
    pub fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    fn work(self: &Arc<Self>) {
        while let Some(job) = self.next_job() {
            let seat = PoolSeat(Arc::clone(self));
            // What panics in a job is caught in the job; this guards the thread.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(seat)));
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            let (woken, wait) =
                self.work.wait_timeout(state, IDLE_TIME).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if wait.timed_out() && state.jobs.is_empty() {
                return None;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Pool")
            .field("seats", &self.seats)
            .field("taken", &state.taken)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::Pool;

    #[test]
    fn full_means_full_and_a_seat_is_free_when_its_job_has_returned() {
        let pool = Pool::new(1);
        let (release, held) = mpsc::channel::<()>();
        let (report, done) = mpsc::channel();
        let first = report.clone();
        assert!(pool.run(Box::new(move |_seat| first.send(held.recv().is_ok()).unwrap())).is_ok());
        assert!(pool.run(Box::new(|_seat| ())).is_err());
        release.send(()).unwrap();
        assert!(done.recv().unwrap());
        while pool.lock().taken > 0 {
            std::thread::yield_now();
        }
        assert!(pool.run(Box::new(move |_seat| report.send(true).unwrap())).is_ok());
        assert!(done.recv().unwrap());
    }

    #[test]
    fn a_job_that_panics_gives_its_seat_back() {
        let pool = Pool::new(1);
        assert!(pool.run(Box::new(|_seat| panic!("planned"))).is_ok());
        while pool.lock().taken > 0 {
            std::thread::yield_now();
        }
        assert!(pool.run(Box::new(|_seat| ())).is_ok());
    }
}
