//! Structured logs: what the engine did, one JSON object a line.
//!
//! Every line has `level`, `event` and `at` (microseconds UTC), lines about a run also `connection_id` and `run_id`. Errors
//! are [`ErrorReport`](crate::core::error::ErrorReport)s with their causes, which hold no secrets (I6).

use serde_json::{Value, json};

use crate::control::LogLevel;

use super::Engine;
use super::protocol::RunSpec;

impl Engine {
    /// Logs an event about a run.
    pub(super) fn log_run(&self, level: LogLevel, event: &str, run: &RunSpec, details: Value) {
        let mut line = json!({ "connection_id": run.connection_id, "run_id": run.run_id });
        add(&mut line, details);
        self.log_event(level, event, line);
    }

    /// Logs an event. `details` is an object.
    pub(super) fn log_event(&self, level: LogLevel, event: &str, details: Value) {
        let mut line = json!({ "level": level, "event": event, "at": self.ports.clock.now_micros() });
        add(&mut line, details);
        self.log.line(level != LogLevel::Info, &line.to_string());
    }
}

fn add(line: &mut Value, details: Value) {
    if let (Value::Object(line), Value::Object(details)) = (line, details) {
        line.extend(details);
    }
}
