//! A worker's signs of life for the order it holds.

use std::cell::{Cell, RefCell};

use crate::core::fault_point::FaultPoint;
use crate::core::run::{Counts, Fence};
use crate::core::{Error, ErrorKind, Result};

use super::Engine;
use super::protocol::{RunSpec, SelectedStream, SyncRequest};
use super::turn::{self, Turn};

/// Progress is worth a call this often, in milliseconds: fresh enough for a person who watches.
const PROGRESS_MS: i64 = 2_000;

/// Heartbeats of one order.
pub(super) struct Pulse<'a> {
    engine: &'a Engine,
    spec: &'a RunSpec,
    order: i64,
    fence: Fence,
    last_ms: Cell<i64>,
    turn: RefCell<Option<Turn>>,
}

impl<'a> Pulse<'a> {
    pub(super) fn new(engine: &'a Engine, spec: &'a RunSpec, order: i64, fence: Fence) -> Self {
        let last_ms = Cell::new(engine.ports.clock.now_ms());
        Self { engine, spec, order, fence, last_ms, turn: RefCell::new(None) }
    }

    pub(super) fn engine(&self) -> &'a Engine {
        self.engine
    }

    pub(super) fn fence(&self) -> Fence {
        self.fence
    }

    /// Hands in some of the streams of the plan that the order is to make.
    pub(super) async fn plan(&self, streams: Vec<SelectedStream>) -> Result<()> {
        let plan = SyncRequest::Plan { order: self.order, fence: self.fence, streams };
        self.engine.actors.sync(&self.spec.run_id, plan).await.map(|_| ())
    }

    /// Stands at a border between two effects of the order.
    pub(super) async fn reach(&self, point: FaultPoint) -> Result<()> {
        self.engine.ports.reach(point, &self.spec.run_id).await
    }

    /// Microseconds UTC.
    pub(super) fn now(&self) -> i64 {
        self.engine.ports.clock.now_micros()
    }

    /// Waits until this isolate may move data, and keeps the turn until the order is done.
    pub(super) async fn take_turn(&self) {
        let turn = turn::take(&self.engine.ports).await;
        *self.turn.borrow_mut() = Some(turn);
    }

    /// Beats for as long as the order lasts, also while a source or destination says nothing for minutes (a scan for
    /// late changes, a publish). Ends only when the lease is lost, with that error.
    pub(super) async fn keep_alive(&self) -> Error {
        loop {
            self.engine.ports.timer.sleep_ms(turn::BEAT_MS).await;
            if let Err(error) = self.beat(None).await {
                return error;
            }
        }
    }

    /// Reports progress, unless it did a moment ago.
    pub(super) async fn progress(&self, counts: Counts) -> Result<()> {
        let now = self.engine.ports.clock.now_ms();
        if now.saturating_sub(self.last_ms.get()) < PROGRESS_MS {
            return Ok(());
        }
        self.last_ms.set(now);
        self.beat(Some((counts.read, counts.bytes))).await
    }

    /// A beat that fails because the lease is lost ends the work. An unreachable object does not: should the lease
    /// run out meanwhile, the destination refuses the commit (I4).
    async fn beat(&self, progress: Option<(u64, u64)>) -> Result<()> {
        if let Some(turn) = &*self.turn.borrow() {
            turn.extend(self.engine.ports.clock.now_ms());
        }
        let beat = SyncRequest::Heartbeat { order: self.order, fence: self.fence, progress };
        match self.engine.actors.sync(&self.spec.run_id, beat).await {
            Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Cancelled) => Err(error),
            _ => Ok(()),
        }
    }
}
