//! Bytes as text and back, without loss: the shell works on text, and what is no UTF-8 in it stands for single bytes.

/// Where the characters begin that stand for the bytes from 0x80 on.
const FIRST: u32 = 0x0010_ff80;

/// Returns bytes as text.
pub(in crate::sim::node) fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if u32::from(letter) < FIRST {
                text.push(letter);
            } else {
                // A genuine one of those characters is taken apart.
                let mut buffer = [0; 4];
                text.extend(letter.encode_utf8(&mut buffer).bytes().map(stand_in));
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stand_in));
    }
    text
}

/// Returns text as the bytes that it stands for.
pub(in crate::sim::node) fn to_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for letter in text.chars() {
        match u8::try_from(u32::from(letter).wrapping_sub(FIRST).wrapping_add(0x80)) {
            Ok(byte) if u32::from(letter) >= FIRST => bytes.push(byte),
            _ => bytes.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    bytes
}

fn stand_in(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte.wrapping_sub(0x80))).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(to_bytes(&to_text(&bytes)), bytes);
        }

        #[test]
        fn text_stays_as_it_is(text in "[a-zäöü€ \n]{0,40}") {
            prop_assert_eq!(to_text(text.as_bytes()), text);
        }
    }

    #[test]
    fn characters_that_stand_for_bytes_survive_too() {
        let genuine = "\u{10ff80}\u{10ffff}".as_bytes();
        assert_eq!(to_bytes(&to_text(genuine)), genuine);
    }
}
