//! SPDY/3.1 as Kubernetes' clients speak it: streams that the client opens on one connection. Knows no requests; windows are
//! not kept, for neither these clients nor upstream's servers do.

use std::collections::HashSet;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

mod dictionary;
mod frame;

pub(super) use frame::Headers;
use frame::{Decoder, Encoder, Frame};

/// How many streams a client may have open.
const STREAMS: usize = 512;
/// How many events and frames wait for who takes them.
const QUEUE: usize = 64;
/// How much goes into a frame.
const PIECE: usize = 32 << 10;
/// Statuses of a reset stream.
const PROTOCOL_ERROR: u32 = 1;
const REFUSED: u32 = 3;

/// What a client does.
#[derive(Debug)]
pub(super) enum Event {
    /// It opens a stream.
    Opened { stream: u32, headers: Headers },
    /// It sends something on one.
    Data { stream: u32, data: Bytes },
    /// It sends no more on one.
    Ended { stream: u32 },
}

/// The other side of a connection is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone;

/// The writing side of a connection. Clones share it; it is closed when all are gone.
#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Frame>);

impl Writer {
    /// Sends data on a stream.
    pub async fn send(&self, stream: u32, data: &[u8]) -> Result<(), Gone> {
        for piece in data.chunks(PIECE) {
            let data = Bytes::copy_from_slice(piece);
            self.frame(Frame::Data { stream, fin: false, data }).await?;
        }
        Ok(())
    }

    /// Says that nothing more will be sent on a stream.
    pub async fn end(&self, stream: u32) -> Result<(), Gone> {
        self.frame(Frame::Data { stream, fin: true, data: Bytes::new() }).await
    }

    /// Says that no stream will be answered any more.
    pub async fn leave(&self) -> Result<(), Gone> {
        self.frame(Frame::GoAway { last: 0, status: 0 }).await
    }

    async fn frame(&self, frame: Frame) -> Result<(), Gone> {
        self.0.send(frame).await.map_err(|_| Gone)
    }
}

/// Speaks SPDY as the server of a connection. The events end when the connection does.
pub(super) fn serve<C>(connection: C) -> (mpsc::Receiver<Event>, Writer)
where
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, write) = tokio::io::split(connection);
    let (frames, outgoing) = mpsc::channel(QUEUE);
    let (events, incoming) = mpsc::channel(QUEUE);
    // Two tasks: a client that reads nothing is still listened to.
    let answers = frames.downgrade();
    tokio::spawn(async move {
        // What is malformed ends the connection as its end does.
        let _ = read_all(read, &events, &answers).await;
    });
    tokio::spawn(write_all(write, outgoing));
    (incoming, Writer(frames))
}

async fn read_all<R: AsyncRead + Unpin>(
    mut read: R,
    events: &mpsc::Sender<Event>,
    answers: &mpsc::WeakSender<Frame>,
) -> Option<()> {
    let mut decoder = Decoder::new();
    let mut open = HashSet::new();
    let mut buffer = vec![0; PIECE];
    loop {
        let read = tokio::select! {
            read = read.read(&mut buffer) => read.ok().filter(|read| *read > 0)?,
            // Nobody wants to know any more.
            () = events.closed() => return None,
        };
        decoder.feed(&buffer[..read]);
        while let Some(frame) = decoder.next().ok()? {
            let answer = async |frame| answers.upgrade()?.send(frame).await.ok();
            match frame {
                Frame::SynStream { stream, .. } if stream % 2 == 0 || open.contains(&stream) => {
                    answer(Frame::Reset { stream, status: PROTOCOL_ERROR }).await?;
                }
                Frame::SynStream { stream, .. } if open.len() >= STREAMS => {
                    answer(Frame::Reset { stream, status: REFUSED }).await?;
                }
                Frame::SynStream { stream, fin, headers } => {
                    open.insert(stream);
                    answer(Frame::SynReply { stream, fin: false, headers: Headers::new() }).await?;
                    events.send(Event::Opened { stream, headers }).await.ok()?;
                    if fin {
                        open.remove(&stream);
                        events.send(Event::Ended { stream }).await.ok()?;
                    }
                }
                Frame::Data { stream, fin, data } if open.contains(&stream) => {
                    if !data.is_empty() {
                        events.send(Event::Data { stream, data }).await.ok()?;
                    }
                    if fin {
                        open.remove(&stream);
                        events.send(Event::Ended { stream }).await.ok()?;
                    }
                }
                Frame::Reset { stream, .. } | Frame::Headers { stream, fin: true }
                    if open.remove(&stream) =>
                {
                    events.send(Event::Ended { stream }).await.ok()?;
                }
                Frame::Ping(id) if id % 2 == 1 => answer(Frame::Ping(id)).await?,
                _ => {}
            }
        }
    }
}

async fn write_all<W: AsyncWrite + Unpin>(mut write: W, mut frames: mpsc::Receiver<Frame>) {
    let mut encoder = Encoder::new();
    while let Some(frame) = frames.recv().await {
        let bytes = encoder.encode(&frame);
        if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
    let _ = write.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_are_answered_and_pings_returned() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (mut events, writer) = serve(server);
        let mut encoder = Encoder::new();
        let headers = vec![("streamtype".to_owned(), "stdin".to_owned())];
        for frame in [
            Frame::SynStream { stream: 1, fin: false, headers: headers.clone() },
            Frame::SynStream { stream: 2, fin: false, headers: headers.clone() },
            Frame::Ping(1),
            Frame::Data { stream: 1, fin: true, data: Bytes::from_static(b"in") },
            Frame::Data { stream: 9, fin: true, data: Bytes::from_static(b"of nobody") },
        ] {
            client.write_all(&encoder.encode(&frame)).await.unwrap();
        }
        assert!(
            matches!(events.recv().await.unwrap(), Event::Opened { stream: 1, headers: told } if told == headers)
        );
        assert!(matches!(events.recv().await.unwrap(), Event::Data { stream: 1, data } if data == "in"));
        assert!(matches!(events.recv().await.unwrap(), Event::Ended { stream: 1 }));
        writer.send(1, b"out").await.unwrap();
        writer.end(1).await.unwrap();
        drop(writer);
        let mut bytes = Vec::new();
        let mut decoder = Decoder::new();
        client.read_to_end(&mut bytes).await.unwrap();
        decoder.feed(&bytes);
        let frames: Vec<Frame> = std::iter::from_fn(|| decoder.next().unwrap()).collect();
        let data = |fin, data| Frame::Data { stream: 1, fin, data: Bytes::from_static(data) };
        assert_eq!(
            frames,
            [
                Frame::SynReply { stream: 1, fin: false, headers: Headers::new() },
                Frame::Reset { stream: 2, status: PROTOCOL_ERROR },
                Frame::Ping(1),
                data(false, b"out"),
                data(true, b""),
            ]
        );
    }
}
