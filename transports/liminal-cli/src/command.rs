//! The command line.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use liminal_proto::wire::Dialect;

use crate::ask::Ask;
use crate::decode::Decode;
use crate::demo::Demo;
use crate::encode::Encode;
use crate::error::Error;
use crate::ping::Ping;
use crate::program;
use crate::respond::Respond;
use crate::sim::{self, Sim};
use crate::watch::Watch;

/// What the command calls itself.
pub(crate) const NAME: &str = "liminal";

const HELP: &str = "\
Examples:
  liminal demo                                 what all this is about, in a second
  liminal ask echo 'hello'                     ask the server on this machine
  liminal ask echo < letter.txt                what to say comes from stdin
  liminal ask echo hi --server unix:/run/liminal.sock --timeout 300ms
  liminal respond shout -- sed -u y/abc/ABC/   serve a subject of the server with a command
  liminal watch shout                          print what is said in conversations on a subject
  liminal ping --server bus.example:5466       is it there, and how far away?
  liminal decode < recorded.bin                what is in these bytes?
  echo '13 00 00000000 00000000' | liminal decode --hex
  liminal decode < recorded.bin | liminal encode | cmp - recorded.bin
  liminal sim replay a-run.scenario --over smol   what happened in the simulator, over sockets

Exit codes:
  0  all is well: there was a reply, every frame was good
  1  wrong usage, a bad frame, anything else
  2  no connection to the server
  3  the participant exited; stderr says which and why
  4  no reply in time, by our clock or the server's
  5  refused: nobody serves the subject, busy, no reply given, ...
  6  a run of sim broke a promise
  7  a run of sim came to something else over sockets, without a race

What is wrong stands on stderr, in one line.";

const ASK_HELP: &str = "\
Opens a conversation with whoever serves SUBJECT, asks, prints the reply and a newline, and is gone.
The payload is bytes: nothing is interpreted. Together with its headers, and with up to 54 bytes that its
frame needs, it may have 1 MiB.

Examples:
  liminal ask echo 'hello'
  date | liminal ask echo
  liminal ask echo --raw < picture.png > same.png
  liminal ask work 'do it' --header traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
  liminal ask work 'do it' --on-exit next      whoever else serves it answers when the first dies
  liminal ask echo -- --a-payload-that-looks-like-an-option

When the participant exits before it answers, which may be by any signal that kills its process, that is told
at once. With --on-exit next the next that serves SUBJECT answers instead: stderr says at once who exited and why, and
how long another one may take to come, such as one that is started anew. Exit code 3 is for when none comes within
--timeout, or the time that the server gives for a reply. This needs protocol 2.0.

Exit codes:
  0  reply
  1  wrong usage, or anything else
  2  no connection to the server
  3  the participant exited; stderr says which and why
  4  no reply in time, by our clock or the server's
  5  refused: nobody serves the subject, busy, no reply given, ...";

const PING_HELP: &str = "\
Connects, pings once, and prints how long the answer took and which version of the protocol was agreed.

Exit codes:
  0  answered
  1  wrong usage, or anything else
  2  no connection to the server
  4  no answer in time";

const RESPOND_HELP: &str = "\
Offers the server to take part in conversations on SUBJECT, whoever opens them. Once it does it prints one line:
  liminal serving the subject \"shout\" at 127.0.0.1:5466 (blocking)
Without a command it is an echo. With one it starts a process for each conversation: each message is a line on
its stdin, and the line that it writes to stdout for it is the reply; it must not buffer that line. With
--frames it speaks frames instead. With --per-message one is started for each message: the payload is its
stdin, all of its stdout the reply, and a status other than 0 is its death. The environment of each has
LIMINAL_SUBJECT and LIMINAL_PID, and for one message its trace in TRACEPARENT and TRACESTATE. Whoever asks is told
when it dies, with its status or signal, and at once when this command is gone.

When the connection is lost it tries again, after pauses that grow to 10 s at most, and says so on stderr: one
line when it is lost, and one when SUBJECT is served again. Conversations end with the connection. A server that
refuses it then, for its subject or its token, ends it.

SIGINT and SIGTERM end it when the conversations that there are have ended; a second signal ends it at once.
Killed itself (SIGKILL) it leaves its processes with a closed stdin, which is for them to end by.

Examples:
  liminal respond echo
  liminal respond leet --capacity 8 -- sed -u y/elo/310/
  liminal respond worker --server bus.example:5466 --frames -- ./worker --fast
  liminal respond count --per-message -- wc -c

Exit codes:
  0    ended by a signal, when nothing was left to do
  1    wrong usage, or anything else
  2    no connection to the server when it began; none any more, with --no-reconnect, after a signal, or refused
       for good
  5    the server does not let it serve
  130  ended by a second signal";

const WATCH_HELP: &str = "\
Once it watches it prints one line, and then each record as it is recorded: who joins, what is asked and answered,
refused and left unanswered, who leaves and who exits, with the requests that it leaves unanswered.
  liminal watching the subject \"shout\" at 127.0.0.1:5466 (blocking)
  12:1 participant 7 joined; opened on \"shout\"
  12:2 request, within 4.994s, 5 bytes: \"hello\"
  12:3 reply to 12:2, 5 bytes: \"HELLO\"
  12:4 closed, participant 7 left
A line begins with the number of the conversation on the server and that of the record in the conversation. What is
said is cut; --json prints all of it. Nobody who converses waits for who watches: where more is said than whoever reads
its output takes, a line says which records are left out. Stopped itself (SIGSTOP) it loses its connection after 10 s.

A server lets those watch who are on its machine, unless it was started with another --monitoring. This needs protocol
2.0. SIGINT and SIGTERM end it, and so does the end of whoever reads its output.

With --json each line is an object with the keys log, record and what, which is one of joined, message, request, reply,
request_ended, join_refused, left, exited, failed and gap, and those that belong to it; behind a gap some of what an
exit leaves unanswered may be missing. The first is
  {\"what\":\"watching\",\"subject\":\"shout\",\"server\":\"127.0.0.1:5466\"}

Examples:
  liminal watch shout
  liminal watch '*' --server unix:/run/liminal.sock
  liminal watch work --json | jq 'select(.what == \"exited\")'

Exit codes:
  0    ended by a signal, or nobody reads its output any more
  1    wrong usage, or anything else
  2    no connection to the server, or none any more
  5    the server does not let it watch, or has given it up: it fell too far behind
  130  ended by a second signal";

const DECODE_HELP: &str = "\
Reads stdin. Each frame becomes a line, as soon as it is complete:
  {\"frame_type\":\"Ping\",\"type_id\":19,\"flags\":0,\"stream_id\":0,\"fields\":{}}
Names in fields that end in _hex are byte strings. A frame may be as long as it likes.

At the first fault, and a frame that is not complete at the end is one, the last line is
  {\"error_kind\":\"CodecError\",\"reason_code\":9,\"offset\":120,\"message\":\"...\"}
where offset is the first byte of the faulty frame in the input, and the exit code is 1.
What is no hexadecimal digit is an error on stderr, with exit code 1.

Examples:
  liminal decode < recorded.bin
  echo '13 00 00000000 00000000' | liminal decode --hex";

const ENCODE_HELP: &str = "\
Reads stdin, an object per line with the keys frame_type, type_id, flags, stream_id and fields, as decode
prints them; type_id is needed for frame_type Unknown alone, flags is 0 and fields empty when absent.

A frame that could not be decoded again is refused: the last line of stdout is then
  {\"error_kind\":\"InvalidStream\",\"reason_code\":4,\"offset\":120,\"message\":\"...\"}
where offset is how many bytes of frames stand before it, and the exit code is 1.
A line that is no frame is an error on stderr that names the line and the key, with exit code 1.

Examples:
  echo '{\"frame_type\":\"Ping\",\"stream_id\":0}' | liminal encode --hex
  liminal decode < recorded.bin | liminal encode | cmp - recorded.bin";

const DEMO_HELP: &str = "\
It needs nothing: it starts servers of its own, on free ports of this machine, and stops them again. The
processes that are killed are its own, too.

Exit codes:
  0      everything that it shows has really happened
  other  something of it has not; stderr says what";

/// liminal: a messaging bus whose unit is the conversation
///
/// This command asks a question from a terminal or a script, and shows what a connection says.
/// The command liminal-server starts a server to talk to.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(after_help = DEMO_HELP)]
    Demo(Demo),
    #[command(after_help = sim::HELP)]
    Sim(Sim),
    #[command(after_help = ASK_HELP)]
    Ask(Ask),
    #[command(after_help = PING_HELP)]
    Ping(Ping),
    #[command(after_help = RESPOND_HELP)]
    Respond(Respond),
    #[command(after_help = WATCH_HELP)]
    Watch(Watch),
    #[command(after_help = DECODE_HELP)]
    Decode(Decode),
    #[command(after_help = ENCODE_HELP)]
    Encode(Encode),
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    #[value(name = "1.0")]
    V1,
    #[value(name = "2.0")]
    V2,
}

impl Protocol {
    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::V1 => Dialect::V1,
            Self::V2 => Dialect::V2,
        }
    }
}

impl Command {
    fn run(self) -> Result<(), Error> {
        let (input, mut out) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
        let done = match self {
            Self::Demo(demo) => demo.run(&mut out),
            Self::Sim(sim) => sim.run(&mut out),
            Self::Ask(ask) => ask.run(input, &mut out),
            Self::Ping(ping) => ping.run(&mut out),
            Self::Respond(respond) => respond.run(&mut out),
            Self::Watch(watch) => watch.run(&mut out),
            Self::Decode(decode) => decode.run(input, &mut out),
            Self::Encode(encode) => encode.run(input, &mut out),
        };
        let flushed = out.flush().map_err(Error::output);
        done.and(flushed)
    }
}

/// Does what the arguments say, and gives the exit code of the process. The first argument is the name of
/// the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return program::answer(NAME, &error),
    };
    let Err(error) = arguments.command.run() else { return ExitCode::SUCCESS };
    if !error.is_silent() {
        program::complain(NAME, &error);
    }
    error.exit_code().into()
}
