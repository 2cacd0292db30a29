//! Randomness: uids, name suffixes, keys. The only user of the system's generator in the simulated cluster.

use ring::rand::{SecureRandom, SystemRandom};

/// The letters of generated names: no vowels, nothing that reads like another.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Fills an array with random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The generator of a running system does not fail; a zeroed array would at worst make a write collide.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}

/// Returns a version 4 UUID.
pub(crate) fn uuid() -> String {
    let mut b = bytes::<16>();
    b[6] = (b[6] & 0x0F) | 0x40;
    b[8] = (b[8] & 0x3F) | 0x80;
    let hex = hex(&b);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Returns a suffix as generated names have it.
pub(crate) fn suffix(len: usize) -> String {
    let mut text = String::with_capacity(len);
    while text.len() < len {
        for byte in bytes::<16>() {
            // Values past the largest multiple would favour the first letters.
            if text.len() < len && byte < 243 {
                text.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
            }
        }
    }
    text
}

/// Writes bytes as lowercase hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [char::from(DIGITS[usize::from(b >> 4)]), char::from(DIGITS[usize::from(b & 15)])])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_of_version_four_and_differ() {
        let (a, b) = (uuid(), uuid());
        assert_ne!(a, b);
        assert_eq!((a.len(), a.as_bytes()[14]), (36, b'4'));
        assert!(matches!(a.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        let suffix = suffix(40);
        assert!(suffix.len() == 40 && suffix.bytes().all(|b| LETTERS.contains(&b)));
    }
}
