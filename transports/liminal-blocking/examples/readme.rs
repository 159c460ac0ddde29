//! The two sides of a conversation, as the README shows them.

#![allow(unreachable_pub, reason = "a program, and the tests run it")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use liminal_blocking::{Address, Context, Logged, Received, Reconnect, Watched};

fn ask(address: &Address) -> Result<(), Box<dyn Error>> {
    let handle = liminal_blocking::connect_and_spawn(address)?;
    let conversation = handle.open("greeter")?;
    let reply = conversation.ask("hello", Duration::from_secs(5))?;
    assert_eq!(&reply[..], b"hello");
    assert!(!conversation.has_detected_crash());
    conversation.close()?;
    Ok(())
}

fn watch(address: &Address) -> Result<(), Box<dyn Error>> {
    let handle = liminal_blocking::connect_and_spawn(address)?;
    let watch = handle.watch("worker")?;
    respond(address)?;
    let told = watch.next()?;
    assert!(matches!(told, Watched::Record(record) if matches!(record.what, Logged::Joined { .. })));
    Ok(())
}

fn greet(context: &mut Context<'_>, message: Received) {
    context.reply(message.payload);
}

fn respond(address: &Address) -> Result<(), Box<dyn Error>> {
    let handle = liminal_blocking::connect_and_spawn(address)?;
    let service = handle.serve_blocking("worker", || greet, 8)?;
    handle.reconnect(Reconnect::default())?;
    let conversation = handle.open("worker")?;
    assert_eq!(&conversation.ask("hello", Duration::from_secs(5))?[..], b"hello");
    drop(service);
    assert_eq!(conversation.exited()?.reason.to_string(), "was withdrawn");
    Ok(())
}

/// Serves a greeter, and asks it; and has a client serve while another one watches.
///
/// # Errors
///
/// Anything went wrong.
pub fn main() -> Result<(), Box<dyn Error>> {
    let server = liminal_blocking::bind("127.0.0.1:0")?;
    server.register_inline("greeter", || greet)?;
    let (address, stopper) = (server.local_address().clone(), server.stopper());
    let running = thread::spawn(|| server.run());
    ask(&address)?;
    watch(&address)?;
    stopper.stop();
    running.join().map_err(|_| "the server panicked")??;
    Ok(())
}
