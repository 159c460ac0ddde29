//! A client and a server with two byte queues between them, in virtual time.

use std::collections::VecDeque;

use liminal_proto::{Config, Connection, Event, Instant};

use super::{START, drain};

/// How many bytes move at once, in turn; after the last it starts over.
#[derive(Clone)]
pub(crate) struct Sizes {
    sizes: Vec<usize>,
    next: usize,
}

impl Sizes {
    pub(crate) fn of(sizes: &[usize]) -> Self {
        Self { sizes: sizes.to_vec(), next: 0 }
    }

    fn take(&mut self) -> usize {
        let size = self.sizes[self.next % self.sizes.len()];
        self.next += 1;
        size
    }
}

/// Two connections and the link between them.
pub(crate) struct Pair {
    pub(crate) client: Connection,
    pub(crate) server: Connection,
    pub(crate) now: Instant,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    written: Sizes,
    read: Sizes,
}

impl Pair {
    pub(crate) fn new(client: Config, server: Config, written: Sizes, read: Sizes) -> Self {
        Self {
            client: Connection::client(START, client),
            server: Connection::server(START, server),
            now: START,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            written,
            read,
        }
    }

    /// A pair whose link takes and gives everything at once.
    pub(crate) fn smooth(client: Config, server: Config) -> Self {
        Self::new(client, server, Sizes::of(&[usize::MAX]), Sizes::of(&[usize::MAX]))
    }

    /// Moves bytes once in each direction. Returns what both saw, the client first.
    pub(crate) fn turn(&mut self) -> (Vec<Event>, Vec<Event>) {
        let (written, read) = (self.written.take(), self.read.take());
        write(&mut self.client, &mut self.to_server, written);
        write(&mut self.server, &mut self.to_client, written);
        read_from(&mut self.to_server, &mut self.server, self.now, read);
        read_from(&mut self.to_client, &mut self.client, self.now, read);
        (drain(&mut self.client).0, drain(&mut self.server).0)
    }

    /// Turns, with the embedders given, until nothing moves any more.
    pub(crate) fn run(
        &mut self,
        mut client: impl FnMut(&mut Connection, Event),
        mut server: impl FnMut(&mut Connection, Event),
    ) {
        let mut quiet = 0;
        while quiet < 2 {
            let before = self.in_flight();
            let (from_client, from_server) = self.turn();
            quiet = if before + self.in_flight() + from_client.len() + from_server.len() == 0 {
                quiet + 1
            } else {
                0
            };
            from_client.into_iter().for_each(|event| client(&mut self.client, event));
            from_server.into_iter().for_each(|event| server(&mut self.server, event));
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.to_server.len() + self.to_client.len() + self.client.output_len() + self.server.output_len()
    }
}

/// A vectored write of which at most `max` bytes go through.
fn write(from: &mut Connection, link: &mut VecDeque<u8>, max: usize) {
    let mut slots = [&[][..]; 3];
    let n = from.to_write(&mut slots);
    let joined = slots[..n].concat();
    let through = joined.len().min(max);
    link.extend(&joined[..through]);
    from.wrote(through);
}

fn read_from(link: &mut VecDeque<u8>, to: &mut Connection, now: Instant, max: usize) {
    let n = link.len().min(max);
    let taken = to.receive(now, &link.make_contiguous()[..n]);
    link.drain(..taken);
}
