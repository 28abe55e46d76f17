//! One mover of data per isolate (I9).
//!
//! An isolate's memory is shared by every event in it and never shrinks, and moving a chunk takes most of the budget:
//! a batch of 8 MiB in the builders, one in the encoder, a row group of 12 MiB and a part of 5 MiB. So whoever moves
//! data takes a turn. The platform spreads queue messages over isolates, so turns cost parallelism only where there
//! would be none: within one thread.

use std::cell::Cell;

use crate::core::limits::LEASE_MS;
use crate::ports::Ports;

/// How often a waiting worker looks.
const LOOK_MS: u64 = 10;

/// A turn not extended for this long belongs to an event the platform killed without running destructors.
const LOST_AFTER_MS: i64 = LEASE_MS;

thread_local! {
    /// Number of the turn being taken and when it counts as lost (milliseconds UTC); 0 when free.
    static CURRENT: Cell<(u64, i64)> = const { Cell::new((0, 0)) };
    static NEXT: Cell<u64> = const { Cell::new(1) };
}

/// The right to move data; given back on drop.
pub(super) struct Turn(u64);

impl Turn {
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

/// Waits for the isolate to be free.
pub(super) async fn take(ports: &Ports) -> Turn {
    loop {
        let now = ports.clock.now_ms();
        let (holder, until) = CURRENT.with(Cell::get);
        if holder == 0 || until <= now {
            let turn = Turn(NEXT.with(|next| next.replace(next.get().wrapping_add(1).max(1))));
            CURRENT.with(|current| current.set((turn.0, now.saturating_add(LOST_AFTER_MS))));
            return turn;
        }
        ports.timer.sleep_ms(LOOK_MS).await;
    }
}
