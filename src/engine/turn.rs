//! One mover of data per isolate (I9).
//!
//! An isolate's memory is shared by every event in it and never shrinks, and moving a chunk takes most of the budget:
//! a batch of 8 MiB in the builders, one in the encoder, a row group of 12 MiB and a part of 5 MiB. So whoever moves
//! data takes a turn. The platform spreads queue messages over isolates, so turns cost parallelism only where there
//! would be none: within one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;

use futures::future::{Either, select};

use crate::core::limits::LEASE_MS;
use crate::ports::Ports;

/// How often a waiting worker looks.
const LOOK_MS: u64 = 10;

/// A turn not extended for this long belongs to an event the platform killed without running destructors.
const LOST_AFTER_MS: i64 = LEASE_MS;

/// Who is silent beats this often: three beats may be lost before a turn is, or a lease.
pub(super) const BEAT_MS: u64 = 22_000;
const _: () = assert!(BEAT_MS * 4 < LOST_AFTER_MS.unsigned_abs());

/// A waiting worker that did not look for this long was killed while it waited. Far above [`LOOK_MS`], because a mover of
/// data may keep the thread to itself for a second.
const GONE_AFTER_MS: i64 = 3_000;

thread_local! {
    /// Number of the turn being taken and when it counts as lost (milliseconds UTC); 0 when free.
    static CURRENT: Cell<(u64, i64)> = const { Cell::new((0, 0)) };
    static NEXT: Cell<u64> = const { Cell::new(1) };
    /// Who waits, in order of arrival, and when each looked last (milliseconds UTC).
    static WAITING: RefCell<VecDeque<(u64, i64)>> = const { RefCell::new(VecDeque::new()) };
}

/// A place in the queue of those who wait; given up on drop.
struct Place(u64);

impl Drop for Place {
    fn drop(&mut self) {
        WAITING.with_borrow_mut(|waiting| waiting.retain(|(number, _)| *number != self.0));
    }
}

/// Whether the place is the first one of a living worker. Notes that this one lives.
fn is_first(place: &Place, now_ms: i64) -> bool {
    WAITING.with_borrow_mut(|waiting| {
        // A clock that was put right, either way, makes everybody look again.
        waiting.retain(|(number, seen)| {
            *number == place.0 || now_ms.abs_diff(*seen) < GONE_AFTER_MS.unsigned_abs()
        });
        match waiting.iter_mut().find(|(number, _)| *number == place.0) {
            Some((_, seen)) => *seen = now_ms,
            // It was taken for gone: it queues up again.
            None => waiting.push_back((place.0, now_ms)),
        }
        waiting.front().is_some_and(|(number, _)| *number == place.0)
    })
}

/// The right to move data; given back on drop.
pub(super) struct Turn(u64);

impl Turn {
    /// Does the work and keeps the turn meanwhile, however long either side of it is silent: a server that sorts a large table
    /// sends its first row minutes later.
    pub(super) async fn during<T>(&self, ports: &Ports, work: impl Future<Output = T>) -> T {
        let beats = pin!(async {
            loop {
                ports.timer.sleep_ms(BEAT_MS).await;
                self.extend(ports.clock.now_ms());
            }
        });
        match select(pin!(work), beats).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => never,
        }
    }

    /// Says that the mover is alive.
    pub(super) fn extend(&self, now_ms: i64) {
        CURRENT.with(|current| {
            if current.get().0 == self.0 {
                current.set((self.0, now_ms.saturating_add(LOST_AFTER_MS)));
            }
        });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        CURRENT.with(|current| {
            if current.get().0 == self.0 {
                current.set((0, 0));
            }
        });
    }
}

/// Waits for the isolate to be free. First come, first served: a large run takes its next turn behind everyone who came
/// meanwhile.
pub(super) async fn take(ports: &Ports) -> Turn {
    let place = Place(NEXT.with(|next| next.replace(next.get().wrapping_add(1).max(1))));
    loop {
        let now = ports.clock.now_ms();
        let (holder, until) = CURRENT.with(Cell::get);
        // The end of a turn further ahead than two of them was set under a clock that ran ahead: its mover says so again,
        // should it live.
        let lost = until <= now || until > now.saturating_add(2 * LOST_AFTER_MS);
        if is_first(&place, now) && (holder == 0 || lost) {
            CURRENT.with(|current| current.set((place.0, now.saturating_add(LOST_AFTER_MS))));
            return Turn(place.0);
        }
        ports.timer.sleep_ms(LOOK_MS).await;
    }
}
