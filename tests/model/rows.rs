//! What stands at the destination: id -> (value, deleted). Of a history, the newest version.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use fivetran_do::core::settings::TableSyncMode;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Model;
use crate::support::objects::MemoryBucket;

pub type Rows = BTreeMap<i64, (String, bool)>;

impl Model {
    pub fn rows(&self) -> Rows {
        match self.service {
            "d1" => self.d1_rows(),
            "r2" => r2_rows(&self.world.0.lake, self.mode),
            _ => self.memory_rows(),
        }
    }

    fn memory_rows(&self) -> Rows {
        let warehouse = self.warehouse.borrow();
        let table = warehouse.tables.get(&("model_public".to_owned(), "ledger".to_owned()));
        let rows = table.into_iter().flat_map(|table| &table.rows);
        rows.map(|(id, row)| (*id, (row.value.clone(), row.deleted))).collect()
    }

    fn d1_rows(&self) -> Rows {
        let history = self.mode == TableSyncMode::History;
        let newest = if history {
            NEWEST_VERSIONS
        } else {
            "SELECT id, value, _fivetran_deleted FROM model_public__ledger"
        };
        self.world.0.analytics.with(|sqlite| {
            let Ok(mut select) = sqlite.prepare_cached(newest) else { return Rows::new() };
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, (row.get(1)?, row.get::<_, i64>(2)? == 1)));
            let rows: Vec<(i64, _)> = select.query_map([], read).unwrap().map(Result::unwrap).collect();
            let count = rows.len();
            let by_id: Rows = rows.into_iter().collect();
            assert_eq!(by_id.len(), count, "a key stands twice");
            by_id
        })
    }
}

/// One row per id, unless two versions of it stand.
const NEWEST_VERSIONS: &str = "SELECT id, value, NOT _fivetran_active FROM model_public__ledger AS v \
    WHERE _fivetran_active OR NOT EXISTS (SELECT 1 FROM model_public__ledger AS later \
    WHERE later.id = v.id AND later._fivetran_start > v._fivetran_start)";

/// By the documented rule: the newest version of a key, in part order, then row order.
fn r2_rows(bucket: &MemoryBucket, mode: TableSyncMode) -> Rows {
    let history = mode == TableSyncMode::History;
    let mark = if history { "_fivetran_active" } else { "_fivetran_deleted" };
    let mut newest = Rows::new();
    let Some(manifest) = bucket.body("p/model_public/ledger/manifest.json") else { return newest };
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    for part in manifest["parts"].as_array().unwrap() {
        let key = format!("p/model_public/ledger/{}", part["path"].as_str().unwrap());
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bucket.body(&key).unwrap()).unwrap().build().unwrap();
        for batch in reader.map(|batch| batch.unwrap()) {
            let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
            let values = batch.column_by_name("value").unwrap().as_string::<i32>();
            let marks = batch.column_by_name(mark).unwrap().as_boolean();
            for row in 0..batch.num_rows() {
                newest.insert(ids.value(row), (values.value(row).to_owned(), marks.value(row) != history));
            }
        }
    }
    newest
}
