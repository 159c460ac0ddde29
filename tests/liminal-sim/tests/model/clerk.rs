//! The participant.

use std::sync::{Arc, Mutex};

use liminal_core::{Context, Participant, Received};

/// Serves one buyer. One that is not careful frees a seat for whoever cancels, with or without a reservation.
pub(crate) struct Clerk<const CAREFUL: bool> {
    pub(crate) free: Arc<Mutex<u32>>,
    pub(crate) mine: u32,
}

impl<const CAREFUL: bool> Clerk<CAREFUL> {
    fn answer(&mut self, what: &[u8]) -> &'static str {
        let mut free = self.free.lock().unwrap();
        match what {
            b"reserve" if *free == 0 => return "sold out",
            b"reserve" => (*free, self.mine) = (*free - 1, self.mine + 1),
            _ if self.mine == 0 => {
                *free += u32::from(what == b"cancel" && !CAREFUL);
                return "you hold none";
            }
            b"buy" => self.mine = 0,
            _ => (*free, self.mine) = (*free + 1, self.mine - 1),
        }
        "done"
    }
}

impl<const CAREFUL: bool> Participant for Clerk<CAREFUL> {
    fn message(&mut self, context: &mut Context<'_>, message: Received) {
        context.reply(self.answer(&message.payload));
    }
}
