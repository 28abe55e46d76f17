//! Timestamps as the API writes them: `2024-12-01T15:43:29.013729Z`.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// Microseconds since the Unix epoch, UTC. Always with zone and six digits: clients compare them as text, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp(pub(crate) i64);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let instant = chrono::DateTime::from_timestamp_micros(self.0)
            .ok_or_else(|| serde::ser::Error::custom("a stored time is beyond the calendar"))?;
        serializer.collect_str(&instant.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_utc_with_microseconds() {
        assert_eq!(
            serde_json::to_string(&Timestamp(1_733_067_809_013_729)).unwrap(),
            "\"2024-12-01T15:43:29.013729Z\""
        );
        assert_eq!(serde_json::to_string(&Timestamp(0)).unwrap(), "\"1970-01-01T00:00:00.000000Z\"");
    }
}
