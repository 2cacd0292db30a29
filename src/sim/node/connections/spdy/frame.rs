//! Frames of SPDY/3.1 to bytes and back. Knows no streams, and trusts nothing that comes in.

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::DICTIONARY;

/// The longest frame of data that is taken.
const LONGEST_DATA: usize = 4 << 20;
/// The longest control frame that is taken.
const LONGEST_CONTROL: usize = 64 << 10;
/// How large a block of headers may become, and how many there may be in it.
const HEADERS: usize = 64 << 10;
const MOST_HEADERS: usize = 64;
/// Length of the part that all frames have.
const HEAD: usize = 8;
/// The bit that tells control frames from data, and the version that they bear.
const CONTROL: u16 = 0x8000;
const VERSION: u16 = 3;
/// The flags that matter: no more will come from this side, and none may come from the other.
const FIN: u8 = 1;

/// Names and values; names are in lower case.
pub(in super::super) type Headers = Vec<(String, String)>;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Frame {
    SynStream {
        stream: u32,
        fin: bool,
        headers: Headers,
    },
    SynReply {
        stream: u32,
        fin: bool,
        headers: Headers,
    },
    Reset {
        stream: u32,
        status: u32,
    },
    Ping(u32),
    GoAway {
        last: u32,
        status: u32,
    },
    /// Further headers, which nobody needs.
    Headers {
        stream: u32,
        fin: bool,
    },
    /// What says nothing here: settings and windows, which Kubernetes' clients do not keep to, and what is unknown.
    Ignored,
    Data {
        stream: u32,
        fin: bool,
        data: Bytes,
    },
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum SpdyError {
    #[error("a frame of version {0}")]
    Version(u16),
    #[error("a frame of {0} bytes")]
    TooLong(usize),
    #[error("a frame that ends before it should")]
    Short,
    #[error("headers that cannot be decompressed")]
    Compression,
    #[error("more headers than are taken")]
    TooManyHeaders,
}

/// Reads frames from what arrives.
#[derive(Debug)]
pub(in super::super) struct Decoder {
    arrived: BytesMut,
    inflate: Decompress,
}

impl Decoder {
    pub fn new() -> Self {
        Self { arrived: BytesMut::new(), inflate: Decompress::new(true) }
    }

    /// Takes what has arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
    }

    /// Returns the next frame, when all of it is there.
    pub fn next(&mut self) -> Result<Option<Frame>, SpdyError> {
        let Some(head) = self.arrived.get(..HEAD) else { return Ok(None) };
        let mut head = head;
        let (first, second) = (head.get_u16(), head.get_u16());
        let flags_and_length = head.get_u32();
        let (flags, length) = ((flags_and_length >> 24) as u8, (flags_and_length & 0x00ff_ffff) as usize);
        let control = first & CONTROL != 0;
        if length > if control { LONGEST_CONTROL } else { LONGEST_DATA } {
            return Err(SpdyError::TooLong(length));
        }
        if control && first & !CONTROL != VERSION {
            return Err(SpdyError::Version(first & !CONTROL));
        }
        if self.arrived.len() < HEAD + length {
            return Ok(None);
        }
        let body = self.arrived.split_to(HEAD + length).split_off(HEAD).freeze();
        let fin = flags & FIN != 0;
        if !control {
            let stream = (u32::from(first) << 16) | u32::from(second);
            return Ok(Some(Frame::Data { stream, fin, data: body }));
        }
        self.control(second, fin, body).map(Some)
    }

    fn control(&mut self, kind: u16, fin: bool, mut body: Bytes) -> Result<Frame, SpdyError> {
        let number = |body: &mut Bytes| body.try_get_u32().map_err(|_| SpdyError::Short);
        let id = |body: &mut Bytes| number(body).map(|id| id & 0x7fff_ffff);
        Ok(match kind {
            1 => {
                let stream = id(&mut body)?;
                if body.len() < 6 {
                    return Err(SpdyError::Short);
                }
                body.advance(6);
                Frame::SynStream { stream, fin, headers: self.headers(&body)? }
            }
            2 => Frame::SynReply { stream: id(&mut body)?, fin, headers: self.headers(&body)? },
            3 => Frame::Reset { stream: id(&mut body)?, status: number(&mut body)? },
            6 => Frame::Ping(number(&mut body)?),
            7 => Frame::GoAway { last: id(&mut body)?, status: number(&mut body)? },
            8 => {
                let stream = id(&mut body)?;
                // Read all the same: blocks are compressed one after the other.
                self.headers(&body)?;
                Frame::Headers { stream, fin }
            }
            _ => Frame::Ignored,
        })
    }

    fn headers(&mut self, block: &[u8]) -> Result<Headers, SpdyError> {
        let mut block = Bytes::from(self.inflate(block)?);
        let number = |block: &mut Bytes| {
            let number = block.try_get_u32().map_err(|_| SpdyError::Short)?;
            usize::try_from(number).map_err(|_| SpdyError::Short)
        };
        let text = |block: &mut Bytes| {
            let length = number(block)?;
            if block.len() < length {
                return Err(SpdyError::Short);
            }
            Ok(String::from_utf8_lossy(&block.split_to(length)).into_owned())
        };
        let count = number(&mut block)?;
        if count > MOST_HEADERS {
            return Err(SpdyError::TooManyHeaders);
        }
        let mut headers = Headers::new();
        for _ in 0..count {
            headers.push((text(&mut block)?.to_lowercase(), text(&mut block)?));
        }
        Ok(headers)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, SpdyError> {
        let mut out = Vec::with_capacity(1 << 10);
        loop {
            if out.len() == out.capacity() {
                if out.len() >= HEADERS {
                    return Err(SpdyError::TooManyHeaders);
                }
                out.reserve(out.len());
            }
            let (taken, made) = (self.inflate.total_in(), out.len());
            let outcome = self.inflate.decompress_vec(block, &mut out, FlushDecompress::Sync);
            let taken = usize::try_from(self.inflate.total_in() - taken).unwrap_or(usize::MAX);
            block = block.get(taken..).ok_or(SpdyError::Compression)?;
            match outcome {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&DICTIONARY).map_err(|_| SpdyError::Compression)?;
                }
                Err(_) | Ok(Status::StreamEnd) => return Err(SpdyError::Compression),
                Ok(_) if block.is_empty() && out.len() < out.capacity() => return Ok(out),
                Ok(_) if taken == 0 && out.len() == made && !block.is_empty() => {
                    return Err(SpdyError::Compression);
                }
                Ok(_) => {}
            }
        }
    }
}

/// Writes frames.
#[derive(Debug)]
pub(in super::super) struct Encoder {
    deflate: Compress,
}

impl Encoder {
    pub fn new() -> Self {
        let mut deflate = Compress::new(Compression::default(), true);
        // It can only be refused where something has been compressed already.
        let _ = deflate.set_dictionary(&DICTIONARY);
        Self { deflate }
    }

    /// Returns the bytes of a frame.
    pub fn encode(&mut self, frame: &Frame) -> Vec<u8> {
        let flag = |fin: &bool| if *fin { FIN } else { 0 };
        match frame {
            Frame::SynStream { stream, fin, headers } => {
                let block = self.headers(headers);
                control(1, flag(fin), &[&stream.to_be_bytes(), &[0; 6], &block])
            }
            Frame::SynReply { stream, fin, headers } => {
                let block = self.headers(headers);
                control(2, flag(fin), &[&stream.to_be_bytes(), &block])
            }
            Frame::Reset { stream, status } => control(3, 0, &[&stream.to_be_bytes(), &status.to_be_bytes()]),
            Frame::Ping(id) => control(6, 0, &[&id.to_be_bytes()]),
            Frame::GoAway { last, status } => control(7, 0, &[&last.to_be_bytes(), &status.to_be_bytes()]),
            Frame::Headers { stream, fin } => {
                let block = self.headers(&[]);
                control(8, flag(fin), &[&stream.to_be_bytes(), &block])
            }
            Frame::Ignored => control(4, 0, &[&[0; 4]]),
            Frame::Data { stream, fin, data } => {
                let mut bytes = (stream & 0x7fff_ffff).to_be_bytes().to_vec();
                finish(&mut bytes, flag(fin), &[data]);
                bytes
            }
        }
    }

    fn headers(&mut self, headers: &[(String, String)]) -> Vec<u8> {
        let length = |length: usize| u32::try_from(length).unwrap_or_default().to_be_bytes();
        let mut plain = length(headers.len()).to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend(length(text.len()));
            plain.extend_from_slice(text.as_bytes());
        }
        let mut block = Vec::with_capacity(plain.len() + 64);
        let mut rest = plain.as_slice();
        loop {
            let before = self.deflate.total_in();
            // Compressing into memory fails for want of room alone.
            let _ = self.deflate.compress_vec(rest, &mut block, FlushCompress::Sync);
            let taken = usize::try_from(self.deflate.total_in() - before).unwrap_or_default();
            rest = rest.get(taken..).unwrap_or_default();
            if rest.is_empty() && block.len() < block.capacity() {
                return block;
            }
            block.reserve(256);
        }
    }
}

fn control(kind: u16, flags: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = (CONTROL | VERSION).to_be_bytes().to_vec();
    bytes.extend(kind.to_be_bytes());
    finish(&mut bytes, flags, parts);
    bytes
}

fn finish(bytes: &mut Vec<u8>, flags: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).unwrap_or_default() & 0x00ff_ffff;
    bytes.extend(((u32::from(flags) << 24) | length).to_be_bytes());
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
}

#[cfg(test)]
mod tests;
