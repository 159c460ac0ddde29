//! Child processes as participants, as their clients and their operating system see them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use kit::{DEADLINE, Server, TRANSPORTS};
use liminal_blocking::{Conversation, Handle};
use liminal_driver::error::{AskError, Exited, OpenError};
use liminal_proto::{ExitReason, ReasonCode};

/// Tells its process id for each line, and what is left of its arguments besides.
const TELL_ID: &str = "ids=exec:sh -c 'while read line; do echo $$; done'";

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../liminal-process/examples/shout.py");

fn serve(transport: &str, participants: &[&str]) -> Server {
    serve_with(transport, participants, &[])
}

fn serve_with(transport: &str, participants: &[&str], more: &[&str]) -> Server {
    let offers: Vec<&str> = participants.iter().flat_map(|offer| ["--participant", offer]).collect();
    Server::on_tcp(transport, &[&offers, more].concat())
}

fn connect(server: &Server) -> Handle {
    liminal_blocking::connect_and_spawn(server.address()).unwrap()
}

fn open(server: &Server, subject: &str) -> (Handle, Conversation) {
    let handle = connect(server);
    let conversation = handle.open(subject).unwrap();
    (handle, conversation)
}

#[track_caller]
fn ask(conversation: &Conversation, what: &'static str) -> String {
    String::from_utf8(conversation.ask(what, DEADLINE).unwrap().to_vec()).unwrap()
}

/// The process behind a conversation whose participant tells it.
#[track_caller]
fn id(conversation: &Conversation) -> u32 {
    ask(conversation, "id").parse().unwrap()
}

#[track_caller]
fn exit_of(asked: Result<bytes::Bytes, AskError>) -> ExitReason {
    match asked {
        Err(AskError::Exited(Exited::Crash(crash))) => crash.reason,
        other => panic!("the participant should have exited: {other:?}"),
    }
}

#[track_caller]
fn rules_broken(asked: Result<bytes::Bytes, AskError>) -> String {
    match exit_of(asked) {
        ExitReason::Violated { text } => text,
        other => panic!("{other:?}"),
    }
}

fn kill(signal: &str, id: u32) {
    assert!(Command::new("kill").args([signal, &id.to_string()]).status().unwrap().success());
}

/// All processes: id, parent, state.
fn processes() -> Vec<(u32, u32, String)> {
    let list = Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat="]).output().expect("ps is there");
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.to_owned()))
    };
    String::from_utf8(list.stdout).unwrap().lines().filter_map(line).collect()
}

/// Whether it runs. One that was left to the system may still be on its list.
fn runs(id: u32) -> bool {
    processes().iter().any(|(other, _, state)| *other == id && !state.starts_with('Z'))
}

/// Those that the server has, zombies included.
fn children(server: &Server) -> Vec<u32> {
    let of_server = |(id, parent, _): (u32, u32, String)| (parent == server.id()).then_some(id);
    processes().into_iter().filter_map(of_server).collect()
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

// Lines.

#[test]
fn each_message_is_a_line_and_the_line_for_it_the_reply() {
    for transport in TRANSPORTS {
        let server = serve(transport, &["cat=exec:cat", "*=exec:sh -c 'cat > /dev/null & wait'"]);
        let (_handle, conversation) = open(&server, "cat");
        for said in ["hello", "", "two words", "carriage return\r", "\u{fc}\0\u{7f}"] {
            assert_eq!(ask(&conversation, said), said, "{transport}");
            // The line for it is nobody's reply.
            conversation.message("wants no reply").unwrap();
        }
        conversation.close().unwrap();
    }
}

#[test]
fn the_example_of_the_help_answers() {
    let help = kit::run(&["--help"]);
    let example = "leet=exec:sed -u y/elo/310/";
    assert!(help.out.iter().any(|line| line.contains(example)));
    let server = serve("smol", &[example]);
    let (_handle, conversation) = open(&server, "leet");
    assert_eq!(ask(&conversation, "hello"), "h3110");
}

#[test]
fn a_process_knows_its_subject_and_its_pid_and_has_a_conversation_to_itself() {
    let tell = "*=exec:sh -c 'while read line; do echo \"$LIMINAL_SUBJECT $LIMINAL_PID $$\"; done'";
    let server = serve("smol", &[tell]);
    let handle = connect(&server);
    let [one, other] = ["one", "a=b *"].map(|subject| {
        let conversation = handle.open(subject).unwrap();
        let (told, pid) = (ask(&conversation, "x"), conversation.participant_pids().unwrap()[0]);
        let (told, id) = told.rsplit_once(' ').unwrap();
        assert_eq!(told, format!("{subject} {pid}"));
        (conversation, id.to_owned())
    });
    assert_ne!(one.1, other.1);
    let Err(OpenError::Refused(refusal)) = handle.open("nul \0") else { panic!("was opened") };
    assert_eq!(refusal.reason, ReasonCode::INVALID_NAME);
}

#[test]
fn a_payload_with_a_newline_is_refused_and_says_why() {
    let server = serve("smol", &["cat=exec:cat"]);
    let (_handle, conversation) = open(&server, "cat");
    let Err(AskError::Refused(refusal)) = conversation.ask("two\nlines", DEADLINE) else {
        panic!("was sent")
    };
    assert_eq!(refusal.reason, ReasonCode::INVALID_PAYLOAD);
    assert!(refusal.text.unwrap().contains("newline"));
    conversation.message("two\nlines, too").unwrap();
    assert_eq!(ask(&conversation, "one line"), "one line");
}

#[test]
fn a_late_line_is_discarded_and_lockstep_is_kept() {
    for transport in TRANSPORTS {
        let slow =
            "slow=exec:sh -c 'while read line; do case $line in nap*) sleep 0.5;; esac; echo $line; done'";
        let server = serve(transport, &[slow]);
        let (_handle, conversation) = open(&server, "slow");
        for _ in 0..2 {
            let napped = conversation.ask("nap", Duration::from_millis(50));
            assert_eq!(napped, Err(AskError::Timeout), "{transport}");
            assert_eq!(ask(&conversation, "next"), "next", "{transport}");
        }
        // What waited for the late line past its own deadline never reaches the process.
        let short = Duration::from_millis(50);
        assert_eq!(conversation.ask("nap", short), Err(AskError::Timeout));
        assert_eq!(conversation.ask("nap again", short), Err(AskError::Timeout));
        assert_eq!(ask(&conversation, "after all"), "after all", "{transport}");
    }
}

#[test]
fn long_lines_pass_and_longer_ones_break_the_rules() {
    let long = "long=exec:python3 -uc 'while True: print(\"x\" * int(input()))'";
    let server = serve("smol", &[long, "count=exec:sh -c 'while read line; do echo ${#line}; done'"]);
    let (_handle, conversation) = open(&server, "long");
    for len in [1 << 16, (1 << 20) - 100] {
        assert_eq!(conversation.ask(len.to_string(), DEADLINE).unwrap().len(), len);
    }
    let text = rules_broken(conversation.ask("1048577", DEADLINE));
    assert_eq!(text, "it wrote a line of more than 1048576 bytes");
    let (_handle, conversation) = open(&server, "count");
    let long = vec![b'x'; (1 << 20) - 100];
    assert_eq!(conversation.ask(long, DEADLINE).unwrap(), (1048576 - 100).to_string());
}

#[test]
fn output_that_nobody_asked_for_breaks_the_rules() {
    let server = serve(
        "smol",
        &["banner=exec:sh -c 'echo welcome; cat'", "two=exec:sh -c 'read x; echo 1; echo 2; cat'"],
    );
    let unasked = "it wrote a line that answers nothing";
    let (_handle, conversation) = open(&server, "banner");
    let crash = conversation.await_crash(DEADLINE).unwrap();
    assert_eq!(crash.reason, ExitReason::Violated { text: unasked.into() });
    let (_handle, conversation) = open(&server, "two");
    assert_eq!(ask(&conversation, "x"), "1");
    conversation.await_crash(DEADLINE).unwrap();
}

// Frames.

#[test]
fn the_example_answers_in_parts() {
    let python = Command::new("python3").arg("--version").output();
    assert!(python.is_ok_and(|python| python.status.success()), "this test needs python3");
    for transport in TRANSPORTS {
        let server = serve(transport, &[&format!("shout=exec-frames:python3 '{EXAMPLE}'")]);
        let (_handle, conversation) = open(&server, "shout");
        assert_eq!(ask(&conversation, "two\nlines and a half"), "TWO\nLINES AND A HALF", "{transport}");
        conversation.message("wants no answer").unwrap();
        conversation.request("one two", DEADLINE).unwrap();
        let parts = [(); 2].map(|()| conversation.receive_reply(DEADLINE).unwrap());
        assert_eq!(
            parts.map(|part| (part.payload, part.last)),
            [("ONE ".into(), false), ("TWO".into(), true)]
        );
        conversation.close().unwrap();
    }
}

#[test]
fn the_page_shows_the_example_as_it_is() {
    let page = include_str!("../../liminal-process/README.md");
    assert!(page.contains(include_str!("../../liminal-process/examples/shout.py")));
}

/// Runs with `write(kind, number, payload)` and `kind, number, payload = read()` for a program.
fn frames(subject: &str, program: &str) -> String {
    let begin = "import struct, sys\nH = struct.Struct(\">cQI\")\ndef write(k, n, p):\n sys.stdout.buffer.write(H.pack(k, n, len(p)) + p); sys.stdout.buffer.flush()\ndef read():\n k, n, l = H.unpack(sys.stdin.buffer.read(13)); return k, n, sys.stdin.buffer.read(l)\n";
    format!("{subject}=exec-frames:python3 -c '{begin}{program}'")
}

#[test]
fn an_answer_may_come_late_or_not_at_all_and_holds_up_nothing() {
    let late = "_, first, _ = read()\ncancel = read()\n_, second, _ = read()\nwrite(b\"a\", first, b\"late\")\nwrite(b\"a\", second, repr(cancel == (b\"c\", first, b\"\")).encode())\n_, third, _ = read()\nwrite(b\"n\", third, b\"no idea\")\nread()";
    for transport in TRANSPORTS {
        let server = serve(transport, &[&frames("late", late)]);
        let (_handle, conversation) = open(&server, "late");
        let asked = conversation.ask("first", Duration::from_millis(50));
        assert_eq!(asked, Err(AskError::Timeout), "{transport}");
        assert_eq!(ask(&conversation, "second"), "True", "it was told that nobody waits");
        let Err(AskError::Refused(refusal)) = conversation.ask("third", DEADLINE) else { panic!("a reply") };
        assert_eq!((refusal.reason, refusal.text.as_deref()), (ReasonCode::NO_REPLY, Some("no idea")));
    }
}

#[test]
fn one_that_says_more_than_its_asker_can_take_waits_for_it() {
    // Four times as much as the server keeps for a connection before it gives it up.
    let flood = "_, n, _ = read()\nfor _ in range(128): write(b\"p\", n, b\"x\" * 500000)\nwrite(b\"a\", n, b\"\")\nread()";
    for transport in TRANSPORTS {
        let server = serve(transport, &[&frames("flood", flood)]);
        // Nobody reads for this client while it does not wait for something itself.
        let (handle, _driver) = liminal_blocking::connect(server.address()).unwrap();
        let conversation = handle.open("flood").unwrap();
        conversation.request("x", DEADLINE).unwrap();
        thread::sleep(Duration::from_millis(500));
        let parts = (0..=128).map(|_| conversation.receive_reply(DEADLINE).unwrap().payload.len());
        assert_eq!(parts.sum::<usize>(), 128 * 500_000, "{transport}");
        assert!(!conversation.has_detected_crash());
    }
}

#[test]
fn one_that_never_stops_talking_holds_up_nobody_else() {
    let babble =
        "_, n, _ = read()\nmany = H.pack(b\"a\", n, 0) * 5000\nwhile True: sys.stdout.buffer.write(many)";
    let server = serve("smol", &[&frames("babble", babble), "cat=exec:cat"]);
    let handle = connect(&server);
    let (babble, cat) = (handle.open("babble").unwrap(), handle.open("cat").unwrap());
    assert_eq!(ask(&babble, "x"), "");
    for _ in 0..20 {
        assert_eq!(ask(&cat, "meanwhile"), "meanwhile");
    }
    drop((babble, cat));
    eventually("it is made to go", || children(&server).is_empty());
}

#[test]
fn frames_that_break_the_rules_are_named() {
    for (program, text) in [
        (
            "read(); sys.stdout.buffer.write(H.pack(b\"a\", 1, 1 << 31)); sys.stdout.flush(); read()",
            "a frame of 2147483648 bytes",
        ),
        ("read(); write(b\"a\", 99, b\"\"); read()", "it answered message 99"),
        ("read(); write(b\"x\", 1, b\"\"); read()", "a frame of type 0x78"),
    ] {
        let server = serve("smol", &[&frames("wrong", program)]);
        let (_handle, conversation) = open(&server, "wrong");
        let said = rules_broken(conversation.ask("x", DEADLINE));
        assert!(said.contains(text), "{said}");
    }
}

// Death.

#[test]
fn whoever_asks_is_told_how_a_process_ended() {
    for transport in TRANSPORTS {
        let server = serve(transport, &["die=exec:sh -c 'read line; eval $line; sleep 1000'"]);
        let handle = connect(&server);
        for (said, reason) in [
            ("exit 0", ExitReason::Normal),
            ("exit 3", ExitReason::Status { status: 3 }),
            ("kill -KILL $$", ExitReason::Signal { signal: 9 }),
            ("kill -SEGV $$", ExitReason::Signal { signal: 11 }),
        ] {
            let conversation = handle.open("die").unwrap();
            assert_eq!(exit_of(conversation.ask(said, DEADLINE)), reason, "{transport}");
        }
        eventually("nothing is left", || children(&server).is_empty());
    }
}

/// What a process says of its refusal is logged where nobody is told it, cut and in one line.
#[test]
fn hostile_last_words_are_cut_and_escaped_in_the_log() {
    let refuse = "import struct,sys; i=sys.stdin.buffer.read(13); t=b'\\x1b[2J\\r\\nWARN forged\\x00'*50000; \
        sys.stdout.buffer.write(struct.pack('>cQI',b'n',struct.unpack('>cQI',i)[1],len(t))+t); \
        sys.stdout.buffer.flush(); sys.stdin.buffer.read()";
    let undo = format!("undo=exec-frames:python3 -c \"{refuse}\"");
    let die = "die=exec:sh -c 'read line; kill -KILL $$'";
    for transport in TRANSPORTS {
        let server = serve_with(transport, &[die, &undo], &["--on-crash", "die=compensate:undo"]);
        let (_handle, conversation) = open(&server, "die");
        assert_eq!(exit_of(conversation.ask("x", DEADLINE)), ExitReason::Signal { signal: 9 });
        let line = server.logs("was not compensated");
        assert!(line.contains("WARN forged") && !line.contains(char::is_control), "{line:?}");
        // 1 KiB of it, each byte of which may take several to show.
        assert!(line.len() < 8 << 10, "{} bytes", line.len());
        drop(conversation);
        server.signal("-TERM");
        let ended = server.ended();
        assert_eq!(ended.log.iter().filter(|line| line.contains("forged")).count(), 0, "{ended:?}");
    }
}

#[test]
fn a_process_that_dies_between_two_requests_is_known_at_once() {
    for transport in TRANSPORTS {
        let server = serve(transport, &[TELL_ID]);
        let (_handle, conversation) = open(&server, "ids");
        let id = id(&conversation);
        assert!(!conversation.has_detected_crash());
        kill("-KILL", id);
        let crash = conversation.await_crash(DEADLINE).unwrap();
        assert_eq!(crash.reason, ExitReason::Signal { signal: 9 }, "{transport}");
        assert_eq!(exit_of(conversation.ask("x", DEADLINE)), crash.reason);
    }
}

#[test]
fn a_process_that_dies_at_once_is_an_exit_of_an_open_conversation() {
    for transport in TRANSPORTS {
        let server = serve(transport, &["gone=exec:sh -c 'exit 7'"]);
        for _ in 0..5 {
            let (_handle, conversation) = open(&server, "gone");
            assert_eq!(exit_of(conversation.ask("x", DEADLINE)), ExitReason::Status { status: 7 });
        }
    }
}

#[test]
fn what_a_process_wrote_before_it_died_arrives_before_its_exit() {
    for transport in TRANSPORTS {
        let server = serve(transport, &["last=exec:sh -c 'read line; echo \"$line\"; kill -KILL $$'"]);
        for _ in 0..20 {
            let (_handle, conversation) = open(&server, "last");
            assert_eq!(ask(&conversation, "last words"), "last words", "{transport}");
            assert_eq!(conversation.await_crash(DEADLINE).unwrap().reason, ExitReason::Signal { signal: 9 });
        }
        let server = serve(transport, &["half=exec:sh -c 'read line; printf half; exit 4'"]);
        let (_handle, conversation) = open(&server, "half");
        assert_eq!(exit_of(conversation.ask("x", DEADLINE)), ExitReason::Status { status: 4 });
    }
}

#[test]
fn a_grandchild_that_holds_the_pipes_does_not_hide_a_death() {
    // The grandchild has a group of its own, and both ends of the pipes.
    let hold = "hold=exec:python3 -uc 'import os, subprocess\nyes = subprocess.Popen([\"sleep\", \"1000\"], start_new_session=True)\nprint(input(), yes.pid)\ninput()'";
    for transport in TRANSPORTS {
        let server = serve(transport, &[TELL_ID, hold]);
        let (_handle, conversation) = open(&server, "hold");
        let grandchild: u32 = ask(&conversation, "x").rsplit_once(' ').unwrap().1.parse().unwrap();
        kill("-KILL", children(&server)[0]);
        let begun = Instant::now();
        let crash = conversation.await_crash(DEADLINE).unwrap();
        assert_eq!(crash.reason, ExitReason::Signal { signal: 9 }, "{transport}");
        assert!(begun.elapsed() < DEADLINE / 2);
        assert!(runs(grandchild), "it left the group, so it is its own master");
        kill("-KILL", grandchild);
    }
}

#[test]
fn a_process_that_closes_a_pipe_and_lives_has_exited() {
    let server = serve(
        "smol",
        &[
            "mute=exec:sh -c 'read line; exec >&-; sleep 1000'",
            "deaf=exec:sh -c 'read line; exec <&-; echo heard; sleep 1000'",
        ],
    );
    let (_handle, conversation) = open(&server, "mute");
    assert_eq!(rules_broken(conversation.ask("x", DEADLINE)), "it closed its stdout and went on");
    let (_handle, conversation) = open(&server, "deaf");
    assert_eq!(ask(&conversation, "x"), "heard");
    assert_eq!(rules_broken(conversation.ask("y", DEADLINE)), "it closed its stdin and went on");
    eventually("nothing is left", || children(&server).is_empty());
}

#[test]
fn one_that_does_not_read_holds_up_nobody_else() {
    for transport in TRANSPORTS {
        let server = serve(transport, &["deaf=exec:sleep 1000", "cat=exec:cat"]);
        let handle = connect(&server);
        let (deaf, cat) = (handle.open("deaf").unwrap(), handle.open("cat").unwrap());
        deaf.request(vec![b'x'; 900_000], Duration::from_millis(300)).unwrap();
        assert_eq!(ask(&cat, "meanwhile"), "meanwhile", "{transport}");
        assert!(deaf.receive_reply(DEADLINE).is_err());
        let asked = deaf.ask(vec![b'y'; 900_000], Duration::from_millis(100));
        assert_eq!(asked, Err(AskError::Timeout), "{transport}");
        assert_eq!(ask(&cat, "afterwards"), "afterwards");
    }
}

// The end of a conversation.

#[test]
fn a_process_ends_with_its_conversation_however_that_ends() {
    for transport in TRANSPORTS {
        let server = serve(transport, &[TELL_ID]);
        let descriptors = descriptors(&server);
        let (handle, closed) = open(&server, "ids");
        let ids = [id(&closed)];
        closed.close().unwrap();
        eventually("it ended with the close", || ids.iter().all(|id| !runs(*id)));

        let dropped = handle.open("ids").unwrap();
        let dropped_id = id(&dropped);
        drop(dropped);
        eventually("it ended with the drop", || !runs(dropped_id));

        let lost = handle.open("ids").unwrap();
        let lost_id = id(&lost);
        drop((lost, handle));
        eventually("it ended with the connection", || !runs(lost_id));
        eventually("no zombie is left", || children(&server).is_empty());
        eventually("no descriptor is left", || self::descriptors(&server) <= descriptors + 4);
    }
}

/// How many descriptors the server has open, where that is to be seen.
fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.id())).map_or(0, Iterator::count)
}

#[test]
fn a_hundred_conversations_leave_nothing_behind() {
    let server = serve("smol", &["cat=exec:cat"]);
    let handle = connect(&server);
    let round = || {
        let all: Vec<_> = (0..50).map(|_| handle.open("cat").unwrap()).collect();
        all.iter().for_each(|conversation| assert_eq!(ask(conversation, "x"), "x"));
        drop(all);
        eventually("no process is left", || children(&server).is_empty());
    };
    round();
    let before = descriptors(&server);
    round();
    eventually("no descriptor is left", || descriptors(&server) <= before);
}

#[test]
fn one_that_ignores_the_end_of_its_input_is_asked_and_then_made_to_go() {
    // It tells on stderr, which is the server's, when it is asked.
    let stubborn =
        "stubborn=exec:sh -c 'trap \"echo asked >&2\" TERM; read line; echo $$; while :; do sleep 0.1; done'";
    let server = serve("smol", &[stubborn]);
    let (handle, conversation) = open(&server, "stubborn");
    let id = id(&conversation);
    drop((conversation, handle));
    server.logs("asked");
    assert!(runs(id), "it is not made to go before it had time");
    eventually("it is killed", || !runs(id));
    eventually("no zombie is left", || children(&server).is_empty());
}

#[test]
fn the_group_of_a_process_ends_with_it() {
    // The grandchild is not waited for, ignores being asked, and stays in the group.
    let parent = "parent=exec:sh -c 'sh -c \"trap : TERM; while :; do sleep 0.1; done\" & while read line; do echo $!; done'";
    for transport in TRANSPORTS {
        let server = serve(transport, &[parent]);
        for killed in [false, true] {
            let (_handle, conversation) = open(&server, "parent");
            let grandchild = id(&conversation);
            assert!(runs(grandchild));
            if killed {
                kill("-KILL", children(&server)[0]);
                assert_eq!(
                    conversation.await_crash(DEADLINE).unwrap().reason,
                    ExitReason::Signal { signal: 9 }
                );
            } else {
                conversation.close().unwrap();
            }
            eventually("the grandchild is gone", || !runs(grandchild));
            eventually("the process is gone", || children(&server).is_empty());
        }
    }
}

// The server.

#[test]
fn a_server_that_stops_leaves_no_process_behind_and_keeps_its_time() {
    let stubborn = "stubborn=exec:sh -c 'trap : TERM; read line; echo $$; while :; do sleep 0.1; done'";
    for transport in TRANSPORTS {
        for (stop_time, at_most) in [("300ms", 5), ("8s", 8)] {
            let server = serve_with(transport, &[stubborn, TELL_ID], &["--stop-time", stop_time]);
            let (_handle, one) = open(&server, "stubborn");
            let (_handle, other) = open(&server, "ids");
            let ids = [id(&one), id(&other)];
            let begun = Instant::now();
            server.signal("-TERM");
            assert_eq!(server.ended().code, Some(0), "{transport}");
            assert!(begun.elapsed() < Duration::from_secs(at_most), "{transport}: {:?}", begun.elapsed());
            assert!(ids.iter().all(|id| !runs(*id)), "{transport}");
        }
    }
}

#[test]
fn a_second_signal_takes_the_processes_along() {
    let stubborn = "stubborn=exec:sh -c 'trap : TERM; read line; echo $$; while :; do sleep 0.1; done'";
    let server = serve_with("smol", &[stubborn], &["--stop-time", "1h"]);
    let (_handle, conversation) = open(&server, "stubborn");
    let id = id(&conversation);
    let mut peer = server.peer();
    peer.shake_hands();
    server.signal("-TERM");
    assert!(peer.hear().is_some(), "it is stopping");
    server.signal("-TERM");
    assert_eq!(server.ended().code, Some(130));
    assert!(!runs(id));
}

#[test]
fn a_server_that_is_killed_leaves_its_processes_with_a_closed_stdin() {
    let server = serve("smol", &[TELL_ID]);
    let (_handle, conversation) = open(&server, "ids");
    let id = id(&conversation);
    server.signal("-KILL");
    eventually("it ended by itself", || !runs(id));
}

#[test]
fn beyond_the_bound_an_open_is_busy_and_a_seat_is_free_when_a_process_is_gone() {
    for transport in TRANSPORTS {
        let server = serve_with(transport, &["cat=exec:cat"], &["--processes-max", "2"]);
        let handle = connect(&server);
        let (one, other) = (handle.open("cat").unwrap(), handle.open("cat").unwrap());
        let Err(OpenError::Refused(refusal)) = handle.open("cat") else { panic!("was opened") };
        assert_eq!(refusal.reason, ReasonCode::BUSY);
        assert_eq!(ask(&other, "still here"), "still here");
        drop(one);
        eventually("its seat is free", || handle.open("cat").is_ok());
    }
}

#[test]
fn a_program_that_is_gone_refuses_the_conversation() {
    let path = kit::socket_path("program");
    std::fs::write(&path, "#!/bin/sh\ncat\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = serve("smol", &[&format!("cat=exec:{}", path.display())]);
    let (handle, conversation) = open(&server, "cat");
    assert_eq!(ask(&conversation, "x"), "x");
    std::fs::remove_file(&path).unwrap();
    let Err(OpenError::Refused(refusal)) = handle.open("cat") else { panic!("was opened") };
    assert_eq!(refusal.reason, ReasonCode::NO_PARTICIPANT);
    assert!(refusal.text.unwrap().starts_with("its program cannot be started: No such file"));
    server.logs("cannot start");
}
