//! The one text form of every value ([`core::text`](crate::core::text)) as SQL of what is stored here otherwise: bytes and
//! dates that lie outside the years 0 to 9999. So that a column which turns into text holds the same text for a value,
//! whether it came before or after.

/// Bytes that are spelled in a piece of their own. Reading a part of a long value reads all of it, so spelling it three
/// bytes at a time would take the square of its length.
const PIECE: u32 = 3 * 1024;

const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as Base64 with padding, which SQLite has no function for. Some 2 microseconds a byte.
pub(super) fn bytes(column: &str) -> String {
    let digit = |number: &str| format!("substr('{DIGITS}', {number} + 1, 1)");
    let [first, second, third, fourth] =
        ["(v >> 18)", "(v >> 12 & 63)", "(v >> 6 & 63)", "(v & 63)"].map(digit);
    // Pieces; within one, groups of three bytes from byte n on; their hexadecimal digits; their number (JSON5 knows
    // hexadecimal numbers); its four digits. `coalesce` makes the empty text of no groups.
    format!(
        "CASE WHEN {column} IS NOT NULL THEN coalesce((WITH RECURSIVE \
         p(a, b) AS (SELECT 1, substr({column}, 1, {PIECE}) UNION ALL \
         SELECT a + {PIECE}, substr({column}, a + {PIECE}, {PIECE}) FROM p WHERE a + {PIECE} <= length({column})), \
         i(n) AS (SELECT 1 UNION ALL SELECT n + 3 FROM i WHERE n + 3 <= min({PIECE}, length({column}))) \
         SELECT group_concat({first} || {second} || iif(l > 2, {third}, '=') || iif(l > 4, {fourth}, '='), '' ORDER BY a, n) \
         FROM (SELECT a, n, length(h) AS l, ('0x' || substr(h || '0000', 1, 6)) ->> '$' AS v \
         FROM (SELECT a, n, hex(substr(b, n, 3)) AS h FROM p JOIN i ON n <= length(b)))), '') END"
    )
}

/// What spelling the bytes of a column costs, in bytes: a value that is short costs some, too.
pub(super) fn cost(column: &str) -> String {
    format!("32 + coalesce(length({column}), 0)")
}

/// A date, with or without a time: the expanded form's sign and zeros go (see [`temporal`](super::temporal)).
pub(super) fn date(column: &str) -> String {
    format!(
        "CASE substr({column}, 1, 1) WHEN '+' THEN ltrim({column}, '+0') WHEN '-' THEN \
         CASE WHEN substr({column}, 2, 2) = '00' THEN '-' || substr({column}, 4) \
         ELSE '-' || ltrim({column}, '-0') END ELSE {column} END"
    )
}
