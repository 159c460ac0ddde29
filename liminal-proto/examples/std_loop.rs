//! The protocol driven by hand over `std::net::TcpStream`: the loop is in [`turns`], and both sides use it.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a program, and the tests run it"
)]

use std::error::Error;
use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use liminal_proto::{Config, Connection, Event, Instant, LinkError, Next, Reply, Wake};

/// Drives a connection over a blocking stream to its end, which `on_event` is always told.
///
/// A blocking write waits for its peer. Two sides that send each other more than sockets hold, at the same
/// time, would wait for ever here: where that may be, write what the socket takes and go on reading, as the
/// example `readiness` of liminal-core does.
fn drive(
    mut connection: Connection,
    mut stream: TcpStream,
    mut on_event: impl FnMut(&mut Connection, Instant, Event),
) -> io::Result<()> {
    let origin = std::time::Instant::now();
    let now = || Instant::ORIGIN.after(origin.elapsed());
    let ended = turns(&mut connection, &mut stream, &now, &mut on_event);
    if ended.is_err() {
        connection.link_lost(now(), LinkError::Failed);
        while let Next::Event(event) = connection.poll() {
            on_event(&mut connection, now(), event);
        }
    }
    ended
}

fn turns(
    connection: &mut Connection,
    stream: &mut TcpStream,
    now: &impl Fn() -> Instant,
    on_event: &mut impl FnMut(&mut Connection, Instant, Event),
) -> io::Result<()> {
    loop {
        match connection.poll() {
            Next::Event(event) => on_event(connection, now(), event),
            Next::Wait(wants) if wants.finished => return Ok(()),
            Next::Wait(wants) if wants.write => {
                let bytes = connection.take_write(usize::MAX);
                stream.write_all(&bytes)?;
                connection.wrote(bytes.len());
            }
            Next::Wait(wants) => match read(stream, connection.read_space(), wants.wake, now())? {
                Some(0) => connection.eof(now()),
                Some(n) => connection.read_done(now(), n),
                None => connection.tick(now()),
            },
        }
    }
}

/// Reads, for as long as the connection can wait. `None`: nothing came, or nothing is to be read.
fn read(
    stream: &mut TcpStream,
    space: Option<&mut [u8]>,
    wake: Wake,
    now: Instant,
) -> io::Result<Option<usize>> {
    // A time limit of zero would be none at all.
    let limit = wake.time_from(now).map(|time| time.max(Duration::from_millis(1)));
    let Some(space) = space else {
        thread::sleep(limit.unwrap_or(Duration::from_secs(1)));
        return Ok(None);
    };
    stream.set_read_timeout(limit)?;
    match stream.read(space) {
        Ok(n) => Ok(Some(n)),
        Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers every request with its own payload.
fn echo(connection: &mut Connection, now: Instant, event: Event) {
    let answered = match event {
        Event::Open { conversation, .. } => connection.opened(now, conversation, None),
        Event::Close { conversation } => connection.ended(now, conversation),
        Event::Message(message) => connection
            .reply(
                now,
                Reply {
                    conversation: message.conversation,
                    answers: message.id,
                    record: None,
                    last: true,
                    metadata: message.metadata,
                    payload: message.payload,
                },
            )
            .map_err(|rejected| rejected.reason),
        _ => Ok(()),
    };
    if let Err(error) = answered {
        eprintln!("the client will not hear this answer: {error}");
    }
}

/// Asks one question over a real socket and returns the reply.
///
/// # Errors
///
/// The socket failed, or no reply came.
pub fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        drive(Connection::server(Instant::ORIGIN, Config::default()), stream, echo)
    });

    let mut reply = None;
    let client = Connection::client(Instant::ORIGIN, Config::default());
    drive(client, TcpStream::connect(address)?, |connection, now, event| match event {
        Event::Connected { .. } => {
            let asked = connection
                .open(now, "echo")
                .map(|conversation| connection.ask(now, conversation, None, "hello"));
            assert!(matches!(asked, Ok(Ok(_))), "{asked:?}");
        }
        Event::Reply(arrived) => {
            reply = Some(arrived.payload);
            connection.disconnect(now);
        }
        _ => {}
    })?;
    server.join().map_err(|_| "the server panicked")??;
    let reply = reply.ok_or("no reply came")?;
    println!("{}", String::from_utf8_lossy(&reply));
    if reply == "hello" { Ok(()) } else { Err("the echo changed the message".into()) }
}
