//! The examples do what they say.

#[path = "../examples/in_process.rs"]
#[allow(unreachable_pub, reason = "it is a program of its own")]
mod in_process;

#[path = "../examples/readiness.rs"]
mod readiness;

#[path = "../examples/serving.rs"]
#[allow(unreachable_pub, reason = "it is a program of its own")]
mod serving;

use liminal_core::Command;
use liminal_proto::{ExitReason, Outcome, ReasonCode};

#[test]
fn the_opener_has_its_reply_and_sees_the_crash_once() {
    let told = in_process::talk().unwrap();
    let [
        Command::Opened { pid: Some(pid), .. },
        Command::Reply(reply),
        Command::Exited { exit, .. },
        Command::Outcome { outcome: Outcome::Refused { reason, .. }, .. },
        Command::Ended { .. },
    ] = &told[..]
    else {
        panic!("{told:#?}")
    };
    assert_eq!((exit.pid, &reply.payload[..]), (*pid, &b"hello"[..]));
    assert_eq!(exit.reason, ExitReason::Crashed { text: "somebody said boom".into() });
    assert_eq!(*reason, ReasonCode::EXITED);
}

#[test]
fn who_asks_a_client_that_serves_has_its_replies_and_is_told_of_its_end() {
    let told = serving::talk().unwrap();
    let [
        Command::Opened { pid: Some(pid), .. },
        Command::Reply(first),
        Command::Reply(second),
        Command::Exited { exit, .. },
    ] = &told[..]
    else {
        panic!("{told:#?}")
    };
    assert_eq!((&first.payload[..], &second.payload[..]), (&b"1: sheep"[..], &b"2: stars"[..]));
    assert_eq!((exit.pid, &exit.reason), (*pid, &ExitReason::ConnectionLost));
}

#[test]
fn they_run() {
    in_process::main().unwrap();
    serving::main().unwrap();
}

#[test]
fn one_thread_serves_many_connections_by_their_readiness() {
    readiness::main().unwrap();
}
