//! Both sides of a connection written down: the promises hold for what handles do, whatever becomes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

use std::thread;
use std::time::Duration;

use futures_lite::future;
use liminal_blocking::{Config, Context, Received, Recorder, ServerOptions};
use liminal_core::Transcript;
use liminal_core::transcript::Noted;
use liminal_driver::asynchronous::{Driver, Handle, Server};
use liminal_driver::server::Kind;
use liminal_proto::Event;
use liminal_proto::wire::Dialect;
use liminal_sim::{Network, check_promises, draw_diagram};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);

/// Answers at once, after the time of anybody who asks it to think, or never again.
fn moody(context: &mut Context<'_>, message: Received) {
    match &message.payload[..] {
        b"think" => context.wake_after(LONG),
        b"go" => context.exit(liminal_proto::ExitReason::Normal),
        _ => context.reply(message.payload),
    }
}

fn kind() -> Kind {
    Kind::Inline(std::sync::Arc::new(|| moody))
}

fn options(recorder: &Recorder) -> ServerOptions {
    ServerOptions { recorder: Some(recorder.clone()), ..ServerOptions::default() }
}

fn config(dialect: Dialect) -> Config {
    Config { max_dialect: dialect, ..Config::default() }
}

#[track_caller]
fn judge(transcript: &Transcript) {
    if let Some(broken) = check_promises(transcript, Network::Faithful) {
        panic!("{broken}\n{}", draw_diagram(transcript, Some(broken.entry)));
    }
    let said = |what: &Noted| matches!(what, Noted::Said { event: Event::Message(_), .. });
    let told =
        |what: &Noted| matches!(what, Noted::Told { event: Event::Reply(_) | Event::Outcome { .. }, .. });
    let count = |is_it: &dyn Fn(&Noted) -> bool| {
        transcript.entries().iter().filter(|entry| is_it(&entry.what)).count()
    };
    assert!(count(&said) >= 10 && count(&told) >= 8, "{transcript:#?}");
    assert_eq!(count(&|what| *what == Noted::Over), 1);
}

fn converse(handle: &liminal_blocking::Handle) {
    let talk = handle.open("moody").unwrap();
    assert_eq!(&talk.ask("hello", LONG).unwrap()[..], b"hello");
    talk.message("only so that you know").unwrap();
    talk.ask("think", SHORT).expect_err("it thinks too long");
    drop(talk);
    let talk = handle.open("moody").unwrap();
    let _ = talk.request("one", LONG).unwrap();
    let _ = talk.receive_reply(LONG).unwrap();
    talk.ask("go", LONG).expect_err("it is gone");
    talk.close().unwrap();
    if let Ok(talk) = handle.open("nobody") {
        talk.ask("anybody?", LONG).expect_err("nobody serves it");
    }
    handle.disconnect();
}

#[test]
fn of_blocking_handles() {
    let recorder = Recorder::new();
    let server = liminal_blocking::bind_with("127.0.0.1:0", options(&recorder)).unwrap();
    server.register("moody", kind()).unwrap();
    let (address, stopper) = (server.local_address().clone(), server.stopper());
    let running = thread::spawn(|| server.run());
    for dialect in [Dialect::V2, Dialect::V1] {
        let (handle, driver) =
            liminal_blocking::connect_recorded(&address, config(dialect), &recorder).unwrap();
        let driver = thread::spawn(|| driver.run());
        converse(&handle);
        drop(handle);
        driver.join().unwrap();
    }
    stopper.stop();
    running.join().unwrap().unwrap();
    judge(&recorder.transcript());
}

async fn converse_async(handle: &Handle) {
    let talk = handle.open("moody").await.unwrap();
    assert_eq!(&talk.ask("hello", LONG).await.unwrap()[..], b"hello");
    talk.message("only so that you know").await.unwrap();
    talk.ask("think", SHORT).await.expect_err("it thinks too long");
    // Nobody waits any more for what has been said.
    let dropped = future::poll_once(talk.ask("too much", LONG)).await;
    assert!(dropped.is_none());
    drop(talk);
    let talk = handle.open("moody").await.unwrap();
    let _ = talk.request("one", LONG).await.unwrap();
    let _ = talk.receive_reply(LONG).await.unwrap();
    talk.ask("go", LONG).await.expect_err("it is gone");
    talk.close().await.unwrap();
    if let Ok(talk) = handle.open("nobody").await {
        talk.ask("anybody?", LONG).await.expect_err("nobody serves it");
    }
    handle.disconnect().await;
}

async fn play<F>(server: Server, recorder: &Recorder, connect: impl Fn(Dialect) -> F)
where
    F: Future<Output = (Handle, Driver)>,
{
    server.register("moody", kind()).unwrap();
    let stopper = server.stopper();
    let clients = async {
        for dialect in [Dialect::V2, Dialect::V1] {
            let (handle, driver) = connect(dialect).await;
            let conversing = async {
                converse_async(&handle).await;
                drop(handle);
            };
            future::zip(conversing, driver.run()).await;
        }
        stopper.stop();
    };
    future::zip(server.run(), clients).await.0.unwrap();
    judge(&recorder.transcript());
}

#[test]
fn of_smol_handles() {
    let recorder = Recorder::new();
    smol::block_on(async {
        let server = liminal_smol::bind_with("127.0.0.1:0", options(&recorder)).await.unwrap();
        let address = server.local_address().clone();
        let connect = |dialect| {
            let (address, recorder) = (address.clone(), recorder.clone());
            async move { liminal_smol::connect_recorded(&address, config(dialect), &recorder).await.unwrap() }
        };
        play(server, &recorder, connect).await;
    });
}

#[test]
fn of_async_std_handles() {
    let recorder = Recorder::new();
    async_std::task::block_on(async {
        let server = liminal_async_std::bind_with("127.0.0.1:0", options(&recorder)).await.unwrap();
        let address = server.local_address().clone();
        let connect = |dialect| {
            let (address, recorder) = (address.clone(), recorder.clone());
            async move { liminal_async_std::connect_recorded(&address, config(dialect), &recorder).await.unwrap() }
        };
        play(server, &recorder, connect).await;
    });
}
