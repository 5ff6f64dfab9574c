//! Dates and times in the ISO 8601 forms that tables use.

use super::Scalar;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Reads a date, or a date with a time of day.
pub(super) fn moment(text: &[u8]) -> Option<Scalar> {
    let (date, rest) = text.split_at_checked(10)?;
    let days = days_of(date)?;
    match rest {
        [] => Some(Scalar::Date(days)),
        [b'T' | b't' | b' ', clock @ ..] => {
            let micros = clock_micros(clock)?;
            Some(Scalar::Datetime(days * 86_400 * MICROS_PER_SECOND + micros))
        }
        _ => None,
    }
}

fn days_of(date: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, s1, m1, m2, s2, d1, d2] = date else { return None };
    if s1 != s2 || !matches!(s1, b'-' | b'/') {
        return None;
    }
    let year = two_digits(&[*y1, *y2])? * 100 + two_digits(&[*y3, *y4])?;
    let month = two_digits(&[*m1, *m2])?;
    let day = two_digits(&[*d1, *d2])?;
    ((1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day))
        .then(|| days_since_epoch(year, month, day))
}

/// `hh:mm[:ss[.fraction]][Z|±hh:mm|±hhmm|±hh]` as microseconds, the offset taken off.
fn clock_micros(clock: &[u8]) -> Option<i64> {
    let (hour, rest) = take_two(clock)?;
    let [b':', rest @ ..] = rest else { return None };
    let (minute, rest) = take_two(rest)?;
    let (second, rest) = match rest {
        [b':', rest @ ..] => take_two(rest)?,
        rest => (0, rest),
    };
    // 60 is a leap second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_micros, rest) = match rest {
        [b'.' | b',', rest @ ..] => fraction(rest)?,
        rest => (0, rest),
    };
    let seconds = hour * 3_600 + minute * 60 + second - offset_seconds(rest)?;
    Some(seconds * MICROS_PER_SECOND + fraction_micros)
}

/// Digits beyond a microsecond are read, and dropped.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if !(1..=12).contains(&digits.len()) {
        return None;
    }
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(6);
    Some((padded.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')), rest))
}

fn offset_seconds(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = take_two(rest)?;
    let minutes = match rest {
        [] => 0,
        [b':', a, b] | [a, b] => two_digits(&[*a, *b])?,
        _ => return None,
    };
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn take_two(text: &[u8]) -> Option<(i64, &[u8])> {
    let (two, rest) = text.split_at_checked(2)?;
    Some((two_digits(two)?, rest))
}

fn two_digits(text: &[u8]) -> Option<i64> {
    match text {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
        }
        _ => None,
    }
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts in years that begin in March, so that the leap day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_TO_EPOCH: i64 = 719_468;
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Five months from March on have 153 days together, and so have the next five.
    let days_before_month = (153 * month + 2) / 5;
    year * 365 + leap_days + days_before_month + day - 1 - DAYS_TO_EPOCH
}
