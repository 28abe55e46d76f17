//! How long a statement may run, and how long a server may be silent before it counts as lost.
//!
//! A network that swallows packets (a firewall that forgot the connection, a machine that lost power) ends no connection,
//! and Workers cannot turn TCP keep-alive on. Nothing but a clock of our own notices it. The server's own
//! `statement_timeout` is shorter, so where the server lives, its error is the one that is told.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::future::LocalBoxFuture;

use crate::ports::Timer;

/// Default of `query_timeout_seconds`.
pub(super) const DEFAULT_QUERY_SECONDS: u32 = 600;

/// Smallest `query_timeout_seconds`: below, a busy server could not even open a table.
pub(super) const MIN_QUERY_SECONDS: u32 = 5;

/// Largest `query_timeout_seconds`. An invocation of a Worker ends after 15 minutes and a consumer may begin its last order
/// at the end of the first, so silence must be noticed within 14 minutes, or 840 s.
pub(super) const MAX_QUERY_SECONDS: u32 = 750;

/// A statement's timeout reaches us within this many seconds after it fired, or never.
const ERROR_TRAVELS_SECONDS: u32 = 10;

/// Silence is looked for this many times per limit, so it is noticed after 1 to 1.1 limits: a timer per read would cost a
/// call into JavaScript for each.
const LOOKS: u32 = 10;
const _: () = assert!((MAX_QUERY_SECONDS + ERROR_TRAVELS_SECONDS) * (LOOKS + 1) / LOOKS <= 840);

/// Watches for bytes.
pub(super) struct Patience {
    timer: Rc<dyn Timer>,
    limit_seconds: u32,
    /// True when something happened since the last look.
    stirred: bool,
    /// Looks in a row at which nothing had happened.
    quiet: u32,
    next_look: Option<LocalBoxFuture<'static, ()>>,
}

impl Patience {
    /// Patience with a server whose statements end after that time.
    pub(super) fn new(timer: Rc<dyn Timer>, query_seconds: u32) -> Self {
        let limit_seconds = query_seconds.saturating_add(ERROR_TRAVELS_SECONDS);
        Self { timer, limit_seconds, stirred: true, quiet: 0, next_look: None }
    }

    /// Bytes came, or something new was asked.
    pub(super) fn renew(&mut self) {
        self.stirred = true;
    }

    /// Ready with the error when the limit has passed without a byte. To be polled whenever there is nothing to read.
    pub(super) fn poll_exhausted(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let next_look = self.next_look.get_or_insert_with(|| {
                let timer = Rc::clone(&self.timer);
                let ms = u64::from(self.limit_seconds) * 1_000 / u64::from(LOOKS);
                Box::pin(async move { timer.sleep_ms(ms).await })
            });
            ready!(next_look.as_mut().poll(cx));
            self.next_look = None;
            self.quiet = if std::mem::take(&mut self.stirred) { 0 } else { self.quiet.saturating_add(1) };
            if self.quiet >= LOOKS {
                let message = format!("it sent nothing for {} s", self.limit_seconds);
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
    }
}
