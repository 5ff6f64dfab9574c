//! Durations, sizes and networks as people write them: `10s`, `1h30m`, `64MiB`, `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// From the largest to the smallest; the first that divides a value prints it.
const TIME_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A length of time in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interval(pub(crate) Duration);

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

impl ByteSize {
    /// Saturates: whoever takes it refuses such sizes anyway.
    pub(crate) fn in_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

/// An IP network; a single address is the network of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        address
            .or_else(|_| text.parse())
            .map(Self)
            .map_err(|_| format!("'{text}' is not an address or a network such as 10.0.0.0/8"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("'{text}' is not a duration such as 500ms, 10s or 1h30m");
        let mut rest = text.trim();
        let mut total_ms: u64 = 0;
        if rest.is_empty() {
            return Err(refused());
        }
        while !rest.is_empty() {
            let (number, after) = leading_number(rest).ok_or_else(refused)?;
            let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            let (_, unit_ms) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
            total_ms = number
                .checked_mul(*unit_ms)
                .and_then(|part_ms| total_ms.checked_add(part_ms))
                .ok_or_else(refused)?;
            rest = after.trim_start();
        }
        Ok(Self(Duration::from_millis(total_ms)))
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("'{text}' is not a size such as 4096, 64KiB or 1GB");
        let (number, unit) = leading_number(text.trim()).ok_or_else(refused)?;
        let unit_bytes = match unit.trim() {
            "" => 1,
            unit => SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?.1,
        };
        number.checked_mul(unit_bytes).map(Self).ok_or_else(refused)
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total_ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        print_exactly(total_ms, TIME_UNITS, "0s", f)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_exactly(self.0, SIZE_UNITS, "0B", f)
    }
}

fn print_exactly(value: u64, units: &[(&str, u64)], zero: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match units.iter().find(|(_, unit)| value >= *unit && value.is_multiple_of(*unit)) {
        Some((name, unit)) => write!(f, "{}{name}", value / unit),
        None => f.write_str(zero),
    }
}

/// All are written as text; a size may also be a bare number of bytes.
macro_rules! as_text {
    ($name:ident, $expecting:literal $(, $from_number:expr)?) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }

                    $(fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        u64::try_from(number).map($from_number).map_err(|_| E::custom("a size is not negative"))
                    })?
                }

                deserializer.deserialize_any(Text)
            }
        }
    };
}

as_text!(Interval, "a duration such as \"10s\" or \"1h30m\"");
as_text!(Network, "an address or a network such as \"10.0.0.0/8\"");
as_text!(ByteSize, "a size such as \"64MiB\", or a number of bytes", ByteSize);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u128 {
        text.parse::<Interval>().unwrap().0.as_millis()
    }

    #[test]
    fn durations_read_as_they_are_written() {
        let table = [
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("7d", 604_800_000),
            ("1m1ms", 60_001),
        ];
        for (text, expected) in table {
            assert_eq!(ms(text), expected, "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1.5h",
            "10 parsecs",
            "1s,",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_as_they_are_written() {
        let table = [
            ("0", 0),
            ("4096", 4096),
            ("64KiB", 65_536),
            ("64 MiB", 67_108_864),
            ("1GB", 1_000_000_000),
            ("2TiB", 2_199_023_255_552),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<ByteSize>().unwrap().0, expected, "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "64mib", "99999999TiB", "1 Mi B"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_print_exactly_and_read_back() {
        for text in ["0s", "1ms", "1500ms", "90s", "1m", "36h", "7d"] {
            assert_eq!(text.parse::<Interval>().unwrap().to_string(), text);
        }
        for text in ["0B", "1B", "1000000001B", "96MiB", "1GiB", "5GB", "1537B"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_size_may_be_a_bare_number() {
        let value = toml::Value::Integer(4096);
        assert_eq!(value.try_into::<ByteSize>().unwrap(), ByteSize(4096));
        assert!(toml::Value::Integer(-1).try_into::<ByteSize>().is_err());
        assert!(toml::Value::Integer(10).try_into::<Interval>().is_err(), "a duration needs its unit");
    }
}
