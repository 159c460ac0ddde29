//! Who may look on.

use liminal_core::Rights;

use super::Peer;

/// Who may monitor and watch the conversations of others, and so read what they say. Whoever may not is refused as
/// not allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Monitoring {
    /// Nobody.
    Nobody,
    /// Whoever is on this machine: over loopback, a Unix socket, or another stream without an address. It is the
    /// default, because no connection proves yet who is at its other end. Behind a proxy on this machine every client
    /// seems to be on it.
    #[default]
    Local,
    /// Everybody who may connect.
    Everybody,
}

impl Monitoring {
    /// What a connection may do.
    pub(super) fn rights(self, peer: &Peer) -> Rights {
        let may = match self {
            Self::Nobody => false,
            Self::Local => peer.is_local(),
            Self::Everybody => true,
        };
        if may { Rights::MONITOR } else { Rights::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn only_who_is_on_this_machine_may_look_on_unless_told_otherwise() {
        let network = |address: &str| Peer::from(address.parse::<SocketAddr>().unwrap());
        let peers = [
            (Peer::Local("a Unix socket".into()), true),
            (network("127.0.0.1:1"), true),
            (network("127.8.8.8:1"), true),
            (network("[::1]:1"), true),
            (network("[::ffff:127.0.0.1]:1"), true),
            (network("192.168.0.1:1"), false),
            (network("0.0.0.0:1"), false),
            (network("[fe80::1]:1"), false),
            (network("[::ffff:10.0.0.1]:1"), false),
        ];
        for (peer, local) in peers {
            let may = [Monitoring::Nobody, Monitoring::default(), Monitoring::Everybody]
                .map(|who| who.rights(&peer).monitor);
            assert_eq!(may, [false, local, true], "{peer}");
        }
    }
}
