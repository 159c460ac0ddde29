//! Addresses, as people write them.

use liminal_driver::Address;
use thiserror::Error;

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing stands before the port.
    #[error("the host is missing; write HOST:PORT, [IPV6]:PORT or unix:PATH")]
    NoHost,
    /// A colon in a host means IPv6, or something that is no host.
    #[error("the host has a colon; write HOST:PORT, [IPV6]:PORT or unix:PATH")]
    ColonInHost,
    /// What stands behind the last colon is no port.
    #[error("{0:?} is no port; ports are numbers from 0 to 65535")]
    Port(String),
    /// `unix:` alone.
    #[error("the path is missing; write unix:PATH")]
    NoPath,
}

/// Reads an address: `HOST`, `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`.
///
/// ```
/// use liminal_cli::program::{AddressError, address};
///
/// assert_eq!(address("localhost")?.to_string(), "localhost:5466");
/// assert_eq!(address("unix:/run/liminal.sock")?.to_string(), "unix:/run/liminal.sock");
/// assert_eq!(address("localhost:http"), Err(AddressError::Port("http".into())));
/// # Ok::<(), AddressError>(())
/// ```
///
/// # Errors
///
/// [`AddressError`] says what is wrong and what to write instead. Whether the host exists is not known
/// before it is used.
pub fn address(text: &str) -> Result<Address, AddressError> {
    let address = Address::from(text);
    match &address {
        Address::Unix(path) if path.as_os_str().is_empty() => Err(AddressError::NoPath),
        Address::Unix(_) => Ok(address),
        Address::Tcp(full) => {
            let (host, port) = full.rsplit_once(':').unwrap_or((full, ""));
            check(host, port).map(|()| address)
        }
    }
}

fn check(host: &str, port: &str) -> Result<(), AddressError> {
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    if host.contains(':') && !bracketed {
        return Err(AddressError::ColonInHost);
    }
    match port.parse::<u16>() {
        Ok(_) => Ok(()),
        Err(_) => Err(AddressError::Port(port.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_address_is_taken() {
        for (text, full) in [
            ("127.0.0.1:5466", "127.0.0.1:5466"),
            ("127.0.0.1", "127.0.0.1:5466"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]:5466"),
            ("host.example:0", "host.example:0"),
            ("unix:a b:c", "unix:a b:c"),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()), Ok(full.to_owned()));
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (text, error) in [
            ("", AddressError::NoHost),
            (":80", AddressError::NoHost),
            ("::1", AddressError::ColonInHost),
            ("http://host:80", AddressError::ColonInHost),
            ("host:", AddressError::Port(String::new())),
            ("host:65536", AddressError::Port("65536".into())),
            ("unix:", AddressError::NoPath),
        ] {
            assert_eq!(address(text), Err(error), "{text}");
        }
    }
}
