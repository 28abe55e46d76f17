//! Values that must never be printed (invariant I6).

use std::borrow::Cow;
use std::fmt;

/// What every API answer shows instead of a secret: Fivetran's exact mask, six asterisks.
pub const MASK: &str = "******";

/// A secret string. `Debug` and `Display` print the mask; only [`Secret::expose`] gives the text, so a grep for
/// `expose` lists every place that handles one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself. Do not log, format or store the result.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True for the empty string.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// In JSON schemas a secret is a string of format `password`, as in Fivetran's own specification; the vault seals and
/// the API masks exactly the fields marked so.
impl schemars::JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "password" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i6_a_secret_prints_as_the_mask() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "****** ******");
        assert_eq!(secret.expose(), "hunter2");
    }
}
