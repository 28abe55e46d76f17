//! Any sequence of loads leaves what a map would hold.

use std::collections::BTreeMap;

use fivetran_do::core::table::LoadMode;
use fivetran_do::destinations::Destination;
use proptest::prelude::*;

use crate::harness::*;
use crate::support::objects::MemoryBucket;

/// One load: full or not, and its chunks of keys and values.
type Step = (bool, Vec<Vec<(i64, u8)>>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rows = prop::collection::btree_map(0..12_i64, any::<u8>(), 0..8);
    let chunks = rows.prop_map(|rows| {
        let rows: Vec<_> = rows.into_iter().collect();
        rows.chunks(3).map(<[_]>::to_vec).collect()
    });
    prop::collection::vec((any::<bool>(), chunks), 1..7)
}

/// Plays the steps, dying after some operations of each, and returns the model: value and deletion mark by key.
fn play(
    bucket: &MemoryBucket,
    destination: &dyn Destination,
    steps: &[Step],
    deaths: u64,
) -> BTreeMap<i64, (u8, bool)> {
    let mut model: BTreeMap<i64, (u8, bool)> = BTreeMap::new();
    for (number, (full, chunks)) in (1..).zip(steps) {
        let mode = if *full { LoadMode::Full } else { LoadMode::Incremental };
        let load = load(orders(), number, mode);
        let batches: Vec<_> = chunks
            .iter()
            .map(|rows| {
                let notes: Vec<String> = rows.iter().map(|row| row.1.to_string()).collect();
                let rows: Vec<_> =
                    rows.iter().zip(&notes).map(|(row, note)| (row.0, Some(note.as_str()))).collect();
                vec![order_rows(&load, &rows)]
            })
            .collect();
        bucket.die_after(deaths % 67 + number);
        let first = block_on(run(destination, &load, &batches));
        bucket.recover();
        let receipt = first.or_else(|_| block_on(run(destination, &load, &batches))).unwrap();
        let live_before = model.values().filter(|(_, deleted)| !deleted).count();
        if *full {
            model.values_mut().for_each(|(_, deleted)| *deleted = true);
        }
        model.extend(chunks.iter().flatten().map(|(key, value)| (*key, (*value, false))));
        if *full {
            let live = chunks.iter().flatten().count();
            assert_eq!(receipt.live_rows, Some(live as u64));
            assert!(receipt.deleted <= live_before as u64);
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i3_any_sequence_of_loads_and_deaths_ends_in_the_state_of_a_map(
        steps in steps(),
        deaths in any::<u64>(),
        keys in prop::option::weighted(0.7, 1..9_usize),
    ) {
        set_key_budget(keys);
        let (bucket, destination) = lake();
        let model = play(&bucket, &*destination, &steps, deaths);
        let expected: Vec<_> = model
            .into_iter()
            .map(|(key, (value, deleted))| {
                vec![Some(key.to_string()), Some(value.to_string()), Some(deleted.to_string())]
            })
            .collect();
        if parts(&bucket).is_empty() {
            prop_assert!(expected.is_empty());
        } else {
            let script = documented("Current state", &on_disk(&bucket, "model"));
            let script = script.replace("SELECT * EXCLUDE", "SELECT id::VARCHAR, note, _fivetran_deleted::VARCHAR, * EXCLUDE");
            let seen: Vec<_> = duckdb(&script).into_iter().map(|row| row[..3].to_vec()).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
