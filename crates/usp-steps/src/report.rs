//! Keeps reports small and readable.

use serde_json::Value;
use usp_model::limits::REPORT_BYTES_MAX;

use crate::bounds::VALUE_CHARS_MAX;

/// A value as it may stand in a report: at most 128 characters, an ellipsis if cut, malformed bytes replaced.
pub(crate) fn cut(value: &[u8]) -> String {
    cut_to(value, VALUE_CHARS_MAX)
}

pub(crate) fn cut_to(value: &[u8], chars_max: usize) -> String {
    // Four bytes make a character at most, so that a long value is not converted whole.
    let head = value.get(..(chars_max + 1) * 4).unwrap_or(value);
    let text = String::from_utf8_lossy(head);
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

/// A number for people: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 row`, `3 rows`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// Drops the tail of `list` until the report fits its limit, and then sets `truncated`.
pub(crate) fn fit(mut report: Value, list: &str) -> Value {
    let mut size_bytes = json_bytes(&report);
    while size_bytes > REPORT_BYTES_MAX {
        let Some(items) =
            report.get_mut(list).and_then(Value::as_array_mut).filter(|items| !items.is_empty())
        else {
            break;
        };
        let kept = items.len() * (REPORT_BYTES_MAX / 1024) / (size_bytes / 1024 + 1);
        items.truncate(kept.min(items.len() - 1));
        if let Some(members) = report.as_object_mut() {
            members.insert("truncated".to_owned(), Value::Bool(true));
        }
        size_bytes = json_bytes(&report);
    }
    report
}

pub(crate) fn json_bytes(report: &Value) -> usize {
    serde_json::to_vec(report).map_or(usize::MAX, |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_cut_at_128_characters_not_bytes() {
        assert_eq!(cut("é".repeat(128).as_bytes()), "é".repeat(128));
        assert_eq!(cut("é".repeat(129).as_bytes()), format!("{}…", "é".repeat(128)));
        assert_eq!(cut(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_report_over_its_limit_loses_the_tail_of_its_list_and_says_so() {
        let items: Vec<String> = (0..20_000).map(|n| format!("{n}{}", "\u{1}".repeat(128))).collect();
        let report = fit(json!({"items": items, "truncated": false}), "items");
        assert!(json_bytes(&report) <= REPORT_BYTES_MAX);
        assert_eq!(report["truncated"], true);
        assert!(report["items"].as_array().unwrap().len() > 1_000);
    }
}
