//! A child process that serves is killed with a request outstanding: how long it takes until the asker is
//! told, against the least that the system needs, which is the end of file on the pipe of a killed child.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use liminal_blocking::Handle;
use liminal_blocking::error::AskError;
use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;
use crate::ask::TIMEOUT;
use crate::report::{Report, Unit};
use crate::served::{Kind, Served};
use crate::stats::{Samples, Times};

/// Tells its own process, and never replies to anything else.
const PROGRAM: &str = r#"while read -r line; do if [ "$line" = pid ]; then echo $$; fi; done"#;
const KILLS: usize = 300;
/// How long after a request the child is killed: it waits for nothing but the next one by then.
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    let bare = sample(bare_death)?;
    report.tell("end of file on a pipe: p50", bare.micros(50), Unit::Micros)?;
    report.tell("end of file on a pipe: p99", bare.micros(99), Unit::Micros)?;
    for kind in Kind::TRANSPORTS {
        let offer = format!("victim=exec:sh -c '{PROGRAM}'");
        let served = Served::liminal_server(&[
            "--listen=127.0.0.1:0",
            "--log=off",
            "--transport",
            &kind.value(),
            "--participant",
            &offer,
        ])?;
        let handle = liminal_blocking::connect_and_spawn(&served.address)?;
        let times = sample(|times| death(&handle, times))?;
        let label = |what: &str| format!("{}: {what}", kind.name());
        report.judge(label("p50"), times.micros(50), Unit::Micros, 1_000.0)?;
        report.judge(label("p99"), times.micros(99), Unit::Micros, 5_000.0)?;
    }
    Ok(())
}

fn sample(mut death: impl FnMut(&mut Times) -> Result<(), Failure>) -> Result<Samples, Failure> {
    let mut times = Times::with_capacity(KILLS);
    (0..KILLS).try_for_each(|_| death(&mut times))?;
    Ok(times.samples())
}

/// From the kill to the error of a request.
fn death(handle: &Handle, times: &mut Times) -> Result<(), Failure> {
    let conversation = handle.open("victim")?;
    let pid = conversation.ask("pid", TIMEOUT)?;
    let pid: i32 = str::from_utf8(&pid)?.trim().parse()?;
    thread::scope(|scope| {
        let asking = scope.spawn(|| (conversation.ask("never", TIMEOUT), Instant::now()));
        thread::sleep(PAUSE);
        times.start();
        kill(pid)?;
        let (end, told) = asking.join().map_err(|_| "the asker panicked")?;
        times.stop_at(told);
        match end {
            Err(AskError::Exited(_)) => Ok(()),
            other => Err(format!("the participant was killed, and the asker was told {other:?}").into()),
        }
    })
}

/// From the kill to the end of file.
fn bare_death(times: &mut Times) -> Result<(), Failure> {
    let mut child =
        Command::new("sh").args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let killed = kill_bare(&mut child, times);
    // It has ended already, unless something failed.
    let _ = child.kill();
    child.wait()?;
    killed
}

fn kill_bare(child: &mut Child, times: &mut Times) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut stdin = child.stdin.take().ok_or("the child has no input")?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("the child has no output")?);
    writeln!(stdin, "pid")?;
    let mut pid = String::new();
    stdout.read_line(&mut pid)?;
    let pid: i32 = pid.trim().parse()?;
    thread::scope(|scope| {
        let reading = scope.spawn(|| (stdout.read_to_end(&mut Vec::new()), Instant::now()));
        thread::sleep(PAUSE);
        times.start();
        kill(pid)?;
        let (end, told) = reading.join().map_err(|_| "the reader panicked")?;
        times.stop_at(told);
        end?;
        Ok(())
    })
}

fn kill(pid: i32) -> Result<(), Failure> {
    let pid = Pid::from_raw(pid).ok_or("the child has no process id")?;
    Ok(kill_process(pid, Signal::KILL)?)
}
