//! What the tests of a client talk to.

use liminal_proto::{Config, Connection, Event, Instant, Next};

use super::Client;

/// A client, and the server's side of its connection.
pub(super) struct Pair {
    pub(super) client: Client,
    pub(super) server: Connection,
}

impl Pair {
    pub(super) fn new() -> Self {
        let client = Client::new(Config::default());
        let server = Connection::server(Instant::ORIGIN, Config::default());
        let mut this = Self { client, server };
        this.exchange();
        this
    }

    /// Carries everything there and back, and says what the server was told.
    pub(super) fn exchange(&mut self) -> Vec<Event> {
        let mut told = Vec::new();
        for _ in 0..4 {
            self.client.take_events();
            let bytes = self.client.connection.take_write(usize::MAX);
            self.client.connection.wrote(bytes.len());
            self.server.receive(Instant::ORIGIN, &bytes);
            while let Next::Event(event) = self.server.poll() {
                told.push(event);
            }
            let bytes = self.server.take_write(usize::MAX);
            self.server.wrote(bytes.len());
            self.client.receive(&bytes);
        }
        told
    }
}
