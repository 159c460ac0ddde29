//! How many connections may wait to be accepted.

use std::io;

use socket2::SockRef;

/// Connections that the operating system takes before the server does. std and the runtimes on it ask for 128:
/// when more clients come at once, as after a restart of the server, each of the others tries again after a
/// second. 1024 is what event-driven servers commonly ask for; where the system allows less
/// (`net.core.somaxconn`) it is that.
pub const BACKLOG: i32 = 1024;

/// Lets [`BACKLOG`] connections wait at a socket that listens already.
///
/// # Errors
///
/// What the system says.
pub fn widen_backlog<'a>(listener: impl Into<SockRef<'a>>) -> io::Result<()> {
    listener.into().listen(BACKLOG)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::{BACKLOG, widen_backlog};

    /// What the system allows at most.
    fn allowed() -> usize {
        let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(128)
    }

    #[test]
    fn hundreds_connect_before_the_first_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        widen_backlog(&listener).unwrap();
        let address = listener.local_addr().unwrap();
        let crowd = allowed().min(400);
        assert!(crowd < usize::try_from(BACKLOG).unwrap());
        // Where the backlog is full a connection waits for a second at least before it is tried again, and
        // for ever when nobody accepts.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(20)).unwrap();
        let waiting: Vec<_> = (0..crowd).map(connect).collect();
        for _ in &waiting {
            listener.accept().unwrap();
        }
    }
}
