//! Where things lie in the bucket.
//!
//! ```text
//! {prefix}/{schema}/{table}/manifest.json                                what counts; swapped by compare-and-set
//! {prefix}/{schema}/{table}/data/00000012-full/c000003-1.parquet         chunk 3 of load 12, written under lease 1
//! {prefix}/{schema}/{table}/data/00000012-full/deleted-000000-9.parquet  rows load 12 found gone at the source
//! {prefix}/{schema}/{table}/data/00000013-change/c000000-4.parquet       changes of load 13
//! {prefix}/{schema}/{table}/data/00000014-change/merged-6.parquet        changes of many loads, merged by load 14
//! {prefix}/{schema}/{table}/staging/00000013/c000000.json                receipt of a durable chunk
//! {prefix}/{schema}/{table}/staging/00000012/resync/progress.json        how far telling what vanished is
//! {prefix}/{schema}/{table}/staging/00000012/resync/keys-000001-7.spool  keys of that, sorted
//! ```
//!
//! A part's name is a function of load, chunk and lease, so a retry under the same lease writes the same object and a
//! worker of another lease cannot touch it (invariant I4). The names of the parts a manifest lists sort in load
//! order, which is what readers sort by; hence the zero padding, checked here, and the load number in front of the
//! kind of load (`change` would sort before `full`).

use std::fmt::Write as _;

use super::config::Encoding;
use crate::core::run::Fence;
use crate::core::table::LoadMode;
use crate::core::{Error, ErrorKind, Result};

/// Highest load number eight digits hold: a load a minute for 190 years.
const MAX_LOAD: u64 = 99_999_999;
/// Highest chunk number six digits hold: 64 TB in chunks of 64 MB.
const MAX_CHUNK: u32 = 999_999;
/// R2: bytes in a key (r2/platform/limits).
const MAX_KEY_BYTES: usize = 1_024;
/// Bytes that the longest name below a table's folder needs, leases of 20 digits included.
const LONGEST_NAME: usize = 80;

/// The keys of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableLayout {
    /// Folder of the table, with a trailing slash.
    root: String,
}

impl TableLayout {
    /// The folder of a table.
    ///
    /// # Errors
    /// [`DestinationLimit`](ErrorKind::DestinationLimit) when keys would be longer than R2 allows.
    pub(crate) fn new(prefix: &str, schema: &str, table: &str) -> Result<Self> {
        let mut root = String::new();
        if !prefix.is_empty() {
            root.push_str(prefix);
            root.push('/');
        }
        for name in [schema, table] {
            push_encoded(&mut root, name);
            root.push('/');
        }
        if root.len() + LONGEST_NAME > MAX_KEY_BYTES {
            return Err(Error::new(
                ErrorKind::DestinationLimit,
                format!("the names of table {schema}.{table} do not fit an R2 key of {MAX_KEY_BYTES} bytes"),
            )
            .remedy("Shorten the prefix, or exclude the table"));
        }
        Ok(Self { root })
    }

    /// The full key of a path relative to the table's folder.
    pub(crate) fn key(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// The path, relative to the table's folder, of a key below it.
    pub(crate) fn path<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(&self.root)
    }

    /// Key of the manifest.
    pub(crate) fn manifest(&self) -> String {
        self.key("manifest.json")
    }

    /// Prefix of all parts.
    pub(crate) fn data(&self) -> String {
        self.key("data/")
    }

    /// Prefix of all receipts.
    pub(crate) fn staging(&self) -> String {
        self.key("staging/")
    }

    /// Key of a chunk's receipt.
    pub(crate) fn receipt(&self, load: u64, chunk: u32) -> String {
        self.key(&format!("staging/{load:08}/c{chunk:06}.json"))
    }
}

/// Path of a load's folder, relative to the table's folder.
///
/// # Errors
/// [`DestinationLimit`](ErrorKind::DestinationLimit) past [`MAX_LOAD`].
pub(crate) fn load_folder(load: u64, mode: LoadMode) -> Result<String> {
    let kind = match mode {
        LoadMode::Full => "full",
        LoadMode::Incremental => "change",
    };
    within(load <= MAX_LOAD, "loads of this table", MAX_LOAD)?;
    Ok(format!("data/{load:08}-{kind}/"))
}

/// Path of a chunk's part, relative to the table's folder.
///
/// # Errors
/// [`DestinationLimit`](ErrorKind::DestinationLimit) past the numbers that names hold.
pub(crate) fn chunk_part(
    load: u64,
    mode: LoadMode,
    chunk: u32,
    fence: Fence,
    encoding: Encoding,
) -> Result<String> {
    within(chunk <= MAX_CHUNK, "chunks of this load", u64::from(MAX_CHUNK))?;
    let folder = load_folder(load, mode)?;
    Ok(format!("{folder}c{chunk:06}-{}.{}", fence.lease, encoding.extension()))
}

/// Path of a part of rows that a full load found gone, relative to the table's folder.
///
/// # Errors
/// As [`chunk_part`].
pub(crate) fn deleted_part(load: u64, number: u32, fence: Fence) -> Result<String> {
    within(number <= MAX_CHUNK, "parts of this load", u64::from(MAX_CHUNK))?;
    let folder = load_folder(load, LoadMode::Full)?;
    Ok(format!("{folder}deleted-{number:06}-{}.parquet", fence.lease))
}

/// Path of the part that takes the place of the newest parts, the load's own among them, relative to the table's folder.
///
/// # Errors
/// As [`chunk_part`].
pub(crate) fn merged_part(load: u64, fence: Fence) -> Result<String> {
    let folder = load_folder(load, LoadMode::Incremental)?;
    Ok(format!("{folder}merged-{}.parquet", fence.lease))
}

/// Path of the folder of a load's [`resync`](super::resync), relative to the table's folder.
pub(crate) fn resync_folder(load: u64) -> String {
    format!("staging/{load:08}/resync/")
}

/// Path of how far a load's [`resync`](super::resync) is, relative to the table's folder.
pub(crate) fn progress(load: u64) -> String {
    format!("{}progress.json", resync_folder(load))
}

/// Path of a spool of that kind, relative to the table's folder.
pub(crate) fn spool(load: u64, kind: &str, number: usize, fence: Fence) -> String {
    format!("{}{kind}-{number:06}-{}.spool", resync_folder(load), fence.lease)
}

/// The load number of a path below `data/` or `staging/`, or `None` for a stranger's object.
pub(crate) fn load_of(path: &str) -> Option<u64> {
    let below = path.strip_prefix("data/").or_else(|| path.strip_prefix("staging/"))?;
    let digits = below.get(..8)?;
    let ours = matches!(below.as_bytes().get(8), Some(b'-' | b'/'));
    if ours { digits.parse().ok() } else { None }
}

fn within(fits: bool, what: &str, most: u64) -> Result<()> {
    if fits {
        return Ok(());
    }
    Err(Error::new(ErrorKind::DestinationLimit, format!("more than {most} {what}")))
}

/// Percent-encodes all but letters, digits, `_` and `-`, so that `/`, `..`, globs and query characters in a source's
/// names stay within one folder and mean nothing to readers.
fn push_encoded(key: &mut String, name: &str) {
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            key.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(key, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FENCE: Fence = Fence { run: 12, lease: 1 };
    const PARQUET: Encoding = Encoding::Parquet { snappy: true };

    #[test]
    fn part_names_sort_in_load_order() {
        let full = |load, chunk| chunk_part(load, LoadMode::Full, chunk, FENCE, PARQUET).unwrap();
        let change = |load, chunk| chunk_part(load, LoadMode::Incremental, chunk, FENCE, PARQUET).unwrap();
        let names = [
            full(9, 0),
            full(9, 1),
            full(9, 10),
            full(9, 999_999),
            deleted_part(9, 0, FENCE).unwrap(),
            change(10, 0),
            change(11, 2),
            merged_part(11, FENCE).unwrap(),
            full(99_999_999, 0),
        ];
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn numbers_that_would_break_the_order_are_refused() {
        for result in [
            chunk_part(100_000_000, LoadMode::Full, 0, FENCE, PARQUET),
            chunk_part(1, LoadMode::Full, 1_000_000, FENCE, PARQUET),
            deleted_part(1, 1_000_000, FENCE),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::DestinationLimit);
        }
    }

    #[test]
    fn names_of_any_spelling_stay_in_one_folder() {
        let layout = TableLayout::new("lake", "../x", "Größe*/?").unwrap();
        assert_eq!(layout.manifest(), "lake/%2E%2E%2Fx/Gr%C3%B6%C3%9Fe%2A%2F%3F/manifest.json");
        assert_eq!(layout.path(&layout.key("data/x")), Some("data/x"));
        let long = TableLayout::new("", &"s".repeat(500), &"t".repeat(500)).unwrap_err();
        assert_eq!(long.kind(), ErrorKind::DestinationLimit);
    }

    #[test]
    fn the_load_of_a_path_is_read_back() {
        assert_eq!(load_of("data/00000012-full/c000003-1.parquet"), Some(12));
        assert_eq!(load_of("staging/00000013/c000003.json"), Some(13));
        assert_eq!(load_of("data/notes.txt"), None);
        assert_eq!(load_of("data/00000012"), None);
        assert_eq!(load_of("manifest.json"), None);
    }
}
