//! The binary form of `numeric`: base-10000 digits, to the 128-bit integer of an Arrow decimal.
//!
//! Layout, all 16-bit big-endian (`numeric_send` of the server's source): number of digits, weight of the first digit in
//! powers of 10000, sign, display scale, digits. Zero digits at either end are left out.

/// Why a value is no decimal of the declared precision and scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotDecimal {
    /// `NaN`.
    NotANumber,
    /// `Infinity` or `-Infinity` (PostgreSQL 14 and later).
    Infinite,
    /// The bytes are no numeric, or more digits than declared: the column's type changed.
    Malformed,
}

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Digits of one base-10000 digit.
const GROUP: i32 = 4;

/// The value times 10^`scale`.
pub(super) fn decode(field: &[u8], precision: u8, scale: u8) -> Result<i128, NotDecimal> {
    let (count, rest) = word(field)?;
    let (weight, rest) = word(rest)?;
    let (sign, rest) = word(rest)?;
    let (_display_scale, digits) = word(rest)?;
    match sign {
        0 | NEGATIVE => {}
        NAN => return Err(NotDecimal::NotANumber),
        POSITIVE_INFINITY | NEGATIVE_INFINITY => return Err(NotDecimal::Infinite),
        _ => return Err(NotDecimal::Malformed),
    }
    let Some((leading, last)) = digits.split_last_chunk::<2>() else {
        return if digits.is_empty() && count == 0 { Ok(0) } else { Err(NotDecimal::Malformed) };
    };
    if digits.len() != usize::from(count) * 2 {
        return Err(NotDecimal::Malformed);
    }
    // Power of ten of the last group's unit once the value is scaled. Negative when the group reaches behind the scale:
    // then its last digits are zero and are dropped, which also keeps 38 digits within 128 bits.
    let power = GROUP * (i32::from(weight.cast_signed()) - i32::from(count) + 1) + i32::from(scale);
    let last = u32::from(u16::from_be_bytes(*last));
    let magnitude = if leading.len() <= 6 && (-GROUP..=2).contains(&power) {
        short(leading, last, power)
    } else {
        long(leading, last, power)
    };
    let magnitude = magnitude.filter(|magnitude| *magnitude < power_of_ten(u32::from(precision)));
    let magnitude = magnitude.ok_or(NotDecimal::Malformed)?.cast_signed();
    Ok(if sign == NEGATIVE { -magnitude } else { magnitude })
}

/// Up to four groups: at most 16 digits and two zeros more fit 64 bits, which WASM multiplies in one instruction.
fn short(leading: &[u8], last: u32, power: i32) -> Option<u128> {
    let mut value = 0_u64;
    for group in leading.chunks_exact(2) {
        value = value * 10_000 + u64::from(u16::from_be_bytes([*group.first()?, *group.get(1)?]));
    }
    let (times, last, zeros) = last_group(last, power)?;
    Some(u128::from((value * u64::from(times) + u64::from(last)) * 10_u64.pow(zeros)))
}

/// Any number of groups, checked.
fn long(leading: &[u8], last: u32, power: i32) -> Option<u128> {
    let mut value = 0_u128;
    for group in leading.chunks_exact(2) {
        let digit = u16::from_be_bytes([*group.first()?, *group.get(1)?]);
        value = value.checked_mul(10_000)?.checked_add(u128::from(digit))?;
    }
    let (times, last, zeros) = last_group(last, power)?;
    value
        .checked_mul(u128::from(times))?
        .checked_add(u128::from(last))?
        .checked_mul(10_u128.checked_pow(zeros)?)
}

/// What the leading groups are multiplied by, what the last one adds, and the zeros that follow both. `None` when
/// digits that are not zero would be lost.
fn last_group(last: u32, power: i32) -> Option<(u32, u32, u32)> {
    match u32::try_from(power) {
        Ok(zeros) => Some((10_000, last, zeros)),
        Err(_) => {
            let dropped = 10_u32.checked_pow(power.unsigned_abs()).filter(|_| power >= -GROUP)?;
            last.is_multiple_of(dropped).then_some((10_000 / dropped, last / dropped, 0))
        }
    }
}

/// 10^`exponent`, or the largest number there is: no precision goes beyond 38.
fn power_of_ten(exponent: u32) -> u128 {
    10_u128.checked_pow(exponent).unwrap_or(u128::MAX)
}

fn word(bytes: &[u8]) -> Result<(u16, &[u8]), NotDecimal> {
    let (word, rest) = bytes.split_first_chunk::<2>().ok_or(NotDecimal::Malformed)?;
    Ok((u16::from_be_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The server's encoding, written from its documentation and not from the decoder: split the decimal text into
    /// groups of four around the point.
    fn encode(value: i128, scale: u8) -> Vec<u8> {
        let scale = usize::from(scale);
        let text = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = text.split_at(text.len() - scale);
        let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
        let fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
        let mut groups: Vec<u16> = format!("{whole}{fraction}")
            .as_bytes()
            .chunks(4)
            .map(|group| std::str::from_utf8(group).unwrap().parse().unwrap())
            .collect();
        let mut weight = i16::try_from(whole.len() / 4).unwrap() - 1;
        while groups.last() == Some(&0) {
            groups.pop();
        }
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        let sign = if value < 0 { NEGATIVE } else { 0 };
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(groups.len()).unwrap().to_be_bytes());
        bytes.extend(if groups.is_empty() { 0 } else { weight }.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(u16::try_from(scale).unwrap().to_be_bytes());
        bytes.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
        bytes
    }

    const LARGEST: i128 = 10_i128.pow(38) - 1;

    proptest! {
        #[test]
        fn i7_every_decimal_comes_back_exactly(
            value in prop_oneof![-LARGEST..=LARGEST, -1_000_000_i128..1_000_000, (0_u32..38).prop_map(|n| 10_i128.pow(n))],
            scale in 0_u8..=38,
        ) {
            prop_assert_eq!(decode(&encode(value, scale), 38, scale), Ok(value));
        }

        #[test]
        fn i10_no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), precision in 1_u8..=38, scale in 0_u8..=38) {
            let _ = decode(&bytes, precision, scale);
        }

        #[test]
        fn i7_digits_behind_the_scale_are_never_dropped(value in 1_i128..1_000_000_000, scale in 1_u8..=38) {
            prop_assume!(value % 10 != 0);
            prop_assert_eq!(decode(&encode(value, scale), 38, scale - 1), Err(NotDecimal::Malformed));
        }
    }

    #[test]
    fn values_that_are_no_numbers_are_named() {
        let special = |sign: u16| [0, 0, 0, 0, sign.to_be_bytes()[0], 0, 0, 0];
        assert_eq!(decode(&special(NAN), 10, 2), Err(NotDecimal::NotANumber));
        assert_eq!(decode(&special(POSITIVE_INFINITY), 10, 2), Err(NotDecimal::Infinite));
        assert_eq!(decode(&special(NEGATIVE_INFINITY), 10, 2), Err(NotDecimal::Infinite));
        assert_eq!(decode(&encode(1000, 2), 3, 2), Err(NotDecimal::Malformed));
    }
}
