//! `liminal ask` and `liminal ping` against servers in this process: every exit code, every transport.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so")]

mod kit;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use kit::{DEADLINE, TRANSPORTS, run};
use liminal_proto::wire::Dialect;
use liminal_smol::{Address, Server, ServerOptions, Stopper};
use liminal_smol::{Context, Received, async_fn};

/// A server that ends with its test.
struct Running {
    address: String,
    stopper: Stopper,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn on(address: impl Into<Address>, options: ServerOptions) -> Self {
        let server = smol::block_on(liminal_smol::bind_with(address, options)).unwrap();
        register(&server);
        Self::run_beside(server)
    }

    fn run_beside(server: Server) -> Self {
        let (address, stopper) = (server.local_address().to_string(), server.stopper());
        let thread = Some(thread::spawn(move || smol::block_on(server.run()).unwrap()));
        Self { address, stopper, thread }
    }

    fn start() -> Self {
        Self::on("127.0.0.1:0", ServerOptions::default())
    }

    /// One that speaks 1.0 alone.
    fn of_1_0() -> Self {
        let mut options = ServerOptions::default();
        options.connection.max_dialect = Dialect::V1;
        // A client of 1.0 that goes away may still read its answer, so the server waits for it.
        options.bus.reply_time = Duration::from_secs(1);
        Self::on("127.0.0.1:0", options)
    }

    fn run(&self, command: &[&str], input: &[u8]) -> kit::Ended {
        run(&[command, &["--server", &self.address]].concat(), input)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn register(server: &Server) {
    let echo = || |context: &mut Context<'_>, message: Received| context.reply(message.payload);
    let crash = || |_: &mut Context<'_>, _: Received| panic!("planned: \u{1b}[31m two\nlines");
    let silent = || |_: &mut Context<'_>, _: Received| ();
    server.register_inline("echo", echo).unwrap();
    server.register_inline("crash", crash).unwrap();
    server.register_inline("silent", silent).unwrap();
    server.register_async("never", || async_fn(|_, _| std::future::pending())).unwrap();
    server.register_trace_only("records").unwrap();
}

#[test]
fn the_reply_is_printed_on_every_transport() {
    let server = Running::start();
    for transport in TRANSPORTS {
        let ended = server.run(&["ask", "echo", "hello", "--transport", transport], b"");
        assert_eq!(ended.succeeds(), b"hello\n");
        let ended = server.run(&["ask", "echo", "hello", "--transport", transport, "--raw"], b"");
        assert_eq!(ended.succeeds(), b"hello");
    }
}

#[test]
fn payloads_are_bytes() {
    let server = Running::start();
    let every: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for transport in TRANSPORTS {
        let ended = server.run(&["ask", "echo", "--raw", "--transport", transport], &every);
        assert_eq!(ended.succeeds(), every);
    }
    for (input, reply) in [("", "\n"), ("\n", "\n"), ("a", "a\n"), ("a\n", "a\n"), ("a\n\n", "a\n\n")] {
        assert_eq!(server.run(&["ask", "echo"], input.as_bytes()).succeeds(), reply.as_bytes());
    }
    assert_eq!(server.run(&["ask", "echo", ""], b"not this").succeeds(), b"\n");
    assert_eq!(server.run(&["ask", "echo", "-5"], b"").succeeds(), b"-5\n");
    assert_eq!(server.run(&["ask", "echo", "a\n"], b"").succeeds(), b"a\n\n");
}

#[test]
fn the_largest_payload_passes_and_a_larger_one_is_refused_before_it_is_sent() {
    let server = Running::start();
    for transport in TRANSPORTS {
        let full = vec![b'x'; (1 << 20) - 100];
        let ended = server.run(&["ask", "echo", "--raw", "--transport", transport], &full);
        assert_eq!(ended.succeeds(), full);
    }
    server.run(&["ask", "echo"], &vec![b'x'; (1 << 20) + 1]).fails(1, "the limit of a payload");
}

#[test]
fn a_payload_that_only_its_frame_makes_too_long_is_said_to_be_so() {
    let server = Running::start();
    for transport in TRANSPORTS {
        let ask = |len| server.run(&["ask", "echo", "--transport", transport], &vec![b'x'; len]);
        ask(1 << 20).fails(1, "its headers and what the frame says of it count, too");
        // A request needs 12 bytes beside its payload, and a reply 16.
        ask((1 << 20) - 12).fails(5, "neither the payload nor its reply may be longer");
        assert_eq!(ask((1 << 20) - 16).succeeds().len(), (1 << 20) - 15, "and a newline");
    }
}

#[test]
fn a_participant_that_exits_is_exit_code_3() {
    let server = Running::start();
    for transport in TRANSPORTS {
        let ended = server.run(&["ask", "crash", "x", "--transport", transport], b"");
        ended.fails(3, "crashed: planned: \\u{1b}[31m two\\nlines");
        assert!(ended.err.starts_with("liminal: participant "), "{ended:?}");
        assert_eq!(ended.out, b"");
    }
}

#[cfg(unix)]
#[test]
fn a_participant_that_is_killed_is_exit_code_3_and_named_by_its_signal() {
    use liminal_process::{Command, Options, Processes, Protocol};

    let processes = Processes::start(Options::default()).unwrap();
    let server = smol::block_on(liminal_smol::bind("127.0.0.1:0")).unwrap();
    for (subject, command) in [
        ("killed", "sh -c 'read line; kill -KILL $$'"),
        ("failed", "sh -c 'read line; exit 3'"),
        ("ended", "sh -c 'read line'"),
        ("first", "sh -c 'read line; echo $line; kill -KILL $$'"),
    ] {
        let command = Command::parse(Protocol::Lines, command).unwrap();
        server.register_hosted(subject, processes.serve(command)).unwrap();
    }
    let server = Running::run_beside(server);
    for transport in TRANSPORTS {
        let ask = |subject| server.run(&["ask", subject, "x", "--transport", transport], b"");
        ask("killed").fails(3, "killed by signal 9");
        ask("failed").fails(3, "exited with status 3");
        ask("ended").fails(3, "ended normally");
        assert_eq!(ask("first").succeeds(), b"x\n");
    }
    drop(server);
    assert!(processes.close(Instant::now() + DEADLINE), "nothing is left");
}

/// What a participant says of its end is the participant's: on a terminal it is cut and escaped.
#[cfg(unix)]
#[test]
fn hostile_last_words_are_cut_and_escaped() {
    use liminal_process::{Command, Options, Processes, Protocol};

    const RUDE: &str = "\u{1b}[2J\r\nforged\u{202e}\0";
    let processes = Processes::start(Options::default()).unwrap();
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut options = ServerOptions::default();
        options.connection.max_dialect = dialect;
        let server = smol::block_on(liminal_smol::bind_with("127.0.0.1:0", options)).unwrap();
        let crash = || {
            |context: &mut Context<'_>, _: Received| {
                context.exit(liminal_proto::ExitReason::Crashed { text: RUDE.repeat(50_000) });
            }
        };
        server.register_inline("crash", crash).unwrap();
        // It refuses the first message, with words that it need not have.
        let refusal = r"import struct,sys; i=sys.stdin.buffer.read(13); t=b'\x1b[2J\r\nforged\x00'*50000; \
            sys.stdout.buffer.write(struct.pack('>cQI',b'n',struct.unpack('>cQI',i)[1],len(t))+t); \
            sys.stdout.buffer.flush(); sys.stdin.buffer.read()";
        let refusal = format!("python3 -c \"{}\"", refusal.replace("\\\n", ""));
        let command = Command::parse(Protocol::Frames, &refusal).unwrap();
        server.register_hosted("refuse", processes.serve(command)).unwrap();
        let server = Running::run_beside(server);
        for transport in TRANSPORTS {
            for (subject, code) in [("crash", 3), ("refuse", 5)] {
                let ended = server.run(&["ask", subject, "x", "--transport", transport], b"");
                ended.fails(code, "\\u{1b}[2J\\r\\nforged");
                assert_eq!(
                    ended.err.trim_end_matches('\n').matches(char::is_control).count(),
                    0,
                    "{ended:?}"
                );
                // 1 KiB of it, each byte of which may take several to show.
                assert!(ended.err.len() < 8 << 10, "{} bytes", ended.err.len());
            }
        }
    }
    assert!(processes.close(Instant::now() + DEADLINE), "nothing is left");
}

/// A server of 1.0 alone has no frame that says who exited and why, and says it in words.
#[test]
fn a_server_of_1_0_says_why_there_is_no_answer() {
    let server = Running::of_1_0();
    for transport in TRANSPORTS {
        let ended = server.run(&["ask", "crash", "x", "--transport", transport], b"");
        ended.fails(3, "the participant has exited: participant ");
        ended.fails(3, "crashed: planned: \\u{1b}[31m two\\nlines");
    }
}

#[test]
fn no_reply_in_time_is_exit_code_4() {
    let server = Running::start();
    for transport in TRANSPORTS {
        let began = Instant::now();
        let arguments = ["ask", "never", "x", "--timeout", "300ms", "--transport", transport];
        server.run(&arguments, b"").fails(4, "no reply within 300ms");
        assert!((Duration::from_millis(300)..DEADLINE / 5).contains(&began.elapsed()), "{transport}");
    }
}

#[test]
fn a_server_that_gives_no_more_time_is_exit_code_4() {
    let mut options = ServerOptions::default();
    options.bus.reply_time = Duration::from_millis(200);
    let server = Running::on("127.0.0.1:0", options);
    for transport in TRANSPORTS {
        let ended = server.run(&["ask", "never", "x", "--timeout", "1h", "--transport", transport], b"");
        ended.fails(4, "the server gave the participant no more time to reply; see --reply-time");
    }
}

#[test]
fn a_server_that_does_not_shake_hands_is_exit_code_4_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for transport in TRANSPORTS {
        for command in [["ask", "echo", "x"].as_slice(), &["ping"]] {
            let more = ["--server", &address, "--timeout", "200ms", "--transport", transport];
            run(&[command, &more].concat(), b"")
                .fails(4, &format!("no connection to {address} within 200ms"));
        }
    }
}

#[test]
fn a_refusal_is_exit_code_5() {
    let server = Running::start();
    for transport in TRANSPORTS {
        for (subject, hint) in [
            (
                "nobody",
                "nobody serves the subject (0x0100); check the subject, or serve it with liminal respond",
            ),
            ("records", "refused"),
            ("silent", "no reply was given"),
        ] {
            server.run(&["ask", subject, "x", "--transport", transport], b"").fails(5, hint);
        }
    }
}

#[test]
fn no_server_is_exit_code_2() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap().to_string();
    drop(listener);
    for transport in TRANSPORTS {
        for (address, hint) in [
            (&*free, "is a server running there?"),
            ("unix:/no/such/socket", "is a server running there?"),
            ("no.such.host.invalid:1", "check the address"),
        ] {
            for command in [["ask", "echo", "x"].as_slice(), &["ping"]] {
                let more = ["--server", address, "--transport", transport];
                run(&[command, &more].concat(), b"").fails(2, hint);
            }
        }
    }
}

#[test]
fn somebody_who_is_no_liminal_server_is_exit_code_2() {
    for said in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stranger = thread::spawn(move || {
            for _ in TRANSPORTS {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(said).unwrap();
            }
        });
        for transport in TRANSPORTS {
            let ended = run(&["ping", "--server", &address, "--transport", transport], b"");
            ended.fails(2, &format!("cannot connect to {address}"));
        }
        stranger.join().unwrap();
    }
}

#[test]
fn a_connection_that_is_lost_is_exit_code_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        for _ in 0..2 * TRANSPORTS.len() {
            let (mut stream, _) = listener.accept().unwrap();
            let mut said = [0; 22];
            stream.read_exact(&mut said).unwrap();
            stream.write_all(b"\x02\0\0\0\0\0\0\0\0\x08\0\x01\0\0\0\0\0\0").unwrap();
            stream.read_exact(&mut said[..1]).unwrap();
        }
    });
    for transport in TRANSPORTS {
        let hint = "; whether it was dealt with is not known";
        for (command, hint) in [(["ask", "echo", "x"].as_slice(), hint), (&["ping"], "")] {
            let more = ["--server", &address, "--transport", transport];
            let ended = run(&[command, &more].concat(), b"");
            ended.fails(1, "connection lost");
            ended.fails(1, hint);
        }
    }
    server.join().unwrap();
}

#[test]
fn wrong_usage_is_exit_code_1() {
    for (arguments, hint) in [
        (["ask"].as_slice(), "<SUBJECT>"),
        (&[], "--help"),
        (&["frobnicate"], "'frobnicate'"),
        (&["ask", "x", "y", "z"], "'z'"),
        (&["ask", "x", "--timeout", "5"], "5s"),
        (&["ask", "x", "--server", ""], "the host is missing"),
        (&["ask", "x", "--server", "here:there"], "\"there\" is no port"),
        (&["ask", "x", "--transport", "pigeon"], "blocking, smol, async-std"),
        (&["ask", "x", "--on-exit", "never"], "fail, next"),
        (&["ask", "x", "y", "--on-exit", "next", "--protocol", "1.0"], "--on-exit needs protocol 2.0"),
        (&["ask", "x", "y", "--header", "traceparent"], "there is no '=' between a name and a value"),
        (&["ask", "x", "y", "--header", "Trace=1"], "a to z, 0 to 9"),
        (&["ask", "x", "y", "-H", "trace=1", "--protocol", "1.0"], "--header needs protocol 2.0"),
        (&["ask", "x", "--protocol", "3.0"], "1.0, 2.0"),
        (&["ping", "x"], "'x'"),
        (&["decode", "--protocol", "3.0"], "1.0, 2.0"),
        (&["encode", "--hax"], "--hex"),
        (&["two\nlines"], "two lines"),
    ] {
        run(arguments, b"").fails(1, hint);
    }
}

#[test]
fn a_ping_says_how_long_it_took_and_which_version_was_agreed() {
    let (two, one) = (Running::start(), Running::of_1_0());
    for transport in TRANSPORTS {
        for (server, version) in [(&two, "2.0"), (&one, "1.0")] {
            let ended = server.run(&["ping", "--transport", transport], b"");
            ended.succeeds();
            let line = ended.lines()[0];
            assert!(line.starts_with(&format!("{} answered in ", server.address)), "{line}");
            assert!(line.ends_with(&format!("s, protocol {version}")), "{line}");
        }
    }
}

#[test]
fn no_more_than_1_0_is_offered_to_a_server_that_speaks_2_0() {
    let server = Running::start();
    for transport in TRANSPORTS {
        let more = ["--protocol", "1.0", "--transport", transport];
        let ended = server.run(&[&["ping"], &more[..]].concat(), b"");
        ended.succeeds();
        assert!(ended.lines()[0].ends_with(", protocol 1.0"), "{ended:?}");
        assert_eq!(server.run(&[&["ask", "echo", "x"], &more[..]].concat(), b"").succeeds(), b"x\n");
    }
}

#[test]
fn a_server_of_1_0_knows_no_terms() {
    let server = Running::of_1_0();
    for transport in TRANSPORTS {
        let ask = ["ask", "echo", "x", "--on-exit", "fail", "--transport", transport];
        server.run(&ask, b"").fails(1, "this needs protocol version 2.0, and the server speaks 1.0");
    }
}

#[test]
fn a_server_of_1_0_knows_no_headers() {
    let server = Running::of_1_0();
    for transport in TRANSPORTS {
        let ask = ["ask", "echo", "x", "-H", "trace=1", "--transport", transport];
        server.run(&ask, b"").fails(1, "leave out --header");
    }
}

#[test]
fn servers_of_1_0_give_the_same_exit_codes() {
    let server = Running::of_1_0();
    for transport in TRANSPORTS {
        let ask = |subject| server.run(&["ask", subject, "x", "--transport", transport], b"");
        assert_eq!(ask("echo").succeeds(), b"x\n");
        ask("crash").fails(3, "the participant has exited");
        ask("nobody").fails(5, "nobody serves the subject");
        ask("silent").fails(5, "no reply was given");
        let arguments = ["ask", "never", "x", "--timeout", "200ms", "--transport", transport];
        server.run(&arguments, b"").fails(4, "no reply within 200ms");
    }
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_an_address() {
    let path = std::env::temp_dir().join(format!("liminal-cli-{}", std::process::id()));
    let server = Running::on(format!("unix:{}", path.display()), ServerOptions::default());
    for transport in TRANSPORTS {
        assert_eq!(server.run(&["ask", "echo", "x", "--transport", transport], b"").succeeds(), b"x\n");
        server.run(&["ping", "--transport", transport], b"").succeeds();
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    for (arguments, parts) in [
        (["--help"].as_slice(), ["Examples:", "Exit codes:"]),
        (&["ask", "--help"], ["--timeout", "Exit codes:"]),
        (&["ping", "--help"], ["--server", "Exit codes:"]),
        (&["decode", "--help"], ["--hex", "Examples:"]),
        (&["encode", "--help"], ["--hex", "Examples:"]),
        (&["--version"], ["liminal ", env!("CARGO_PKG_VERSION")]),
    ] {
        let ended = run(arguments, b"");
        let text = str::from_utf8(ended.succeeds()).unwrap();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}
