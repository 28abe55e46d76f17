//! The engine under every kind of bad luck: random sequences of deliveries, duplicates, losses, delays, crashes at
//! any border, lease expiry, clock jumps, people who start, pause, edit and delete, source transactions and schema
//! changes, against the real state machines and in-memory platforms. What must hold at any time is checked after each
//! event; after it all calms down, the destination must equal the source.
//!
//! Most sequences run over a destination in memory, some hundreds over the real D1 and R2 ones. `MODEL_CASES` is their
//! number in all; a failure shrinks and tells the seed, and `MODEL_SEED` repeats it.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a native test measures itself")]

mod model;
mod support;

use std::io::Write as _;
use std::time::{Instant, SystemTime};

use fivetran_do::core::limits::MAX_ATTEMPTS;
use fivetran_do::core::settings::TableSyncMode;
use fivetran_do::engine::Trigger;
use model::Model;
use model::event::{Event, event};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use support::ledger::IDS;

const MINUTE: i64 = 60_000_000;

/// Sequences of all tests together.
const CASES: u32 = 10_000;

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs that many per mille of all sequences.
fn survive_all(service: &'static str, mode: TableSyncMode, per_mille: u32) {
    let cases = (from_environment("MODEL_CASES").unwrap_or(CASES) * per_mille / 1_000).max(1);
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed: u64 = from_environment("MODEL_SEED").unwrap_or_else(clock);
    let config = Config {
        cases,
        max_shrink_iters: 2_000,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    let began = Instant::now();
    let sequences = (prop::collection::vec(event(), 1..60), any::<bool>());
    let outcome =
        TestRunner::new(config).run(&sequences, |(events, resync)| survive(service, mode, events, resync));
    // Past the test harness, which keeps what passing tests print.
    let seconds = began.elapsed().as_secs_f32();
    let line =
        format!("model: {cases} sequences over {service}, {mode:?}, in {seconds:.1} s, MODEL_SEED={seed}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, (events, resync))) => {
            panic!("{why}\nMODEL_SEED={seed} repeats it; resync = {resync}, events = {events:?}")
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// Lives through the events, calms down and syncs once more in peace: every row of the source is there with its value;
/// after a re-sync the vanished ones are marked, and no others.
fn survive(
    service: &'static str,
    mode: TableSyncMode,
    events: Vec<Event>,
    resync: bool,
) -> Result<(), TestCaseError> {
    let mut model = Model::keeping(service, mode);
    for event in events {
        model.apply(event)?;
    }
    model.calm_down()?;
    model.last_sync(if resync { Trigger::Resync } else { Trigger::Manual })?;
    let (source, there) = (model.source_rows(), model.rows());
    for (id, value) in &source {
        prop_assert_eq!(there.get(id), Some(&(value.clone(), false)), "row {} is lost or stale", id);
    }
    for (id, (_, gone)) in &there {
        prop_assert!(!resync || *gone != source.contains_key(id), "row {} is wrongly marked", id);
    }
    model.check_deleted()
}

#[test]
fn i1_i2_i3_i4_whatever_happens_to_messages_and_workers_the_destination_equals_the_source() {
    survive_all("memory", TableSyncMode::SoftDelete, 470);
}

/// The same again, so that two cores have the same to do.
#[test]
fn i1_i2_i3_i4_whatever_happens_in_other_sequences_the_destination_equals_the_source() {
    survive_all("memory", TableSyncMode::SoftDelete, 470);
}

#[test]
fn i1_i2_i3_i4_whatever_happens_to_messages_and_workers_d1_equals_the_source() {
    survive_all("d1", TableSyncMode::SoftDelete, 30);
}

#[test]
fn i1_i2_i3_i4_whatever_happens_to_messages_and_workers_r2_equals_the_source() {
    survive_all("r2", TableSyncMode::SoftDelete, 30);
}

#[test]
fn i1_i2_i3_i4_whatever_happens_to_messages_and_workers_a_history_in_d1_ends_with_the_source() {
    survive_all("d1", TableSyncMode::History, 10);
}

#[test]
fn i1_i2_i3_i4_whatever_happens_to_messages_and_workers_a_history_in_r2_ends_with_the_source() {
    survive_all("r2", TableSyncMode::History, 10);
}

#[test]
fn an_incremental_sync_moves_only_what_changed() {
    let mut model = Model::new("d1");
    model.commit(&(0..IDS).map(|id| (id, 1)).collect::<Vec<_>>());
    model.last_sync(Trigger::Manual).unwrap();
    let before = model.ledger.borrow().handed_over;
    assert_eq!(before, IDS as u64);
    model.commit(&[(3, 9)]);
    model.last_sync(Trigger::Manual).unwrap();
    assert_eq!(model.ledger.borrow().handed_over - before, 1);
}

#[test]
fn i3_a_publish_of_more_steps_than_an_order_has_attempts_gets_to_its_end() {
    let mut model = Model::new("memory");
    model.warehouse.borrow_mut().publish_steps = 3 * MAX_ATTEMPTS;
    model.commit(&[(3, 9)]);
    model.last_sync(Trigger::Manual).unwrap();
    assert!(model.rows().contains_key(&3));
}

#[test]
fn a_row_committed_late_by_an_old_transaction_is_not_lost() {
    let mut model = Model::new("d1");
    let late = model.ledger.borrow_mut().begin();
    model.ledger.borrow_mut().write(late, 1, "late".into());
    model.commit(&[(2, 1)]);
    model.world.advance(MINUTE);
    model.request(Trigger::Manual, false);
    model.calm_down().unwrap();
    assert!(!model.rows().contains_key(&1));
    model.ledger.borrow_mut().commit(late);
    model.last_sync(Trigger::Manual).unwrap();
    assert_eq!(model.rows()[&1], ("late".to_owned(), false));
}
