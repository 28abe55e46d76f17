//! `GET /metrics`: the service in numbers, for Prometheus and everything that reads OpenMetrics.

use std::fmt::Write;

use bytes::Bytes;

use crate::api::Services;
use crate::api::access::Needs;
use crate::api::error::ApiResult;
use crate::api::response::ApiResponse;
use crate::api::router::{Answering, Method, Route, Run};
use crate::control::Metrics;
use crate::control::metrics::{EndedRuns, Waiting};
use crate::core::access::Access;

/// <https://prometheus.io/docs/specs/om/open_metrics_spec/>, version 1.0.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every state a run can end in: a counter that is not there yet is 0, not absent.
const STATES: [&str; 5] = ["SUCCESSFUL", "FAILURE", "FAILURE_WITH_TASK", "RESCHEDULED", "CANCELED"];

pub(crate) fn routes() -> Vec<Route> {
    let run: Answering = |services| Box::pin(answer(services));
    let summary = "Counters and gauges in OpenMetrics text";
    vec![Route::new(
        Method::Get,
        "/metrics",
        summary,
        Needs::deployment(Access::Read),
        (Run::Guarded(run), None, None),
    )]
}

async fn answer(services: &Services) -> ApiResult<ApiResponse> {
    let now = services.ports.clock.now_micros();
    let text = render(&services.control.metrics(now).await?, now);
    let headers = vec![("content-type".to_owned(), CONTENT_TYPE.to_owned())];
    Ok(ApiResponse { status: 200, headers, body: Bytes::from(text), fault: None })
}

fn render(metrics: &Metrics, now: i64) -> String {
    let mut text = String::new();
    let ended = |state: &str| metrics.ended.iter().find(|ended| ended.state == state);
    let sum = |of: fn(&EndedRuns) -> u64| metrics.ended.iter().map(of).fold(0, u64::saturating_add);

    family(&mut text, "fivetran_runs", "counter", "", "Runs that ended, by state.");
    for state in STATES {
        let runs = ended(state).map_or(0, |ended| ended.runs);
        sample(&mut text, "fivetran_runs_total", Some(("state", state)), runs);
    }
    family(&mut text, "fivetran_rows", "counter", "", "Rows of ended runs, by what became of them.");
    let mut rows = |kind, count| sample(&mut text, "fivetran_rows_total", Some(("kind", kind)), count);
    rows("read", sum(|ended| ended.counts.read));
    rows("written", sum(|ended| ended.counts.written));
    rows("filtered", sum(|ended| ended.counts.filtered));
    rows("deleted", sum(|ended| ended.counts.deleted));
    let bytes = "Bytes of Arrow handed to destinations by ended runs.";
    family(&mut text, "fivetran_moved_bytes", "counter", "bytes", bytes);
    sample(&mut text, "fivetran_moved_bytes_total", None, sum(|ended| ended.counts.bytes));
    let retries = "Attempts of ended runs that failed and were made again.";
    family(&mut text, "fivetran_retries", "counter", "", retries);
    sample(&mut text, "fivetran_retries_total", None, sum(|ended| ended.retries));

    let mut waiting = |count: (&str, &str), age: (&str, &str), waiting: Waiting| {
        family(&mut text, count.0, "gauge", "", count.1);
        sample(&mut text, count.0, None, waiting.count);
        let since = waiting.since.map_or(0, |since| now.saturating_sub(since).max(0).unsigned_abs());
        family(&mut text, age.0, "gauge", "seconds", age.1);
        sample(&mut text, age.0, None, since / 1_000_000);
    };
    waiting(
        ("fivetran_live_runs", "Runs that are live."),
        ("fivetran_oldest_run_age_seconds", "Age of the oldest live run."),
        metrics.running,
    );
    waiting(
        ("fivetran_overdue_connections", "Connections that are due and have not started."),
        ("fivetran_lag_seconds", "Time since the oldest due time that has not started."),
        metrics.overdue,
    );
    waiting(
        ("fivetran_queued_starts", "Starts on the queue."),
        ("fivetran_queue_age_seconds", "Time that the oldest start has been on the queue."),
        metrics.queued,
    );
    text.push_str("# EOF\n");
    text
}

/// Opens a metric family. A unit must be the end of the name.
fn family(text: &mut String, name: &str, kind: &str, unit: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# TYPE {name} {kind}");
    if !unit.is_empty() {
        let _ = writeln!(text, "# UNIT {name} {unit}");
    }
    let _ = writeln!(text, "# HELP {name} {help}");
}

fn sample(text: &mut String, name: &str, label: Option<(&str, &str)>, value: u64) {
    let _ = match label {
        Some((key, word)) => writeln!(text, "{name}{{{key}=\"{word}\"}} {value}"),
        None => writeln!(text, "{name} {value}"),
    };
}
