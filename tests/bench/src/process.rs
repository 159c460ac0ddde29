//! What a process has used so far, as the system counts it.

use std::fs;
use std::io::Read as _;
use std::ops::Sub;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What the threads of a process have used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// Processor time in nanoseconds.
    pub(crate) cpu: f64,
    /// How often a thread had waited and ran again.
    pub(crate) wakes: f64,
}

impl Used {
    const UNKNOWN: Self = Self { cpu: f64::NAN, wakes: f64::NAN };

    /// Of every thread that the process has now. Only Linux tells; elsewhere it is not a number.
    pub(crate) fn by(pid: u32) -> Self {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Self::UNKNOWN };
        let tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
        tasks
            .map(|task| {
                let text = |file| fs::read_to_string(task.join(file)).unwrap_or_default();
                let (schedstat, status) = (text("schedstat"), text("status"));
                let cpu = schedstat.split_whitespace().next().and_then(|time| time.parse().ok());
                let wakes = number_behind(&status, "voluntary_ctxt_switches:");
                Self { cpu: cpu.unwrap_or(f64::NAN), wakes: wakes.unwrap_or(f64::NAN) }
            })
            .reduce(|sum, one| Self { cpu: sum.cpu + one.cpu, wakes: sum.wakes + one.wakes })
            .unwrap_or(Self::UNKNOWN)
    }
}

impl Sub for Used {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { cpu: self.cpu - before.cpu, wakes: self.wakes - before.wakes }
    }
}

/// The resident memory of a process in KiB.
pub(crate) fn resident(pid: u32) -> f64 {
    // The rollup counts pages, where other files give an estimate that lags behind.
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    number_behind(&text, "Rss:").unwrap_or(f64::NAN)
}

/// How many threads a process has.
pub(crate) fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

fn number_behind(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
}

/// Counts the system calls of a process from outside, where perf is there and may.
#[derive(Debug)]
pub(crate) struct Syscalls {
    perf: Child,
}

impl Syscalls {
    const ATTACH_TIME: Duration = Duration::from_secs(5);

    /// Starts counting.
    pub(crate) fn count(pid: u32) -> Option<Self> {
        let perf = Command::new("perf")
            .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pid.to_string()])
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut this = Self { perf };
        let late = Instant::now() + Self::ATTACH_TIME;
        while this.watched() < threads(pid) {
            if Instant::now() > late || this.perf.try_wait().ok()?.is_some() {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // It opens its counters first and starts them at once afterwards.
        thread::sleep(Duration::from_millis(50));
        Some(this)
    }

    /// How many threads it watches.
    fn watched(&self) -> usize {
        let Ok(files) = fs::read_dir(format!("/proc/{}/fd", self.perf.id())) else { return 0 };
        let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().contains("perf_event")).count()
    }

    /// How many there were.
    pub(crate) fn stop(mut self) -> Option<f64> {
        let pid = rustix::process::Pid::from_child(&self.perf);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).ok()?;
        let mut text = String::new();
        self.perf.stderr.take()?.read_to_string(&mut text).ok()?;
        text.lines().find(|line| line.contains("sys_enter"))?.split(',').next()?.parse().ok()
    }
}

impl Drop for Syscalls {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_behind_their_keys_at_the_beginning_of_a_line() {
        let text = "Rss:      12 kB\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\n";
        assert_eq!(number_behind(text, "Rss:"), Some(12.0));
        assert_eq!(number_behind(text, "voluntary_ctxt_switches:"), Some(5.0));
        assert_eq!(number_behind(text, "Pss:"), None);
    }
}
