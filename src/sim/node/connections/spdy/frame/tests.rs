use proptest::prelude::*;

use super::*;

fn decoded(bytes: &[u8]) -> Result<Vec<Frame>, SpdyError> {
    let mut decoder = Decoder::new();
    decoder.feed(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn what_is_written_is_read_however_it_arrives() {
    let frames = [
        Frame::SynStream {
            stream: 1,
            fin: false,
            headers: headers(&[("streamtype", "error"), ("port", "80")]),
        },
        Frame::SynStream {
            stream: 3,
            fin: true,
            headers: headers(&[("streamtype", "data"), ("port", "80")]),
        },
        Frame::SynReply { stream: 1, fin: false, headers: Headers::new() },
        Frame::Data { stream: 3, fin: true, data: Bytes::from_static(b"hello") },
        Frame::Ping(7),
        Frame::Reset { stream: 3, status: 5 },
        Frame::Headers { stream: 3, fin: false },
        Frame::GoAway { last: 3, status: 0 },
    ];
    let mut encoder = Encoder::new();
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| encoder.encode(frame)).collect();
    assert_eq!(decoded(&bytes).unwrap(), frames);
    let mut decoder = Decoder::new();
    let mut one_by_one = Vec::new();
    for byte in bytes {
        decoder.feed(&[byte]);
        one_by_one.extend(decoder.next().unwrap());
    }
    assert_eq!(one_by_one, frames);
}

#[test]
fn header_blocks_begin_as_those_of_others() {
    let bytes = Encoder::new().encode(&Frame::SynReply { stream: 1, fin: false, headers: Headers::new() });
    assert_eq!(
        bytes[12..18],
        [0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2],
        "zlib with the checksum of the dictionary"
    );
}

#[test]
fn malformed_frames_end_the_connection() {
    assert_eq!(decoded(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]), Err(SpdyError::Version(2)));
    assert_eq!(decoded(&[0x80, 3, 0, 6, 0, 0, 0, 2, 0, 0]), Err(SpdyError::Short), "a ping without a number");
    assert_eq!(decoded(&[0x80, 3, 0, 1, 0, 0, 0, 5, 0, 0, 0, 1, 0]), Err(SpdyError::Short));
    assert_eq!(decoded(&[0x80, 3, 0, 1, 0, 1, 0, 1]), Err(SpdyError::TooLong(65537)));
    assert_eq!(decoded(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]), Err(SpdyError::TooLong(0x00ff_ffff)));
    let garbage = [0x80, 3, 0, 2, 0, 0, 0, 8, 0, 0, 0, 1, 1, 2, 3, 4];
    assert_eq!(decoded(&garbage), Err(SpdyError::Compression));
    assert_eq!(
        decoded(&[0x80, 3, 0, 99, 0, 0, 0, 1, 5]),
        Ok(vec![Frame::Ignored]),
        "a kind that nobody knows"
    );
    assert_eq!(decoded(&[0x80, 3, 0]), Ok(Vec::new()), "the rest may still come");
}

#[test]
fn headers_that_grow_without_end_are_refused() {
    let bomb = Frame::SynStream { stream: 1, fin: false, headers: headers(&[("a", &"x".repeat(1 << 20))]) };
    let bytes = Encoder::new().encode(&bomb);
    assert!(bytes.len() < LONGEST_CONTROL, "small on the wire");
    assert_eq!(decoded(&bytes), Err(SpdyError::TooManyHeaders));
    let many: Vec<(&str, &str)> = vec![("a", "b"); 100];
    let bytes = Encoder::new().encode(&Frame::SynReply { stream: 1, fin: false, headers: headers(&many) });
    assert_eq!(decoded(&bytes), Err(SpdyError::TooManyHeaders));
}

proptest! {
    #[test]
    fn nothing_that_arrives_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decoded(&bytes);
    }

    #[test]
    fn nor_does_anything_that_looks_like_a_frame(
        frames in proptest::collection::vec((0_u16..12, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..8),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, body)| control(*kind, *flags, &[body])).collect();
        let _ = decoded(&bytes);
    }

    #[test]
    fn nor_a_frame_that_was_damaged(at in 0_usize..200, by in 1_u8..=255, name in "[a-z]{1,20}", value in ".{0,60}") {
        let mut encoder = Encoder::new();
        let mut bytes = encoder.encode(&Frame::SynStream { stream: 1, fin: false, headers: vec![(name, value)] });
        bytes.extend(encoder.encode(&Frame::SynReply { stream: 1, fin: false, headers: Headers::new() }));
        let at = at % bytes.len();
        bytes[at] ^= by;
        let _ = decoded(&bytes);
    }
}
