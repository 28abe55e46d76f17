//! Comparing a table with its source. Ours, not Fivetran's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::found;
use crate::api::access::Needs;
use crate::api::error::ApiResult;
use crate::api::request::Call;
use crate::api::response::Answer;
use crate::api::router::{Method as Verb, Route, handler};
use crate::api::{Services, cursor};
use crate::core::Error;
use crate::core::access::Access;
use crate::core::catalog::StreamName;
use crate::engine::Registry;
use crate::engine::reconcile::{Method, Position, RangeReport, ReconcileRequest, Reconciler};

const RANGES: u32 = 20;
const MOST_RANGES: u32 = 100;
const ROWS: u32 = 10_000;
const MOST_ROWS: u32 = 100_000;

const NOTE: &str = "Nothing is locked: rows that changed at the source since the last sync, and rows a running sync has \
    not published yet, differ until the next sync. Rows deleted at the source since the last full load are such \
    differences where the source does not report deletes.";

pub(super) fn routes() -> Vec<Route> {
    const PATH: &str = "/v1/connections/{connection_id}/reconcile";
    vec![
        Route::new(
            Verb::Post,
            PATH,
            "Compare a table with its source", Needs::connection(Access::Edit),
            handler!(reconcile, ReconcileBody => ReconciledBody),
        )
        .details(
            "Counts and hashes of both sides by ranges of the key. A call compares some ranges, for about 20 seconds at \
             most; repeat it with next_cursor until there is none. Rows marked deleted are left out, and so are columns \
             that are switched off; hashed columns are compared hashed. Tables without a key that both sides order \
             alike are compared by ranges of the key's hash, and equal rows without a key count once.",
        ),
    ]
}

/// What to compare.
#[derive(Deserialize, JsonSchema)]
struct ReconcileBody {
    /// Schema at the source.
    schema: String,
    /// Table at the source.
    table: String,
    /// Most ranges to compare in this call, 1 to 100; 20 where absent.
    ranges: Option<u32>,
    /// Rows of the source in a range, 1 to 100,000; 10,000 where absent.
    rows_per_range: Option<u32>,
    /// `next_cursor` of the previous call.
    cursor: Option<String>,
}

/// What came of it.
#[derive(Serialize, JsonSchema)]
struct ReconciledBody {
    /// Whether all ranges of this call are equal.
    equal: bool,
    /// How ranges are cut: by the values of the key, or by the hash of the key.
    method: Method,
    /// The key columns at the destination.
    key: Vec<String>,
    /// The ranges, in order.
    items: Vec<RangeBody>,
    /// Send it as `cursor` to go on; absent when the whole table was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What a difference may mean besides a fault.
    note: String,
}

/// A range of keys.
#[derive(Serialize, JsonSchema)]
struct RangeBody {
    /// The greatest key before the range, value by value as text; `null` for the first range.
    from_key: Option<Vec<String>>,
    /// The greatest key in the range; `null` for the last range.
    to_key: Option<Vec<String>>,
    source_rows: u64,
    destination_rows: u64,
    /// Sum of the rows' hashes, 32 hexadecimal digits.
    source_hash: String,
    /// As `source_hash`.
    destination_hash: String,
    /// Whether both sides have the same rows.
    equal: bool,
    /// What is stored at the destination and cannot be read: damaged or missing files, values of another type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

impl From<RangeReport> for RangeBody {
    fn from(range: RangeReport) -> Self {
        Self {
            equal: range.equal(),
            from_key: range.from_key,
            to_key: range.to_key,
            source_rows: range.source.rows,
            destination_rows: range.destination.rows,
            source_hash: format!("{:032x}", range.source.hash),
            destination_hash: format!("{:032x}", range.destination.hash),
            problems: range.problems,
        }
    }
}

/// A cursor names its table: the position means nothing in another.
#[derive(Serialize, Deserialize)]
struct ReconcileCursor {
    s: String,
    t: String,
    p: Position,
}

async fn reconcile(
    services: &Services,
    call: &Call<'_>,
    body: ReconcileBody,
) -> ApiResult<Answer<ReconciledBody>> {
    let connection = found(services, call).await?;
    let stream = StreamName::new(body.schema, body.table);
    let from = body.cursor.as_deref().map(|text| position(text, &stream)).transpose()?;
    let request = ReconcileRequest {
        ranges: bounded(body.ranges, RANGES, MOST_RANGES, "ranges")?.try_into().unwrap_or(1),
        rows_per_range: bounded(body.rows_per_range, ROWS, MOST_ROWS, "rows_per_range")?.into(),
        stream,
        from,
    };
    let registry = Registry { connectors: services.connectors, destinations: services.destinations };
    let reconciler = Reconciler { control: &services.control, registry, ports: &services.ports };
    let report = reconciler.reconcile(&connection, &request).await?;
    let StreamName { schema: s, table: t } = request.stream;
    let items: Vec<RangeBody> = report.ranges.into_iter().map(RangeBody::from).collect();
    let body = ReconciledBody {
        equal: items.iter().all(|range| range.equal),
        method: report.method,
        key: report.key,
        items,
        next_cursor: report.next.map(|p| cursor::write(&ReconcileCursor { s, t, p })),
        note: NOTE.to_owned(),
    };
    Answer::new("The ranges have been compared", &body)
}

fn position(text: &str, stream: &StreamName) -> ApiResult<Position> {
    let ReconcileCursor { s, t, p } = cursor::read(text)?;
    if (s, t) == (stream.schema.clone(), stream.table.clone()) {
        return Ok(p);
    }
    Err(Error::invalid("The cursor belongs to another table")
        .field("cursor")
        .remedy("Send next_cursor of the previous call for this table, or none to begin")
        .into())
}

fn bounded(given: Option<u32>, absent: u32, most: u32, field: &str) -> ApiResult<u32> {
    let value = given.unwrap_or(absent);
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    Err(Error::invalid(format!("{value} is out of range"))
        .field(field)
        .remedy(format!("Use 1 to {most}"))
        .into())
}
