//! What happens to what travels on connections.

use bytes::Bytes;

use super::World;
use super::line::{Line, Near, Way};
use super::network::{distort, latency, piece};
use super::pipe::End;

impl World {
    /// A bus is given what has arrived, or what an opener is.
    pub(super) fn deliver(&mut self, at: usize, way: Way) {
        let now = self.now;
        let line = &mut self.lines[at];
        let reader = line.reader(way);
        let pipe = if way == Way::Up { &mut line.up } else { &mut line.down };
        let Some(bytes) = pipe.arrived(now) else { return };
        let mut taken = bytes.len();
        match (way, &mut line.near, reader) {
            (Way::Down, Some(Near::Opener(handle)), _) => {
                taken = handle.connection.receive(now, bytes);
                handle.touched = true;
            }
            (_, _, Some((of, link))) => {
                if let Some(node) = self.servers[of].touch() {
                    taken = node.receive(now, link, bytes);
                }
            }
            _ => {}
        }
        pipe.taken(taken);
    }

    /// One direction has ended.
    pub(super) fn end_way(&mut self, at: usize, way: Way) {
        let now = self.now;
        let line = &mut self.lines[at];
        let Some(end) = line.pipe_mut(way).ended(now) else { return };
        let reader = line.reader(way);
        match (way, &mut line.near, reader) {
            (Way::Down, Some(Near::Opener(handle)), _) => handle.input(now, end),
            (_, _, Some((of, link))) => {
                if let Some(node) = self.servers[of].touch() {
                    match end {
                        End::Fin => node.eof(now, link),
                        End::Lost(why) => node.link_lost(now, link, why),
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn carry_up(&mut self, at: usize) {
        let (line, draws) = (&self.lines[at], &mut self.plan.draws);
        if line.near.is_none() {
            return;
        }
        let arrives = self.now.after(latency(draws, &self.swarm));
        let reads = line.writes && line.far;
        let room = if reads { line.up.room(self.swarm.window()) } else { usize::MAX };
        let max = piece(draws, &self.swarm).min(room);
        let bytes = self.take_output(at, max);
        let (line, draws) = (&mut self.lines[at], &mut self.plan.draws);
        let bytes = distort(draws, self.plan.network, bytes, &mut line.carried[0]);
        if reads && !bytes.is_empty() {
            line.up.push(arrives, bytes);
        }
    }

    /// What the side that has dialled wants written, at most so much: it counts as written.
    pub(super) fn take_output(&mut self, at: usize, max: usize) -> Bytes {
        let line = &mut self.lines[at];
        if let Some((of, link)) = line.reader(Way::Down) {
            return self.servers[of].take_output(link, max);
        }
        let Some(handle) = line.handle_mut() else { return Bytes::new() };
        let bytes = handle.connection.take_write(max);
        handle.connection.wrote(bytes.len());
        handle.touched = true;
        bytes
    }

    pub(super) fn carry_down(&mut self, at: usize) {
        let Line { link, server, .. } = self.lines[at];
        let (line, draws) = (&mut self.lines[at], &mut self.plan.draws);
        let max = piece(draws, &self.swarm).min(line.down.room(self.swarm.window()));
        let bytes = self.servers[server].take_output(link, max);
        if line.near.is_none() {
            return;
        }
        let arrives = self.now.after(latency(draws, &self.swarm));
        let bytes = distort(draws, self.plan.network, bytes, &mut line.carried[1]);
        if !bytes.is_empty() {
            line.down.push(arrives, bytes);
        }
    }
}
