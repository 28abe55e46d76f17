//! What a user says about an R2 destination.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::core::{Error, Result};

/// Longest prefix in bytes. R2 keys end at 1,024 bytes; this leaves 768 for schema, table and part.
const MAX_PREFIX_BYTES: usize = 256;

/// Configuration of an R2 destination. The S3 API, for buckets of other accounts, is not offered yet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct R2Config {
    /// Name of the R2 binding in wrangler.toml.
    pub(crate) bucket: String,
    /// Folder inside the bucket under which schemas are laid out; empty for the root.
    #[serde(default)]
    prefix: String,
    /// Another name of `prefix`: the one that Terraform's provider knows.
    #[serde(default)]
    prefix_path: Option<String>,
    /// File format of the data.
    #[serde(default)]
    pub(crate) format: Format,
    /// `snappy` or `none` for Parquet (default `snappy`), `gzip` or `none` for the text formats (default `none`).
    #[serde(default)]
    pub(crate) compression: Option<Compression>,
}

/// File format of a table's parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Typed and columnar.
    #[default]
    Parquet,
    /// One JSON object a line.
    Jsonl,
    /// RFC 4180 with a header line.
    Csv,
}

/// Compression of a table's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    /// None.
    None,
    /// Snappy, inside Parquet pages.
    Snappy,
    /// Gzip, around the whole text file.
    Gzip,
}

/// Format and compression, in a combination that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Parquet, with Snappy pages or plain ones.
    Parquet {
        /// True for Snappy.
        snappy: bool,
    },
    /// JSON lines.
    Jsonl {
        /// True for gzip.
        gzip: bool,
    },
    /// CSV.
    Csv {
        /// True for gzip.
        gzip: bool,
    },
}

impl R2Config {
    /// Reads and validates a configuration.
    ///
    /// Field by field, and not `serde_json::from_value` of the whole, because serde's message does not say which field
    /// had the wrong type.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) naming the field at fault.
    pub(crate) fn parse(config: &Value) -> Result<Self> {
        let object = config.as_object().ok_or_else(|| {
            Error::invalid("The configuration of an R2 destination is a JSON object").field("config")
        })?;
        const KNOWN: [&str; 5] = ["bucket", "prefix", "prefix_path", "format", "compression"];
        if let Some(unknown) = object.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(Error::invalid("There is no such setting of an R2 destination")
                .field(format!("config.{unknown}"))
                .remedy("Use bucket, prefix, format and compression"));
        }
        let bucket: String = setting(object, "bucket")?.unwrap_or_default();
        if bucket.trim().is_empty() {
            return Err(Error::invalid("The name of the R2 binding is missing")
                .field("config.bucket")
                .remedy("Set it to the binding's name in wrangler.toml, for example BUCKET"));
        }
        let config = Self {
            bucket,
            prefix: folder(object, "prefix")?.unwrap_or_default(),
            prefix_path: folder(object, "prefix_path")?,
            format: setting(object, "format")?.unwrap_or_default(),
            compression: setting(object, "compression")?,
        };
        if config.prefix_path.as_ref().is_some_and(|path| !config.prefix.is_empty() && *path != config.prefix)
        {
            return Err(Error::invalid("It is another name of prefix, and they differ")
                .field("config.prefix_path")
                .remedy("Remove one of the two"));
        }
        config.encoding().map(|_| config)
    }

    /// The folder inside the bucket, without a slash at its end; empty for the root.
    pub(crate) fn prefix(&self) -> &str {
        match &self.prefix_path {
            Some(path) if self.prefix.is_empty() => path,
            _ => &self.prefix,
        }
    }

    /// The format and compression to write.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) when the two do not go together.
    pub(crate) fn encoding(&self) -> Result<Encoding> {
        match (self.format, self.compression) {
            (Format::Parquet, None | Some(Compression::Snappy)) => Ok(Encoding::Parquet { snappy: true }),
            (Format::Parquet, Some(Compression::None)) => Ok(Encoding::Parquet { snappy: false }),
            (Format::Jsonl, None | Some(Compression::None)) => Ok(Encoding::Jsonl { gzip: false }),
            (Format::Jsonl, Some(Compression::Gzip)) => Ok(Encoding::Jsonl { gzip: true }),
            (Format::Csv, None | Some(Compression::None)) => Ok(Encoding::Csv { gzip: false }),
            (Format::Csv, Some(Compression::Gzip)) => Ok(Encoding::Csv { gzip: true }),
            (Format::Parquet, Some(Compression::Gzip)) => Err(mismatch("Parquet", "snappy or none")),
            (Format::Jsonl, Some(Compression::Snappy)) => Err(mismatch("JSON lines", "gzip or none")),
            (Format::Csv, Some(Compression::Snappy)) => Err(mismatch("CSV", "gzip or none")),
        }
    }
}

impl Encoding {
    /// The format alone.
    pub(crate) fn format(self) -> Format {
        match self {
            Self::Parquet { .. } => Format::Parquet,
            Self::Jsonl { .. } => Format::Jsonl,
            Self::Csv { .. } => Format::Csv,
        }
    }

    /// File extension, without the leading dot.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Parquet { .. } => "parquet",
            Self::Jsonl { gzip: false } => "jsonl",
            Self::Jsonl { gzip: true } => "jsonl.gz",
            Self::Csv { gzip: false } => "csv",
            Self::Csv { gzip: true } => "csv.gz",
        }
    }

    /// MIME type of the object.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Parquet { .. } => "application/vnd.apache.parquet",
            Self::Jsonl { gzip: true } | Self::Csv { gzip: true } => "application/gzip",
            Self::Jsonl { gzip: false } => "application/x-ndjson",
            Self::Csv { gzip: false } => "text/csv; charset=utf-8",
        }
    }
}

fn mismatch(format: &str, choices: &str) -> Error {
    Error::invalid(format!("{format} cannot be compressed that way"))
        .field("config.compression")
        .remedy(format!("Use {choices}"))
}

fn setting<T: DeserializeOwned>(object: &Map<String, Value>, name: &str) -> Result<Option<T>> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|problem| Error::invalid(problem.to_string()).field(format!("config.{name}"))),
    }
}

/// Only characters that mean nothing special in URLs, globs and shells, so that the documented reader snippets work
/// with any prefix we accept.
fn folder(object: &Map<String, Value>, field: &str) -> Result<Option<String>> {
    let Some(prefix) = setting::<String>(object, field)? else { return Ok(None) };
    let trimmed = prefix.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'=');
    let sound = trimmed.is_empty()
        || trimmed.split('/').all(|segment| {
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain)
        });
    if !sound {
        return Err(Error::invalid(format!("The prefix '{prefix}' is not a plain folder path"))
            .field(format!("config.{field}"))
            .remedy(
                "Use letters, digits, '_', '-', '.', '=' and single '/' between folders, none in front",
            ));
    }
    if trimmed.len() > MAX_PREFIX_BYTES {
        return Err(Error::invalid(format!("The prefix is longer than {MAX_PREFIX_BYTES} bytes"))
            .field(format!("config.{field}")));
    }
    Ok(Some(trimmed.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_snappy_parquet_at_the_root() {
        let config = R2Config::parse(&json!({ "bucket": "LAKE" })).unwrap();
        assert_eq!(config.prefix(), "");
        assert_eq!(config.encoding().unwrap(), Encoding::Parquet { snappy: true });
    }

    #[test]
    fn a_trailing_slash_of_the_prefix_is_dropped() {
        for config in [
            json!({ "bucket": "B", "prefix": "a/b=1/" }),
            json!({ "bucket": "B", "prefix_path": "a/b=1/" }),
            json!({ "bucket": "B", "prefix": "", "prefix_path": "a/b=1" }),
            json!({ "bucket": "B", "prefix": "a/b=1", "prefix_path": "a/b=1/" }),
        ] {
            assert_eq!(R2Config::parse(&config).unwrap().prefix(), "a/b=1", "{config}");
        }
    }

    #[test]
    fn errors_name_the_field() {
        for (config, field) in [
            (json!([]), "config"),
            (json!({}), "config.bucket"),
            (json!({ "bucket": " " }), "config.bucket"),
            (json!({ "bucket": 7 }), "config.bucket"),
            (json!({ "bucket": "B", "buckt": "B" }), "config.buckt"),
            (json!({ "bucket": "B", "format": "orc" }), "config.format"),
            (json!({ "bucket": "B", "format": "csv", "compression": "snappy" }), "config.compression"),
            (json!({ "bucket": "B", "compression": "gzip" }), "config.compression"),
            (json!({ "bucket": "B", "prefix": "/a" }), "config.prefix"),
            (json!({ "bucket": "B", "prefix": "a//b" }), "config.prefix"),
            (json!({ "bucket": "B", "prefix": "a/../b" }), "config.prefix"),
            (json!({ "bucket": "B", "prefix": "a*" }), "config.prefix"),
            (json!({ "bucket": "B", "prefix": "x".repeat(257) }), "config.prefix"),
            (json!({ "bucket": "B", "prefix_path": "/a" }), "config.prefix_path"),
            (json!({ "bucket": "B", "prefix": "a", "prefix_path": "b" }), "config.prefix_path"),
        ] {
            let error = R2Config::parse(&config).unwrap_err();
            assert_eq!(error.field_name(), Some(field), "{config}: {error}");
        }
    }
}
