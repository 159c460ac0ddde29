//! One child process: its pipes, its end, and its process group.

use std::future::{pending, poll_fn};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::pin::Pin;
use std::process::{self, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_lite::{AsyncRead as _, AsyncWrite as _, FutureExt as _};
use liminal_driver::with_scratch;
use rustix::process::{Pid as Group, Signal, kill_process_group, test_kill_process_group};
use smol::channel::Receiver;
use smol::{Async, Timer};

use crate::death::Death;
use crate::environment::Environment;
use crate::{Command, Options};

/// A process that was started, the leader of a process group of its own. Dropped before it has
/// [ended](Self::end), it is killed.
pub(crate) struct Child {
    process: process::Child,
    group: Group,
    death: Death,
    stdin: Option<Async<ChildStdin>>,
    stdout: Option<Async<ChildStdout>>,
    /// Whether it was released: its number names nothing any more but the rest of its group, if there is
    /// one.
    released: bool,
}

/// What came of looking at an output.
pub(crate) enum Read {
    Some(Vec<u8>),
    /// The child has closed it, and whoever else had it.
    End,
}

impl Child {
    /// Starts the program of a command. This may take a while, where the program is far away.
    pub(crate) fn start(command: &Command, environment: &Environment) -> io::Result<Self> {
        let mut process = process::Command::new(command.program());
        process.args(command.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        environment.apply(&mut process);
        let mut process = process.spawn()?;
        let group = Group::from_child(&process);
        match adopt(&mut process) {
            Ok((death, stdin, stdout)) => Ok(Self { process, group, death, stdin, stdout, released: false }),
            Err(error) => {
                // Without descriptors of ours it could be neither talked to nor watched.
                let _ = kill_process_group(group, Signal::KILL);
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// Writes what the child takes at once. Without a stdin it takes nothing.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_write(cx, bytes),
            None => Poll::Pending,
        }
    }

    /// Reads what there is at once. Without a stdout there is nothing.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let Some(stdout) = &mut self.stdout else { return Poll::Pending };
        let read = with_scratch(|scratch| {
            let read = Pin::new(stdout).poll_read(cx, scratch);
            read.map(|read| read.ok().and_then(|n| scratch.get(..n)).map(<[u8]>::to_vec))
        });
        read.map(|read| match read.filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => Read::Some(bytes),
            None => Read::End,
        })
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// How it ended, once it has.
    pub(crate) fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        let status = self.death.poll(&mut self.process, cx);
        self.released |= status.is_ready();
        status
    }

    /// Has it end, and what remains of its process group: its stdin is closed at once, what it still writes
    /// is discarded, and who does not go is asked to and then made to. Returns when nothing is left, or
    /// nothing that could be done about it. Once `hurry` is closed there is no asking.
    pub(crate) async fn end(mut self, options: &Options, hurry: &Receiver<()>) {
        let begun = Instant::now();
        self.close_stdin();
        let steps = [(options.terminate_after, Signal::TERM), (options.kill_after, Signal::KILL)];
        for (after, signal) in steps {
            let late = async {
                Timer::at(begun + after).await;
                Some(signal)
            };
            let hurried = async {
                // Nothing is ever sent.
                let _ = hurry.recv().await;
                Some(Signal::KILL)
            };
            let gone = async {
                self.gone().await;
                None
            };
            let Some(signal) = gone.or(hurried).or(late).await else { return };
            self.signal(signal);
            if signal == Signal::KILL {
                break;
            }
        }
        self.exited().await;
    }

    /// Waits until neither the process nor a member of its group is left. A member that outlives the
    /// process is nobody's child here, so its end is no event, and is waited for in vain.
    async fn gone(&mut self) {
        self.exited().await;
        if test_kill_process_group(self.group).is_ok() {
            pending::<()>().await;
        }
    }

    async fn exited(&mut self) {
        poll_fn(|cx| {
            if self.released || self.poll_exit(cx).is_ready() {
                return Poll::Ready(());
            }
            match self.poll_read(cx) {
                Poll::Ready(Read::Some(_)) => cx.waker().wake_by_ref(),
                Poll::Ready(Read::End) => self.close_stdout(),
                Poll::Pending => {}
            }
            Poll::Pending
        })
        .await;
        self.close_stdout();
    }

    /// To the whole group. While the process is not released, or a member is left, the number of the group
    /// is not given to anybody else.
    fn signal(&self, signal: Signal) {
        if !self.released || test_kill_process_group(self.group).is_ok() {
            // It may just have ended.
            let _ = kill_process_group(self.group, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.released {
            self.signal(Signal::KILL);
            // It is as good as dead, so this does not take long.
            let _ = self.process.wait();
        }
    }
}

type Adopted = (Death, Option<Async<ChildStdin>>, Option<Async<ChildStdout>>);

fn adopt(process: &mut process::Child) -> io::Result<Adopted> {
    let death = Death::of(process)?;
    let stdin = process.stdin.take().map(Async::new).transpose()?;
    let stdout = process.stdout.take().map(Async::new).transpose()?;
    Ok((death, stdin, stdout))
}

#[cfg(test)]
mod tests {
    use liminal_proto::Pid;

    use super::*;
    use crate::Protocol;

    fn start(command: &str) -> Child {
        let command = Command::parse(Protocol::Lines, command).unwrap();
        Child::start(&command, &Environment::of_conversation("subject", Pid::new(1))).unwrap()
    }

    #[test]
    fn one_that_is_dropped_is_killed_and_released_with_its_group() {
        let child = start("sh -c 'sleep 1000 & sleep 1000'");
        let group = child.group;
        drop(child);
        assert!((0..500).any(|_| is_gone(group)));
    }

    /// What was a child of the process is the system's now, which takes its time to release it.
    fn is_gone(group: Group) -> bool {
        let list = process::Command::new("ps").args(["-A", "-o", "pgid=,stat="]).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        let own = |line: &&str| line.trim_start().starts_with(&format!("{} ", group.as_raw_nonzero()));
        list.lines().filter(own).all(|line| line.contains('Z'))
    }

    #[test]
    fn without_time_there_is_no_asking() {
        let (hurry, hurried) = smol::channel::bounded(1);
        let options = Options { terminate_after: MANY, kill_after: MANY, ..Options::default() };
        let child = start("sh -c 'trap : TERM; while :; do sleep 1; done'");
        let group = child.group;
        hurry.close();
        smol::block_on(child.end(&options, &hurried));
        assert!(rustix::process::test_kill_process(group).is_err(), "it is released");
    }

    /// Longer than any test takes.
    const MANY: std::time::Duration = std::time::Duration::from_secs(1000);
}
