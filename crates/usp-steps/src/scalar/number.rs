//! Numbers in decimal notation.

use super::Scalar;

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Digits that always fit an integer of 64 bits.
const DIGITS_MAX: usize = 18;
/// A mantissa up to here is exact as a double.
const EXACT_MAX: u64 = 1 << 53;
/// Literals beyond this length are not worth reading as numbers.
const NUMBER_BYTES_MAX: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Number {
    pub value: f64,
    pub exact: Option<i64>,
    pub is_integer: bool,
    pub has_leading_zeros: bool,
}

impl Number {
    pub(crate) fn scalar(self) -> Scalar {
        if self.is_integer {
            Scalar::Integer { value: self.value, exact: self.exact }
        } else {
            Scalar::Float(self.value)
        }
    }
}

/// The parts of a literal, read in one pass.
struct Parts<'a> {
    is_negative: bool,
    whole: &'a [u8],
    fraction: Option<&'a [u8]>,
    has_exponent: bool,
}

/// Reads `-12`, `1.5`, `.5`, `5.`, `1.5e3`. `None` for everything else, infinities included.
pub(crate) fn number(text: &[u8]) -> Option<Number> {
    if text.len() > NUMBER_BYTES_MAX {
        return None;
    }
    let parts = parts(text)?;
    let has_leading_zeros = matches!(parts.whole, [b'0', b'0'..=b'9', ..]);
    let is_integer = parts.fraction.is_none() && !parts.has_exponent;
    let fraction = parts.fraction.unwrap_or_default();
    if parts.whole.len() + fraction.len() > DIGITS_MAX || parts.has_exponent {
        return by_library(text, is_integer, has_leading_zeros);
    }
    let mantissa = fraction.iter().fold(digits(parts.whole), |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let exact = i64::try_from(mantissa).ok().map(|value| if parts.is_negative { -value } else { value });
    // Both operands are exact doubles, so that one division rounds once, as it should.
    let magnitude = match POWERS.get(fraction.len()) {
        Some(power) if mantissa <= EXACT_MAX => mantissa as f64 / power,
        _ => return by_library(text, is_integer, has_leading_zeros),
    };
    let value = if parts.is_negative { -magnitude } else { magnitude };
    Some(Number { value, exact: exact.filter(|_| is_integer), is_integer, has_leading_zeros })
}

fn by_library(text: &[u8], is_integer: bool, has_leading_zeros: bool) -> Option<Number> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    let exact = if is_integer { text.parse().ok() } else { None };
    value.is_finite().then_some(Number { value, exact, is_integer, has_leading_zeros })
}

fn parts(text: &[u8]) -> Option<Parts<'_>> {
    let (is_negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (whole, rest) = split_digits(rest);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => {
            let (fraction, rest) = split_digits(rest);
            (Some(fraction), rest)
        }
        rest => (None, rest),
    };
    if whole.is_empty() && fraction.is_none_or(<[u8]>::is_empty) {
        return None;
    }
    let has_exponent = !rest.is_empty();
    (!has_exponent || is_exponent(rest)).then_some(Parts { is_negative, whole, fraction, has_exponent })
}

fn is_exponent(text: &[u8]) -> bool {
    let power = match text {
        [b'e' | b'E', b'+' | b'-', power @ ..] | [b'e' | b'E', power @ ..] => power,
        _ => return false,
    };
    !power.is_empty() && power.iter().all(u8::is_ascii_digit)
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// At most `DIGITS_MAX` digits, so that nothing overflows.
fn digits(text: &[u8]) -> u64 {
    text.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
}
