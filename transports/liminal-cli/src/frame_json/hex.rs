//! Bytes as hexadecimal digits.

/// Two lower-case digits for each byte.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    let mut digits = String::with_capacity(bytes.len().saturating_mul(2));
    digits.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)]));
    digits
}

/// The bytes that these digits stand for; upper case counts too. `None` for anything but pairs of
/// digits.
#[must_use]
pub fn decode(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// The value of one digit of either case.
#[must_use]
pub const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&bytes)), Some(bytes));
    }

    #[test]
    fn case_does_not_matter_when_reading() {
        assert_eq!(decode("0aFf"), Some(vec![0x0A, 0xFF]));
    }

    #[test]
    fn anything_but_pairs_of_digits_is_refused() {
        for digits in ["0", "0g", "0x00", " 00", "é"] {
            assert_eq!(decode(digits), None, "{digits}");
        }
    }
}
