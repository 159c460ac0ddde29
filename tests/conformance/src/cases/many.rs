//! Much at once: in number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use liminal_driver::error::{Exited, ReceiveError};

use crate::WAIT;
use crate::puppet::{Host, say};
use crate::stage::{Setup, Stage};
use crate::transport::Transport;

/// A thousand requests from eight threads on one handle: each has its own reply.
pub fn eight_threads_ask_on_one_conversation(transport: &dyn Transport) {
    for &setup in Setup::all(transport) {
        for driven in [true, false] {
            let world = Stage::default().serve(transport, setup);
            let handle = world.client(driven);
            for host in Host::ALL {
                let conversation = handle.open(host.subject()).unwrap();
                thread::scope(|scope| {
                    for asker in 0..8 {
                        let conversation = Arc::clone(&conversation);
                        scope.spawn(move || {
                            for number in 0..125 {
                                let said = format!("{asker}: {number}");
                                let reply = conversation.ask(said.clone().into(), WAIT);
                                assert_eq!(reply.unwrap(), said, "{host:?} {setup:?}");
                            }
                        });
                    }
                });
            }
        }
    }
}

/// The same with a conversation for each thread.
pub fn eight_threads_ask_on_their_own_conversations(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    let handle = world.connect();
    thread::scope(|scope| {
        for asker in 0..8 {
            let handle = &handle;
            scope.spawn(move || {
                for host in Host::ALL {
                    let conversation = handle.open(host.subject()).unwrap();
                    for number in 0..100 {
                        let said = format!("{asker}: {number}");
                        assert_eq!(conversation.ask(said.clone().into(), WAIT).unwrap(), said);
                    }
                    conversation.close().unwrap();
                }
            });
        }
    });
}

/// A thousand requests are outstanding at once.
pub fn a_thousand_requests_are_outstanding(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V1] {
        let world = Stage::default().serve(transport, setup);
        for host in Host::ALL {
            let (_handle, conversation) = world.open(host.subject());
            let requests: Vec<_> = (0..1000)
                .map(|number: u32| conversation.request(number.to_string().into(), WAIT).unwrap())
                .collect();
            for (number, request) in requests.into_iter().enumerate() {
                let reply = conversation.receive_reply(WAIT).unwrap();
                assert_eq!((reply.answers, &reply.payload[..]), (request, number.to_string().as_bytes()));
            }
        }
    }
}

/// 64 connections are open at once, and all are served.
pub fn sixty_four_connections_are_served(transport: &dyn Transport) {
    for setup in [Setup::V2, Setup::V1] {
        let world = Stage::default().serve(transport, setup);
        let clients: Vec<_> = (0..64)
            .map(|number| {
                let handle = world.connect();
                let conversation = handle.open(Host::ALL[number % 3].subject()).unwrap();
                (handle, conversation)
            })
            .collect();
        for (number, (_, conversation)) in clients.iter().enumerate() {
            conversation.request(number.to_string().into(), WAIT).unwrap();
        }
        for (number, (_, conversation)) in clients.iter().enumerate() {
            assert_eq!(conversation.receive_reply(WAIT).unwrap().payload, number.to_string());
        }
    }
}

/// Connections come and go; each that comes is served, and each participant is told when it goes.
pub fn connections_come_and_go(transport: &dyn Transport) {
    let world = Stage::default().serve(transport, Setup::V2);
    for number in 0..60usize {
        let host = Host::ALL[number % 3];
        let (handle, conversation) = world.open(host.subject());
        assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
        drop(handle);
        drop(conversation);
        world.await_left();
    }
    world.finish();
}

/// Somebody waits for something that does not come while others ask: nobody waits for them.
pub fn those_who_wait_long_delay_nobody(transport: &dyn Transport) {
    for driven in [true, false] {
        let world = Stage::default().serve(transport, Setup::V2);
        let handle = world.client(driven);
        let quiet = handle.open("async").unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let closed = scope.spawn(|| handle.closed());
            let crash = scope.spawn(|| quiet.await_crash(WAIT));
            let reply = scope.spawn(|| quiet.receive_reply(WAIT));
            let askers = [(); 4].map(|()| {
                let conversation = handle.open("inline").unwrap();
                let over = &over;
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(conversation.ask("hello".into(), WAIT).unwrap(), "hello");
                    }
                })
            });
            let conversation = handle.open("blocking").unwrap();
            for _ in 0..10 {
                assert_eq!(conversation.ask(say::NAP.into(), WAIT).unwrap(), say::NAP);
            }
            over.store(true, Ordering::Relaxed);
            // Or the last of their questions may meet the end of the connection.
            askers.into_iter().for_each(|asker| asker.join().unwrap());
            quiet.message(say::PANIC.into()).unwrap();
            let crash = crash.join().unwrap().unwrap();
            let reply = reply.join().unwrap();
            assert_eq!(reply, Err(ReceiveError::Exited(Exited::Crash(crash))));
            handle.disconnect();
            closed.join().unwrap();
        });
    }
}
