//! Two connections wired together in memory: no socket, no runtime, no clock but the one made up here.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program, and the tests run it"
)]

use std::error::Error;
use std::time::Duration;

use liminal_proto::{
    Config, Connection, Event, Exit, ExitReason, Instant, Next, Outcome, Pid, RecordNumber, Reply, Unanswered,
};

/// Moves everything that one side has to say to the other.
fn carry(now: Instant, from: &mut Connection, to: &mut Connection) {
    loop {
        let bytes = from.take_write(16);
        if bytes.is_empty() {
            return;
        }
        // Sixteen bytes at a time: where the input is split never matters.
        assert_eq!(to.receive(now, &bytes), bytes.len());
        from.wrote(bytes.len());
    }
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| match connection.poll() {
        Next::Event(event) => Some(event),
        Next::Wait(_) => None,
    })
    .collect()
}

/// Holds a conversation, and lets its participant die in the middle of a request.
///
/// # Errors
///
/// A command was not taken.
pub fn main() -> Result<(), Box<dyn Error>> {
    let mut now = Instant::ORIGIN;
    let mut client = Connection::client(now, Config::default());
    let mut server = Connection::server(now, Config::default());
    carry(now, &mut client, &mut server);
    events(&mut server);
    carry(now, &mut server, &mut client);
    println!("client: {:?}", events(&mut client));

    let conversation = client.open(now, "oracle")?;
    let first = client.ask(now, conversation, Some(Duration::from_secs(5)), "how much is 6 × 7?")?;
    carry(now, &mut client, &mut server);
    for event in events(&mut server) {
        println!("server: {event:?}");
        match event {
            Event::Open { conversation, .. } => server.opened(now, conversation, Some(Pid::new(1)))?,
            Event::Message(message) => {
                let payload = "42".into();
                let record = Some(RecordNumber::new(3));
                let conversation = message.conversation;
                server.reply(
                    now,
                    Reply {
                        conversation,
                        answers: message.id,
                        record,
                        last: true,
                        metadata: message.metadata,
                        payload,
                    },
                )?;
            }
            _ => {}
        }
    }
    carry(now, &mut server, &mut client);
    let replied = events(&mut client);
    println!("client: {replied:?}");
    assert!(replied.iter().any(|event| matches!(event, Event::Reply(reply) if reply.answers == first)));

    let second = client.ask(now, conversation, Some(Duration::from_secs(5)), "and why?")?;
    carry(now, &mut client, &mut server);
    events(&mut server);
    now = now.after(Duration::from_micros(20));
    let reason = ExitReason::Crashed { text: "out of answers".into() };
    let exit = Exit {
        pid: Pid::new(1),
        record: RecordNumber::new(5),
        reason,
        goes_on: false,
        unanswered: Unanswered::default(),
    };
    server.exited(now, conversation, &exit)?;
    carry(now, &mut server, &mut client);
    let told = events(&mut client);
    println!("client, at once: {told:?}");
    assert!(matches!(told.first(), Some(Event::Exited { .. })));
    let ended = |event: &Event| matches!(event, Event::Outcome { message, outcome: Outcome::Exited, .. } if *message == second);
    assert!(told.iter().any(ended));
    Ok(())
}
