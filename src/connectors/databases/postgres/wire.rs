//! The byte stream under tokio-postgres: big reads, and a bound on memory.
//!
//! tokio-postgres reads in steps of 8 KiB and buffers a message until it is complete, however big. This layer reads
//! from the platform in large steps (on Workers every read crosses into JavaScript) and follows the message frames
//! as they pass, so that a row of 50 MB is refused when its header arrives, before anything was allocated for it (I9).
//! It also notices a server that says nothing any more ([`Patience`]).

use std::cell::Cell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::patience::Patience;
use crate::core::limits::{MAX_ROW_BYTES, MAX_VALUE_BYTES};
use crate::ports::TcpStream;

/// Bytes asked from the platform at once.
const READ_BYTES: usize = 128 * 1024;

/// Rows are read ahead of their reader up to this many bytes. tokio-postgres would queue three messages, whatever their size.
const AHEAD_BYTES: usize = 2 * READ_BYTES;

/// A value or a row beyond the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Oversize {
    /// Position of the column, if a single value is too large; `None` when only the whole row is.
    pub(super) field: Option<usize>,
    /// Bytes of the value or the row.
    pub(super) bytes: usize,
}

impl fmt::Display for Oversize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of {} bytes exceeds the limit", self.bytes)
    }
}

impl std::error::Error for Oversize {}

/// What the wire has seen, shared with the session above tokio-postgres.
#[derive(Default)]
pub(super) struct WireNotes {
    /// The row count of the last `COPY n` completion tag, which tokio-postgres does not pass on.
    pub(super) copied: Cell<Option<u64>>,
    /// True once any byte came from the server.
    pub(super) heard: Cell<bool>,
    /// Bytes of rows that arrived in full and that the reader of the COPY has not taken yet.
    waiting: Cell<usize>,
    /// True when reading stopped because of them.
    stalled: Cell<bool>,
}

impl WireNotes {
    /// A COPY begins.
    pub(super) fn begin_copy(&self) {
        self.copied.set(None);
        self.waiting.set(0);
    }

    /// The reader of the COPY took a row.
    pub(super) fn taken(&self, bytes: usize) {
        self.waiting.set(self.waiting.get().saturating_sub(bytes));
    }

    /// True when reading stopped for rows that were not taken; asking starts it again. Nobody else would.
    pub(super) fn was_stalled(&self) -> bool {
        self.stalled.take() && self.waiting.get() <= AHEAD_BYTES
    }
}

/// The stream handed to tokio-postgres.
pub(super) struct WireStream {
    inner: Box<dyn TcpStream>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    frames: Frames,
    notes: Rc<WireNotes>,
    patience: Patience,
}

impl WireStream {
    /// Wraps a stream whose next byte from the server begins a message.
    pub(super) fn new(inner: Box<dyn TcpStream>, notes: Rc<WireNotes>, patience: Patience) -> Self {
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        Self { inner, buffer, start: 0, end: 0, frames: Frames::default(), notes, patience }
    }

    /// Reads from the platform into the buffer. Zero bytes are the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.notes.waiting.get() > AHEAD_BYTES {
            self.notes.stalled.set(true);
            return Poll::Pending;
        }
        let mut read = ReadBuf::new(&mut self.buffer);
        match Pin::new(&mut self.inner).poll_read(cx, &mut read) {
            Poll::Pending => return self.patience.poll_exhausted(cx).map(Err),
            Poll::Ready(outcome) => outcome?,
        }
        self.patience.renew();
        let filled = read.filled();
        self.frames.pass(filled, &self.notes).map_err(io::Error::other)?;
        (self.start, self.end) = (0, filled.len());
        self.notes.heard.set(self.notes.heard.get() || self.end > 0);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for WireStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start == this.end {
            ready!(this.poll_fill(cx))?;
        }
        let waiting = this.buffer.get(this.start..this.end).unwrap_or_default();
        let taken = waiting.get(..out.remaining()).unwrap_or(waiting);
        out.put_slice(taken);
        this.start += taken.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // What is asked now has all the time there is, however long the connection lay idle before.
        this.patience.renew();
        Pin::new(&mut this.inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// Follows message frames: a tag byte, a big-endian length that counts itself, the body.
#[derive(Default)]
struct Frames {
    /// Bytes of the current header seen so far.
    header: Partial<5>,
    /// Bytes of the current body still to come.
    body: usize,
    /// Bytes of the current body, if it is a row of a COPY.
    row: usize,
    /// The body of a `CommandComplete`, while it passes.
    tag: Option<Vec<u8>>,
    /// The search for the culprit in a row that is too large.
    hunt: Option<Hunt>,
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8], notes: &WireNotes) -> Result<(), Oversize> {
        while !bytes.is_empty() {
            if self.body == 0 {
                let Some(header) = self.header.fill(&mut bytes) else { return Ok(()) };
                self.begin(header)?;
                continue;
            }
            let (passing, rest) = bytes.split_at_checked(self.body).unwrap_or((bytes, &[]));
            if let Some(hunt) = &mut self.hunt {
                hunt.pass(passing)?;
            }
            if let Some(tag) = &mut self.tag {
                tag.extend_from_slice(passing);
            }
            self.body -= passing.len();
            bytes = rest;
            if self.body == 0 {
                self.finish(notes);
            }
        }
        Ok(())
    }

    fn begin(&mut self, [kind, a, b, c, d]: [u8; 5]) -> Result<(), Oversize> {
        // A length below 4 is malformed; tokio-postgres says so when it gets there. COPY sends a row per message, so what
        // bounds a row bounds every message.
        self.body = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
        self.row = if kind == b'd' { self.body } else { 0 };
        if self.body > MAX_ROW_BYTES {
            if kind != b'd' {
                return Err(Oversize { field: None, bytes: self.body });
            }
            self.hunt = Some(Hunt::new(self.body));
        } else if kind == b'C' && self.body < 64 {
            self.tag = Some(Vec::with_capacity(self.body));
        }
        Ok(())
    }

    fn finish(&mut self, notes: &WireNotes) {
        notes.waiting.set(notes.waiting.get().saturating_add(std::mem::take(&mut self.row)));
        let Some(tag) = self.tag.take() else { return };
        let count = tag.strip_prefix(b"COPY ").and_then(|rest| rest.strip_suffix(b"\0"));
        if let Some(count) = count.and_then(|digits| std::str::from_utf8(digits).ok()) {
            notes.copied.set(count.parse().ok());
        }
    }
}

/// Finds the first value over the limit in a row of COPY BINARY, while its bytes are thrown away.
struct Hunt {
    row: usize,
    stage: Stage,
    /// Bytes to let pass before the next number.
    skip: usize,
    field: usize,
    sum: usize,
    count: Partial<2>,
    length: Partial<4>,
}

enum Stage {
    Count,
    Lengths,
}

impl Hunt {
    fn new(row: usize) -> Self {
        Self {
            row,
            stage: Stage::Count,
            skip: 0,
            field: 0,
            sum: 0,
            count: Partial::default(),
            length: Partial::default(),
        }
    }

    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Oversize> {
        loop {
            let (passed, rest) = bytes.split_at_checked(self.skip).unwrap_or((bytes, &[]));
            self.skip -= passed.len();
            bytes = rest;
            if bytes.is_empty() {
                return Ok(());
            }
            match self.stage {
                // The first row shares its message with the file header: 11 bytes of signature beginning "PG", two
                // 32-bit words.
                Stage::Count => match self.count.fill(&mut bytes) {
                    Some([b'P', b'G']) => self.skip = 17,
                    Some(_) => self.stage = Stage::Lengths,
                    None => {}
                },
                Stage::Lengths => {
                    if let Some(length) = self.length.fill(&mut bytes) {
                        self.value(i32::from_be_bytes(length))?;
                    }
                }
            }
        }
    }

    fn value(&mut self, length: i32) -> Result<(), Oversize> {
        let length = usize::try_from(length).unwrap_or(0);
        self.sum += length;
        if length > MAX_VALUE_BYTES {
            return Err(Oversize { field: Some(self.field), bytes: length });
        }
        if self.sum > MAX_ROW_BYTES {
            return Err(Oversize { field: None, bytes: self.row });
        }
        self.field += 1;
        self.skip = length;
        Ok(())
    }
}

/// A fixed number of bytes that may arrive in pieces.
struct Partial<const N: usize> {
    bytes: [u8; N],
    have: usize,
}

impl<const N: usize> Default for Partial<N> {
    fn default() -> Self {
        Self { bytes: [0; N], have: 0 }
    }
}

impl<const N: usize> Partial<N> {
    /// Takes what is missing from the front of `input`; all `N` bytes when complete.
    fn fill(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        if self.have == 0
            && let Some((whole, rest)) = input.split_first_chunk::<N>()
        {
            *input = rest;
            return Some(*whole);
        }
        while self.have < N {
            let (byte, rest) = input.split_first()?;
            *self.bytes.get_mut(self.have)? = *byte;
            self.have += 1;
            *input = rest;
        }
        self.have = 0;
        Some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::limits::MIB;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    /// Passes the bytes in pieces of that size.
    fn pass(bytes: &[u8], piece: usize) -> (Result<(), Oversize>, Option<u64>) {
        let (mut frames, notes) = (Frames::default(), WireNotes::default());
        let outcome = bytes.chunks(piece).try_for_each(|piece| frames.pass(piece, &notes));
        (outcome, notes.copied.get())
    }

    #[test]
    fn the_row_count_of_a_copy_is_seen_however_the_bytes_are_cut() {
        let mut bytes = message(b'd', &[7; 300]);
        bytes.extend(message(b'c', &[]));
        bytes.extend(message(b'C', b"COPY 1234\0"));
        bytes.extend(message(b'Z', b"T"));
        for piece in 1..40 {
            assert_eq!(pass(&bytes, piece), (Ok(()), Some(1234)));
        }
    }

    #[test]
    fn i9_the_value_that_is_too_large_is_found_by_its_header() {
        let huge = MAX_ROW_BYTES + 1;
        for header in [&b""[..], b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"] {
            let mut row = header.to_vec();
            row.extend(3_i16.to_be_bytes());
            row.extend(2_i32.to_be_bytes());
            row.extend(b"ok");
            row.extend((-1_i32).to_be_bytes());
            row.extend(i32::try_from(huge).unwrap().to_be_bytes());
            let mut bytes = vec![b'd'];
            bytes.extend(u32::try_from(huge + 50).unwrap().to_be_bytes());
            bytes.extend(row);
            for piece in 1..40 {
                let (outcome, _) = pass(&bytes, piece);
                assert_eq!(outcome, Err(Oversize { field: Some(2), bytes: huge }));
            }
        }
    }

    #[test]
    fn i9_a_row_of_many_big_values_is_refused_as_a_row() {
        let value = 2 * MIB;
        let mut bytes = vec![b'd'];
        bytes.extend(u32::try_from(3 * value + 18).unwrap().to_be_bytes());
        bytes.extend(3_i16.to_be_bytes());
        for _ in 0..3 {
            bytes.extend(i32::try_from(value).unwrap().to_be_bytes());
            bytes.extend(vec![b'x'; value]);
        }
        let (outcome, _) = pass(&bytes, READ_BYTES);
        assert_eq!(outcome, Err(Oversize { field: None, bytes: 3 * value + 14 }));
    }

    #[test]
    fn i9_other_messages_are_bounded_too() {
        let mut bytes = vec![b'D'];
        bytes.extend(u32::MAX.to_be_bytes());
        assert!(pass(&bytes, 5).0.is_err());
    }
}
