//! Names at the destination: Fivetran naming as database connectors use it.
//!
//! One rule for schemas, tables and columns. Lower-case; accents stripped, Latin, Greek and Cyrillic letters
//! transliterated; every other character outside `a-z 0-9 _` becomes `_`; a leading digit gets a `_` in front. Unlike
//! the rule of SaaS connectors, camelCase is not split and repeated `_` are kept, so that ordinary database names
//! survive as they are: `orderId` is `orderid`, `a__b` is `a__b`.
//!
//! Where Fivetran merges names that become equal, we keep them apart, because merging loses data. A member of such a
//! collision keeps the plain name only if it is its source name, letter for letter; all others end in `_` and eight hex
//! digits of the SHA-256 of their source name. So a name depends on its neighbours in one bit only (is there a
//! collision), never on their number or order. Names no rule can spell (other scripts) and names longer than
//! [`MAX_NAME_BYTES`] always carry the hash, hence never change. When a collision appears or goes, a name does change;
//! [`StreamDiff`](super::schema_diff::StreamDiff) reports that as a rename.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longest name: PostgreSQL's identifier limit, the shortest of all destinations, so that a table has one name
/// everywhere.
pub const MAX_NAME_BYTES: usize = 63;

/// Names that are this, or begin with this and a `_`, belong to us. The bare word too: with a hash it would begin so.
const RESERVED: &str = "_fivetran";

/// Put before a source name that begins like ours: `_fivetran_synced` becomes `source_fivetran_synced`.
const RESERVED_ESCAPE: &str = "source";

/// Hex digits of the hash at the end of a name.
const HASH_DIGITS: usize = 8;

/// The destination schema of one source schema: `<prefix>_<source schema>`. Schemas of one source that might collide
/// (`Sales`, `sales`) need [`schema_names`].
#[must_use]
pub fn destination_schema(prefix: &str, source_schema: &str) -> String {
    schema_names(prefix, &[source_schema]).pop().unwrap_or_default()
}

/// Destination names of all schemas of a source, in the order given, distinct for distinct sources.
#[must_use]
pub fn schema_names(prefix: &str, schemas: &[&str]) -> Vec<String> {
    let prefixed = schemas.iter().map(|schema| format!("{prefix}_{schema}")).collect::<Vec<_>>();
    distinct_names(&prefixed.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Destination names of all tables of a schema, in the order given, distinct for distinct sources. Give all tables of
/// the schema, also those that are not synced: otherwise switching one on renames another.
#[must_use]
pub fn table_names(tables: &[&str]) -> Vec<String> {
    distinct_names(tables)
}

/// Destination names of all columns of a table, in the order given, distinct for distinct sources and never a system
/// column. Give all columns of the table, also those that are not synced.
#[must_use]
pub fn column_names(columns: &[&str]) -> Vec<String> {
    distinct_names(columns)
}

/// What the rule makes of one name, before its neighbours are looked at.
struct Plain {
    name: String,
    /// The name does not tell its source well enough to stand without the hash.
    needs_hash: bool,
}

fn distinct_names(sources: &[&str]) -> Vec<String> {
    let plain: HashMap<&str, Plain> = sources.iter().map(|source| (*source, plain(source))).collect();
    let mut claims: HashMap<&str, usize> = HashMap::new();
    for candidate in plain.values().filter(|candidate| !candidate.needs_hash) {
        *claims.entry(&candidate.name).or_default() += 1;
    }
    let mut names: HashMap<&str, String> = HashMap::new();
    let mut colliding: Vec<&str> = Vec::new();
    for (source, candidate) in &plain {
        let alone = claims.get(candidate.name.as_str()).is_some_and(|claims| *claims == 1);
        if !candidate.needs_hash && (alone || candidate.name == *source) {
            names.insert(source, candidate.name.clone());
        } else {
            colliding.push(source);
        }
    }
    let mut taken: HashSet<String> = names.values().cloned().collect();
    colliding.sort_unstable();
    for source in colliding {
        if let Some(candidate) = plain.get(source) {
            let name = hashed_name(&candidate.name, source, &taken);
            taken.insert(name.clone());
            names.insert(source, name);
        }
    }
    sources.iter().filter_map(|source| names.get(source).cloned()).collect()
}

/// The plain name, shortened, with the hash of its source; hashed anew in the freak case that the source itself uses
/// that very name elsewhere.
fn hashed_name(plain: &str, source: &str, taken: &HashSet<String>) -> String {
    let room = MAX_NAME_BYTES - HASH_DIGITS - 1;
    let stem = plain.get(..room).unwrap_or(plain).trim_end_matches('_');
    let mut salt = 0_u64;
    loop {
        let mut hash = Sha256::new_with_prefix(source);
        if salt > 0 {
            hash.update(salt.to_be_bytes());
        }
        let digits = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let name = format!("{stem}_{}", digits.get(..HASH_DIGITS).unwrap_or(&digits));
        if !taken.contains(&name) {
            return name;
        }
        salt += 1;
    }
}

fn plain(source: &str) -> Plain {
    let mut name = String::with_capacity(source.len() + 1);
    let mut unspelled = false;
    let mut in_unspelled_run = false;
    for letter in source.chars().flat_map(char::to_lowercase).nfkd() {
        if is_combining_mark(letter) {
            continue;
        }
        let spelled = match letter {
            'a'..='z' | '0'..='9' | '_' => {
                name.push(letter);
                true
            }
            _ => match transliterate(letter) {
                Some(ascii) => {
                    name.push_str(ascii);
                    true
                }
                None if letter.is_alphanumeric() => {
                    if !in_unspelled_run {
                        name.push('_');
                    }
                    false
                }
                None => {
                    name.push('_');
                    true
                }
            },
        };
        in_unspelled_run = !spelled;
        unspelled |= !spelled;
    }
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    if name.strip_prefix(RESERVED).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
        name.insert_str(0, RESERVED_ESCAPE);
    }
    let needs_hash = unspelled || name.len() > MAX_NAME_BYTES;
    Plain { name, needs_hash }
}

/// Letters that Unicode does not decompose, already in lower case. A table of ours and not the crate `deunicode`,
/// whose tables add 476 kB (170 kB compressed, of the 3 MB a Worker may have) for scripts that rarely name columns;
/// those get a hash, which is unreadable but exact. Decomposition costs nothing: SCRAM links its tables anyway.
fn transliterate(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ß' => "ss",
        'æ' | 'ӕ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' | 'δ' | 'д' => "d",
        'þ' => "th",
        'ł' | 'λ' | 'л' => "l",
        'ħ' => "h",
        'ı' | 'ι' | 'η' | 'и' | 'і' => "i",
        'ŋ' | 'ν' | 'н' => "n",
        'ŧ' | 'τ' | 'т' => "t",
        'ə' | 'ε' | 'е' | 'э' => "e",
        'α' | 'а' => "a",
        'β' | 'в' => "v",
        'γ' | 'г' | 'ґ' => "g",
        'б' => "b",
        'ζ' | 'з' => "z",
        'θ' => "th",
        'κ' | 'к' => "k",
        'μ' | 'м' => "m",
        'ξ' => "x",
        'ο' | 'ω' | 'о' => "o",
        'π' | 'п' => "p",
        'ρ' | 'р' => "r",
        'σ' | 'ς' | 'с' => "s",
        'υ' | 'ы' => "y",
        'φ' | 'ф' => "f",
        'χ' => "ch",
        'ψ' => "ps",
        'х' => "kh",
        'ж' => "zh",
        'ц' => "ts",
        'ч' => "ch",
        'ш' => "sh",
        'щ' => "shch",
        'ю' => "yu",
        'я' => "ya",
        'у' => "u",
        'є' => "ye",
        'ј' => "j",
        'љ' => "lj",
        'њ' => "nj",
        'ћ' => "c",
        'ђ' => "dj",
        'џ' => "dz",
        'ъ' | 'ь' => "",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn column(source: &str) -> String {
        column_names(&[source]).remove(0)
    }

    #[test]
    fn ordinary_database_names_survive() {
        for name in ["id", "order_id", "a__b", "_private", "l_extendedprice", "x1"] {
            assert_eq!(column(name), name);
        }
    }

    #[test]
    fn names_are_lowered_spelled_in_ascii_and_never_begin_with_a_digit() {
        for (source, expected) in [
            ("orderId", "orderid"),
            ("Order Date", "order_date"),
            ("größe", "grosse"),
            ("Ærøskøbing", "aeroskobing"),
            ("Łódź", "lodz"),
            ("İstanbul", "istanbul"),
            ("Имя клиента", "imya_klienta"),
            ("Ελλάδα", "ellada"),
            ("ﬁx½", "fix1_2"),
            ("2fa", "_2fa"),
            ("a.b-c", "a_b_c"),
            ("%", "_"),
            ("", "_"),
        ] {
            assert_eq!(column(source), expected, "{source}");
        }
    }

    #[test]
    fn names_in_other_scripts_stay_distinct_and_never_change() {
        let alone = column("订单");
        assert!(alone.starts_with('_') && alone.len() == 1 + HASH_DIGITS, "{alone}");
        let together = column_names(&["订单", "客户", "数量 id"]);
        assert_eq!(together[0], alone);
        assert_eq!(together.iter().collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn i7_colliding_columns_are_not_merged() {
        let names = column_names(&["Email", "email", "E-Mail", "EMAIL"]);
        assert_eq!(names[1], "email", "the letter-for-letter name keeps it");
        assert_eq!(names[2], "e_mail");
        assert!(names[0].starts_with("email_") && names[3].starts_with("email_"));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn a_hashed_name_depends_on_its_own_source_only() {
        let two = column_names(&["A B", "a-b"]);
        let three = column_names(&["a.b", "a-b", "other", "A B"]);
        assert_eq!(two[0], three[3]);
        assert_eq!(two[1], three[1]);
    }

    #[test]
    fn a_source_that_already_uses_a_hashed_name_is_kept_apart() {
        let hashed = column_names(&["A B", "a-b"]).remove(0);
        let names = column_names(&["A B", "a-b", &hashed]);
        assert_eq!(names[2], hashed);
        assert_ne!(names[0], hashed);
    }

    #[test]
    fn system_columns_cannot_be_imitated() {
        assert_eq!(column("_fivetran_synced"), "source_fivetran_synced");
        assert_eq!(column("_Fivetran Deleted"), "source_fivetran_deleted");
        assert_eq!(column("fivetran_synced"), "fivetran_synced");
    }

    #[test]
    fn long_names_are_cut_and_keep_apart() {
        let long = "n".repeat(64);
        let names = column_names(&[&long, &"n".repeat(65)]);
        assert!(names.iter().all(|name| name.len() == MAX_NAME_BYTES));
        assert_ne!(names[0], names[1]);
        assert_eq!(names[0], column(&long));
        assert_eq!(column(&"n".repeat(63)), "n".repeat(63));
    }

    #[test]
    fn a_schema_carries_the_prefix() {
        assert_eq!(destination_schema("shop", "public"), "shop_public");
        assert_eq!(destination_schema("shop", "Ventes Été"), "shop_ventes_ete");
        let names = schema_names("shop", &["sales", "Sales"]);
        assert_eq!(names[0], "shop_sales");
        assert_ne!(names[0], names[1]);
    }

    /// Names as people write them, with many near-collisions, mixed with anything at all.
    fn source_name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[aAbB_ .-]{0,4}",
            "_?[Ff]ivetran_?[a-c]{0,2}",
            "[äÄaа订]{1,3}",
            "[a-c]{60,70}",
            "\\PC{0,12}",
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn names_are_valid_distinct_and_stable_under_a_second_pass(
            sources in proptest::collection::hash_set(source_name(), 0..12)
        ) {
            let sources = sources.iter().map(String::as_str).collect::<Vec<_>>();
            let names = column_names(&sources);
            prop_assert_eq!(names.len(), sources.len());
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), sources.len());
            for name in &names {
                prop_assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES, "{}", name);
                prop_assert!(name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{}", name);
                prop_assert!(!name.starts_with(|c: char| c.is_ascii_digit()), "{}", name);
                prop_assert!(!name.starts_with("_fivetran_"), "{}", name);
            }
            let again = column_names(&names.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(&again, &names);
            let mut reversed_sources = sources.clone();
            reversed_sources.reverse();
            let mut reversed = column_names(&reversed_sources);
            reversed.reverse();
            prop_assert_eq!(reversed, names);
        }
    }
}
