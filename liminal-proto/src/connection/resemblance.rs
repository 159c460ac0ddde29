//! What a peer that does not speak the protocol seems to speak, from its first bytes.

use crate::Resemblance;

const HTTP_METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"PRI * HTTP"];

/// A TLS record of type handshake (22), major version 3.
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];

/// What the first bytes of a connection look like.
pub(super) fn of(bytes: &[u8]) -> Option<Resemblance> {
    if HTTP_METHODS.iter().any(|method| bytes.starts_with(method)) {
        Some(Resemblance::Http)
    } else if bytes.starts_with(TLS_HANDSHAKE) {
        Some(Resemblance::Tls)
    } else if bytes.starts_with(b"SSH-") {
        Some(Resemblance::Ssh)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::Resemblance;

    #[test]
    fn common_strangers_are_recognised_by_their_first_bytes() {
        let cases: [(&[u8], Option<Resemblance>); 5] = [
            (b"GET / HTTP/1.1\r\n", Some(Resemblance::Http)),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03", Some(Resemblance::Tls)),
            (b"SSH-2.0-OpenSSH_9.9\r\n", Some(Resemblance::Ssh)),
            (b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x0c", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(of(bytes), expected, "{bytes:?}");
        }
    }
}
