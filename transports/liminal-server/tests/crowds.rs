//! More connections than there is room for: by the limits that were set, by the descriptors that there are, and
//! by strangers who say nothing. Those who are connected do not notice.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kit::{DEADLINE, Peer, Server, TRANSPORTS, run};
use liminal_blocking::{Conversation, Handle};
use liminal_driver::error::{AskError, ConnectError};
use liminal_proto::{CloseReason, ReasonCode};

fn client(address: &str) -> Result<(Handle, Conversation), ConnectError> {
    let handle = liminal_blocking::connect_and_spawn(address)?;
    let conversation = handle.open("x").expect("an echo serves it");
    Ok((handle, conversation))
}

fn asks(conversation: &Conversation) {
    assert_eq!(conversation.ask("still there?", DEADLINE).unwrap(), "still there?");
}

/// Tries again until there is room; until then each client is told that there is none.
fn eventually_connects(address: &str) -> (Handle, Conversation) {
    let until = Instant::now() + DEADLINE;
    loop {
        match client(address) {
            Ok(client) => return client,
            Err(ConnectError::Handshake { reason: CloseReason::Refused { reason, .. }, .. }) => {
                assert_eq!(reason, ReasonCode::LIMIT);
                assert!(Instant::now() < until, "there is never room again");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_client_too_many_is_told_so_in_one_line() {
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &["--connections-max", "2"]);
        let (first, second) = (client(server.address()).unwrap(), client(server.address()).unwrap());
        let error = client(server.address()).map(drop).unwrap_err().to_string();
        assert!(error.contains("limit reached") && error.contains("no more than 2 connections"), "{error}");
        assert!(server.logs("WARN").contains("no more than 2 connections"));
        drop(second);
        let (_third, conversation) = eventually_connects(server.address());
        asks(&conversation);
        asks(&first.1);
    }
}

#[test]
fn a_server_that_would_take_nobody_does_not_start() {
    for option in ["--connections-max", "--connections-per-address-max"] {
        let ended = run(&[option, "0"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.log.iter().any(|line| line.contains(option)), "{ended:?}");
    }
}

#[test]
fn the_time_for_a_handshake_is_an_option() {
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &["--handshake-time", "50ms"]);
        assert_eq!(server.peer().refusal(), ReasonCode::TOO_SLOW, "{transport}");
    }
}

/// How many descriptors a server has open.
#[cfg(target_os = "linux")]
fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count()
}

/// How long a server has run on processors, in hundredths of a second.
#[cfg(target_os = "linux")]
fn ran(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Who is turned away and keeps its socket, keeps nothing of the server.
#[cfg(target_os = "linux")]
#[test]
fn those_who_are_turned_away_hold_nothing_of_the_server() {
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &["--connections-max", "1"]);
        let (_only, conversation) = client(server.address()).unwrap();
        asks(&conversation);
        let before = descriptors(&server);
        // In a flood some are closed without a word; none is waited for.
        let kept: Vec<_> = (0..300).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
        let until = Instant::now() + DEADLINE;
        for mut socket in &kept {
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut told = Vec::new();
            // Closed without a word it may also be reset.
            let _ = socket.read_to_end(&mut told);
            assert!(told.is_empty() || told[0] == 3, "{transport}: {told:?}");
        }
        while descriptors(&server) > before {
            assert!(Instant::now() < until, "{transport}: {} > {before}", descriptors(&server));
            std::thread::sleep(Duration::from_millis(10));
        }
        asks(&conversation);
    }
}

/// With no descriptor left the server pauses accepting, and neither spins nor harms those it has; when some
/// are free again it goes on.
#[cfg(target_os = "linux")]
#[test]
fn a_server_without_descriptors_waits_for_some() {
    for transport in TRANSPORTS {
        let server = Server::with_descriptors(64, transport);
        let (_first, conversation) = client(server.address()).unwrap();
        // They stay in the backlog of the listener when no more are accepted.
        let crowd: Vec<_> = (0..100).map(|_| Peer::connect(server.address())).collect();
        assert!(server.logs("cannot accept").contains("os error 24"));
        let (began, used) = (Instant::now(), ran(&server));
        while began.elapsed() < Duration::from_secs(1) {
            asks(&conversation);
            std::thread::sleep(Duration::from_millis(20));
        }
        let used = u128::from(ran(&server) - used) * 10;
        assert!(used < began.elapsed().as_millis() / 4, "{transport}: {used} ms of processor time");
        drop(crowd);
        let (_second, another) = eventually_connects(server.address());
        asks(&another);
        asks(&conversation);
        server.signal("-TERM");
        assert_eq!(server.ended().code, Some(0), "{transport}");
    }
}

/// A thousand strangers who connect and say nothing: whoever comes after them is served, and so is whoever
/// was there before. Nobody waits for the time that strangers have.
#[test]
fn a_thousand_who_say_nothing_make_room_for_one_who_speaks() {
    let serve_one_who_speaks = |transport| {
        let server = Server::on_tcp(transport, &["--connections-max", "5000", "--handshake-time", "10m"]);
        let (_first, conversation) = client(server.address()).unwrap();
        let strangers: Vec<_> = (0..1000).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
        asks(&conversation);
        let (_second, another) = eventually_connects(server.address());
        asks(&another);
        asks(&conversation);
        assert!(server.logs("WARN").contains("too many connections shake hands"));
        drop(strangers);
    };
    // Beside each other, because connecting may take seconds: where the system allows no backlog as long as
    // the crowd, who finds it full tries again each second.
    std::thread::scope(|scope| {
        for transport in TRANSPORTS {
            scope.spawn(move || serve_one_who_speaks(transport));
        }
    });
}

/// A server that is killed: whoever waits learns at once, and whoever asks afterwards, too.
#[test]
fn a_server_that_is_killed_is_known_to_be_gone_at_once() {
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &["--participant", "x=none"]);
        let (handle, conversation) = client(server.address()).unwrap();
        let waiting = std::thread::spawn(move || {
            let lost = handle.closed();
            (handle, lost)
        });
        server.signal("-KILL");
        let (handle, lost) = waiting.join().unwrap();
        assert!(matches!(lost.0, CloseReason::PeerEof | CloseReason::Link(_)), "{transport}: {lost}");
        assert!(matches!(conversation.ask("anybody?", DEADLINE), Err(AskError::Lost(_))), "{transport}");
        assert!(handle.open("x").is_err());
    }
}
