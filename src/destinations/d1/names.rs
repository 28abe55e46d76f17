//! Where a destination table lives in one SQLite database, which knows no schemas.

use sha2::{Digest, Sha256};

/// Prefixes no table may have: SQLite's own, and the one D1 keeps for itself.
const RESERVED: [&str; 2] = ["sqlite_", "_cf_"];

/// An identifier as SQL text. Always quoted: a keyword, a space or a quote in a name needs no special case then.
pub(super) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The SQLite table of a destination table: `schema__table`.
///
/// Names come out of Fivetran naming with single underscores, so the double one shows where the schema ends. A name
/// for which that does not hold (`__` inside, an underscore at the seam), one that SQLite would confuse with another
/// because it ignores ASCII case, and a reserved one get a hash of both parts as third part. The first form has
/// exactly one `__`, the second has more: no two tables ever meet. A dot (`"schema.table"`) would be as safe, but then
/// nobody could write a query without quotes.
pub(super) fn physical(schema: &str, table: &str) -> String {
    let name = format!("{schema}__{table}");
    let reserved = RESERVED
        .iter()
        .any(|prefix| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)));
    let ambiguous = schema.is_empty()
        || table.is_empty()
        || schema.contains("__")
        || table.contains("__")
        || schema.ends_with('_')
        || table.starts_with('_')
        || name.bytes().any(|byte| byte.is_ascii_uppercase());
    if !reserved && !ambiguous {
        return name;
    }
    let mut hasher = Sha256::new();
    hasher.update(schema.as_bytes());
    hasher.update([0]);
    hasher.update(table.as_bytes());
    let hash: String = hasher.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let start = if reserved { "t_" } else { "" };
    format!("{start}{name}__{hash}")
}

/// The table a rebuild copies into.
pub(super) fn rebuilt(name: &str) -> String {
    format!("{name}__new")
}

/// The table a rebuild has replaced and is about to drop.
pub(super) fn replaced(name: &str) -> String {
    format!("{name}__old")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_readable() {
        assert_eq!(physical("crm_public", "orders"), "crm_public__orders");
        assert_eq!(quote("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn names_that_could_meet_are_told_apart() {
        let pairs = [
            ("a", "b"),
            ("a_", "b"),
            ("a", "_b"),
            ("a__b", "c"),
            ("a", "b__c"),
            ("A", "b"),
            ("a", "B"),
            ("sqlite_x", "t"),
            ("_cf_x", "t"),
            ("SQLITE_x", "t"),
            ("", "t"),
        ];
        let mut names: Vec<String> = pairs.iter().map(|(s, t)| physical(s, t).to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), pairs.len());
        assert!(names.iter().all(|name| !name.starts_with("sqlite_") && !name.starts_with("_cf_")));
    }
}
