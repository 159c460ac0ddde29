//! What happens to what travels on connections.

use super::World;
use super::line::Way;
use super::network::{distort, latency, piece};
use super::pipe::End;

impl World {
    /// The bus is given what has arrived, or what an opener is.
    pub(super) fn deliver(&mut self, at: usize, way: Way) {
        let now = self.now;
        let line = &mut self.lines[at];
        let pipe = if way == Way::Up { &mut line.up } else { &mut line.down };
        let Some(bytes) = pipe.arrived(now) else { return };
        let mut taken = bytes.len();
        match (way, &mut line.near) {
            (Way::Up, _) if line.far => {
                if let Some(node) = self.servers[line.server].touch() {
                    taken = node.receive(now, line.link, bytes);
                }
            }
            (Way::Down, Some(near)) => {
                taken = near.connection.receive(now, bytes);
                near.touched = true;
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
        match (way, &mut line.near) {
            (Way::Up, _) if line.far => {
                if let Some(node) = self.servers[line.server].touch() {
                    match end {
                        End::Fin => node.eof(now, line.link),
                        End::Lost(why) => node.link_lost(now, line.link, why),
                    }
                }
            }
            (Way::Down, Some(near)) => near.input(now, end),
            _ => {}
        }
    }

    pub(super) fn carry_up(&mut self, at: usize) {
        let (line, draws) = (&mut self.lines[at], &mut self.plan.draws);
        let Some(near) = &mut line.near else { return };
        let arrives = self.now.after(latency(draws, &self.swarm));
        let reads = line.writes && line.far;
        let room = if reads { line.up.room(self.swarm.window()) } else { usize::MAX };
        let bytes = near.connection.take_write(piece(draws, &self.swarm).min(room));
        near.connection.wrote(bytes.len());
        near.touched = true;
        let bytes = distort(draws, self.plan.network, bytes, &mut line.carried[0]);
        if reads && !bytes.is_empty() {
            line.up.push(arrives, bytes);
        }
    }

    pub(super) fn carry_down(&mut self, at: usize) {
        let (line, draws) = (&mut self.lines[at], &mut self.plan.draws);
        let Some(node) = self.servers[line.server].touch() else { return };
        let max = piece(draws, &self.swarm).min(line.down.room(self.swarm.window()));
        let bytes = node.take_write(line.link, max);
        node.wrote(line.link, bytes.len());
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
