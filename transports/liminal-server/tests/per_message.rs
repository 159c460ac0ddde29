//! A child process for each message, as its clients and its operating system see it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kit::{DEADLINE, Server, TRANSPORTS};
use liminal_blocking::{Conversation, Handle};
use liminal_driver::error::{AskError, Exited};
use liminal_proto::{Content, ExitReason, Metadata, ReasonCode};

/// A shell does what each message says.
const SHELL: &str = "shell=exec-per-message:sh";

fn serve(transport: &str, more: &[&str]) -> Server {
    Server::on_tcp(transport, more)
}

fn open(server: &Server, subject: &str) -> (Handle, Conversation) {
    let handle = liminal_blocking::connect_and_spawn(server.address()).unwrap();
    let conversation = handle.open(subject).unwrap();
    (handle, conversation)
}

#[track_caller]
fn ask(conversation: &Conversation, what: impl Into<Content>) -> Bytes {
    conversation.ask(what, DEADLINE).unwrap()
}

#[track_caller]
fn exit_of(asked: Result<Bytes, AskError>) -> ExitReason {
    match asked {
        Err(AskError::Exited(Exited::Crash(crash))) => crash.reason,
        other => panic!("the participant should have exited: {other:?}"),
    }
}

/// Those that the server has, zombies included.
fn children(server: &Server) -> usize {
    let list = Command::new("ps").args(["-A", "-o", "ppid="]).output().expect("ps is there");
    let id = server.id().to_string();
    String::from_utf8(list.stdout).unwrap().lines().filter(|line| line.trim() == id).count()
}

/// Looks again and again until it is so.
#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "it never came about: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A path that no other test has, removed when it is over.
struct Path(String);

impl Path {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("liminal-per-message-{}-{name}", std::process::id()));
        Self(path.to_str().unwrap().to_owned())
    }

    fn exists(&self) -> bool {
        std::fs::exists(&self.0).unwrap()
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        // It may never have been there.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_payload_is_stdin_and_all_of_stdout_is_the_reply() {
    let every: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for transport in TRANSPORTS {
        let server = serve(transport, &["--participant", "cat=exec-per-message:cat"]);
        let (_handle, conversation) = open(&server, "cat");
        for said in ["hello", "", "two\nlines\n", "\u{fc}\0\u{7f}"] {
            assert_eq!(ask(&conversation, said), said, "{transport}");
        }
        assert!(ask(&conversation, every.clone()) == every, "{transport}");
        conversation.close().unwrap();
        assert_eq!(children(&server), 0, "nothing stays between messages");
    }
}

#[test]
fn each_message_has_a_process_of_its_own_which_knows_its_subject_and_its_pid() {
    let tell = "*=exec-per-message:sh -c 'echo $LIMINAL_SUBJECT $LIMINAL_PID $$'";
    let server = serve("smol", &["--participant", tell]);
    let (_handle, conversation) = open(&server, "a=b");
    let pid = conversation.participant_pids().unwrap()[0];
    let told = [(); 2].map(|()| String::from_utf8(ask(&conversation, "x").to_vec()).unwrap());
    let ids = told.each_ref().map(|told| told.strip_prefix(&format!("a=b {pid} ")).expect("it is told"));
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_process_has_the_trace_of_its_message_in_its_environment_and_no_other() {
    let server = serve(
        "smol",
        &["--participant", "trace=exec-per-message:sh -c 'echo ${TRACEPARENT-none} $TRACESTATE'"],
    );
    let (_handle, conversation) = open(&server, "trace");
    let traced =
        Metadata::builder().header("traceparent", "00-ab").unwrap().header("tracestate", "x=1").unwrap();
    assert_eq!(ask(&conversation, Content::new("x", traced.build())), "00-ab x=1\n");
    assert_eq!(ask(&conversation, "x"), "none\n");
    for none in ["00\0ab", &"x".repeat(200_000)] {
        let metadata = Metadata::builder().header("traceparent", none).unwrap().build();
        assert_eq!(ask(&conversation, Content::new("x", metadata)), "none\n");
    }
}

#[test]
fn a_process_need_not_read_what_it_is_told_nor_say_anything() {
    let large = vec![b'x'; 900_000];
    for transport in TRANSPORTS {
        let server = serve(
            transport,
            &[
                "--participant",
                "true=exec-per-message:true",
                "--participant",
                "head=exec-per-message:head -c 3",
                "--participant",
                "closes=exec-per-message:sh -c 'exec <&- >&-; sleep 0.1'",
            ],
        );
        for (subject, reply) in [("true", ""), ("head", "xxx"), ("closes", "")] {
            let (_handle, conversation) = open(&server, subject);
            for _ in 0..3 {
                assert_eq!(ask(&conversation, large.clone()), reply, "{transport} {subject}");
            }
        }
    }
}

#[test]
fn what_a_message_without_a_reply_prints_is_dropped_however_much_it_is() {
    let path = Path::new("dropped");
    for transport in TRANSPORTS {
        let server = serve(transport, &["--participant", SHELL]);
        let (_handle, conversation) = open(&server, "shell");
        conversation.message(format!("yes | head -c 5000000; touch {}", path.0)).unwrap();
        // One message after the other: this one begins when that is through.
        assert_eq!(ask(&conversation, format!("rm {} && echo through", path.0)), "through\n", "{transport}");
        assert!(!path.exists());
    }
}

#[test]
fn a_status_or_a_signal_is_an_exit_for_a_request_and_for_a_message() {
    for transport in TRANSPORTS {
        let server = serve(transport, &["--participant", SHELL]);
        for (said, reason) in [
            ("echo half; exit 3", ExitReason::Status { status: 3 }),
            ("kill -KILL $$", ExitReason::Signal { signal: 9 }),
            ("kill -TERM $$", ExitReason::Signal { signal: 15 }),
            ("kill -SEGV $$", ExitReason::Signal { signal: 11 }),
        ] {
            let (_handle, conversation) = open(&server, "shell");
            assert_eq!(exit_of(conversation.ask(said, DEADLINE)), reason, "{transport}");
            let (_handle, conversation) = open(&server, "shell");
            conversation.message(said).unwrap();
            assert_eq!(conversation.await_crash(DEADLINE).unwrap().reason, reason, "{transport}");
            assert_eq!(exit_of(conversation.ask("echo more", DEADLINE)), reason, "{transport}");
        }
        eventually("nothing is left", || children(&server) == 0);
    }
}

#[test]
fn a_request_whose_process_dies_is_answered_by_the_next_where_that_is_the_policy() {
    let path = Path::new("next");
    let once =
        format!("once=exec-per-message:sh -c 'test -e {0} || {{ touch {0}; kill -9 $$; }}; cat'", path.0);
    let server = serve("smol", &["--participant", &once, "--on-crash", "once=route"]);
    let (_handle, conversation) = open(&server, "once");
    assert_eq!(ask(&conversation, "hello"), "hello");
    let crash = conversation.await_crash(DEADLINE).unwrap();
    assert_eq!((crash.reason, crash.goes_on), (ExitReason::Signal { signal: 9 }, true));
}

#[test]
fn a_reply_may_be_as_long_as_a_payload_and_a_longer_one_breaks_the_rules() {
    for transport in TRANSPORTS {
        let server = serve(transport, &["--participant", SHELL]);
        let (_handle, conversation) = open(&server, "shell");
        let long = (1 << 20) - 100;
        let yes = |bytes| format!("yes | head -c {bytes}");
        assert_eq!(ask(&conversation, yes(long)).len(), long, "{transport}");
        let ExitReason::Violated { text } = exit_of(conversation.ask("yes", DEADLINE)) else {
            panic!("it is allowed to talk for ever")
        };
        assert_eq!(text, "it wrote more than 1048576 bytes");
        eventually("it is made to go", || children(&server) == 0);
    }
}

#[test]
fn a_request_that_nobody_waits_for_ends_its_process_and_not_its_conversation() {
    for transport in TRANSPORTS {
        let server = serve(transport, &["--participant", SHELL]);
        let (_handle, conversation) = open(&server, "shell");
        let asked = conversation.ask("sleep 1000", Duration::from_millis(50));
        assert_eq!(asked, Err(AskError::Timeout), "{transport}");
        // That is asked to go after a second, and this waits for it.
        assert_eq!(ask(&conversation, "echo next"), "next\n", "{transport}");
        assert!(!conversation.has_detected_crash());
    }
}

#[test]
fn what_a_process_leaves_behind_delays_no_reply_and_is_ended() {
    let server = serve("smol", &["--participant", SHELL]);
    let (_handle, conversation) = open(&server, "shell");
    // It holds the stdout that is read, for longer than anybody waits.
    let id = String::from_utf8(ask(&conversation, "sleep 1000 & echo $!").to_vec()).unwrap();
    let runs = || {
        let list = Command::new("ps").args(["-o", "stat=", "-p", id.trim()]).output().unwrap();
        String::from_utf8(list.stdout).unwrap().lines().any(|state| !state.starts_with('Z'))
    };
    eventually("it is ended", || !runs());
    assert_eq!(ask(&conversation, "echo on"), "on\n");
}

#[test]
fn there_are_no_more_processes_than_there_may_be() {
    let server = serve("smol", &["--participant", SHELL, "--processes-max", "1"]);
    let [(_a, one), (_b, other)] = [(); 2].map(|()| open(&server, "shell"));
    let path = Path::new("seat");
    let held =
        one.request(format!("touch {}; while test -e {}; do sleep 0.01; done", path.0, path.0), DEADLINE);
    held.unwrap();
    eventually("it has begun", || path.exists());
    let Err(AskError::Refused(refusal)) = other.ask("echo me, too", DEADLINE) else { panic!("was started") };
    assert_eq!(refusal.reason, ReasonCode::BUSY);
    // A message that wants no reply waits.
    let later = Path::new("later");
    other.message(format!("touch {}", later.0)).unwrap();
    assert!(!later.exists());
    std::fs::remove_file(&path.0).unwrap();
    one.receive_reply(DEADLINE).unwrap();
    eventually("its turn has come", || later.exists());
}

#[test]
fn a_program_that_is_not_there_keeps_the_server_from_starting() {
    let ended = kit::run(&["--participant", "a=exec-per-message:/no/such/program"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
}

#[test]
fn a_server_that_stops_waits_for_processes_and_leaves_none() {
    for transport in TRANSPORTS {
        let path = Path::new(&format!("stop-{transport}"));
        let server = serve(transport, &["--participant", SHELL]);
        let (_handle, conversation) = open(&server, "shell");
        conversation.message(format!("touch {}; trap : TERM; while :; do sleep 1; done", path.0)).unwrap();
        eventually("it has begun", || path.exists());
        let (_idle_handle, _idle) = open(&server, "shell");
        server.signal("-TERM");
        let ended = server.ended();
        assert_eq!(ended.code, Some(0), "{transport} {ended:?}");
    }
}
