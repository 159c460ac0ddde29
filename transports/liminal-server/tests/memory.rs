//! What all connections of a server hold together, as the operating system sees it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use kit::{DEADLINE, Server, TRANSPORTS, connect_frame, frame, run};
use liminal_proto::wire::{Body, CausalContext, Envelope, SchemaId, Version};
use liminal_proto::{ConversationId, MessageId};

#[test]
fn a_size_of_memory_that_is_none_or_too_small_is_told() {
    for (size, said) in [("much", "512MiB"), ("1MiB", "16MiB at least"), ("-1", "--memory-max")] {
        let ended = run(&[&format!("--memory-max={size}")]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.log.concat().contains(said), "{ended:?}");
    }
}

/// Resident memory of a server, in bytes.
fn resident(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Clients that ask for more than they ever read, in both versions: together they would hold several times
/// what there is.
#[test]
fn a_crowd_that_reads_nothing_costs_a_bounded_amount_and_a_small_client_is_served() {
    const GREEDY: usize = 64;
    const MAX: usize = 32 << 20;
    for transport in TRANSPORTS {
        let server = Server::on_tcp(transport, &["--memory-max", "32MiB"]);
        let handle = liminal_blocking::connect_and_spawn(server.address()).unwrap();
        let conversation = handle.open("x").unwrap();
        let before = resident(&server);
        let greedy: Vec<_> = std::thread::scope(|scope| {
            let address = server.address();
            let ask = |n: usize| scope.spawn(move || ask_for_much(address, n.is_multiple_of(2)));
            let asking: Vec<_> = (0..GREEDY).map(ask).collect();
            asking.into_iter().map(|asking| asking.join().unwrap()).collect()
        });
        assert!(server.logs("memory is short").contains("of 33554432 bytes"), "{transport}");
        assert_eq!(conversation.ask("still there?", DEADLINE).unwrap(), "still there?");
        let used = resident(&server).saturating_sub(before);
        // What of each is not charged: up to 64 KiB, a read under way, and the thread that it may have, with
        // its stack, its scratch memory and what the allocator keeps for it. Unbounded they hold 140 MiB.
        let bound = MAX + GREEDY * (512 << 10);
        assert!(used < bound, "{transport}: {used} > {bound}");
        drop(greedy);
        assert_eq!(conversation.ask("and now?", DEADLINE).unwrap(), "and now?");
    }
}

/// Sends 200 requests of 100 KB, as far as the server takes them, and reads nothing.
fn ask_for_much(address: &str, in_v2: bool) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&if in_v2 { connect_in_v2() } else { connect_frame() }).unwrap();
    // ConnectAck.
    stream.read_exact(&mut [0; 18]).unwrap();
    let conversation_id = ConversationId::new(1);
    let open = Body::ConversationOpen { conversation_id, subject: "x".to_owned() };
    stream.write_all(&frame(1, 0, open)).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    for number in 1..=200 {
        let payload = Bytes::from(vec![7; 100_000]);
        let body = if in_v2 {
            let (message_id, answers, timeout_ms) = (MessageId::new(number), None, None);
            Body::Message { message_id, answers, timeout_ms, redelivered: None, metadata: None, payload }
        } else {
            let causal_context = CausalContext { parent_id: None, vector_clock_entry: None };
            let envelope = Envelope { schema_id: SchemaId([0; 32]), causal_context, payload };
            Body::ConversationMessage { conversation_id, envelope }
        };
        if stream.write_all(&frame(1, 1, body)).is_err() {
            break;
        }
    }
    stream
}

fn connect_in_v2() -> Vec<u8> {
    let (min_version, max_version) = (Version::V1_0, Version::V2_0);
    let connect = frame(0, 0, Body::Connect { min_version, max_version, auth_token: Bytes::new() });
    let windows = Body::Windows { payload_max: 1 << 20, conversation: 1 << 20, connection: 1 << 20 };
    [connect, frame(0, 0, windows)].concat()
}
