//! Where to listen and where to connect: a TCP address or the path of a Unix socket.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The port that a server listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 5466;

/// A TCP address or the path of a Unix socket.
///
/// ```
/// use liminal_driver::Address;
///
/// assert_eq!(Address::from("127.0.0.1:5466"), Address::Tcp("127.0.0.1:5466".into()));
/// assert_eq!(Address::from("localhost"), Address::Tcp("localhost:5466".into()));
/// assert_eq!(Address::from("[::1]"), Address::Tcp("[::1]:5466".into()));
/// assert_eq!(Address::from("unix:/run/liminal.sock"), Address::Unix("/run/liminal.sock".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `host:port`, where the host is a name, an IPv4 address, or an IPv6 address in brackets.
    Tcp(String),
    /// The path of a Unix socket; written `unix:PATH`.
    Unix(PathBuf),
}

impl Default for Address {
    /// The address that both programs use unless told otherwise: 127.0.0.1:5466.
    fn default() -> Self {
        Self::Tcp(format!("127.0.0.1:{DEFAULT_PORT}"))
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None if has_port(text) => Self::Tcp(text.into()),
            None => Self::Tcp(format!("{text}:{DEFAULT_PORT}")),
        }
    }
}

/// A colon before the port: the only one, or the one behind the bracket of an IPv6 address.
fn has_port(text: &str) -> bool {
    match text.rsplit_once(']') {
        Some((_, rest)) => rest.starts_with(':'),
        None => text.contains(':'),
    }
}

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.into())
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Address {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::Tcp(address.to_string())
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
