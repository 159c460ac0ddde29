//! The server from its start to its stop, as whoever starts it sees it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::time::Duration;

use kit::{DEADLINE, Server, TRANSPORTS, run, socket_path};
use liminal_driver::error::{AskError, AwaitCrashError, MonitorError, OpenError};
use liminal_proto::ReasonCode;
use liminal_proto::wire::Body;

fn ask(address: &str, subject: &str) -> Result<Vec<u8>, String> {
    let (handle, _driver) = liminal_blocking::connect(address).map_err(|error| error.to_string())?;
    let conversation = handle.open(subject).map_err(|error| error.to_string())?;
    let reply = conversation.ask("hello", DEADLINE).map_err(|error| error.to_string())?;
    Ok(reply.to_vec())
}

#[test]
fn one_line_says_where_it_listens_and_an_echo_serves_every_subject() {
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &[]);
        let port: u16 = server
            .line
            .strip_prefix("liminal-server listening on 127.0.0.1:")
            .and_then(|rest| rest.strip_suffix(&format!(" ({transport})")))
            .unwrap()
            .parse()
            .unwrap();
        assert_ne!(port, 0);
        assert_eq!(ask(server.address(), "whatever").unwrap(), b"hello");
        assert_eq!(ask(server.address(), "").unwrap(), b"hello");
        server.signal("-TERM");
        let ended = server.ended();
        assert_eq!((ended.code, ended.out), (Some(0), vec![]), "{transport}");
    }
}

#[test]
fn names_and_ipv6_are_addresses_too() {
    for (listen, host) in [("localhost:0", None), ("[::1]:0", Some("[::1]"))] {
        let server = Server::start(&["--listen", listen]);
        assert!(server.address().starts_with(host.unwrap_or_default()));
        assert_eq!(ask(server.address(), "x").unwrap(), b"hello");
    }
}

#[test]
fn who_may_look_on_is_said_when_it_is_started() {
    for transport in TRANSPORTS {
        for (arguments, may) in [
            (&[][..], true),
            (&["--monitoring", "local"], true),
            (&["--monitoring", "everybody"], true),
            (&["--monitoring", "nobody"], false),
        ] {
            let server = Server::on_tcp(transport, arguments);
            let (handle, _driver) = liminal_blocking::connect(server.address()).unwrap();
            match handle.watch("x") {
                Ok(_) => assert!(may, "{arguments:?}"),
                Err(MonitorError::Refused(refusal)) => {
                    assert_eq!((refusal.reason, may), (ReasonCode::NOT_ALLOWED, false), "{arguments:?}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    let wrong = run(&["--monitoring", "some"]);
    assert_eq!((wrong.code, wrong.log.len()), (Some(1), 1), "{wrong:?}");
    assert!(wrong.log[0].contains("nobody, local, everybody"), "{wrong:?}");
}

#[cfg(unix)]
#[test]
fn how_long_a_reply_and_a_silence_may_take_is_said_when_it_is_started() {
    for transport in TRANSPORTS {
        let server =
            Server::on_tcp(transport, &["--participant", "a=exec:sleep 600", "--reply-time", "50ms"]);
        let (handle, _driver) = liminal_blocking::connect(server.address()).unwrap();
        assert_eq!(handle.open("a").unwrap().ask("hello", 2 * DEADLINE), Err(AskError::Timeout));

        let server = Server::on_tcp(transport, &["--idle-time-max", "50ms"]);
        let (handle, _driver) = liminal_blocking::connect(server.address()).unwrap();
        let silent = handle.open("a").unwrap();
        assert_eq!(silent.await_crash(2 * DEADLINE), Err(AwaitCrashError::Closed));
    }
    let wrong = run(&["--reply-time", "5"]);
    assert_eq!((wrong.code, wrong.log.len()), (Some(1), 1), "{wrong:?}");
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_an_address_and_goes_with_the_server() {
    for transport in TRANSPORTS {
        let path = socket_path(transport);
        let address = format!("unix:{}", path.display());
        let server = Server::start(&["--listen", &address, "--transport", transport]);
        assert_eq!(server.line, format!("liminal-server listening on {address} ({transport})"));
        assert_eq!(ask(&address, "x").unwrap(), b"hello");

        let second = run(&["--listen", &address]);
        assert_eq!((second.code, second.log.len()), (Some(2), 1), "{second:?}");
        assert!(second.log[0].contains("in use"), "{second:?}");

        server.signal("-INT");
        assert_eq!(server.ended().code, Some(0), "{transport}");
        assert!(!path.exists());
    }
}

#[test]
fn participants_replace_the_default_and_an_exact_subject_wins() {
    let offers = ["--participant", "loud=echo", "--participant", "quiet=none"];
    let server = Server::on_tcp("smol", &offers);
    assert_eq!(ask(server.address(), "loud").unwrap(), b"hello");
    let (handle, _driver) = liminal_blocking::connect(server.address()).unwrap();
    let Err(OpenError::Refused(refusal)) = handle.open("other") else { panic!("was opened") };
    assert_eq!(refusal.reason, ReasonCode::NO_PARTICIPANT);
    let quiet = handle.open("quiet").unwrap();
    quiet.message("recorded").unwrap();
    assert!(matches!(quiet.ask("anybody?", DEADLINE), Err(AskError::Refused(_))));

    let server = Server::on_tcp("smol", &["--participant", "*=none", "--participant", "a=b=echo"]);
    assert_eq!(ask(server.address(), "a=b").unwrap(), b"hello");
    assert!(ask(server.address(), "other").is_err());
}

#[test]
fn several_participants_may_serve_one_subject_under_any_policy() {
    let offers = ["--participant", "a=echo", "--participant", "a=echo", "--participant", "*=echo"];
    let policies = ["--on-crash", "a=route", "--on-crash", "*=compensate:undo", "--on-crash", "b=fail"];
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &[&offers[..], &policies[..]].concat());
        for subject in ["a", "a", "a", "b", "undo"] {
            assert_eq!(ask(server.address(), subject).unwrap(), b"hello");
        }
    }
}

#[test]
fn a_signal_tells_connected_clients_to_go_and_waits_for_them() {
    for transport in TRANSPORTS {
        for signal in ["-TERM", "-INT"] {
            let server = Server::on_tcp(transport, &[]);
            let (handle, driver) = liminal_blocking::connect(server.address()).unwrap();
            let driver = std::thread::spawn(move || driver.run());
            let mut peer = server.peer();
            peer.shake_hands();
            server.signal(signal);
            assert_eq!(peer.hear().map(|frame| frame.body), Some(Body::Disconnect));
            peer.say(0, 0, Body::Disconnect);
            assert_eq!(peer.hear(), None);
            driver.join().unwrap();
            assert!(handle.open("x").is_err());
            let ended = server.ended();
            assert_eq!((ended.code, ended.out), (Some(0), vec![]), "{transport} {signal}");
        }
    }
}

#[test]
fn a_client_that_does_not_go_is_left_behind_in_time() {
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &["--stop-time", "100ms"]);
        let mut peer = server.peer();
        peer.shake_hands();
        server.signal("-TERM");
        assert_eq!(server.ended().code, Some(0), "{transport}");
        assert_eq!(peer.hear().map(|frame| frame.body), Some(Body::Disconnect));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::on_tcp("smol", &["--stop-time", "1h"]);
    let mut peer = server.peer();
    peer.shake_hands();
    server.signal("-TERM");
    assert_eq!(peer.hear().map(|frame| frame.body), Some(Body::Disconnect));
    server.signal("-TERM");
    assert_eq!(server.ended().code, Some(130));
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_its_own_exit_code() {
    let taken = Server::on_tcp("smol", &[]);
    let file = socket_path("file");
    std::fs::write(&file, "precious").unwrap();
    let file = format!("unix:{}", file.display());
    let long = format!("unix:/tmp/{}", "x".repeat(200));
    let name = format!("{}=echo", "x".repeat(300));
    let policy = format!("a=compensate:{}", "x".repeat(300));
    let cases: [(&[&str], i32, &str); 33] = [
        (&["--listen", taken.address()], 2, "choose another address"),
        (&["--listen", "192.0.2.1:1"], 2, "this machine has no such address"),
        (&["--listen", "no.such.host.invalid:1"], 2, "--listen"),
        (&["--listen", "unix:/no/such/directory/socket"], 2, "the directory does not exist"),
        (&["--listen", &long], 2, "--listen"),
        (&["--listen", &file], 2, "no socket"),
        (&["--listen", "127.0.0.1:http"], 1, "\"http\" is no port"),
        (&["--listen", "127.0.0.1:65536"], 1, "\"65536\" is no port"),
        (&["--listen", ""], 1, "the host is missing"),
        (&["--listen", "unix:"], 1, "the path is missing"),
        (&["--transport", "pigeon"], 1, "blocking, smol, async-std"),
        (&["--participant", "echo"], 1, "SUBJECT=KIND"),
        (&["--participant", "a=parrot"], 1, "there is no kind \"parrot\"; choose echo"),
        (&["--participant", "a=echo", "--participant", "a=none", "--listen", "127.0.0.1:0"], 1, "to itself"),
        (&["--on-crash", "a"], 1, "SUBJECT=POLICY"),
        (&["--on-crash", "a=retry"], 1, "there is no policy \"retry\"; choose fail, route"),
        (&["--on-crash", "a=compensate:"], 1, "compensate:SUBJECT"),
        (&["--on-crash", "a=route", "--on-crash", "a=fail"], 1, "twice"),
        (&["--participant", "a=echo", "--on-crash", "b=route"], 1, "add --participant 'b=KIND'"),
        (&["--participant", "a=echo", "--on-crash", "*=route"], 1, "add --participant '*=KIND'"),
        (&["--participant", "a=none", "--on-crash", "a=route"], 1, "no participant serves it"),
        (&["--participant", "a=echo", "--on-crash", "a=compensate:b"], 1, "add --participant 'b=KIND'"),
        (&["--on-crash", &policy, "--listen", "127.0.0.1:0"], 1, "--on-crash: a subject of 300 bytes"),
        (&["--participant", &name, "--listen", "127.0.0.1:0"], 1, "above the limit of 256"),
        (&["--participant", "a=exec:"], 1, "the command is missing"),
        (&["--participant", "a=exec:sh -c 'open"], 1, "is not closed"),
        (&["--participant", "a=exec:no-such-program x"], 3, "no program \"no-such-program\" in PATH"),
        (&["--participant", "a=exec-frames:/no/such/program"], 3, "cannot be executed: No such file"),
        (&["--participant", "a=exec:/etc/passwd"], 3, "cannot be executed: Permission denied"),
        (&["--processes-max", "many"], 1, "--processes-max"),
        (&["--stop-time", "5"], 1, "5s"),
        (&["--lisen", "x"], 1, "--listen"),
        (&["two\nlines"], 1, "--help"),
    ];
    for (arguments, code, hint) in cases {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert_eq!((ended.log.len(), ended.out.len()), (1, 0), "{arguments:?}: {ended:?}");
        assert!(ended.log[0].starts_with("liminal-server: "), "{ended:?}");
        assert!(ended.log[0].contains(hint), "{arguments:?}: {ended:?}");
    }
    std::fs::remove_file(file.trim_start_matches("unix:")).unwrap();
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.log.len()), (Some(0), 0));
    for part in ["Examples:", "Exit codes:", "--participant", "--on-crash", "liminal-server listening on"] {
        assert!(help.out.iter().any(|line| line.contains(part)), "{part}");
    }
    let version = run(&["--version"]);
    assert_eq!(version.out, [concat!("liminal-server ", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn the_log_says_as_much_as_is_wanted() {
    let server = Server::on_tcp("smol", &["--log", "debug"]);
    server.peer().shake_hands();
    server.logs("connected");

    let server = Server::on_tcp("smol", &["--log", "off"]);
    let mut peer = server.peer();
    peer.send(b"GET / HTTP/1.1\r\n\r\n");
    peer.refusal();
    server.signal("-TERM");
    assert_eq!(server.ended().log, [""; 0]);
}

#[test]
fn an_ask_that_is_under_way_when_the_signal_comes_is_answered_or_refused() {
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &[]);
        let (handle, _driver) = liminal_blocking::connect(server.address()).unwrap();
        let conversation = handle.open("x").unwrap();
        server.signal("-TERM");
        let until = std::time::Instant::now() + DEADLINE;
        while conversation.ask("hello", Duration::from_secs(1)).is_ok() {
            assert!(std::time::Instant::now() < until);
        }
        assert_eq!(server.ended().code, Some(0), "{transport}");
    }
}
